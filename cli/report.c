/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/report_importance.h"
#include "cli/report_texts.h"
#include "cli/select.h"
#include "cli/text.h"
#include "hub/model.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODELS_TOGETHER 500 /* in one query, where tasks are of several sweeps */

bool report_better(const struct report *report, double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return !isnan(a);
    }
    return report->maximize ? a > b : a < b;
}

const char *report_cell(const struct report_column *column, size_t row, char buffer[32])
{
    if (column->texts != NULL && column->texts[row] != NULL) {
        return column->texts[row];
    }
    double number = column->numbers[row];
    if (isnan(number)) {
        return NULL;
    }
    if (number == floor(number) && fabs(number) < 1e15) {
        snprintf(buffer, 32, "%.0f", number);
    } else {
        text_format_double(number, buffer);
    }
    return buffer;
}

void report_free(struct report *report)
{
    if (report == NULL) {
        return;
    }
    for (size_t i = 0; i < report->column_count; i++) {
        bson_free(report->columns[i].name);
        bson_free(report->columns[i].numbers);
        bson_free(report->columns[i].means);
        bson_free(report->columns[i].texts);
    }
    bson_free(report->columns);
    bson_free(report->rows);
    bson_free(report->points);
    bson_free(report->title);
    bson_free(report->metric);
    bson_destroy(&report->states);
    report_texts_free(report->texts);
    bson_free(report);
}

/* ---- rows ---- */

static struct report_column *find_column(struct report *report, const char *name, bool parameter, size_t capacity)
{
    for (size_t i = 0; i < report->column_count; i++) {
        if (report->columns[i].parameter == parameter && strcmp(report->columns[i].name, name) == 0) {
            return &report->columns[i];
        }
    }
    if (report->column_count == REPORT_COLUMNS) {
        report->left_out++;
        return NULL;
    }
    struct report_column *column = &report->columns[report->column_count++];
    *column = (struct report_column){.name = bson_strdup(name), .parameter = parameter, .numeric = true, .importance = NAN};
    column->numbers = bson_malloc((capacity + 1) * sizeof *column->numbers);
    for (size_t i = 0; i <= capacity; i++) {
        column->numbers[i] = NAN;
    }
    return column;
}

static void grow(struct report *report, size_t *capacity)
{
    size_t more = *capacity == 0 ? 256 : *capacity * 2;

    report->rows = bson_realloc(report->rows, more * sizeof *report->rows);
    for (size_t i = 0; i < report->column_count; i++) {
        struct report_column *column = &report->columns[i];
        column->numbers = bson_realloc(column->numbers, (more + 1) * sizeof *column->numbers);
        for (size_t row = *capacity; row <= more; row++) {
            column->numbers[row] = NAN;
        }
        if (column->texts != NULL) {
            column->texts = bson_realloc(column->texts, (more + 1) * sizeof *column->texts);
            memset(column->texts + *capacity, 0, (more + 1 - *capacity) * sizeof *column->texts);
        }
    }
    *capacity = more;
}

static void set_text(struct report *report, struct report_column *column, size_t row, size_t capacity, const char *text)
{
    if (column->texts == NULL) {
        column->texts = bson_malloc0((capacity + 1) * sizeof *column->texts);
    }
    column->texts[row] = report_texts_keep(report->texts, text);
    column->numeric = false;
}

/* Every leaf of a document as a cell; nested ones are called a.b, lists are JSON. */
static void add_cells(struct report *report, size_t capacity, const char *prefix, bool parameters, bson_iter_t *iter)
{
    bson_iter_t inner;

    while (bson_iter_next(iter)) {
        char *name = bson_strdup_printf("%s%s", prefix, bson_iter_key(iter));
        if (BSON_ITER_HOLDS_DOCUMENT(iter) && parameters && bson_iter_recurse(iter, &inner)) {
            char *longer = bson_strdup_printf("%s.", name);
            add_cells(report, capacity, longer, parameters, &inner);
            bson_free(longer);
        } else if (BSON_ITER_HOLDS_NUMBER(iter)) {
            struct report_column *column = find_column(report, name, parameters, capacity);
            if (column != NULL) {
                column->numbers[report->row_count] = bson_iter_as_double(iter);
            }
        } else if (parameters && !BSON_ITER_HOLDS_NULL(iter)) {
            struct report_column *column = find_column(report, name, parameters, capacity);
            bson_string_t *text = bson_string_new(NULL);
            if (BSON_ITER_HOLDS_UTF8(iter)) {
                bson_string_append(text, bson_iter_utf8(iter, NULL));
            } else {
                json_append_value(text, iter);
            }
            if (column != NULL) {
                set_text(report, column, report->row_count, capacity, text->str);
            }
            bson_string_free(text, true);
        }
        bson_free(name);
    }
}

