/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_COLUMN_STATS_H
#define TL_DISTRIBUTOR_COLUMN_STATS_H

/* Minimum, maximum, mean and deviation of columns, in one pass and without their values. Sums are taken about the mean of
 * the block before, and blocks are joined (Chan, Golub, LeVeque 1983), so that large values with small differences keep
 * their digits. */

#include <stdbool.h>
#include <stdint.h>

struct column_stats;

/* sampled: (count), columns whose median is wanted, or NULL. NULL without memory. */
struct column_stats *column_stats_new(int64_t count, const bool *sampled, uint64_t seed);
void column_stats_free(struct column_stats *stats);
void column_stats_reset(struct column_stats *stats);

/* One row: values is (count), NAN where there is none. */
void column_stats_add(struct column_stats *stats, const double *values);
/* What the other has seen is added. */
void column_stats_join(struct column_stats *stats, struct column_stats *other);

struct column_summary {
    int64_t count;
    double min, max, mean, deviation; /* of all values, not of a sample of them; NAN without values */
    double median; /* exact up to 65,536 values (fewer where more than 128 columns want one), then of a sample of as many;
                    * NAN where it is not wanted */
};

struct column_summary column_stats_summary(struct column_stats *stats, int64_t column);

#endif
