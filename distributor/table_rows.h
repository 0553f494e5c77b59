/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TABLE_ROWS_H
#define TL_DISTRIBUTOR_TABLE_ROWS_H

/* The rows of a table as documents; for table*.c. */

#include "distributor/csv_scan.h"

struct table_rows;

/* Opens a .csv, .gz or .xlsx and reads its header. */
struct table_rows *table_rows_open(const char *path, bson_error_t *error);
void table_rows_close(struct table_rows *rows);
/* The next row as {column: value} without its empty cells, numbers, true and false as such, into *row (initialised always): 1, 0
 * at the end, -1. */
int table_rows_next(struct table_rows *rows, bson_t *row, bson_error_t *error);
/* Refuses the column of this name (NULL: the row) of the row that was given last. Returns -1. */
int table_rows_refuse(const struct table_rows *rows, const char *column, bson_error_t *error, const char *format, ...)
    BSON_GNUC_PRINTF(4, 5);

#endif
