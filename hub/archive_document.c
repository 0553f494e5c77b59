/* SPDX-License-Identifier: Apache-2.0 */
/* What an archive makes of a document. */
#include "hub/archive_impl.h"
#include "hub/task_impl.h"

#include <string.h>

#define DEPTH 200

const char *const archive_collections[ARCHIVE_COLLECTIONS] = {
    "projects", "architectures", "sweeps", "datasets", "rows", "models", "runners", "tasks", "logs",
};

int archive_collection_index(const char *collection)
{
    for (int i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        if (strcmp(collection, archive_collections[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* As a runner gives it back: a request that waits is obeyed. */
static void normalize_task(const bson_t *task, bson_t *out)
{
    static const char *const dropped[] = {"claim",   "claimed_at", "started_at", "beat_at",
                                          "started", "progress",   "request"};
    const char *state = task_requested_state(task);
    bson_iter_t iter;
    bool more = bson_iter_init(&iter, task);
    while (more && bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        bool drop = false;
        for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++) {
            drop = drop || strcmp(key, dropped[i]) == 0;
        }
        if (strcmp(key, "state") == 0) {
            BSON_APPEND_UTF8(out, "state", state != NULL ? state : "ready");
        } else if (!drop) {
            bson_append_iter(out, key, -1, &iter);
        }
    }
}

static void normalize_files(const bson_t *files, bson_t *out)
{
    bson_iter_t iter;
    bson_t metadata, inner;
    bool more = bson_iter_init(&iter, files);
    while (more && bson_iter_next(&iter)) {
        if (strcmp(bson_iter_key(&iter), "metadata") == 0 && hub_view(files, "metadata", &metadata)) {
            BSON_APPEND_DOCUMENT_BEGIN(out, "metadata", &inner);
            hub_copy_without(&metadata, &inner, "condemned", NULL);
            bson_append_document_end(out, &inner);
        } else {
            bson_append_iter(out, bson_iter_key(&iter), -1, &iter);
        }
    }
}

int archive_normalize(const char *collection, const bson_t *document, bson_t *out)
{
    const char *state = hub_text(document, "state");
    bson_init(out);
    if (strcmp(collection, "tasks") == 0 && state != NULL && strcmp(state, "running") == 0) {
        normalize_task(document, out);
    } else if (strcmp(collection, BLOB_FILES) == 0) {
        normalize_files(document, out);
    } else if (strcmp(collection, "runners") == 0 && (state == NULL || strcmp(state, "gone") != 0)) {
        return 0;
    } else {
        bson_concat(out, document);
    }
    return 1;
}

/* As task_forget_model leaves a result; nothing is left to publish of it. */
static void reduce_result(const bson_t *result, bson_t *out)
{
    hub_copy_without(result, out, "blob_id", "model", "deleted", NULL);
    BSON_APPEND_BOOL(out, "deleted", true);
}

void archive_reduce_task(const bson_t *task, bool without_checkpoint, bool without_weights, bson_t *out)
{
    bson_iter_t iter;
    bson_t result, inner;
    bool more = bson_iter_init(&iter, task);
    while (more && bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        if (without_weights && strcmp(key, "result") == 0 && hub_view(task, "result", &result)) {
            BSON_APPEND_DOCUMENT_BEGIN(out, "result", &inner);
            reduce_result(&result, &inner);
            bson_append_document_end(out, &inner);
        } else if (without_weights && strcmp(key, "published") == 0) {
            BSON_APPEND_BOOL(out, "published", true);
        } else if (!(without_checkpoint && (strcmp(key, "checkpoint") == 0 || strcmp(key, "kept") == 0))) {
            bson_append_iter(out, key, -1, &iter);
        }
    }
}

/* ---- pointers ---- */

static void add_pointer(const bson_iter_t *iter, bson_oid_t **list, size_t *count, size_t *capacity)
{
    if (!BSON_ITER_HOLDS_OID(iter)) {
        return;
    }
    if (*count == *capacity) {
        *capacity = *capacity > 0 ? 2 * *capacity : 2;
        *list = bson_realloc(*list, *capacity * sizeof **list);
    }
    (*list)[(*count)++] = *bson_iter_oid(iter);
}

static void add_parts(const bson_t *parts, bson_oid_t **list, size_t *count, size_t *capacity)
{
    bson_iter_t iter, value;
    bool more = bson_iter_init(&iter, parts);
    while (more && bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&iter) && bson_iter_recurse(&iter, &value) && bson_iter_find(&value, "blob_id")) {
            add_pointer(&value, list, count, capacity);
        }
    }
}

size_t archive_pointers(const char *collection, const bson_t *document, bson_oid_t **list)
{
    bson_iter_t iter, value;
    bson_t parts;
    size_t count = 0, capacity = 0;
    bool deleted = bson_iter_init_find(&iter, document, "deleted") && bson_iter_as_bool(&iter);
    *list = NULL;
    if (strcmp(collection, "tasks") == 0) {
        static const char *const paths[] = {"result.blob_id", "checkpoint.blob_id", "kept.blob_id"};
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
            if (bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, paths[i], &value)) {
                add_pointer(&value, list, &count, &capacity);
            }
        }
        if (hub_view(document, "result.dataset.parts", &parts)) { /* not published yet */
            add_parts(&parts, list, &count, &capacity);
        }
    } else if (strcmp(collection, "models") == 0) {
        if (!deleted && bson_iter_init_find(&iter, document, "blob_id")) {
            add_pointer(&iter, list, &count, &capacity);
        }
    } else if (strcmp(collection, "datasets") == 0 && !deleted && hub_view(document, "parts", &parts)) {
        add_parts(&parts, list, &count, &capacity);
    }
    return count;
}

/* ---- bytes ---- */

static bool is_sound(bson_iter_t *iter, bool array, int depth)
{
    for (bool first = true; bson_iter_next(iter); first = false) {
        bson_iter_t inner;
        if (array && first && strcmp(bson_iter_key(iter), "0") != 0) {
            return false;
        }
        if (BSON_ITER_HOLDS_DOCUMENT(iter) || BSON_ITER_HOLDS_ARRAY(iter)) {
            if (depth == DEPTH || !bson_iter_recurse(iter, &inner) ||
                !is_sound(&inner, BSON_ITER_HOLDS_ARRAY(iter), depth + 1)) {
                return false;
            }
        }
    }
    return iter->err_off == 0;
}

bool archive_is_sound(const bson_t *document)
{
    bson_iter_t iter;
    return bson_iter_init(&iter, document) && is_sound(&iter, false, 1);
}

void archive_id_text(const bson_t *document, char *out, size_t size)
{
    bson_iter_t iter;
    bson_t shown = BSON_INITIALIZER;
    char oid[25];
    if (!bson_iter_init_find(&iter, document, "_id")) {
        bson_strncpy(out, "(without _id)", size);
    } else if (BSON_ITER_HOLDS_UTF8(&iter)) {
        bson_strncpy(out, bson_iter_utf8(&iter, NULL), size);
    } else if (BSON_ITER_HOLDS_OID(&iter)) {
        bson_oid_to_string(bson_iter_oid(&iter), oid);
        bson_strncpy(out, oid, size);
    } else {
        bson_append_iter(&shown, "_id", 3, &iter);
        char *json = bson_as_relaxed_extended_json(&shown, NULL);
        bson_strncpy(out, json != NULL ? json : "(unreadable)", size);
        bson_free(json);
    }
    bson_destroy(&shown);
}
