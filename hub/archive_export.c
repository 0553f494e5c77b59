/* SPDX-License-Identifier: Apache-2.0 */
/* Export. Tasks are read first and kept aside: whatever they lead to (models, datasets, sweeps, logs) was there by then
 * and is read after them. They are written when all of that is, so that an import shows a runner nothing that is not whole;
 * only logs come after their tasks, for gc takes logs whose task is not there. */
#include "hub/archive_export_impl.h"
#include "hub/task_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void exporter_note(struct exporter *exporter, const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (exporter->options->note == NULL) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    exporter->options->note(exporter->options->data, text);
}

void exporter_tell(struct exporter *exporter)
{
    if (exporter->options->progress != NULL) {
        exporter->options->progress(exporter->options->data, &exporter->progress);
    }
}

/* ---- before ---- */

static int64_t count(struct exporter *exporter, const char *collection, const char *state, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    if (exporter->options->project != NULL) {
        BSON_APPEND_UTF8(&filter, "project", exporter->options->project);
    }
    if (state != NULL) {
        BSON_APPEND_UTF8(&filter, "state", state);
    }
    int64_t result = store_count(hub_store(exporter->hub), collection, &filter, error);
    bson_destroy(&filter);
    return result;
}

static int refuse_running(int64_t running, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_CONFLICT,
                     "%" PRId64 " task%s running: wait for them (tl_hub wait), pause them, or export them as ready with "
                     "--live",
                     running, running == 1 ? " is" : "s are");
}

static int check_quiet(struct exporter *exporter, bson_error_t *error)
{
    int64_t running = exporter->options->live ? 0 : count(exporter, "tasks", "running", error);
    return running < 0 ? -1 : running > 0 ? refuse_running(running, error) : 1;
}

static int write_header(struct exporter *exporter, bson_error_t *error)
{
    bson_t header = BSON_INITIALIZER;
    char id[HUB_ID_SIZE];
    int64_t now;
    int result = -1;
    hub_random_id(id);
    if (hub_now(exporter->hub, &now, error) > 0) {
        BSON_APPEND_INT32(&header, "format", ARCHIVE_FORMAT);
        BSON_APPEND_UTF8(&header, "archive_id", id);
        BSON_APPEND_UTF8(&header, "hub_id", hub_id(exporter->hub));
        BSON_APPEND_INT32(&header, "schema_version", HUB_SCHEMA_VERSION);
        BSON_APPEND_UTF8(&header, "program_version", TL_HUB_VERSION);
        BSON_APPEND_UTF8(&header, "engine", store_engine(hub_store(exporter->hub)));
        if (exporter->options->project != NULL) {
            BSON_APPEND_UTF8(&header, "project", exporter->options->project);
        }
        if (hub_lanes(exporter->hub) > 1) {
            BSON_APPEND_INT32(&header, "lanes", hub_lanes(exporter->hub));
        }
        BSON_APPEND_BOOL(&header, "live", exporter->options->live);
        BSON_APPEND_DATE_TIME(&header, "created_at", now);
        result = archive_writer_frame(&exporter->writer, ARCHIVE_HEADER, &header, error);
    }
    bson_destroy(&header);
    return result;
}

/* ---- the tasks, set aside ---- */

/* Whether the checkpoint goes on from points that this claim logged: then its buckets are not dropped with it. */
static bool is_in_checkpoint(const bson_t *task, const char *claim)
{
    const char *own = hub_text(task, "checkpoint.claim_id");
    bson_t list;
    bson_iter_t iter;
    bool found = own != NULL && strcmp(own, claim) == 0;
    bool more = hub_view(task, "checkpoint.log_claims", &list) && bson_iter_init(&iter, &list);
    while (more && !found && bson_iter_next(&iter)) {
        found = BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), claim) == 0;
    }
    return found;
}

static void remember_task(struct exporter *exporter, const bson_t *task, bool running)
{
    char id[128];
    const char *claim = hub_text(task, "claim.id");
    if (task_document_id(task, id)) {
        archive_set_add(&exporter->tasks, id, strlen(id));
    }
    if (running && claim != NULL && !is_in_checkpoint(task, claim)) {
        archive_set_add(&exporter->claims, claim, strlen(claim));
    }
}

