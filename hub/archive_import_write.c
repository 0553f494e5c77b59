/* SPDX-License-Identifier: Apache-2.0 */
/* What an import writes, in batches: announcements, chunks, files documents, then what points to them. On SQLite a batch is
 * one transaction; on MongoDB it is right wherever it stops, for announcements come first and pointers last. */
#include "hub/archive_import_impl.h"
#include "hub/gc_impl.h"
#include "hub/hub_impl.h"
#include "hub/query.h"
#include "hub/task.h"

#include <string.h>

#define CHUNK_BYTES (4 << 20)    /* of chunks kept back before they are written */
#define PENDING_BYTES (64 << 20) /* of documents that wait for a seal: more is no archive of ours */
#define TRIES 4

/* ---- pending ---- */

void *importer_more_room(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return list;
    }
    *capacity = *capacity > 0 ? 2 * *capacity : 64;
    return bson_realloc(list, *capacity * size);
}

static void drop_chunks(struct importer *importer)
{
    for (size_t i = 0; i < importer->chunk_count; i++) {
        bson_destroy(importer->chunks[i]);
    }
    importer->chunk_count = importer->chunk_bytes = 0;
}

static void drop_documents(struct importer *importer)
{
    for (size_t i = 0; i < importer->document_count; i++) {
        bson_destroy(importer->documents[i].document);
    }
    for (size_t i = 0; i < importer->blob_count; i++) {
        bson_destroy(importer->blobs[i].files);
    }
    importer->document_count = importer->blob_count = importer->pending_bytes = 0;
}

void importer_pending_free(struct importer *importer)
{
    drop_chunks(importer);
    drop_documents(importer);
    bson_free(importer->chunks);
    bson_free(importer->documents);
    bson_free(importer->blobs);
    bson_free(importer->resumed);
    archive_set_destroy(&importer->written);
}

void importer_add_document(struct importer *importer, bson_t *document)
{
    importer->documents = importer_more_room(importer->documents, importer->document_count, &importer->document_capacity,
                                    sizeof *importer->documents);
    importer->documents[importer->document_count++] =
        (struct import_document){.collection = importer->collection, .document = document};
    importer->pending_bytes += document->len;
}

/* A lost reply is answered by the same batch again: _ids make that harmless. So is an announcement that met another
 * import's, which came and went. */
static int run_batch(struct importer *importer, const struct store_operation *operations, size_t count,
                     size_t *stopped_at, bson_error_t *error)
{
    bson_error_t inner = {0};
    int result = -1;
    for (int i = 0; i < TRIES; i++) {
        result = store_batch(hub_store(importer->hub), operations, count, stopped_at, &inner);
        if (result >= 0 || (!hub_unknown(&inner) && hub_error_code(&inner) != HUB_ERROR_DUPLICATE)) {
            break;
        }
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    return result;
}

/* ---- announcements ---- */

/* Appends to two empty documents. An entry that somebody left there becomes ours, and moves. */
static void announcement(const struct importer *importer, const bson_oid_t *id, int64_t now, bson_t *filter,
                         bson_t *update)
{
    bson_t part;
    BSON_APPEND_OID(filter, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    BSON_APPEND_UTF8(&part, "project", hub_project(importer->hub));
    BSON_APPEND_UTF8(&part, "session", importer->session);
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$inc", &part);
    BSON_APPEND_INT64(&part, "beat", 1);
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$setOnInsert", &part);
    BSON_APPEND_DATE_TIME(&part, "created_at", now);
    BSON_APPEND_INT32(&part, "schema_version", HUB_SCHEMA_VERSION);
    bson_append_document_end(update, &part);
}

/* A list of operations and what they borrow. */
struct batch {
    struct store_operation *operations;
    size_t count, capacity;
    bson_t **owned;
    size_t owned_count, owned_capacity;
    size_t documents_at; /* index of the first pending document */
};

static void batch_add(struct batch *batch, struct store_operation operation)
{
    batch->operations = importer_more_room(batch->operations, batch->count, &batch->capacity, sizeof *batch->operations);
    batch->operations[batch->count++] = operation;
}

static bson_t *batch_own(struct batch *batch)
{
    batch->owned = importer_more_room(batch->owned, batch->owned_count, &batch->owned_capacity, sizeof *batch->owned);
    return batch->owned[batch->owned_count++] = bson_new();
}

static void batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->owned_count; i++) {
        bson_destroy(batch->owned[i]);
    }
    bson_free(batch->owned);
    bson_free(batch->operations);
}

