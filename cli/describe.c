/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"
#include "cli/text.h"
#include "hub/dataset.h"
#include "runner/data_parts.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN 8

static const struct output_column column_columns[] = {
    {"column", "name", OUTPUT_TEXT},      {"role", "role", OUTPUT_AUTO}, {"kind", "kind", OUTPUT_AUTO},
    {"missing", "missing", OUTPUT_AUTO},  {"min", "min", OUTPUT_AUTO},   {"max", "max", OUTPUT_AUTO},
    {"mean", "mean", OUTPUT_AUTO},        {"deviation", "deviation", OUTPUT_AUTO},
    {"categories", "summary", OUTPUT_TEXT}, {NULL, NULL, OUTPUT_AUTO},
};

static const struct output_column csv_columns[] = {
    {"dataset", "dataset", OUTPUT_TEXT},  {"version", "version", OUTPUT_AUTO}, {"column", "name", OUTPUT_TEXT},
    {"role", "role", OUTPUT_AUTO},        {"kind", "kind", OUTPUT_AUTO},       {"missing", "missing", OUTPUT_AUTO},
    {"min", "min", OUTPUT_AUTO},          {"max", "max", OUTPUT_AUTO},         {"mean", "mean", OUTPUT_AUTO},
    {"deviation", "deviation", OUTPUT_AUTO}, {"categories", "summary", OUTPUT_TEXT}, {NULL, NULL, OUTPUT_AUTO},
};

static const struct output_column json_columns[] = {{"name", "name", OUTPUT_TEXT}, {NULL, NULL, OUTPUT_AUTO}};

/* ---- classes ---- */

/* Reads a split's labels: for datasets whose manifest has no counts. */
static int count_split(struct cli *cli, const bson_t *dataset, const char *split, int64_t classes, bson_t *counts)
{
    bson_error_t error;
    bson_t list;
    struct data data;
    char index[24];
    int next = -1;
    int64_t *sums = bson_malloc0((size_t)classes * sizeof *sums);
    struct data_parts *parts = data_parts_open(cli->hub, dataset, split, &error);
    while (parts != NULL && (next = data_parts_next(parts, &data, &error)) > 0) {
        for (int64_t i = 0; data.y_class != NULL && i < data.rows; i++) {
            sums[data.y_class[i]]++;
        }
    }
    BSON_APPEND_ARRAY_BEGIN(counts, split, &list);
    for (int64_t i = 0; i < classes; i++) {
        snprintf(index, sizeof index, "%lld", (long long)i);
        BSON_APPEND_INT64(&list, index, sums[i]);
    }
    bson_append_array_end(counts, &list);
    data_parts_close(parts);
    bson_free(sums);
    return next < 0 ? cli_fail(&error) : CLI_DONE;
}

/* {SPLIT: [rows of each class]}; empty where labels are no classes. */
static int take_counts(struct cli *cli, const bson_t *dataset, bson_t *counts)
{
    bson_iter_t at, splits;
    bson_t kept;
    int64_t classes = output_integer(dataset, "classes", 0);
    int code = CLI_DONE;
    if (output_find(dataset, "class_counts", &at) && output_document(&at, &kept)) {
        bson_concat(counts, &kept);
        return CLI_DONE;
    }
    if (classes < 1 || classes > 1 << 20 || !output_find(dataset, "splits", &at) || !BSON_ITER_HOLDS_DOCUMENT(&at) ||
        !bson_iter_recurse(&at, &splits)) {
        return CLI_DONE;
    }
    while (code == CLI_DONE && bson_iter_next(&splits)) {
        code = count_split(cli, dataset, bson_iter_key(&splits), classes, counts);
    }
    return code;
}

