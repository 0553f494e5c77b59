/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep.h"
#include "distributor/sweep_history.h"
#include "distributor/sweep_search.h"
#include "fixture.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <math.h>

enum { AT_ONCE = 270, POINTS = 1100 };

TestSuite(sweep_history, .init = fixture_open, .fini = fixture_close);

static void submit(const char *name, char sweep_id[HUB_ID_SIZE])
{
    char text[600];
    struct sweep_submission submission;
    int length = snprintf(text, sizeof text,
                          "name: %s\nkind: outside\nmethod: tpe\nseed: 3\nparallel: %d\nrun_cap: %d\n"
                          "metric: {name: value, goal: minimize}\nparameters:\n  x: {min: -5.0, max: 5.0}\n"
                          "  y: {min: 1, max: 9}\n  kind: [a, b, c]\n",
                          name, AT_ONCE, POINTS);
    struct sweep *sweep = sweep_parse(text, (size_t)length, "s.yaml", &fixture_error);
    cr_assert_not_null(sweep, "%s", fixture_error.message);
    cr_assert_eq(sweep_submit(fixture_hub, sweep, NULL, &submission, &fixture_error), 0, "%s", fixture_error.message);
    snprintf(sweep_id, HUB_ID_SIZE, "%s", submission.sweep_id);
    sweep_free(sweep);
}

static double number_of(const bson_t *document, const char *path)
{
    bson_iter_t all, at;
    cr_assert(bson_iter_init(&all, document) && bson_iter_find_descendant(&all, path, &at), "no %s", path);
    return bson_iter_as_double(&at);
}

static const char *text_of(const bson_t *document, const char *path)
{
    bson_iter_t all, at;
    cr_assert(bson_iter_init(&all, document) && bson_iter_find_descendant(&all, path, &at), "no %s", path);
    return bson_iter_utf8(&at, NULL);
}

static bson_t *end_of(const bson_t *task)
{
    int64_t number = (int64_t)number_of(task, "point_number");
    double x = number_of(task, "point.x"), y = number_of(task, "point.y");
    if (number % 9 == 4)
        return BCON_NEW("$set", "{", "state", "failed", "}");
    double value = (x - 2) * (x - 2) + fabs(y - 4) + *text_of(task, "point.kind") - 'a' + 1;
    return BCON_NEW("$set", "{", "state", "done", "published", BCON_BOOL(true), "result", "{", "claim_id", "c", "metrics", "{",
                    "value", BCON_DOUBLE(value), "}", "}", "}");
}

/* Ends all points that are ready, in one transaction; how many. */
static int64_t end_all(const char *sweep)
{
    static struct store_operation operations[POINTS];
    static bson_t *filters[POINTS], *updates[POINTS];
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep), "state", "ready");
    const bson_t *task;
    size_t count = 0;
    struct store_cursor *cursor = task_find(fixture_hub, filter, NULL, &fixture_error);
    while (store_cursor_next(cursor, &task, &fixture_error) > 0) {
        filters[count] = BCON_NEW("_id", BCON_UTF8(text_of(task, "_id")));
        updates[count] = end_of(task);
        operations[count] = (struct store_operation){
            .kind = STORE_UPDATE, .collection = "tasks", .filter = filters[count], .update = updates[count]};
        count++;
    }
    store_cursor_close(cursor);
    if (count)
        cr_assert_eq(store_batch(hub_store(fixture_hub), operations, count, NULL, &fixture_error), 1);
    for (size_t i = 0; i < count; i++) {
        bson_destroy(filters[i]);
        bson_destroy(updates[i]);
    }
    bson_destroy(filter);
    return (int64_t)count;
}

static void step(struct sweep_search **search, const char *sweep, bool forgets)
{
    if (forgets || !*search) {
        sweep_search_close(*search);
        *search = sweep_search_open(fixture_hub, sweep, &fixture_error);
        cr_assert_not_null(*search, "%s", fixture_error.message);
    }
    cr_assert_geq(sweep_search_step(*search, fixture_hub, 0, &fixture_error), 0, "%s", fixture_error.message);
}

/* forgets: a new search looks each time. */
static void run(const char *name, bool forgets, char sweep_id[HUB_ID_SIZE])
{
    struct sweep_search *search = NULL;
    submit(name, sweep_id);
    while (end_all(sweep_id))
        step(&search, sweep_id, forgets);
    cr_expect(sweep_search_is_closed(search));
    sweep_search_close(search);
}

