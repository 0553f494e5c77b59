/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/heartbeat.h"
#include "runner/clock.h"
#include "runner/spool.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FIRST_BEAT_MS = 1000,
    FLUSH_MS = 5000,
    RETRY_MS = 1000,
    WAIT_LEAST_MS = 1000, /* of the thread's hub */
    WAIT_MOST_MS = 5000,
    TAKE_POINTS = 512,    /* from the spool to a bucket before it is written */
    TAKE_ROUNDS = 16      /* in one flush: a beat may be due */
};

struct heartbeat {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* something to do, or done with logs, or a beat was tried */
    char *uri;
    struct hub *hub; /* the thread's own */
    int64_t lease_ms, interval_ms;
    bool quit, watching;
    bool flushing; /* somebody holds logs, without the mutex */
    bool started; /* the first fenced write of this watch has been accepted */
    uint64_t watch; /* which watch this is: a reply to an earlier one changes nothing */
    struct task_fence fence;
    int64_t next_beat_ms, next_flush_ms;
    int64_t good_ms; /* when the last good beat was sent */
    enum heartbeat_verdict verdict;
    uint64_t tries; /* beats that came to an end, either way */
    bool answered;
    char why[504]; /* the last one was not answered */
    bson_t *progress;
    struct logs *logs;
    bool unwritten; /* logs holds what a flush could not write */
    char *folder;
    struct spool *spool; /* made by the first point */
};

static bool open_hub(struct heartbeat *heartbeat, bson_error_t *error)
{
    int64_t wait_ms = heartbeat->interval_ms;
    wait_ms = wait_ms < WAIT_LEAST_MS ? WAIT_LEAST_MS : wait_ms > WAIT_MOST_MS ? WAIT_MOST_MS : wait_ms;
    if (!heartbeat->hub)
        heartbeat->hub = hub_open_with_timeout(heartbeat->uri, NULL, wait_ms, error);
    return heartbeat->hub != NULL;
}

/* ---- logs: with the mutex held; it is let go of while the hub is talked to, and `flushing` keeps others off ---- */

static void acquire_logs(struct heartbeat *heartbeat)
{
    while (heartbeat->flushing)
        pthread_cond_wait(&heartbeat->changed, &heartbeat->mutex);
    heartbeat->flushing = true;
}

static void release_logs(struct heartbeat *heartbeat)
{
    heartbeat->flushing = false;
    pthread_cond_broadcast(&heartbeat->changed);
}

/* Points from the spool to logs and from there to hub, bucket by bucket, so that an outage's worth of them is not held at
 * once. A write that failed is made again by the next: buckets are whole. keep: the last ones are left in logs, for the
 * finish. 1 all done, 0 more is left, -1. */
static int write_points(struct heartbeat *heartbeat, struct logs *logs, struct hub *hub, int rounds, bool keep,
                        bson_error_t *error)
{
    int result = 0;
    for (int i = 0; result == 0 && (rounds == 0 || i < rounds); i++) {
        int64_t taken = 0;
        bool last = !heartbeat->spool || spool_is_empty(heartbeat->spool);
        if (heartbeat->unwritten && !(last && keep)) {
            pthread_mutex_unlock(&heartbeat->mutex);
            int flushed = logs_flush(logs, hub, error);
            pthread_mutex_lock(&heartbeat->mutex);
            if (flushed < 0)
                return -1;
            heartbeat->unwritten = false;
            last = !heartbeat->spool || spool_is_empty(heartbeat->spool);
        }
        if (last)
            return 1;
        taken = spool_take(heartbeat->spool, logs, TAKE_POINTS, error);
        heartbeat->unwritten = heartbeat->unwritten || taken > 0;
        result = taken < 0 ? -1 : 0;
    }
    return result;
}

