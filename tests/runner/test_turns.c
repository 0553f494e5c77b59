/* SPDX-License-Identifier: Apache-2.0 */
/* Turns between sources, and how often an idle runner asks, in time that is only counted. */
#include "runner/clock.h"
#include "runner/pace.h"
#include "runner/turns.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct turns made(size_t count, size_t first)
{
    struct turns turns = {.list = NULL};
    struct task_source *list = bson_malloc0(count * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        snprintf(list[i].queue, sizeof list[i].queue, "q%zu", i);
        list[i].lane = (int32_t)i;
    }
    turns_set(&turns, list, count, first, 7);
    return turns;
}

Test(turns, a_long_queue_does_not_starve_a_short_one)
{
    struct turns turns = made(2, 0);
    int left[] = {50000, 3}, claims = 0;
    while (left[1] > 0) {
        int source = turns_next(&turns);
        cr_assert_geq(source, 0);
        claims++;
        left[source]--;
        turns_taken(&turns, (size_t)source);
    }
    cr_expect_leq(claims, 6, "three tasks beside 50,000 took %d claims", claims);
    turns_destroy(&turns);
}

Test(turns, an_empty_source_is_passed_over_until_it_is_woken)
{
    struct turns turns = made(3, 0);
    cr_expect_eq(turns_next(&turns), 0);
    turns_missed(&turns, 0);
    cr_expect_eq(turns_next(&turns), 1);
    turns_taken(&turns, 1);
    cr_expect_eq(turns_next(&turns), 2);
    turns_taken(&turns, 2);
    cr_expect_eq(turns_next(&turns), 1, "0 is passed over");
    turns_missed(&turns, 1);
    turns_missed(&turns, 2);
    cr_expect_eq(turns_next(&turns), -1, "all are empty");
    turns_wake(&turns, 1);
    cr_expect_eq(turns_next(&turns), 1);
    turns_destroy(&turns);
}

Test(turns, it_goes_on_where_it_stopped)
{
    struct turns turns = made(3, 0);
    for (int i = 0; i < 9; i++) {
        int source = turns_next(&turns);
        cr_expect_eq(source, i % 3);
        turns_taken(&turns, (size_t)source);
        cr_expect_neq(turns_next(&turns), source);
    }
    turns_destroy(&turns);
}

Test(turns, workers_do_not_all_begin_at_the_same_source)
{
    struct turns turns = made(3, 4);
    cr_expect_eq(turns_next(&turns), 1);
    turns_destroy(&turns);
}

Test(turns, a_list_travels_in_a_message)
{
    struct turns turns = made(3, 0), read = {.list = NULL};
    bson_t message = BSON_INITIALIZER, wrong = BSON_INITIALIZER;
    strcpy(turns.list[1].project, "lab");
    strcpy(turns.list[1].resource_class, "cpu+gpu");
    cr_assert(turns_append(&message, turns.list, turns.count, turns.number));
    cr_assert(turns_read(&read, &message, 0));
    cr_expect_eq(read.count, 3);
    cr_expect_eq(read.number, 7);
    cr_expect_str_eq(read.list[1].project, "lab");
    cr_expect_str_eq(read.list[1].resource_class, "cpu+gpu");
    cr_expect_eq(read.list[2].lane, 2);
    cr_expect_not(turns_read(&read, &wrong, 0));
    cr_expect_eq(read.count, 3, "what is none changes nothing");
    bson_destroy(&message);
    turns_destroy(&turns);
    turns_destroy(&read);
}

/* A thousand that have been idle for long, over an hour: looks a second. */
Test(pace, a_thousand_idle_runners_are_quiet)
{
    enum { RUNNERS = 1000, HOUR = 3600000 };
    struct pace *paces = calloc(RUNNERS, sizeof *paces);
    int64_t looks = 0, worst = 0;
    int *seconds = calloc(HOUR / 1000 + 1, sizeof *seconds);
    for (int i = 0; i < RUNNERS; i++) {
        int64_t now = 1000 + clock_jitter(20000);
        pace_hurry(&paces[i], now);
        while (now < 2 * HOUR) {
            now = paces[i].next_ms > now ? paces[i].next_ms : now;
            if (now >= HOUR && now < 2 * HOUR) {
                looks++;
                seconds[(now - HOUR) / 1000]++;
            }
            pace_looked(&paces[i], now, PACE_MOST_MS);
        }
    }
    for (int i = 0; i < HOUR / 1000; i++)
        worst = seconds[i] > worst ? seconds[i] : worst;
    cr_expect_lt(looks / 3600, 70, "%lld looks a second", (long long)(looks / 3600));
    cr_expect_lt(worst, 200, "they do not come together: %lld in one second", (long long)worst);
    free(seconds);
    free(paces);
}

Test(pace, it_looks_often_after_work_and_ever_more_seldom)
{
    struct pace pace = {0};
    int64_t now = 1000, looks = 0;
    pace_hurry(&pace, now);
    cr_expect_leq(pace.next_ms, now, "at once");
    while (now < 11000) {
        now = pace.next_ms;
        looks++;
        cr_assert_leq(pace_looked(&pace, now, PACE_MOST_MS), PACE_MOST_MS);
        cr_expect_geq(pace.next_ms - now, PACE_LEAST_MS * 7 / 10);
    }
    cr_expect(looks > 25 && looks < 120, "%lld looks in ten seconds", (long long)looks);
    cr_expect_leq(pace.next_ms - now, 1700, "after ten seconds it waits little more than one");
    pace_hurry(&pace, now + 1);
    cr_expect_leq(pace.next_ms, now + PACE_LEAST_MS, "work makes it look again");
}

/* A hub that others write to all the time. */
Test(pace, wake_ups_are_bounded)
{
    struct pace pace = {0};
    int64_t looks = 0;
    pace_hurry(&pace, 1000);
    for (int64_t now = 1000; now < 11000; now++) {
        pace_wake(&pace, now);
        if (now >= pace.next_ms) {
            looks++;
            pace_looked(&pace, now, PACE_MOST_MS);
        }
    }
    cr_expect_leq(looks, 10000 / PACE_LEAST_MS + 1);
}
