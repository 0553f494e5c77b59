/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_scan.h"

#include "distributor/csv_marks.h"
#include "distributor/gzip_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES (1 << 20)
#define SMALL_BUFFER (1 << 12)
#define ROOM         (CSV_MARKS_PADDING + 1) /* behind the buffer: a line end that the file lacks, and what is read over it */

struct csv_scan {
    char *path;
    char delimiter;
    int64_t skip;
    struct gzip_file *file;
    char *memory, *buffer; /* the buffer begins CSV_SCAN_MARGIN bytes within the memory */
    size_t capacity, length;
    bool ended;             /* there is nothing after what is in the buffer */
    int64_t lines_before;   /* lines before the buffer */
    struct csv_marks marks; /* of the buffer */
    size_t record;          /* records of the buffer that were given */
    size_t text, next;      /* where the last one began, and where the next does */
    char *unquoted;
    size_t unquoted_capacity;
};

static int refuse_read(const struct csv_scan *scan, bson_error_t *error)
{
    const char *reason;
    enum hub_error_code code = gzip_file_wrong(scan->file, &reason);
    if (code != HUB_ERROR_INVALID)
        return hub_error(error, code, "%s: %s", scan->path, reason);
    return hub_error(error, code, "%s:%lld:1: damaged gzip data after this line (%s)", scan->path,
                     (long long)(scan->lines_before + 1), reason);
}

/* ---- places ---- */

static int64_t line_at(const struct csv_scan *scan, size_t place, size_t *column)
{
    int64_t line = scan->lines_before + 1;
    size_t begin = 0;
    for (size_t i = 0; i < place && i < scan->length; i++)
        if (scan->buffer[i] == '\n') {
            line++;
            begin = i + 1;
        }
    *column = place - begin + 1;
    return line;
}

static int refuse_at(const struct csv_scan *scan, size_t place, bson_error_t *error, const char *why)
{
    size_t column;
    int64_t line = line_at(scan, place, &column);
    return hub_error(error, HUB_ERROR_INVALID, "%s:%lld:%zu: %s", scan->path, (long long)line, column, why);
}

int csv_scan_refuse(const struct csv_scan *scan, const struct csv_record *record, int64_t i, bson_error_t *error,
                    const char *format, ...)
{
    char *message;
    va_list arguments;
    size_t place = scan->text;
    va_start(arguments, format);
    int length = vasprintf(&message, format, arguments);
    va_end(arguments);
    if (length < 0)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to say what is wrong with it", scan->path);
    if (record && i > 0 && i < record->fields)
        place += record->ends[i - 1] + 1;
    refuse_at(scan, place, error, message);
    free(message);
    return -1;
}

int64_t csv_scan_line(const struct csv_scan *scan)
{
    size_t column;
    return line_at(scan, scan->text, &column);
}

const char *csv_scan_path(const struct csv_scan *scan)
{
    return scan->path;
}

double csv_scan_progress(const struct csv_scan *scan)
{
    return gzip_file_progress(scan->file);
}

/* ---- the buffer ---- */

static int make_room(struct csv_scan *scan, size_t capacity, bson_error_t *error)
{
    char *memory = realloc(scan->memory, CSV_SCAN_MARGIN + capacity + ROOM);
    if (memory && !scan->memory)
        memset(memory, 0, CSV_SCAN_MARGIN);
    if (memory) {
        scan->memory = memory;
        scan->buffer = memory + CSV_SCAN_MARGIN;
    }
    uint32_t *ends = realloc(scan->marks.ends, (capacity + ROOM + 64) * sizeof *ends);
    if (ends)
        scan->marks.ends = ends;
    uint32_t *records = realloc(scan->marks.records, (capacity + ROOM + 64) * sizeof *records);
    if (records)
        scan->marks.records = records;
    if (!memory || !ends || !records)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", scan->path);
    scan->capacity = capacity;
    return 0;
}

/* Reads on until the buffer is full or the file ends. The last line need not have an end. */
static int read_on(struct csv_scan *scan, bson_error_t *error)
{
    while (!scan->ended && scan->length < scan->capacity) {
        int64_t n = gzip_file_read(scan->file, scan->buffer + scan->length, scan->capacity - scan->length);
        if (n < 0)
            return refuse_read(scan, error);
        scan->ended = n == 0;
        scan->length += (size_t)n;
    }
    if (scan->ended && scan->length > 0 && scan->buffer[scan->length - 1] != '\n')
        scan->buffer[scan->length++] = '\n';
    return 0;
}

