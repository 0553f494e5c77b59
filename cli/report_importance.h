/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_REPORT_IMPORTANCE_H
#define TL_CLI_REPORT_IMPORTANCE_H

/* How much of an objective's variance each parameter explains by itself: the main effects of a functional analysis of variance
 * (Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014), estimated from
 * the results themselves instead of from a forest:
 *
 *   omega² = (SSB − (k − 1) · MSW) / (SST + MSW)        (W. L. Hays, "Statistics", 1963)
 *
 * with k levels of the parameter, SSB = Σ n_l (mean_l − mean)², SST = Σ (y − mean)², MSW = (SST − SSB) / (n − k). A parameter
 * with more than 8 numbers has 8 levels of about as many results each. The term with MSW takes away what levels explain by
 * chance; below 0 is 0. What is left to 1 is interactions and noise. Where points were not chosen independently (TPE, PBT)
 * parameters that were changed together share what they explain. */

#include <stddef.h>

#define REPORT_IMPORTANCE_LEVELS 8

/* y[n] are the objectives, NAN ones left out. Each row's level is by numbers[n] where text is NULL or has NULL for the row, else
 * by the address of its text (equal texts have equal addresses). NAN where fewer than 3 results or fewer than 2 levels. */
double report_importance(const double *y, const double *numbers, const char *const *texts, size_t n);

#endif
