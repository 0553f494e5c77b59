/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of a sweep file, with W&B's keys: values, ranges and their distributions, nested and repeated ones. */
#include "distributor/sweep_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line of the sweep file is refused. */
#define REFUSE(sweep, where, ...) sweep_refuse(error, (sweep)->file_name, (where), __VA_ARGS__)

static int compare_values(const void *a, const void *b)
{
    const struct yaml_tree_node *x = *(struct yaml_tree_node *const *)a, *y = *(struct yaml_tree_node *const *)b;
    bool x_number = x->kind == YAML_TREE_INT || x->kind == YAML_TREE_FLOAT,
         y_number = y->kind == YAML_TREE_INT || y->kind == YAML_TREE_FLOAT;
    if (x->kind == YAML_TREE_INT && y->kind == YAML_TREE_INT)
        return (x->integer > y->integer) - (x->integer < y->integer);
    if (x_number && y_number)
        return (x->number > y->number) - (x->number < y->number);
    if (x_number != y_number || x->kind != y->kind)
        return (x_number ? -1 : (int)x->kind) - (y_number ? -1 : (int)y->kind);
    return x->kind == YAML_TREE_BOOL ? x->boolean - y->boolean : strcmp(x->text, y->text);
}

static int check_values(const struct sweep *sweep, const struct sweep_parameter *parameter, bson_error_t *error)
{
    if (parameter->range)
        return 0;
    if (!parameter->count)
        return REFUSE(sweep, parameter->line, "parameter '%s' has no values", parameter->path);
    for (size_t i = 0; i < parameter->count; i++) {
        const struct yaml_tree_node *value = parameter->values[i];
        if (value->kind == YAML_TREE_NULL || value->kind == YAML_TREE_LIST || value->kind == YAML_TREE_MAP)
            return REFUSE(sweep, value->line,
                          "a value of parameter '%s' is %s; it must be a number, a string, true or false",
                          parameter->path, yaml_tree_kind_name(value->kind));
        if (value->kind == YAML_TREE_FLOAT && !isfinite(value->number))
            return REFUSE(sweep, value->line, "a value of parameter '%s' is not finite", parameter->path);
    }
    if (parameter->count == 1)
        return 0;
    struct yaml_tree_node **sorted = malloc(parameter->count * sizeof *sorted);
    if (!sorted)
        return sweep_no_memory(sweep, error);
    memcpy(sorted, parameter->values, parameter->count * sizeof *sorted);
    qsort(sorted, parameter->count, sizeof *sorted, compare_values);
    int twice = 0;
    for (size_t i = 1; i < parameter->count && !twice; i++)
        if (!compare_values(&sorted[i - 1], &sorted[i]))
            twice = sorted[i]->line > sorted[i - 1]->line ? sorted[i]->line : sorted[i - 1]->line;
    free(sorted);
    return twice ? REFUSE(sweep, twice, "parameter '%s' has the same value twice", parameter->path) : 0;
}

static struct sweep_parameter *add_parameter(struct sweep *sweep, const char *prefix, const struct yaml_tree_node *key,
                                             bson_error_t *error)
{
    struct sweep_parameter *more = realloc(sweep->parameters, (sweep->parameter_count + 1) * sizeof *sweep->parameters);
    if (!more) {
        sweep_no_memory(sweep, error);
        return NULL;
    }
    sweep->parameters = more;
    struct sweep_parameter *parameter = &more[sweep->parameter_count];
    *parameter = (struct sweep_parameter){.line = key->line};
    if (asprintf(&parameter->path, "%s%s%s", prefix, *prefix ? "." : "", key->text) < 0) {
        parameter->path = NULL;
        sweep_no_memory(sweep, error);
        return NULL;
    }
    sweep->parameter_count++;
    return parameter;
}

static int take_parameters(struct sweep *sweep, const char *prefix, const struct yaml_tree_node *node, int depth,
                           bson_error_t *error);

/* ---- distributions ---- */

static const char *const described_keys[] = {"value", "values", "parameters", "label", "repeat", "distribution", "min",
                                             "max", "mu", "sigma", "q", "probabilities", NULL};

/* W&B's names; what each needs. */
static const struct distribution {
    const char *name;
    enum search_scale scale;
    bool exponents; /* min and max are natural logarithms */
    bool inverse;   /* of 1 / x */
    bool quantised;
} distributions[] = {
    {"uniform", SEARCH_LINEAR, false, false, false},
    {"int_uniform", SEARCH_LINEAR, false, false, true},
    {"q_uniform", SEARCH_LINEAR, false, false, true},
    {"log_uniform", SEARCH_LOG, true, false, false},
    {"q_log_uniform", SEARCH_LOG, true, false, true},
    {"log_uniform_values", SEARCH_LOG, false, false, false},
    {"q_log_uniform_values", SEARCH_LOG, false, false, true},
    {"inv_log_uniform", SEARCH_LOG, true, true, false},
    {"inv_log_uniform_values", SEARCH_LOG, false, false, false}, /* 1 / x is as x is */
    {"normal", SEARCH_NORMAL, false, false, false},
    {"q_normal", SEARCH_NORMAL, false, false, true},
    {"log_normal", SEARCH_LOG_NORMAL, false, false, false},
    {"q_log_normal", SEARCH_LOG_NORMAL, false, false, true},
};

