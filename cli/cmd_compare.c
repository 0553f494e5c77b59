/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/choose.h"
#include "cli/commands.h"
#include "cli/plot_text.h"
#include "cli/report.h"
#include "cli/screen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct cli_option compare_options[] = {
    {"metric", 'm', CLI_TEXT, "NAME", "whose curves (default: the sweep's metric, else accuracy, else loss)"},
    {"ascii", 0, CLI_FLAG, NULL, "letters for curves, and not Braille dots"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct comparison {
    struct report *report;
    struct curves curves;
    char labels[CURVES_MOST][32];
};

/* A task by whatever means one, or the task that made a model. */
static int take_argument(struct cli *cli, const char *text, bson_t *condition)
{
    bson_t model;
    int count = select_look(cli, &select_tasks, text, condition);

    if (count != 0) {
        return count < 0 ? -count : CLI_DONE;
    }
    bson_destroy(condition);
    count = select_look(cli, &select_models, text, condition);
    if (count > 0) {
        int code = select_one(cli, &select_models, text, &model);
        const char *task = output_text(&model, "task");
        bson_reinit(condition);
        if (code == CLI_DONE && task == NULL) {
            code = cli_say(CLI_NOTHING, "model '%s' is not of a task: there is nothing to compare it by", text);
        } else if (code == CLI_DONE) {
            BSON_APPEND_UTF8(condition, "_id", task);
        }
        bson_destroy(&model);
        return code;
    }
    bson_destroy(condition);
    return choose_tasks(cli, text, condition);
}

static int select_compared(struct cli *cli, bson_t *filter)
{
    bson_t list;
    int code = cli_open(cli, HUB_OPEN_EXISTING);

    bson_init(filter);
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &list);
    for (size_t i = 0; i < cli->argument_count && code == CLI_DONE; i++) {
        char digits[16];
        const char *key;
        bson_t condition;
        bson_uint32_to_string((uint32_t)i, &key, digits, sizeof digits);
        code = take_argument(cli, cli->arguments[i], &condition);
        BSON_APPEND_DOCUMENT(&list, key, &condition);
        bson_destroy(&condition);
    }
    bson_append_array_end(filter, &list);
    return code;
}

static void append_cell(const struct report_column *column, size_t row, const char *key, bson_t *out)
{
    double number = column->numbers[row];

    if (column->texts != NULL && column->texts[row] != NULL) {
        BSON_APPEND_UTF8(out, key, column->texts[row]);
    } else if (!isnan(number) && column->parameter && number == floor(number) && fabs(number) < 9e15) {
        BSON_APPEND_INT64(out, key, (int64_t)number);
    } else if (!isnan(number)) {
        BSON_APPEND_DOUBLE(out, key, number);
    }
}

/* Every quantity a row, every task a column. */
static int print_table(struct cli *cli, const struct comparison *comparison)
{
    const struct report *report = comparison->report;
    struct output_column columns[CURVES_MOST + 3] = {{"", "kind", OUTPUT_AUTO}, {"", "what", OUTPUT_TEXT}};
    char keys[CURVES_MOST][24];

    for (size_t i = 0; i < report->row_count; i++) {
        snprintf(keys[i], sizeof keys[i], "t%zu", i);
        columns[i + 2] = (struct output_column){comparison->labels[i], keys[i], OUTPUT_TEXT};
    }
    struct output *output = output_open(cli, columns, "task");
    if (output == NULL) {
        return CLI_USAGE;
    }
    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        bson_t row = BSON_INITIALIZER;
        if (column->parameter && !column->varies) {
            bson_destroy(&row);
            continue;
        }
        BSON_APPEND_UTF8(&row, "kind", column->parameter ? "parameter" : "result");
        BSON_APPEND_UTF8(&row, "what", column->name);
        for (size_t i = 0; i < report->row_count; i++) {
            append_cell(column, i, keys[i], &row);
        }
        output_row(output, &row);
        bson_destroy(&row);
    }
    for (int k = 0; k < 4; k++) {
        static const char *const names[] = {"name", "state", "weights", "seconds"};
        bson_t row = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&row, "kind", "task");
        BSON_APPEND_UTF8(&row, "what", names[k]);
        for (size_t i = 0; i < report->row_count; i++) {
            const struct report_row *task = &report->rows[i];
            if (k < 2) {
                BSON_APPEND_UTF8(&row, keys[i], k == 0 ? task->name : task->state);
            } else if (k == 2 && !isnan(task->parameters)) {
                BSON_APPEND_INT64(&row, keys[i], (int64_t)task->parameters);
            } else if (k == 3 && !isnan(task->seconds)) {
                BSON_APPEND_DOUBLE(&row, keys[i], task->seconds);
            }
        }
        output_row(output, &row);
        bson_destroy(&row);
    }
    return output_close(output);
}

static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != '\0') {
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
        }
    }
    return false;
}

