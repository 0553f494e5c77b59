/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

TEST_USES_SERVER;

/* A claimed task with a little log, and what finishing it takes. */
struct work {
    struct task_fence fence;
    struct logs *logs;
    bson_t *metrics, *model;
    uint8_t *weights;
    struct task_finish finish;
};

static void begin_work(struct hub *hub, struct work *work, size_t length)
{
    bson_t *point = json("{'epoch': 1, 'loss': 0.5}");
    make_task(hub, "{'name': 'dense'}");
    cr_assert_eq(claim(hub, NULL, &work->fence), 1);
    GOOD(task_started(hub, &work->fence, error));
    work->logs = logs_new(&work->fence, 1, "epoch");
    GOOD(logs_add(work->logs, "train", point, error));
    bson_destroy(point);
    work->metrics = json("{'train_accuracy': 0.99, 'validation_accuracy': 0.9, 'test_accuracy': 0.88, 'validation_loss': 0.3}");
    work->model = json("{'name': 'dense', 'tags': ['best'], 'task_seq': 1, 'run': 1, 'epochs': 1, 'hyper_parameters': {'epochs': 1}}");
    work->weights = bson_malloc(length + 1);
    for (size_t i = 0; i < length; i++) {
        work->weights[i] = (uint8_t)(i * 7 + i / 251);
    }
    work->finish = (struct task_finish){.state = "done",
                                        .metrics = work->metrics,
                                        .weights = work->weights,
                                        .weights_length = length,
                                        .model = work->model};
    work->finish.logs = logs_operations(work->logs, &work->finish.log_count);
}

static void end_work(struct work *work)
{
    logs_free(work->logs);
    bson_destroy(work->metrics);
    bson_destroy(work->model);
    bson_free(work->weights);
}

/* Everything is where it belongs, and the weights are what they were. */
static void expect_finished(struct hub *hub, const struct work *work)
{
    bson_t task, model;
    bson_iter_t iter;
    char filter[100];
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), work->finish.state);
    cr_expect_str_eq(text_of(&task, "result.claim_id"), work->fence.claim_id);
    cr_expect_eq(number_of(&task, "published"), 1);
    cr_expect_not(has(&task, "result.model"));
    cr_expect(has(&task, "result.metrics.test_accuracy"));
    cr_expect(has(&task, "finished_at"));
    snprintf(filter, sizeof filter, "{'_id': '%s'}", work->fence.claim_id);
    read_one(hub, "models", filter, &model);
    cr_expect_str_eq(text_of(&model, "name"), "dense");
    cr_expect_str_eq(text_of(&model, "project"), "default");
    cr_expect_str_eq(text_of(&model, "task"), work->fence.task_id);
    cr_expect_str_eq(text_of(&model, "sha256"), text_of(&task, "result.sha256"));
    cr_expect_eq(number_of(&model, "bytes"), (int64_t)work->finish.weights_length);
    cr_expect(has(&model, "created_at"));
    cr_expect(has(&model, "words.1"));
    cr_assert(bson_iter_init_find(&iter, &model, "accuracy"));
    cr_expect_eq(bson_iter_double(&iter), 0.88, "the headline is from test data");
    cr_assert(bson_iter_init_find(&iter, &model, "loss"));
    cr_expect_eq(bson_iter_double(&iter), 0.3, "no test loss: validation's");
    uint8_t *data;
    size_t length;
    cr_assert(bson_iter_init_find(&iter, &model, "blob_id"));
    GOOD(blob_load(hub_store(hub), bson_iter_oid(&iter), 1 << 30, &data, &length, error));
    cr_expect_eq(length, work->finish.weights_length);
    cr_expect_eq(memcmp(data, work->weights, length), 0);
    bson_free(data);
    cr_expect_eq(count_in(hub, "logs", "{}"), 1);
    cr_expect_eq(count_in(hub, "models", "{}"), 1);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    bson_destroy(&model);
    bson_destroy(&task);
}

HUB_TEST(finish, stores_everything_and_may_be_repeated)
{
    struct work work;
    begin_work(hub, &work, 700000);
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1);
    expect_finished(hub, &work);
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1, "said again, it is found applied");
    struct gc_report report;
    GOOD(gc_run(hub, 100, false, &report, error));
    expect_finished(hub, &work);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1);
    end_work(&work);
}

HUB_TEST(finish, large_weights_are_streamed_first)
{
    struct work work;
    begin_work(hub, &work, (9 << 20) + 17);
    work.finish.state = "stopped";
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1);
    expect_finished(hub, &work);
    end_work(&work);
}

