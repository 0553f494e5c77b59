/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

#include <pthread.h>
#include <time.h>

TEST_USES_SERVER;

#define LEASE 300

static void put_blob(struct hub *hub, bson_oid_t *id, bool finish)
{
    struct blob_info info;
    uint8_t data[3000] = {1};
    bson_oid_init(id, NULL);
    if (finish) {
        struct blob_writer *writer = blob_writer_open(hub_store(hub), id, "x", NULL, NULL);
        GOOD(blob_writer_write(writer, data, sizeof data, error));
        GOOD(blob_writer_finish(writer, &info, error));
        blob_writer_close(writer);
        return;
    }
    bson_t *chunk = json("{'n': 0, 'data': {'$binary': {'base64': 'AAAA', 'subType': '00'}}}");
    BSON_APPEND_OID(chunk, "files_id", id);
    GOOD(store_insert(hub_store(hub), "blobs.chunks", chunk, error));
    bson_destroy(chunk);
}

/* Sets path of the documents that match to the blob's id. */
static void point(struct hub *hub, const char *collection, const char *filter, const char *path, const bson_oid_t *id)
{
    bson_t *where = json("%s", filter), update = BSON_INITIALIZER, set;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    bson_append_oid(&set, path, -1, id);
    bson_append_document_end(&update, &set);
    cr_assert_eq(GOOD(store_update(hub_store(hub), collection, where, &update, error)), 1);
    bson_destroy(&update);
    bson_destroy(where);
}

static bool is_there(struct hub *hub, const bson_oid_t *id)
{
    struct blob_reader *reader = blob_reader_open(hub_store(hub), id, NULL);
    blob_reader_close(reader);
    return reader != NULL;
}

static struct gc_report collect(struct hub *hub)
{
    struct gc_report report;
    GOOD(gc_run(hub, LEASE, false, &report, error));
    return report;
}

HUB_TEST(gc, only_what_nothing_points_to_goes)
{
    bson_oid_t orphan, result, checkpoint, model, dead_model, part;
    bson_t dataset = BSON_INITIALIZER, list, one;
    put_blob(hub, &orphan, true);
    put_blob(hub, &result, true);
    put_blob(hub, &checkpoint, true);
    put_blob(hub, &model, true);
    put_blob(hub, &dead_model, true);
    put_blob(hub, &part, true);
    make_task(hub, "{'name': 'a'}");
    make_task(hub, "{'name': 'b'}");
    point(hub, "tasks", "{'name': 'a'}", "result.blob_id", &result);
    point(hub, "tasks", "{'name': 'b'}", "checkpoint.blob_id", &checkpoint);
    bson_t *live = json("{'_id': 'm1', 'project': 'other'}"), *dead = json("{'_id': 'm2', 'project': 'default', 'deleted': true}");
    GOOD(store_insert(hub_store(hub), "models", live, error));
    GOOD(store_insert(hub_store(hub), "models", dead, error));
    point(hub, "models", "{'_id': 'm1'}", "blob_id", &model);
    point(hub, "models", "{'_id': 'm2'}", "blob_id", &dead_model);
    BSON_APPEND_UTF8(&dataset, "_id", "d");
    BSON_APPEND_ARRAY_BEGIN(&dataset, "parts", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &one);
    BSON_APPEND_OID(&one, "blob_id", &part);
    bson_append_document_end(&list, &one);
    bson_append_array_end(&dataset, &list);
    GOOD(store_insert(hub_store(hub), "datasets", &dataset, error));
    struct gc_report report;
    GOOD(gc_run(hub, LEASE, true, &report, error));
    cr_expect_eq(report.blobs_deleted, 2);
    cr_expect_eq(report.bytes_freed, 6000);
    cr_expect(is_there(hub, &orphan), "a dry run changes nothing");
    report = collect(hub);
    cr_expect_eq(report.blobs_deleted, 2);
    cr_expect_eq(report.blobs_kept, 4);
    cr_expect_not(is_there(hub, &orphan));
    cr_expect_not(is_there(hub, &dead_model));
    cr_expect(is_there(hub, &result) && is_there(hub, &checkpoint) && is_there(hub, &model) && is_there(hub, &part));
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 4);
    cr_expect_eq(count_in(hub, "blobs.files", "{'metadata.condemned': {'$exists': true}}"), 0);
    /* What is published is its model's, and this one's was deleted. */
    poke(hub, "tasks", "{'name': 'a'}", "{'$set': {'published': true}}");
    cr_expect_eq(collect(hub).blobs_deleted, 1);
    cr_expect_not(is_there(hub, &result));
    bson_destroy(&dataset);
    bson_destroy(live);
    bson_destroy(dead);
}

