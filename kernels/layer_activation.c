/* SPDX-License-Identifier: Apache-2.0 */
/* relu: max(x, 0). tanh. sigmoid: 1 / (1 + exp(-x)). As layers of their own; dense has them built in. */
#include "kernels/layer_types.h"

static const struct layer_attribute no_attributes[] = {{0}};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    (void)layer;
    (void)error;
    size->output = inputs[0];
    size->flops = shape_size(&inputs[0]);
    return 0;
}

static enum activation kind_of(const struct layer *layer)
{
    const struct layer_type *type = layer->description->type;
    return type == &layer_relu ? ACTIVATION_RELU : type == &layer_tanh ? ACTIVATION_TANH : ACTIVATION_SIGMOID;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    return pass->device->operations->activation_forward(pass->device, kind_of(layer), layer->inputs[0],
                                                        &layer->output, error);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    if (layer->input_gradients[0] == NULL) {
        return 0;
    }
    return pass->device->operations->activation_backward(pass->device, kind_of(layer), &layer->output,
                                                         &layer->output_gradient, layer->input_gradients[0], error);
}

#define ACTIVATION_LAYER(NAME, ABOUT) \
    const struct layer_type layer_##NAME = {.name = #NAME, .about = ABOUT, .attributes = no_attributes, .minimum_inputs = 1, \
                                            .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, \
                                            .backward = backward}}
ACTIVATION_LAYER(relu, "x above 0, else 0");
ACTIVATION_LAYER(tanh, "the hyperbolic tangent");
ACTIVATION_LAYER(sigmoid, "1 / (1 + exp(-x))");
