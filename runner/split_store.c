/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/split_store.h"

#include "hub/blob_impl.h"
#include "hub/hub.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 4096 /* a page: x begins at one */
#define COPY_BYTES (1 << 20)
#define STALE_SECONDS 86400 /* a file that nobody has been writing for so long was left behind */

struct split_store {
    char *folder;
    int64_t limit;
};

struct split_writer {
    struct split_store *store;
    struct split_shape shape;
    char *path, *labels_path;
    FILE *file, *labels;
    struct blob_sha256 sha;
    int64_t rows, bytes;
    char sha256[65];
};

static int failed(const char *what, const char *path, bson_error_t *error)
{
    return hub_error(error, errno == ENOSPC ? HUB_ERROR_NO_SPACE : HUB_ERROR_IO, "%s %s: %s (TL_HUB_CACHE_DIR says where)",
                     path, what, strerror(errno));
}

/* ---- the folder ---- */

static char *choose_folder(void)
{
    const char *own = getenv("TL_HUB_CACHE_DIR"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own)
        return bson_strdup(own);
    if (cache && *cache == '/')
        return bson_strdup_printf("%s/tl_hub", cache);
    if (home && *home == '/')
        return bson_strdup_printf("%s/.cache/tl_hub", home);
    return bson_strdup_printf("/tmp/tl_hub-cache-%lu", (unsigned long)getuid());
}

static int make_folders(char *path, bson_error_t *error)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int made = mkdir(path, 0700);
        bool there = made == 0 || errno == EEXIST || errno == EROFS || errno == EACCES;
        if (!there)
            failed("cannot be made", path, error);
        *slash = '/';
        if (!there)
            return -1;
    }
    struct stat status;
    if (mkdir(path, 0700) && errno != EEXIST)
        return failed("cannot be made", path, error);
    if (lstat(path, &status) || !S_ISDIR(status.st_mode) || status.st_uid != getuid())
        return hub_error(error, HUB_ERROR_IO, "%s is no folder of this user; TL_HUB_CACHE_DIR names another", path);
    return 0;
}

static int64_t choose_limit(const char *folder)
{
    const char *own = getenv("TL_HUB_CACHE_BYTES");
    struct statvfs disk;
    char *end = NULL;
    long long bytes = own ? strtoll(own, &end, 10) : 0;
    if (bytes > 0 && end && !*end)
        return bytes;
    return statvfs(folder, &disk) ? INT64_C(1) << 30 : (int64_t)(disk.f_bavail / 2 * disk.f_frsize);
}

struct split_store *split_store_open(bson_error_t *error)
{
    struct split_store *store = bson_malloc0(sizeof *store);
    store->folder = choose_folder();
    if (make_folders(store->folder, error)) {
        split_store_close(store);
        return NULL;
    }
    store->limit = choose_limit(store->folder);
    return store;
}

void split_store_close(struct split_store *store)
{
    if (!store)
        return;
    bson_free(store->folder);
    bson_free(store);
}

struct kept {
    char name[256];
    struct timespec used;
    int64_t bytes;
};

static int compare_used(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

static void remove_kept(const struct split_store *store, const char *name)
{
    char *path = bson_strdup_printf("%s/%s", store->folder, name);
    unlink(path);
    bson_free(path);
}

/* The longest unused files go until the rest is within the bound; never `keep`. Errors are nobody's: the next one tries again. */
static void evict(const struct split_store *store, const char *keep)
{
    struct kept *files = NULL;
    size_t count = 0;
    int64_t total = 0;
    time_t now = time(NULL);
    struct dirent *entry;
    DIR *folder = opendir(store->folder);
    while (folder && (entry = readdir(folder))) {
        struct stat status;
        const char *suffix = strrchr(entry->d_name, '.');
        bool temporary = strncmp(entry->d_name, "new-", 4) == 0;
        if (!temporary && (!suffix || (strcmp(suffix, ".split") != 0 && strcmp(suffix, ".rows") != 0)))
            continue;
        if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) || !S_ISREG(status.st_mode))
            continue;
        if (temporary) {
            if (status.st_mtim.tv_sec < now - STALE_SECONDS)
                remove_kept(store, entry->d_name);
            continue;
        }
        files = bson_realloc(files, (count + 1) * sizeof *files);
        snprintf(files[count].name, sizeof files[count].name, "%s", entry->d_name);
        files[count].used = status.st_mtim;
        files[count++].bytes = status.st_size;
        total += status.st_size;
    }
    if (folder)
        closedir(folder);
    if (count)
        qsort(files, count, sizeof *files, compare_used);
    for (size_t i = 0; i < count && total > store->limit; i++)
        if (strcmp(files[i].name, keep) != 0) {
            remove_kept(store, files[i].name);
            total -= files[i].bytes;
        }
    bson_free(files);
}

/* ---- writing ---- */

