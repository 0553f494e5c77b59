/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/split_draw.h"

#include "kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAW_STREAM UINT64_C(0x73706c6974) /* of the seed's random numbers: "split" */

const char *const split_names[SPLIT_COUNT] = {"train", "validation", "test"};

/* Runs of whole / part rows, one of each drawn. */
struct runs {
    int64_t row, run; /* the next row; the run it is in, from 1 on */
    int64_t drawn;    /* the row of this run that was drawn */
};

struct stratum {
    struct runs test, validation;
    uint8_t order[SPLIT_FOLDS]; /* of the folds, for this round of them */
};

struct split_draw {
    struct split_draw_options options;
    struct stratum *strata;
    int64_t count;
    int64_t row;
};

struct split_share split_share_of(double share)
{
    const int64_t whole = 1000000, part = llround(share * (double)whole);
    int64_t a = whole, b = part < 0 ? 0 : part;
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return (struct split_share){.part = part < 0 ? 0 : part / a, .whole = whole / a};
}

struct split_draw *split_draw_new(const struct split_draw_options *options)
{
    struct split_draw *draw = calloc(1, sizeof *draw);
    if (draw)
        draw->options = *options;
    return draw;
}

void split_draw_free(struct split_draw *draw)
{
    if (draw)
        free(draw->strata);
    free(draw);
}

void split_draw_reset(struct split_draw *draw)
{
    if (draw->count > 0)
        memset(draw->strata, 0, (size_t)draw->count * sizeof *draw->strata);
    draw->row = 0;
}

/* One random number in [0, n) for an event: n is far below 2^32, so that the bias is, too. */
static int64_t draw_below(const struct split_draw *draw, int64_t stratum, int what, int64_t event, int64_t n)
{
    uint32_t words[4];
    random_block(draw->options.seed, DRAW_STREAM, (uint64_t)what << 62 | (uint64_t)stratum << 44 | (uint64_t)event, words);
    return (int64_t)((((uint64_t)words[0] << 32 | words[1]) >> 1) % (uint64_t)n);
}

static bool take(const struct split_draw *draw, struct runs *runs, int64_t stratum, int what, struct split_share share)
{
    if (share.part < 1)
        return false;
    const int64_t row = runs->row++;
    if (runs->run == 0 || row >= runs->run * share.whole / share.part) {
        const int64_t begin = runs->run * share.whole / share.part, end = (runs->run + 1) * share.whole / share.part;
        runs->drawn = begin + draw_below(draw, stratum, what, runs->run, end - begin);
        runs->run++;
    }
    return row == runs->drawn;
}

/* A round gives each fold one row, in an order of its own. */
static int next_fold(struct split_draw *draw, struct stratum *stratum, int64_t number)
{
    const int64_t folds = draw->options.folds, at = stratum->test.row % folds, round = stratum->test.row / folds;
    if (at == 0) {
        for (int64_t i = 0; i < folds; i++)
            stratum->order[i] = (uint8_t)i;
        for (int64_t i = folds - 1; i > 0; i--) {
            const int64_t j = draw_below(draw, number, 2, round * SPLIT_FOLDS + i, i + 1);
            const uint8_t other = stratum->order[j];
            stratum->order[j] = stratum->order[i];
            stratum->order[i] = other;
        }
    }
    stratum->test.row++;
    return stratum->order[at];
}

static int next_of_series(struct split_draw *draw)
{
    const struct split_draw_options *options = &draw->options;
    const int64_t test = options->series * options->test.part / options->test.whole;
    const int64_t rest = options->series - test;
    const int64_t validation = rest * options->validation.part / options->validation.whole;
    const int64_t row = draw->row++;
    return row < rest - validation ? SPLIT_TRAIN : row < rest ? SPLIT_VALIDATION : SPLIT_TEST;
}

int split_draw_next(struct split_draw *draw, int64_t stratum)
{
    if (draw->options.series)
        return next_of_series(draw);
    if (stratum >= draw->count) {
        const int64_t count = stratum + 1 > 2 * draw->count ? stratum + 1 : 2 * draw->count;
        struct stratum *more = realloc(draw->strata, (size_t)count * sizeof *more);
        if (!more)
            return -1;
        memset(more + draw->count, 0, (size_t)(count - draw->count) * sizeof *more);
        draw->strata = more;
        draw->count = count;
    }
    struct stratum *own = &draw->strata[stratum];
    if (draw->options.folds)
        return next_fold(draw, own, stratum);
    if (take(draw, &own->test, stratum, 0, draw->options.test))
        return SPLIT_TEST;
    return take(draw, &own->validation, stratum, 1, draw->options.validation) ? SPLIT_VALIDATION : SPLIT_TRAIN;
}
