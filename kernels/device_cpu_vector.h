/* SPDX-License-Identifier: Apache-2.0 */
/* The own kernels, for one width of vector: no include guard, each device_cpu_*.c includes it once, with
 *   VECTOR_NAME   suffix of the table cpu_kernels_NAME
 *   VECTOR_LANES  floats of a vector; divides TENSOR_ALIGN
 *   TILE_ROWS x TILE_VECTORS  accumulators of the products, so that they and the operands fit the registers.
 *   CONV_FILTERS x CONV_PIXELS  likewise of the convolutions.
 *   VECTOR_PAIRS  defined: with products of bfloat16 (device_cpu_pairs.h).
 * Plain C with the compiler's vector types; products are contracted to fused multiply-adds where there are such. */
#include "kernels/bf16.h"
#include "kernels/device_cpu.h"

#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define LANES VECTOR_LANES
#define INLINE static inline __attribute__((always_inline))

typedef float vector __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * LANES), may_alias));
typedef float loose_vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */
typedef uint32_t words __attribute__((vector_size(32)));
typedef uint64_t long_words __attribute__((vector_size(64)));

INLINE vector load(const float *p)
{
    return *(const loose_vector *)p;
}

INLINE void store(float *p, vector v)
{
    *(loose_vector *)p = v;
}

INLINE vector splat(float x)
{
    return x - (vector){0};
}

INLINE vector select_vector(integers mask, vector yes, vector no)
{
    return (vector)((mask & (integers)yes) | (~mask & (integers)no));
}

/* The first count lanes of p, the others rest. */
INLINE vector load_part(const float *p, int64_t count, float rest)
{
    float lanes[LANES];
    for (int i = 0; i < LANES; i++) {
        lanes[i] = i < count ? p[i] : rest;
    }
    return load(lanes);
}

INLINE void store_part(float *p, int64_t count, vector v)
{
    for (int i = 0; i < LANES; i++) {
        if (i < count) {
            p[i] = v[i];
        }
    }
}

/* The lanes of v, those half apart swapped. gcc makes one instruction of its __builtin_shuffle, which clang has not;
 * clang makes one of the loop. */
INLINE vector swap_lanes(vector v, const int half)
{
#if defined(__clang__)
    vector swapped = {0};
    for (int i = 0; i < LANES; i++) {
        swapped[i] = v[i ^ half];
    }
    return swapped;
#else
    integers index = {0};
    for (int i = 0; i < LANES; i++) {
        index[i] = i ^ half;
    }
    return __builtin_shuffle(v, index);
#endif
}

/* Lane i of the result is a's, or b's where i has the bit `half`: of a lane i, of b lane i ^ half (low), or of a lane
 * i ^ half, of b lane i. */
INLINE vector interleave(vector a, vector b, const int half, const bool low)
{
#if defined(__clang__)
    vector mixed = {0};
    for (int i = 0; i < LANES; i++) {
        mixed[i] = (i & half) == 0 ? a[low ? i : i ^ half] : b[low ? i ^ half : i];
    }
    return mixed;
#else
    integers index = {0};
    for (int i = 0; i < LANES; i++) {
        index[i] = (i & half) == 0 ? (low ? i : i ^ half) : LANES + (low ? i ^ half : i);
    }
    return __builtin_shuffle(a, b, index);
#endif
}

/* LANES x LANES floats: out[j * out_stride + i] = in[i * in_stride + j]. In place is allowed. */
INLINE void transpose_square(const float *in, int64_t in_stride, float *out, int64_t out_stride)
{
    vector rows[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        rows[i] = load(in + i * in_stride);
    }
#if defined(__AVX2__) && VECTOR_LANES == 8
    /* Pairs of rows, then of pairs, then halves: an instruction each. */
    __m256 pairs[8], fours[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
#else
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if ((i & half) == 0) {
                vector above = rows[i], below = rows[i + half];
                rows[i] = interleave(above, below, half, true);
                rows[i + half] = interleave(above, below, half, false);
            }
        }
    }
