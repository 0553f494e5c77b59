/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_LABELLED_H
#define TL_RUNNER_LABELLED_H

/* A dataset made of rows that there are and labels that were predicted for them: gathers them into parts (safetensors,
 * below 32 MB) and hands each on as it is full. Memory: one part. */

#include "hub/dataset.h"
#include "kernels/architecture.h"
#include "runner/data.h"

struct labelled;

/* Takes one part: 0, 1 stop here, -1. */
typedef int labelled_sink(void *context, int64_t rows, const void *safetensors, size_t length, bson_error_t *error);

/* shape: of one row; bytes: x are bytes (U8) and not floats; classes 0: labels are `outputs` values, and without those too
 * there are none. NULL on error. */
struct labelled *labelled_new(const struct shape *shape, bool bytes, int64_t classes, int64_t outputs, labelled_sink *sink,
                              void *context, bson_error_t *error);
void labelled_free(struct labelled *labelled);

/* Rows first … first + count - 1 of data with their predictions, (count, classes or outputs) as predictor_run has them;
 * the label of a class is the most probable one; out NULL: without labels. 0, 1 where the sink says stop, -1. */
int labelled_add(struct labelled *labelled, const struct data *data, int64_t first, int64_t count, const float *out,
                 bson_error_t *error);
/* Hands on what is left. 0, 1, -1 likewise. */
int labelled_end(struct labelled *labelled, bson_error_t *error);

/* The manifest's fields that say what the parts hold: input_shape, label, classes or outputs, features; scale and offset
 * are those of data. class_names: a BSON array or NULL, left out unless it names every class. */
bool labelled_append_fields(const struct labelled *labelled, double scale, double offset, const bson_t *class_names,
                            bson_t *fields);

#endif
