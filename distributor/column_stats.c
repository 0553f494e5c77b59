/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/column_stats.h"

#include "kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS     1024
#define SAMPLE_VALUES  65536
#define ALL_SAMPLES    (128 * SAMPLE_VALUES) /* 64 MB */
#define SAMPLE_STREAM  UINT64_C(0x6d656469616e) /* of the seed's random numbers: "median" */

/* One column within a block: about `about`. */
struct block {
    double about, sum, squares;
    int64_t count;
};

struct total {
    double min, max, mean, squares; /* squares: the sum of (value - mean)^2 */
    int64_t count;
};

struct sample {
    double *values; /* (room); NULL: none is wanted */
    int64_t count, seen;
};

struct column_stats {
    int64_t count, rows; /* columns; rows of this block */
    struct block *blocks;
    struct total *totals;
    struct sample *samples;
    int64_t room;
    uint64_t seed;
    struct random_state random;
};

struct column_stats *column_stats_new(int64_t count, const bool *sampled, uint64_t seed)
{
    int64_t wanted = 0;
    struct column_stats *stats = calloc(1, sizeof *stats);
    if (!stats)
        return NULL;
    stats->count = count;
    stats->seed = seed;
    stats->blocks = calloc((size_t)count, sizeof *stats->blocks);
    stats->totals = calloc((size_t)count, sizeof *stats->totals);
    stats->samples = calloc((size_t)count, sizeof *stats->samples);
    bool done = stats->blocks && stats->totals && stats->samples;
    for (int64_t i = 0; sampled && i < count; i++)
        wanted += sampled[i];
    stats->room = wanted > ALL_SAMPLES / SAMPLE_VALUES ? ALL_SAMPLES / wanted : SAMPLE_VALUES;
    for (int64_t i = 0; done && sampled && i < count; i++)
        if (sampled[i]) {
            stats->samples[i].values = malloc((size_t)stats->room * sizeof(double));
            done = stats->samples[i].values != NULL;
        }
    if (done) {
        column_stats_reset(stats);
        return stats;
    }
    column_stats_free(stats);
    return NULL;
}

void column_stats_free(struct column_stats *stats)
{
    if (!stats)
        return;
    for (int64_t i = 0; stats->samples && i < stats->count; i++)
        free(stats->samples[i].values);
    free(stats->blocks);
    free(stats->totals);
    free(stats->samples);
    free(stats);
}

void column_stats_reset(struct column_stats *stats)
{
    stats->rows = 0;
    random_init(&stats->random, stats->seed, SAMPLE_STREAM);
    memset(stats->blocks, 0, (size_t)stats->count * sizeof *stats->blocks);
    for (int64_t i = 0; i < stats->count; i++) {
        stats->totals[i] = (struct total){.min = INFINITY, .max = -INFINITY};
        stats->samples[i].count = stats->samples[i].seen = 0;
    }
}

static void merge(struct total *into, const struct total *from)
{
    if (from->count == 0)
        return;
    const double count = (double)(into->count + from->count), difference = from->mean - into->mean;
    into->squares += from->squares + difference * difference * ((double)into->count * (double)from->count / count);
    into->mean += difference * ((double)from->count / count);
    into->min = from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
    into->count += from->count;
}

static void end_block(struct column_stats *stats)
{
    for (int64_t i = 0; i < stats->count; i++) {
        struct block *block = &stats->blocks[i];
        if (block->count > 0) {
            const double count = (double)block->count, squares = block->squares - block->sum * (block->sum / count);
            const struct total one = {.min = INFINITY, .max = -INFINITY, .mean = block->about + block->sum / count,
                                      .squares = squares > 0 ? squares : 0, .count = block->count};
            merge(&stats->totals[i], &one);
        }
        *block = (struct block){.about = stats->totals[i].mean};
    }
    stats->rows = 0;
}

/* Algorithm R (Vitter 1985, "Random sampling with a reservoir"). */
static void sample(struct column_stats *stats, struct sample *sample, double value)
{
    const int64_t number = sample->seen++;
    if (sample->count < stats->room) {
        sample->values[sample->count++] = value;
        return;
    }
    const uint64_t place = random_below(&stats->random, (uint64_t)number + 1);
    if (place < (uint64_t)stats->room)
        sample->values[place] = value;
}

void column_stats_add(struct column_stats *stats, const double *values)
{
    if (stats->rows == 0) /* the first rows are the best guess at a mean there is */
        for (int64_t i = 0; i < stats->count; i++)
            if (stats->totals[i].count == 0 && !isnan(values[i]))
                stats->blocks[i].about = values[i];
    for (int64_t i = 0; i < stats->count; i++) {
        const double value = values[i];
        if (isnan(value))
            continue;
        struct block *block = &stats->blocks[i];
        struct total *total = &stats->totals[i];
        const double about = value - block->about;
        block->sum += about;
        block->squares += about * about;
        block->count++;
        total->min = value < total->min ? value : total->min;
        total->max = value > total->max ? value : total->max;
        if (stats->samples[i].values)
            sample(stats, &stats->samples[i], value);
    }
    if (++stats->rows == BLOCK_ROWS)
        end_block(stats);
}

void column_stats_join(struct column_stats *stats, struct column_stats *other)
{
    end_block(stats);
    end_block(other);
    for (int64_t i = 0; i < stats->count; i++) {
        merge(&stats->totals[i], &other->totals[i]);
        for (int64_t j = 0; stats->samples[i].values && j < other->samples[i].count; j++)
            sample(stats, &stats->samples[i], other->samples[i].values[j]);
    }
}

static int compare(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

struct column_summary column_stats_summary(struct column_stats *stats, int64_t column)
{
    end_block(stats);
    const struct total *total = &stats->totals[column];
    struct sample *sampled = &stats->samples[column];
    struct column_summary summary = {.count = total->count, .min = NAN, .max = NAN, .mean = NAN, .deviation = NAN,
                                     .median = NAN};
    if (total->count == 0)
        return summary;
    summary.min = total->min;
    summary.max = total->max;
    summary.mean = total->mean;
    summary.deviation = sqrt(total->squares / (double)total->count);
    if (sampled->values && sampled->count > 0) {
        const int64_t half = sampled->count / 2;
        qsort(sampled->values, (size_t)sampled->count, sizeof *sampled->values, compare);
        summary.median = sampled->count % 2 ? sampled->values[half] : (sampled->values[half - 1] + sampled->values[half]) / 2;
    }
    return summary;
}