static void add_document(struct report *report, size_t capacity, const bson_t *task, const char *path, bool parameters)
{
    bson_iter_t value, inner;

    if (output_find(task, path, &value) && BSON_ITER_HOLDS_DOCUMENT(&value) && bson_iter_recurse(&value, &inner)) {
        add_cells(report, capacity, "", parameters, &inner);
    }
}

/* Members of a population have the same values generation after generation: which one a row is stands beside them. */
static void add_lineage(struct report *report, size_t capacity, const bson_t *task)
{
    static const char *const names[] = {"lineage.generation", "lineage.member", "lineage.parent"};
    bson_iter_t value;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool there = output_find(task, names[i], &value) && BSON_ITER_HOLDS_NUMBER(&value);
        struct report_column *column = there ? find_column(report, names[i], true, capacity) : NULL;
        if (column != NULL) {
            column->numbers[report->row_count] = bson_iter_as_double(&value);
        }
    }
}

bool report_is_tuned(const struct report_column *column)
{
    return column->parameter && strcmp(column->name, "seed") != 0 && strncmp(column->name, "lineage.", 8) != 0;
}

static int64_t date_at(const bson_t *task, const char *path)
{
    bson_iter_t iter;
    return output_find(task, path, &iter) && BSON_ITER_HOLDS_DATE_TIME(&iter) ? bson_iter_date_time(&iter) : 0;
}

static const char *keep(struct report *report, const char *text)
{
    return report_texts_keep(report->texts, text != NULL ? text : "");
}

/* A restart may have changed hyper-parameters: what a task was trained with counts, not what its point said once. */
static void correct_point(struct report *report, const bson_t *task, size_t capacity)
{
    bson_iter_t value, inner, point;

    if (!output_find(task, "hyper_parameters", &value) || !BSON_ITER_HOLDS_DOCUMENT(&value) ||
        !bson_iter_recurse(&value, &inner)) {
        return;
    }
    while (bson_iter_next(&inner)) {
        char *path = bson_strdup_printf("point.%s", bson_iter_key(&inner));
        struct report_column *column =
            output_find(task, path, &point) ? find_column(report, bson_iter_key(&inner), true, capacity) : NULL;
        if (column != NULL && BSON_ITER_HOLDS_NUMBER(&inner)) {
            column->numbers[report->row_count] = bson_iter_as_double(&inner);
        } else if (column != NULL && BSON_ITER_HOLDS_UTF8(&inner)) {
            set_text(report, column, report->row_count, capacity, bson_iter_utf8(&inner, NULL));
        }
        bson_free(path);
    }
}

/* Of training: what a task waits at a rung is none of it. */
static double seconds_of(const bson_t *task)
{
    bson_iter_t value;
    int64_t start = date_at(task, "started_at|claimed_at"), end = date_at(task, "finished_at");
    double before = output_find(task, "rungs.seconds", &value) ? bson_iter_as_double(&value) : 0;

    if (output_find(task, "rungs", &value) && output_find(task, "started", &value) && !bson_iter_as_bool(&value)) {
        return end > 0 ? before : NAN; /* it ended where it stood */
    }
    return start > 0 && end >= start ? before + (double)(end - start) / 1000 : NAN;
}

