/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep.h"
#include "distributor/sweep_search.h"
#include "fixture.h"
#include "hub/logs.h"
#include "hub/sweep_record.h"
#include "hub/task.h"
#include "kernels/random.h"

#include <math.h>

static void open_with_data(void)
{
    fixture_open();
    fixture_save_small();
}

TestSuite(sweep_search, .init = open_with_data, .fini = fixture_close);

static struct sweep_submission submit(const char *text)
{
    struct sweep_submission submission;
    struct sweep *sweep = sweep_parse(text, strlen(text), "s.yaml", &fixture_error);
    cr_assert_not_null(sweep, "%s", fixture_error.message);
    cr_assert_eq(sweep_submit(fixture_hub, sweep, NULL, &submission, &fixture_error), 0, "%s", fixture_error.message);
    sweep_free(sweep);
    return submission;
}

static double number_of(const bson_t *task, const char *path)
{
    bson_iter_t all, at;
    cr_assert(bson_iter_init(&all, task) && bson_iter_find_descendant(&all, path, &at), "no %s", path);
    return bson_iter_as_double(&at);
}

/* A loss that any point has, and that no order changes. */
static double loss_of(const bson_t *task)
{
    double rate = log10(number_of(task, "point.learning_rate")), hidden = number_of(task, "point.hidden");
    return fabs(rate + 2) + fabs(hidden - 20) / 10 + number_of(task, "hyper_parameters.seed") / 100;
}

/* Ends the index-th of the sweep's ready tasks, as a runner would; false: there is none. */
static bool end_one(const char *sweep, int64_t index)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep), "state", "ready"), *sort = BCON_NEW("seq", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .skip = index, .limit = 1};
    const bson_t *task;
    struct store_cursor *cursor = task_find(fixture_hub, filter, &options, &fixture_error);
    int found = store_cursor_next(cursor, &task, &fixture_error);
    if (found > 0) {
        bson_iter_t at;
        bool fails = (int)number_of(task, "point_number") % 7 == 5;
        cr_assert(bson_iter_init_find(&at, task, "_id"));
        bson_t *which = BCON_NEW("_id", BCON_UTF8(bson_iter_utf8(&at, NULL)));
        bson_t *update = fails ? BCON_NEW("$set", "{", "state", "failed", "}")
                               : BCON_NEW("$set", "{", "state", "done", "result", "{", "claim_id", "c", "metrics", "{",
                                          "validation_loss", BCON_DOUBLE(loss_of(task)), "}", "}", "}");
        store_cursor_close(cursor);
        cursor = NULL;
        cr_assert_eq(store_update(hub_store(fixture_hub), "tasks", which, update, &fixture_error), 1);
        bson_destroy(which);
        bson_destroy(update);
    }
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(sort);
    return found > 0;
}

static int64_t ready(const char *sweep)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep), "state", "ready");
    int64_t count = store_count(hub_store(fixture_hub), "tasks", filter, &fixture_error);
    bson_destroy(filter);
    return count;
}

/* All points in the order of their numbers, as one text. */
static char *points_of(const char *sweep)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep)), *sort = BCON_NEW("point_number", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .any_tie = true};
    bson_string_t *text = bson_string_new(NULL);
    const bson_t *task;
    bson_iter_t at;
    struct store_cursor *cursor = task_find(fixture_hub, filter, &options, &fixture_error);
    while (store_cursor_next(cursor, &task, &fixture_error) > 0) {
        bson_t point;
        uint32_t length;
        const uint8_t *data;
        cr_assert(bson_iter_init_find(&at, task, "point"));
        bson_iter_document(&at, &length, &data);
        cr_assert(bson_init_static(&point, data, length));
        char *json = bson_as_canonical_extended_json(&point, NULL);
        bson_string_append_printf(text, "%d %s\n", (int)number_of(task, "point_number"), json);
        bson_free(json);
    }
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(sort);
    return bson_string_free(text, false);
}

static int64_t step(struct sweep_search *search)
{
    int64_t made = sweep_search_step(search, fixture_hub, 0, &fixture_error);
    cr_assert_geq(made, 0, "%s", fixture_error.message);
    return made;
}

static struct sweep_search *open_search(const char *sweep)
{
    struct sweep_search *search = sweep_search_open(fixture_hub, sweep, &fixture_error);
    cr_assert_not_null(search, "%s", fixture_error.message);
    return search;
}

