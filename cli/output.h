/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_OUTPUT_H
#define TL_CLI_OUTPUT_H

/* Documents to stdout, as a table (fitted to the terminal, control characters escaped), as a JSON array with one
 * document a line, or as CSV (RFC 4180, with texts that a spreadsheet would take for formulas quoted by a leading ').
 */

#include "cli/cli.h"

enum output_style {
    OUTPUT_AUTO,       /* by the value's type */
    OUTPUT_ID,         /* the first 12 digits in a table */
    OUTPUT_FRACTION,   /* four decimals in a table */
    OUTPUT_BYTES,      /* 12.3 MB in a table */
    OUTPUT_SECONDS,    /* 3m 05s in a table */
    OUTPUT_DATE,       /* to the second in a table, as an age on a terminal */
    OUTPUT_STATE,      /* coloured on a terminal */
    OUTPUT_PARAMETERS, /* an object as key=value …; in a table without what is the same in every row */
    OUTPUT_TEXT        /* may be cut short where a table is too wide */
};

struct output_column {
    const char *label;
    const char *path; /* dotted; "a|b": the first that is there */
    enum output_style style;
};

struct output;

/* Columns end with a NULL label. what: "task", for the line that says that there are none. With --columns the
 * user's columns are taken instead. NULL where those are no columns, which has been said. */
struct output *output_open(struct cli *cli, const struct output_column *columns, const char *what);
/* The projection that fetches what the output shows: false when it shows whole documents. Initialises *projection. */
bool output_projection(const struct output *output, bson_t *projection);
void output_row(struct output *output, const bson_t *document);
/* Ends the output and frees it: CLI_DONE, CLI_NOTHING without rows, or CLI_FAILED where stdout could not be written. */
int output_close(struct output *output);
/* Frees without ending: after an error that has been said. */
void output_abandon(struct output *output);

/* One object for the verbs that do one thing: JSON, or CSV with its top-level keys, or the line as a table's text. */
int output_object(struct cli *cli, const bson_t *document, const char *format, ...) BSON_GNUC_PRINTF(3, 4);
/* Whether everything that was printed has arrived: CLI_DONE or CLI_FAILED. */
int output_flush(void);

/* The value at a dotted path, or at the first alternative of "a|b" that is there. */
bool output_find(const bson_t *document, const char *path, bson_iter_t *value);
/* A number at a path as a double, NAN without one; text and integers likewise. */
double output_number(const bson_t *document, const char *path);
const char *output_text(const bson_t *document, const char *path);
int64_t output_integer(const bson_t *document, const char *path, int64_t fallback);
/* The document that an iterator is at, as a view that lives as long as what is iterated; false when it is none. */
bool output_document(const bson_iter_t *iter, bson_t *view);

#endif
