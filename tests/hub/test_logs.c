/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

TEST_USES_SERVER;

/* "train/0:2 " for each bucket: split, number and points. */
static int describe(const bson_t *bucket, void *data)
{
    char *out = data;
    size_t used = strlen(out);
    bson_iter_t iter, points;
    int count = 0;
    cr_assert(bson_iter_init_find(&iter, bucket, "points") && bson_iter_recurse(&iter, &points));
    while (bson_iter_next(&points)) {
        count++;
    }
    snprintf(out + used, 400 - used, "%s/%" PRId64 ":%d ", text_of(bucket, "split"), number_of(bucket, "number"), count);
    return 0;
}

static void expect_logs(struct hub *hub, const char *task_filter, const char *filter, const char *expected)
{
    char got[400] = "";
    bson_t *tasks = task_filter != NULL ? json("%s", task_filter) : NULL, *buckets = filter != NULL ? json("%s", filter) : NULL;
    GOOD(logs_read(hub, tasks, buckets, describe, got, error));
    cr_expect_str_eq(got, expected);
    bson_destroy(tasks);
    bson_destroy(buckets);
}

static void add_points(struct logs *logs, const char *split, int count)
{
    for (int i = 0; i < count; i++) {
        bson_t *point = json("{'epoch': %d, 'loss': 0.5}", i);
        GOOD(logs_add(logs, split, point, error));
        bson_destroy(point);
    }
}

HUB_TEST(logs, grow_and_are_written_whole)
{
    struct task_fence fence;
    bson_t log;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    struct logs *logs = logs_new(&fence, 3, "epoch");
    cr_expect_eq(GOOD(logs_flush(logs, hub, error)), 0, "nothing yet");
    add_points(logs, "train", 2);
    cr_expect_eq(GOOD(logs_flush(logs, hub, error)), 1);
    cr_expect_eq(GOOD(logs_flush(logs, hub, error)), 0, "nothing new");
    add_points(logs, "train", 1);
    add_points(logs, "validation", 1);
    GOOD(logs_flush(logs, hub, error));
    expect_logs(hub, NULL, NULL, "train/0:3 validation/0:1 ");
    expect_logs(hub, NULL, "{'split': 'validation'}", "validation/0:1 ");
    read_one(hub, "logs", "{'split': 'train'}", &log);
    char id[100];
    snprintf(id, sizeof id, "%s/train/0", fence.claim_id);
    cr_expect_str_eq(text_of(&log, "_id"), id);
    cr_expect_str_eq(text_of(&log, "task"), fence.task_id);
    cr_expect_str_eq(text_of(&log, "unit"), "epoch");
    cr_expect_eq(number_of(&log, "run"), 3);
    cr_expect_eq(number_of(&log, "points.2.epoch"), 0);
    cr_expect(has(&log, "created_at"));
    cr_expect_eq(schema_check("log", &log, error), 1, "%s", error->message);
    bson_destroy(&log);
    logs_free(logs);
}

HUB_TEST(logs, buckets_stay_small)
{
    struct task_fence fence;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    struct logs *logs = logs_new(&fence, 1, "batch");
    add_points(logs, "train", 600);
    GOOD(logs_flush(logs, hub, error));
    add_points(logs, "train", 500);
    size_t count;
    logs_operations(logs, &count);
    cr_expect_eq(count, 2, "the first bucket is written already");
    GOOD(logs_flush(logs, hub, error));
    expect_logs(hub, NULL, NULL, "train/0:512 train/1:512 train/2:76 ");
    cr_expect_eq(logs_add(logs, "", &(bson_t)BSON_INITIALIZER, NULL), -1);
    logs_free(logs);
}

