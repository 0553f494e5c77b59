/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: tasks that wait for others, or for a time, and what users do with them meanwhile. */
#include "hub_on_both.h"

TEST_USES_SERVER;

#define LATER "{'$date': 4102444800000}"

/* The next one in order is claimed and ends so. */
static void end_next(struct hub *hub, const char *state)
{
    struct task_fence fence;
    struct task_finish finish = {.state = "done"};
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    if (strcmp(state, "done") == 0) {
        GOOD(task_finish(hub, &fence, &finish, error));
    } else {
        GOOD(task_fail(hub, &fence, "m", NULL, error));
    }
}

static int64_t ask(struct hub *hub, int64_t (*request)(struct hub *, const bson_t *, bson_error_t *), const char *filter)
{
    bson_t *which = json("%s", filter);
    int64_t changed = GOOD(request(hub, which, error));
    bson_destroy(which);
    return changed;
}

static int64_t restart(struct hub *hub, const bson_t *filter, bson_error_t *why)
{
    return task_restart(hub, filter, NULL, why);
}

HUB_TEST(after, a_delay_holds_when_the_predecessors_have_ended)
{
    make_task(hub, "{'_id': 'a', 'name': 'a'}");
    make_task(hub, "{'_id': 'b', 'name': 'b', 'after': ['a'], 'not_before': " LATER "}");
    make_task(hub, "{'_id': 'c', 'name': 'c', 'after': ['a'], 'not_before': {'$date': 1000}}");
    end_next(hub, "done");
    GOOD(task_promote(hub, error));
    GOOD(task_promote(hub, error));
    expect_state(hub, "{'_id': 'b'}", "delayed");
    expect_state(hub, "{'_id': 'c'}", "ready");
    cr_expect_eq(count_in(hub, "tasks", "{'_id': 'c', 'not_before': {'$exists': true}}"), 0);
}

HUB_TEST(after, a_delay_outlasts_a_pause)
{
    make_task(hub, "{'_id': 'a', 'name': 'a', 'not_before': " LATER "}");
    cr_expect_eq(ask(hub, task_pause, "{}"), 1);
    cr_expect_eq(ask(hub, task_resume, "{}"), 1);
    GOOD(task_promote(hub, error));
    expect_state(hub, "{'_id': 'a'}", "delayed");
}

/* A stage that has begun does not wait again: its predecessor may have been deleted, or be at a new run. */
HUB_TEST(after, a_pause_of_what_need_not_wait_any_more_does_not_make_it_wait)
{
    struct task_fence fence;
    make_task(hub, "{'_id': 'a', 'name': 'a'}");
    make_task(hub, "{'_id': 'claimed', 'name': 'claimed', 'after': ['a']}");
    make_task(hub, "{'_id': 'ready', 'name': 'ready', 'after': ['a']}");
    end_next(hub, "done");
    cr_expect_eq(GOOD(task_promote(hub, error)), 2);
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(ask(hub, task_pause, "{}"), 2);
    GOOD(task_release(hub, &fence, error));
    expect_state(hub, "{'_id': 'claimed'}", "paused");
    cr_expect_eq(ask(hub, task_delete, "{'_id': 'a'}"), 1);
    cr_expect_eq(ask(hub, task_resume, "{}"), 2);
    GOOD(task_promote(hub, error));
    cr_expect_eq(count_in(hub, "tasks", "{'state': 'ready'}"), 2);
}

HUB_TEST(after, stages_that_are_restarted_keep_their_order)
{
    bson_t task;
    make_task(hub, "{'_id': 'a', 'name': 'a'}");
    make_task(hub, "{'_id': 'b', 'name': 'b', 'after': ['a']}");
    end_next(hub, "failed");
    cr_expect_eq(GOOD(task_promote(hub, error)), 1);
    expect_state(hub, "{'_id': 'b'}", "cancelled");
    cr_expect_eq(ask(hub, restart, "{}"), 2);
    GOOD(task_promote(hub, error));
    expect_state(hub, "{'_id': 'a'}", "ready");
    expect_state(hub, "{'_id': 'b'}", "waiting");
    end_next(hub, "done");
    GOOD(task_promote(hub, error));
    expect_state(hub, "{'_id': 'b'}", "ready");
    end_next(hub, "done");
    /* Both once more, when both were done. */
    cr_expect_eq(ask(hub, restart, "{}"), 2);
    GOOD(task_promote(hub, error));
    expect_state(hub, "{'_id': 'b'}", "waiting");
    end_next(hub, "done");
    GOOD(task_promote(hub, error));
    end_next(hub, "done");
    /* The second alone, when the first is long gone: it had ended well. */
    cr_expect_eq(ask(hub, task_delete, "{'_id': 'a'}"), 1);
    cr_expect_eq(ask(hub, restart, "{}"), 1);
    GOOD(task_promote(hub, error));
    read_one(hub, "tasks", "{'_id': 'b'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    cr_expect_eq(number_of(&task, "run"), 4);
    bson_destroy(&task);
}

HUB_TEST(after, a_weaker_request_does_not_replace_a_stronger_one)
{
    struct task_fence fence;
    bson_t *all = json("{}"), task;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(GOOD(task_pause(hub, all, error)), 1);
    cr_expect_eq(GOOD(task_stop(hub, all, "enough", error)), 1, "of two the stronger");
    cr_expect_eq(GOOD(task_pause(hub, all, error)), 0);
    cr_expect_eq(GOOD(task_cancel(hub, all, "wrong data", error)), 1);
    cr_expect_eq(GOOD(task_stop(hub, all, "enough", error)), 0);
    cr_expect_eq(GOOD(task_pause(hub, all, error)), 0);
    cr_expect_eq(GOOD(task_resume(hub, all, error)), 0);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "request.kind"), "cancel");
    cr_expect_str_eq(text_of(&task, "request.reason"), "wrong data");
    bson_destroy(&task);
    GOOD(task_release(hub, &fence, error));
    expect_state(hub, "{}", "cancelled");
    bson_destroy(all);
}
