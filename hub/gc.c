/* SPDX-License-Identifier: Apache-2.0 */
/* Collection: a blob goes when it was marked, and after that no pointer to it was found, read in the order in which
 * pointers travel: uploads, tasks, models and datasets. */
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/gc_scan.h"
#include "hub/task_impl.h"

#include <stdlib.h>
#include <string.h>

#define FILES "blobs.files"
#define CHUNKS "blobs.chunks"

/* ---- blobs ---- */

static int condemn(struct gc *gc, const bson_oid_t *id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    BSON_APPEND_OID(&filter, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "metadata.condemned", gc->token);
    bson_append_document_end(&update, &part);
    TL_FAULT("gc_condemn.before");
    int result = store_modify(hub_store(gc->hub), FILES, &filter, &update, NULL, NULL, error);
    TL_FAULT("gc_condemn.after");
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

static void condemned_filter(const struct gc *gc, const bson_oid_t *id, bson_t *filter)
{
    bson_init(filter);
    BSON_APPEND_OID(filter, "_id", id);
    BSON_APPEND_UTF8(filter, "metadata.condemned", gc->token);
}

static int pardon(struct gc *gc, const bson_oid_t *id, bson_error_t *error)
{
    bson_t filter, update = BSON_INITIALIZER, part;
    condemned_filter(gc, id, &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "metadata.condemned", "");
    bson_append_document_end(&update, &part);
    TL_FAULT("gc_pardon.before");
    int result = store_modify(hub_store(gc->hub), FILES, &filter, &update, NULL, NULL, error);
    TL_FAULT("gc_pardon.after");
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

static int64_t delete_chunks(struct gc *gc, const bson_oid_t *id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_OID(&filter, "files_id", id);
    TL_FAULT("gc_chunks.before");
    int64_t count = gc->dry_run ? store_count(hub_store(gc->hub), CHUNKS, &filter, error)
                                : store_delete(hub_store(gc->hub), CHUNKS, &filter, error);
    bson_destroy(&filter);
    TL_FAULT("gc_chunks.after");
    if (count > 0) {
        gc->report->chunks_deleted += count;
    }
    return count;
}

/* The files document goes only while it is condemned by us: whoever points to the blob in the meantime unsets that. */
static int delete_blob(struct gc *gc, const struct gc_candidate *candidate, bson_error_t *error)
{
    if (!gc->dry_run) {
        bson_t filter;
        condemned_filter(gc, &candidate->id, &filter);
        TL_FAULT("gc_files.before");
        int64_t deleted = store_delete(hub_store(gc->hub), FILES, &filter, error);
        TL_FAULT("gc_files.after");
        bson_destroy(&filter);
        if (deleted <= 0) {
            gc->report->blobs_kept += deleted == 0;
            return deleted < 0 ? -1 : 0;
        }
    }
    gc->report->blobs_deleted++;
    gc->report->bytes_freed += candidate->length;
    return delete_chunks(gc, &candidate->id, error) < 0 ? -1 : 1;
}

static int collect_batch(struct gc *gc, struct gc_batch *batch, bson_error_t *error)
{
    /* Most blobs are in use: a look without a mark sorts those out. */
    if (gc_find_pointers(gc, batch, error) < 0) {
        return -1;
    }
    gc->report->blobs_kept += gc_drop_pointed(batch);
    if (batch->count == 0) {
        return 1;
    }
    if (!gc->dry_run) {
        for (size_t i = 0; i < batch->count; i++) {
            if (condemn(gc, &batch->list[i].id, error) < 0) {
                return -1;
            }
        }
        TL_FAULT("gc_pointers.before");
        if (gc_find_pointers(gc, batch, error) < 0) {
            return -1;
        }
        TL_FAULT("gc_pointers.after");
    }
    for (size_t i = 0; i < batch->count; i++) {
        int result = batch->list[i].pointed ? pardon(gc, &batch->list[i].id, error)
                                            : delete_blob(gc, &batch->list[i], error);
        if (result < 0) {
            return -1;
        }
        gc->report->blobs_kept += batch->list[i].pointed;
    }
    return 1;
}

static int collect_blobs(struct gc *gc, bson_error_t *error)
{
    bson_oid_t last;
    struct gc_batch batch = {0};
    int more;
    memset(&last, 0, sizeof last);
    while ((more = gc_next_files(gc, &last, &batch, error)) > 0) {
        if (collect_batch(gc, &batch, error) < 0) {
            return -1;
        }
    }
    return more;
}

/* ---- what is left of uploads ---- */

/* Takes the entry away if it is stale, and nobody has beaten since: 1, 0, -1. */
static int remove_stale(struct gc *gc, const bson_t *upload, bson_error_t *error)
{
    static const char *const keys[] = {"_id", "claim", "beat"};
    bson_t filter = BSON_INITIALIZER;
    bson_iter_t iter;
    int64_t deleted = gc_is_stale(gc, upload, error);
    for (size_t i = 0; i < 3; i++) {
        task_append_same(&filter, keys[i], bson_iter_init_find(&iter, upload, keys[i]) ? &iter : NULL);
    }
    if (deleted > 0 && !gc->dry_run) {
        TL_FAULT("gc_upload.before");
        deleted = store_delete(hub_store(gc->hub), GC_UPLOADS, &filter, error);
    }
    bson_destroy(&filter);
    gc->report->uploads_removed += deleted > 0 ? deleted : 0;
    return deleted < 0 ? -1 : deleted > 0;
}

static int collect_uploads(struct gc *gc, bson_error_t *error)
{
    const bson_t *upload;
    int next;
    struct store_cursor *cursor = store_find(hub_store(gc->hub), GC_UPLOADS, NULL, NULL, error);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &upload, error)) == 1) {
        if (remove_stale(gc, upload, error) < 0) {
            next = -1;
            break;
        }
    }
    store_cursor_close(cursor);
    return next;
}

