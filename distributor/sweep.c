/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_impl.h"

#include "distributor/hyper_parameters.h"
#include "hub/task_keep.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line of the sweep file is refused. */
#define REFUSE(sweep, where, ...) sweep_refuse(error, (sweep)->file_name, (where), __VA_ARGS__)

int sweep_refuse(bson_error_t *error, const char *file_name, int line, const char *format, ...)
{
    char message[480];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return hub_error(error, HUB_ERROR_INVALID, "%s:%d: %s", file_name, line, message);
}

int sweep_no_memory(const struct sweep *sweep, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", sweep->file_name);
}

int sweep_refuse_key(const struct sweep *sweep, const struct yaml_tree_node *key, const char *where,
                     const char *const *known, bson_error_t *error)
{
    char list[430] = "";
    const char *nearest = NULL;
    int least = 3;
    for (const char *const *name = known; *name; name++) {
        int distance = hyper_parameters_distance(key->text, *name, 2);
        if (distance < least) {
            least = distance;
            nearest = *name;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *name);
    }
    if (nearest)
        return REFUSE(sweep, key->line, "unknown key '%.60s' in %.80s; did you mean '%s'?", key->text, where, nearest);
    return REFUSE(sweep, key->line, "unknown key '%.60s' in %.80s; known are %s", key->text, where, list);
}

/* ---- the keys of a sweep ---- */

static int take_text(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, bson_error_t *error)
{
    if (node->kind != YAML_TREE_STRING || !*node->text)
        return REFUSE(sweep, node->line, "%s must be a string, not %s", key,
                      node->kind == YAML_TREE_STRING ? "an empty one" : yaml_tree_kind_name(node->kind));
    return BSON_APPEND_UTF8(&sweep->fields, key, node->text) ? 0 : sweep_no_memory(sweep, error);
}

static int read_integer(const struct sweep *sweep, const char *key, const struct yaml_tree_node *node, int64_t minimum,
                        int64_t maximum, bson_error_t *error)
{
    if (node->kind == YAML_TREE_INT && node->integer >= minimum && node->integer <= maximum)
        return 0;
    return REFUSE(sweep, node->line, "%s must be an integer in [%lld, %lld]", key, (long long)minimum,
                  (long long)maximum);
}

static int take_integer(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, int64_t minimum,
                        int64_t maximum, bson_error_t *error)
{
    if (read_integer(sweep, key, node, minimum, maximum, error))
        return -1;
    return sweep_append_scalar(&sweep->fields, key, node) ? 0 : sweep_no_memory(sweep, error);
}

static int take_minutes(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, bson_error_t *error)
{
    if ((node->kind != YAML_TREE_INT && node->kind != YAML_TREE_FLOAT) ||
        !(node->number >= 0 && node->number <= 1000000))
        return REFUSE(sweep, node->line, "%s must be a number in [0, 1000000]", key);
    return BSON_APPEND_DOUBLE(&sweep->fields, key, node->number) ? 0 : sweep_no_memory(sweep, error);
}

static int take_share(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, bson_error_t *error)
{
    if (node->kind != YAML_TREE_FLOAT || !(node->number > 0 && node->number < 1))
        return REFUSE(sweep, node->line, "%s must be a number above 0 and below 1", key);
    return BSON_APPEND_DOUBLE(&sweep->fields, key, node->number) ? 0 : sweep_no_memory(sweep, error);
}

static int take_choice(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, const char *one,
                       const char *other, bson_error_t *error)
{
    if (node->kind != YAML_TREE_STRING || (strcmp(node->text, one) && strcmp(node->text, other)))
        return REFUSE(sweep, node->line, "%s must be %s or %s", key, one, other);
    return take_text(sweep, key, node, error);
}

static int take_keep(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, bson_error_t *error)
{
    struct task_keep keep;
    if (node->kind != YAML_TREE_STRING || !task_keep_read(node->text, &keep))
        return REFUSE(sweep, node->line, "keep must be last, best or every N epochs");
    return take_text(sweep, key, node, error);
}