static int spool_task(struct exporter *exporter, const bson_t *task, bson_error_t *error)
{
    const char *state = hub_text(task, "state");
    bool running = state != NULL && strcmp(state, "running") == 0;
    bson_t normal;
    int result = 1;
    if (running && !exporter->options->live) {
        return refuse_running(1, error);
    }
    remember_task(exporter, task, running);
    archive_normalize("tasks", task, &normal);
    if (fwrite(bson_get_data(&normal), 1, normal.len, exporter->spool) != normal.len) {
        result = hub_error(error, errno == ENOSPC ? HUB_ERROR_NO_SPACE : HUB_ERROR_IO,
                           "a temporary file cannot be written (%s): set TMPDIR to a folder with space", strerror(errno));
    }
    bson_destroy(&normal);
    return result;
}

/* An unnamed file where temporary files go. */
static FILE *open_spool(bson_error_t *error)
{
    const char *folder = getenv("TMPDIR");
    char *path = bson_strdup_printf("%s/tl_hub-export-XXXXXX", folder != NULL && *folder != '\0' ? folder : "/tmp");
    int descriptor = mkstemp(path);
    FILE *file = NULL;
    if (descriptor >= 0) {
        remove(path);
        file = fdopen(descriptor, "w+b");
    }
    if (file == NULL) {
        hub_error(error, HUB_ERROR_IO, "no temporary file %s: %s", path, strerror(errno));
    }
    bson_free(path);
    return file;
}

static int spool_tasks(struct exporter *exporter, bson_error_t *error)
{
    const bson_t *task;
    int result;
    exporter->spool = open_spool(error);
    if (exporter->spool == NULL) {
        return -1;
    }
    struct archive_scan *scan = archive_scan_open(hub_store(exporter->hub), "tasks", exporter->options->project);
    while ((result = archive_scan_next(scan, &task, error)) > 0) {
        if (spool_task(exporter, task, error) < 0) {
            result = -1;
            break;
        }
    }
    archive_scan_close(scan);
    return result;
}

/* ---- the highest task number of each project ---- */

static int read_last(struct exporter *exporter, const char *project, int64_t *last, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, document;
    char counter[128];
    snprintf(counter, sizeof counter, "tasks:%.100s", project);
    BSON_APPEND_UTF8(&filter, "_id", counter);
    int result = store_find_one(hub_store(exporter->hub), "counters", &filter, NULL, &document, error);
    *last = hub_number(&document, "value", 0);
    bson_destroy(&document);
    /* Clients of other languages may have numbered beyond the counter. */
    bson_reinit(&filter);
    BSON_APPEND_UTF8(&filter, "project", project);
    BSON_APPEND_INT32(&sort, "seq", -1);
    struct store_find_options options = {.sort = &sort};
    if (result >= 0) {
        result = store_find_one(hub_store(exporter->hub), "tasks", &filter, &options, &document, error);
        int64_t highest = hub_number(&document, "seq", 0);
        *last = highest > *last ? highest : *last;
        bson_destroy(&document);
    }
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

/* Versions of datasets that were deleted do not come again in the copy either. */
static int append_versions(struct exporter *exporter, const char *project, bson_t *frame, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, list, one;
    const bson_t *counter;
    uint32_t count = 0;
    int result = -1;
    char *prefix = bson_strdup_printf("dataset:%s:", project);
    hub_append_prefix(&filter, "_id", prefix);
    struct store_cursor *cursor = store_find(hub_store(exporter->hub), "counters", &filter, NULL, error);
    BSON_APPEND_ARRAY_BEGIN(frame, "datasets", &list);
    while (cursor != NULL && (result = store_cursor_next(cursor, &counter, error)) > 0) {
        const char *id = hub_text(counter, "_id");
        char digits[16];
        const char *key;
        if (id == NULL || strlen(id) <= strlen(prefix)) {
            continue;
        }
        size_t length = bson_uint32_to_string(count++, &key, digits, sizeof digits);
        bson_append_document_begin(&list, key, (int)length, &one);
        BSON_APPEND_UTF8(&one, "name", id + strlen(prefix));
        BSON_APPEND_INT64(&one, "last", hub_number(counter, "value", 0));
        bson_append_document_end(&list, &one);
    }
    bson_append_array_end(frame, &list);
    store_cursor_close(cursor);
    bson_free(prefix);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

static int write_numbers(struct exporter *exporter, bson_error_t *error)
{
    struct archive_scan *scan = archive_scan_open(hub_store(exporter->hub), "projects", exporter->options->project);
    const bson_t *document;
    int result;
    while ((result = archive_scan_next(scan, &document, error)) > 0) {
        bson_t frame = BSON_INITIALIZER;
        const char *project = hub_text(document, "project");
        int64_t last;
        if (project == NULL) {
            continue;
        }
        result = read_last(exporter, project, &last, error);
        BSON_APPEND_UTF8(&frame, "project", project);
        BSON_APPEND_INT64(&frame, "last", last);
        if (result > 0) {
            result = append_versions(exporter, project, &frame, error);
        }
        if (result > 0) {
            result = archive_writer_frame(&exporter->writer, ARCHIVE_NUMBERS, &frame, error);
        }
        bson_destroy(&frame);
        if (result < 0) {
            break;
        }
    }
    archive_scan_close(scan);
    return result;
}

/* ---- documents ---- */

/* Whether the document still points to the blob: 1, 0, -1. *there: whether the hub still has it. */
static int still_points(struct exporter *exporter, const char *collection, const bson_t *document, const bson_oid_t *blob,
                        bool *there, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, now;
    bson_iter_t iter;
    bson_oid_t *list;
    bool points = false;
    if (bson_iter_init_find(&iter, document, "_id")) {
        bson_append_iter(&filter, "_id", 3, &iter);
    }
    int result = store_find_one(hub_store(exporter->hub), collection, &filter, NULL, &now, error);
    size_t found = archive_pointers(collection, &now, &list);
    for (size_t i = 0; i < found; i++) {
        points = points || bson_oid_equal(&list[i], blob);
    }
    bson_free(list);
    bson_destroy(&now);
    bson_destroy(&filter);
    *there = result > 0;
    return result < 0 ? -1 : points;
}

/* A checkpoint, or an epoch that is kept: what a run has on its way. */
static bool is_checkpoint(const bson_t *task, const bson_oid_t *blob)
{
    static const char *const paths[] = {"checkpoint.blob_id", "kept.blob_id"};
    bool is = false;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        bson_iter_t iter, value;
        is = is || (bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, paths[i], &value) &&
                    BSON_ITER_HOLDS_OID(&value) && bson_oid_equal(bson_iter_oid(&value), blob));
    }
    return is;
}

