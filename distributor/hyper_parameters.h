/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_HYPER_PARAMETERS_H
#define TL_DISTRIBUTOR_HYPER_PARAMETERS_H

/* The hyper-parameters that training reads, by name, with ranges and defaults:
 *   epochs 1 … 1e6 (10), batch_size 1 … 1e6 (32), seed 0 … 2^63-1 (0), optimizer (adam), loss (cross_entropy for
 * classes, mse for values) and its huber_delta, schedule (constant), and those of the optimiser and the schedule, whose ranges
 * kernels/optimizer.h and kernels/schedule.h have: learning_rate, momentum, nesterov, beta1, beta2, alpha, epsilon, weight_decay,
 * clip_norm, clip_value; step_epochs, gamma, min_learning_rate, warmup_epochs, warmup_steps. */

#include "hub/error.h"

bool hyper_parameters_known(const char *name);
/* "epochs, batch_size, …" for messages. */
const char *hyper_parameters_names(void);
/* The nearest known name within two changes, or NULL. */
const char *hyper_parameters_nearest(const char *name);

/* Checks given (NULL: none) and writes *complete (initialised always): integers as integers, defaults filled in where
 * defaults is true. label: "class" (of so many classes, 0: not known), "value" or NULL (not known). On refusal: HUB_ERROR_INVALID,
 * "hyper_parameters.epochs: …", and *field (NULL allowed) is the name at fault, borrowed from given, or NULL. 0 or -1.
 */
int hyper_parameters_check(const bson_t *given, const char *label, int64_t classes, bool defaults, bson_t *complete,
                           const char **field, bson_error_t *error);

/* The epochs that given (not yet checked) asks for, or the default. */
int64_t hyper_parameters_epochs(const bson_t *given);

/* How many letters must be changed, added, taken away or swapped between two words; more than limit is limit + 1. */
int hyper_parameters_distance(const char *a, const char *b, int limit);

#endif
