/* SPDX-License-Identifier: Apache-2.0 */
/* Of an $or with many alternatives that each bound the same number, the one that a document can meet. A list of chosen tasks
 * is such a filter: thousands of ranges of their numbers, each of which would be asked of each document. */
#include "hub/query_impl.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_ALTERNATIVES 8

struct range {
    int64_t low, high;
    int64_t reach; /* the highest of this one and those before it */
    const struct query_node *node;
};

struct query_ranges {
    const char *path;          /* of one part; borrowed */
    struct range *list;        /* by their low ends */
    size_t count;
    const struct query_node **others; /* alternatives without bounds */
    size_t other_count;
};

static bool is_integer(const bson_iter_t *value)
{
    return BSON_ITER_HOLDS_INT32(value) || BSON_ITER_HOLDS_INT64(value);
}

/* Narrows the range to what one condition on the path accepts. */
static void bound(const struct query_node *node, const char **path, struct range *range)
{
    if (node->kind != QUERY_EQ && node->kind != QUERY_GTE && node->kind != QUERY_LTE)
        return;
    if (node->path.count != 1 || !is_integer(&node->value) || (*path && strcmp(*path, node->path.text) != 0))
        return;
    int64_t value = bson_iter_as_int64(&node->value);
    *path = node->path.text;
    if (node->kind != QUERY_LTE && value > range->low)
        range->low = value;
    if (node->kind != QUERY_GTE && value < range->high)
        range->high = value;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

struct query_ranges *query_ranges_new(const struct query_node *node)
{
    if (node->count < LEAST_ALTERNATIVES)
        return NULL;
    struct query_ranges *ranges = bson_malloc0(sizeof *ranges);
    ranges->list = bson_malloc(node->count * sizeof *ranges->list);
    ranges->others = bson_malloc(node->count * sizeof *ranges->others);
    for (size_t i = 0; i < node->count; i++) {
        const struct query_node *child = node->children[i];
        struct range range = {.low = INT64_MIN, .high = INT64_MAX, .node = child};
        if (child->kind == QUERY_AND)
            for (size_t j = 0; j < child->count; j++)
                bound(child->children[j], &ranges->path, &range);
        else
            bound(child, &ranges->path, &range);
        if (range.low > INT64_MIN && range.high < INT64_MAX)
            ranges->list[ranges->count++] = range;
        else
            ranges->others[ranges->other_count++] = child;
    }
    qsort(ranges->list, ranges->count, sizeof *ranges->list, compare_ranges);
    for (size_t i = 0; i < ranges->count; i++) {
        struct range *range = &ranges->list[i];
        range->reach = i > 0 && range[-1].reach > range->high ? range[-1].reach : range->high;
    }
    if (ranges->count < LEAST_ALTERNATIVES) {
        query_ranges_free(ranges);
        return NULL;
    }
    return ranges;
}

void query_ranges_free(struct query_ranges *ranges)
{
    if (!ranges)
        return;
    bson_free(ranges->list);
    bson_free(ranges->others);
    bson_free(ranges);
}

/* Whether one of those around number accepts the document. */
static bool match_number(const struct query_ranges *ranges, int64_t number, const bson_t *document)
{
    size_t low = 0, high = ranges->count; /* how many begin at or below it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->list[middle].low <= number)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i-- > 0 && ranges->list[i].reach >= number;)
        if (ranges->list[i].high >= number && query_node_matches(ranges->list[i].node, document))
            return true;
    return false;
}

int query_ranges_match(const struct query_ranges *ranges, const bson_t *document)
{
    bson_iter_t value;
    bool there = bson_iter_init_find(&value, document, ranges->path);
    if (there && (BSON_ITER_HOLDS_ARRAY(&value) || BSON_ITER_HOLDS_DOUBLE(&value)))
        return -1; /* several values, or one between integers */
    if (there && is_integer(&value) && match_number(ranges, bson_iter_as_int64(&value), document))
        return 1;
    for (size_t i = 0; i < ranges->other_count; i++)
        if (query_node_matches(ranges->others[i], document))
            return 1;
    return 0;
}
