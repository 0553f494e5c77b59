/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of points that wait: promoted or ended at rungs, or ended when another generation has taken their place. */
#include "distributor/sweep_search_impl.h"

#include <stdio.h>

/* Members of a generation wait with their checkpoints until all of the next one have come to theirs: then nobody begins with them
 * any more. */
static int retire(struct sweep_search *search, struct hub *hub, bson_error_t *error)
{
    int64_t population = search_population(search->search), known = search->known / population, ended = 0;
    for (int64_t i = search->settled; i < (known - 1) * population; i++) {
        char reason[100];
        int64_t next = (i / population + 1) * population, heirs = 0;
        if (!sweep_ladder_waits(search->ladder, i))
            continue;
        for (int64_t j = next; j < next + population; j++)
            heirs += search->observed[j].parent == i + 1;
        snprintf(reason, sizeof reason, "%lld of generation %lld went on from it", (long long)heirs, (long long)(next / population));
        int mine = sweep_ladder_end_one(search->ladder, hub, i, reason, error);
        if (mine < 0)
            return -1;
        ended += mine;
    }
    return ended > 0 ? sweep_search_read(search, hub, error) : 0;
}

/* Promotes who may go on. When nobody else is going to come to any rung, and nobody may go on, those that wait are ended. */
static int promote(struct sweep_search *search, struct hub *hub, int64_t *promoted, bson_error_t *error)
{
    int64_t judged, waits = 0;
    search->under_way = 0;
    for (int64_t i = search->settled; i < search->proposed; i++) {
        bool waiting = sweep_ladder_waits(search->ladder, i);
        waits += waiting;
        search->under_way += !search->observed[i].settled && !waiting;
    }
    if (waits > 0 && !search->submitted && sweep_search_read_submitted(search, hub, error))
        return -1;
    bool rest = search->submitted && search->proposed >= search->sweep->points && search->under_way == 0;
    *promoted = sweep_ladder_promote(search->ladder, hub, rest, &judged, error);
    if (*promoted < 0)
        return -1;
    search->under_way += judged;
    if (!rest || judged > 0 || waits == 0)
        return 0;
    return sweep_ladder_end(search->ladder, hub, error) < 0 ? -1 : sweep_search_read(search, hub, error);
}

int sweep_search_climb(struct sweep_search *search, struct hub *hub, int64_t *promoted, bson_error_t *error)
{
    *promoted = 0;
    return search->sweep->method == SEARCH_PBT ? retire(search, hub, error) : promote(search, hub, promoted, error);
}
