/* SPDX-License-Identifier: Apache-2.0 */
/* Updates become a tree by the parts of their paths; applying walks the tree and the document together once. */
#include "hub/update.h"

#include "hub/query_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_PADDING_LIMIT 1500000 /* MongoDB's */
#define OPERATORS "$set $unset $inc $min $max $push $setOnInsert $currentDate"

enum operator {
    INNER, /* only leads to children */
    SET,
    UNSET,
    INC,
    MIN,
    MAX,
    PUSH,
    SET_ON_INSERT,
    CURRENT_DATE
};

struct node {
    enum operator operator;
    char *name;
    char *path;        /* of a leaf, whole */
    bson_iter_t value; /* points into the update's copy */
    bool each;         /* PUSH: value is the array of $each */
    bool sliced;
    int64_t slice;
    struct node **children; /* in the order in which new fields are added: MongoDB's, by name, numbers as numbers */
    size_t count;
};

struct update {
    bson_t *bson;
    struct node *root;
};

struct application {
    bool inserting;
    int64_t now_ms;
    bson_error_t *error;
};

/* ---- parsing ---- */

static void node_free(struct node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++)
        node_free(node->children[i]);
    bson_free(node->children);
    bson_free(node->name);
    bson_free(node->path);
    bson_free(node);
}

/* An array index as MongoDB writes it (no leading zeros), or -1. */
static int64_t array_index(const char *name)
{
    size_t length = strspn(name, "0123456789");
    if (length == 0 || length > 9 || name[length] || (name[0] == '0' && length > 1))
        return -1;
    return strtoll(name, NULL, 10);
}

static int compare_names(const char *a, const char *b)
{
    int64_t x = array_index(a), y = array_index(b);
    if (x >= 0 && y >= 0)
        return (x > y) - (x < y);
    return strcmp(a, b);
}

/* The child of that name, made where it is missing. */
static struct node *child_at(struct node *parent, const char *name)
{
    size_t at = 0;
    while (at < parent->count && compare_names(parent->children[at]->name, name) < 0)
        at++;
    if (at < parent->count && strcmp(parent->children[at]->name, name) == 0)
        return parent->children[at];
    parent->children = bson_realloc(parent->children, (parent->count + 1) * sizeof *parent->children);
    memmove(parent->children + at + 1, parent->children + at, (parent->count - at) * sizeof *parent->children);
    parent->count++;
    parent->children[at] = bson_aligned_alloc0(_Alignof(struct node), sizeof **parent->children);
    parent->children[at]->name = bson_strdup(name);
    return parent->children[at];
}

static int conflict(const char *path, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "update: '%.80s' is touched twice, as a whole or in part", path);
}

static int add_leaf(struct update *update, enum operator operator, const bson_iter_t *value, struct node **leaf,
                    bson_error_t *error)
{
    struct query_path path;
    struct node *node = update->root;
    int result = -1;
    query_path_init(&path, bson_iter_key(value));
    for (size_t i = 0; i < path.count; i++) {
        if (node->operator != INNER) {
            conflict(path.text, error);
            goto out;
        }
        node = child_at(node, path.parts[i]);
    }
    if (node->operator != INNER || node->count > 0) {
        conflict(path.text, error);
        goto out;
    }
    node->operator = operator;
    node->path = bson_strdup(path.text);
    node->value = *value;
    *leaf = node;
    result = 0;
out:
    query_path_destroy(&path);
    return result;
}