HUB_TEST(gc, an_upload_under_a_claim_lives_as_long_as_the_claim)
{
    struct task_fence fence, next;
    bson_oid_t blob, unfinished;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    bson_oid_init(&blob, NULL);
    put_blob(hub, &blob, true);
    put_blob(hub, &unfinished, false);
    GOOD(gc_announce(hub, &blob, fence.task_id, fence.claim_id, error));
    GOOD(gc_announce(hub, &unfinished, fence.task_id, fence.claim_id, error));
    poke(hub, "uploads", "{}", "{'$set': {'created_at': {'$date': 0}}}"); /* its age says nothing */
    collect(hub);
    cr_expect(is_there(hub, &blob));
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 2);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 2);
    GOOD(task_release(hub, &fence, error));
    cr_assert_eq(claim(hub, NULL, &next), 1);
    struct gc_report report = collect(hub);
    cr_expect_eq(report.blobs_deleted, 1);
    cr_expect_eq(report.chunks_deleted, 2);
    cr_expect_eq(report.bytes_freed, 3000 + 3, "a blob, and the chunk of one that was not finished");
    cr_expect_eq(report.uploads_removed, 2);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 0);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
}

/* Beats on an upload while the test's main thread collects. */
struct beater {
    char *uri;
    bson_oid_t id;
    _Atomic bool stop;
};

static void *beat(void *data)
{
    struct beater *beater = data;
    struct hub *hub = hub_open(beater->uri, NULL, HUB_OPEN_EXISTING, NULL);
    while (hub != NULL && !beater->stop) {
        gc_upload_beat(hub, &beater->id, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    }
    hub_close(hub);
    return NULL;
}

HUB_TEST(gc, an_upload_without_a_claim_lives_as_long_as_it_beats)
{
    bson_oid_t silent;
    struct beater beater = {.uri = bson_strdup(uri)};
    pthread_t thread;
    put_blob(hub, &silent, true);
    put_blob(hub, &beater.id, true);
    GOOD(gc_announce(hub, &silent, NULL, NULL, error));
    GOOD(gc_announce(hub, &beater.id, NULL, NULL, error));
    cr_assert_eq(pthread_create(&thread, NULL, beat, &beater), 0);
    struct gc_report report = collect(hub);
    beater.stop = true;
    pthread_join(thread, NULL);
    cr_expect_eq(report.blobs_deleted, 1);
    cr_expect_eq(report.uploads_removed, 1);
    cr_expect_not(is_there(hub, &silent));
    cr_expect(is_there(hub, &beater.id));
    report = collect(hub);
    cr_expect_eq(report.blobs_deleted, 1, "once it is silent it goes");
    bson_free(beater.uri);
}

/* ---- a save that stands still while gc runs ---- */

struct stalled {
    const char *uri;
    int reads, stall_at;
    bool stalled;
};

static void collect_meanwhile(const char *uri)
{
    struct hub *hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, NULL);
    cr_assert_eq(collect(hub).uploads_removed, 1);
    hub_close(hub);
}

static int64_t read_and_stall(void *data, void *buffer, size_t size)
{
    struct stalled *stalled = data;
    if (stalled->reads == stalled->stall_at) {
        stalled->stalled = true;
        collect_meanwhile(stalled->uri);
    }
    memset(buffer, 1, size);
    return stalled->reads++ < 4 ? (int64_t)size : 0;
}

static void expect_told_to_save_again(struct hub *hub, const char *collection)
{
    cr_expect_eq(hub_error_code(error), HUB_ERROR_CONFLICT, "%s", error->message);
    cr_expect_not_null(strstr(error->message, "save it again"), "%s", error->message);
    cr_expect_eq(count_in(hub, collection, "{}"), 0);
    collect(hub);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 0);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
}

/* Before its first chunk, when nothing of it is missing but nothing protects it; and in the middle. */
HUB_TEST(gc, a_model_whose_upload_was_collected_is_not_published)
{
    bson_t *fields = json("{'name': 'm'}"), model;
    for (int at = 0; at <= 4; at += 2) {
        struct stalled stalled = {.uri = uri, .stall_at = at};
        memset(error, 0, sizeof *error);
        cr_expect_eq(model_save(hub, fields, read_and_stall, &stalled, &model, error), -1, "stalled at %d", at);
        cr_expect(stalled.stalled);
        expect_told_to_save_again(hub, "models");
        bson_destroy(&model);
    }
    bson_destroy(fields);
}

HUB_TEST(gc, a_dataset_whose_upload_was_collected_is_not_published)
{
    bson_t *fields = json("{'name': 'd', 'input_shape': [2]}"), dataset;
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    cr_assert_not_null(writer, "%s", error->message);
    GOOD(dataset_writer_part(writer, "train", 1, "one", 3, error));
    collect_meanwhile(uri);
    cr_expect_eq(dataset_writer_finish(writer, &dataset, error), -1);
    expect_told_to_save_again(hub, "datasets");
    bson_destroy(&dataset);
    dataset_writer_close(writer);
    bson_destroy(fields);
}

