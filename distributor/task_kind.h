/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TASK_KIND_H
#define TL_DISTRIBUTOR_TASK_KIND_H

/* What each kind of task reads. A field that its runner would pass over is refused: whoever wrote it meant something. */

#include "hub/error.h"

/* "train" where fields have no kind; NULL where it is none that runners know, which is the error. */
const char *task_kind_of(const bson_t *fields, bson_error_t *error);
/* Refuses fields that the kind does not read; *field (NULL allowed) names a hyper-parameter or field at fault, borrowed
 * from fields. 0 or -1. */
int task_kind_check_fields(const char *kind, const bson_t *fields, const char **field, bson_error_t *error);
/* Refuses splits that the dataset (its manifest) has no rows of: the one to measure on, and validation for keep: best.
 * Manifests without splits (foreign ones) are judged by the runner. 0 or -1. */
int task_kind_check_splits(const char *kind, const bson_t *fields, const bson_t *dataset, bson_error_t *error);

#endif
