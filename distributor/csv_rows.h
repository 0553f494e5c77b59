/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_ROWS_H
#define TL_DISTRIBUTOR_CSV_ROWS_H

/* A CSV file's raw rows as a dataset's preprocess makes values of them: what a model that was trained on that dataset takes.
 *
 * Columns are found by name, in any order; further ones are passed over, and that of the label may be missing. Of a dataset
 * whose file had no header they stand as they did there, with or without the label. Windows of a series are all that the
 * rows give, so that the last ones look beyond them; they have no labels. */

#include "hub/error.h"

struct csv_rows;

/* dataset: the manifest that the model was trained on; skip: lines before the first record. The file is read once, to count
 * it and to see that labels are known ones. HUB_ERROR_INVALID with line and column, or naming the column that is missing. */
struct csv_rows *csv_rows_open(const char *path, const bson_t *dataset, int64_t skip, bson_error_t *error);
void csv_rows_close(struct csv_rows *rows);

int64_t csv_rows_count(const struct csv_rows *rows);    /* samples */
int csv_rows_rank(const struct csv_rows *rows);
int64_t csv_rows_dimension(const struct csv_rows *rows, int i);
int32_t csv_rows_classes(const struct csv_rows *rows);  /* of the labels beside them; 0: none, or values */
int32_t csv_rows_outputs(const struct csv_rows *rows);  /* values of a label; 0: none, or classes */
/* Categories so far that the dataset did not have: they count as missing. */
int64_t csv_rows_unknown(const struct csv_rows *rows);

/* The next samples: x (count, values), labels (count) or targets (count, outputs) where there are some. */
int csv_rows_read(struct csv_rows *rows, float *x, int32_t *labels, float *targets, int64_t count, bson_error_t *error);

#endif
