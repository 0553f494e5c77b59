/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_ARCHITECTURE_WEIGHTS_H
#define TL_KERNELS_ARCHITECTURE_WEIGHTS_H

#include "kernels/architecture.h"
#include "kernels/safetensors.h"

/* Whether a net of this architecture could read these weights (net_weights_read), by the file's header alone: every
 * parameter must be there as F32 with the right shape; other tensors are skipped. input: the shape of a row; NULL or rank
 * 0: the architecture's own, or else the one that the first dense layer's weights take; of a net whose shapes then are not
 * known, such as a convolution, nothing is checked. 0, or -1 naming the tensor. */
int architecture_check_weights(const struct architecture *architecture, const struct shape *input,
                               const struct safetensors *weights, struct kernel_error *error);

#endif
