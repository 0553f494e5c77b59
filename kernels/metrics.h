/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_METRICS_H
#define TL_KERNELS_METRICS_H

/* What a net's predictions on a split are worth, by name. z (rows, columns) are raw values of an output; a class is
 * predicted where its z is the largest (the first of equals), with one column and binary_cross_entropy where z > 0.
 *
 * loss, accuracy       the loss's own (loss.h)
 * top_k_accuracy       rows whose class is among the k largest z, of classes
 * precision, recall, f1
 *                      TP / (TP + FP), TP / (TP + FN), 2 TP / (2 TP + FP + FN), 0 where nothing is divided by nothing. Of two
 *                      classes those of class 1; of more their mean over the classes that occur, in labels or predictions
 *                      (macro); with several columns and binary_cross_entropy their mean over the columns.
 *                      (van Rijsbergen 1979, chapter 7; as scikit-learn's)
 * auc                  area under the ROC curve, of two classes: the share of pairs of a positive and a negative row that z
 *                      orders rightly, ties half: Hanley, McNeil 1982, by ranks (Mann, Whitney 1947). Exact.
 * mae, rmse            of predictions (loss_predict), mean over rows and columns; rmse is the root of the mean
 * r2                   1 - sum (t - p)^2 / sum (t - mean t)^2, the mean over columns; a column whose targets are all the same
 *                      counts 1 where it is met exactly, else 0 (as scikit-learn's)
 * confusion_matrix     (classes, classes): how many rows of class r were predicted to be c
 *
 * Rows are added batch by batch; only auc keeps something of each (8 bytes). */

#include "kernels/loss.h"

enum metric {
    METRIC_LOSS, METRIC_ACCURACY, METRIC_TOP_K_ACCURACY, METRIC_PRECISION, METRIC_RECALL, METRIC_F1, METRIC_AUC, METRIC_MAE,
    METRIC_RMSE, METRIC_R2, METRIC_CONFUSION_MATRIX
};
#define METRIC_COUNT 11
#define METRIC_BIT(metric) (1u << (metric)) /* sets of metrics are these, added up */
#define METRICS_CONFUSION_CLASSES 100       /* of more classes no matrix is kept */

/* Whether there is a metric of this name. */
bool metric_find(const char *name, enum metric *metric);
const char *metric_name(enum metric metric);
/* The same for the metric of a split, "validation_f1": *split are the letters of the split's name, 0 without one. */
bool metric_find_of_split(const char *name, enum metric *metric, size_t *split);
/* Whether less is better. */
bool metric_is_minimised(enum metric metric);

/* Of a loss on an output of so many columns (classes, targets; 0: not known, and then whatever might be): the metrics that
 * can be had, and those that are where nothing is said. loss, and accuracy where there is one, are always among them. */
unsigned metrics_possible(enum loss_kind loss, int64_t columns);
unsigned metrics_standard(enum loss_kind loss, int64_t columns);

struct metrics_options {
    enum loss_kind loss;
    int64_t columns;
    unsigned wanted; /* of metrics_possible */
    int64_t top_k;   /* for top_k_accuracy: 1 … columns - 1 */
};

struct metrics;
/* NULL on error: KERNEL_ERROR_INVALID naming the metric or top_k, KERNEL_ERROR_MEMORY. */
struct metrics *metrics_new(const struct metrics_options *options, struct kernel_error *error);
void metrics_free(struct metrics *metrics);
const struct metrics_options *metrics_options(const struct metrics *metrics);
/* Begins a new split. */
void metrics_clear(struct metrics *metrics);
/* Of a batch: labels (rows) or targets (rows, columns) without padding, as the loss takes them. 0, or -1 without memory. */
int metrics_add(struct metrics *metrics, const struct tensor *z, const int32_t *labels, const float *targets,
                struct kernel_error *error);
/* The value over what was added; false where it has none (not wanted, no rows, auc of one class; loss and accuracy, which are
 * the net's, and the matrix). */
bool metrics_value(struct metrics *metrics, enum metric metric, double *value);
/* (classes, classes), or NULL where it is not wanted. */
const int64_t *metrics_confusion(const struct metrics *metrics, int64_t *classes);

#endif
