/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an archive: bytes that anybody may have written. */
#include "hub/archive_impl.h"
#include "hub/hub_impl.h"

#include <errno.h>
#include <string.h>

static int damaged(const struct archive_reader *reader, const char *what, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_CORRUPT, "%s is damaged at byte %" PRId64 ": %s; take another copy", reader->name,
                     reader->bytes, what);
}

static int truncated(const struct archive_reader *reader, bson_error_t *error)
{
    if (ferror(reader->file)) {
        return hub_error(error, HUB_ERROR_IO, "%s cannot be read at byte %" PRId64 ": %s", reader->name, reader->bytes,
                         strerror(errno));
    }
    return hub_error(error, HUB_ERROR_CORRUPT, "%s ends early, at byte %" PRId64 ": it is not whole; take another copy",
                     reader->name, reader->bytes);
}

/* Reads into the buffer at this offset. Memory grows with what arrives, not with what a length claims. */
static int take(struct archive_reader *reader, size_t offset, size_t length, bson_error_t *error)
{
    size_t filled = 0;
    while (filled < length) {
        size_t part = length - filled < 65536 ? length - filled : 65536;
        if (offset + filled + part > reader->capacity) {
            reader->capacity = 2 * (offset + filled + part);
            reader->buffer = bson_realloc(reader->buffer, reader->capacity);
        }
        size_t got = fread(reader->buffer + offset + filled, 1, part, reader->file);
        reader->bytes += (int64_t)got;
        if (got < part) {
            return truncated(reader, error);
        }
        filled += got;
    }
    return 1;
}

/* A frame's kind and document; *hashed is what the digest takes after a seal was compared with it. */
static int take_frame(struct archive_reader *reader, enum archive_kind *kind, bson_t *document, bson_error_t *error)
{
    uint32_t length;
    if (take(reader, 0, 5, error) < 0) {
        return -1;
    }
    *kind = (enum archive_kind)reader->buffer[0];
    memcpy(&length, reader->buffer + 1, 4);
    length = BSON_UINT32_FROM_LE(length);
    if (length < 5 || length > ARCHIVE_FRAME_BYTES || strchr("HNCBKbxDcST", *kind) == NULL || *kind == 0) {
        return damaged(reader, "no frame begins here", error);
    }
    /* The document is moved to the front, where it is aligned. */
    uint8_t head[5];
    memcpy(head, reader->buffer, 5);
    if (take(reader, 4, length - 4, error) < 0) {
        return -1;
    }
    memcpy(reader->buffer, head + 1, 4);
    if (!bson_init_static(document, reader->buffer, length) || !archive_is_sound(document)) {
        return damaged(reader, "a document is malformed", error);
    }
    return 1;
}

static int hash_frame(struct archive_reader *reader, enum archive_kind kind, const bson_t *document, bson_error_t *error)
{
    uint8_t byte = (uint8_t)kind;
    if (blob_sha256_update(&reader->sha, &byte, 1, error) < 0) {
        return -1;
    }
    return blob_sha256_update(&reader->sha, bson_get_data(document), document->len, error);
}

static int compare_seal(struct archive_reader *reader, const bson_t *seal, bson_error_t *error)
{
    struct blob_sha256 copy = {.context = EVP_MD_CTX_new()};
    char hex[BLOB_SHA256_HEX];
    const char *expected = hub_text(seal, "sha256");
    int result = -1;
    if (copy.context == NULL || EVP_MD_CTX_copy_ex(copy.context, reader->sha.context) != 1) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a checksum");
    } else if (blob_sha256_final(&copy, hex, error) > 0) {
        result = expected != NULL && strcmp(expected, hex) == 0
                     ? 1
                     : damaged(reader, "the checksum of what comes before is wrong", error);
    }
    blob_sha256_destroy(&copy);
    return result;
}

