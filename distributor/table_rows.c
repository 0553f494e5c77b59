/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/table_rows.h"
#include "distributor/csv_dialect.h"
#include "distributor/csv_number.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct table_rows {
    struct csv_scan *scan;
    struct csv_record record;
    char *path;      /* as the user gave it */
    char *converted; /* of a workbook: the file that is read */
    char **names;
    int64_t count;
    char decimal;
};

static bool is_workbook(const char *path)
{
    size_t length = strlen(path);
    return length > 5 && strcasecmp(path + length - 5, ".xlsx") == 0;
}

/* The first sheet as CSV in a file of one's own. Arguments go as they are: no shell sees them. */
static int convert(const char *path, char **converted, bson_error_t *error)
{
    const char *folder = getenv("TMPDIR");
    char *name = bson_strdup_printf("%s/tl_hub_table_XXXXXX", folder != NULL && *folder != '\0' ? folder : "/tmp");
    /* "./" before a relative path: it is no option then, whatever it begins with */
    char *input = bson_strdup_printf("%s%s", *path == '/' ? "" : "./", path);
    char program[] = "xlsx2csv";
    char *const words[] = {program, input, name, NULL};
    pid_t child;
    int status = 0, result = -1;
    int file = mkostemp(name, O_CLOEXEC);

    *converted = NULL;
    if (access(path, R_OK) != 0) {
        hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (file < 0) {
        hub_error(error, HUB_ERROR_IO, "%s: %s", name, strerror(errno));
        goto out;
    }
    int failed = posix_spawnp(&child, words[0], NULL, NULL, words, environ);
    if (failed != 0) {
        hub_error(error, HUB_ERROR_IO, "%s: the program xlsx2csv cannot be run (%s): install it, or save the table as CSV", path,
                  strerror(failed));
        goto out;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        hub_error(error, WIFEXITED(status) && WEXITSTATUS(status) == 127 ? HUB_ERROR_IO : HUB_ERROR_INVALID,
                  "%s: xlsx2csv cannot read it: is it a workbook?", path);
        goto out;
    }
    *converted = bson_strdup(name);
    result = 0;
out:
    if (file >= 0) {
        close(file);
        if (result < 0) {
            unlink(name);
        }
    }
    bson_free(input);
    bson_free(name);
    return result;
}

/* Messages name the user's file, not the one that a workbook became. */
static int rename_error(const struct table_rows *rows, bson_error_t *error)
{
    size_t length = rows->converted != NULL ? strlen(rows->converted) : 0;

    if (error != NULL && length > 0 && strncmp(error->message, rows->converted, length) == 0) {
        char *text = bson_strdup_printf("%s%s", rows->path, error->message + length);
        bson_strncpy(error->message, text, sizeof error->message);
        bson_free(text);
    }
    return -1;
}

static bool is_name(const char *name)
{
    return *name != '$' && *name != '.' && name[strlen(name) - 1] != '.' &&
           strpbrk(name, " \t\r\n\"'${}") == NULL && bson_utf8_validate(name, strlen(name), false);
}

static int read_header(struct table_rows *rows, bson_error_t *error)
{
    int more = csv_scan_next(rows->scan, &rows->record, error);

    if (more <= 0) {
        return more < 0 ? rename_error(rows, error)
                        : hub_error(error, HUB_ERROR_INVALID, "%s:1:1: it is empty: its first line names the columns", rows->path);
    }
    rows->names = bson_malloc0((size_t)rows->record.fields * sizeof *rows->names);
    for (int64_t i = 0; i < rows->record.fields; i++) {
        struct csv_field field = csv_scan_field(rows->scan, &rows->record, i);
        rows->names[rows->count++] = bson_strndup(field.text, field.length);
        if (*rows->names[i] != '\0' && !is_name(rows->names[i])) {
            csv_scan_refuse(rows->scan, &rows->record, i, error, "'%.100s' is no name of a column", rows->names[i]);
            return rename_error(rows, error);
        }
        for (int64_t j = 0; j < i; j++) {
            if (*rows->names[i] != '\0' && strcmp(rows->names[i], rows->names[j]) == 0) {
                csv_scan_refuse(rows->scan, &rows->record, i, error, "column %.100s is there twice", rows->names[i]);
                return rename_error(rows, error);
            }
        }
    }
    return 1;
}

struct table_rows *table_rows_open(const char *path, bson_error_t *error)
{
    struct table_rows *rows = bson_malloc0(sizeof *rows);
    struct csv_dialect dialect = {.header = 1};
    bool good = false;

    rows->path = bson_strdup(path);
    if (is_workbook(path) && convert(path, &rows->converted, error) < 0) {
        goto out;
    }
    const char *file = rows->converted != NULL ? rows->converted : path;
    if (csv_dialect_find(file, &dialect, error) < 0) {
        rename_error(rows, error);
        goto out;
    }
    rows->decimal = '.';
    rows->scan = csv_scan_open(file, dialect.delimiter, 0, error);
    good = rows->scan != NULL ? read_header(rows, error) > 0 : rename_error(rows, error) > 0;
out:
    csv_dialect_destroy(&dialect);
    if (!good) {
        table_rows_close(rows);
        rows = NULL;
    }
    return rows;
}

void table_rows_close(struct table_rows *rows)
{
    if (rows == NULL) {
        return;
    }
    csv_scan_close(rows->scan);
    if (rows->converted != NULL) {
        unlink(rows->converted);
    }
    for (int64_t i = 0; i < rows->count; i++) {
        bson_free(rows->names[i]);
    }
    bson_free(rows->names);
    bson_free(rows->converted);
    bson_free(rows->path);
    bson_free(rows);
}

static void append_value(const struct table_rows *rows, const char *name, const struct csv_field *field, bson_t *row)
{
    char *text = bson_strndup(field->text, field->length);
    double number;

    if (*text == '\'' && text[1] != '\0' && strchr("=+-@", text[1]) != NULL) {
        BSON_APPEND_UTF8(row, name, text + 1); /* what was put before a text that looks like a formula */
    } else if (!field->quoted && csv_number(field->text, field->length, rows->decimal, &number) == CSV_NUMBER_FINITE) {
        if (number == floor(number) && fabs(number) < 9e15 && strpbrk(text, ".eE") == NULL) {
            BSON_APPEND_INT64(row, name, (int64_t)number);
        } else {
            BSON_APPEND_DOUBLE(row, name, number);
        }
    } else if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0) {
        BSON_APPEND_BOOL(row, name, strcasecmp(text, "true") == 0);
    } else {
        BSON_APPEND_UTF8(row, name, text);
    }
    bson_free(text);
}

