/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_SUBMIT_IMPL_H
#define TL_DISTRIBUTOR_SWEEP_SUBMIT_IMPL_H

/* From points to tasks: shared by sweep_submit.c (all that are known from the start) and sweep_search.c (one after the
 * other). */

#include "distributor/acceptance.h"
#include "distributor/sweep_impl.h"
#include "distributor/task_work.h"

/* Where a point of method pbt comes from. */
struct lineage {
    int64_t generation, member, parent; /* parent -1: none */
    const char *parent_task;            /* its _id */
    int64_t end;                        /* the epoch after which the generation ends; 0: with the task */
};

struct submitting {
    struct hub *hub;
    struct sweep *sweep;
    const bson_t *fields; /* the caller's; NULL: none */
    bson_t base;        /* what every task has: the file's fields and the caller's, without those made per point */
    bson_t given;       /* the caller's hyper_parameters */
    char *architecture; /* the caller's text, with ${…}; NULL: the file's, or a graph in base */
    bool graph;         /* the caller's architecture is a graph: in base */
    struct acceptance *acceptance;
    const char *sweep_id;
    struct task_work *work; /* what is done elsewhere, and so is left out; NULL: nothing */
    const struct lineage *lineage; /* of the point that is accepted next; NULL: none */
    struct sweep with_marks; /* an architecture given now marks parameters as used: in a copy of them */
};

/* *submitting is made for this sweep and these fields (borrowed), and is to be destroyed even after an error. 0 or -1. */
int submitting_init(struct submitting *submitting, struct hub *hub, const struct sweep *sweep, const bson_t *fields,
                    bson_error_t *error);
void submitting_destroy(struct submitting *submitting);
/* The checked task of point i with the seed-th of its seeds, from 0; *checked is initialised always. */
int submitting_accept(const struct submitting *submitting, int64_t i, int64_t seed, bson_t *checked, bson_error_t *error);

/* sweep_search.c: as many further points as the results allow; *made is how many tasks. */
int sweep_propose_first(struct hub *hub, const char *sweep_id, int64_t *made, bson_error_t *error);

#endif
