/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_pass.h"

#include "distributor/csv_number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICK_ROWS 4096 /* between two words about progress */

/* ---- life ---- */

int csv_pass_open(struct csv_pass *pass, const struct csv_options *options, bson_error_t *error)
{
    *pass = (struct csv_pass){.options = options, .label = -1, .sets = options->folds ? options->folds : 1};
    if (csv_plan_open(&pass->plan, options, error))
        return -1;
    const struct preprocess *preprocess = pass->plan.preprocess;
    pass->judged = calloc((size_t)preprocess->count, sizeof *pass->judged);
    if (!pass->judged)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", options->path);
    for (int64_t i = 0; i < preprocess->count; i++) {
        const struct preprocess_column *column = &preprocess->columns[i];
        const bool label = column->role == PREPROCESS_LABEL;
        pass->label = label && pass->label < 0 ? i : pass->label;
        if (label || column->missing == PREPROCESS_DROP_ROW || column->missing == PREPROCESS_REFUSE)
            pass->judged[pass->judged_count++] = i;
    }
    pass->scan = csv_scan_open(options->path, pass->plan.dialect.delimiter, pass->plan.dialect.skip, error);
    if (!pass->scan || csv_values_init(&pass->values, pass->scan, pass->plan.dialect.decimal, preprocess->count, error))
        return -1;
    bool *sampled = calloc((size_t)preprocess->count, sizeof *sampled);
    pass->stats = calloc((size_t)pass->sets, sizeof *pass->stats);
    bool done = sampled && pass->stats;
    for (int64_t i = 0; done && i < preprocess->count; i++)
        sampled[i] = preprocess->columns[i].missing == PREPROCESS_MEDIAN;
    for (int64_t i = 0; done && i < pass->sets; i++) {
        pass->stats[i] = column_stats_new(preprocess->count, sampled, options->seed + (uint64_t)i);
        done = pass->stats[i] != NULL;
    }
    free(sampled);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", options->path);
}

void csv_pass_close(struct csv_pass *pass)
{
    for (int64_t i = 0; pass->stats && i < pass->sets; i++)
        column_stats_free(pass->stats[i]);
    free(pass->stats);
    free(pass->class_counts);
    free(pass->judged);
    split_draw_free(pass->draw);
    csv_values_destroy(&pass->values);
    csv_scan_close(pass->scan);
    csv_plan_destroy(&pass->plan);
}

/* ---- rows ---- */

static void tell(struct csv_pass *pass)
{
    if (pass->options->progress && pass->ticks++ % TICK_ROWS == 0)
        pass->options->progress(pass->what, (int64_t)(csv_scan_progress(pass->scan) * 1000), 1000, pass->options->data);
}

int csv_pass_begin(struct csv_pass *pass, const char *what, bson_error_t *error)
{
    pass->what = what;
    pass->rows = pass->dropped = pass->ticks = 0;
    pass->last_time[0] = '\0';
    split_draw_free(pass->draw);
    pass->draw = split_draw_new(&pass->drawn);
    if (!pass->draw)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to draw splits", pass->options->path);
    if (csv_scan_rewind(pass->scan, error))
        return -1;
    return pass->plan.dialect.header && csv_scan_next(pass->scan, &pass->record, error) < 0 ? -1 : 0;
}

static bool lacks(const struct csv_values *values, int64_t i)
{
    const enum csv_mode mode = values->columns[i].mode;
    if (mode == CSV_SKIP)
        return false;
    return mode == CSV_TRY || mode == CSV_STRICT ? isnan(values->values[i]) : values->ids[i] == CSV_MISSING;
}

/* 1 the row counts, 0 it does not, -1 it is refused. */
static int judge(struct csv_pass *pass, bson_error_t *error)
{
    const struct preprocess *preprocess = pass->plan.preprocess;
    bool counts = true;
    for (int64_t j = 0; j < pass->judged_count; j++) {
        const int64_t i = pass->judged[j];
        const struct preprocess_column *column = &preprocess->columns[i];
        const bool label = column->role == PREPROCESS_LABEL;
        if (!lacks(&pass->values, i))
            continue;
        if (column->missing == PREPROCESS_REFUSE || (label && pass->options->time))
            return csv_scan_refuse(pass->scan, &pass->record, i, error, "column %s: missing%s", column->name,
                                   label && column->missing != PREPROCESS_REFUSE ? ": rows of a series need their label" : "");
        counts = counts && !label && column->missing != PREPROCESS_DROP_ROW;
    }
    return counts;
}