/* A new file of a name that nobody else has. */
static FILE *open_new(const struct split_store *store, char **path, bson_error_t *error)
{
    *path = bson_strdup_printf("%s/new-XXXXXX", store->folder);
    int descriptor = mkostemp(*path, O_CLOEXEC);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "w+b") : NULL;
    if (!file) {
        failed("cannot be made", *path, error);
        if (descriptor >= 0) {
            unlink(*path);
            close(descriptor);
        }
        bson_free(*path);
        *path = NULL;
    }
    return file;
}

static int64_t label_bytes(const struct split_shape *shape)
{
    return shape->classes ? (int64_t)sizeof(int32_t) : shape->outputs * (int64_t)sizeof(float);
}

static int64_t row_bytes(const struct split_shape *shape)
{
    return shape->features * (shape->bytes ? 1 : (int64_t)sizeof(float));
}

/* Labels are floats and int32: they begin at a multiple of 64. */
static int64_t labels_at(const struct split_shape *shape, int64_t rows)
{
    return HEADER_BYTES + (rows * row_bytes(shape) + 63) / 64 * 64;
}

struct split_writer *split_writer_new(struct split_store *store, const struct split_shape *shape, bson_error_t *error)
{
    char header[HEADER_BYTES] = "";
    struct split_writer *writer = bson_malloc0(sizeof *writer);
    writer->store = store;
    writer->shape = *shape;
    if (blob_sha256_init(&writer->sha, error) < 0)
        goto fail;
    writer->file = open_new(store, &writer->path, error);
    writer->labels = writer->file ? open_new(store, &writer->labels_path, error) : NULL;
    if (!writer->labels)
        goto fail;
    if (fwrite(header, 1, sizeof header, writer->file) != sizeof header) {
        failed("cannot be written", writer->path, error);
        goto fail;
    }
    return writer;
fail:
    split_writer_free(writer);
    return NULL;
}

void split_writer_free(struct split_writer *writer)
{
    if (!writer)
        return;
    if (writer->file)
        fclose(writer->file);
    if (writer->labels)
        fclose(writer->labels);
    if (writer->path)
        unlink(writer->path);
    if (writer->labels_path)
        unlink(writer->labels_path);
    blob_sha256_destroy(&writer->sha);
    bson_free(writer->path);
    bson_free(writer->labels_path);
    bson_free(writer);
}

int split_writer_add(struct split_writer *writer, const void *x, const void *y, int64_t rows, bson_error_t *error)
{
    size_t x_bytes = (size_t)(rows * row_bytes(&writer->shape)), y_bytes = (size_t)(rows * label_bytes(&writer->shape));
    writer->bytes += (int64_t)(x_bytes + y_bytes);
    if (writer->bytes + HEADER_BYTES > writer->store->limit)
        return hub_error(error, HUB_ERROR_NO_SPACE,
                         "the split is larger than the %lld MiB that may be kept in %s: TL_HUB_CACHE_BYTES allows more",
                         (long long)(writer->store->limit >> 20), writer->store->folder);
    if (fwrite(x, 1, x_bytes, writer->file) != x_bytes || (y_bytes && fwrite(y, 1, y_bytes, writer->labels) != y_bytes))
        return failed("cannot be written", writer->path, error);
    writer->rows += rows;
    return blob_sha256_update(&writer->sha, x, x_bytes, error) < 0 ? -1 : 0;
}

int64_t split_writer_rows(const struct split_writer *writer)
{
    return writer->rows;
}

int64_t split_writer_bytes(const struct split_writer *writer)
{
    return writer->bytes;
}

static void header_text(const struct split_shape *shape, int64_t rows, const char *sha256, char header[HEADER_BYTES])
{
    memset(header, 0, HEADER_BYTES);
    snprintf(header, HEADER_BYTES,
             "tl_hub split 1\nrows %" PRId64 "\nfeatures %" PRId64 "\nbytes %d\nclasses %" PRId64 "\noutputs %" PRId64
             "\nsha256 %s\n",
             rows, shape->features, shape->bytes, shape->classes, shape->outputs, sha256);
}

/* The labels after the rows. */
static int append_labels(struct split_writer *writer, bson_error_t *error)
{
    static const char zeros[64];
    char *buffer = bson_malloc(COPY_BYTES);
    size_t padding = (size_t)(labels_at(&writer->shape, writer->rows) - HEADER_BYTES - writer->rows * row_bytes(&writer->shape));
    size_t got;
    int result = fwrite(zeros, 1, padding, writer->file) == padding ? 0 : -1;
    rewind(writer->labels);
    while (result == 0 && (got = fread(buffer, 1, COPY_BYTES, writer->labels)) > 0)
        if (fwrite(buffer, 1, got, writer->file) != got || blob_sha256_update(&writer->sha, buffer, got, error) < 0)
            result = -1;
    if (result || ferror(writer->labels))
        result = failed("cannot be written", writer->path, error);
    bson_free(buffer);
    return result;
}

