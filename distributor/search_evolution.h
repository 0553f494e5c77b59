/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_EVOLUTION_H
#define TL_DISTRIBUTOR_SEARCH_EVOLUTION_H

/* Regularised evolution: Real, Aggarwal, Huang, Le, "Regularized evolution for image classifier architecture search", AAAI
 * 2019. The population is the last so many points, whatever they came to; the best of a random quarter of it has a child, into which
 * every second time another parent's values are crossed, and of which about one value is changed. */

#include "distributor/search_space.h"

#define EVOLUTION_STREAM (UINT64_C(5) << 60)

/* results[0 … known - 1] are used; units is (space->count). false: none of them has a value. */
bool evolution_propose(const struct search_space *space, uint64_t seed, int64_t population,
                       const struct search_result *results, int64_t known, int64_t number, double *units);
/* Changes one value as a child's: a step of a tenth for a number, another choice. */
double evolution_change(const struct search_dimension *dimension, double unit, struct random_state *random);

#endif
