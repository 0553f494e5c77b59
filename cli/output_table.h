/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_OUTPUT_TABLE_H
#define TL_CLI_OUTPUT_TABLE_H

/* A table that was gathered row by row, laid out and printed. Only output*.c include this. */

#include "cli/output.h"

struct output {
    struct cli *cli;
    const char *what;
    struct output_column *columns;
    char **owned; /* labels and paths of the user's columns */
    size_t column_count, owned_count;
    bool whole;  /* JSON of whole documents */
    bool chosen; /* the columns are the user's */
    bool *right;
    char **cells; /* of a table: row after row */
    size_t row_count, cell_capacity;
};

/* Whether the table is made to fit a width: a terminal's, or that of the variable COLUMNS. */
bool output_is_fitted(const struct output *output);
/* Prints the rows; takes the columns out that say nothing, and, where the table is too wide, those that say least. */
void output_print_table(struct output *output);

#endif
