/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search.h"

#include "distributor/search_cma_es.h"
#include "distributor/search_evolution.h"
#include "distributor/search_pbt.h"
#include "distributor/search_sobol.h"
#include "distributor/search_tpe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RANDOM_STREAM (UINT64_C(2) << 60)
#define AGAIN_STREAM  (UINT64_C(1) << 60)

struct search {
    struct search_options options;
    struct cma_es *cma_es; /* of the generation last asked for */
    double *values;        /* (population) */
};

const char *search_method_name(enum search_method method)
{
    static const char *const names[] = {"grid", "random", "sobol", "tpe", "cma_es", "evolution", "pbt"};
    return (size_t)method < sizeof names / sizeof *names ? names[method] : NULL;
}

bool search_learns(enum search_method method)
{
    return method >= SEARCH_TPE;
}

struct search *search_new(const struct search_options *options)
{
    struct search *search = calloc(1, sizeof *search);
    if (!search)
        return NULL;
    search->options = *options;
    struct search_options *mine = &search->options;
    if (mine->population <= 0 && mine->method == SEARCH_PBT)
        mine->population = SEARCH_PBT_POPULATION;
    if (mine->quantile <= 0)
        mine->quantile = 0.25;
    if (mine->population <= 0) {
        int64_t least = mine->method == SEARCH_CMA_ES ? cma_es_population(mine->space->count) : 32;
        mine->population = least > mine->parallel ? least : mine->parallel;
    }
    if (mine->startup <= 0)
        mine->startup = mine->method == SEARCH_EVOLUTION ? mine->population : 10;
    if (mine->method == SEARCH_CMA_ES && !(search->values = calloc((size_t)mine->population, sizeof *search->values))) {
        search_free(search);
        return NULL;
    }
    return search;
}

void search_free(struct search *search)
{
    if (!search)
        return;
    cma_es_free(search->cma_es);
    free(search->values);
    free(search);
}

int64_t search_horizon(const struct search *search, int64_t number)
{
    const struct search_options *options = &search->options;
    if (!search_learns(options->method))
        return 0;
    if (options->method == SEARCH_CMA_ES || options->method == SEARCH_PBT)
        return number / options->population * options->population;
    return number >= options->parallel ? number - options->parallel + 1 : 0;
}

static int64_t count_values(const struct search_result *results, int64_t known)
{
    int64_t count = 0;
    for (int64_t i = 0; i < known; i++)
        count += results[i].units && results[i].has_value;
    return count;
}

/* All generations from the first, where another one than the last is asked for: each is a function of those before. */
static int propose_cma_es(struct search *search, const struct search_result *results, int64_t number, double *units)
{
    const struct search_options *options = &search->options;
    int64_t generation = number / options->population;
    size_t dimensions = options->space->count;
    if (!search->cma_es || cma_es_generation(search->cma_es) > generation) {
        cma_es_free(search->cma_es);
        search->cma_es = cma_es_new(dimensions, options->population, options->seed);
        if (!search->cma_es)
            return -1;
    }
    while (cma_es_generation(search->cma_es) < generation) {
        const struct search_result *first = results + cma_es_generation(search->cma_es) * options->population;
        for (int64_t i = 0; i < options->population; i++)
            search->values[i] = first[i].has_value ? first[i].value : INFINITY;
        cma_es_tell(search->cma_es, search->values);
    }
    memcpy(units, cma_es_places(search->cma_es) + (size_t)(number % options->population) * dimensions,
           dimensions * sizeof *units);
    return 0;
}

static void propose_random(const struct search *search, uint64_t stream, double *units)
{
    struct random_state random;
    random_init(&random, search->options.seed, stream);
    for (size_t i = 0; i < search->options.space->count; i++)
        units[i] = search_random(&random);
}

static struct pbt_options pbt_options(const struct search_options *options)
{
    return (struct pbt_options){.space = options->space,
                                .fixed = options->fixed,
                                .seed = options->seed,
                                .population = options->population,
                                .quantile = options->quantile};
}

int64_t search_parent(const struct search *search, const struct search_result *results, int64_t number)
{
    struct pbt_options options = pbt_options(&search->options);
    bool exploits;
    return search->options.method == SEARCH_PBT ? pbt_parent(&options, results, number, &exploits) : -1;
}

int64_t search_population(const struct search *search)
{
    return search->options.population;
}

int search_propose(struct search *search, const struct search_result *results, int64_t number, int attempt,
                   double *units)
{
    const struct search_options *options = &search->options;
    int64_t known = search_horizon(search, number);
    size_t count = options->space->count;
    if (options->method == SEARCH_PBT && number >= options->population) {
        struct pbt_options pbt = pbt_options(options);
        pbt_propose(&pbt, results, number, attempt, units);
        return 0;
    }
    if (attempt > 0) {
        propose_random(search, AGAIN_STREAM + ((uint64_t)number << 8) + (uint64_t)attempt, units);
        return 0;
    }
    switch (options->method) {
    case SEARCH_CMA_ES: return count ? propose_cma_es(search, results, number, units) : 0;
    case SEARCH_TPE:
        if (number < options->startup || count_values(results, known) == 0)
            break;
        return tpe_propose(options->space, options->seed, results, known, number, units);
    case SEARCH_EVOLUTION:
        if (number < options->startup ||
            !evolution_propose(options->space, options->seed, options->population, results, known, number, units))
            break;
        return 0;
    case SEARCH_RANDOM: propose_random(search, RANDOM_STREAM + (uint64_t)number, units); return 0;
    default: break;
    }
    sobol_place(options->seed, number, count, units);
    return 0;
}
