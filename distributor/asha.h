/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_ASHA_H
#define TL_DISTRIBUTOR_ASHA_H

/* Asynchronous successive halving (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020, algorithm 2):
 * whoever comes to a rung waits there, and goes on to the next one when it is among the best 1 / eta of all that have come to
 * it so far. Which ones these are is a function of the results at the rung alone; of equal values the lower number is the
 * better one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASHA_RUNGS 20 /* twofold steps from 1 to 1,000,000 epochs */

/* The epochs least, least · eta, least · eta², … below `end` into epochs; how many. */
size_t asha_rungs(int64_t least, int64_t eta, int64_t end, int64_t epochs[ASHA_RUNGS]);

struct asha_run {
    const double *values; /* (count): at each rung that it came to, to be minimised; NaN: the worst */
    size_t count;
    bool waits;           /* at the last of these */
    bool promoted;        /* out: it may go on */
};

/* Sets `promoted` of runs[0 … count - 1], the index being the number; how many are. rest: nobody else is going to come to any
 * rung, so that the best of each goes on even where 1 / eta of them is less than one. -1 without memory. */
int64_t asha_judge(struct asha_run *runs, int64_t count, int64_t eta, bool rest);
/* How many have come to the rung. */
int64_t asha_came(const struct asha_run *runs, int64_t count, size_t rung);

#endif