static int take_names(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, bson_error_t *error)
{
    bson_t list;
    char index[24];
    if (node->kind != YAML_TREE_LIST)
        return REFUSE(sweep, node->line, "%s must be a list of strings, not %s", key, yaml_tree_kind_name(node->kind));
    if (node->count > 1000) /* documents take fewer */
        return REFUSE(sweep, node->line, "%s has more than 1000 names", key);
    if (!BSON_APPEND_ARRAY_BEGIN(&sweep->fields, key, &list))
        return sweep_no_memory(sweep, error);
    for (size_t i = 0; i < node->count; i++) {
        if (node->items[i]->kind != YAML_TREE_STRING || !*node->items[i]->text) {
            bson_append_array_end(&sweep->fields, &list);
            return REFUSE(sweep, node->items[i]->line, "%s must be a list of strings", key);
        }
        for (size_t j = 0; j < i; j++)
            if (!strcmp(node->items[j]->text, node->items[i]->text)) {
                bson_append_array_end(&sweep->fields, &list);
                return REFUSE(sweep, node->items[i]->line, "%s names '%.60s' twice", key, node->items[i]->text);
            }
        snprintf(index, sizeof index, "%zu", i);
        BSON_APPEND_UTF8(&list, index, node->items[i]->text);
    }
    return bson_append_array_end(&sweep->fields, &list) ? 0 : sweep_no_memory(sweep, error);
}

static int take_query(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, bson_error_t *error)
{
    if (node->kind == YAML_TREE_STRING)
        return take_text(sweep, key, node, error);
    if (node->kind != YAML_TREE_MAP || !node->count)
        return REFUSE(sweep, node->line, "%s must be a name or a query, not %s", key, yaml_tree_kind_name(node->kind));
    /* A query has no ${…}: which data a sweep trains on is one thing for all its points. */
    return sweep_append_filled(sweep, &sweep->fields, key, node, -1, error);
}

static int take_method(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    char known[120] = "";
    const char *name;
    for (int i = 0; (name = search_method_name((enum search_method)i)); i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", name);
        if (node->kind == YAML_TREE_STRING && !strcmp(node->text, name)) {
            sweep->method = (enum search_method)i;
            return 0;
        }
    }
    if (node->kind != YAML_TREE_STRING)
        return REFUSE(sweep, node->line, "method must be a string; known are %s", known);
    if (!strcmp(node->text, "bayes")) { /* W&B's name for a method that learns from the results */
        sweep->method = SEARCH_TPE;
        return 0;
    }
    return REFUSE(sweep, node->line, "method '%.60s' is not known; known are %s", node->text, known);
}

static int take_count(struct sweep *sweep, const char *key, const struct yaml_tree_node *node, int64_t maximum,
                      int64_t *count, bson_error_t *error)
{
    *count = node->integer;
    return read_integer(sweep, key, node, 1, maximum, error);
}

static int take_kind(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    static const char *const kinds[] = {"train", "validate", "test", "outside"};
    for (size_t i = 0; node->kind == YAML_TREE_STRING && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(node->text, kinds[i]))
            return take_text(sweep, "kind", node, error);
    return REFUSE(sweep, node->line, "kind must be train, validate, test or outside");
}

static int take_metric(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    static const char *const known[] = {"name", "goal", NULL};
    if (node->kind != YAML_TREE_MAP)
        return REFUSE(sweep, node->line, "metric must be a map {name: …, goal: maximize | minimize}");
    const struct yaml_tree_node *name = yaml_tree_get(node, "name"), *goal = yaml_tree_get(node, "goal");
    for (size_t i = 0; i < node->count; i++)
        if (node->items[i] != name && node->items[i] != goal)
            return sweep_refuse_key(sweep, node->keys[i], "metric", known, error);
    if (!name || name->kind != YAML_TREE_STRING || !*name->text)
        return REFUSE(sweep, node->line, "metric needs a name, for example validation_accuracy");
    if (goal && (goal->kind != YAML_TREE_STRING || (strcmp(goal->text, "maximize") && strcmp(goal->text, "minimize"))))
        return REFUSE(sweep, goal->line, "metric's goal must be maximize or minimize");
    BSON_APPEND_UTF8(&sweep->metric, "name", name->text);
    BSON_APPEND_UTF8(&sweep->metric, "goal", goal ? goal->text : "minimize"); /* W&B's default */
    return 0;
}

