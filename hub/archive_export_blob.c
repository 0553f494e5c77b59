/* SPDX-License-Identifier: Apache-2.0 */
/* One blob into an archive: its files document and its chunks as they are, compared with length and digest on the way. */
#include "hub/archive_export_impl.h"
#include "hub/hub_impl.h"

#include <string.h>

struct stream {
    struct exporter *exporter;
    const bson_oid_t *id;
    struct blob_sha256 sha;
    int64_t length;
    int32_t next; /* n of the chunk to come */
    char *why;
};

static int write_id_frame(struct exporter *exporter, enum archive_kind kind, const bson_oid_t *id, int32_t chunks,
                          bson_error_t *error)
{
    bson_t frame = BSON_INITIALIZER;
    BSON_APPEND_OID(&frame, "_id", id);
    if (kind == ARCHIVE_BLOB_END) {
        BSON_APPEND_INT32(&frame, "chunks", chunks);
    }
    int result = archive_writer_frame(&exporter->writer, kind, &frame, error);
    bson_destroy(&frame);
    return result;
}

/* 1 written, 0 it is not the chunk that should come, -1. */
static int write_chunk(struct stream *stream, const bson_t *chunk, bson_error_t *error)
{
    bson_iter_t iter;
    bson_subtype_t subtype;
    const uint8_t *data;
    uint32_t length;
    if (!bson_iter_init_find(&iter, chunk, "n") || !BSON_ITER_HOLDS_NUMBER(&iter) ||
        bson_iter_as_int64(&iter) != stream->next) {
        snprintf(stream->why, 200, "chunk %" PRId32 " is missing", stream->next);
        return 0;
    }
    if (!archive_is_sound(chunk) || !bson_iter_init_find(&iter, chunk, "data") || !BSON_ITER_HOLDS_BINARY(&iter)) {
        snprintf(stream->why, 200, "chunk %" PRId32 " holds no data", stream->next);
        return 0;
    }
    bson_iter_binary(&iter, &subtype, &length, &data);
    stream->next++;
    stream->length += length;
    stream->exporter->progress.bytes += length;
    if (blob_sha256_update(&stream->sha, data, length, error) < 0) {
        return -1;
    }
    return archive_writer_frame(&stream->exporter->writer, ARCHIVE_CHUNK, chunk, error);
}

/* The next window of chunks: 1 there may be more, 0 all were written or *why says what is wrong, -1. */
static int write_window(struct stream *stream, bson_error_t *error)
{
    const bson_t *chunk;
    int given = 0;
    struct store_cursor *cursor = blob_find_chunks(hub_store(stream->exporter->hub), stream->id, stream->next, error);
    int result = cursor == NULL ? -1 : 1;
    while (result > 0 && (result = store_cursor_next(cursor, &chunk, error)) > 0) {
        given++;
        result = write_chunk(stream, chunk, error);
    }
    store_cursor_close(cursor);
    return result < 0 ? -1 : stream->why[0] == '\0' && given == BLOB_WINDOW;
}

static int write_chunks(struct stream *stream, const bson_t *files, bson_error_t *error)
{
    const char *expected = hub_text(files, "metadata.sha256");
    char hex[BLOB_SHA256_HEX];
    int result;
    while ((result = write_window(stream, error)) > 0) {
        exporter_tell(stream->exporter);
    }
    if (result < 0 || stream->why[0] != '\0') {
        return result;
    }
    int64_t length = hub_number(files, "length", -1);
    if (blob_sha256_final(&stream->sha, hex, error) < 0) {
        return -1;
    }
    if (stream->length != length) {
        snprintf(stream->why, 200, "%" PRId64 " bytes are there, %" PRId64 " should be", stream->length, length);
        return 0;
    }
    if (expected != NULL && strcmp(expected, hex) != 0) {
        snprintf(stream->why, 200, "its SHA-256 is %s, not %.64s", hex, expected);
        return 0;
    }
    return 1;
}

static int write_blob(struct exporter *exporter, const char *project, const bson_oid_t *id, const bson_t *files,
                      char why[200], bson_error_t *error)
{
    struct stream stream = {.exporter = exporter, .id = id, .why = why};
    bson_t frame = BSON_INITIALIZER, normal;
    int result = -1;
    archive_normalize(BLOB_FILES, files, &normal);
    BSON_APPEND_UTF8(&frame, "project", project);
    BSON_APPEND_DOCUMENT(&frame, "file", &normal);
    bson_destroy(&normal);
    if (blob_sha256_init(&stream.sha, error) < 0 ||
        archive_writer_frame(&exporter->writer, ARCHIVE_BLOB, &frame, error) < 0) {
        goto out;
    }
    result = write_chunks(&stream, files, error);
    if (result > 0) {
        exporter->blobs++;
        exporter->bytes += stream.length;
        exporter->progress.blobs++;
        archive_set_add(&exporter->blobs_written, id, sizeof *id);
        result = write_id_frame(exporter, ARCHIVE_BLOB_END, id, stream.next, error);
    } else if (result == 0) {
        result = write_id_frame(exporter, ARCHIVE_BLOB_DROPPED, id, 0, error) < 0 ? -1 : 0;
    }
out:
    blob_sha256_destroy(&stream.sha);
    bson_destroy(&frame);
    return result;
}

int exporter_write_blob(struct exporter *exporter, const char *project, const bson_oid_t *id, char why[200],
                        bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, files;
    why[0] = '\0';
    if (archive_set_has(&exporter->blobs_written, id, sizeof *id)) {
        bson_destroy(&filter);
        return 1;
    }
    BSON_APPEND_OID(&filter, "_id", id);
    int result = store_find_one(hub_store(exporter->hub), BLOB_FILES, &filter, NULL, &files, error);
    if (result == 0) {
        snprintf(why, 200, "it is not in the hub");
    } else if (result > 0 && !archive_is_sound(&files)) {
        snprintf(why, 200, "its files document is malformed");
        result = 0;
    } else if (result > 0) {
        result = write_blob(exporter, project, id, &files, why, error);
    }
    bson_destroy(&files);
    bson_destroy(&filter);
    return result;
}