static void flush(struct heartbeat *heartbeat)
{
    int result = 0;
    acquire_logs(heartbeat);
    struct logs *logs = heartbeat->logs;
    pthread_mutex_unlock(&heartbeat->mutex);
    bool open = open_hub(heartbeat, NULL);
    pthread_mutex_lock(&heartbeat->mutex);
    if (open && logs)
        result = write_points(heartbeat, logs, heartbeat->hub, TAKE_ROUNDS, false, NULL);
    heartbeat->next_flush_ms = clock_boot_ms() + (open && result == 0 ? 0 : FLUSH_MS);
    release_logs(heartbeat);
}

static bool has_points(const struct heartbeat *heartbeat)
{
    return heartbeat->logs && (heartbeat->unwritten || (heartbeat->spool && !spool_is_empty(heartbeat->spool)));
}

static enum heartbeat_verdict verdict_of(enum task_request request)
{
    switch (request) {
    case TASK_REQUEST_CANCEL: return HEARTBEAT_CANCEL;
    case TASK_REQUEST_STOP: return HEARTBEAT_STOP;
    case TASK_REQUEST_PAUSE: return HEARTBEAT_PAUSE;
    case TASK_REQUEST_NONE: break;
    }
    return HEARTBEAT_GO_ON;
}

static void beat(struct heartbeat *heartbeat)
{
    struct task_fence fence = heartbeat->fence;
    uint64_t watch = heartbeat->watch;
    bson_t *progress = heartbeat->progress;
    enum task_request request = TASK_REQUEST_NONE;
    int64_t sent_ms = clock_boot_ms();
    bool first = !heartbeat->started;
    bson_error_t error = {0};

    heartbeat->progress = NULL;
    pthread_mutex_unlock(&heartbeat->mutex);
    int result = -1;
    if (open_hub(heartbeat, &error))
        result = first ? task_started(heartbeat->hub, &fence, &error)
                       : task_beat(heartbeat->hub, &fence, progress, &request, &error);
    bson_destroy(progress);
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->tries++;
    pthread_cond_broadcast(&heartbeat->changed); /* somebody may wait for it */
    if (!heartbeat->watching || heartbeat->watch != watch)
        return;
    int64_t now = clock_boot_ms();
    heartbeat->answered = result >= 0;
    if (result < 0) {
        snprintf(heartbeat->why, sizeof heartbeat->why, "%s", error.message);
        heartbeat->next_beat_ms = now + clock_jitter(2 * RETRY_MS);
        return;
    }
    heartbeat->next_beat_ms = sent_ms + heartbeat->interval_ms;
    if (heartbeat->next_beat_ms < now)
        heartbeat->next_beat_ms = now;
    if (result == 0) {
        heartbeat->verdict = HEARTBEAT_LOST;
        heartbeat->watching = false;
        return;
    }
    heartbeat->good_ms = sent_ms;
    heartbeat->started = true;
    if (heartbeat->verdict == HEARTBEAT_GO_ON)
        heartbeat->verdict = verdict_of(request);
}

