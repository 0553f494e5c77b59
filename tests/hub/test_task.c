/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

#include <unistd.h>

TEST_USES_SERVER;

/* ---- making and finding ---- */

HUB_TEST(task, create_fills_in_what_every_task_has)
{
    bson_t *fields = json("{'name': 'Dense net', 'tags': ['mnist'], 'hyper_parameters': {'epochs': 2}}"), task;
    cr_assert_eq(GOOD(task_create(hub, fields, &task, error)), 1);
    cr_expect_str_eq(text_of(&task, "project"), "default");
    cr_expect_str_eq(text_of(&task, "queue"), "default");
    cr_expect_str_eq(text_of(&task, "resource_class"), "cpu");
    cr_expect_str_eq(text_of(&task, "kind"), "train");
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    cr_expect_str_eq(text_of(&task, "words.2"), "mnist");
    cr_expect_eq(number_of(&task, "lane"), 0);
    cr_expect_eq(number_of(&task, "seq"), 1);
    cr_expect_eq(number_of(&task, "run"), 1);
    cr_expect_eq(number_of(&task, "claims"), 0);
    cr_expect_eq(number_of(&task, "hyper_parameters.epochs"), 2);
    cr_expect(has(&task, "created_at"));
    bson_destroy(&task);
    bson_destroy(fields);
    make_task(hub, "{'name': 'b', 'after': ['x']}");
    make_task(hub, "{'name': 'c', 'not_before': {'$date': 4102444800000}}");
    expect_state(hub, "{'seq': 2}", "waiting");
    expect_state(hub, "{'seq': 3}", "delayed");
}

