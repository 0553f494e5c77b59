/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_TYPES_H
#define TL_KERNELS_LAYER_TYPES_H

/* The built-in layer types, in the order in which they are listed to people. ENTRY(dense) is layer_dense, as its file
 * defines it. A new type is one line here. */

#include "kernels/layer.h"

#define LAYER_TYPES(ENTRY) \
    ENTRY(dense) \
    ENTRY(conv2d) \
    ENTRY(conv1d) \
    ENTRY(conv_transpose) \
    ENTRY(lstm) \
    ENTRY(gru) \
    ENTRY(embedding) \
    ENTRY(batch_norm) \
    ENTRY(layer_norm) \
    ENTRY(dropout) \
    ENTRY(max_pool) \
    ENTRY(avg_pool) \
    ENTRY(global_pool) \
    ENTRY(upsample) \
    ENTRY(relu) \
    ENTRY(leaky_relu) \
    ENTRY(gelu) \
    ENTRY(tanh) \
    ENTRY(sigmoid) \
    ENTRY(softmax) \
    ENTRY(flatten) \
    ENTRY(reshape) \
    ENTRY(concat) \
    ENTRY(add) \
    ENTRY(multiply) \
    ENTRY(dot) \
    ENTRY(mix)

#define LAYER_TYPE_DECLARATION(NAME) extern const struct layer_type layer_##NAME;
LAYER_TYPES(LAYER_TYPE_DECLARATION)

#endif
