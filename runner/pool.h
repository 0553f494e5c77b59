/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_POOL_H
#define TL_RUNNER_POOL_H

/* The supervisor's side of one worker process: started with exec, talked to over a socket, its stdout and stderr read
 * from a pipe and their end kept for error messages. */

#include "hub/task.h"

#include <sys/types.h>

#define POOL_OUTPUT_BYTES 16384

struct pool_worker {
    int index;
    pid_t pid;            /* 0: not running */
    char id[HUB_ID_SIZE]; /* of this process: no other ever has it */
    int socket, output;   /* -1: not running */
    int64_t start_ms;     /* clock_boot_ms when it is to be started (again) */
    int failures;         /* deaths since it last did a task */
    int early_deaths;     /* deaths in a row before it was ready */
    bool ready, idle, wants, granted, told_to_leave;
    bool behind;          /* its socket was full when the sources changed: they are sent when it speaks next */
    bool worked;          /* it has ended a task since it was idle last */
    bool given_up;        /* it dies whenever it starts */
    bool busy;            /* it holds a claim: */
    bool *empty;          /* the sources that it passes over, of the runner's list (bson_free) */
    struct task_fence fence;
    bson_t task;          /* {task, seq, name, kind}; initialised always */
    char text[POOL_OUTPUT_BYTES + 1];
    size_t text_length;
};

void pool_worker_init(struct pool_worker *worker, int index);
void pool_worker_destroy(struct pool_worker *worker);
/* Starts `program run-task --worker-process FD` and sends it its configuration: that way nothing secret is in its
 * arguments or environment. OMP_NUM_THREADS is set to threads. 0 or -1. */
int pool_worker_start(struct pool_worker *worker, const char *program, const bson_t *configuration, int threads,
                      bson_error_t *error);
/* Reads what it wrote on stdout and stderr. */
void pool_worker_read_output(struct pool_worker *worker);
/* The last of it, as UTF-8; borrowed until the next read. Empty where there is none. */
const char *pool_worker_text(struct pool_worker *worker);
/* After it has been reaped: closes its ends. */
void pool_worker_gone(struct pool_worker *worker);

#endif
