/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_CHECKPOINT_H
#define TL_RUNNER_CHECKPOINT_H

/* A training run's checkpoints: when one is due, writing it, and going on from one so that the bits are those of a run
 * that was never stopped. The blob is a safetensors file with weights, optimiser state, with keep: best the best
 * parameters ("best.NAME"), and with on_nonfinite: rollback, within an epoch, those with which it began ("good.NAME"); the task's `checkpoint` document has where the run was, the digest of what it computes, and
 * which points of the logs lead up to it. */

#include "runner/batch.h"
#include "runner/recipe.h"
#include "runner/result.h"
#include "runner/rollback.h"

/* Where a run is: between two batches. */
struct checkpoint_position {
    int64_t epoch;  /* from 1: the one that goes on; epochs + 1 when all are trained */
    int64_t row;    /* rows of it that were trained */
    int64_t step;   /* batches in all */
    bool logged;    /* its point of the training data has been logged, its validation has not been done */
    double seconds; /* of training so far */
    struct net_metrics sums;  /* of the epoch */
    struct net_metrics point; /* since the last log point */
    struct result_scores scores;
    double best_value; /* with keep: best, as are scores.best_epoch and: */
    struct batch_scores best_train;
    int64_t rollbacks; /* so far, and: */
    struct rollback_record rollback_records[ROLLBACKS_MOST];
};

struct checkpoint {
    struct work *work;
    const struct recipe *recipe;
    struct net *net;             /* borrowed, as is: */
    struct optimizer *optimizer;
    float *best;                 /* the best parameters, net_parameter_floats; NULL without keep: best */
    const struct rollback *rollback; /* what to go back to; within an epoch it is part of the file */
    bool within;                 /* the position is within an epoch */
    char identity[RECIPE_DIGEST_SIZE];
    bson_t before;      /* {log_claims, log_points}: of the claims that this run went on from */
    double last_time;   /* clock_seconds when what was trained was last safe, or the training began */
    double next_time;   /* no sooner than this */
    bool owed;          /* one was due, and could not be written */
    bool off;           /* writing fails in a way that trying again does not mend */
};

/* All but before are borrowed. */
void checkpoint_init(struct checkpoint *checkpoint, struct work *work, const struct recipe *recipe, struct net *net,
                     struct optimizer *optimizer, float *best, const struct rollback *rollback);
void checkpoint_destroy(struct checkpoint *checkpoint);

/* Goes on from the task's checkpoint: 1 with *position, net, optimiser and best as they were, 0 it has none, -1 error: a
 * one that says why it is of no use (checkpoint_is_bad), or one that says nothing of it; net, optimiser and best may then be
 * half filled. */
int checkpoint_read(struct checkpoint *checkpoint, struct checkpoint_position *position, bson_error_t *error);
/* The same from the checkpoint of another task, whose network and optimiser are alike, whatever its hyper-parameters: net and
 * optimiser go on where that was. The logs that led up to it are that task's, and its time. */
int checkpoint_inherit(struct checkpoint *checkpoint, const bson_t *parent, struct checkpoint_position *position,
                       bson_error_t *error);
/* Whether what an error of checkpoint_read says is wrong with the checkpoint itself: gone, damaged, of something else.
 * Memory, the disk or the hub may be better the next time. */
bool checkpoint_is_bad(const bson_error_t *error);
/* Whether after an error of checkpoint_write another one may be written: of memory, a disk or the hub, as above. */
bool checkpoint_may_succeed(const bson_error_t *error);
/* Takes a checkpoint of no use off the task. */
void checkpoint_drop(struct checkpoint *checkpoint);

/* To be asked between batches; epochs: how many were just completed at an epoch's end, else 0. Cheap. */
bool checkpoint_is_due(struct checkpoint *checkpoint, int64_t epochs);
/* 1 written, 0 the lease is lost, -1. */
int checkpoint_write(struct checkpoint *checkpoint, const struct checkpoint_position *position, bson_error_t *error);
/* The same while training goes on: an error is said, and it is tried again later. */
void checkpoint_write_and_go_on(struct checkpoint *checkpoint, const struct checkpoint_position *position);
/* Before the run is given back: if more than about a second of work would be lost, and through an outage. */
void checkpoint_write_and_leave(struct checkpoint *checkpoint, const struct checkpoint_position *position);
/* The same where the task is to wait at a rung: whatever it costs. Without one it would begin anew when it is promoted. */
void checkpoint_write_to_park(struct checkpoint *checkpoint, const struct checkpoint_position *position);

#endif