/* Logs cannot be fenced; what a lost claim wrote is not shown. */
HUB_TEST(logs, only_of_claims_that_the_task_names)
{
    struct task_fence old, new;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &old), 1);
    struct logs *logs = logs_new(&old, 1, "epoch");
    add_points(logs, "train", 5);
    GOOD(logs_flush(logs, hub, error));
    expect_logs(hub, NULL, NULL, "train/0:5 ");
    GOOD(task_release(hub, &old, error));
    expect_logs(hub, NULL, NULL, "train/0:5 ");
    cr_assert_eq(claim(hub, NULL, &new), 1);
    add_points(logs, "train", 1);
    GOOD(logs_flush(logs, hub, error));
    expect_logs(hub, NULL, NULL, "");
    logs_free(logs);
    logs = logs_new(&new, 1, "epoch");
    add_points(logs, "train", 2);
    GOOD(logs_flush(logs, hub, error));
    expect_logs(hub, NULL, NULL, "train/0:2 ");
    /* What led to an accepted checkpoint is shown as well. */
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, list;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_ARRAY_BEGIN(&set, "checkpoint.log_claims", &list);
    BSON_APPEND_UTF8(&list, "0", old.claim_id);
    bson_append_array_end(&set, &list);
    bson_append_document_end(&update, &set);
    GOOD(store_update(hub_store(hub), "tasks", &filter, &update, error));
    bson_destroy(&update);
    expect_logs(hub, NULL, "{'split': 'train', 'points.0.epoch': 0}", "train/0:6 train/0:2 ");
    struct task_finish finish = {.state = "done"};
    GOOD(task_finish(hub, &new, &finish, error));
    logs_free(logs);
}

HUB_TEST(logs, by_task_and_deleted_by_task)
{
    struct task_fence fence;
    bson_t *b = json("{'name': 'b'}");
    for (int i = 0; i < 2; i++) {
        make_task(hub, i == 0 ? "{'name': 'a'}" : "{'name': 'b'}");
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        struct logs *logs = logs_new(&fence, 1, "epoch");
        add_points(logs, "train", i + 1);
        GOOD(logs_flush(logs, hub, error));
        logs_free(logs);
    }
    expect_logs(hub, NULL, NULL, "train/0:1 train/0:2 ");
    expect_logs(hub, "{'name': 'b'}", NULL, "train/0:2 ");
    cr_expect_eq(GOOD(logs_delete(hub, b, error)), 1);
    expect_logs(hub, NULL, NULL, "train/0:1 ");
    cr_expect_eq(GOOD(logs_delete(hub, NULL, error)), 1);
    bson_destroy(b);
}

/* A restart makes the task forget the run's result; the run's model and what it says of its logs stay. */
HUB_TEST(logs, of_earlier_runs_are_known_by_their_models)
{
    struct task_fence first, second, third;
    bson_t *before, *filter = json("{'name': 'a'}");
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &first), 1);
    struct logs *logs = logs_new(&first, 1, "epoch");
    add_points(logs, "train", 5);
    GOOD(logs_flush(logs, hub, error));
    logs_free(logs);
    GOOD(task_release(hub, &first, error));
    cr_assert_eq(claim(hub, NULL, &second), 1);
    logs = logs_new(&second, 1, "epoch");
    add_points(logs, "train", 2);
    before = json("{'log_claims': ['%s'], 'log_points': [{'train': 3}]}", first.claim_id);
    bson_t *fields = json("{'name': 'a', 'run': 1}");
    struct task_finish finish = {
        .state = "done", .weights = "1234", .weights_length = 4, .model = fields, .logs_before = before};
    finish.logs = logs_operations(logs, &finish.log_count);
    GOOD(task_finish(hub, &second, &finish, error));
    logs_free(logs);
    expect_logs(hub, NULL, NULL, "train/0:3 train/0:2 ");
    cr_expect_eq(GOOD(task_restart(hub, filter, NULL, error)), 1);
    cr_assert_eq(claim(hub, NULL, &third), 1);
    logs = logs_new(&third, 2, "epoch");
    add_points(logs, "train", 1);
    GOOD(logs_flush(logs, hub, error));
    logs_free(logs);
    expect_logs(hub, NULL, "{'run': 1}", "train/0:3 train/0:2 ");
    expect_logs(hub, NULL, "{'run': 2}", "train/0:1 ");
    bson_t *run = json("{'run': 1}");
    GOOD(model_delete(hub, run, error));
    expect_logs(hub, NULL, NULL, "train/0:1 ");
    bson_destroy(run);
    bson_destroy(fields);
    bson_destroy(before);
    bson_destroy(filter);
}