static void print_curves(struct cli *cli, const struct comparison *comparison)
{
    const char *labels[CURVES_MOST];
    int rows = 24, columns = 80;
    bson_string_t *text = bson_string_new(NULL);

    for (size_t i = 0; i < comparison->report->row_count; i++) {
        labels[i] = comparison->labels[i];
    }
    if (cli->stdout_terminal) {
        screen_size(&rows, &columns);
    }
    /* Without colours dots would not say whose they are. */
    bool braille = !cli_flag(cli, "ascii") && speaks_utf8() && (cli->color || comparison->report->row_count == 1);
    struct plot_text_options options = {.width = (columns < 120 ? columns : 120) - 14,
                                        .height = rows / 2 < 20 ? rows / 2 : 20,
                                        .braille = braille,
                                        .color = cli->color};
    plot_text_append(text, &comparison->curves, labels, &options);
    if (text->len > 0) {
        printf("\n%s", text->str);
    }
    bson_string_free(text, true);
}

static void append_values(const struct curve *curve, bson_t *out)
{
    const double *const values[] = {curve->x, curve->y};
    static const char *const names[] = {"epochs", "values"};

    for (int k = 0; k < 2; k++) {
        bson_t list;
        BSON_APPEND_ARRAY_BEGIN(out, names[k], &list);
        for (size_t i = 0; i < curve->count; i++) {
            char digits[16];
            const char *key;
            bson_uint32_to_string((uint32_t)i, &key, digits, sizeof digits);
            BSON_APPEND_DOUBLE(&list, key, values[k][i]);
        }
        bson_append_array_end(out, &list);
    }
}

static int print_json(struct cli *cli, const struct comparison *comparison)
{
    const struct report *report = comparison->report;
    bson_t out = BSON_INITIALIZER, list, one, part;

    BSON_APPEND_UTF8(&out, "metric", report->metric);
    char *curves = bson_strdup_printf("%s_%s", comparison->curves.split, comparison->curves.metric);
    BSON_APPEND_UTF8(&out, "curves", curves);
    bson_free(curves);
    BSON_APPEND_ARRAY_BEGIN(&out, "tasks", &list);
    for (size_t i = 0; i < report->row_count; i++) {
        const struct report_row *row = &report->rows[i];
        char digits[16];
        const char *key;
        size_t length = bson_uint32_to_string((uint32_t)i, &key, digits, sizeof digits);
        bson_append_document_begin(&list, key, (int)length, &one);
        BSON_APPEND_INT64(&one, "task", row->seq);
        BSON_APPEND_UTF8(&one, "_id", row->id);
        BSON_APPEND_UTF8(&one, "name", row->name);
        BSON_APPEND_UTF8(&one, "state", row->state);
        for (int parameters = 1; parameters >= 0; parameters--) {
            BSON_APPEND_DOCUMENT_BEGIN(&one, parameters ? "differing" : "results", &part);
            for (size_t c = 0; c < report->column_count; c++) {
                const struct report_column *column = &report->columns[c];
                if ((int)column->parameter == parameters && (!parameters || column->varies)) {
                    append_cell(column, i, column->name, &part);
                }
            }
            bson_append_document_end(&one, &part);
        }
        BSON_APPEND_DOCUMENT_BEGIN(&one, "curve", &part);
        append_values(&comparison->curves.tasks[i], &part);
        bson_append_document_end(&one, &part);
        bson_append_document_end(&list, &one);
    }
    bson_append_array_end(&out, &list);
    int code = output_object(cli, &out, "%s", "");
    bson_destroy(&out);
    return code;
}

static int compare(struct cli *cli, const bson_t *filter, struct comparison *comparison)
{
    const char *ids[CURVES_MOST];
    int code = report_read(cli, filter, cli_text(cli, "metric"), &comparison->report);

    if (code != CLI_DONE) {
        return code;
    }
    const struct report *report = comparison->report;
    if (report->row_count > CURVES_MOST) {
        return cli_usage(cli, "%zu tasks are too many to compare: name at most %d, or see tl_hub report", report->row_count,
                         CURVES_MOST);
    }
    for (size_t i = 0; i < report->row_count; i++) {
        ids[i] = report->rows[i].id;
        snprintf(comparison->labels[i], sizeof comparison->labels[i], "#%lld", (long long)report->rows[i].seq);
    }
    code = curves_read(cli, ids, report->row_count, report->metric, &comparison->curves);
    if (code != CLI_DONE) {
        return code;
    }
    if (cli->format == CLI_JSON) {
        return print_json(cli, comparison);
    }
    code = print_table(cli, comparison);
    if (code == CLI_DONE && cli->format == CLI_TABLE) {
        print_curves(cli, comparison);
        code = output_flush();
    }
    return code;
}

static int run(struct cli *cli)
{
    struct comparison comparison = {0};
    bson_t filter;

    int code = select_compared(cli, &filter);
    if (code == CLI_DONE) {
        code = compare(cli, &filter, &comparison);
    }
    curves_destroy(&comparison.curves);
    report_free(comparison.report);
    bson_destroy(&filter);
    return code;
}

const struct cli_command cmd_compare = {
    .verb = "compare",
    .summary = "Put tasks or models side by side: parameters that differ, results, learning curves",
    .arguments = "TASK|MODEL…",
    .least = 1,
    .most = CLI_ANY_NUMBER,
    .groups = {compare_options},
    .details = "A TASK is whatever means tasks elsewhere, such as 12-14 or 'best-*'; a MODEL stands for the task that made it.\n"
               "Curves are of validation where there are any, else of training.",
    .examples = "  tl_hub compare 12 13 14\n  tl_hub compare 12-14 --metric loss\n  tl_hub compare first second -o json",
    .run = run,
};
