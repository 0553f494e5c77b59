/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_CONV_H
#define TL_KERNELS_LAYER_CONV_H

/* What the convolutions share. Each goes between two sides: the large one (channels, height, width) and the small one
 * (filters, out_height, out_width), with weights w (filters, channels / groups, kernel_height, kernel_width):
 *   small[k][oy][ox] = sum of w[k][c][ky][kx] large[c][oy stride + ky - padding][ox stride + kx - padding]
 * over the channels c of k's group and the kernel; outside, large is 0 (cross-correlation, as PyTorch's Conv2d). conv2d
 * and conv1d (height 1) go from large to small, a transposed convolution from small to large. */

#include "kernels/layer.h"

/* The attributes of every convolution, in this order. */
enum {
    CONV_FILTERS, CONV_KERNEL, CONV_STRIDE, CONV_PADDING, CONV_ACTIVATION, CONV_GROUPS, CONV_INITIALISER,
    CONV_OUTPUT_PADDING /* only of conv_transpose */
};
#define CONV_EXTENT 65536 /* the most of kernel, stride and padding */

struct conv_geometry {
    int64_t channels, height, width;            /* large */
    int64_t filters, out_height, out_width;     /* small */
    int64_t kernel_height, kernel_width, stride_height, stride_width, padding_height, padding_width, groups;
    bool transposed;                            /* small is the input */
    bool flat;                                  /* conv1d: shapes without height, which is 1 */
    enum activation activation;                 /* of the output */
};

extern const char *const conv_initialiser_names[];

/* -1: a message that names the field and both sizes. The input has 3 dimensions (conv1d: 2), or one less: that is one
 * channel. */
int conv_geometry_of(const struct architecture_layer *layer, const struct shape *input, struct conv_geometry *geometry,
                     struct kernel_error *error);

/* layer_type.measure, and the code in plain loops, of every convolution. */
int conv_measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                 struct kernel_error *error);
int conv_forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error);
int conv_backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error);

#endif