/* What of a task is left behind, where the rest of it goes in. */
enum { WITHOUT_CHECKPOINT = 1, WITHOUT_WEIGHTS = 2 };

/* A task stopped pointing to the blob after it was read: it was claimed, restarted, or its model was deleted. */
static int handle_changed_task(struct exporter *exporter, const char *id, bool checkpoint, unsigned *dropped)
{
    if (!checkpoint) {
        exporter_note(exporter, "tasks %s: its model was deleted meanwhile: it goes in without", id);
    }
    *dropped |= checkpoint ? WITHOUT_CHECKPOINT : WITHOUT_WEIGHTS;
    return 1;
}

/* A blob could not be had. 1 go on without what *dropped says of the task, 0 without the document, -1. */
static int handle_missing(struct exporter *exporter, const char *collection, const bson_t *document,
                          const bson_oid_t *blob, const char *why, unsigned *dropped, bson_error_t *error)
{
    char id[160], oid[25];
    bool there;
    archive_id_text(document, id, sizeof id);
    bson_oid_to_string(blob, oid);
    int points = still_points(exporter, collection, document, blob, &there, error);
    if (points < 0) {
        return -1;
    }
    bool task = strcmp(collection, "tasks") == 0, checkpoint = task && is_checkpoint(document, blob);
    if (points == 0 && task && there) {
        return handle_changed_task(exporter, id, checkpoint, dropped);
    }
    if (points == 0) {
        exporter_note(exporter, "%s %s was deleted meanwhile: left out", collection, id);
        return 0;
    }
    if (!exporter->options->skip_damaged) {
        return hub_error(error, HUB_ERROR_CORRUPT,
                         "%s %s: blob %s: %s; tl_hub fsck says more, and --skip-damaged leaves it out", collection, id, oid,
                         why);
    }
    exporter_note(exporter, "%s %s: blob %s: %s: left out%s", collection, id, oid, why,
                  checkpoint ? " (the checkpoint; the task begins anew)" : "");
    *dropped |= checkpoint ? WITHOUT_CHECKPOINT : 0;
    return checkpoint;
}

/* The document's blobs: 1, with what is to be left out of it in *dropped; 0 leave the document out; -1. */
static int write_blobs(struct exporter *exporter, const char *collection, const bson_t *document, unsigned *dropped,
                       bson_error_t *error)
{
    const char *project = hub_text(document, "project");
    bson_oid_t *blobs;
    char why[200];
    int result = 1;
    size_t found = archive_pointers(collection, document, &blobs);
    for (size_t i = 0; i < found && result > 0; i++) {
        result = exporter_write_blob(exporter, project != NULL ? project : "", &blobs[i], why, error);
        if (result == 0) {
            result = handle_missing(exporter, collection, document, &blobs[i], why, dropped, error);
        }
    }
    bson_free(blobs);
    return result;
}

