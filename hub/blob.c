/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/blob_impl.h"
#include "hub/fault.h"

#include <string.h>

#define WRITE_CHUNKS 8 /* inserted together: one commit on SQLite for 2 MB */
#define WRITE_TRIES 3

/* ---- SHA-256 ---- */

int blob_sha256_init(struct blob_sha256 *sha, bson_error_t *error)
{
    sha->context = EVP_MD_CTX_new();
    if (sha->context == NULL || EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) != 1) {
        return hub_error(error, HUB_ERROR_MEMORY, "SHA-256 could not be set up");
    }
    return 1;
}

int blob_sha256_update(struct blob_sha256 *sha, const void *data, size_t length, bson_error_t *error)
{
    if (EVP_DigestUpdate(sha->context, data, length) != 1) {
        return hub_error(error, HUB_ERROR_INTERNAL, "SHA-256 failed");
    }
    return 1;
}

int blob_sha256_final(struct blob_sha256 *sha, char out[BLOB_SHA256_HEX], bson_error_t *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_DigestFinal_ex(sha->context, digest, &size) != 1 || size != 32) {
        return hub_error(error, HUB_ERROR_INTERNAL, "SHA-256 failed");
    }
    for (unsigned i = 0; i < size; i++) {
        snprintf(out + (size_t)2 * i, 3, "%02x", digest[i]);
    }
    return 1;
}

void blob_sha256_destroy(struct blob_sha256 *sha)
{
    EVP_MD_CTX_free(sha->context);
    sha->context = NULL;
}

/* ---- documents ---- */

bson_t *blob_chunk_document(const bson_oid_t *files_id, int32_t n, const void *data, size_t length)
{
    bson_t *chunk = bson_sized_new(length + 128);
    bson_oid_t id;
    bson_oid_init(&id, NULL);
    BSON_APPEND_OID(chunk, "_id", &id);
    BSON_APPEND_OID(chunk, "files_id", files_id);
    BSON_APPEND_INT32(chunk, "n", n);
    BSON_APPEND_BINARY(chunk, "data", BSON_SUBTYPE_BINARY, data, (uint32_t)length);
    return chunk;
}

bson_t *blob_files_document(const struct blob_info *info, const char *filename, const bson_t *metadata,
                            int64_t uploaded_ms)
{
    bson_t *files = bson_new(), inner;
    BSON_APPEND_OID(files, "_id", &info->id);
    BSON_APPEND_INT64(files, "length", info->length);
    BSON_APPEND_INT32(files, "chunkSize", BLOB_CHUNK_BYTES);
    BSON_APPEND_DATE_TIME(files, "uploadDate", uploaded_ms);
    BSON_APPEND_UTF8(files, "filename", filename != NULL ? filename : "");
    BSON_APPEND_DOCUMENT_BEGIN(files, "metadata", &inner);
    BSON_APPEND_UTF8(&inner, "sha256", info->sha256);
    if (metadata != NULL) {
        bson_copy_to_excluding_noinit(metadata, &inner, "sha256", "condemned", NULL);
    }
    bson_append_document_end(files, &inner);
    return files;
}

/* ---- windows of chunks: what reading and verifying share ---- */

struct store_cursor *blob_find_chunks(struct store *store, const bson_oid_t *files_id, int32_t from, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, range, sort = BSON_INITIALIZER;
    BSON_APPEND_OID(&filter, "files_id", files_id);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "n", &range);
    BSON_APPEND_INT32(&range, "$gte", from);
    bson_append_document_end(&filter, &range);
    BSON_APPEND_INT32(&sort, "n", 1);
    struct store_find_options options = {.sort = &sort, .limit = BLOB_WINDOW, .any_tie = true};
    struct store_cursor *cursor = store_find(store, BLOB_CHUNKS, &filter, &options, error);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return cursor;
}

struct window {
    struct store *store;
    bson_oid_t id;
    int32_t next; /* n of the chunk to come */
    struct store_cursor *cursor;
    int left; /* chunks that this cursor may still give */
};

static int window_open(struct window *window, bson_error_t *error)
{
    window->cursor = blob_find_chunks(window->store, &window->id, window->next, error);
    window->left = BLOB_WINDOW;
    return window->cursor == NULL ? -1 : 1;
}

static void window_close(struct window *window)
{
    store_cursor_close(window->cursor);
    window->cursor = NULL;
}