#endif
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        store(out + i * out_stride, rows[i]);
    }
}

INLINE float sum_of(vector v)
{
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
        v += swap_lanes(v, half);
    }
    return v[0];
}

INLINE float largest_of(vector v)
{
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
        vector other = swap_lanes(v, half);
        v = select_vector(other > v, other, v);
    }
    return v[0];
}

/* e^x within 2 ulp: x = n ln 2 + r, a polynomial in r (Cephes, expf), 2^n by its exponent bits. Below -87: 0 to within
 * 1e-38; above 88: about 1.6e38. NaN stays NaN. */
INLINE vector exp_vector(vector x)
{
    const vector low = splat(-87.0f), high = splat(88.0f), round = splat(12582912.0f); /* 1.5 * 2^23 */
    vector t = select_vector(x < low, low, select_vector(x > high, high, x));
    vector n = t * 1.44269504088896341f + round;
    integers exponent = (integers)n << 23;
    n -= round;
    vector r = t - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vector p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return (vector)((integers)p + exponent);
}

/* tanh: an odd polynomial near 0 (Cephes, tanhf), else 1 - 2 / (e^2|x| + 1) with the sign of x. */
INLINE vector tanh_vector(vector x)
{
    integers sign = (integers)x & (int32_t)0x80000000;
    vector magnitude = (vector)((integers)x & 0x7fffffff);
    vector far = 1.0f - 2.0f / (exp_vector(magnitude + magnitude) + 1.0f);
    far = (vector)((integers)far | sign);
    vector z = x * x, p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    vector near = p * z * x + x;
    return select_vector(magnitude < splat(0.625f), near, far);
}

#include "kernels/device_cpu_vector_gelu.h"

INLINE vector activate(enum activation activation, vector x)
{
    switch (activation) {
    case ACTIVATION_NONE: break;
    case ACTIVATION_RELU: return (vector)(~(x < (vector){0}) & (integers)x); /* NaN stays */
    case ACTIVATION_TANH: return tanh_vector(x);
    case ACTIVATION_SIGMOID: return 1.0f / (1.0f + exp_vector(-x));
    case ACTIVATION_LEAKY_RELU: return select_vector(x > (vector){0}, x, x * LEAKY_RELU_SLOPE);
    case ACTIVATION_GELU: return gelu_vector(x);
    }
    return x;
}

/* dy * activation'(.), from y; of gelu from x. */
INLINE vector derive(enum activation activation, vector y, vector dy)
{
    switch (activation) {
    case ACTIVATION_NONE: break;
    case ACTIVATION_RELU: return (vector)((y > (vector){0}) & (integers)dy);
    case ACTIVATION_TANH: return dy * (1.0f - y * y);
    case ACTIVATION_SIGMOID: return dy * (y * (1.0f - y));
    case ACTIVATION_LEAKY_RELU: return select_vector(y > (vector){0}, dy, dy * LEAKY_RELU_SLOPE);
    case ACTIVATION_GELU: return gelu_gradient_vector(y, dy);
    }
    return dy;
}

/* Runs statement with a compile-time constant activation, called fixed; gelu is no part of a product. */
#define FOR_ACTIVATION(value, statement) \
    switch (value) { \
    case ACTIVATION_NONE: { const enum activation fixed = ACTIVATION_NONE; statement; } break; \
    case ACTIVATION_RELU: { const enum activation fixed = ACTIVATION_RELU; statement; } break; \
    case ACTIVATION_TANH: { const enum activation fixed = ACTIVATION_TANH; statement; } break; \
    case ACTIVATION_SIGMOID: { const enum activation fixed = ACTIVATION_SIGMOID; statement; } break; \
    case ACTIVATION_LEAKY_RELU: { const enum activation fixed = ACTIVATION_LEAKY_RELU; statement; } break; \
    case ACTIVATION_GELU: break; \
    }

/* --- products ------------------------------------------------------------------------------------------------------ */

