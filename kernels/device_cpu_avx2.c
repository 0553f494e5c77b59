/* SPDX-License-Identifier: Apache-2.0 */
/* The own kernels for AVX2 and FMA; compiled with -mavx2 -mfma and only called where the CPU has both. */
#if defined(__x86_64__)
#define VECTOR_NAME avx2
#define VECTOR_LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define CONV_FILTERS 4
#define CONV_PIXELS 3
#include "kernels/device_cpu_vector.h"
#endif
