/* SPDX-License-Identifier: Apache-2.0 */
/* The own kernels for any CPU: vectors of 16 bytes (SSE2, NEON), or what the compiler makes of them. */
#define VECTOR_NAME plain
#define VECTOR_LANES 4
#define TILE_ROWS 2
#define TILE_VECTORS 4
#define CONV_FILTERS 4
#define CONV_PIXELS 2
#if defined(TL_HUB_PLAIN_PAIRS) /* for tests: how pairs of bfloat16 are laid out, where no CPU multiplies them */
#define VECTOR_PAIRS
#endif
#include "kernels/device_cpu_vector.h"