HUB_TEST(task, bad_fields_are_refused_and_nothing_is_written)
{
    static const char *const bad[][2] = {
        {"{'kind': 'train'}", "task.name: it is missing"},
        {"{'name': 'a', 'nmae': 'b'}", "task.nmae: there is no such field"},
        {"{'name': 'a', 'state': 'done'}", "task.state: the hub sets it"},
        {"{'name': 'a', 'seq': 5}", "task.seq: the hub sets it"},
        {"{'name': ''}", "task.name: it is empty"},
        {"{'name': 'a', 'hyper_parameters': {'epochs': -1}}", "task.hyper_parameters.epochs: -1 is below"},
        {"{'name': 'a', 'queue': 'a b'}", "task.queue"},
        {"{'name': 'a', 'kind': 'command'}", "task.kind"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bson_error_t why;
        bson_t *fields = json("%s", bad[i][0]), task;
        cr_expect_eq(task_create(hub, fields, &task, &why), -1);
        cr_expect_eq(hub_error_code(&why), HUB_ERROR_INVALID);
        cr_expect_not_null(strstr(why.message, bad[i][1]), "%s", why.message);
        cr_expect(bson_empty(&task));
        bson_destroy(&task);
        bson_destroy(fields);
    }
    cr_expect_eq(count_in(hub, "tasks", "{}"), 0);
}

HUB_TEST(task, submitting_twice_is_harmless)
{
    bson_t *fields[6];
    for (int i = 0; i < 6; i++) {
        fields[i] = json("{'_id': 'point%d', 'name': 'sweep', 'point': {'n': %d}}", i % 5, i);
    }
    cr_expect_eq(GOOD(task_create_many(hub, (const bson_t *const *)fields, 3, error)), 3);
    cr_expect_eq(GOOD(task_create_many(hub, (const bson_t *const *)fields, 3, error)), 0);
    cr_expect_eq(GOOD(task_create_many(hub, (const bson_t *const *)fields, 6, error)), 2, "the last one is the first again");
    cr_expect_eq(count_in(hub, "tasks", "{}"), 5);
    cr_expect_eq(count_in(hub, "tasks", "{'_id': 'point2', 'seq': 3}"), 1, "numbers go by order");
    cr_expect_eq(count_in(hub, "tasks", "{'_id': 'point0', 'seq': 1, 'point.n': 0}"), 1, "the first one stands");
    bson_t task;
    cr_expect_eq(GOOD(task_create(hub, fields[1], &task, error)), 0);
    cr_expect_eq(number_of(&task, "seq"), 2, "the stored one is given");
    bson_destroy(&task);
    for (int i = 0; i < 6; i++) {
        bson_destroy(fields[i]);
    }
    cr_expect_eq(GOOD(task_create_many(hub, NULL, 0, error)), 0);
}

HUB_TEST(task, many_tasks_in_one_go)
{
    enum { COUNT = 1201 };
    bson_t *fields[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fields[i] = json("{'name': 'n%d'}", i);
    }
    cr_expect_eq(GOOD(task_create_many(hub, (const bson_t *const *)fields, COUNT, error)), COUNT);
    cr_expect_eq(count_in(hub, "tasks", "{'name': 'n1200', 'seq': 1201}"), 1);
    for (int i = 0; i < COUNT; i++) {
        bson_destroy(fields[i]);
    }
}

static void expect_resolved(struct hub *hub, const char *text, int64_t seq)
{
    bson_t task;
    int found = (int)GOOD(task_resolve(hub, text, &task, error));
    cr_expect_eq(found, seq > 0, "%s", text);
    if (found > 0) {
        cr_expect_eq(number_of(&task, "seq"), seq, "%s", text);
    }
    bson_destroy(&task);
}

HUB_TEST(task, is_found_by_what_people_type)
{
    bson_error_t why;
    bson_t task;
    make_task(hub, "{'_id': 'abcdef0123456789abcdef0123456789', 'name': 'one'}");
    make_task(hub, "{'_id': 'abcdef9923456789abcdef0123456789', 'name': 'twin'}");
    make_task(hub, "{'_id': 'bbcdef9923456789abcdef0123456789', 'name': 'twin'}");
    make_task(hub, "{'name': '77'}");
    expect_resolved(hub, "#1", 1);
    expect_resolved(hub, "2", 2);
    expect_resolved(hub, "abcdef0123456789abcdef0123456789", 1);
    expect_resolved(hub, "abcdef99", 2);
    expect_resolved(hub, "one", 1);
    expect_resolved(hub, "77", 4);
    expect_resolved(hub, "#77", 0);
    expect_resolved(hub, "nothing", 0);
    expect_resolved(hub, "", 0);
    cr_expect_eq(task_resolve(hub, "twin", &task, &why), -1);
    cr_expect_not_null(strstr(why.message, "#3, #2"), "%s", why.message);
    bson_destroy(&task);
    cr_expect_eq(task_resolve(hub, "abcdef", &task, &why), -1);
    bson_destroy(&task);
}

HUB_TEST(task, projects_do_not_see_each_other)
{
    bson_t *other_project, states;
    GOOD(hub_init(uri, "digits", error));
    struct hub *digits = hub_open(uri, "digits", HUB_OPEN_EXISTING, NULL);
    make_task(hub, "{'name': 'a'}");
    make_task(digits, "{'name': 'b'}");
    make_task(digits, "{'name': 'c'}");
    GOOD(task_count_states(hub, NULL, &states, error));
    cr_expect_eq(number_of(&states, "ready"), 1);
    bson_destroy(&states);
    /* A filter that names another project does not reach it. */
    other_project = json("{'project': 'digits'}");
    cr_expect_eq(GOOD(task_cancel(hub, other_project, NULL, error)), 0);
    cr_expect_eq(GOOD(task_delete(hub, other_project, error)), 0);
    bson_destroy(other_project);
    other_project = json("{'$or': [{'project': 'digits'}, {'name': 'a'}]}");
    cr_expect_eq(GOOD(task_delete(hub, other_project, error)), 1);
    bson_destroy(other_project);
    struct task_fence fence;
    cr_expect_eq(claim(hub, NULL, &fence), 0);
    cr_expect_eq(claim(digits, NULL, &fence), 1);
    cr_expect_str_eq(fence.project, "digits");
    hub_close(digits);
}

/* ---- claiming ---- */

HUB_TEST(claim, takes_by_priority_then_in_order)
{
    static const char *const order[] = {"c", "a", "b"};
    struct task_fence fence;
    bson_t task;
    cr_expect_eq(GOOD(hub_set_lanes(hub, 4, error)), 1);
    make_task(hub, "{'name': 'a', 'lane': 0}");
    make_task(hub, "{'name': 'b', 'lane': 0}");
    make_task(hub, "{'name': 'c', 'lane': 0, 'priority': 5}");
    make_task(hub, "{'name': 'd', 'lane': 0, 'queue': 'night'}");
    make_task(hub, "{'name': 'e', 'lane': 0, 'resource_class': 'cuda'}");
    make_task(hub, "{'name': 'f', 'lane': 3}");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(claim(hub, &task, &fence), 1);
        cr_expect_str_eq(text_of(&task, "name"), order[i]);
        cr_expect_str_eq(text_of(&task, "state"), "running");
        cr_expect_str_eq(text_of(&task, "claim.id"), fence.claim_id);
        cr_expect_str_eq(text_of(&task, "claim.runner"), "tester");
        cr_expect_eq(number_of(&task, "claim.beat"), 0);
        cr_expect_eq(number_of(&task, "claims"), 1);
        cr_expect(has(&task, "claimed_at"));
        bson_destroy(&task);
    }
    cr_expect_eq(claim(hub, NULL, &fence), 0);
    struct task_claim_options night = {.runner = "r", .queue = "night"}, cuda = {.resource_class = "cuda"}, lane = {.lane = 3};
    cr_expect_eq(GOOD(task_claim(hub, &night, &task, &fence, error)), 1);
    bson_destroy(&task);
    cr_expect_eq(GOOD(task_claim(hub, &cuda, &task, &fence, error)), 1);
    bson_destroy(&task);
    cr_expect_eq(GOOD(task_claim(hub, &lane, &task, &fence, error)), 1);
    cr_expect_eq(fence.lane, 3);
    bson_destroy(&task);
}

