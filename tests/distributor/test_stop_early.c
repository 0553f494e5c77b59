/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/asha.h"
#include "distributor/stop_early.h"
#include "kernels/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { RUNS = 120, EPOCHS = 27 };

static float curves[RUNS][EPOCHS];

static void make_curves(void)
{
    struct random_state random;
    random_init(&random, 7, 0);
    for (int i = 0; i < RUNS; i++) {
        float end = random_uniform(&random);
        for (int j = 0; j < EPOCHS; j++)
            curves[i][j] = i % 17 == 5 && j > 6 ? NAN : end + (1 - end) / (float)(j + 1) + 0.05f * random_uniform(&random);
    }
}

/* Curves grow as they would with so many workers of random speed, up to where each run is stopped or through. */
static void simulate(const struct stop_early_options *options, uint64_t seed, int workers, int64_t stops[RUNS],
                     bool always_to_the_end)
{
    struct stop_early_run runs[RUNS];
    struct random_state random;
    memset(runs, 0, sizeof runs);
    random_init(&random, seed, 1);
    int64_t next = 0, left = RUNS;
    for (int i = 0; i < RUNS; i++)
        runs[i].values = curves[i];
    int64_t busy[64];
    for (int i = 0; i < workers; i++)
        busy[i] = next < RUNS ? next++ : -1;
    while (left > 0) {
        int worker = (int)random_below(&random, (uint64_t)workers);
        if (busy[worker] < 0)
            continue;
        struct stop_early_run *run = &runs[busy[worker]];
        run->epochs++;
        stop_early_judge(options, runs, 0, RUNS);
        if (run->epochs == EPOCHS || (run->stop && !always_to_the_end)) {
            run->ended = true;
            left--;
            busy[worker] = next < RUNS ? next++ : -1;
        }
    }
    stop_early_judge(options, runs, 0, RUNS);
    for (int i = 0; i < RUNS; i++)
        stops[i] = runs[i].stop;
}

static void same_whatever_the_order(const struct stop_early_options *options)
{
    int64_t first[RUNS], other[RUNS], stopped = 0;
    make_curves();
    simulate(options, 0, 1, first, false);
    for (int i = 0; i < RUNS; i++)
        stopped += first[i] > 0;
    cr_expect(stopped > RUNS / 4 && stopped < RUNS, "%d are stopped", (int)stopped);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        simulate(options, seed, seed % 3 ? (int)seed * 3 : 1, other, seed % 2);
        cr_expect_arr_eq(other, first, sizeof other, "seed %d", (int)seed);
    }
}

Test(stop_early, the_median_decides_the_same_whatever_the_order)
{
    same_whatever_the_order(&(struct stop_early_options){
        .type = STOP_EARLY_MEDIAN, .parallel = 4, .least = 3, .interval = 2, .startup = 5});
}

Test(stop_early, halving_decides_the_same_whatever_the_order)
{
    same_whatever_the_order(&(struct stop_early_options){
        .type = STOP_EARLY_HALVING, .parallel = 6, .least = 1, .eta = 3, .startup = 2});
}

Test(stop_early, a_run_worse_than_the_median_is_stopped_and_one_as_good_is_not)
{
    static const float values[5][2] = {{1, 1}, {2, 2}, {3, 3}, {2, 2}, {9, 2.01f}};
    struct stop_early_options options = {.type = STOP_EARLY_MEDIAN, .parallel = 1, .least = 2, .interval = 1, .startup = 3};
    struct stop_early_run runs[5];
    memset(runs, 0, sizeof runs);
    for (int i = 0; i < 5; i++)
        runs[i] = (struct stop_early_run){.values = values[i], .epochs = 2, .ended = i < 4};
    stop_early_judge(&options, runs, 0, 5);
    cr_expect_eq(runs[3].stop, 0); /* the median of 1, 2, 3 */
    cr_expect_eq(runs[4].stop, 2); /* of 1, 2, 3, 2 */
}

Test(stop_early, nothing_is_decided_before_those_with_lower_numbers_are_there)
{
    static const float good[3] = {1, 1, 1}, bad[3] = {5, 5, 5};
    struct stop_early_options options = {.type = STOP_EARLY_HALVING, .parallel = 1, .least = 2, .eta = 2, .startup = 1};
    struct stop_early_run runs[2] = {{.values = good, .epochs = 1}, {.values = bad, .epochs = 3}};
    stop_early_judge(&options, runs, 0, 2);
    cr_expect(runs[1].stop == 0 && runs[1].judged == 1);
    runs[0].epochs = 2;
    stop_early_judge(&options, runs, 0, 2);
    cr_expect_eq(runs[1].stop, 2);
}

