/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_PART_WRITER_H
#define TL_DISTRIBUTOR_PART_WRITER_H

/* Rows, one by one and split by split in any order, into the parts of a dataset: parts of nearly equal size, at most 32 MB.
 * Memory: one part of each split. */

#include "hub/dataset.h"

#define PART_WRITER_SPLITS 3
#define PART_WRITER_RANK   6

struct part_writer_options {
    const char *where;               /* of messages: the file */
    bool bytes;                      /* x is U8, else F32 */
    int rank;
    int64_t dims[PART_WRITER_RANK];  /* of one row of x */
    int64_t classes;                 /* y is a class number; 0: … */
    int64_t outputs;                 /* … it is so many values, or there is none */
    const char *names[PART_WRITER_SPLITS];
    int64_t totals[PART_WRITER_SPLITS]; /* rows of each split, which must come */
};

struct part_writer;

/* writer is borrowed. HUB_ERROR_INVALID where a row is too large. */
struct part_writer *part_writer_open(struct dataset_writer *writer, const struct part_writer_options *options,
                                     bson_error_t *error);
void part_writer_close(struct part_writer *writer);

/* Room for the next row of a split: *x for floats or bytes, *y for an int64_t or floats; both aligned for bytes only. They
 * are good until part_writer_end_row of the same split. -1: more rows than were announced. */
int part_writer_row(struct part_writer *writer, int split, void **x, void **y, bson_error_t *error);
int part_writer_end_row(struct part_writer *writer, int split, bson_error_t *error);
/* Whether every row came: 0, -1. */
int part_writer_end(struct part_writer *writer, bson_error_t *error);

/* The manifest's fields that say what the parts hold, appended: name, input_shape, label, classes or outputs, features. */
int part_writer_append_fields(const struct part_writer_options *options, const char *name, bson_t *fields,
                              bson_error_t *error);
/* A user's own fields, appended: those that come from the data are refused, as class_names are that do not name each class. */
int part_writer_append_own(const struct part_writer_options *options, const bson_t *own, bson_t *fields, bson_error_t *error);

#endif
