/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/blob_impl.h"

#include <string.h>

#define LIMIT (8 << 20)

struct blob_batch {
    struct blob_info info;
    bson_t **documents; /* chunks, then the files document */
    struct store_operation *operations;
    size_t documents_count, count;
};

static int check(struct store *store, void *data, bson_error_t *error)
{
    return blob_verify(store, data, error);
}

struct blob_batch *blob_batch_new(struct store *store, const bson_oid_t *id, const char *filename,
                                  const bson_t *metadata, const void *data, size_t length, bson_error_t *error)
{
    int64_t now;
    if (length > LIMIT) {
        hub_error(error, HUB_ERROR_INVALID, "%zu bytes are too many to write in one batch (%d at most)", length, LIMIT);
        return NULL;
    }
    if (store_stamp_time(store, &now, error) < 0) {
        return NULL;
    }
    size_t chunks = (length + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES;
    struct blob_batch *batch = bson_malloc0(sizeof *batch);
    struct blob_sha256 sha = {0};
    batch->info.id = *id;
    batch->info.length = (int64_t)length;
    batch->documents = bson_malloc0((chunks + 1) * sizeof *batch->documents);
    batch->operations = bson_malloc0((chunks + 2) * sizeof *batch->operations);
    if (blob_sha256_init(&sha, error) < 0 || (length > 0 && blob_sha256_update(&sha, data, length, error) < 0) ||
        blob_sha256_final(&sha, batch->info.sha256, error) < 0) {
        blob_sha256_destroy(&sha);
        blob_batch_free(batch);
        return NULL;
    }
    blob_sha256_destroy(&sha);
    for (size_t i = 0; i < chunks; i++) {
        size_t offset = i * BLOB_CHUNK_BYTES;
        size_t size = length - offset < BLOB_CHUNK_BYTES ? length - offset : BLOB_CHUNK_BYTES;
        batch->documents[i] = blob_chunk_document(id, (int32_t)i, (const uint8_t *)data + offset, size);
        batch->operations[i] = (struct store_operation){.kind = STORE_INSERT,
                                                        .collection = BLOB_CHUNKS,
                                                        .document = batch->documents[i],
                                                        .ignore_duplicate = true};
    }
    batch->operations[chunks] = (struct store_operation){.kind = STORE_CHECK, .check = check, .data = &batch->info};
    batch->documents[chunks] = blob_files_document(&batch->info, filename, metadata, now);
    batch->operations[chunks + 1] = (struct store_operation){.kind = STORE_INSERT,
                                                             .collection = BLOB_FILES,
                                                             .document = batch->documents[chunks],
                                                             .ignore_duplicate = true};
    batch->documents_count = chunks + 1;
    batch->count = chunks + 2;
    return batch;
}

const struct store_operation *blob_batch_operations(const struct blob_batch *batch, size_t *count)
{
    *count = batch->count;
    return batch->operations;
}

const struct blob_info *blob_batch_info(const struct blob_batch *batch)
{
    return &batch->info;
}

void blob_batch_free(struct blob_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    for (size_t i = 0; i < batch->documents_count; i++) {
        bson_destroy(batch->documents[i]);
    }
    bson_free(batch->documents);
    bson_free(batch->operations);
    bson_free(batch);
}
