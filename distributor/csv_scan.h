/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_SCAN_H
#define TL_DISTRIBUTOR_CSV_SCAN_H

/* The records of a CSV file, plain or .gz, as they stand in it: RFC 4180 with any delimiter, LF or CRLF, a UTF-8 byte order
 * mark, lines and delimiters within quotes. Memory: a buffer of 1 MiB (less for small files), more only for longer
 * records, at most CSV_RECORD_BYTES.
 *
 * Every refusal is HUB_ERROR_INVALID "FILE:LINE:COLUMN: reason", lines and columns (bytes) from 1, of the file unpacked. */

#include "hub/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_RECORD_BYTES (16 << 20)
#define CSV_FIELDS       65536 /* of a record */
#define CSV_SCAN_MARGIN  64

struct csv_scan;

/* One record, borrowed until the next call. Field i is text[i ? ends[i - 1] + 1 : 0 … ends[i] - 1], with its quotes.
 * CSV_SCAN_MARGIN bytes before the text can be read. */
struct csv_record {
    const char *text;
    const uint32_t *ends; /* (fields); counted from text */
    int64_t fields;       /* at least 1 */
};

/* A field without its quotes and without spaces around it; text is borrowed until the next field with a quote in it is
 * taken from the same scan, or the next record. */
struct csv_field {
    const char *text;
    size_t length;
    bool quoted;
};

/* delimiter: ',' ';' '\t' or another byte that is neither quote nor line end. skip: lines before the first record that are
 * passed over. HUB_ERROR_NOT_FOUND, HUB_ERROR_IO, HUB_ERROR_INVALID: no regular file, UTF-16. */
struct csv_scan *csv_scan_open(const char *path, char delimiter, int64_t skip, bson_error_t *error);
void csv_scan_close(struct csv_scan *scan);
/* From the start again. */
int csv_scan_rewind(struct csv_scan *scan, bson_error_t *error);

/* The next record that is not an empty line: 1, 0 at the end, -1. */
int csv_scan_next(struct csv_scan *scan, struct csv_record *record, bson_error_t *error);
/* Field i of the record that csv_scan_next gave last. */
struct csv_field csv_scan_field(struct csv_scan *scan, const struct csv_record *record, int64_t i);
/* A copy, to be freed; NULL: no memory. */
char *csv_field_copy(const struct csv_field *field);

/* Share of the file that has been read, 0 … 1: of its packed bytes, where it is packed. */
double csv_scan_progress(const struct csv_scan *scan);
const char *csv_scan_path(const struct csv_scan *scan);
/* The line of the record that was given last. */
int64_t csv_scan_line(const struct csv_scan *scan);
/* Refuses field i of the record that was given last (-1: the record), at its line and column. Returns -1. */
int csv_scan_refuse(const struct csv_scan *scan, const struct csv_record *record, int64_t i, bson_error_t *error,
                    const char *format, ...) BSON_GNUC_PRINTF(5, 6);

/* Whether the first bytes are text, not IDX, npy, safetensors or the like: 1, 0, -1. */
int csv_scan_is_text(const char *path, bson_error_t *error);

#endif