static int count_points(struct sweep *sweep, const struct yaml_tree_node *run_cap, bson_error_t *error)
{
    int64_t grid = 1;
    if (run_cap && read_integer(sweep, "run_cap", run_cap, 1, SWEEP_POINTS, error))
        return -1;
    if (sweep->method == SEARCH_PBT)
        return sweep_count_generations(sweep, &sweep->points, error);
    for (int i = 0; i < 2; i++) {
        const char *const keys[] = {"every", "quantile"};
        const struct yaml_tree_node *of_pbt = yaml_tree_get(sweep->tree->root, keys[i]);
        if (of_pbt)
            return REFUSE(sweep, of_pbt->line, "%s is of method pbt", keys[i]);
    }
    if (sweep->method != SEARCH_GRID) {
        if (!run_cap)
            return hub_error(error, HUB_ERROR_INVALID, "%s: method %s needs run_cap: how many points it may try",
                             sweep->file_name, search_method_name(sweep->method));
        sweep->points = run_cap->integer;
        return 0;
    }
    for (size_t i = 0; i < sweep->parameter_count; i++)
        if (__builtin_mul_overflow(grid, (int64_t)sweep->parameters[i].count, &grid))
            grid = INT64_MAX / 2000; /* more than any cap; stays there for the message */
    if (!run_cap && grid > SWEEP_POINTS)
        return hub_error(error, HUB_ERROR_INVALID,
                         "%s: the grid has more than %d points; give fewer values, or a run_cap for its first ones",
                         sweep->file_name, SWEEP_POINTS);
    sweep->points = run_cap && run_cap->integer < grid ? run_cap->integer : grid;
    return 0;
}

/* ---- the file ---- */

static const char *const sweep_keys[] = {"name",    "description",    "method",    "metric",      "parameters",
                                         "run_cap", "architecture",   "kind",      "dataset",     "model",
                                         "queue",   "resource_class", "priority",  "max_crashes", "result_keys",
                                         "tags",    "seed",           "log_every", "keep",        "requires",
                                         "checkpoint_every", "checkpoint_minutes", "metrics", "top_k",
                                         "on_nonfinite", "rollback_factor", "max_rollbacks", "seeds", "parallel",
                                         "population", "startup", "rules", "every", "quantile",
                                         "early_terminate", "target", "budget", "keep_weights", NULL};

