/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_KEEPER_H
#define TL_RUNNER_KEEPER_H

/* What the supervisor has to do with the hub, in a thread of its own, so that drawing progress and passing signals on
 * never wait for a database: sweeping, the runner record's beats, the ends of tasks whose worker died, and, for those
 * workers that found nothing, asking whether there is something again: one question for all of them. */

#include "hub/task_source.h"

struct keeper;

/* runner_options.tend and its data. */
struct keeper_tend {
    int64_t (*tend)(void *data, struct hub *hub, bool now, bson_error_t *error);
    void *data;
};

struct keeper_options {
    const bson_t *record; /* the runner record as it was saved, with its _id */
    const struct task_serves *serves;
    const struct task_source *sources;
    size_t source_count;
    int64_t lease_ms;
    struct keeper_tend tend;
};

/* Owns hub from here on, on error too. The rest is copied. */
struct keeper *keeper_new(struct hub *hub, const struct keeper_options *options, bson_error_t *error);
/* Writes what is still to be written, for at most limit_ms, ends the runner record, hands the sweeper's office on, and
 * frees. A hub that hangs for longer is left behind with its thread. */
void keeper_free(struct keeper *keeper, int64_t limit_ms);

/* To be polled for reading: there is news. */
int keeper_fd(const struct keeper *keeper);

struct keeper_news {
    bool *ready;     /* of the sources of list `number`, which have a ready task; NULL: none (bson_free) */
    size_t count;
    uint32_t number;
    struct task_source *sources; /* other sources from here on, list `number`; NULL: as before (bson_free) */
    bool empty;      /* nothing is left to be done */
    char note[512];  /* what a person should know; empty: nothing */
};
void keeper_take(struct keeper *keeper, struct keeper_news *news);

/* Ends a task whose worker died (a crash that counts), or was killed because the runner had to leave. */
void keeper_crash(struct keeper *keeper, const struct task_fence *fence, const char *message, const char *output);
void keeper_release(struct keeper *keeper, const struct task_fence *fence);
/* A worker's process is gone: whatever is running under a claim of its, told of or not, is ended likewise (message
 * NULL: given back). A claim that was on its way when the worker died may show later, so it is looked for again. */
void keeper_bury(struct keeper *keeper, const char *worker, const char *message, const char *output);

/* A task has ended on one of the workers. */
void keeper_ended(struct keeper *keeper);

struct keeper_question {
    uint32_t number;    /* of the list of sources */
    const bool *asked;  /* which sources some worker found empty; copied */
    bool any_idle;      /* some worker has nothing to do */
    bool all_idle;
    bool until_empty;   /* with all_idle: is anything left? */
    bool work;          /* a worker that had nothing to do has claimed, or one that worked found nothing more */
};
/* count: of asked. */
void keeper_ask(struct keeper *keeper, const struct keeper_question *question, size_t count);
/* What the record's next beat says beside the time; changes is copied. */
void keeper_changes(struct keeper *keeper, const bson_t *changes);

#endif
