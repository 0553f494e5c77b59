/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_BATCH_H
#define TL_RUNNER_BATCH_H

/* Batches of a split: rows gathered into buffers that a net reads, and a pass of evaluation over a whole split. */

#include "kernels/metrics.h"
#include "kernels/net.h"
#include "runner/work.h"

struct batch {
    float *x;          /* (size, features) */
    int32_t *labels;   /* (size), or NULL */
    float *targets;    /* (size, outputs), or NULL */
    uint32_t *indices; /* (size) */
    int64_t size;
    int input_count;                            /* of the net, where it has several, else 0 */
    float *inputs[ARCHITECTURE_INPUTS];         /* (size, input size): x divided */
    int64_t input_sizes[ARCHITECTURE_INPUTS];
};

/* Buffers for size rows of data, as the loss takes them: class numbers become targets 0 and 1 for a loss of values. -1
 * without memory. */
int batch_init(struct batch *batch, const struct data *data, enum loss_kind loss, int64_t size, bson_error_t *error);
/* For a net of several inputs of these shapes: they are x's values in their order. -1 without memory. */
int batch_divide(struct batch *batch, const struct data *data, int input_count, const struct shape *shapes,
                 bson_error_t *error);
void batch_destroy(struct batch *batch);
/* Gathers count rows, order[0 … count-1] (NULL: first, first + 1, …), as a batch for a net. */
struct net_batch batch_gather(struct batch *batch, const struct data *data, const int64_t *order, int64_t first,
                              int64_t count);

struct batch_scores {
    bool known;      /* there is such a split */
    bool has_accuracy;
    double loss, accuracy;
    bool critic;     /* the accuracy is that of a gan's critic: critic_accuracy, which does not rank among classifiers' */
    unsigned has;    /* METRIC_BIT of the other metrics that have a value, in: */
    double values[METRIC_COUNT];
    bool not_finite; /* why batch_evaluate failed */
};

/* The mean loss, accuracy and metrics of net over a split, without dropout; metrics is cleared before. 1, 0 when told to stop
 * (*stop), -1; a loss that is not finite is HUB_ERROR_INVALID. A request to stop with results (WORK_STOP in *stop) ends it where
 * measured, which gets the number of rows, is not NULL: behind a batch, with the scores so far. */
int batch_evaluate(struct work *work, struct net *net, const struct data *data, struct batch *batch,
                   struct metrics *metrics, const char *split, struct batch_scores *scores, int64_t *measured,
                   enum work_stop *stop, bson_error_t *error);
/* Means of sums: loss, and accuracy where there is one. */
void batch_score(const struct net_metrics *sums, bool has_accuracy, struct batch_scores *scores);
/* Any metric; false where it has no value. */
bool batch_metric(const struct batch_scores *scores, enum metric metric, double *value);
/* Appends every metric, each name behind the prefix ("validation_" or ""). */
bool batch_append_scores(bson_t *document, const char *prefix, const struct batch_scores *scores);

#endif
