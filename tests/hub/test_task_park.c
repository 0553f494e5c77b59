/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that wait at a rung: parked once, promoted once, and what users and gc do with them. */
#include "hub_on_both.h"
#include "hub/gc.h"

TEST_USES_SERVER;

#define RUNGS "{'epochs': [1, 3], 'count': 1, 'values': [0.5], 'metrics': {'loss': 0.5}, 'seconds': 2.0}"
#define HIGHER "{'epochs': [1, 3], 'count': 2, 'values': [0.5, 0.25], 'metrics': {'loss': 0.25}, 'seconds': 4.0}"

static int park(struct hub *hub, const struct task_fence *fence, const char *rungs)
{
    bson_t *document = json("%s", rungs);
    int result = (int)GOOD(task_park(hub, fence, document, error));
    bson_destroy(document);
    return result;
}

static int write_little(void *data, int (*sink)(void *to, const void *bytes, size_t length), void *to, bson_error_t *why)
{
    (void)data;
    (void)why;
    return sink(to, "weights", 7);
}

/* A task that was claimed, has a checkpoint, and was parked. */
static void make_parked(struct hub *hub, struct task_fence *fence, bson_t *task)
{
    bson_t *fields = json("{'epoch': 2, 'log_claims': ['x'], 'log_points': [{'train': 1}]}");
    struct task_checkpoint made = {.write = write_little, .fields = fields};
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, fence), 1);
    cr_assert_eq(GOOD(task_checkpoint(hub, fence, &made, error)), 1);
    cr_assert_eq(park(hub, fence, RUNGS), 1);
    read_one(hub, "tasks", "{'name': 'a'}", task);
    bson_destroy(fields);
}

HUB_TEST(park, is_claimed_by_nobody_and_promoted_once)
{
    struct task_fence fence, next;
    bson_t task, again;
    make_parked(hub, &fence, &task);
    cr_expect_str_eq(text_of(&task, "state"), "parked");
    cr_expect_eq(number_of(&task, "rungs.waits"), 1);
    cr_expect_eq(park(hub, &fence, RUNGS), 1, "a second call finds what the first one did");
    cr_expect_eq(claim(hub, NULL, &next), 0);
    cr_expect_eq(GOOD(task_unpark(hub, &task, error)), 1);
    cr_expect_eq(GOOD(task_unpark(hub, &task, error)), 0, "two that decide at once promote it once");
    cr_expect_eq(park(hub, &fence, RUNGS), 0, "the claim is over");
    cr_assert_eq(claim(hub, &again, &next), 1);
    cr_expect_eq(number_of(&again, "checkpoint.epoch"), 2, "the claim brings the checkpoint");
    cr_expect_eq(number_of(&again, "rungs.count"), 1);
    cr_expect_eq(park(hub, &next, HIGHER), 1);
    cr_expect_eq(GOOD(task_unpark(hub, &task, error)), 0, "who decided by the rung below comes too late");
    cr_expect_eq(GOOD(task_end_parked(hub, &task, "late", error)), 0);
    expect_state(hub, "{}", "parked");
    bson_destroy(&task);
    bson_destroy(&again);
}

HUB_TEST(park, ends_as_stopped_with_the_results_of_its_rung)
{
    struct task_fence fence;
    struct gc_report report;
    bson_t task;
    make_parked(hub, &fence, &task);
    GOOD(gc_run(hub, 300, false, &report, error));
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1, "its checkpoint is in use");
    cr_expect_eq(GOOD(task_end_parked(hub, &task, "not among the best", error)), 1);
    cr_expect_eq(GOOD(task_end_parked(hub, &task, "again", error)), 0);
    cr_expect_eq(GOOD(task_unpark(hub, &task, error)), 0);
    bson_destroy(&task);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "stopped");
    cr_expect_str_eq(text_of(&task, "result.reason"), "not among the best");
    cr_expect_str_eq(text_of(&task, "result.claim_id"), fence.claim_id);
    cr_expect(has(&task, "result.metrics.loss") && has(&task, "finished_at") && !has(&task, "checkpoint"));
    cr_expect_str_eq(text_of(&task, "result.log_claims.0"), "x");
    cr_expect_eq(number_of(&task, "published"), 1);
    GOOD(gc_run(hub, 300, false, &report, error));
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
    bson_destroy(&task);
}