static int parse_push(struct node *leaf, unsigned depth, bson_error_t *error)
{
    bson_iter_t iter, each = {0};
    const char *path = leaf->path;
    if (!BSON_ITER_HOLDS_DOCUMENT(&leaf->value) || !bson_iter_recurse(&leaf->value, &iter) || !bson_iter_next(&iter) ||
        bson_iter_key(&iter)[0] != '$')
        return query_check_value(&leaf->value, "update", depth + 1, error);
    do {
        const char *key = bson_iter_key(&iter);
        if (strcmp(key, "$each") == 0) {
            if (!BSON_ITER_HOLDS_ARRAY(&iter))
                return hub_error(error, HUB_ERROR_INVALID, "update: $each on '%.80s' needs an array", path);
            if (query_check_value(&iter, "update", depth, error))
                return -1;
            each = iter;
            leaf->each = true;
        } else if (strcmp(key, "$slice") == 0) {
            double slice = BSON_ITER_HOLDS_NUMBER(&iter) ? bson_iter_as_double(&iter) : 0.5;
            if (slice != nearbyint(slice) || fabs(slice) > INT32_MAX)
                return hub_error(error, HUB_ERROR_INVALID, "update: $slice on '%.80s' must be a whole number", path);
            leaf->sliced = true;
            leaf->slice = (int64_t)slice;
        } else {
            return hub_error(error, HUB_ERROR_INVALID, "update: %.80s on '%.80s' is not one of $each $slice", key,
                             path);
        }
    } while (bson_iter_next(&iter));
    if (!leaf->each)
        return hub_error(error, HUB_ERROR_INVALID, "update: $slice on '%.80s' goes only with $each", path);
    leaf->value = each;
    return 0;
}

static int parse_path(struct update *update, enum operator operator, const bson_iter_t *value, bson_error_t *error)
{
    const char *path = bson_iter_key(value);
    struct node *leaf = NULL;
    unsigned depth = 1;
    if (query_check_path(path, "update", error))
        return -1;
    if (query_path_is_prefix("_id", path))
        return hub_error(error, HUB_ERROR_INVALID, "update: _id cannot be changed");
    for (const char *c = path; *c; c++)
        depth += *c == '.';
    if (add_leaf(update, operator, value, &leaf, error))
        return -1;
    switch (operator) {
    case SET:
    case SET_ON_INSERT:
    case MIN:
    case MAX:
        return query_check_value(value, "update", depth, error);
    case INC:
        if (!BSON_ITER_HOLDS_NUMBER(value))
            return hub_error(error, HUB_ERROR_INVALID, "update: $inc of '%.80s' must be by a number", path);
        return 0;
    case PUSH:
        return parse_push(leaf, depth, error);
    case CURRENT_DATE: {
        bson_iter_t type;
        if (BSON_ITER_HOLDS_BOOL(value) && bson_iter_bool(value))
            return 0;
        if (BSON_ITER_HOLDS_DOCUMENT(value) && bson_iter_recurse(value, &type) && bson_iter_next(&type) &&
            strcmp(bson_iter_key(&type), "$type") == 0 && BSON_ITER_HOLDS_UTF8(&type) &&
            strcmp(bson_iter_utf8(&type, NULL), "date") == 0 && !bson_iter_next(&type))
            return 0;
        return hub_error(error, HUB_ERROR_INVALID, "update: $currentDate of '%.80s' must be true or {$type: \"date\"}",
                         path);
    }
    default:
        return 0;
    }
}

static int parse_operators(struct update *update, bson_error_t *error)
{
    static const struct {
        const char *name;
        enum operator operator;
    } names[] = {{"$set", SET}, {"$unset", UNSET}, {"$inc", INC}, {"$min", MIN}, {"$max", MAX}, {"$push", PUSH},
                 {"$setOnInsert", SET_ON_INSERT}, {"$currentDate", CURRENT_DATE}};
    const size_t operators = sizeof names / sizeof *names;
    bson_iter_t iter, paths;
    bool any = false;
    if (!bson_iter_init(&iter, update->bson))
        return hub_error(error, HUB_ERROR_INVALID, "update: malformed BSON");
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        size_t i = 0;
        while (i < operators && strcmp(key, names[i].name) != 0)
            i++;
        if (key[0] != '$')
            return hub_error(error, HUB_ERROR_INVALID,
                             "update: '%.80s' is no operator; a document is not replaced as a whole, use $set", key);
        if (i == operators)
            return hub_error(error, HUB_ERROR_INVALID, "update: operator %.80s is not one of %s", key, OPERATORS);
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &paths) || !bson_iter_next(&paths))
            return hub_error(error, HUB_ERROR_INVALID, "update: %s needs a document with a path", key);
        do {
            if (parse_path(update, names[i].operator, &paths, error))
                return -1;
        } while (bson_iter_next(&paths));
        if (paths.err_off)
            return hub_error(error, HUB_ERROR_INVALID, "update: malformed BSON");
        any = true;
    }
    if (iter.err_off)
        return hub_error(error, HUB_ERROR_INVALID, "update: malformed BSON");
    if (!any)
        return hub_error(error, HUB_ERROR_INVALID, "update: no operator; use one of %s", OPERATORS);
    return 0;
}

