/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a document matches a parsed filter, and the order between values. */
#include "hub/key.h"
#include "hub/query_impl.h"

#include <math.h>
#include <string.h>

#define DEPTH_LIMIT 128 /* for foreign documents; what the store accepts is flatter */

/* ---- order ---- */

static int compare_values(const bson_iter_t *a, const bson_iter_t *b, unsigned depth);

static int compare_numbers(const bson_iter_t *a, const bson_iter_t *b)
{
    double x, y;
    int x_rest, y_rest;
    key_number(a, &x, &x_rest);
    key_number(b, &y, &y_rest);
    if (isnan(x) || isnan(y))
        return !!isnan(y) - !!isnan(x);
    if (x != y)
        return x < y ? -1 : 1;
    return (x_rest > y_rest) - (x_rest < y_rest);
}

/* Field by field: type, name, value; the one that ends first is smaller. */
static int compare_fields(const bson_iter_t *a, const bson_iter_t *b, bool names, unsigned depth)
{
    bson_iter_t x, y;
    if (depth > DEPTH_LIMIT || !bson_iter_recurse(a, &x) || !bson_iter_recurse(b, &y))
        return 0;
    for (;;) {
        bool more_x = bson_iter_next(&x);
        bool more_y = bson_iter_next(&y);
        if (!more_x || !more_y)
            return more_x - more_y;
        int order = (int)key_class_of(&x) - (int)key_class_of(&y);
        if (!order && names)
            order = strcmp(bson_iter_key(&x), bson_iter_key(&y));
        if (!order)
            order = compare_values(&x, &y, depth + 1);
        if (order)
            return order;
    }
}

static int compare_binaries(const bson_iter_t *a, const bson_iter_t *b)
{
    const uint8_t *x, *y;
    size_t x_length, y_length;
    uint8_t x_type, y_type;
    key_binary(a, &x, &x_length, &x_type);
    key_binary(b, &y, &y_length, &y_type);
    if (x_length != y_length)
        return x_length < y_length ? -1 : 1;
    if (x_type != y_type)
        return x_type < y_type ? -1 : 1;
    return x_length ? memcmp(x, y, x_length) : 0;
}

static int compare_values(const bson_iter_t *a, const bson_iter_t *b, unsigned depth)
{
    enum key_class class = key_class_of(a);
    enum key_class other = key_class_of(b);
    if (class != other)
        return class < other ? -1 : 1;
    switch (class) {
    case KEY_CLASS_NUMBER:
        return compare_numbers(a, b);
    case KEY_CLASS_STRING: {
        uint32_t x_length = 0, y_length = 0;
        const char *x = bson_iter_utf8(a, &x_length);
        const char *y = bson_iter_utf8(b, &y_length);
        return key_compare(x, x_length, y, y_length);
    }
    case KEY_CLASS_DOCUMENT:
        return compare_fields(a, b, true, depth);
    case KEY_CLASS_ARRAY:
        return compare_fields(a, b, false, depth);
    case KEY_CLASS_BINARY:
        return compare_binaries(a, b);
    case KEY_CLASS_OBJECT_ID:
        return memcmp(bson_iter_oid(a)->bytes, bson_iter_oid(b)->bytes, 12);
    case KEY_CLASS_BOOL:
        return bson_iter_bool(a) - bson_iter_bool(b);
    case KEY_CLASS_DATE: {
        int64_t x = bson_iter_date_time(a);
        int64_t y = bson_iter_date_time(b);
        return (x > y) - (x < y);
    }
    default:
        return 0;
    }
}

int query_compare_values(const bson_iter_t *a, const bson_iter_t *b)
{
    return compare_values(a, b, 0);
}

/* ---- one value against one leaf ---- */

bool query_literal_matches(const struct query_node *node, const char *text, size_t length)
{
    if (node->anchored)
        return length >= node->literal_length && memcmp(text, node->literal, node->literal_length) == 0;
    return node->literal_length == 0 || memmem(text, length, node->literal, node->literal_length) != NULL;
}

/* Ranges compare only within a type's bracket; NaN is equal to itself and neither below nor above anything. */
static bool compares(enum query_kind kind, const bson_iter_t *value, const bson_iter_t *operand)
{
    enum key_class class = key_class_of(operand);
    if (key_class_of(value) != class || class == KEY_CLASS_OTHER)
        return false;
    int order = compare_values(value, operand, 0);
    if (kind == QUERY_EQ || order == 0)
        return order == 0 && kind != QUERY_GT && kind != QUERY_LT;
    if (class == KEY_CLASS_NUMBER && (isnan(bson_iter_as_double(value)) || isnan(bson_iter_as_double(operand))))
        return false;
    return kind == QUERY_GT || kind == QUERY_GTE ? order > 0 : order < 0;
}

