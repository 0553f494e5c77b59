/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_impl.h"

#include "distributor/hyper_parameters.h"
#include "kernels/architecture.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sweep_parameter *sweep_parameter_find(const struct sweep *sweep, const char *path, size_t length)
{
    for (size_t i = 0; i < sweep->parameter_count; i++)
        if (strlen(sweep->parameters[i].path) == length && !memcmp(sweep->parameters[i].path, path, length))
            return &sweep->parameters[i];
    return NULL;
}

/* The digits of i in the mixed base of the counts, the last parameter the lowest. */
const struct yaml_tree_node *sweep_value(const struct sweep *sweep, const struct sweep_parameter *parameter, int64_t i)
{
    if (sweep->method != SEARCH_GRID)
        return parameter->range || parameter->count > 1 ? sweep_drawn_value(sweep, parameter, i) : parameter->values[0];
    for (size_t j = sweep->parameter_count; j-- > 0;) {
        int64_t count = (int64_t)sweep->parameters[j].count;
        if (&sweep->parameters[j] == parameter)
            return parameter->values[i % count];
        i /= count;
    }
    return NULL;
}

bool sweep_append_scalar(bson_t *document, const char *key, const struct yaml_tree_node *node)
{
    switch (node->kind) {
    case YAML_TREE_NULL: return BSON_APPEND_NULL(document, key);
    case YAML_TREE_BOOL: return BSON_APPEND_BOOL(document, key, node->boolean);
    case YAML_TREE_FLOAT: return BSON_APPEND_DOUBLE(document, key, node->number);
    case YAML_TREE_STRING: return BSON_APPEND_UTF8(document, key, node->text);
    case YAML_TREE_INT:
        if (node->integer >= INT32_MIN && node->integer <= INT32_MAX)
            return BSON_APPEND_INT32(document, key, (int32_t)node->integer);
        return BSON_APPEND_INT64(document, key, node->integer);
    default: return false;
    }
}

/* {distribution, min, max | mu, sigma, q} */
static bool append_range(bson_t *document, const char *key, const struct sweep_parameter *parameter)
{
    const struct search_dimension *dimension = &parameter->dimension;
    bool limits = dimension->scale <= SEARCH_LOG;
    bson_t inner;
    return BSON_APPEND_DOCUMENT_BEGIN(document, key, &inner) &&
           BSON_APPEND_UTF8(&inner, "distribution", parameter->distribution) &&
           BSON_APPEND_DOUBLE(&inner, limits ? "min" : "mu", limits ? dimension->low : dimension->mu) &&
           BSON_APPEND_DOUBLE(&inner, limits ? "max" : "sigma", limits ? dimension->high : dimension->sigma) &&
           (dimension->quantum == 0 || BSON_APPEND_DOUBLE(&inner, "q", dimension->quantum)) &&
           bson_append_document_end(document, &inner);
}

/* {values: […]}, and probabilities where there are */
static bool append_values(bson_t *document, const char *key, const struct sweep_parameter *parameter)
{
    bson_t inner, list;
    char index[24];
    if (parameter->range)
        return append_range(document, key, parameter);
    bool done = BSON_APPEND_DOCUMENT_BEGIN(document, key, &inner);
    if (!done)
        return false;
    done = BSON_APPEND_ARRAY_BEGIN(&inner, "values", &list);
    for (size_t i = 0; done && i < parameter->count; i++) {
        snprintf(index, sizeof index, "%zu", i);
        done = sweep_append_scalar(&list, index, parameter->values[i]);
    }
    done = done && bson_append_array_end(&inner, &list);
    if (done && parameter->ends) {
        done = BSON_APPEND_ARRAY_BEGIN(&inner, "probabilities", &list);
        for (size_t i = 0; done && i < parameter->count; i++) {
            snprintf(index, sizeof index, "%zu", i);
            done = BSON_APPEND_DOUBLE(&list, index, parameter->ends[i] - (i ? parameter->ends[i - 1] : 0));
        }
        done = done && bson_append_array_end(&inner, &list);
    }
    return done && bson_append_document_end(document, &inner);
}

/* Parameters [begin, end) agree in the first `prefix` characters of their paths; nested ones stand together. i < 0:
 * all values instead of point i's. */
static bool append_group(const struct sweep *sweep, bson_t *document, size_t prefix, size_t begin, size_t end,
                         int64_t i)
{
    bool done = true;
    for (size_t j = begin; done && j < end;) {
        const struct sweep_parameter *parameter = &sweep->parameters[j];
        const char *name = parameter->path + prefix;
        size_t head = strcspn(name, ".");
        if (!name[head]) {
            done = i < 0 ? append_values(document, name, parameter)
                         : sweep_append_scalar(document, name, sweep_value(sweep, parameter, i));
            j++;
            continue;
        }
        size_t last = j;
        while (last < end && !strncmp(sweep->parameters[last].path + prefix, name, head + 1))
            last++;
        bson_t inner;
        done = bson_append_document_begin(document, name, (int)head, &inner) &&
               append_group(sweep, &inner, prefix + head + 1, j, last, i) && bson_append_document_end(document, &inner);
        j = last;
    }
    return done;
}

