/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/gc_scan.h"

#include "hub/gc_impl.h"
#include "hub/task_impl.h"

#include <string.h>

/* ---- uploads without a claim: their beats ---- */

static bool has_claim(const bson_t *upload)
{
    return hub_text(upload, "claim") != NULL;
}

static bool upload_id(const bson_t *upload, bson_oid_t *id)
{
    bson_iter_t iter;
    if (!bson_iter_init_find(&iter, upload, "_id") || !BSON_ITER_HOLDS_OID(&iter)) {
        return false;
    }
    *id = *bson_iter_oid(&iter);
    return true;
}

static struct gc_watched *find_watched(struct gc *gc, const bson_oid_t *id)
{
    for (size_t i = 0; i < gc->watched_count; i++) {
        if (bson_oid_equal(&gc->watched[i].id, id)) {
            return &gc->watched[i];
        }
    }
    return NULL;
}

/* One look at all of them. begin and end are of this read; restart says that beats may have been missed before it. */
static int look(struct gc *gc, bool first, bool restart, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *upload;
    int64_t begin = hub_boottime();
    int next;
    BSON_APPEND_NULL(&filter, "claim");
    struct store_cursor *cursor = store_find(hub_store(gc->hub), GC_UPLOADS, &filter, NULL, error);
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    for (size_t i = 0; i < gc->watched_count; i++) {
        gc->watched[i].there = false;
    }
    while ((next = store_cursor_next(cursor, &upload, error)) == 1) {
        bson_oid_t id;
        if (!upload_id(upload, &id)) {
            continue;
        }
        struct gc_watched *watched = find_watched(gc, &id);
        int64_t beat = hub_number(upload, "beat", -1);
        if (watched == NULL && !first) {
            continue; /* younger than this collection */
        }
        if (watched == NULL) {
            gc->watched = bson_realloc(gc->watched, (gc->watched_count + 1) * sizeof *gc->watched);
            watched = &gc->watched[gc->watched_count++];
            *watched = (struct gc_watched){.id = id, .beat = beat, .since = INT64_MAX};
        } else if (restart || watched->beat != beat) {
            watched->beat = beat;
            watched->since = INT64_MAX;
        } else {
            watched->stale = begin - watched->since >= gc->lease_ms;
        }
        watched->there = true;
    }
    store_cursor_close(cursor);
    int64_t end = hub_boottime();
    for (size_t i = 0; i < gc->watched_count; i++) {
        if (gc->watched[i].since == INT64_MAX) {
            gc->watched[i].since = end;
        }
    }
    return next;
}

int gc_watch_uploads(struct gc *gc, bson_error_t *error)
{
    if (look(gc, true, false, error) < 0) {
        return -1;
    }
    int64_t start = hub_boottime(), contact = start;
    /* Twice the lease is enough for any that stands still; one that moves is not waited for. */
    while (gc->watched_count > 0 && hub_boottime() - start < 2 * gc->lease_ms) {
        bool all = true;
        for (size_t i = 0; i < gc->watched_count; i++) {
            all = all && (gc->watched[i].stale || !gc->watched[i].there || gc->watched[i].since > start);
        }
        if (all) {
            break;
        }
        hub_sleep(gc->lease_ms / 6 + 1);
        int64_t begin = hub_boottime();
        if (look(gc, false, begin - contact > gc->lease_ms / 3 && gc->lease_ms > 0, error) < 0) {
            return -1;
        }
        contact = hub_boottime();
    }
    return 1;
}

int gc_is_stale(struct gc *gc, const bson_t *upload, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, task;
    bson_oid_t id;
    if (!has_claim(upload)) {
        const struct gc_watched *watched = upload_id(upload, &id) ? find_watched(gc, &id) : NULL;
        bson_destroy(&filter);
        return watched != NULL && watched->stale && hub_number(upload, "beat", -1) == watched->beat;
    }
    const char *claim = hub_text(upload, "claim"), *task_id = hub_text(upload, "task");
    task_append_id(&filter, "_id", task_id != NULL ? task_id : "");
    int result = store_find_one(hub_store(gc->hub), TASKS, &filter, NULL, &task, error);
    const char *state = hub_text(&task, "state"), *holder = hub_text(&task, "claim.id");
    bool live = state != NULL && strcmp(state, "running") == 0 && holder != NULL && strcmp(holder, claim) == 0;
    bson_destroy(&task);
    bson_destroy(&filter);
    return result < 0 ? -1 : !live;
}

