/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output_table.h"
#include "cli/output_cell.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NARROWEST 8 /* columns that a cut text keeps */

static bool has_part(const char *cell, const char *part, size_t length)
{
    for (const char *at = cell;;) {
        size_t here = strcspn(at, "\x1f");
        if (here == length && memcmp(at, part, length) == 0) {
            return true;
        }
        if (at[here] == '\0') {
            return false;
        }
        at += here + 1;
    }
}

/* Parameters that are the same in every row say nothing in a table: drops them, and spaces the others. */
static void tidy_parameters(struct output *output, size_t column)
{
    size_t rows = output->row_count, width = output->column_count;
    char *sample = bson_strdup(rows > 0 ? output->cells[column] : "");
    bool *keep;
    size_t parts = 1, index = 0;

    for (const char *c = sample; *c != '\0'; c++) {
        parts += *c == OUTPUT_PART;
    }
    keep = bson_malloc0(parts * sizeof *keep);
    for (const char *at = sample; index < parts; index++) {
        size_t length = strcspn(at, "\x1f");
        keep[index] = rows < 2;
        for (size_t row = 1; row < rows && !keep[index]; row++) {
            keep[index] = !has_part(output->cells[row * width + column], at, length);
        }
        at += length + (at[length] != '\0');
    }
    for (size_t row = 0; row < rows; row++) {
        char **cell = &output->cells[row * width + column];
        bson_string_t *out = bson_string_new(NULL);
        for (const char *at = *cell; *at != '\0';) {
            size_t length = strcspn(at, "\x1f");
            bool same = false;
            const char *common = sample;
            for (index = 0; index < parts; index++) {
                size_t common_length = strcspn(common, "\x1f");
                same = same || (!keep[index] && common_length == length && memcmp(common, at, length) == 0);
                common += common_length + (common[common_length] != '\0');
            }
            if (!same) {
                bson_string_append_printf(out, "%s%.*s", out->len > 0 ? " " : "", (int)length, at);
            }
            at += length + (at[length] != '\0');
        }
        bson_free(*cell);
        *cell = bson_string_free(out, false);
    }
    bson_free(keep);
    bson_free(sample);
}

static void remove_columns(struct output *output, const bool *gone)
{
    size_t count = output->column_count, kept = 0;

    for (size_t i = 0; i < count; i++) {
        kept += !gone[i];
    }
    for (size_t row = 0, to = 0; row < output->row_count; row++) {
        for (size_t i = 0; i < count; i++) {
            char *cell = output->cells[row * count + i];
            if (gone[i]) {
                bson_free(cell);
            } else {
                output->cells[to++] = cell;
            }
        }
    }
    for (size_t i = 0, to = 0; i < count; i++) {
        if (!gone[i]) {
            output->right[to] = output->right[i];
            output->columns[to++] = output->columns[i];
        }
    }
    output->column_count = kept;
}

/* Takes the columns out in which no row has anything, unless the user asked for them. */
static void drop_empty_columns(struct output *output)
{
    size_t count = output->column_count;
    bool *empty = bson_malloc0((count + 1) * sizeof *empty);

    for (size_t i = 0; i < count; i++) {
        empty[i] = !output->chosen;
        for (size_t row = 0; row < output->row_count && empty[i]; row++) {
            empty[i] = output->cells[row * count + i][0] == '\0';
        }
    }
    remove_columns(output, empty);
    bson_free(empty);
}

bool output_is_fitted(const struct output *output)
{
    return output->cli->stdout_terminal || getenv("COLUMNS") != NULL;
}

static size_t terminal_width(void)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    long given = columns != NULL ? strtol(columns, NULL, 10) : 0;

    if (given > 0) {
        return (size_t)given;
    }
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* How much a column says: what says least gives way first. Others (SIZE_MAX) are never cut. */
enum { RANK_SAME, RANK_TEXT, RANK_ID, RANK_PARAMETERS };

static bool is_same_in_every_row(const struct output *output, size_t column)
{
    size_t count = output->column_count;
    for (size_t row = 1; row < output->row_count; row++) {
        if (strcmp(output->cells[column], output->cells[row * count + column]) != 0) {
            return false;
        }
    }
    return output->row_count > 1;
}

static size_t rank_of(const struct output *output, size_t column)
{
    enum output_style style = output->columns[column].style;

    if (output->right[column]) {
        return SIZE_MAX;
    }
    if (style == OUTPUT_PARAMETERS) {
        return RANK_PARAMETERS;
    }
    if (style == OUTPUT_ID) {
        return RANK_ID;
    }
    if (style == OUTPUT_TEXT || style == OUTPUT_AUTO) {
        return is_same_in_every_row(output, column) ? RANK_SAME : RANK_TEXT;
    }
    return SIZE_MAX;
}