HUB_TEST(claim, by_name_takes_the_newest)
{
    struct task_claim_options options = {.runner = "r", .name = "b"};
    struct task_fence fence;
    bson_t task;
    make_task(hub, "{'name': 'b'}");
    make_task(hub, "{'name': 'b'}");
    make_task(hub, "{'name': 'a', 'priority': 9}");
    cr_assert_eq(GOOD(task_claim(hub, &options, &task, &fence, error)), 1);
    cr_expect_eq(number_of(&task, "seq"), 2);
    bson_destroy(&task);
}

HUB_TEST(claim, leaves_nothing_of_the_claim_before)
{
    struct task_fence first, second;
    enum task_request request;
    bson_t task, *progress = json("{'epoch': 3}");
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &first), 1);
    GOOD(task_started(hub, &first, error));
    GOOD(task_beat(hub, &first, progress, &request, error));
    poke(hub, "tasks", "{}", "{'$set': {'claim.leaf': 1}}");
    cr_expect_eq(GOOD(task_release(hub, &first, error)), 1);
    cr_assert_eq(claim(hub, &task, &second), 1);
    cr_expect_str_neq(first.claim_id, second.claim_id);
    cr_expect_eq(number_of(&task, "claim.beat"), 0);
    cr_expect_eq(number_of(&task, "claims"), 2);
    cr_expect_not(has(&task, "claim.leaf"));
    cr_expect_not(has(&task, "progress"));
    cr_expect_not(has(&task, "started_at"));
    cr_expect_eq(number_of(&task, "started"), 0);
    bson_destroy(&task);
    bson_destroy(progress);
}