/* The next chunk's bytes, borrowed until the next call: 1, 0 at the end, -1. */
static int window_next(struct window *window, const uint8_t **data, uint32_t *length, bson_error_t *error)
{
    const bson_t *chunk;
    bson_iter_t iter;
    bson_subtype_t subtype;
    char id[25];
    if (window->cursor != NULL && window->left == 0) {
        window_close(window);
    }
    if (window->cursor == NULL && window_open(window, error) < 0) {
        return -1;
    }
    int result = store_cursor_next(window->cursor, &chunk, error);
    if (result != 1) {
        return result;
    }
    bson_oid_to_string(&window->id, id);
    if (!bson_iter_init_find(&iter, chunk, "n") || bson_iter_as_int64(&iter) != window->next) {
        return hub_error(error, HUB_ERROR_CORRUPT, "blob %s: chunk %" PRId32 " is missing", id, window->next);
    }
    if (!bson_iter_init_find(&iter, chunk, "data") || !BSON_ITER_HOLDS_BINARY(&iter)) {
        return hub_error(error, HUB_ERROR_CORRUPT, "blob %s: chunk %" PRId32 " holds no data", id, window->next);
    }
    bson_iter_binary(&iter, &subtype, length, data);
    window->next++;
    window->left--;
    return 1;
}

static int compare(const struct blob_info *info, int64_t length, const char *sha256, bson_error_t *error)
{
    char id[25];
    bson_oid_to_string(&info->id, id);
    if (length != info->length) {
        return hub_error(error, HUB_ERROR_CORRUPT, "blob %s: %" PRId64 " bytes are there, %" PRId64 " should be", id,
                         length, info->length);
    }
    /* Blobs of other GridFS clients carry no digest. */
    if (info->sha256[0] != '\0' && strcmp(sha256, info->sha256) != 0) {
        return hub_error(error, HUB_ERROR_CORRUPT, "blob %s: its SHA-256 is %s, not %s", id, sha256, info->sha256);
    }
    return 1;
}

int blob_verify(struct store *store, const struct blob_info *info, bson_error_t *error)
{
    struct window window = {.store = store, .id = info->id};
    struct blob_sha256 sha;
    char hex[BLOB_SHA256_HEX];
    const uint8_t *data;
    uint32_t size;
    int64_t length = 0;
    TL_FAULT("verify.before");
    int result = blob_sha256_init(&sha, error);
    while (result > 0 && (result = window_next(&window, &data, &size, error)) > 0) {
        length += size;
        result = blob_sha256_update(&sha, data, size, error);
    }
    if (result == 0) {
        result = blob_sha256_final(&sha, hex, error);
    }
    if (result > 0) {
        result = compare(info, length, hex, error);
    }
    TL_FAULT("verify.after");
    window_close(&window);
    blob_sha256_destroy(&sha);
    return result;
}

/* ---- writing ---- */

struct blob_writer {
    struct store *store;
    char *filename;
    bson_t *metadata;
    struct blob_info info;
    struct blob_sha256 sha;
    int32_t next;
    uint8_t *buffer; /* the chunk that fills */
    size_t filled;
    bson_t *chunks[WRITE_CHUNKS];
    size_t count;
    bool expected; /* info.sha256 is known */
    bool broken, finished;
};

struct blob_writer *blob_writer_open(struct store *store, const bson_oid_t *id, const char *filename,
                                     const bson_t *metadata, bson_error_t *error)
{
    struct blob_writer *writer = bson_malloc0(sizeof *writer);
    writer->store = store;
    writer->filename = bson_strdup(filename != NULL ? filename : "");
    writer->metadata = metadata != NULL ? bson_copy(metadata) : NULL;
    writer->info.id = *id;
    writer->buffer = bson_malloc(BLOB_CHUNK_BYTES);
    if (blob_sha256_init(&writer->sha, error) < 0) {
        blob_writer_close(writer);
        return NULL;
    }
    return writer;
}

void blob_writer_expect(struct blob_writer *writer, const char sha256[BLOB_SHA256_HEX])
{
    memcpy(writer->info.sha256, sha256, BLOB_SHA256_HEX);
    writer->expected = true;
}