/* c(i, j) = init + sum over l of a[i * a_row + l * a_step] * b[l * b_stride + j]: a is read by single floats, so that
 * either of its directions may be the contiguous one; b and c by vectors. */
struct product {
    const float *a;
    int64_t a_row, a_step;
    const float *b;
    int64_t b_stride;
    float *c;
    int64_t c_stride;
    int64_t depth;
    const float *bias;  /* the start of the sums: NULL is 0 */
    bool accumulates;   /* start from c itself */
    bool last;          /* apply the activation */
};

INLINE void tile(const struct product *product, const int rows, const int vectors, enum activation activation,
                 int64_t row, int64_t column)
{
    vector sum[TILE_ROWS][TILE_VECTORS];
    const float *a = product->a + row * product->a_row;
    const float *b = product->b + column;
    float *c = product->c + row * product->c_stride + column;
    const int64_t a_row = product->a_row, a_step = product->a_step, b_stride = product->b_stride;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            sum[i][j] = product->accumulates ? load(c + i * product->c_stride + j * LANES)
                        : product->bias != NULL ? load(product->bias + column + j * LANES)
                                                : (vector){0};
        }
    }
    for (int64_t l = 0; l < product->depth; l++) {
        vector right[TILE_VECTORS];
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            right[j] = load(b + j * LANES);
        }
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vector left = splat(a[i * a_row]);
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) {
                sum[i][j] += left * right[j];
            }
        }
        a += a_step;
        b += b_stride;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            vector value = product->last ? activate(activation, sum[i][j]) : sum[i][j];
            store(c + i * product->c_stride + j * LANES, value);
        }
    }
}

/* One tile of 1 … TILE_ROWS rows and TILE_VECTORS or fewer vectors. */
INLINE void any_tile(const struct product *product, int64_t rows, int64_t vectors, enum activation activation,
                     int64_t row, int64_t column)
{
#define TILE_CASE(n) \
    case n: \
        if (vectors == TILE_VECTORS) { \
            tile(product, n <= TILE_ROWS ? n : TILE_ROWS, TILE_VECTORS, activation, row, column); \
        } else { \
            for (int64_t j = 0; j < vectors; j++) { \
                tile(product, n <= TILE_ROWS ? n : TILE_ROWS, 1, activation, row, column + j * LANES); \
            } \
        } \
        break
    switch (rows) {
        TILE_CASE(1);
        TILE_CASE(2);
#if TILE_ROWS > 2
        TILE_CASE(3);
        TILE_CASE(4);
        TILE_CASE(5);
        TILE_CASE(6);
#endif
#if TILE_ROWS > 6
        TILE_CASE(7);
        TILE_CASE(8);
#endif
    default: break;
    }
}

/* The whole product: rows of c in blocks of nearly the same height, columns (a multiple of LANES) in panels. */
INLINE void multiply(const struct product *product, int64_t rows, int64_t columns, enum activation activation)
{
    int64_t blocks = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int64_t column = 0; column < columns; column += TILE_VECTORS * LANES) {
        int64_t vectors = (columns - column) / LANES;
        vectors = vectors < TILE_VECTORS ? vectors : TILE_VECTORS;
        int64_t row = 0;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t height = (rows - row) / (blocks - block);
            any_tile(product, height, vectors, activation, row, column);
            row += height;
        }
    }
}

#define DEPTH_BLOCK 256 /* rows of b of a panel that stay in the first cache */

static void dense_forward(const struct tensor *x, const struct tensor *w, const float *bias,
                          enum activation activation, struct tensor *y)
{
    for (int64_t depth = 0; depth < w->rows; depth += DEPTH_BLOCK) {
        int64_t left = w->rows - depth;
        const struct product product = {
            .a = x->data + depth, .a_row = x->stride, .a_step = 1, .b = w->data + depth * w->stride,
            .b_stride = w->stride, .c = y->data, .c_stride = y->stride,
            .depth = left < DEPTH_BLOCK ? left : DEPTH_BLOCK, .bias = bias, .accumulates = depth > 0,
            .last = left <= DEPTH_BLOCK};
        FOR_ACTIVATION(activation, multiply(&product, x->rows, tensor_stride(w->columns), fixed))
    }
}