/* Announces what is not announced yet. Where others' entries may stand each one is taken over; else all are inserted
 * together. */
static int add_announcements(struct importer *importer, struct batch *batch, bson_error_t *error)
{
    int64_t now = 0;
    for (size_t i = 0; i < importer->blob_count; i++) {
        struct import_blob *blob = &importer->blobs[i];
        if (blob->announced || blob->there) {
            continue;
        }
        if (now == 0 && hub_now(importer->hub, &now, error) < 0) {
            return -1;
        }
        bson_t *first = batch_own(batch);
        if (importer->others) {
            bson_t *update = batch_own(batch);
            announcement(importer, &blob->info.id, now, first, update);
            batch_add(batch, (struct store_operation){.kind = STORE_UPDATE,
                                                      .collection = GC_UPLOADS,
                                                      .filter = first,
                                                      .update = update,
                                                      .upsert = true});
        } else {
            bson_t upload;
            gc_upload_document(importer->hub, &blob->info.id, NULL, 0, NULL, importer->session, now, &upload);
            bson_concat(first, &upload);
            bson_destroy(&upload);
            batch_add(batch, (struct store_operation){
                                 .kind = STORE_INSERT, .collection = GC_UPLOADS, .document = first, .ignore_duplicate = true});
        }
        blob->announced = true;
        importer->announced++;
    }
    return 1;
}

/* A transaction that did not come about has announced nothing; what was streamed was announced before it. */
static void forget_announcements(struct importer *importer)
{
    for (size_t i = 0; i < importer->blob_count && importer->atomic; i++) {
        struct import_blob *blob = &importer->blobs[i];
        if (blob->announced && !blob->streamed) {
            blob->announced = false;
            importer->announced--;
        }
    }
}

static void add_chunks(struct importer *importer, struct batch *batch)
{
    for (size_t i = 0; i < importer->chunk_count; i++) {
        batch_add(batch, (struct store_operation){.kind = STORE_INSERT,
                                                  .collection = BLOB_CHUNKS,
                                                  .document = importer->chunks[i],
                                                  .ignore_duplicate = true});
    }
}

/* ---- blobs ---- */

/* Chunks before their seal: nothing shows them. */
static int write_chunks(struct importer *importer, bson_error_t *error)
{
    struct batch batch = {0};
    int result = add_announcements(importer, &batch, error);
    add_chunks(importer, &batch);
    if (result > 0) {
        result = run_batch(importer, batch.operations, batch.count, NULL, error);
    }
    for (size_t i = 0; i < importer->blob_count; i++) {
        importer->blobs[i].streamed = true;
    }
    batch_free(&batch);
    drop_chunks(importer);
    return result < 0 ? -1 : importer_beat(importer, error);
}

static int same_blob(struct importer *importer, const struct blob_info *info, const bson_t *mine, const bson_t *theirs,
                     bson_error_t *error)
{
    const char *sha256 = hub_text(theirs, "metadata.sha256");
    char id[25];
    if (hub_number(theirs, "length", -1) == info->length && strcmp(sha256 != NULL ? sha256 : "", info->sha256) == 0) {
        bson_t filter = BSON_INITIALIZER;
        BSON_APPEND_OID(&filter, "files_id", &info->id);
        int64_t size = hub_number(mine, "chunkSize", BLOB_CHUNK_BYTES);
        int64_t chunks = store_count(hub_store(importer->hub), BLOB_CHUNKS, &filter, error);
        bson_destroy(&filter);
        /* Where chunks are missing they are put back. */
        size = size > 0 ? size : BLOB_CHUNK_BYTES;
        return chunks < 0 ? -1 : chunks >= (info->length + size - 1) / size;
    }
    bson_oid_to_string(&info->id, id);
    return hub_error(error, HUB_ERROR_CONFLICT, "blob %s is in the hub with other content: this archive cannot be imported", id);
}