/* What no import would take (nested too deeply, an array that begins elsewhere than at 0): 1, 0 left out, -1. */
static int check_sound(struct exporter *exporter, int collection, const bson_t *document, bson_error_t *error)
{
    char id[160];
    if (archive_is_sound(document) && document->len <= ARCHIVE_FRAME_BYTES) {
        return 1;
    }
    archive_id_text(document, id, sizeof id);
    if (!exporter->options->skip_damaged) {
        return hub_error(error, HUB_ERROR_CORRUPT, "%s %s is malformed; correct or delete it, or leave it out with --skip-damaged",
                         archive_collections[collection], id);
    }
    exporter_note(exporter, "%s %s is malformed: left out", archive_collections[collection], id);
    return 0;
}

/* 1 written, 0 left out, -1. */
static int write_document(struct exporter *exporter, int collection, const bson_t *document, bson_error_t *error)
{
    bson_t own = BSON_INITIALIZER;
    unsigned dropped = 0;
    int result = check_sound(exporter, collection, document, error);
    if (result > 0) {
        result = write_blobs(exporter, archive_collections[collection], document, &dropped, error);
    }
    if (result > 0 && dropped != 0) {
        archive_reduce_task(document, (dropped & WITHOUT_CHECKPOINT) != 0, (dropped & WITHOUT_WEIGHTS) != 0, &own);
        document = &own;
    }
    char id[128];
    if (result == 0 && task_document_id(document, id)) {
        archive_set_add(&exporter->left_out, id, strlen(id));
    }
    if (result > 0) {
        result = archive_digest_add(&exporter->digest, hub_store(exporter->hub), collection, document, error);
    }
    if (result > 0) {
        result = archive_writer_frame(&exporter->writer, ARCHIVE_DOCUMENT, document, error);
    }
    if (result > 0 && exporter->writer.bytes - exporter->writer.sealed >= ARCHIVE_SEAL_BYTES) {
        result = archive_writer_seal(&exporter->writer, error);
    }
    exporter->progress.done++;
    exporter->progress.documents++;
    exporter_tell(exporter);
    bson_destroy(&own);
    return result;
}

static int write_mark(struct exporter *exporter, enum archive_kind kind, int collection, bson_error_t *error)
{
    bson_t frame = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&frame, "collection", archive_collections[collection]);
    if (kind == ARCHIVE_COLLECTION_END) {
        BSON_APPEND_INT64(&frame, "count", exporter->digest.summary.counts[collection]);
    }
    int result = archive_writer_frame(&exporter->writer, kind, &frame, error);
    bson_destroy(&frame);
    return result;
}

/* Logs of claims that are dropped, and of tasks made since the tasks were read, stay out. */
static bool is_wanted(const struct exporter *exporter, const char *collection, const bson_t *document)
{
    const char *claim, *task;
    if (strcmp(collection, "logs") != 0) {
        return true;
    }
    claim = hub_text(document, "claim");
    task = hub_text(document, "task");
    return (claim == NULL || !archive_set_has(&exporter->claims, claim, strlen(claim))) &&
           (task == NULL || (archive_set_has(&exporter->tasks, task, strlen(task)) &&
                             !archive_set_has(&exporter->left_out, task, strlen(task))));
}

static int write_collection(struct exporter *exporter, int collection, bson_error_t *error)
{
    const char *name = archive_collections[collection];
    struct archive_scan *scan = archive_scan_open(hub_store(exporter->hub), name, exporter->options->project);
    const bson_t *document;
    int result;
    while ((result = archive_scan_next(scan, &document, error)) > 0) {
        bson_t normal;
        int kept = archive_normalize(name, document, &normal);
        if (kept > 0 && is_wanted(exporter, name, &normal)) {
            kept = write_document(exporter, collection, &normal, error);
        }
        bson_destroy(&normal);
        if (kept < 0) {
            result = -1;
            break;
        }
    }
    archive_scan_close(scan);
    return result;
}

/* The next task of the spool into *task (new): 1, 0 at the end, -1. */
static int read_spool(struct exporter *exporter, bson_t **task, bson_error_t *error)
{
    uint8_t head[4];
    uint32_t length;
    *task = NULL;
    size_t got = fread(head, 1, sizeof head, exporter->spool);
    if (got == 0 && feof(exporter->spool)) {
        return 0;
    }
    memcpy(&length, head, 4);
    length = BSON_UINT32_FROM_LE(length);
    if (got == 4 && length >= 5 && length <= ARCHIVE_FRAME_BYTES) {
        uint8_t *data = bson_malloc(length);
        memcpy(data, head, 4);
        if (fread(data + 4, 1, length - 4, exporter->spool) == length - 4) {
            *task = bson_new_from_data(data, length);
        }
        bson_free(data);
    }
    return *task != NULL ? 1 : hub_error(error, HUB_ERROR_IO, "the temporary file cannot be read back");
}

