/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search.h"
#include "distributor/search_sobol.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 400 };

static double sphere(const double *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (x[i] - 0.3) * (x[i] - 0.3);
    return sum;
}

static double rosenbrock(const double *units, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        double x = 4 * units[i] - 2, y = 4 * units[i + 1] - 2;
        sum += 100 * (y - x * x) * (y - x * x) + (1 - x) * (1 - x);
    }
    return sum;
}

static const struct search_dimension cube[8] = {
    {.kind = SEARCH_NUMBER, .high = 1}, {.kind = SEARCH_NUMBER, .high = 1}, {.kind = SEARCH_NUMBER, .high = 1},
    {.kind = SEARCH_NUMBER, .high = 1}, {.kind = SEARCH_NUMBER, .high = 1}, {.kind = SEARCH_NUMBER, .high = 1},
    {.kind = SEARCH_NUMBER, .high = 1}, {.kind = SEARCH_NUMBER, .high = 1}};

/* The least value that so many points find. */
static double least(enum search_method method, size_t dimensions, uint64_t seed, int64_t parallel, int64_t points,
                    double (*function)(const double *, size_t))
{
    struct search_space space = {cube, dimensions};
    struct search_options options = {.method = method, .space = &space, .seed = seed, .parallel = parallel};
    struct search *search = search_new(&options);
    struct search_result results[MOST] = {{0}};
    static double units[MOST][8];
    double best = INFINITY;
    cr_assert_not_null(search);
    for (int64_t i = 0; i < points; i++) {
        cr_assert_leq(search_horizon(search, i), i);
        cr_assert_eq(search_propose(search, results, i, 0, units[i]), 0);
        for (size_t j = 0; j < dimensions; j++)
            cr_assert(units[i][j] >= 0 && units[i][j] < 1);
        results[i] = (struct search_result){units[i], function(units[i], dimensions), true, true};
        best = results[i].value < best ? results[i].value : best;
    }
    search_free(search);
    return best;
}

static double mean_least(enum search_method method, size_t dimensions, int64_t points,
                         double (*function)(const double *, size_t))
{
    double sum = 0;
    for (uint64_t seed = 0; seed < 10; seed++)
        sum += log10(least(method, dimensions, seed, 1, points, function));
    return sum / 10;
}

Test(search, sobols_points_are_those_of_joe_and_kuo)
{
    static const double first[8][3] = {{0, 0, 0},         {0.5, 0.5, 0.5},     {0.75, 0.25, 0.25},   {0.25, 0.75, 0.75},
                                       {0.375, 0.375, 0.625}, {0.875, 0.875, 0.125}, {0.625, 0.125, 0.875}, {0.125, 0.625, 0.375}};
    static const size_t dimensions[] = {0, 1, 2, 19, 79, 159};
    static const double later[] = {0.69238281, 0.93652344, 0.16308594, 0.75292969, 0.43652344, 0.18066406};
    for (uint32_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 3; j++)
            cr_expect_eq(sobol_bits(j, i) * 0x1p-32, first[i][j]);
    for (size_t j = 0; j < 6; j++)
        cr_expect_float_eq(sobol_bits(dimensions[j], 777) * 0x1p-32, later[j], 1e-8);
}

Test(search, sobols_points_are_even_whatever_the_seed)
{
    for (uint64_t seed = 0; seed < 3; seed++) {
        int cells[16] = {0};
        for (int64_t i = 0; i < 64; i++) {
            double units[2];
            sobol_place(seed, i, 2, units);
            cells[(int)(units[0] * 4) * 4 + (int)(units[1] * 4)]++;
        }
        for (int i = 0; i < 16; i++)
            cr_expect_eq(cells[i], 4);
    }
}

