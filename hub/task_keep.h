/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_KEEP_H
#define TL_HUB_TASK_KEEP_H

/* A task's `keep`: whose weights its model gets, and whether those of epochs on the way are kept, too. */

#include <stdbool.h>
#include <stdint.h>

#define TASK_KEEP_HELP "\"last\", \"best\" or \"every N epochs\""

struct task_keep {
    bool best;     /* the best epoch's, by the validation rows; else the last's */
    int64_t every; /* a model of every so many epochs beside it; 0: none */
};

/* "last" (as is NULL), "best", "every epoch", "every 5 epochs". false: it is none of these. */
bool task_keep_read(const char *text, struct task_keep *keep);

#endif
