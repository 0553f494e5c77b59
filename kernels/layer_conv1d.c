/* SPDX-License-Identifier: Apache-2.0 */
/* conv1d: y = activation(x * w + b), x (channels, length) or, of one channel, (length); y (filters, floor((length + 2
 * padding - kernel) / stride) + 1). In files: weight (filters, channels / groups, kernel), bias (filters). Initial values
 * as those of conv2d. */
#include "kernels/layer_conv.h"
#include "kernels/layer_types.h"

static const struct layer_attribute attributes[] = {
    [CONV_FILTERS] = {.name = "filters", .kind = LAYER_INTEGER, .required = true, .minimum = 1,
                      .maximum = ARCHITECTURE_DIMENSION, .about = "channels of the output"},
    [CONV_KERNEL] = {.name = "kernel", .kind = LAYER_SHAPE, .required = true,
                     .about = "its length"},
    [CONV_STRIDE] = {.name = "stride", .kind = LAYER_INTEGER, .minimum = 1, .maximum = CONV_EXTENT, .standard = 1,
                     .about = "steps from one output to the next"},
    [CONV_PADDING] = {.name = "padding", .kind = LAYER_INTEGER, .minimum = 0, .maximum = CONV_EXTENT,
                      .about = "zeros at both ends"},
    [CONV_ACTIVATION] = {.name = "activation", .kind = LAYER_CHOICE, .choices = layer_activation_names,
                         .about = "what the output goes through"},
    [CONV_GROUPS] = {.name = "groups", .kind = LAYER_INTEGER, .minimum = 1, .maximum = ARCHITECTURE_DIMENSION,
                     .standard = 1, .about = "parts of the channels that are convolved by themselves"},
    [CONV_INITIALISER] = {.name = "initialiser", .kind = LAYER_CHOICE, .choices = conv_initialiser_names,
                          .about = "how the weights start"},
    {0},
};

const struct layer_type layer_conv1d = {
    .name = "conv1d", .about = "a convolution over sequences",
    .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1, .measure = conv_measure,
    .code = {.forward = conv_forward, .backward = conv_backward},
};
