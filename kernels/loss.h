/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LOSS_H
#define TL_KERNELS_LOSS_H

/* Losses, by name. Each is the mean over the rows of a batch, its gradient divided by the rows likewise. z (rows, columns)
 * are the raw values of an output, y (rows) int32 class numbers, t (rows, columns) float targets.
 *
 * cross_entropy  -log softmax(z)[y]. Computed as log sum exp(z - max z) - (z[y] - max z), so that it is finite for every
 *                finite z; the gradient is (softmax(z) - onehot(y)) / rows. Bishop, Pattern Recognition and Machine
 *                Learning, 4.3.4. Predictions are softmax(z). A row is correct where the largest z is that of y (the first
 *                of equals).
 * binary_cross_entropy
 *                mean over rows and columns of -t log s(z) - (1 - t) log(1 - s(z)), s(z) = 1 / (1 + exp(-z)), t from 0 to 1;
 *                as PyTorch's BCEWithLogitsLoss. Computed as max(z, 0) - z t + log(1 + exp(-|z|)), finite for every finite
 *                z; the gradient is s(z) - t. Bishop, 4.3.2. Predictions are s(z). With one column a row is correct where
 *                z > 0 and t > 1/2, or neither.
 * mse            mean over rows and columns of (z - t)^2, as PyTorch's MSELoss. Predictions are z.
 * mae            mean over rows and columns of |z - t|, as PyTorch's L1Loss; the gradient at 0 is 0.
 * huber          mean over rows and columns, with d = z - t, of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2):
 *                Huber, "Robust estimation of a location parameter", 1964; as PyTorch's HuberLoss.
 * bpr            pairwise ranking. z (2 n, columns): row i is the positive and row n + i the negative of a pair; the mean
 *                over pairs (and columns) of -log s(z[i] - z[n + i]). Rendle et al., "BPR: Bayesian personalized ranking
 *                from implicit feedback", 2009, formula of BPR-Opt. No targets. With one column both rows of a pair are
 *                correct where z[i] > z[n + i].
 * Of a loss that does not say which rows are correct their number stays 0. */

#include "kernels/device.h"

#include <stdbool.h>

enum loss_kind { LOSS_CROSS_ENTROPY, LOSS_MSE, LOSS_BINARY_CROSS_ENTROPY, LOSS_MAE, LOSS_HUBER, LOSS_BPR };
#define LOSS_COUNT 6

/* What a loss is computed from beside the net's output. */
enum loss_target { LOSS_OF_CLASSES, LOSS_OF_VALUES, LOSS_OF_PAIRS };

/* One of the names above; -1 and KERNEL_ERROR_INVALID otherwise. */
int loss_find(const char *name, enum loss_kind *kind, struct kernel_error *error);
const char *loss_name(enum loss_kind kind);
/* "cross_entropy, mse, …", for messages. */
const char *loss_names(void);
enum loss_target loss_target(enum loss_kind kind);
/* Whether targets are class numbers (int32) rather than values (float). */
bool loss_takes_classes(enum loss_kind kind);
/* Whether the loss can be trained on a dataset's labels: class numbers (of so many classes, 0: not known) or values. Of two
 * classes binary_cross_entropy takes the number itself as the one target. */
bool loss_takes_labels(enum loss_kind kind, bool are_classes, int64_t classes);
/* Whether an output of so many columns has rows that are right or wrong, so that there is an accuracy. */
bool loss_has_accuracy(enum loss_kind kind, int64_t columns);

#define LOSS_HUBER_DELTA 1.0 /* the default */
/* Huber's delta is in (0, 1e6]: 0, or -1 with "huber_delta: …"; also -1 for another loss. */
int loss_check_huber_delta(enum loss_kind kind, double delta, struct kernel_error *error);

struct loss_batch {
    const struct tensor *z;
    const int32_t *labels; /* (rows), in range; for classes */
    const float *targets;  /* (rows, columns) without padding; for values */
    struct tensor *dz;     /* the gradient of z, to set; NULL: not wanted */
    double huber_delta;    /* 0: the default */
};

/* *loss_sum is the loss times the rows, so that batches add up; *correct the rows that are right. -1: targets that the loss
 * does not take (KERNEL_ERROR_INVALID). */
int loss_run(enum loss_kind kind, const struct device *device, const struct loss_batch *batch, double *loss_sum,
             int64_t *correct, struct kernel_error *error);
/* Predictions from z into p (which may be z): softmax(z), s(z), or z itself. */
int loss_predict(enum loss_kind kind, const struct device *device, const struct tensor *z, struct tensor *p,
                 struct kernel_error *error);

#endif
