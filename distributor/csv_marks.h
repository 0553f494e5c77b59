/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_MARKS_H
#define TL_DISTRIBUTOR_CSV_MARKS_H

/* Where fields and records end in a block of CSV, 64 bytes at a time: comparisons become bit masks, and the parity of the
 * quotes before a byte, a prefix sum of the quotes' mask, says whether it stands within quotes (Langdale and Lemire 2019,
 * "Parsing gigabytes of JSON per second", on strings). */

#include <stddef.h>
#include <stdint.h>

#define CSV_MARKS_PADDING 64 /* bytes behind the text that may be read; what they are does not matter */

struct csv_marks {
    uint32_t *ends;    /* (count) delimiters and line ends outside quotes, in order */
    size_t count;
    uint32_t *records; /* (record_count) how many of `ends` there are up to and with each line end */
    size_t record_count;
    int64_t lines;     /* line ends, also those within quotes */
    size_t opened;     /* the quote that is open at the end; SIZE_MAX: none is */
    size_t wrong;      /* the first quote within a field that does not begin with one, or text after a closing quote:
                        * SIZE_MAX: none */
};

/* text begins a record, outside quotes. ends and records have room for length + 64 entries; the rest is set. */
void csv_marks(const char *text, size_t length, char delimiter, struct csv_marks *marks);

#endif
