/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_ROLLBACK_H
#define TL_RUNNER_ROLLBACK_H

/* on_nonfinite: "rollback". Where an epoch begins, parameters and the optimiser's state are kept in memory. When a loss or a
 * parameter becomes NaN or infinite, the run goes back there with its learning rate times rollback_factor, at most
 * max_rollbacks times. Going back to where an epoch begins, and not to the last checkpoint of the hub, whose time is nobody's
 * choice, makes the same task end with the same bits however often it was stopped; so checkpoints within an epoch carry what is
 * kept, too. */

#include "hub/error.h"
#include "kernels/net.h"

#define ROLLBACKS_MOST 20
#define ROLLBACK_STATES 2

struct rollback {
    bool on;                             /* the task asks for it */
    float *parameters;                   /* (net_parameter_floats) */
    float *states[ROLLBACK_STATES];      /* (net_trained_floats) each; NULL: the optimiser has fewer */
    struct net_block blocks[1 + ROLLBACK_STATES];
    char prefixes[ROLLBACK_STATES][32];
};

/* Where a run went back, for its result. */
struct rollback_record {
    int64_t epoch, step; /* in which, and after how many steps, what was not finite was found */
};

/* Room for a net and its optimiser; 0 or -1. Without it (zeroed) the others do nothing. */
int rollback_init(struct rollback *rollback, const struct net *net, struct optimizer *optimizer, bson_error_t *error);
void rollback_destroy(struct rollback *rollback);
void rollback_keep(struct rollback *rollback, struct net *net, struct optimizer *optimizer);
/* steps: trained when it was kept. */
void rollback_restore(const struct rollback *rollback, int64_t steps, struct net *net, struct optimizer *optimizer);
/* For a checkpoint; NULL without. Borrowed. */
const struct net_block *rollback_blocks(const struct rollback *rollback);

#endif