HUB_TEST(finish, without_a_model_nothing_is_left_to_publish)
{
    struct task_fence fence;
    bson_t task, *metrics = json("{'test_accuracy': 0.5}");
    make_task(hub, "{'name': 'a', 'kind': 'test'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    struct task_finish finish = {.state = "done", .metrics = metrics};
    cr_expect_eq(GOOD(task_finish(hub, &fence, &finish, error)), 1);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "done");
    cr_expect_eq(number_of(&task, "published"), 1);
    cr_expect(has(&task, "result.metrics.test_accuracy"));
    cr_expect_not(has(&task, "result.blob_id"));
    bson_destroy(&task);
    bson_destroy(metrics);
    cr_expect_eq(count_in(hub, "models", "{}"), 0);
}

HUB_TEST(finish, a_stale_runner_leaves_nothing_visible)
{
    struct work work;
    struct task_fence other;
    struct gc_report report;
    begin_work(hub, &work, 300000);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &other), 1);
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 0);
    work.finish.weights_length = 300000;
    expect_state(hub, "{}", "running");
    cr_expect_eq(count_in(hub, "models", "{}"), 0);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    cr_expect_eq(count_in(hub, "tasks", "{'result': {'$exists': true}}"), 0);
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 0);
    end_work(&work);
}

HUB_TEST(finish, bad_arguments_and_bad_models_are_refused_before_anything_is_written)
{
    struct work work;
    bson_error_t why;
    begin_work(hub, &work, 1000);
    bson_t *bad = json("{'name': 'x', 'accuracy': 'high'}"), *nameless = json("{'accuracy': 1}");
    work.finish.model = bad;
    cr_expect_eq(task_finish(hub, &work.fence, &work.finish, &why), -1);
    cr_expect_str_eq(why.message, "model.accuracy: it is string, not int or long or double");
    work.finish.model = nameless;
    cr_expect_eq(task_finish(hub, &work.fence, &work.finish, &why), -1);
    work.finish.model = NULL;
    cr_expect_eq(task_finish(hub, &work.fence, &work.finish, &why), -1);
    work.finish.model = work.model;
    work.finish.state = "failed";
    cr_expect_eq(task_finish(hub, &work.fence, &work.finish, &why), -1);
    expect_state(hub, "{}", "running");
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
    bson_destroy(bad);
    bson_destroy(nameless);
    end_work(&work);
}

/* The state between the commit and the model's appearance, as MongoDB shows it when a runner dies there. */
static void make_unpublished(struct hub *hub, struct work *work)
{
    bson_t model, *filter = json("{}"), update = BSON_INITIALIZER, set;
    begin_work(hub, work, 5000);
    cr_assert_eq(GOOD(task_finish(hub, &work->fence, &work->finish, error)), 1);
    read_one(hub, "models", "{}", &model);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_BOOL(&set, "published", false);
    BSON_APPEND_DOCUMENT(&set, "result.model", &model);
    bson_append_document_end(&update, &set);
    GOOD(store_update(hub_store(hub), "tasks", filter, &update, error));
    bson_destroy(&update);
    bson_destroy(&model);
    bson_destroy(filter);
}

HUB_TEST(publish, the_sweeper_rolls_a_commit_forward)
{
    struct work work;
    int64_t next;
    make_unpublished(hub, &work);
    bson_t *all = json("{}");
    GOOD(store_delete(hub_store(hub), "models", all, error));
    struct gc_report report;
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 0, "the task's result points to it");
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 1);
    expect_finished(hub, &work);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 0);
    task_sweeper_free(sweeper);
    bson_destroy(all);
    end_work(&work);
}

HUB_TEST(publish, finishing_again_rolls_forward_too)
{
    struct work work;
    make_unpublished(hub, &work);
    bson_t *all = json("{}");
    GOOD(store_delete(hub_store(hub), "models", all, error));
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1);
    struct gc_report report;
    GOOD(gc_run(hub, 100, false, &report, error));
    expect_finished(hub, &work);
    bson_destroy(all);
    end_work(&work);
}

HUB_TEST(publish, a_tombstone_is_respected)
{
    struct work work;
    int64_t next;
    make_unpublished(hub, &work);
    bson_t *all = json("{}"), model;
    cr_expect_eq(GOOD(model_delete(hub, all, error)), 1);
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 1);
    read_one(hub, "models", "{}", &model);
    cr_expect(has(&model, "deleted"));
    cr_expect_not(has(&model, "blob_id"));
    cr_expect_not(has(&model, "name"));
    bson_destroy(&model);
    cr_expect_eq(count_in(hub, "tasks", "{'published': true}"), 1);
    task_sweeper_free(sweeper);
    bson_destroy(all);
    end_work(&work);
}