static int write_tasks(struct exporter *exporter, int collection, bson_error_t *error)
{
    bson_t *task;
    int result;
    if (fflush(exporter->spool) != 0 || fseek(exporter->spool, 0, SEEK_SET) != 0) {
        return hub_error(error, HUB_ERROR_IO, "the temporary file cannot be read back: %s", strerror(errno));
    }
    while ((result = read_spool(exporter, &task, error)) > 0) {
        int written = write_document(exporter, collection, task, error);
        bson_destroy(task);
        if (written < 0) {
            return -1;
        }
    }
    return result;
}

static int write_end(struct exporter *exporter, struct archive_summary *summary, bson_error_t *error)
{
    bson_t trailer = BSON_INITIALIZER, counts;
    int result = archive_digest_final(&exporter->digest, summary, error);
    summary->blobs = exporter->blobs;
    summary->bytes = exporter->bytes;
    BSON_APPEND_DOCUMENT_BEGIN(&trailer, "counts", &counts);
    for (int i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        BSON_APPEND_INT64(&counts, archive_collections[i], summary->counts[i]);
    }
    bson_append_document_end(&trailer, &counts);
    BSON_APPEND_INT64(&trailer, "documents", summary->documents);
    BSON_APPEND_INT64(&trailer, "blobs", summary->blobs);
    BSON_APPEND_INT64(&trailer, "bytes", summary->bytes);
    BSON_APPEND_UTF8(&trailer, "digest", summary->digest);
    if (result > 0 && (archive_writer_frame(&exporter->writer, ARCHIVE_TRAILER, &trailer, error) < 0 ||
                       archive_writer_seal(&exporter->writer, error) < 0)) {
        result = -1;
    }
    if (result > 0 && fflush(exporter->writer.file) != 0) {
        result = hub_error(error, errno == ENOSPC ? HUB_ERROR_NO_SPACE : HUB_ERROR_IO, "the archive cannot be written: %s",
                           strerror(errno));
    }
    bson_destroy(&trailer);
    return result;
}

static int count_all(struct exporter *exporter, bson_error_t *error)
{
    for (int i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        int64_t documents = count(exporter, archive_collections[i], NULL, error);
        if (documents < 0) {
            return -1;
        }
        exporter->progress.total += documents;
    }
    return 1;
}

static int export_all(struct exporter *exporter, struct archive_summary *summary, bson_error_t *error)
{
    if (check_quiet(exporter, error) < 0 || count_all(exporter, error) < 0 || spool_tasks(exporter, error) < 0 ||
        write_header(exporter, error) < 0 || write_numbers(exporter, error) < 0 ||
        archive_writer_seal(&exporter->writer, error) < 0) {
        return -1;
    }
    for (int i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        bool tasks = strcmp(archive_collections[i], "tasks") == 0;
        if (strcmp(archive_collections[i], "rows") == 0) { /* without any, who knows no rows can read the archive */
            int64_t rows = count(exporter, "rows", NULL, error);
            if (rows < 0) {
                return -1;
            }
            if (rows == 0) {
                continue;
            }
        }
        if (write_mark(exporter, ARCHIVE_COLLECTION, i, error) < 0 ||
            (tasks ? write_tasks(exporter, i, error) : write_collection(exporter, i, error)) < 0 ||
            write_mark(exporter, ARCHIVE_COLLECTION_END, i, error) < 0 ||
            archive_writer_seal(&exporter->writer, error) < 0) {
            return -1;
        }
    }
    return write_end(exporter, summary, error);
}

int archive_export(struct hub *hub, FILE *file, const struct archive_export_options *options,
                   struct archive_summary *summary, bson_error_t *error)
{
    struct exporter exporter = {.hub = hub, .options = options};
    int result = -1;
    memset(summary, 0, sizeof *summary);
    if (archive_digest_init(&exporter.digest, error) > 0 && archive_writer_open(&exporter.writer, file, error) > 0) {
        result = export_all(&exporter, summary, error);
    }
    if (exporter.spool != NULL) {
        fclose(exporter.spool);
    }
    archive_set_destroy(&exporter.blobs_written);
    archive_set_destroy(&exporter.tasks);
    archive_set_destroy(&exporter.claims);
    archive_set_destroy(&exporter.left_out);
    archive_digest_destroy(&exporter.digest);
    archive_writer_close(&exporter.writer);
    return result;
}
