/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/idx.h"

#include "distributor/idx_file.h"
#include "distributor/refusal.h"
#include "kernels/random.h"
#include "kernels/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PART_BYTES   32000000 /* of a part: x, y and header */
#define HEADER_ROOM  4096
#define CHECK_BYTES  (1 << 20)
#define SPLIT_STREAM 0x73706c6974ull /* of the seed's random numbers: "split" */

/* Images and labels of one pair of files. */
struct pair {
    char images[4096], labels[4096]; /* paths; "" where there is none */
    int64_t rows, row_bytes;
    int rank;
    int64_t dimensions[IDX_FILE_RANK];
    uint8_t *y; /* [rows] */
};

struct saving {
    const struct idx_options *options;
    struct pair train, test;
    int64_t validation; /* rows of train */
    int64_t classes;
    struct dataset_writer *writer;
    uint8_t *part; /* header room, y, x */
};

static void tell(const struct saving *saving, const char *what, int64_t done, int64_t total)
{
    if (saving->options->progress)
        saving->options->progress(what, done, total, saving->options->data);
}

/* ---- the files ---- */

/* The first of {prefix}{-,.}{images-idx?,…}… that is there; false and path "" where none is. */
static bool find_file(const char *directory, const char *prefix, const char *what, const char *rank, char *path,
                      size_t size)
{
    static const char separators[] = "-.";
    static const char *const ends[] = {"", ".gz"};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            int length =
                snprintf(path, size, "%s/%s-%s%cidx%s-ubyte%s", directory, prefix, what, separators[i], rank, ends[j]);
            if (length > 0 && (size_t)length < size && !access(path, F_OK))
                return true;
        }
    path[0] = '\0';
    return false;
}

/* 1 both are there, 0 none is, -1 one is missing. */
static int find_pair(const char *directory, const char *prefix, struct pair *pair, bson_error_t *error)
{
    bool images = find_file(directory, prefix, "images", "3", pair->images, sizeof pair->images) ||
                  find_file(directory, prefix, "images", "4", pair->images, sizeof pair->images) ||
                  find_file(directory, prefix, "images", "2", pair->images, sizeof pair->images);
    bool labels = find_file(directory, prefix, "labels", "1", pair->labels, sizeof pair->labels);
    if (images == labels)
        return images;
    return hub_error(error, HUB_ERROR_NOT_FOUND, "%s: has %s-%s but not %s-%s", directory, prefix,
                     images ? "images-idx3-ubyte" : "labels-idx1-ubyte", prefix,
                     images ? "labels-idx1-ubyte[.gz]" : "images-idx3-ubyte[.gz]");
}

static int read_labels(struct pair *pair, int64_t *classes, bson_error_t *error)
{
    int result = -1;
    struct idx_file *file = idx_file_open(pair->labels, error);
    if (!file)
        return -1;
    if (idx_file_rank(file) != 1) {
        hub_error(error, HUB_ERROR_INVALID, "%s: byte 3: %d dimensions; labels have one: this looks like an image file",
                  pair->labels, idx_file_rank(file));
        goto out;
    }
    if (idx_file_rows(file) != pair->rows) {
        hub_error(error, HUB_ERROR_INVALID, "%s: byte 4: %lld labels for the %lld images of %s", pair->labels,
                  (long long)idx_file_rows(file), (long long)pair->rows, pair->images);
        goto out;
    }
    pair->y = malloc((size_t)pair->rows);
    if (!pair->y) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for %lld labels", pair->labels, (long long)pair->rows);
        goto out;
    }
    if (idx_file_read(file, pair->y, pair->rows, error) || idx_file_end(file, error))
        goto out;
    for (int64_t i = 0; i < pair->rows; i++)
        if (pair->y[i] >= *classes)
            *classes = pair->y[i] + 1;
    result = 0;
out:
    idx_file_close(file);
    return result;
}

/* Reads everything once: what is wrong with the files is known before anything is saved. */
static int check_images(const struct saving *saving, struct pair *pair, const char *what, bson_error_t *error)
{
    uint8_t *rows = NULL;
    int result = -1;
    struct idx_file *file = idx_file_open(pair->images, error);
    if (!file)
        return -1;
    pair->rank = idx_file_rank(file);
    pair->rows = idx_file_rows(file);
    pair->row_bytes = idx_file_row_bytes(file);
    for (int i = 0; i < pair->rank; i++)
        pair->dimensions[i] = idx_file_dimension(file, i);
    if (pair->rank < 2) {
        hub_error(error, HUB_ERROR_INVALID, "%s: byte 3: one dimension; images have more: this looks like a label file",
                  pair->images);
        goto out;
    }
    int64_t chunk = pair->row_bytes < CHECK_BYTES ? CHECK_BYTES / pair->row_bytes : 1;
    rows = malloc((size_t)(chunk * pair->row_bytes));
    if (!rows) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", pair->images);
        goto out;
    }
    for (int64_t i = 0; i < pair->rows; i += chunk) {
        if (idx_file_read(file, rows, pair->rows - i < chunk ? pair->rows - i : chunk, error))
            goto out;
        tell(saving, what, i + chunk < pair->rows ? i + chunk : pair->rows, pair->rows);
    }
    result = idx_file_end(file, error);