static char *points_of(const char *sweep)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep)), *sort = BCON_NEW("point_number", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .any_tie = true};
    bson_string_t *text = bson_string_new(NULL);
    const bson_t *task;
    struct store_cursor *cursor = task_find(fixture_hub, filter, &options, &fixture_error);
    while (store_cursor_next(cursor, &task, &fixture_error) > 0)
        bson_string_append_printf(text, "%d %.17g %d %s\n", (int)number_of(task, "point_number"), number_of(task, "point.x"),
                                  (int)number_of(task, "point.y"), text_of(task, "point.kind"));
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(sort);
    return bson_string_free(text, false);
}

Test(sweep_history, who_reads_what_was_kept_proposes_what_one_that_remembers_does)
{
    char kept[HUB_ID_SIZE], remembered[HUB_ID_SIZE];
    run("kept", true, kept);
    cr_expect_eq(fixture_count("results"), POINTS / SWEEP_HISTORY_POINTS);
    run("remembered", false, remembered);
    char *one = points_of(kept), *other = points_of(remembered);
    cr_expect_gt(strlen(one), 20 * POINTS);
    cr_expect_str_eq(one, other);
    bson_free(one);
    bson_free(other);
}

static int64_t best_point(const char *sweep)
{
    bson_t record;
    cr_assert_eq(sweep_record_resolve(fixture_hub, sweep, &record, &fixture_error), 1);
    int64_t best = (int64_t)number_of(&record, "best.point");
    bson_destroy(&record);
    return best;
}

static void end_two_rounds(const char *sweep)
{
    struct sweep_search *search = NULL;
    for (int i = 0; i < 2; i++) {
        end_all(sweep);
        step(&search, sweep, false);
    }
    sweep_search_close(search);
}

static void set_value(const char *sweep, int64_t number, double value)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep), "point_number", BCON_INT64(number));
    bson_t *update = BCON_NEW("$set", "{", "result", "{", "claim_id", "c", "metrics", "{", "value", BCON_DOUBLE(value), "}", "}", "}");
    cr_assert_eq(store_update(hub_store(fixture_hub), "tasks", filter, update, &fixture_error), 1);
    bson_destroy(filter);
    bson_destroy(update);
}

/* Behind the back of the search a result changes: who reads the tasks sees it, who reads what was kept does not. */
static int64_t best_after_tampering(const char *sweep)
{
    struct sweep_search *fresh = NULL;
    set_value(sweep, 3, -1000);
    end_all(sweep);
    step(&fresh, sweep, true);
    sweep_search_close(fresh);
    return best_point(sweep);
}

Test(sweep_history, tasks_whose_results_are_kept_are_not_read_again)
{
    char sweep[HUB_ID_SIZE];
    submit("s", sweep);
    end_two_rounds(sweep);
    cr_expect_eq(fixture_count("results"), 1);
    cr_expect_neq(best_after_tampering(sweep), 3);
}

Test(sweep_history, what_was_kept_is_forgotten_when_tasks_are_restarted_or_deleted)
{
    for (int deletes = 0; deletes < 2; deletes++) {
        char sweep[HUB_ID_SIZE];
        submit(deletes ? "deleted" : "restarted", sweep);
        end_two_rounds(sweep);
        bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep), "point_number", BCON_INT32(4));
        int64_t changed =
            deletes ? task_delete(fixture_hub, filter, &fixture_error) : task_restart(fixture_hub, filter, NULL, &fixture_error);
        cr_expect_eq(changed, 1);
        bson_destroy(filter);
        cr_expect_eq(fixture_count("results"), 0);
        cr_expect_eq(best_after_tampering(sweep), 3);
    }
}

/* One that another program cut short, or made of other dimensions, is passed over. */
Test(sweep_history, what_cannot_be_read_is_read_from_the_tasks)
{
    char sweep[HUB_ID_SIZE];
    submit("s", sweep);
    end_two_rounds(sweep);
    bson_t *filter = BCON_NEW("number", BCON_INT64(0)), *update = BCON_NEW("$set", "{", "results", BCON_UTF8("broken"), "}");
    cr_assert_eq(store_update(hub_store(fixture_hub), "results", filter, update, &fixture_error), 1);
    bson_destroy(filter);
    bson_destroy(update);
    cr_expect_eq(best_after_tampering(sweep), 3);
}