int importer_begin_blob(struct importer *importer, const bson_t *files, bson_error_t *error)
{
    struct import_blob blob = {.there = false};
    bson_t filter = BSON_INITIALIZER, found;
    bson_iter_t iter;
    const char *sha256 = hub_text(files, "metadata.sha256");
    int result;
    if (!bson_iter_init_find(&iter, files, "_id") || !BSON_ITER_HOLDS_OID(&iter)) {
        bson_destroy(&filter);
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: a blob without an ObjectId", importer->reader.name);
    }
    blob.info.id = *bson_iter_oid(&iter);
    blob.info.length = hub_number(files, "length", -1);
    if (sha256 != NULL && strlen(sha256) == BLOB_SHA256_HEX - 1) {
        memcpy(blob.info.sha256, sha256, BLOB_SHA256_HEX);
    }
    BSON_APPEND_OID(&filter, "_id", &blob.info.id);
    result = store_find_one(hub_store(importer->hub), BLOB_FILES, &filter, NULL, &found, error);
    blob.files_there = result > 0;
    if (result > 0) {
        result = same_blob(importer, &blob.info, files, &found, error);
        blob.there = result > 0;
    }
    bson_destroy(&found);
    bson_destroy(&filter);
    if (result < 0) {
        return -1;
    }
    blob.files = bson_copy(files);
    importer->pending_bytes += files->len;
    importer->blobs = importer_more_room(importer->blobs, importer->blob_count, &importer->blob_capacity, sizeof *importer->blobs);
    importer->blobs[importer->blob_count++] = blob;
    importer->next_chunk = 0;
    return 1;
}

int importer_add_chunk(struct importer *importer, const bson_t *chunk, bson_error_t *error)
{
    const struct import_blob *blob = &importer->blobs[importer->blob_count - 1];
    bson_iter_t iter;
    if (!bson_iter_init_find(&iter, chunk, "files_id") || !BSON_ITER_HOLDS_OID(&iter) ||
        !bson_oid_equal(bson_iter_oid(&iter), &blob->info.id) || hub_number(chunk, "n", -1) != importer->next_chunk) {
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: a chunk is not of the blob that it follows", importer->reader.name);
    }
    importer->next_chunk++;
    if (blob->there) {
        return importer_beat(importer, error);
    }
    importer->chunks = importer_more_room(importer->chunks, importer->chunk_count, &importer->chunk_capacity, sizeof *importer->chunks);
    importer->chunks[importer->chunk_count++] = bson_copy(chunk);
    importer->chunk_bytes += chunk->len;
    return importer->chunk_bytes >= CHUNK_BYTES ? write_chunks(importer, error) : 1;
}

int importer_end_blob(struct importer *importer, bson_error_t *error)
{
    struct import_blob *blob = &importer->blobs[importer->blob_count - 1];
    if (!blob->there && blob->streamed) {
        /* A large one is looked at outside of any transaction. */
        if ((importer->chunk_count > 0 && write_chunks(importer, error) < 0) ||
            blob_verify(hub_store(importer->hub), &blob->info, error) < 0) {
            return -1;
        }
        blob->verified = true;
    }
    importer->progress.blobs++;
    return 1;
}

int importer_drop_blob(struct importer *importer, bson_error_t *error)
{
    struct import_blob *blob = &importer->blobs[importer->blob_count - 1];
    int result = 1;
    size_t kept = 0;
    for (size_t i = 0; i < importer->chunk_count; i++) {
        bson_iter_t iter;
        if (bson_iter_init_find(&iter, importer->chunks[i], "files_id") &&
            bson_oid_equal(bson_iter_oid(&iter), &blob->info.id)) {
            importer->chunk_bytes -= importer->chunks[i]->len;
            bson_destroy(importer->chunks[i]);
        } else {
            importer->chunks[kept++] = importer->chunks[i];
        }
    }
    importer->chunk_count = kept;
    /* Where the hub has it, with chunks missing, it is not for this archive to say that it goes. */
    if (!blob->files_there) {
        result = importer_delete_chunks(importer, &blob->info.id, error);
    }
    bson_destroy(blob->files);
    importer->blob_count--;
    return result;
}

/* ---- what is there already ---- */

static void refuse(struct importer *importer, struct import_document *pending, const char *why)
{
    char id[160];
    archive_id_text(pending->document, id, sizeof id);
    importer_note(importer, "%s %s: %s", archive_collections[pending->collection], id, why);
    bson_destroy(pending->document);
    pending->document = NULL;
    importer->report->refused++;
}

