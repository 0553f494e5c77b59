/* SPDX-License-Identifier: Apache-2.0 */
/* What an import writes, in batches: announcements, chunks, files documents, then what points to them. On SQLite a batch is
 * one transaction; on MongoDB it is right wherever it stops, for announcements come first and pointers last. */
#include "hub/archive_import_impl.h"
#include "hub/gc_impl.h"
#include "hub/hub_impl.h"

#include <string.h>

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

int importer_write_chunks(struct importer *importer, bson_error_t *error)
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
        importer_refuse(importer, &importer->documents[at], inner.message);
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
    if ((importer->announced > 0 && importer_hold(importer, error) < 0) || importer_choose(importer, error) < 0) {
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
