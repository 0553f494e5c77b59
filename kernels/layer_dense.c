/* SPDX-License-Identifier: Apache-2.0 */
/* dense: y = activation(x w + b), x flattened to (rows, in), w (in, out), b (out). Also called fully connected or
 * linear. In files: weight (out, in), bias (out). */
#include "kernels/layer_types.h"

static const struct layer_attribute attributes[] = {
    {.name = "units", .kind = LAYER_INTEGER, .required = true, .minimum = 1, .maximum = ARCHITECTURE_DIMENSION},
    {.name = "activation", .kind = LAYER_CHOICE, .choices = layer_activation_names},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    (void)error;
    int64_t in = shape_size(&inputs[0]), out = (int64_t)layer->values[0].number;
    size->output = (struct shape){.rank = 1, .dims = {out}};
    size->flops = 2 * in * out;
    size->parameter_count = 2;
    size->parameters[0] = (struct layer_parameter){
        .name = "weight", .rows = in, .columns = out, .transposed = true, .file_rank = 2, .file_shape = {out, in},
        .initialiser = INITIALISER_LECUN_UNIFORM, .fan_in = in, .fan_out = out};
    size->parameters[1] = (struct layer_parameter){
        .name = "bias", .rows = 1, .columns = out, .file_rank = 1, .file_shape = {out},
        .initialiser = INITIALISER_LECUN_UNIFORM, .fan_in = in, .fan_out = out};
    return 0;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    enum activation activation = (enum activation)layer->description->values[1].choice;
    return pass->device->operations->dense_forward(pass->device, layer->inputs[0], &layer->parameters[0],
                                                   layer->parameters[1].data, activation, &layer->output, error);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    enum activation activation = (enum activation)layer->description->values[1].choice;
    return pass->device->operations->dense_backward(pass->device, layer->inputs[0], &layer->parameters[0],
                                                    &layer->output, activation, &layer->output_gradient,
                                                    layer->input_gradients[0], &layer->gradients[0],
                                                    layer->gradients[1].data, error);
}

const struct layer_type layer_dense = {
    .name = "dense", .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1,
    .measure = measure, .code = {.forward = forward, .backward = backward},
};
