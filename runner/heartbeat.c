/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/heartbeat.h"
#include "runner/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_BEAT_MS = 1000, FLUSH_MS = 5000, RETRY_MS = 1000, SPLIT_BYTES = 32 };

struct pending {
    struct pending *next;
    char split[SPLIT_BYTES];
    bson_t *point;
};

struct heartbeat {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* something to do, or the thread has done with logs */
    const struct hub *origin;
    struct hub *hub; /* the thread's own */
    int64_t lease_ms, interval_ms;
    bool quit, watching, flushing;
    bool started; /* the first fenced write of this watch has been accepted */
    uint64_t watch; /* which watch this is: a reply to an earlier one changes nothing */
    struct task_fence fence;
    int64_t next_beat_ms, next_flush_ms;
    int64_t good_ms; /* when the last good beat was sent */
    enum heartbeat_verdict verdict;
    bson_t *progress;
    struct logs *logs;
    struct pending *first, **last;
};

static void pending_free(struct pending *pending)
{
    while (pending) {
        struct pending *next = pending->next;
        bson_destroy(pending->point);
        free(pending);
        pending = next;
    }
}

static int pending_add(struct pending *pending, struct logs *logs, bson_error_t *error)
{
    for (; pending; pending = pending->next)
        if (logs_add(logs, pending->split, pending->point, error) < 0)
            return -1;
    return 0;
}

static struct pending *pending_take(struct heartbeat *heartbeat)
{
    struct pending *first = heartbeat->first;
    heartbeat->first = NULL;
    heartbeat->last = &heartbeat->first;
    return first;
}

static bool open_hub(struct heartbeat *heartbeat)
{
    if (!heartbeat->hub)
        heartbeat->hub = hub_reopen(heartbeat->origin, NULL);
    return heartbeat->hub != NULL;
}

/* Called with the mutex held; lets go of it while it talks to the hub. */
static void flush(struct heartbeat *heartbeat)
{
    struct logs *logs = heartbeat->logs;
    struct pending *pending = pending_take(heartbeat);
    heartbeat->flushing = true;
    heartbeat->next_flush_ms = clock_boot_ms() + FLUSH_MS;
    pthread_mutex_unlock(&heartbeat->mutex);
    /* A failed write is made again by a later flush, or by the finish: buckets are whole. */
    if (pending_add(pending, logs, NULL) == 0 && open_hub(heartbeat))
        logs_flush(logs, heartbeat->hub, NULL);
    pending_free(pending);
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->flushing = false;
    pthread_cond_broadcast(&heartbeat->changed);
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

    heartbeat->progress = NULL;
    pthread_mutex_unlock(&heartbeat->mutex);
    int result = -1;
    if (open_hub(heartbeat))
        result = first ? task_started(heartbeat->hub, &fence, NULL)
                       : task_beat(heartbeat->hub, &fence, progress, &request, NULL);
    bson_destroy(progress);
    pthread_mutex_lock(&heartbeat->mutex);
    if (!heartbeat->watching || heartbeat->watch != watch)
        return;
    int64_t now = clock_boot_ms();
    if (result < 0) {
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
        bool points = heartbeat->watching && heartbeat->logs && heartbeat->first;
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

struct heartbeat *heartbeat_new(const struct hub *hub, int64_t lease_ms, bson_error_t *error)
{
    struct heartbeat *heartbeat = calloc(1, sizeof *heartbeat);
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (!heartbeat) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the heartbeat");
        return NULL;
    }
    heartbeat->origin = hub;
    heartbeat->lease_ms = lease_ms;
    heartbeat->interval_ms = lease_ms / 6;
    heartbeat->last = &heartbeat->first;
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
    pending_free(heartbeat->first);
    bson_destroy(heartbeat->progress);
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

int heartbeat_log(struct heartbeat *heartbeat, const char *split, const bson_t *point, bson_error_t *error)
{
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the log");
    if (strlen(split) >= sizeof pending->split) {
        free(pending);
        return hub_error(error, HUB_ERROR_INVALID, "split: a name longer than %d letters", SPLIT_BYTES - 1);
    }
    strcpy(pending->split, split);
    pending->point = bson_copy(point);
    pthread_mutex_lock(&heartbeat->mutex);
    bool woken = heartbeat->first != NULL;
    *heartbeat->last = pending;
    heartbeat->last = &pending->next;
    if (!woken) /* the thread may sleep for longer than until the next flush */
        pthread_cond_broadcast(&heartbeat->changed);
    pthread_mutex_unlock(&heartbeat->mutex);
    return 0;
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

int heartbeat_take_logs(struct heartbeat *heartbeat, bson_error_t *error)
{
    pthread_mutex_lock(&heartbeat->mutex);
    while (heartbeat->flushing)
        pthread_cond_wait(&heartbeat->changed, &heartbeat->mutex);
    struct logs *logs = heartbeat->logs;
    struct pending *pending = pending_take(heartbeat);
    heartbeat->logs = NULL;
    pthread_mutex_unlock(&heartbeat->mutex);
    int result = logs ? pending_add(pending, logs, error) : 0;
    pending_free(pending);
    return result;
}

void heartbeat_leave(struct heartbeat *heartbeat)
{
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->watching = false;
    while (heartbeat->flushing)
        pthread_cond_wait(&heartbeat->changed, &heartbeat->mutex);
    heartbeat->logs = NULL;
    pending_free(pending_take(heartbeat));
    pthread_mutex_unlock(&heartbeat->mutex);
}
