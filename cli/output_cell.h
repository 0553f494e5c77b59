/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_OUTPUT_CELL_H
#define TL_CLI_OUTPUT_CELL_H

/* One value as the text of one cell. */

#include "cli/output.h"

/* Separates the parts of OUTPUT_PARAMETERS until the table is laid out. */
#define OUTPUT_PART '\x1f'

/* As a table shows it: short, escaped. *right: numbers stand at the right of their column. */
void output_table_cell(bson_string_t *out, const bson_iter_t *value, enum output_style style, bool *right);
/* A time as how long ago it was by this machine's clock, "3 min ago"; the day alone when that is more than a month. */
void output_age_cell(bson_string_t *out, int64_t milliseconds);
/* As CSV, quoted where it must be. */
void output_csv_cell(bson_string_t *out, const bson_iter_t *value);
void output_csv_text(bson_string_t *out, const char *text, bool neutralise);

#endif
