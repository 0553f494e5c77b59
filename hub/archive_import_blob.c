/* SPDX-License-Identifier: Apache-2.0 */
/* The blobs of an import, as their frames come: what the hub has is passed over, and chunks are kept back until they are
 * worth a write. */
#include "hub/archive_import_impl.h"
#include "hub/hub_impl.h"

#include <string.h>

#define CHUNK_BYTES (4 << 20) /* of chunks kept back before they are written */

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
    importer->blobs = importer_more_room(importer->blobs, importer->blob_count, &importer->blob_capacity,
                                         sizeof *importer->blobs);
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
    importer->chunks = importer_more_room(importer->chunks, importer->chunk_count, &importer->chunk_capacity,
                                          sizeof *importer->chunks);
    importer->chunks[importer->chunk_count++] = bson_copy(chunk);
    importer->chunk_bytes += chunk->len;
    return importer->chunk_bytes >= CHUNK_BYTES ? importer_write_chunks(importer, error) : 1;
}

int importer_end_blob(struct importer *importer, bson_error_t *error)
{
    struct import_blob *blob = &importer->blobs[importer->blob_count - 1];
    if (!blob->there && blob->streamed) {
        /* A large one is looked at outside of any transaction. */
        if ((importer->chunk_count > 0 && importer_write_chunks(importer, error) < 0) ||
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