Test(search, places_and_values_go_both_ways)
{
    static const double ends[] = {0.1, 0.4, 1};
    static const struct search_dimension all[] = {
        {.kind = SEARCH_CHOICE, .choices = 5},
        {.kind = SEARCH_CHOICE, .choices = 3, .ends = ends},
        {.kind = SEARCH_NUMBER, .low = -2, .high = 5},
        {.kind = SEARCH_NUMBER, .low = 1, .high = 9, .quantum = 1},
        {.kind = SEARCH_NUMBER, .scale = SEARCH_LOG, .low = 1e-5, .high = 0.1},
        {.kind = SEARCH_NUMBER, .scale = SEARCH_LOG, .low = 8, .high = 500, .quantum = 8},
        {.kind = SEARCH_NUMBER, .scale = SEARCH_NORMAL, .mu = 3, .sigma = 2},
        {.kind = SEARCH_NUMBER, .scale = SEARCH_LOG_NORMAL, .mu = -1, .sigma = 0.5}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (double unit = 0.0005; unit < 1; unit += 0.001) {
            double value = search_value(&all[i], unit), again = search_value(&all[i], search_unit(&all[i], value));
            cr_expect_float_eq(again, value, 1e-7 * fabs(value), "dimension %zu: %g, then %g", i, value, again);
            if (all[i].quantum > 0)
                cr_expect_eq(fmod(value, all[i].quantum), 0);
        }
    cr_expect_eq(search_value(&all[1], 0.05), 0);
    cr_expect_eq(search_value(&all[1], 0.39), 1);
    cr_expect_eq(search_value(&all[1], 0.41), 2);
    cr_expect_eq(search_value(&all[3], 0), 1);
    cr_expect_eq(search_value(&all[3], 0.999999), 9);
    cr_expect_eq(search_value(&all[5], 0.999999), 496);
    cr_expect_float_eq(search_value(&all[6], 0.975), 3 + 2 * 1.959964, 1e-5);
}

Test(search, each_of_a_range_of_integers_is_as_likely)
{
    static const struct search_dimension range = {.kind = SEARCH_NUMBER, .low = 1, .high = 4, .quantum = 1};
    int counts[5] = {0};
    for (int i = 0; i < 4000; i++)
        counts[(int)search_value(&range, (i + 0.5) / 4000)]++;
    for (int i = 1; i <= 4; i++)
        cr_expect_eq(counts[i], 1000);
}

Test(search, methods_that_learn_find_less_than_random_points)
{
    double random = mean_least(SEARCH_RANDOM, 4, 120, sphere);
    cr_expect_lt(mean_least(SEARCH_TPE, 4, 120, sphere), random - 0.8);
    cr_expect_lt(mean_least(SEARCH_CMA_ES, 4, 120, sphere), random - 0.8);
    cr_expect_lt(mean_least(SEARCH_EVOLUTION, 4, 120, sphere), random - 0.3);
}

Test(search, cma_es_goes_down_a_curved_valley)
{
    double random = mean_least(SEARCH_RANDOM, 3, 400, rosenbrock);
    cr_expect_lt(mean_least(SEARCH_CMA_ES, 3, 400, rosenbrock), random - 1);
    cr_expect_lt(least(SEARCH_CMA_ES, 4, 1, 1, 400, sphere), 1e-6);
}

/* What is proposed reads no value at or above its horizon, and any state of a search gives the same. */
static void look_only_below(enum search_method method)
{
    struct search_space space = {cube, 3};
    struct search_options options = {.method = method, .space = &space, .seed = 5, .parallel = 6};
    static double units[120][3];
    struct search_result results[120] = {{0}};
    struct search *one = search_new(&options);
    for (int64_t i = 0; i < 120; i++) {
        double other[3];
        int64_t horizon = search_horizon(one, i);
        cr_assert_eq(search_propose(one, results, i, 0, units[i]), 0);
        results[i] = (struct search_result){units[i], sphere(units[i], 3), true, i % 11 != 3};
        struct search_result hidden[120];
        memcpy(hidden, results, sizeof hidden);
        for (int64_t j = horizon; j <= i; j++)
            hidden[j] = (struct search_result){.units = units[j], .value = -7.0 - (double)j, .ended = j % 2, .has_value = j % 2};
        struct search *fresh = search_new(&options);
        cr_assert_eq(search_propose(fresh, hidden, i, 0, other), 0);
        cr_expect_arr_eq(other, units[i], sizeof other, "method %s, point %lld", search_method_name(method), (long long)i);
        search_free(fresh);
    }
    search_free(one);
}

Test(search, what_is_proposed_depends_on_results_below_its_horizon_alone)
{
    for (enum search_method method = SEARCH_RANDOM; method <= SEARCH_EVOLUTION; method++)
        look_only_below(method);
}

Test(search, choices_are_learnt_as_well)
{
    static const struct search_dimension mixed[] = {{.kind = SEARCH_CHOICE, .choices = 6},
                                                    {.kind = SEARCH_CHOICE, .choices = 6},
                                                    {.kind = SEARCH_NUMBER, .high = 1}};
    struct search_space space = {mixed, 3};
    for (enum search_method method = SEARCH_TPE; method <= SEARCH_EVOLUTION; method += 2) {
        int good = 0;
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct search_options options = {.method = method, .space = &space, .seed = seed, .parallel = 2};
            struct search *search = search_new(&options);
            static double units[100][3];
            struct search_result results[100] = {{0}};
            for (int64_t i = 0; i < 100; i++) {
                cr_assert_eq(search_propose(search, results, i, 0, units[i]), 0);
                double a = search_value(&mixed[0], units[i][0]), b = search_value(&mixed[1], units[i][1]);
                results[i] = (struct search_result){units[i], fabs(a - 4) + fabs(b - 1) + units[i][2], true, true};
                good += i >= 60 && a == 4 && b == 1;
            }
            search_free(search);
        }
        cr_expect_gt(good, method == SEARCH_TPE ? 60 : 15, "%s: %d of 200", search_method_name(method), good); /* at random 6 */
    }
}

