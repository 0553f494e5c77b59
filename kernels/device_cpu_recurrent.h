/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_CPU_RECURRENT_H
#define TL_KERNELS_DEVICE_CPU_RECURRENT_H

/* The own code for lstm and gru. Units go in blocks of one vector (LANES), and the four sums of a block's units lie
 * side by side: for lstm i, f, g, o; for gru r, z, the sum over x of n, the sum over h of n. One tile of the product of
 * a step (inputs and hidden states by weights) then ends with all that its units need, and goes on to the new state at
 * once. What has (blocks, rows, 4, LANES) is read by the products of the backward pass one
 * block at a time, from consecutive memory. */

#include "kernels/device.h"

enum cpu_cell { CPU_LSTM, CPU_GRU };
#define CPU_CELL_SUMS 4
#define CPU_CELL_GATES(cell) ((cell) == CPU_LSTM ? 4 : 3) /* sums that an input or a hidden state goes into */

/* One layer's step in time; blocks is units over LANES, rounded up. */
struct cpu_recurrent_step {
    enum cpu_cell cell;
    int64_t rows, units, blocks;
    int64_t inputs, hidden;     /* what the products take of x, of h_operand */
    const float *x;             /* (rows, inputs), rows x_row apart */
    int64_t x_row;
    const float *h_before;      /* (rows, units), rows h_row apart, as h; NULL before the first step */
    const float *h_operand;     /* h_before as the products take it: itself or rounded, rows operand_row apart */
    int64_t operand_row;
    float *h;
    int64_t h_row;
    float *gates;               /* (blocks, rows, 4, LANES): lstm i, f, g, o; gru r, z, n, h_n; then their gradients */
    float *memory;              /* lstm (blocks, rows, 2, LANES): c, tanh c */
    const float *memory_before; /* of the step before, NULL before the first */
    /* For products of bfloat16 (device_cpu_pairs.h), of gradients: words of two lanes (blocks, rows, 4, LANES / 2), and of
     * two rows (blocks, rows / 2 rounded up, 4, LANES). */
    const float *gate_rows, *gate_pairs;
};

/* Where forward's weights are: by block, by input or hidden state, by gate. */
struct cpu_recurrent_weights {
    const float *weights;       /* (blocks, inputs + units, gates, LANES) */
    const float *bias;          /* (blocks, 4, LANES) */
};

/* What is known of the gradient of a step's h, and what is carried to the step before. */
struct cpu_recurrent_gradient {
    const float *dy;            /* (rows, units), rows dy_row apart: from above; NULL: none */
    int64_t dy_row;
    const float *dh;            /* (rows, blocks * LANES), rows dh_row apart: through the next step's sums */
    int64_t dh_row;
    float *carried;             /* (blocks, rows, LANES): lstm of c; gru of h past the sums */
};

/* Functions of cpu_kernels; parts of rows or blocks can be done by several threads with the same result. */
struct cpu_recurrent_kernels {
    /* Sets h, gates and memory of rows from … to - 1. */
    void (*forward)(const struct cpu_recurrent_step *step, const struct cpu_recurrent_weights *weights, int64_t from,
                    int64_t to);
    /* Turns gates into the gradients of the sums: lstm of the four; gru of r, z, x's n, h's n. */
    void (*gates)(const struct cpu_recurrent_step *step, const struct cpu_recurrent_gradient *gradient, int64_t from,
                  int64_t to);
    /* Of blocks from … to - 1: the gradient of the weights that x (rows, count; NULL: zeros) is multiplied by, count x
     * (gates * units), and of the bias; added to what is there, or set. of_h: x is the hidden states. */
    void (*weights)(const struct cpu_recurrent_step *step, bool of_h, const float *x, int64_t x_row, int64_t count,
                    bool adds, struct tensor *dw, float *dbias, int64_t from, int64_t to);
    /* out (rows, width), rows width apart = gradients of the sums by weights transposed, of rows from … to - 1. */
    void (*inputs)(const struct cpu_recurrent_step *step, bool of_h, const float *transposed, int64_t width, float *out,
                   int64_t from, int64_t to);
    /* w_ih, w_hh and the biases into what forward reads. */
    void (*pack)(enum cpu_cell cell, int64_t units, const struct tensor *w_ih, const struct tensor *w_hh,
                 const float *bias_ih, const float *bias_hh, float *weights, float *bias);
    /* w (count, gates * units) into what inputs reads: width * blocks * gates * LANES floats. */
    void (*transpose)(enum cpu_cell cell, int64_t units, const struct tensor *w, int64_t width, float *transposed);
};

/* NULL: the layer is neither. */
const struct layer_code *cpu_recurrent_code(const struct layer *layer);

#endif
