/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: what comes out is what went in, on either engine; what is damaged, foreign or killed does no harm. */
#include "whole_hub.h"

#include "hub/archive_impl.h"

#include <pthread.h>

TEST_USES_SERVER;

static FILE *exported(struct hub *hub, const char *project, bool live, struct archive_summary *summary)
{
    struct archive_summary unused;
    struct archive_export_options options = {.project = project, .live = live};
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    cr_assert_eq(GOOD(archive_export(hub, file, &options, summary != NULL ? summary : &unused, error)), 1);
    rewind(file);
    return file;
}

static struct archive_import_report imported(struct hub *hub, FILE *file, const char *project, const char *rename)
{
    struct archive_import_options options = {.project = project, .rename = rename, .name = "file"};
    struct archive_import_report report;
    rewind(file);
    cr_assert_eq(GOOD(archive_import(hub, file, &options, &report, error)), 1);
    return report;
}

/* An empty hub on SQLite, or on the server. */
static struct hub *new_hub(bool server, char **uri)
{
    if (server) {
        *uri = test_server_database(NULL);
    } else {
        char *path = test_path(".db");
        *uri = bson_strdup_printf("sqlite:%s", path);
        free(path);
    }
    return made_hub(*uri);
}

/* Byte for byte, but for claims and the time at which the default project was made. */
static void expect_equal(struct hub *a, struct hub *b, const char *collection)
{
    struct archive_scan *x = archive_scan_open(hub_store(a), collection, NULL);
    struct archive_scan *y = archive_scan_open(hub_store(b), collection, NULL);
    const bson_t *mine, *theirs;
    int more = 1, count = 0;
    while (more > 0) {
        more = (int)GOOD(archive_scan_next(x, &mine, error));
        cr_assert_eq(GOOD(archive_scan_next(y, &theirs, error)), more, "%s: not the same number of documents", collection);
        if (more > 0) {
            bson_t p, q;
            archive_normalize(collection, mine, &p);
            archive_normalize(collection, theirs, &q);
            if (strcmp(collection, "projects") == 0) {
                bson_t without = BSON_INITIALIZER;
                bson_copy_to_excluding_noinit(&p, &without, "created_at", NULL);
                bson_destroy(&p);
                bson_steal(&p, &without);
                bson_init(&without);
                bson_copy_to_excluding_noinit(&q, &without, "created_at", NULL);
                bson_destroy(&q);
                bson_steal(&q, &without);
            }
            char *left = bson_as_canonical_extended_json(&p, NULL), *right = bson_as_canonical_extended_json(&q, NULL);
            cr_expect(bson_equal(&p, &q), "%s:\n%.600s\n%.600s", collection, left, right);
            bson_free(left);
            bson_free(right);
            bson_destroy(&p);
            bson_destroy(&q);
            count++;
        }
    }
    cr_expect_gt(count, 0, "%s is empty: nothing is compared", collection);
    archive_scan_close(x);
    archive_scan_close(y);
}

static void expect_same_hub(struct hub *a, struct hub *b)
{
    static const char *const all[] = {"projects", "architectures", "sweeps",      "datasets",    "models",
                                      "logs",     "tasks",         "blobs.files", "blobs.chunks", "counters"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        expect_equal(a, b, all[i]);
    }
}

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

/* ---- announced, and no more after ---- */

struct watching {
    struct hub *hub;
    int64_t looks;
};

/* Chunks whose blob is not there yet are announced, whenever one looks. */
static void look_for_chunks(void *data, const struct archive_progress *progress)
{
    struct watching *watching = data;
    const bson_t *chunk;
    (void)progress;
    bson_t *projection = json("{'files_id': 1}");
    struct store_find_options options = {.projection = projection};
    struct store_cursor *cursor = store_find(hub_store(watching->hub), "blobs.chunks", NULL, &options, error);
    while (store_cursor_next(cursor, &chunk, error) > 0) {
        bson_t filter = BSON_INITIALIZER;
        bson_iter_t iter;
        cr_assert(bson_iter_init_find(&iter, chunk, "files_id"));
        bson_append_iter(&filter, "_id", 3, &iter);
        if (GOOD(store_count(hub_store(watching->hub), "blobs.files", &filter, error)) == 0) {
            watching->looks++;
            cr_expect_eq(GOOD(store_count(hub_store(watching->hub), "uploads", &filter, error)), 1);
        }
        bson_destroy(&filter);
    }
    store_cursor_close(cursor);
    bson_destroy(projection);
}

