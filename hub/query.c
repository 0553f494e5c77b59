/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: from BSON to struct query. What a parsed filter matches: query_match.c. */
#include "hub/query_impl.h"
#include "hub/update.h"

#include <string.h>

#define NESTING_LIMIT 40 /* of $and, $or, $nor and $not in each other */
#define OPERATORS "$eq $ne $gt $gte $lt $lte $in $nin $all $exists $not $regex, and $and $or $nor between filters"

static struct query_node *node_new(enum query_kind kind)
{
    struct query_node *node = bson_aligned_alloc0(_Alignof(struct query_node), sizeof *node);
    node->kind = kind;
    return node;
}

static struct query_node *leaf_new(enum query_kind kind, const char *path)
{
    struct query_node *node = node_new(kind);
    query_path_init(&node->path, path);
    return node;
}

static void node_free(struct query_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++)
        node_free(node->children[i]);
    bson_free(node->children);
    bson_free(node->literal);
    query_ranges_free(node->ranges);
    query_path_destroy(&node->path);
    bson_free(node);
}

static void node_add(struct query_node *parent, struct query_node *child)
{
    parent->children = bson_realloc(parent->children, (parent->count + 1) * sizeof *parent->children);
    parent->children[parent->count++] = child;
}

/* Adds NOT(child) to parent. */
static void node_add_not(struct query_node *parent, struct query_node *child)
{
    struct query_node *not = node_new(QUERY_NOT);
    node_add(not, child);
    node_add(parent, not);
}

/* {$regex: "…"}, or the BSON type that extended JSON reads it as: a literal, maybe after ^; metacharacters escaped. */
static int parse_literal(struct query_node *node, const bson_iter_t *value, bson_error_t *error)
{
    const char *path = node->path.text, *pattern = NULL, *options = "";
    uint32_t length = 0;
    if (BSON_ITER_HOLDS_REGEX(value)) {
        pattern = bson_iter_regex(value, &options);
        length = pattern ? (uint32_t)strlen(pattern) : 0;
    } else if (BSON_ITER_HOLDS_UTF8(value)) {
        pattern = bson_iter_utf8(value, &length);
    }
    if (!pattern)
        return hub_error(error, HUB_ERROR_INVALID, "filter: $regex on '%.80s' must be a string", path);
    if (options && *options)
        return hub_error(error, HUB_ERROR_INVALID, "filter: $regex on '%.80s' takes no $options", path);
    if (!bson_utf8_validate(pattern, length, false))
        return hub_error(error, HUB_ERROR_INVALID, "filter: $regex on '%.80s' is not valid UTF-8", path);
    node->literal = bson_malloc(length + 1u);
    uint32_t i = 0;
    if (length > 0 && pattern[0] == '^') {
        node->anchored = true;
        i = 1;
    }
    for (; i < length; i++) {
        char c = pattern[i];
        if (c == '\\') {
            c = i + 1 < length ? pattern[++i] : '\0';
            bool punctuation = c > ' ' && c < 127 && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z') &&
                               c != '_';
            if (!punctuation)
                return hub_error(error, HUB_ERROR_INVALID,
                                 "filter: $regex on '%.80s': a backslash must be followed by a metacharacter", path);
        } else if (strchr("^$.|?*+()[]{}", c)) {
            return hub_error(error, HUB_ERROR_INVALID,
                             "filter: $regex on '%.80s': only a literal is allowed, after ^ or not; put a backslash "
                             "before '%c'", path, c);
        }
        node->literal[node->literal_length++] = c;
    }
    return 0;
}

static int parse_operators(struct query_node *parent, const char *path, const bson_iter_t *document, unsigned depth,
                           bson_error_t *error);

static int check_array(const bson_iter_t *value, const char *operator, const char *path, bson_error_t *error)
{
    if (!BSON_ITER_HOLDS_ARRAY(value))
        return hub_error(error, HUB_ERROR_INVALID, "filter: %s on '%.80s' needs an array", operator, path);
    return query_check_value(value, "filter", 1, error);
}

