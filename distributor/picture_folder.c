/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/picture_folder.h"

#include "distributor/split_draw.h"

#include <dirent.h>
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define SIDE     8192
#define PICTURES 10000000
#define CLASSES  65536

struct picture {
    char *path;
    int64_t class;
};

struct names {
    char **names;
    size_t count, capacity;
};

struct folder {
    const char *path;
    struct names classes;
    struct picture *pictures[SPLIT_COUNT];
    size_t capacity[SPLIT_COUNT];
    struct part_writer_options parts;
    uint8_t *pixels; /* of one picture, as libpng gives them */
};

/* ---- names ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void drop_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (struct names){.count = 0};
}

static int add_name(struct names *names, const char *name, bson_error_t *error)
{
    if (names->count == names->capacity) {
        const size_t capacity = names->capacity ? 2 * names->capacity : 64;
        char **more = realloc(names->names, capacity * sizeof *more);
        if (!more)
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the names of a folder");
        names->names = more;
        names->capacity = capacity;
    }
    names->names[names->count] = strdup(name);
    return names->names[names->count] ? (names->count++, 0) : hub_error(error, HUB_ERROR_MEMORY, "no memory for a name");
}

/* Folders, or PNG files, of a folder, in order; hidden ones are passed over. */
static int list(const char *path, bool folders, struct names *names, bson_error_t *error)
{
    struct dirent *entry;
    int result = 0;
    DIR *folder = opendir(path);
    *names = (struct names){.count = 0};
    if (!folder)
        return hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
    while (result == 0 && (entry = readdir(folder))) {
        struct stat status;
        const size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || fstatat(dirfd(folder), entry->d_name, &status, 0))
            continue;
        if (folders ? S_ISDIR(status.st_mode)
                    : S_ISREG(status.st_mode) && length > 4 && !strcasecmp(entry->d_name + length - 4, ".png"))
            result = add_name(names, entry->d_name, error);
    }
    closedir(folder);
    if (names->count > 0)
        qsort(names->names, names->count, sizeof *names->names, compare);
    return result;
}

/* ---- pictures ---- */

static int add_picture(struct folder *folder, int split, const char *class_path, const char *name, int64_t class,
                       bson_error_t *error)
{
    const size_t count = (size_t)folder->parts.totals[split];
    if (count == PICTURES)
        return hub_error(error, HUB_ERROR_INVALID, "%s: more than %d pictures", folder->path, PICTURES);
    if (count == folder->capacity[split]) {
        const size_t capacity = count ? 2 * count : 256;
        struct picture *more = realloc(folder->pictures[split], capacity * sizeof *more);
        if (!more)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its pictures", folder->path);
        folder->pictures[split] = more;
        folder->capacity[split] = capacity;
    }
    struct picture *picture = &folder->pictures[split][count];
    picture->class = class;
    if (asprintf(&picture->path, "%s/%s", class_path, name) < 0)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its pictures", folder->path);
    folder->parts.totals[split]++;
    return 0;
}

static int list_class(struct folder *folder, int split, const char *path, const char *name, bson_error_t *error)
{
    struct names pictures = {.count = 0};
    char *class_path = NULL;
    char **known = bsearch(&name, folder->classes.names, folder->classes.count, sizeof *folder->classes.names, compare);
    int result = -1;
    if (!known) {
        hub_error(error, HUB_ERROR_INVALID, "%s/%s: the training rows have no such class", path, name);
        goto out;
    }
    if (asprintf(&class_path, "%s/%s", path, name) < 0) {
        class_path = NULL;
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its pictures", path);
        goto out;
    }
    result = list(class_path, false, &pictures, error);
    for (size_t i = 0; result == 0 && i < pictures.count; i++)
        result = add_picture(folder, split, class_path, pictures.names[i], known - folder->classes.names, error);
out:
    drop_names(&pictures);
    free(class_path);
    return result;
}

static int list_split(struct folder *folder, int split, const char *path, bson_error_t *error)
{
    struct names classes;
    int result = list(path, true, &classes, error);
    if (result == 0 && split == SPLIT_TRAIN) {
        if (classes.count < 1 || classes.count > CLASSES)
            result = hub_error(error, HUB_ERROR_INVALID, "%s: %zu folders; there is one for each of 1 to %d classes", path,
                               classes.count, CLASSES);
        folder->classes = classes;
        folder->parts.classes = (int64_t)classes.count;
    }
    for (size_t i = 0; result == 0 && i < classes.count; i++)
        result = list_class(folder, split, path, classes.names[i], error);
    if (split != SPLIT_TRAIN)
        drop_names(&classes);
    return result;
}

/* ---- pixels ---- */

static int bad_picture(const char *path, png_image *image, const char *why, bson_error_t *error)
{
    png_image_free(image);
    return hub_error(error, HUB_ERROR_INVALID, "%s: %s", path, why);
}

static int open_picture(const char *path, png_image *image, bson_error_t *error)
{
    memset(image, 0, sizeof *image);
    image->version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_file(image, path))
        return bad_picture(path, image, image->message, error);
    if (image->width > SIDE || image->height > SIDE)
        return bad_picture(path, image, "more than 8,192 pixels wide or high", error);
    image->format = image->format & PNG_FORMAT_FLAG_COLOR ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    return 0;
}

