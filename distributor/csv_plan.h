/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_PLAN_H
#define TL_DISTRIBUTOR_CSV_PLAN_H

/* What each column of a CSV file is, first as the user says, then as the whole file shows. */

#include "distributor/csv.h"
#include "distributor/csv_dialect.h"
#include "distributor/csv_values.h"

/* Different texts that a column may have to become categories unasked. */
#define CSV_PLAN_CATEGORIES 100
/* A label that is all integers is a class up to so many of them. */
#define CSV_PLAN_CLASSES 20

struct csv_plan_column {
    bool typed;                /* the user said what it is */
    bool text;                 /* not typed: it has texts, so that categories are gathered from its first row on */
    bool both;                 /* a label that is not typed */
    struct category_set *set;  /* as met */
    int64_t *order;            /* of the set: the category's number in the end */
};

struct csv_plan {
    const struct csv_options *options;
    struct csv_dialect dialect;
    struct preprocess *preprocess;
    struct csv_plan_column *columns; /* (preprocess->count) */
    int64_t time;                    /* its column; -1: none */
};

/* Finds the dialect, names the columns and takes the user's choices. */
int csv_plan_open(struct csv_plan *plan, const struct csv_options *options, bson_error_t *error);
void csv_plan_destroy(struct csv_plan *plan);

/* How the first pass reads the columns: fresh sets, counts from 0. */
int csv_plan_learn(struct csv_plan *plan, struct csv_values *values, bson_error_t *error);
/* After a whole pass. 1: columns that seemed numbers have texts further down, and the pass must be made again; 0 types are
 * settled: kinds and categories; -1 what was said, or found, cannot be. */
int csv_plan_decide(struct csv_plan *plan, struct csv_values *values, bson_error_t *error);
/* How the second pass reads them. A label's ids are those of the plan's set: its order says which class each is. */
void csv_plan_apply(const struct csv_plan *plan, struct csv_values *values);
/* A line about columns that were left out, and those that were made categories where they look like numbers. */
void csv_plan_note(const struct csv_plan *plan);

#endif
