/* SPDX-License-Identifier: Apache-2.0 */
/* Standing tasks: when they start what, once each; and rows as documents. */
#include "hub_on_both.h"

#include "hub/rows.h"
#include "hub/task_standing.h"

TEST_USES_SERVER;

static void push(struct hub *hub, int count)
{
    bson_t *row = json("{'x': [1], 'label': 0}");
    const bson_t *rows[ROWS_BATCH];
    for (int i = 0; i < count; i++)
        rows[i] = row;
    GOOD(rows_append(hub, "d", rows, (size_t)count, error));
    bson_destroy(row);
}

static void submit(struct hub *hub, const char *standing)
{
    bson_t *fields = json("{'_id': 's', 'name': 'again', 'dataset': 'd', 'architecture': 'dense:2', 'standing': %s}", standing);
    cr_assert_eq(GOOD(task_create(hub, fields, NULL, error)), 1);
    bson_destroy(fields);
}

static int64_t started(struct hub *hub)
{
    return count_in(hub, "tasks", "{'standing_of': 's'}");
}

static void end_last(struct hub *hub, const char *state, const char *more)
{
    bson_t *filter = json("{'standing_of': 's', 'state': 'ready'}"), *update = json("{'$set': {'state': '%s'%s}}", state, more);
    cr_assert_eq(GOOD(store_update(hub_store(hub), "tasks", filter, update, error)), 1);
    bson_destroy(filter);
    bson_destroy(update);
}

HUB_TEST(standing, rows_start_a_task_once_and_the_next_waits_for_it)
{
    submit(hub, "{'rows': 10}");
    push(hub, 9);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 0);
    push(hub, 1);
    for (int i = 0; i < 3; i++)
        GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 1);
    push(hub, 25);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 1, "the first has not ended");
    end_last(hub, "failed", "");
    GOOD(task_promote_all(hub, error));
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 2, "25 rows are one start");
    bson_t task;
    read_one(hub, "tasks", "{'_id': 's'}", &task);
    cr_expect_eq(number_of(&task, "standing.count"), 2);
    cr_expect_eq(number_of(&task, "standing.rows_upto"), 35);
    cr_expect_str_eq(text_of(&task, "state"), "waiting");
    bson_destroy(&task);
}

HUB_TEST(standing, a_sweeper_that_died_between_two_writes_leaves_one_task)
{
    bson_t before, *filter = json("{'_id': 's'}"), *update = json("{'$set': {'standing': {'rows': 10}}}");
    submit(hub, "{'rows': 10}");
    push(hub, 10);
    read_one(hub, "tasks", "{'_id': 's'}", &before);
    GOOD(task_promote_all(hub, error));
    /* As if the count had not been written; and one who read before anybody wrote. */
    cr_assert_eq(GOOD(store_update(hub_store(hub), "tasks", filter, update, error)), 1);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(GOOD(task_standing_start(hub, &before, error)), 0);
    cr_expect_eq(started(hub), 1);
    cr_expect_eq(count_in(hub, "tasks", "{'_id': 's', 'standing.count': 1}"), 1);
    bson_destroy(&before);
    bson_destroy(filter);
    bson_destroy(update);
}

HUB_TEST(standing, the_next_begins_with_the_last_model)
{
    bson_t *model = json("{'_id': 'm1', 'project': 'default', 'name': 'again'}"), task;
    submit(hub, "{'every_ms': 1000}");
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(count_in(hub, "tasks", "{'standing_number': 1, 'initial_model': {'$exists': false}}"), 1);
    GOOD(store_insert(hub_store(hub), "models", model, error));
    end_last(hub, "done", ", 'result': {'claim_id': 'm1', 'sha256': 'x'}");
    bson_t *filter = json("{'_id': 's'}"), *late = json("{'$set': {'standing.next_at': {'$date': 1000}}}");
    GOOD(store_update(hub_store(hub), "tasks", filter, late, error));
    GOOD(task_promote_all(hub, error));
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 2, "all the time that went by is one start");
    read_one(hub, "tasks", "{'standing_number': 2}", &task);
    cr_expect_str_eq(text_of(&task, "initial_model._id"), "m1");
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    bson_destroy(&task);
    end_last(hub, "failed", "");
    GOOD(store_update(hub_store(hub), "tasks", filter, late, error));
    GOOD(task_promote_all(hub, error));
    read_one(hub, "tasks", "{'standing_number': 3}", &task);
    cr_expect_str_eq(text_of(&task, "initial_model._id"), "m1", "a failed one leaves no model: the one before counts");
    bson_destroy(&task);
    bson_destroy(filter);
    bson_destroy(late);
    bson_destroy(model);
}

