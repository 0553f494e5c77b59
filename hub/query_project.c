/* SPDX-License-Identifier: Apache-2.0 */
/* Sorts and projections. */
#include "hub/query_impl.h"

#include <string.h>

#define SORT_PATHS_LIMIT 32 /* MongoDB's */
#define DEPTH_LIMIT 128

static bool holds_number(const bson_iter_t *value, double number)
{
    return BSON_ITER_HOLDS_NUMBER(value) && bson_iter_as_double(value) == number;
}

int query_check_sort(const bson_t *sort, bson_error_t *error)
{
    bson_iter_t iter, other;
    int paths = 0;
    if (!bson_iter_init(&iter, sort))
        return hub_error(error, HUB_ERROR_INVALID, "sort: malformed BSON");
    while (bson_iter_next(&iter)) {
        const char *path = bson_iter_key(&iter);
        if (query_check_path(path, "sort", error))
            return -1;
        if (!holds_number(&iter, 1) && !holds_number(&iter, -1))
            return hub_error(error, HUB_ERROR_INVALID, "sort: '%.80s' must be 1 or -1", path);
        if (++paths > SORT_PATHS_LIMIT)
            return hub_error(error, HUB_ERROR_INVALID, "sort: more than %d paths", SORT_PATHS_LIMIT);
        bson_iter_init(&other, sort);
        bson_iter_find(&other, path);
        if (bson_iter_offset(&other) != bson_iter_offset(&iter))
            return hub_error(error, HUB_ERROR_INVALID, "sort: '%.80s' is named twice", path);
    }
    if (iter.err_off)
        return hub_error(error, HUB_ERROR_INVALID, "sort: malformed BSON");
    return 0;
}

/* 1 include, 0 exclude, -1 neither. */
static int projection_value(const bson_iter_t *value)
{
    if (BSON_ITER_HOLDS_BOOL(value))
        return bson_iter_bool(value);
    if (holds_number(value, 0))
        return 0;
    return holds_number(value, 1) ? 1 : -1;
}

int query_check_projection(const bson_t *projection, bson_error_t *error)
{
    bson_iter_t iter, other;
    int mode = -1;
    bool id_included = false;
    if (!bson_iter_init(&iter, projection))
        return hub_error(error, HUB_ERROR_INVALID, "projection: malformed BSON");
    while (bson_iter_next(&iter)) {
        const char *path = bson_iter_key(&iter);
        int value = projection_value(&iter);
        if (query_check_path(path, "projection", error))
            return -1;
        if (value < 0)
            return hub_error(error, HUB_ERROR_INVALID, "projection: '%.80s' must be 1 or 0", path);
        if (strncmp(path, "_id.", 4) == 0)
            return hub_error(error, HUB_ERROR_INVALID, "projection: name _id as a whole, not '%.80s'", path);
        if (strcmp(path, "_id") == 0) {
            id_included = value == 1;
        } else if (mode < 0) {
            mode = value;
        } else if (mode != value) {
            return hub_error(error, HUB_ERROR_INVALID, "projection: '%.80s' mixes 1 and 0 (only _id may differ)", path);
        }
        bson_iter_init(&other, projection);
        while (bson_iter_next(&other) && bson_iter_offset(&other) != bson_iter_offset(&iter))
            if (query_path_is_prefix(bson_iter_key(&other), path) || query_path_is_prefix(path, bson_iter_key(&other)))
                return hub_error(error, HUB_ERROR_INVALID, "projection: '%.80s' and '%.80s' overlap",
                                 bson_iter_key(&other), path);
    }
    if (iter.err_off)
        return hub_error(error, HUB_ERROR_INVALID, "projection: malformed BSON");
    if (id_included && mode == 0)
        return hub_error(error, HUB_ERROR_INVALID, "projection: _id: 1 does not go with paths of 0; leave it out");
    return 0;
}

/* ---- applying ---- */

struct projection {
    const bson_t *paths;
    bool include;
    bool id;
};

