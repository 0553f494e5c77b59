/* SPDX-License-Identifier: Apache-2.0 */
/* upsample: each pixel of a (channels, height, width) image becomes factor x factor ones (nearest neighbour); its gradient
 * is the sum of theirs. */
#include "kernels/layer_types.h"

#include <string.h>

static const struct layer_attribute attributes[] = {
    {.name = "factor", .kind = LAYER_INTEGER, .minimum = 1, .maximum = 64, .standard = 2,
     .about = "how many times as high and as wide"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    int64_t factor = (int64_t)layer->values[0].number;
    if (inputs[0].rank != 3) {
        char text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "the input %s is not (channels, height, width): put "
                                "reshape before it", shape_format(&inputs[0], text, sizeof text));
    }
    size->output = inputs[0];
    size->output.dims[1] *= factor;
    size->output.dims[2] *= factor;
    size->flops = shape_size(&size->output);
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct shape *from = &layer->input_shapes[0];
    const int64_t factor = (int64_t)layer->description->values[0].number, width = from->dims[2];
    for (int64_t r = 0; r < pass->rows; r++) {
        const float *x = layer->inputs[0]->data + r * layer->inputs[0]->stride;
        float *y = layer->output.data + r * layer->output.stride;
        for (int64_t line = 0; line < from->dims[0] * from->dims[1]; line++) {
            float *first = y + line * factor * factor * width;
            for (int64_t i = 0; i < factor * width; i++) {
                first[i] = x[line * width + i / factor];
            }
            for (int64_t k = 1; k < factor; k++) {
                memcpy(first + k * factor * width, first, (size_t)(factor * width) * sizeof *first);
            }
        }
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct shape *from = &layer->input_shapes[0];
    const int64_t factor = (int64_t)layer->description->values[0].number, width = from->dims[2];
    struct tensor *gradient = layer->input_gradients[0];
    for (int64_t r = 0; gradient != NULL && r < pass->rows; r++) {
        const float *dy = layer->output_gradient.data + r * layer->output_gradient.stride;
        float *dx = gradient->data + r * gradient->stride;
        for (int64_t line = 0; line < from->dims[0] * from->dims[1]; line++) {
            const float *first = dy + line * factor * factor * width;
            for (int64_t i = 0; i < width; i++) {
                double sum = 0.0;
                for (int64_t k = 0; k < factor * factor; k++) {
                    sum += (double)first[k / factor * factor * width + i * factor + k % factor];
                }
                dx[line * width + i] = (float)sum;
            }
        }
    }
    return 0;
}

const struct layer_type layer_upsample = {
    .name = "upsample", .about = "an image made larger: each pixel becomes factor x factor", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