HUB_TEST(standing, it_is_paused_resumed_and_cancelled_as_what_waits)
{
    bson_t *filter = json("{'_id': 's'}");
    submit(hub, "{'rows': 1}");
    cr_expect_eq(GOOD(task_pause(hub, filter, error)), 1);
    push(hub, 5);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 0);
    cr_expect_eq(GOOD(task_resume(hub, filter, error)), 1);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 1);
    end_last(hub, "failed", "");
    cr_expect_eq(GOOD(task_cancel(hub, filter, "enough", error)), 1);
    push(hub, 5);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 1);
    cr_expect_eq(GOOD(task_restart(hub, filter, NULL, error)), 1);
    GOOD(task_promote_all(hub, error));
    cr_expect_eq(started(hub), 2);
    cr_expect_eq(count_in(hub, "tasks", "{'_id': 's', 'state': 'waiting'}"), 1);
    bson_destroy(filter);
}

HUB_TEST(standing, what_cannot_stand_is_refused)
{
    static const char *const refused[] = {"{'rows': 0}", "{'every_ms': 10}", "{}", "{'rows': 1, 'every_ms': 5000}", "{'rows': 1, 'count': 5}"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        bson_t *fields = json("{'name': 'n', 'dataset': 'd', 'standing': %s}", refused[i]);
        cr_expect_eq(task_create(hub, fields, NULL, error), -1, "%s", refused[i]);
        cr_expect(strstr(error->message, "task.standing") != NULL, "%s", error->message);
        bson_destroy(fields);
    }
    bson_t *query = json("{'name': 'n', 'dataset': {'tags': 'x'}, 'standing': {'rows': 5}}");
    cr_expect_eq(task_create(hub, query, NULL, error), -1);
    bson_destroy(query);
}

HUB_TEST(rows, numbers_follow_each_other_and_a_selection_ends_at_one)
{
    const bson_t *row;
    int count = 0;
    push(hub, 7);
    push(hub, 3);
    cr_expect_eq(GOOD(rows_highest(hub, "d", error)), 10);
    cr_expect_eq(GOOD(rows_highest(hub, "other", error)), 0);
    cr_expect_eq(GOOD(rows_count(hub, "d", 2, 8, error)), 6);
    struct store_cursor *cursor = rows_select(hub, "d", 8, "[{\"$match\": {\"seq\": {\"$gt\": 3}}}]", error);
    cr_assert_not_null(cursor, "%s", error->message);
    while (GOOD(store_cursor_next(cursor, &row, error)) == 1)
        cr_expect_eq(number_of(row, "seq"), 4 + count++);
    store_cursor_close(cursor);
    cr_expect_eq(count, 5);
    /* A counter that is behind, as after an import, is raised. */
    bson_t *filter = json("{'_id': 'rows:default:d'}");
    GOOD(store_delete(hub_store(hub), "counters", filter, error));
    GOOD(rows_begin(hub, "d", error));
    push(hub, 1);
    cr_expect_eq(GOOD(rows_highest(hub, "d", error)), 11);
    cr_expect_eq(count_in(hub, "rows", "{}"), 11);
    cr_expect_eq(GOOD(rows_delete(hub, "d", error)), 11);
    bson_destroy(filter);
}