/* What a client in another language may insert, as the header promises. */
HUB_TEST(claim, a_foreign_task_with_few_fields_is_taken)
{
    struct task_fence fence;
    enum task_request request;
    bson_t task, *foreign = json("{'project': 'default', 'lane': 0, 'queue': 'default', 'resource_class': 'cpu', "
                                 "'kind': 'train', 'state': 'ready', 'priority': 0, 'seq': 7, 'note': 'hello'}");
    GOOD(store_insert(hub_store(hub), "tasks", foreign, error));
    cr_assert_eq(claim(hub, &task, &fence), 1);
    cr_expect_eq(strlen(fence.task_id), 24, "its _id is an ObjectId");
    cr_expect_eq(number_of(&task, "claims"), 1);
    bson_destroy(&task);
    cr_expect_eq(GOOD(task_started(hub, &fence, error)), 1);
    cr_expect_eq(GOOD(task_beat(hub, &fence, NULL, &request, error)), 1);
    struct task_finish finish = {.state = "done"};
    cr_expect_eq(GOOD(task_finish(hub, &fence, &finish, error)), 1);
    expect_state(hub, "{'seq': 7}", "done");
    expect_resolved(hub, fence.task_id, 7);
    bson_destroy(foreign);
}

HUB_TEST(claim, malformed_tasks_are_set_aside_and_the_good_one_is_taken)
{
    static const char *const bad[] = {
        "{'_id': 'x1', 'claims': 'many', 'name': 'a'}",
        "{'_id': 'x2', 'hyper_parameters': 'none'}",
        "{'_id': 'x3', 'claim': 'mine', 'kind': 7}",
        "{'_id': 'x4', 'tags': {'a': 1}}",
        "{'_id': 5, 'name': 'number'}",
        "{'_id': 'x6', 'hyper_parameters': {'epochs': {'$numberDouble': 'NaN'}}}",
        "{'_id': 'x7', 'dataset': 5}",
        "{'_id': 'x8', 'claims': {'a': 1}, 'seq': {'a': 1}}",
    };
    struct task_fence fence;
    bson_t task;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bson_t *given = json("%s", bad[i]), *rest = json("{'project': 'default', 'lane': 0, 'queue': 'default', "
                                                         "'resource_class': 'cpu', 'state': 'ready', 'priority': 0}");
        bson_concat(rest, given);
        if (!bson_has_field(rest, "seq")) {
            BSON_APPEND_INT32(rest, "seq", (int32_t)i);
        }
        if (!bson_has_field(rest, "kind")) {
            BSON_APPEND_UTF8(rest, "kind", "train");
        }
        GOOD(store_insert(hub_store(hub), "tasks", rest, error));
        bson_destroy(rest);
        bson_destroy(given);
    }
    make_task(hub, "{'_id': 'good', 'name': 'good', 'priority': -5}");
    cr_assert_eq(claim(hub, &task, &fence), 1);
    cr_expect_str_eq(fence.task_id, "good");
    bson_destroy(&task);
    cr_expect_eq(count_in(hub, "tasks", "{'state': 'failed', 'error.message': {'$exists': true}}"), 8);
    read_one(hub, "tasks", "{'_id': 'x1'}", &task);
    cr_expect_str_eq(text_of(&task, "error.message"), "task.claims: it is string, not int or long");
    bson_destroy(&task);
}

/* ---- fenced writes ---- */

HUB_TEST(fence, every_write_of_a_lost_claim_is_refused)
{
    struct task_fence old, new;
    enum task_request request;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &old), 1);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &new), 1);
    struct task_finish finish = {.state = "done"};
    cr_expect_eq(GOOD(task_started(hub, &old, error)), 0);
    cr_expect_eq(GOOD(task_beat(hub, &old, NULL, &request, error)), 0);
    cr_expect_eq(GOOD(task_release(hub, &old, error)), 0);
    cr_expect_eq(GOOD(task_crash(hub, &old, "m", "o", error)), 0);
    cr_expect_eq(GOOD(task_fail(hub, &old, "m", "o", error)), 0);
    cr_expect_eq(GOOD(task_end(hub, &old, "cancelled", "m", error)), 0);
    cr_expect_eq(GOOD(task_finish(hub, &old, &finish, error)), 0);
    bson_t task;
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "running");
    cr_expect_str_eq(text_of(&task, "claim.id"), new.claim_id);
    cr_expect_eq(number_of(&task, "claim.beat"), 0);
    cr_expect_eq(number_of(&task, "started"), 0);
    cr_expect_not(has(&task, "error"));
    bson_destroy(&task);
    /* And each other part of the fence counts. */
    struct task_fence wrong = new;
    wrong.lane = 1;
    cr_expect_eq(GOOD(task_started(hub, &wrong, error)), 0);
    wrong = new;
    snprintf(wrong.project, sizeof wrong.project, "other");
    cr_expect_eq(GOOD(task_started(hub, &wrong, error)), 0);
    cr_expect_eq(GOOD(task_started(hub, &new, error)), 1);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'paused'}}");
    cr_expect_eq(GOOD(task_beat(hub, &new, NULL, &request, error)), 0, "only a running task is written to");
}

