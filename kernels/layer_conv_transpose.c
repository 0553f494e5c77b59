/* SPDX-License-Identifier: Apache-2.0 */
/* conv_transpose: what takes gradients through a conv2d from its output to its input, as a layer: x (channels, height,
 * width) or (height, width); y (filters, …) with (height - 1) stride - 2 padding + kernel + output_padding rows, and
 * columns likewise (Zeiler et al. 2010; as PyTorch's ConvTranspose2d). In files: weight (channels, filters / groups,
 * kernel height, kernel width), bias (filters). Initial values as those of conv2d with fan_in = filters / groups * kernel. */
#include "kernels/layer_conv.h"
#include "kernels/layer_types.h"

static const struct layer_attribute attributes[] = {
    [CONV_FILTERS] = {.name = "filters", .kind = LAYER_INTEGER, .required = true, .minimum = 1,
                      .maximum = ARCHITECTURE_DIMENSION, .about = "channels of the output"},
    [CONV_KERNEL] = {.name = "kernel", .kind = LAYER_SHAPE, .required = true,
                     .about = "3 or 3x5, height and width"},
    [CONV_STRIDE] = {.name = "stride", .kind = LAYER_INTEGER, .minimum = 1, .maximum = CONV_EXTENT, .standard = 1,
                     .about = "pixels of the output from one input to the next"},
    [CONV_PADDING] = {.name = "padding", .kind = LAYER_INTEGER, .minimum = 0, .maximum = CONV_EXTENT,
                      .about = "rows and columns taken off all around"},
    [CONV_ACTIVATION] = {.name = "activation", .kind = LAYER_CHOICE, .choices = layer_activation_names,
                         .about = "what the output goes through"},
    [CONV_GROUPS] = {.name = "groups", .kind = LAYER_INTEGER, .minimum = 1, .maximum = ARCHITECTURE_DIMENSION,
                     .standard = 1, .about = "parts of the channels that are convolved by themselves"},
    [CONV_INITIALISER] = {.name = "initialiser", .kind = LAYER_CHOICE, .choices = conv_initialiser_names,
                          .about = "how the weights start"},
    [CONV_OUTPUT_PADDING] = {.name = "output_padding", .kind = LAYER_INTEGER, .minimum = 0, .maximum = CONV_EXTENT,
                             .about = "rows and columns more at one end, below the stride"},
    {0},
};

const struct layer_type layer_conv_transpose = {
    .name = "conv_transpose", .about = "a transposed convolution over images",
    .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1, .measure = conv_measure,
    .code = {.forward = conv_forward, .backward = conv_backward},
};