static void print_classes(struct cli *cli, const bson_t *dataset, const bson_t *counts)
{
    struct output_column columns[12] = {{"class", "class", OUTPUT_TEXT}};
    char paths[10][80];
    size_t count = 1;
    bson_iter_t at;
    const int64_t classes = output_integer(dataset, "classes", 0);
    for (bool more = bson_iter_init(&at, counts); more && bson_iter_next(&at) && count < 11; count++) {
        snprintf(paths[count - 1], sizeof paths[0], "%.64s", bson_iter_key(&at));
        columns[count] = (struct output_column){paths[count - 1], paths[count - 1], OUTPUT_AUTO};
    }
    struct output *output = count > 1 ? output_open(cli, columns, "class") : NULL;
    for (int64_t i = 0; output != NULL && i < classes; i++) {
        char path[120], number[24];
        bson_t row = BSON_INITIALIZER;
        snprintf(path, sizeof path, "class_names.%lld", (long long)i);
        snprintf(number, sizeof number, "%lld", (long long)i);
        const char *name = output_text(dataset, path);
        BSON_APPEND_UTF8(&row, "class", name != NULL ? name : number);
        for (size_t j = 1; j < count; j++) {
            snprintf(path, sizeof path, "%.79s.%lld", paths[j - 1], (long long)i);
            BSON_APPEND_INT64(&row, paths[j - 1], output_integer(counts, path, 0));
        }
        output_row(output, &row);
        bson_destroy(&row);
    }
    if (output != NULL) {
        putchar('\n');
        output_close(output);
    }
}

/* ---- columns ---- */

/* "3: setosa, versicolor, virginica" */
static void append_summary(bson_t *row, const bson_t *column)
{
    bson_iter_t at, name;
    uint32_t count = 0;
    bson_string_t *text;
    if (!output_find(column, "categories", &at) || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &name)) {
        return;
    }
    text = bson_string_new(NULL);
    for (; bson_iter_next(&name); count++) {
        if (count < NAMES_SHOWN && BSON_ITER_HOLDS_UTF8(&name)) {
            bson_string_append_printf(text, "%s%s", count > 0 ? ", " : "", bson_iter_utf8(&name, NULL));
        }
    }
    char *summary = bson_strdup_printf("%u: %s%s", (unsigned)count, text->str, count > NAMES_SHOWN ? ", …" : "");
    BSON_APPEND_UTF8(row, "summary", summary);
    bson_free(summary);
    bson_string_free(text, true);
}

static void put_columns(struct output *output, const bson_t *dataset)
{
    bson_iter_t at, item;
    bson_t column;
    if (!output_find(dataset, "preprocess.columns", &at) || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &item)) {
        return;
    }
    while (bson_iter_next(&item)) {
        if (output_document(&item, &column)) {
            bson_t row = BSON_INITIALIZER;
            bson_copy_to_excluding_noinit(&column, &row, "categories", NULL);
            append_summary(&row, &column);
            if (output_text(dataset, "name") != NULL) {
                BSON_APPEND_UTF8(&row, "dataset", output_text(dataset, "name"));
            }
            BSON_APPEND_INT64(&row, "version", output_integer(dataset, "version", 1));
            output_row(output, &row);
            bson_destroy(&row);
        }
    }
}

/* ---- one dataset ---- */

static void append_list(bson_string_t *line, const bson_t *dataset, const char *path, const char *between, bool keys)
{
    bson_iter_t at, item;
    bool first = true;
    if (!output_find(dataset, path, &at) || !bson_iter_recurse(&at, &item)) {
        return;
    }
    while (bson_iter_next(&item)) {
        bson_string_append_printf(line, "%s%s%s%lld", first ? "" : between, keys ? bson_iter_key(&item) : "", keys ? " " : "",
                                  (long long)bson_iter_as_int64(&item));
        first = false;
    }
}