HUB_TEST(fence, beats_carry_progress_and_bring_requests)
{
    struct task_fence fence;
    enum task_request request = TASK_REQUEST_STOP;
    bson_t task, *progress = json("{'epoch': 2, 'loss': 0.5}"), *all = json("{}");
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(GOOD(task_beat(hub, &fence, progress, &request, error)), 1);
    cr_expect_eq(request, TASK_REQUEST_NONE);
    GOOD(task_pause(hub, all, error));
    GOOD(task_beat(hub, &fence, NULL, &request, error));
    cr_expect_eq(request, TASK_REQUEST_PAUSE);
    GOOD(task_resume(hub, all, error));
    GOOD(task_beat(hub, &fence, NULL, &request, error));
    cr_expect_eq(request, TASK_REQUEST_NONE);
    GOOD(task_stop(hub, all, NULL, error));
    GOOD(task_beat(hub, &fence, NULL, &request, error));
    cr_expect_eq(request, TASK_REQUEST_STOP);
    cr_expect_eq(GOOD(task_cancel(hub, all, "enough", error)), 1);
    cr_expect_eq(GOOD(task_beat(hub, &fence, NULL, &request, error)), 1);
    cr_expect_eq(request, TASK_REQUEST_CANCEL);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_eq(number_of(&task, "claim.beat"), 5);
    cr_expect_eq(number_of(&task, "progress.epoch"), 2);
    bson_destroy(&task);
    bson_destroy(progress);
    bson_destroy(all);
}

HUB_TEST(fence, release_makes_ready_at_once_and_costs_no_crash)
{
    struct task_fence fence;
    bson_t task;
    make_task(hub, "{'name': 'a', 'max_crashes': 1}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_started(hub, &fence, error));
    cr_expect_eq(GOOD(task_release(hub, &fence, error)), 1);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    cr_expect_eq(number_of(&task, "crashes"), 0);
    bson_destroy(&task);
    cr_expect_eq(GOOD(task_release(hub, &fence, error)), 1, "said again, it is still so");
    cr_expect_eq(claim(hub, NULL, &fence), 1);
}

HUB_TEST(fence, giving_back_obeys_the_request)
{
    static const char *const states[] = {"cancelled", "paused", "cancelled"};
    bson_t *all = json("{'state': 'running'}");
    for (int i = 0; i < 3; i++) {
        struct task_fence fence;
        make_task(hub, "{'name': 'a'}");
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        GOOD(task_started(hub, &fence, error));
        if (i == 1) {
            GOOD(task_pause(hub, all, error));
        } else {
            GOOD(task_cancel(hub, all, "why not", error));
        }
        cr_expect_eq(i == 2 ? GOOD(task_crash(hub, &fence, "m", NULL, error)) : GOOD(task_release(hub, &fence, error)), 1);
        bson_t *filter = json("{'seq': %d}", i + 1);
        bson_t task;
        GOOD(store_find_one(hub_store(hub), "tasks", filter, NULL, &task, error));
        cr_expect_str_eq(text_of(&task, "state"), states[i]);
        bson_destroy(&task);
        bson_destroy(filter);
    }
    bson_destroy(all);
}

HUB_TEST(fence, crashes_count_once_the_work_has_started_and_end_in_death)
{
    struct task_fence fence;
    bson_t task;
    make_task(hub, "{'name': 'a', 'max_crashes': 2}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(GOOD(task_crash(hub, &fence, "early", NULL, error)), 1);
    for (int crash = 0; crash <= 2; crash++) {
        read_one(hub, "tasks", "{}", &task);
        cr_expect_eq(number_of(&task, "crashes"), crash);
        cr_expect_str_eq(text_of(&task, "state"), crash < 2 ? "delayed" : "dead");
        bson_destroy(&task);
        if (crash == 2) {
            break;
        }
        cr_expect_eq(claim(hub, NULL, &fence), 0, "it backs off");
        poke(hub, "tasks", "{}", "{'$set': {'not_before': {'$date': 0}}}");
        cr_expect_eq(GOOD(task_promote(hub, error)), 1);
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        GOOD(task_started(hub, &fence, error));
        cr_expect_eq(GOOD(task_crash(hub, &fence, "signal 9", "the end of its output", error)), 1);
        cr_expect_eq(GOOD(task_crash(hub, &fence, "signal 9", NULL, error)), 1, "said again it counts once");
    }
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "error.message"), "signal 9");
    cr_expect_str_eq(text_of(&task, "error.output"), "the end of its output");
    cr_expect(has(&task, "finished_at"));
    bson_destroy(&task);
}

