/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_MODEL_RETAIN_H
#define TL_HUB_MODEL_RETAIN_H

/* keep_weights of a sweep: of its models all but the best lose their weights. The documents stay, with sha256 and bytes of what was
 * there, and say so: weights_dropped. Blobs are gc's then.
 *
 * Not dropped are models of runs after the first (who restarts a task wants its weights), those that a task which has not
 * ended names (model, initial_model, a standing task's last), and those that are not published yet. Models of kept
 * epochs go with their run's; of a run that has none (stopped at a rung, cancelled, failed, dead, or left behind by its task, or its task
 * is gone) they go when it is over. */

#include "hub/hub.h"

struct model_retention {
    const char *sweep; /* its _id */
    int64_t keep;      /* how many */
    bool minimize;     /* the objective; a model without one comes last */
};

/* How many models lost their weights, or -1. It may be called at any time, twice, and by several at once: each drops only what
 * is not among the best of all that it saw, and more models only make that more. */
int64_t model_retain(struct hub *hub, const struct model_retention *retention, bson_error_t *error);
/* Why a model's weights cannot be had, in one line, and what to do: "model 3f…: its weights were dropped (…)". */
void model_say_no_weights(const bson_t *model, char *text, size_t size);

#endif
