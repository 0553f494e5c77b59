/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/prediction_print.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/output_cell.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_CLASSES 16 /* more probabilities are no table that a person reads */
#define TABLE_TOP     3
#define NAME_WIDTH    24
#define PROBABILITY_WIDTH 6 /* "0.1234" */
#define NUMBER_WIDTH  12 /* "-1.23457e-05" */

struct prediction_print {
    struct cli *cli;
    struct predict_about about;
    int64_t top;         /* 0: every class */
    bool probabilities;
    char **names;        /* of classes; NULL: not known */
    int row_width, class_width;
    int *widths;         /* (outputs): of the columns of all probabilities in a table; NULL: there are none */
    int64_t *order;      /* (top) */
    bson_string_t *line;
    int64_t rows;
};

/* The shortest decimal that reads back as the same float. */
static void append_float(bson_string_t *line, float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    bson_string_append(line, text);
}

static void append_spaces(bson_string_t *line, int count)
{
    for (; count > 0; count--) {
        bson_string_append_c(line, ' ');
    }
}

/* A cell of a table and the gap after it. */
static void append_cell(bson_string_t *line, const char *text, int width, bool right)
{
    bson_string_t *cell = bson_string_new(NULL);
    text_append_escaped(cell, text, strlen(text));
    text_cut(cell, (size_t)width);
    int free = width - (int)text_width(cell->str);
    append_spaces(line, right ? free : 0);
    bson_string_append(line, cell->str);
    append_spaces(line, (right ? 0 : free) + 2);
    bson_string_free(cell, true);
}

static void append_number(bson_string_t *line, int64_t number, int width)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    append_cell(line, text, width, true);
}

static const char *class_text(const struct prediction_print *print, int64_t class, char number[24])
{
    if (print->names != NULL && class >= 0 && class < print->about.outputs) {
        return print->names[class];
    }
    snprintf(number, 24, "%lld", (long long)class);
    return number;
}

static void append_class(const struct prediction_print *print, int64_t class)
{
    char number[24];
    append_cell(print->line, class_text(print, class, number), print->class_width, print->names == NULL);
}

static void put_line(struct prediction_print *print, const char *end)
{
    size_t length = print->line->len;
    while (length > 0 && print->line->str[length - 1] == ' ') {
        length--;
    }
    fwrite(print->line->str, 1, length, stdout);
    fputs(end, stdout);
    bson_string_truncate(print->line, 0);
}

/* ---- the head ---- */

static void take_names(struct prediction_print *print)
{
    bson_iter_t at;
    size_t count = 0;

    if (print->about.names == NULL || !bson_iter_init(&at, print->about.names)) {
        return;
    }
    print->names = bson_malloc0((size_t)(print->about.outputs + 1) * sizeof *print->names);
    while (bson_iter_next(&at) && count < (size_t)print->about.outputs) {
        print->names[count++] = bson_strdup(BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : "");
    }
    while (count < (size_t)print->about.outputs) {
        print->names[count++] = bson_strdup("");
    }
}

static int digits_of(int64_t number)
{
    int digits = 1;
    for (; number >= 10; number /= 10) {
        digits++;
    }
    return digits;
}

static void measure(struct prediction_print *print)
{
    print->row_width = digits_of(print->about.rows);
    print->row_width = print->row_width < 3 ? 3 : print->row_width;
    print->class_width = digits_of(print->about.outputs);
    bool all = print->cli->format == CLI_TABLE && print->about.classes && print->probabilities && print->top == 0;
    print->widths = all ? bson_malloc0((size_t)print->about.outputs * sizeof *print->widths) : NULL;
    for (int64_t i = 0; (all || print->names != NULL) && i < print->about.outputs; i++) {
        char number[24];
        const char *text = class_text(print, i, number);
        bson_string_t *name = bson_string_new(NULL);
        text_append_escaped(name, text, strlen(text));
        int width = (int)text_width(name->str);
        width = width > NAME_WIDTH ? NAME_WIDTH : width;
        print->class_width = width > print->class_width ? width : print->class_width;
        if (all) {
            print->widths[i] = width > PROBABILITY_WIDTH ? width : PROBABILITY_WIDTH;
        }
        bson_string_free(name, true);
    }
    print->class_width = print->class_width < 5 ? 5 : print->class_width; /* "class", "label" */
}

