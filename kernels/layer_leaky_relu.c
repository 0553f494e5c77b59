/* SPDX-License-Identifier: Apache-2.0 */
/* leaky_relu: x where x > 0, else slope x. */
#include "kernels/layer_types.h"

static const struct layer_attribute attributes[] = {
    {.name = "slope", .kind = LAYER_NUMBER, .minimum = 0.0, .maximum = 1.0, .standard = 0.01, .about = "below 0"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    (void)layer;
    (void)error;
    size->output = inputs[0];
    size->flops = shape_size(&inputs[0]);
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const float slope = (float)layer->description->values[0].number;
    for (int64_t r = 0; r < pass->rows; r++) {
        const float *restrict x = layer->inputs[0]->data + r * layer->inputs[0]->stride;
        float *restrict y = layer->output.data + r * layer->output.stride;
        for (int64_t c = 0; c < layer->output.columns; c++) {
            y[c] = x[c] > 0.0f ? x[c] : slope * x[c];
        }
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const float slope = (float)layer->description->values[0].number;
    struct tensor *gradient = layer->input_gradients[0];
    for (int64_t r = 0; gradient != NULL && r < pass->rows; r++) {
        const float *restrict x = layer->inputs[0]->data + r * layer->inputs[0]->stride;
        const float *restrict dy = layer->output_gradient.data + r * layer->output_gradient.stride;
        float *restrict dx = gradient->data + r * gradient->stride;
        for (int64_t c = 0; c < layer->output.columns; c++) {
            dx[c] = x[c] > 0.0f ? dy[c] : slope * dy[c];
        }
    }
    return 0;
}

const struct layer_type layer_leaky_relu = {
    .name = "leaky_relu", .about = "x above 0, slope x below", .attributes = attributes, .minimum_inputs = 1,
    .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
