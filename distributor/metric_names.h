/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_METRIC_NAMES_H
#define TL_DISTRIBUTOR_METRIC_NAMES_H

#include "hub/error.h"

/* Refuses a task of kind train whose metric.name or result_keys name what its training on this dataset will not have:
 * there are loss, and with class labels accuracy, of each split that has rows (train_loss, validation_accuracy, …) and as
 * the headline, and best_epoch with keep: best. dataset is the manifest. 0 or -1. */
int metric_names_check(const bson_t *fields, const bson_t *dataset, bson_error_t *error);

#endif