static void table_head(struct prediction_print *print)
{
    bson_string_t *line = print->line;
    bool right = print->names == NULL;
    char text[48];

    append_cell(line, "row", print->row_width, true);
    for (int64_t i = 0; !print->about.classes && print->about.compared && i < print->about.outputs; i++) {
        snprintf(text, sizeof text, "target %lld", (long long)i);
        append_cell(line, print->about.outputs > 1 ? text : "target", NUMBER_WIDTH, true);
    }
    for (int64_t i = 0; !print->about.classes && i < print->about.outputs; i++) {
        snprintf(text, sizeof text, "value %lld", (long long)i);
        append_cell(line, print->about.outputs > 1 ? text : "value", NUMBER_WIDTH, true);
    }
    if (print->about.classes && print->about.compared) {
        append_cell(line, "label", print->class_width, right);
    }
    for (int64_t i = 0; print->about.classes && i < (print->top > 0 ? print->top : 1); i++) {
        append_cell(line, "class", print->class_width, right);
        if (print->probabilities) {
            append_cell(line, "probability", 11, true);
        }
    }
    for (int64_t i = 0; print->widths != NULL && i < print->about.outputs; i++) {
        append_cell(line, class_text(print, i, text), print->widths[i], true);
    }
    put_line(print, "\n");
}

static void csv_head(struct prediction_print *print)
{
    bson_string_t *line = print->line;
    bool names = print->names != NULL;

    bson_string_append(line, "row");
    if (!print->about.classes) {
        for (int64_t i = 0; print->about.compared && i < print->about.outputs; i++) {
            bson_string_append_printf(line, ",target_%lld", (long long)i);
        }
        for (int64_t i = 0; i < print->about.outputs; i++) {
            bson_string_append_printf(line, ",value_%lld", (long long)i);
        }
    } else {
        bson_string_append(line, print->about.compared ? ",label" : "");
        for (int64_t i = 0; i < (print->top > 0 ? print->top : 1); i++) {
            char number[24] = "";
            if (print->top > 1) {
                snprintf(number, sizeof number, "_%lld", (long long)i + 1);
            }
            bson_string_append_printf(line, ",class%s", number);
            if (names) {
                bson_string_append_printf(line, ",name%s", number);
            }
            if (print->probabilities) {
                bson_string_append_printf(line, ",probability%s", number);
            }
        }
        for (int64_t i = 0; print->probabilities && print->top == 0 && i < print->about.outputs; i++) {
            bson_string_append_printf(line, ",p_%lld", (long long)i);
        }
    }
    put_line(print, "\r\n");
}

struct prediction_print *prediction_print_open(struct cli *cli, const struct predict_about *about, int64_t top,
                                               bool probabilities)
{
    struct prediction_print *print = bson_malloc0(sizeof *print);

    print->cli = cli;
    print->about = *about;
    print->probabilities = probabilities;
    print->line = bson_string_new(NULL);
    if (about->classes) {
        print->top = top > about->outputs ? about->outputs : top;
        if (cli->format == CLI_TABLE && top == 0 && probabilities && about->outputs > TABLE_CLASSES) {
            print->top = TABLE_TOP;
        }
    }
    print->order = bson_malloc0((size_t)(print->top + 1) * sizeof *print->order);
    take_names(print);
    measure(print);
    if (cli->format == CLI_TABLE) {
        table_head(print);
    } else if (cli->format == CLI_CSV) {
        csv_head(print);
    } else {
        putchar('[');
    }
    return print;
}

/* ---- rows ---- */

/* The most probable classes of a row into print->order, in order; at least the first. */
static int64_t find_top(struct prediction_print *print, const float *p)
{
    int64_t wanted = print->top > 0 ? print->top : 1, found = 0;
    for (int64_t class = 0; class < print->about.outputs; class ++) {
        int64_t at = found;
        if (found == wanted && !(p[class] > p[print->order[found - 1]])) {
            continue;
        }
        at = found < wanted ? found++ : found - 1;
        while (at > 0 && p[class] > p[print->order[at - 1]]) {
            print->order[at] = print->order[at - 1];
            at--;
        }
        print->order[at] = class;
    }
    return found;
}

static void table_row(struct prediction_print *print, const struct predict_batch *batch, int64_t i)
{
    bson_string_t *line = print->line;
    const int64_t width = print->about.outputs;
    const float *out = batch->out + i * width;
    char text[32];

    append_number(line, batch->first + i, print->row_width);
    if (!print->about.classes) {
        for (int64_t j = 0; print->about.compared && j < width; j++) {
            text[0] = '\0';
            if (batch->targets != NULL) {
                snprintf(text, sizeof text, "%.6g", (double)batch->targets[i * width + j]);
            }
            append_cell(line, text, NUMBER_WIDTH, true);
        }
        for (int64_t j = 0; j < width; j++) {
            snprintf(text, sizeof text, "%.6g", (double)out[j]);
            append_cell(line, text, NUMBER_WIDTH, true);
        }
        put_line(print, "\n");
        return;
    }
    int64_t found = find_top(print, out);
    if (print->about.compared && batch->labels != NULL) {
        append_class(print, batch->labels[i]);
    } else if (print->about.compared) {
        append_cell(line, "", print->class_width, true);
    }
    for (int64_t j = 0; j < found; j++) {
        append_class(print, print->order[j]);
        if (print->probabilities) {
            snprintf(text, sizeof text, "%.4f", (double)out[print->order[j]]);
            append_cell(line, text, 11, true);
        }
    }
    for (int64_t j = 0; print->widths != NULL && j < width; j++) {
        snprintf(text, sizeof text, "%.4f", (double)out[j]);
        append_cell(line, text, print->widths[j], true);
    }
    put_line(print, "\n");
}

