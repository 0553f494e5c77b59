/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

#include <time.h>

TEST_USES_SERVER;

#define LEASE 900

static void wait_ms(int64_t milliseconds)
{
    struct timespec wait = {.tv_sec = milliseconds / 1000, .tv_nsec = (long)(milliseconds % 1000) * 1000000L};
    nanosleep(&wait, NULL);
}

/* Rounds close enough for the rule about gaps, for a time; beats on the fence's task meanwhile where there is one. */
static int64_t sweep_for(struct task_sweeper *sweeper, struct hub *hub, int64_t milliseconds, const struct task_fence *beating)
{
    int64_t next, changed = 0;
    enum task_request request;
    struct timespec begin, now;
    clock_gettime(CLOCK_BOOTTIME, &begin);
    do {
        if (beating != NULL) {
            GOOD(task_beat(hub, beating, NULL, &request, error));
        }
        changed += GOOD(task_sweeper_round(sweeper, hub, &next, error));
        cr_expect_leq(next, LEASE / 3, "the next look comes before a gap");
        wait_ms(LEASE / 6);
        clock_gettime(CLOCK_BOOTTIME, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < milliseconds);
    return changed;
}

/* Rounds until so many tasks have changed, on a slow machine too; nothing else may change meanwhile. */
static int64_t sweep_until(struct task_sweeper *sweeper, struct hub *hub, int64_t wanted)
{
    int64_t changed = 0;
    for (int i = 0; i < 100 && changed < wanted; i++) {
        changed += sweep_for(sweeper, hub, 1, NULL);
    }
    return changed;
}

HUB_TEST(sweeper, takes_back_what_stands_still_for_a_lease_and_no_sooner)
{
    struct task_fence fence;
    bson_t task;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_started(hub, &fence, error));
    cr_expect_eq(sweep_for(sweeper, hub, LEASE * 6 / 10, NULL), 0);
    expect_state(hub, "{}", "running");
    cr_expect_eq(sweep_until(sweeper, hub, 1), 1);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "delayed");
    cr_expect_eq(number_of(&task, "crashes"), 1);
    bson_destroy(&task);
    enum task_request request;
    cr_expect_eq(GOOD(task_beat(hub, &fence, NULL, &request, error)), 0, "its runner learns that it is lost");
    task_sweeper_free(sweeper);
}

HUB_TEST(sweeper, leaves_the_living_alone)
{
    struct task_fence fence;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(sweep_for(sweeper, hub, LEASE * 2, &fence), 0);
    expect_state(hub, "{}", "running");
    task_sweeper_free(sweeper);
}

/* Runners of one hub may be started with different leases: what counts is the holder's, where the sweeper's is shorter. */
HUB_TEST(sweeper, a_claim_with_a_longer_lease_is_given_that_long)
{
    static const char *const odd[] = {"{'$numberLong': '9000000000000000000'}", "'long'", "-5", "null", "{'$numberDouble': 'NaN'}"};
    struct task_claim_options patient = {.runner = "r", .lease_ms = LEASE * 5};
    struct task_fence fence;
    bson_t task;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a', 'max_crashes': 1}");
    cr_assert_eq(GOOD(task_claim(hub, &patient, &task, &fence, error)), 1);
    bson_destroy(&task);
    GOOD(task_started(hub, &fence, error));
    cr_expect_eq(sweep_for(sweeper, hub, LEASE * 2, NULL), 0);
    expect_state(hub, "{}", "running");
    cr_expect_eq(sweep_until(sweeper, hub, 1), 1, "but no longer");
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "error.message"), "dead after 1 crashes: the last runner was silent for 4.5 s");
    bson_destroy(&task);
    /* What nobody of ours has written there keeps no task for ever. */
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char name[40], update[160];
        snprintf(name, sizeof name, "{'name': 'odd %zu'}", i);
        make_task(hub, name);
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        snprintf(update, sizeof update, "{'$set': {'claim.lease_ms': %s}}", odd[i]);
        poke(hub, "tasks", name, update);
    }
    cr_expect_eq(sweep_until(sweeper, hub, sizeof odd / sizeof *odd), sizeof odd / sizeof *odd);
    task_sweeper_free(sweeper);
}

/* A sweeper that was away (stopped, or without its server) has not seen the beats in between. */
HUB_TEST(sweeper, a_gap_in_contact_begins_the_watch_anew)
{
    struct task_fence fence;
    int64_t next;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 0);
        wait_ms(LEASE / 2);
    }
    expect_state(hub, "{}", "running");
    task_sweeper_free(sweeper);
}

