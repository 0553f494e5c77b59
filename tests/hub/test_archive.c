/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: what comes out is what went in, on either engine, also of a hub in use and into one that holds something. */
#include "archive_files.h"

TEST_USES_SERVER;

static void copy_to(struct hub *hub, bool server)
{
    char *uri;
    struct archive_summary out, there;
    FILE *file = exported(hub, NULL, false, &out);
    struct hub *copy = new_hub(server, &uri);
    struct archive_import_report report = imported(copy, file, NULL, NULL);
    cr_expect_eq(report.refused, 0);
    cr_expect_eq(report.same, 1, "the default project");
    cr_expect_eq(report.inserted + report.same, out.documents);
    cr_expect_eq(report.blobs_written, out.blobs);
    cr_expect(report.digest_checked);
    GOOD(archive_digest(copy, NULL, &there, error));
    cr_expect_str_eq(there.digest, out.digest);
    expect_same_hub(hub, copy);
    cr_expect_eq(count_in(copy, "uploads", "{}"), 0);
    expect_sound(copy);
    /* Once more: nothing to do. And on from there: the same file again. */
    report = imported(copy, file, NULL, NULL);
    cr_expect_eq(report.inserted + report.refused, 0);
    cr_expect_eq(report.same, out.documents);
    cr_expect_eq(report.blobs_written, 0);
    FILE *second = exported(copy, NULL, false, &there);
    cr_expect_str_eq(there.digest, out.digest);
    fclose(second);
    fclose(file);
    hub_close(copy);
    bson_free(uri);
}

HUB_TEST(archive, into_sqlite_and_nothing_is_lost)
{
    fill_hub(hub);
    copy_to(hub, false);
}

HUB_TEST(archive, into_mongodb_and_nothing_is_lost)
{
    test_server_need();
    fill_hub(hub);
    copy_to(hub, true);
}

/* Tasks keep their lanes, so the copy has as many; a hub with tasks in fewer refuses. */
HUB_TEST(archive, of_a_hub_with_lanes)
{
    struct archive_import_options options = {.name = "a"};
    struct archive_import_report report;
    struct archive_summary out;
    char *path = test_path(".db"), *other_uri = bson_strdup_printf("sqlite:%s", path);
    cr_assert_eq(GOOD(hub_set_lanes(hub, 5, error)), 1);
    for (int i = 0; i < 20; i++) {
        bson_t *fields = json("{'_id': 'task-%d', 'name': 'a'}", i);
        GOOD(task_create(hub, fields, NULL, error));
        bson_destroy(fields);
    }
    FILE *file = exported(hub, NULL, false, &out);
    struct hub *copy = made_hub(other_uri);
    cr_expect_eq(GOOD(archive_import(copy, file, &options, &report, error)), 1);
    cr_expect(report.digest_checked);
    cr_expect_eq(hub_lanes(copy), 5);
    hub_close(copy);
    unlink(path);
    copy = made_hub(other_uri);
    bson_t *fields = json("{'name': 'b'}");
    GOOD(task_create(copy, fields, NULL, error));
    bson_destroy(fields);
    rewind(file);
    cr_expect_eq(archive_import(copy, file, &options, &report, error), -1);
    cr_expect(strstr(error->message, "5 lanes"), "%s", error->message);
    fclose(file);
    hub_close(copy);
    bson_free(other_uri);
    free(path);
}

HUB_TEST(archive, an_empty_hub_too)
{
    char *copied;
    FILE *file = exported(hub, NULL, false, NULL);
    struct hub *copy = new_hub(false, &copied);
    struct archive_import_report report = imported(copy, file, NULL, NULL);
    cr_expect_eq(report.inserted, 0);
    cr_expect(report.digest_checked);
    fclose(file);
    hub_close(copy);
    bson_free(copied);
}

/* ---- a hub in use ---- */