static void csv_row(struct prediction_print *print, const struct predict_batch *batch, int64_t i)
{
    bson_string_t *line = print->line;
    const int64_t width = print->about.outputs;
    const float *out = batch->out + i * width;

    bson_string_append_printf(line, "%lld", (long long)(batch->first + i));
    for (int64_t j = 0; !print->about.classes && print->about.compared && j < width; j++) {
        bson_string_append_c(line, ',');
        if (batch->targets != NULL) {
            append_float(line, batch->targets[i * width + j]);
        }
    }
    if (print->about.classes) {
        int64_t found = find_top(print, out);
        if (print->about.compared) {
            bson_string_append_c(line, ',');
        }
        if (print->about.compared && batch->labels != NULL) {
            bson_string_append_printf(line, "%d", (int)batch->labels[i]);
        }
        for (int64_t j = 0; j < found; j++) {
            bson_string_append_printf(line, ",%lld", (long long)print->order[j]);
            if (print->names != NULL) {
                bson_string_append_c(line, ',');
                output_csv_text(line, print->names[print->order[j]], true);
            }
            if (print->probabilities) {
                bson_string_append_c(line, ',');
                append_float(line, out[print->order[j]]);
            }
        }
    }
    for (int64_t j = 0; (!print->about.classes || (print->probabilities && print->top == 0)) && j < width; j++) {
        bson_string_append_c(line, ',');
        append_float(line, out[j]);
    }
    put_line(print, "\r\n");
}

static void json_floats(bson_string_t *line, const char *key, const float *values, int64_t count)
{
    bson_string_append_printf(line, ", \"%s\": [", key);
    for (int64_t j = 0; j < count; j++) {
        bson_string_append(line, j > 0 ? ", " : "");
        append_float(line, values[j]);
    }
    bson_string_append_c(line, ']');
}

static void json_class(struct prediction_print *print, const float *out, int64_t class)
{
    bson_string_t *line = print->line;
    bson_string_append_printf(line, "\"class\": %lld", (long long)class);
    if (print->names != NULL) {
        bson_string_append(line, ", \"name\": ");
        json_append_string(line, print->names[class], strlen(print->names[class]));
    }
    if (print->probabilities) {
        bson_string_append(line, ", \"probability\": ");
        append_float(line, out[class]);
    }
}

static void json_row(struct prediction_print *print, const struct predict_batch *batch, int64_t i)
{
    bson_string_t *line = print->line;
    const int64_t width = print->about.outputs;
    const float *out = batch->out + i * width;

    bson_string_append(line, print->rows > 0 ? ",\n " : "\n ");
    bson_string_append_printf(line, "{\"row\": %lld", (long long)(batch->first + i));
    if (!print->about.classes) {
        if (batch->targets != NULL) {
            json_floats(line, "targets", batch->targets + i * width, width);
        }
        json_floats(line, "values", out, width);
    } else {
        int64_t found = find_top(print, out);
        if (print->about.compared && batch->labels != NULL) {
            bson_string_append_printf(line, ", \"label\": %d", (int)batch->labels[i]);
        }
        bson_string_append(line, ", ");
        json_class(print, out, print->order[0]);
        if (print->top > 0) {
            bson_string_append(line, ", \"top\": [");
            for (int64_t j = 0; j < found; j++) {
                bson_string_append(line, j > 0 ? ", {" : "{");
                json_class(print, out, print->order[j]);
                bson_string_append_c(line, '}');
            }
            bson_string_append_c(line, ']');
        } else if (print->probabilities) {
            json_floats(line, "probabilities", out, width);
        }
    }
    put_line(print, "}");
}

void prediction_print_rows(struct prediction_print *print, const struct predict_batch *batch)
{
    for (int64_t i = 0; i < batch->rows; i++) {
        if (print->cli->format == CLI_TABLE) {
            table_row(print, batch, i);
        } else if (print->cli->format == CLI_CSV) {
            csv_row(print, batch, i);
        } else {
            json_row(print, batch, i);
        }
        print->rows++;
    }
}

int prediction_print_close(struct prediction_print *print, bool complete)
{
    if (print == NULL) {
        return CLI_DONE;
    }
    if (complete && print->cli->format == CLI_JSON) {
        puts(print->rows > 0 ? "\n]" : "]");
    }
    for (int64_t i = 0; print->names != NULL && i < print->about.outputs; i++) {
        bson_free(print->names[i]);
    }
    bson_free(print->names);
    bson_free(print->order);
    bson_free(print->widths);
    bson_string_free(print->line, true);
    bson_free(print);
    return output_flush();
}
