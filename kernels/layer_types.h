/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_TYPES_H
#define TL_KERNELS_LAYER_TYPES_H

/* The built-in layer types; layer.c lists them. */

#include "kernels/layer.h"

extern const struct layer_type layer_dense;   /* layer_dense.c */
extern const struct layer_type layer_dropout; /* layer_dropout.c */
extern const struct layer_type layer_relu;    /* layer_activation.c */
extern const struct layer_type layer_tanh;
extern const struct layer_type layer_sigmoid;
extern const struct layer_type layer_flatten; /* layer_flatten.c */
extern const struct layer_type layer_mix;     /* layer_mix.c */
extern const struct layer_type layer_lstm;    /* layer_lstm.c */
extern const struct layer_type layer_gru;     /* layer_gru.c */

#endif
