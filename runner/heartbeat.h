/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_HEARTBEAT_H
#define TL_RUNNER_HEARTBEAT_H

/* A worker's heartbeat: a thread with a hub of its own (no wait of which is longer than a sixth of the lease, or 5 s), that
 * training cannot starve and that never makes training wait for the hub. While a task is watched it beats (the first time a second after the claim, which also says "started", so that a
 * shorter task costs no write at all; then every sixth of the lease, but at least every TASK_BEAT_MS), writes progress with the beat, and the log
 * points that came meanwhile. It also says when to stop: what the user asked for, a lost lease, or no good beat for
 * two thirds of the lease by CLOCK_BOOTTIME, counted from the sending of the last good one.
 *
 * While the hub is away, log points wait in a spool (spool.h) and are written when a beat has been accepted again. */

#include "hub/logs.h"

struct heartbeat;

enum heartbeat_verdict {
    HEARTBEAT_GO_ON,
    HEARTBEAT_CANCEL, /* asked for by the user */
    HEARTBEAT_STOP,
    HEARTBEAT_PAUSE,
    HEARTBEAT_AWAY,   /* the hub could not be reached for too long: stop, and give the task back when it can be */
    HEARTBEAT_LOST    /* the task is another's: write nothing more */
};

/* Between two beats: a sixth of the lease, but not more than TASK_BEAT_MS, for a request should not wait for hours. */
int64_t heartbeat_interval_ms(int64_t lease_ms);
/* The thread opens the hub of the same URI for itself when it first needs to. NULL on error. */
struct heartbeat *heartbeat_new(const struct hub *hub, int64_t lease_ms, bson_error_t *error);
/* Ends the thread; it first waits for what is being written. NULL allowed. */
void heartbeat_free(struct heartbeat *heartbeat);

/* Watches a task that was claimed by a request sent at claimed_ms (clock_boot_ms). logs is borrowed until
 * heartbeat_take_logs. */
void heartbeat_watch(struct heartbeat *heartbeat, const struct task_fence *fence, struct logs *logs,
                     int64_t claimed_ms);
/* The progress to be written by the next beat (copied). */
void heartbeat_progress(struct heartbeat *heartbeat, const bson_t *progress);
/* Where points wait that memory does not hold; NULL: as spool_new says. For the tasks watched from now on (copied). */
void heartbeat_spool_in(struct heartbeat *heartbeat, const char *folder);
/* A log point, to be written within some seconds; batch: of a batch, not of an epoch. 1 when so many wait that some of
 * batches are left out from now on, 0, -1 without memory. */
int heartbeat_log(struct heartbeat *heartbeat, const char *split, const bson_t *point, bool batch, bson_error_t *error);
/* Writes all points by the caller's hub, now, and appends how many there are of each split in all ({SPLIT: n}). 0, or -1:
 * what could not be written waits as before. */
int heartbeat_write_logs(struct heartbeat *heartbeat, struct hub *hub, bson_t *counts, bson_error_t *error);
/* Cheap: to be asked at every batch. */
enum heartbeat_verdict heartbeat_verdict(struct heartbeat *heartbeat);
/* Whether the last beat that was tried was answered; why gets what was said else (may be NULL). */
bool heartbeat_is_answered(struct heartbeat *heartbeat, char *why, size_t size);
/* Whether the task is still ours: at once where a beat was good within two thirds of the lease, else a beat is sent now
 * and waited for, for up to wait_ms. 1, 0 it is lost, -1 no answer. To be asked before anything is uploaded: a process
 * that was stopped for longer than its lease does not know that. */
int heartbeat_confirm(struct heartbeat *heartbeat, int64_t wait_ms);
/* Hands the logs back with all their points, those that are many by way of the caller's hub; beats go on. 0, or -1 where
 * that could not be done: to be called again. After it heartbeat_log must not be called. */
int heartbeat_take_logs(struct heartbeat *heartbeat, struct hub *hub, bson_error_t *error);
/* No more beats for this task (one that is under way may still end, and changes nothing). */
void heartbeat_leave(struct heartbeat *heartbeat);

#endif
