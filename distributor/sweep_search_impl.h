/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_SEARCH_IMPL_H
#define TL_DISTRIBUTOR_SWEEP_SEARCH_IMPL_H

/* Between sweep_search.c (what is known of a search, and its steps), sweep_climb.c (points that wait) and sweep_propose.c (what
 * it makes next). */

#include "distributor/sweep_ladder.h"
#include "distributor/sweep_search.h"
#include "distributor/sweep_submit_impl.h"
#include "distributor/sweep_watch.h"

/* What is known of a point beside its place and value. */
struct observed {
    int64_t seq; /* of its first task; 0: not seen yet */
    int64_t ended, valued;
    double sum;
    char *id;    /* of its last task, where its curve or its checkpoint is read */
    bool running, asked; /* asked: to stop */
    double seconds, flops; /* of its tasks that ended */
    bool model;   /* its task made one */
    int64_t parent; /* PBT: 1 + the point that it goes on from; 0: none */
    bool settled; /* all its tasks have ended: it is not looked at again */
};

struct sweep_search {
    char id[HUB_ID_SIZE];
    struct sweep *sweep;
    bson_t *given;
    struct submitting *submitting;
    struct search *search;
    bool *fixed;       /* of method pbt */
    char metric[200];  /* "result.metrics.NAME" */
    double sign;       /* -1: the metric is to be maximised */
    struct search_result *results; /* (capacity) */
    struct observed *observed;     /* (capacity) */
    int64_t capacity;
    int64_t proposed;  /* points that were made */
    int64_t settled;   /* all below are */
    int64_t known;     /* all below are, or have come to a rung; without rungs as settled */
    int64_t best;      /* -1: none */
    int64_t last_seq;
    int64_t kept;              /* points below are in sweep_history.h's documents */
    int64_t kept_seq;          /* no task of the others has a lesser one; 0: not known */
    struct sweep_watch *watch; /* NULL: points are not stopped early */
    struct sweep_ladder *ladder; /* NULL: points do not wait at rungs */
    struct search_result *ranks; /* (capacity) what the method is to know, where there is a ladder */
    int64_t under_way; /* points that have not ended and do not wait; only with a ladder */
    bool submitted;    /* all points that are known from the start are in the hub */
    int64_t curves_ms;         /* when those of running tasks were read */
    int64_t retain_ms; /* when weights are to be looked at again (sweep_weights.h) */
    int64_t ended_tasks;       /* of settled points, as seconds and flops are */
    double seconds, flops;
    bool complete;     /* every task of it was read once */
    bool closed;
};

int sweep_search_no_memory(const struct sweep_search *search, bson_error_t *error);
/* For a point of this number. */
int sweep_search_make_room(struct sweep_search *search, int64_t number, bson_error_t *error);
/* The first place that is known of a point. */
int sweep_search_keep_place(struct sweep_search *search, int64_t number, const double *units, bson_error_t *error);

/* Takes in what the tasks have come to. */
int sweep_search_read(struct sweep_search *search, struct hub *hub, bson_error_t *error);
/* Where all points are known from the start, whether those that are not there were made at all: into search->submitted. */
int sweep_search_read_submitted(struct sweep_search *search, struct hub *hub, bson_error_t *error);

/* sweep_climb.c: of a search with a ladder. *promoted: how many go on now. */
int sweep_search_climb(struct sweep_search *search, struct hub *hub, int64_t *promoted, bson_error_t *error);

/* sweep_propose.c */
bool sweep_search_may_propose(const struct sweep_search *search, int64_t number);
/* A chunk of points from search->proposed on; how many tasks. */
int64_t sweep_search_propose_some(struct sweep_search *search, struct hub *hub, int64_t most, bson_error_t *error);

#endif
