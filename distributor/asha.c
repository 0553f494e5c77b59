/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/asha.h"

#include <math.h>
#include <stdlib.h>

struct place {
    double value;
    int64_t number;
};

static int compare(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

size_t asha_rungs(int64_t least, int64_t eta, int64_t end, int64_t epochs[ASHA_RUNGS])
{
    size_t count = 0;
    for (int64_t epoch = least; epoch < end && count < ASHA_RUNGS; epoch *= eta) {
        epochs[count++] = epoch;
        if (epoch > INT64_MAX / eta)
            break;
    }
    return count;
}

int64_t asha_came(const struct asha_run *runs, int64_t count, size_t rung)
{
    int64_t came = 0;
    for (int64_t i = 0; i < count; i++)
        came += runs[i].count > rung;
    return came;
}

/* places: room for all. */
static int64_t judge_rung(struct asha_run *runs, int64_t count, size_t rung, int64_t eta, bool rest, struct place *places)
{
    int64_t came = 0, promoted = 0;
    for (int64_t i = 0; i < count; i++)
        if (runs[i].count > rung)
            places[came++] = (struct place){isnan(runs[i].values[rung]) ? INFINITY : runs[i].values[rung], i};
    int64_t kept = came / eta > 0 || !rest || came == 0 ? came / eta : 1;
    if (kept == 0)
        return 0;
    qsort(places, (size_t)came, sizeof *places, compare);
    for (int64_t i = 0; i < kept; i++) {
        struct asha_run *run = &runs[places[i].number];
        run->promoted = run->waits && run->count == rung + 1;
        promoted += run->promoted;
    }
    return promoted;
}

int64_t asha_judge(struct asha_run *runs, int64_t count, int64_t eta, bool rest)
{
    size_t most = 0;
    int64_t promoted = 0;
    struct place *places = malloc((size_t)(count > 0 ? count : 1) * sizeof *places);
    if (!places)
        return -1;
    for (int64_t i = 0; i < count; i++) {
        runs[i].promoted = false;
        most = runs[i].count > most ? runs[i].count : most;
    }
    for (size_t rung = 0; rung < most; rung++)
        promoted += judge_rung(runs, count, rung, eta, rest, places);
    free(places);
    return promoted;
}
