/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_TPE_H
#define TL_DISTRIBUTOR_SEARCH_TPE_H

/* The tree-structured Parzen estimator: Bergstra, Bardenet, Bengio, Kégl, "Algorithms for hyper-parameter optimization",
 * NIPS 2011; with kernels over all dimensions together (Falkner, Klein, Hutter, "BOHB", ICML 2018); what its parts do:
 * Watanabe, "Tree-structured Parzen estimator: understanding its algorithm components", 2023. The results are divided
 * into the best tenth (at most 25) and the rest, l and g are mixtures of kernels at their places and a uniform one, and of some
 * candidates drawn from l the one with the greatest l / g is proposed: of those not tried yet, where all dimensions have steps. */

#include "distributor/search_space.h"

#define TPE_STREAM (UINT64_C(4) << 60)

/* units is (space->count). results[0 … known - 1] are to be used with their values, those from known to number - 1 are under
 * way: their places count among the rest, so that no two are proposed close together. Of more than 1,000 of the rest 1,000 are
 * taken, evenly by rank, and of those under way the last 1,000. 0, -1 without memory. */
int tpe_propose(const struct search_space *space, uint64_t seed, const struct search_result *results, int64_t known,
                int64_t number, double *units);

#endif
