/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_CMA_ES_H
#define TL_DISTRIBUTOR_SEARCH_CMA_ES_H

/* CMA-ES: Hansen, "The CMA evolution strategy: a tutorial", 2016 (arXiv 1604.00772), with its default weights and rates.
 * The population of a generation is drawn from N(mean, sigma² C), and all three are moved towards its better half. A draw
 * outside the unit cube is drawn again, and at last put onto its wall. A choice is a number that is cut into as many parts. */

#include "distributor/search_space.h"

#define CMA_ES_STREAM (UINT64_C(6) << 60)

struct cma_es;

/* dimensions > 0, population >= 4. NULL without memory. */
struct cma_es *cma_es_new(size_t dimensions, int64_t population, uint64_t seed);
void cma_es_free(struct cma_es *state);
/* 4 + 3 ln(dimensions), rounded down. */
int64_t cma_es_population(size_t dimensions);
/* The places of the present generation: (population, dimensions). A function of the seed and the results so far. */
const double *cma_es_places(const struct cma_es *state);
/* To the next generation. values is (population), to be minimised; what has none is INFINITY. */
void cma_es_tell(struct cma_es *state, const double *values);
int64_t cma_es_generation(const struct cma_es *state);

#endif