static void add_task(struct report *report, const bson_t *task, size_t *capacity)
{
    bson_iter_t value;

    if (report->row_count == *capacity) {
        grow(report, capacity);
    }
    report->rows[report->row_count] = (struct report_row){
        .seq = output_integer(task, "seq", 0),
        .id = keep(report, output_text(task, "_id")),
        .name = keep(report, output_text(task, "name")),
        .state = keep(report, output_text(task, "state")),
        .seed = output_integer(task, "point.seed|hyper_parameters.seed", INT64_MIN),
        .objective = NAN,
        .seconds = seconds_of(task),
        .parameters = NAN,
        .bytes = NAN,
        .finished = date_at(task, "finished_at"),
    };
    bool swept = output_find(task, "point", &value) && BSON_ITER_HOLDS_DOCUMENT(&value);
    add_document(report, *capacity, task, swept ? "point" : "hyper_parameters", true);
    if (swept) {
        correct_point(report, task, *capacity);
        add_lineage(report, *capacity, task);
    }
    if (!swept && output_text(task, "architecture") != NULL) {
        struct report_column *column = find_column(report, "architecture", true, *capacity);
        if (column != NULL) {
            set_text(report, column, report->row_count, *capacity, output_text(task, "architecture"));
        }
    }
    add_document(report, *capacity, task, "result.metrics", false);
    report->row_count++;
}

static void project(bson_t *projection, const char *const *fields)
{
    bson_init(projection);
    for (; *fields != NULL; fields++) {
        BSON_APPEND_INT32(projection, *fields, 1);
    }
}

/* *sweep: the one that all tasks are of, or empty. */
static int read_tasks(struct cli *cli, const bson_t *filter, struct report *report, char sweep[128])
{
    static const char *const fields[] = {"seq", "name", "state", "point", "hyper_parameters", "architecture",
                                         "result.metrics", "started_at", "claimed_at", "finished_at", "sweep", "lineage", "started", "rungs.seconds",
                                         NULL};
    bson_t projection, sort = BSON_INITIALIZER;
    struct store_find_options options = {.projection = &projection, .sort = &sort};
    const bson_t *task;
    bson_error_t error;
    size_t capacity = 0;
    int more = -1;

    project(&projection, fields);
    BSON_APPEND_INT32(&sort, "seq", 1);
    struct store_cursor *cursor = task_find(cli->hub, filter, &options, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &task, &error)) > 0) {
        const char *of = output_text(task, "sweep");
        if (report->row_count == 0) {
            bson_strncpy(sweep, of != NULL ? of : "", 128);
        } else if (strcmp(sweep, of != NULL ? of : "") != 0) {
            sweep[0] = '\0';
        }
        add_task(report, task, &capacity);
    }
    store_cursor_close(cursor);
    bson_destroy(&sort);
    bson_destroy(&projection);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

/* ---- what models say of size and time ---- */

struct row_by_id {
    const char *id;
    uint32_t row;
};

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct row_by_id *)a)->id, ((const struct row_by_id *)b)->id);
}

static int take_models(struct cli *cli, struct report *report, const struct row_by_id *index, const bson_t *filter)
{
    static const char *const fields[] = {"task", "parameters", "bytes", "training_seconds", NULL};
    bson_t projection;
    const bson_t *model;
    bson_error_t error;
    int more = -1;

    project(&projection, fields);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = model_find(cli->hub, filter, &options, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &model, &error)) > 0) {
        struct row_by_id wanted = {output_text(model, "task"), 0}, *found = NULL;
        if (wanted.id != NULL) {
            found = bsearch(&wanted, index, report->row_count, sizeof *index, compare_ids);
        }
        if (found != NULL) {
            struct report_row *row = &report->rows[found->row];
            double seconds = output_number(model, "training_seconds");
            row->parameters = output_number(model, "parameters");
            row->bytes = output_number(model, "bytes");
            row->seconds = isnan(seconds) ? row->seconds : seconds;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

static int read_models(struct cli *cli, struct report *report, const char *sweep)
{
    struct row_by_id *index = bson_malloc((report->row_count + 1) * sizeof *index);
    int code = CLI_DONE;

    for (size_t i = 0; i < report->row_count; i++) {
        index[i] = (struct row_by_id){report->rows[i].id, (uint32_t)i};
    }
    qsort(index, report->row_count, sizeof *index, compare_ids);
    if (*sweep != '\0' && report->row_count > MODELS_TOGETHER) {
        bson_t filter = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&filter, "sweep", sweep);
        code = take_models(cli, report, index, &filter);
        bson_destroy(&filter);
    }
    for (size_t i = 0; code == CLI_DONE && i < report->row_count && (*sweep == '\0' || report->row_count <= MODELS_TOGETHER);
         i += MODELS_TOGETHER) {
        bson_t filter = BSON_INITIALIZER, inner, list;
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "task", &inner);
        BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
        for (size_t j = i; j < i + MODELS_TOGETHER && j < report->row_count; j++) {
            char digits[16];
            const char *key;
            bson_uint32_to_string((uint32_t)(j - i), &key, digits, sizeof digits);
            BSON_APPEND_UTF8(&list, key, report->rows[j].id);
        }
        bson_append_array_end(&inner, &list);
        bson_append_document_end(&filter, &inner);
        code = take_models(cli, report, index, &filter);
        bson_destroy(&filter);
    }
    bson_free(index);
    return code;
}

