/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_ORDER_H
#define TL_RUNNER_ORDER_H

/* The order of rows in an epoch. */

#include "kernels/random.h"

/* order (rows) becomes a permutation of 0 … rows - 1, a function of the random state and window alone. window 0, or of all rows and
 * more: any permutation is as likely. Else blocks of a sixteenth of a window of neighbours come in random order, and every
 * window of them is shuffled: what is read together lies in a few pieces of the file. 0, -1 without memory. */
int order_rows(struct random_state *random, int64_t window, int64_t *order, int64_t rows);

#endif