/* A log that somebody saved is selected by what it says itself, as well as by its task. */
HUB_TEST(logs, saved_by_hand_are_found_by_name_and_tag)
{
    bson_t task;
    bson_t *create = json("{'name': 'a', 'kind': 'train'}");
    GOOD(task_create(hub, create, &task, error));
    bson_t *mine = json("{'name': 'by-hand', 'tags': ['Odd'], 'step': 100, 'loss': 0.3}"),
           *other = json("{'name': 'other', 'split': 'test', 'loss': 1}"),
           *of_task = json("{'task': '%s', 'split': 'validation', 'loss': 1, 'tags': ['odd']}", text_of(&task, "_id")),
           *wrong = json("{'name': 'x', 'epoch': 'abc'}"), *name = json("{'name': 'by-hand'}");
    GOOD(logs_save(hub, mine, error));
    GOOD(logs_save(hub, other, error));
    GOOD(logs_save(hub, of_task, error));
    cr_expect_eq(logs_save(hub, wrong, error), -1);
    expect_logs(hub, NULL, NULL, "validation/0:1 train/0:1 test/0:1 ");
    expect_logs(hub, "{'name': 'by-hand'}", NULL, "train/0:1 ");
    expect_logs(hub, "{'name': {'$ne': 'by-hand'}}", NULL, "validation/0:1 test/0:1 ");
    expect_logs(hub, "{'words': {'$all': ['odd']}}", NULL, "validation/0:1 train/0:1 ");
    expect_logs(hub, "{'words': {'$all': ['odd']}}", "{'split': 'train'}", "train/0:1 ");
    expect_logs(hub, "{'name': 'a'}", NULL, "validation/0:1 ");
    cr_expect_eq(GOOD(logs_delete_saved(hub, name, error)), 1);
    expect_logs(hub, NULL, NULL, "validation/0:1 test/0:1 ");
    bson_t *const all[] = {create, mine, other, of_task, wrong, name};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        bson_destroy(all[i]);
    }
    bson_destroy(&task);
}

HUB_TEST(logs, saved_by_hand)
{
    static const char *const bad[] = {"{'loss': 1}", "{'name': 'x', 'split': ''}", "{'name': 'x', 'points': 5}"};
    bson_t log, *one = json("{'name': 'mine', 'split': 'test', 'epoch': 3, 'accuracy': 0.5}"),
                *many = json("{'name': 'mine', 'points': [{'epoch': 1}, {'epoch': 2}], 'unit': 'batch'}"),
                *mine = json("{'name': 'mine'}");
    GOOD(logs_save(hub, one, error));
    GOOD(logs_save(hub, many, error));
    read_one(hub, "logs", "{'split': 'test'}", &log);
    cr_expect_eq(number_of(&log, "points.0.epoch"), 3);
    cr_expect(has(&log, "points.0.accuracy"));
    cr_expect_not(has(&log, "points.0.name"));
    bson_destroy(&log);
    expect_logs(hub, NULL, "{'name': 'mine', 'split': 'test'}", "test/0:1 ");
    expect_logs(hub, NULL, "{'name': 'mine', 'unit': 'batch'}", "train/0:2 ");
    for (size_t i = 0; i < 3; i++) {
        bson_t *fields = json("%s", bad[i]);
        bson_error_t why;
        cr_expect_eq(logs_save(hub, fields, &why), -1);
        cr_expect_eq(hub_error_code(&why), HUB_ERROR_INVALID);
        bson_destroy(fields);
    }
    /* For a task. */
    make_task(hub, "{'_id': 't', 'name': 'a'}");
    bson_t *of_task = json("{'task': 't', 'epoch': 1}");
    GOOD(logs_save(hub, of_task, error));
    expect_logs(hub, "{'name': 'a'}", NULL, "train/0:1 ");
    cr_expect_eq(GOOD(logs_delete_buckets(hub, mine, error)), 2);
    expect_logs(hub, NULL, NULL, "train/0:1 ");
    bson_destroy(of_task);
    bson_destroy(one);
    bson_destroy(many);
    bson_destroy(mine);
}