static void dense_weights(const struct tensor *x, const struct tensor *dy, struct tensor *dw)
{
    /* Columns of dw in the inner loop: dy (a batch of them) stays in the first cache, x is read once. */
    const int64_t columns = tensor_stride(dw->columns), panel = TILE_VECTORS * LANES;
    int64_t blocks = (dw->rows + TILE_ROWS - 1) / TILE_ROWS, row = 0;
    const struct product product = {.a = x->data, .a_row = 1, .a_step = x->stride, .b = dy->data,
                                    .b_stride = dy->stride, .c = dw->data, .c_stride = dw->stride,
                                    .depth = dy->rows};
    for (int64_t block = 0; block < blocks; block++) {
        int64_t height = (dw->rows - row) / (blocks - block);
        for (int64_t column = 0; column < columns; column += panel) {
            int64_t vectors = (columns - column) / LANES;
            any_tile(&product, height, vectors < TILE_VECTORS ? vectors : TILE_VECTORS, ACTIVATION_NONE, row, column);
        }
        row += height;
    }
}

static void dense_inputs(const struct tensor *dy, const struct tensor *w, float *transposed, struct tensor *dx)
{
    /* Whole squares where there are such: the rows' padding makes them so in columns. */
    const int64_t stride = tensor_stride(w->rows), whole = w->rows / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        for (int64_t o = 0; o < w->columns; o += LANES) {
            transpose_square(w->data + i * w->stride + o, w->stride, transposed + o * stride + i, stride);
        }
    }
    for (int64_t o = 0; o < w->columns; o++) {
        for (int64_t i = whole; i < stride; i++) {
            transposed[o * stride + i] = i < w->rows ? w->data[i * w->stride + o] : 0.0f;
        }
    }
    const struct product product = {.a = dy->data, .a_row = dy->stride, .a_step = 1, .b = transposed,
                                    .b_stride = stride, .c = dx->data, .c_stride = dx->stride,
                                    .depth = w->columns};
    multiply(&product, dy->rows, stride, ACTIVATION_NONE);
}

/* --- element by element -------------------------------------------------------------------------------------------- */

INLINE void bias_rows(enum activation activation, const float *bias, struct tensor *y)
{
    for (int64_t r = 0; r < y->rows; r++) {
        float *row = y->data + r * y->stride;
        for (int64_t c = 0; c < tensor_stride(y->columns); c += LANES) {
            store(row + c, activate(activation, load(row + c) + load(bias + c)));
        }
    }
}

static void bias_activation(enum activation activation, const float *bias, struct tensor *y)
{
    FOR_ACTIVATION(activation, bias_rows(fixed, bias, y))
}

INLINE void gradient_columns(enum activation activation, const struct tensor *y, struct tensor *dy, float *dbias)
{
    enum { PANEL = TENSOR_ALIGN / LANES };
    for (int64_t c = 0; c < tensor_stride(dy->columns); c += TENSOR_ALIGN) {
        vector sum[PANEL];
        for (int j = 0; j < PANEL; j++) {
            sum[j] = (vector){0};
        }
        for (int64_t r = 0; r < dy->rows; r++) {
            const float *value = y->data + r * y->stride + c;
            float *gradient = dy->data + r * dy->stride + c;
            for (int j = 0; j < PANEL; j++) {
                vector g = derive(activation, load(value + j * LANES), load(gradient + j * LANES));
                if (activation != ACTIVATION_NONE) {
                    store(gradient + j * LANES, g);
                }
                sum[j] += g;
            }
        }
        for (int j = 0; j < PANEL; j++) {
            store(dbias + c + j * LANES, sum[j]);
        }
    }
}

static void activation_bias_gradient(enum activation activation, const struct tensor *y, struct tensor *dy,
                                     float *dbias)
{
    FOR_ACTIVATION(activation, gradient_columns(fixed, y, dy, dbias))
}

