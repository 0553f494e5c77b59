/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/tensor_file.h"

#include "distributor/refusal.h"
#include "kernels/random.h"
#include "kernels/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PART_BYTES   32000000 /* of a part: x, y and header */
#define HEADER_ROOM  4096
#define CHUNK_ROWS   4096     /* of labels, while they are checked */
#define SPLIT_STREAM 0x73706c6974ull /* of the seed's random numbers, as idx.c's */
#define SPLITS       32
#define CLASSES      (1 << 20)

struct split {
    char name[65];
    const struct safetensors_tensor *x, *y; /* y NULL: no labels */
};

struct saving {
    const struct tensor_file_options *options;
    FILE *file;
    struct safetensors *header;
    struct split splits[SPLITS];
    int split_count;
    int64_t row_bytes, label_bytes; /* of a row of x; of y as it is stored: I64 classes, F32 values, 0 without */
    int64_t outputs, classes;       /* of values; of classes; both 0 without labels */
    int64_t validation;             /* rows of train */
    struct dataset_writer *writer;
    uint8_t *part;
};

static int refuse(const struct saving *saving, const char *tensor, const char *what, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s: tensor %.80s: %s", saving->options->path, tensor, what);
}

/* ---- the file ---- */

static int open_file(struct saving *saving, bson_error_t *error)
{
    const char *path = saving->options->path;
    struct kernel_error why = {0};
    struct stat status;
    uint8_t first[8], *header;
    saving->file = fopen(path, "rbe");
    if (!saving->file)
        return hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fileno(saving->file), &status) || !S_ISREG(status.st_mode))
        return hub_error(error, HUB_ERROR_INVALID, "%s: not a file", path);
    if (fread(first, 1, sizeof first, saving->file) != sizeof first)
        return hub_error(error, HUB_ERROR_INVALID, "%s: too short for safetensors", path);
    int64_t length = safetensors_header_length(first, &why);
    if (length < 0)
        return refusal(error, path, &why);
    if (length > status.st_size)
        return hub_error(error, HUB_ERROR_INVALID, "%s: its header is longer than the file: it is cut off, or no safetensors",
                         path);
    header = malloc((size_t)length);
    if (!header)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its header", path);
    memcpy(header, first, sizeof first);
    if (fread(header + sizeof first, 1, (size_t)length - sizeof first, saving->file) != (size_t)length - sizeof first) {
        free(header);
        return hub_error(error, HUB_ERROR_IO, "%s: cannot be read", path);
    }
    saving->header = safetensors_parse_header(header, (size_t)length, (uint64_t)status.st_size, &why);
    free(header);
    return saving->header ? 0 : refusal(error, path, &why);
}

/* The split that the tensor "x", "y", "SPLIT.x" or "SPLIT.y" belongs to, made where there is none. */
static struct split *split_of(struct saving *saving, const char *tensor, bson_error_t *error)
{
    const char *dot = strrchr(tensor, '.'), *kind = dot ? dot + 1 : tensor;
    size_t length = dot ? (size_t)(dot - tensor) : strlen("train");
    if (strcmp(kind, "x") && strcmp(kind, "y")) {
        refuse(saving, tensor, "must be called x, y, SPLIT.x or SPLIT.y (train.x, test.y, …)", error);
        return NULL;
    }
    if (length < 1 || length >= sizeof saving->splits->name) {
        refuse(saving, tensor, "the name of a split has 1 to 64 bytes", error);
        return NULL;
    }
    const char *name = dot ? tensor : "train";
    for (int i = 0; i < saving->split_count; i++)
        if (strlen(saving->splits[i].name) == length && !memcmp(saving->splits[i].name, name, length))
            return &saving->splits[i];
    if (saving->split_count == SPLITS) {
        refuse(saving, tensor, "too many splits", error);
        return NULL;
    }
    struct split *split = &saving->splits[saving->split_count++];
    memcpy(split->name, name, length);
    return split;
}

