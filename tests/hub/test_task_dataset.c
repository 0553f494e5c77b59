/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets that tasks make (kind infer): published once, by the fenced finish, whoever dies or sleeps meanwhile. */
#include "hub_on_both.h"

#include "hub/fsck.h"

TEST_USES_SERVER;

/* A claimed task that has uploaded its parts, and what finishing it takes. */
struct output {
    struct task_fence fence;
    struct dataset_writer *writer;
    bson_t manifest;
    bson_t *metrics;
    struct task_finish finish;
};

static void upload(struct hub *hub, struct output *output, char content)
{
    static const char *const fields = "{'name': 'predicted', 'input_shape': [2], 'label': 'class', 'classes': 3, 'tags': ['predicted']}";
    bson_t *given = json("%s", fields);
    char part[64];
    output->writer = dataset_writer_open_claimed(hub, &output->fence, given, error);
    cr_assert_not_null(output->writer, "%s", error->message);
    for (int i = 0; i < 2; i++) {
        memset(part, content + i, sizeof part);
        GOOD(dataset_writer_part(output->writer, "test", 5, part, sizeof part, error));
    }
    cr_assert_eq(GOOD(dataset_writer_manifest(output->writer, &output->manifest, error)), 1);
    output->metrics = json("{'rows': 10, 'accuracy': 0.5}");
    output->finish = (struct task_finish){.state = "done", .metrics = output->metrics, .dataset = &output->manifest};
    bson_destroy(given);
}

static void begin_output(struct hub *hub, struct output *output)
{
    make_task(hub, "{'name': 'infer', 'kind': 'infer', 'save_dataset': 'predicted'}");
    cr_assert_eq(claim(hub, NULL, &output->fence), 1);
    upload(hub, output, 'a');
}

static void end_output(struct output *output)
{
    dataset_writer_close(output->writer);
    bson_destroy(&output->manifest);
    bson_destroy(output->metrics);
}

static struct gc_report collect(struct hub *hub)
{
    struct gc_report report;
    GOOD(gc_run(hub, 100, false, &report, error));
    return report;
}

static void count_finding(void *data, const struct fsck_finding *finding)
{
    if (finding->severity != FSCK_NOTE) {
        fprintf(stderr, "%s %s/%s: %s\n", finding->check, finding->collection, finding->id, finding->what);
        ++*(int *)data;
    }
}

static int findings(struct hub *hub)
{
    int count = 0;
    struct fsck_report report;
    struct fsck_options options = {.settle_ms = 1, .stand_ms = 100, .found = count_finding, .data = &count};
    GOOD(fsck_run(hub, &options, &report, error));
    return count;
}

/* There is one dataset, this claim's, with its blobs, and the task says so. */
static void expect_published(struct hub *hub, const struct output *output)
{
    bson_t task, dataset;
    bson_iter_t iter;
    char filter[160], digest[65];
    snprintf(filter, sizeof filter, "{'_id': '%s'}", output->fence.task_id);
    read_one(hub, "tasks", filter, &task);
    cr_expect_str_eq(text_of(&task, "state"), output->finish.state);
    cr_expect_str_eq(text_of(&task, "result.claim_id"), output->fence.claim_id);
    cr_expect_str_eq(text_of(&task, "result.dataset_id"), output->fence.claim_id);
    cr_expect_eq(number_of(&task, "result.metrics.rows"), 10);
    cr_expect_eq(number_of(&task, "published"), 1);
    cr_expect_not(has(&task, "result.dataset"), "the manifest has gone to its place");
    bson_t *name = json("{'name': 'predicted'}");
    cr_assert_eq(GOOD(dataset_find_one(hub, name, &dataset, error)), 1);
    cr_expect_str_eq(text_of(&dataset, "_id"), output->fence.claim_id);
    cr_expect_str_eq(text_of(&dataset, "task"), output->fence.task_id);
    cr_expect_str_eq(text_of(&dataset, "project"), "default");
    cr_expect_eq(number_of(&dataset, "version"), 1);
    cr_expect_eq(number_of(&dataset, "rows"), 10);
    cr_expect_eq(number_of(&dataset, "splits.test"), 10);
    dataset_digest(&dataset, digest);
    cr_expect_str_eq(text_of(&dataset, "digest"), digest);
    for (int i = 0; i < 2; i++) {
        bson_iter_t value;
        uint8_t *data;
        size_t length;
        char path[32];
        snprintf(path, sizeof path, "parts.%d.blob_id", i);
        cr_assert(bson_iter_init(&iter, &dataset) && bson_iter_find_descendant(&iter, path, &value));
        GOOD(blob_load(hub_store(hub), bson_iter_oid(&value), 1 << 20, &data, &length, error));
        cr_expect_eq(length, 64);
        bson_free(data);
    }
    cr_expect_eq(count_in(hub, "datasets", "{}"), 1);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 2);
    bson_destroy(name);
    bson_destroy(&dataset);
    bson_destroy(&task);
}

