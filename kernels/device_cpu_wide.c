/* SPDX-License-Identifier: Apache-2.0 */
/* The own kernels as for AVX-512, 16 lanes and its tiles, for any CPU: the compiler makes narrower instructions of the vectors.
 * Slow; only builds with tests and without sanitizers have it, so that the code for 16 lanes is tested where there is no AVX-512
 * (TL_HUB_KERNELS=wide). */
#if defined(TL_HUB_WIDE_KERNELS)
#define VECTOR_NAME wide
#define VECTOR_LANES 16
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define CONV_FILTERS 6
#define CONV_PIXELS 4
#include "kernels/device_cpu_vector.h"
#endif
