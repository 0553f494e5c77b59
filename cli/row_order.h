/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_ROW_ORDER_H
#define TL_CLI_ROW_ORDER_H

/* Rows that the hub cannot put in order, for they are parts of documents: kept until all are known. With a limit only so many are
 * kept as can still be shown; without one all are in memory. */

#include "hub/error.h"

#include <stddef.h>

struct row_order;

/* sort as where_parse_sort makes it; a row without the key counts as null. most: of the first ones; 0: all. */
struct row_order *row_order_new(const bson_t *sort, size_t most);
void row_order_free(struct row_order *order);
/* Copies. */
void row_order_add(struct row_order *order, const bson_t *row);
/* Those that compare alike come as they were added. visit returns nonzero to stop. */
void row_order_visit(struct row_order *order, int (*visit)(void *data, const bson_t *row), void *data);

#endif
