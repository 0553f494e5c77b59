/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_CPU_CONV_PLAN_H
#define TL_KERNELS_DEVICE_CPU_CONV_PLAN_H

/* What a convolution amounts to as sums over windows; only device_cpu_conv*.c include it. */

#include "kernels/device_cpu_conv.h"
#include "kernels/layer_conv.h"

/* Pixels whose windows have the same offsets: all of them from the large side to the small one; the other way, and with
 * a stride, only every stride-th sees the same part of the kernel. */
struct conv_class {
    struct conv_point *points;
    int64_t point_count;
    int64_t *steps;
    int64_t *sources;         /* where the weight of each step is, from that of the output */
    int64_t *others;          /* in pairs: where the second one's is; -1: zero. Else NULL */
    int64_t step_count;
    size_t packed;            /* where its packed weights start */
};

/* One way between the sides. `from` has zeros around it, `to` has none. */
struct conv_way {
    struct conv_image from, to;
    int64_t groups, inputs, outputs;         /* of one group */
    int64_t planes;                          /* that a group's inputs are in: half as many (rounded up) in pairs */
    int64_t group_source, output_source;     /* from one group's, one output's weights to the next ones' */
    struct conv_class *classes;
    int64_t class_count;
    bool winograd;                           /* then without classes; packed is (group, frequency, …) */
    bool turned;                             /* the kernel is read from its end */
    int64_t input_source;                    /* of winograd: from one input's 9 weights to the next ones' */
    int64_t start;                           /* where the first tile's window is in `from` */
    struct conv_tiles tiles;
    size_t packed_floats, packed_group;      /* in all, and of one group */
};

struct conv_plan {
    struct conv_geometry of;
    int lanes;
    bool pairs;                              /* two inputs share a plane (device_cpu_pairs.h); without Winograd */
    struct conv_image large, small;          /* with zeros around */
    struct conv_way forward, backward;       /* backward: of the gradient of the input; no classes where not wanted */
    struct conv_class gradient;              /* of the weights: from large to small, steps of one group */
};

#define CONV_FREQUENCIES 16 /* values of a tile */

int64_t conv_image_floats(const struct conv_image *image);

/* input_gradient: the backward way is wanted. -1 without memory; the caller destroys it then, too. */
int conv_plan_init(struct conv_plan *plan, const struct conv_geometry *of, const struct cpu_conv_kernels *kernels,
                   int64_t weight_row, bool pairs, bool input_gradient);
/* Whether sums of floats are made by Winograd's tiles. */
bool conv_plan_has_tiles(const struct conv_geometry *of);
void conv_plan_destroy(struct conv_plan *plan);

/* The weights as the sweeps of a way read them. */
void conv_pack(const struct conv_way *way, int filters, const float *weights, float *packed);
/* G^T u G of every filter and channel: u (16, filters, channels), gradient rows of 9 channels. */
void conv_winograd_unpack(const float *values, int64_t filters, int64_t channels, float *gradient, int64_t row);

#endif
