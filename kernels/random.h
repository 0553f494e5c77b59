/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_RANDOM_H
#define TL_KERNELS_RANDOM_H

/* Random numbers that are the same on every machine and compiler, and whose state is a few integers.
 * Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It is counter-based:
 * block n of stream s of seed k is a pure function of (k, s, n), so that a dropout mask is known from seed and step. */

#include <stddef.h>
#include <stdint.h>

struct random_state {
    uint64_t seed;    /* the key */
    uint64_t stream;  /* independent sequences of one seed */
    uint64_t counter; /* the next block of four 32-bit values */
    uint32_t block[4];
    uint32_t used;    /* values of block already given (4: none left) */
};

/* One block: out is 4 values for (seed, stream, counter). */
void random_block(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]);

/* Everything of the state is set: two states with the same seed and stream give the same sequence. Save it as it is
 * (it has no pointers), or by seed, stream, counter and used: random_restore makes the same state again. */
void random_init(struct random_state *state, uint64_t seed, uint64_t stream);
void random_restore(struct random_state *state, uint64_t seed, uint64_t stream, uint64_t counter, uint32_t used);

uint32_t random_u32(struct random_state *state);
uint64_t random_u64(struct random_state *state);
/* [0, n) without bias; 0 for n = 0. */
uint64_t random_below(struct random_state *state, uint64_t n);
/* [0, 1), 24 bits. */
float random_uniform(struct random_state *state);
/* Standard normal (Box and Muller 1958), in double. */
double random_normal(struct random_state *state);

/* Fisher-Yates; order is (n). random_order fills it with 0 … n-1 first. */
void random_shuffle(struct random_state *state, int64_t *order, size_t n);
void random_order(struct random_state *state, int64_t *order, size_t n);

enum initialiser {
    INITIALISER_HE_UNIFORM,     /* U(-b, b), b = sqrt(6 / fan_in): He et al. 2015 */
    INITIALISER_HE_NORMAL,      /* N(0, 2 / fan_in) */
    INITIALISER_GLOROT_UNIFORM, /* U(-b, b), b = sqrt(6 / (fan_in + fan_out)): Glorot, Bengio 2010 */
    INITIALISER_GLOROT_NORMAL,  /* N(0, 2 / (fan_in + fan_out)) */
    INITIALISER_LECUN_UNIFORM,  /* U(-b, b), b = 1 / sqrt(fan_in): LeCun et al. 1998; what PyTorch's Linear does */
    INITIALISER_ZERO,
    INITIALISER_ONE,
    INITIALISER_NORMAL,         /* N(0, 1): what PyTorch's Embedding does */
    INITIALISER_ORTHOGONAL      /* orthonormal rows or columns, whichever are fewer: Saxe, McClelland, Ganguli 2014; of a
                                 * matrix only */
};

/* values is (rows, columns) with rows stride floats apart; between them nothing is written. 0, or -1 without memory (only
 * INITIALISER_ORTHOGONAL needs some). */
int random_initialise_matrix(struct random_state *state, enum initialiser initialiser, int64_t fan_in, int64_t fan_out,
                             int64_t rows, int64_t columns, float *values, int64_t stride);

#endif