static void sleep_until(struct heartbeat *heartbeat, int64_t until_ms)
{
    struct timespec at;
    int64_t wait = until_ms - clock_boot_ms();
    if (wait <= 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(wait / 1000);
    at.tv_nsec += (long)(wait % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    pthread_cond_timedwait(&heartbeat->changed, &heartbeat->mutex, &at);
}

static void *run(void *data)
{
    struct heartbeat *heartbeat = data;
    pthread_mutex_lock(&heartbeat->mutex);
    while (!heartbeat->quit) {
        int64_t now = clock_boot_ms();
        /* While no beat is answered, or the main thread writes them, a flush would only delay the next beat. */
        bool points = heartbeat->watching && heartbeat->answered && !heartbeat->flushing && has_points(heartbeat);
        if (!heartbeat->watching)
            pthread_cond_wait(&heartbeat->changed, &heartbeat->mutex);
        else if (now >= heartbeat->next_beat_ms)
            beat(heartbeat);
        else if (points && now >= heartbeat->next_flush_ms)
            flush(heartbeat);
        else if (points && heartbeat->next_flush_ms < heartbeat->next_beat_ms)
            sleep_until(heartbeat, heartbeat->next_flush_ms);
        else
            sleep_until(heartbeat, heartbeat->next_beat_ms);
    }
    pthread_mutex_unlock(&heartbeat->mutex);
    hub_close(heartbeat->hub);
    return NULL;
}

int64_t heartbeat_interval_ms(int64_t lease_ms)
{
    return lease_ms / 6 < TASK_BEAT_MS ? lease_ms / 6 : TASK_BEAT_MS;
}

struct heartbeat *heartbeat_new(const struct hub *hub, int64_t lease_ms, bson_error_t *error)
{
    struct heartbeat *heartbeat = calloc(1, sizeof *heartbeat);
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (!heartbeat) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the heartbeat");
        return NULL;
    }
    heartbeat->uri = bson_strdup(hub_uri(hub)); /* what it says of projects does not matter: fences carry theirs */
    heartbeat->lease_ms = lease_ms;
    heartbeat->interval_ms = heartbeat_interval_ms(lease_ms);
    heartbeat->answered = true;
    pthread_mutex_init(&heartbeat->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&heartbeat->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all); /* signals are for the thread that trains */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&heartbeat->thread, NULL, run, heartbeat);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        pthread_cond_destroy(&heartbeat->changed);
        pthread_mutex_destroy(&heartbeat->mutex);
        bson_free(heartbeat->uri);
        free(heartbeat);
        hub_error(error, HUB_ERROR_MEMORY, "cannot start the heartbeat's thread: %s", strerror(failed));
        return NULL;
    }
    return heartbeat;
}

void heartbeat_free(struct heartbeat *heartbeat)
{
    if (!heartbeat)
        return;
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->quit = true;
    pthread_cond_broadcast(&heartbeat->changed);
    pthread_mutex_unlock(&heartbeat->mutex);
    pthread_join(heartbeat->thread, NULL);
    pthread_cond_destroy(&heartbeat->changed);
    pthread_mutex_destroy(&heartbeat->mutex);
    spool_free(heartbeat->spool);
    bson_destroy(heartbeat->progress);
    free(heartbeat->folder);
    bson_free(heartbeat->uri);
    free(heartbeat);
}

void heartbeat_watch(struct heartbeat *heartbeat, const struct task_fence *fence, struct logs *logs,
                     int64_t claimed_ms)
{
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->watch++;
    heartbeat->watching = true;
    heartbeat->started = false;
    heartbeat->fence = *fence;
    heartbeat->logs = logs;
    heartbeat->unwritten = false;
    heartbeat->answered = true;
    if (heartbeat->spool)
        spool_clear(heartbeat->spool);
    heartbeat->good_ms = claimed_ms;
    heartbeat->next_beat_ms = claimed_ms + (FIRST_BEAT_MS < heartbeat->interval_ms ? FIRST_BEAT_MS : heartbeat->interval_ms);
    heartbeat->next_flush_ms = claimed_ms + FLUSH_MS;
    heartbeat->verdict = HEARTBEAT_GO_ON;
    bson_destroy(heartbeat->progress);
    heartbeat->progress = NULL;
    pthread_cond_broadcast(&heartbeat->changed);
    pthread_mutex_unlock(&heartbeat->mutex);
}

void heartbeat_progress(struct heartbeat *heartbeat, const bson_t *progress)
{
    pthread_mutex_lock(&heartbeat->mutex);
    bson_destroy(heartbeat->progress);
    heartbeat->progress = bson_copy(progress);
    pthread_mutex_unlock(&heartbeat->mutex);
}

void heartbeat_spool_in(struct heartbeat *heartbeat, const char *folder)
{
    pthread_mutex_lock(&heartbeat->mutex);
    bool same = folder && heartbeat->folder ? !strcmp(folder, heartbeat->folder) : !folder && !heartbeat->folder;
    if (!same) {
        free(heartbeat->folder);
        heartbeat->folder = folder ? strdup(folder) : NULL;
        spool_free(heartbeat->spool);
        heartbeat->spool = NULL;
    }
    pthread_mutex_unlock(&heartbeat->mutex);
}

