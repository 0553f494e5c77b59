/* SPDX-License-Identifier: Apache-2.0 */
/* dropout: in training an element is dropped with probability rate and the others are scaled by 1 / (1 - rate)
 * (Srivastava et al. 2014, inverted); the identity in prediction. The rate is rounded to a multiple of 1/65536. */
#include "kernels/layer_types.h"

#include <math.h>

static const struct layer_attribute attributes[] = {
    {.name = "rate", .kind = LAYER_NUMBER, .required = true, .minimum = 0.0, .maximum = 1.0, .maximum_excluded = true,
     .about = "how much of it is dropped"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    if (lround(layer->values[0].number * 65536.0) >= 65536) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "rate: %.9g drops everything", layer->values[0].number);
    }
    size->output = inputs[0];
    size->flops = 2 * shape_size(&inputs[0]);
    return 0;
}

static struct device_dropout describe(const struct layer *layer, const struct layer_pass *pass)
{
    long threshold = lround(layer->description->values[0].number * 65536.0);
    return (struct device_dropout){
        .seed = pass->seed, .stream = layer->stream, .step = pass->step, .threshold = (uint32_t)threshold,
        .scale = 65536.0f / (float)(65536 - threshold)};
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    struct device_dropout dropout = describe(layer, pass);
    return pass->device->operations->dropout(pass->device, &dropout, layer->inputs[0], &layer->output, error);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    if (layer->input_gradients[0] == NULL) {
        return 0;
    }
    struct device_dropout dropout = describe(layer, pass);
    return pass->device->operations->dropout(pass->device, &dropout, &layer->output_gradient,
                                             layer->input_gradients[0], error);
}

const struct layer_type layer_dropout = {
    .name = "dropout", .about = "drops values at random in training, and scales the others up",
    .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1,
    .identity_in_predict = true, .measure = measure, .code = {.forward = forward, .backward = backward},
};