HUB_TEST(publish, restarting_and_deleting_publish_first)
{
    struct work work;
    make_unpublished(hub, &work);
    bson_t *all = json("{}");
    GOOD(store_delete(hub_store(hub), "models", all, error));
    cr_expect_eq(GOOD(task_restart(hub, all, NULL, error)), 1);
    cr_expect_eq(count_in(hub, "models", "{'name': 'dense'}"), 1, "earlier runs' models stay");
    cr_expect_eq(count_in(hub, "tasks", "{'run': 2, 'state': 'ready', 'published': {'$exists': false}}"), 1);
    end_work(&work);
    GOOD(task_delete(hub, all, error));
    GOOD(store_delete(hub_store(hub), "models", all, error));
    make_unpublished(hub, &work);
    GOOD(store_delete(hub_store(hub), "models", all, error));
    cr_expect_eq(GOOD(task_delete(hub, all, error)), 1);
    cr_expect_eq(count_in(hub, "models", "{'name': 'dense'}"), 1);
    struct gc_report report;
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1, "the model's");
    bson_destroy(all);
    end_work(&work);
}

HUB_TEST(publish, what_cannot_be_read_is_not_tried_for_ever)
{
    int64_t next;
    make_task(hub, "{'name': 'a'}");
    poke(hub, "tasks", "{}", "{'$set': {'state': 'done', 'published': false, 'result': 'ok'}}");
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 1);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 0);
    cr_expect_eq(count_in(hub, "tasks", "{'published': true}"), 1);
    task_sweeper_free(sweeper);
}

/* ---- epochs that are kept ---- */

static struct task_epoch epoch_of(const struct work *work, int64_t number)
{
    return (struct task_epoch){.epoch = number,
                               .run = 1,
                               .identity = "what is computed",
                               .weights = work->weights,
                               .weights_length = work->finish.weights_length,
                               .model = work->model};
}

HUB_TEST(epochs, each_becomes_a_model_once_and_the_last_is_what_is_found)
{
    struct work work;
    struct gc_report report;
    bson_t model, *all = json("{}"), *third = json("{'epoch': 3}"), *by_or = json("{'$or': [{'epoch': 3}, {'name': 'x'}]}");
    begin_work(hub, &work, 9000);
    struct task_epoch epoch = epoch_of(&work, 3), other = epoch_of(&work, 6), again = epoch_of(&work, 3);
    cr_expect_eq(GOOD(task_has_epoch(hub, &work.fence, &epoch, error)), 0);
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &epoch, error)), 1);
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &epoch, error)), 1, "said again, it is there");
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &other, error)), 1);
    again.identity = "of other data";
    cr_expect_eq(GOOD(task_has_epoch(hub, &work.fence, &again, error)), 0);
    cr_expect_eq(count_in(hub, "models", "{'final': false}"), 2);
    cr_expect_eq(count_in(hub, "tasks", "{'kept': {'$exists': true}}"), 0);
    cr_expect_eq(count_in(hub, "tasks", "{'published': false}"), 0);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    cr_expect_eq(GOOD(model_find_one(hub, all, NULL, &model, error)), 0, "no run has ended");
    bson_destroy(&model);
    cr_expect_eq(GOOD(model_find_one(hub, third, NULL, &model, error)), 1);
    cr_expect_str_eq(text_of(&model, "task"), work.fence.task_id);
    cr_expect(has(&model, "sha256"));
    bson_destroy(&model);
    cr_expect_eq(GOOD(model_find_one(hub, by_or, NULL, &model, error)), 1);
    bson_destroy(&model);
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1);
    cr_expect_eq(GOOD(model_find_one(hub, all, NULL, &model, error)), 1);
    cr_expect_str_eq(text_of(&model, "_id"), work.fence.claim_id);
    bson_destroy(&model);
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 3);
    cr_expect_eq(GOOD(model_delete(hub, all, error)), 1);
    cr_expect_eq(GOOD(model_delete(hub, third, error)), 1);
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1, "that of epoch 6");
    bson_destroy(by_or);
    bson_destroy(third);
    bson_destroy(all);
    end_work(&work);
}

HUB_TEST(epochs, large_ones_are_streamed_first)
{
    struct work work;
    bson_t model;
    bson_iter_t iter;
    uint8_t *data;
    size_t length;
    begin_work(hub, &work, (8 << 20) + 5);
    struct task_epoch epoch = epoch_of(&work, 1);
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &epoch, error)), 1);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    read_one(hub, "models", "{'epoch': 1}", &model);
    cr_assert(bson_iter_init_find(&iter, &model, "blob_id"));
    GOOD(blob_load(hub_store(hub), bson_iter_oid(&iter), 1 << 30, &data, &length, error));
    cr_expect_eq(length, epoch.weights_length);
    bson_free(data);
    bson_destroy(&model);
    end_work(&work);
}