/* ---- chunks without a files document ---- */

/* Whoever uploads without a claim asks for its entry after its document stands: so the entry goes before the chunks,
 * and only while it stands still. 1 it is gone by our hand (or would be), 0 it moves, or somebody else saw to it, -1. */
static int take_entry(struct gc *gc, const bson_oid_t *id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, upload;
    BSON_APPEND_OID(&filter, "_id", id);
    int result = store_find_one(hub_store(gc->hub), GC_UPLOADS, &filter, NULL, &upload, error);
    if (result > 0) {
        /* A dry run leaves it to be counted with the others. */
        result = gc->dry_run ? gc_is_stale(gc, &upload, error) : remove_stale(gc, &upload, error);
    }
    bson_destroy(&upload);
    bson_destroy(&filter);
    return result;
}

static int take_entries(struct gc *gc, struct gc_batch *batch, bson_error_t *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct gc_candidate *candidate = &batch->list[i];
        int taken = candidate->announced && !candidate->pointed ? take_entry(gc, &candidate->id, error) : 1;
        if (taken < 0) {
            return -1;
        }
        candidate->pointed = candidate->pointed || taken == 0;
    }
    return 1;
}

static int read_chunk_length(struct gc *gc, const bson_oid_t *id, int order, int64_t *length, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, chunk;
    bson_iter_t iter;
    bson_subtype_t subtype;
    uint32_t bytes = 0;
    const uint8_t *data;
    BSON_APPEND_OID(&filter, "files_id", id);
    BSON_APPEND_INT32(&sort, "n", order);
    struct store_find_options options = {.sort = &sort, .limit = 1, .any_tie = true};
    int result = store_find_one(hub_store(gc->hub), CHUNKS, &filter, &options, &chunk, error);
    if (result > 0 && bson_iter_init_find(&iter, &chunk, "data") && BSON_ITER_HOLDS_BINARY(&iter)) {
        bson_iter_binary(&iter, &subtype, &bytes, &data);
    }
    *length = bytes;
    bson_destroy(&chunk);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}

/* No files document says how long they are: all chunks but the last are as long as the first. */
static int collect_orphan(struct gc *gc, const bson_oid_t *id, bson_error_t *error)
{
    int64_t first, last;
    if (read_chunk_length(gc, id, 1, &first, error) < 0 || read_chunk_length(gc, id, -1, &last, error) < 0) {
        return -1;
    }
    int64_t count = delete_chunks(gc, id, error);
    gc->report->bytes_freed += count > 0 ? (count - 1) * first + last : 0;
    return count < 0 ? -1 : 1;
}

static int collect_chunks(struct gc *gc, bson_error_t *error)
{
    bson_oid_t last;
    struct gc_batch batch = {0};
    int more;
    memset(&last, 0, sizeof last);
    while ((more = gc_next_chunks(gc, &last, &batch, error)) > 0) {
        /* The announcement comes before the first chunk and goes after the files document is there: in this order. */
        if (gc_find_uploads(gc, &batch, error) < 0 || take_entries(gc, &batch, error) < 0 ||
            gc_find_files(gc, &batch, error) < 0) {
            return -1;
        }
        for (size_t i = 0; i < batch.count; i++) {
            if (!batch.list[i].pointed && collect_orphan(gc, &batch.list[i].id, error) < 0) {
                return -1;
            }
        }
    }
    return more;
}

/* ---- tombstones ---- */

/* The sweeper's beat, or 0 where none has ever worked. */
static int read_sweeper_beat(struct gc *gc, int64_t *beat, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, document;
    BSON_APPEND_UTF8(&filter, "_id", "sweeper");
    int result = store_find_one(hub_store(gc->hub), "meta", &filter, NULL, &document, error);
    *beat = hub_number(&document, "beat", 0);
    bson_destroy(&document);
    bson_destroy(&filter);
    return result;
}