static int take_key(struct sweep *sweep, const struct yaml_tree_node *key, const struct yaml_tree_node *node,
                    bson_error_t *error)
{
    const char *name = key->text;
    if (!strcmp(name, "name") || !strcmp(name, "description") || !strcmp(name, "queue") ||
        !strcmp(name, "resource_class"))
        return take_text(sweep, name, node, error);
    if (!strcmp(name, "method"))
        return take_method(sweep, node, error);
    if (!strcmp(name, "metric"))
        return take_metric(sweep, node, error);
    if (!strcmp(name, "parameters"))
        return sweep_take_parameters(sweep, node, error);
    if (!strcmp(name, "early_terminate"))
        return sweep_take_early(sweep, node, error);
    if (!strcmp(name, "target"))
        return sweep_take_target(sweep, node, error);
    if (!strcmp(name, "budget"))
        return sweep_take_budget(sweep, node, error);
    if (!strcmp(name, "keep_weights"))
        return sweep_take_keep_weights(sweep, node, error);
    if (!strcmp(name, "seeds"))
        return take_count(sweep, name, node, 1000, &sweep->seeds, error);
    if (!strcmp(name, "parallel"))
        return take_count(sweep, name, node, 100000, &sweep->parallel, error);
    if (!strcmp(name, "population"))
        return take_count(sweep, name, node, 10000, &sweep->population, error);
    if (!strcmp(name, "startup"))
        return take_count(sweep, name, node, SWEEP_POINTS, &sweep->startup, error);
    if (!strcmp(name, "every"))
        return take_count(sweep, name, node, SWEEP_EPOCHS, &sweep->every, error);
    if (!strcmp(name, "quantile"))
        return sweep_take_quantile(sweep, node, error);
    if (!strcmp(name, "run_cap"))
        return 0; /* with the points */
    if (!strcmp(name, "kind"))
        return take_kind(sweep, node, error);
    if (!strcmp(name, "dataset") || !strcmp(name, "model"))
        return take_query(sweep, name, node, error);
    if (!strcmp(name, "priority"))
        return take_integer(sweep, name, node, -1000000, 1000000, error);
    if (!strcmp(name, "max_crashes"))
        return take_integer(sweep, name, node, 1, 1000, error);
    if (!strcmp(name, "checkpoint_every") || !strcmp(name, "top_k"))
        return take_integer(sweep, name, node, 1, 1000000, error);
    if (!strcmp(name, "max_rollbacks"))
        return take_integer(sweep, name, node, 1, 20, error);
    if (!strcmp(name, "rollback_factor"))
        return take_share(sweep, name, node, error);
    if (!strcmp(name, "on_nonfinite"))
        return take_choice(sweep, name, node, "fail", "rollback", error);
    if (!strcmp(name, "keep"))
        return take_keep(sweep, name, node, error);
    if (!strcmp(name, "checkpoint_minutes"))
        return take_minutes(sweep, name, node, error);
    if (!strcmp(name, "log_every") && (node->kind != YAML_TREE_STRING || strcmp(node->text, "epoch")))
        return take_integer(sweep, name, node, 1, INT32_MAX, error);
    if (!strcmp(name, "log_every"))
        return take_text(sweep, name, node, error);
    if (!strcmp(name, "tags") || !strcmp(name, "result_keys") || !strcmp(name, "requires") || !strcmp(name, "rules") ||
        !strcmp(name, "metrics"))
        return take_names(sweep, name, node, error);
    if (!strcmp(name, "seed")) {
        sweep->seed = node->integer;
        return read_integer(sweep, name, node, 0, INT64_MAX, error);
    }
    if (strcmp(name, "architecture"))
        return sweep_refuse_key(sweep, key, "the sweep", sweep_keys, error);
    if (node->kind != YAML_TREE_MAP && (node->kind != YAML_TREE_STRING || !*node->text))
        return REFUSE(sweep, node->line, "architecture must be a text or a graph, not %s",
                      node->kind == YAML_TREE_STRING ? "an empty text" : yaml_tree_kind_name(node->kind));
    sweep->architecture = node;
    return 0;
}

bool sweep_is_outside(const struct sweep *sweep)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, &sweep->fields, "kind") && !strcmp(bson_iter_utf8(&at, NULL), "outside");
}

/* Who chooses by a result needs it in the task. */
static int check_metric_is_kept(const struct sweep *sweep, bson_error_t *error)
{
    bson_iter_t keys, key, name;
    bool found = false;
    bool decides = search_learns(sweep->method) || sweep->has_target || sweep->early.type == STOP_EARLY_ASHA;
    if (!decides || !bson_iter_init_find(&keys, &sweep->fields, "result_keys") ||
        !bson_iter_recurse(&keys, &key) || !bson_iter_init_find(&name, &sweep->metric, "name"))
        return 0;
    while (bson_iter_next(&key))
        found = found || !strcmp(bson_iter_utf8(&key, NULL), bson_iter_utf8(&name, NULL));
    if (found)
        return 0;
    return REFUSE(sweep, yaml_tree_get(sweep->tree->root, "result_keys")->line,
                  "result_keys leaves out %.100s, which method %s chooses by", bson_iter_utf8(&name, NULL),
                  search_method_name(sweep->method));
}

