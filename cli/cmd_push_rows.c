/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "distributor/rows_file.h"

#include <string.h>

static const struct cli_option options[] = {
    {"jsonl", 0, CLI_TEXT, "FILE", "JSON objects, one a line; - is standard input"},
    {"columns", 0, CLI_TEXTS, "NAMES", "the fields to learn from: numbers, or arrays of numbers (default x)"},
    {"label", 0, CLI_TEXT, "FIELD", "the field of the label (default label)"},
    {"label-kind", 0, CLI_TEXT, "KIND", "class, value or none (default: as the file shows)"},
    {"pipeline", 0, CLI_TEXT, "JSON", "stages that select and transform the rows, or @FILE"},
    {"set", 0, CLI_TEXTS, "KEY=VALUE", "any further key of the dataset; may be given again"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static void draw_progress(const char *what, int64_t done, int64_t total, void *data)
{
    bar_draw(data, what, total > 0 ? (double)done / (double)total : 0);
}

static int say_written(struct cli *cli, const bson_t *dataset, int64_t rows)
{
    bson_t report = BSON_INITIALIZER;
    char text[64];
    BSON_APPEND_UTF8(&report, "dataset", output_text(dataset, "name"));
    BSON_APPEND_INT64(&report, "version", output_integer(dataset, "version", 1));
    BSON_APPEND_INT64(&report, "rows", rows);
    int code = output_object(cli, &report, "wrote %s to dataset %s version %lld", cli_plural(text, sizeof text, rows, "row"),
                             output_text(dataset, "name"), (long long)output_integer(dataset, "version", 1));
    bson_destroy(&report);
    return code;
}

static int push(struct cli *cli, const char *pipeline, const bson_t *columns, const bson_t *fields)
{
    bson_t dataset;
    bson_error_t error;
    struct bar bar;
    struct rows_file_options file = {.path = cli_text(cli, "jsonl"), .name = cli->arguments[0], .pipeline = pipeline,
                                     .columns = columns, .label_field = cli_text(cli, "label"),
                                     .label = cli_text(cli, "label-kind"), .fields = fields,
                                     .progress = draw_progress, .data = &bar};
    bar_init(&bar, cli);
    int64_t rows = rows_file_push(cli->hub, &file, &dataset, &error);
    bar_end(&bar);
    int code = rows < 0 ? cli_fail(&error) : say_written(cli, &dataset, rows);
    bson_destroy(&dataset);
    return code;
}

static int check(struct cli *cli)
{
    const char *name = cli->arguments[0], *kind = cli_text(cli, "label-kind");
    if (cli_text(cli, "jsonl") == NULL) {
        return cli_usage(cli, "where are the rows? Give --jsonl FILE, or --jsonl -");
    }
    if (*name == '\0' || !bson_utf8_validate(name, strlen(name), false)) {
        return cli_usage(cli, "the name of a dataset must be UTF-8 and not empty");
    }
    if (kind != NULL && strcmp(kind, "class") != 0 && strcmp(kind, "value") != 0 && strcmp(kind, "none") != 0) {
        return cli_usage(cli, "--label-kind %s: it is one of class, value, none", kind);
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    bson_t fields = BSON_INITIALIZER, lists = BSON_INITIALIZER, columns;
    bson_iter_t at;
    char *pipeline = NULL;
    size_t length;

    int code = check(cli);
    if (code == CLI_DONE) {
        code = fields_append_common(cli, &fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_settings(cli, "set", &fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_list(cli, "columns", "columns", &lists);
    }
    if (code == CLI_DONE) {
        code = fields_read_pipeline(cli, "pipeline", &pipeline, &length);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_CREATE);
    }
    if (code == CLI_DONE) {
        bool listed = bson_iter_init_find(&at, &lists, "columns") && BSON_ITER_HOLDS_ARRAY(&at);
        if (listed) {
            uint32_t size;
            const uint8_t *bytes;
            bson_iter_array(&at, &size, &bytes);
            listed = bson_init_static(&columns, bytes, size);
        }
        code = push(cli, pipeline, listed ? &columns : NULL, &fields);
    }
    bson_free(pipeline);
    bson_destroy(&lists);
    bson_destroy(&fields);
    return code;
}

const struct cli_command cmd_push_rows = {
    .verb = "push-rows",
    .summary = "Add rows to a dataset that is kept as one document an example",
    .arguments = "NAME",
    .least = 1,
    .most = 1,
    .groups = {options, fields_options},
    .details =
        "The first push makes the dataset: --columns are what a net learns from, whole numbers and texts as labels are\n"
        "classes, other numbers values; a field `split` says train (the default), validation or test. Every line is checked\n"
        "before the first is written; errors name the line.\n"
        "--pipeline is kept with the dataset: $match $sort $skip $limit $sample $project $addFields $group $count. A task sees\n"
        "the rows that there are when it is claimed; rows that come later are the next task's.",
    .examples = "  tl_hub push-rows iris --jsonl iris.jsonl --columns sepal,petal --label species\n"
                "  tl_hub push-rows readings --jsonl - --columns t,p --label fault\n"
                "  tl_hub push-rows readings --jsonl more.jsonl \\\n"
                "      --pipeline '[{\"$match\": {\"t\": {\"$gt\": 0}}}]'",
    .run = run,
};
