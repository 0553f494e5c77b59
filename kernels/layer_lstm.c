/* SPDX-License-Identifier: Apache-2.0 */
/* lstm: x (time, features) -> h of the last step or of all. Hochreiter, Schmidhuber 1997, with the forget gate of Gers,
 * Schmidhuber, Cummins 2000, as PyTorch's LSTM: gates in the order i, f, g, o,
 *   i = sigmoid(a_i)  f = sigmoid(a_f)  g = tanh(a_g)  o = sigmoid(a_o)   with a = W_ih x + b_ih + W_hh h' + b_hh
 *   c = f c' + i g    h = o tanh(c)                                       h', c' of the step before, 0 at first.
 * In files: weight_ih_lN (4 units, inputs), weight_hh_lN (4 units, units), bias_ih_lN, bias_hh_lN (4 units). */
#include "kernels/layer_recurrent.h"
#include "kernels/layer_types.h"

enum { GATES = 4 };
/* Kept values, each (units). */
enum { KEPT_I, KEPT_F, KEPT_G, KEPT_O, KEPT_C, KEPT_TANH_C, KEPT };

static void cell_forward(const struct recurrent_step *step)
{
    const int64_t units = step->units;
    for (int64_t u = 0; u < units; u++) {
        double a[GATES];
        for (int gate = 0; gate < GATES; gate++) {
            a[gate] = step->x_sums[gate * units + u] + step->h_sums[gate * units + u];
        }
        double i = recurrent_sigmoid(a[0]), f = recurrent_sigmoid(a[1]), g = tanh(a[2]), o = recurrent_sigmoid(a[3]);
        double c = f * (double)step->kept_before[KEPT_C * units + u] + i * g;
        const double kept[KEPT] = {i, f, g, o, c, tanh(c)};
        for (int k = 0; k < KEPT; k++) {
            step->kept[k * units + u] = (float)kept[k];
        }
        step->h[u] = (float)(o * tanh(c));
    }
}

static void cell_backward(const struct recurrent_step *step)
{
    const int64_t units = step->units;
    for (int64_t u = 0; u < units; u++) {
        double kept[KEPT];
        for (int k = 0; k < KEPT; k++) {
            kept[k] = (double)step->kept[k * units + u];
        }
        double i = kept[KEPT_I], f = kept[KEPT_F], g = kept[KEPT_G], o = kept[KEPT_O], tanh_c = kept[KEPT_TANH_C];
        double dh = step->dh[u], dc = step->cell[u] + dh * o * (1.0 - tanh_c * tanh_c);
        const double da[GATES] = {
            dc * g * i * (1.0 - i),
            dc * (double)step->kept_before[KEPT_C * units + u] * f * (1.0 - f),
            dc * i * (1.0 - g * g),
            dh * tanh_c * o * (1.0 - o),
        };
        for (int gate = 0; gate < GATES; gate++) {
            step->x_sums[gate * units + u] = step->h_sums[gate * units + u] = da[gate];
        }
        step->cell[u] = dc * f;
        step->dh[u] = 0.0;
    }
}

const struct recurrent_cell recurrent_lstm = {.gates = GATES, .kept = KEPT, .forward = cell_forward,
                                           .backward = cell_backward};

const struct layer_type layer_lstm = {
    .name = "lstm", .about = "long short-term memory over (time, features)", .attributes = recurrent_attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = recurrent_measure,
    .code = {.build = recurrent_build, .destroy = recurrent_destroy, .forward = recurrent_forward,
             .backward = recurrent_backward},
};
