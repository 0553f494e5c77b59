/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_WEIGHTS_H
#define TL_DISTRIBUTOR_SWEEP_WEIGHTS_H

/* A sweep's keep_weights, seen to by whoever sees to its points (sweep_search.h): hub/model_retain.h says what is dropped. */

#include "distributor/sweep.h"
#include "hub/hub.h"

/* Once more, but never for more than a twentieth of the time; *next_ms is when it is due again (0 at the start). 0, -1. Without
 * keep_weights nothing, as is: */
int sweep_weights_retain(const struct sweep *sweep, struct hub *hub, const char *id, int64_t *next_ms, bson_error_t *error);
/* Before the sweep is closed: 1 some of its tasks have not ended, or their models do not show yet, and it has to wait; 0 all
 * has been dropped that is to be, -1. */
int sweep_weights_settle(const struct sweep *sweep, struct hub *hub, const char *id, bson_error_t *error);

#endif
