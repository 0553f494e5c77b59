/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_dialect.h"

#include "distributor/csv_number.h"
#include "distributor/csv_values.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS 1000 /* that are looked at */

/* ---- the delimiter ---- */

/* Fields of the first records, where all have as many; else, and where they cannot be read so, 0. */
static int64_t equal_fields(const char *path, char delimiter, int64_t skip, int *code)
{
    struct csv_record record;
    bson_error_t error = {0};
    int64_t fields = 0;
    int next = 0;
    struct csv_scan *scan = csv_scan_open(path, delimiter, skip, &error);
    *code = scan ? 0 : (int)hub_error_code(&error);
    for (int i = 0; scan && i < RECORDS && (next = csv_scan_next(scan, &record, &error)) > 0; i++) {
        if (fields && record.fields != fields) {
            fields = 0;
            break;
        }
        fields = record.fields;
    }
    csv_scan_close(scan);
    return next < 0 ? 0 : fields;
}

/* What stands oftener in the first record: of a file whose records differ, which is refused later, at its line. */
static char by_first_record(const char *path, int64_t skip)
{
    static const char candidates[] = ",;\t|";
    struct csv_record record;
    char best = ',';
    int64_t most = 1;
    for (const char *candidate = candidates; *candidate; candidate++) {
        struct csv_scan *scan = csv_scan_open(path, *candidate, skip, NULL);
        if (scan && csv_scan_next(scan, &record, NULL) > 0 && record.fields > most) {
            most = record.fields;
            best = *candidate;
        }
        csv_scan_close(scan);
    }
    return best;
}

static char find_delimiter(const char *path, int64_t skip)
{
    static const char candidates[] = ",;\t|";
    char best = 0;
    int64_t most = 1;
    for (const char *candidate = candidates; *candidate; candidate++) {
        int code;
        int64_t fields = equal_fields(path, *candidate, skip, &code);
        if (fields > most) {
            most = fields;
            best = *candidate;
        }
    }
    return best ? best : by_first_record(path, skip);
}

/* ---- the header ---- */

/* What the fields of the first record are, against those of the others. */
struct finding {
    bool *first_texts; /* (columns) */
    bool any_number;   /* in the first record */
    bool later_number; /* where the first record has a text */
    bool repeated;     /* a text of the first record stands in its column again */
    char **firsts;
};

static bool is_number(const struct csv_field *field, char decimal)
{
    double value;
    return csv_number(field->text, field->length, decimal, &value) != CSV_NUMBER_NONE;
}

static int note_first(struct finding *finding, struct csv_scan *scan, const struct csv_record *record, char decimal)
{
    for (int64_t i = 0; i < record->fields; i++) {
        struct csv_field field = csv_scan_field(scan, record, i);
        const bool number = is_number(&field, decimal);
        finding->any_number = finding->any_number || number;
        finding->first_texts[i] = !number && !csv_is_missing(field.text, field.length);
        finding->firsts[i] = csv_field_copy(&field);
        if (!finding->firsts[i])
            return -1;
    }
    return 0;
}

static void note_later(struct finding *finding, struct csv_dialect *dialect, struct csv_scan *scan,
                       const struct csv_record *record)
{
    for (int64_t i = 0; i < dialect->columns && i < record->fields; i++) {
        struct csv_field field = csv_scan_field(scan, record, i);
        const bool number = is_number(&field, dialect->decimal), missing = csv_is_missing(field.text, field.length);
        finding->later_number = finding->later_number || (number && finding->first_texts[i]);
        dialect->texts[i] = dialect->texts[i] || (!number && !missing);
        finding->repeated = finding->repeated || (!missing && strlen(finding->firsts[i]) == field.length &&
                                                  !memcmp(finding->firsts[i], field.text, field.length));
    }
}

static int look(struct csv_dialect *dialect, struct csv_scan *scan, struct finding *finding, bson_error_t *error)
{
    struct csv_record record;
    int next = csv_scan_next(scan, &record, error);
    if (next == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s:1:1: there is nothing in it", csv_scan_path(scan));
    if (next < 0)
        return -1;
    dialect->columns = record.fields;
    dialect->texts = calloc((size_t)record.fields, sizeof *dialect->texts);
    finding->first_texts = calloc((size_t)record.fields, sizeof *finding->first_texts);
    finding->firsts = calloc((size_t)record.fields, sizeof *finding->firsts);
    if (!dialect->texts || !finding->first_texts || !finding->firsts || note_first(finding, scan, &record, dialect->decimal))
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", csv_scan_path(scan));
    bson_error_t later;
    for (int i = 1; i < RECORDS && csv_scan_next(scan, &record, &later) > 0; i++) /* what is wrong there is said later */
        note_later(finding, dialect, scan, &record);
    if (dialect->header < 0)
        dialect->header = !finding->any_number && (finding->later_number || !finding->repeated);
    for (int64_t i = 0; i < dialect->columns; i++)
        dialect->texts[i] = dialect->texts[i] || (!dialect->header && finding->first_texts[i]);
    return 0;
}

int csv_dialect_find(const char *path, struct csv_dialect *dialect, bson_error_t *error)
{
    struct finding finding = {0};
    dialect->columns = 0;
    dialect->texts = NULL;
    dialect->decimal = dialect->decimal ? dialect->decimal : '.';
    struct csv_scan *scan = csv_scan_open(path, ',', dialect->skip, error); /* whether it can be read at all */
    if (!scan)
        return -1;
    csv_scan_close(scan);
    if (!dialect->delimiter)
        dialect->delimiter = find_delimiter(path, dialect->skip);
    scan = csv_scan_open(path, dialect->delimiter, dialect->skip, error);
    int result = scan ? look(dialect, scan, &finding, error) : -1;
    for (int64_t i = 0; finding.firsts && i < dialect->columns; i++)
        free(finding.firsts[i]);
    free(finding.firsts);
    free(finding.first_texts);
    csv_scan_close(scan);
    return result;
}

void csv_dialect_destroy(struct csv_dialect *dialect)
{
    free(dialect->texts);
    dialect->texts = NULL;
}
