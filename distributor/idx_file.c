/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/idx_file.h"

#include "distributor/gzip_file.h"

#include <stdlib.h>
#include <string.h>

#define ROW_BYTES (1 << 24)

struct idx_file {
    char *path;
    struct gzip_file *stream;
    int rank;
    int64_t dimensions[IDX_FILE_RANK];
    int64_t row_bytes;
    int64_t offset; /* bytes read so far, unpacked */
};

static int refuse_read(const struct idx_file *file, bson_error_t *error)
{
    const char *reason;
    enum hub_error_code code = gzip_file_wrong(file->stream, &reason);
    if (code == HUB_ERROR_IO)
        return hub_error(error, code, "%s: byte %lld: %s", file->path, (long long)file->offset, reason);
    if (code != HUB_ERROR_INVALID)
        return hub_error(error, code, "%s: %s", file->path, reason);
    return hub_error(error, code, "%s: unpacked byte %lld: damaged gzip data (%s)", file->path,
                     (long long)file->offset, reason);
}

/* Exactly length bytes: 1; fewer, because the file ended: 0 (then *got of them). */
static int read_bytes(struct idx_file *file, void *bytes, size_t length, size_t *got, bson_error_t *error)
{
    *got = 0;
    while (*got < length) {
        int64_t n = gzip_file_read(file->stream, (char *)bytes + *got, length - *got);
        if (n < 0)
            return refuse_read(file, error);
        if (!n)
            return 0;
        *got += (size_t)n;
        file->offset += n;
    }
    return 1;
}

static const char *type_name(unsigned char type)
{
    switch (type) {
    case 0x09: return "signed bytes";
    case 0x0b: return "shorts";
    case 0x0c: return "ints";
    case 0x0d: return "floats";
    case 0x0e: return "doubles";
    default: return NULL;
    }
}

static int read_header(struct idx_file *file, bson_error_t *error)
{
    unsigned char magic[4], sizes[4 * IDX_FILE_RANK];
    size_t got;
    int whole = read_bytes(file, magic, sizeof magic, &got, error);
    if (whole < 0)
        return -1;
    if (!whole)
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte %zu: ends within the magic number", file->path, got);
    if (magic[0] || magic[1])
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte 0: not an IDX file (magic number %02x%02x%02x%02x)",
                         file->path, magic[0], magic[1], magic[2], magic[3]);
    if (magic[2] != 0x08 && type_name(magic[2]))
        return hub_error(error, HUB_ERROR_INVALID,
                         "%s: byte 2: elements are %s (0x%02x); only unsigned bytes (0x08) "
                         "are taken",
                         file->path, type_name(magic[2]), magic[2]);
    if (magic[2] != 0x08)
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte 2: 0x%02x is no element type of IDX", file->path,
                         magic[2]);
    if (!magic[3] || magic[3] > IDX_FILE_RANK)
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte 3: %d dimensions; 1 to %d are taken", file->path, magic[3],
                         IDX_FILE_RANK);
    file->rank = magic[3];
    whole = read_bytes(file, sizes, 4 * (size_t)file->rank, &got, error);
    if (whole < 0)
        return -1;
    if (!whole)
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte %zu: ends within the sizes of its %d dimensions",
                         file->path, 4 + got, file->rank);
    file->row_bytes = 1;
    for (int i = 0; i < file->rank; i++) {
        const unsigned char *size = sizes + 4 * i;
        file->dimensions[i] = (int64_t)size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3];
        if (!file->dimensions[i])
            return hub_error(error, HUB_ERROR_INVALID, "%s: byte %d: dimension %d is 0", file->path, 4 + 4 * i, i + 1);
        if (!i)
            continue;
        file->row_bytes *= file->dimensions[i]; /* below 2^24 × 2^32 */
        if (file->row_bytes > ROW_BYTES)
            return hub_error(error, HUB_ERROR_INVALID, "%s: byte %d: a row is larger than %d bytes", file->path,
                             4 + 4 * i, ROW_BYTES);
    }
    return 0;
}

struct idx_file *idx_file_open(const char *path, bson_error_t *error)
{
    struct idx_file *file = calloc(1, sizeof *file);
    if (!file || !(file->path = strdup(path))) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
        goto failed;
    }
    file->stream = gzip_file_open(path, error);
    if (!file->stream)
        goto failed;
    if (read_header(file, error))
        goto failed;
    return file;
failed:
    idx_file_close(file);
    return NULL;
}

void idx_file_close(struct idx_file *file)
{
    if (!file)
        return;
    gzip_file_close(file->stream);
    free(file->path);
    free(file);
}

const char *idx_file_path(const struct idx_file *file)
{
    return file->path;
}

int idx_file_rank(const struct idx_file *file)
{
    return file->rank;
}

int64_t idx_file_rows(const struct idx_file *file)
{
    return file->dimensions[0];
}

int64_t idx_file_dimension(const struct idx_file *file, int i)
{
    return file->dimensions[i];
}

int64_t idx_file_row_bytes(const struct idx_file *file)
{
    return file->row_bytes;
}

int idx_file_read(struct idx_file *file, void *rows, int64_t count, bson_error_t *error)
{
    size_t got;
    int whole = read_bytes(file, rows, (size_t)count * (size_t)file->row_bytes, &got, error);
    if (whole < 0)
        return -1;
    if (!whole)
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte %lld: truncated; %lld rows of %lld bytes end at byte %lld",
                         file->path, (long long)file->offset, (long long)file->dimensions[0],
                         (long long)file->row_bytes,
                         (long long)(4 + 4 * file->rank + file->dimensions[0] * file->row_bytes));
    return 0;
}

int idx_file_end(struct idx_file *file, bson_error_t *error)
{
    char byte;
    size_t got;
    int more = read_bytes(file, &byte, 1, &got, error);
    if (more < 0)
        return -1;
    if (more)
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte %lld: more data than its %lld rows", file->path,
                         (long long)file->offset - 1, (long long)file->dimensions[0]);
    return 0;
}
