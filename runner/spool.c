/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPLIT_BYTES = 65, HEAD_BYTES = 2, POINT_BYTES = 16 << 20 };

/* One point, in memory and in the file: HEAD_BYTES (whether it is of a batch, the split's length), the split, the BSON. */
struct spool {
    char *folder;
    size_t memory_most;
    int64_t file_most;
    uint8_t *memory;
    size_t memory_length, memory_capacity, memory_read;
    int file; /* -1 until first needed */
    int64_t file_read, file_length;
    int64_t stride; /* of points of batches: 1 keeps all */
    int64_t ordinal; /* of the points of batches that came */
    int64_t left_out;
};

struct record {
    bool batch;
    char split[SPLIT_BYTES];
    const uint8_t *bson; /* NULL where there is none */
    uint32_t bson_length;
    size_t length; /* of the whole */
};

struct spool *spool_new(const char *folder, size_t memory_bytes, int64_t file_bytes)
{
    struct spool *spool = calloc(1, sizeof *spool);
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (!spool)
        return NULL;
    spool->file = -1;
    spool->stride = 1;
    spool->memory_most = memory_bytes;
    spool->file_most = file_bytes;
    spool->folder = strdup(folder && *folder ? folder : run && *run == '/' ? run : "/tmp");
    if (spool->folder)
        return spool;
    free(spool);
    return NULL;
}

void spool_free(struct spool *spool)
{
    if (!spool)
        return;
    if (spool->file >= 0)
        close(spool->file);
    free(spool->memory);
    free(spool->folder);
    free(spool);
}

void spool_clear(struct spool *spool)
{
    if (spool->file >= 0)
        close(spool->file);
    spool->file = -1;
    spool->file_read = spool->file_length = 0;
    spool->memory_read = spool->memory_length = 0;
    spool->stride = 1;
    spool->ordinal = spool->left_out = 0;
}

bool spool_is_empty(const struct spool *spool)
{
    return spool->memory_read == spool->memory_length && spool->file_read == spool->file_length;
}

int64_t spool_left_out(const struct spool *spool)
{
    return spool->left_out;
}

int64_t spool_file_bytes(const struct spool *spool)
{
    return spool->file_length;
}

/* The record at data, of which size bytes are there. false where it is cut off. */
static bool parse(const uint8_t *data, size_t size, struct record *record)
{
    uint32_t length;
    if (size < HEAD_BYTES || size < HEAD_BYTES + (size_t)data[1] + sizeof length || data[1] >= SPLIT_BYTES)
        return false;
    record->batch = data[0] != 0;
    memcpy(record->split, data + HEAD_BYTES, data[1]);
    record->split[data[1]] = '\0';
    record->bson = data + HEAD_BYTES + data[1];
    memcpy(&length, record->bson, sizeof length);
    record->bson_length = BSON_UINT32_FROM_LE(length);
    record->length = HEAD_BYTES + (size_t)data[1] + record->bson_length;
    return record->bson_length <= POINT_BYTES && record->length <= size;
}

/* ---- the file ---- */

/* A file without a name; where the file system knows none such, its name goes at once. */
static int make_file(const struct spool *spool)
{
    char path[4096];
    int file = open(spool->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0 || snprintf(path, sizeof path, "%s/tl_hub-spool-XXXXXX", spool->folder) >= (int)sizeof path)
        return file;
    file = mkostemp(path, O_CLOEXEC);
    if (file >= 0)
        unlink(path);
    return file;
}

