/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs: whether somebody points to them, as gc asks it, and whether their chunks are what the files document says. */
#include "hub/fsck_impl.h"
#include "hub/hub_impl.h"

#include <string.h>

#define DAMAGED "restore it from a backup (tl_hub import puts missing chunks back), or delete what points to it"

/* ---- content ---- */

struct content {
    struct fsck *fsck;
    const bson_oid_t *id;
    struct blob_sha256 sha;
    int64_t length, chunk_size, expected;
    int32_t next;
    struct fsck_list *found;
    bool broken;
};

static void check_chunk(struct content *content, const bson_t *chunk, bson_error_t *error)
{
    bson_iter_t iter;
    bson_subtype_t subtype;
    const uint8_t *data;
    uint32_t length;
    int64_t n = hub_number(chunk, "n", -1);
    if (n != content->next) {
        fsck_add(content->found, FSCK_ERROR, n < content->next ? "chunk-twice" : "chunk-missing", DAMAGED,
                 n < content->next ? "chunk %" PRId32 " should come, and chunk %" PRId64 " comes again"
                                   : "chunk %" PRId32 " is missing; chunk %" PRId64 " comes",
                 content->next, n);
        content->broken = true;
        return;
    }
    if (!bson_iter_init_find(&iter, chunk, "data") || !BSON_ITER_HOLDS_BINARY(&iter)) {
        fsck_add(content->found, FSCK_ERROR, "chunk-data", DAMAGED, "chunk %" PRId32 " holds no data", content->next);
        content->broken = true;
        return;
    }
    bson_iter_binary(&iter, &subtype, &length, &data);
    int64_t left = content->expected - content->length;
    if (length != (left < content->chunk_size ? left : content->chunk_size)) {
        fsck_add(content->found, FSCK_ERROR, "chunk-length", DAMAGED, "chunk %" PRId32 " has %" PRIu32 " bytes, not %" PRId64,
                 content->next, length, left < content->chunk_size ? left : content->chunk_size);
        content->broken = true;
        return;
    }
    content->length += length;
    content->next++;
    content->fsck->report->bytes += length;
    if (blob_sha256_update(&content->sha, data, length, error) < 0) {
        content->broken = true;
    }
}