static int read_number(const struct sweep *sweep, const struct yaml_tree_node *node, const char *key, const char *where,
                       double *number, bson_error_t *error)
{
    if ((node->kind != YAML_TREE_INT && node->kind != YAML_TREE_FLOAT) || !isfinite(node->number))
        return REFUSE(sweep, node->line, "%s of %s must be a number", key, where);
    *number = node->number;
    return 0;
}

static int read_limits(const struct sweep *sweep, struct sweep_parameter *parameter, const struct distribution *kind,
                       const struct yaml_tree_node *node, const char *where, bson_error_t *error)
{
    const struct yaml_tree_node *min = yaml_tree_get(node, "min"), *max = yaml_tree_get(node, "max");
    struct search_dimension *dimension = &parameter->dimension;
    double low = 0, high = 0;
    if (!min || !max)
        return REFUSE(sweep, node->line, "%s needs min and max", where);
    if (read_number(sweep, min, "min", where, &low, error) || read_number(sweep, max, "max", where, &high, error))
        return -1;
    if (!(low < high))
        return REFUSE(sweep, max->line, "max of %s must be above its min", where);
    parameter->integer = min->kind == YAML_TREE_INT && max->kind == YAML_TREE_INT;
    if (!strcmp(kind->name, "int_uniform") && !parameter->integer)
        return REFUSE(sweep, node->line, "%s is int_uniform: min and max must be integers", where);
    if (fabs(low) > 0x1p53 || fabs(high) > 0x1p53)
        return REFUSE(sweep, node->line, "%s: min and max must be within 2^53", where);
    dimension->low = kind->inverse ? exp(-high) : kind->exponents ? exp(low) : low;
    dimension->high = kind->inverse ? exp(-low) : kind->exponents ? exp(high) : high;
    parameter->integer = parameter->integer || kind->exponents;
    if (kind->scale == SEARCH_LOG && !(dimension->low > 0 && isfinite(dimension->high)))
        return REFUSE(sweep, min->line, "%s is %s: min must be above 0%s", where, kind->name,
                      kind->exponents ? " and max an exponent of e" : "");
    return 0;
}

static int read_shape(const struct sweep *sweep, struct sweep_parameter *parameter, const struct distribution *kind,
                      const struct yaml_tree_node *node, const char *where, bson_error_t *error)
{
    struct search_dimension *dimension = &parameter->dimension;
    const struct yaml_tree_node *mu = yaml_tree_get(node, "mu"), *sigma = yaml_tree_get(node, "sigma");
    dimension->sigma = 1;
    parameter->integer = true; /* if its quantum is */
    if ((mu && read_number(sweep, mu, "mu", where, &dimension->mu, error)) ||
        (sigma && read_number(sweep, sigma, "sigma", where, &dimension->sigma, error)))
        return -1;
    if (!(dimension->sigma > 0) || dimension->sigma > 1e6 || fabs(dimension->mu) > 1e9 ||
        (kind->scale == SEARCH_LOG_NORMAL && fabs(dimension->mu) + 9 * dimension->sigma > 700))
        return REFUSE(sweep, node->line, "%s: mu or sigma is out of range", where);
    return 0;
}

static const struct distribution *find_distribution(const struct yaml_tree_node *node)
{
    const struct yaml_tree_node *given = yaml_tree_get(node, "distribution"), *min = yaml_tree_get(node, "min"),
                                *max = yaml_tree_get(node, "max");
    const char *name = "uniform";
    if (given)
        name = given->kind == YAML_TREE_STRING ? given->text : "";
    else if (yaml_tree_get(node, "mu") || yaml_tree_get(node, "sigma"))
        name = "normal";
    else if (min && max && min->kind == YAML_TREE_INT && max->kind == YAML_TREE_INT)
        name = yaml_tree_get(node, "q") ? "q_uniform" : "int_uniform";
    else if (yaml_tree_get(node, "q"))
        name = "q_uniform";
    for (size_t i = 0; i < sizeof distributions / sizeof *distributions; i++)
        if (!strcmp(distributions[i].name, name))
            return &distributions[i];
    return NULL;
}

