/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_CPU_POOL_H
#define TL_KERNELS_DEVICE_CPU_POOL_H

/* max_pool of 2 x 2 windows two apart on the cpu device; only device_cpu*.c include it. */

#include <stdint.h>

/* One sample: planes of (height, width) become planes of (lines, columns). */
struct cpu_pool {
    int64_t planes, height, width, lines, columns;
};

struct cpu_pool_kernels {
    /* where (lines and columns as y; NULL: not wanted): which of a window's four is the largest. */
    void (*forward)(const struct cpu_pool *pool, const float *x, float *y, float *where);
    void (*backward)(const struct cpu_pool *pool, const float *where, const float *dy, float *dx);
};

struct layer;
struct layer_code;

/* NULL: the layer is none of these. */
const struct layer_code *cpu_pool_code(const struct layer *layer);

#endif
