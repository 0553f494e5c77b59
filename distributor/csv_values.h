/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_VALUES_H
#define TL_DISTRIBUTOR_CSV_VALUES_H

/* Records into numbers and categories, column by column, as each is to be read. */

#include "distributor/category_set.h"
#include "distributor/csv_scan.h"

enum csv_mode {
    CSV_SKIP,
    CSV_STRICT,  /* a number or missing; anything else is refused at its line and column */
    CSV_TRY,     /* the same, but a text only makes the column one of texts */
    CSV_LEARN,   /* a category: added to the set; "other" where the set is full */
    CSV_LOOK_UP, /* a category of the set; what is not in it is "other" */
    CSV_BOTH     /* CSV_TRY and CSV_LEARN: of labels of which it is not known yet what they are */
};

#define CSV_MISSING (-1) /* a category that is missing */
#define CSV_OTHER   (-2) /* one that is not in the set */

struct csv_column {
    enum csv_mode mode;
    const char *name;          /* for messages; borrowed */
    struct category_set *set;  /* borrowed */
    const int64_t *order;      /* what the set's numbers become; NULL: they are it */
    int64_t missing;           /* how many were */
    int64_t other;
    int64_t text_line;         /* CSV_TRY, CSV_BOTH: the first line that is no number; 0: none */
    char text[32];             /* what stood there, cut */
    char *infinite;            /* CSV_TRY, CSV_BOTH: the first refusal of a number that is not finite */
};

struct csv_values {
    struct csv_scan *scan;     /* borrowed */
    char decimal;
    int64_t count;
    struct csv_column *columns; /* (count) */
    double *values;  /* (count): of the last record: a number, or NAN; of categories their number, or NAN */
    int64_t *ids;    /* (count): CSV_LEARN, CSV_LOOK_UP, CSV_BOTH: the category, CSV_MISSING or CSV_OTHER */
};

/* All columns are skipped at first. -1 without memory. */
int csv_values_init(struct csv_values *values, struct csv_scan *scan, char decimal, int64_t count, bson_error_t *error);
void csv_values_destroy(struct csv_values *values);
/* The counts and findings from 0 again. */
void csv_values_reset(struct csv_values *values);

/* The next record into values and ids: 1, 0 at the end, -1. A record with another number of fields is refused. *record is
 * the one that was read. */
int csv_values_next(struct csv_values *values, struct csv_record *record, bson_error_t *error);

/* Whether a text means that there is no value: empty, NA, N/A, NaN, null, None, ? and the like. */
bool csv_is_missing(const char *text, size_t length);

#endif