static void print_head(const bson_t *dataset, bool first)
{
    bson_string_t *line = bson_string_new(NULL);
    const char *name = output_text(dataset, "name"), *label = output_text(dataset, "label");
    text_append_escaped(line, name != NULL ? name : "", name != NULL ? strlen(name) : 0);
    bson_string_append_printf(line, " version %lld: %lld rows (", (long long)output_integer(dataset, "version", 1),
                              (long long)output_integer(dataset, "rows", 0));
    append_list(line, dataset, "splits", ", ", true);
    bson_string_append(line, "), x ");
    append_list(line, dataset, "input_shape", "x", false);
    if (label != NULL && strcmp(label, "class") == 0) {
        bson_string_append_printf(line, ", y one of %lld classes", (long long)output_integer(dataset, "classes", 0));
    } else if (label != NULL && strcmp(label, "value") == 0) {
        bson_string_append_printf(line, ", y %lld numbers", (long long)output_integer(dataset, "outputs", 1));
    } else {
        bson_string_append(line, ", no labels");
    }
    printf("%s%s\n", first ? "" : "\n", line->str);
    bson_string_free(line, true);
}

static int print_one(struct cli *cli, const bson_t *dataset, bool first)
{
    bson_t counts = BSON_INITIALIZER;
    bson_iter_t at;
    int code = take_counts(cli, dataset, &counts);
    if (code == CLI_DONE) {
        print_head(dataset, first);
        if (output_find(dataset, "preprocess.columns", &at)) {
            struct output *output = output_open(cli, column_columns, "column");
            if (output != NULL) {
                putchar('\n');
                put_columns(output, dataset);
                output_close(output);
            }
        }
        print_classes(cli, dataset, &counts);
    }
    bson_destroy(&counts);
    return code;
}

static int put_json(struct cli *cli, struct output *output, const bson_t *dataset)
{
    static const char *const kept[] = {"name", "version", "rows", "splits", "input_shape", "label", "classes", "outputs",
                                       "class_names"};
    bson_t counts = BSON_INITIALIZER, row = BSON_INITIALIZER;
    bson_iter_t at;
    int code = take_counts(cli, dataset, &counts);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        if (output_find(dataset, kept[i], &at)) {
            bson_append_iter(&row, kept[i], -1, &at);
        }
    }
    BSON_APPEND_DOCUMENT(&row, "class_counts", &counts);
    if (output_find(dataset, "preprocess.columns", &at)) {
        bson_append_iter(&row, "columns", -1, &at);
    }
    if (code == CLI_DONE) {
        output_row(output, &row);
    }
    bson_destroy(&row);
    bson_destroy(&counts);
    return code;
}

static int print_all(struct cli *cli, const bson_t *filter, const bson_t *sort)
{
    struct store_find_options options = {.sort = sort, .skip = cli_integer(cli, "skip", 0), .limit = cli_integer(cli, "limit", 0)};
    bson_error_t error;
    const bson_t *dataset;
    bool first = true;
    int code = CLI_DONE, next = -1;
    struct output *output = cli->format == CLI_TABLE
                                ? NULL
                                : output_open(cli, cli->format == CLI_CSV ? csv_columns : json_columns, "dataset");
    struct store_cursor *cursor = dataset_find(cli->hub, filter, &options, &error);
    while (code == CLI_DONE && cursor != NULL && (next = store_cursor_next(cursor, &dataset, &error)) > 0) {
        if (cli->format == CLI_TABLE) {
            code = print_one(cli, dataset, first);
        } else if (cli->format == CLI_CSV) {
            put_columns(output, dataset);
        } else {
            code = put_json(cli, output, dataset);
        }
        first = false;
    }
    if (code == CLI_DONE && next < 0) {
        code = cli_fail(&error);
    }
    store_cursor_close(cursor);
    if (code != CLI_DONE) {
        output_abandon(output);
        return code;
    }
    if (output != NULL) {
        return output_close(output);
    }
    return first ? cli_say(CLI_NOTHING, "no datasets found") : output_flush();
}

int describe_datasets(struct cli *cli, struct select_conditions *conditions)
{
    bson_t sort, filter;
    int code = select_sort(cli, select_datasets.sort, &sort);
    if (code == CLI_DONE) {
        code = select_take_options(cli, conditions);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = select_take_arguments(cli, &select_datasets, conditions);
    }
    if (code == CLI_DONE) {
        select_filter(conditions, &filter);
        code = print_all(cli, &filter, &sort);
        bson_destroy(&filter);
    }
    bson_destroy(&sort);
    select_destroy(conditions);
    return code;
}
