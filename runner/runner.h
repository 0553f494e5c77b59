/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RUNNER_H
#define TL_RUNNER_RUNNER_H

/* A runner: a supervisor with a pool of workers (an exec'd process each, because libmongoc, SQLite and OpenMP do not
 * survive a fork). Workers claim tasks, train, and tell the supervisor what they do over a pipe, one JSON object a
 * line; the supervisor keeps the runner record, sweeps, restarts workers that died (and counts the crash on their
 * task), and passes the signals on. Nothing here prints: events go to a callback. */

#include "hub/hub.h"

struct runner_options {
    const char *uri;
    const char *project;
    const char *queue;          /* NULL: "default" */
    const char *resource_class; /* NULL: "cpu" */
    /* Several: NULL-ended lists in the place of the three above. The runner goes round all their combinations in fair
     * turns. The first project is the one that the runner's record belongs to. */
    const char *const *projects, *const *queues, *const *resource_classes;
    const char *const *labels;  /* what tasks may require of this runner (task_class.h); NULL: none */
    const char *task_name;      /* only tasks of this name, newest first; NULL */
    const char *device;         /* "cpu" or "ref"; NULL: "cpu" */
    int workers;                /* 0: one a core */
    int threads;                /* per worker; 0: 1 */
    int64_t memory;             /* bytes that a task of a worker may need; 0: what is free here, shared among the workers */
    bool until_empty;           /* leave when nothing is ready, delayed, waiting or running in what it serves */
    int64_t max_tasks;          /* leave after claiming this many; 0: no limit */
    int64_t lease_ms;           /* 0: TASK_LEASE_MS */
    const char *program;        /* exec'd for a worker as: program run-task --worker-process FD … ; NULL: /proc/self/exe */
    const char *spool;          /* folder for local files; NULL: under XDG_RUNTIME_DIR or /tmp */
    /* NULL, or what is to be done now and then with the hub, in its project: when a task has ended here, every two seconds by
     * the runner that promotes for all, and with `now` before one leaves because nothing is left. Called in a thread of the
     * runner's, one call at a time. How many tasks it made, or -1. */
    int64_t (*tend)(void *data, struct hub *hub, bool now, bson_error_t *error);
    void *tend_data;
};

enum runner_event_kind {
    RUNNER_EVENT_CLAIMED,  /* task, seq, name, worker */
    RUNNER_EVENT_EPOCH,    /* + epoch, epochs, loss, accuracy, validation_loss, validation_accuracy, seconds, seconds_left */
    RUNNER_EVENT_PROGRESS, /* + epoch, epochs, fraction of the epoch, loss, seconds_left: a few a second */
    RUNNER_EVENT_DONE,     /* + state, metrics, seconds */
    RUNNER_EVENT_FAILED,   /* + error */
    RUNNER_EVENT_CRASHED,  /* + signal or status */
    RUNNER_EVENT_RELEASED,
    RUNNER_EVENT_LOST,     /* the lease was lost: nothing of it was written */
    RUNNER_EVENT_NOTE      /* message: the hub is away, a worker restarts, … */
};

struct runner_summary {
    int64_t done, failed, crashed, released, lost;
    int64_t parked;    /* at a rung of their sweep */
    int64_t put_aside; /* paused or cancelled by their user */
    bool told;         /* it left by a signal */
    double seconds;
};

/* Runs until told to leave. event's details are a BSON document with the fields named above and `worker` (index),
 * called from the calling thread only; tick is called about 10 times a second (for drawing; NULL allowed). SIGTERM and
 * SIGINT stop at the next batch and release; SIGUSR1 finishes what runs and leaves. 1 or -1. */
int runner_run(const struct runner_options *options,
               void (*event)(enum runner_event_kind kind, const bson_t *details, void *data),
               void (*tick)(void *data), void *data, struct runner_summary *summary, bson_error_t *error);

/* The worker's side of the pipe: what `run-task --worker-process` calls. Returns the process's exit status. */
int runner_worker_main(int argc, char **argv);

/* For `tl_hub doctor`: devices, CPU, the GEMM chosen, its rates and why. */
int runner_describe_devices(bson_t *out, bson_error_t *error);

#endif