/* Rows of a series follow each other: numbers by their value, other times as texts (as ISO 8601 has them). */
static int check_time(struct csv_pass *pass, bson_error_t *error)
{
    const int64_t at = pass->plan.time;
    const struct csv_field field = csv_scan_field(pass->scan, &pass->record, at);
    double before, now;
    if (csv_is_missing(field.text, field.length))
        return csv_scan_refuse(pass->scan, &pass->record, at, error, "column %s: the time is missing", pass->options->time);
    if (field.length >= sizeof pass->last_time)
        return csv_scan_refuse(pass->scan, &pass->record, at, error, "column %s: a time of %zu bytes", pass->options->time,
                               field.length);
    const size_t length = strlen(pass->last_time);
    if (length > 0) {
        bool back = csv_number(pass->last_time, length, '.', &before) == CSV_NUMBER_FINITE &&
                            csv_number(field.text, field.length, '.', &now) == CSV_NUMBER_FINITE
                        ? now < before
                        : memcmp(field.text, pass->last_time, field.length < length ? field.length : length) < 0;
        if (back)
            return csv_scan_refuse(pass->scan, &pass->record, at, error,
                                   "column %s: %.*s comes after %s: sort the file by time, oldest first", pass->options->time,
                                   (int)field.length, field.text, pass->last_time);
    }
    memcpy(pass->last_time, field.text, field.length);
    pass->last_time[field.length] = '\0';
    return 0;
}

int csv_pass_next(struct csv_pass *pass, bson_error_t *error)
{
    for (;;) {
        int next = csv_values_next(&pass->values, &pass->record, error);
        if (next <= 0)
            return next;
        tell(pass);
        if (pass->plan.time >= 0 && check_time(pass, error))
            return -1;
        int counts = judge(pass, error);
        if (counts < 0)
            return -1;
        pass->dropped += !counts;
        if (counts)
            break;
    }
    const bool categories = pass->label >= 0 && pass->values.columns[pass->label].set;
    pass->class = categories && pass->values.ids[pass->label] >= 0 ? pass->values.ids[pass->label] : -1;
    if (pass->class >= 0 && pass->values.columns[pass->label].mode == CSV_LOOK_UP)
        pass->values.values[pass->label] = (double)pass->plan.columns[pass->label].order[pass->class];
    pass->split = split_draw_next(pass->draw, pass->options->stratify && pass->class >= 0 ? pass->class : 0);
    if (pass->split < 0)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to draw splits", pass->options->path);
    pass->rows++;
    return 1;
}

/* ---- learning ---- */

int64_t csv_pass_width(const struct csv_pass *pass)
{
    return pass->options->folds ? pass->options->folds : SPLIT_COUNT;
}

static int count_class(struct csv_pass *pass, bson_error_t *error)
{
    const int64_t width = csv_pass_width(pass);
    if (pass->class < 0)
        return 0;
    if (pass->class >= pass->class_capacity) {
        const int64_t capacity = pass->class >= 2 * pass->class_capacity ? pass->class + 16 : 2 * pass->class_capacity;
        int64_t *more = realloc(pass->class_counts, (size_t)(capacity * width) * sizeof *more);
        if (!more)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to count its classes", pass->options->path);
        memset(more + pass->class_capacity * width, 0, (size_t)((capacity - pass->class_capacity) * width) * sizeof *more);
        pass->class_counts = more;
        pass->class_capacity = capacity;
    }
    pass->class_counts[pass->class * width + pass->split]++;
    return 0;
}

/* What the row adds to what is known of the training rows. */
static int take(struct csv_pass *pass, bson_error_t *error)
{
    const bool folds = pass->options->folds > 0;
    const int64_t first = pass->options->window > 0 ? pass->options->window + pass->options->horizon : 1;
    if (pass->rows >= first) {
        pass->samples[pass->split]++;
        if (count_class(pass, error))
            return -1;
    }
    if (!folds && pass->split != SPLIT_TRAIN)
        return 0;
    column_stats_add(pass->stats[folds ? pass->split : 0], pass->values.values);
    for (int64_t i = 0; i < pass->values.count; i++)
        if (pass->values.columns[i].set && pass->values.ids[i] >= 0)
            category_set_tally(pass->values.columns[i].set, (size_t)pass->values.ids[i], 1);
    return 0;
}