/* ---- the objective ---- */

static const struct report_column *metric_column(const struct report *report, const char *name)
{
    for (size_t i = 0; i < report->column_count; i++) {
        if (!report->columns[i].parameter && strcmp(report->columns[i].name, name) == 0) {
            return &report->columns[i];
        }
    }
    return NULL;
}

/* Losses and errors are better when they are less. */
static bool is_maximized(const char *metric)
{
    return strstr(metric, "loss") == NULL && strstr(metric, "mae") == NULL && strstr(metric, "rmse") == NULL &&
           strstr(metric, "error") == NULL;
}

static int take_sweep(struct cli *cli, struct report *report, const char *sweep)
{
    bson_t record;
    bson_error_t error;

    int found = sweep_record_resolve(cli->hub, sweep, &record, &error);
    if (found > 0) {
        const char *name = output_text(&record, "name"), *metric = output_text(&record, "metric.name");
        const char *goal = output_text(&record, "metric.goal");
        report->title = bson_strdup(name != NULL ? name : sweep);
        if (metric != NULL) {
            report->metric = bson_strdup(metric);
            report->maximize = goal != NULL ? strcmp(goal, "maximize") == 0 : is_maximized(metric);
        }
    }
    bson_destroy(&record);
    return found < 0 ? cli_fail(&error) : CLI_DONE;
}

static int choose_metric(struct cli *cli, struct report *report, const char *metric)
{
    if (metric != NULL) {
        const char *colon = strrchr(metric, ':');
        bool said = colon != NULL && (strcmp(colon, ":min") == 0 || strcmp(colon, ":max") == 0);
        bson_free(report->metric);
        report->metric = bson_strndup(metric, said ? (size_t)(colon - metric) : strlen(metric));
        report->maximize = said ? strcmp(colon, ":max") == 0 : is_maximized(report->metric);
        if (metric_column(report, report->metric) == NULL) {
            bson_string_t *names = bson_string_new(NULL);
            for (size_t i = 0; i < report->column_count; i++) {
                if (!report->columns[i].parameter) {
                    bson_string_append_printf(names, "%s%s", names->len > 0 ? ", " : "", report->columns[i].name);
                }
            }
            int code = cli_usage(cli, "--metric %s: no task has it; there are: %s", report->metric,
                                 names->len > 0 ? names->str : "none, for no task has ended well");
            bson_string_free(names, true);
            return code;
        }
    }
    if (report->metric == NULL || metric_column(report, report->metric) == NULL) {
        bool accuracy = metric_column(report, "accuracy") != NULL;
        bson_free(report->metric);
        report->metric = bson_strdup(accuracy ? "accuracy" : "loss");
        report->maximize = accuracy;
    }
    const struct report_column *column = metric_column(report, report->metric);
    for (size_t i = 0; column != NULL && i < report->row_count; i++) {
        report->rows[i].objective = isfinite(column->numbers[i]) ? column->numbers[i] : NAN;
    }
    return CLI_DONE;
}