int heartbeat_log(struct heartbeat *heartbeat, const char *split, const bson_t *point, bool batch, bson_error_t *error)
{
    int result = -1;
    pthread_mutex_lock(&heartbeat->mutex);
    if (!heartbeat->spool)
        heartbeat->spool = spool_new(heartbeat->folder, SPOOL_MEMORY_BYTES, SPOOL_FILE_BYTES);
    bool woken = has_points(heartbeat);
    if (heartbeat->spool)
        result = spool_add(heartbeat->spool, split, point, batch, error);
    else
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the log");
    if (!woken) /* the thread may sleep for longer than until the next flush */
        pthread_cond_broadcast(&heartbeat->changed);
    pthread_mutex_unlock(&heartbeat->mutex);
    return result;
}

int heartbeat_write_logs(struct heartbeat *heartbeat, struct hub *hub, bson_t *counts, bson_error_t *error)
{
    int result = 1;
    pthread_mutex_lock(&heartbeat->mutex);
    acquire_logs(heartbeat);
    if (heartbeat->logs) {
        result = write_points(heartbeat, heartbeat->logs, hub, 0, false, error);
        if (result > 0 && !logs_append_counts(heartbeat->logs, counts))
            result = hub_error(error, HUB_ERROR_MEMORY, "no memory for the log");
    }
    release_logs(heartbeat);
    pthread_mutex_unlock(&heartbeat->mutex);
    return result < 0 ? -1 : 0;
}

int heartbeat_take_logs(struct heartbeat *heartbeat, struct hub *hub, bson_error_t *error)
{
    int result = 1;
    pthread_mutex_lock(&heartbeat->mutex);
    acquire_logs(heartbeat);
    if (heartbeat->logs)
        result = write_points(heartbeat, heartbeat->logs, hub, 0, true, error);
    if (result > 0)
        heartbeat->logs = NULL;
    release_logs(heartbeat);
    pthread_mutex_unlock(&heartbeat->mutex);
    return result < 0 ? -1 : 0;
}

bool heartbeat_is_answered(struct heartbeat *heartbeat, char *why, size_t size)
{
    pthread_mutex_lock(&heartbeat->mutex);
    bool answered = heartbeat->answered;
    if (why)
        snprintf(why, size, "%s", answered ? "" : heartbeat->why);
    pthread_mutex_unlock(&heartbeat->mutex);
    return answered;
}

int heartbeat_confirm(struct heartbeat *heartbeat, int64_t wait_ms)
{
    int result = -1;
    int64_t until_ms = clock_boot_ms() + wait_ms;
    pthread_mutex_lock(&heartbeat->mutex);
    uint64_t tries = heartbeat->tries;
    for (;;) {
        int64_t now = clock_boot_ms();
        if (!heartbeat->watching) {
            result = 0;
            break;
        }
        if (now - heartbeat->good_ms < heartbeat->lease_ms * 2 / 3) {
            result = 1;
            break;
        }
        if (heartbeat->tries != tries || now >= until_ms)
            break;
        heartbeat->next_beat_ms = now;
        pthread_cond_broadcast(&heartbeat->changed);
        sleep_until(heartbeat, until_ms);
    }
    pthread_mutex_unlock(&heartbeat->mutex);
    return result;
}

enum heartbeat_verdict heartbeat_verdict(struct heartbeat *heartbeat)
{
    pthread_mutex_lock(&heartbeat->mutex);
    if ((heartbeat->verdict == HEARTBEAT_GO_ON || heartbeat->verdict == HEARTBEAT_STOP) && heartbeat->watching &&
        clock_boot_ms() - heartbeat->good_ms >= heartbeat->lease_ms * 2 / 3)
        heartbeat->verdict = HEARTBEAT_AWAY;
    enum heartbeat_verdict verdict = heartbeat->verdict;
    pthread_mutex_unlock(&heartbeat->mutex);
    return verdict;
}

void heartbeat_leave(struct heartbeat *heartbeat)
{
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->watching = false;
    acquire_logs(heartbeat);
    heartbeat->logs = NULL;
    if (heartbeat->spool)
        spool_clear(heartbeat->spool);
    release_logs(heartbeat);
    pthread_mutex_unlock(&heartbeat->mutex);
}
