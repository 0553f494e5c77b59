/* SPDX-License-Identifier: Apache-2.0 */
#include "faulty_vfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMAGES 8
#define SECTOR 512

/* A write or (data NULL) a truncation that no sync has followed. */
struct pending {
    int64_t offset, length;
    uint8_t *data;
};

struct image {
    char *path; /* NULL: unused */
    bool exists; /* on the disk, surely */
    uint8_t *durable;
    int64_t length;
    bool replaced; /* an earlier file of this name was deleted, but not surely: this one */
    uint8_t *old;
    int64_t old_length;
    struct pending *pending;
    size_t pending_count;
};

struct faulty_file {
    sqlite3_file base;
    struct image *image; /* NULL: a temporary file */
    sqlite3_file *real;
};

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    enum faulty_kind kind;
    int64_t at, count;
    bool stays, fired, dead, limited;
    int64_t room; /* where limited */
    struct image images[IMAGES];
} faulty;

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "faulty_vfs: %s\n", what);
        abort();
    }
}

/* ---- what is on the disk ---- */

static void grow(struct image *image, int64_t length)
{
    if (length <= image->length)
        return;
    image->durable = realloc(image->durable, (size_t)length);
    require(image->durable != NULL, "no memory");
    memset(image->durable + image->length, 0, (size_t)(length - image->length));
    image->length = length;
}

static void apply(struct image *image, int64_t offset, int64_t length, const uint8_t *data)
{
    if (data == NULL) {
        grow(image, offset);
        image->length = offset;
        return;
    }
    grow(image, offset + length);
    memcpy(image->durable + offset, data, (size_t)length);
}

static void forget_pending(struct image *image)
{
    for (size_t i = 0; i < image->pending_count; i++)
        free(image->pending[i].data);
    free(image->pending);
    image->pending = NULL;
    image->pending_count = 0;
}

static void remember(struct image *image, int64_t offset, int64_t length, const void *data)
{
    image->pending = realloc(image->pending, (image->pending_count + 1) * sizeof *image->pending);
    require(image->pending != NULL, "no memory");
    struct pending *pending = &image->pending[image->pending_count++];
    *pending = (struct pending){.offset = offset, .length = length};
    if (data != NULL) {
        pending->data = malloc(length > 0 ? (size_t)length : 1);
        require(pending->data != NULL, "no memory");
        memcpy(pending->data, data, (size_t)length);
    }
}

static void forget_old(struct image *image)
{
    free(image->old);
    image->old = NULL;
    image->replaced = false;
}

/* The name is free now; until a sync the old file may come back. */
static void delete_image(struct image *image, bool surely)
{
    forget_pending(image);
    if (image->exists && !surely) {
        forget_old(image);
        image->replaced = true;
        image->old = image->durable;
        image->old_length = image->length;
    } else {
        free(image->durable);
    }
    if (surely)
        forget_old(image);
    image->durable = NULL;
    image->length = 0;
    image->exists = false;
}

static void make_durable(struct image *image)
{
    for (size_t i = 0; i < image->pending_count; i++)
        apply(image, image->pending[i].offset, image->pending[i].length, image->pending[i].data);
    forget_pending(image);
    forget_old(image);
    image->exists = true;
}

static void load(struct image *image)
{
    FILE *file = fopen(image->path, "rb");
    image->exists = file != NULL;
    if (file == NULL)
        return;
    uint8_t block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        apply(image, image->length, (int64_t)n, block);
    fclose(file);
}

static struct image *image_of(const char *path, bool make)
{
    struct image *unused = NULL;
    for (size_t i = 0; path != NULL && i < IMAGES; i++) {
        if (faulty.images[i].path == NULL)
            unused = unused != NULL ? unused : &faulty.images[i];
        else if (strcmp(faulty.images[i].path, path) == 0)
            return &faulty.images[i];
    }
    if (!make || path == NULL)
        return NULL;
    require(unused != NULL, "too many files");
    unused->path = strdup(path);
    require(unused->path != NULL, "no memory");
    load(unused);
    return unused;
}

