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
    double *widths;    /* (count, dimensions): of a number's kernel; of a choice its index */
    double *constants; /* (count): the logarithm of what the kernels of numbers are divided by */
    double *chosen;    /* (dimensions, 2): of choices the logarithms of another's and the own density */
    double *work;      /* (count + 1) */
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
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

/* The distance to the nearer neighbour, and at least a twentieth, more where there are few places: a bound in the manner of
 * Bergstra's "magic clip" (Watanabe 2023, section 3.3.3). Of the bounds tried the best on bench/search's functions. */
static void fill_widths(struct mixture *mixture, size_t dimension, double *sorted)
{
    const struct search_dimension *which = &mixture->space->dimensions[dimension];
    size_t count = mixture->count, stride = mixture->space->count;
    const double few = 0.3 / (double)(count + 1), least = few > 0.05 ? few : 0.05;
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

/* A place of probability 1 / choices at first, and of its own choice one more. */
static double choice_weight(const struct mixture *mixture, const struct search_dimension *which, bool same)
{
    double prior = 1 / (double)(mixture->count + 1);
    return (prior + (same ? 1 : 0)) / (prior * (double)which->choices + 1);
}

static void fill_choices(struct mixture *mixture, size_t dimension)
{
    const struct search_dimension *which = &mixture->space->dimensions[dimension];
    for (int same = 0; same < 2; same++)
        mixture->chosen[2 * dimension + (size_t)same] = log(choice_weight(mixture, which, same) * (double)which->choices);
    for (size_t i = 0; i < mixture->count; i++)
        mixture->widths[i * mixture->space->count + dimension] = search_value(which, mixture->places[i].units[dimension]);
}

/* Of kernels that are cut off at 0 and 1. */
static void fill_constants(struct mixture *mixture)
{
    size_t dimensions = mixture->space->count;
    for (size_t i = 0; i < mixture->count; i++) {
        double sum = 0;
        for (size_t j = 0; j < dimensions; j++) {
            double at = mixture->places[i].units[j], width = mixture->widths[i * dimensions + j];
            if (mixture->space->dimensions[j].kind == SEARCH_NUMBER)
                sum += log(width * sqrt(2 * M_PI) * (below((1 - at) / width) - below(-at / width)));
        }
        mixture->constants[i] = sum;
    }
}

static int mixture_init(struct mixture *mixture, const struct search_space *space, const struct ranked *places,
                        size_t count)
{
    *mixture = (struct mixture){.space = space, .places = places, .count = count};
    mixture->widths = malloc((count * space->count + 1) * sizeof *mixture->widths);
    mixture->constants = malloc((count + 1) * sizeof *mixture->constants);
    mixture->chosen = malloc((2 * space->count + 1) * sizeof *mixture->chosen);
    mixture->work = malloc((count + 1) * sizeof *mixture->work);
    if (!mixture->widths || !mixture->constants || !mixture->chosen || !mixture->work)
        return -1;
    for (size_t i = 0; i < space->count; i++)
        if (space->dimensions[i].kind == SEARCH_NUMBER)
            fill_widths(mixture, i, mixture->work);
        else
            fill_choices(mixture, i);
    fill_constants(mixture);
    return 0;
}

static void mixture_destroy(struct mixture *mixture)
{
    free(mixture->widths);
    free(mixture->constants);
    free(mixture->chosen);
    free(mixture->work);
}

/* The logarithm of one place's product of kernels; values are those of the choices at units. */
static double log_product(const struct mixture *mixture, size_t place, const double *units, const double *values)
{
    size_t dimensions = mixture->space->count;
    const double *widths = mixture->widths + place * dimensions, *at = mixture->places[place].units;
    double squares = 0, logs = -mixture->constants[place];
    for (size_t j = 0; j < dimensions; j++) {
        if (mixture->space->dimensions[j].kind == SEARCH_CHOICE) {
            logs += mixture->chosen[2 * j + (values[j] == widths[j])];
        } else {
            double z = (units[j] - at[j]) / widths[j];
            squares += z * z;
        }
    }
    return logs - squares / 2;
}

/* Of the sum only what is near its greatest term is seen, so that no number of dimensions overflows. */
static double log_density(const struct mixture *mixture, const double *units, const double *values)
{
    size_t count = mixture->count;
    double greatest = 0, sum = 0; /* the uniform one's */
    for (size_t i = 0; i < count; i++) {
        mixture->work[i] = log_product(mixture, i, units, values);
        greatest = mixture->work[i] > greatest ? mixture->work[i] : greatest;
    }
    mixture->work[count] = 0;
    for (size_t i = 0; i <= count; i++)
        if (mixture->work[i] > greatest - 50)
            sum += exp(mixture->work[i] - greatest);
    return greatest + log(sum / (double)(count + 1));
}

static double draw_number(double at, double width, struct random_state *random)
{
    double low = below(-at / width), high = below((1 - at) / width);
    double p = low + search_random(random) * (high - low);
    double unit = at + width * search_normal_quantile(p > 0 ? p : 0x1p-60);
    return unit > 0 ? (unit < 1 ? unit : 0x1.fffffffffffffp-1) : 0;
}

/* From the mixture; where values have steps, the place of the value. */
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
        }
        if (which->kind == SEARCH_CHOICE || which->quantum > 0)
            units[j] = search_unit(which, search_value(which, units[j]));
    }
}

