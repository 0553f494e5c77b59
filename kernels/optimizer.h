/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_OPTIMIZER_H
#define TL_KERNELS_OPTIMIZER_H

/* Optimisers, by name, with PyTorch's formulas and defaults (g the gradient, p the parameter, t the step from 1):
 *
 * sgd      d = g + weight_decay p;  b = momentum b + d (b = d at the first step);
 *          p -= learning_rate (nesterov ? d + momentum b : momentum > 0 ? b : d)     (Sutskever et al. 2013, as PyTorch)
 * adam     g += weight_decay p;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 *          p -= learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)  (Kingma, Ba 2015, algorithm 1)
 * adamw    p -= learning_rate weight_decay p, and then adam without weight_decay     (Loshchilov, Hutter 2019, algorithm 2)
 * rmsprop  g += weight_decay p;  s = alpha s + (1 - alpha) g^2;  d = g / (sqrt(s) + epsilon);
 *          momentum > 0: b = momentum b + d, p -= learning_rate b; else p -= learning_rate d   (Hinton 2012, lecture 6e; not
 *          centered)
 *
 * Before any of them the gradient may be clipped: clip_value: every element to [-clip_value, clip_value]; clip_norm: with n the
 * norm of the whole gradient, g *= min(1, clip_norm / (n + 1e-6)) (Pascanu et al. 2013, as PyTorch's clip_grad_norm_). */

#include "kernels/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW, OPTIMIZER_RMSPROP };
#define OPTIMIZER_COUNT 4

struct optimizer_options {
    enum optimizer_kind kind;
    double learning_rate; /* (0, 1000]; default 0.001 for adam and adamw, 0.01 for sgd and rmsprop */
    double momentum;      /* [0, 1); 0; sgd, rmsprop */
    bool nesterov;        /* sgd; needs momentum */
    double beta1, beta2;  /* [0, 1); 0.9, 0.999; adam, adamw */
    double alpha;         /* [0, 1); 0.99; rmsprop */
    double epsilon;       /* (0, 1]; 1e-8; adam, adamw, rmsprop */
    double weight_decay;  /* [0, 1]; 0; 0.01 for adamw */
    double clip_norm;     /* (0, 1e9]; 0: not clipped */
    double clip_value;    /* (0, 1e9]; 0: not clipped; one of the two at most */
};

struct optimizer;
struct device;

/* One of the names above with its defaults. -1: KERNEL_ERROR_INVALID naming what is known. */
int optimizer_options_init(struct optimizer_options *options, const char *name, struct kernel_error *error);
/* Sets a hyper-parameter by its name (learning_rate, momentum, nesterov, beta1, beta2, alpha, epsilon, weight_decay,
 * clip_norm, clip_value): 1 set, 0 no hyper-parameter of any optimiser, -1 out of range, NaN, or not one of this optimiser: the
 * message names it. */
int optimizer_options_set(struct optimizer_options *options, const char *field, double value,
                          struct kernel_error *error);
/* Everything in range, and together: 0 or -1. optimizer_new does it too. */
int optimizer_options_check(const struct optimizer_options *options, struct kernel_error *error);
const char *optimizer_name(enum optimizer_kind kind);
/* How many blocks of the parameters' size it is going to keep. */
size_t optimizer_options_states(const struct optimizer_options *options);
/* "sgd, adam, …", for messages. */
const char *optimizer_names(void);

/* For a block of count floats (net_trained_floats). NULL on error. */
struct optimizer *optimizer_new(const struct optimizer_options *options, size_t count, struct kernel_error *error);
void optimizer_free(struct optimizer *optimizer);
const struct optimizer_options *optimizer_options(const struct optimizer *optimizer);
/* For schedules, between steps: [0, 1000]. -1 out of range. */
int optimizer_set_learning_rate(struct optimizer *optimizer, double learning_rate, struct kernel_error *error);

/* One step over a whole block: parameters and gradients are (count); gradients are clipped in place. -1 and
 * KERNEL_ERROR_NONFINITE where they are to be clipped and are not finite: nothing is changed then. */
int optimizer_step(struct optimizer *optimizer, const struct device *device, float *parameters, float *gradients,
                   struct kernel_error *error);

/* The same over floats first … first + count - 1 of the block alone (first a multiple of TENSOR_ALIGN), for nets whose parts
 * are trained in turn; does not count as a step: optimizer_set_steps says when all parts have had theirs. */
int optimizer_step_part(struct optimizer *optimizer, const struct device *device, size_t first, size_t count,
                        float *parameters, float *gradients, struct kernel_error *error);

/* The state, for checkpoints: the steps taken and 0 to 2 blocks of count floats (names "momentum"; "m", "v";
 * "square", "momentum"). */
int64_t optimizer_steps(const struct optimizer *optimizer);
void optimizer_set_steps(struct optimizer *optimizer, int64_t steps);
size_t optimizer_state_count(const struct optimizer *optimizer);
float *optimizer_state(struct optimizer *optimizer, size_t index, const char **name);

#endif
