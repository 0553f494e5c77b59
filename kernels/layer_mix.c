/* SPDX-License-Identifier: Apache-2.0 */
/* mix: of two inputs of one shape. In training the first half of the batch's rows are the first input's and the others the
 * second's; in prediction all are the first's. It stands between the two nets of a GAN (Goodfellow et al., "Generative
 * adversarial nets", 2014): the critic behind it sees generated rows and real ones in one pass. */
#include "kernels/layer_types.h"

#include <string.h>

static const struct layer_attribute no_attributes[] = {{0}};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    char first[80], second[80];
    (void)layer;
    if (inputs[0].rank != inputs[1].rank ||
        memcmp(inputs[0].dims, inputs[1].dims, (size_t)inputs[0].rank * sizeof inputs[0].dims[0]) != 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "inputs: shapes %s and %s are not the same",
                                shape_format(&inputs[0], first, sizeof first),
                                shape_format(&inputs[1], second, sizeof second));
    }
    size->output = inputs[0];
    return 0;
}

static int64_t own_rows(const struct layer_pass *pass)
{
    return pass->training ? pass->rows / 2 : pass->rows;
}

static void copy_rows(const struct tensor *from, struct tensor *to, int64_t first, int64_t end)
{
    for (int64_t r = first; r < end; r++) {
        memcpy(to->data + r * to->stride, from->data + r * from->stride, (size_t)to->columns * sizeof(float));
    }
}

static void clear_rows(struct tensor *tensor, int64_t first, int64_t end)
{
    for (int64_t r = first; r < end; r++) {
        memset(tensor->data + r * tensor->stride, 0, (size_t)tensor->columns * sizeof(float));
    }
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const int64_t own = own_rows(pass);
    (void)error;
    copy_rows(layer->inputs[0], &layer->output, 0, own);
    copy_rows(layer->inputs[1], &layer->output, own, pass->rows);
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const int64_t own = own_rows(pass);
    struct tensor *dx = layer->input_gradients[0], *other = layer->input_gradients[1];
    (void)error;
    if (dx != NULL) {
        copy_rows(&layer->output_gradient, dx, 0, own);
        clear_rows(dx, own, pass->rows);
    }
    if (other != NULL) {
        clear_rows(other, 0, own);
        copy_rows(&layer->output_gradient, other, own, pass->rows);
    }
    return 0;
}

const struct layer_type layer_mix = {
    .name = "mix", .about = "rows of one input, then of the other, in training; the first in prediction",
    .attributes = no_attributes, .minimum_inputs = 2, .maximum_inputs = 2,
    .measure = measure, .code = {.forward = forward, .backward = backward},
};
