/* SPDX-License-Identifier: Apache-2.0 */
/* concat: inputs of the same shape but for one dimension, one behind the other along it. */
#include "kernels/layer_axis.h"
#include "kernels/layer_types.h"

#include <string.h>

static const struct layer_attribute attributes[] = {
    {.name = "axis", .kind = LAYER_INTEGER, .minimum = -SHAPE_RANK, .maximum = SHAPE_RANK - 1, .standard = 0,
     .about = "the dimension of a sample along which; 0: the first (channels), -1: the last (features)"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    int axis;
    size->output = inputs[0];
    if (layer_axis_find(layer->values[0].number, &inputs[0], &axis, error) < 0) {
        return -1;
    }
    for (int i = 1; i < layer->input_count; i++) {
        struct shape other = inputs[i];
        if (other.rank == inputs[0].rank) {
            size->output.dims[axis] += other.dims[axis];
            other.dims[axis] = inputs[0].dims[axis];
        }
        if (other.rank != inputs[0].rank ||
            memcmp(other.dims, inputs[0].dims, (size_t)other.rank * sizeof other.dims[0]) != 0) {
            char first[80], text[80];
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "inputs: %s and %s differ in more than dimension %d",
                                    shape_format(&inputs[0], first, sizeof first),
                                    shape_format(&inputs[i], text, sizeof text), axis);
        }
    }
    return 0;
}

/* Between the output (or its gradient) and input i (or its gradient), whose floats start at `start` in each of the outer
 * blocks. */
static void copy(const struct layer_axis *axis, int64_t start, int64_t width, const struct tensor *whole,
                 const struct tensor *part, bool forth)
{
    size_t bytes = (size_t)width * sizeof(float);
    for (int64_t r = 0; r < whole->rows; r++) {
        for (int64_t o = 0; o < axis->outer; o++) {
            float *out = whole->data + r * whole->stride + o * axis->count * axis->inner + start;
            float *in = part->data + r * part->stride + o * width;
            memcpy(forth ? out : in, forth ? in : out, bytes);
        }
    }
}

static int run(struct layer *layer, bool forth)
{
    int number;
    layer_axis_find(layer->description->values[0].number, &layer->size.output, &number, NULL);
    struct layer_axis axis = layer_axis_split(&layer->size.output, number);
    int64_t start = 0;
    for (int i = 0; i < layer->description->input_count; i++) {
        int64_t width = layer->input_shapes[i].dims[number] * axis.inner;
        const struct tensor *part = forth ? layer->inputs[i] : layer->input_gradients[i];
        if (part != NULL) {
            copy(&axis, start, width, forth ? &layer->output : &layer->output_gradient, part, forth);
        }
        start += width;
    }
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)pass;
    (void)error;
    return run(layer, true);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)pass;
    (void)error;
    return run(layer, false);
}

const struct layer_type layer_concat = {
    .name = "concat", .about = "its inputs, one behind the other", .attributes = attributes, .minimum_inputs = 2,
    .maximum_inputs = ARCHITECTURE_INPUTS, .measure = measure, .code = {.forward = forward, .backward = backward},
};
