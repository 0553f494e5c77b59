/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_OPTIMIZER_H
#define TL_KERNELS_OPTIMIZER_H

/* Optimisers, by name, with PyTorch's formulas and defaults (g the gradient, p the parameter, t the step from 1):
 *
 * sgd   d = g + weight_decay p;  b = momentum b + d (b = d at the first step);
 *       p -= learning_rate (nesterov ? d + momentum b : momentum > 0 ? b : d)      (Sutskever et al. 2013, as PyTorch)
 * adam  g += weight_decay p;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 *       p -= learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)   (Kingma, Ba 2015, algorithm 1)
 */

#include "kernels/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM };

struct optimizer_options {
    enum optimizer_kind kind;
    double learning_rate; /* (0, 1000]; default 0.001 for adam, 0.01 for sgd */
    double momentum;      /* [0, 1); 0; sgd */
    bool nesterov;        /* sgd; needs momentum */
    double beta1, beta2;  /* [0, 1); 0.9, 0.999; adam */
    double epsilon;       /* (0, 1]; 1e-8; adam */
    double weight_decay;  /* [0, 1]; 0 */
};

struct optimizer;
struct device;

/* "sgd" or "adam" with its defaults. -1: KERNEL_ERROR_INVALID naming what is known. */
int optimizer_options_init(struct optimizer_options *options, const char *name, struct kernel_error *error);
/* Sets a hyper-parameter by its name (learning_rate, momentum, nesterov, beta1, beta2, epsilon, weight_decay): 1 set,
 * 0 no hyper-parameter of any optimiser, -1 out of range, NaN, or not one of this optimiser: the message names it. */
int optimizer_options_set(struct optimizer_options *options, const char *field, double value,
                          struct kernel_error *error);
/* Everything in range, and together: 0 or -1. optimizer_new does it too. */
int optimizer_options_check(const struct optimizer_options *options, struct kernel_error *error);
const char *optimizer_name(enum optimizer_kind kind);

/* For a block of count floats (net_trained_floats). NULL on error. */
struct optimizer *optimizer_new(const struct optimizer_options *options, size_t count, struct kernel_error *error);
void optimizer_free(struct optimizer *optimizer);
const struct optimizer_options *optimizer_options(const struct optimizer *optimizer);
/* For schedules, between steps. -1 out of range. */
int optimizer_set_learning_rate(struct optimizer *optimizer, double learning_rate, struct kernel_error *error);

/* One step over a whole block: parameters and gradients are (count). */
int optimizer_step(struct optimizer *optimizer, const struct device *device, float *parameters, const float *gradients,
                   struct kernel_error *error);

/* The state, for checkpoints: the steps taken and 0 to 2 blocks of count floats (names "momentum"; "m", "v"). */
int64_t optimizer_steps(const struct optimizer *optimizer);
void optimizer_set_steps(struct optimizer *optimizer, int64_t steps);
size_t optimizer_state_count(const struct optimizer *optimizer);
float *optimizer_state(struct optimizer *optimizer, size_t index, const char **name);

#endif