INLINE void forward_rows(enum activation activation, const struct tensor *x, struct tensor *y)
{
    for (int64_t r = 0; r < x->rows; r++) {
        const float *in = x->data + r * x->stride;
        float *out = y->data + r * y->stride;
        int64_t c = 0;
        for (; c + LANES <= x->columns; c += LANES) {
            store(out + c, activate(activation, load(in + c)));
        }
        if (c < x->columns) {
            store_part(out + c, x->columns - c, activate(activation, load_part(in + c, x->columns - c, 0.0f)));
        }
    }
}

static void activation_forward(enum activation activation, const struct tensor *x, struct tensor *y)
{
    FOR_ACTIVATION(activation, forward_rows(fixed, x, y))
    if (activation == ACTIVATION_GELU) {
        forward_rows(ACTIVATION_GELU, x, y);
    }
}

INLINE void backward_rows(enum activation activation, const struct tensor *y, const struct tensor *dy,
                          struct tensor *dx)
{
    for (int64_t r = 0; r < y->rows; r++) {
        const float *value = y->data + r * y->stride, *in = dy->data + r * dy->stride;
        float *out = dx->data + r * dx->stride;
        int64_t c = 0;
        for (; c + LANES <= y->columns; c += LANES) {
            store(out + c, derive(activation, load(value + c), load(in + c)));
        }
        if (c < y->columns) {
            int64_t left = y->columns - c;
            vector g = derive(activation, load_part(value + c, left, 0.0f), load_part(in + c, left, 0.0f));
            store_part(out + c, left, g);
        }
    }
}

static void activation_backward(enum activation activation, const struct tensor *y, const struct tensor *dy,
                                struct tensor *dx)
{
    FOR_ACTIVATION(activation, backward_rows(fixed, y, dy, dx))
    if (activation == ACTIVATION_GELU) {
        backward_rows(ACTIVATION_GELU, y, dy, dx);
    }
}

/* bf16.h's on a vector. */
INLINE vector round_vector(vector x)
{
    typedef uint32_t bits_vector __attribute__((vector_size(4 * LANES), may_alias));
    const bits_vector bits = (bits_vector)x;
    const integers finite = (integers)bits & 0x7fffffff;
    const bits_vector rounded = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
    return (vector)((integers)select_vector(finite > 0x7f800000, (vector)quiet, (vector)rounded) & (int32_t)0xffff0000);
}

static void round_bf16(size_t count, const float *in, float *out)
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        store(out + i, round_vector(load(in + i)));
    }
    for (; i < count; i++) {
        out[i] = bf16_round(in[i]);
    }
}

/* The 64-bit products of eight words with one, as their high and low words. */
INLINE void multiply_words(words x, uint32_t factor, words *high, words *low)
{
#if defined(__AVX2__)
    __m256i f = _mm256_set1_epi32((int)factor), even = _mm256_mul_epu32((__m256i)x, f);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)x, 32), f);
    *high = (words)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    *low = (words)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#else
    long_words product = __builtin_convertvector(x, long_words) * factor;
    *high = __builtin_convertvector(product >> 32, words);
    *low = __builtin_convertvector(product, words);
#endif
}

