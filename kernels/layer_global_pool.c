/* SPDX-License-Identifier: Apache-2.0 */
/* global_pool: the mean or the largest value of each channel of an image, (channels, height, width) to (channels), or of
 * each feature of a sequence over its steps, (time, features) to (features). The first of equal largest ones gets the
 * gradient. */
#include "kernels/layer_types.h"

#include <string.h>

static const char *const kinds[] = {"avg", "max", NULL};
enum { KIND_AVG, KIND_MAX };

static const struct layer_attribute attributes[] = {
    {.name = "kind", .kind = LAYER_CHOICE, .choices = kinds, .about = "the mean, or the largest"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    if (inputs[0].rank < 2) {
        char text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "the input %s is neither (channels, height, width) nor "
                                "(time, features)", shape_format(&inputs[0], text, sizeof text));
    }
    size->output = (struct shape){.rank = 1, .dims = {inputs[0].dims[inputs[0].rank == 2 ? 1 : 0]}};
    size->flops = shape_size(&inputs[0]);
    size->workspace = layer->values[0].choice == KIND_MAX ? size->output.dims[0] : 0; /* which was the largest */
    return 0;
}

/* Element i of channel c of a sample is at c * start + i * step. */
struct channel {
    int64_t count, start, step;
};

static struct channel channel_of(const struct layer *layer)
{
    const struct shape *input = &layer->input_shapes[0];
    int64_t channels = layer->output.columns, count = shape_size(input) / channels;
    return input->rank == 2 ? (struct channel){count, 1, channels} : (struct channel){count, count, 1};
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct channel channel = channel_of(layer);
    for (int64_t r = 0; r < pass->rows; r++) {
        float *y = layer->output.data + r * layer->output.stride;
        for (int64_t c = 0; c < layer->output.columns; c++) {
            const float *x = layer->inputs[0]->data + r * layer->inputs[0]->stride + c * channel.start;
            if (layer->description->values[0].choice == KIND_AVG) {
                double sum = 0.0;
                for (int64_t i = 0; i < channel.count; i++) {
                    sum += (double)x[i * channel.step];
                }
                y[c] = (float)(sum / (double)channel.count);
                continue;
            }
            int64_t best = 0;
            for (int64_t i = 1; i < channel.count; i++) {
                float value = x[i * channel.step];
                best = value > x[best * channel.step] || value != value ? i : best; /* NaN stays */
            }
            y[c] = x[best * channel.step];
            layer->workspace[r * tensor_stride(layer->output.columns) + c] = (float)best;
        }
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct channel channel = channel_of(layer);
    struct tensor *gradient = layer->input_gradients[0];
    for (int64_t r = 0; gradient != NULL && r < pass->rows; r++) {
        const float *dy = layer->output_gradient.data + r * layer->output_gradient.stride;
        for (int64_t c = 0; c < layer->output.columns; c++) {
            float *dx = gradient->data + r * gradient->stride + c * channel.start;
            bool mean = layer->description->values[0].choice == KIND_AVG;
            float each = mean ? dy[c] / (float)channel.count : 0.0f;
            for (int64_t i = 0; i < channel.count; i++) {
                dx[i * channel.step] = each;
            }
            if (!mean) {
                int64_t best = (int64_t)layer->workspace[r * tensor_stride(layer->output.columns) + c];
                dx[best * channel.step] = dy[c];
            }
        }
    }
    return 0;
}

const struct layer_type layer_global_pool = {
    .name = "global_pool", .about = "the mean or the largest value of each channel", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