HUB_TEST(task_dataset, is_published_by_the_finish_and_once)
{
    struct output output;
    begin_output(hub, &output);
    cr_expect_eq(count_in(hub, "datasets", "{}"), 0, "nobody sees it before the finish");
    cr_expect_eq(collect(hub).blobs_deleted, 0, "its claim holds the parts");
    cr_expect_eq(GOOD(task_finish(hub, &output.fence, &output.finish, error)), 1);
    expect_published(hub, &output);
    cr_expect_eq(GOOD(task_finish(hub, &output.fence, &output.finish, error)), 1, "said again, it is found applied");
    output.finish.again = true;
    cr_expect_eq(GOOD(task_finish(hub, &output.fence, &output.finish, error)), 1);
    cr_expect_eq(collect(hub).blobs_deleted, 0);
    expect_published(hub, &output);
    cr_expect_eq(findings(hub), 0);
    end_output(&output);
}

HUB_TEST(task_dataset, a_zombie_publishes_nothing)
{
    struct output first, second;
    begin_output(hub, &first);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &second.fence), 1);
    upload(hub, &second, 'm');
    cr_expect_eq(GOOD(task_finish(hub, &first.fence, &first.finish, error)), 0, "its claim is another's");
    cr_expect_eq(count_in(hub, "datasets", "{}"), 0);
    cr_expect_eq(collect(hub).blobs_deleted, 2, "the zombie's parts");
    cr_expect_eq(GOOD(task_finish(hub, &second.fence, &second.finish, error)), 1);
    cr_expect_eq(GOOD(task_finish(hub, &first.fence, &first.finish, error)), 0);
    collect(hub);
    bson_t dataset;
    read_one(hub, "datasets", "{}", &dataset);
    cr_expect_str_eq(text_of(&dataset, "_id"), second.fence.claim_id);
    cr_expect_eq(number_of(&dataset, "version"), 2, "a version that was taken is not given again");
    bson_destroy(&dataset);
    cr_expect_eq(count_in(hub, "datasets", "{}"), 1);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 2);
    cr_expect_eq(findings(hub), 0);
    end_output(&first);
    end_output(&second);
}

HUB_TEST(task_dataset, what_a_dead_runner_uploaded_goes)
{
    struct output output;
    begin_output(hub, &output);
    poke(hub, "tasks", "{}", "{'$set': {'state': 'delayed'}}"); /* taken back */
    struct gc_report report = collect(hub);
    cr_expect_eq(report.blobs_deleted, 2);
    cr_expect_eq(report.uploads_removed, 2);
    cr_expect_eq(findings(hub), 0);
    end_output(&output);
}

/* The state between the commit and the dataset's appearance, as MongoDB shows it when a runner dies there. */
static void make_unpublished(struct hub *hub, struct output *output)
{
    bson_t *all = json("{}"), update = BSON_INITIALIZER, set;
    begin_output(hub, output);
    cr_assert_eq(GOOD(task_finish(hub, &output->fence, &output->finish, error)), 1);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_BOOL(&set, "published", false);
    BSON_APPEND_DOCUMENT(&set, "result.dataset", &output->manifest);
    bson_append_document_end(&update, &set);
    GOOD(store_update(hub_store(hub), "tasks", all, &update, error));
    GOOD(store_delete(hub_store(hub), "datasets", all, error));
    bson_destroy(&update);
    bson_destroy(all);
}

HUB_TEST(task_dataset, the_sweeper_rolls_a_commit_forward)
{
    struct output output;
    int64_t next;
    make_unpublished(hub, &output);
    cr_expect_eq(collect(hub).blobs_deleted, 0, "the task's result points to the parts");
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 1);
    expect_published(hub, &output);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 0);
    task_sweeper_free(sweeper);
    end_output(&output);
}