HUB_TEST(park, obeys_what_the_user_asked_for_first)
{
    static const char *const kinds[] = {"cancel", "pause", "stop"}, *const states[] = {"cancelled", "paused", "stopped"};
    for (int i = 0; i < 3; i++) {
        struct task_fence fence;
        bson_t task, *all = json("{'name': '%s'}", kinds[i]);
        char filter[64], fields[64];
        snprintf(fields, sizeof fields, "{'name': '%s'}", kinds[i]);
        snprintf(filter, sizeof filter, "%s", fields);
        make_task(hub, fields);
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        cr_assert_eq(GOOD(i == 0   ? task_cancel(hub, all, NULL, error)
                          : i == 1 ? task_pause(hub, all, error)
                                   : task_stop(hub, all, "enough", error)), 1);
        cr_expect_eq(park(hub, &fence, RUNGS), 1);
        expect_state(hub, filter, states[i]);
        read_one(hub, "tasks", filter, &task);
        if (i == 2)
            cr_expect(has(&task, "result.metrics.loss") && !strcmp(text_of(&task, "result.reason"), "enough"));
        bson_destroy(&task);
        bson_destroy(all);
    }
}

HUB_TEST(park, is_cancelled_stopped_paused_and_resumed_by_users)
{
    struct task_fence fence;
    bson_t task, *all = json("{}");
    make_parked(hub, &fence, &task);
    cr_expect_eq(GOOD(task_resume(hub, all, error)), 0, "only a promotion makes it go on");
    cr_expect_eq(GOOD(task_pause(hub, all, error)), 1);
    expect_state(hub, "{}", "paused");
    cr_expect_eq(GOOD(task_unpark(hub, &task, error)), 0, "a paused one is not promoted");
    cr_expect_eq(GOOD(task_resume(hub, all, error)), 1);
    expect_state(hub, "{}", "parked");
    cr_expect_eq(GOOD(task_restart(hub, all, NULL, error)), 0, "it has not ended");
    cr_expect_eq(GOOD(task_stop(hub, all, "enough", error)), 1);
    expect_state(hub, "{}", "stopped");
    cr_expect_eq(GOOD(task_restart(hub, all, NULL, error)), 1);
    bson_destroy(&task);
    read_one(hub, "tasks", "{}", &task);
    cr_expect(!has(&task, "rungs"), "who is restarted by hand trains through");
    bson_destroy(&task);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'parked', 'rungs': " RUNGS "}}");
    cr_expect_eq(GOOD(task_cancel(hub, all, "why", error)), 1);
    expect_state(hub, "{}", "cancelled");
    poke(hub, "tasks", "{}", "{'$set': {'state': 'parked'}}");
    cr_expect_eq(GOOD(task_delete(hub, all, error)), 1);
    bson_destroy(all);
}

HUB_TEST(park, paused_at_its_rung_it_stops_with_the_rungs_results)
{
    struct task_fence fence;
    bson_t task, *all = json("{}");
    make_parked(hub, &fence, &task);
    cr_expect_eq(GOOD(task_pause(hub, all, error)), 1);
    cr_expect_eq(GOOD(task_end_parked(hub, &task, "not among the best", error)), 0, "who goes on with the sweep lets it be");
    cr_expect_eq(GOOD(task_stop(hub, all, "enough", error)), 1);
    bson_destroy(&task);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "stopped");
    cr_expect_str_eq(text_of(&task, "result.reason"), "enough");
    cr_expect_str_eq(text_of(&task, "result.claim_id"), fence.claim_id);
    cr_expect(has(&task, "result.metrics.loss") && !has(&task, "checkpoint") && number_of(&task, "rungs.waits") == 0);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'paused'}, '$unset': {'result': ''}}");
    cr_expect_eq(GOOD(task_stop(hub, all, NULL, error)), 1);
    expect_state(hub, "{}", "cancelled");
    cr_expect_eq(count_in(hub, "tasks", "{'result': {'$exists': true}}"), 0, "promoted and paused then, it stood at no rung");
    bson_destroy(&task);
    bson_destroy(all);
}
