/* SPDX-License-Identifier: Apache-2.0 */
/* The session of an import: what it has announced in uploads, what runs before it left there, and whether it moves. */
#include "hub/archive_import_impl.h"
#include "hub/gc_impl.h"
#include "hub/hub_impl.h"
#include "hub/task.h"

#define RESUMED 100000

static int read_resumed(struct importer *importer, const bson_t *filter, bson_error_t *error)
{
    const bson_t *upload;
    bson_iter_t iter;
    size_t capacity = 0;
    int next = -1;
    struct store_cursor *cursor = store_find(hub_store(importer->hub), GC_UPLOADS, filter, NULL, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &upload, error)) > 0) {
        if (bson_iter_init_find(&iter, upload, "_id") && BSON_ITER_HOLDS_OID(&iter) && importer->resumed_count < RESUMED) {
            importer->resumed =
                importer_more_room(importer->resumed, importer->resumed_count, &capacity, sizeof *importer->resumed);
            importer->resumed[importer->resumed_count++] =
                (struct import_resumed){.id = *bson_iter_oid(&iter), .beat = hub_number(upload, "beat", -1)};
        }
    }
    store_cursor_close(cursor);
    return next;
}

/* Entries of earlier runs are beaten once, so that gc leaves them until this one comes to them. */
int importer_start(struct importer *importer, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    int result = -1;
    importer->atomic = store_batch_is_atomic(hub_store(importer->hub));
    importer->beaten = hub_boottime();
    hub_append_prefix(&filter, "session", importer->archive);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT64(&part, "beat", 1);
    bson_append_document_end(&update, &part);
    int64_t all = store_count(hub_store(importer->hub), GC_UPLOADS, NULL, error);
    importer->others = all > 0;
    if (all == 0 || (all > 0 && store_update(hub_store(importer->hub), GC_UPLOADS, &filter, &update, error) >= 0)) {
        result = read_resumed(importer, &filter, error);
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* Whether what this run has announced is still announced, and by it. */
int importer_hold(struct importer *importer, bson_error_t *error)
{
    int held = gc_session_hold(importer->hub, importer->session, importer->announced, error);
    return held != 0 ? held
                     : hub_error(error, HUB_ERROR_CONFLICT,
                                 "%s: another import of the same archive goes on in this hub, or gc has taken what stood "
                                 "still: wait for it, then import again, it goes on where it was", importer->reader.name);
}

int importer_end_session(struct importer *importer, bson_error_t *error)
{
    if (importer->announced > 0 &&
        (importer_hold(importer, error) < 0 || gc_session_done(importer->hub, importer->session, error) < 0)) {
        return -1;
    }
    importer->announced = 0;
    return 1;
}

/* One whose announcements did not beat for half a lease (a pipe that stalled, a process that was stopped) cannot know
 * what gc has taken meanwhile, and its blobs are not yet pointed to: it ends, and is run again. */
int importer_check_gap(const struct importer *importer, bson_error_t *error)
{
    int64_t gap = hub_boottime() - importer->beaten;
    bool announced = false;
    for (size_t i = 0; i < importer->blob_count; i++) {
        announced = announced || importer->blobs[i].announced;
    }
    if (!announced || gap < TASK_LEASE_MS / 2) {
        return 1;
    }
    return hub_error(error, HUB_ERROR_CONFLICT,
                     "%s: the import stood still for %" PRId64 " s in the middle of a blob, which gc may have taken: import "
                     "it again, it goes on where it was", importer->reader.name, gap / 1000);
}

int importer_beat(struct importer *importer, bson_error_t *error)
{
    if (importer_check_gap(importer, error) < 0) {
        return -1;
    }
    if (hub_boottime() - importer->beaten < GC_BEAT_MS) {
        return 1;
    }
    importer->beaten = hub_boottime();
    if (importer_hold(importer, error) < 0) {
        return -1;
    }
    return importer_beat_records(importer, error);
}

/* Chunks that no files document claims, and no other upload: this run's, or left by one that was killed. */
int importer_delete_chunks(struct importer *importer, const bson_oid_t *id, bson_error_t *error)
{
    bson_t upload = BSON_INITIALIZER, other, filter = BSON_INITIALIZER;
    BSON_APPEND_OID(&upload, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(&upload, "session", &other);
    BSON_APPEND_UTF8(&other, "$ne", importer->session);
    bson_append_document_end(&upload, &other);
    BSON_APPEND_OID(&filter, "files_id", id);
    int64_t result = store_count(hub_store(importer->hub), GC_UPLOADS, &upload, error);
    if (result == 0) {
        result = store_delete(hub_store(importer->hub), BLOB_CHUNKS, &filter, error);
    }
    bson_destroy(&filter);
    bson_destroy(&upload);
    return result < 0 ? -1 : 1;
}

/* An entry of an earlier run that has not moved since, of a blob that is pointed to by now. */
static int remove_entry(struct importer *importer, const struct import_resumed *resumed, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_OID(&filter, "_id", &resumed->id);
    BSON_APPEND_INT64(&filter, "beat", resumed->beat);
    int64_t result = store_delete(hub_store(importer->hub), GC_UPLOADS, &filter, error);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

int importer_end(struct importer *importer, bson_error_t *error)
{
    /* gc may have judged the announcements of a run that was killed before this one took them up. */
    for (size_t i = 0; i < importer->resumed_count; i++) {
        const bson_oid_t *id = &importer->resumed[i].id;
        if (!archive_set_has(&importer->written, id, sizeof *id)) {
            continue;
        }
        struct blob_reader *reader = blob_reader_open(hub_store(importer->hub), id, error);
        struct blob_info info = reader != NULL ? *blob_reader_info(reader) : (struct blob_info){.length = 0};
        blob_reader_close(reader);
        if (reader == NULL || blob_verify(hub_store(importer->hub), &info, error) < 0) {
            return hub_error(error, HUB_ERROR_CONFLICT,
                             "a blob was collected while it was imported: run the import again");
        }
        if (remove_entry(importer, &importer->resumed[i], error) < 0) {
            return -1;
        }
    }
    return importer_end_session(importer, error);
}
