/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_ROWS_FILE_H
#define TL_DISTRIBUTOR_ROWS_FILE_H

/* A file of JSON objects, one a line, as rows of a dataset (hub/rows.h). Where there is no such dataset it is made from what the
 * file holds: columns' numbers, and labels (whole numbers and texts are classes, other numbers values). */

#include "hub/rows.h"

struct rows_file_options {
    const char *path;        /* "-": standard input */
    const char *name;        /* of the dataset */
    const char *pipeline;    /* JSON; NULL: none. Of a dataset that is there: a new version with it */
    const bson_t *columns;   /* names; NULL or empty: "x" */
    const char *label_field; /* NULL: "label" */
    const char *label;       /* "class", "value", "none"; NULL: as the file shows */
    const bson_t *fields;    /* description, tags, class_names, any further keys; NULL */
    void (*progress)(const char *what, int64_t done, int64_t total, void *data); /* bytes; NULL allowed */
    void *data;
};

/* Every line is checked before the first is written: a bad one is HUB_ERROR_INVALID naming file and line. The number of rows
 * written, or -1. *dataset (initialised always) is the manifest. Memory: a batch, and what the pipeline holds. */
int64_t rows_file_push(struct hub *hub, const struct rows_file_options *options, bson_t *dataset, bson_error_t *error);

#endif