static int read_sweep(struct sweep *sweep, bson_error_t *error)
{
    const struct yaml_tree_node *root = sweep->tree->root;
    if (!root || root->kind == YAML_TREE_NULL)
        return hub_error(error, HUB_ERROR_INVALID, "%s: empty; a sweep has parameters and an architecture",
                         sweep->file_name);
    if (root->kind != YAML_TREE_MAP)
        return REFUSE(sweep, root->line, "a sweep is a map with keys such as method and parameters, not %s",
                      yaml_tree_kind_name(root->kind));
    for (size_t i = 0; i < root->count; i++)
        if (take_key(sweep, root->keys[i], root->items[i], error))
            return -1;
    if (sweep_settle_parameters(sweep, error) || count_points(sweep, yaml_tree_get(root, "run_cap"), error))
        return -1;
    const struct sweep_parameter *seed = sweep_parameter_find(sweep, "seed", 4);
    if (seed && sweep->seed >= 0)
        return REFUSE(sweep, seed->line, "seed stands among the parameters and beside them; keep one");
    if (seed && sweep->seeds > 1)
        return REFUSE(sweep, seed->line, "seed stands among the parameters, and seeds trains each point with several; keep one");
    const struct yaml_tree_node *first = yaml_tree_get(root, "seed");
    if (first && sweep->seed > INT64_MAX - (sweep->seeds - 1))
        return REFUSE(sweep, first->line, "seed: %lld with seeds: %lld goes beyond the largest seed, %lld",
                      (long long)sweep->seed, (long long)sweep->seeds, (long long)INT64_MAX);
    if (search_learns(sweep->method) && bson_empty(&sweep->metric))
        return hub_error(error, HUB_ERROR_INVALID, "%s: method %s needs a metric {name: …, goal: maximize | minimize}",
                         sweep->file_name, search_method_name(sweep->method));
    if (check_metric_is_kept(sweep, error) || sweep_settle_stops(sweep, error) || sweep_prepare_draw(sweep, error))
        return -1;
    if (!sweep->architecture || sweep_is_outside(sweep))
        return 0;
    return sweep_mark_used(sweep, sweep->architecture, error) ? -1 : sweep_check_used(sweep, error);
}

struct sweep *sweep_parse(const char *text, size_t length, const char *file_name, bson_error_t *error)
{
    if (length > SWEEP_TEXT_BYTES) {
        hub_error(error, HUB_ERROR_INVALID, "%s: longer than %u MiB", file_name, SWEEP_TEXT_BYTES >> 20);
        return NULL;
    }
    struct sweep *sweep = aligned_alloc(_Alignof(struct sweep), sizeof *sweep); /* bson_t needs more than calloc's */
    if (!sweep) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", file_name);
        return NULL;
    }
    *sweep = (struct sweep){.seed = -1, .length = length, .seeds = 1, .parallel = SWEEP_PARALLEL};
    bson_init(&sweep->fields);
    bson_init(&sweep->metric);
    sweep->file_name = strdup(file_name);
    sweep->text = malloc(length + 1);
    if (!sweep->file_name || !sweep->text) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", file_name);
        goto failed;
    }
    memcpy(sweep->text, text, length);
    sweep->text[length] = '\0';
    sweep->tree = yaml_tree_parse(text, length, file_name, error);
    if (!sweep->tree || read_sweep(sweep, error))
        goto failed;
    return sweep;
failed:
    sweep_free(sweep);
    return NULL;
}

struct sweep *sweep_load(const char *path, bson_error_t *error)
{
    struct sweep *sweep = NULL;
    char *text = malloc(SWEEP_TEXT_BYTES + 1);
    FILE *file = fopen(path, "rb");
    if (!text) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
    } else if (!file) {
        hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
    } else {
        size_t length = fread(text, 1, SWEEP_TEXT_BYTES + 1, file);
        if (ferror(file))
            hub_error(error, HUB_ERROR_IO, "%s: %s", path, strerror(errno));
        else
            sweep = sweep_parse(text, length, path, error);
    }
    if (file)
        fclose(file);
    free(text);
    return sweep;
}

void sweep_free(struct sweep *sweep)
{
    if (!sweep)
        return;
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        free(sweep->parameters[i].path);
        free(sweep->parameters[i].ends);
    }
    sweep_free_draw(sweep);
    free(sweep->parameters);
    yaml_tree_free(sweep->tree);
    bson_destroy(&sweep->fields);
    bson_destroy(&sweep->metric);
    free(sweep->file_name);
    free(sweep->text);
    free(sweep);
}

int64_t sweep_points(const struct sweep *sweep)
{
    return sweep->points;
}