static int read_magic(struct archive_reader *reader, bson_error_t *error)
{
    bson_error_t inner;
    uint32_t version;
    if (take(reader, 0, 12, &inner) < 0 || memcmp(reader->buffer, ARCHIVE_MAGIC, 8) != 0) {
        if (ferror(reader->file) && error != NULL) {
            *error = inner;
            return -1;
        }
        return hub_error(error, HUB_ERROR_VERSION, "%s is not an archive of tl_hub: name a file that tl_hub export wrote",
                         reader->name);
    }
    memcpy(&version, reader->buffer + 8, 4);
    version = BSON_UINT32_FROM_LE(version);
    if (version != ARCHIVE_FORMAT) {
        return hub_error(error, HUB_ERROR_VERSION,
                         "%s has format %" PRIu32 ", this program (%s) knows %d: use a newer tl_hub", reader->name, version,
                         TL_HUB_VERSION, ARCHIVE_FORMAT);
    }
    return blob_sha256_update(&reader->sha, reader->buffer, 12, error);
}

int archive_reader_open(struct archive_reader *reader, FILE *file, const char *name, bson_error_t *error)
{
    enum archive_kind kind;
    bson_t header;
    *reader = (struct archive_reader){.file = file, .name = name != NULL ? name : "the archive"};
    bson_init(&reader->header);
    if (blob_sha256_init(&reader->sha, error) < 0 || read_magic(reader, error) < 0 ||
        take_frame(reader, &kind, &header, error) < 0) {
        return -1;
    }
    if (kind != ARCHIVE_HEADER) {
        return damaged(reader, "the header is missing", error);
    }
    bson_concat(&reader->header, &header);
    if (hub_number(&header, "schema_version", 0) > HUB_SCHEMA_VERSION) {
        const char *version = hub_text(&header, "program_version");
        return hub_error(error, HUB_ERROR_VERSION,
                         "%s is of a newer hub: schema version %" PRId64 ", this program (%s) knows %d; use tl_hub %s",
                         reader->name, hub_number(&header, "schema_version", 0), TL_HUB_VERSION, HUB_SCHEMA_VERSION,
                         version != NULL ? version : "of a later version");
    }
    return hash_frame(reader, kind, &header, error);
}

static void keep_trailer(struct archive_reader *reader, const bson_t *trailer)
{
    struct archive_summary *summary = &reader->summary;
    const char *digest = hub_text(trailer, "digest");
    char path[64];
    for (size_t i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        snprintf(path, sizeof path, "counts.%s", archive_collections[i]);
        summary->counts[i] = hub_number(trailer, path, 0);
    }
    summary->documents = hub_number(trailer, "documents", 0);
    summary->blobs = hub_number(trailer, "blobs", 0);
    summary->bytes = hub_number(trailer, "bytes", 0);
    if (digest != NULL && strlen(digest) == 64) {
        memcpy(summary->digest, digest, 65);
    }
    reader->ended = true;
}

int archive_reader_next(struct archive_reader *reader, enum archive_kind *kind, bson_t *document, bson_error_t *error)
{
    bool last = reader->ended;
    if (take_frame(reader, kind, document, error) < 0) {
        return -1;
    }
    if (last && *kind != ARCHIVE_SEAL) {
        return damaged(reader, "there is more after the end", error);
    }
    if (*kind == ARCHIVE_SEAL && compare_seal(reader, document, error) < 0) {
        return -1;
    }
    if (last) {
        uint8_t extra;
        return fread(&extra, 1, 1, reader->file) == 0 ? 0 : damaged(reader, "there is more after the end", error);
    }
    if (*kind == ARCHIVE_TRAILER) {
        keep_trailer(reader, document);
    }
    return hash_frame(reader, *kind, document, error) < 0 ? -1 : 1;
}

void archive_reader_close(struct archive_reader *reader)
{
    bson_destroy(&reader->header);
    blob_sha256_destroy(&reader->sha);
    bson_free(reader->buffer);
    reader->buffer = NULL;
}