Test(stop_early, of_those_at_a_rung_the_best_third_goes_on)
{
    float values[9][9];
    struct stop_early_options options = {.type = STOP_EARLY_HALVING, .parallel = 1, .least = 1, .eta = 3, .startup = 0};
    struct stop_early_run runs[9];
    memset(runs, 0, sizeof runs);
    for (int i = 0; i < 9; i++) {
        for (int j = 0; j < 9; j++)
            values[i][j] = (float)(9 - i); /* each better than all before */
        runs[i] = (struct stop_early_run){.values = values[i], .epochs = 9, .ended = true};
    }
    stop_early_judge(&options, runs, 0, 9);
    for (int i = 0; i < 9; i++)
        cr_expect_eq(runs[i].stop, 0);
    for (int i = 1; i < 9; i++) {
        for (int j = 0; j < 9; j++)
            values[i][j] = (float)(9 + i); /* each worse */
        runs[i].stop = runs[i].judged = 0;
    }
    stop_early_judge(&options, runs, 1, 9);
    for (int i = 1; i < 9; i++)
        cr_expect_eq(runs[i].stop, 1);
}

/* ---- asynchronous halving ---- */

enum { LADDER = 60, LADDER_EPOCHS = 27 };

/* Runs climb in an order drawn from seed, one decided after the other; how many came to each rung, and who to the last. */
static void climb_all(uint64_t seed, int64_t came[4], bool last[LADDER])
{
    static double values[LADDER][4];
    struct asha_run runs[LADDER];
    bool started[LADDER] = {false};
    struct random_state random;
    random_init(&random, 11, 0);
    for (int i = 0; i < LADDER; i++)
        for (int j = 0; j < 4; j++)
            values[i][j] = (double)((i * 37) % LADDER) + 0.001 * random_uniform(&random);
    random_init(&random, seed, 1);
    for (int i = 0; i < LADDER; i++)
        runs[i] = (struct asha_run){.values = values[i]};
    for (int64_t under_way = 0, fresh = LADDER;;) {
        int at = (int)random_below(&random, LADDER);
        if (fresh == 0 && under_way == 0) {
            int64_t promoted = asha_judge(runs, LADDER, 3, true);
            if (promoted == 0)
                break;
            for (int i = 0; i < LADDER; i++)
                runs[i].waits = runs[i].waits && !runs[i].promoted;
            under_way += promoted;
        } else if (!started[at] || (!runs[at].waits && runs[at].count < 4)) {
            under_way -= started[at];
            fresh -= !started[at];
            started[at] = true;
            runs[at].waits = ++runs[at].count < 4;
            int64_t promoted = asha_judge(runs, LADDER, 3, false);
            for (int i = 0; i < LADDER; i++)
                runs[i].waits = runs[i].waits && !runs[i].promoted;
            under_way += promoted;
        }
    }
    for (size_t i = 0; i < 4; i++)
        came[i] = asha_came(runs, LADDER, i);
    for (int i = 0; i < LADDER; i++)
        last[i] = runs[i].count == 4;
}

Test(asha, the_best_third_of_those_that_came_goes_on_and_ties_go_by_number)
{
    static double values[] = {3, 1, 2, 1, NAN, 9};
    struct asha_run runs[6];
    for (int i = 0; i < 6; i++)
        runs[i] = (struct asha_run){.values = &values[i], .count = 1, .waits = true};
    cr_expect_eq(asha_judge(runs, 2, 3, false), 0, "a third of two is nobody");
    cr_expect_eq(asha_judge(runs, 2, 3, true), 1, "unless nobody else is to come");
    cr_expect(runs[1].promoted);
    cr_expect_eq(asha_judge(runs, 5, 3, false), 1);
    cr_expect(runs[1].promoted && !runs[3].promoted);
    runs[1].waits = false;
    cr_expect_eq(asha_judge(runs, 5, 3, false), 0, "once");
    cr_expect_eq(asha_judge(runs, 6, 3, false), 1);
    cr_expect(runs[3].promoted);
    cr_expect_eq(asha_judge(runs, 6, 3, true), 1);
}

Test(asha, the_best_come_to_the_end_whatever_the_order)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        int64_t came[4];
        bool last[LADDER];
        climb_all(seed, came, last);
        cr_expect_eq(came[0], LADDER);
        cr_expect(came[1] >= LADDER / 3 && came[1] < LADDER, "%d", (int)came[1]);
        cr_expect(came[2] >= came[1] / 3 && came[2] < came[1] && came[3] >= came[2] / 3 && came[3] < came[2]);
        cr_expect(last[0], "seed %d: the best of all (its values are the least at every rung)", (int)seed);
    }
}

Test(asha, rungs_are_powers_of_eta_below_the_end)
{
    int64_t epochs[ASHA_RUNGS];
    cr_expect_eq(asha_rungs(1, 3, LADDER_EPOCHS, epochs), 3);
    cr_expect(epochs[0] == 1 && epochs[1] == 3 && epochs[2] == 9);
    cr_expect_eq(asha_rungs(2, 2, 17, epochs), 4);
    cr_expect_eq(asha_rungs(5, 3, 5, epochs), 0);
    cr_expect_eq(asha_rungs(1, 2, INT64_MAX, epochs), ASHA_RUNGS);
}