/* The runner hears that its task is cancelled, and nothing of why. */
HUB_TEST(task, a_cancelled_running_task_says_the_reason_of_its_request)
{
    static const char *const reasons[] = {"wrong data", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct task_fence fence;
        bson_t task, *filter = json("{'state': 'running'}"), id = BSON_INITIALIZER;
        make_task(hub, "{'name': 'a'}");
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        cr_expect_eq(GOOD(task_cancel(hub, filter, reasons[i], error)), 1);
        cr_expect_eq(GOOD(task_end(hub, &fence, "cancelled", NULL, error)), 1);
        BSON_APPEND_UTF8(&id, "_id", fence.task_id);
        cr_assert_eq(GOOD(store_find_one(hub_store(hub), "tasks", &id, NULL, &task, error)), 1);
        cr_expect_str_eq(text_of(&task, "state"), "cancelled");
        cr_expect_str_eq(text_of(&task, "error.message"), reasons[i] != NULL ? reasons[i] : "at the user's request");
        bson_destroy(&task);
        bson_destroy(&id);
        bson_destroy(filter);
    }
}

HUB_TEST(fence, failing_keeps_message_and_the_end_of_the_output)
{
    struct task_fence fence;
    bson_t task;
    char *output = bson_malloc(200001);
    memset(output, 'x', 200000);
    memcpy(output + 199990, "\xff THE END!", 10);
    output[200000] = '\0';
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(GOOD(task_fail(hub, &fence, "loss is NaN", output, error)), 1);
    cr_expect_eq(GOOD(task_fail(hub, &fence, "loss is NaN", output, error)), 1, "said again");
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "failed");
    cr_expect_str_eq(text_of(&task, "error.message"), "loss is NaN");
    cr_expect_eq(strlen(text_of(&task, "error.output")), 65536);
    cr_expect_not_null(strstr(text_of(&task, "error.output"), "? THE END"));
    bson_destroy(&task);
    bson_free(output);
    bson_error_t why;
    cr_expect_eq(task_end(hub, &fence, "done", NULL, &why), -1);
}

/* ---- requests ---- */

HUB_TEST(request, cancel_pause_resume)
{
    struct task_fence fence;
    bson_t *all = json("{}"), *one = json("{'seq': 1}");
    make_task(hub, "{'name': 'a'}");
    make_task(hub, "{'name': 'b', 'after': ['nothing']}");
    cr_expect_eq(GOOD(task_pause(hub, all, error)), 2);
    cr_expect_eq(claim(hub, NULL, &fence), 0);
    cr_expect_eq(GOOD(task_resume(hub, all, error)), 2);
    expect_state(hub, "{'seq': 1}", "ready");
    expect_state(hub, "{'seq': 2}", "waiting");
    cr_expect_eq(GOOD(task_cancel(hub, one, "no use", error)), 1);
    expect_state(hub, "{'seq': 1}", "cancelled");
    cr_expect_eq(GOOD(task_cancel(hub, one, "no use", error)), 0, "what has ended stays as it is");
    bson_destroy(all);
    bson_destroy(one);
}