static int take_range(const struct sweep *sweep, struct sweep_parameter *parameter, const struct yaml_tree_node *node,
                      const char *where, bson_error_t *error)
{
    const struct yaml_tree_node *given = yaml_tree_get(node, "distribution"), *q = yaml_tree_get(node, "q");
    const struct distribution *kind = find_distribution(node);
    if (!kind)
        return REFUSE(sweep, given->line, "%s: the distribution is not known%s", where,
                      given->kind == YAML_TREE_STRING && (!strcmp(given->text, "categorical") || !strcmp(given->text, "constant"))
                          ? " without value or values"
                          : "; known are those of W&B's sweeps, such as uniform, int_uniform, log_uniform_values, normal");
    bool limits = kind->scale <= SEARCH_LOG;
    for (size_t i = 0; i < node->count; i++) {
        const char *key = node->keys[i]->text;
        bool ours = !strcmp(key, "min") || !strcmp(key, "max") ? limits
                    : !strcmp(key, "mu") || !strcmp(key, "sigma")
                        ? !limits
                        : strcmp(key, "q") || (kind->quantised && strcmp(kind->name, "int_uniform"));
        if (!ours || !strcmp(key, "probabilities"))
            return REFUSE(sweep, node->keys[i]->line, "%s is %s: it has no %s", where, kind->name, key);
    }
    parameter->range = true;
    parameter->distribution = kind->name;
    parameter->dimension = (struct search_dimension){.kind = SEARCH_NUMBER, .scale = kind->scale};
    if (limits ? read_limits(sweep, parameter, kind, node, where, error)
               : read_shape(sweep, parameter, kind, node, where, error))
        return -1;
    if (!kind->quantised) {
        parameter->integer = false;
        return 0;
    }
    parameter->dimension.quantum = 1;
    if (q && read_number(sweep, q, "q", where, &parameter->dimension.quantum, error))
        return -1;
    double quantum = parameter->dimension.quantum;
    if (!(quantum > 0))
        return REFUSE(sweep, q->line, "q of %s must be above 0", where);
    if (limits && floor(parameter->dimension.high / quantum) < ceil(parameter->dimension.low / quantum))
        return REFUSE(sweep, node->line, "%s: no multiple of q lies between min and max", where);
    parameter->integer = parameter->integer && quantum == floor(quantum);
    return 0;
}

static int take_probabilities(const struct sweep *sweep, struct sweep_parameter *parameter,
                              const struct yaml_tree_node *node, const char *where, bson_error_t *error)
{
    double sum = 0, one = 0;
    if (node->kind != YAML_TREE_LIST || node->count != parameter->count || node->count < 2)
        return REFUSE(sweep, node->line, "probabilities of %s must be a list of as many numbers as it has values", where);
    parameter->ends = malloc(node->count * sizeof *parameter->ends);
    if (!parameter->ends)
        return sweep_no_memory(sweep, error);
    for (size_t i = 0; i < node->count; i++) {
        if (read_number(sweep, node->items[i], "a probability", where, &one, error))
            return -1;
        if (one < 0)
            return REFUSE(sweep, node->items[i]->line, "a probability of %s is below 0", where);
        parameter->ends[i] = sum += one;
    }
    if (fabs(sum - 1) > 1e-6)
        return REFUSE(sweep, node->line, "probabilities of %s come to %g, not 1", where, sum);
    parameter->ends[node->count - 1] = 1;
    return 0;
}

/* ---- parameters ---- */

static int take_one(struct sweep *sweep, const char *prefix, const struct yaml_tree_node *key,
                    const struct yaml_tree_node *node, const char *where, bson_error_t *error)
{
    const struct yaml_tree_node *value = yaml_tree_get(node, "value"), *values = yaml_tree_get(node, "values"),
                                *label = yaml_tree_get(node, "label"), *shares = yaml_tree_get(node, "probabilities");
    struct sweep_parameter *parameter = add_parameter(sweep, prefix, key, error);
    if (!parameter)
        return -1;
    parameter->label = label && label->boolean;
    if (!value && !values)
        return take_range(sweep, parameter, node, where, error);
    parameter->values = values ? values->items : NULL;
    parameter->count = values ? values->count : 1;
    parameter->single[0] = (struct yaml_tree_node *)value;
    return shares ? take_probabilities(sweep, parameter, shares, where, error) : 0;
}

/* width: {…, repeat: 3} is width.1, width.2 and width.3 */
static int take_repeated(struct sweep *sweep, const char *prefix, const struct yaml_tree_node *key,
                         const struct yaml_tree_node *node, int64_t times, const char *where, bson_error_t *error)
{
    char path[400], number[24];
    snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key->text);
    for (int64_t i = 1; i <= times; i++) {
        struct yaml_tree_node each = *key;
        snprintf(number, sizeof number, "%lld", (long long)i);
        each.text = number;
        if (sweep->parameter_count >= 1000)
            return REFUSE(sweep, key->line, "more than 1000 parameters");
        if (take_one(sweep, path, &each, node, where, error))
            return -1;
    }
    return 0;
}