static int write_all(int file, const uint8_t *data, size_t length, int64_t at)
{
    while (length > 0) {
        ssize_t done = pwrite(file, data, length, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        data += done;
        length -= (size_t)done;
        at += done;
    }
    return 0;
}

/* Up to size bytes from `at`: the number, less only at the end, -1. */
static int64_t read_some(int file, uint8_t *data, size_t size, int64_t at)
{
    size_t got = 0;
    while (got < size) {
        ssize_t done = pread(file, data + got, size - got, at + (int64_t)got);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        if (done == 0)
            break;
        got += (size_t)done;
    }
    return (int64_t)got;
}

/* All of memory behind the file. -1: there is no room, and memory stays. */
static int spill(struct spool *spool)
{
    if (spool->file < 0)
        spool->file = make_file(spool);
    size_t length = spool->memory_length - spool->memory_read;
    if (spool->file < 0 || write_all(spool->file, spool->memory + spool->memory_read, length, spool->file_length))
        return -1;
    spool->file_length += (int64_t)length;
    spool->memory_read = spool->memory_length = 0;
    return 0;
}

/* ---- thinning ---- */

/* Keeps every second point of a batch among the records at data, and all others: the new length. */
static size_t thin(struct spool *spool, uint8_t *data, size_t length, int64_t *ordinal)
{
    struct record record;
    size_t kept = 0;
    for (size_t at = 0; at < length && parse(data + at, length - at, &record);) {
        size_t size = record.length;
        if (record.batch && (*ordinal)++ % 2 == 1) {
            spool->left_out++;
        } else {
            memmove(data + kept, data + at, size);
            kept += size;
        }
        at += size;
    }
    return kept;
}

static void thin_memory(struct spool *spool)
{
    int64_t ordinal = 0;
    size_t length = spool->memory_length - spool->memory_read;
    memmove(spool->memory, spool->memory + spool->memory_read, length);
    spool->memory_read = 0;
    spool->memory_length = thin(spool, spool->memory, length, &ordinal);
}

/* In place, from the front to the back, in pieces of what is at most a few records. */
static void thin_file(struct spool *spool)
{
    size_t capacity = (size_t)1 << 20;
    uint8_t *piece = malloc(capacity);
    int64_t to = 0, ordinal = 0;
    while (piece && spool->file_read < spool->file_length) {
        struct record record;
        size_t whole = 0;
        int64_t left = spool->file_length - spool->file_read;
        int64_t got = read_some(spool->file, piece, left < (int64_t)capacity ? (size_t)left : capacity, spool->file_read);
        while (got > 0 && whole < (size_t)got && parse(piece + whole, (size_t)got - whole, &record))
            whole += record.length;
        if (whole == 0) { /* a record larger than the piece: then the file stays as long as it is */
            to = -1;
            break;
        }
        int64_t next = spool->file_read + (int64_t)whole;
        size_t kept = thin(spool, piece, whole, &ordinal);
        if (write_all(spool->file, piece, kept, to)) {
            to = -1;
            break;
        }
        to += (int64_t)kept;
        spool->file_read = next;
    }
    free(piece);
    if (!piece || to < 0)
        return;
    spool->file_read = 0;
    spool->file_length = to;
    if (ftruncate(spool->file, to) != 0)
        return; /* what lies behind is written over */
}

/* Whether there was anything to leave out. */
static bool thin_all(struct spool *spool)
{
    int64_t before = spool->left_out;
    if (spool->file_length > 0)
        thin_file(spool);
    thin_memory(spool);
    if (spool->left_out > before && spool->stride < 1 << 20)
        spool->stride *= 2;
    return spool->left_out > before;
}

/* ---- in and out ---- */

static int reserve(struct spool *spool, size_t length, bson_error_t *error)
{
    size_t needed = spool->memory_length + length;
    if (needed <= spool->memory_capacity)
        return 0;
    size_t capacity = spool->memory_capacity * 2 > needed ? spool->memory_capacity * 2 : needed + 4096;
    uint8_t *grown = realloc(spool->memory, capacity);
    if (!grown)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the log");
    spool->memory = grown;
    spool->memory_capacity = capacity;
    return 0;
}

int spool_add(struct spool *spool, const char *split, const bson_t *point, bool batch, bson_error_t *error)
{
    size_t name = strlen(split), length = HEAD_BYTES + name + point->len;
    int result = 0;
    if (name == 0 || name >= SPLIT_BYTES || point->len > POINT_BYTES)
        return hub_error(error, HUB_ERROR_INVALID, "log.split: 1 to %d bytes are allowed", SPLIT_BYTES - 1);
    if (batch && spool->ordinal++ % spool->stride != 0) {
        spool->left_out++;
        return 0;
    }
    if (spool->memory_length - spool->memory_read + length > spool->memory_most) {
        int64_t whole = spool->file_length - spool->file_read + (int64_t)(spool->memory_length - spool->memory_read);
        bool full = whole + (int64_t)length > spool->file_most;
        if (full || spill(spool)) {
            result = thin_all(spool);
            /* Points of epochs pass the bound; in memory where there is no file to be had. */
            if (spill(spool) && spool->memory_length - spool->memory_read > spool->memory_most / 2)
                spool->memory_most *= 2;
        }
    }
    if (reserve(spool, length, error))
        return -1;
    uint8_t *at = spool->memory + spool->memory_length;
    at[0] = batch;
    at[1] = (uint8_t)name;
    memcpy(at + HEAD_BYTES, split, name);
    memcpy(at + HEAD_BYTES + name, bson_get_data(point), point->len);
    spool->memory_length += length;
    return result;
}

/* Adds the records at data to logs, at most so many: *taken of them, and their bytes. -1. */
static int64_t add_records(const uint8_t *data, size_t size, struct logs *logs, int64_t most, int64_t *taken,
                           bson_error_t *error)
{
    struct record record;
    size_t at = 0;
    while (*taken < most && at < size && parse(data + at, size - at, &record)) {
        bson_t point;
        if (!bson_init_static(&point, record.bson, record.bson_length))
            return hub_error(error, HUB_ERROR_INTERNAL, "a log point in the spool is damaged");
        if (logs_add(logs, record.split, &point, error) < 0)
            return -1;
        at += record.length;
        ++*taken;
    }
    return (int64_t)at;
}

static int64_t take_from_file(struct spool *spool, struct logs *logs, int64_t most, bson_error_t *error)
{
    size_t size = (size_t)256 << 10;
    int64_t taken = 0, used = 0;
    uint8_t *data = NULL;
    while (used == 0) { /* until a whole record fits */
        uint8_t *larger = realloc(data, size);
        if (!larger) {
            free(data);
            return hub_error(error, HUB_ERROR_MEMORY, "no memory to read the log's spool");
        }
        data = larger;
        int64_t got = read_some(spool->file, data, size, spool->file_read), left = spool->file_length - spool->file_read;
        if (got > left)
            got = left;
        used = got <= 0 ? -1 : add_records(data, (size_t)got, logs, most, &taken, error);
        if (got <= 0 || (used == 0 && (got == left || size > 4u * POINT_BYTES))) {
            spool->file_read = spool->file_length; /* it cannot be read back: go on behind it */
            used = hub_error(error, HUB_ERROR_IO, "the log's spool in %s cannot be read back: %s", spool->folder,
                             got < 0 ? strerror(errno) : "it is damaged");
        }
        size *= 4;
    }
    free(data);
    if (used < 0)
        return -1;
    spool->file_read += used;
    if (spool->file_read == spool->file_length) {
        spool->file_read = spool->file_length = 0;
        if (ftruncate(spool->file, 0) != 0)
            return taken; /* it is written over */
    }
    return taken;
}

int64_t spool_take(struct spool *spool, struct logs *logs, int64_t most, bson_error_t *error)
{
    int64_t taken = 0;
    if (spool->file_read < spool->file_length)
        return take_from_file(spool, logs, most, error);
    int64_t used = add_records(spool->memory + spool->memory_read, spool->memory_length - spool->memory_read, logs, most,
                               &taken, error);
    if (used < 0)
        return -1;
    spool->memory_read += (size_t)used;
    if (spool->memory_read == spool->memory_length) {
        spool->memory_read = spool->memory_length = 0;
        spool->stride = 1; /* the hub is back */
    }
    return taken;
}