static void image_destroy(struct image *image)
{
    forget_pending(image);
    forget_old(image);
    free(image->durable);
    free(image->path);
    *image = (struct image){0};
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

static void write_back(struct image *image, uint64_t *state, uint64_t share)
{
    bool made = image->exists;
    if (image->replaced && next_random(state) % 2 == 0) {
        free(image->durable);
        image->durable = image->old;
        image->length = image->old_length;
        image->old = NULL;
        made = true;
        forget_pending(image);
    }
    for (size_t i = 0; i < image->pending_count; i++) {
        const struct pending *pending = &image->pending[i];
        if (pending->data == NULL) {
            if (next_random(state) % 4 < share)
                apply(image, pending->offset, 0, NULL);
            continue;
        }
        for (int64_t at = 0; at < pending->length;) {
            int64_t left = SECTOR - (pending->offset + at) % SECTOR;
            int64_t length = left < pending->length - at ? left : pending->length - at;
            if (next_random(state) % 4 < share) {
                apply(image, pending->offset + at, length, pending->data + at);
                made = true;
            }
            at += length;
        }
    }
    if (!made) {
        unlink(image->path);
        return;
    }
    FILE *file = fopen(image->path, "wb");
    require(file != NULL && fwrite(image->durable, 1, (size_t)image->length, file) == (size_t)image->length,
            "cannot write a file back");
    require(fclose(file) == 0, "cannot write a file back");
}

void faulty_vfs_restore(uint64_t seed)
{
    uint64_t state = seed * 2654435769u + 88172645463325252u;
    uint64_t share = seed % 5; /* of four quarters of what was not synced */
    for (size_t i = 0; i < IMAGES; i++) {
        if (faulty.images[i].path != NULL)
            write_back(&faulty.images[i], &state, share);
        image_destroy(&faulty.images[i]);
    }
    faulty.dead = false;
    faulty.kind = FAULTY_NONE;
}

void faulty_vfs_arm(enum faulty_kind kind, int64_t at, bool stays)
{
    for (size_t i = 0; kind == FAULTY_POWER && i < IMAGES; i++)
        image_destroy(&faulty.images[i]);
    faulty.kind = kind;
    faulty.at = at;
    faulty.stays = stays;
    faulty.count = 0;
    faulty.fired = faulty.dead = false;
}

void faulty_vfs_leave_room(int64_t bytes)
{
    faulty.limited = bytes >= 0;
    faulty.room = bytes;
}

int64_t faulty_vfs_count(void)
{
    return faulty.count;
}

bool faulty_vfs_fired(void)
{
    return faulty.fired;
}

/* ---- the layer ---- */

enum request { REQUEST_READ, REQUEST_WRITE, REQUEST_OTHER };

static bool touches(enum request request)
{
    switch (faulty.kind) {
    case FAULTY_NONE: return false;
    case FAULTY_FULL: return request == REQUEST_WRITE;
    case FAULTY_READ: return request == REQUEST_READ;
    case FAULTY_WRITE:
    case FAULTY_POWER: break;
    }
    return request != REQUEST_READ;
}

/* SQLITE_OK, or what the request is to fail with. */
static int fault(enum request request, int code)
{
    if (faulty.dead)
        return code;
    if (!touches(request))
        return SQLITE_OK;
    faulty.count++;
    if (faulty.at == 0 || faulty.count < faulty.at || (faulty.count > faulty.at && !faulty.stays))
        return SQLITE_OK;
    faulty.fired = true;
    faulty.dead = faulty.kind == FAULTY_POWER;
    return faulty.kind == FAULTY_FULL ? SQLITE_FULL : code;
}

#define REAL(file) (((struct faulty_file *)(file))->real)
#define IMAGE(file) (((struct faulty_file *)(file))->image)
#define FORWARD(file, call, ...) REAL(file)->pMethods->call(REAL(file), ##__VA_ARGS__)

static int file_close(sqlite3_file *file)
{
    int code = FORWARD(file, xClose);
    free(REAL(file));
    return code;
}

static int file_read(sqlite3_file *file, void *data, int length, sqlite3_int64 offset)
{
    int code = fault(REQUEST_READ, SQLITE_IOERR_READ);
    return code != SQLITE_OK ? code : FORWARD(file, xRead, data, length, offset);
}

/* The file is to end there. */
static int take_room(sqlite3_file *file, int64_t end)
{
    sqlite3_int64 now = 0;
    if (!faulty.limited)
        return SQLITE_OK;
    int code = FORWARD(file, xFileSize, &now);
    if (code != SQLITE_OK)
        return code;
    if (end - now > faulty.room)
        return SQLITE_FULL;
    faulty.room -= end - now;
    return SQLITE_OK;
}

static int file_write(sqlite3_file *file, const void *data, int length, sqlite3_int64 offset)
{
    bool alive = !faulty.dead;
    int code = fault(REQUEST_WRITE, SQLITE_IOERR_WRITE);
    /* Also the one at which the power went: a part of it may have come through. */
    if (alive && faulty.kind == FAULTY_POWER && IMAGE(file) != NULL)
        remember(IMAGE(file), offset, length, data);
    sqlite3_int64 now = 0;
    if (code == SQLITE_OK && faulty.limited)
        code = FORWARD(file, xFileSize, &now);
    if (code == SQLITE_OK && offset + length > now)
        code = take_room(file, offset + length);
    return code != SQLITE_OK ? code : FORWARD(file, xWrite, data, length, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 length)
{
    int code = fault(REQUEST_OTHER, SQLITE_IOERR_TRUNCATE);
    if (code != SQLITE_OK)
        return code;
    if (faulty.kind == FAULTY_POWER && IMAGE(file) != NULL)
        remember(IMAGE(file), length, 0, NULL);
    code = take_room(file, length);
    return code != SQLITE_OK ? code : FORWARD(file, xTruncate, length);
}

static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    int code = fault(REQUEST_OTHER, SQLITE_IOERR_FSYNC);
    if (code == SQLITE_OK && faulty.kind == FAULTY_POWER && IMAGE(file) != NULL)
        make_durable(IMAGE(file));
    return code;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *length)
{
    return faulty.dead ? SQLITE_IOERR_FSTAT : FORWARD(file, xFileSize, length);
}

static int file_lock(sqlite3_file *file, int level)
{
    return FORWARD(file, xLock, level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return FORWARD(file, xUnlock, level);
}

static int file_check_lock(sqlite3_file *file, int *held)
{
    return FORWARD(file, xCheckReservedLock, held);
}

static int file_control(sqlite3_file *file, int operation, void *data)
{
    return FORWARD(file, xFileControl, operation, data);
}

static int file_sector(sqlite3_file *file)
{
    return FORWARD(file, xSectorSize);
}

static int file_device(sqlite3_file *file)
{
    return FORWARD(file, xDeviceCharacteristics);
}

/* Version 1: no shared memory, so no WAL. */
static const sqlite3_io_methods methods = {
    .iVersion = 1, .xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate,
    .xSync = file_sync, .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock, .xFileControl = file_control, .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    struct faulty_file *wrapper = (struct faulty_file *)file;
    *wrapper = (struct faulty_file){.real = calloc(1, (size_t)faulty.real->szOsFile)};
    require(wrapper->real != NULL, "no memory");
    if (faulty.kind == FAULTY_POWER)
        wrapper->image = image_of(name, true);
    int code = faulty.dead ? SQLITE_CANTOPEN : faulty.real->xOpen(faulty.real, name, wrapper->real, flags, out_flags);
    if (code != SQLITE_OK) {
        free(wrapper->real);
        return code;
    }
    wrapper->base.pMethods = &methods;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    int code = fault(REQUEST_OTHER, SQLITE_IOERR_DELETE);
    if (code != SQLITE_OK)
        return code;
    struct image *image = faulty.kind == FAULTY_POWER ? image_of(name, false) : NULL;
    if (image != NULL)
        delete_image(image, sync != 0);
    return faulty.real->xDelete(faulty.real, name, 0);
}

void faulty_vfs_install(void)
{
    faulty.real = sqlite3_vfs_find(NULL);
    require(faulty.real != NULL && faulty.real != &faulty.vfs, "SQLite has no VFS");
    faulty.vfs = *faulty.real;
    faulty.vfs.iVersion = 1;
    faulty.vfs.szOsFile = (int)sizeof(struct faulty_file);
    faulty.vfs.pNext = NULL;
    faulty.vfs.zName = "faulty";
    faulty.vfs.xOpen = vfs_open;
    faulty.vfs.xDelete = vfs_delete;
    require(sqlite3_vfs_register(&faulty.vfs, 1) == SQLITE_OK, "SQLite refuses the VFS");
}
