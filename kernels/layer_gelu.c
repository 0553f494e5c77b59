/* SPDX-License-Identifier: Apache-2.0 */
/* gelu (Hendrycks and Gimpel 2016), the exact form: x P(x) with P the normal distribution, (1 + erf(x / sqrt 2)) / 2; its
 * slope is P(x) + x p(x) with p(x) = exp(-x^2 / 2) / sqrt(2 pi). */
#include "kernels/layer_types.h"

static const struct layer_attribute no_attributes[] = {{0}};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    (void)layer;
    (void)error;
    size->output = inputs[0];
    size->flops = 20 * shape_size(&inputs[0]);
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    return pass->device->operations->activation_forward(pass->device, ACTIVATION_GELU, layer->inputs[0],
                                                        &layer->output, error);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    if (layer->input_gradients[0] == NULL) {
        return 0;
    }
    return pass->device->operations->activation_backward(pass->device, ACTIVATION_GELU, layer->inputs[0],
                                                         &layer->output_gradient, layer->input_gradients[0], error);
}

const struct layer_type layer_gelu = {
    .name = "gelu", .about = "x times the normal distribution at x", .attributes = no_attributes, .minimum_inputs = 1,
    .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
