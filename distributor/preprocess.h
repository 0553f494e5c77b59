/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_PREPROCESS_H
#define TL_DISTRIBUTOR_PREPROCESS_H

/* How the rows of a table become the values that a net sees: the key `preprocess` of a dataset's manifest, learnt from the
 * training rows when a CSV file is saved, and applied to raw rows when they are predicted. docs/datasets.md has the keys.
 *
 * Of a row there is first a double for each column (preprocess_column.kind): a number as it is read, or a category's
 * number; NAN where it is missing. preprocess_encode makes x of these. */

#include "distributor/category_set.h"
#include "hub/error.h"

enum preprocess_role { PREPROCESS_FEATURE, PREPROCESS_LABEL, PREPROCESS_TIME, PREPROCESS_DROPPED };
enum preprocess_kind {
    PREPROCESS_NUMBER,
    PREPROCESS_ONE_HOT, /* as many values as there are categories; missing or unknown: all 0 */
    PREPROCESS_IDS,     /* one value, from 1, for an embedding; missing or unknown: 0 */
    PREPROCESS_TEXT     /* neither: of columns that are dropped, and of time */
};
enum preprocess_missing {
    PREPROCESS_ZERO,
    PREPROCESS_MEAN,
    PREPROCESS_MEDIAN,
    PREPROCESS_DROP_ROW,
    PREPROCESS_REFUSE
};
enum preprocess_scale { PREPROCESS_MIN_MAX, PREPROCESS_STANDARD, PREPROCESS_NO_SCALE };

struct preprocess_column {
    char *name;
    enum preprocess_role role;
    enum preprocess_kind kind;
    enum preprocess_missing missing;
    int64_t missing_count; /* in all rows of the file */
    double min, max, mean, deviation, median; /* of the training rows; NAN where there is none */
    double fill;           /* what x has where a number is missing; of categories the category's number, or -1 */
    double shift, factor;  /* x = (value - shift) × factor */
    struct category_set *categories;
    int64_t at, width;     /* of a feature: its values in a row of x */
};

struct preprocess {
    char delimiter, decimal;
    bool header;
    int64_t skip;
    enum preprocess_scale scale;
    struct preprocess_column *columns;
    int64_t count;
    int64_t width;           /* values of a row of x, without windows */
    int64_t labels, classes; /* columns that are labels; of a class */
    int64_t window, horizon; /* 0: a row is a sample */
};

/* With `count` columns, all features and numbers. NULL without memory. */
struct preprocess *preprocess_new(int64_t count);
void preprocess_free(struct preprocess *preprocess);

/* Names as they stand in options and documents; -1 where it is none of them. */
int preprocess_find_missing(const char *name, enum preprocess_missing *missing);
int preprocess_find_scale(const char *name, enum preprocess_scale *scale);
const char *preprocess_kind_name(enum preprocess_kind kind);
const char *preprocess_role_name(enum preprocess_role role);
/* By name: its index, or -1. */
int64_t preprocess_find_column(const struct preprocess *preprocess, const char *name, size_t length);

/* Once all columns are known: where each feature's values are, shift, factor and fill from the statistics, width and
 * labels. HUB_ERROR_INVALID where rows would have no values, or too many. */
int preprocess_settle(struct preprocess *preprocess, const char *where, bson_error_t *error);

/* x is (width); values is (count), NAN where missing. */
void preprocess_encode(const struct preprocess *preprocess, const double *values, float *x);

/* {preprocess: {…}} appended to fields. */
int preprocess_append(const struct preprocess *preprocess, bson_t *fields, bson_error_t *error);
/* Of a manifest: 1, 0 it has none, -1 it is damaged. *preprocess is NULL but for 1. */
int preprocess_read(const bson_t *dataset, struct preprocess **preprocess, bson_error_t *error);

#endif