static int parse_operator(struct query_node *parent, const char *path, const bson_iter_t *value, unsigned depth,
                          bson_error_t *error)
{
    static const struct {
        const char *name;
        enum query_kind kind;
        bool negated;
    } comparisons[] = {{"$eq", QUERY_EQ, false}, {"$ne", QUERY_EQ, true},   {"$gt", QUERY_GT, false},
                       {"$gte", QUERY_GTE, false}, {"$lt", QUERY_LT, false}, {"$lte", QUERY_LTE, false},
                       {"$in", QUERY_IN, false}, {"$nin", QUERY_IN, true}};
    const char *operator = bson_iter_key(value);
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        if (strcmp(operator, comparisons[i].name) != 0)
            continue;
        if (comparisons[i].kind == QUERY_IN ? check_array(value, operator, path, error)
                                            : query_check_value(value, "filter", 1, error))
            return -1;
        struct query_node *node = leaf_new(comparisons[i].kind, path);
        node->value = *value;
        if (comparisons[i].negated)
            node_add_not(parent, node);
        else
            node_add(parent, node);
        return 0;
    }
    if (strcmp(operator, "$all") == 0) {
        bson_iter_t element;
        if (check_array(value, operator, path, error))
            return -1;
        bool empty = true;
        for (bson_iter_recurse(value, &element); bson_iter_next(&element); empty = false) {
            struct query_node *node = leaf_new(QUERY_EQ, path);
            node->value = element;
            node_add(parent, node);
        }
        if (empty) /* as in MongoDB, all of nothing is nothing */
            node_add(parent, node_new(QUERY_OR));
        return 0;
    }
    if (strcmp(operator, "$exists") == 0) {
        bool exists = bson_iter_as_bool(value);
        if (!BSON_ITER_HOLDS_BOOL(value) && !BSON_ITER_HOLDS_NUMBER(value))
            return hub_error(error, HUB_ERROR_INVALID, "filter: $exists on '%.80s' must be true or false", path);
        if (exists)
            node_add(parent, leaf_new(QUERY_EXISTS, path));
        else
            node_add_not(parent, leaf_new(QUERY_EXISTS, path));
        return 0;
    }
    if (strcmp(operator, "$regex") == 0) {
        struct query_node *node = leaf_new(QUERY_LITERAL, path);
        node_add(parent, node);
        return parse_literal(node, value, error);
    }
    if (strcmp(operator, "$not") == 0) {
        struct query_node *all = node_new(QUERY_AND);
        node_add_not(parent, all);
        if (depth >= NESTING_LIMIT)
            return hub_error(error, HUB_ERROR_INVALID, "filter: nested deeper than %d levels", NESTING_LIMIT);
        if (BSON_ITER_HOLDS_REGEX(value)) {
            struct query_node *literal = leaf_new(QUERY_LITERAL, path);
            node_add(all, literal);
            return parse_literal(literal, value, error);
        }
        bson_iter_t first;
        if (!BSON_ITER_HOLDS_DOCUMENT(value) || !bson_iter_recurse(value, &first) || !bson_iter_next(&first))
            return hub_error(error, HUB_ERROR_INVALID,
                             "filter: $not on '%.80s' needs a document of operators, for example {$not: {$gt: 5}}",
                             path);
        return parse_operators(all, path, value, depth + 1, error);
    }
    return hub_error(error, HUB_ERROR_INVALID, "filter: operator %.80s on '%.80s' is not one of %s", operator, path,
                     OPERATORS);
}

static int parse_operators(struct query_node *parent, const char *path, const bson_iter_t *document, unsigned depth,
                           bson_error_t *error)
{
    bson_iter_t iter;
    if (!bson_iter_recurse(document, &iter))
        return hub_error(error, HUB_ERROR_INVALID, "filter: malformed BSON");
    while (bson_iter_next(&iter)) {
        if (bson_iter_key(&iter)[0] != '$')
            return hub_error(error, HUB_ERROR_INVALID, "filter: '%.80s' mixes operators with the field '%.80s'", path,
                             bson_iter_key(&iter));
        if (parse_operator(parent, path, &iter, depth, error))
            return -1;
    }
    if (iter.err_off)
        return hub_error(error, HUB_ERROR_INVALID, "filter: malformed BSON");
    return 0;
}

static int parse_filter(struct query_node *parent, bson_iter_t *iter, unsigned depth, bson_error_t *error);

/* $and, $or, $nor: an array of filters. */
static int parse_logical(struct query_node *parent, const bson_iter_t *value, unsigned depth, bson_error_t *error)
{
    const char *operator = bson_iter_key(value);
    bool and = strcmp(operator, "$and") == 0;
    bool nor = strcmp(operator, "$nor") == 0;
    if (!and && !nor && strcmp(operator, "$or") != 0)
        return hub_error(error, HUB_ERROR_INVALID, "filter: operator %.80s is not one of %s", operator, OPERATORS);
    struct query_node *node = node_new(and ? QUERY_AND : QUERY_OR);
    if (nor)
        node_add_not(parent, node);
    else
        node_add(parent, node);
    if (depth >= NESTING_LIMIT)
        return hub_error(error, HUB_ERROR_INVALID, "filter: nested deeper than %d levels", NESTING_LIMIT);
    bson_iter_t element;
    if (!BSON_ITER_HOLDS_ARRAY(value) || !bson_iter_recurse(value, &element))
        return hub_error(error, HUB_ERROR_INVALID, "filter: %s needs an array of filters", operator);
    while (bson_iter_next(&element)) {
        bson_iter_t fields;
        if (!BSON_ITER_HOLDS_DOCUMENT(&element) || !bson_iter_recurse(&element, &fields))
            return hub_error(error, HUB_ERROR_INVALID, "filter: %s needs an array of filters", operator);
        struct query_node *child = node_new(QUERY_AND);
        node_add(node, child);
        if (parse_filter(child, &fields, depth + 1, error))
            return -1;
    }
    if (element.err_off)
        return hub_error(error, HUB_ERROR_INVALID, "filter: malformed BSON");
    if (node->count == 0)
        return hub_error(error, HUB_ERROR_INVALID, "filter: %s needs at least one filter", operator);
    node->ranges = and ? NULL : query_ranges_new(node);
    return 0;
}

