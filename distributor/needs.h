/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_NEEDS_H
#define TL_DISTRIBUTOR_NEEDS_H

/* What a task is going to take, for its `needs`: memory in bytes, by which runners choose what they claim, and
 * floating-point operations. Estimates, from the architecture, the manifest and the hyper-parameters. */

#include "hub/error.h"
#include "kernels/architecture.h"
#include "kernels/sampling.h"

/* Appends needs: {memory, flops} to task, a checked one (hyper_parameters complete where it trains), unless it has some of
 * its own. model: what a task that trains nothing works with, else NULL. 0 or -1. */
int needs_append(const char *kind, const bson_t *dataset, const bson_t *model, const struct architecture_size *size,
                 bson_t *task, bson_error_t *error);
/* The size of a model's net over samples of this shape: false where its document does not say. */
bool needs_measure_model(const bson_t *model, const struct sampling *sampling, const struct shape *sample,
                         struct architecture_size *size);

#endif