HUB_TEST(epochs, of_a_stale_runner_do_not_show)
{
    struct work work;
    struct task_fence other;
    struct gc_report report;
    begin_work(hub, &work, 300000);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &other), 1);
    struct task_epoch epoch = epoch_of(&work, 2);
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &epoch, error)), 0);
    cr_expect_eq(count_in(hub, "models", "{}"), 0);
    cr_expect_eq(count_in(hub, "tasks", "{'kept': {'$exists': true}}"), 0);
    cr_expect_eq(GOOD(task_keep_epoch(hub, &other, &epoch, error)), 1, "its successor repeats it");
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &epoch, error)), 1, "and then it is there");
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(count_in(hub, "models", "{}"), 1);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1);
    end_work(&work);
}

/* The state between an epoch's commit and its model's appearance, as MongoDB shows it when a runner dies there. */
static void make_kept(struct hub *hub, struct work *work)
{
    bson_t model, *filter = json("{}"), update = BSON_INITIALIZER, set, kept;
    bson_iter_t blob;
    begin_work(hub, work, 5000);
    struct task_epoch epoch = epoch_of(work, 4);
    cr_assert_eq(GOOD(task_keep_epoch(hub, &work->fence, &epoch, error)), 1);
    read_one(hub, "models", "{}", &model);
    cr_assert(bson_iter_init_find(&blob, &model, "blob_id"));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_BOOL(&set, "published", false);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "kept", &kept);
    BSON_APPEND_UTF8(&kept, "claim_id", work->fence.claim_id);
    BSON_APPEND_INT64(&kept, "epoch", 4);
    bson_append_iter(&kept, "blob_id", -1, &blob);
    BSON_APPEND_DOCUMENT(&kept, "model", &model);
    bson_append_document_end(&set, &kept);
    bson_append_document_end(&update, &set);
    GOOD(store_update(hub_store(hub), "tasks", filter, &update, error));
    GOOD(store_delete(hub_store(hub), "models", filter, error));
    bson_destroy(&update);
    bson_destroy(&model);
    bson_destroy(filter);
}

static void expect_shown(struct hub *hub)
{
    struct gc_report report;
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 0);
    cr_expect_eq(count_in(hub, "models", "{'epoch': 4, 'final': false}"), 1);
    cr_expect_eq(count_in(hub, "tasks", "{'$or': [{'kept': {'$exists': true}}, {'published': false}]}"), 0);
}

HUB_TEST(epochs, the_sweeper_rolls_a_commit_forward)
{
    struct work work;
    struct gc_report report;
    int64_t next;
    make_kept(hub, &work);
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 0, "the task points to it");
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 1);
    expect_shown(hub);
    task_sweeper_free(sweeper);
    expect_state(hub, "{}", "running");
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1);
    cr_expect_eq(count_in(hub, "models", "{}"), 2);
    end_work(&work);
}

HUB_TEST(epochs, the_next_claim_shows_what_the_last_one_committed)
{
    struct work work;
    bson_t task;
    make_kept(hub, &work);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &work.fence), 1);
    read_one(hub, "tasks", "{}", &task);
    cr_expect_eq(GOOD(task_show_kept(hub, &task, error)), 1);
    expect_shown(hub);
    bson_destroy(&task);
    end_work(&work);
}

HUB_TEST(epochs, a_finish_of_the_next_claim_loses_none)
{
    struct work work;
    int64_t next;
    make_kept(hub, &work);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &work.fence), 1);
    struct task_epoch epoch = epoch_of(&work, 8);
    cr_expect_eq(GOOD(task_keep_epoch(hub, &work.fence, &epoch, error)), 1);
    if (!store_batch_is_atomic(hub_store(hub))) { /* the other engine has no state between the two */
        expect_shown(hub);
    }
    cr_expect_eq(GOOD(task_finish(hub, &work.fence, &work.finish, error)), 1);
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    GOOD(task_sweeper_round(sweeper, hub, &next, error));
    task_sweeper_free(sweeper);
    cr_expect_eq(count_in(hub, "models", "{'epoch': 8}"), 1);
    cr_expect_eq(count_in(hub, "models", "{'final': {'$ne': false}}"), 1);
    end_work(&work);
}

HUB_TEST(epochs, restarting_and_deleting_show_them_first)
{
    struct work work;
    bson_t *all = json("{}");
    make_kept(hub, &work);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'failed'}}");
    cr_expect_eq(GOOD(task_restart(hub, all, NULL, error)), 1);
    expect_shown(hub);
    cr_expect_eq(GOOD(task_delete(hub, all, error)), 1);
    expect_shown(hub);
    bson_destroy(all);
    end_work(&work);
}
