/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"
#include "cli/json.h"
#include "cli/output_cell.h"
#include "cli/output_table.h"
#include "cli/text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>


static bool find_path(const bson_t *document, const char *path, bool nested, bson_iter_t *value)
{
    bson_iter_t iter;

    if (nested) {
        return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, value) && !BSON_ITER_HOLDS_NULL(value);
    }
    return bson_iter_init_find(value, document, path) && !BSON_ITER_HOLDS_NULL(value);
}

bool output_find(const bson_t *document, const char *path, bson_iter_t *value)
{
    size_t simple = strcspn(path, "|.");
    if (path[simple] != '|' && strchr(path + simple, '|') == NULL) {
        return *path != '\0' && find_path(document, path, path[simple] == '.', value);
    }
    for (const char *at = path; *at != '\0';) {
        size_t length = strcspn(at, "|");
        char *one = bson_strndup(at, length);
        bool found = find_path(document, one, strchr(one, '.') != NULL, value);
        bson_free(one);
        if (found) {
            return true;
        }
        at += length + (at[length] == '|');
    }
    return false;
}

double output_number(const bson_t *document, const char *path)
{
    bson_iter_t value;
    return output_find(document, path, &value) && BSON_ITER_HOLDS_NUMBER(&value) ? bson_iter_as_double(&value)
                                                                                 : (double)NAN;
}

const char *output_text(const bson_t *document, const char *path)
{
    bson_iter_t value;
    return output_find(document, path, &value) && BSON_ITER_HOLDS_UTF8(&value) ? bson_iter_utf8(&value, NULL) : NULL;
}

int64_t output_integer(const bson_t *document, const char *path, int64_t fallback)
{
    bson_iter_t value;
    return output_find(document, path, &value) && BSON_ITER_HOLDS_INT(&value) ? bson_iter_as_int64(&value) : fallback;
}

bool output_document(const bson_iter_t *iter, bson_t *view)
{
    const uint8_t *data = NULL;
    uint32_t length = 0;
    if (BSON_ITER_HOLDS_DOCUMENT(iter)) {
        bson_iter_document(iter, &length, &data);
    }
    return data != NULL && bson_init_static(view, data, length);
}

/* What is shown as words by default is so when it is asked for, too. A table has no place for a document's JSON. */
static void style_column(const struct output *output, const struct output_column *columns, struct output_column *column)
{
    for (size_t i = 0; output->cli->format == CLI_TABLE && columns[i].label != NULL; i++) {
        if (columns[i].style != OUTPUT_PARAMETERS) {
            continue;
        }
        if (strcmp(columns[i].label, column->path) == 0) {
            *column = columns[i];
        } else if (strcmp(column->path, "point") == 0 || strcmp(column->path, "hyper_parameters") == 0) {
            column->style = OUTPUT_PARAMETERS;
        }
    }
}

/* "a, b.c" as columns of their own. */
static int take_columns(struct output *output, const struct output_column *columns, const char *text)
{
    size_t count = 1;
    for (const char *c = text; *c != '\0'; c++) {
        count += *c == ',';
    }
    output->columns = bson_malloc0((count + 1) * sizeof *output->columns);
    output->owned = bson_malloc0(count * sizeof *output->owned);
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        const char *end = at + length;
        while (at < end && *at == ' ') {
            at++;
        }
        while (end > at && end[-1] == ' ') {
            end--;
        }
        char *path = bson_strndup(at, (size_t)(end - at));
        output->owned[output->owned_count++] = path;
        if (*path == '\0' || *path == '$' || *path == '.' || path[strlen(path) - 1] == '.' ||
            strstr(path, "..") != NULL) {
            return cli_usage(output->cli, "--columns: '%s' is not a path such as name or hyper_parameters.epochs",
                             path);
        }
        output->columns[output->column_count++] = (struct output_column){path, path, OUTPUT_AUTO};
        style_column(output, columns, &output->columns[output->column_count - 1]);
        at = at + strcspn(at, ",");
        if (*at == '\0') {
            return CLI_DONE;
        }
    }
}