#define SPACE                                                                               \
    "dataset: small\nmetric: {name: validation_loss, goal: minimize}\nrun_cap: 60\n"        \
    "parameters:\n  hidden: {min: 4, max: 40}\n"                                            \
    "  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 1}\n  epochs: 1\n" \
    "architecture: \"dense:${hidden}:relu dense:3\"\n"

/* One runner that takes the first task every time, and one proposer. */
static char *run_in_order(const char *text)
{
    struct sweep_submission submission = submit(text);
    struct sweep_search *search = open_search(submission.sweep_id);
    while (end_one(submission.sweep_id, 0))
        step(search);
    cr_expect(sweep_search_is_closed(search));
    sweep_search_close(search);
    return points_of(submission.sweep_id);
}

/* Tasks end in any order, now this proposer looks and now that one, and one forgets all it knew. */
static char *run_in_disorder(const char *text)
{
    struct sweep_submission submission = submit(text);
    struct sweep_search *searches[3] = {open_search(submission.sweep_id), open_search(submission.sweep_id), NULL};
    struct random_state random;
    random_init(&random, 3, 0);
    for (int64_t left; (left = ready(submission.sweep_id)) > 0;) {
        for (uint64_t i = random_below(&random, 5); i > 0 && left > 0; i--, left--)
            cr_assert(end_one(submission.sweep_id, (int64_t)random_below(&random, (uint64_t)left)));
        uint64_t which = random_below(&random, 3);
        if (which == 2) {
            sweep_search_close(searches[2]);
            searches[2] = open_search(submission.sweep_id);
        }
        step(searches[which]);
        if (left == 0)
            for (int i = 0; i < 2; i++)
                step(searches[i]);
    }
    for (int i = 0; i < 3; i++)
        sweep_search_close(searches[i]);
    return points_of(submission.sweep_id);
}

static void same_points(const char *method)
{
    char text[2][900];
    for (int i = 0; i < 2; i++)
        snprintf(text[i], sizeof text[i], "name: %s%d\nmethod: %s\nparallel: 6\nseed: 9\n" SPACE, method, i, method);
    char *one = run_in_order(text[0]), *other = run_in_disorder(text[1]);
    cr_expect_gt(strlen(one), 2000);
    cr_expect_str_eq(one, other, "%s", method);
    bson_free(one);
    bson_free(other);
}

Test(sweep_search, tpe_proposes_the_same_points_whoever_trains_them)
{
    same_points("tpe");
}

Test(sweep_search, cma_es_proposes_the_same_points_whoever_trains_them)
{
    same_points("cma_es");
}

Test(sweep_search, evolution_proposes_the_same_points_whoever_trains_them)
{
    same_points("evolution");
}

Test(sweep_search, no_more_points_are_under_way_than_the_file_says)
{
    struct sweep_submission submission = submit("method: tpe\nparallel: 5\n" SPACE);
    cr_expect_eq(submission.submitted, 5);
    struct sweep_search *search = open_search(submission.sweep_id);
    cr_expect_eq(step(search), 0);
    cr_assert(end_one(submission.sweep_id, 2)); /* the first has not ended: nothing is decided by this one yet */
    cr_expect_eq(step(search), 0);
    cr_assert(end_one(submission.sweep_id, 0));
    cr_expect_eq(step(search), 1);
    cr_assert(end_one(submission.sweep_id, 0));
    cr_expect_eq(step(search), 2);
    sweep_search_close(search);
}

Test(sweep_search, a_point_with_seeds_has_their_mean)
{
    struct sweep_submission submission = submit("method: tpe\nparallel: 2\nseeds: 3\nseed: 4\n" SPACE);
    cr_expect_eq(submission.submitted, 6);
    struct sweep_search *search = open_search(submission.sweep_id);
    cr_assert(end_one(submission.sweep_id, 0));
    double loss = 0;
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(submission.sweep_id), "state", "ready"),
           *sort = BCON_NEW("seq", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .limit = 1};
    const bson_t *task;
    struct store_cursor *cursor = task_find(fixture_hub, filter, &options, &fixture_error);
    cr_assert_eq(store_cursor_next(cursor, &task, &fixture_error), 1);
    cr_expect_eq(number_of(task, "hyper_parameters.seed"), 5);
    loss = loss_of(task);
    store_cursor_close(cursor);
    cr_assert(end_one(submission.sweep_id, 0));
    cr_expect_eq(step(search), 0);
    cr_assert(end_one(submission.sweep_id, 0));
    cr_expect_eq(step(search), 3);
    bson_t record;
    cr_assert_eq(sweep_record_resolve(fixture_hub, submission.sweep_id, &record, &fixture_error), 1);
    cr_expect_eq(number_of(&record, "best.point"), 0);
    cr_expect_float_eq(number_of(&record, "best.value"), loss, 1e-9); /* the middle one of 4, 5 and 6 */
    bson_destroy(&record);
    bson_destroy(filter);
    bson_destroy(sort);
    sweep_search_close(search);
}