/* ---- pages ---- */

static void after_filter(const char *key, const bson_oid_t *last, bson_t *filter)
{
    bson_t range;
    bson_init(filter);
    BSON_APPEND_DOCUMENT_BEGIN(filter, key, &range);
    BSON_APPEND_OID(&range, "$gt", last);
    bson_append_document_end(filter, &range);
}

int gc_next_files(struct gc *gc, bson_oid_t *last, struct gc_batch *batch, bson_error_t *error)
{
    bson_t filter, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    const bson_t *files;
    bson_iter_t iter;
    int next;
    batch->count = 0;
    after_filter("_id", last, &filter);
    BSON_APPEND_INT32(&sort, "_id", 1);
    BSON_APPEND_INT32(&projection, "length", 1);
    struct store_find_options options = {.sort = &sort, .projection = &projection, .limit = GC_PAGE};
    struct store_cursor *cursor = store_find(hub_store(gc->hub), "blobs.files", &filter, &options, error);
    bson_destroy(&projection);
    bson_destroy(&sort);
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &files, error)) == 1 && batch->count < GC_PAGE) {
        if (bson_iter_init_find(&iter, files, "_id") && BSON_ITER_HOLDS_OID(&iter)) {
            *last = *bson_iter_oid(&iter);
            batch->list[batch->count++] =
                (struct gc_candidate){.id = *last, .length = hub_number(files, "length", 0)};
        }
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : batch->count > 0;
}

/* From one blob's chunks to the next one's, by the index, so that no chunk's data is read but the first's. */
int gc_next_chunks(struct gc *gc, bson_oid_t *last, struct gc_batch *batch, bson_error_t *error)
{
    bson_t sort = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    int result = 1;
    batch->count = 0;
    BSON_APPEND_INT32(&sort, "files_id", 1);
    BSON_APPEND_INT32(&projection, "files_id", 1);
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    while (result > 0 && batch->count < GC_PAGE) {
        bson_t filter, chunk;
        bson_iter_t iter;
        after_filter("files_id", last, &filter);
        result = store_find_one(hub_store(gc->hub), "blobs.chunks", &filter, &options, &chunk, error);
        if (result > 0 && bson_iter_init_find(&iter, &chunk, "files_id") && BSON_ITER_HOLDS_OID(&iter)) {
            *last = *bson_iter_oid(&iter);
            batch->list[batch->count++] = (struct gc_candidate){.id = *last};
        }
        bson_destroy(&chunk);
        bson_destroy(&filter);
    }
    bson_destroy(&projection);
    bson_destroy(&sort);
    return result < 0 ? -1 : batch->count > 0;
}

/* Appends to gone those of ids that no task has. */
static int find_gone(struct gc *gc, const char ids[][128], size_t count, bson_t *gone, bson_error_t *error)
{
    uint32_t used = 0;
    int result = 1;
    for (size_t i = 0; i < count && result > 0; i++) {
        char buffer[16];
        const char *key;
        bson_t filter = BSON_INITIALIZER;
        task_append_id(&filter, "_id", ids[i]);
        int64_t there = store_count(hub_store(gc->hub), TASKS, &filter, error);
        bson_destroy(&filter);
        if (there < 0) {
            result = -1;
        } else if (there == 0) {
            size_t digits = bson_uint32_to_string(used++, &key, buffer, sizeof buffer);
            bson_append_utf8(gone, key, (int)digits, ids[i], -1);
        }
    }
    return result;
}