/* Its blob is whole, but gc may be about to take chunks of what it saw unannounced. */
HUB_TEST(gc, a_save_whose_entry_went_is_undone_though_its_blob_is_there)
{
    bson_t *fields = json("{'name': 'd', 'input_shape': [2]}"), dataset, *all = json("{}");
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    GOOD(dataset_writer_part(writer, "train", 1, "one", 3, error));
    GOOD(store_delete(hub_store(hub), "uploads", all, error));
    cr_expect_eq(dataset_writer_finish(writer, &dataset, error), -1);
    expect_told_to_save_again(hub, "datasets");
    bson_destroy(&dataset);
    dataset_writer_close(writer);
    bson_destroy(fields);
    bson_destroy(all);
}

HUB_TEST(gc, an_upload_that_is_done_is_nothing_by_itself)
{
    bson_oid_t blob;
    put_blob(hub, &blob, true);
    GOOD(gc_announce(hub, &blob, NULL, NULL, error));
    GOOD(gc_announce(hub, &blob, NULL, NULL, error));
    cr_expect_eq(GOOD(gc_upload_done(hub, &blob, error)), 1);
    cr_expect_eq(GOOD(gc_upload_done(hub, &blob, error)), 0);
    collect(hub);
    cr_expect_not(is_there(hub, &blob));
}

HUB_TEST(gc, keeping_takes_back_the_mark_or_says_that_it_is_too_late)
{
    bson_oid_t blob;
    put_blob(hub, &blob, true);
    poke(hub, "blobs.files", "{}", "{'$set': {'metadata.condemned': 'token'}}");
    cr_expect_eq(GOOD(gc_keep(hub, &blob, error)), 1);
    cr_expect_eq(count_in(hub, "blobs.files", "{'metadata.condemned': {'$exists': true}}"), 0);
    collect(hub);
    cr_expect_eq(GOOD(gc_keep(hub, &blob, error)), 0);
}

HUB_TEST(gc, many_blobs_page_by_page)
{
    enum { COUNT = 300 };
    bson_oid_t ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        bson_t files = BSON_INITIALIZER, model = BSON_INITIALIZER;
        bson_oid_init(&ids[i], NULL);
        BSON_APPEND_OID(&files, "_id", &ids[i]);
        BSON_APPEND_INT64(&files, "length", 10);
        GOOD(store_insert(hub_store(hub), "blobs.files", &files, error));
        if (i % 3 == 0) {
            BSON_APPEND_UTF8(&model, "project", "default");
            BSON_APPEND_OID(&model, "blob_id", &ids[i]);
            GOOD(store_insert(hub_store(hub), "models", &model, error));
        }
        bson_destroy(&files);
        bson_destroy(&model);
    }
    struct gc_report report = collect(hub);
    cr_expect_eq(report.blobs_deleted, 200);
    cr_expect_eq(report.blobs_kept, 100);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(is_there(hub, &ids[i]), i % 3 == 0);
    }
}

HUB_TEST(gc, logs_whose_task_is_gone)
{
    make_task(hub, "{'_id': 'here', 'name': 'a'}");
    static const char *const logs[] = {"{'task': 'here', 'epoch': 1}", "{'task': 'gone', 'epoch': 1}", "{'task': 'gone', 'epoch': 2}",
                                       "{'name': 'free', 'epoch': 1}"};
    for (size_t i = 0; i < 4; i++) {
        bson_t *log = json("%s", logs[i]);
        GOOD(logs_save(hub, log, error));
        bson_destroy(log);
    }
    cr_expect_eq(collect(hub).logs_deleted, 2);
    cr_expect_eq(count_in(hub, "logs", "{}"), 2);
}

HUB_TEST(gc, tombstones_outlive_every_roll_forward)
{
    int64_t next;
    bson_t *tombstone = json("{'_id': 'm', 'project': 'default', 'task': 't', 'deleted': true}");
    struct task_sweeper *sweeper = task_sweeper_new(60000);
    GOOD(store_insert(hub_store(hub), "models", tombstone, error));
    make_task(hub, "{'_id': 't', 'name': 'a'}");
    GOOD(task_sweeper_round(sweeper, hub, &next, error));
    poke(hub, "tasks", "{}", "{'$set': {'state': 'done', 'published': false}}");
    cr_expect_eq(collect(hub).tombstones_removed, 0);
    GOOD(task_sweeper_round(sweeper, hub, &next, error)); /* publishes */
    cr_expect_eq(collect(hub).tombstones_removed, 0, "seen for the first time");
    cr_expect_eq(collect(hub).tombstones_removed, 0, "no round has passed");
    GOOD(task_sweeper_round(sweeper, hub, &next, error));
    GOOD(task_sweeper_round(sweeper, hub, &next, error));
    cr_expect_eq(collect(hub).tombstones_removed, 1);
    cr_expect_eq(count_in(hub, "models", "{}"), 0);
    task_sweeper_free(sweeper);
    bson_destroy(tombstone);
}