HUB_TEST(request, a_priority_changed_later_changes_the_order)
{
    struct task_fence fence;
    bson_t task, *second = json("{'name': 'b'}"), *all = json("{}"), *high = json("{'priority': 7}"),
                 *away = json("{'queue': 'night'}"), *steep = json("{'priority': 2000000}"),
                 *state = json("{'state': 'done'}");
    bson_error_t why;
    make_task(hub, "{'name': 'a'}");
    make_task(hub, "{'name': 'b'}");
    make_task(hub, "{'name': 'c'}");
    cr_expect_eq(task_set(hub, all, steep, &why), -1);
    cr_expect_not_null(strstr(why.message, "task.priority"), "%s", why.message);
    cr_expect_eq(task_set(hub, all, state, &why), -1);
    cr_expect_eq(GOOD(task_set(hub, second, high, error)), 1);
    cr_assert_eq(claim(hub, &task, &fence), 1);
    cr_expect_str_eq(text_of(&task, "name"), "b");
    bson_destroy(&task);
    GOOD(task_fail(hub, &fence, "m", NULL, error));
    cr_expect_eq(GOOD(task_set(hub, all, away, error)), 2, "what has ended stays as it is");
    cr_expect_eq(claim(hub, NULL, &fence), 0);
    bson_t *unwanted[] = {second, all, high, away, steep, state};
    for (size_t i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++) {
        bson_destroy(unwanted[i]);
    }
}

HUB_TEST(request, restart_begins_a_new_run)
{
    struct task_fence fence;
    bson_t task, *all = json("{}"), *set = json("{'learning_rate': 0.5}"), *bad = json("{'a.b': 1}");
    make_task(hub, "{'name': 'a', 'hyper_parameters': {'learning_rate': 0.1, 'epochs': 3}}");
    cr_expect_eq(GOOD(task_restart(hub, all, NULL, error)), 0, "only what has ended");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_fail(hub, &fence, "m", NULL, error));
    bson_error_t why;
    cr_expect_eq(task_restart(hub, all, bad, &why), -1);
    cr_expect_eq(GOOD(task_restart(hub, all, set, error)), 1);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    cr_expect_eq(number_of(&task, "run"), 2);
    cr_expect_eq(number_of(&task, "claims"), 1, "claims never decrease");
    cr_expect_eq(number_of(&task, "hyper_parameters.epochs"), 3);
    cr_expect_not(has(&task, "error"));
    bson_iter_t iter, value;
    cr_assert(bson_iter_init(&iter, &task) && bson_iter_find_descendant(&iter, "hyper_parameters.learning_rate", &value));
    cr_expect_eq(bson_iter_double(&value), 0.5);
    bson_destroy(&task);
    bson_destroy(all);
    bson_destroy(set);
    bson_destroy(bad);
}

HUB_TEST(request, delete_spares_what_runs_and_takes_the_logs)
{
    struct task_fence first, second;
    bson_t *all = json("{}"), *point = json("{'epoch': 1}");
    make_task(hub, "{'name': 'a'}");
    make_task(hub, "{'name': 'b'}");
    cr_assert_eq(claim(hub, NULL, &first), 1);
    cr_assert_eq(claim(hub, NULL, &second), 1);
    struct logs *logs = logs_new(&first, 1, "epoch"), *others = logs_new(&second, 1, "epoch");
    GOOD(logs_add(logs, "train", point, error));
    GOOD(logs_add(others, "train", point, error));
    GOOD(logs_flush(logs, hub, error));
    GOOD(logs_flush(others, hub, error));
    GOOD(task_fail(hub, &first, "m", NULL, error));
    cr_expect_eq(GOOD(task_delete(hub, all, error)), 1);
    cr_expect_eq(count_in(hub, "tasks", "{'state': 'running'}"), 1);
    cr_expect_eq(count_in(hub, "tasks", "{}"), 1);
    cr_expect_eq(count_in(hub, "logs", "{}"), 1);
    logs_free(logs);
    logs_free(others);
    bson_destroy(all);
    bson_destroy(point);
}