/* Every pointer of what is visible leads to a blob. */
static void expect_no_dangling(struct hub *hub)
{
    static const char *const owners[] = {"models", "datasets", "tasks"};
    for (size_t i = 0; i < 3; i++) {
        struct archive_scan *scan = archive_scan_open(hub_store(hub), owners[i], NULL);
        const bson_t *document;
        while (GOOD(archive_scan_next(scan, &document, error)) > 0) {
            bson_oid_t *list;
            size_t count = archive_pointers(owners[i], document, &list);
            for (size_t j = 0; j < count; j++) {
                struct blob_reader *reader = blob_reader_open(hub_store(hub), &list[j], error);
                cr_expect_not_null(reader, "%s: %s", owners[i], error->message);
                blob_reader_close(reader);
            }
            bson_free(list);
        }
        archive_scan_close(scan);
    }
}

HUB_TEST(archive, blobs_are_announced_before_their_first_chunk)
{
    char *source_uri;
    struct watching watching = {.hub = hub};
    struct archive_import_options options = {.name = "file", .progress = look_for_chunks, .data = &watching};
    struct archive_import_report report;
    struct hub *source = new_hub(false, &source_uri);
    fill_hub(source);
    FILE *file = exported(source, NULL, false, NULL);
    GOOD(archive_import(hub, file, &options, &report, error));
    cr_expect_gt(watching.looks, 0, "no blob was ever unfinished: the test sees nothing");
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    fclose(file);
    hub_close(source);
    bson_free(source_uri);
}

/* The first bytes of a file as a file of their own. */
static FILE *cut(FILE *file, long length)
{
    FILE *part = tmpfile();
    char *buffer = bson_malloc((size_t)length + 1);
    rewind(file);
    cr_assert_eq(fread(buffer, 1, (size_t)length, file), (size_t)length);
    cr_assert_eq(fwrite(buffer, 1, (size_t)length, part), (size_t)length);
    bson_free(buffer);
    rewind(part);
    return part;
}

static long size_of(FILE *file)
{
    fseek(file, 0, SEEK_END);
    return ftell(file);
}

HUB_TEST(archive, an_import_that_was_cut_off_is_finished_by_the_next)
{
    char *source_uri;
    struct archive_import_options options = {.name = "pipe"};
    struct archive_import_report report;
    struct archive_summary summary, there;
    struct gc_report collected;
    struct hub *source = new_hub(false, &source_uri);
    fill_hub(source);
    FILE *file = exported(source, NULL, false, &summary);
    long size = size_of(file);
    /* Within the large blob, after it, and short of the end. */
    for (int i = 2; i <= 9; i++) {
        FILE *part = cut(file, size / 10 * i);
        cr_assert_eq(archive_import(hub, part, &options, &report, error), -1);
        cr_expect_eq(hub_error_code(error), HUB_ERROR_CORRUPT);
        cr_expect(strstr(error->message, "ends early") != NULL, "%s", error->message);
        expect_no_dangling(hub);
        fclose(part);
        if (i == 5) {
            GOOD(gc_run(hub, 200, false, &collected, error)); /* what it had begun is left behind, and goes */
            expect_no_dangling(hub);
        }
    }
    report = imported(hub, file, NULL, NULL);
    cr_expect_eq(report.refused, 0);
    cr_expect(report.digest_checked);
    GOOD(archive_digest(hub, NULL, &there, error));
    cr_expect_str_eq(there.digest, summary.digest);
    expect_same_hub(source, hub);
    expect_sound(hub);
    fclose(file);
    hub_close(source);
    bson_free(source_uri);
}

/* ---- two imports of one archive ---- */

struct second_import {
    FILE *file;
    const char *uri, *project;
    int64_t announced_before, announced_after; /* by the first one */
    bool done;
};