/* {task: {$gt: what *last holds}}; everything that is text, where it holds nothing. */
static void after_task_filter(const bson_t *last, bson_t *filter)
{
    bson_t range;
    bson_iter_t iter;
    bson_init(filter);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "task", &range);
    if (bson_iter_init_find(&iter, last, "task")) {
        bson_append_iter(&range, "$gt", -1, &iter);
    } else {
        BSON_APPEND_UTF8(&range, "$gte", "");
    }
    bson_append_document_end(filter, &range);
}

int gc_next_log_tasks(struct gc *gc, bson_t *last, bson_t *gone, bson_error_t *error)
{
    bson_t sort = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    char(*ids)[128] = bson_malloc(GC_PAGE * sizeof *ids);
    size_t count = 0;
    int result = 1;
    bson_init(gone);
    BSON_APPEND_INT32(&sort, "task", 1);
    BSON_APPEND_INT32(&projection, "task", 1);
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    while (result > 0 && count < GC_PAGE) {
        bson_t filter, log;
        bson_iter_t iter;
        after_task_filter(last, &filter);
        result = store_find_one(hub_store(gc->hub), "logs", &filter, &options, &log, error);
        if (result > 0 && bson_iter_init_find(&iter, &log, "task") && BSON_ITER_HOLDS_UTF8(&iter)) {
            /* From what stands there and not from what it reads as: a foreign text may hold NUL. */
            uint32_t length;
            const char *task = bson_iter_utf8(&iter, &length);
            bson_reinit(last);
            bson_append_iter(last, "task", -1, &iter);
            if (strlen(task) == length && length < sizeof *ids) {
                memcpy(ids[count++], task, length + 1);
            }
        }
        bson_destroy(&log);
        bson_destroy(&filter);
    }
    if (result >= 0 && count > 0) {
        result = find_gone(gc, (const char(*)[128])ids, count, gone, error);
    }
    bson_free(ids);
    bson_destroy(&projection);
    bson_destroy(&sort);
    return result < 0 ? -1 : count > 0;
}

/* ---- pointers ---- */

static struct gc_candidate *find_candidate(struct gc_batch *batch, const bson_oid_t *id)
{
    /* In ascending order, as the pages come. */
    size_t low = 0, high = batch->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = bson_oid_compare(&batch->list[middle].id, id);
        if (order == 0) {
            return &batch->list[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static void in_filter(const struct gc_batch *batch, const char *path, bson_t *filter)
{
    bson_t in, list;
    bson_init(filter);
    BSON_APPEND_DOCUMENT_BEGIN(filter, path, &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0; i < batch->count; i++) {
        char buffer[16];
        const char *key;
        size_t digits = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        bson_append_oid(&list, key, (int)digits, &batch->list[i].id);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(filter, &in);
}

static bool is_true(const bson_t *document, const char *key)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, key) && bson_iter_as_bool(&iter);
}

/* Marks the candidates that documents of the collection name at path, unless `unless` is true there: a model that was
 * deleted, a task whose model has taken its pointer over. */
static int find_at(struct gc *gc, struct gc_batch *batch, const char *collection, const char *path, const char *unless,
                   bson_error_t *error)
{
    bson_t filter, projection = BSON_INITIALIZER;
    const bson_t *document;
    int next;
    in_filter(batch, path, &filter);
    BSON_APPEND_INT32(&projection, path, 1);
    if (unless != NULL) {
        BSON_APPEND_INT32(&projection, unless, 1);
    }
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(gc->hub), collection, &filter, &options, error);
    bson_destroy(&projection);
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &document, error)) == 1) {
        bson_iter_t iter, value;
        if (unless != NULL && is_true(document, unless)) {
            continue;
        }
        if (bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, &value) && BSON_ITER_HOLDS_OID(&value)) {
            struct gc_candidate *candidate = find_candidate(batch, bson_iter_oid(&value));
            if (candidate != NULL) {
                candidate->pointed = true;
            }
        }
    }
    store_cursor_close(cursor);
    return next;
}

int gc_find_files(struct gc *gc, struct gc_batch *batch, bson_error_t *error)
{
    return find_at(gc, batch, "blobs.files", "_id", NULL, error);
}