int sweep_point(const struct sweep *sweep, int64_t i, bson_t *point, bson_error_t *error)
{
    bson_init(point);
    if (i < 0 || i >= sweep->points)
        return hub_error(error, HUB_ERROR_INVALID, "%s: no point %lld among %lld", sweep->file_name, (long long)i,
                         (long long)sweep->points);
    if (!append_group(sweep, point, 0, 0, sweep->parameter_count, i))
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a point", sweep->file_name);
    return 0;
}

int sweep_append_values(const struct sweep *sweep, bson_t *document, const char *key, bson_error_t *error)
{
    bson_t inner;
    if (!BSON_APPEND_DOCUMENT_BEGIN(document, key, &inner) ||
        !append_group(sweep, &inner, 0, 0, sweep->parameter_count, -1) || !bson_append_document_end(document, &inner))
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its values", sweep->file_name);
    return 0;
}

/* ---- ${parameter} ---- */

/* Those of ${name.#}: prefix is "name." of this length. How many. */
static size_t mark_copies(struct sweep *sweep, const char *prefix, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        struct sweep_parameter *parameter = &sweep->parameters[i];
        if (strncmp(parameter->path, prefix, length) || strspn(parameter->path + length, "0123456789") != strlen(parameter->path + length))
            continue;
        parameter->used = true;
        count++;
    }
    return count;
}

int sweep_mark_text(struct sweep *sweep, const char *text, int line, bson_error_t *error)
{
    char where[300];
    if (line)
        snprintf(where, sizeof where, "%.240s:%d", sweep->file_name, line);
    else
        snprintf(where, sizeof where, "the architecture given for %.240s", sweep->file_name);
    while ((text = strstr(text, "${"))) {
        const char *name = text + 2, *closing = strchr(name, '}');
        if (!closing)
            return hub_error(error, HUB_ERROR_INVALID, "%s: '${' has no '}'", where);
        struct sweep_parameter *parameter = sweep_parameter_find(sweep, name, (size_t)(closing - name));
        if (!parameter && closing - name > 2 && !strncmp(closing - 2, ".#", 2) &&
            mark_copies(sweep, name, (size_t)(closing - name) - 1)) {
            text = closing + 1;
            continue;
        }
        if (!parameter) {
            char given[65];
            const char *nearest = NULL;
            int least = 3;
            snprintf(given, sizeof given, "%.*s", (int)(closing - name), name);
            for (size_t i = 0; i < sweep->parameter_count; i++) {
                int distance = hyper_parameters_distance(given, sweep->parameters[i].path, 2);
                if (distance < least) {
                    least = distance;
                    nearest = sweep->parameters[i].path;
                }
            }
            return hub_error(error, HUB_ERROR_INVALID, "%s: ${%s} names no parameter%s%s%s", where, given,
                             nearest ? "; did you mean ${" : "", nearest ? nearest : "", nearest ? "}?" : "");
        }
        parameter->used = true;
        text = closing + 1;
    }
    return 0;
}

int sweep_mark_used(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    if (node->kind == YAML_TREE_STRING)
        return sweep_mark_text(sweep, node->text, node->line, error);
    if (node->kind != YAML_TREE_LIST && node->kind != YAML_TREE_MAP)
        return 0;
    for (size_t i = 0; i < node->count; i++) {
        const char *key = node->kind == YAML_TREE_MAP ? node->keys[i]->text : "";
        if (strstr(key, "${"))
            return hub_error(error, HUB_ERROR_INVALID, "%s:%d: key '%.64s': parameters are filled into values only",
                             sweep->file_name, node->keys[i]->line, key);
        if (sweep_mark_used(sweep, node->items[i], error))
            return -1;
    }
    return 0;
}

int sweep_check_used(const struct sweep *sweep, bson_error_t *error)
{
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        const struct sweep_parameter *parameter = &sweep->parameters[i];
        if (parameter->used || parameter->label || hyper_parameters_known(parameter->path))
            continue;
        const char *nearest = hyper_parameters_nearest(parameter->path);
        return hub_error(error, HUB_ERROR_INVALID,
                         "%s:%d: nothing reads parameter '%s'; %s%s%s: use it in the architecture as ${%s}, or give "
                         "it label: true",
                         sweep->file_name, parameter->line, parameter->path,
                         nearest ? "did you mean '" : "it is no hyper-parameter", nearest ? nearest : "",
                         nearest ? "'? Else" : "", parameter->path);
    }
    return 0;
}

