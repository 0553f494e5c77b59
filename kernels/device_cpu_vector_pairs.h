/* SPDX-License-Identifier: Apache-2.0 */
/* Words of two bfloat16 (device_cpu_pairs.h), included by device_cpu_vector.h. Vectors of words are kept as vectors of floats
 * whose bits they are. */
#include "kernels/device_cpu_pairs.h"

#if defined(VECTOR_PAIRS)
/* sum + the two products of each word. */
INLINE vector multiply_pairs(vector sum, vector a, vector b)
{
#if defined(__AVX512F__) && VECTOR_LANES == 16
    /* By name: the rest of this file is compiled for CPUs that have no AVX512-BF16. Not from memory: b is used for several
     * sums, and Bochs 3.0 takes the wrong address then. */
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#else
    const integers high = (integers){0} + (int32_t)0xffff0000;
    sum += (vector)((integers)a << 16) * (vector)((integers)b << 16);
    return sum + (vector)((integers)a & high) * (vector)((integers)b & high);
#endif
}
#endif

/* sum + a b, and a float or a word (any bits at all) in every lane. Macros where there are no words: of functions of vectors
 * that the CPU does not have compilers make a great deal before they inline them. */
#if defined(VECTOR_PAIRS)
INLINE vector multiply_add(const bool pairs, vector sum, vector a, vector b)
{
    if (pairs) {
        return multiply_pairs(sum, a, b);
    }
    return sum + a * b;
}

INLINE vector splat_operand(const bool pairs, const float *p)
{
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    if (pairs) {
        return (vector)(bits - (integers){0});
    }
    return splat(*p);
}
#else
#define multiply_add(pairs, sum, a, b) ((void)(pairs), (sum) + (a) * (b))
#define splat_operand(pairs, p) ((void)(pairs), splat(*(p)))
#endif

#if defined(VECTOR_PAIRS)
/* Both rounded. */
INLINE vector pair_vectors(vector low, vector high)
{
    typedef uint32_t bits_vector __attribute__((vector_size(4 * LANES), may_alias));
    return (vector)((bits_vector)round_vector(low) >> 16 | (bits_vector)round_vector(high));
}

INLINE float pair_floats(float low, float high)
{
    const uint32_t bits = (uint32_t)bf16_of(high) << 16 | bf16_of(low);
    float word;
    memcpy(&word, &bits, sizeof word);
    return word;
}

static void pair_rows(size_t count, const float *low, const float *high, float *to)
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        store(to + i, pair_vectors(load(low + i), high != NULL ? load(high + i) : (vector){0}));
    }
    for (; i < count; i++) {
        const float word = pair_floats(low[i], high != NULL ? high[i] : 0.0f);
        memcpy(to + i, &word, sizeof word);
    }
}

typedef uint16_t half_vector __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

/* The upper halves. */
INLINE half_vector halves_of(vector rounded)
{
    typedef uint32_t bits_vector __attribute__((vector_size(4 * LANES), may_alias));
    typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
    return (half_vector)__builtin_convertvector((bits_vector)rounded >> 16, halves);
}

static void pair_row(size_t count, const float *in, float *to)
{
    uint16_t *halves = (uint16_t *)to;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        *(half_vector *)(halves + i) = halves_of(round_vector(load(in + i)));
    }
    for (; i < count; i++) {
        halves[i] = bf16_of(in[i]);
    }
    if (count % 2 == 1) {
        halves[count] = 0;
    }
}

static void pair_spread(size_t count, const float *in, uint16_t *halves)
{
    for (size_t i = 0; i < count; i += LANES) {
        *(half_vector *)(halves + 2 * i) = in != NULL ? halves_of(round_vector(load(in + i))) : (half_vector){0};
    }
}
#endif
