/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/select_task.h"

#include <math.h>
#include <string.h>

#define FIXED 12 /* columns that are neither parameters nor metrics */

static const struct cli_option report_options[] = {
    {"metric", 'm', CLI_TEXT, "NAME", "what is best, such as f1 or loss:min (default: the sweep's, else accuracy, else loss)"},
    {"each", 'e', CLI_FLAG, NULL, "a row for each task, in order of their numbers, and not for each point"},
    {"html", 0, CLI_TEXT, "FILE", "write a page with plots"},
    {"xlsx", 0, CLI_TEXT, "FILE", "write a workbook with a row for each task"},
    {"limit", 'n', CLI_COUNT, "N", "rows of the table, and of the page's (100 there)"},
    {"columns", 'c', CLI_TEXT, "PATHS", "what to show, such as task,parameters.hidden,metrics.accuracy"},
    {"all", 0, CLI_FLAG, NULL, "every task of the project"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static void append_number(bson_t *out, const char *key, double number)
{
    if (isnan(number)) {
        return;
    }
    if (number == floor(number) && fabs(number) < 9e15) {
        BSON_APPEND_INT64(out, key, (int64_t)number);
    } else {
        BSON_APPEND_DOUBLE(out, key, number);
    }
}

/* Cells of one kind under their names; for tables under c0, c1, … since names may have dots. */
static void append_cells(const struct report *report, size_t row, bool each, bool parameters, bool named, bson_t *out)
{
    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        char key[24];
        snprintf(key, sizeof key, "c%zu", c);
        if (column->parameter != parameters) {
            continue;
        }
        if (column->texts != NULL && column->texts[row] != NULL) {
            BSON_APPEND_UTF8(out, named ? column->name : key, column->texts[row]);
        } else if (parameters) {
            append_number(out, named ? column->name : key, column->numbers[row]);
        } else if (!isnan(report_number(report, column, row, each))) {
            BSON_APPEND_DOUBLE(out, named ? column->name : key, report_number(report, column, row, each));
        }
    }
}

static void make_row(const struct report *report, size_t index, bool each, bool named, bson_t *out)
{
    const struct report_row *row = &report->rows[index];
    const struct report_point *point = &report->points[row->point];
    bson_t part;

    bson_init(out);
    if (!isnan(point->mean)) {
        BSON_APPEND_INT64(out, "rank", (int64_t)row->point + 1);
    }
    BSON_APPEND_INT64(out, "task", row->seq);
    BSON_APPEND_UTF8(out, "name", row->name);
    BSON_APPEND_UTF8(out, "state", row->state);
    if (each && row->seed != INT64_MIN) {
        BSON_APPEND_INT64(out, "seed", row->seed);
    }
    double objective = each ? row->objective : point->mean;
    if (!isnan(objective)) {
        BSON_APPEND_DOUBLE(out, "objective", objective);
    }
    if (!each && report->seeds) {
        BSON_APPEND_INT64(out, "seeds", point->count);
        if (!isnan(point->deviation)) {
            BSON_APPEND_DOUBLE(out, "deviation", point->deviation);
        }
    }
    if (named) {
        BSON_APPEND_DOCUMENT_BEGIN(out, "parameters", &part);
        append_cells(report, index, each, true, true, &part);
        bson_append_document_end(out, &part);
        BSON_APPEND_DOCUMENT_BEGIN(out, "metrics", &part);
        append_cells(report, index, each, false, true, &part);
        bson_append_document_end(out, &part);
    } else {
        append_cells(report, index, each, true, false, out);
        append_cells(report, index, each, false, false, out);
    }
    append_number(out, "weights", row->parameters);
    append_number(out, "bytes", row->bytes);
    double seconds = each ? row->seconds : point->seconds;
    if (!isnan(seconds)) {
        BSON_APPEND_DOUBLE(out, "seconds", seconds);
    }
}

/* All columns for CSV, results called result.NAME so that the table can be read again (distributor/table.h); for a table those that say something. */
static struct output_column *make_columns(const struct cli *cli, const struct report *report, bool each, char (*keys)[24],
                                         char **labels)
{
    struct output_column *columns = bson_malloc0((report->column_count + FIXED) * sizeof *columns);
    bool table = cli->format == CLI_TABLE;
    size_t n = 0;

    columns[n++] = (struct output_column){"rank", "rank", OUTPUT_AUTO};
    columns[n++] = (struct output_column){table ? "#" : "task", "task", OUTPUT_AUTO};
    if (!table || each) {
        columns[n++] = (struct output_column){"name", "name", OUTPUT_TEXT};
        columns[n++] = (struct output_column){"state", "state", OUTPUT_STATE};
    }
    bool seeded = !each || !report->seeds;
    for (size_t c = 0; c < report->column_count; c++) {
        seeded = seeded || (report->columns[c].parameter && strcmp(report->columns[c].name, "seed") == 0);
    }
    if (!seeded) {
        columns[n++] = (struct output_column){"seed", "seed", OUTPUT_AUTO};
    }
    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        bool objective = !column->parameter && strcmp(column->name, report->metric) == 0;
        bool seed = column->parameter && strcmp(column->name, "seed") == 0;
        snprintf(keys[c], sizeof keys[c], "c%zu", c);
        const char *label = table || column->parameter ? column->name : (labels[c] = bson_strdup_printf("result.%s", column->name));
        if (column->parameter && (!table || column->varies) && !(seed && !each)) {
            columns[n++] = (struct output_column){column->name, keys[c], OUTPUT_TEXT};
        }
        if (objective) {
            columns[n++] = (struct output_column){label, "objective", OUTPUT_FRACTION};
            if (!each && report->seeds) {
                columns[n++] = (struct output_column){table ? "±" : "deviation", "deviation", OUTPUT_FRACTION};
                columns[n++] = (struct output_column){"seeds", "seeds", OUTPUT_AUTO};
            }
        } else if (!column->parameter && (!table || strchr(column->name, '_') == NULL)) {
            columns[n++] = (struct output_column){label, keys[c], OUTPUT_FRACTION};
        }
    }
    columns[n++] = (struct output_column){"weights", "weights", OUTPUT_AUTO};
    if (!table) {
        columns[n++] = (struct output_column){"bytes", "bytes", OUTPUT_AUTO};
    }
    columns[n++] = (struct output_column){table ? "time" : "seconds", "seconds", OUTPUT_SECONDS};
    columns[n] = (struct output_column){NULL, NULL, OUTPUT_AUTO};
    return columns;
}

