/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_ROWS_SOURCE_H
#define TL_DISTRIBUTOR_ROWS_SOURCE_H

/* Rows that can be read in order, split by split, into a dataset: what arrays of NumPy and folders of pictures have in common.
 * Of a source that has training rows alone, test and validation rows are drawn. */

#include "distributor/part_writer.h"

struct rows_options {
    const char *name;         /* of the dataset */
    double test_share;        /* of the training rows, in [0, 1): where the source has no test rows */
    double validation_share;  /* of those that are left, where it has no validation rows … */
    int64_t validation;       /* … or so many */
    uint64_t seed;
    const bson_t *fields;     /* description, tags, any further keys; NULL */
    void (*progress)(const char *what, int64_t done, int64_t total, void *data); /* rows; NULL allowed */
    void *data;
};

struct rows_source {
    struct part_writer_options parts; /* shapes, and totals as the source has them */
    const bson_t *class_names;        /* an array; NULL: not known */
    /* Row i of a split, in order from 0: x and y as struct part_writer has them. 0 or -1. */
    int (*read)(void *context, int split, int64_t i, void *x, void *y, bson_error_t *error);
    /* Once all rows were read; NULL allowed. */
    int (*end)(void *context, bson_error_t *error);
    void *context;
};

/* As dataset_writer_finish; *dataset is initialised always. */
int rows_source_save(struct hub *hub, struct rows_source *source, const struct rows_options *options, bson_t *dataset,
                     bson_error_t *error);

#endif