Test(sweep_search, random_and_sobol_points_are_all_made_at_once_and_twice_is_once)
{
    static const char *const methods[] = {"random", "sobol"};
    for (int i = 0; i < 2; i++) {
        char text[900];
        snprintf(text, sizeof text, "name: %s\nmethod: %s\n" SPACE, methods[i], methods[i]);
        struct sweep_submission submission = submit(text), again = submit(text);
        cr_expect_eq(submission.submitted, 60);
        cr_expect(again.submitted == 0 && again.skipped == 60);
    }
    cr_expect_eq(fixture_count("tasks"), 120);
}

Test(sweep_search, a_learning_search_says_what_is_there_and_what_was_deleted)
{
    static const char text[] = "method: tpe\nparallel: 10\n" SPACE;
    struct sweep_submission first = submit(text), again = submit(text);
    cr_expect(first.submitted == 10 && first.skipped == 0 && first.deleted == 0);
    cr_expect(again.submitted == 0 && again.skipped == 10 && again.deleted == 0);
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(first.sweep_id), "point_number", "{", "$lt", BCON_INT32(3), "}");
    cr_assert_eq(task_delete(fixture_hub, filter, &fixture_error), 3, "%s", fixture_error.message);
    bson_destroy(filter);
    again = submit(text);
    cr_expect_eq(again.skipped, 7);
    cr_expect_eq(again.deleted, 3);
    cr_expect_eq(again.submitted, 3, "three others in their place");
    again = submit(text);
    cr_expect(again.submitted == 0 && again.skipped == 10 && again.deleted == 3);
}

Test(sweep_search, a_larger_run_cap_goes_on)
{
    char text[900];
    snprintf(text, sizeof text, "method: tpe\nparallel: 60\n" SPACE);
    struct sweep_submission submission = submit(text);
    cr_expect_eq(submission.submitted, 60);
    char *cap = strstr(text, "run_cap: 60");
    memcpy(cap, "run_cap: 70", 11);
    while (end_one(submission.sweep_id, 0))
        continue;
    cr_expect_eq(submit(text).submitted, 10);
    cr_expect_eq(fixture_count("sweeps"), 1);
}

/* ---- stopping ---- */

static int claim(bson_t *task, struct task_fence *fence)
{
    struct task_claim_options options = {.runner = "r"};
    int claimed = task_claim(fixture_hub, &options, task, fence, &fixture_error);
    cr_assert_geq(claimed, 0, "%s", fixture_error.message);
    return claimed;
}

/* So many epochs of validation loss, as a runner logs them. */
static void log_curve(const struct task_fence *fence, double loss, int epochs)
{
    struct logs *logs = logs_new(fence, 1, "epoch");
    for (int i = 1; i <= epochs; i++) {
        bson_t *point = BCON_NEW("epoch", BCON_INT32(i), "loss", BCON_DOUBLE(loss + 1.0 / i));
        cr_assert_geq(logs_add(logs, "validation", point, &fixture_error), 0);
        bson_destroy(point);
    }
    cr_assert_geq(logs_flush(logs, fixture_hub, &fixture_error), 0, "%s", fixture_error.message);
    logs_free(logs);
}

static void finish(const struct task_fence *fence, const char *state, double loss)
{
    bson_t *metrics = BCON_NEW("validation_loss", BCON_DOUBLE(loss));
    struct task_finish end = {.state = state, .metrics = metrics};
    cr_assert_eq(task_finish(fixture_hub, fence, &end, &fixture_error), 1, "%s", fixture_error.message);
    bson_destroy(metrics);
}

/* "" where there is none. */
static void text_at(const char *task_id, const char *path, char *text, size_t size)
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(task_id)), task;
    bson_iter_t all, at;
    cr_assert_eq(store_find_one(hub_store(fixture_hub), "tasks", filter, NULL, &task, &fixture_error), 1);
    bool found = bson_iter_init(&all, &task) && bson_iter_find_descendant(&all, path, &at) && BSON_ITER_HOLDS_UTF8(&at);
    snprintf(text, size, "%s", found ? bson_iter_utf8(&at, NULL) : "");
    bson_destroy(&task);
    bson_destroy(filter);
}