static int one_pass(struct csv_pass *pass, bson_error_t *error)
{
    int next;
    memset(pass->samples, 0, sizeof pass->samples);
    if (pass->class_capacity)
        memset(pass->class_counts, 0, (size_t)(pass->class_capacity * csv_pass_width(pass)) * sizeof *pass->class_counts);
    for (int64_t i = 0; i < pass->sets; i++)
        column_stats_reset(pass->stats[i]);
    if (csv_pass_begin(pass, "reading", error) || csv_plan_learn(&pass->plan, &pass->values, error))
        return -1;
    while ((next = csv_pass_next(pass, error)) > 0)
        if (take(pass, error))
            return -1;
    if (next < 0)
        return -1;
    if (pass->rows == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: no row is left: %lld were dropped for what they lack",
                         pass->options->path, (long long)pass->dropped);
    return csv_plan_decide(&pass->plan, &pass->values, error);
}

/* The shares, once it is known how many rows there are, where that is asked for. */
static int settle_shares(struct csv_pass *pass, bson_error_t *error)
{
    const struct csv_options *options = pass->options;
    pass->drawn = (struct split_draw_options){.seed = options->seed, .test = split_share_of(options->test_share),
                                              .validation = split_share_of(options->validation_share),
                                              .folds = options->folds, .series = options->time ? pass->total : 0};
    if (!options->validation || !pass->total)
        return 0;
    const int64_t rest = pass->total - pass->total * pass->drawn.test.part / pass->drawn.test.whole;
    if (options->validation >= rest)
        return hub_error(error, HUB_ERROR_INVALID, "validation: %lld rows of %lld training rows; some must be left",
                         (long long)options->validation, (long long)rest);
    pass->drawn.validation = (struct split_share){.part = options->validation, .whole = rest};
    return 0;
}

static int check_splits(const struct csv_pass *pass, bson_error_t *error)
{
    const struct csv_options *options = pass->options;
    const struct preprocess *preprocess = pass->plan.preprocess;
    if (options->stratify && (pass->label < 0 || preprocess->columns[pass->label].kind == PREPROCESS_NUMBER))
        return hub_error(error, HUB_ERROR_INVALID, "%s: stratify: the label is no class (--type LABEL=category makes it one)",
                         options->path);
    for (int64_t i = 0; i < options->folds; i++)
        if (pass->samples[i] == 0)
            return hub_error(error, HUB_ERROR_INVALID, "%s: folds: %lld rows are too few for %lld folds", options->path,
                             (long long)pass->rows, (long long)options->folds);
    if (!options->folds && pass->samples[SPLIT_TRAIN] == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: no row is left to train on, of %lld%s", options->path,
                         (long long)pass->rows, options->window > 0 ? " (a window takes as many before it)" : "");
    return 0;
}

int csv_pass_learn(struct csv_pass *pass, bson_error_t *error)
{
    const bool counted = pass->options->time || pass->options->validation;
    do {
        if (settle_shares(pass, error))
            return -1;
        int again = one_pass(pass, error);
        if (again < 0)
            return -1;
        if (again > 0)
            continue;
        if (!counted || pass->total)
            break;
        pass->total = pass->rows;
    } while (true);
    if (check_splits(pass, error))
        return -1;
    csv_plan_note(&pass->plan);
    return 0;
}

int csv_pass_summarise(struct csv_pass *pass, int64_t fold, bson_error_t *error)
{
    struct preprocess *preprocess = pass->plan.preprocess;
    struct column_stats *all = pass->stats[0], *joined = NULL;
    if (pass->options->folds) {
        bool *sampled = calloc((size_t)preprocess->count, sizeof *sampled);
        for (int64_t i = 0; sampled && i < preprocess->count; i++)
            sampled[i] = preprocess->columns[i].missing == PREPROCESS_MEDIAN;
        all = joined = sampled ? column_stats_new(preprocess->count, sampled, pass->options->seed) : NULL;
        free(sampled);
        for (int64_t i = 0; joined && i < pass->sets; i++)
            if (i != fold)
                column_stats_join(joined, pass->stats[i]);
    }
    if (!all)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", pass->options->path);
    for (int64_t i = 0; i < preprocess->count; i++) {
        struct preprocess_column *column = &preprocess->columns[i];
        if (column->kind != PREPROCESS_NUMBER || column->role == PREPROCESS_DROPPED)
            continue;
        const struct column_summary summary = column_stats_summary(all, i);
        column->min = summary.min;
        column->max = summary.max;
        column->mean = summary.mean;
        column->deviation = summary.deviation;
        column->median = summary.median;
    }
    column_stats_free(joined);
    return preprocess_settle(preprocess, pass->options->path, error);
}