/* The shortest decimal text that reads back as the same double; with a point in every locale. */
static void format_number(double number, char *text, size_t size)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = c ? uselocale(c) : (locale_t)0;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    if (c) {
        uselocale(before);
        freelocale(c);
    }
}

static const char *text_of(const struct yaml_tree_node *value, char *buffer, size_t size)
{
    switch (value->kind) {
    case YAML_TREE_BOOL: return value->boolean ? "true" : "false";
    case YAML_TREE_STRING: return value->text;
    case YAML_TREE_INT: snprintf(buffer, size, "%lld", (long long)value->integer); return buffer;
    default: format_number(value->number, buffer, size); return buffer;
    }
}

void sweep_describe_point(const struct sweep *sweep, int64_t i, char *text, size_t size)
{
    char buffer[40];
    size_t used = 0;
    text[0] = '\0';
    for (size_t j = 0; j < sweep->parameter_count && used + 1 < size; j++) {
        const struct sweep_parameter *parameter = &sweep->parameters[j];
        if (parameter->range || parameter->count > 1)
            used += (size_t)snprintf(text + used, size - used, "%s%s = %.40s", used ? ", " : "", parameter->path,
                                     text_of(sweep_value(sweep, parameter, i), buffer, sizeof buffer));
    }
}

char *sweep_fill_text(const struct sweep *sweep, const char *text, int64_t i, bson_error_t *error)
{
    char *filled = NULL, *repeated, buffer[40];
    size_t length = 0;
    if (!(repeated = sweep_repeat_text(sweep, text, i, error)))
        return NULL;
    if (sweep_check_copies(sweep, repeated, error)) {
        free(repeated);
        return NULL;
    }
    text = repeated;
    FILE *out = open_memstream(&filled, &length);
    /* What is longer than an architecture may be is refused when it is parsed: no need to write more of it. */
    for (const char *next; out && (next = strstr(text, "${")) && ftello(out) <= ARCHITECTURE_TEXT_BYTES;
         text = strchr(next, '}') + 1) {
        const char *name = next + 2;
        const struct sweep_parameter *parameter = sweep_parameter_find(sweep, name, (size_t)(strchr(name, '}') - name));
        fprintf(out, "%.*s%s", (int)(next - text), text,
                text_of(sweep_value(sweep, parameter, i), buffer, sizeof buffer));
    }
    if (out)
        fputs(text, out);
    bool failed = !out || ferror(out);
    free(repeated);
    if ((out && fclose(out)) || failed) {
        free(filled);
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to fill in a text", sweep->file_name);
        return NULL;
    }
    return filled;
}

static int append_text(const struct sweep *sweep, bson_t *document, const char *key, const char *text, int64_t i,
                       bson_error_t *error)
{
    const char *closing = strchr(text, '}');
    bool done;
    if (document->len > 4 * ARCHITECTURE_TEXT_BYTES)
        return hub_error(error, HUB_ERROR_INVALID, "%s: the architecture is too long, filled in", sweep->file_name);
    if (i < 0) {
        done = BSON_APPEND_UTF8(document, key, text);
    } else if (!strncmp(text, "${", 2) && closing && !closing[1]) {
        const struct sweep_parameter *parameter = sweep_parameter_find(sweep, text + 2, (size_t)(closing - text) - 2);
        done = sweep_append_scalar(document, key, sweep_value(sweep, parameter, i));
    } else {
        char *filled = sweep_fill_text(sweep, text, i, error);
        if (!filled)
            return -1;
        done = BSON_APPEND_UTF8(document, key, filled);
        free(filled);
    }
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to fill in a text", sweep->file_name);
}

int sweep_append_filled(const struct sweep *sweep, bson_t *document, const char *key, const struct yaml_tree_node *node,
                        int64_t i, bson_error_t *error)
{
    bson_t inner;
    char index[24];
    int result = 0;
    bool list = node->kind == YAML_TREE_LIST;
    if (node->kind == YAML_TREE_STRING)
        return append_text(sweep, document, key, node->text, i, error);
    if (!list && node->kind != YAML_TREE_MAP)
        return sweep_append_scalar(document, key, node)
                   ? 0
                   : hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a value", sweep->file_name);
    if (list)
        BSON_APPEND_ARRAY_BEGIN(document, key, &inner);
    else
        BSON_APPEND_DOCUMENT_BEGIN(document, key, &inner);
    for (size_t j = 0; !result && j < node->count; j++) {
        if (list)
            snprintf(index, sizeof index, "%zu", j);
        result = sweep_append_filled(sweep, &inner, list ? index : node->keys[j]->text, node->items[j], i, error);
    }
    if (list)
        bson_append_array_end(document, &inner);
    else
        bson_append_document_end(document, &inner);
    return result;
}
