/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TENDER_H
#define TL_DISTRIBUTOR_TENDER_H

/* Sees to the open sweeps of a hub: proposes further points where results allow it. A runner calls it now and then, by way of
 * its options, for it knows nothing of sweeps. Any number of runners may have one: see sweep_search.h. */

#include "hub/hub.h"

struct tender;

/* NULL without memory. */
struct tender *tender_new(void);
void tender_free(struct tender *tender);
/* runner_options.tend: once over the open sweeps of the hub's project. Which are open is asked every two seconds only, or when
 * `now` says so. How many tasks were made, or -1: where one sweep fails, the others are seen to all the same. */
int64_t tender_tend(void *tender, struct hub *hub, bool now, bson_error_t *error);

#endif
