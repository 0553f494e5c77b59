/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_rows.h"

#include "distributor/csv_dialect.h"
#include "distributor/csv_values.h"
#include "distributor/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct csv_rows {
    struct preprocess *preprocess;
    struct csv_scan *scan;
    struct csv_values values;
    struct csv_record record;
    int64_t *source;   /* (preprocess->count) column of the file; -1: it has none */
    double *row;       /* (preprocess->count) */
    bool header, labelled;
    int64_t rows;      /* of the file */
    float *window;     /* (window, width): the last rows, the oldest first; NULL: a row is a sample */
    int64_t in_window;
};

/* ---- columns ---- */

static bool is_used(const struct csv_rows *rows, int64_t i)
{
    return rows->preprocess->columns[i].width > 0;
}

/* By name: how many of the columns that are needed were found. */
static int64_t match_names(struct csv_rows *rows, const struct csv_record *record)
{
    int64_t found = 0;
    for (int64_t i = 0; i < rows->preprocess->count; i++)
        rows->source[i] = -1;
    for (int64_t j = 0; j < record->fields; j++) {
        const struct csv_field field = csv_scan_field(rows->scan, record, j);
        const int64_t i = preprocess_find_column(rows->preprocess, field.text, field.length);
        if (i < 0 || rows->source[i] >= 0)
            continue;
        rows->source[i] = j;
        found += is_used(rows, i);
    }
    return found;
}

/* As they stood in the dataset's file: all of them, or all but the labels. */
static bool match_positions(struct csv_rows *rows, int64_t fields)
{
    const struct preprocess *preprocess = rows->preprocess;
    if (fields != preprocess->count && fields != preprocess->count - preprocess->labels)
        return false;
    for (int64_t i = 0, j = 0; i < preprocess->count; i++) {
        const bool absent = fields != preprocess->count && preprocess->columns[i].role == PREPROCESS_LABEL;
        rows->source[i] = absent ? -1 : j++;
    }
    return true;
}

static int refuse_columns(const struct csv_rows *rows, const struct csv_record *record, bson_error_t *error)
{
    const struct preprocess *preprocess = rows->preprocess;
    for (int64_t i = 0; preprocess->header && i < preprocess->count; i++)
        if (is_used(rows, i) && rows->source[i] < 0)
            return csv_scan_refuse(rows->scan, record, -1, error,
                                   "there is no column %s, which the model's dataset has", preprocess->columns[i].name);
    return csv_scan_refuse(rows->scan, record, -1, error, "%lld fields; the model's dataset has %lld columns",
                           (long long)record->fields, (long long)preprocess->count);
}

static int map_columns(struct csv_rows *rows, bson_error_t *error)
{
    const struct preprocess *preprocess = rows->preprocess;
    int64_t needed = 0;
    int next = csv_scan_next(rows->scan, &rows->record, error);
    if (next <= 0)
        return next < 0 ? -1 : hub_error(error, HUB_ERROR_INVALID, "%s:1:1: there is nothing in it", csv_scan_path(rows->scan));
    for (int64_t i = 0; i < preprocess->count; i++)
        needed += is_used(rows, i);
    const int64_t found = match_names(rows, &rows->record);
    rows->header = found == needed;
    if (found != needed && ((preprocess->header && found > 0) || !match_positions(rows, rows->record.fields)))
        return refuse_columns(rows, &rows->record, error);
    return 0;
}

static void set_modes(struct csv_rows *rows)
{
    for (int64_t i = 0; i < rows->preprocess->count; i++) {
        const struct preprocess_column *column = &rows->preprocess->columns[i];
        const bool label = column->role == PREPROCESS_LABEL && rows->labelled;
        if (rows->source[i] < 0 || (column->width == 0 && !label))
            continue;
        struct csv_column *read = &rows->values.columns[rows->source[i]];
        read->name = column->name;
        read->set = column->categories;
        read->mode = column->kind == PREPROCESS_NUMBER ? CSV_STRICT : CSV_LOOK_UP;
    }
}

/* ---- rows ---- */

