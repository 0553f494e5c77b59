/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/part_writer.h"

#include "distributor/refusal.h"
#include "kernels/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES  32000000 /* of a part: x, y and header */
#define HEADER_ROOM 4096

struct split {
    int64_t total, sent, filled, part; /* rows: in all; in parts that are gone; in this one; that this one will have */
    int64_t each;                      /* of a part, but for the last */
    uint8_t *block;                    /* header room, y, x */
};

struct part_writer {
    struct dataset_writer *writer;
    struct part_writer_options options;
    size_t x_bytes, y_bytes; /* of a row */
    struct split splits[PART_WRITER_SPLITS];
};

struct part_writer *part_writer_open(struct dataset_writer *writer, const struct part_writer_options *options,
                                     bson_error_t *error)
{
    int64_t values = 1;
    struct part_writer *parts = calloc(1, sizeof *parts);
    if (!parts) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its rows", options->where);
        return NULL;
    }
    parts->writer = writer;
    parts->options = *options;
    for (int i = 0; i < options->rank; i++)
        if (__builtin_mul_overflow(values, options->dims[i], &values) || values > PART_BYTES)
            values = PART_BYTES;
    parts->x_bytes = (size_t)values * (options->bytes ? 1 : sizeof(float));
    parts->y_bytes = options->classes ? sizeof(int64_t) : (size_t)options->outputs * sizeof(float);
    const int64_t most = (int64_t)((PART_BYTES - HEADER_ROOM) / (parts->x_bytes + parts->y_bytes));
    if (most == 0) {
        hub_error(error, HUB_ERROR_INVALID, "%s: a row takes more than %d bytes", options->where, PART_BYTES);
        part_writer_close(parts);
        return NULL;
    }
    for (int i = 0; i < PART_WRITER_SPLITS; i++) {
        struct split *split = &parts->splits[i];
        split->total = options->totals[i];
        const int64_t count = (split->total + most - 1) / most;
        split->each = count ? (split->total + count - 1) / count : 0;
    }
    return parts;
}

void part_writer_close(struct part_writer *writer)
{
    if (!writer)
        return;
    for (int i = 0; i < PART_WRITER_SPLITS; i++)
        free(writer->splits[i].block);
    free(writer);
}

int part_writer_row(struct part_writer *writer, int i, void **x, void **y, bson_error_t *error)
{
    struct split *split = &writer->splits[i];
    *x = *y = NULL;
    if (split->sent + split->filled >= split->total)
        return hub_error(error, HUB_ERROR_INVALID, "%s: changed while it was read", writer->options.where);
    if (!split->block) {
        split->block = malloc(HEADER_ROOM + (size_t)split->each * (writer->x_bytes + writer->y_bytes));
        if (!split->block)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a part", writer->options.where);
    }
    if (split->filled == 0)
        split->part = split->total - split->sent < split->each ? split->total - split->sent : split->each;
    uint8_t *first_y = split->block + HEADER_ROOM, *first_x = first_y + (size_t)split->part * writer->y_bytes;
    *y = first_y + (size_t)split->filled * writer->y_bytes;
    *x = first_x + (size_t)split->filled * writer->x_bytes;
    return 0;
}

static int send_part(struct part_writer *writer, struct split *split, const char *name, bson_error_t *error)
{
    const struct part_writer_options *options = &writer->options;
    struct safetensors_tensor tensors[2] = {
        {.name = (char[]){"y"}, .dtype = options->classes ? SAFETENSORS_I64 : SAFETENSORS_F32,
         .rank = options->outputs > 1 ? 2 : 1, .shape = {split->filled, options->outputs}},
        {.name = (char[]){"x"}, .dtype = options->bytes ? SAFETENSORS_U8 : SAFETENSORS_F32, .rank = options->rank + 1,
         .shape = {split->filled}}};
    const bool labelled = writer->y_bytes > 0;
    struct kernel_error why = {0};
    size_t length;
    for (int i = 0; i < options->rank; i++)
        tensors[1].shape[i + 1] = options->dims[i];
    uint8_t *header = safetensors_header_new(labelled ? tensors : tensors + 1, labelled ? 2 : 1, NULL, 0, &length, &why);
    if (!header)
        return refusal(error, options->where, &why);
    if (length > HEADER_ROOM) {
        free(header);
        return hub_error(error, HUB_ERROR_INTERNAL, "%s: a part's header has %zu bytes", options->where, length);
    }
    uint8_t *begin = split->block + HEADER_ROOM - length;
    memcpy(begin, header, length);
    free(header);
    if (dataset_writer_part(writer->writer, name, split->filled, begin,
                            length + (size_t)split->filled * (writer->x_bytes + writer->y_bytes), error) < 0)
        return -1;
    split->sent += split->filled;
    split->filled = 0;
    return 0;
}

