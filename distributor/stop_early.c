/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/stop_early.h"

#include <math.h>
#include <stdlib.h>

enum { OTHERS = 99 };

enum seen { SEEN, GONE, UNKNOWN };

/* Whether the run came to this epoch, as far as it was allowed to go. */
static enum seen look(const struct stop_early_run *run, int64_t epoch)
{
    if (run->stop && epoch > run->stop)
        return GONE;
    if (epoch <= run->judged)
        return SEEN;
    return run->ended && run->judged == run->epochs ? GONE : UNKNOWN;
}

static double value_at(const struct stop_early_run *run, int64_t epoch)
{
    double value = run->values[epoch - 1];
    return isnan(value) ? INFINITY : value;
}

static double best_of(const struct stop_early_run *run, int64_t epoch)
{
    double best = INFINITY;
    for (int64_t i = 1; i <= epoch; i++)
        best = value_at(run, i) < best ? value_at(run, i) : best;
    return best;
}

static double mean_of(const struct stop_early_run *run, int64_t epoch)
{
    double sum = 0;
    for (int64_t i = 1; i <= epoch; i++)
        sum += value_at(run, i);
    return sum / (double)epoch;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool is_rung(const struct stop_early_options *options, int64_t epoch)
{
    if (epoch < options->least)
        return false;
    if (options->type == STOP_EARLY_MEDIAN)
        return (epoch - options->least) % options->interval == 0;
    int64_t rung = options->least;
    while (rung < epoch && rung <= INT64_MAX / options->eta)
        rung *= options->eta;
    return rung == epoch;
}

static bool is_worse(const struct stop_early_options *options, const struct stop_early_run *run, int64_t epoch,
                     double *others, int64_t count)
{
    if (options->type == STOP_EARLY_MEDIAN) {
        qsort(others, (size_t)count, sizeof *others, compare);
        double median = count % 2 ? others[count / 2] : (others[count / 2 - 1] + others[count / 2]) / 2;
        return best_of(run, epoch) > median;
    }
    int64_t better = 0, kept = (count + 1) / options->eta;
    for (int64_t i = 0; i < count; i++)
        better += others[i] < value_at(run, epoch);
    return better >= (kept > 0 ? kept : 1);
}

/* 1 it is stopped after this epoch, 0 it goes on, -1 that is not known yet. */
static int judge(const struct stop_early_options *options, const struct stop_early_run *runs, int64_t number, int64_t epoch)
{
    double others[OTHERS];
    int64_t count = 0, end = number - options->parallel + 1, first = end > OTHERS ? end - OTHERS : 0;
    for (int64_t i = first; i < end; i++) {
        enum seen seen = look(&runs[i], epoch);
        if (seen == UNKNOWN)
            return -1;
        if (seen == SEEN)
            others[count++] = options->type == STOP_EARLY_MEDIAN ? mean_of(&runs[i], epoch) : value_at(&runs[i], epoch);
    }
    if (count == 0 || count < options->startup)
        return 0;
    return is_worse(options, &runs[number], epoch, others, count);
}

void stop_early_judge(const struct stop_early_options *options, struct stop_early_run *runs, int64_t first, int64_t count)
{
    for (int64_t i = first; i < count; i++) {
        struct stop_early_run *run = &runs[i];
        while (!run->stop && run->judged < run->epochs) {
            int64_t epoch = run->judged + 1;
            int verdict = is_rung(options, epoch) ? judge(options, runs, i, epoch) : 0;
            if (verdict < 0)
                break;
            run->judged = epoch;
            run->stop = verdict ? epoch : 0;
        }
    }
}