HUB_TEST(archive, running_tasks_are_refused_or_go_in_as_ready)
{
    struct archive_summary summary;
    struct archive_export_options options = {.live = false};
    struct task_fence fence, asked;
    char *copied;
    bson_t *point = json("{'epoch': 1, 'loss': 2}"), task;
    make_task(hub, "{'name': 'runs', 'priority': 2}");
    make_task(hub, "{'name': 'asked', 'priority': 1}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(claim(hub, NULL, &asked), 1);
    GOOD(task_started(hub, &fence, error));
    poke(hub, "tasks", "{'name': 'runs'}", "{'$set': {'crashes': 2, 'progress': {'epoch': 3}}}");
    bson_t *which = json("{'name': 'asked'}");
    GOOD(task_cancel(hub, which, "enough", error));
    bson_destroy(which);
    struct logs *logs = logs_new(&fence, 1, "epoch");
    GOOD(logs_add(logs, "train", point, error));
    GOOD(logs_flush(logs, hub, error));
    logs_free(logs);
    bson_destroy(point);
    FILE *file = tmpfile();
    cr_assert_eq(archive_export(hub, file, &options, &summary, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_CONFLICT);
    cr_expect(strstr(error->message, "2 tasks are running") != NULL, "%s", error->message);
    fclose(file);
    file = exported(hub, NULL, true, &summary);
    struct hub *copy = new_hub(false, &copied);
    imported(copy, file, NULL, NULL);
    read_one(copy, "tasks", "{'name': 'runs'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "ready");
    cr_expect_eq(number_of(&task, "crashes"), 2);
    cr_expect_eq(number_of(&task, "claims"), 1);
    cr_expect_not(has(&task, "claim") || has(&task, "progress") || has(&task, "beat_at") || has(&task, "claimed_at"));
    bson_destroy(&task);
    expect_state(copy, "{'name': 'asked'}", "cancelled");
    cr_expect_eq(count_in(copy, "logs", "{}"), 0, "the claim is not there, so its logs are not");
    expect_sound(copy);
    cr_expect_eq(claim(copy, NULL, &asked), 1, "it can be claimed");
    fclose(file);
    hub_close(copy);
    bson_free(copied);
}

struct meddling {
    const char *uri, *collection, *filter;
    bool blobs; /* its blobs, too */
    int notes;
    char note[300];
    bool done;
};

static void delete_meanwhile(void *data, const struct archive_progress *progress)
{
    struct meddling *meddling = data;
    if (meddling->done || progress->documents == 0) {
        return;
    }
    meddling->done = true;
    struct hub *hub = hub_open(meddling->uri, NULL, HUB_OPEN_EXISTING, NULL);
    bson_t *filter = json("%s", meddling->filter), document, files = BSON_INITIALIZER, chunks = BSON_INITIALIZER;
    bson_iter_t iter;
    GOOD(store_find_one(hub_store(hub), meddling->collection, filter, NULL, &document, error));
    cr_assert(bson_iter_init_find(&iter, &document, "blob_id"));
    BSON_APPEND_OID(&files, "_id", bson_iter_oid(&iter));
    BSON_APPEND_OID(&chunks, "files_id", bson_iter_oid(&iter));
    if (!meddling->blobs) {
        GOOD(store_delete(hub_store(hub), meddling->collection, filter, error));
    }
    GOOD(store_delete(hub_store(hub), "blobs.files", &files, error));
    GOOD(store_delete(hub_store(hub), "blobs.chunks", &chunks, error));
    bson_destroy(&chunks);
    bson_destroy(&files);
    bson_destroy(&document);
    bson_destroy(filter);
    hub_close(hub);
}

static void keep_note(void *data, const char *text)
{
    struct meddling *meddling = data;
    meddling->notes++;
    snprintf(meddling->note, sizeof meddling->note, "%s", text);
}

HUB_TEST(archive, what_is_deleted_meanwhile_is_left_out)
{
    struct meddling meddling = {.uri = uri, .collection = "models", .filter = "{'name': 'by hand'}"};
    struct archive_export_options options = {.progress = delete_meanwhile, .note = keep_note, .data = &meddling};
    struct archive_summary summary;
    char *copied;
    fill_hub(hub);
    FILE *file = tmpfile();
    GOOD(archive_export(hub, file, &options, &summary, error));
    cr_expect(meddling.done);
    struct hub *copy = new_hub(false, &copied);
    imported(copy, file, NULL, NULL);
    cr_expect_eq(count_in(copy, "models", "{'name': 'by hand'}"), 0);
    cr_expect_eq(count_in(copy, "models", "{'name': 'small weights'}"), 1);
    expect_sound(copy);
    fclose(file);
    hub_close(copy);
    bson_free(copied);
}

/* As the user does it, and gc after that. */
static void delete_model_meanwhile(void *data, const struct archive_progress *progress)
{
    struct meddling *meddling = data;
    struct gc_report collected;
    if (meddling->done || progress->documents == 0) {
        return;
    }
    meddling->done = true;
    struct hub *hub = hub_open(meddling->uri, NULL, HUB_OPEN_EXISTING, NULL);
    bson_t *filter = json("%s", meddling->filter);
    cr_assert_eq(GOOD(model_delete(hub, filter, error)), 1);
    cr_assert_eq(GOOD(gc_run(hub, 100, false, &collected, error)), 1);
    cr_assert_eq(collected.blobs_deleted, 1);
    bson_destroy(filter);
    hub_close(hub);
}

HUB_TEST(archive, a_task_whose_model_is_deleted_meanwhile_goes_in_without_it)
{
    struct meddling meddling = {.uri = uri, .collection = "models", .filter = "{'name': 'three chunks'}"};
    struct archive_export_options options = {
        .live = true, .progress = delete_model_meanwhile, .note = keep_note, .data = &meddling};
    struct archive_summary summary;
    bson_t model, task;
    char *copied, *filter;
    fill_hub(hub);
    read_one(hub, "models", meddling.filter, &model);
    filter = bson_strdup_printf("{'_id': '%s'}", text_of(&model, "task"));
    bson_destroy(&model);
    FILE *file = tmpfile();
    GOOD(archive_export(hub, file, &options, &summary, error));
    cr_expect(meddling.done);
    cr_expect_eq(meddling.notes, 1, "%s", meddling.note);
    struct hub *copy = new_hub(false, &copied);
    struct archive_import_report report = imported(copy, file, NULL, NULL);
    cr_expect(report.digest_checked);
    read_one(copy, "tasks", filter, &task);
    cr_expect_str_eq(text_of(&task, "state"), "done");
    cr_expect(has(&task, "result.metrics") && has(&task, "result.deleted"));
    cr_expect_not(has(&task, "result.blob_id"));
    cr_expect_eq(count_in(copy, "models", "{'name': 'three chunks'}"), 0);
    expect_sound(copy);
    bson_destroy(&task);
    fclose(file);
    hub_close(copy);
    bson_free(filter);
    bson_free(copied);
}

HUB_TEST(archive, a_damaged_blob_ends_the_export_or_is_left_out)
{
    struct meddling meddling = {.uri = uri, .collection = "models", .filter = "{'name': 'by hand'}", .blobs = true};
    struct archive_export_options options = {.progress = delete_meanwhile, .note = keep_note, .data = &meddling};
    struct archive_summary summary;
    char *copied;
    fill_hub(hub);
    FILE *file = tmpfile();
    cr_assert_eq(archive_export(hub, file, &options, &summary, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_CORRUPT);
    cr_expect(strstr(error->message, "fsck") != NULL, "%s", error->message);
    fclose(file);
    /* One that is cut off in the middle: its frames are in the file already. */
    bson_t model, *chunk = NULL;
    bson_iter_t iter;
    read_one(hub, "models", "{'name': 'large weights'}", &model);
    cr_assert(bson_iter_init_find(&iter, &model, "blob_id"));
    chunk = bson_new();
    BSON_APPEND_OID(chunk, "files_id", bson_iter_oid(&iter));
    BSON_APPEND_INT32(chunk, "n", 30);
    cr_assert_eq(GOOD(store_delete(hub_store(hub), "blobs.chunks", chunk, error)), 1);
    bson_destroy(chunk);
    bson_destroy(&model);
    options.skip_damaged = true;
    options.progress = NULL;
    meddling.notes = 0;
    file = tmpfile();
    GOOD(archive_export(hub, file, &options, &summary, error));
    cr_expect_eq(meddling.notes, 3, "two models and the large one's task: %s", meddling.note);
    struct hub *copy = new_hub(false, &copied);
    imported(copy, file, NULL, NULL);
    cr_expect_eq(count_in(copy, "models", "{'name': {'$in': ['large weights', 'by hand']}}"), 0);
    expect_sound(copy);
    fclose(file);
    hub_close(copy);
    bson_free(copied);
}

/* ---- into a hub that holds something ---- */

HUB_TEST(archive, what_differs_is_left_as_it_is)
{
    char *uri_of_copy;
    fill_hub(hub);
    FILE *file = exported(hub, NULL, false, NULL);
    struct hub *copy = new_hub(false, &uri_of_copy);
    imported(copy, file, NULL, NULL);
    poke(copy, "models", "{'name': 'by hand'}", "{'$set': {'description': 'mine'}}");
    bson_t *gone = json("{'name': 'free'}");
    GOOD(store_delete(hub_store(copy), "logs", gone, error));
    bson_destroy(gone);
    struct archive_import_report report = imported(copy, file, NULL, NULL);
    cr_expect_eq(report.refused, 1);
    cr_expect_eq(report.inserted, 1, "the log");
    cr_expect_not(report.digest_checked);
    cr_expect_eq(count_in(copy, "models", "{'description': 'mine'}"), 1);
    fclose(file);
    hub_close(copy);
    bson_free(uri_of_copy);
}

static int64_t seq_of(struct hub *hub, const char *filter)
{
    bson_t task;
    read_one(hub, "tasks", filter, &task);
    int64_t seq = number_of(&task, "seq");
    bson_destroy(&task);
    return seq;
}

HUB_TEST(archive, task_numbers_keep_their_order_and_move_up)
{
    char *source_uri;
    struct hub *source = new_hub(false, &source_uri);
    make_task(source, "{'_id': 'a1', 'name': 'first'}");
    finish_task(source, "model of 2", 100);
    make_task(source, "{'_id': 'a3', 'name': 'third'}");
    for (int i = 0; i < 5; i++) {
        make_task(hub, "{'name': 'own'}");
    }
    FILE *file = exported(source, NULL, false, NULL);
    struct archive_import_report report = imported(hub, file, NULL, NULL);
    cr_expect_eq(report.refused, 0);
    cr_expect_eq(seq_of(hub, "{'_id': 'a1'}"), 6);
    cr_expect_eq(seq_of(hub, "{'_id': 'a3'}"), 8);
    cr_expect_eq(count_in(hub, "models", "{'name': 'model of 2', 'task_seq': 7}"), 1);
    report = imported(hub, file, NULL, NULL);
    cr_expect_eq(report.inserted + report.refused, 0, "they are found where they are");
    fclose(file);
    /* Both go on; a later archive of the same hub finds its tasks and adds to them. */
    make_task(hub, "{'_id': 'own9', 'name': 'own'}");
    make_task(source, "{'_id': 'a4', 'name': 'fourth'}");
    file = exported(source, NULL, false, NULL);
    report = imported(hub, file, NULL, NULL);
    cr_expect_eq(report.inserted, 1);
    cr_expect_eq(report.refused, 0);
    cr_expect_eq(seq_of(hub, "{'_id': 'own9'}"), 9);
    cr_expect_eq(seq_of(hub, "{'_id': 'a4'}"), 10);
    make_task(hub, "{'_id': 'own11', 'name': 'own'}");
    cr_expect_eq(seq_of(hub, "{'_id': 'own11'}"), 11);
    expect_sound(hub);
    fclose(file);
    hub_close(source);
    bson_free(source_uri);
}

HUB_TEST(archive, restored_into_its_own_hub_numbers_stay)
{
    bson_t *all = json("{'_id': 'gone'}");
    make_task(hub, "{'_id': 'stays', 'name': 'a'}");
    make_task(hub, "{'_id': 'gone', 'name': 'b'}");
    FILE *file = exported(hub, NULL, false, NULL);
    cr_assert_eq(GOOD(task_delete(hub, all, error)), 1);
    struct archive_import_report report = imported(hub, file, NULL, NULL);
    cr_expect_eq(report.inserted, 1);
    cr_expect_eq(report.refused, 0);
    cr_expect_eq(seq_of(hub, "{'_id': 'gone'}"), 2);
    fclose(file);
    bson_destroy(all);
}

HUB_TEST(archive, one_project_and_another_name)
{
    char *copied;
    struct archive_import_options options = {.name = "file", .rename = "other"};
    struct archive_import_report report;
    GOOD(hub_init(uri, "second", error));
    struct hub *second = hub_open(uri, "second", HUB_OPEN_EXISTING, error);
    cr_assert_not_null(second, "%s", error->message);
    finish_task(hub, "of default", 500);
    finish_task(second, "of second", 500);
    save_dataset(second, "data", "x");
    FILE *file = exported(hub, NULL, false, NULL);
    struct hub *copy = new_hub(false, &copied);
    rewind(file);
    cr_expect_eq(archive_import(copy, file, &options, &report, error), -1, "which one is to be called so?");
    cr_expect_eq(hub_error_code(error), HUB_ERROR_INVALID);
    options.project = "nowhere";
    rewind(file);
    cr_expect_eq(archive_import(copy, file, &options, &report, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_NOT_FOUND);
    options.rename = "no name";
    options.project = "second";
    rewind(file);
    cr_expect_eq(archive_import(copy, file, &options, &report, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_INVALID);
    imported(copy, file, "second", "other");
    cr_expect_eq(count_in(copy, "models", "{}"), 1);
    cr_expect_eq(count_in(copy, "models", "{'project': 'other', 'name': 'of second'}"), 1);
    cr_expect_eq(count_in(copy, "tasks", "{'project': 'other'}"), 1);
    cr_expect_eq(count_in(copy, "projects", "{'_id': 'other', 'project': 'other'}"), 1);
    cr_expect_eq(count_in(copy, "blobs.files", "{}"), 3);
    cr_expect_eq(count_in(copy, "blobs.files", "{'metadata.project': 'other'}"), 3);
    cr_expect_eq(count_in(copy, "counters", "{'_id': 'dataset:other:data'}"), 1);
    expect_sound(copy);
    fclose(file);
    file = exported(hub, "second", false, NULL);
    struct archive_import_report all = imported(copy, file, NULL, NULL);
    cr_expect_gt(all.refused, 0, "the same ids under another project");
    fclose(file);
    hub_close(second);
    hub_close(copy);
    bson_free(copied);
}