struct update *update_parse(const bson_t *bson, bson_error_t *error)
{
    struct update *update = bson_malloc0(sizeof *update);
    update->bson = bson_copy(bson);
    update->root = bson_aligned_alloc0(_Alignof(struct node), sizeof *update->root);
    if (parse_operators(update, error)) {
        update_free(update);
        return NULL;
    }
    return update;
}

void update_free(struct update *update)
{
    if (!update)
        return;
    node_free(update->root);
    bson_destroy(update->bson);
    bson_free(update);
}

static int check_no_array(const struct node *node, const char *path, bson_error_t *error)
{
    bool array = false;
    switch (node->operator) {
    case INNER:
        for (size_t i = 0; i < node->count; i++)
            if (check_no_array(node->children[i], path, error))
                return -1;
        return 0;
    case PUSH:
        array = query_path_is_prefix(node->path, path);
        break;
    case SET:
    case SET_ON_INSERT:
    case MIN:
    case MAX: {
        if (!query_path_is_prefix(node->path, path))
            return 0;
        bson_iter_t value = node->value, child;
        const char *rest = path + strlen(node->path);
        while (*rest && BSON_ITER_HOLDS_DOCUMENT(&value) && bson_iter_recurse(&value, &child)) {
            size_t length = strcspn(++rest, ".");
            if (!bson_iter_find_w_len(&child, rest, (int)length))
                return 0;
            value = child;
            rest += length;
        }
        array = BSON_ITER_HOLDS_ARRAY(&value);
        break;
    }
    default:
        break;
    }
    if (array)
        return hub_error(error, HUB_ERROR_INVALID, "update: '%.80s' would put an array at the indexed path '%.80s'",
                         node->path, path);
    return 0;
}

int update_check_no_array(const struct update *update, const char *path, bson_error_t *error)
{
    return check_no_array(update->root, path, error);
}

/* ---- applying ---- */

/* Whether the node makes something where nothing is. */
static bool creates(const struct application *apply, const struct node *node)
{
    if (node->operator == UNSET)
        return false;
    if (node->operator == SET_ON_INSERT)
        return apply->inserting;
    if (node->operator != INNER)
        return true;
    for (size_t i = 0; i < node->count; i++)
        if (creates(apply, node->children[i]))
            return true;
    return false;
}

static int too_large(const struct application *apply)
{
    return hub_error(apply->error, HUB_ERROR_INVALID, "update: the document would become too large");
}

static int append_value(const struct application *apply, bson_t *out, const char *key, const bson_iter_t *value)
{
    return bson_append_iter(out, key, -1, value) ? 0 : too_large(apply);
}

static int append_sum(const struct application *apply, const struct node *node, const char *key,
                      const bson_iter_t *value, bson_t *out)
{
    if (!BSON_ITER_HOLDS_NUMBER(value))
        return hub_error(apply->error, HUB_ERROR_INVALID, "update: $inc of '%.80s', which is no number", node->path);
    if (BSON_ITER_HOLDS_DOUBLE(value) || BSON_ITER_HOLDS_DOUBLE(&node->value)) {
        double sum = bson_iter_as_double(value) + bson_iter_as_double(&node->value);
        return bson_append_double(out, key, -1, sum) ? 0 : too_large(apply);
    }
    int64_t sum;
    if (__builtin_add_overflow(bson_iter_as_int64(value), bson_iter_as_int64(&node->value), &sum))
        return hub_error(apply->error, HUB_ERROR_INVALID, "update: $inc of '%.80s' leaves the range of int64",
                         node->path);
    bool narrow = BSON_ITER_HOLDS_INT32(value) && BSON_ITER_HOLDS_INT32(&node->value) && sum >= INT32_MIN &&
                  sum <= INT32_MAX;
    bool ok = narrow ? bson_append_int32(out, key, -1, (int32_t)sum) : bson_append_int64(out, key, -1, sum);
    return ok ? 0 : too_large(apply);
}

static uint32_t count_elements(const bson_iter_t *array)
{
    bson_iter_t element;
    uint32_t count = 0;
    if (bson_iter_recurse(array, &element))
        while (bson_iter_next(&element))
            count++;
    return count;
}

