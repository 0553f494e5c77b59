/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_KEEPER_IMPL_H
#define TL_RUNNER_KEEPER_IMPL_H

/* Between keeper.c (the thread, its news and beats), keeper_endings.c (tasks of dead workers) and keeper_look.c (is
 * there work?). */

#include "hub/store_watch.h"
#include "runner/keeper.h"
#include "runner/pace.h"

#include <pthread.h>

enum { KEEPER_RETRY_MS = 1000, KEEPER_MESSAGE_BYTES = 512 };

/* A task that its worker cannot end any more, or a worker whose tasks are to be looked for. */
struct ending {
    struct ending *next;
    struct task_fence fence;
    char worker[HUB_ID_SIZE]; /* "": the fence says which task */
    int looks;
    int64_t at_ms;
    bool crash;
    char message[KEEPER_MESSAGE_BYTES];
    char *output;
};

struct keeper {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t gone; /* the thread has done all it had to: ended */
    struct hub *hub;
    bson_t *record;
    const char *id; /* the record's */
    struct task_sweeper *sweeper;
    int news_event; /* the supervisor polls it */
    int wake_event; /* the thread polls it */
    bool away;      /* the last word from the hub was an error */
    int64_t sweep_ms, beat_ms, promote_ms;
    struct keeper_tend tend;
    int64_t tend_ms, tended_ms; /* when next, by the one that promotes; when last */
    int64_t tend_took_ms;       /* the last time */
    char tend_said[KEEPER_MESSAGE_BYTES];

    /* what it serves; the thread's own */
    struct task_serves serves;
    char **texts; /* what serves points to */
    size_t text_count;
    struct task_source *sources;
    size_t source_count;
    uint32_t number;
    int64_t refresh_ms;
    struct store_watch *watch;
    int64_t watch_ms; /* not opened (again) before */
    int empties;      /* looks in a row that showed nothing left */

    /* with the mutex */
    bool quit, ended;
    bool task_ended; /* since it was tended to */
    struct ending *endings;
    bson_t *changes;
    bool changed; /* the last changes say something new */
    struct keeper_news news;
    bool *asked;
    size_t asked_count;
    struct keeper_question question; /* asked apart */
    struct pace pace;
};

/* keeper.c */
void keeper_tell(struct keeper *keeper); /* there is news; with the mutex */
void keeper_wake(struct keeper *keeper);
void keeper_note(struct keeper *keeper, const char *text);
/* One note when the hub goes away, one when it is back. Passes result on. */
int64_t keeper_heard(struct keeper *keeper, int64_t result, const bson_error_t *error);

/* keeper_endings.c: those that are due; when the next one is, or INT64_MAX. last: those that wait as well. */
int64_t keeper_write_endings(struct keeper *keeper, bool last);
void keeper_free_endings(struct keeper *keeper);

/* keeper_tend.c: how many tasks were made; and when it is due. */
int64_t keeper_tend(struct keeper *keeper, bool now);
int64_t keeper_tend_due(struct keeper *keeper);

/* keeper_look.c */
bool keeper_serve(struct keeper *keeper, const struct keeper_options *options);
void keeper_unserve(struct keeper *keeper);
void keeper_look(struct keeper *keeper);
/* When the classes are to be looked for again, and that. */
int64_t keeper_refresh_due(const struct keeper *keeper);
void keeper_refresh(struct keeper *keeper);
/* Opens the wake-up where it is worth it, and closes one that has ended. */
void keeper_watch(struct keeper *keeper);
void keeper_take_watch(struct keeper *keeper);

#endif