out:
    free(rows);
    idx_file_close(file);
    return result;
}

static int check_files(struct saving *saving, bson_error_t *error)
{
    const struct idx_options *options = saving->options;
    struct pair *train = &saving->train, *test = &saving->test;
    int there = find_pair(options->directory, "train", train, error);
    if (there < 0)
        return -1;
    if (!there)
        return hub_error(error, HUB_ERROR_NOT_FOUND,
                         "%s: has no train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]",
                         options->directory);
    there = find_pair(options->directory, "t10k", test, error);
    if (!there)
        there = find_pair(options->directory, "test", test, error);
    if (there < 0 || check_images(saving, train, "checking training images", error) ||
        read_labels(train, &saving->classes, error))
        return -1;
    if (there &&
        (check_images(saving, test, "checking test images", error) || read_labels(test, &saving->classes, error)))
        return -1;
    saving->validation = options->validation;
    if (!(options->validation_share >= 0 && options->validation_share < 1))
        return hub_error(error, HUB_ERROR_INVALID, "validation: a share of %g; it must be in [0, 1)",
                         options->validation_share);
    if (!options->validation)
        saving->validation = llround(options->validation_share * (double)train->rows);
    if (saving->validation < 0 || saving->validation >= train->rows)
        return hub_error(error, HUB_ERROR_INVALID, "validation: %lld rows of %lld training rows; some must be left",
                         (long long)saving->validation, (long long)train->rows);
    if (there && (test->rank != train->rank || memcmp(test->dimensions + 1, train->dimensions + 1,
                                                      (size_t)(train->rank - 1) * sizeof *train->dimensions)))
        return hub_error(error, HUB_ERROR_INVALID, "%s: byte 8: images of another size than in %s", test->images,
                         train->images);
    return 0;
}

/* ---- the parts ---- */

static int send_part(struct saving *saving, const struct pair *pair, const char *split, int64_t rows,
                     bson_error_t *error)
{
    struct safetensors_tensor tensors[2] = {
        {.name = (char[]){"y"}, .dtype = SAFETENSORS_I64, .rank = 1, .shape = {rows}},
        {.name = (char[]){"x"}, .dtype = SAFETENSORS_U8, .rank = pair->rank, .shape = {rows}}};
    struct kernel_error why = {0};
    size_t length;
    for (int i = 1; i < pair->rank; i++)
        tensors[1].shape[i] = pair->dimensions[i];
    uint8_t *header = safetensors_header_new(tensors, 2, NULL, 0, &length, &why);
    if (!header)
        return refusal(error, pair->images, &why);
    if (length > HEADER_ROOM) {
        free(header);
        return hub_error(error, HUB_ERROR_INTERNAL, "%s: a part's header has %zu bytes", pair->images, length);
    }
    uint8_t *begin = saving->part + HEADER_ROOM - length;
    memcpy(begin, header, length);
    free(header);
    int sent = dataset_writer_part(saving->writer, split, rows, begin,
                                   length + (size_t)(rows * (pair->row_bytes + (int64_t)sizeof(int64_t))), error);
    return sent < 0 ? -1 : 0;
}

static void put_label(uint8_t *to, uint8_t label)
{
    memset(to, 0, sizeof(int64_t)); /* I64, little-endian */
    *to = label;
}

/* The rows of a pair that are chosen, as parts of equal size. pick NULL: all; else `wanted` rows for which the n-th
 * draw says so: selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S), the same for both halves of one seed. */
static int send_split(struct saving *saving, const struct pair *pair, const char *split, bool picks, bool picked,
                      int64_t total, bson_error_t *error)
{
    int64_t limit = (PART_BYTES - HEADER_ROOM) / (pair->row_bytes + (int64_t)sizeof(int64_t));
    int64_t parts = (total + limit - 1) / limit, rows_each = (total + parts - 1) / parts, filled = 0, sent = 0;
    int64_t wanted = picks ? saving->validation : 0;
    struct random_state random;
    uint8_t *y = saving->part + HEADER_ROOM, *x = NULL;
    int64_t this_part = 0;
    int result = -1;
    struct idx_file *file = idx_file_open(pair->images, error);
    if (!file)
        return -1;
    if (idx_file_rows(file) != pair->rows || idx_file_row_bytes(file) != pair->row_bytes) {
        hub_error(error, HUB_ERROR_INVALID, "%s: changed while it was read", pair->images);
        goto out;
    }
    random_init(&random, saving->options->seed, SPLIT_STREAM);
    for (int64_t i = 0; i < pair->rows; i++) {
        if (!filled) {
            this_part = total - sent < rows_each ? total - sent : rows_each;
            x = y + this_part * (int64_t)sizeof(int64_t);
        }
        if (picks) {
            bool drawn = (int64_t)random_below(&random, (uint64_t)(pair->rows - i)) < wanted;
            wanted -= drawn;
            if (drawn != picked) {
                if (idx_file_read(file, x + filled * pair->row_bytes, 1, error)) /* the next chosen one goes over it */
                    goto out;
                continue;
            }
        }
        put_label(y + filled * (int64_t)sizeof(int64_t), pair->y[i]);
        if (idx_file_read(file, x + filled * pair->row_bytes, 1, error))
            goto out;
        if (++filled == this_part) {
            if (send_part(saving, pair, split, filled, error))
                goto out;
            sent += filled;
            filled = 0;
            tell(saving, split, sent, total);
        }
    }
    if (sent != total)
        hub_error(error, HUB_ERROR_INTERNAL, "%s: %lld rows for split %s, not %lld", pair->images, (long long)sent,
                  split, (long long)total);
    else
        result = 0;
out:
    idx_file_close(file);
    return result;
}