static void record_says(const char *sweep, const char *reason)
{
    bson_t record;
    bson_iter_t at;
    cr_assert_eq(sweep_record_resolve(fixture_hub, sweep, &record, &fixture_error), 1);
    cr_assert(bson_iter_init_find(&at, &record, "reason"), "the sweep is not closed");
    cr_expect_str_eq(bson_iter_utf8(&at, NULL), reason);
    bson_destroy(&record);
}

#define GRID                                                                      \
    "dataset: small\nmetric: {name: validation_loss, goal: minimize}\nparallel: 1\n" \
    "parameters:\n  hidden: [4, 5, 6, 7, 8, 9]\n  epochs: 9\narchitecture: \"dense:${hidden}:relu dense:3\"\n"

Test(sweep_search, a_running_task_that_is_worse_than_the_median_is_asked_to_stop_and_says_why)
{
    struct sweep_submission submission = submit("early_terminate: {type: median, min_iter: 3, startup: 3}\n" GRID);
    struct sweep_search *search = open_search(submission.sweep_id);
    struct task_fence fence;
    bson_t task;
    char text[300];
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(claim(&task, &fence), 1);
        bson_destroy(&task);
        log_curve(&fence, i, 9);
        finish(&fence, "done", i + 1.0 / 9);
    }
    cr_expect_eq(step(search), 0);
    struct task_fence good, bad;
    cr_assert_eq(claim(&task, &good), 1);
    bson_destroy(&task);
    cr_assert_eq(claim(&task, &bad), 1);
    bson_destroy(&task);
    log_curve(&bad, 5, 4);
    struct sweep_search *fresh = open_search(submission.sweep_id);
    cr_expect_eq(step(fresh), 0);
    text_at(bad.task_id, "request.kind", text, sizeof text);
    cr_expect_str_eq(text, "", "it is judged before the one with the lower number has come as far");
    sweep_search_close(fresh);
    log_curve(&good, 0, 3);
    fresh = open_search(submission.sweep_id);
    cr_expect_eq(step(fresh), 0);
    text_at(good.task_id, "request.kind", text, sizeof text);
    cr_expect_str_eq(text, "");
    text_at(bad.task_id, "request.kind", text, sizeof text);
    cr_expect_str_eq(text, "stop");
    finish(&bad, "stopped", 5.25);
    text_at(bad.task_id, "result.reason", text, sizeof text);
    cr_expect_str_eq(text, "epoch 3: its best is worse than the median of the points before it");
    sweep_search_close(fresh);
    sweep_search_close(search);
}

Test(sweep_search, a_target_that_is_reached_ends_the_sweep)
{
    struct sweep_submission submission = submit("target: 0.5\n" GRID);
    struct sweep_search *search = open_search(submission.sweep_id);
    struct task_fence fence, running;
    bson_t task;
    char text[300];
    cr_assert_eq(claim(&task, &fence), 1);
    bson_destroy(&task);
    cr_assert_eq(claim(&task, &running), 1);
    bson_destroy(&task);
    finish(&fence, "done", 0.6);
    step(search);
    cr_expect(!sweep_search_is_closed(search));
    finish(&running, "done", 0.5);
    cr_assert_eq(claim(&task, &running), 1);
    bson_destroy(&task);
    step(search);
    cr_expect(sweep_search_is_closed(search));
    cr_expect_eq(ready(submission.sweep_id), 0);
    text_at(running.task_id, "request.reason", text, sizeof text);
    cr_expect_str_eq(text, "point 1 has reached the target of 0.5");
    record_says(submission.sweep_id, "point 1 has reached the target of 0.5");
    sweep_search_close(search);
}

Test(sweep_search, a_budget_that_is_spent_ends_the_sweep)
{
    struct sweep_submission submission = submit("budget: {tasks: 2, time: 10h}\n" GRID);
    struct sweep_search *search = open_search(submission.sweep_id);
    struct task_fence fence;
    bson_t task;
    for (int i = 0; i < 2; i++) {
        cr_expect(!sweep_search_is_closed(search));
        cr_assert_eq(claim(&task, &fence), 1);
        bson_destroy(&task);
        finish(&fence, "done", 1);
        if (i == 0)
            step(search);
    }
    step(search);
    cr_expect(sweep_search_is_closed(search));
    bson_t *filter = BCON_NEW("state", "cancelled", "error.message", "the budget of 2 tasks is spent");
    cr_expect_eq(store_count(hub_store(fixture_hub), "tasks", filter, &fixture_error), 4);
    bson_destroy(filter);
    sweep_search_close(search);
}