int split_writer_end(struct split_writer *writer, char sha256[65], bson_error_t *error)
{
    char header[HEADER_BYTES];
    sha256[0] = '\0';
    if (append_labels(writer, error) || blob_sha256_final(&writer->sha, writer->sha256, error) < 0)
        return -1;
    header_text(&writer->shape, writer->rows, writer->sha256, header);
    rewind(writer->file);
    if (fwrite(header, 1, sizeof header, writer->file) != sizeof header || fflush(writer->file))
        return failed("cannot be written", writer->path, error);
    memcpy(sha256, writer->sha256, 65);
    return 0;
}

int split_writer_publish(struct split_writer *writer, const char *key, bson_error_t *error)
{
    char *path = bson_strdup_printf("%s/%s.split", writer->store->folder, key);
    int result = rename(writer->path, path) ? failed("cannot be named", path, error) : 0;
    if (result == 0) {
        bson_free(writer->path);
        writer->path = NULL;
        evict(writer->store, strrchr(path, '/') + 1);
    }
    bson_free(path);
    return result;
}

/* ---- reading ---- */

/* Compares the header, the length and the digest. */
static bool is_whole(const uint8_t *memory, size_t length, const struct split_shape *shape, int64_t *rows)
{
    char header[HEADER_BYTES], sha256[65] = "";
    struct blob_sha256 sha = {0};
    const char *line;
    if (length < HEADER_BYTES || memory[HEADER_BYTES - 1] || !(line = strstr((const char *)memory, "\nrows ")))
        return false;
    *rows = strtoll(line + 6, NULL, 10);
    if (*rows < 0 || *rows > (int64_t)length || row_bytes(shape) > INT64_MAX / 4 / (*rows + 1) ||
        labels_at(shape, *rows) + *rows * label_bytes(shape) != (int64_t)length)
        return false;
    bool hashed = blob_sha256_init(&sha, NULL) >= 0 &&
                  blob_sha256_update(&sha, memory + HEADER_BYTES, (size_t)(*rows * row_bytes(shape)), NULL) >= 0 &&
                  blob_sha256_update(&sha, memory + labels_at(shape, *rows), (size_t)(*rows * label_bytes(shape)), NULL) >= 0 &&
                  blob_sha256_final(&sha, sha256, NULL) >= 0;
    blob_sha256_destroy(&sha);
    header_text(shape, *rows, sha256, header);
    return hashed && memcmp(header, memory, HEADER_BYTES) == 0;
}

int split_store_map(struct split_store *store, const char *key, const struct split_shape *shape, struct split_map *map,
                    bson_error_t *error)
{
    struct stat status;
    int result = 0;
    *map = (struct split_map){0};
    char *path = bson_strdup_printf("%s/%s.split", store->folder, key);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        result = errno == ENOENT ? 0 : failed("cannot be opened", path, error);
        goto out;
    }
    if (fstat(file, &status)) {
        result = failed("cannot be read", path, error);
        goto out;
    }
    map->length = (size_t)status.st_size;
    map->memory = map->length ? mmap(NULL, map->length, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    if (map->memory == MAP_FAILED) {
        map->memory = NULL;
        result = map->length ? failed("cannot be mapped", path, error) : 0;
        goto out;
    }
    if (!is_whole(map->memory, map->length, shape, &map->rows)) {
        split_map_end(map);
        unlink(path);
        goto out;
    }
    futimens(file, NULL); /* used now; one that cannot be marked goes sooner */
    map->x = (char *)map->memory + HEADER_BYTES;
    map->y = label_bytes(shape) ? (char *)map->memory + labels_at(shape, map->rows) : NULL;
    result = 1;
out:
    if (file >= 0)
        close(file);
    bson_free(path);
    return result;
}

bool split_store_has(struct split_store *store, const char *key)
{
    char *path = bson_strdup_printf("%s/%s.split", store->folder, key);
    bool there = access(path, R_OK) == 0;
    bson_free(path);
    return there;
}

void split_map_end(struct split_map *map)
{
    if (map->memory)
        munmap(map->memory, map->length);
    *map = (struct split_map){0};
}

/* ---- texts ---- */

char *split_store_text(struct split_store *store, const char *key)
{
    char *path = bson_strdup_printf("%s/%s.rows", store->folder, key), *text = NULL;
    FILE *file = fopen(path, "rbe");
    long length = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
    if (length > 0 && length < 1 << 20 && !fseek(file, 0, SEEK_SET)) {
        text = bson_malloc0((size_t)length + 1);
        if (fread(text, 1, (size_t)length, file) != (size_t)length) {
            bson_free(text);
            text = NULL;
        }
        futimens(fileno(file), NULL);
    }
    if (file)
        fclose(file);
    bson_free(path);
    return text;
}

int split_store_keep_text(struct split_store *store, const char *key, const char *text, bson_error_t *error)
{
    char *temporary, *path = bson_strdup_printf("%s/%s.rows", store->folder, key);
    int result = -1;
    FILE *file = open_new(store, &temporary, error);
    if (!file)
        goto out;
    bool written = fputs(text, file) >= 0;
    written = fclose(file) == 0 && written;
    result = written && rename(temporary, path) == 0 ? 0 : failed("cannot be written", path, error);
    if (result)
        unlink(temporary);
    bson_free(temporary);
out:
    bson_free(path);
    return result;
}