/* 1 there may be more, 0 the end, -1. */
static int check_window(struct content *content, bson_error_t *error)
{
    const bson_t *chunk;
    int given = 0, next = -1;
    struct store_cursor *cursor =
        blob_find_chunks(hub_store(content->fsck->hub), content->id, content->next, error);
    while (cursor != NULL && !content->broken && (next = store_cursor_next(cursor, &chunk, error)) > 0) {
        given++;
        check_chunk(content, chunk, error);
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : !content->broken && given == BLOB_WINDOW;
}

/* Every chunk is read: numbers, lengths, digest. */
static int check_bytes(struct content *content, const char *sha256, bson_error_t *error)
{
    char hex[BLOB_SHA256_HEX];
    int result = blob_sha256_init(&content->sha, error);
    while (result > 0 && (result = check_window(content, error)) > 0) {
    }
    if (result == 0 && !content->broken) {
        result = blob_sha256_final(&content->sha, hex, error);
        if (content->length != content->expected) {
            fsck_add(content->found, FSCK_ERROR, "chunk-missing", DAMAGED,
                     "chunk %" PRId32 " is missing: %" PRId64 " bytes are there, %" PRId64 " should be", content->next,
                     content->length, content->expected);
        } else if (result > 0 && sha256 != NULL && strcmp(sha256, hex) != 0) {
            fsck_add(content->found, FSCK_ERROR, "content-digest", DAMAGED, "its SHA-256 is %s, not %.64s", hex, sha256);
        }
    }
    blob_sha256_destroy(&content->sha);
    return result < 0 ? -1 : 1;
}

/* Only the chunks' number, which an index knows. */
static int check_count(struct content *content, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    int64_t expected = (content->expected + content->chunk_size - 1) / content->chunk_size;
    BSON_APPEND_OID(&filter, "files_id", content->id);
    int64_t count = store_count(hub_store(content->fsck->hub), BLOB_CHUNKS, &filter, error);
    bson_destroy(&filter);
    if (count >= 0 && count != expected) {
        fsck_add(content->found, FSCK_ERROR, count < expected ? "chunk-missing" : "chunk-twice", DAMAGED,
                 "%" PRId64 " chunks are there, %" PRId64 " should be", count, expected);
    }
    return count < 0 ? -1 : 1;
}

static int check_content(struct fsck *fsck, const bson_t *files, struct fsck_list *found, bson_error_t *error)
{
    bson_iter_t iter;
    struct content content = {.fsck = fsck,
                              .chunk_size = hub_number(files, "chunkSize", 0),
                              .expected = hub_number(files, "length", -1),
                              .found = found};
    if (!bson_iter_init_find(&iter, files, "_id") || !BSON_ITER_HOLDS_OID(&iter)) {
        fsck_add(found, FSCK_WARNING, "blob-id", "delete it, if nobody needs it", "_id is no ObjectId: nothing here can point to it");
        return 1;
    }
    content.id = bson_iter_oid(&iter);
    if (content.chunk_size <= 0 || content.expected < 0) {
        fsck_add(found, FSCK_ERROR, "blob-files", DAMAGED, "length or chunkSize is missing");
        return 1;
    }
    return fsck->options->quick ? check_count(&content, error)
                                : check_bytes(&content, hub_text(files, "metadata.sha256"), error);
}

/* ---- who points to it ---- */

static int is_pointed(struct fsck *fsck, const bson_t *files, bson_error_t *error)
{
    struct gc_batch *batch = bson_malloc0(sizeof *batch);
    bson_iter_t iter;
    int result = 1;
    if (bson_iter_init_find(&iter, files, "_id") && BSON_ITER_HOLDS_OID(&iter)) {
        batch->count = 1;
        batch->list[0].id = *bson_iter_oid(&iter);
        result = gc_find_pointers(&fsck->gc, batch, error) < 0 ? -1 : batch->list[0].pointed;
    }
    bson_free(batch);
    return result;
}

static int check_orphan(struct fsck *fsck, const bson_t *files, struct fsck_list *found, bson_error_t *error)
{
    /* Asked one by one only on the second look; the first one asks for a page at once. */
    int pointed = fsck->again ? is_pointed(fsck, files, error) : 0;
    if (pointed == 0) {
        fsck_add(found, FSCK_WARNING, "blob-orphan", "tl_hub gc", "nothing points to this blob of %" PRId64 " bytes",
                 hub_number(files, "length", 0));
    }
    return pointed < 0 ? -1 : 1;
}

static bool is_wanted(const struct fsck *fsck, const bson_t *files)
{
    const char *project = hub_text(files, "metadata.project");
    return fsck->options->project == NULL || (project != NULL && strcmp(project, fsck->options->project) == 0);
}

static int look_at_blob(struct fsck *fsck, const bson_oid_t *id, bool pointed, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, files;
    BSON_APPEND_OID(&filter, "_id", id);
    int result = store_find_one(hub_store(fsck->hub), BLOB_FILES, &filter, NULL, &files, error);
    if (result > 0 && is_wanted(fsck, &files)) {
        fsck->report->blobs++;
        result = fsck_look(fsck, BLOB_FILES, pointed ? check_content : check_orphan, &files, error);
    }
    bson_destroy(&files);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

int fsck_blobs(struct fsck *fsck, bson_error_t *error)
{
    struct gc_batch *batch = bson_malloc0(sizeof *batch);
    bson_oid_t last;
    int64_t done = 0, total = store_count(hub_store(fsck->hub), BLOB_FILES, NULL, error);
    int more = total < 0 ? -1 : 1;
    memset(&last, 0, sizeof last);
    while (more > 0 && (more = gc_next_files(&fsck->gc, &last, batch, error)) > 0) {
        if (gc_find_pointers(&fsck->gc, batch, error) < 0) {
            more = -1;
        }
        for (size_t i = 0; i < batch->count && more > 0; i++) {
            fsck_tell(fsck, BLOB_FILES, ++done, total);
            more = look_at_blob(fsck, &batch->list[i].id, batch->list[i].pointed, error);
        }
    }
    bson_free(batch);
    return more < 0 ? -1 : fsck_look_again(fsck, error);
}

/* ---- chunks without a files document ---- */

static int chunk_is_lost(struct fsck *fsck, struct gc_batch *batch, bson_error_t *error)
{
    /* The announcement comes before the first chunk and goes after the files document is there: in this order. */
    if (gc_find_uploads(&fsck->gc, batch, error) < 0 || gc_find_files(&fsck->gc, batch, error) < 0) {
        return -1;
    }
    return 1;
}

static int check_lost(struct fsck *fsck, const bson_t *chunk, struct fsck_list *found, bson_error_t *error)
{
    struct gc_batch *batch = bson_malloc0(sizeof *batch);
    bson_iter_t iter;
    char text[25];
    int result = 1;
    if (bson_iter_init_find(&iter, chunk, "files_id") && BSON_ITER_HOLDS_OID(&iter)) {
        batch->count = 1;
        batch->list[0].id = *bson_iter_oid(&iter);
        result = fsck->again ? chunk_is_lost(fsck, batch, error) : 1;
        if (result > 0 && !batch->list[0].pointed) {
            bson_oid_to_string(bson_iter_oid(&iter), text);
            fsck_add(found, FSCK_WARNING, "chunk-orphan", "tl_hub gc", "it is of blob %s, which has no files document", text);
        }
    }
    bson_free(batch);
    return result;
}

static int look_at_chunk(struct fsck *fsck, const bson_oid_t *files_id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, chunk;
    BSON_APPEND_OID(&filter, "files_id", files_id);
    BSON_APPEND_INT32(&sort, "n", 1);
    struct store_find_options options = {.sort = &sort};
    int result = store_find_one(hub_store(fsck->hub), BLOB_CHUNKS, &filter, &options, &chunk, error);
    if (result > 0) {
        result = fsck_look(fsck, BLOB_CHUNKS, check_lost, &chunk, error);
    }
    bson_destroy(&chunk);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

int fsck_chunks(struct fsck *fsck, bson_error_t *error)
{
    struct gc_batch *batch = bson_malloc0(sizeof *batch);
    bson_oid_t last;
    int more = 1;
    memset(&last, 0, sizeof last);
    while (more > 0 && (more = gc_next_chunks(&fsck->gc, &last, batch, error)) > 0) {
        if (chunk_is_lost(fsck, batch, error) < 0) {
            more = -1;
        }
        for (size_t i = 0; i < batch->count && more > 0; i++) {
            more = batch->list[i].pointed ? 1 : look_at_chunk(fsck, &batch->list[i].id, error);
        }
    }
    bson_free(batch);
    return more < 0 ? -1 : fsck_look_again(fsck, error);
}
