/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/random.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* Philox4x32-10: ten rounds of two 32 x 32 -> 64 bit products; constants from the paper. */
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0 0x9E3779B9u
#define WEYL_1 0xBB67AE85u

void random_block(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4])
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t a = (uint32_t)counter, b = (uint32_t)(counter >> 32);
    uint32_t c = (uint32_t)stream, d = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)MULTIPLIER_0 * a, p1 = (uint64_t)MULTIPLIER_1 * c;
        uint32_t next_a = (uint32_t)(p1 >> 32) ^ b ^ key0;
        uint32_t next_c = (uint32_t)(p0 >> 32) ^ d ^ key1;
        b = (uint32_t)p1;
        d = (uint32_t)p0;
        a = next_a;
        c = next_c;
        key0 += WEYL_0;
        key1 += WEYL_1;
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

void random_init(struct random_state *state, uint64_t seed, uint64_t stream)
{
    *state = (struct random_state){.seed = seed, .stream = stream, .counter = 0, .used = 4};
}

void random_restore(struct random_state *state, uint64_t seed, uint64_t stream, uint64_t counter, uint32_t used)
{
    random_init(state, seed, stream);
    state->counter = counter;
    state->used = used < 4 ? used : 4;
    if (state->used < 4 && counter > 0) {
        random_block(seed, stream, counter - 1, state->block);
    } else {
        state->used = 4;
    }
}

uint32_t random_u32(struct random_state *state)
{
    if (state->used >= 4) {
        random_block(state->seed, state->stream, state->counter, state->block);
        state->counter++;
        state->used = 0;
    }
    return state->block[state->used++];
}

uint64_t random_u64(struct random_state *state)
{
    uint64_t high = random_u32(state);
    return high << 32 | random_u32(state);
}

uint64_t random_below(struct random_state *state, uint64_t n)
{
    if (n == 0) {
        return 0;
    }
    /* Values from the incomplete last interval of length n are thrown away. */
    uint64_t limit = UINT64_MAX - (UINT64_MAX % n + 1) % n;
    uint64_t value;
    do {
        value = random_u64(state);
    } while (value > limit);
    return value % n;
}

float random_uniform(struct random_state *state)
{
    return (float)(random_u32(state) >> 8) * 0x1p-24f;
}

double random_normal(struct random_state *state)
{
    double radius = ((double)(random_u64(state) >> 11) + 1.0) * 0x1p-53; /* (0, 1] */
    double angle = (double)(random_u64(state) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(radius)) * cos(2.0 * 3.14159265358979323846 * angle);
}

void random_shuffle(struct random_state *state, int64_t *order, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)random_below(state, i);
        int64_t moved = order[i - 1];
        order[i - 1] = order[j];
        order[j] = moved;
    }
}

void random_order(struct random_state *state, int64_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)i;
    }
    random_shuffle(state, order, n);
}

/* Rows of numbers from N(0, 1), each made orthogonal to those before it, twice (modified Gram-Schmidt; once is not enough
 * where two are nearly parallel: Giraud, Langou, Rozloznik 2005), and of length 1. Of a tall matrix the transpose. */
static int fill_orthogonal(struct random_state *state, int64_t rows, int64_t columns, float *values, int64_t stride)
{
    const bool tall = rows > columns;
    const size_t vectors = (size_t)(tall ? columns : rows), length = (size_t)(tall ? rows : columns);
    double *q = calloc(vectors * length + 1, sizeof *q);
    if (q == NULL) {
        return -1;
    }
    for (size_t i = 0; i < vectors; i++) {
        double *own = q + i * length, norm = 0.0;
        while (norm < 1e-6) {
            for (size_t k = 0; k < length; k++) {
                own[k] = random_normal(state);
            }
            for (size_t j = 0; j < 2 * i; j++) {
                const double *other = q + j % i * length;
                double product = 0.0;
                for (size_t k = 0; k < length; k++) {
                    product += own[k] * other[k];
                }
                for (size_t k = 0; k < length; k++) {
                    own[k] -= product * other[k];
                }
            }
            norm = 0.0;
            for (size_t k = 0; k < length; k++) {
                norm += own[k] * own[k];
            }
            norm = sqrt(norm);
        }
        for (size_t k = 0; k < length; k++) {
            own[k] /= norm;
            int64_t row = (int64_t)(tall ? k : i), column = (int64_t)(tall ? i : k);
            values[row * stride + column] = (float)own[k];
        }
    }
    free(q);
    return 0;
}

int random_initialise_matrix(struct random_state *state, enum initialiser initialiser, int64_t fan_in, int64_t fan_out,
                             int64_t rows, int64_t columns, float *values, int64_t stride)
{
    double in = fan_in > 0 ? (double)fan_in : 1.0, both = in + (fan_out > 0 ? (double)fan_out : 1.0);
    double uniform = 0.0, normal = 0.0;
    switch (initialiser) {
    case INITIALISER_HE_UNIFORM: uniform = sqrt(6.0 / in); break;
    case INITIALISER_HE_NORMAL: normal = sqrt(2.0 / in); break;
    case INITIALISER_GLOROT_UNIFORM: uniform = sqrt(6.0 / both); break;
    case INITIALISER_GLOROT_NORMAL: normal = sqrt(2.0 / both); break;
    case INITIALISER_LECUN_UNIFORM: uniform = 1.0 / sqrt(in); break;
    case INITIALISER_NORMAL: normal = 1.0; break;
    case INITIALISER_ORTHOGONAL: return fill_orthogonal(state, rows, columns, values, stride);
    case INITIALISER_ZERO:
    case INITIALISER_ONE: break;
    }
    const float fixed = initialiser == INITIALISER_ONE ? 1.0f : 0.0f;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            float *value = &values[r * stride + c];
            if (normal > 0.0) {
                *value = (float)(normal * random_normal(state));
            } else if (uniform > 0.0) {
                *value = (float)(uniform * (2.0 * (double)random_uniform(state) - 1.0));
            } else {
                *value = fixed;
            }
        }
    }
    return 0;
}
