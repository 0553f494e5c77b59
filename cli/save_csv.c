/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/save_csv.h"
#include "cli/bar.h"
#include "cli/output.h"
#include "distributor/csv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option save_csv_options[] = {
    {"label", 'l', CLI_TEXTS, "COLUMN", "what is to be learnt: a name, or a position (1, -1: the last); \"none\"; again: several values"},
    {"type", 0, CLI_TEXTS, "COLUMN=TYPE", "number, category, one-hot, ids or drop, instead of what is found"},
    {"categories", 0, CLI_TEXT, "HOW", "one-hot (the default), or ids for an embedding"},
    {"scale", 0, CLI_TEXT, "HOW", "of numbers: minmax (to 0 … 1, the default), standard (mean 0, deviation 1) or none"},
    {"missing", 0, CLI_TEXTS, "[COLUMN=]HOW", "zero (the default), mean, median, drop (the row) or error"},
    {"stratify", 0, CLI_FLAG, NULL, "split each class for itself"},
    {"folds", 0, CLI_COUNT, "K", "K datasets NAME-fold-1 …, each with another K-th of the rows as its test rows"},
    {"time", 0, CLI_TEXT, "COLUMN", "the rows are a series in this order: the last ones are the test rows"},
    {"window", 0, CLI_COUNT, "N", "a sample is N rows of the series …"},
    {"horizon", 0, CLI_COUNT, "H", "… and its label that of the row H later (default 1)"},
    {"delimiter", 0, CLI_TEXT, "CHAR", "between fields: comma, semicolon, tab or a character (default: found)"},
    {"decimal", 0, CLI_TEXT, "CHAR", "the decimal point: . (the default) or ,"},
    {"header", 0, CLI_TEXT, "YES", "whether the first record names the columns: yes or no (default: found)"},
    {"skip-lines", 0, CLI_COUNT, "N", "lines before the first record"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct saving {
    struct cli *cli;
    struct bar bar;
    struct csv_options csv;
    const char **labels;
    struct csv_choice *types, *missing;
    char **names; /* of columns in types and missing, cut off their values; NULL at the end */
    size_t name_count;
    bson_t saved; /* the datasets of folds, for one answer about all */
    uint32_t saved_count;
    int code;
};

bool save_csv_given(const struct cli *cli, const struct cli_option *option)
{
    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].option->name, option->name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- options ---- */

int save_take_split(struct cli *cli, int64_t validation, double *test_share, double *validation_share)
{
    const char *text = cli_text(cli, "split");
    double parts[3], sum = 0;
    int count = 0;
    *test_share = 0.2;
    if (text == NULL) {
        return CLI_DONE;
    }
    for (const char *at = text; count < 3; at++) {
        char *end;
        parts[count] = strtod(at, &end);
        if (end == at || !(parts[count] >= 0) || !isfinite(parts[count])) {
            count = 0;
            break;
        }
        sum += parts[count++];
        at = end;
        if (*at != '/') {
            count = *at == '\0' ? count : 0;
            break;
        }
    }
    if (count < 2 || !(parts[0] > 0) || !(sum < 1e9)) {
        return cli_usage(cli, "--split %s: parts as in 80/20, or 70/10/20 with validation rows", text);
    }
    *test_share = parts[count - 1] / sum;
    if (count == 3) {
        if (validation > 0 || *validation_share > 0) {
            return cli_usage(cli, "--split %s has a part for validation: leave --validation out", text);
        }
        *validation_share = parts[1] / (parts[0] + parts[1]);
    }
    return CLI_DONE;
}

static int take_dialect(struct cli *cli, struct csv_options *csv)
{
    const char *delimiter = cli_text(cli, "delimiter"), *decimal = cli_text(cli, "decimal"), *header = cli_text(cli, "header");
    static const struct {
        const char *name;
        char byte;
    } known[] = {{"comma", ','}, {"semicolon", ';'}, {"tab", '\t'}, {"\\t", '\t'}, {"pipe", '|'}, {"space", ' '}};
    if (delimiter != NULL) {
        csv->delimiter = strlen(delimiter) == 1 ? *delimiter : '\0';
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            csv->delimiter = strcmp(delimiter, known[i].name) == 0 ? known[i].byte : csv->delimiter;
        }
        if (csv->delimiter == '\0' || strchr("\"\n\r", csv->delimiter) != NULL || (unsigned char)csv->delimiter > 127) {
            return cli_usage(cli, "--delimiter %s: comma, semicolon, tab or one character", delimiter);
        }
    }
    if (decimal != NULL && strcmp(decimal, ".") != 0 && strcmp(decimal, ",") != 0) {
        return cli_usage(cli, "--decimal %s: . or ,", decimal);
    }
    csv->decimal = decimal != NULL ? *decimal : '\0';
    csv->header = header == NULL ? -1 : strcmp(header, "yes") == 0 ? 1 : 0;
    if (header != NULL && csv->header == 0 && strcmp(header, "no") != 0) {
        return cli_usage(cli, "--header %s: yes or no", header);
    }
    csv->skip = cli_integer(cli, "skip-lines", 0);
    return CLI_DONE;
}

