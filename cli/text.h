/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_TEXT_H
#define TL_CLI_TEXT_H

/* Text that came from elsewhere, made fit for a terminal, and small conversions. */

#include <bson/bson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Appends length bytes of text with everything a terminal would obey (control characters, C1, the direction overrides
 * of Unicode, bytes that are not UTF-8) written as \n, \x1b or \u202e. */
void text_append_escaped(bson_string_t *out, const char *text, size_t length);
/* Columns that UTF-8 text takes on a terminal. */
size_t text_width(const char *text);
/* Cuts text in place so that it takes at most width columns, the last one an ellipsis. */
void text_cut(bson_string_t *text, size_t width);

/* "2026-11-21T05:00:12.345Z" (24 bytes and NUL), of milliseconds since 1970 UTC. */
#define TEXT_DATE_BYTES 48
void text_format_date(int64_t milliseconds, char out[TEXT_DATE_BYTES]);
/* YYYY-MM-DD, YYYY-MM-DDTHH:MM[:SS[.mmm]] with Z, +HH:MM or nothing (UTC): false when it is no date. */
bool text_parse_date(const char *text, size_t length, int64_t *milliseconds);
/* The shortest form that reads back as the same double; integers keep a ".0". */
void text_format_double(double value, char out[32]);
/* "6G", "1.5GiB", "800M", "4096": letters are powers of 1024; false when it is none, or not above 0. */
bool text_parse_bytes(const char *text, int64_t *bytes);
/* "950 B", "12.3 MB" (powers of 1000). */
void text_format_bytes(int64_t bytes, char *out, size_t size);
/* "0.3 s", "12 s", "3m 05s", "2h 07m". */
void text_format_seconds(double seconds, char *out, size_t size);
/* Whether text is at least `least` lower-case hex digits and nothing else. */
bool text_is_hex(const char *text, size_t least);

#endif
