/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ROWS_SAMPLE_H
#define TL_HUB_ROWS_SAMPLE_H

/* What a row, or what a pipeline made of rows, is as numbers: by the manifest's columns, label_field, label, classes or outputs,
 * class_names and input_shape. Used before rows are written, and when a selection becomes tensors. */

#include "hub/error.h"

struct rows_sample;
/* NULL where the manifest does not say how. */
struct rows_sample *rows_sample_new(const bson_t *dataset, bson_error_t *error);
void rows_sample_free(struct rows_sample *sample);
int64_t rows_sample_features(const struct rows_sample *sample);
int64_t rows_sample_classes(const struct rows_sample *sample); /* 0: labels are values, or there are none */
int64_t rows_sample_outputs(const struct rows_sample *sample);
/* x (features); y: one int32, or (outputs) floats, or nothing; *split lives as long as the row. -1: the error names which row it
 * was (the first that was taken is 1) and the field. */
int rows_sample_take(struct rows_sample *sample, const bson_t *row, float *x, void *y, const char **split, bson_error_t *error);

#endif