static int64_t count_lines(const char *text, size_t length)
{
    int64_t lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    return lines;
}

/* More records into the buffer, behind what is left of the last one: 1, 0 the file has ended, -1. */
static int fill(struct csv_scan *scan, bson_error_t *error)
{
    if (scan->record > 0) /* else it is only the byte order mark that goes */
        scan->lines_before += scan->marks.lines - count_lines(scan->buffer + scan->next, scan->length - scan->next);
    memmove(scan->buffer, scan->buffer + scan->next, scan->length - scan->next);
    scan->length -= scan->next;
    scan->record = scan->text = scan->next = 0;
    for (;;) {
        if (read_on(scan, error))
            return -1;
        memset(scan->buffer + scan->length, 0, CSV_MARKS_PADDING);
        csv_marks(scan->buffer, scan->length, scan->delimiter, &scan->marks);
        if (scan->marks.wrong != SIZE_MAX &&
            (scan->marks.record_count == 0 ||
             scan->marks.wrong <= scan->marks.ends[scan->marks.records[scan->marks.record_count - 1] - 1] || scan->ended))
            return 1; /* said when its record's turn comes */
        if (scan->marks.record_count > 0)
            return 1;
        if (scan->ended && scan->marks.opened != SIZE_MAX)
            return refuse_at(scan, scan->marks.opened, error, "this quote is never closed");
        if (scan->ended)
            return 0;
        if (scan->capacity >= CSV_RECORD_BYTES)
            return refuse_at(scan, scan->marks.opened != SIZE_MAX ? scan->marks.opened : 0, error,
                             scan->marks.opened != SIZE_MAX ? "this quote is not closed within 16 MiB"
                             : memchr(scan->buffer, '\r', scan->length)
                                 ? "lines end with CR alone: convert it, as with tr '\\r' '\\n'"
                                 : "a record of more than 16 MiB");
        if (make_room(scan, scan->capacity * 2, error))
            return -1;
    }
}

static bool skip_lines(struct csv_scan *scan, int64_t count, bson_error_t *error)
{
    for (char c = 0; count > 0; count--, scan->lines_before++) {
        int64_t n;
        do
            n = gzip_file_read(scan->file, &c, 1);
        while (n > 0 && c != '\n');
        if (n < 0)
            refuse_read(scan, error);
        if (n == 0)
            hub_error(error, HUB_ERROR_INVALID, "%s:%lld:1: the file ends within the lines that are to be skipped",
                      scan->path, (long long)(scan->lines_before + 1));
        if (n <= 0)
            return false;
    }
    return true;
}

/* A byte order mark goes; the files that have another one, or NUL bytes, are no UTF-8. */
static int begin(struct csv_scan *scan, bson_error_t *error)
{
    scan->ended = false;
    scan->length = scan->next = scan->text = scan->record = 0;
    scan->lines_before = 0;
    scan->marks.record_count = scan->marks.count = 0;
    if (!skip_lines(scan, scan->skip, error) || read_on(scan, error))
        return -1;
    const unsigned char *first = (const unsigned char *)scan->buffer;
    if (scan->length >= 2 && ((first[0] == 0xff && first[1] == 0xfe) || (first[0] == 0xfe && first[1] == 0xff)))
        return refuse_at(scan, 0, error, "UTF-16: convert it to UTF-8, as with iconv -f UTF-16 -t UTF-8");
    if (scan->length >= 3 && first[0] == 0xef && first[1] == 0xbb && first[2] == 0xbf)
        scan->next = 3;
    return 0;
}

/* A small file gets a small buffer, unless it is packed: nobody knows what is in it then. */
static size_t first_capacity(const struct csv_scan *scan)
{
    size_t capacity = SMALL_BUFFER;
    if (gzip_file_is_packed(scan->file))
        return BUFFER_BYTES;
    while (capacity < BUFFER_BYTES && (int64_t)capacity <= gzip_file_size(scan->file))
        capacity *= 2;
    return capacity;
}

struct csv_scan *csv_scan_open(const char *path, char delimiter, int64_t skip, bson_error_t *error)
{
    struct csv_scan *scan = calloc(1, sizeof *scan);
    if (!scan || !(scan->path = strdup(path))) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
        goto failed;
    }
    scan->delimiter = delimiter;
    scan->skip = skip;
    scan->file = gzip_file_open(path, error);
    if (!scan->file)
        goto failed;
    if (gzip_file_size(scan->file) < 0) {
        hub_error(error, HUB_ERROR_INVALID, "%s: not a file: it is read more than once", path);
        goto failed;
    }
    if (make_room(scan, first_capacity(scan), error) || begin(scan, error))
        goto failed;
    return scan;
