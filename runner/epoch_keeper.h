/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_EPOCH_KEEPER_H
#define TL_RUNNER_EPOCH_KEEPER_H

/* keep: "every N epochs": the net after an epoch as a model of its own. */

#include "runner/checkpoint.h"

/* Whether epoch is one of those; the last is not, for the run's own model is it. */
bool epoch_is_kept(const struct recipe *recipe, int64_t epoch);
/* Of position's epoch, with its scores, unless it is there already (the run repeats it). Waits while the hub is away. 1; 0 with
 * *stop: it is not kept, and the epoch is to be ended again; -1. */
int epoch_keep(struct work *work, const struct checkpoint *checkpoint, const struct net *net,
               const struct checkpoint_position *position, enum work_stop *stop, bson_error_t *error);

#endif
