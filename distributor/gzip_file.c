/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/gzip_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BUFFER_BYTES (1 << 17)
#define STEP_BYTES   (1 << 30) /* zlib and read(2) count in 32 bits */

struct gzip_file {
    int fd;
    int64_t size;
    z_stream stream; /* its input is what was read and not taken yet, of plain files too */
    bool made;       /* the stream is to be ended */
    bool packed, file_ended, ended;
    bool inside; /* within a member */
    int code; /* 0, or what is wrong (enum hub_error_code), and why */
    const char *reason;
    unsigned char buffer[BUFFER_BYTES];
};

static int wrong(struct gzip_file *file, enum hub_error_code code, const char *reason)
{
    file->code = code;
    file->reason = reason;
    return -1;
}

/* More packed bytes behind those that are left, until `wanted` lie there or the file ends. */
static int fill(struct gzip_file *file, size_t wanted)
{
    z_stream *stream = &file->stream;
    if (stream->avail_in)
        memmove(file->buffer, stream->next_in, stream->avail_in);
    stream->next_in = file->buffer;
    while (!file->file_ended && stream->avail_in < wanted) {
        ssize_t n = read(file->fd, file->buffer + stream->avail_in, BUFFER_BYTES - stream->avail_in);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wrong(file, HUB_ERROR_IO, strerror(errno));
        file->file_ended = n == 0;
        stream->avail_in += (uInt)n;
    }
    return 0;
}

/* The first bytes say whether it is packed. */
static int look(struct gzip_file *file)
{
    file->file_ended = file->ended = false;
    file->stream.avail_in = 0;
    file->code = 0;
    if (fill(file, 2))
        return -1;
    file->packed = file->stream.avail_in >= 2 && file->buffer[0] == 0x1f && file->buffer[1] == 0x8b;
    file->inside = true;
    if (!file->packed)
        return 0;
    int made = file->made ? inflateReset(&file->stream) : inflateInit2(&file->stream, MAX_WBITS + 16); /* gzip alone */
    file->made = true;
    return made == Z_OK ? 0 : wrong(file, HUB_ERROR_MEMORY, "no memory to unpack it");
}

struct gzip_file *gzip_file_open(const char *path, bson_error_t *error)
{
    struct stat status;
    struct gzip_file *file = calloc(1, sizeof *file);
    if (!file) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
        return NULL;
    }
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0 || fstat(file->fd, &status)) {
        hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
        gzip_file_close(file);
        return NULL;
    }
    file->size = S_ISREG(status.st_mode) ? (int64_t)status.st_size : -1;
    look(file); /* what is wrong is said by the first read */
    return file;
}

void gzip_file_close(struct gzip_file *file)
{
    if (!file)
        return;
    if (file->made)
        inflateEnd(&file->stream);
    if (file->fd >= 0)
        close(file->fd);
    free(file);
}

int64_t gzip_file_size(const struct gzip_file *file)
{
    return file->size;
}

bool gzip_file_is_packed(const struct gzip_file *file)
{
    return file->packed;
}

double gzip_file_progress(const struct gzip_file *file)
{
    const off_t at = lseek(file->fd, 0, SEEK_CUR);
    return at < 0 || file->size < 1 || at >= file->size ? 1 : (double)at / (double)file->size;
}

int gzip_file_rewind(struct gzip_file *file)
{
    return lseek(file->fd, 0, SEEK_SET) < 0 ? wrong(file, HUB_ERROR_IO, strerror(errno)) : look(file);
}

enum hub_error_code gzip_file_wrong(const struct gzip_file *file, const char **reason)
{
    *reason = file->reason ? file->reason : "damaged";
    return (enum hub_error_code)file->code;
}

/* ---- reading ---- */

/* Behind a member: 1 another begins, 0 the file ends there or only zero bytes follow, -1. */
static int next_member(struct gzip_file *file)
{
    z_stream *stream = &file->stream;
    bool padded = false;
    do {
        for (; stream->avail_in && !*stream->next_in; stream->avail_in--, stream->next_in++)
            padded = true;
        if (stream->avail_in == 0 && fill(file, 1))
            return -1;
    } while (stream->avail_in && !*stream->next_in);
    if (stream->avail_in == 0)
        return 0;
    if (padded || fill(file, 2))
        return padded ? wrong(file, HUB_ERROR_INVALID, "more data after zero bytes behind its end") : -1;
    if (stream->avail_in < 2 || stream->next_in[0] != 0x1f || stream->next_in[1] != 0x8b)
        return wrong(file, HUB_ERROR_INVALID, "what follows its end is no gzip data");
    file->inside = true;
    return inflateReset(stream) == Z_OK ? 1 : wrong(file, HUB_ERROR_MEMORY, "no memory to unpack it");
}

/* At least a byte unpacked into the stream's output: 1; 0 the end; -1. */
static int unpack(struct gzip_file *file)
{
    z_stream *stream = &file->stream;
    const uInt room = stream->avail_out;
    while (stream->avail_out == room) {
        int more = file->inside ? 1 : next_member(file);
        if (more <= 0)
            return more;
        if (!stream->avail_in && fill(file, 1))
            return -1;
        if (!stream->avail_in)
            return wrong(file, HUB_ERROR_INVALID, "it ends too early");
        int code = inflate(stream, Z_NO_FLUSH);
        if (code == Z_MEM_ERROR)
            return wrong(file, HUB_ERROR_MEMORY, "no memory to unpack it");
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return wrong(file, HUB_ERROR_INVALID, stream->msg ? stream->msg : "it needs a dictionary");
        file->inside = code != Z_STREAM_END;
    }
    return 1;
}

static int64_t read_packed(struct gzip_file *file, unsigned char *bytes, size_t length)
{
    const uInt room = length > STEP_BYTES ? STEP_BYTES : (uInt)length;
    file->stream.next_out = bytes;
    file->stream.avail_out = room;
    int more = unpack(file);
    return more <= 0 ? more : (int64_t)(room - file->stream.avail_out);
}

static int64_t read_plain(struct gzip_file *file, unsigned char *bytes, size_t length)
{
    z_stream *stream = &file->stream;
    if (!stream->avail_in && length >= BUFFER_BYTES && !file->file_ended) {
        ssize_t n;
        do
            n = read(file->fd, bytes, length > STEP_BYTES ? STEP_BYTES : length);
        while (n < 0 && errno == EINTR);
        return n < 0 ? wrong(file, HUB_ERROR_IO, strerror(errno)) : (int64_t)n;
    }
    if (!stream->avail_in && fill(file, 1))
        return -1;
    const size_t n = length < stream->avail_in ? length : stream->avail_in;
    if (n)
        memcpy(bytes, stream->next_in, n);
    stream->next_in += n;
    stream->avail_in -= (uInt)n;
    return (int64_t)n;
}

int64_t gzip_file_read(struct gzip_file *file, void *bytes, size_t length)
{
    size_t got = 0;
    while (got < length && !file->ended && !file->code) {
        unsigned char *at = (unsigned char *)bytes + got;
        int64_t n = file->packed ? read_packed(file, at, length - got) : read_plain(file, at, length - got);
        file->ended = n == 0;
        got += n > 0 ? (size_t)n : 0;
    }
    return got == 0 && file->code ? -1 : (int64_t)got;
}
