/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_FOOTPRINT_H
#define TL_KERNELS_FOOTPRINT_H

/* What a run over a net is going to need, from the architecture alone: before anything of its size is allocated, and where
 * there is no device to ask. An estimate from above: padding, a device's own memory and the program are in it. */

#include "kernels/architecture.h"

#include <stdbool.h>

struct footprint_options {
    int64_t batch_size;
    bool trains;          /* gradients, an optimiser, and the weights as a file at the end */
    int states;           /* blocks of the optimiser, as large as the parameters: optimizer_state_count */
    bool keeps_best;      /* one more block */
    int64_t data_bytes;   /* of the data that are held in memory */
    int64_t rows;         /* that pass forward and, when it trains, backward: of all epochs */
    int64_t forward_rows; /* that only pass forward */
};

struct footprint {
    int64_t memory; /* bytes: data + 1.1 × 4 × (parameters × blocks + batch × activations …) + 64 MiB for the program */
    double flops;   /* floating-point operations of the whole run: three times the forward pass for what it trains on */
};

/* INT64_MAX bytes where it is more than can be counted. */
void footprint_of(const struct architecture_size *size, const struct footprint_options *options, struct footprint *out);

#endif