/* What was tried, or is under way, of a space whose places can be counted. */
struct tried {
    const struct search_result *results; /* (count) */
    int64_t count;                       /* 0: the space has a dimension without steps, where no place comes twice */
};

static struct tried tried_in(const struct search_space *space, const struct search_result *results, int64_t count)
{
    for (size_t j = 0; j < space->count; j++)
        if (space->dimensions[j].kind == SEARCH_NUMBER && !(space->dimensions[j].quantum > 0))
            count = 0;
    return (struct tried){results, count};
}

static bool was_tried(const struct tried *tried, const double *units, size_t dimensions)
{
    for (int64_t i = 0; i < tried->count; i++) {
        size_t j = 0;
        while (tried->results[i].units && j < dimensions && tried->results[i].units[j] == units[j])
            j++;
        if (tried->results[i].units && j == dimensions)
            return true;
    }
    return false;
}

/* The best of CANDIDATES that were not tried yet; of those that were only where most are. candidate is (2, dimensions). */
static void choose(const struct mixture *best, const struct mixture *rest, const struct tried *tried,
                   struct random_state *random, double *candidate, double *units)
{
    size_t dimensions = best->space->count;
    double greatest = -INFINITY, *values = candidate + dimensions;
    bool found = false;
    for (int i = 0, fresh = 0; fresh < CANDIDATES && i < 4 * CANDIDATES; i++) {
        draw(best, random, candidate);
        bool again = was_tried(tried, candidate, dimensions);
        fresh += !again;
        if (again && found)
            continue;
        for (size_t j = 0; j < dimensions; j++)
            if (best->space->dimensions[j].kind == SEARCH_CHOICE)
                values[j] = search_value(&best->space->dimensions[j], candidate[j]);
        double gain = log_density(best, candidate, values) - log_density(rest, candidate, values);
        if (i > 0 && gain <= greatest && (again || found))
            continue;
        found = found || !again;
        greatest = gain;
        for (size_t j = 0; j < dimensions; j++)
            units[j] = candidate[j];
    }
}

/* At most REST of those whose results are known, evenly through their ranks, and at most the last REST that are under way: how
 * many are left of the count in *others, in their order. So a proposal takes no longer after 50,000 points than after
 * 2,000, and what is left out depends on the results alone. */
static size_t thin(struct ranked *others, size_t count, int64_t known)
{
    size_t settled = 0, left = 0, at = 0, ahead = 0;
    for (size_t i = 0; i < count; i++)
        settled += others[i].number < known;
    for (size_t i = 0, under_way = count - settled; i < count; i++) {
        bool keep;
        if (others[i].number < known) {
            keep = settled <= REST || at * REST / settled != (at + 1) * REST / settled;
            at++;
        } else {
            keep = under_way - ahead <= REST;
            ahead++;
        }
        if (keep)
            others[left++] = others[i];
    }
    return left;
}

int tpe_propose(const struct search_space *space, uint64_t seed, const struct search_result *results, int64_t known,
                int64_t number, double *units)
{
    struct random_state random;
    struct mixture best = {.widths = NULL}, rest = {.widths = NULL};
    struct ranked *ranked = malloc(((size_t)number + 1) * sizeof *ranked);
    double *candidate = malloc((2 * space->count + 1) * sizeof *candidate);
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
    size_t others = thin(ranked + above, count - above, known);
    random_init(&random, seed, TPE_STREAM + (uint64_t)number);
    if (mixture_init(&best, space, ranked, above) || mixture_init(&rest, space, ranked + above, others))
        goto out;
    struct tried tried = tried_in(space, results, number);
    choose(&best, &rest, &tried, &random, candidate, units);
    result = 0;
out:
    mixture_destroy(&best);
    mixture_destroy(&rest);
    free(ranked);
    free(candidate);
    return result;
}
