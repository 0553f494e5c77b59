/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROW_VALUES 4000000 /* of a row of x: 16 MB */

static const char *const missing_names[] = {[PREPROCESS_ZERO] = "zero", [PREPROCESS_MEAN] = "mean",
                                            [PREPROCESS_MEDIAN] = "median", [PREPROCESS_DROP_ROW] = "drop",
                                            [PREPROCESS_REFUSE] = "error"};
static const char *const scale_names[] = {[PREPROCESS_MIN_MAX] = "minmax", [PREPROCESS_STANDARD] = "standard",
                                          [PREPROCESS_NO_SCALE] = "none"};
static const char *const kind_names[] = {[PREPROCESS_NUMBER] = "number", [PREPROCESS_ONE_HOT] = "one-hot",
                                         [PREPROCESS_IDS] = "ids", [PREPROCESS_TEXT] = "text"};
static const char *const role_names[] = {[PREPROCESS_FEATURE] = "feature", [PREPROCESS_LABEL] = "label",
                                         [PREPROCESS_TIME] = "time", [PREPROCESS_DROPPED] = "dropped"};
#define COUNT(names) (sizeof(names) / sizeof *(names))

/* ---- names ---- */

static int find_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; name && i < count; i++)
        if (!strcmp(names[i], name))
            return (int)i;
    return -1;
}

int preprocess_find_missing(const char *name, enum preprocess_missing *missing)
{
    int found = find_name(missing_names, COUNT(missing_names), name);
    *missing = found < 0 ? PREPROCESS_ZERO : (enum preprocess_missing)found;
    return found < 0 ? -1 : 0;
}

int preprocess_find_scale(const char *name, enum preprocess_scale *scale)
{
    int found = find_name(scale_names, COUNT(scale_names), name);
    *scale = found < 0 ? PREPROCESS_MIN_MAX : (enum preprocess_scale)found;
    return found < 0 ? -1 : 0;
}

const char *preprocess_kind_name(enum preprocess_kind kind)
{
    return kind_names[kind];
}

const char *preprocess_role_name(enum preprocess_role role)
{
    return role_names[role];
}

int64_t preprocess_find_column(const struct preprocess *preprocess, const char *name, size_t length)
{
    for (int64_t i = 0; i < preprocess->count; i++)
        if (strlen(preprocess->columns[i].name) == length && !memcmp(preprocess->columns[i].name, name, length))
            return i;
    return -1;
}

/* ---- life ---- */

struct preprocess *preprocess_new(int64_t count)
{
    struct preprocess *preprocess = calloc(1, sizeof *preprocess);
    if (!preprocess)
        return NULL;
    preprocess->delimiter = ',';
    preprocess->decimal = '.';
    preprocess->columns = calloc((size_t)count, sizeof *preprocess->columns);
    preprocess->count = preprocess->columns ? count : 0;
    for (int64_t i = 0; i < preprocess->count; i++) {
        struct preprocess_column *column = &preprocess->columns[i];
        column->min = column->max = column->mean = column->deviation = column->median = NAN;
    }
    if (preprocess->columns)
        return preprocess;
    preprocess_free(preprocess);
    return NULL;
}

void preprocess_free(struct preprocess *preprocess)
{
    if (!preprocess)
        return;
    for (int64_t i = 0; i < preprocess->count; i++) {
        free(preprocess->columns[i].name);
        category_set_free(preprocess->columns[i].categories);
    }
    free(preprocess->columns);
    free(preprocess);
}

/* ---- from statistics to values ---- */

/* Columns that never change become 0, whatever the scale. */
static void settle_number(enum preprocess_scale scale, struct preprocess_column *column)
{
    const double range = column->max - column->min;
    column->shift = 0;
    column->factor = 1;
    if (scale == PREPROCESS_MIN_MAX) {
        column->shift = isnan(column->min) ? 0 : column->min;
        column->factor = range > 0 && isfinite(1 / range) ? 1 / range : 0;
    } else if (scale == PREPROCESS_STANDARD) {
        column->shift = isnan(column->mean) ? 0 : column->mean;
        column->factor = column->deviation > 0 && isfinite(1 / column->deviation) ? 1 / column->deviation : 0;
    }
    double raw = column->missing == PREPROCESS_MEAN ? column->mean
                 : column->missing == PREPROCESS_MEDIAN ? column->median : NAN;
    column->fill = isnan(raw) ? 0 : (raw - column->shift) * column->factor;
}

static void settle_categories(struct preprocess_column *column)
{
    bool usual = column->missing == PREPROCESS_MEAN || column->missing == PREPROCESS_MEDIAN;
    column->fill = usual && column->categories ? (double)category_set_most(column->categories) : -1;
    column->width = column->kind == PREPROCESS_ONE_HOT ? (int64_t)category_set_count(column->categories) : 1;
}

int preprocess_settle(struct preprocess *preprocess, const char *where, bson_error_t *error)
{
    preprocess->width = preprocess->labels = preprocess->classes = 0;
    for (int64_t i = 0; i < preprocess->count; i++) {
        struct preprocess_column *column = &preprocess->columns[i];
        column->at = preprocess->width;
        column->width = 0;
        if (column->role == PREPROCESS_LABEL) {
            preprocess->labels++;
            preprocess->classes = column->categories ? (int64_t)category_set_count(column->categories) : 0;
        }
        /* What is to be foretold is also a part of the past that it is foretold from. */
        if (column->role != PREPROCESS_FEATURE && !(column->role == PREPROCESS_LABEL && preprocess->window > 0))
            continue;
        if (column->kind == PREPROCESS_NUMBER) {
            settle_number(preprocess->scale, column);
            column->width = 1;
        } else if (column->categories) {
            settle_categories(column);
        }
        preprocess->width += column->width;
    }
    if (preprocess->width < 1)
        return hub_error(error, HUB_ERROR_INVALID, "%s: no column is left that a net could learn from", where);
    int64_t values = preprocess->width;
    if (preprocess->window > 0 && __builtin_mul_overflow(values, preprocess->window, &values))
        values = INT64_MAX;
    if (values > ROW_VALUES)
        return hub_error(error, HUB_ERROR_INVALID, "%s: a row would have %lld values; at most %d are taken: use "
                         "--categories ids, or drop columns", where, (long long)values, ROW_VALUES);
    return 0;
}

static void encode_category(const struct preprocess_column *column, double value, float *x)
{
    const double category = isnan(value) || value < 0 ? column->fill : value;
    if (column->kind == PREPROCESS_IDS) {
        *x = (float)(category + 1);
        return;
    }
    memset(x, 0, (size_t)column->width * sizeof *x);
    if (category >= 0 && category < (double)column->width)
        x[(int64_t)category] = 1;
}

void preprocess_encode(const struct preprocess *preprocess, const double *values, float *x)
{
    for (int64_t i = 0; i < preprocess->count; i++) {
        const struct preprocess_column *column = &preprocess->columns[i];
        if (column->width == 0)
            continue;
        if (column->kind == PREPROCESS_NUMBER)
            x[column->at] = (float)(isnan(values[i]) ? column->fill : (values[i] - column->shift) * column->factor);
        else
            encode_category(column, values[i], x + column->at);
    }
}