static int begin(struct csv_rows *rows, bson_error_t *error)
{
    rows->in_window = 0;
    csv_values_reset(&rows->values);
    if (csv_scan_rewind(rows->scan, error))
        return -1;
    return rows->header && csv_scan_next(rows->scan, &rows->record, error) < 0 ? -1 : 0;
}

/* 1 every label is known, 0 none is there, -1 one is wrong, or some are missing. */
static int look_at_labels(const struct csv_rows *rows, bool first, bool *there, bson_error_t *error)
{
    for (int64_t i = 0; i < rows->preprocess->count; i++) {
        const struct preprocess_column *column = &rows->preprocess->columns[i];
        if (column->role != PREPROCESS_LABEL || rows->source[i] < 0)
            continue;
        const int64_t j = rows->source[i];
        const bool number = column->kind == PREPROCESS_NUMBER;
        const bool missing = number ? isnan(rows->values.values[j]) : rows->values.ids[j] == CSV_MISSING;
        if (!number && rows->values.ids[j] == CSV_OTHER)
            return csv_scan_refuse(rows->scan, &rows->record, j, error, "column %s: the model's dataset has no such class",
                                   column->name);
        if (!first && missing == *there)
            return csv_scan_refuse(rows->scan, &rows->record, j, error, "column %s: either every row has a label or none",
                                   column->name);
        *there = !missing;
        first = false;
    }
    return 0;
}

static int count_rows(struct csv_rows *rows, bson_error_t *error)
{
    bool there = false;
    int next;
    if (begin(rows, error))
        return -1;
    while ((next = csv_values_next(&rows->values, &rows->record, error)) > 0) {
        if (rows->labelled && look_at_labels(rows, rows->rows == 0, &there, error))
            return -1;
        rows->rows++;
    }
    rows->labelled = rows->labelled && there;
    if (next == 0 && csv_rows_count(rows) < 1)
        return hub_error(error, HUB_ERROR_INVALID, "%s: %lld rows are too few for a prediction", csv_scan_path(rows->scan),
                         (long long)rows->rows);
    return next;
}

struct csv_rows *csv_rows_open(const char *path, const bson_t *dataset, int64_t skip, bson_error_t *error)
{
    struct csv_dialect dialect = {.header = 0, .skip = skip};
    struct csv_rows *rows = calloc(1, sizeof *rows);
    if (!rows) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
        return NULL;
    }
    int found = preprocess_read(dataset, &rows->preprocess, error);
    if (found == 0)
        hub_error(error, HUB_ERROR_INVALID, "%s: the model was not trained on a table: its dataset does not say how rows become "
                  "values", path);
    if (found <= 0 || csv_dialect_find(path, &dialect, error))
        goto failed;
    const struct preprocess *preprocess = rows->preprocess;
    if (dialect.columns == 1)
        dialect.delimiter = preprocess->delimiter;
    rows->source = calloc((size_t)preprocess->count, sizeof *rows->source);
    rows->row = calloc((size_t)preprocess->count, sizeof *rows->row);
    if (preprocess->window > 0)
        rows->window = calloc((size_t)preprocess->window, (size_t)preprocess->width * sizeof *rows->window);
    if (!rows->source || !rows->row || (preprocess->window > 0 && !rows->window)) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", path);
        goto failed;
    }
    rows->scan = csv_scan_open(path, dialect.delimiter, skip, error);
    if (!rows->scan || map_columns(rows, error) ||
        csv_values_init(&rows->values, rows->scan, preprocess->decimal, rows->record.fields, error))
        goto failed;
    rows->labelled = preprocess->window == 0 && preprocess->labels > 0;
    for (int64_t i = 0; i < preprocess->count; i++)
        if (preprocess->columns[i].role == PREPROCESS_LABEL)
            rows->labelled = rows->labelled && rows->source[i] >= 0;
    set_modes(rows);
    if (count_rows(rows, error) || begin(rows, error))
        goto failed;
    csv_dialect_destroy(&dialect);
    return rows;
failed:
    csv_dialect_destroy(&dialect);
    csv_rows_close(rows);
    return NULL;
}

void csv_rows_close(struct csv_rows *rows)
{
    if (!rows)
        return;
    csv_values_destroy(&rows->values);
    csv_scan_close(rows->scan);
    preprocess_free(rows->preprocess);
    free(rows->source);
    free(rows->row);
    free(rows->window);
    free(rows);
}