failed:
    csv_scan_close(scan);
    return NULL;
}

void csv_scan_close(struct csv_scan *scan)
{
    if (!scan)
        return;
    gzip_file_close(scan->file);
    free(scan->path);
    free(scan->memory);
    free(scan->marks.ends);
    free(scan->marks.records);
    free(scan->unquoted);
    free(scan);
}

int csv_scan_rewind(struct csv_scan *scan, bson_error_t *error)
{
    if (gzip_file_rewind(scan->file))
        return hub_error(error, HUB_ERROR_IO, "%s: cannot be read again from its start", scan->path);
    return begin(scan, error);
}

/* ---- records ---- */

/* Is it an empty line? Those are passed over. */
static bool is_empty(const char *text, const struct csv_record *record)
{
    return record->fields == 1 && (record->ends[0] == 0 || (record->ends[0] == 1 && *text == '\r'));
}

int csv_scan_next(struct csv_scan *scan, struct csv_record *record, bson_error_t *error)
{
    do {
        if (scan->record == scan->marks.record_count) {
            int filled = fill(scan, error);
            if (filled <= 0)
                return filled;
        }
        const size_t first = scan->record ? scan->marks.records[scan->record - 1] : 0;
        scan->text = scan->next;
        if (scan->marks.wrong != SIZE_MAX &&
            (scan->record == scan->marks.record_count ||
             scan->marks.wrong < scan->marks.ends[scan->marks.records[scan->record] - 1]))
            return refuse_at(scan, scan->marks.wrong, error,
                             "a quote here: a field with quotes must begin and end with one, and those within are doubled");
        const size_t last = scan->marks.records[scan->record++];
        uint32_t *ends = scan->marks.ends + first;
        record->fields = (int64_t)(last - first);
        record->text = scan->buffer + scan->text;
        for (size_t i = 0; i < last - first; i++)
            ends[i] -= (uint32_t)scan->text;
        record->ends = ends;
        scan->next = scan->text + ends[last - first - 1] + 1;
    } while (is_empty(record->text, record));
    if (record->fields > CSV_FIELDS)
        return csv_scan_refuse(scan, record, -1, error, "%lld fields; at most %d are taken", (long long)record->fields,
                               CSV_FIELDS);
    return 1;
}

/* Doubled quotes become one. */
static struct csv_field unquote(struct csv_scan *scan, const char *text, size_t length)
{
    struct csv_field field = {.text = text, .length = length, .quoted = true};
    if (!memchr(text, '"', length))
        return field;
    if (scan->unquoted_capacity < length) {
        char *more = realloc(scan->unquoted, length);
        if (!more)
            return field; /* as it stands: the quotes stay doubled */
        scan->unquoted = more;
        scan->unquoted_capacity = length;
    }
    size_t out = 0;
    for (size_t i = 0; i < length; i++) {
        scan->unquoted[out++] = text[i];
        i += text[i] == '"' && i + 1 < length && text[i + 1] == '"';
    }
    field.text = scan->unquoted;
    field.length = out;
    return field;
}

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct csv_field csv_scan_field(struct csv_scan *scan, const struct csv_record *record, int64_t i)
{
    const char *begin = record->text + (i ? record->ends[i - 1] + 1 : 0), *end = record->text + record->ends[i];
    while (end > begin && space(end[-1]))
        end--;
    while (begin < end && space(*begin))
        begin++;
    if (end - begin >= 2 && *begin == '"' && end[-1] == '"')
        return unquote(scan, begin + 1, (size_t)(end - begin) - 2);
    return (struct csv_field){.text = begin, .length = (size_t)(end - begin)};
}

/* Not strndup: the text has no end but its length. */
char *csv_field_copy(const struct csv_field *field)
{
    char *copy = malloc(field->length + 1);
    if (copy) {
        memcpy(copy, field->text, field->length);
        copy[field->length] = '\0';
    }
    return copy;
}

int csv_scan_is_text(const char *path, bson_error_t *error)
{
    char first[512];
    struct gzip_file *file = gzip_file_open(path, error);
    if (!file)
        return -1;
    int64_t n = gzip_file_read(file, first, sizeof first);
    gzip_file_close(file);
    if (n < 0)
        return 0; /* damaged: its reader says how */
    return !memchr(first, '\0', (size_t)n) && (n < 6 || memcmp(first, "\x93NUMPY", 6)) && (n < 8 || first[8] != '{');
}
