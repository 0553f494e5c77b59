/* SPDX-License-Identifier: Apache-2.0 */
/* conv2d: y = activation(x * w + b), x (channels, height, width) or, of one channel, (height, width); y (filters, …) with
 * floor((height + 2 padding - kernel) / stride) + 1 rows, and columns likewise. In files: weight (filters, channels /
 * groups, kernel height, kernel width), bias (filters). Weights start as U(-b, b), b = 1 / sqrt(fan_in), and biases
 * likewise, as PyTorch's Conv2d; with another initialiser biases start at 0. */
#include "kernels/layer_conv.h"
#include "kernels/layer_types.h"

static const struct layer_attribute attributes[] = {
    [CONV_FILTERS] = {.name = "filters", .kind = LAYER_INTEGER, .required = true, .minimum = 1,
                      .maximum = ARCHITECTURE_DIMENSION, .about = "channels of the output"},
    [CONV_KERNEL] = {.name = "kernel", .kind = LAYER_SHAPE, .required = true,
                     .about = "3 or 3x5, height and width"},
    [CONV_STRIDE] = {.name = "stride", .kind = LAYER_INTEGER, .minimum = 1, .maximum = CONV_EXTENT, .standard = 1,
                     .about = "pixels from one output to the next"},
    [CONV_PADDING] = {.name = "padding", .kind = LAYER_INTEGER, .minimum = 0, .maximum = CONV_EXTENT,
                      .about = "zeros around the image"},
    [CONV_ACTIVATION] = {.name = "activation", .kind = LAYER_CHOICE, .choices = layer_activation_names,
                         .about = "what the output goes through"},
    [CONV_GROUPS] = {.name = "groups", .kind = LAYER_INTEGER, .minimum = 1, .maximum = ARCHITECTURE_DIMENSION,
                     .standard = 1, .about = "parts of the channels that are convolved by themselves"},
    [CONV_INITIALISER] = {.name = "initialiser", .kind = LAYER_CHOICE, .choices = conv_initialiser_names,
                          .about = "how the weights start"},
    {0},
};

const struct layer_type layer_conv2d = {
    .name = "conv2d", .about = "a convolution over images",
    .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1, .measure = conv_measure,
    .code = {.forward = conv_forward, .backward = conv_backward},
};
