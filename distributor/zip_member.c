/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/zip_member.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define IN_BYTES        65536
#define TAIL_BYTES      (65535 + 22) /* the end of the directory and the longest comment before the file's end */
#define DIRECTORY_BYTES (16 << 20)
#define STORED          0
#define DEFLATED        8

struct entry {
    uint64_t packed, unpacked, offset;
    uint32_t crc;
    uint16_t method, flags;
};

struct zip_member {
    char *path, *name; /* name NULL: the file itself */
    FILE *file;
    bool deflated, inflating;
    uint64_t left, packed_left; /* bytes that are still to be given; to be read of the archive */
    uint32_t crc, crc_wanted;
    uint64_t given;
    z_stream stream;
    uint8_t in[IN_BYTES];
};

static uint64_t little(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;)
        value = value << 8 | from[i];
    return value;
}

static int damaged(const char *path, const char *why, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s: damaged zip archive: %s", path, why);
}

static FILE *open_file(const char *path, int64_t *size, bson_error_t *error)
{
    struct stat status;
    FILE *file = fopen(path, "rbe");
    if (!file || fstat(fileno(file), &status)) {
        hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        hub_error(error, HUB_ERROR_INVALID, "%s: not a file", path);
    } else {
        *size = status.st_size;
        return file;
    }
    if (file)
        fclose(file);
    return NULL;
}

int zip_member_is_archive(const char *path, bson_error_t *error)
{
    uint8_t first[4] = {0};
    int64_t size;
    FILE *file = open_file(path, &size, error);
    if (!file)
        return -1;
    size_t got = fread(first, 1, sizeof first, file);
    fclose(file);
    return got == sizeof first && !memcmp(first, "PK\3\4", 4);
}

/* ---- the directory ---- */

static bool read_at(FILE *file, uint64_t offset, void *out, size_t length)
{
    return offset <= INT64_MAX && fseeko(file, (off_t)offset, SEEK_SET) == 0 && fread(out, 1, length, file) == length;
}

/* The central directory as a block (free), and how many entries it says it has. */
static uint8_t *read_directory(const char *path, FILE *file, int64_t size, size_t *length, uint64_t *entries, bson_error_t *error)
{
    const size_t tail = size < TAIL_BYTES ? (size_t)size : TAIL_BYTES;
    uint8_t *end = malloc(tail + 1), *directory = NULL, wide[56];
    int64_t at = (int64_t)tail - 22;
    if (!end || !read_at(file, (uint64_t)size - tail, end, tail)) {
        hub_error(error, HUB_ERROR_IO, "%s: cannot be read", path);
        goto out;
    }
    while (at >= 0 && memcmp(end + at, "PK\5\6", 4))
        at--;
    if (at < 0) {
        damaged(path, "it has no directory at its end", error);
        goto out;
    }
    uint64_t bytes = little(end + at + 12, 4), offset = little(end + at + 16, 4);
    *entries = little(end + at + 10, 2);
    if (at >= 20 && !memcmp(end + at - 20, "PK\6\7", 4) && read_at(file, little(end + at - 12, 8), wide, sizeof wide) &&
        !memcmp(wide, "PK\6\6", 4)) {
        *entries = little(wide + 32, 8);
        bytes = little(wide + 40, 8);
        offset = little(wide + 48, 8);
    }
    if (bytes > DIRECTORY_BYTES || offset > (uint64_t)size || bytes > (uint64_t)size - offset) {
        damaged(path, "its directory does not lie within it", error);
        goto out;
    }
    directory = malloc((size_t)bytes + 1);
    *length = (size_t)bytes;
    if (!directory || !read_at(file, offset, directory, (size_t)bytes)) {
        hub_error(error, directory ? HUB_ERROR_IO : HUB_ERROR_MEMORY, "%s: cannot be read", path);
        free(directory);
        directory = NULL;
    }
out:
    free(end);
    return directory;
}

