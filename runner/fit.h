/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_FIT_H
#define TL_RUNNER_FIT_H

/* Whether a task fits into what this runner gives one, asked before anything of its size is allocated. A claim has seen to
 * that already for tasks that say what they need; others (of foreign clients, or whose dataset has grown) are found here. */

#include "runner/recipe.h"
#include "runner/work.h"

/* A task of kind train. 0, or -1 with HUB_ERROR_INVALID naming both amounts. */
int fit_training(const struct worker *worker, const struct recipe *recipe, bson_error_t *error);
/* A pass over a split with a net of recipe's architecture; held: the split is in memory as a whole. */
int fit_pass(const struct worker *worker, const struct recipe *recipe, int64_t batch_size, const char *split, bool held,
             bson_error_t *error);

#endif
