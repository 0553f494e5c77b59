/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_WORK_H
#define TL_RUNNER_WORK_H

/* One claimed task in a worker, and how it ends. A recipe (train.c, evaluate.c, infer.c) does the computing and says what came
 * out; work_run makes of it exactly one fenced end: finish, fail, end at the user's request, or release. */

#include "kernels/device.h"
#include "runner/data.h"
#include "runner/heartbeat.h"

#define WORK_PROGRESS_SECONDS 0.3 /* between two progress messages */

struct worker {
    struct hub *hub;
    struct heartbeat *heartbeat;
    struct data_cache *cache;
    struct device *device; /* opened by the first task that needs it, and again for another number of threads */
    const char *device_name;
    int threads;
    int64_t memory; /* bytes that a task may need; 0: not known */
    int64_t lease_ms;
    const char *spool; /* folder for log points that wait for the hub; NULL: see spool.h */
    int index;
    int socket; /* to the supervisor */
    /* what the supervisor has said */
    bool leave, granted, poll;
    char *output; /* bson_free */
};

/* Why the work is to end before it is through. */
enum work_stop {
    WORK_GO_ON,
    WORK_STOPPING, /* the runner was told to stop */
    WORK_CANCEL, WORK_STOP, WORK_PAUSE, /* asked for by the user */
    WORK_AWAY,     /* the hub could not be reached for too long */
    WORK_LOST,
    WORK_PARK      /* at a rung: it goes on when it is promoted */
};

/* How a task ended, for the worker's loop and the supervisor's summary. */
enum work_end { WORK_DONE, WORK_FAILED, WORK_RELEASED, WORK_GONE /* lost */ };

struct work {
    struct worker *worker;
    const bson_t *task;
    const struct task_fence *fence;
    int64_t run;
    const char *kind;
    double started; /* clock_seconds */
    double last_message;
    struct logs *logs;
    bool unanswered; /* it has been said that the hub does not answer */
};

/* What a recipe leaves behind. */
struct work_result {
    bson_t metrics; /* of result.metrics */
    bson_t model;   /* the model's own fields; used with weights only */
    uint8_t *weights; /* safetensors; NULL for a task that makes no model (free) */
    size_t weights_length;
    bson_t dataset;  /* without weights: a manifest that the task made; empty: none */
    bool stopped;   /* ended early, with results: at the user's request, or for the reason */
    char reason[1100]; /* "": the user's */
    bson_t logs_before; /* of task_finish; empty: none */
    bson_t rungs;   /* with WORK_PARK: of task_park */
};

/* A recipe returns 1 with the result filled (initialised by the caller), 0 when *stop says why it ended without one, -1
 * error. Errors for which the hub is to blame are told from the task's own by work_is_transient. */
typedef int work_recipe(struct work *work, struct work_result *result, enum work_stop *stop, bson_error_t *error);
work_recipe train_recipe;
work_recipe evaluate_recipe; /* validate and test */
work_recipe infer_recipe;

enum work_end work_run(struct worker *worker, const bson_t *task, const struct task_fence *fence, int64_t claimed_ms);

/* To be asked at every batch. */
enum work_stop work_stopping(struct work *work);
/* Before anything is uploaded: whether the task is still ours, waited for while the hub is away. 1, 0 it is lost, -1 told
 * to stop, and the hub is away still. */
int work_confirm(struct work *work);
/* Something that a person should know. */
void work_note(struct work *work, const char *text);
/* The hub is away or busy: the task itself may be good. */
bool work_is_transient(const bson_error_t *error);
/* The runner was told to stop (SIGTERM, or the supervisor is gone). */
bool worker_stopping(void);
/* Waits up to ms (-1: for ever) for word from the supervisor, and takes it; less when told to stop. */
void worker_wait(struct worker *worker, int64_t ms);
/* What was written on stderr since the task was claimed, as the supervisor has it; NULL where there is nothing.
 * Borrowed until the next call. */
const char *worker_output(struct worker *worker);

/* Sends an event about the task: say, task, seq, name, kind and what details has. wait false: may be left out when
 * the supervisor is slow. */
void work_say(struct work *work, const char *say, const bson_t *details, bool wait);
/* Whether it is time for a progress message; sets the time of the last one. */
bool work_progress_due(struct work *work);
/* Kernel errors as the hub's. Returns -1. */
int work_kernel_error(bson_error_t *error, const struct kernel_error *from, const char *what);
/* The worker's device with this number of threads. NULL on error. */
struct device *worker_device(struct worker *worker, int threads, bson_error_t *error);

#endif