HUB_TEST(sweeper, no_clock_of_another_machine_matters)
{
    struct task_fence fence;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    poke(hub, "tasks", "{}", "{'$set': {'beat_at': {'$date': 0}, 'claimed_at': {'$date': 0}}}");
    cr_expect_eq(sweep_for(sweeper, hub, LEASE / 2, &fence), 0);
    poke(hub, "tasks", "{}", "{'$set': {'beat_at': {'$date': 4102444800000}}}");
    cr_expect_eq(sweep_until(sweeper, hub, 1), 1, "a stamp of the future protects nothing");
    task_sweeper_free(sweeper);
}

HUB_TEST(sweeper, lost_before_the_start_is_no_crash_but_has_a_limit)
{
    struct task_fence fence;
    bson_t task;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a', 'max_crashes': 1}");
    make_task(hub, "{'name': 'b'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    poke(hub, "tasks", "{'name': 'b'}", "{'$set': {'lost': 9}}");
    cr_expect_eq(sweep_until(sweeper, hub, 2), 2);
    read_one(hub, "tasks", "{'name': 'a'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    cr_expect_eq(number_of(&task, "crashes"), 0);
    cr_expect_eq(number_of(&task, "lost"), 1);
    bson_destroy(&task);
    read_one(hub, "tasks", "{'name': 'b'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "dead");
    cr_expect_eq(number_of(&task, "lost"), 10);
    bson_destroy(&task);
    /* A start clears the count. */
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_started(hub, &fence, error));
    cr_expect_eq(count_in(hub, "tasks", "{'name': 'a', 'lost': 0}"), 1);
    task_sweeper_free(sweeper);
}

HUB_TEST(sweeper, death_at_max_crashes_and_obedience_to_requests)
{
    struct task_fence fence;
    bson_t task, *b = json("{'name': 'b'}"), *c = json("{'name': 'c'}");
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'a', 'max_crashes': 1}");
    make_task(hub, "{'name': 'b'}");
    make_task(hub, "{'name': 'c'}");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        GOOD(task_started(hub, &fence, error));
    }
    GOOD(task_cancel(hub, b, "too slow", error));
    GOOD(task_pause(hub, c, error));
    cr_expect_eq(sweep_until(sweeper, hub, 3), 3);
    expect_state(hub, "{'name': 'a'}", "dead");
    expect_state(hub, "{'name': 'c'}", "paused");
    read_one(hub, "tasks", "{'name': 'b'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "cancelled");
    cr_expect_str_eq(text_of(&task, "error.message"), "too slow");
    cr_expect_eq(number_of(&task, "crashes"), 0);
    bson_destroy(&task);
    bson_destroy(b);
    bson_destroy(c);
    task_sweeper_free(sweeper);
}

/* What other clients may have left: a missing beat, a claim of the wrong type, no claim, odd counts. */
HUB_TEST(sweeper, foreign_running_tasks_come_back_too)
{
    static const char *const foreign[] = {
        "{'_id': 'f1', 'claim': {'id': 'x'}}",
        "{'_id': 'f2', 'claim': 'me'}",
        "{'_id': 'f3'}",
        "{'_id': 'f4', 'claim': {'id': 5, 'beat': 'often'}, 'crashes': 'many', 'started': 'yes'}",
        "{'_id': 'f5', 'claim': {'id': ['a', 'b'], 'beat': {'n': 1}}, 'request': 'stop'}",
        "{'_id': 'f6', 'claim': null, 'lost': 99}",
        "{'_id': 'f7', 'claim': {'id': null, 'beat': {'$numberDouble': 'NaN'}}}",
    };
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        bson_t *given = json("%s", foreign[i]), *rest = json("{'project': 'default', 'lane': 0, 'queue': 'default', "
                                                             "'resource_class': 'cpu', 'kind': 'train', 'state': 'running', "
                                                             "'priority': 0, 'seq': %zu}", i);
        bson_concat(rest, given);
        GOOD(store_insert(hub_store(hub), "tasks", rest, error));
        bson_destroy(rest);
        bson_destroy(given);
    }
    cr_expect_eq(sweep_until(sweeper, hub, 7), 7);
    cr_expect_eq(count_in(hub, "tasks", "{'state': 'running'}"), 0);
    expect_state(hub, "{'_id': 'f1'}", "ready");
    expect_state(hub, "{'_id': 'f6'}", "dead");
    task_sweeper_free(sweeper);
}

