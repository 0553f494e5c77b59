/* SPDX-License-Identifier: Apache-2.0 */
/* embedding: y = weight[id] for every id of the input: (…) becomes (…, dimension). Ids are floats that hold whole numbers.
 * The gradient of a row is the sum of dy where its id stands, in the order of the batch. */
#include "kernels/layer_types.h"

#include <string.h>

static const struct layer_attribute attributes[] = {
    {.name = "rows", .kind = LAYER_INTEGER, .required = true, .minimum = 1, .maximum = ARCHITECTURE_DIMENSION,
     .about = "how many ids there are: they are 0 to rows - 1"},
    {.name = "dimension", .kind = LAYER_INTEGER, .required = true, .minimum = 1, .maximum = ARCHITECTURE_DIMENSION,
     .about = "values for each id"},
    {.name = "deviation", .kind = LAYER_NUMBER, .minimum = 1e-9, .maximum = 100.0, .standard = 1.0,
     .about = "the standard deviation of the initial weights, which are normal around 0"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    int64_t rows = (int64_t)layer->values[0].number, dimension = (int64_t)layer->values[1].number;
    if (inputs[0].rank == SHAPE_RANK) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "the input has %d dimensions: no room for one more",
                                SHAPE_RANK);
    }
    size->output = inputs[0];
    size->output.dims[size->output.rank++] = dimension;
    size->parameter_count = 1;
    size->parameters[0] = (struct layer_parameter){
        .name = "weight", .rows = rows, .columns = dimension, .file_rank = 2, .file_shape = {rows, dimension},
        .initialiser = INITIALISER_NORMAL, .scale = layer->values[2].number};
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const struct tensor *ids = layer->inputs[0], *weight = &layer->parameters[0];
    const size_t bytes = (size_t)weight->columns * sizeof(float);
    for (int64_t r = 0; r < pass->rows; r++) {
        float *y = layer->output.data + r * layer->output.stride;
        for (int64_t i = 0; i < ids->columns; i++) {
            float id = ids->data[r * ids->stride + i];
            if (!(id >= 0.0f && id < (float)weight->rows) || id != (float)(int64_t)id) { /* NaN fails too */
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: row %lld of the batch: %g is no id: "
                                        "they are whole numbers from 0 to %lld", layer->description->name,
                                        (long long)r, (double)id, (long long)weight->rows - 1);
            }
            memcpy(y + i * weight->columns, weight->data + (int64_t)id * weight->stride, bytes);
        }
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct tensor *ids = layer->inputs[0], *dy = &layer->output_gradient;
    struct tensor *gradient = &layer->gradients[0], *dx = layer->input_gradients[0];
    memset(gradient->data, 0, (size_t)(gradient->rows * gradient->stride) * sizeof(float));
    for (int64_t r = 0; r < pass->rows; r++) {
        for (int64_t i = 0; i < ids->columns; i++) {
            const float *from = dy->data + r * dy->stride + i * gradient->columns;
            float *to = gradient->data + (int64_t)ids->data[r * ids->stride + i] * gradient->stride;
            for (int64_t c = 0; c < gradient->columns; c++) {
                to[c] += from[c];
            }
        }
        if (dx != NULL) { /* an id has no slope */
            memset(dx->data + r * dx->stride, 0, (size_t)dx->columns * sizeof(float));
        }
    }
    return 0;
}

const struct layer_type layer_embedding = {
    .name = "embedding", .about = "a learned row of values for each id of the input", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
