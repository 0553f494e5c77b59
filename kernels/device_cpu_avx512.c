/* SPDX-License-Identifier: Apache-2.0 */
/* The own kernels for AVX-512; compiled with -mavx512f … and only called where the CPU has them. */
#if defined(__x86_64__)
#define VECTOR_NAME avx512
#define VECTOR_LANES 16
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define CONV_FILTERS 6
#define CONV_PIXELS 4
#define VECTOR_PAIRS
#include "kernels/device_cpu_vector.h"
#endif
