/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_PASS_H
#define TL_DISTRIBUTOR_CSV_PASS_H

/* One reading of a CSV file from its first row to its last, with each row's split: the two passes of csv.c. */

#include "distributor/column_stats.h"
#include "distributor/csv_plan.h"
#include "distributor/split_draw.h"

struct csv_pass {
    const struct csv_options *options;
    struct csv_plan plan;
    struct csv_scan *scan;
    struct csv_values values;
    struct split_draw *draw;
    struct split_draw_options drawn;
    int64_t label;              /* the first column that is a label; -1: none */
    int64_t *judged;            /* (judged_count) columns without whose value a row is dropped, or refused: labels among them */
    int64_t judged_count;
    int64_t rows, dropped;      /* rows so far that count; that were dropped for what they lack */
    struct csv_record record;   /* the row that is at hand, */
    int split;                  /* its split or fold, */
    int64_t class;              /* and its class, as met; -1: none */
    char last_time[64];         /* of the row before, to see that time goes on */
    const char *what;           /* of the progress */
    int64_t ticks;

    /* Learnt by csv_pass_learn. */
    int64_t sets;               /* folds, or 1 */
    struct column_stats **stats; /* (sets): of the rows of each fold, or of the training rows */
    int64_t samples[SPLIT_FOLDS]; /* by split or fold */
    int64_t *class_counts;      /* (classes as met, SPLIT_FOLDS or SPLIT_COUNT) */
    int64_t class_capacity;
    int64_t total;              /* rows that count, known after a whole pass */
};

int csv_pass_open(struct csv_pass *pass, const struct csv_options *options, bson_error_t *error);
void csv_pass_close(struct csv_pass *pass);

/* From the first row again. */
int csv_pass_begin(struct csv_pass *pass, const char *what, bson_error_t *error);
/* The next row that counts: 1, 0 at the end, -1. */
int csv_pass_next(struct csv_pass *pass, bson_error_t *error);

/* The first pass, as often as it takes: types, ranges, categories, how many samples each split has. */
int csv_pass_learn(struct csv_pass *pass, bson_error_t *error);
/* The columns' statistics over the training rows: all but those of the fold. */
int csv_pass_summarise(struct csv_pass *pass, int64_t fold, bson_error_t *error);
/* Values of class_counts a class. */
int64_t csv_pass_width(const struct csv_pass *pass);

#endif
