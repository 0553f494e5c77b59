/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_GAN_H
#define TL_RUNNER_GAN_H

/* Generative adversarial nets: Goodfellow et al. 2014, with the generator's loss that they give for practice (it does not
 * vanish while the critic is sure). Both nets are one graph, so that its parameters, checkpoints and weights are those of
 * any net (kernels/sampling.h says what it must look like).
 *
 * A step takes a batch of 2 n rows: n are generated, n are real. First the critic's parameters take a step to tell them
 * apart, then the generator's, through the critic as it is then, to be taken for real. */

#include "hub/error.h"
#include "kernels/net.h"

struct gan;

/* For a net made with trains (without a loss) for batches of 2 batch_size rows; net is borrowed. */
struct gan *gan_new(struct net *net, const struct architecture *architecture, int64_t batch_size, uint64_t seed,
                    bson_error_t *error);
void gan_free(struct gan *gan);

/* A step with count real rows (count, row size). Adds to *metrics: 2 count rows, the generator's loss, and the rows that the
 * critic takes for what they are. -1, KERNEL_ERROR_NONFINITE: nothing of this step is kept but what the critic has learned. */
int gan_step(struct gan *gan, struct optimizer *optimizer, const struct device *device, const float *rows, int64_t count,
             struct net_metrics *metrics, struct kernel_error *error);

/* count rows (at most the net's batch_size) made from noise numbers first, first + 1, … of the seed, into out (count, row
 * size). For any net of such a graph. */
int gan_sample(struct net *net, const struct architecture *architecture, uint64_t seed, int64_t first, int64_t count,
               float *out, bson_error_t *error);

#endif