/* The default project is everybody's; it was made when the older of the two was. */
static int merge_project(struct importer *importer, const bson_t *document, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    bson_iter_t iter;
    int result = 1;
    BSON_APPEND_UTF8(&filter, "_id", hub_text(document, "_id"));
    if (bson_iter_init_find(&iter, document, "created_at") && BSON_ITER_HOLDS_DATE_TIME(&iter)) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$min", &part);
        bson_append_iter(&part, "created_at", -1, &iter);
        bson_append_document_end(&update, &part);
        result = store_modify(hub_store(importer->hub), "projects", &filter, &update, NULL, NULL, error);
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

static int compare_with(struct importer *importer, struct import_document *pending, const bson_t *there,
                        bson_error_t *error)
{
    const char *collection = archive_collections[pending->collection];
    bson_t normal;
    int result = 1;
    archive_normalize(collection, there, &normal);
    if (strcmp(collection, "projects") == 0) {
        result = merge_project(importer, pending->document, error);
    }
    if (strcmp(collection, "projects") == 0 || bson_equal(&normal, pending->document)) {
        bson_destroy(pending->document);
        pending->document = NULL;
        importer->report->same++;
    } else {
        refuse(importer, pending, "is in the hub already and differs: left as it is there");
    }
    bson_destroy(&normal);
    return result;
}

static bool same_id(const bson_t *a, const bson_t *b)
{
    bson_iter_t x, y;
    return bson_iter_init_find(&x, a, "_id") && bson_iter_init_find(&y, b, "_id") &&
           bson_iter_type(&x) == bson_iter_type(&y) && query_compare_values(&x, &y) == 0;
}

/* Passes over the documents of one collection that the hub has: one query for all of them. */
static int pass_over(struct importer *importer, size_t first, size_t end, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in, list;
    bson_iter_t iter;
    const bson_t *there;
    int next = -1;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = first; i < end; i++) {
        char buffer[16];
        const char *key;
        size_t digits = bson_uint32_to_string((uint32_t)(i - first), &key, buffer, sizeof buffer);
        if (bson_iter_init_find(&iter, importer->documents[i].document, "_id")) {
            bson_append_iter(&list, key, (int)digits, &iter);
        }
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    struct store_cursor *cursor = store_find(hub_store(importer->hub),
                                             archive_collections[importer->documents[first].collection], &filter, NULL, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &there, error)) > 0) {
        for (size_t i = first; i < end && next > 0; i++) {
            struct import_document *pending = &importer->documents[i];
            if (pending->document != NULL && same_id(pending->document, there)) {
                next = compare_with(importer, pending, there, error);
                break;
            }
        }
        if (next < 0) {
            break;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    return next;
}

/* Every blob that the document points to is in the hub, or comes with this batch: 1, 0, -1. */
static int has_blobs(struct importer *importer, const struct import_document *pending, bson_error_t *error)
{
    bson_oid_t *list;
    int result = 1;
    size_t count = archive_pointers(archive_collections[pending->collection], pending->document, &list);
    for (size_t i = 0; i < count && result > 0; i++) {
        bool coming = archive_set_has(&importer->written, &list[i], sizeof list[i]);
        for (size_t j = 0; j < importer->blob_count && !coming; j++) {
            coming = bson_oid_equal(&importer->blobs[j].info.id, &list[i]);
        }
        if (!coming) {
            bson_t filter = BSON_INITIALIZER;
            BSON_APPEND_OID(&filter, "_id", &list[i]);
            int64_t there = store_count(hub_store(importer->hub), BLOB_FILES, &filter, error);
            bson_destroy(&filter);
            result = there < 0 ? -1 : there > 0;
        }
    }
    bson_free(list);
    return result;
}

#define TOGETHER 500

static int choose_documents(struct importer *importer, bson_error_t *error)
{
    size_t kept = 0;
    for (size_t first = 0, end; first < importer->document_count; first = end) {
        end = first + 1;
        while (end < importer->document_count && end - first < TOGETHER &&
               importer->documents[end].collection == importer->documents[first].collection) {
            end++;
        }
        if (pass_over(importer, first, end, error) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < importer->document_count; i++) {
        struct import_document *pending = &importer->documents[i];
        int whole = pending->document != NULL ? has_blobs(importer, pending, error) : 0;
        if (whole < 0) {
            return -1;
        }
        if (pending->document != NULL && whole == 0) {
            refuse(importer, pending, "points to a blob that is neither in the archive nor in the hub: left out");
        }
        if (pending->document != NULL) {
            struct import_document moved = *pending;
            pending->document = NULL;
            importer->documents[kept++] = moved;
        }
    }
    importer->document_count = kept;
    return 1;
}

/* ---- the batch ---- */

static int check_blob(struct store *store, void *data, bson_error_t *error)
{
    return blob_verify(store, data, error);
}

static int build(struct importer *importer, struct batch *batch, bson_error_t *error)
{
    if ((!importer->atomic || importer->others) && add_announcements(importer, batch, error) < 0) {
        return -1;
    }
    add_chunks(importer, batch);
    for (size_t i = 0; i < importer->blob_count; i++) {
        struct import_blob *blob = &importer->blobs[i];
        if (!blob->there && !blob->verified) {
            batch_add(batch, (struct store_operation){.kind = STORE_CHECK, .check = check_blob, .data = &blob->info});
        }
    }
    for (size_t i = 0; i < importer->blob_count; i++) {
        if (!importer->blobs[i].there) {
            batch_add(batch, (struct store_operation){.kind = STORE_INSERT,
                                                      .collection = BLOB_FILES,
                                                      .document = importer->blobs[i].files,
                                                      .ignore_duplicate = true});
        }
    }
    batch->documents_at = batch->count;
    for (size_t i = 0; i < importer->document_count; i++) {
        batch_add(batch, (struct store_operation){.kind = STORE_INSERT,
                                                  .collection = archive_collections[importer->documents[i].collection],
                                                  .document = importer->documents[i].document,
                                                  .ignore_duplicate = true});
    }
    return 1;
}

/* One try: 1 done, 0 a document was refused by the store and is out: try again, -1. */
static int try_batch(struct importer *importer, bson_error_t *error)
{
    struct batch batch = {0};
    bson_error_t inner = {0};
    size_t stopped_at = 0;
    int result = build(importer, &batch, &inner);
    if (result > 0) {
        result = run_batch(importer, batch.operations, batch.count, &stopped_at, &inner);
    }
    if (result < 0) {
        forget_announcements(importer);
    }
    size_t end = batch.documents_at + importer->document_count;
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_INVALID && stopped_at >= batch.documents_at && stopped_at < end) {
        size_t at = stopped_at - batch.documents_at;
        refuse(importer, &importer->documents[at], inner.message);
        importer->document_count--;
        memmove(&importer->documents[at], &importer->documents[at + 1],
                (importer->document_count - at) * sizeof *importer->documents);
        result = 0;
    } else if (result < 0 && error != NULL) {
        *error = inner;
    }
    batch_free(&batch);
    return result;
}

/* The pointers stand: are the blobs still there? Within one transaction nobody has seen them. */
static int keep_blobs(struct importer *importer, bson_error_t *error)
{
    for (size_t i = 0; i < importer->blob_count; i++) {
        struct import_blob *blob = &importer->blobs[i];
        if (!importer->atomic || blob->there || blob->announced) {
            int kept = gc_keep(importer->hub, &blob->info.id, error);
            if (kept <= 0) {
                return kept < 0 ? -1
                                : hub_error(error, HUB_ERROR_CONFLICT,
                                            "a blob was collected while it was imported: run the import again");
            }
        }
        archive_set_add(&importer->written, &blob->info.id, sizeof blob->info.id);
        importer->report->blobs_written += !blob->there;
        importer->report->blobs_same += blob->there;
    }
    return 1;
}

int importer_flush(struct importer *importer, bson_error_t *error)
{
    int result = 0;
    if (importer_check_gap(importer, error) < 0) {
        return -1;
    }
    if (importer->pending_bytes > PENDING_BYTES) {
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: a checksum is missing", importer->reader.name);
    }
    if (importer->document_count == 0 && importer->blob_count == 0) {
        return importer_beat(importer, error);
    }
    if ((importer->announced > 0 && importer_hold(importer, error) < 0) || choose_documents(importer, error) < 0) {
        return -1;
    }
    while (result == 0) {
        result = try_batch(importer, error);
    }
    if (result < 0 || keep_blobs(importer, error) < 0) {
        return -1;
    }
    importer->report->inserted += (int64_t)importer->document_count;
    drop_chunks(importer);
    drop_documents(importer);
    if (!importer->others && importer_end_session(importer, error) < 0) {
        return -1;
    }
    return importer_beat(importer, error);
}