static void import_beside(void *data, const struct archive_progress *progress)
{
    struct second_import *second = data;
    struct archive_import_options options = {.project = second->project, .name = "second"};
    struct archive_import_report report;
    (void)progress;
    struct hub *hub = second->done ? NULL : hub_open(second->uri, NULL, HUB_OPEN_EXISTING, NULL);
    if (hub == NULL) {
        return;
    }
    second->announced_before = count_in(hub, "uploads", "{}");
    if (second->announced_before > 0) { /* in the middle of a blob */
        second->done = true;
        GOOD(archive_import(hub, second->file, &options, &report, error));
        cr_expect_eq(report.refused, 0);
        second->announced_after = count_in(hub, "uploads", "{}");
    }
    hub_close(hub);
}

/* The same archive through a second file. */
static FILE *again(FILE *file)
{
    FILE *second = cut(file, size_of(file));
    rewind(file);
    return second;
}

HUB_TEST(archive, an_import_beside_another_of_the_same_archive)
{
    char *source_uri;
    struct archive_import_report report;
    struct hub *source = new_hub(false, &source_uri);
    fill_hub(source);
    FILE *file = exported(source, NULL, false, NULL);
    struct second_import second = {.file = again(file), .uri = uri};
    struct archive_import_options options = {.name = "first", .progress = import_beside, .data = &second};
    cr_expect_eq(archive_import(hub, file, &options, &report, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_CONFLICT);
    cr_expect_not_null(strstr(error->message, "another import"), "%s", error->message);
    cr_assert(second.done);
    expect_sound(hub);
    report = imported(hub, file, NULL, NULL);
    cr_expect(report.digest_checked && report.inserted == 0);
    expect_same_hub(source, hub);
    fclose(second.file);
    fclose(file);
    hub_close(source);
    bson_free(source_uri);
}

HUB_TEST(archive, two_projects_of_one_archive_at_the_same_time)
{
    char *source_uri;
    struct archive_import_report report;
    struct hub *source = new_hub(false, &source_uri);
    fill_hub(source);
    GOOD(hub_init(source_uri, "second", error));
    struct hub *other = hub_open(source_uri, "second", HUB_OPEN_EXISTING, NULL);
    finish_task(other, "of second", 9 << 20);
    FILE *file = exported(source, NULL, false, NULL);
    struct second_import second = {.file = again(file), .uri = uri, .project = "second"};
    struct archive_import_options options = {
        .project = "default", .name = "first", .progress = import_beside, .data = &second};
    GOOD(archive_import(hub, file, &options, &report, error));
    cr_assert(second.done);
    cr_expect_eq(second.announced_after, second.announced_before, "what the first one has announced is its own");
    cr_expect_eq(report.refused, 0);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    expect_same_hub(source, hub);
    expect_sound(hub);
    fclose(second.file);
    fclose(file);
    hub_close(other);
    hub_close(source);
    bson_free(source_uri);
}

struct racing {
    FILE *file;
    const char *uri;
    int result;
    struct archive_import_report report;
    bson_error_t error;
};

static void *race(void *data)
{
    struct racing *racing = data;
    struct archive_import_options options = {.name = "race"};
    struct hub *hub = hub_open(racing->uri, NULL, HUB_OPEN_EXISTING, &racing->error);
    racing->result = hub != NULL ? archive_import(hub, racing->file, &options, &racing->report, &racing->error) : -1;
    hub_close(hub);
    return NULL;
}

/* Whoever of them ends, ends well, and the tasks have one number each. */
HUB_TEST(archive, imports_that_race)
{
    enum { RACERS = 4 };
    char *source_uri;
    struct racing racers[RACERS] = {{.file = NULL}};
    pthread_t threads[RACERS];
    struct hub *source = new_hub(false, &source_uri);
    fill_hub(source);
    make_task(hub, "{'name': 'mine'}");
    FILE *file = exported(source, NULL, false, NULL);
    for (int i = 0; i < RACERS; i++) {
        racers[i].file = again(file);
        racers[i].uri = uri;
        cr_assert_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        if (racers[i].result < 0) {
            cr_expect_eq(hub_error_code(&racers[i].error), HUB_ERROR_CONFLICT, "%s", racers[i].error.message);
        }
        cr_expect_eq(racers[i].report.refused, 0);
        fclose(racers[i].file);
    }
    struct archive_import_report report = imported(hub, file, NULL, NULL);
    cr_expect_eq(report.refused, 0);
    expect_no_dangling(hub);
    expect_equal(source, hub, "blobs.files");
    static const char *const names[] = {"small weights", "three chunks", "large weights"};
    for (size_t i = 0; i < 3; i++) {
        bson_t model, task;
        char *by_name = bson_strdup_printf("{'name': '%s'}", names[i]);
        read_one(hub, "models", by_name, &model);
        char *by_id = bson_strdup_printf("{'_id': '%s'}", text_of(&model, "task"));
        read_one(hub, "tasks", by_id, &task);
        cr_expect_eq(number_of(&model, "task_seq"), number_of(&task, "seq"), "%s", names[i]);
        bson_destroy(&task);
        bson_destroy(&model);
        bson_free(by_id);
        bson_free(by_name);
    }
    fclose(file);
    hub_close(source);
    bson_free(source_uri);
}

static void write_archive(FILE *file, const char *const *frames);

/* What stands in the hub of a blob that the archive takes back: with a files document it is the hub's; else rubbish. */
HUB_TEST(archive, a_blob_that_the_archive_drops)
{
    static const char *const frames[] = {
        "H{'format': 1, 'archive_id': 'ab', 'hub_id': 'cd', 'schema_version': 1}", "N{'project': 'p', 'last': 3}", "S{}",
        "C{'collection': 'models'}",
        "B{'project': 'p', 'file': {'_id': {'$oid': '0123456789abcdef01234567'}, 'length': 600000, 'chunkSize': 300000}}",
        "K{'_id': 1, 'files_id': {'$oid': '0123456789abcdef01234567'}, 'n': 0}",
        "x{'_id': {'$oid': '0123456789abcdef01234567'}}", "S{}", "T{'counts': {}, 'documents': 0, 'digest': ''}", "S{}", NULL};
    bson_t *chunk = json("{'_id': 1, 'files_id': {'$oid': '0123456789abcdef01234567'}, 'n': 0}"),
           *files = json("{'_id': {'$oid': '0123456789abcdef01234567'}, 'length': 600000, 'chunkSize': 300000}");
    struct archive_import_options options = {.name = "made"};
    struct archive_import_report report;
    for (int i = 0; i < 2; i++) {
        FILE *file = tmpfile();
        write_archive(file, frames);
        GOOD(store_insert(hub_store(hub), "blobs.chunks", chunk, error));
        if (i == 1) {
            GOOD(store_insert(hub_store(hub), "blobs.files", files, error));
        }
        GOOD(archive_import(hub, file, &options, &report, error));
        cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), i, "chunks %s a files document", i == 1 ? "with" : "without");
        cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
        fclose(file);
    }
    bson_destroy(files);
    bson_destroy(chunk);
}