/* The header of every picture, against the first one's. */
static int check_picture(struct folder *folder, const char *path, bson_error_t *error)
{
    struct part_writer_options *parts = &folder->parts;
    char why[120];
    png_image image;
    if (open_picture(path, &image, error))
        return -1;
    const bool color = image.format == PNG_FORMAT_RGB;
    const int64_t height = image.height, width = image.width;
    if (parts->rank == 0) {
        parts->rank = color ? 3 : 2;
        if (color)
            parts->dims[0] = 3;
        parts->dims[parts->rank - 2] = height;
        parts->dims[parts->rank - 1] = width;
    }
    const bool same = parts->rank == (color ? 3 : 2) && parts->dims[parts->rank - 2] == height && parts->dims[parts->rank - 1] == width;
    if (!same) {
        snprintf(why, sizeof why, "%lld by %lld pixels%s, where the first picture has %lld by %lld%s", (long long)width,
                 (long long)height, color ? " in colour" : "", (long long)parts->dims[parts->rank - 1],
                 (long long)parts->dims[parts->rank - 2], parts->rank == 3 ? " in colour" : "");
        return bad_picture(path, &image, why, error);
    }
    png_image_free(&image);
    return 0;
}

static int read_picture(void *context, int split, int64_t i, void *x, void *y, bson_error_t *error)
{
    struct folder *folder = context;
    const struct picture *picture = &folder->pictures[split][i];
    const png_color black = {0};
    const int rank = folder->parts.rank;
    const int64_t pixels = folder->parts.dims[rank - 2] * folder->parts.dims[rank - 1];
    uint8_t *out = x;
    png_image image;
    if (open_picture(picture->path, &image, error))
        return -1;
    if ((int64_t)image.width * image.height != pixels || (image.format == PNG_FORMAT_RGB) != (rank == 3))
        return bad_picture(picture->path, &image, "changed while it was read", error);
    if (!png_image_finish_read(&image, &black, folder->pixels, 0, NULL))
        return bad_picture(picture->path, &image, image.message, error);
    for (int64_t channel = 0; channel < (rank == 3 ? 3 : 1); channel++) /* one plane after the other */
        for (int64_t at = 0; at < pixels; at++)
            out[channel * pixels + at] = folder->pixels[at * (rank == 3 ? 3 : 1) + channel];
    memcpy(y, &picture->class, sizeof picture->class); /* little-endian, as safetensors are */
    return 0;
}

/* ---- the folder ---- */

static int look(struct folder *folder, bson_error_t *error)
{
    char *path;
    for (int split = 0; split < SPLIT_COUNT; split++) {
        struct stat status;
        if (asprintf(&path, "%s/%s", folder->path, split_names[split]) < 0)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its pictures", folder->path);
        const bool there = !stat(path, &status) && S_ISDIR(status.st_mode);
        int result = there ? list_split(folder, split, path, error) : 0;
        free(path);
        if (result)
            return -1;
        if (split == SPLIT_TRAIN && !there) {
            if (list_split(folder, SPLIT_TRAIN, folder->path, error))
                return -1;
            break;
        }
    }
    if (folder->parts.totals[SPLIT_TRAIN] == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: no PNG pictures in CLASS or train/CLASS", folder->path);
    for (int split = 0; split < SPLIT_COUNT; split++)
        for (int64_t i = 0; i < folder->parts.totals[split]; i++)
            if (check_picture(folder, folder->pictures[split][i].path, error))
                return -1;
    return 0;
}

static void append_classes(const struct folder *folder, bson_t *names)
{
    char index[24];
    for (size_t i = 0; i < folder->classes.count; i++) {
        snprintf(index, sizeof index, "%zu", i);
        BSON_APPEND_UTF8(names, index, folder->classes.names[i]);
    }
}

int picture_folder_save_dataset(struct hub *hub, const char *path, const struct rows_options *options, bson_t *dataset,
                                bson_error_t *error)
{
    struct folder folder = {.path = path, .parts = {.where = path, .bytes = true}};
    bson_t names = BSON_INITIALIZER;
    int result = -1;
    bson_init(dataset);
    if (look(&folder, error))
        goto out;
    for (size_t i = 0; i < folder.classes.count; i++)
        if (!bson_utf8_validate(folder.classes.names[i], strlen(folder.classes.names[i]), false)) {
            hub_error(error, HUB_ERROR_INVALID, "%s: a folder's name is not UTF-8", path);
            goto out;
        }
    append_classes(&folder, &names);
    const int rank = folder.parts.rank;
    folder.pixels = malloc((size_t)(folder.parts.dims[rank - 2] * folder.parts.dims[rank - 1] * 3));
    if (!folder.pixels) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a picture", path);
        goto out;
    }
    struct rows_source source = {.parts = folder.parts, .class_names = &names, .read = read_picture, .context = &folder};
    bson_destroy(dataset);
    result = rows_source_save(hub, &source, options, dataset, error);
out:
    for (int split = 0; split < SPLIT_COUNT; split++) {
        for (int64_t i = 0; i < folder.parts.totals[split]; i++)
            free(folder.pictures[split][i].path);
        free(folder.pictures[split]);
    }
    drop_names(&folder.classes);
    free(folder.pixels);
    bson_destroy(&names);
    return result;
}
