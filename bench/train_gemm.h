/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_BENCH_TRAIN_GEMM_H
#define TL_BENCH_TRAIN_GEMM_H

#include "kernels/error.h"

/* Prints what one thread reaches in the products of the large net, by each library, and in the own kernels: the best of
 * ten, by CPU time. 0 or -1. */
int bench_print_gemm(struct kernel_error *error);

#endif