static int list_splits(struct saving *saving, bson_error_t *error)
{
    for (size_t i = 0; i < saving->header->count; i++) {
        const struct safetensors_tensor *tensor = &saving->header->tensors[i];
        struct split *split = split_of(saving, tensor->name, error);
        if (!split)
            return -1;
        const struct safetensors_tensor **place = tensor->name[strlen(tensor->name) - 1] == 'x' ? &split->x : &split->y;
        if (*place)
            return refuse(saving, tensor->name, "the split has two of this kind", error);
        *place = tensor;
    }
    bool trains = false;
    for (int i = 0; i < saving->split_count; i++)
        trains = trains || !strcmp(saving->splits[i].name, "train");
    return trains ? 0 : hub_error(error, HUB_ERROR_INVALID, "%s: has neither a tensor x nor train.x",
                                  saving->options->path);
}

static bool same_row(const struct safetensors_tensor *a, const struct safetensors_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           !memcmp(a->shape + 1, b->shape + 1, (size_t)(a->rank - 1) * sizeof *a->shape);
}

static bool holds_classes(const struct safetensors_tensor *y)
{
    return y->dtype == SAFETENSORS_I64 || y->dtype == SAFETENSORS_I32 || y->dtype == SAFETENSORS_U8;
}

/* Types and shapes of one split, and against the first one's. */
static int check_split(const struct saving *saving, const struct split *split, bson_error_t *error)
{
    const struct split *first = &saving->splits[0];
    const struct safetensors_tensor *x = split->x, *y = split->y;
    if (!x)
        return refuse(saving, y->name, "there is no x to it", error);
    if (x->rank < 1 || x->shape[0] < 1)
        return refuse(saving, x->name, "has no rows", error);
    if (x->rank > 7) /* a row has at most six dimensions, as a net's input */
        return refuse(saving, x->name, "a row has at most six dimensions", error);
    if (x->dtype != SAFETENSORS_U8 && x->dtype != SAFETENSORS_F32)
        return refuse(saving, x->name, "must be U8 or F32 (in numpy: astype(\"float32\"))", error);
    if (!same_row(x, first->x))
        return refuse(saving, x->name, "has other rows than the first split: type and shape must be the same", error);
    if (!y != !first->y)
        return refuse(saving, y ? y->name : x->name, "either every split has a y or none has", error);
    if (!y)
        return 0;
    if (y->rank < 1 || y->shape[0] != x->shape[0])
        return refuse(saving, y->name, "must have as many rows as x", error);
    if (!holds_classes(y) && y->dtype != SAFETENSORS_F32)
        return refuse(saving, y->name, "must be I64, I32 or U8 for classes, F32 for values", error);
    if (holds_classes(y) && y->rank != 1)
        return refuse(saving, y->name, "classes are one number a row", error);
    if (y->rank > 2)
        return refuse(saving, y->name, "values are [rows] or [rows, outputs]", error);
    return same_row(y, first->y) ? 0 : refuse(saving, y->name, "has other rows than the first split's y", error);
}

static int seek_row(const struct saving *saving, const struct safetensors_tensor *tensor, int64_t row, bson_error_t *error)
{
    int64_t bytes = tensor->shape[0] ? (int64_t)(tensor->end - tensor->begin) / tensor->shape[0] : 0;
    if (fseeko(saving->file, (off_t)(saving->header->data_begin + tensor->begin) + row * bytes, SEEK_SET) == 0)
        return 0;
    return hub_error(error, HUB_ERROR_IO, "%s: cannot be read: %s", saving->options->path, strerror(errno));
}

static int read_bytes(const struct saving *saving, void *out, size_t bytes, bson_error_t *error)
{
    if (fread(out, 1, bytes, saving->file) == bytes)
        return 0;
    return hub_error(error, HUB_ERROR_IO, "%s: cannot be read, or changed while it was read", saving->options->path);
}

static int64_t class_at(const struct safetensors_tensor *y, const uint8_t *bytes, int64_t i)
{
    int64_t number;
    int32_t small;
    if (y->dtype == SAFETENSORS_U8)
        return bytes[i];
    if (y->dtype == SAFETENSORS_I32) {
        memcpy(&small, bytes + i * (int64_t)sizeof small, sizeof small);
        return small;
    }
    memcpy(&number, bytes + i * (int64_t)sizeof number, sizeof number);
    return number;
}

