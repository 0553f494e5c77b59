/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_H
#define TL_DISTRIBUTOR_CSV_H

/* A CSV file (plain or .gz) into a dataset. It is read twice, in memory that does not depend on its size: once to find the
 * columns' types, ranges and categories and to draw the splits, once to write the parts. docs/datasets.md says what is
 * found and what may be chosen. */

#include "distributor/preprocess.h"
#include "hub/dataset.h"

struct csv_choice {
    const char *column; /* name or position; NULL: every column */
    const char *value;
};

struct csv_options {
    const char *path;
    const char *name;            /* of the dataset */
    char delimiter, decimal;     /* 0: found; 0: '.' */
    int header;                  /* 1, 0; -1: found */
    int64_t skip;                /* lines before the first record */
    const char *const *labels;   /* (label_count) names or positions: from 1, or from the end as -1 */
    size_t label_count;          /* 0: data without labels */
    const struct csv_choice *types;   /* number, category, one-hot, ids, drop */
    size_t type_count;
    const struct csv_choice *missing; /* zero, mean, median, drop, error */
    size_t missing_count;
    bool ids;                    /* categories as ids for an embedding, not one-hot */
    enum preprocess_scale scale;
    const char *time;            /* the column that orders the rows; NULL: they have no order */
    int64_t window, horizon;     /* samples of so many rows, and the label so many later; window 0: a row is a sample */
    double test_share;           /* of the rows, in [0, 1) */
    double validation_share;     /* of those that are left, in [0, 1) … */
    int64_t validation;          /* … or so many of them */
    bool stratify;               /* each class for itself */
    int64_t folds;               /* 0, or 2 to 100: so many datasets, each with another fold as its test rows */
    uint64_t seed;
    const bson_t *fields;        /* description, tags, any further keys; NULL */
    void (*progress)(const char *what, int64_t done, int64_t total, void *data); /* NULL allowed */
    void (*note)(const char *text, void *data); /* what a user should know and is no error; NULL allowed */
    /* Each dataset as it is saved; saved as dataset_writer_finish returns it. NULL allowed. */
    void (*saved)(const bson_t *dataset, int saved, void *data);
    void *data;
};

/* What is wrong with the file is said as "FILE:LINE:COLUMN: column NAME: reason" before anything is saved. 1 saved, 0 or
 * DATASET_LABELLED the newest version has the same data already, -1. *dataset is the (last) one, and initialised always. */
int csv_save_dataset(struct hub *hub, const struct csv_options *options, bson_t *dataset, bson_error_t *error);

#endif