int gc_find_uploads(struct gc *gc, struct gc_batch *batch, bson_error_t *error)
{
    bson_t filter;
    const bson_t *upload;
    int next, stale;
    in_filter(batch, "_id", &filter);
    struct store_cursor *cursor = store_find(hub_store(gc->hub), GC_UPLOADS, &filter, NULL, error);
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &upload, error)) == 1) {
        bson_oid_t id;
        struct gc_candidate *candidate = upload_id(upload, &id) ? find_candidate(batch, &id) : NULL;
        if ((stale = gc_is_stale(gc, upload, error)) < 0) {
            next = -1;
            break;
        }
        if (candidate != NULL && stale == 0) {
            candidate->pointed = true;
        }
        if (candidate != NULL && stale > 0) {
            candidate->announced = !has_claim(upload);
        }
    }
    store_cursor_close(cursor);
    return next;
}

static void mark_parts(const bson_t *parts, struct gc_batch *batch)
{
    bson_iter_t iter, part;
    bool more = bson_iter_init(&iter, parts);
    while (more && bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&iter) && bson_iter_recurse(&iter, &part) && bson_iter_find(&part, "blob_id") &&
            BSON_ITER_HOLDS_OID(&part)) {
            struct gc_candidate *candidate = find_candidate(batch, bson_iter_oid(&part));
            if (candidate != NULL) {
                candidate->pointed = true;
            }
        }
    }
}

/* Manifests hold their pointers in an array at path, which no index covers: every document that matches the filter is looked
 * through, once a page. */
static int find_in_parts(struct gc *gc, struct gc_batch *batch, const char *collection, const bson_t *filter, const char *path,
                         bson_error_t *error)
{
    bson_t projection = BSON_INITIALIZER;
    const bson_t *document;
    int next;
    BSON_APPEND_INT32(&projection, path, 1);
    BSON_APPEND_INT32(&projection, "deleted", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(gc->hub), collection, filter, &options, error);
    bson_destroy(&projection);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &document, error)) == 1) {
        bson_t parts;
        if (!is_true(document, "deleted") && hub_view(document, path, &parts)) {
            mark_parts(&parts, batch);
        }
    }
    store_cursor_close(cursor);
    return next;
}

/* The datasets of tasks whose finish stands and is not published yet, and epochs that are kept and not shown: few, and found by
 * an index. */
static int find_unpublished(struct gc *gc, struct gc_batch *batch, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    const bson_t *task;
    bson_iter_t iter, blob;
    int next = -1;
    BSON_APPEND_BOOL(&filter, "published", false);
    BSON_APPEND_INT32(&projection, "kept.blob_id", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(gc->hub), TASKS, &filter, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &task, error)) == 1) {
        struct gc_candidate *candidate = NULL;
        if (bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, "kept.blob_id", &blob) &&
            BSON_ITER_HOLDS_OID(&blob)) {
            candidate = find_candidate(batch, bson_iter_oid(&blob));
        }
        if (candidate != NULL) {
            candidate->pointed = true;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    int result = cursor == NULL || next < 0 ? -1 : find_in_parts(gc, batch, TASKS, &filter, "result.dataset.parts", error);
    bson_destroy(&filter);
    return result;
}

int gc_find_pointers(struct gc *gc, struct gc_batch *batch, bson_error_t *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        batch->list[i].pointed = false;
    }
    if (gc_find_uploads(gc, batch, error) < 0 || find_at(gc, batch, TASKS, "result.blob_id", "published", error) < 0 ||
        find_at(gc, batch, TASKS, "checkpoint.blob_id", NULL, error) < 0 || find_unpublished(gc, batch, error) < 0 ||
        find_at(gc, batch, "models", "blob_id", "deleted", error) < 0) {
        return -1;
    }
    return find_in_parts(gc, batch, "datasets", NULL, "parts", error);
}

int64_t gc_drop_pointed(struct gc_batch *batch)
{
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->list[i].pointed) {
            batch->list[kept++] = batch->list[i];
        }
    }
    int64_t dropped = (int64_t)(batch->count - kept);
    batch->count = kept;
    return dropped;
}
