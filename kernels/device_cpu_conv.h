/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_CPU_CONV_H
#define TL_KERNELS_DEVICE_CPU_CONV_H

/* Convolutions on the cpu device; only device_cpu*.c include it. As many samples as a vector has floats ("lanes") are
 * computed at once: they are brought into images whose pixels are vectors, one lane a sample. Everything is vector code
 * then whatever the sizes, and a kernel's window is a list of offsets whatever stride, padding and groups are. */

#include "kernels/device.h"

/* An image of `lanes` samples: planes of pixels of `lanes` floats. Around the data are zeros, which stay. */
struct conv_image {
    int64_t channels, height, width;    /* of the data */
    int64_t top, left;                  /* zeros before it */
    int64_t row, plane;                 /* floats from one row, one channel to the next */
};

/* A pixel of what is read and the one of what is written, in floats from the start of a plane. */
struct conv_point {
    int64_t in, out;
};

/* out(o, p) = bias(o) + sum over s of weights(o, s) * in[points[p].in + steps[s]], at out + o * out_plane +
 * points[p].out. weights are packed in tiles of cpu_conv_kernels.filters outputs: (tile, s, output of the tile). */
struct conv_sweep {
    const float *in, *weights, *bias; /* bias NULL: 0 */
    float *out;
    const int64_t *steps;
    int64_t step_count;
    const struct conv_point *points;
    int64_t point_count;
    int64_t outputs, out_plane;
};

/* gradient(o, s) += sum over p and lanes of in[points[p].in + steps[s]] * out[o * out_plane + points[p].out], at
 * gradient + o * gradient_row + s. */
struct conv_products {
    const float *in, *out;
    const int64_t *steps;
    int64_t step_count;
    const struct conv_point *points;
    int64_t point_count;
    int64_t outputs, out_plane;
    float *gradient;
    int64_t gradient_row;
};

/* Tiles of 2 x 2 pixels by Winograd's F(2 x 2, 3 x 3) (Lavin, Gray, "Fast algorithms for convolutional neural networks",
 * 2016): of 4 x 4 pixels `in` 16 values are made, (frequency, channel, tile of the group, lane). */
struct conv_tiles {
    int64_t across, down;             /* tiles of the image */
    int64_t first, count;             /* the group of tiles at hand, along rows */
    int64_t height, width;            /* of the written image */
};

struct cpu_conv_kernels {
    int lanes, filters, pixels;       /* filters x pixels: the tile of a sweep */
    /* Rows [first, first + rows) of x into the image; the lanes beyond are 0. With y: x * activation'(.) from y. */
    void (*to_lanes)(const struct tensor *x, const struct tensor *y, enum activation activation, int64_t first,
                     int64_t rows, const struct conv_image *image, float *data);
    /* And back, with the activation. */
    void (*from_lanes)(const struct conv_image *image, const float *data, enum activation activation, int64_t first,
                       int64_t rows, struct tensor *y);
    void (*sweep)(const struct conv_sweep *sweep);
    void (*products)(const struct conv_products *products);
    /* sums[c] += the sum of channel c; the zeros around count as zeros. */
    void (*plane_sums)(const struct conv_image *image, const float *data, float *sums);
    /* B^T d B of windows that start at in + 2 (row, column); all channels. */
    void (*winograd_in)(const struct conv_tiles *tiles, const struct conv_image *image, const float *in, float *values);
    /* A^T m A + bias into out (planes of out->plane). */
    void (*winograd_out)(const struct conv_tiles *tiles, const struct conv_image *image, const float *values,
                         const float *bias, float *out);
    /* A d A^T of 2 x 2 pixels of the image. */
    void (*winograd_gradient)(const struct conv_tiles *tiles, const struct conv_image *image, const float *in,
                              float *values);
};

struct layer;
struct layer_code;

/* NULL: the layer is none of these. */
const struct layer_code *cpu_conv_code(const struct layer *layer);

#endif