/* ---- columns and points ---- */

static int compare_columns(const void *a, const void *b)
{
    const struct report_column *x = a, *y = b;
    return x->parameter != y->parameter ? (int)y->parameter - (int)x->parameter : strcmp(x->name, y->name);
}

static bool same_cell(const struct report_column *column, size_t a, size_t b)
{
    const char *x = column->texts != NULL ? column->texts[a] : NULL, *y = column->texts != NULL ? column->texts[b] : NULL;

    return x == y && (x != NULL || column->numbers[a] == column->numbers[b] ||
                      (isnan(column->numbers[a]) && isnan(column->numbers[b])));
}

static bool is_seed(const struct report_column *column)
{
    return column->parameter && strcmp(column->name, "seed") == 0;
}

static void finish_columns(struct report *report)
{
    double *objectives = bson_malloc((report->row_count + 1) * sizeof *objectives);

    qsort(report->columns, report->column_count, sizeof *report->columns, compare_columns);
    for (size_t i = 0; i < report->row_count; i++) {
        objectives[i] = report->rows[i].objective;
    }
    for (size_t c = 0; c < report->column_count; c++) {
        struct report_column *column = &report->columns[c];
        for (size_t i = 1; i < report->row_count && !column->varies; i++) {
            column->varies = !same_cell(column, 0, i);
        }
        if (report_is_tuned(column) && column->varies) {
            column->importance = report_importance(objectives, column->numbers, column->texts, report->row_count);
        }
    }
    bson_free(objectives);
}

struct keyed {
    uint64_t hash;
    uint32_t row;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash ? 1 : -1) : (x->row > y->row) - (x->row < y->row);
}

static int compare_points(const void *a, const void *b, void *data)
{
    const struct report_point *x = a, *y = b;
    const struct report *report = data;
    bool better = report_better(report, x->mean, y->mean);
    if (better != report_better(report, y->mean, x->mean)) {
        return better ? -1 : 1;
    }
    return (x->first > y->first) - (x->first < y->first);
}

/* Everything that its name and parameters say of a row, but its seed. Texts are there once, so that their addresses are their values. */
static uint64_t hash_point(const struct report *report, size_t row)
{
    uint64_t hash = report_texts_hash(REPORT_TEXTS_HASH, &report->rows[row].name, sizeof report->rows[row].name);

    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        if (!column->parameter || !column->varies || is_seed(column)) {
            continue;
        }
        const char *text = column->texts != NULL ? column->texts[row] : NULL;
        double number = isnan(column->numbers[row]) ? -1e300 : column->numbers[row] + 0.0;
        hash = report_texts_hash(hash, &text, sizeof text);
        hash = report_texts_hash(hash, &number, sizeof number);
    }
    return hash;
}

static void sum_point(struct report *report, const struct keyed *keyed, size_t from, size_t to)
{
    struct report_point *point = &report->points[report->point_count];
    double squares = 0;

    *point = (struct report_point){.first = keyed[from].row, .mean = NAN, .deviation = NAN, .seconds = NAN};
    double sum = 0, seconds = 0;
    uint32_t timed = 0;
    for (size_t i = from; i < to; i++) {
        struct report_row *row = &report->rows[keyed[i].row];
        if (!isnan(row->seconds)) {
            seconds += row->seconds;
            timed++;
        }
        if (!isnan(row->objective)) {
            sum += row->objective;
            point->count++;
        }
        if (report_better(report, row->objective, report->rows[point->first].objective)) {
            point->first = keyed[i].row;
        }
        report->seeds |= i > from && row->seed != report->rows[keyed[from].row].seed;
    }
    if (point->count > 0) {
        point->mean = sum / point->count;
    }
    if (timed > 0) {
        point->seconds = seconds / timed;
    }
    for (size_t i = from; i < to && point->count > 1; i++) {
        double difference = report->rows[keyed[i].row].objective - point->mean;
        squares += isnan(difference) ? 0 : difference * difference;
    }
    if (point->count > 1) {
        point->deviation = sqrt(squares / (point->count - 1));
    }
    report->point_count++;
}