/* ---- the manifest ---- */

static int make_fields(const struct saving *saving, bson_t *fields, bson_error_t *error)
{
    static const char *const ours[] = {"name",  "input_shape", "label",  "classes", "features",
                                       "parts", "splits",      "digest", "rows",    "version"};
    const struct idx_options *options = saving->options;
    bson_iter_t at, names;
    bson_t shape, features;
    char index[16];
    bool done = BSON_APPEND_UTF8(fields, "name", options->name);
    if (options->fields && !bson_iter_init(&at, options->fields))
        return hub_error(error, HUB_ERROR_INVALID, "the dataset's fields are not a document");
    while (done && options->fields && bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (!strcmp(key, ours[i]))
                return hub_error(error, HUB_ERROR_INVALID, "field %s: comes from the files, it cannot be given", key);
        if (!strcmp(key, "class_names")) {
            int64_t count = 0;
            if (!BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &names))
                return hub_error(error, HUB_ERROR_INVALID, "field class_names: must be a list of strings");
            while (bson_iter_next(&names))
                count += BSON_ITER_HOLDS_UTF8(&names);
            if (count != saving->classes)
                return hub_error(error, HUB_ERROR_INVALID, "field class_names: %lld names for %lld classes",
                                 (long long)count, (long long)saving->classes);
        }
        done = bson_append_iter(fields, key, -1, &at);
    }
    done = done && BSON_APPEND_ARRAY_BEGIN(fields, "input_shape", &shape);
    for (int i = 1; done && i < saving->train.rank; i++) {
        snprintf(index, sizeof index, "%d", i - 1);
        done = BSON_APPEND_INT32(&shape, index, (int32_t)saving->train.dimensions[i]);
    }
    done = done && bson_append_array_end(fields, &shape) && BSON_APPEND_UTF8(fields, "label", "class") &&
           BSON_APPEND_INT32(fields, "classes", (int32_t)saving->classes) &&
           BSON_APPEND_DOCUMENT_BEGIN(fields, "features", &features) && BSON_APPEND_UTF8(&features, "dtype", "U8") &&
           BSON_APPEND_DOUBLE(&features, "scale", 1.0 / 255.0) && BSON_APPEND_DOUBLE(&features, "offset", 0.0) &&
           bson_append_document_end(fields, &features);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
}

static int send_all(struct saving *saving, bson_error_t *error)
{
    const struct pair *train = &saving->train, *test = &saving->test;
    int64_t validation = saving->validation;
    if (send_split(saving, train, "train", validation > 0, false, train->rows - validation, error))
        return -1;
    if (validation && send_split(saving, train, "validation", true, true, validation, error))
        return -1;
    return test->rows ? send_split(saving, test, "test", false, false, test->rows, error) : 0;
}

/* The room that the largest part needs. */
static size_t part_bytes(const struct saving *saving)
{
    int64_t rows = saving->train.rows > saving->test.rows ? saving->train.rows : saving->test.rows;
    int64_t bytes = saving->train.row_bytes + (int64_t)sizeof(int64_t);
    int64_t most = (PART_BYTES - HEADER_ROOM) / bytes;
    return HEADER_ROOM + (size_t)((rows < most ? rows : most) * bytes);
}

int idx_save_dataset(struct hub *hub, const struct idx_options *options, bson_t *dataset, bson_error_t *error)
{
    bson_t fields;
    bool finished = false;
    int result = -1;
    struct saving *saving = calloc(1, sizeof *saving);
    bson_init(&fields);
    if (!saving) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory to read %s", options->directory);
        goto out;
    }
    saving->options = options;
    if (check_files(saving, error) || make_fields(saving, &fields, error))
        goto out;
    saving->part = malloc(part_bytes(saving));
    if (!saving->part) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a part of %s", options->directory);
        goto out;
    }
    saving->writer = dataset_writer_open(hub, &fields, error);
    if (!saving->writer || send_all(saving, error))
        goto out;
    finished = true;
    result = dataset_writer_finish(saving->writer, dataset, error);
out:
    if (!finished && dataset)
        bson_init(dataset);
    if (saving) {
        dataset_writer_close(saving->writer);
        free(saving->part);
        free(saving->train.y);
        free(saving->test.y);
    }
    free(saving);
    bson_destroy(&fields);
    return result;
}