/* 60 places: by chance half of them would come twice. */
Test(search, places_that_can_be_counted_are_not_tried_twice)
{
    static const struct search_dimension steps[] = {{.kind = SEARCH_CHOICE, .choices = 3},
                                                    {.kind = SEARCH_NUMBER, .low = 1, .high = 5, .quantum = 1},
                                                    {.kind = SEARCH_NUMBER, .low = 0, .high = 3, .quantum = 1}};
    enum { TRIED = 50 };
    struct search_space space = {steps, 3};
    struct search_options options = {.method = SEARCH_TPE, .space = &space, .seed = 1, .parallel = 3};
    struct search *search = search_new(&options);
    struct search_result results[TRIED] = {{0}};
    static double units[TRIED][3];
    int again = 0;
    for (int64_t i = 0; i < TRIED; i++) {
        cr_assert_eq(search_propose(search, results, i, 0, units[i]), 0);
        for (size_t j = 0; j < 3; j++)
            units[i][j] = search_unit(&steps[j], search_value(&steps[j], units[i][j]));
        for (int64_t k = 0; k < i && i >= 10; k++)
            again += !memcmp(units[i], units[k], sizeof units[i]);
        results[i] = (struct search_result){units[i], sphere(units[i], 3), true, true};
    }
    cr_expect_leq(again, 2, "%d", again);
    search_free(search);
}

/* Of many results a part decides, but the same part for all; and what is best stays known however long ago it was. */
Test(search, a_proposal_after_thousands_of_points_is_near_the_best)
{
    enum { TRIED = 6000 };
    struct search_space space = {cube, 2};
    struct search_options options = {.method = SEARCH_TPE, .space = &space, .seed = 2, .parallel = 4};
    struct search *search = search_new(&options), *other = search_new(&options);
    struct search_result *results = calloc(TRIED, sizeof *results);
    double (*units)[2] = calloc(TRIED, sizeof *units), place[2][2];
    struct random_state random;
    int near = 0;
    random_init(&random, 1, 0);
    for (int64_t i = 0; i < TRIED; i++) {
        units[i][0] = search_random(&random);
        units[i][1] = search_random(&random);
        results[i] = (struct search_result){units[i], sphere(units[i], 2), true, i % 5 != 0};
    }
    for (int64_t number = TRIED - 40; number < TRIED; number++) {
        cr_assert_eq(search_propose(search, results, number, 0, place[0]), 0);
        cr_assert_eq(search_propose(other, results, number, 0, place[1]), 0);
        cr_expect_arr_eq(place[0], place[1], sizeof place[0]);
        near += sphere(place[0], 2) < 0.02;
    }
    cr_expect_gt(near, 30, "%d of 40", near); /* at random 2 or 3 */
    search_free(search);
    search_free(other);
    free(results);
    free(units);
}
