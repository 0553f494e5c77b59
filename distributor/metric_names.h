/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_METRIC_NAMES_H
#define TL_DISTRIBUTOR_METRIC_NAMES_H

#include "hub/error.h"
#include "kernels/sampling.h"

/* Refuses a task whose metrics or top_k cannot be, or, where it trains, whose metric.name or result_keys name what its
 * training on this dataset will not have: there are loss, and accuracy where the loss has one, of each split that has rows
 * (train_loss, validation_accuracy, …) and as the headline; of validation and test the metrics that the loss allows; and best_epoch
 * with keep: best. dataset is the manifest, row what the recipe makes
 * of a row of it. 0, or -1 with *field the field at fault where that is metrics or top_k. */
int metric_names_check(const bson_t *fields, const bson_t *dataset, const struct sampling *sampling,
                       const struct sampling_row *row, bool train, const char **field, bson_error_t *error);

#endif
