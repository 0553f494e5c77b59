/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_H
#define TL_DISTRIBUTOR_SEARCH_H

/* The methods behind one door. Points are numbered from 0, and which results a point of a number may be chosen by is decided
 * by the numbers alone: those of the points below its horizon, whatever else is known. So the same seed and results propose
 * the same points, however many there are to train them and in whatever order they end. */

#include "distributor/search_space.h"

enum search_method {
    SEARCH_GRID, /* not here: every combination */
    SEARCH_RANDOM,
    SEARCH_SOBOL,
    SEARCH_TPE,
    SEARCH_CMA_ES,
    SEARCH_EVOLUTION,
    SEARCH_PBT
};

#define SEARCH_PBT_POPULATION 16

struct search_options {
    enum search_method method;
    const struct search_space *space; /* borrowed */
    uint64_t seed;
    int64_t parallel;   /* points under way at once, at least 1 */
    int64_t population; /* CMA_ES, EVOLUTION, PBT; 0: as the method has it */
    double quantile;    /* PBT; 0: 0.25 */
    const bool *fixed;  /* PBT: (space->count), borrowed, see search_pbt.h; NULL: none */
    int64_t startup;    /* points of Sobol's sequence before the results are looked at; 0: as the method has it */
};

/* NULL: there is no such method here. */
const char *search_method_name(enum search_method method);
/* Whether a method looks at results at all. */
bool search_learns(enum search_method method);

struct search;
/* NULL without memory. */
struct search *search_new(const struct search_options *options);
void search_free(struct search *search);
/* How many points, from 0 on, must have ended before this one is chosen: number - parallel + 1, of CMA-ES and PBT the generations
 * before; 0 for methods that do not learn. */
int64_t search_horizon(const struct search *search, int64_t number);
/* The point whose weights this one begins with, -1: none (of methods other than PBT always). results as search_propose. */
int64_t search_parent(const struct search *search, const struct search_result *results, int64_t number);
/* How many points are a generation of PBT. */
int64_t search_population(const struct search *search);
/* The place of point `number` into units (space->count). results is (number); values are read below the horizon only, places of
 * all. attempt > 0: another place, drawn at random, since the one before was refused. 0, -1 without memory. */
int search_propose(struct search *search, const struct search_result *results, int64_t number, int attempt,
                   double *units);

#endif
