/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_RECURRENT_H
#define TL_KERNELS_LAYER_RECURRENT_H

/* What lstm and gru have in common: one to eight layers of cells over (time, features), each taking the hidden states
 * of the one below. A step's sums W_ih x + b_ih and W_hh h + b_hh, what is kept for back-propagation through time
 * (Werbos 1990) and the gradients of the weights are done here; a cell adds the formula between the sums and the new
 * state. */

#include "kernels/layer_recurrent_sequence.h"

#include <math.h>

extern const struct layer_attribute recurrent_attributes[];

/* One step of one sample. Sums are (gates * units), gate after gate; kept is (kept values * units), likewise; before
 * the first step h_before and kept_before are zeros. */
struct recurrent_step {
    int64_t units;
    const float *h_before, *kept_before;
    float *kept;
    /* Forward: the sums, from which the cell sets h and kept. Backward: the cell sets them to the gradients of the
     * sums. */
    double *x_sums, *h_sums;
    float *h;     /* forward only */
    double *dh;   /* (units) of this step's h; the cell leaves that of h_before, but for the part through h_sums */
    double *cell; /* (units) gradient of what the cell carries beside h; 0 after the last step */
};

struct recurrent_cell {
    int gates;
    int kept; /* values a unit keeps from forward to backward, beside h */
    void (*forward)(const struct recurrent_step *step);
    void (*backward)(const struct recurrent_step *step);
};

extern const struct recurrent_cell recurrent_lstm; /* layer_lstm.c */
extern const struct recurrent_cell recurrent_gru;  /* layer_gru.c */

static inline double recurrent_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* The functions of both layer types. */
int recurrent_measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                      struct kernel_error *error);
int recurrent_build(struct layer *layer, const struct layer_build *build, struct kernel_error *error);
void recurrent_destroy(struct layer *layer);
int recurrent_forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error);
int recurrent_backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error);

#endif