/* No roll-forward of its task can still come from the task itself. */
static int task_is_settled(struct gc *gc, const bson_t *tombstone, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, task;
    bson_iter_t iter;
    const char *id = hub_text(tombstone, "task");
    if (id == NULL) {
        bson_destroy(&filter);
        return 1;
    }
    task_append_id(&filter, "_id", id);
    int result = store_find_one(hub_store(gc->hub), TASKS, &filter, NULL, &task, error);
    bool unpublished = bson_iter_init_find(&iter, &task, "published") && !bson_iter_as_bool(&iter);
    const char *state = hub_text(&task, "state");
    /* A run that is not over may come by an epoch again that it kept. */
    bool open = false;
    static const char *const opens[] = {"waiting", "delayed", "ready", "running", "paused", "parked"};
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++) {
        open = open || (state != NULL && strcmp(state, opens[i]) == 0);
    }
    bson_destroy(&task);
    bson_destroy(&filter);
    return result < 0 ? -1 : result == 0 || (!unpublished && !open);
}

/* At first sight the sweeper's beat is noted; the tombstone goes when the sweeper has beaten twice since: a whole
 * round, and so every roll-forward that it had begun, lies between. */
static int collect_tombstone(struct gc *gc, const char *collection, const bson_t *tombstone, int64_t beat,
                             bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    bson_iter_t iter;
    int64_t noted = hub_number(tombstone, "gc_beat", -1), deleted = 0;
    int settled = task_is_settled(gc, tombstone, error);
    if (bson_iter_init_find(&iter, tombstone, "_id")) {
        bson_append_iter(&filter, "_id", 3, &iter);
    }
    task_append_same(&filter, "project", bson_iter_init_find(&iter, tombstone, "project") ? &iter : NULL);
    BSON_APPEND_BOOL(&filter, "deleted", true);
    const char *id = hub_text(tombstone, "_id"), *task = hub_text(tombstone, "task");
    const char *project = hub_text(tombstone, "project");
    if (settled > 0 && noted >= 0 && beat >= noted + 2) {
        if (!gc->dry_run && id != NULL && task != NULL && project != NULL &&
            task_forget_model(gc->hub, project, task, id, error) < 0) {
            settled = -1;
        }
    }
    if (settled > 0 && noted >= 0 && beat >= noted + 2) {
        TL_FAULT("gc_tombstone.before");
        deleted = gc->dry_run ? 1 : store_delete(hub_store(gc->hub), collection, &filter, error);
        gc->report->tombstones_removed += deleted > 0 ? deleted : 0;
    } else if (settled > 0 && noted < 0 && !gc->dry_run) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
        BSON_APPEND_INT64(&part, "gc_beat", beat);
        bson_append_document_end(&update, &part);
        deleted = store_modify(hub_store(gc->hub), collection, &filter, &update, NULL, NULL, error);
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return settled < 0 || deleted < 0 ? -1 : 1;
}

static int collect_tombstones(struct gc *gc, const char *collection, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *tombstone;
    int64_t beat;
    int next;
    BSON_APPEND_BOOL(&filter, "deleted", true);
    struct store_cursor *cursor = NULL;
    if (read_sweeper_beat(gc, &beat, error) >= 0) {
        cursor = store_find(hub_store(gc->hub), collection, &filter, NULL, error);
    }
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &tombstone, error)) == 1) {
        if (collect_tombstone(gc, collection, tombstone, beat, error) < 0) {
            next = -1;
            break;
        }
    }
    store_cursor_close(cursor);
    return next;
}

/* ---- logs whose task is gone ---- */

static int collect_logs(struct gc *gc, bson_error_t *error)
{
    bson_t last = BSON_INITIALIZER;
    int more = 1;
    while (more > 0) {
        bson_t gone;
        more = gc_next_log_tasks(gc, &last, &gone, error);
        if (more > 0 && !bson_empty(&gone)) {
            bson_t filter = BSON_INITIALIZER, in;
            BSON_APPEND_DOCUMENT_BEGIN(&filter, "task", &in);
            BSON_APPEND_ARRAY(&in, "$in", &gone);
            bson_append_document_end(&filter, &in);
            int64_t count = gc->dry_run ? store_count(hub_store(gc->hub), "logs", &filter, error)
                                        : store_delete(hub_store(gc->hub), "logs", &filter, error);
            bson_destroy(&filter);
            gc->report->logs_deleted += count > 0 ? count : 0;
            more = count < 0 ? -1 : more;
        }
        bson_destroy(&gone);
    }
    bson_destroy(&last);
    return more;
}

int gc_run(struct hub *hub, int64_t lease_ms, bool dry_run, struct gc_report *report, bson_error_t *error)
{
    struct gc gc = {.hub = hub, .lease_ms = lease_ms, .dry_run = dry_run, .report = report};
    memset(report, 0, sizeof *report);
    hub_random_id(gc.token);
    int result = gc_watch_uploads(&gc, error);
    if (result >= 0 &&
        (collect_blobs(&gc, error) < 0 || collect_chunks(&gc, error) < 0 || collect_uploads(&gc, error) < 0 ||
         collect_tombstones(&gc, "models", error) < 0 || collect_tombstones(&gc, "datasets", error) < 0 || collect_logs(&gc, error) < 0)) {
        result = -1;
    }
    bson_free(gc.watched);
    return result < 0 ? -1 : 1;
}
