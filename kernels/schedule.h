/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_SCHEDULE_H
#define TL_KERNELS_SCHEDULE_H

/* Learning-rate schedules, by name. The rate is a pure function of the step, so that a run that is taken up again has the
 * same rates. r is the optimiser's learning_rate, e the epoch from 0, s the step from 0, S the steps of the whole training:
 *
 * constant     r
 * step         r gamma^floor(e / step_epochs)                                      (as PyTorch's StepLR, by epochs)
 * exponential  r gamma^e                                                           (as PyTorch's ExponentialLR)
 * cosine       min + (r - min) (1 + cos(pi (s - w) / (S - w))) / 2                 (Loshchilov, Hutter 2017, formula 5)
 *
 * w are the steps of warm-up: in those the rate rises in a line, times (s + 1) / w (Goyal et al. 2017, 2.2). Never below
 * min_learning_rate after the warm-up. */

#include "kernels/error.h"

#include <stdint.h>

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_STEP, SCHEDULE_EXPONENTIAL, SCHEDULE_COSINE };
#define SCHEDULE_COUNT 4

struct schedule {
    enum schedule_kind kind;
    int64_t step_epochs;      /* 1 … 1e6; step needs it */
    double gamma;             /* (0, 1]; 0.1 for step, 0.95 for exponential */
    double min_learning_rate; /* [0, 1000]; 0; at most the learning rate */
    int64_t warmup_epochs;    /* 0 … 1e6; 0 */
    int64_t warmup_steps;     /* 0 … 1e12; 0; one of the two at most */
};

/* A name above with its defaults. -1: KERNEL_ERROR_INVALID naming what is known. */
int schedule_init(struct schedule *schedule, const char *name, struct kernel_error *error);
const char *schedule_name(enum schedule_kind kind);
/* "constant, step, …", for messages. */
const char *schedule_names(void);
/* Sets one of the fields above by its name: 1 set, 0 no field of any schedule, -1 out of range, or not one of this
 * schedule: the message names it. */
int schedule_set(struct schedule *schedule, const char *field, double value, struct kernel_error *error);
/* All of it together: 0 or -1. */
int schedule_check(const struct schedule *schedule, double learning_rate, struct kernel_error *error);

/* Where a training is. */
struct schedule_position {
    int64_t epoch;           /* from 0 */
    int64_t step;            /* from 0, in all */
    int64_t steps_per_epoch;
    int64_t epochs;          /* of the whole training */
};

double schedule_rate(const struct schedule *schedule, double learning_rate, const struct schedule_position *at);
/* Whether the rate is the same at every step. */
int schedule_is_constant(const struct schedule *schedule);

#endif
