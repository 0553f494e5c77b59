/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_AXIS_H
#define TL_KERNELS_LAYER_AXIS_H

/* One dimension of a sample's shape, as the attribute "axis" of some layers names it: 0 is the first (channels of an image,
 * steps of a sequence), -1 the last. */

#include "kernels/layer.h"

/* A sample seen as (outer, count, inner): count is the dimension, inner the floats from one of its elements to the next. */
struct layer_axis {
    int64_t outer, count, inner;
};

/* *axis from 0 to below the rank; -1 with a message that begins with "axis: ". */
static inline int layer_axis_find(double given, const struct shape *shape, int *axis, struct kernel_error *error)
{
    *axis = (int)given < 0 ? (int)given + shape->rank : (int)given;
    if (*axis < 0 || *axis >= shape->rank) {
        char text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "axis: %d is no dimension of the input %s", (int)given,
                                shape_format(shape, text, sizeof text));
    }
    return 0;
}

static inline struct layer_axis layer_axis_split(const struct shape *shape, int axis)
{
    struct layer_axis split = {.outer = 1, .count = shape->dims[axis], .inner = 1};
    for (int i = 0; i < shape->rank; i++) {
        split.outer *= i < axis ? shape->dims[i] : 1;
        split.inner *= i > axis ? shape->dims[i] : 1;
    }
    return split;
}

#endif
