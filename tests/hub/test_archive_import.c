/* SPDX-License-Identifier: Apache-2.0 */
/* Imports: what is cut off, done twice at once, damaged, foreign or made by hand does no harm. */
#include "archive_files.h"

#include <pthread.h>

TEST_USES_SERVER;

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

HUB_TEST(archive_import, blobs_are_announced_before_their_first_chunk)
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

HUB_TEST(archive_import, an_import_that_was_cut_off_is_finished_by_the_next)
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

HUB_TEST(archive_import, an_import_beside_another_of_the_same_archive)
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

HUB_TEST(archive_import, two_projects_of_one_archive_at_the_same_time)
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
HUB_TEST(archive_import, imports_that_race)
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

/* ---- archives made by hand ---- */

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

/* What stands in the hub of a blob that the archive takes back: with a files document it is the hub's; else rubbish. */
HUB_TEST(archive_import, a_blob_that_the_archive_drops)
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

HUB_TEST(archive_import, a_chunk_that_is_missing_is_put_back)
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

Test(archive_import, foreign_and_newer_files)
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

Test(archive_import, every_cut_and_every_flipped_bit_is_seen)
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

#define HEAD "H{'format': 1, 'archive_id': 'ab', 'hub_id': 'cd', 'schema_version': 1}", "N{'project': 'p', 'last': 3}", "S{}"

HUB_TEST(archive_import, what_an_export_would_not_write_does_no_harm)
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

HUB_TEST(archive_import, documents_without_their_blobs_and_running_ones_are_put_right)
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
