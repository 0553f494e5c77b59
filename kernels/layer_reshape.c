/* SPDX-License-Identifier: Apache-2.0 */
/* flatten and reshape: the same floats as another shape. Activations are rows already, so they only copy. */
#include "kernels/layer_types.h"

static int measure_flatten(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                           struct kernel_error *error)
{
    (void)layer;
    (void)error;
    size->output = (struct shape){.rank = 1, .dims = {shape_size(&inputs[0])}};
    return 0;
}

static int measure_reshape(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                           struct kernel_error *error)
{
    char from[80], to[80];
    size->output = layer->values[0].shape;
    if (shape_size(&inputs[0]) != shape_size(&size->output)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "shape: %s has %lld values, the input %s has %lld",
                                shape_format(&size->output, to, sizeof to), (long long)shape_size(&size->output),
                                shape_format(&inputs[0], from, sizeof from), (long long)shape_size(&inputs[0]));
    }
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    return pass->device->operations->activation_forward(pass->device, ACTIVATION_NONE, layer->inputs[0],
                                                        &layer->output, error);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    if (layer->input_gradients[0] == NULL) {
        return 0;
    }
    return pass->device->operations->activation_backward(pass->device, ACTIVATION_NONE, &layer->output,
                                                         &layer->output_gradient, layer->input_gradients[0], error);
}

static const struct layer_attribute no_attributes[] = {{0}};
static const struct layer_attribute reshape_attributes[] = {
    {.name = "shape", .kind = LAYER_SHAPE, .required = true, .about = "of a sample, with as many values as the input"},
    {0},
};

const struct layer_type layer_flatten = {
    .name = "flatten", .about = "the same values as one dimension", .attributes = no_attributes, .minimum_inputs = 1,
    .maximum_inputs = 1, .measure = measure_flatten, .code = {.forward = forward, .backward = backward},
};

const struct layer_type layer_reshape = {
    .name = "reshape", .about = "the same values as another shape", .attributes = reshape_attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure_reshape,
    .code = {.forward = forward, .backward = backward},
};