/* Sizes of 2^32 and above stand in an extra field. */
static void take_wide(struct entry *entry, const uint8_t *extra, size_t length)
{
    while (length >= 4) {
        const size_t size = (size_t)little(extra + 2, 2);
        if (size > length - 4)
            return;
        const uint8_t *at = extra + 4, *const stop = at + size;
        uint64_t *const wanted[] = {&entry->unpacked, &entry->packed, &entry->offset};
        for (size_t i = 0; little(extra, 2) == 1 && i < 3; i++)
            if (*wanted[i] == UINT32_MAX && stop - at >= 8) {
                *wanted[i] = little(at, 8);
                at += 8;
            }
        extra += 4 + size;
        length -= 4 + size;
    }
}

/* The entry at *at of the directory: its name (not ended), and *at behind it. 0, or -1 at the end or where it is none. */
static int next_entry(const uint8_t *directory, size_t length, size_t *at, struct entry *entry, const char **name,
                      size_t *name_length)
{
    const uint8_t *from = directory + *at;
    if (length - *at < 46 || memcmp(from, "PK\1\2", 4))
        return -1;
    *name_length = (size_t)little(from + 28, 2);
    const size_t extra = (size_t)little(from + 30, 2), comment = (size_t)little(from + 32, 2);
    if (length - *at - 46 < *name_length + extra + comment)
        return -1;
    *entry = (struct entry){.flags = (uint16_t)little(from + 8, 2), .method = (uint16_t)little(from + 10, 2),
                            .crc = (uint32_t)little(from + 16, 4), .packed = little(from + 20, 4),
                            .unpacked = little(from + 24, 4), .offset = little(from + 42, 4)};
    *name = (const char *)from + 46;
    take_wide(entry, from + 46 + *name_length, extra);
    *at += 46 + *name_length + extra + comment;
    return 0;
}

int zip_member_list(const char *path, const char *end, char names[][68], int most, int *count, bson_error_t *error)
{
    int64_t size;
    size_t length = 0, at = 0, name_length;
    uint64_t entries = 0;
    struct entry entry;
    const char *name;
    int result = -1;
    *count = 0;
    FILE *file = open_file(path, &size, error);
    uint8_t *directory = file ? read_directory(path, file, size, &length, &entries, error) : NULL;
    if (!directory)
        goto out;
    while (at < length && next_entry(directory, length, &at, &entry, &name, &name_length) == 0) {
        const size_t suffix = strlen(end);
        if (name_length <= suffix || name_length - suffix >= 68 || memcmp(name + name_length - suffix, end, suffix)) {
            hub_error(error, HUB_ERROR_INVALID, "%s: member %.*s: a name of at most 67 bytes and %s is taken", path,
                      (int)(name_length < 80 ? name_length : 80), name, end);
            goto out;
        }
        if (*count == most) {
            hub_error(error, HUB_ERROR_INVALID, "%s: more than %d members", path, most);
            goto out;
        }
        memcpy(names[*count], name, name_length - suffix);
        names[(*count)++][name_length - suffix] = '\0';
    }
    result = (uint64_t)*count == entries ? 0 : damaged(path, "its directory is cut off", error);
out:
    free(directory);
    if (file)
        fclose(file);
    return result;
}

/* ---- one member ---- */

