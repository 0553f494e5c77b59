/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search_pbt.h"

#include <math.h>
#include <string.h>

static const double RESAMPLED = 0.25, LESS = 0.8, MORE = 1.2;

/* Of members without a value nothing is known but that they are the worst; of equal ones the lower number is better. */
static bool is_better(const struct search_result *results, int64_t a, int64_t b)
{
    bool has_a = results[a].units && results[a].has_value, has_b = results[b].units && results[b].has_value;
    if (has_a != has_b)
        return has_a;
    return has_a && results[a].value != results[b].value ? results[a].value < results[b].value : a < b;
}

/* How many of its generation [first, end) are better. */
static int64_t rank_of(const struct search_result *results, int64_t number, int64_t first, int64_t end)
{
    int64_t better = 0;
    for (int64_t i = first; i < end; i++)
        better += i != number && is_better(results, i, number);
    return better;
}

int64_t pbt_parent(const struct pbt_options *options, const struct search_result *results, int64_t number, bool *exploits)
{
    int64_t size = options->population, generation = number / size, own = number - size, valued = 0;
    *exploits = false;
    if (generation == 0)
        return -1;
    int64_t first = (generation - 1) * size, end = first + size, cut = (int64_t)floor(options->quantile * (double)size);
    cut = cut > 0 ? cut : 1;
    for (int64_t i = first; i < end; i++)
        valued += results[i].units && results[i].has_value;
    if (valued == 0)
        return -1;
    bool has_value = results[own].units && results[own].has_value;
    if (has_value && rank_of(results, own, first, end) < size - cut)
        return own;
    struct random_state random;
    random_init(&random, options->seed, PBT_STREAM + ((uint64_t)number << 8));
    int64_t rank = (int64_t)random_below(&random, (uint64_t)(cut < valued ? cut : valued));
    for (int64_t i = first; i < end; i++)
        if (rank_of(results, i, first, end) == rank) {
            *exploits = i != own;
            return i;
        }
    return own;
}

/* A number that its grid would round back goes one step further. */
static double perturb(const struct search_dimension *dimension, double unit, bool more)
{
    double value = search_value(dimension, unit), next = value * (more ? MORE : LESS);
    double changed = search_unit(dimension, next);
    if (search_value(dimension, changed) == value && dimension->quantum > 0)
        changed = search_unit(dimension, value + (more ? dimension->quantum : -dimension->quantum));
    return changed;
}

void pbt_propose(const struct pbt_options *options, const struct search_result *results, int64_t number, int attempt,
                 double *units)
{
    const struct search_space *space = options->space;
    struct random_state random;
    bool exploits;
    int64_t parent = pbt_parent(options, results, number, &exploits);
    random_init(&random, options->seed, PBT_STREAM + ((uint64_t)number << 8) + (uint64_t)attempt + 1);
    if (parent >= 0)
        memcpy(units, results[parent].units, space->count * sizeof *units);
    for (size_t i = 0; i < space->count; i++) {
        /* Drawn for every dimension, so that what one becomes does not hang on which others are fixed. */
        bool resampled = search_random(&random) < RESAMPLED, more = random_below(&random, 2);
        double anew = search_random(&random);
        if (parent < 0)
            units[i] = anew;
        if (parent < 0 || (!exploits && attempt == 0) || (options->fixed && options->fixed[i]))
            continue;
        if (resampled)
            units[i] = anew;
        else if (space->dimensions[i].kind == SEARCH_NUMBER)
            units[i] = perturb(&space->dimensions[i], units[i], more);
    }
}
