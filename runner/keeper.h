/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_KEEPER_H
#define TL_RUNNER_KEEPER_H

/* What the supervisor has to do with the hub, in a thread of its own, so that drawing progress and passing signals on
 * never wait for a database: sweeping, the runner record's beats, the ends of tasks whose worker died, and, while the workers
 * are idle, promoting and looking whether anything is left to do. */

#include "hub/task.h"

struct keeper;

struct keeper_options {
    const char *record;         /* the runner record's id */
    const char *queue, *resource_class, *task_name;
    int64_t lease_ms;
};

/* Owns hub from here on, on error too. */
struct keeper *keeper_new(struct hub *hub, const struct keeper_options *options, bson_error_t *error);
/* Writes what is still to be written, for at most limit_ms, ends the runner record and frees. A hub that hangs for longer
 * is left behind with its thread. */
void keeper_free(struct keeper *keeper, int64_t limit_ms);

/* To be polled for reading: there is news. */
int keeper_fd(const struct keeper *keeper);

struct keeper_news {
    bool poll;       /* there may be work: wake the idle workers */
    bool empty;      /* nothing is left to be done */
    char note[512];  /* what a person should know; empty: nothing */
};
void keeper_take(struct keeper *keeper, struct keeper_news *news);

/* Ends a task whose worker died (a crash that counts), or was killed because the runner had to leave. */
void keeper_crash(struct keeper *keeper, const struct task_fence *fence, const char *message, const char *output);
void keeper_release(struct keeper *keeper, const struct task_fence *fence);
/* Whether every worker has nothing to do; watch_empty: then look whether anything is left. */
void keeper_idle(struct keeper *keeper, bool idle, bool watch_empty);
/* What the next beat of the record says beside the time; changes is copied. */
void keeper_changes(struct keeper *keeper, const bson_t *changes);

#endif