static int check_described(const struct sweep *sweep, const struct yaml_tree_node *node, const char *where,
                           bson_error_t *error)
{
    const struct yaml_tree_node *values = yaml_tree_get(node, "values"), *label = yaml_tree_get(node, "label");
    bool ranges = false, chosen = values || yaml_tree_get(node, "value");
    for (size_t i = 0; i < node->count; i++) {
        size_t known = 0;
        while (described_keys[known] && strcmp(described_keys[known], node->keys[i]->text))
            known++;
        if (!described_keys[known])
            return sweep_refuse_key(sweep, node->keys[i], where, described_keys, error);
        ranges = ranges || (known >= 5 && known <= 10);
        if (chosen && known >= 6 && known <= 10)
            return REFUSE(sweep, node->keys[i]->line, "%s has values; it has no %s", where, described_keys[known]);
    }
    if (!!values + !!yaml_tree_get(node, "value") + !!yaml_tree_get(node, "parameters") != 1 && (chosen || !ranges))
        return REFUSE(sweep, node->line, "%s needs one of value, values, parameters, or min and max", where);
    if (label && label->kind != YAML_TREE_BOOL)
        return REFUSE(sweep, label->line, "label of %s must be true or false", where);
    if (values && values->kind != YAML_TREE_LIST)
        return REFUSE(sweep, values->line, "values of %s must be a list, not %s", where,
                      yaml_tree_kind_name(values->kind));
    return 0;
}

static int take_described(struct sweep *sweep, const char *prefix, const struct yaml_tree_node *key,
                          const struct yaml_tree_node *node, int depth, bson_error_t *error)
{
    const struct yaml_tree_node *nested = yaml_tree_get(node, "parameters"), *repeat = yaml_tree_get(node, "repeat");
    char where[120];
    snprintf(where, sizeof where, "parameter '%.80s'", key->text);
    if (check_described(sweep, node, where, error))
        return -1;
    if (repeat && (nested || repeat->kind != YAML_TREE_INT || repeat->integer < 1 || repeat->integer > 256))
        return REFUSE(sweep, repeat->line, "repeat of %s must be an integer in [1, 256], and it has no parameters of its own",
                      where);
    if (nested) {
        char path[300];
        if (snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key->text) >= (int)sizeof path)
            return REFUSE(sweep, key->line, "%s is nested under too long a name", where);
        return take_parameters(sweep, path, nested, depth + 1, error);
    }
    return repeat ? take_repeated(sweep, prefix, key, node, repeat->integer, where, error)
                  : take_one(sweep, prefix, key, node, where, error);
}

static bool is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    size_t first = strspn(text, letters);
    return first && first <= 64 && strlen(text) <= 64 &&
           !text[strspn(text, "0123456789-" /* then letters again */
                              "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")];
}

static int take_parameters(struct sweep *sweep, const char *prefix, const struct yaml_tree_node *node, int depth,
                           bson_error_t *error)
{
    if (node->kind != YAML_TREE_MAP)
        return REFUSE(sweep, node->line, "parameters must be a map of names, not %s", yaml_tree_kind_name(node->kind));
    if (depth > 8)
        return REFUSE(sweep, node->line, "parameters are nested deeper than 8 levels");
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_tree_node *key = node->keys[i];
        struct yaml_tree_node *item = node->items[i];
        if (!is_name(key->text))
            return REFUSE(sweep, key->line, "'%.64s' cannot name a parameter: letters, digits, _ and -, at most 64",
                          key->text);
        if (sweep->parameter_count >= 1000)
            return REFUSE(sweep, key->line, "more than 1000 parameters");
        if (item->kind == YAML_TREE_MAP) {
            if (take_described(sweep, prefix, key, item, depth, error))
                return -1;
            continue;
        }
        struct sweep_parameter *parameter = add_parameter(sweep, prefix, key, error);
        if (!parameter)
            return -1;
        bool list = item->kind == YAML_TREE_LIST;
        parameter->values = list ? item->items : NULL;
        parameter->count = list ? item->count : 1;
        parameter->single[0] = list ? NULL : item;
    }
    return 0;
}

int sweep_take_parameters(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    return take_parameters(sweep, "", node, 0, error);
}

int sweep_settle_parameters(struct sweep *sweep, bson_error_t *error)
{
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        struct sweep_parameter *parameter = &sweep->parameters[i];
        if (parameter->single[0])
            parameter->values = parameter->single;
        if (check_values(sweep, parameter, error))
            return -1;
        if (sweep->method == SEARCH_GRID && (parameter->range || parameter->ends))
            return REFUSE(sweep, parameter->line, "parameter '%s' has %s, and method grid needs value or values",
                          parameter->path, parameter->range ? "a range" : "probabilities");
    }
    return 0;
}
