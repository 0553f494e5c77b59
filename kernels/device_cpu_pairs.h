/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_CPU_PAIRS_H
#define TL_KERNELS_DEVICE_CPU_PAIRS_H

/* Products of bfloat16 in convolutional and recurrent layers; only device_cpu*.c include it. AVX512-BF16 multiplies pairs:
 * where a float was there are two bfloat16, the first in the lower half, and both products are added to one float. So the
 * operands of a sum stand in twos ("words": a float's place with two bfloat16 in it), and its loops take half as many steps:
 * channels of a pixel, samples of a gradient, inputs and hidden states of a cell. The last of an odd number stands with a
 * zero. Structures are those of the products of floats, with words where the comments there say floats. */

#include "kernels/device_cpu_conv.h"
#include "kernels/device_cpu_recurrent.h"

struct cpu_pair_kernels {
    /* words[i] = low[i] and high[i], rounded (bf16.h); high NULL: zeros. */
    void (*pair)(size_t count, const float *low, const float *high, float *words);
    /* words[i] = in[2 i] and in[2 i + 1]; the last of an odd count with a zero. */
    void (*row)(size_t count, const float *in, float *words);
    /* Vectors of floats into every other half vector of halves: vector v at halves + 2 v LANES. in NULL: zeros. */
    void (*spread)(size_t count, const float *in, uint16_t *halves);
    /* steps count words: two channels' weights by two channels' pixels. */
    void (*sweep)(const struct conv_sweep *sweep);
    /* in and out are of 2 LANES samples, as bfloat16 where floats were. */
    void (*products)(const struct conv_products *products);
    /* inputs, hidden, x, x_row, h_operand and operand_row of the step count words. */
    void (*forward)(const struct cpu_recurrent_step *step, const struct cpu_recurrent_weights *weights, int64_t from,
                    int64_t to);
    /* x: words of two rows each, x_row apart. The step's gates as floats (rounded) for the bias, its gate_pairs else. */
    void (*weights)(const struct cpu_recurrent_step *step, bool of_h, const float *x, int64_t x_row, int64_t count,
                    bool adds, struct tensor *dw, float *dbias, int64_t from, int64_t to);
    /* Reads gate_rows; transposed as transpose makes it. */
    void (*inputs)(const struct cpu_recurrent_step *step, bool of_h, const float *transposed, int64_t width, float *out,
                   int64_t from, int64_t to);
    void (*pack)(enum cpu_cell cell, int64_t units, const struct tensor *w_ih, const struct tensor *w_hh,
                 const float *bias_ih, const float *bias_hh, float *weights, float *bias);
    void (*transpose)(enum cpu_cell cell, int64_t units, const struct tensor *w, int64_t width, float *transposed);
};

struct device;
/* What device multiplies bfloat16 with in layers that are no dense ones; NULL: it rounds their operands. */
const struct cpu_pair_kernels *cpu_pairs_of(const struct device *device);

#endif
