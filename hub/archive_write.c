/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/archive_impl.h"

#include <errno.h>
#include <string.h>

static int put(struct archive_writer *writer, const void *data, size_t length, bson_error_t *error)
{
    if (fwrite(data, 1, length, writer->file) != length) {
        return hub_error(error, errno == ENOSPC ? HUB_ERROR_NO_SPACE : HUB_ERROR_IO, "the archive cannot be written: %s",
                         strerror(errno));
    }
    writer->bytes += (int64_t)length;
    return blob_sha256_update(&writer->sha, data, length, error);
}

int archive_writer_open(struct archive_writer *writer, FILE *file, bson_error_t *error)
{
    uint8_t version[4] = {ARCHIVE_FORMAT, 0, 0, 0};
    *writer = (struct archive_writer){.file = file};
    if (blob_sha256_init(&writer->sha, error) < 0 || put(writer, ARCHIVE_MAGIC, 8, error) < 0) {
        return -1;
    }
    return put(writer, version, sizeof version, error);
}

int archive_writer_frame(struct archive_writer *writer, enum archive_kind kind, const bson_t *document,
                         bson_error_t *error)
{
    uint8_t byte = (uint8_t)kind;
    errno = 0;
    if (put(writer, &byte, 1, error) < 0) {
        return -1;
    }
    return put(writer, bson_get_data(document), document->len, error);
}

int archive_writer_seal(struct archive_writer *writer, bson_error_t *error)
{
    struct blob_sha256 copy = {.context = EVP_MD_CTX_new()};
    char hex[BLOB_SHA256_HEX];
    bson_t seal = BSON_INITIALIZER;
    int result = -1;
    if (copy.context == NULL || EVP_MD_CTX_copy_ex(copy.context, writer->sha.context) != 1) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a checksum");
    } else if (blob_sha256_final(&copy, hex, error) > 0) {
        BSON_APPEND_UTF8(&seal, "sha256", hex);
        result = archive_writer_frame(writer, ARCHIVE_SEAL, &seal, error);
        writer->sealed = writer->bytes;
    }
    blob_sha256_destroy(&copy);
    bson_destroy(&seal);
    return result;
}

void archive_writer_close(struct archive_writer *writer)
{
    blob_sha256_destroy(&writer->sha);
}