HUB_TEST(task_dataset, restarting_publishes_first)
{
    struct output output;
    make_unpublished(hub, &output);
    bson_t *all = json("{}");
    cr_expect_eq(GOOD(task_restart(hub, all, NULL, error)), 1);
    cr_expect_eq(count_in(hub, "datasets", "{'name': 'predicted'}"), 1, "earlier runs' datasets stay");
    collect(hub);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 2);
    bson_destroy(all);
    end_output(&output);
}

HUB_TEST(task_dataset, a_deleted_one_does_not_come_again)
{
    struct output output;
    int64_t next;
    bson_t *all = json("{}"), found, *unpublish = NULL;
    begin_output(hub, &output);
    cr_assert_eq(GOOD(task_finish(hub, &output.fence, &output.finish, error)), 1);
    cr_expect_eq(GOOD(dataset_delete(hub, all, error)), 1);
    cr_expect_eq(GOOD(dataset_find_one(hub, all, &found, error)), 0, "readers are not shown its tombstone");
    bson_destroy(&found);
    cr_expect_eq(GOOD(dataset_delete(hub, all, error)), 0);
    cr_expect_eq(count_in(hub, "tasks", "{'result.deleted': true}"), 1);
    /* A roll-forward that read the task before all that comes now. */
    unpublish = json("{}");
    bson_t update = BSON_INITIALIZER, set;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_BOOL(&set, "published", false);
    BSON_APPEND_DOCUMENT(&set, "result.dataset", &output.manifest);
    bson_append_document_end(&update, &set);
    GOOD(store_update(hub_store(hub), "tasks", unpublish, &update, error));
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    cr_expect_eq(GOOD(task_sweeper_round(sweeper, hub, &next, error)), 1);
    cr_expect_eq(GOOD(dataset_find_one(hub, all, &found, error)), 0);
    bson_destroy(&found);
    cr_expect_eq(collect(hub).blobs_deleted, 2, "nobody points to its parts");
    cr_expect_eq(findings(hub), 0);
    GOOD(task_sweeper_round(sweeper, hub, &next, error));
    GOOD(task_sweeper_round(sweeper, hub, &next, error));
    cr_expect_eq(collect(hub).tombstones_removed, 1);
    cr_expect_eq(count_in(hub, "datasets", "{}"), 0);
    cr_expect_eq(findings(hub), 0, "the task knows that it was deleted");
    task_sweeper_free(sweeper);
    bson_destroy(&update);
    bson_destroy(unpublish);
    bson_destroy(all);
    end_output(&output);
}

HUB_TEST(task_dataset, one_that_is_lost_is_found_missing)
{
    struct output output;
    bson_t *all = json("{}");
    begin_output(hub, &output);
    cr_assert_eq(GOOD(task_finish(hub, &output.fence, &output.finish, error)), 1);
    cr_expect_eq(findings(hub), 0);
    poke(hub, "datasets", "{}", "{'$set': {'task': 'another'}}");
    cr_expect_eq(findings(hub), 1, "dataset-task");
    GOOD(store_delete(hub_store(hub), "datasets", all, error));
    cr_expect_eq(findings(hub), 3, "dataset-missing, and two parts that nothing points to");
    bson_destroy(all);
    end_output(&output);
}

HUB_TEST(task_dataset, of_a_person_and_of_a_task_share_versions)
{
    struct output output;
    bson_t *fields = json("{'name': 'predicted', 'input_shape': [2], 'label': 'class', 'classes': 3}"), dataset;
    begin_output(hub, &output);
    cr_assert_eq(GOOD(task_finish(hub, &output.fence, &output.finish, error)), 1);
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    char part[64];
    memset(part, 'a', sizeof part);
    GOOD(dataset_writer_part(writer, "test", 5, part, sizeof part, error));
    cr_expect_eq(GOOD(dataset_writer_finish(writer, &dataset, error)), 1);
    cr_expect_eq(number_of(&dataset, "version"), 2);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 2, "equal bytes of the version before are pointed to again");
    collect(hub);
    cr_expect_eq(findings(hub), 0);
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
    end_output(&output);
}

HUB_TEST(task_dataset, a_model_or_a_dataset_but_not_both)
{
    struct output output;
    bson_t *model = json("{'name': 'm'}");
    begin_output(hub, &output);
    output.finish.weights = "x";
    output.finish.weights_length = 1;
    output.finish.model = model;
    cr_expect_eq(task_finish(hub, &output.fence, &output.finish, error), -1);
    expect_state(hub, "{}", "running");
    bson_destroy(model);
    end_output(&output);
}