static int print(struct cli *cli, const struct report *report)
{
    bool each = cli_flag(cli, "each"), named = cli->format == CLI_JSON || cli_text(cli, "columns") != NULL;
    int64_t limit = cli_integer(cli, "limit", 0);
    size_t count = each ? report->row_count : report->point_count;
    char(*keys)[24] = bson_malloc0((report->column_count + 1) * sizeof *keys);
    char **labels = bson_malloc0((report->column_count + 1) * sizeof *labels);
    struct output_column *columns = make_columns(cli, report, each, keys, labels);
    int code = CLI_USAGE;

    struct output *output = output_open(cli, columns, "task");
    for (size_t i = 0; output != NULL && i < count && (limit == 0 || (int64_t)i < limit); i++) {
        bson_t row;
        make_row(report, each ? i : report->points[i].first, each, named, &row);
        output_row(output, &row);
        bson_destroy(&row);
    }
    if (output != NULL) {
        code = output_close(output);
    }
    for (size_t c = 0; c < report->column_count; c++) {
        bson_free(labels[c]);
    }
    bson_free(labels);
    bson_free(columns);
    bson_free(keys);
    return code;
}

static int write_files(struct cli *cli, const struct report *report)
{
    const char *html = cli_text(cli, "html"), *xlsx = cli_text(cli, "xlsx");
    bson_t said = BSON_INITIALIZER;
    char tasks[64];
    int code = CLI_DONE;

    if (html != NULL) {
        code = report_write_html(cli, report, html, (size_t)cli_integer(cli, "limit", 100));
        BSON_APPEND_UTF8(&said, "html", html);
    }
    if (code == CLI_DONE && xlsx != NULL) {
        code = report_write_xlsx(report, xlsx);
        BSON_APPEND_UTF8(&said, "xlsx", xlsx);
    }
    BSON_APPEND_INT64(&said, "tasks", (int64_t)report->row_count);
    cli_plural(tasks, sizeof tasks, (int64_t)report->row_count, "task");
    if (code == CLI_DONE && (html == NULL || strcmp(html, "-") != 0)) {
        code = output_object(cli, &said, "wrote %s%s%s: %s", html != NULL ? html : "", html != NULL && xlsx != NULL ? ", " : "",
                             xlsx != NULL ? xlsx : "", tasks);
    }
    bson_destroy(&said);
    return code;
}

static int run(struct cli *cli)
{
    struct report *report = NULL;
    bson_t filter;

    int code = select_task_filter(cli, &filter);
    if (code == CLI_DONE) {
        code = report_read(cli, &filter, cli_text(cli, "metric"), &report);
    }
    if (code == CLI_DONE && report->left_out > 0) {
        cli_note("more than %d parameters and metrics: some are left out", REPORT_COLUMNS);
    }
    if (code == CLI_DONE) {
        code = cli_text(cli, "html") != NULL || cli_text(cli, "xlsx") != NULL ? write_files(cli, report)
                                                                              : print(cli, report);
    }
    report_free(report);
    bson_destroy(&filter);
    return code;
}

const struct cli_command cmd_report = {
    .verb = "report",
    .summary = "What a sweep, or any tasks, came to: a table, CSV, a workbook, or a page with plots",
    .arguments = "[SWEEP|TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {report_options, select_task_options, select_options},
    .details = "One row is one point: tasks that differ only in the seed are shown as mean and deviation (of the sample). The\n"
               "page is one file without scripts and without anything from elsewhere; the share of a parameter in the\n"
               "objective's variance is its main effect (omega squared). In CSV and workbooks no text is a formula.",
    .examples = "  tl_hub report fashion-width\n  tl_hub report fashion-width --html report.html --xlsx report.xlsx\n"
                "  tl_hub report --where 'done and tmod<1d' --metric f1 -o csv >today.csv",
    .run = run,
};
