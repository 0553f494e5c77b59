/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search_evolution.h"

#include <math.h>

/* The best of a quarter of the points [first, known), drawn with replacement; NULL where none of those drawn has a value. */
static const struct search_result *tournament(const struct search_result *results, int64_t first, int64_t known,
                                              struct random_state *random)
{
    const struct search_result *best = NULL;
    int64_t size = (known - first) / 4;
    for (int64_t i = 0; i < (size < 2 ? 2 : size); i++) {
        const struct search_result *one = &results[first + (int64_t)random_below(random, (uint64_t)(known - first))];
        if (one->units && one->has_value && (!best || one->value < best->value))
            best = one;
    }
    return best;
}

double evolution_change(const struct search_dimension *dimension, double unit, struct random_state *random)
{
    if (dimension->kind == SEARCH_CHOICE) {
        size_t now = (size_t)search_value(dimension, unit), other = (size_t)random_below(random, dimension->choices - 1);
        return search_unit(dimension, (double)(other + (other >= now)));
    }
    double step = search_step(dimension, unit), by = 0.1 * random_normal(random);
    if (fabs(by) < step) /* else rounding would take it back */
        by = by < 0 ? -step : step;
    unit = fabs(unit + by); /* the walls reflect */
    unit = unit > 1 ? 2 - unit : unit;
    return unit < 0 ? 0 : unit >= 1 ? 0x1.fffffffffffffp-1 : unit;
}

bool evolution_propose(const struct search_space *space, uint64_t seed, int64_t population,
                       const struct search_result *results, int64_t known, int64_t number, double *units)
{
    struct random_state random;
    int64_t first = known > population ? known - population : 0;
    random_init(&random, seed, EVOLUTION_STREAM + (uint64_t)number);
    if (known == 0)
        return false;
    const struct search_result *parent = tournament(results, first, known, &random);
    for (int i = 0; i < 100 && !parent; i++)
        parent = tournament(results, first, known, &random);
    if (!parent)
        return false;
    const struct search_result *other = random_below(&random, 2) ? tournament(results, first, known, &random) : NULL;
    size_t certain = space->count ? (size_t)random_below(&random, space->count) : 0;
    for (size_t i = 0; i < space->count; i++) {
        units[i] = other && random_below(&random, 2) ? other->units[i] : parent->units[i];
        if (i == certain || search_random(&random) * (double)space->count < 0.5)
            units[i] = evolution_change(&space->dimensions[i], units[i], &random);
    }
    return true;
}