static void print_csv_header(const struct output *output)
{
    bson_string_t *line = bson_string_new(NULL);
    for (size_t i = 0; i < output->column_count; i++) {
        if (i > 0) {
            bson_string_append_c(line, ',');
        }
        output_csv_text(line, output->columns[i].label, true);
    }
    printf("%s\r\n", line->str);
    bson_string_free(line, true);
}

struct output *output_open(struct cli *cli, const struct output_column *columns, const char *what)
{
    struct output *output = bson_malloc0(sizeof *output);
    bool has_option = cli_find_option(cli->command, "columns", strlen("columns"), 0) != NULL;
    const char *chosen = has_option ? cli_text(cli, "columns") : NULL;

    output->cli = cli;
    output->what = what;
    if (chosen != NULL) {
        output->chosen = true;
        if (take_columns(output, columns, chosen) != CLI_DONE) {
            output_abandon(output);
            return NULL;
        }
    } else {
        while (columns[output->column_count].label != NULL) {
            output->column_count++;
        }
        output->columns = bson_malloc0((output->column_count + 1) * sizeof *columns);
        memcpy(output->columns, columns, output->column_count * sizeof *columns);
        output->whole = cli->format == CLI_JSON;
    }
    output->right = bson_malloc0((output->column_count + 1) * sizeof *output->right);
    if (cli->format == CLI_JSON) {
        putchar('[');
    } else if (cli->format == CLI_CSV) {
        print_csv_header(output);
    }
    return output;
}

/* Whether one path is the other or lies inside it: a projection may not name both. */
static bool covers(const char *outer, const char *inner)
{
    size_t length = strlen(outer);
    return strncmp(outer, inner, length) == 0 && (inner[length] == '\0' || inner[length] == '.');
}

bool output_projection(const struct output *output, bson_t *projection)
{
    char *paths[256];
    size_t count = 0;

    bson_init(projection);
    if (output->whole) {
        return false;
    }
    for (size_t i = 0; i < output->column_count; i++) {
        for (const char *at = output->columns[i].path; *at != '\0';) {
            size_t length = strcspn(at, "|");
            if (count == sizeof paths / sizeof *paths) {
                break;
            }
            paths[count++] = bson_strndup(at, length);
            at += length + (at[length] == '|');
        }
    }
    for (size_t i = 0; i < count; i++) {
        bool covered = false;
        for (size_t j = 0; j < count && !covered; j++) {
            covered = i != j && covers(paths[j], paths[i]) && (strcmp(paths[i], paths[j]) != 0 || j < i);
        }
        if (!covered) {
            BSON_APPEND_INT32(projection, paths[i], 1);
        }
    }
    bool complete = count < sizeof paths / sizeof *paths;
    for (size_t i = 0; i < count; i++) {
        bson_free(paths[i]);
    }
    return complete && count > 0;
}

static void print_json_row(struct output *output, const bson_t *document)
{
    bson_string_t *line = bson_string_new(output->row_count > 0 ? ",\n " : "\n ");

    if (output->whole) {
        json_append_document(line, document);
    } else {
        bool first = true;
        bson_string_append_c(line, '{');
        for (size_t i = 0; i < output->column_count; i++) {
            bson_iter_t value;
            if (!first) {
                bson_string_append(line, ", ");
            }
            first = false;
            json_append_string(line, output->columns[i].label, strlen(output->columns[i].label));
            bson_string_append(line, ": ");
            if (output_find(document, output->columns[i].path, &value)) {
                json_append_value(line, &value);
            } else {
                bson_string_append(line, "null");
            }
        }
        bson_string_append_c(line, '}');
    }
    fputs(line->str, stdout);
    bson_string_free(line, true);
}

