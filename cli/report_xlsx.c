/* SPDX-License-Identifier: Apache-2.0 */
/* A report as a workbook. Every text is written as a text, never as a formula or a link. Rows go to the file as they are made. */
#include "cli/report.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <xlsxwriter.h>

struct sheet {
    lxw_worksheet *sheet;
    lxw_format *bold;
    lxw_row_t row;
    lxw_col_t column;
    lxw_error error;
};

static void note(struct sheet *sheet, lxw_error error)
{
    sheet->error = sheet->error == LXW_NO_ERROR ? error : sheet->error;
}

static void put_text(struct sheet *sheet, const char *text, lxw_format *format)
{
    char cut[4096];

    if (text != NULL) {
        size_t length = strlen(text);
        if (length >= sizeof cut) { /* a cell holds 32,767 characters */
            length = sizeof cut - 1;
            while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
                length--;
            }
        }
        memcpy(cut, text, length);
        cut[length] = '\0';
        note(sheet, worksheet_write_string(sheet->sheet, sheet->row, sheet->column, cut, format));
    }
    sheet->column++;
}

static void put_number(struct sheet *sheet, double number)
{
    if (isfinite(number)) {
        note(sheet, worksheet_write_number(sheet->sheet, sheet->row, sheet->column, number, NULL));
    }
    sheet->column++;
}

/* Whether the seed is a parameter of the points. */
static bool has_seed_column(const struct report *report)
{
    bool there = false;

    for (size_t i = 0; i < report->column_count; i++) {
        there = there || (report->columns[i].parameter && strcmp(report->columns[i].name, "seed") == 0);
    }
    return there;
}

static void put_header(struct sheet *sheet, const struct report *report)
{
    static const char *const first[] = {"rank", "task", "name", "state"}, *const last[] = {
        "objective", "deviation", "seeds", "seconds", "weights", "bytes"};

    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        put_text(sheet, first[i], sheet->bold);
    }
    if (!has_seed_column(report)) {
        put_text(sheet, "seed", sheet->bold);
    }
    for (size_t i = 0; i < report->column_count; i++) {
        char *name = bson_strdup_printf("%s%s", report->columns[i].parameter ? "" : "result.", report->columns[i].name);
        put_text(sheet, name, sheet->bold);
        bson_free(name);
    }
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        put_text(sheet, last[i], sheet->bold);
    }
}

static void put_row(struct sheet *sheet, const struct report *report, size_t index)
{
    const struct report_row *row = &report->rows[index];
    const struct report_point *point = &report->points[row->point];

    sheet->row++;
    sheet->column = 0;
    put_number(sheet, isnan(row->objective) ? NAN : (double)row->point + 1);
    put_number(sheet, (double)row->seq);
    put_text(sheet, row->name, NULL);
    put_text(sheet, row->state, NULL);
    if (!has_seed_column(report)) {
        put_number(sheet, row->seed == INT64_MIN ? NAN : (double)row->seed);
    }
    for (size_t i = 0; i < report->column_count; i++) {
        const struct report_column *column = &report->columns[i];
        if (column->texts != NULL && column->texts[index] != NULL) {
            put_text(sheet, column->texts[index], NULL);
        } else {
            put_number(sheet, column->numbers[index]);
        }
    }
    put_number(sheet, point->mean);
    put_number(sheet, point->deviation);
    put_number(sheet, (double)point->count);
    put_number(sheet, row->seconds);
    put_number(sheet, row->parameters);
    put_number(sheet, row->bytes);
}

int report_write_xlsx(const struct report *report, const char *path)
{
    lxw_workbook_options options = {.constant_memory = LXW_TRUE};

    FILE *file = fopen(path, "wbe"); /* the library would say on stderr what is wrong with the path */

    if (file == NULL) {
        return cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    fclose(file);
    lxw_workbook *book = workbook_new_opt(path, &options);
    if (book == NULL) {
        return cli_say(CLI_FAILED, "%s: cannot be written", path);
    }
    struct sheet sheet = {.sheet = workbook_add_worksheet(book, "tasks")};
    sheet.bold = workbook_add_format(book);
    if (sheet.sheet == NULL || sheet.bold == NULL) {
        workbook_close(book);
        return cli_say(CLI_FAILED, "%s: no memory for a sheet", path);
    }
    format_set_bold(sheet.bold);
    put_header(&sheet, report);
    lxw_col_t last = (lxw_col_t)(sheet.column - 1);
    for (size_t i = 0; i < report->row_count && i + 1 < LXW_ROW_MAX; i++) {
        put_row(&sheet, report, i);
    }
    worksheet_freeze_panes(sheet.sheet, 1, 0);
    note(&sheet, worksheet_autofilter(sheet.sheet, 0, 0, sheet.row, last));
    note(&sheet, workbook_close(book));
    return sheet.error == LXW_NO_ERROR ? CLI_DONE
                                       : cli_say(CLI_FAILED, "%s: %s", path, lxw_strerror(sheet.error));
}
