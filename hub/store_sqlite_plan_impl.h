/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_SQLITE_PLAN_IMPL_H
#define TL_HUB_STORE_SQLITE_PLAN_IMPL_H

/* Between store_sqlite_plan.c, which says what an index can do for a conjunction, and store_sqlite_choose.c, which
 * chooses. Only those two include this. */

#include "hub/store_sqlite_impl.h"

#define CONDITIONS_LIMIT 64
#define FIT_BOUND        10    /* a column bound to a value */
#define FIT_SHARED       2     /* the first column of several indexes, such as the project, says little */
#define FIT_ID           10000 /* at most one row a value */

/* What must hold together. */
struct conditions {
    const struct query_node *nodes[CONDITIONS_LIMIT];
    bool served[CONDITIONS_LIMIT]; /* SQL decides it exactly */
    size_t count;
    bool all; /* nothing of the filter is missing here */
};

/* How well one index serves. */
struct fit {
    const struct sqlite_index *index; /* NULL: _id */
    int strength;                     /* more: fewer rows to look at; 0: all of them */
    size_t bound;                     /* leading columns bound to values */
    bool sorted;
};

/* Adds node, and what an AND holds one by one. */
void conditions_add(struct conditions *conditions, const struct query_node *node);
bool conditions_all_served(const struct conditions *conditions);
/* sort may be NULL. */
struct fit fit_of(const struct conditions *conditions, const struct sqlite_index *index, const bson_t *sort);

/* " FROM … AS t", then " WHERE …" of what fit's index serves, then " ORDER BY …"; conditions that SQL decides exactly are
 * marked as served. */
void plan_append_table(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                       const struct sqlite_index *index);
void plan_append_conditions(struct sqlite_plan *plan, struct conditions *conditions, const struct fit *fit);
void plan_append_order(struct sqlite_plan *plan, const struct sqlite_index *index, const bson_t *sort);
/* Equalities to a scalar on an array with a side table: rows are found there. false, and nothing appended: there are none. */
bool plan_append_membership(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                            struct conditions *conditions);

#endif
