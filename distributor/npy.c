/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/npy.h"

#include "distributor/npy_file.h"
#include "distributor/split_draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES (1 << 20)

struct array {
    const char *path;
    char member[68];
    bool there;
};

struct arrays {
    const char *path;
    struct array x[SPLIT_COUNT], y[SPLIT_COUNT];
    struct part_writer_options parts;
    struct npy_file *open_x, *open_y; /* of the split that is read */
    int split;
    double *row, *label;
};

/* ---- which array is what ---- */

static int take_member(struct arrays *arrays, const char *member, bson_error_t *error)
{
    static const struct {
        const char *end;
        int split;
    } ends[] = {{"", SPLIT_TRAIN}, {"_train", SPLIT_TRAIN}, {"_validation", SPLIT_VALIDATION}, {"_val", SPLIT_VALIDATION},
                {"_test", SPLIT_TEST}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if ((*member | 0x20) != 'x' && (*member | 0x20) != 'y')
            break;
        if (strcmp(member + 1, ends[i].end))
            continue;
        struct array *array = (*member | 0x20) == 'x' ? &arrays->x[ends[i].split] : &arrays->y[ends[i].split];
        if (array->there)
            return hub_error(error, HUB_ERROR_INVALID, "%s: %s: there are two arrays for the split %s", arrays->path, member,
                             split_names[ends[i].split]);
        array->there = true;
        array->path = arrays->path;
        snprintf(array->member, sizeof array->member, "%s", member);
        return 0;
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: array %s: the names are x, y, x_train, y_train, x_validation, x_test, …",
                     arrays->path, member);
}

static int list_arrays(struct arrays *arrays, const char *labels, bson_error_t *error)
{
    struct npy_members *members = calloc(1, sizeof *members);
    int result = -1;
    if (!members) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", arrays->path);
        goto out;
    }
    if (npy_file_list(arrays->path, members, error))
        goto out;
    const bool archive = members->count != 1 || members->names[0][0];
    if (archive && labels) {
        hub_error(error, HUB_ERROR_INVALID, "%s: an archive has its labels as y; --labels goes with a .npy file", arrays->path);
        goto out;
    }
    for (int i = 0; i < members->count; i++)
        if (archive && take_member(arrays, members->names[i], error))
            goto out;
    if (!archive) {
        arrays->x[SPLIT_TRAIN] = (struct array){.path = arrays->path, .there = true};
        arrays->y[SPLIT_TRAIN] = (struct array){.path = labels, .there = labels != NULL};
    }
    result = arrays->x[SPLIT_TRAIN].there
                 ? 0
                 : hub_error(error, HUB_ERROR_INVALID, "%s: it has neither an array x nor x_train", arrays->path);
out:
    free(members);
    return result;
}

/* ---- checking ---- */

/* Class numbers and finite values, read once. */
static int check_labels(struct arrays *arrays, struct npy_file *y, bson_error_t *error)
{
    const int64_t width = npy_file_row_values(y);
    int result = 0;
    double *row = malloc((size_t)width * sizeof *row);
    if (!row)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", npy_file_name(y));
    for (int64_t i = 0; result == 0 && i < npy_file_rows(y); i++) {
        result = npy_file_read(y, row, 1, error);
        if (result == 0 && npy_file_is_integer(y)) {
            if (!(*row >= 0 && *row < CLASSES))
                result = hub_error(error, HUB_ERROR_INVALID, "%s: row %lld: class %.17g; classes are 0 to %d", npy_file_name(y),
                                   (long long)i, *row, CLASSES - 1);
            else if (*row >= (double)arrays->parts.classes)
                arrays->parts.classes = (int64_t)*row + 1;
        }
        for (int64_t j = 0; result == 0 && j < width; j++)
            if (!isfinite((float)row[j]))
                result = hub_error(error, HUB_ERROR_INVALID, "%s: row %lld: NaN, infinite or too large", npy_file_name(y),
                                   (long long)i);
    }
    free(row);
    return result ? -1 : npy_file_end(y, error);
}

static int check_values(struct npy_file *x, bson_error_t *error)
{
    const int64_t width = npy_file_row_values(x);
    int result = 0;
    double *row = malloc((size_t)width * sizeof *row);
    if (!row)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", npy_file_name(x));
    for (int64_t i = 0; result == 0 && i < npy_file_rows(x); i++) {
        result = npy_file_read(x, row, 1, error);
        for (int64_t j = 0; result == 0 && j < width; j++)
            if (!isfinite((float)row[j]))
                result = hub_error(error, HUB_ERROR_INVALID, "%s: row %lld: NaN, infinite or too large", npy_file_name(x),
                                   (long long)i);
    }
    free(row);
    return result ? -1 : npy_file_end(x, error);
}

/* The first split says what a row is; the others must be like it. */
static int take_shape(struct arrays *arrays, const struct npy_file *x, bool first, bson_error_t *error)
{
    struct part_writer_options *parts = &arrays->parts;
    struct part_writer_options own = {.bytes = npy_file_is_bytes(x), .rank = npy_file_rank(x) - 1};
    if (npy_file_rank(x) < 1 || own.rank > PART_WRITER_RANK)
        return hub_error(error, HUB_ERROR_INVALID, "%s: %d dimensions; 1 to %d are taken", npy_file_name(x), npy_file_rank(x),
                         PART_WRITER_RANK + 1);
    for (int i = 0; i < own.rank; i++)
        own.dims[i] = npy_file_dimension(x, i + 1);
    if (own.rank == 0)
        own.dims[own.rank++] = 1;
    if (first) {
        parts->bytes = own.bytes;
        parts->rank = own.rank;
        memcpy(parts->dims, own.dims, sizeof own.dims);
    } else if (own.bytes != parts->bytes || own.rank != parts->rank || memcmp(own.dims, parts->dims, sizeof own.dims)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: has other rows than the training rows", npy_file_name(x));
    }
    return 0;
}