/* The last part of each split waits for the end, so that those of a small dataset come in the order of the splits. */
int part_writer_end_row(struct part_writer *writer, int i, bson_error_t *error)
{
    struct split *split = &writer->splits[i];
    const bool full = ++split->filled == split->part, last = split->sent + split->filled == split->total;
    return full && !last ? send_part(writer, split, writer->options.names[i], error) : 0;
}

int part_writer_end(struct part_writer *writer, bson_error_t *error)
{
    for (int i = 0; i < PART_WRITER_SPLITS; i++)
        if (writer->splits[i].sent + writer->splits[i].filled != writer->splits[i].total)
            return hub_error(error, HUB_ERROR_INVALID, "%s: changed while it was read", writer->options.where);
    for (int i = 0; i < PART_WRITER_SPLITS; i++)
        if (writer->splits[i].filled > 0 && send_part(writer, &writer->splits[i], writer->options.names[i], error))
            return -1;
    return 0;
}

/* ---- the manifest ---- */

int part_writer_append_fields(const struct part_writer_options *options, const char *name, bson_t *fields,
                              bson_error_t *error)
{
    bson_t shape, features;
    char index[16];
    bool done = BSON_APPEND_UTF8(fields, "name", name) && BSON_APPEND_ARRAY_BEGIN(fields, "input_shape", &shape);
    for (int i = 0; done && i < options->rank; i++) {
        snprintf(index, sizeof index, "%d", i);
        done = BSON_APPEND_INT32(&shape, index, (int32_t)options->dims[i]);
    }
    done = done && bson_append_array_end(fields, &shape) &&
           BSON_APPEND_UTF8(fields, "label", options->classes ? "class" : options->outputs ? "value" : "none") &&
           (!options->classes || BSON_APPEND_INT32(fields, "classes", (int32_t)options->classes)) &&
           (!options->outputs || BSON_APPEND_INT32(fields, "outputs", (int32_t)options->outputs)) &&
           BSON_APPEND_DOCUMENT_BEGIN(fields, "features", &features) &&
           BSON_APPEND_UTF8(&features, "dtype", options->bytes ? "U8" : "F32") &&
           (!options->bytes || (BSON_APPEND_DOUBLE(&features, "scale", 1.0 / 255.0) &&
                                BSON_APPEND_DOUBLE(&features, "offset", 0.0))) &&
           bson_append_document_end(fields, &features);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
}

static int check_class_names(const struct part_writer_options *options, bson_iter_t *at, bson_error_t *error)
{
    bson_iter_t names;
    int64_t count = 0;
    if (!BSON_ITER_HOLDS_ARRAY(at) || !bson_iter_recurse(at, &names))
        return hub_error(error, HUB_ERROR_INVALID, "field class_names: must be a list of strings");
    while (bson_iter_next(&names))
        count += BSON_ITER_HOLDS_UTF8(&names);
    if (count != options->classes)
        return hub_error(error, HUB_ERROR_INVALID, "field class_names: %lld names for %lld classes", (long long)count,
                         (long long)options->classes);
    return 0;
}

int part_writer_append_own(const struct part_writer_options *options, const bson_t *own, bson_t *fields, bson_error_t *error)
{
    static const char *const ours[] = {"name",   "input_shape", "label",  "classes", "outputs",    "features",    "parts",
                                       "splits", "digest",      "rows",   "version", "preprocess", "class_counts"};
    bson_iter_t at;
    if (!own)
        return 0;
    if (!bson_iter_init(&at, own))
        return hub_error(error, HUB_ERROR_INVALID, "the dataset's fields are not a document");
    while (bson_iter_next(&at)) {
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (!strcmp(bson_iter_key(&at), ours[i]))
                return hub_error(error, HUB_ERROR_INVALID, "field %s: comes from the file, it cannot be given", ours[i]);
        if (!strcmp(bson_iter_key(&at), "class_names") && check_class_names(options, &at, error))
            return -1;
        if (!bson_append_iter(fields, bson_iter_key(&at), -1, &at))
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
    }
    return 0;
}