/* A lost reply is answered by sending the same documents again: their _ids make that harmless. */
static int insert_again(struct store *store, const struct store_operation *operations, size_t count,
                        bson_error_t *error)
{
    bson_error_t inner;
    int result = -1;
    for (int i = 0; i < WRITE_TRIES; i++) {
        result = store_batch(store, operations, count, NULL, &inner);
        if (result >= 0 || hub_error_code(&inner) != HUB_ERROR_UNKNOWN_OUTCOME) {
            break;
        }
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    return result;
}

static int write_chunks(struct blob_writer *writer, bson_error_t *error)
{
    struct store_operation operations[WRITE_CHUNKS];
    memset(operations, 0, sizeof operations);
    for (size_t i = 0; i < writer->count; i++) {
        operations[i] = (struct store_operation){.kind = STORE_INSERT,
                                                 .collection = BLOB_CHUNKS,
                                                 .document = writer->chunks[i],
                                                 .ignore_duplicate = true};
    }
    int result = writer->count > 0 ? insert_again(writer->store, operations, writer->count, error) : 1;
    for (size_t i = 0; i < writer->count; i++) {
        bson_destroy(writer->chunks[i]);
    }
    writer->count = 0;
    writer->broken |= result < 0;
    return result;
}

static int end_chunk(struct blob_writer *writer, bson_error_t *error)
{
    writer->chunks[writer->count++] =
        blob_chunk_document(&writer->info.id, writer->next++, writer->buffer, writer->filled);
    writer->filled = 0;
    return writer->count == WRITE_CHUNKS ? write_chunks(writer, error) : 1;
}

int blob_writer_write(struct blob_writer *writer, const void *data, size_t length, bson_error_t *error)
{
    const uint8_t *bytes = data;
    if (writer->broken || writer->finished) {
        return hub_error(error, HUB_ERROR_INVALID, "the blob is %s", writer->finished ? "finished" : "broken: start again");
    }
    if (length > 0 && !writer->expected && blob_sha256_update(&writer->sha, data, length, error) < 0) {
        return -1;
    }
    while (length > 0) {
        size_t part = BLOB_CHUNK_BYTES - writer->filled;
        part = part < length ? part : length;
        memcpy(writer->buffer + writer->filled, bytes, part);
        writer->filled += part;
        writer->info.length += (int64_t)part;
        bytes += part;
        length -= part;
        if (writer->filled == BLOB_CHUNK_BYTES && end_chunk(writer, error) < 0) {
            return -1;
        }
    }
    return 1;
}

int blob_writer_finish(struct blob_writer *writer, struct blob_info *info, bson_error_t *error)
{
    int64_t now;
    memset(info, 0, sizeof *info);
    if (writer->broken || writer->finished) {
        return hub_error(error, HUB_ERROR_INVALID, "the blob is %s", writer->finished ? "finished" : "broken: start again");
    }
    writer->broken = true; /* until all is well */
    if ((writer->filled > 0 && end_chunk(writer, error) < 0) || write_chunks(writer, error) < 0 ||
        (!writer->expected && blob_sha256_final(&writer->sha, writer->info.sha256, error) < 0) ||
        blob_verify(writer->store, &writer->info, error) < 0 || store_server_time(writer->store, &now, error) < 0) {
        return -1;
    }
    bson_t *files = blob_files_document(&writer->info, writer->filename, writer->metadata, now);
    struct store_operation insert = {
        .kind = STORE_INSERT, .collection = BLOB_FILES, .document = files, .ignore_duplicate = true};
    int result = insert_again(writer->store, &insert, 1, error);
    bson_destroy(files);
    if (result < 0) {
        return -1;
    }
    writer->broken = false;
    writer->finished = true;
    *info = writer->info;
    return 1;
}

void blob_writer_close(struct blob_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    for (size_t i = 0; i < writer->count; i++) {
        bson_destroy(writer->chunks[i]);
    }
    blob_sha256_destroy(&writer->sha);
    bson_destroy(writer->metadata);
    bson_free(writer->filename);
    bson_free(writer->buffer);
    bson_free(writer);
}

/* ---- reading ---- */

struct blob_reader {
    struct blob_info info;
    struct window window;
    struct blob_sha256 sha;
    const uint8_t *data; /* what is left of the current chunk; the cursor's */
    uint32_t left;
    int64_t length;
    bool ended;
};

static int read_files(struct store *store, const bson_oid_t *id, struct blob_info *info, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, files;
    bson_iter_t iter, value;
    char text[25];
    BSON_APPEND_OID(&filter, "_id", id);
    bson_oid_to_string(id, text);
    int result = store_find_one(store, BLOB_FILES, &filter, NULL, &files, error);
    if (result == 0) {
        result = hub_error(error, HUB_ERROR_NOT_FOUND, "blob %s is not in the hub", text);
    } else if (result > 0) {
        info->id = *id;
        if (bson_iter_init_find(&iter, &files, "length") && BSON_ITER_HOLDS_NUMBER(&iter)) {
            info->length = bson_iter_as_int64(&iter);
        } else {
            result = hub_error(error, HUB_ERROR_CORRUPT, "blob %s: its files document has no length", text);
        }
        if (bson_iter_init(&iter, &files) && bson_iter_find_descendant(&iter, "metadata.sha256", &value) &&
            BSON_ITER_HOLDS_UTF8(&value) && strlen(bson_iter_utf8(&value, NULL)) == BLOB_SHA256_HEX - 1) {
            memcpy(info->sha256, bson_iter_utf8(&value, NULL), BLOB_SHA256_HEX);
        }
    }
    bson_destroy(&files);
    bson_destroy(&filter);
    return result;
}

struct blob_reader *blob_reader_open(struct store *store, const bson_oid_t *id, bson_error_t *error)
{
    struct blob_reader *reader = bson_malloc0(sizeof *reader);
    reader->window.store = store;
    reader->window.id = *id;
    if (read_files(store, id, &reader->info, error) < 0 || blob_sha256_init(&reader->sha, error) < 0) {
        blob_reader_close(reader);
        return NULL;
    }
    return reader;
}

const struct blob_info *blob_reader_info(const struct blob_reader *reader)
{
    return &reader->info;
}

/* At the end: 0, or -1 where length or digest are wrong. */
static int end_reading(struct blob_reader *reader, bson_error_t *error)
{
    char hex[BLOB_SHA256_HEX];
    if (blob_sha256_final(&reader->sha, hex, error) < 0 || compare(&reader->info, reader->length, hex, error) < 0) {
        return -1;
    }
    reader->ended = true;
    return 0;
}

int64_t blob_reader_read(struct blob_reader *reader, void *buffer, size_t size, bson_error_t *error)
{
    size_t filled = 0;
    if (reader->ended) {
        return 0;
    }
    while (filled < size) {
        if (reader->left == 0) {
            int result = window_next(&reader->window, &reader->data, &reader->left, error);
            if (result < 0) {
                return -1;
            }
            if (result == 0) {
                break;
            }
            reader->length += reader->left;
            if (reader->length > reader->info.length) {
                return compare(&reader->info, reader->length, "", error);
            }
            if (blob_sha256_update(&reader->sha, reader->data, reader->left, error) < 0) {
                return -1;
            }
            continue;
        }
        size_t part = size - filled < reader->left ? size - filled : reader->left;
        memcpy((uint8_t *)buffer + filled, reader->data, part);
        reader->data += part;
        reader->left -= (uint32_t)part;
        filled += part;
    }
    return filled > 0 || size == 0 ? (int64_t)filled : end_reading(reader, error);
}

void blob_reader_close(struct blob_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    window_close(&reader->window);
    blob_sha256_destroy(&reader->sha);
    bson_free(reader);
}

int blob_load(struct store *store, const bson_oid_t *id, int64_t limit, uint8_t **data, size_t *length,
              bson_error_t *error)
{
    *data = NULL;
    *length = 0;
    struct blob_reader *reader = blob_reader_open(store, id, error);
    if (reader == NULL) {
        return -1;
    }
    char text[25];
    uint8_t extra;
    int result = -1;
    int64_t size = reader->info.length, filled = 0, got = 1;
    bson_oid_to_string(id, text);
    if (size < 0 || size > limit) {
        hub_error(error, HUB_ERROR_INVALID, "blob %s: %" PRId64 " bytes are more than the limit of %" PRId64, text, size,
                  limit);
        goto out;
    }
    *data = bson_malloc(size > 0 ? (size_t)size : 1);
    while (filled < size && (got = blob_reader_read(reader, *data + filled, (size_t)(size - filled), error)) > 0) {
        filled += got;
    }
    /* Reading on to the end is what checks the digest. */
    if (got < 0 || (filled == size && blob_reader_read(reader, &extra, 1, error) != 0)) {
        goto out;
    }
    *length = (size_t)size;
    result = 1;
out:
    if (result < 0) {
        bson_free(*data);
        *data = NULL;
    }
    blob_reader_close(reader);
    return result;
}
