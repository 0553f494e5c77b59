/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_SEARCH_H
#define TL_DISTRIBUTOR_SWEEP_SEARCH_H

/* A sweep whose points are chosen by the results so far: read from its record, by whoever is there, again and again. Any number
 * may do so at once: which points are proposed follows from the results (search.h), and a point's tasks have _ids of their
 * own, so that proposing one twice makes it once.
 *
 * The results are kept in memory; each step reads the tasks from the first that had not ended. */

#include "hub/hub.h"

struct sweep_search;

/* Of the sweep with this _id, in the hub's project. NULL on error. */
struct sweep_search *sweep_search_open(struct hub *hub, const char *sweep_id, bson_error_t *error);
void sweep_search_close(struct sweep_search *search);
/* Takes the results in and proposes as many points as they allow, at most `most` (0: as many as there may be). How many
 * tasks were made, -1. The record says what it came to; when nothing is left to be proposed and all has ended it is closed. */
int64_t sweep_search_step(struct sweep_search *search, struct hub *hub, int64_t most, bson_error_t *error);
/* Whether nothing is left to do. */
bool sweep_search_is_closed(const struct sweep_search *search);

#endif