HUB_TEST(archive, a_chunk_that_is_missing_is_put_back)
{
    char *copied;
    fill_hub(hub);
    FILE *file = exported(hub, NULL, false, NULL);
    struct hub *copy = new_hub(false, &copied);
    imported(copy, file, NULL, NULL);
    bson_t *chunk = json("{'n': 1}");
    cr_assert_gt(GOOD(store_delete(hub_store(copy), "blobs.chunks", chunk, error)), 0);
    imported(copy, file, NULL, NULL);
    expect_same_hub(hub, copy);
    bson_destroy(chunk);
    fclose(file);
    hub_close(copy);
    bson_free(copied);
}

/* ---- files that are no good ---- */

static void expect_refused(struct hub *hub, FILE *file, enum hub_error_code code, const char *word)
{
    struct archive_import_options options = {.name = "bad.file"};
    struct archive_import_report report;
    struct archive_summary summary;
    rewind(file);
    cr_expect_eq(archive_check(file, "bad.file", &summary, error), -1);
    rewind(file);
    cr_expect_eq(archive_import(hub, file, &options, &report, error), -1);
    cr_expect_eq(hub_error_code(error), code, "%s", error->message);
    cr_expect(strstr(error->message, word) != NULL && strstr(error->message, "bad.file") != NULL, "%s", error->message);
    fclose(file);
}

