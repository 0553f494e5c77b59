/* SPDX-License-Identifier: Apache-2.0 */
/* add: the sum of inputs of the same shape; multiply: their product, element by element, with the gradient of an input
 * dy times the product of the others. */
#include "kernels/layer_types.h"

#include <string.h>

static const struct layer_attribute no_attributes[] = {{0}};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    size->output = inputs[0];
    size->flops = (layer->input_count - 1) * shape_size(&inputs[0]);
    for (int i = 1; i < layer->input_count; i++) {
        if (inputs[i].rank != inputs[0].rank ||
            memcmp(inputs[i].dims, inputs[0].dims, (size_t)inputs[0].rank * sizeof inputs[0].dims[0]) != 0) {
            char first[80], text[80];
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "inputs: %s and %s are not the same shape",
                                    shape_format(&inputs[0], first, sizeof first),
                                    shape_format(&inputs[i], text, sizeof text));
        }
    }
    return 0;
}

static void add_row(float *restrict y, const float *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++) {
        y[c] += x[c];
    }
}

static void multiply_row(float *restrict y, const float *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++) {
        y[c] *= x[c];
    }
}

static const float *input_row(const struct layer *layer, int index, int64_t r)
{
    return layer->inputs[index]->data + r * layer->inputs[index]->stride;
}

static int forward_add(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    for (int64_t r = 0; r < pass->rows; r++) {
        float *y = layer->output.data + r * layer->output.stride;
        memcpy(y, input_row(layer, 0, r), (size_t)layer->output.columns * sizeof *y);
        for (int i = 1; i < layer->description->input_count; i++) {
            add_row(y, input_row(layer, i, r), layer->output.columns);
        }
    }
    return 0;
}

static int forward_multiply(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    for (int64_t r = 0; r < pass->rows; r++) {
        float *y = layer->output.data + r * layer->output.stride;
        memcpy(y, input_row(layer, 0, r), (size_t)layer->output.columns * sizeof *y);
        for (int i = 1; i < layer->description->input_count; i++) {
            multiply_row(y, input_row(layer, i, r), layer->output.columns);
        }
    }
    return 0;
}

/* Of add: dy. Of multiply: dy times the other inputs. */
static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct tensor *dy = &layer->output_gradient;
    const int count = layer->description->input_count;
    for (int i = 0; i < count; i++) {
        struct tensor *gradient = layer->input_gradients[i];
        for (int64_t r = 0; gradient != NULL && r < pass->rows; r++) {
            float *dx = gradient->data + r * gradient->stride;
            memcpy(dx, dy->data + r * dy->stride, (size_t)dy->columns * sizeof *dx);
            for (int j = 0; layer->description->type == &layer_multiply && j < count; j++) {
                if (j != i) {
                    multiply_row(dx, input_row(layer, j, r), dy->columns);
                }
            }
        }
    }
    return 0;
}

const struct layer_type layer_add = {
    .name = "add", .about = "the sum of its inputs", .attributes = no_attributes, .minimum_inputs = 2,
    .maximum_inputs = ARCHITECTURE_INPUTS, .measure = measure, .code = {.forward = forward_add, .backward = backward},
};

const struct layer_type layer_multiply = {
    .name = "multiply", .about = "the product of its inputs, element by element", .attributes = no_attributes,
    .minimum_inputs = 2, .maximum_inputs = ARCHITECTURE_INPUTS, .measure = measure,
    .code = {.forward = forward_multiply, .backward = backward},
};
