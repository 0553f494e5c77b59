/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_STOP_EARLY_H
#define TL_DISTRIBUTOR_STOP_EARLY_H

/* Which runs are not worth going on with, by the curves of those with lower numbers.
 *
 * MEDIAN: at every interval-th epoch a run is stopped whose best value so far is worse than the median, over the others, of
 * their means so far (Golovin et al., "Google Vizier", KDD 2017).
 * HALVING: at the epochs least, least · eta, least · eta², … a run goes on where its value is among the best 1 / eta of those that
 * came so far (the stopping form of ASHA: Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020; what
 * W&B's early_terminate does with its brackets).
 *
 * A run of number n is judged by the runs from n - parallel - 98 to n - parallel, each only as far as it was allowed to go, and not before
 * all of these have come to that epoch, ended or been stopped. So a verdict follows from the numbers and the curves, whatever
 * the order in which they come in, and never changes; only when it takes effect depends on who is faster. */

#include <stdbool.h>
#include <stdint.h>

enum stop_early_type { STOP_EARLY_NONE, STOP_EARLY_MEDIAN, STOP_EARLY_HALVING, STOP_EARLY_ASHA /* not here: see asha.h */ };

struct stop_early_options {
    enum stop_early_type type;
    int64_t parallel; /* at least 1 */
    int64_t least;    /* no verdict before this epoch; at least 1 */
    int64_t interval; /* MEDIAN: at least 1 */
    int64_t eta;      /* HALVING, ASHA: at least 2 */
    int64_t most;     /* ASHA: no rung at this epoch or later */
    int64_t startup;  /* others that a verdict needs at least */
};

struct stop_early_run {
    const float *values; /* (epochs): to be minimised; NaN: none */
    int64_t epochs;
    bool ended;
    /* out: */
    int64_t stop;   /* after this epoch; 0: it is not stopped */
    int64_t judged; /* all verdicts up to this epoch are known: it may be looked at by others so far */
};

/* Judges runs[0 … count - 1], the index being the number, from first on; those before have been judged for good. */
void stop_early_judge(const struct stop_early_options *options, struct stop_early_run *runs, int64_t first, int64_t count);

#endif