/* ---- promotion ---- */

HUB_TEST(promote, delayed_tasks_when_they_are_due)
{
    make_task(hub, "{'name': 'due', 'not_before': {'$date': 1000}}");
    make_task(hub, "{'name': 'later', 'not_before': {'$date': 4102444800000}}");
    cr_expect_eq(GOOD(task_promote(hub, error)), 1);
    expect_state(hub, "{'name': 'due'}", "ready");
    expect_state(hub, "{'name': 'later'}", "delayed");
}

HUB_TEST(promote, waiting_tasks_follow_their_predecessors)
{
    struct task_fence fence;
    make_task(hub, "{'_id': 'a', 'name': 'a'}");
    make_task(hub, "{'_id': 'b', 'name': 'b'}");
    make_task(hub, "{'_id': 'both', 'name': 'both', 'after': ['a', 'b', 'a']}");
    make_task(hub, "{'_id': 'next', 'name': 'next', 'after': ['both']}");
    make_task(hub, "{'_id': 'lost', 'name': 'lost', 'after': ['a', 'nobody']}");
    cr_expect_eq(GOOD(task_promote(hub, error)), 1, "the one that waits for nobody is cancelled");
    expect_state(hub, "{'_id': 'lost'}", "cancelled");
    struct task_finish finish = {.state = "done"};
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_finish(hub, &fence, &finish, error));
    cr_expect_eq(GOOD(task_promote(hub, error)), 0);
    expect_state(hub, "{'_id': 'both'}", "waiting");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    finish.state = "stopped";
    GOOD(task_finish(hub, &fence, &finish, error));
    cr_expect_eq(GOOD(task_promote(hub, error)), 1);
    expect_state(hub, "{'_id': 'both'}", "ready");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_fail(hub, &fence, "m", NULL, error));
    cr_expect_eq(GOOD(task_promote(hub, error)), 1);
    bson_t task;
    read_one(hub, "tasks", "{'_id': 'next'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "cancelled");
    cr_expect_str_eq(text_of(&task, "error.message"), "task #3, which it waits for, is failed");
    bson_destroy(&task);
}

HUB_TEST(task, a_claim_names_its_project_and_worker_and_is_found_by_them)
{
    struct task_fence fence, found[4];
    bson_t task;
    struct task_claim_options options = {.project = "nowhere", .runner = "r", .worker = "w1"};
    make_task(hub, "{'name': 'a'}");
    make_task(hub, "{'name': 'b'}");
    cr_expect_eq(GOOD(task_claim(hub, &options, &task, &fence, error)), 0, "tasks of that project alone");
    bson_destroy(&task);
    options.project = NULL;
    cr_assert_eq(GOOD(task_claim(hub, &options, &task, &fence, error)), 1);
    cr_expect_str_eq(text_of(&task, "claim.worker"), "w1");
    bson_destroy(&task);
    cr_expect_eq(GOOD(task_find_held(hub, "r", "w2", found, 4, error)), 0);
    cr_expect_eq(GOOD(task_find_held(hub, "other", "w1", found, 4, error)), 0);
    cr_assert_eq(GOOD(task_find_held(hub, "r", "w1", found, 4, error)), 1);
    cr_expect_str_eq(found[0].claim_id, fence.claim_id);
    cr_expect_str_eq(found[0].task_id, fence.task_id);
    GOOD(task_release(hub, &found[0], error));
    cr_expect_eq(GOOD(task_find_held(hub, "r", "w1", found, 4, error)), 0, "a task that it gave back is not held");
}
