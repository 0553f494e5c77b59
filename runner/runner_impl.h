/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RUNNER_IMPL_H
#define TL_RUNNER_RUNNER_IMPL_H

/* The supervisor's state, between runner.c (starting, burying, signals, the loop) and runner_talk.c (what it tells its
 * workers, its caller and the keeper, and hears from the workers). */

#include "runner/keeper.h"
#include "runner/pool.h"
#include "runner/runner.h"

struct runner {
    const struct runner_options *options;
    const char *program;
    void (*event)(enum runner_event_kind kind, const bson_t *details, void *data);
    void *data;
    struct runner_summary *summary;
    struct pool_worker *workers;
    int count;
    int threads;
    int64_t memory;         /* bytes that a task may need */
    bson_t configuration;   /* but for the sources */
    struct task_source *sources;
    size_t source_count;
    uint32_t number;        /* of this list of sources */
    bool worked;            /* since the keeper was asked last: there was work where there had been none */
    const char *store_library; /* of the record; "" where it is not known */
    char device_gemm[200], libraries[300]; /* what a worker told of its device */
    struct keeper *keeper;
    int signals;
    int64_t claimed, granted; /* with max_tasks */
    bool leaving;             /* no new claims; workers are not started again */
    int stops;                /* SIGTERM and SIGINT so far */
    int64_t kill_ms;
    bool failed;
    bson_error_t why;
};

/* To the caller. worker -1: none. */
void runner_emit(struct runner *runner, enum runner_event_kind kind, const bson_t *details, int worker);
void runner_emit_text(struct runner *runner, enum runner_event_kind kind, const bson_t *details, const char *key,
                      const char *text, int worker);
/* No new claims; every worker leaves when it has done what it does. */
void runner_leave(struct runner *runner);
/* A source has work again. */
void runner_wake_for(struct runner *runner, size_t source);
void runner_send_sources(struct runner *runner, struct pool_worker *worker);
/* A claim each for those who want one, as far as max_tasks allows. */
void runner_grant(struct runner *runner);
/* Tells the keeper what the workers need to know; with report, also what the runner record should say. */
void runner_ask(struct runner *runner);
void runner_report(struct runner *runner);
/* Everything that a worker has said so far. */
void runner_take_all(struct runner *runner, struct pool_worker *worker);

#endif