Test(archive, foreign_and_newer_files)
{
    char *uri;
    struct hub *hub = new_hub(false, &uri);
    FILE *file = tmpfile();
    expect_refused(hub, file, HUB_ERROR_VERSION, "not an archive");
    file = tmpfile();
    for (int i = 0; i < 1000; i++) {
        fputs("SQLite format 3", file);
    }
    expect_refused(hub, file, HUB_ERROR_VERSION, "not an archive");
    file = exported(hub, NULL, false, NULL);
    fseek(file, 8, SEEK_SET);
    fputc(2, file);
    expect_refused(hub, file, HUB_ERROR_VERSION, "format 2");
    /* A header of a newer hub. */
    struct archive_writer writer;
    bson_t *header = json("{'format': 1, 'archive_id': 'ab', 'schema_version': 99, 'program_version': '9.9'}");
    file = tmpfile();
    GOOD(archive_writer_open(&writer, file, error));
    GOOD(archive_writer_frame(&writer, ARCHIVE_HEADER, header, error));
    archive_writer_close(&writer);
    expect_refused(hub, file, HUB_ERROR_VERSION, "use tl_hub 9.9");
    bson_destroy(header);
    file = exported(hub, NULL, false, NULL);
    fseek(file, 0, SEEK_END);
    fputc('x', file);
    expect_refused(hub, file, HUB_ERROR_CORRUPT, "more after the end");
    hub_close(hub);
    bson_free(uri);
}

Test(archive, every_cut_and_every_flipped_bit_is_seen)
{
    char *uri, *copied;
    struct hub *hub = new_hub(false, &uri), *copy = new_hub(false, &copied);
    struct archive_import_options options = {.name = "pipe"};
    struct archive_import_report report;
    struct archive_summary summary;
    finish_task(hub, "m", 700);
    save_dataset(hub, "d", "xyz");
    FILE *file = exported(hub, NULL, false, NULL);
    long size = size_of(file);
    for (long at = 0; at < size; at += 37) {
        FILE *part = cut(file, at);
        cr_expect_eq(archive_check(part, "part", &summary, error), -1, "cut at %ld of %ld", at, size);
        fclose(part);
    }
    for (long at = 0; at < size; at += 41) {
        FILE *bad = cut(file, size);
        fseek(bad, at, SEEK_SET);
        int byte = fgetc(bad);
        fseek(bad, at, SEEK_SET);
        fputc(byte ^ (1 << at % 8), bad);
        rewind(bad);
        cr_expect_eq(archive_check(bad, "bad", &summary, error), -1, "bit flipped at %ld of %ld", at, size);
        rewind(bad);
        cr_expect_eq(archive_import(copy, bad, &options, &report, error), -1);
        fclose(bad);
    }
    expect_no_dangling(copy);
    struct findings *findings = bson_malloc0(sizeof *findings);
    run_fsck(copy, false, NULL, findings);
    cr_expect_eq(findings->report.errors, 0, "%s", findings->text[0]);
    bson_free(findings);
    report = imported(copy, file, NULL, NULL);
    cr_expect(report.digest_checked);
    fclose(file);
    hub_close(hub);
    hub_close(copy);
    bson_free(uri);
    bson_free(copied);
}

/* Well-formed and sealed, but not as an export would write it. */
static void write_archive(FILE *file, const char *const *frames)
{
    struct archive_writer writer;
    GOOD(archive_writer_open(&writer, file, error));
    for (; *frames != NULL; frames++) {
        bson_t *document = json("%s", *frames + 1);
        GOOD((*frames)[0] == 'S' ? archive_writer_seal(&writer, error)
                                 : archive_writer_frame(&writer, (enum archive_kind)(*frames)[0], document, error));
        bson_destroy(document);
    }
    archive_writer_close(&writer);
    fflush(file);
    rewind(file);
}

#define HEAD "H{'format': 1, 'archive_id': 'ab', 'hub_id': 'cd', 'schema_version': 1}", "N{'project': 'p', 'last': 3}", "S{}"