/* value NULL: missing. */
static bool leaf_accepts(const struct query_node *node, const bson_iter_t *value)
{
    switch (node->kind) {
    case QUERY_EXISTS:
        return value != NULL;
    case QUERY_LITERAL: {
        if (!value || !BSON_ITER_HOLDS_UTF8(value))
            return false;
        uint32_t length = 0;
        const char *text = bson_iter_utf8(value, &length);
        return query_literal_matches(node, text, length);
    }
    case QUERY_IN: {
        bson_iter_t element;
        if (!bson_iter_recurse(&node->value, &element))
            return false;
        while (bson_iter_next(&element))
            if (compares(QUERY_EQ, value, &element))
                return true;
        return false;
    }
    default:
        return compares(node->kind, value, &node->value);
    }
}

/* ---- every value that a path leads to ---- */

static bool array_matches(const struct query_node *node, const bson_iter_t *array, size_t part, unsigned depth);

static bool document_matches(const struct query_node *node, bson_iter_t *fields, size_t part, unsigned depth)
{
    if (depth > DEPTH_LIMIT || !bson_iter_find(fields, node->path.parts[part]))
        return leaf_accepts(node, NULL);
    bool array = BSON_ITER_HOLDS_ARRAY(fields);
    if (part + 1 < node->path.count) {
        bson_iter_t child;
        if (array)
            return array_matches(node, fields, part + 1, depth + 1);
        if (BSON_ITER_HOLDS_DOCUMENT(fields) && bson_iter_recurse(fields, &child))
            return document_matches(node, &child, part + 1, depth + 1);
        return leaf_accepts(node, NULL);
    }
    if (array) { /* each element, then the whole */
        bson_iter_t element;
        if (bson_iter_recurse(fields, &element))
            while (bson_iter_next(&element))
                if (leaf_accepts(node, &element))
                    return true;
    }
    return leaf_accepts(node, fields);
}

/* A path goes on through an array by each element that is a document, and by the element that a number names. A value
 * named by number stands for itself: its elements are not looked at. Through an array without such elements it leads
 * nowhere, not even to a missing value. */
static bool array_matches(const struct query_node *node, const bson_iter_t *array, size_t part, unsigned depth)
{
    bson_iter_t element, child;
    const char *name = node->path.parts[part];
    bool last = part + 1 == node->path.count;
    if (depth > DEPTH_LIMIT || !bson_iter_recurse(array, &element))
        return false;
    while (bson_iter_next(&element)) {
        bool named = strcmp(bson_iter_key(&element), name) == 0;
        if (BSON_ITER_HOLDS_DOCUMENT(&element)) {
            if (bson_iter_recurse(&element, &child) && document_matches(node, &child, part, depth + 1))
                return true;
            if (named && !last && bson_iter_recurse(&element, &child) &&
                document_matches(node, &child, part + 1, depth + 1))
                return true;
        } else if (named && !last && BSON_ITER_HOLDS_ARRAY(&element)) {
            if (array_matches(node, &element, part + 1, depth + 1))
                return true;
        }
        if (named && last && leaf_accepts(node, &element))
            return true;
    }
    return false;
}

bool query_node_matches(const struct query_node *node, const bson_t *document)
{
    switch (node->kind) {
    case QUERY_AND:
        for (size_t i = 0; i < node->count; i++)
            if (!query_node_matches(node->children[i], document))
                return false;
        return true;
    case QUERY_OR: {
        int known = node->ranges ? query_ranges_match(node->ranges, document) : -1;
        if (known >= 0)
            return known > 0;
        for (size_t i = 0; i < node->count; i++)
            if (query_node_matches(node->children[i], document))
                return true;
        return false;
    }
    case QUERY_NOT:
        return !query_node_matches(node->children[0], document);
    default: {
        bson_iter_t fields;
        return bson_iter_init(&fields, document) && document_matches(node, &fields, 0, 0);
    }
    }
}

bool query_matches(const struct query *query, const bson_t *document)
{
    return query_node_matches(query->root, document);
}
