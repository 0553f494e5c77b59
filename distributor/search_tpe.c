/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search_tpe.h"

#include <math.h>
#include <stdlib.h>

enum { BEST = 25, REST = 1000, CANDIDATES = 24 };

struct ranked {
    const double *units;
    double value;
    int64_t number;
};

/* A mixture: of each place a product of kernels, and one that is uniform. */
struct mixture {
    const struct search_space *space;
    const struct ranked *places; /* (count), borrowed */
    size_t count;
    double *widths; /* (count, dimensions); of choices unused */
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static double density(double z)
{
    return exp(-z * z / 2) / sqrt(2 * M_PI);
}

static double below(double z)
{
    return 0.5 * erfc(-z * M_SQRT1_2);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The distance to the nearer neighbour, and at least a twentieth: of the widths tried the best on bench/search's functions. */
static void fill_widths(struct mixture *mixture, size_t dimension, double *sorted)
{
    const struct search_dimension *which = &mixture->space->dimensions[dimension];
    size_t count = mixture->count, stride = mixture->space->count;
    const double least = 0.05;
    for (size_t i = 0; i < count; i++)
        sorted[i] = mixture->places[i].units[dimension];
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    for (size_t i = 0; i < count; i++) {
        double at = mixture->places[i].units[dimension];
        const double *found = bsearch(&at, sorted, count, sizeof *sorted, compare_doubles);
        size_t rank = found ? (size_t)(found - sorted) : 0;
        double left = at - (rank ? sorted[rank - 1] : 0), right = (rank + 1 < count ? sorted[rank + 1] : 1) - at;
        double width = left < right ? left : right, step = search_step(which, at) / 2;
        width = width < least ? least : width;
        mixture->widths[i * stride + dimension] = width < step ? step : width;
    }
}

static int mixture_init(struct mixture *mixture, const struct search_space *space, const struct ranked *places,
                        size_t count)
{
    double *sorted = malloc((count + 1) * sizeof *sorted);
    *mixture = (struct mixture){.space = space, .places = places, .count = count};
    mixture->widths = malloc((count * space->count + 1) * sizeof *mixture->widths);
    for (size_t i = 0; sorted && mixture->widths && i < space->count; i++)
        if (space->dimensions[i].kind == SEARCH_NUMBER)
            fill_widths(mixture, i, sorted);
    free(sorted);
    return mixture->widths && sorted ? 0 : -1;
}

/* A place of probability 1 / choices at first, and of its own choice one more. */
static double choice_weight(const struct mixture *mixture, const struct search_dimension *which, bool same)
{
    double prior = 1 / (double)(mixture->count + 1);
    return (prior + (same ? 1 : 0)) / (prior * (double)which->choices + 1);
}

static double log_density(const struct mixture *mixture, const double *units)
{
    size_t count = mixture->count, dimensions = mixture->space->count;
    double sum = 1; /* the uniform one */
    for (size_t i = 0; i < count; i++) {
        double product = 1;
        for (size_t j = 0; j < dimensions; j++) {
            const struct search_dimension *which = &mixture->space->dimensions[j];
            double at = mixture->places[i].units[j], width = mixture->widths[i * dimensions + j];
            if (which->kind == SEARCH_CHOICE)
                product *= choice_weight(mixture, which, search_value(which, at) == search_value(which, units[j])) *
                           (double)which->choices;
            else
                product *= density((units[j] - at) / width) / width / (below((1 - at) / width) - below(-at / width));
        }
        sum += product;
    }
    return log(sum / (double)(count + 1));
}

static double draw_number(double at, double width, struct random_state *random)
{
    double low = below(-at / width), high = below((1 - at) / width);
    double p = low + search_random(random) * (high - low);
    double unit = at + width * search_normal_quantile(p > 0 ? p : 0x1p-60);
    return unit > 0 ? (unit < 1 ? unit : 0x1.fffffffffffffp-1) : 0;
}

/* From the mixture, where the numbers that are rounded have their values. */
static void draw(const struct mixture *mixture, struct random_state *random, double *units)
{
    size_t dimensions = mixture->space->count, component = (size_t)random_below(random, mixture->count + 1);
    for (size_t j = 0; j < dimensions; j++) {
        const struct search_dimension *which = &mixture->space->dimensions[j];
        if (component == mixture->count) {
            units[j] = search_random(random);
        } else if (which->kind == SEARCH_CHOICE) {
            double at = mixture->places[component].units[j];
            bool own = search_random(random) < choice_weight(mixture, which, true) - choice_weight(mixture, which, false);
            units[j] = own ? at : search_unit(which, (double)random_below(random, which->choices));
        } else {
            units[j] = draw_number(mixture->places[component].units[j], mixture->widths[component * dimensions + j], random);
            if (which->quantum > 0)
                units[j] = search_unit(which, search_value(which, units[j]));
        }
    }
}

static void choose(const struct mixture *best, const struct mixture *rest, struct random_state *random, double *candidate,
                   double *units)
{
    double greatest = -INFINITY;
    for (int i = 0; i < CANDIDATES; i++) {
        draw(best, random, candidate);
        double gain = log_density(best, candidate) - log_density(rest, candidate);
        if (i > 0 && gain <= greatest)
            continue;
        greatest = gain;
        for (size_t j = 0; j < best->space->count; j++)
            units[j] = candidate[j];
    }
}

int tpe_propose(const struct search_space *space, uint64_t seed, const struct search_result *results, int64_t known,
                int64_t number, double *units)
{
    struct random_state random;
    struct mixture best = {.widths = NULL}, rest = {.widths = NULL};
    struct ranked *ranked = malloc(((size_t)number + 1) * sizeof *ranked);
    double *candidate = malloc((space->count + 1) * sizeof *candidate);
    size_t count = 0, valued = 0;
    int result = -1;

    if (!ranked || !candidate)
        goto out;
    for (int64_t i = 0; i < number; i++) {
        if (!results[i].units)
            continue;
        bool counts = i < known && results[i].ended && results[i].has_value;
        ranked[count++] = (struct ranked){results[i].units, counts ? results[i].value : INFINITY, i};
        valued += counts;
    }
    qsort(ranked, count, sizeof *ranked, by_value);
    size_t above = (valued + 9) / 10;
    above = above < BEST ? above : BEST;
    size_t others = count - above, skipped = others > REST ? others - REST : 0;
    random_init(&random, seed, TPE_STREAM + (uint64_t)number);
    if (mixture_init(&best, space, ranked, above) || mixture_init(&rest, space, ranked + above + skipped, others - skipped))
        goto out;
    choose(&best, &rest, &random, candidate, units);
    result = 0;
out:
    free(best.widths);
    free(rest.widths);
    free(ranked);
    free(candidate);
    return result;
}