static size_t count_texts(const struct cli *cli, const char *name)
{
    size_t count = 0;
    while (cli_texts(cli, name, count) != NULL) {
        count++;
    }
    return count;
}

/* COLUMN=VALUE, or VALUE alone; a column's name may hold an =. */
static struct csv_choice choice_of(struct saving *saving, const char *text)
{
    const char *sign = strrchr(text, '=');
    char *name = sign != NULL ? bson_strndup(text, (size_t)(sign - text)) : NULL;
    if (name != NULL) {
        saving->names[saving->name_count++] = name;
    }
    return (struct csv_choice){.column = name, .value = sign != NULL ? sign + 1 : text};
}

static int take_columns(struct saving *saving)
{
    struct cli *cli = saving->cli;
    struct csv_options *csv = &saving->csv;
    csv->type_count = count_texts(cli, "type");
    csv->missing_count = count_texts(cli, "missing");
    csv->label_count = count_texts(cli, "label");
    saving->names = bson_malloc0((csv->type_count + csv->missing_count + 1) * sizeof *saving->names);
    saving->labels = bson_malloc0((csv->label_count + 1) * sizeof *saving->labels);
    saving->types = bson_malloc0((csv->type_count + 1) * sizeof *saving->types);
    saving->missing = bson_malloc0((csv->missing_count + 1) * sizeof *saving->missing);
    for (size_t i = 0; i < csv->type_count; i++) {
        saving->types[i] = choice_of(saving, cli_texts(cli, "type", i));
        if (saving->types[i].column == NULL) {
            return cli_usage(cli, "--type %s: it is COLUMN=TYPE", cli_texts(cli, "type", i));
        }
    }
    for (size_t i = 0; i < csv->missing_count; i++) {
        saving->missing[i] = choice_of(saving, cli_texts(cli, "missing", i));
    }
    for (size_t i = 0; i < csv->label_count; i++) {
        saving->labels[i] = cli_texts(cli, "label", i);
    }
    if (csv->label_count == 0) {
        return cli_usage(cli, "which column is to be learnt? Give --label COLUMN (a name, or a position), or --label none");
    }
    csv->label_count = csv->label_count == 1 && strcmp(saving->labels[0], "none") == 0 ? 0 : csv->label_count;
    csv->labels = saving->labels;
    csv->types = saving->types;
    csv->missing = saving->missing;
    return CLI_DONE;
}

