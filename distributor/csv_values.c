/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_values.h"

#include "distributor/csv_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SHOWN 40 /* bytes of a field in a message */

int csv_values_init(struct csv_values *values, struct csv_scan *scan, char decimal, int64_t count, bson_error_t *error)
{
    *values = (struct csv_values){.scan = scan, .decimal = decimal, .count = count};
    values->columns = calloc((size_t)count, sizeof *values->columns);
    values->values = calloc((size_t)count, sizeof *values->values);
    values->ids = calloc((size_t)count, sizeof *values->ids);
    for (int64_t i = 0; values->values && i < count; i++)
        values->values[i] = NAN; /* what is skipped stays so */
    if (values->columns && values->values && values->ids)
        return 0;
    csv_values_destroy(values);
    return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", csv_scan_path(scan));
}

void csv_values_destroy(struct csv_values *values)
{
    for (int64_t i = 0; values->columns && i < values->count; i++)
        free(values->columns[i].infinite);
    free(values->columns);
    free(values->values);
    free(values->ids);
    *values = (struct csv_values){.count = 0};
}

void csv_values_reset(struct csv_values *values)
{
    for (int64_t i = 0; i < values->count; i++) {
        struct csv_column *column = &values->columns[i];
        column->missing = column->other = column->text_line = 0;
        free(column->infinite);
        column->infinite = NULL;
    }
}

bool csv_is_missing(const char *text, size_t length)
{
    static const char *const names[] = {"NA", "N/A", "NaN", "null", "None", "?", "#N/A", "<NA>", "-nan", "n.a."};
    if (length == 0)
        return true;
    if (length > 4 || !strchr("Nn?#<-", *text)) /* what they begin with */
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && !strncasecmp(names[i], text, length))
            return true;
    return false;
}

/* ---- one field ---- */

/* A field in a message: cut, and what is no text shown as '?'. */
static void show(char out[SHOWN + 4], struct csv_field field)
{
    size_t length = field.length < SHOWN ? field.length : SHOWN;
    while (length < field.length && length > 0 && ((unsigned char)field.text[length] & 0xc0) == 0x80)
        length--;
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)field.text[i] < ' ' ? '?' : field.text[i];
    memcpy(out + length, length < field.length ? "..." : "", length < field.length ? 4 : 1);
}

static int refuse_field(const struct csv_values *values, const struct csv_record *record, int64_t i, struct csv_field field,
                        const char *why, bson_error_t *error)
{
    char shown[SHOWN + 4];
    show(shown, field);
    return csv_scan_refuse(values->scan, record, i, error, "column %s: \"%s\" %s", values->columns[i].name, shown, why);
}

static int not_a_number(struct csv_values *values, const struct csv_record *record, int64_t i, struct csv_field field,
                        bson_error_t *error)
{
    struct csv_column *column = &values->columns[i];
    values->values[i] = NAN;
    if (csv_is_missing(field.text, field.length)) {
        column->missing += column->mode != CSV_BOTH; /* which counts it as a category */
        return 0;
    }
    if (column->mode == CSV_STRICT)
        return refuse_field(values, record, i, field, "is not a number", error);
    if (column->text_line == 0) {
        char shown[SHOWN + 4];
        show(shown, field);
        column->text_line = csv_scan_line(values->scan);
        snprintf(column->text, sizeof column->text, "%.28s", shown);
    }
    return 0;
}

static int infinite(struct csv_values *values, const struct csv_record *record, int64_t i, struct csv_field field,
                    bson_error_t *error)
{
    struct csv_column *column = &values->columns[i];
    bson_error_t why;
    values->values[i] = NAN;
    refuse_field(values, record, i, field, "is not a finite number", &why);
    if (column->mode == CSV_STRICT)
        return hub_error(error, HUB_ERROR_INVALID, "%s", why.message);
    if (!column->infinite)
        column->infinite = strdup(why.message);
    return 0;
}

static int read_number(struct csv_values *values, const struct csv_record *record, int64_t i, struct csv_field field,
                       bson_error_t *error)
{
    switch (csv_number(field.text, field.length, values->decimal, &values->values[i])) {
    case CSV_NUMBER_FINITE: return 0;
    case CSV_NUMBER_INFINITE: return infinite(values, record, i, field, error);
    case CSV_NUMBER_NONE: break;
    }
    return not_a_number(values, record, i, field, error);
}

static int read_category(struct csv_values *values, const struct csv_record *record, int64_t i, struct csv_field field,
                         bson_error_t *error)
{
    struct csv_column *column = &values->columns[i];
    int64_t id;
    if (csv_is_missing(field.text, field.length)) {
        column->missing++;
        values->ids[i] = CSV_MISSING;
        return 0;
    }
    if (column->mode == CSV_LOOK_UP) {
        id = category_set_find(column->set, field.text, field.length);
    } else {
        const size_t before = category_set_count(column->set);
        id = category_set_add(column->set, field.text, field.length);
        if (category_set_count(column->set) > before && !bson_utf8_validate(field.text, field.length, false))
            return csv_scan_refuse(values->scan, record, i, error,
                                   "column %s: the text is not UTF-8: convert the file, as with iconv -f LATIN1 -t UTF-8",
                                   column->name);
    }
    column->other += id < 0;
    values->ids[i] = id < 0 ? CSV_OTHER : column->order ? column->order[id] : id;
    return 0;
}

static int read_field(struct csv_values *values, const struct csv_record *record, int64_t i, bson_error_t *error)
{
    const enum csv_mode mode = values->columns[i].mode;
    struct csv_field field = csv_scan_field(values->scan, record, i);
    if (mode == CSV_STRICT || mode == CSV_TRY)
        return read_number(values, record, i, field, error);
    if (mode == CSV_BOTH && read_number(values, record, i, field, error))
        return -1;
    if (read_category(values, record, i, field, error))
        return -1;
    if (mode != CSV_BOTH)
        values->values[i] = values->ids[i] < 0 ? NAN : (double)values->ids[i];
    return 0;
}

/* ---- one record ---- */

static int wrong_count(const struct csv_values *values, const struct csv_record *record, bson_error_t *error)
{
    return csv_scan_refuse(values->scan, record, record->fields > values->count ? values->count : record->fields - 1, error,
                           "%lld fields; the first record has %lld", (long long)record->fields, (long long)values->count);
}

int csv_values_next(struct csv_values *values, struct csv_record *record, bson_error_t *error)
{
    int next = csv_scan_next(values->scan, record, error);
    if (next <= 0)
        return next;
    if (record->fields != values->count)
        return wrong_count(values, record, error);
    const char *begin = record->text;
    for (int64_t i = 0; i < values->count; i++) {
        const char *end = record->text + record->ends[i];
        const enum csv_mode mode = values->columns[i].mode;
        /* The common case without a call more: digits up to the delimiter. */
        if (mode == CSV_SKIP || ((mode == CSV_TRY || mode == CSV_STRICT) && end > begin &&
                                 csv_number_within(begin, (size_t)(end - begin), values->decimal, &values->values[i]) ==
                                     CSV_NUMBER_FINITE)) {
            begin = end + 1;
            continue;
        }
        if (read_field(values, record, i, error))
            return -1;
        begin = end + 1;
    }
    return 1;
}