static size_t total_width(const struct output *output, const size_t *widths)
{
    size_t total = 0;
    for (size_t i = 0; i < output->column_count; i++) {
        total += widths[i] + (i > 0 ? 2 : 0);
    }
    return total;
}

/* Makes the widest columns of this rank narrower until the table fits or they can give no more. */
static void narrow(const struct output *output, size_t rank, size_t room, size_t *widths)
{
    for (size_t total = total_width(output, widths); total > room; total--) {
        size_t widest = SIZE_MAX;
        for (size_t i = 0; i < output->column_count; i++) {
            if (rank_of(output, i) == rank && widths[i] > NARROWEST &&
                (widest == SIZE_MAX || widths[i] > widths[widest])) {
                widest = i;
            }
        }
        if (widest == SIZE_MAX) {
            return;
        }
        widths[widest]--;
    }
}

static bool is_least(const struct output *output, size_t column, enum output_style style)
{
    return style == OUTPUT_TEXT ? rank_of(output, column) == RANK_SAME : output->columns[column].style == style;
}

/* Takes the last column of this style out; of texts one that is the same in every row. */
static bool drop_one(struct output *output, enum output_style style, size_t *widths)
{
    size_t count = output->column_count, at = count;
    bool *gone = bson_malloc0((count + 1) * sizeof *gone);

    while (at > 0 && !is_least(output, at - 1, style)) {
        at--;
    }
    if (at > 0) {
        gone[at - 1] = true;
        memmove(&widths[at - 1], &widths[at], (count - at) * sizeof *widths);
        remove_columns(output, gone);
    }
    bson_free(gone);
    return at > 0;
}

/* Texts give way first, then dates, times, sizes and what is the same in every row go (unless they were asked for), and the
 * parameters that tell the rows apart are cut last. */
static void fit(struct output *output, size_t *widths)
{
    static const enum output_style least[] = {OUTPUT_DATE, OUTPUT_SECONDS, OUTPUT_BYTES, OUTPUT_TEXT};
    size_t room = terminal_width();

    for (size_t rank = 0; rank < RANK_PARAMETERS; rank++) {
        narrow(output, rank, room, widths);
    }
    for (size_t i = 0; !output->chosen && i < sizeof least / sizeof *least; i++) {
        while (total_width(output, widths) > room && drop_one(output, least[i], widths)) {
        }
    }
    narrow(output, RANK_PARAMETERS, room, widths);
}

static const char *state_color(const char *state)
{
    static const char *const colors[][2] = {{"done", "32"},   {"failed", "31"},    {"dead", "31"},   {"running", "36"},
                                            {"paused", "33"}, {"parked", "33"}, {"cancelled", "33"}, {"stopped", "33"}};
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
        if (strcmp(state, colors[i][0]) == 0) {
            return colors[i][1];
        }
    }
    return NULL;
}

static void print_cell(const struct output *output, size_t column, const char *text, size_t width, const char *color)
{
    bson_string_t *cut = bson_string_new(text);
    bool last = column + 1 == output->column_count;

    text_cut(cut, width);
    size_t pad = width - text_width(cut->str);
    if (column > 0) {
        fputs("  ", stdout);
    }
    if (output->right[column]) {
        printf("%*s", (int)pad, "");
    }
    if (color != NULL) {
        printf("\x1b[%sm%s\x1b[0m", color, cut->str);
    } else {
        fputs(cut->str, stdout);
    }
    if (!output->right[column] && !last) {
        printf("%*s", (int)pad, "");
    }
    bson_string_free(cut, true);
}

void output_print_table(struct output *output)
{
    for (size_t i = 0; i < output->column_count; i++) {
        if (output->columns[i].style == OUTPUT_PARAMETERS) {
            tidy_parameters(output, i);
        }
    }
    drop_empty_columns(output);
    size_t count = output->column_count;
    size_t *widths = bson_malloc0((count + 1) * sizeof *widths);
    for (size_t i = 0; i < count; i++) {
        widths[i] = text_width(output->columns[i].label);
        for (size_t row = 0; row < output->row_count; row++) {
            size_t width = text_width(output->cells[row * count + i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    if (output_is_fitted(output)) {
        fit(output, widths);
        count = output->column_count;
    }
    for (size_t i = 0; i < count; i++) {
        print_cell(output, i, output->columns[i].label, widths[i], output->cli->color ? "1" : NULL);
    }
    putchar('\n');
    for (size_t row = 0; row < output->row_count; row++) {
        for (size_t i = 0; i < count; i++) {
            const char *cell = output->cells[row * count + i];
            bool colored = output->cli->color && output->columns[i].style == OUTPUT_STATE;
            print_cell(output, i, cell, widths[i], colored ? state_color(cell) : NULL);
        }
        putchar('\n');
    }
    bson_free(widths);
}