static int take_options(struct saving *saving)
{
    struct cli *cli = saving->cli;
    struct csv_options *csv = &saving->csv;
    const char *categories = cli_text(cli, "categories"), *scale = cli_text(cli, "scale");
    csv->ids = categories != NULL && strcmp(categories, "ids") == 0;
    if (categories != NULL && !csv->ids && strcmp(categories, "one-hot") != 0) {
        return cli_usage(cli, "--categories %s: one-hot or ids", categories);
    }
    if (scale != NULL && preprocess_find_scale(scale, &csv->scale) < 0) {
        return cli_usage(cli, "--scale %s: minmax, standard or none", scale);
    }
    csv->stratify = cli_flag(cli, "stratify");
    csv->folds = cli_integer(cli, "folds", 0);
    csv->time = cli_text(cli, "time");
    csv->window = cli_integer(cli, "window", 0);
    csv->horizon = cli_integer(cli, "horizon", 1);
    if (csv->folds > 0 && cli_text(cli, "split") != NULL) {
        return cli_usage(cli, "--folds: each fold is the test rows once; leave --split out");
    }
    int code = save_take_split(cli, csv->validation, &csv->test_share, &csv->validation_share);
    if (code == CLI_DONE) {
        code = take_dialect(cli, csv);
    }
    return code == CLI_DONE ? take_columns(saving) : code;
}

/* ---- saving ---- */

static void draw(const char *what, int64_t done, int64_t total, void *data)
{
    struct saving *saving = data;
    bar_draw(&saving->bar, what, total > 0 ? (double)done / (double)total : 0);
}

static void note(const char *text, void *data)
{
    struct saving *saving = data;
    bar_end(&saving->bar);
    cli_note("%s", text);
}

/* One dataset is the answer; of folds each is said as it is saved, and JSON is an array. */
static void say(const bson_t *dataset, int saved, void *data)
{
    struct saving *saving = data;
    char key[16];
    bar_end(&saving->bar);
    if (saving->csv.folds == 0 || saving->cli->format == CLI_TABLE) {
        int code = save_say_saved(saving->cli, dataset, saved);
        saving->code = saving->code == CLI_DONE ? code : saving->code;
        return;
    }
    snprintf(key, sizeof key, "%u", (unsigned)saving->saved_count++);
    BSON_APPEND_DOCUMENT(&saving->saved, key, dataset);
}

static void say_folds(struct saving *saving)
{
    static const struct output_column columns[] = {{"name", "name", OUTPUT_TEXT}, {"version", "version", OUTPUT_AUTO},
                                                   {"rows", "rows", OUTPUT_AUTO}, {"id", "_id", OUTPUT_ID},
                                                   {NULL, NULL, OUTPUT_AUTO}};
    bson_iter_t at;
    bson_t one;
    struct output *output = output_open(saving->cli, columns, "dataset");
    bool more = output != NULL && bson_iter_init(&at, &saving->saved);
    while (more && bson_iter_next(&at)) {
        if (output_document(&at, &one)) {
            output_row(output, &one);
        }
    }
    saving->code = output != NULL ? output_close(output) : CLI_USAGE;
}

int save_csv(struct cli *cli, int64_t validation, double share, const bson_t *fields)
{
    struct saving saving = {.cli = cli, .code = CLI_DONE};
    bson_t dataset;
    bson_error_t error;

    bson_init(&saving.saved);
    saving.csv = (struct csv_options){.path = cli_text(cli, "csv"), .name = cli->arguments[0], .validation = validation,
                                      .validation_share = share, .seed = (uint64_t)cli_integer(cli, "seed", 0),
                                      .fields = fields, .progress = draw, .note = note, .saved = say, .data = &saving};
    int code = take_options(&saving);
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_CREATE);
    }
    if (code == CLI_DONE) {
        bar_init(&saving.bar, cli);
        int saved = csv_save_dataset(cli->hub, &saving.csv, &dataset, &error);
        bar_end(&saving.bar);
        if (saved >= 0 && saving.saved_count > 0) {
            say_folds(&saving);
        }
        code = saved < 0 ? cli_fail(&error) : saving.code;
        bson_destroy(&dataset);
    }
    for (size_t i = 0; i < saving.name_count; i++) {
        bson_free(saving.names[i]);
    }
    bson_free(saving.names);
    bson_free(saving.labels);
    bson_free(saving.types);
    bson_free(saving.missing);
    bson_destroy(&saving.saved);
    return code;
}