HUB_TEST(archive, what_an_export_would_not_write_does_no_harm)
{
    static const char *const lists[][9] = {
        {HEAD, "D{'_id': 'x', 'project': 'p'}", "S{}", NULL},
        {HEAD, "C{'collection': 'uploads'}", "S{}", NULL},
        {HEAD, "N{'project': 'q', 'last': 3}", "S{}", NULL},
        {"H{'format': 1, 'archive_id': 'ab'}", "N{'project': 'p', 'last': 3}", "C{'collection': 'models'}", "S{}", NULL},
        {HEAD, "C{'collection': 'models'}", "K{'files_id': 1}", NULL},
        {HEAD, "C{'collection': 'models'}", "b{'_id': 1}", NULL},
        {HEAD, "C{'collection': 'models'}", "B{'project': 'p', 'file': {'_id': 7}}", NULL},
        {HEAD, "B{'project': 'p', 'file': {'_id': {'$oid': '0123456789abcdef01234567'}, 'length': 3}}", "S{}", NULL},
        {HEAD, "B{'project': 'p', 'file': {'_id': {'$oid': '0123456789abcdef01234567'}, 'length': 3, 'chunkSize': 10}}",
         "K{'files_id': {'$oid': '0123456789abcdef01234567'}, 'n': 4}", NULL},
        {HEAD, "C{'collection': 'tasks'}", "B{'project': 'p', 'file': {'_id': {'$oid': '0123456789abcdef01234567'}, 'length': 3}}",
         "b{'_id': 1}", "S{}", NULL},
        {HEAD, "C{'collection': 'projects'}", "D{'_id': 'other', 'project': 'p'}", "S{}", NULL},
        {"H{'format': 1}", NULL},
        {"H{'format': 1, 'archive_id': '$where'}", NULL},
        {"H{'format': 1, 'archive_id': 'ab'}", "N{'project': 'a b', 'last': 1}", NULL},
        {"H{'format': 1, 'archive_id': 'ab'}", "N{'project': 'p', 'last': -1}", NULL},
        {"N{'project': 'p', 'last': 3}", NULL},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct archive_import_options options = {.name = "made"};
        struct archive_import_report report;
        FILE *file = tmpfile();
        write_archive(file, lists[i]);
        cr_expect_eq(archive_import(hub, file, &options, &report, error), -1, "list %zu", i);
        cr_expect(error->message[0] != '\0');
        fclose(file);
    }
    cr_expect_eq(count_in(hub, "models", "{}") + count_in(hub, "tasks", "{}") + count_in(hub, "blobs.files", "{}"), 0);
    cr_expect_eq(count_in(hub, "projects", "{}"), 1);
}

HUB_TEST(archive, documents_without_their_blobs_and_running_ones_are_put_right)
{
    static const char *const frames[] = {
        HEAD, "C{'collection': 'models'}",
        "D{'_id': 'm', 'project': 'p', 'name': 'm', 'blob_id': {'$oid': '0123456789abcdef01234567'}}",
        "D{'_id': 'n', 'project': 'elsewhere', 'name': 'n'}", "C{'collection': 'tasks'}",
        "D{'_id': 't', 'project': 'p', 'state': 'running', 'claim': {'id': 'x'}, 'seq': 1}",
        "D{'_id': 'bad', 'project': 'p', 'seq': 1, 'result': {'blob_id': [1]}}", "S{}",
        "T{'counts': {}, 'documents': 4, 'digest': ''}", "S{}", NULL};
    struct archive_import_options options = {.name = "made"};
    struct archive_import_report report;
    FILE *file = tmpfile();
    write_archive(file, frames);
    GOOD(archive_import(hub, file, &options, &report, error));
    cr_expect_eq(report.refused, 3);
    cr_expect_eq(report.inserted, 1);
    cr_expect_eq(count_in(hub, "models", "{}"), 0);
    expect_state(hub, "{'_id': 't'}", "ready");
    cr_expect_eq(count_in(hub, "tasks", "{'claim': {'$exists': true}}"), 0);
    fclose(file);
}