static int find_member(struct zip_member *member, int64_t size, bson_error_t *error)
{
    size_t length = 0, at = 0, name_length = 0;
    uint64_t entries;
    uint8_t local[30];
    struct entry entry = {0};
    const char *name = NULL;
    uint8_t *directory = read_directory(member->path, member->file, size, &length, &entries, error);
    bool found = false;
    while (directory && !found && next_entry(directory, length, &at, &entry, &name, &name_length) == 0)
        found = name_length == strlen(member->name) && !memcmp(name, member->name, name_length);
    free(directory);
    if (!directory)
        return -1;
    if (!found)
        return hub_error(error, HUB_ERROR_NOT_FOUND, "%s: it has no member %s", member->path, member->name);
    if ((entry.flags & 1) || (entry.method != STORED && entry.method != DEFLATED))
        return hub_error(error, HUB_ERROR_INVALID, "%s: member %s: encrypted, or packed in a way that is not taken", member->path,
                         member->name);
    if (!read_at(member->file, entry.offset, local, sizeof local) || memcmp(local, "PK\3\4", 4) ||
        entry.packed > (uint64_t)size || (entry.method == STORED && entry.packed != entry.unpacked) ||
        fseeko(member->file, (off_t)(little(local + 26, 2) + little(local + 28, 2)), SEEK_CUR))
        return damaged(member->path, "a member is not where the directory says", error);
    member->left = entry.unpacked;
    member->packed_left = entry.packed;
    member->crc_wanted = entry.crc;
    member->deflated = entry.method == DEFLATED;
    if (member->deflated && inflateInit2(&member->stream, -MAX_WBITS) != Z_OK)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to unpack it", member->path);
    member->inflating = member->deflated;
    return 0;
}

struct zip_member *zip_member_open(const char *path, const char *name, bson_error_t *error)
{
    int64_t size;
    struct zip_member *member = calloc(1, sizeof *member);
    if (!member || !(member->path = strdup(path)) || (name && !(member->name = strdup(name)))) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
        goto failed;
    }
    member->file = open_file(path, &size, error);
    if (!member->file)
        goto failed;
    member->left = (uint64_t)size;
    if (!name || find_member(member, size, error) == 0)
        return member;
failed:
    zip_member_close(member);
    return NULL;
}

void zip_member_close(struct zip_member *member)
{
    if (!member)
        return;
    if (member->inflating)
        inflateEnd(&member->stream);
    if (member->file)
        fclose(member->file);
    free(member->path);
    free(member->name);
    free(member);
}

static int truncated(const struct zip_member *member, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s%s%s: byte %llu: it ends too early", member->path, member->name ? ": " : "",
                     member->name ? member->name : "", (unsigned long long)member->given);
}

static int inflate_bytes(struct zip_member *member, uint8_t *bytes, size_t length, bson_error_t *error)
{
    member->stream.next_out = bytes;
    member->stream.avail_out = (uInt)length;
    while (member->stream.avail_out > 0) {
        if (member->stream.avail_in == 0 && member->packed_left > 0) {
            const size_t want = member->packed_left < IN_BYTES ? (size_t)member->packed_left : IN_BYTES;
            if (fread(member->in, 1, want, member->file) != want)
                return truncated(member, error);
            member->packed_left -= want;
            member->stream.next_in = member->in;
            member->stream.avail_in = (uInt)want;
        }
        const int code = inflate(&member->stream, Z_NO_FLUSH);
        if (code != Z_OK && !(code == Z_STREAM_END && member->stream.avail_out == 0))
            return code == Z_STREAM_END || code == Z_BUF_ERROR ? truncated(member, error)
                                                               : damaged(member->path, "what is packed cannot be unpacked", error);
    }
    return 0;
}

int zip_member_read(struct zip_member *member, void *bytes, size_t length, bson_error_t *error)
{
    uint8_t *out = bytes;
    if (length > member->left)
        return truncated(member, error);
    while (length > 0) {
        const size_t count = length < (1u << 30) ? length : 1u << 30;
        if (member->deflated ? inflate_bytes(member, out, count, error) : fread(out, 1, count, member->file) != count)
            return member->deflated ? -1 : truncated(member, error);
        member->crc = (uint32_t)crc32(member->crc, out, (uInt)count);
        member->left -= count;
        member->given += count;
        out += count;
        length -= count;
    }
    return 0;
}

int zip_member_end(struct zip_member *member, bson_error_t *error)
{
    if (member->left > 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s%s%s: byte %llu: more data than its shape has", member->path,
                         member->name ? ": " : "", member->name ? member->name : "", (unsigned long long)member->given);
    if (member->name && member->crc != member->crc_wanted)
        return damaged(member->path, "a check sum is wrong", error);
    return 0;
}