/* Reads all labels once: classes within range (and how many there are), values finite. */
static int check_labels(struct saving *saving, const struct split *split, bson_error_t *error)
{
    const struct safetensors_tensor *y = split->y;
    const int64_t width = (int64_t)(y->end - y->begin) / y->shape[0];
    uint8_t *chunk = malloc((size_t)(CHUNK_ROWS * width));
    int result = chunk ? seek_row(saving, y, 0, error)
                       : hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", saving->options->path);
    for (int64_t row = 0; row < y->shape[0] && result == 0; row += CHUNK_ROWS) {
        int64_t count = y->shape[0] - row < CHUNK_ROWS ? y->shape[0] - row : CHUNK_ROWS;
        result = read_bytes(saving, chunk, (size_t)(count * width), error);
        for (int64_t i = 0; i < count && result == 0 && holds_classes(y); i++) {
            int64_t class = class_at(y, chunk, i);
            if (class < 0 || class >= CLASSES)
                result = hub_error(error, HUB_ERROR_INVALID, "%s: tensor %.80s: row %lld has class %lld; classes are 0 to %d",
                                   saving->options->path, y->name, (long long)(row + i), (long long)class, CLASSES - 1);
            saving->classes = class >= saving->classes ? class + 1 : saving->classes;
        }
        for (int64_t i = 0; i < count * width / (int64_t)sizeof(float) && result == 0 && !holds_classes(y); i++) {
            float value;
            memcpy(&value, chunk + i * (int64_t)sizeof value, sizeof value);
            if (!isfinite(value))
                result = hub_error(error, HUB_ERROR_INVALID, "%s: tensor %.80s: row %lld is NaN or infinite",
                                   saving->options->path, y->name,
                                   (long long)(row + i * (int64_t)sizeof value / width));
        }
    }
    free(chunk);
    return result;
}

static int check_file(struct saving *saving, bson_error_t *error)
{
    const struct tensor_file_options *options = saving->options;
    int64_t rows = 0;
    bool has_validation = false;
    if (open_file(saving, error) || list_splits(saving, error))
        return -1;
    for (int i = 0; i < saving->split_count; i++) {
        const struct split *split = &saving->splits[i];
        if (check_split(saving, split, error) || (split->y && check_labels(saving, split, error)))
            return -1;
        rows = !strcmp(split->name, "train") ? split->x->shape[0] : rows;
        has_validation = has_validation || !strcmp(split->name, "validation");
    }
    const struct safetensors_tensor *x = saving->splits[0].x, *y = saving->splits[0].y;
    saving->row_bytes = (int64_t)(x->end - x->begin) / x->shape[0];
    if (saving->row_bytes < 1 || saving->row_bytes > PART_BYTES / 2)
        return refuse(saving, x->name, "a row must have 1 to 16,000,000 bytes", error);
    if (y && !holds_classes(y)) {
        saving->outputs = y->rank == 2 ? y->shape[1] : 1;
        if (saving->outputs < 1 || saving->outputs > PART_BYTES / 8)
            return refuse(saving, y->name, "a row must have 1 to 4,000,000 values", error);
    }
    saving->label_bytes = !y ? 0 : holds_classes(y) ? (int64_t)sizeof(int64_t) : saving->outputs * (int64_t)sizeof(float);
    if (!(options->validation_share >= 0 && options->validation_share < 1))
        return hub_error(error, HUB_ERROR_INVALID, "validation: a share of %g; it must be in [0, 1)",
                         options->validation_share);
    saving->validation = options->validation ? options->validation : llround(options->validation_share * (double)rows);
    if (saving->validation && has_validation)
        return hub_error(error, HUB_ERROR_INVALID, "validation: %s has rows for it already", options->path);
    if (saving->validation < 0 || saving->validation >= rows)
        return hub_error(error, HUB_ERROR_INVALID, "validation: %lld rows of %lld training rows; some must be left",
                         (long long)saving->validation, (long long)rows);
    return 0;
}

/* ---- the parts ---- */

