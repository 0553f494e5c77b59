/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_TRAIN_IMPL_H
#define TL_RUNNER_TRAIN_IMPL_H

/* Between train.c (epochs, their ends, the result) and train_setup.c (what a run begins with, or goes on with). */

#include "runner/batch.h"
#include "runner/checkpoint.h"
#include "runner/gan.h"
#include "runner/recipe.h"
#include "runner/result.h"
#include "runner/rules.h"
#include "runner/rungs.h"

struct training {
    struct work *work;
    struct recipe recipe;
    struct data data[RESULT_SPLITS];
    bool has[RESULT_SPLITS];
    struct metrics *metrics;           /* of the split that is being measured */
    int64_t *confusion[RESULT_SPLITS]; /* as the last measurement left it; NULL: not measured, or not wanted */
    const struct device *device;
    struct net *net;
    struct optimizer *optimizer;
    struct batch batch;
    struct chosen *chosen[2]; /* where samples are pairs: of the training rows, and of all */
    struct gan *gan;          /* NULL: the net has a loss of its own */
    int64_t *order;
    double started; /* as if all of it had been done here */
    struct checkpoint_position at;
    struct checkpoint checkpoint;
    bool thinned;   /* it has been said that log points are left out */
    float *best;    /* the best epoch's parameters, with keep: best */
    struct rollback rollback; /* the parameters with which the epoch began */
    bool not_finite; /* why it failed: a loss or a parameter */
    bool stopped;
    struct rules *rules;
    struct rungs rungs;
    int64_t resumed_step; /* -1: from the beginning */
    char reason[1100]; /* why a rule stopped it */
};

bool train_has_accuracy(const struct recipe *recipe);
bool train_wants_confusion(const struct training *training);

/* The data of all splits, and the metrics; the task's keys are checked against what there will be. 0, -1. */
int train_load_data(struct training *training, bson_error_t *error);
/* Everything to begin with, or to go on with: from the task's checkpoint where it has one. One of no use fails nothing. 1,
 * 0 with *stop, -1. */
int train_prepare(struct training *training, enum work_stop *stop, bson_error_t *error);
/* Frees what was prepared; the data stay. */
void train_unbuild(struct training *training);

#endif
