/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_LADDER_H
#define TL_DISTRIBUTOR_SWEEP_LADDER_H

/* The rungs of a sweep: who has come to which with what value, as its tasks say, and who is to go on (asha.h). */

#include "distributor/search_space.h"
#include "hub/hub.h"

struct sweep_ladder;

/* sign: -1 where the metric is to be maximised. NULL without memory. */
struct sweep_ladder *sweep_ladder_new(int64_t eta, double sign);
void sweep_ladder_free(struct sweep_ladder *ladder);

/* What a task of point `number` says now: _id, project, lane, state, claim.id, and of its rungs count, values, seconds. */
int sweep_ladder_take(struct sweep_ladder *ladder, int64_t number, const bson_t *task, bson_error_t *error);
/* It has come to a rung, and waits there. */
bool sweep_ladder_waits(const struct sweep_ladder *ladder, int64_t number);
/* How many rungs it has come to. */
size_t sweep_ladder_height(const struct sweep_ladder *ladder, int64_t number);
/* The epoch of the last of these; 0: none. */
int64_t sweep_ladder_epoch(const struct sweep_ladder *ladder, int64_t number);
/* Seconds of training of all points, each up to its last rung. */
double sweep_ladder_seconds(const struct sweep_ladder *ladder);

/* Promotes who may go on; how many this call did, -1. rest: see asha_judge. *judged: how many may, by whomever it is done. */
int64_t sweep_ladder_promote(struct sweep_ladder *ladder, struct hub *hub, bool rest, int64_t *judged, bson_error_t *error);
/* Ends all that wait, each with its reason; how many. */
int64_t sweep_ladder_end(struct sweep_ladder *ladder, struct hub *hub, bson_error_t *error);

/* One, for a reason: 1, 0 it was not this call's, -1. */
int sweep_ladder_end_one(struct sweep_ladder *ladder, struct hub *hub, int64_t number, const char *reason, bson_error_t *error);

/* What a search is to know: who ended comes before who waits, a higher rung before a lower one, and then the value counts: so the
 * values in ranks are places, from 0. Where first is given it is the value at the first rung instead, which all have.
 * results and ranks are (count); results has points that ended, with their own values. 0, -1 without memory. */
int sweep_ladder_rank(const struct sweep_ladder *ladder, const struct search_result *results, int64_t count, bool first,
                      struct search_result *ranks);

#endif
