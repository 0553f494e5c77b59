/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_PBT_H
#define TL_DISTRIBUTOR_SEARCH_PBT_H

/* Population based training: Jaderberg et al., "Population based training of neural networks", 2017. Points are numbered
 * generation after generation, `population` to each. A member goes on from its own last point; one of the worst `quantile` goes on
 * from one of the best (exploit, by truncation), whose values it takes and changes: each is drawn anew one time in four, else a
 * number is multiplied by 0.8 or 1.2 (explore). All follows from the results of the generation before. */

#include "distributor/search_space.h"

#define PBT_STREAM (UINT64_C(6) << 60)

struct pbt_options {
    const struct search_space *space; /* borrowed */
    const bool *fixed; /* (space->count), borrowed: dimensions that go with the weights and are not changed; NULL: none */
    uint64_t seed;
    int64_t population; /* at least 2 */
    double quantile;    /* in (0, 0.5] */
};

/* The point that this one goes on from, -1: none (the first generation, or nobody of the one before has a value). results is of
 * all points of the generation before. *exploits: it is another member's. */
int64_t pbt_parent(const struct pbt_options *options, const struct search_result *results, int64_t number, bool *exploits);
/* The place of a point with a parent into units; attempt > 0: changed in another way. */
void pbt_propose(const struct pbt_options *options, const struct search_result *results, int64_t number, int attempt,
                 double *units);

#endif
