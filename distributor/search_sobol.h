/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_SOBOL_H
#define TL_DISTRIBUTOR_SEARCH_SOBOL_H

/* Sobol's sequence: points that fill the unit cube more evenly than random ones. In Gray code's order (Antonov and Saleev
 * 1979) with the direction numbers of Joe and Kuo, "Constructing Sobol sequences with better two-dimensional projections",
 * SIAM J. Sci. Comput. 30, 2008. The seed shifts it digitally: another seed is another set of points, as even. */

#include "distributor/search_space.h"

#define SOBOL_DIMENSIONS 160 /* those beyond are random */
#define SOBOL_STREAM     (UINT64_C(3) << 60)

/* The index-th value of a dimension in units of 2^-32, not shifted. dimension < SOBOL_DIMENSIONS. */
uint32_t sobol_bits(size_t dimension, uint32_t index);
/* units is (count): the place of the point of this number, from 0. */
void sobol_place(uint64_t seed, int64_t number, size_t count, double *units);

#endif