static int take_labels(struct arrays *arrays, struct npy_file *y, int64_t rows, bool first, bson_error_t *error)
{
    struct part_writer_options *parts = &arrays->parts;
    const bool classes = npy_file_is_integer(y);
    const int64_t width = npy_file_row_values(y);
    if (npy_file_rank(y) < 1 || npy_file_rank(y) > 2 || npy_file_rows(y) != rows)
        return hub_error(error, HUB_ERROR_INVALID, "%s: %lld rows of %d dimensions, for %lld rows of x", npy_file_name(y),
                         (long long)npy_file_rows(y), npy_file_rank(y), (long long)rows);
    if (classes && width != 1)
        return hub_error(error, HUB_ERROR_INVALID, "%s: classes are one number a row", npy_file_name(y));
    if (!first && (classes ? parts->outputs > 0 : parts->outputs != width))
        return hub_error(error, HUB_ERROR_INVALID, "%s: has other labels than the training rows", npy_file_name(y));
    parts->outputs = classes ? 0 : width;
    return check_labels(arrays, y, error);
}

static int check_split(struct arrays *arrays, int split, bson_error_t *error)
{
    struct npy_file *x = npy_file_open(arrays->x[split].path, arrays->x[split].member, error), *y = NULL;
    const bool first = split == SPLIT_TRAIN;
    int result = -1;
    if (!x || take_shape(arrays, x, first, error))
        goto out;
    arrays->parts.totals[split] = npy_file_rows(x);
    if (arrays->y[split].there != arrays->y[SPLIT_TRAIN].there) {
        hub_error(error, HUB_ERROR_INVALID, "%s: either every split has a y or none has", arrays->path);
        goto out;
    }
    y = arrays->y[split].there ? npy_file_open(arrays->y[split].path, arrays->y[split].member, error) : NULL;
    if (arrays->y[split].there && (!y || take_labels(arrays, y, npy_file_rows(x), first, error)))
        goto out;
    result = check_values(x, error);
out:
    npy_file_close(x);
    npy_file_close(y);
    return result;
}

/* ---- rows ---- */

static int open_split(struct arrays *arrays, int split, bson_error_t *error)
{
    npy_file_close(arrays->open_x);
    npy_file_close(arrays->open_y);
    arrays->open_y = NULL;
    arrays->split = split;
    arrays->open_x = npy_file_open(arrays->x[split].path, arrays->x[split].member, error);
    if (arrays->open_x && arrays->y[split].there)
        arrays->open_y = npy_file_open(arrays->y[split].path, arrays->y[split].member, error);
    return arrays->open_x && (!arrays->y[split].there || arrays->open_y) ? 0 : -1;
}

static int read_row(void *context, int split, int64_t i, void *x, void *y, bson_error_t *error)
{
    struct arrays *arrays = context;
    const struct part_writer_options *parts = &arrays->parts;
    uint8_t *to = x;
    if (i == 0 && open_split(arrays, split, error))
        return -1;
    const int64_t width = npy_file_row_values(arrays->open_x);
    if (parts->bytes ? npy_file_read_bytes(arrays->open_x, x, 1, error) : npy_file_read(arrays->open_x, arrays->row, 1, error))
        return -1;
    for (int64_t j = 0; !parts->bytes && j < width; j++) {
        const float value = (float)arrays->row[j];
        memcpy(to + j * (int64_t)sizeof value, &value, sizeof value);
    }
    if (!arrays->open_y)
        return 0;
    if (npy_file_read(arrays->open_y, arrays->label, 1, error))
        return -1;
    const int64_t class = parts->classes ? (int64_t)*arrays->label : 0;
    if (parts->classes)
        memcpy(y, &class, sizeof class); /* little-endian, as safetensors are */
    for (int64_t j = 0; j < parts->outputs; j++) {
        const float value = (float)arrays->label[j];
        memcpy((uint8_t *)y + j * (int64_t)sizeof value, &value, sizeof value);
    }
    return 0;
}

int npy_save_dataset(struct hub *hub, const char *path, const char *labels, const struct rows_options *options,
                     bson_t *dataset, bson_error_t *error)
{
    int result = -1;
    struct arrays *arrays = calloc(1, sizeof *arrays);
    bson_init(dataset);
    if (!arrays)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
    arrays->path = path;
    arrays->parts.where = path;
    if (list_arrays(arrays, labels, error))
        goto out;
    for (int split = 0; split < SPLIT_COUNT; split++) {
        if (arrays->y[split].there && !arrays->x[split].there) {
            hub_error(error, HUB_ERROR_INVALID, "%s: the split %s has a y without an x", path, split_names[split]);
            goto out;
        }
        if (arrays->x[split].there && check_split(arrays, split, error))
            goto out;
    }
    int64_t values = 1;
    for (int i = 0; i < arrays->parts.rank; i++)
        values *= arrays->parts.dims[i];
    arrays->row = calloc((size_t)values, sizeof *arrays->row);
    arrays->label = calloc((size_t)(arrays->parts.outputs + 1), sizeof *arrays->label);
    if (!arrays->row || !arrays->label) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a row", path);
        goto out;
    }
    struct rows_source source = {.parts = arrays->parts, .read = read_row, .context = arrays};
    bson_destroy(dataset);
    result = rows_source_save(hub, &source, options, dataset, error);
out:
    npy_file_close(arrays->open_x);
    npy_file_close(arrays->open_y);
    free(arrays->row);
    free(arrays->label);
    free(arrays);
    return result;
}
