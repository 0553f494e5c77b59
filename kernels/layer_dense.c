/* SPDX-License-Identifier: Apache-2.0 */
/* dense: y = activation(x w + b), x flattened to (rows, in), w (in, out), b (out). Also called fully connected or
 * linear. In files: weight (out, in), bias (out). gelu is an operation of its own, and x w + b is kept for its slope. */
#include "kernels/layer_types.h"

enum { UNITS, ACTIVATION, INITIALISER };

/* In the order of enum activation. */
static const char *const activations[] = {"none", "relu", "tanh", "sigmoid", "leaky_relu", "gelu", NULL};

/* lecun_uniform, PyTorch's, is of the bias, too; with the others it starts at 0. */
static const char *const initialiser_names[] = {"lecun_uniform", "he_uniform", "he_normal", "glorot_uniform",
                                                "glorot_normal", "orthogonal", "zero", NULL};
static const enum initialiser initialisers[] = {INITIALISER_LECUN_UNIFORM, INITIALISER_HE_UNIFORM,
                                                INITIALISER_HE_NORMAL, INITIALISER_GLOROT_UNIFORM,
                                                INITIALISER_GLOROT_NORMAL, INITIALISER_ORTHOGONAL, INITIALISER_ZERO};

static const struct layer_attribute attributes[] = {
    [UNITS] = {.name = "units", .kind = LAYER_INTEGER, .required = true, .minimum = 1,
               .maximum = ARCHITECTURE_DIMENSION, .about = "values that it gives"},
    [ACTIVATION] = {.name = "activation", .kind = LAYER_CHOICE, .choices = activations,
                    .about = "what they go through"},
    [INITIALISER] = {.name = "initialiser", .kind = LAYER_CHOICE, .choices = initialiser_names, .added_later = true,
                     .about = "how the weights start"},
    {0},
};

static enum activation activation_of(const struct layer *layer)
{
    return (enum activation)layer->description->values[ACTIVATION].choice;
}

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    (void)error;
    int64_t in = shape_size(&inputs[0]), out = (int64_t)layer->values[UNITS].number;
    enum initialiser initialiser = initialisers[layer->values[INITIALISER].choice];
    bool biased = initialiser == INITIALISER_LECUN_UNIFORM;
    size->output = (struct shape){.rank = 1, .dims = {out}};
    size->flops = 2 * in * out;
    size->workspace = layer->values[ACTIVATION].choice == ACTIVATION_GELU ? out : 0;
    size->parameter_count = 2;
    size->parameters[0] = (struct layer_parameter){
        .name = "weight", .rows = in, .columns = out, .transposed = true, .file_rank = 2, .file_shape = {out, in},
        .initialiser = initialiser, .fan_in = in, .fan_out = out};
    size->parameters[1] = (struct layer_parameter){
        .name = "bias", .rows = 1, .columns = out, .file_rank = 1, .file_shape = {out},
        .initialiser = biased ? initialiser : INITIALISER_ZERO, .fan_in = in, .fan_out = out};
    return 0;
}

/* x w + b of the pass's rows, where gelu keeps it. */
static struct tensor before_gelu(const struct layer *layer, const struct layer_pass *pass)
{
    return (struct tensor){.data = layer->workspace, .rows = pass->rows, .columns = layer->output.columns,
                           .stride = tensor_stride(layer->output.columns)};
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const struct device_operations *operations = pass->device->operations;
    enum activation activation = activation_of(layer);
    if (activation != ACTIVATION_GELU) {
        return operations->dense_forward(pass->device, layer->inputs[0], &layer->parameters[0],
                                         layer->parameters[1].data, activation, &layer->output, error);
    }
    struct tensor z = before_gelu(layer, pass);
    if (operations->dense_forward(pass->device, layer->inputs[0], &layer->parameters[0], layer->parameters[1].data,
                                  ACTIVATION_NONE, &z, error) < 0) {
        return -1;
    }
    return operations->activation_forward(pass->device, ACTIVATION_GELU, &z, &layer->output, error);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const struct device_operations *operations = pass->device->operations;
    enum activation activation = activation_of(layer);
    if (activation == ACTIVATION_GELU) {
        struct tensor z = before_gelu(layer, pass), *dy = &layer->output_gradient;
        if (operations->activation_backward(pass->device, ACTIVATION_GELU, &z, dy, dy, error) < 0) {
            return -1;
        }
        activation = ACTIVATION_NONE;
    }
    return operations->dense_backward(pass->device, layer->inputs[0], &layer->parameters[0], &layer->output, activation,
                                      &layer->output_gradient, layer->input_gradients[0], &layer->gradients[0],
                                      layer->gradients[1].data, error);
}

const struct layer_type layer_dense = {
    .name = "dense", .about = "activation(x w + b) of all values of a sample", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1,
    .measure = measure, .code = {.forward = forward, .backward = backward},
};
