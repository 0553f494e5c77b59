/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_BLOB_H
#define TL_HUB_BLOB_H

/* Weights and data as blobs, in the GridFS layout on both engines (collections blobs.files and blobs.chunks), so that
 * any GridFS client reads them: files {_id, length, chunkSize, uploadDate, filename, metadata}, chunks {_id, files_id,
 * n, data}. On SQLite the same documents live in the same collections.
 *
 * Written by our own chunk writer: every insert is checked, and at the end length and SHA-256 are verified by reading
 * back. Streams: memory stays below 8 MiB whatever the blob's size. A blob exists when its files document does.
 * files.metadata = {sha256, project, kind, condemned?}. Who points to a blob, and when it may go: gc.h. */

#include "hub/store.h"

#define BLOB_CHUNK_BYTES 261120 /* GridFS's 255 KiB */
#define BLOB_SHA256_HEX 65

struct blob_info {
    bson_oid_t id;
    int64_t length;               /* bytes */
    char sha256[BLOB_SHA256_HEX]; /* lower-case hex */
};

struct blob_writer;
struct blob_reader;

/* metadata (may be NULL) is copied into files.metadata. The caller has announced the id in `uploads` before. */
struct blob_writer *blob_writer_open(struct store *store, const bson_oid_t *id, const char *filename,
                                     const bson_t *metadata, bson_error_t *error);
/* Before anything is written: the digest of all that will be, where the caller has it, so that it is not computed again.
 * Other data are found when they are read back (HUB_ERROR_CORRUPT). */
void blob_writer_expect(struct blob_writer *writer, const char sha256[BLOB_SHA256_HEX]);
int blob_writer_write(struct blob_writer *writer, const void *data, size_t length, bson_error_t *error);
/* Writes the last chunk, verifies by reading back, then writes the files document. Fills *info. */
int blob_writer_finish(struct blob_writer *writer, struct blob_info *info, bson_error_t *error);
/* Frees. Without a finish before it, the chunks written so far stay for gc (nothing is deleted here). */
void blob_writer_close(struct blob_writer *writer);

/* Reads in order. 0 at the end, after length and SHA-256 were checked (HUB_ERROR_CORRUPT otherwise). */
struct blob_reader *blob_reader_open(struct store *store, const bson_oid_t *id, bson_error_t *error);
const struct blob_info *blob_reader_info(const struct blob_reader *reader);
int64_t blob_reader_read(struct blob_reader *reader, void *buffer, size_t size, bson_error_t *error);
void blob_reader_close(struct blob_reader *reader);

/* The whole blob into new memory (bson_free), refused above limit bytes. */
int blob_load(struct store *store, const bson_oid_t *id, int64_t limit, uint8_t **data, size_t *length,
              bson_error_t *error);

/* Operations that write a whole small blob (memory, at most 8 MiB) as part of a store_batch: chunk inserts, a
 * STORE_CHECK that reads back and hashes, the files insert. blob_batch owns what the operations borrow. */
struct blob_batch;
struct blob_batch *blob_batch_new(struct store *store, const bson_oid_t *id, const char *filename,
                                  const bson_t *metadata, const void *data, size_t length, bson_error_t *error);
const struct store_operation *blob_batch_operations(const struct blob_batch *batch, size_t *count);
const struct blob_info *blob_batch_info(const struct blob_batch *batch);
void blob_batch_free(struct blob_batch *batch);

#endif
