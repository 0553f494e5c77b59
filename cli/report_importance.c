/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report_importance.h"

#include <bson/bson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    double number;
    const char *text; /* NULL: a number, or nothing (NAN) */
    double y;
};

/* Texts by content, so that levels do not depend on addresses; numbers after them, nothing at the end. */
static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->text != NULL || y->text != NULL) {
        return x->text == NULL ? 1 : y->text == NULL ? -1 : strcmp(x->text, y->text);
    }
    if (isnan(x->number) || isnan(y->number)) {
        return !!isnan(x->number) - !!isnan(y->number);
    }
    return (x->number > y->number) - (x->number < y->number);
}

static bool same(const struct entry *a, const struct entry *b)
{
    return compare(a, b) == 0;
}

/* The end of the level that begins at first: all entries like it, and with bins as many as make a bin. */
static size_t level_end(const struct entry *entries, size_t count, size_t first, bool bins)
{
    size_t end = first + 1, wanted = bins ? (count + REPORT_IMPORTANCE_LEVELS - 1) / REPORT_IMPORTANCE_LEVELS : 1;

    while (end < count && (end - first < wanted || same(&entries[end - 1], &entries[end])) &&
           (same(&entries[end - 1], &entries[end]) || (entries[first].text == NULL && entries[end].text == NULL))) {
        end++;
    }
    return end;
}

double report_importance(const double *y, const double *numbers, const char *const *texts, size_t n)
{
    struct entry *entries = bson_malloc((n + 1) * sizeof *entries);
    size_t count = 0, distinct = 0, levels = 0;
    double mean = 0, total = 0, between = 0, result = NAN;

    for (size_t i = 0; i < n; i++) {
        if (isfinite(y[i])) {
            entries[count++] = (struct entry){numbers[i], texts != NULL ? texts[i] : NULL, y[i]};
        }
    }
    if (count < 3) {
        goto out;
    }
    qsort(entries, count, sizeof *entries, compare);
    for (size_t i = 0; i < count; i++) {
        mean += entries[i].y / (double)count;
        distinct += i == 0 || !same(&entries[i - 1], &entries[i]);
    }
    for (size_t i = 0; i < count; i++) {
        total += (entries[i].y - mean) * (entries[i].y - mean);
    }
    for (size_t i = 0; i < count; levels++) {
        size_t end = level_end(entries, count, i, distinct > REPORT_IMPORTANCE_LEVELS);
        double sum = 0;
        for (size_t j = i; j < end; j++) {
            sum += entries[j].y;
        }
        double difference = sum / (double)(end - i) - mean;
        between += (double)(end - i) * difference * difference;
        i = end;
    }
    if (levels >= 2 && levels < count && total > 0) {
        double within = (total - between) / (double)(count - levels);
        within = within > 0 ? within : 0;
        result = (between - (double)(levels - 1) * within) / (total + within);
        result = result > 0 ? result : 0;
    }
out:
    bson_free(entries);
    return result;
}