HUB_TEST(sweeper, one_works_at_a_time_and_another_follows)
{
    struct task_fence fence;
    int64_t next;
    struct task_sweeper *first = task_sweeper_new(LEASE), *second = task_sweeper_new(LEASE);
    make_task(hub, "{'name': 'due', 'not_before': {'$date': 0}}");
    GOOD(task_sweeper_round(second, hub, &next, error));
    expect_state(hub, "{}", "ready");
    /* second leads; first does nothing while it beats. */
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    for (int i = 0; i < 18; i++) {
        GOOD(task_sweeper_round(second, hub, &next, error));
        if (i < 4) {
            cr_expect_eq(GOOD(task_sweeper_round(first, hub, &next, error)), 0);
        }
        wait_ms(LEASE / 12);
    }
    expect_state(hub, "{}", "ready");
    bson_t leader;
    read_one(hub, "meta", "{'_id': 'sweeper'}", &leader);
    char holder[HUB_ID_SIZE];
    snprintf(holder, sizeof holder, "%s", text_of(&leader, "holder"));
    bson_destroy(&leader);
    /* second dies: first takes over within a lease and a round, and what stood still by then comes back with it. */
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    sweep_until(first, hub, 1);
    cr_expect_eq(count_in(hub, "tasks", "{'lost': 2}"), 1);
    read_one(hub, "meta", "{'_id': 'sweeper'}", &leader);
    cr_expect_str_neq(text_of(&leader, "holder"), holder);
    bson_destroy(&leader);
    /* The old one finds out at once. */
    make_task(hub, "{'name': 'late', 'not_before': {'$date': 0}}");
    cr_expect_eq(GOOD(task_sweeper_round(second, hub, &next, error)), 0);
    expect_state(hub, "{'name': 'late'}", "delayed");
    /* Who resigns is followed at once. */
    cr_expect_eq(GOOD(task_sweeper_resign(first, hub, error)), 1);
    GOOD(task_sweeper_round(second, hub, &next, error));
    expect_state(hub, "{'name': 'late'}", "ready");
    task_sweeper_free(first);
    task_sweeper_free(second);
}

HUB_TEST(sweeper, promotes_and_tidies)
{
    int64_t next;
    struct task_sweeper *sweeper = task_sweeper_new(LEASE);
    make_task(hub, "{'_id': 'a', 'name': 'a', 'not_before': {'$date': 0}}");
    make_task(hub, "{'_id': 'b', 'name': 'b', 'not_before': {'$date': 4102444800000}}");
    make_task(hub, "{'_id': 'c', 'name': 'c', 'not_before': {'$date': 4102444800000}}");
    make_task(hub, "{'_id': 'd', 'name': 'd', 'after': ['b']}");
    poke(hub, "tasks", "{'_id': 'c'}", "{'$set': {'not_before': 'soon'}}");
    poke(hub, "tasks", "{'_id': 'd'}", "{'$set': {'after': 'b'}}");
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 3);
    expect_state(hub, "{'_id': 'a'}", "ready");
    expect_state(hub, "{'_id': 'b'}", "delayed");
    expect_state(hub, "{'_id': 'c'}", "ready");
    expect_state(hub, "{'_id': 'd'}", "failed");
    task_sweeper_free(sweeper);
}

/* Those who only watch the leader come the more seldom the larger the fleet is, and notice its death all the same. */
HUB_TEST(sweeper, a_large_fleet_watches_seldom_and_still_notices_a_death)
{
    int64_t next;
    struct task_sweeper *leader = task_sweeper_new(LEASE), *other = task_sweeper_new(LEASE);
    GOOD(task_sweeper_round(leader, hub, &next, error));
    cr_expect(task_sweeper_leads(leader));
    poke(hub, "meta", "{'_id': 'sweeper'}", "{'$set': {'runners': 2000}}");
    GOOD(task_sweeper_round(other, hub, &next, error));
    cr_expect(task_sweeper_promotes(other), "it has never seen the leader beat");
    poke(hub, "meta", "{'_id': 'sweeper'}", "{'$inc': {'beat': 1}}");
    GOOD(task_sweeper_round(other, hub, &next, error));
    cr_expect_not(task_sweeper_promotes(other));
    cr_expect_gt(next, 10 * LEASE, "a thousandth of the fleet's looks: %lld", (long long)next);
    wait_ms(LEASE / 2);
    GOOD(task_sweeper_round(other, hub, &next, error));
    cr_expect_not(task_sweeper_promotes(other), "one look after a gap says nothing");
    cr_expect_leq(next, LEASE / 3, "so a second one follows");
    wait_ms(next);
    GOOD(task_sweeper_round(other, hub, &next, error));
    cr_expect(task_sweeper_promotes(other), "the leader does not beat");
    for (int i = 0; i < 60 && !task_sweeper_leads(other); i++) {
        wait_ms(LEASE / 6);
        GOOD(task_sweeper_round(other, hub, &next, error));
    }
    cr_expect(task_sweeper_leads(other));
    task_sweeper_free(leader);
    task_sweeper_free(other);
}
