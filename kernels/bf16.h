/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_BF16_H
#define TL_KERNELS_BF16_H

/* bfloat16: the upper half of a float, 8 bits of mantissa. Rounded to nearest, ties to even, as Intel's VCVTNEPS2BF16 does
 * but for subnormal numbers, which stay; a NaN stays one, and becomes quiet. */

#include <stdint.h>
#include <string.h>

static inline uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u); /* its upper half might be that of infinity */
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* The nearest bfloat16, as a float. */
static inline float bf16_round(float x)
{
    uint32_t bits = (uint32_t)bf16_of(x) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
