/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/labelled.h"
#include "kernels/safetensors.h"
#include "runner/predict.h"
#include "runner/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART_BYTES = 32000000, HEADER_ROOM = 4096 };

struct labelled {
    struct shape shape;
    bool bytes;
    int64_t classes, outputs;
    size_t x_bytes, y_bytes; /* of a row */
    int64_t most, count;     /* rows of a part */
    /* While a part is filled y and x lie apart, each with room for `most` rows: a part with fewer is moved together. */
    uint8_t *block;          /* header room, y, x */
    labelled_sink *sink;
    void *context;
};

struct labelled *labelled_new(const struct shape *shape, bool bytes, int64_t classes, int64_t outputs, labelled_sink *sink,
                              void *context, bson_error_t *error)
{
    struct labelled *labelled = calloc(1, sizeof *labelled);
    if (!labelled)
        goto out;
    labelled->shape = *shape;
    labelled->bytes = bytes;
    labelled->classes = classes;
    labelled->outputs = classes ? 0 : outputs;
    labelled->x_bytes = (size_t)shape_size(shape) * (bytes ? 1 : sizeof(float));
    labelled->y_bytes = classes ? sizeof(int64_t) : (size_t)outputs * sizeof(float); /* 0: rows without labels */
    labelled->sink = sink;
    labelled->context = context;
    labelled->most = (int64_t)((PART_BYTES - HEADER_ROOM) / (labelled->x_bytes + labelled->y_bytes));
    if (labelled->most == 0) {
        hub_error(error, HUB_ERROR_INVALID, "a row with its label has %zu bytes: a dataset's may have %d",
                  labelled->x_bytes + labelled->y_bytes, PART_BYTES - HEADER_ROOM);
        labelled_free(labelled);
        return NULL;
    }
    labelled->block = malloc(HEADER_ROOM + (size_t)labelled->most * (labelled->x_bytes + labelled->y_bytes));
out:
    if (labelled && labelled->block)
        return labelled;
    hub_error(error, HUB_ERROR_MEMORY, "no memory for a part of the dataset");
    labelled_free(labelled);
    return NULL;
}

void labelled_free(struct labelled *labelled)
{
    if (!labelled)
        return;
    free(labelled->block);
    free(labelled);
}

static uint8_t *first_y(struct labelled *labelled)
{
    return labelled->block + HEADER_ROOM;
}

static uint8_t *first_x(struct labelled *labelled)
{
    return first_y(labelled) + (size_t)labelled->most * labelled->y_bytes;
}

static int send(struct labelled *labelled, bson_error_t *error)
{
    struct safetensors_tensor tensors[2] = {
        {.name = (char[]){"y"}, .dtype = labelled->classes ? SAFETENSORS_I64 : SAFETENSORS_F32,
         .rank = labelled->classes ? 1 : 2, .shape = {labelled->count, labelled->outputs}},
        {.name = (char[]){"x"}, .dtype = labelled->bytes ? SAFETENSORS_U8 : SAFETENSORS_F32,
         .rank = labelled->shape.rank + 1, .shape = {labelled->count}}};
    struct kernel_error why = {0};
    size_t length, rows = (size_t)labelled->count;
    for (int i = 0; i < labelled->shape.rank; i++)
        tensors[1].shape[i + 1] = labelled->shape.dims[i];
    const int without = labelled->y_bytes == 0 ? 1 : 0;
    uint8_t *header = safetensors_header_new(tensors + without, (size_t)(2 - without), NULL, 0, &length, &why);
    if (!header)
        return work_kernel_error(error, &why, "a part of the dataset");
    if (length > HEADER_ROOM) {
        free(header);
        return hub_error(error, HUB_ERROR_INTERNAL, "a part's header has %zu bytes", length);
    }
    uint8_t *begin = first_y(labelled) - length;
    memcpy(begin, header, length);
    free(header);
    memmove(first_y(labelled) + rows * labelled->y_bytes, first_x(labelled), rows * labelled->x_bytes);
    int sent = labelled->sink(labelled->context, labelled->count, begin,
                              length + rows * (labelled->x_bytes + labelled->y_bytes), error);
    labelled->count = 0;
    return sent;
}

static void put(struct labelled *labelled, const struct data *data, int64_t row, const float *out)
{
    size_t at = (size_t)labelled->count, features = (size_t)row * (size_t)data->stored_features;
    memcpy(first_x(labelled) + at * labelled->x_bytes,
           labelled->bytes ? (const void *)(data->x_u8 + features) : (const void *)(data->x_f32 + features), labelled->x_bytes);
    if (labelled->classes) {
        int64_t class = predict_class(out, labelled->classes);
        memcpy(first_y(labelled) + at * labelled->y_bytes, &class, sizeof class);
    } else if (labelled->y_bytes > 0) {
        memcpy(first_y(labelled) + at * labelled->y_bytes, out, labelled->y_bytes);
    }
    labelled->count++;
}

int labelled_add(struct labelled *labelled, const struct data *data, int64_t first, int64_t count, const float *out,
                 bson_error_t *error)
{
    int64_t width = labelled->classes ? labelled->classes : labelled->outputs;
    for (int64_t i = 0; i < count; i++) {
        put(labelled, data, first + i, width > 0 ? out + i * width : NULL);
        int sent = labelled->count == labelled->most ? send(labelled, error) : 0;
        if (sent)
            return sent;
    }
    return 0;
}

int labelled_end(struct labelled *labelled, bson_error_t *error)
{
    return labelled->count > 0 ? send(labelled, error) : 0;
}

bool labelled_append_fields(const struct labelled *labelled, double scale, double offset, const bson_t *class_names,
                            bson_t *fields)
{
    bson_t shape, features;
    bool done = BSON_APPEND_ARRAY_BEGIN(fields, "input_shape", &shape);
    for (int i = 0; done && i < labelled->shape.rank; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        done = BSON_APPEND_INT32(&shape, key, (int32_t)labelled->shape.dims[i]);
    }
    done = done && bson_append_array_end(fields, &shape) &&
           BSON_APPEND_UTF8(fields, "label", labelled->classes ? "class" : labelled->outputs ? "value" : "none") &&
           (!labelled->classes || BSON_APPEND_INT32(fields, "classes", (int32_t)labelled->classes)) &&
           (!labelled->outputs || BSON_APPEND_INT32(fields, "outputs", (int32_t)labelled->outputs)) &&
           BSON_APPEND_DOCUMENT_BEGIN(fields, "features", &features) &&
           BSON_APPEND_UTF8(&features, "dtype", labelled->bytes ? "U8" : "F32");
    if (labelled->bytes)
        done = done && BSON_APPEND_DOUBLE(&features, "scale", scale) && BSON_APPEND_DOUBLE(&features, "offset", offset);
    done = done && bson_append_document_end(fields, &features);
    if (class_names && labelled->classes && bson_count_keys(class_names) == (uint32_t)labelled->classes)
        done = done && BSON_APPEND_ARRAY(fields, "class_names", class_names);
    return done;
}