int64_t csv_rows_count(const struct csv_rows *rows)
{
    const int64_t window = rows->preprocess->window;
    return window == 0 ? rows->rows : rows->rows < window ? 0 : rows->rows - window + 1;
}

int csv_rows_rank(const struct csv_rows *rows)
{
    return rows->preprocess->window > 0 ? 2 : 1;
}

int64_t csv_rows_dimension(const struct csv_rows *rows, int i)
{
    return i == 0 && rows->preprocess->window > 0 ? rows->preprocess->window : rows->preprocess->width;
}

int32_t csv_rows_classes(const struct csv_rows *rows)
{
    return rows->labelled ? (int32_t)rows->preprocess->classes : 0;
}

int32_t csv_rows_outputs(const struct csv_rows *rows)
{
    return rows->labelled && !rows->preprocess->classes ? (int32_t)rows->preprocess->labels : 0;
}

int64_t csv_rows_unknown(const struct csv_rows *rows)
{
    int64_t unknown = 0;
    for (int64_t i = 0; i < rows->values.count; i++)
        unknown += rows->values.columns[i].other;
    return unknown;
}

/* The next row of the file, as values. */
static int read_row(struct csv_rows *rows, float *x, bson_error_t *error)
{
    const struct preprocess *preprocess = rows->preprocess;
    int next = csv_values_next(&rows->values, &rows->record, error);
    if (next <= 0)
        return next < 0 ? -1 : hub_error(error, HUB_ERROR_INVALID, "%s: changed while it was read", csv_scan_path(rows->scan));
    for (int64_t i = 0; i < preprocess->count; i++) {
        const struct preprocess_column *column = &preprocess->columns[i];
        rows->row[i] = rows->source[i] < 0 ? NAN : rows->values.values[rows->source[i]];
        if (column->width > 0 && isnan(rows->row[i]) &&
            (column->missing == PREPROCESS_REFUSE || column->missing == PREPROCESS_DROP_ROW) &&
            !(column->categories && rows->values.ids[rows->source[i]] == CSV_OTHER))
            return csv_scan_refuse(rows->scan, &rows->record, rows->source[i], error,
                                   "column %s: missing; the model's dataset has no rows without it", column->name);
    }
    preprocess_encode(preprocess, rows->row, x);
    for (int64_t i = 0; i < preprocess->width; i++)
        if (!isfinite(x[i]))
            return csv_scan_refuse(rows->scan, &rows->record, -1, error, "a value is too large for a float");
    return 0;
}

static int read_window(struct csv_rows *rows, float *x, bson_error_t *error)
{
    const int64_t window = rows->preprocess->window, width = rows->preprocess->width;
    if (rows->in_window == window) {
        memmove(rows->window, rows->window + width, (size_t)((window - 1) * width) * sizeof *x);
        rows->in_window--;
    }
    for (; rows->in_window < window; rows->in_window++)
        if (read_row(rows, rows->window + rows->in_window * width, error))
            return -1;
    memcpy(x, rows->window, (size_t)(window * width) * sizeof *x);
    return 0;
}

static void read_labels(const struct csv_rows *rows, int32_t *label, float *targets)
{
    const struct preprocess *preprocess = rows->preprocess;
    for (int64_t i = 0; i < preprocess->count; i++) {
        if (preprocess->columns[i].role != PREPROCESS_LABEL)
            continue;
        if (preprocess->classes)
            *label = (int32_t)rows->values.ids[rows->source[i]];
        else
            *targets++ = (float)rows->row[i];
    }
}

int csv_rows_read(struct csv_rows *rows, float *x, int32_t *labels, float *targets, int64_t count, bson_error_t *error)
{
    const int64_t size = rows->preprocess->width * (rows->window ? rows->preprocess->window : 1);
    for (int64_t i = 0; i < count; i++) {
        if (rows->window ? read_window(rows, x + i * size, error) : read_row(rows, x + i * size, error))
            return -1;
        if (rows->labelled)
            read_labels(rows, labels + i, targets + i * rows->preprocess->labels);
    }
    return 0;
}
