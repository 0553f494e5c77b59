/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_BLOB_IMPL_H
#define TL_HUB_BLOB_IMPL_H

/* What those share who write, read and look at blobs: the two documents of the GridFS layout, how chunks are found, and
 * the verification. */

#include "hub/blob.h"

#include <openssl/evp.h>

#define BLOB_FILES "blobs.files"
#define BLOB_CHUNKS "blobs.chunks"

struct blob_sha256 {
    EVP_MD_CTX *context;
};
int blob_sha256_init(struct blob_sha256 *sha, bson_error_t *error);
int blob_sha256_update(struct blob_sha256 *sha, const void *data, size_t length, bson_error_t *error);
int blob_sha256_final(struct blob_sha256 *sha, char out[BLOB_SHA256_HEX], bson_error_t *error);
void blob_sha256_destroy(struct blob_sha256 *sha);

/* New chunk and files documents; the chunk's _id is fresh. */
bson_t *blob_chunk_document(const bson_oid_t *files_id, int32_t n, const void *data, size_t length);
bson_t *blob_files_document(const struct blob_info *info, const char *filename, const bson_t *metadata,
                            int64_t uploaded_ms);
/* The blob's next chunks from number `from` on, in order: at most BLOB_WINDOW, for a cursor holds what it found. */
#define BLOB_WINDOW 8
struct store_cursor *blob_find_chunks(struct store *store, const bson_oid_t *files_id, int32_t from, bson_error_t *error);
/* Reads every chunk of the blob back and compares length and digest: 1, or -1 with HUB_ERROR_CORRUPT. */
int blob_verify(struct store *store, const struct blob_info *info, bson_error_t *error);

#endif