/* Each point's metrics: what stands beside a mean must be one, too. */
static void make_means(struct report *report)
{
    uint32_t *counts = bson_malloc((report->point_count + 1) * sizeof *counts);

    for (size_t c = 0; c < report->column_count; c++) {
        struct report_column *column = &report->columns[c];
        if (column->parameter) {
            continue;
        }
        memset(counts, 0, report->point_count * sizeof *counts);
        column->means = bson_malloc0((report->point_count + 1) * sizeof *column->means);
        for (size_t i = 0; i < report->row_count; i++) {
            if (!isnan(column->numbers[i])) {
                column->means[report->rows[i].point] += column->numbers[i];
                counts[report->rows[i].point]++;
            }
        }
        for (size_t p = 0; p < report->point_count; p++) {
            column->means[p] = counts[p] > 0 ? column->means[p] / counts[p] : NAN;
        }
    }
    bson_free(counts);
}

double report_number(const struct report *report, const struct report_column *column, size_t row, bool each)
{
    return each || column->means == NULL ? column->numbers[row] : column->means[report->rows[row].point];
}

/* Rows of one point, seeds apart. */
static void make_points(struct report *report)
{
    struct keyed *keyed = bson_malloc((report->row_count + 1) * sizeof *keyed);

    report->points = bson_malloc((report->row_count + 1) * sizeof *report->points);
    for (size_t i = 0; i < report->row_count; i++) {
        keyed[i] = (struct keyed){hash_point(report, i), (uint32_t)i};
    }
    qsort(keyed, report->row_count, sizeof *keyed, compare_keyed);
    for (size_t from = 0, to; from < report->row_count; from = to) {
        for (to = from + 1; to < report->row_count && keyed[to].hash == keyed[from].hash; to++) {
        }
        sum_point(report, keyed, from, to);
    }
    qsort_r(report->points, report->point_count, sizeof *report->points, compare_points, report);
    uint32_t *number = bson_malloc((report->row_count + 1) * sizeof *number);
    for (size_t p = 0; p < report->point_count; p++) {
        number[report->points[p].first] = (uint32_t)p;
    }
    for (size_t from = 0, to; from < report->row_count; from = to) {
        uint32_t best = keyed[from].row;
        for (to = from; to < report->row_count && keyed[to].hash == keyed[from].hash; to++) {
            best = report_better(report, report->rows[keyed[to].row].objective, report->rows[best].objective)
                       ? keyed[to].row
                       : best;
        }
        for (size_t i = from; i < to; i++) {
            report->rows[keyed[i].row].point = number[best];
        }
    }
    bson_free(number);
    bson_free(keyed);
    if (report->seeds) {
        make_means(report);
    }
}

int report_read(struct cli *cli, const bson_t *filter, const char *metric, struct report **out)
{
    struct report *report = bson_aligned_alloc0(_Alignof(struct report), sizeof *report);
    char sweep[128] = "";
    bson_error_t error;

    *out = NULL;
    bson_init(&report->states);
    report->texts = report_texts_new();
    report->columns = bson_malloc0(REPORT_COLUMNS * sizeof *report->columns);
    int code = read_tasks(cli, filter, report, sweep);
    if (code == CLI_DONE && report->row_count == 0) {
        code = cli_say(CLI_NOTHING, "no tasks found: nothing to report");
    }
    if (code == CLI_DONE) {
        code = read_models(cli, report, sweep);
    }
    if (code == CLI_DONE && *sweep != '\0') {
        code = take_sweep(cli, report, sweep);
    }
    if (code == CLI_DONE) {
        report->title = report->title != NULL ? report->title : bson_strdup(hub_project(cli->hub));
        bson_destroy(&report->states);
        code = task_count_states(cli->hub, filter, &report->states, &error) < 0 ? cli_fail(&error) : CLI_DONE;
    }
    if (code == CLI_DONE) {
        code = choose_metric(cli, report, metric);
    }
    if (code == CLI_DONE) {
        finish_columns(report);
        make_points(report);
        *out = report;
    } else {
        report_free(report);
    }
    return code;
}