/* Appends to array the elements whose place in the whole, counted from *place, is within [from, to). */
static bool copy_elements(bson_t *array, bson_iter_t *elements, int64_t *place, int64_t from, int64_t to,
                          uint32_t *index)
{
    while (bson_iter_next(elements)) {
        int64_t here = (*place)++;
        if (here < from || here >= to)
            continue;
        char buffer[16];
        const char *key;
        bson_uint32_to_string((*index)++, &key, buffer, sizeof buffer);
        if (!bson_append_iter(array, key, -1, elements))
            return false;
    }
    return true;
}

/* existing NULL: there was no array. */
static int append_pushed(const struct application *apply, const struct node *node, const char *key,
                         const bson_iter_t *existing, bson_t *out)
{
    if (existing && !BSON_ITER_HOLDS_ARRAY(existing))
        return hub_error(apply->error, HUB_ERROR_INVALID, "update: $push to '%.80s', which is no array", node->path);
    int64_t total = (existing ? count_elements(existing) : 0) + (node->each ? count_elements(&node->value) : 1);
    int64_t from = 0, to = total, place = 0;
    if (node->sliced && node->slice >= 0)
        to = node->slice < total ? node->slice : total;
    else if (node->sliced && -node->slice < total)
        from = total + node->slice;
    bson_t array;
    bson_iter_t elements;
    uint32_t index = 0;
    bool ok = bson_append_array_begin(out, key, -1, &array);
    if (!ok)
        return too_large(apply);
    if (existing && bson_iter_recurse(existing, &elements))
        ok = copy_elements(&array, &elements, &place, from, to, &index);
    if (ok && node->each && bson_iter_recurse(&node->value, &elements)) {
        ok = copy_elements(&array, &elements, &place, from, to, &index);
    } else if (ok && !node->each) {
        char buffer[16];
        const char *index_key;
        bson_uint32_to_string(index, &index_key, buffer, sizeof buffer);
        ok = bson_append_iter(&array, index_key, -1, &node->value);
    }
    bson_append_array_end(out, &array);
    return ok ? 0 : too_large(apply);
}

static int apply_missing(const struct application *apply, const struct node *node, const char *key, bson_t *out)
{
    if (!creates(apply, node))
        return 0;
    switch (node->operator) {
    case INNER: {
        bson_t child;
        int result = 0;
        if (!bson_append_document_begin(out, key, -1, &child))
            return too_large(apply);
        for (size_t i = 0; i < node->count && result == 0; i++)
            result = apply_missing(apply, node->children[i], node->children[i]->name, &child);
        bson_append_document_end(out, &child);
        return result;
    }
    case PUSH:
        return append_pushed(apply, node, key, NULL, out);
    case CURRENT_DATE:
        return bson_append_date_time(out, key, -1, apply->now_ms) ? 0 : too_large(apply);
    default:
        return append_value(apply, out, key, &node->value);
    }
}

static int apply_fields(const struct application *apply, const struct node *node, bson_iter_t *fields, bson_t *out);
static int apply_elements(const struct application *apply, const struct node *node, bson_iter_t *elements,
                          bson_t *out);

static int apply_existing(const struct application *apply, const struct node *node, const bson_iter_t *value,
                          const char *key, bool in_array, bson_t *out)
{
    switch (node->operator) {
    case UNSET:
        if (in_array) /* the others keep their places */
            return bson_append_null(out, key, -1) ? 0 : too_large(apply);
        return 0;
    case SET:
        return append_value(apply, out, key, &node->value);
    case SET_ON_INSERT:
        return append_value(apply, out, key, apply->inserting ? &node->value : value);
    case INC:
        return append_sum(apply, node, key, value, out);
    case MIN:
        return append_value(apply, out, key, query_compare_values(&node->value, value) < 0 ? &node->value : value);
    case MAX:
        return append_value(apply, out, key, query_compare_values(&node->value, value) > 0 ? &node->value : value);
    case PUSH:
        return append_pushed(apply, node, key, value, out);
    case CURRENT_DATE:
        return bson_append_date_time(out, key, -1, apply->now_ms) ? 0 : too_large(apply);
    default:
        break;
    }
    bson_iter_t inside;
    bson_t child;
    int result;
    if (BSON_ITER_HOLDS_DOCUMENT(value) && bson_iter_recurse(value, &inside)) {
        if (!bson_append_document_begin(out, key, -1, &child))
            return too_large(apply);
        result = apply_fields(apply, node, &inside, &child);
        bson_append_document_end(out, &child);
        return result;
    }
    if (BSON_ITER_HOLDS_ARRAY(value) && bson_iter_recurse(value, &inside)) {
        if (!bson_append_array_begin(out, key, -1, &child))
            return too_large(apply);
        result = apply_elements(apply, node, &inside, &child);
        bson_append_array_end(out, &child);
        return result;
    }
    if (creates(apply, node))
        return hub_error(apply->error, HUB_ERROR_INVALID, "update: '%.80s' holds a value that is no document, so "
                         "nothing can be put inside", node->name);
    return append_value(apply, out, key, value);
}