int table_rows_next(struct table_rows *rows, bson_t *row, bson_error_t *error)
{
    bson_init(row);
    int more = csv_scan_next(rows->scan, &rows->record, error);

    if (more <= 0) {
        return more < 0 ? rename_error(rows, error) : 0;
    }
    if (rows->record.fields != rows->count) {
        return table_rows_refuse(rows, NULL, error, "%lld cells, where the first line names %lld columns",
                                 (long long)rows->record.fields, (long long)rows->count);
    }
    for (int64_t i = 0; i < rows->count; i++) {
        struct csv_field field = csv_scan_field(rows->scan, &rows->record, i);
        if (!bson_utf8_validate(field.text, field.length, false)) {
            return table_rows_refuse(rows, rows->names[i], error, "is not UTF-8");
        }
        if (field.length > 0 && *rows->names[i] == '\0') { /* spreadsheets leave columns at the end that are empty */
            csv_scan_refuse(rows->scan, &rows->record, i, error, "a cell in a column without a name");
            return rename_error(rows, error);
        }
        if (field.length > 0) {
            append_value(rows, rows->names[i], &field, row);
        }
    }
    return 1;
}

int table_rows_refuse(const struct table_rows *rows, const char *column, bson_error_t *error, const char *format, ...)
{
    int64_t index = -1;
    va_list arguments;

    va_start(arguments, format);
    char *text = bson_strdupv_printf(format, arguments);
    va_end(arguments);
    for (int64_t i = 0; column != NULL && i < rows->count; i++) {
        index = strcmp(rows->names[i], column) == 0 && i < rows->record.fields ? i : index;
    }
    if (index >= 0) {
        csv_scan_refuse(rows->scan, &rows->record, index, error, "column %.60s: %.380s", rows->names[index], text);
    } else {
        csv_scan_refuse(rows->scan, &rows->record, -1, error, "%.400s", text);
    }
    bson_free(text);
    return rename_error(rows, error);
}
