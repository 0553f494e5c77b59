/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LOSS_H
#define TL_KERNELS_LOSS_H

/* Losses, by name. Each is the mean over the rows of a batch, its gradient divided by the rows likewise.
 *
 * cross_entropy  -log softmax(z)[y], z (rows, classes) raw values, y (rows) int32 class numbers. Computed as
 *                log sum exp(z - max z) - (z[y] - max z), so that it is finite for every finite z; the gradient is
 *                (softmax(z) - onehot(y)) / rows. Bishop, Pattern Recognition and Machine Learning, 4.3.4.
 *                Predictions are softmax(z). A row is correct where the largest z is that of y (the first of equals).
 * mse            mean over rows and columns of (z - t)^2, t (rows, columns) float, as PyTorch's MSELoss.
 *                Predictions are z. correct stays 0. */

#include "kernels/error.h"

#include <stdbool.h>

enum loss_kind { LOSS_CROSS_ENTROPY, LOSS_MSE };

/* "cross_entropy" or "mse"; -1 and KERNEL_ERROR_INVALID otherwise. */
int loss_find(const char *name, enum loss_kind *kind, struct kernel_error *error);
const char *loss_name(enum loss_kind kind);
/* Whether targets are class numbers (int32) rather than values (float). */
bool loss_takes_classes(enum loss_kind kind);

#endif