/* How the path of length prefix bytes relates to the projection's paths: 1 named, 0 leads to a named one, -1 not. */
static int relation(const struct projection *projection, const char *path, size_t length)
{
    bson_iter_t iter;
    int best = -1;
    bson_iter_init(&iter, projection->paths);
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        if (strcmp(key, "_id") == 0 || strncmp(key, path, length) != 0)
            continue;
        if (key[length] == '\0')
            return 1;
        if (key[length] == '.')
            best = 0;
    }
    return best;
}

static void project_fields(const struct projection *projection, bson_iter_t *fields, bson_string_t *prefix, bool array,
                           unsigned depth, bson_t *out);

static void project_child(const struct projection *projection, const bson_iter_t *value, const char *key,
                          bson_string_t *prefix, unsigned depth, bson_t *out)
{
    bson_iter_t fields;
    bson_t child;
    bool array = BSON_ITER_HOLDS_ARRAY(value);
    if (depth > DEPTH_LIMIT || !bson_iter_recurse(value, &fields))
        return;
    if (array)
        bson_append_array_begin(out, key, -1, &child);
    else
        bson_append_document_begin(out, key, -1, &child);
    project_fields(projection, &fields, prefix, array, depth + 1, &child);
    if (array)
        bson_append_array_end(out, &child);
    else
        bson_append_document_end(out, &child);
}

/* An array's elements stand at their array's path; of those that are no documents an inclusion keeps nothing. */
static void project_elements(const struct projection *projection, bson_iter_t *elements, bson_string_t *prefix,
                             unsigned depth, bson_t *out)
{
    uint32_t index = 0;
    while (bson_iter_next(elements)) {
        char buffer[16];
        const char *key;
        bool nested = BSON_ITER_HOLDS_DOCUMENT(elements) || BSON_ITER_HOLDS_ARRAY(elements);
        if (!nested && projection->include)
            continue;
        bson_uint32_to_string(index++, &key, buffer, sizeof buffer);
        if (nested)
            project_child(projection, elements, key, prefix, depth, out);
        else
            bson_append_iter(out, key, -1, elements);
    }
}

static void project_fields(const struct projection *projection, bson_iter_t *fields, bson_string_t *prefix, bool array,
                           unsigned depth, bson_t *out)
{
    if (array) {
        project_elements(projection, fields, prefix, depth, out);
        return;
    }
    while (bson_iter_next(fields)) {
        const char *key = bson_iter_key(fields);
        if (depth == 0 && strcmp(key, "_id") == 0) {
            if (projection->id)
                bson_append_iter(out, key, -1, fields);
            continue;
        }
        uint32_t length = prefix->len;
        if (length)
            bson_string_append(prefix, ".");
        bson_string_append(prefix, key);
        int named = relation(projection, prefix->str, prefix->len);
        bool nested = BSON_ITER_HOLDS_DOCUMENT(fields) || BSON_ITER_HOLDS_ARRAY(fields);
        if (named == 0 && nested)
            project_child(projection, fields, key, prefix, depth, out);
        else if (projection->include ? named == 1 : named != 1)
            bson_append_iter(out, key, -1, fields);
        bson_string_truncate(prefix, length);
    }
}

int query_project(const bson_t *projection, const bson_t *document, bson_t *out, bson_error_t *error)
{
    bson_init(out);
    struct projection plan = {.paths = projection, .include = false, .id = true};
    bson_iter_t iter;
    bool id_named = false, others = false;
    if (!bson_iter_init(&iter, projection))
        return hub_error(error, HUB_ERROR_INVALID, "projection: malformed BSON");
    while (bson_iter_next(&iter)) {
        bool value = projection_value(&iter) == 1;
        if (strcmp(bson_iter_key(&iter), "_id") == 0) {
            plan.id = value;
            id_named = true;
        } else {
            plan.include = value;
            others = true;
        }
    }
    if (id_named && !others)
        plan.include = plan.id;
    if (!bson_iter_init(&iter, document))
        return hub_error(error, HUB_ERROR_CORRUPT, "projection: the document is malformed");
    bson_string_t *prefix = bson_string_new(NULL);
    project_fields(&plan, &iter, prefix, false, 0, out);
    bson_string_free(prefix, true);
    return 0;
}