static int damaged(const struct application *apply)
{
    return hub_error(apply->error, HUB_ERROR_CORRUPT, "update: the stored document is malformed");
}

static int apply_fields(const struct application *apply, const struct node *node, bson_iter_t *fields, bson_t *out)
{
    bool small[32] = {false};
    bool *seen = node->count <= 32 ? small : bson_malloc0(node->count);
    int result = 0;
    while (result == 0 && bson_iter_next(fields)) {
        const char *key = bson_iter_key(fields);
        size_t i = 0;
        while (i < node->count && (seen[i] || strcmp(node->children[i]->name, key) != 0))
            i++;
        if (i == node->count) {
            result = append_value(apply, out, key, fields);
        } else {
            seen[i] = true;
            result = apply_existing(apply, node->children[i], fields, key, false, out);
        }
    }
    if (result == 0 && fields->err_off)
        result = damaged(apply);
    for (size_t i = 0; i < node->count && result == 0; i++)
        if (!seen[i])
            result = apply_missing(apply, node->children[i], node->children[i]->name, out);
    if (seen != small)
        bson_free(seen);
    return result;
}

static int apply_elements(const struct application *apply, const struct node *node, bson_iter_t *elements, bson_t *out)
{
    uint32_t index = 0;
    char buffer[16];
    const char *key;
    for (size_t i = 0; i < node->count; i++)
        if (array_index(node->children[i]->name) < 0 && creates(apply, node->children[i]))
            return hub_error(apply->error, HUB_ERROR_INVALID, "update: '%.80s' is an array and has no field '%.80s'",
                             node->name, node->children[i]->name);
    for (; bson_iter_next(elements); index++) {
        size_t i = 0;
        while (i < node->count && array_index(node->children[i]->name) != (int64_t)index)
            i++;
        bson_uint32_to_string(index, &key, buffer, sizeof buffer);
        if (i == node->count ? append_value(apply, out, key, elements)
                             : apply_existing(apply, node->children[i], elements, key, true, out))
            return -1;
    }
    if (elements->err_off)
        return damaged(apply);
    for (size_t i = 0; i < node->count; i++) {
        int64_t at = array_index(node->children[i]->name);
        if (at < (int64_t)index || !creates(apply, node->children[i]))
            continue;
        if (at - (int64_t)index > ARRAY_PADDING_LIMIT)
            return hub_error(apply->error, HUB_ERROR_INVALID, "update: index %s is too far beyond the end of '%.80s'",
                             node->children[i]->name, node->name);
        for (; (int64_t)index < at; index++) {
            bson_uint32_to_string(index, &key, buffer, sizeof buffer);
            if (!bson_append_null(out, key, -1))
                return too_large(apply);
        }
        bson_uint32_to_string(index++, &key, buffer, sizeof buffer);
        if (apply_missing(apply, node->children[i], key, out))
            return -1;
    }
    return 0;
}

int update_apply(const struct update *update, const bson_t *document, bool inserting, int64_t now_ms, bson_t *out,
                 bson_error_t *error)
{
    struct application apply = {.inserting = inserting, .now_ms = now_ms, .error = error};
    bson_iter_t fields;
    bson_init(out);
    if (!bson_iter_init(&fields, document))
        return damaged(&apply);
    return apply_fields(&apply, update->root, &fields, out);
}