static void print_csv_row(const struct output *output, const bson_t *document)
{
    bson_string_t *line = bson_string_new(NULL);
    for (size_t i = 0; i < output->column_count; i++) {
        bson_iter_t value;
        if (i > 0) {
            bson_string_append_c(line, ',');
        }
        if (output_find(document, output->columns[i].path, &value)) {
            output_csv_cell(line, &value);
        }
    }
    printf("%s\r\n", line->str);
    bson_string_free(line, true);
}

static void keep_table_row(struct output *output, const bson_t *document)
{
    size_t used = output->row_count * output->column_count;
    if (used + output->column_count > output->cell_capacity) {
        output->cell_capacity = 2 * output->cell_capacity + 16 * output->column_count;
        output->cells = bson_realloc(output->cells, output->cell_capacity * sizeof *output->cells);
    }
    for (size_t i = 0; i < output->column_count; i++) {
        bson_string_t *cell = bson_string_new(NULL);
        bson_iter_t value;
        bool right = false;
        if (output_find(document, output->columns[i].path, &value)) {
            if (output->columns[i].style == OUTPUT_DATE && BSON_ITER_HOLDS_DATE_TIME(&value) && output_is_fitted(output)) {
                output_age_cell(cell, bson_iter_date_time(&value));
            } else {
                output_table_cell(cell, &value, output->columns[i].style, &right);
            }
            output->right[i] = output->right[i] || right;
        }
        output->cells[used + i] = bson_string_free(cell, false);
    }
}

void output_row(struct output *output, const bson_t *document)
{
    if (output->cli->format == CLI_JSON) {
        print_json_row(output, document);
    } else if (output->cli->format == CLI_CSV) {
        print_csv_row(output, document);
    } else {
        keep_table_row(output, document);
    }
    output->row_count++;
}

int output_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cli_say(CLI_FAILED, "standard output: %s", strerror(errno));
    }
    return CLI_DONE;
}

int output_close(struct output *output)
{
    size_t rows = output->row_count;

    if (output->cli->format == CLI_JSON) {
        puts(rows > 0 ? "\n]" : "]");
    } else if (output->cli->format == CLI_TABLE && rows > 0) {
        output_print_table(output);
    }
    int code = output_flush();
    if (code == CLI_DONE && rows == 0) {
        code = cli_say(CLI_NOTHING, "no %ss found", output->what);
    }
    output_abandon(output);
    return code;
}

void output_abandon(struct output *output)
{
    if (output == NULL) {
        return;
    }
    for (size_t i = 0; output->cells != NULL && i < output->row_count * output->column_count; i++) {
        bson_free(output->cells[i]);
    }
    for (size_t i = 0; i < output->owned_count; i++) {
        bson_free(output->owned[i]);
    }
    bson_free(output->cells);
    bson_free(output->owned);
    bson_free(output->columns);
    bson_free(output->right);
    bson_free(output);
}

int output_object(struct cli *cli, const bson_t *document, const char *format, ...)
{
    bson_string_t *text = bson_string_new(NULL);

    if (cli->format == CLI_JSON) {
        json_append_document(text, document);
        puts(text->str);
    } else if (cli->format == CLI_CSV) {
        bson_string_t *header = bson_string_new(NULL);
        bson_iter_t iter;
        bool more = bson_iter_init(&iter, document) && bson_iter_next(&iter);
        while (more) {
            output_csv_text(header, bson_iter_key(&iter), true);
            output_csv_cell(text, &iter);
            more = bson_iter_next(&iter);
            if (more) {
                bson_string_append_c(header, ',');
                bson_string_append_c(text, ',');
            }
        }
        printf("%s\r\n%s\r\n", header->str, text->str);
        bson_string_free(header, true);
    } else {
        va_list arguments;
        va_start(arguments, format);
        char *line = bson_strdupv_printf(format, arguments);
        va_end(arguments);
        text_append_escaped(text, line, strlen(line));
        puts(text->str);
        bson_free(line);
    }
    bson_string_free(text, true);
    return output_flush();
}