/* Philox4x32-10 (random.c) on eight counters at once: 64 factors, 0 or scale, for elements group * 64 … + 63. */
INLINE void dropout_factors(const struct device_dropout *dropout, uint64_t group, float factors[64])
{
    const uint64_t stream = dropout->stream << 40 | dropout->step, counter = group * 8;
    uint32_t key0 = (uint32_t)dropout->seed, key1 = (uint32_t)(dropout->seed >> 32);
    words a = (uint32_t)counter + (words){0, 1, 2, 3, 4, 5, 6, 7};
    words b = (uint32_t)(counter >> 32) - (words){0}, c = (uint32_t)stream - (words){0};
    words d = (uint32_t)(stream >> 32) - (words){0};
    for (int round = 0; round < 10; round++) {
        words high0, low0, high1, low1;
        multiply_words(a, 0xD2511F53u, &high0, &low0);
        multiply_words(c, 0xCD9E8D57u, &high1, &low1);
        a = high1 ^ b ^ key0;
        c = high0 ^ d ^ key1;
        b = low1;
        d = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    const words all[4] = {a, b, c, d};
    const float scale = dropout->scale;
    uint32_t scale_bits;
    memcpy(&scale_bits, &scale, sizeof scale_bits);
    for (int half = 0; half < 8; half++) {
        words bits = half % 2 == 0 ? all[half / 2] & 0xffff : all[half / 2] >> 16;
        words factor = (words)(bits >= dropout->threshold) & scale_bits;
        memcpy(factors + half * 8, &factor, sizeof factor);
    }
}

static void dropout(const struct device_dropout *mask, int64_t first_row, const struct tensor *x, struct tensor *y)
{
    float factors[64];
    uint64_t group = (uint64_t)(first_row * x->columns) / 64;
    int64_t left = (64 - first_row * x->columns % 64) % 64; /* of factors not used yet, at their end */
    if (left > 0) {
        dropout_factors(mask, group++, factors);
    }
    for (int64_t r = 0; r < x->rows; r++) {
        const float *in = x->data + r * x->stride;
        float *out = y->data + r * y->stride;
        for (int64_t c = 0; c < x->columns;) {
            if (left == 0) {
                dropout_factors(mask, group++, factors);
                left = 64;
            }
            int64_t run = x->columns - c < left ? x->columns - c : left;
            const float *factor = factors + 64 - left;
            for (int64_t i = 0; i < run; i++) {
                /* Dropped is 0 even where x is infinite, as in the formula. */
                out[c + i] = factor[i] == 0.0f ? 0.0f : in[c + i] * factor[i];
            }
            c += run;
            left -= run;
        }
    }
}

#include "kernels/device_cpu_vector_pairs.h"
#include "kernels/device_cpu_vector_loss.h"
#include "kernels/device_cpu_vector_optimizer.h"

#include "kernels/device_cpu_vector_conv.h"
#include "kernels/device_cpu_vector_recurrent.h"
#include "kernels/device_cpu_vector_pool.h"

#define TABLE_NAME_OF(name) cpu_kernels_##name
#define TABLE_NAME(name) TABLE_NAME_OF(name)
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

#if defined(VECTOR_PAIRS)
static const struct cpu_pair_kernels pair_kernels = {
    .pair = pair_rows,
    .row = pair_row,
    .spread = pair_spread,
    .sweep = conv_sweep_pairs,
    .products = conv_products_pairs,
    .forward = recurrent_forward_pairs,
    .weights = recurrent_weights_pairs,
    .inputs = recurrent_inputs_pairs,
    .pack = recurrent_pack_pairs,
    .transpose = recurrent_transpose_pairs,
};
#endif

const struct cpu_kernels TABLE_NAME(VECTOR_NAME) = {
    .name = TEXT(VECTOR_NAME),
    .lanes = LANES,
    .dense_forward = dense_forward,
    .dense_weights = dense_weights,
    .dense_inputs = dense_inputs,
    .bias_activation = bias_activation,
    .activation_bias_gradient = activation_bias_gradient,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .dropout = dropout,
    .cross_entropy = cross_entropy,
    .softmax = softmax,
    .squared_error = squared_error,
    .binary_cross_entropy = binary_cross_entropy,
    .sgd = sgd,
    .adam = adam,
    .recurrent = {.forward = recurrent_forward, .gates = recurrent_gates, .weights = recurrent_weights,
                  .inputs = recurrent_inputs, .pack = recurrent_pack, .transpose = recurrent_transpose},
    .rmsprop = rmsprop,
    .squared_norm = squared_norm,
    .clip = clip,
    .round_bf16 = round_bf16,
#if defined(VECTOR_PAIRS)
    .pairs = &pair_kernels,
#endif
    .conv = &conv_kernels,
    .pool = {.forward = max_pool_forward, .backward = max_pool_backward},
};