/* Appends header, y and x of count rows as one part; x and y lie behind the room for the header. */
static int send_part(struct saving *saving, const struct split *split, const char *name, int64_t count, bson_error_t *error)
{
    const struct safetensors_tensor *x = split->x;
    struct safetensors_tensor tensors[2] = {
        {.name = (char[]){"y"}, .dtype = saving->outputs ? SAFETENSORS_F32 : SAFETENSORS_I64,
         .rank = saving->outputs > 1 ? 2 : 1, .shape = {count, saving->outputs}},
        {.name = (char[]){"x"}, .dtype = x->dtype, .rank = x->rank, .shape = {count}}};
    struct kernel_error why = {0};
    const bool labelled = split->y != NULL;
    size_t length;
    memcpy(tensors[1].shape + 1, x->shape + 1, (size_t)(x->rank - 1) * sizeof *x->shape);
    uint8_t *header = safetensors_header_new(labelled ? tensors : tensors + 1, labelled ? 2 : 1, NULL, 0, &length, &why);
    if (!header)
        return refusal(error, saving->options->path, &why);
    if (length > HEADER_ROOM) {
        free(header);
        return hub_error(error, HUB_ERROR_INTERNAL, "%s: a part's header has %zu bytes", saving->options->path, length);
    }
    uint8_t *begin = saving->part + HEADER_ROOM - length;
    memcpy(begin, header, length);
    free(header);
    return dataset_writer_part(saving->writer, name, count, begin,
                               length + (size_t)(count * (saving->row_bytes + saving->label_bytes)), error) < 0 ? -1 : 0;
}

/* The next label of the file, as it is stored. */
static int read_label(struct saving *saving, const struct split *split, uint8_t *out, bson_error_t *error)
{
    uint8_t bytes[8];
    int64_t class;
    if (saving->outputs)
        return read_bytes(saving, out, (size_t)saving->label_bytes, error);
    if (read_bytes(saving, bytes, safetensors_dtype_bytes(split->y->dtype), error))
        return -1;
    class = class_at(split->y, bytes, 0);
    memcpy(out, &class, sizeof class); /* little-endian, as safetensors are */
    return 0;
}

static bool follows(const int64_t *order, int64_t i)
{
    return i > 0 && order[i] == order[i - 1] + 1;
}

/* Rows order[0 … total - 1] of a split as parts of nearly equal size. */
static int send_rows(struct saving *saving, const struct split *split, const char *name, const int64_t *order, int64_t total,
                     bson_error_t *error)
{
    const int64_t limit = (PART_BYTES - HEADER_ROOM) / (saving->row_bytes + saving->label_bytes);
    const int64_t parts = (total + limit - 1) / limit, each = (total + parts - 1) / parts;
    for (int64_t sent = 0; sent < total;) {
        int64_t count = total - sent < each ? total - sent : each;
        uint8_t *y = saving->part + HEADER_ROOM, *x = y + count * saving->label_bytes;
        for (int64_t i = 0; i < count && split->y; i++)
            if ((!follows(order + sent, i) && seek_row(saving, split->y, order[sent + i], error)) ||
                read_label(saving, split, y + i * saving->label_bytes, error))
                return -1;
        for (int64_t i = 0; i < count; i++)
            if ((!follows(order + sent, i) && seek_row(saving, split->x, order[sent + i], error)) ||
                read_bytes(saving, x + i * saving->row_bytes, (size_t)saving->row_bytes, error))
                return -1;
        if (send_part(saving, split, name, count, error))
            return -1;
        sent += count;
        if (saving->options->progress)
            saving->options->progress(name, sent, total, saving->options->data);
    }
    return 0;
}

/* All rows in order; of train, those that the seed draws apart (selection sampling: Knuth, TAOCP 2, 3.4.2, algorithm S). */
static int send_split(struct saving *saving, const struct split *split, bson_error_t *error)
{
    const int64_t rows = split->x->shape[0], validation = strcmp(split->name, "train") ? 0 : saving->validation;
    int64_t *order = malloc((size_t)rows * sizeof *order), kept = 0, drawn = 0;
    struct random_state random;
    if (!order)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for the order of its rows", saving->options->path);
    random_init(&random, saving->options->seed, SPLIT_STREAM);
    for (int64_t i = 0; i < rows; i++) {
        bool apart = validation > 0 && (int64_t)random_below(&random, (uint64_t)(rows - i)) < validation - drawn;
        if (apart)
            order[rows - validation + drawn++] = i;
        else
            order[kept++] = i;
    }
    int result = send_rows(saving, split, split->name, order, kept, error);
    if (result == 0 && drawn > 0)
        result = send_rows(saving, split, "validation", order + kept, drawn, error);
    free(order);
    return result;
}

