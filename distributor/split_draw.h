/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SPLIT_DRAW_H
#define TL_DISTRIBUTOR_SPLIT_DRAW_H

/* Which split each row goes to, row by row, without knowing how many rows there will be: of each run of 1 / share rows one
 * is drawn, so that the count is the share of the rows to within one, for any number of rows, and everywhere in the file.
 * With strata (classes) that holds for each of them. A pure function of the seed and the rows' strata: drawing again gives
 * the same. */

#include <stdbool.h>
#include <stdint.h>

struct split_share {
    int64_t part, whole; /* 0 <= part < whole <= 2^31 */
};

/* 0.1, 1/3 of a decimal fraction to a millionth. */
struct split_share split_share_of(double share);

struct split_draw_options {
    uint64_t seed;
    struct split_share test;       /* of all rows */
    struct split_share validation; /* of those that are left */
    int64_t folds;                 /* 0, or how many folds of equal size; then the shares do not count */
    int64_t series;                /* not 0: that many rows in order, and no drawing: train, validation, test follow */
};

enum { SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST, SPLIT_COUNT };
extern const char *const split_names[SPLIT_COUNT];

#define SPLIT_FOLDS  100
#define SPLIT_STRATA 65536

struct split_draw;

struct split_draw *split_draw_new(const struct split_draw_options *options);
void split_draw_free(struct split_draw *draw);
void split_draw_reset(struct split_draw *draw);
/* Of the next row: its split, or its fold from 0. stratum is in [0, SPLIT_STRATA). -1 without memory. */
int split_draw_next(struct split_draw *draw, int64_t stratum);

#endif
