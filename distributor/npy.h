/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_NPY_H
#define TL_DISTRIBUTOR_NPY_H

/* Arrays of NumPy into a dataset: x and y of a .npz file, or x_SPLIT and y_SPLIT of each of train, validation and test; or a
 * .npy file with x, and one with y.
 *
 * x   [rows, …]: unsigned bytes (read as value / 255), or any other numbers, kept as floats
 * y   [rows] integers: classes from 0; floats [rows] or [rows, outputs]: values; none at all: no labels */

#include "distributor/rows_source.h"

/* labels: a .npy file; NULL: none, or path is a .npz. Everything is read once before anything is saved: what is wrong is
 * HUB_ERROR_INVALID naming file, array and row. As dataset_writer_finish. Memory: one part of each split. */
int npy_save_dataset(struct hub *hub, const char *path, const char *labels, const struct rows_options *options,
                     bson_t *dataset, bson_error_t *error);

#endif