/* ---- the manifest ---- */

static int take_fields(const struct saving *saving, bson_t *fields, bson_error_t *error)
{
    static const char *const ours[] = {"name",    "input_shape", "label",  "classes", "outputs", "features",
                                       "parts",   "splits",      "digest", "rows",    "version"};
    bson_iter_t at;
    if (!saving->options->fields)
        return 0;
    if (!bson_iter_init(&at, saving->options->fields))
        return hub_error(error, HUB_ERROR_INVALID, "the dataset's fields are not a document");
    while (bson_iter_next(&at)) {
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (!strcmp(bson_iter_key(&at), ours[i]))
                return hub_error(error, HUB_ERROR_INVALID, "field %s: comes from the file, it cannot be given", ours[i]);
        if (!bson_append_iter(fields, bson_iter_key(&at), -1, &at))
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
    }
    return 0;
}

static int make_fields(const struct saving *saving, bson_t *fields, bson_error_t *error)
{
    const struct safetensors_tensor *x = saving->splits[0].x;
    const bool bytes = x->dtype == SAFETENSORS_U8;
    bson_t shape, features;
    char index[16];
    bool done = BSON_APPEND_UTF8(fields, "name", saving->options->name);
    if (take_fields(saving, fields, error))
        return -1;
    done = done && BSON_APPEND_ARRAY_BEGIN(fields, "input_shape", &shape);
    if (done && x->rank == 1)
        BSON_APPEND_INT32(&shape, "0", 1);
    for (int i = 1; done && i < x->rank; i++) {
        snprintf(index, sizeof index, "%d", i - 1);
        done = BSON_APPEND_INT32(&shape, index, (int32_t)x->shape[i]);
    }
    done = done && bson_append_array_end(fields, &shape) &&
           BSON_APPEND_UTF8(fields, "label", saving->classes ? "class" : saving->outputs ? "value" : "none") &&
           (!saving->classes || BSON_APPEND_INT32(fields, "classes", (int32_t)saving->classes)) &&
           (!saving->outputs || BSON_APPEND_INT32(fields, "outputs", (int32_t)saving->outputs)) &&
           BSON_APPEND_DOCUMENT_BEGIN(fields, "features", &features) &&
           BSON_APPEND_UTF8(&features, "dtype", bytes ? "U8" : "F32") &&
           (!bytes || (BSON_APPEND_DOUBLE(&features, "scale", 1.0 / 255.0) && BSON_APPEND_DOUBLE(&features, "offset", 0.0))) &&
           bson_append_document_end(fields, &features);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
}

static int send_all(struct saving *saving, struct hub *hub, bson_error_t *error)
{
    bson_t fields = BSON_INITIALIZER;
    int result = make_fields(saving, &fields, error);
    if (result == 0) {
        saving->part = malloc(HEADER_ROOM + PART_BYTES);
        if (!saving->part)
            result = hub_error(error, HUB_ERROR_MEMORY, "no memory for a part of %s", saving->options->path);
    }
    if (result == 0) {
        saving->writer = dataset_writer_open(hub, &fields, error);
        result = saving->writer ? 0 : -1;
    }
    for (int i = 0; i < saving->split_count && result == 0; i++)
        result = send_split(saving, &saving->splits[i], error);
    bson_destroy(&fields);
    return result;
}

int tensor_file_save_dataset(struct hub *hub, const struct tensor_file_options *options, bson_t *dataset,
                             bson_error_t *error)
{
    bool finished = false;
    int result = -1;
    struct saving *saving = calloc(1, sizeof *saving);
    if (!saving) {
        bson_init(dataset);
        return hub_error(error, HUB_ERROR_MEMORY, "no memory to read %s", options->path);
    }
    saving->options = options;
    if (check_file(saving, error) == 0 && send_all(saving, hub, error) == 0) {
        finished = true;
        result = dataset_writer_finish(saving->writer, dataset, error);
    }
    if (!finished)
        bson_init(dataset);
    dataset_writer_close(saving->writer);
    safetensors_free(saving->header);
    if (saving->file)
        fclose(saving->file);
    free(saving->part);
    free(saving);
    return result;
}
