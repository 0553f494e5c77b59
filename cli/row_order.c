/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row_order.h"
#include "hub/query.h"

#include <stdint.h>
#include <stdlib.h>

enum { SPARE = 4096 }; /* rows above the limit, before they are put in order and cut */

struct row {
    bson_t *document;
    uint64_t number;
    const bson_t *sort; /* the order's */
};

struct row_order {
    bson_t sort;
    struct row *rows;
    size_t count, capacity, most;
    uint64_t added;
};

struct row_order *row_order_new(const bson_t *sort, size_t most)
{
    struct row_order *order = bson_aligned_alloc0(_Alignof(struct row_order), sizeof *order);
    bson_copy_to(sort, &order->sort);
    order->most = most;
    return order;
}

static void cut(struct row_order *order, size_t count)
{
    while (order->count > count) {
        bson_destroy(order->rows[--order->count].document);
    }
}

void row_order_free(struct row_order *order)
{
    if (order != NULL) {
        cut(order, 0);
        bson_free(order->rows);
        bson_destroy(&order->sort);
        bson_free(order);
    }
}

static bool find(const bson_t *document, const char *path, bson_iter_t *value)
{
    bson_iter_t at;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, value);
}

static int compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    bson_iter_t key, mine, its;
    bool more = bson_iter_init(&key, x->sort);
    while (more && bson_iter_next(&key)) {
        const char *path = bson_iter_key(&key);
        bool has = find(x->document, path, &mine), other = find(y->document, path, &its);
        int order = query_compare_values(has ? &mine : NULL, other ? &its : NULL);
        if (order != 0) {
            return bson_iter_as_int64(&key) < 0 ? -order : order;
        }
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

static void settle(struct row_order *order)
{
    if (order->count > 0) {
        qsort(order->rows, order->count, sizeof *order->rows, compare);
    }
    if (order->most > 0) {
        cut(order, order->most < order->count ? order->most : order->count);
    }
}

void row_order_add(struct row_order *order, const bson_t *row)
{
    if (order->most > 0 && order->count >= SPARE && order->count / 2 >= order->most) {
        settle(order);
    }
    if (order->count == order->capacity) {
        order->capacity = order->capacity > 0 ? 2 * order->capacity : 256;
        order->rows = bson_realloc(order->rows, order->capacity * sizeof *order->rows);
    }
    order->rows[order->count++] = (struct row){.document = bson_copy(row), .number = order->added++, .sort = &order->sort};
}

void row_order_visit(struct row_order *order, int (*visit)(void *data, const bson_t *row), void *data)
{
    settle(order);
    for (size_t i = 0; i < order->count; i++) {
        if (visit(data, order->rows[i].document) != 0) {
            return;
        }
    }
}