static bool is_operator_document(const bson_iter_t *value)
{
    bson_iter_t first;
    return BSON_ITER_HOLDS_DOCUMENT(value) && bson_iter_recurse(value, &first) && bson_iter_next(&first) &&
           bson_iter_key(&first)[0] == '$';
}

static int parse_filter(struct query_node *parent, bson_iter_t *iter, unsigned depth, bson_error_t *error)
{
    while (bson_iter_next(iter)) {
        const char *key = bson_iter_key(iter);
        if (key[0] == '$') {
            if (parse_logical(parent, iter, depth, error))
                return -1;
            continue;
        }
        if (query_check_path(key, "filter", error))
            return -1;
        if (is_operator_document(iter)) {
            if (parse_operators(parent, key, iter, depth, error))
                return -1;
            continue;
        }
        if (BSON_ITER_HOLDS_REGEX(iter)) {
            struct query_node *literal = leaf_new(QUERY_LITERAL, key);
            node_add(parent, literal);
            if (parse_literal(literal, iter, error))
                return -1;
            continue;
        }
        if (query_check_value(iter, "filter", 1, error))
            return -1;
        struct query_node *node = leaf_new(QUERY_EQ, key);
        node->value = *iter;
        node_add(parent, node);
    }
    if (iter->err_off)
        return hub_error(error, HUB_ERROR_INVALID, "filter: malformed BSON");
    return 0;
}

struct query *query_parse(const bson_t *filter, bson_error_t *error)
{
    struct query *query = bson_malloc0(sizeof *query);
    query->filter = filter ? bson_copy(filter) : bson_new();
    query->root = node_new(QUERY_AND);
    bson_iter_t iter;
    if (!bson_iter_init(&iter, query->filter)) {
        hub_error(error, HUB_ERROR_INVALID, "filter: malformed BSON");
        query_free(query);
        return NULL;
    }
    if (parse_filter(query->root, &iter, 0, error)) {
        query_free(query);
        return NULL;
    }
    return query;
}

void query_free(struct query *query)
{
    if (!query)
        return;
    node_free(query->root);
    bson_destroy(query->filter);
    bson_free(query);
}

int query_upsert_base(const struct query *query, bson_t *out, bson_error_t *error)
{
    bson_init(out);
    struct update *update = NULL;
    bson_t set = BSON_INITIALIZER, operators = BSON_INITIALIZER, start = BSON_INITIALIZER;
    bool id = false;
    int result = -1;
    for (size_t i = 0; i < query->root->count; i++) {
        const struct query_node *node = query->root->children[i];
        if (node->kind != QUERY_EQ) {
            hub_error(error, HUB_ERROR_INVALID, "upsert: the filter may hold only plain equalities");
            goto out;
        }
        if (strcmp(node->path.text, "_id") == 0) {
            if (id || BSON_ITER_HOLDS_ARRAY(&node->value)) {
                hub_error(error, HUB_ERROR_INVALID, "upsert: the filter must name one _id, which is not an array");
                goto out;
            }
            id = true;
            bson_append_iter(&start, "_id", 3, &node->value);
        } else {
            bson_append_iter(&set, node->path.text, -1, &node->value);
        }
    }
    if (!id) {
        hub_error(error, HUB_ERROR_INVALID, "upsert: the filter must hold the _id");
        goto out;
    }
    if (bson_empty(&set)) {
        bson_concat(out, &start);
        result = 0;
        goto out;
    }
    BSON_APPEND_DOCUMENT(&operators, "$set", &set);
    update = update_parse(&operators, error);
    if (!update)
        goto out;
    bson_destroy(out);
    result = update_apply(update, &start, true, 0, out, error);
out:
    update_free(update);
    bson_destroy(&set);
    bson_destroy(&operators);
    bson_destroy(&start);
    return result;
}
