/* SPDX-License-Identifier: Apache-2.0 */
/* gru: x (time, features) -> h of the last step or of all. Cho et al. 2014, in the variant of PyTorch's GRU, where the
 * reset gate multiplies the recurrent sum with its bias: gates in the order r, z, n, x_. = W_ih x + b_ih and
 * h_. = W_hh h' + b_hh, h' of the step before, 0 at first:
 *   r = recurrent_sigmoid(x_r + h_r)  z = recurrent_sigmoid(x_z + h_z)  n = tanh(x_n + r h_n)  h = (1 - z) n + z h'
 * In files: weight_ih_lN (3 units, inputs), weight_hh_lN (3 units, units), bias_ih_lN, bias_hh_lN (3 units). */
#include "kernels/layer_recurrent.h"
#include "kernels/layer_types.h"

enum { GATES = 3 };
/* Kept values, each (units); the last is h_n. */
enum { KEPT_R, KEPT_Z, KEPT_N, KEPT_SUM, KEPT };

static void cell_forward(const struct recurrent_step *step)
{
    const int64_t units = step->units;
    const double *x_r = step->x_sums, *x_z = x_r + units, *x_n = x_z + units;
    const double *h_r = step->h_sums, *h_z = h_r + units, *h_n = h_z + units;
    for (int64_t u = 0; u < units; u++) {
        double r = recurrent_sigmoid(x_r[u] + h_r[u]), z = recurrent_sigmoid(x_z[u] + h_z[u]);
        double n = tanh(x_n[u] + r * h_n[u]);
        const double kept[KEPT] = {r, z, n, h_n[u]};
        for (int k = 0; k < KEPT; k++) {
            step->kept[k * units + u] = (float)kept[k];
        }
        step->h[u] = (float)((1.0 - z) * n + z * (double)step->h_before[u]);
    }
}

static void cell_backward(const struct recurrent_step *step)
{
    const int64_t units = step->units;
    for (int64_t u = 0; u < units; u++) {
        double r = (double)step->kept[KEPT_R * units + u], z = (double)step->kept[KEPT_Z * units + u];
        double n = (double)step->kept[KEPT_N * units + u], h_n = (double)step->kept[KEPT_SUM * units + u];
        double dh = step->dh[u], dn = dh * (1.0 - z) * (1.0 - n * n);
        step->x_sums[u] = step->h_sums[u] = dn * h_n * r * (1.0 - r);
        step->x_sums[units + u] = step->h_sums[units + u] = dh * ((double)step->h_before[u] - n) * z * (1.0 - z);
        step->x_sums[2 * units + u] = dn;
        step->h_sums[2 * units + u] = dn * r;
        step->dh[u] = dh * z;
    }
}

const struct recurrent_cell recurrent_gru = {.gates = GATES, .kept = KEPT, .forward = cell_forward,
                                           .backward = cell_backward};

const struct layer_type layer_gru = {
    .name = "gru", .about = "gated recurrent units over (time, features)", .attributes = recurrent_attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = recurrent_measure,
    .code = {.build = recurrent_build, .destroy = recurrent_destroy, .forward = recurrent_forward,
             .backward = recurrent_backward},
};
