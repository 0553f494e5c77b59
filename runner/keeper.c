/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/keeper.h"
#include "hub/runner_record.h"
#include "runner/clock.h"
#include "runner/document.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BEAT_MS = 15000, LOOK_MS = 20, LOOK_MOST_MS = 2000, PROMOTE_MS = 2000, RETRY_MS = 1000, MESSAGE_BYTES = 512 };

/* A task that its worker cannot end any more. */
struct ending {
    struct ending *next;
    struct task_fence fence;
    bool crash;
    char message[MESSAGE_BYTES];
    char *output;
};

struct keeper {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct hub *hub;
    char *record, *queue, *resource_class, *task_name;
    struct task_sweeper *sweeper;
    int event;
    bool quit, idle, watch_empty, look_now;
    struct ending *endings;
    bson_t *changes;
    struct keeper_news news;
    bool away; /* the last word from the hub was an error */
    int64_t sweep_ms, beat_ms, look_ms, look_wait_ms, ending_ms;
};

static void ending_free(struct ending *ending)
{
    if (ending)
        free(ending->output);
    free(ending);
}

/* With the mutex held. */
static void tell(struct keeper *keeper)
{
    eventfd_write(keeper->event, 1); /* fails only where the counter is full: then it is readable already */
}

static void note(struct keeper *keeper, const char *text)
{
    pthread_mutex_lock(&keeper->mutex);
    snprintf(keeper->news.note, sizeof keeper->news.note, "%s", text);
    tell(keeper);
    pthread_mutex_unlock(&keeper->mutex);
}

/* One note when the hub goes away, one when it is back. Passes result on. */
static int64_t heard(struct keeper *keeper, int64_t result, const bson_error_t *error)
{
    if (result < 0 && !keeper->away)
        note(keeper, error->message);
    if (result >= 0 && keeper->away)
        note(keeper, "the hub answers again");
    keeper->away = result < 0;
    return result;
}

/* A worker that died within its first second had no time to say "started": it was seen at work all the same, and a
 * task that kills at once must not be tried for ever. */
static int end_task(struct hub *hub, const struct ending *ending, bson_error_t *error)
{
    if (!ending->crash)
        return task_release(hub, &ending->fence, error);
    int result = task_started(hub, &ending->fence, error);
    return result > 0 ? task_crash(hub, &ending->fence, ending->message, ending->output, error) : result;
}

static void write_endings(struct keeper *keeper)
{
    bson_error_t error;
    for (;;) {
        pthread_mutex_lock(&keeper->mutex);
        struct ending *ending = keeper->endings;
        pthread_mutex_unlock(&keeper->mutex);
        if (!ending)
            return;
        int result = end_task(keeper->hub, ending, &error);
        if (heard(keeper, result, &error) < 0 && hub_error_code(&error) != HUB_ERROR_INVALID) {
            keeper->ending_ms = clock_boot_ms() + clock_jitter(2 * RETRY_MS);
            return;
        }
        pthread_mutex_lock(&keeper->mutex);
        keeper->endings = ending->next;
        pthread_mutex_unlock(&keeper->mutex);
        ending_free(ending);
        keeper->look_wait_ms = LOOK_MS;
    }
}

static void append_mine(const struct keeper *keeper, bson_t *filter)
{
    BSON_APPEND_UTF8(filter, "queue", keeper->queue);
    BSON_APPEND_UTF8(filter, "resource_class", keeper->resource_class);
    if (keeper->task_name)
        BSON_APPEND_UTF8(filter, "name", keeper->task_name);
}

/* Whether a waiting task may still start: all that it waits for has ended well or may yet. 1, 0, -1. */
static int may_start(struct keeper *keeper, const bson_t *task, bson_error_t *error)
{
    static const char *const good[] = {"done", "stopped", "ready", "delayed", "running", "paused"};
    bson_t after, filter, in, state;
    bson_iter_t at;
    int result = 1;
    if (!document_array(task, "after", &after) || !bson_iter_init(&at, &after))
        return 1;
    while (result == 1 && bson_iter_next(&at)) {
        bson_init(&filter);
        bson_append_iter(&filter, "_id", -1, &at);
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "state", &state);
        BSON_APPEND_ARRAY_BEGIN(&state, "$in", &in);
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
            char key[16];
            snprintf(key, sizeof key, "%zu", i);
            BSON_APPEND_UTF8(&in, key, good[i]);
        }
        bson_append_array_end(&state, &in);
        bson_append_document_end(&filter, &state);
        struct store_cursor *cursor = task_find(keeper->hub, &filter, NULL, error);
        const bson_t *one;
        result = cursor ? store_cursor_next(cursor, &one, error) : -1;
        store_cursor_close(cursor);
        bson_destroy(&filter);
    }
    return result;
}

/* Among waiting tasks, with nothing else left, at least one must be free to start, or none ever will. 1, 0, -1. */
static int any_may_start(struct keeper *keeper, int64_t *first_seq, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *task;
    int result = 0, next = -1;
    append_mine(keeper, &filter);
    BSON_APPEND_UTF8(&filter, "state", "waiting");
    *first_seq = 0;
    struct store_cursor *cursor = task_find(keeper->hub, &filter, NULL, error);
    while (cursor && result == 0 && (next = store_cursor_next(cursor, &task, error)) > 0) {
        if (*first_seq == 0)
            document_integer(task, "seq", first_seq);
        result = may_start(keeper, task, error);
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    return next < 0 ? -1 : result;
}

/* Looks at what is left: 1 something, 0 nothing, -1. *ready: some could be claimed now. */
static int look(struct keeper *keeper, bool *ready, bson_error_t *error)
{
    static const char *const open[] = {"ready", "delayed", "waiting", "running"};
    int64_t counts[4] = {0}, seq;
    bson_t filter = BSON_INITIALIZER, states;
    append_mine(keeper, &filter);
    int result = task_count_states(keeper->hub, &filter, &states, error);
    if (result >= 0) {
        result = 0;
        for (size_t i = 0; i < 4; i++)
            if (document_integer(&states, open[i], &counts[i]) && counts[i] > 0)
                result = 1;
    }
    bson_destroy(&states);
    bson_destroy(&filter);
    *ready = counts[0] > 0;
    if (result == 1 && counts[2] > 0 && counts[0] + counts[1] + counts[3] == 0) {
        result = any_may_start(keeper, &seq, error);
        if (result == 0) {
            char text[256];
            snprintf(text, sizeof text,
                     "%lld tasks wait for tasks that did not end well, the first is #%lld: none of them can start",
                     (long long)counts[2], (long long)seq);
            note(keeper, text);
        }
    }
    return result;
}

/* While the workers are idle: what is due becomes ready, and is anything left? */
static void attend(struct keeper *keeper, bool watch_empty)
{
    bson_error_t error;
    bool ready = false, empty = false;
    int64_t promoted = heard(keeper, task_promote(keeper->hub, &error), &error);
    int64_t wait = PROMOTE_MS;
    if (promoted == 0 && watch_empty) {
        int left = (int)heard(keeper, look(keeper, &ready, &error), &error);
        empty = left == 0;
        wait = keeper->look_wait_ms;
        keeper->look_wait_ms = wait * 2 < LOOK_MOST_MS ? wait * 2 : LOOK_MOST_MS;
    }
    pthread_mutex_lock(&keeper->mutex);
    /* Only where the workers have been idle all the while: one may have claimed what was just counted. */
    keeper->news.empty = empty && keeper->idle;
    keeper->news.poll = keeper->news.poll || promoted > 0 || ready;
    if (keeper->news.empty || keeper->news.poll)
        tell(keeper);
    pthread_mutex_unlock(&keeper->mutex);
    keeper->look_ms = clock_boot_ms() + clock_jitter(wait);
}

static void beat(struct keeper *keeper)
{
    bson_error_t error;
    pthread_mutex_lock(&keeper->mutex);
    bson_t *changes = keeper->changes;
    keeper->changes = NULL;
    pthread_mutex_unlock(&keeper->mutex);
    heard(keeper, runner_record_beat(keeper->hub, keeper->record, changes, &error), &error);
    bson_destroy(changes);
    keeper->beat_ms = clock_boot_ms() + clock_jitter(BEAT_MS);
}

static void sweep(struct keeper *keeper)
{
    bson_error_t error;
    int64_t next_ms = 0;
    int64_t changed = heard(keeper, task_sweeper_round(keeper->sweeper, keeper->hub, &next_ms, &error), &error);
    if (next_ms < 50)
        next_ms = 50;
    keeper->sweep_ms = clock_boot_ms() + (changed < 0 ? clock_jitter(2 * RETRY_MS) : next_ms);
    if (changed > 0) {
        pthread_mutex_lock(&keeper->mutex);
        keeper->news.poll = true;
        tell(keeper);
        pthread_mutex_unlock(&keeper->mutex);
    }
}

static void *run(void *data)
{
    struct keeper *keeper = data;
    bson_error_t error;
    pthread_mutex_lock(&keeper->mutex);
    while (!keeper->quit) {
        int64_t now = clock_boot_ms();
        bool endings = keeper->endings && now >= keeper->ending_ms, idle = keeper->idle;
        bool watch_empty = keeper->watch_empty;
        if (keeper->look_now) {
            keeper->look_ms = now;
            keeper->look_wait_ms = LOOK_MS;
        }
        keeper->look_now = false;
        int64_t next = keeper->sweep_ms < keeper->beat_ms ? keeper->sweep_ms : keeper->beat_ms;
        if (idle && keeper->look_ms < next)
            next = keeper->look_ms;
        if (keeper->endings && keeper->ending_ms < next)
            next = keeper->ending_ms;
        if (next > now) {
            struct timespec at;
            clock_gettime(CLOCK_MONOTONIC, &at);
            int64_t nanoseconds = at.tv_nsec + (next - now) % 1000 * 1000000;
            at.tv_sec += (time_t)((next - now) / 1000 + nanoseconds / 1000000000);
            at.tv_nsec = (long)(nanoseconds % 1000000000);
            pthread_cond_timedwait(&keeper->changed, &keeper->mutex, &at);
            continue;
        }
        pthread_mutex_unlock(&keeper->mutex);
        if (endings)
            write_endings(keeper);
        else if (idle && now >= keeper->look_ms)
            attend(keeper, watch_empty);
        else if (now >= keeper->beat_ms)
            beat(keeper);
        else if (now >= keeper->sweep_ms)
            sweep(keeper);
        pthread_mutex_lock(&keeper->mutex);
    }
    pthread_mutex_unlock(&keeper->mutex);
    write_endings(keeper);
    runner_record_end(keeper->hub, keeper->record, &error);
    task_sweeper_free(keeper->sweeper);
    hub_close(keeper->hub);
    return NULL;
}

static void release(struct keeper *keeper)
{
    while (keeper->endings) {
        struct ending *next = keeper->endings->next;
        ending_free(keeper->endings);
        keeper->endings = next;
    }
    if (keeper->event >= 0)
        close(keeper->event);
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->mutex);
    bson_destroy(keeper->changes);
    free(keeper->record);
    free(keeper->queue);
    free(keeper->resource_class);
    free(keeper->task_name);
    free(keeper);
}

struct keeper *keeper_new(struct hub *hub, const struct keeper_options *options, bson_error_t *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (!keeper) {
        hub_close(hub);
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner");
        return NULL;
    }
    keeper->hub = hub;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    keeper->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    keeper->record = strdup(options->record);
    keeper->queue = strdup(options->queue);
    keeper->resource_class = strdup(options->resource_class);
    keeper->task_name = options->task_name ? strdup(options->task_name) : NULL;
    keeper->sweeper = task_sweeper_new(options->lease_ms);
    keeper->look_wait_ms = LOOK_MS;
    keeper->beat_ms = clock_boot_ms() + BEAT_MS;
    /* The first look is soon, but not before workers that find work at once are at it. */
    keeper->sweep_ms = clock_boot_ms() + clock_jitter(500);
    if (keeper->event < 0 || !keeper->record || !keeper->queue || !keeper->resource_class || !keeper->sweeper ||
        (options->task_name && !keeper->task_name)) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner");
        goto failed;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&keeper->thread, NULL, run, keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0)
        return keeper;
    hub_error(error, HUB_ERROR_MEMORY, "cannot start a thread: %s", strerror(result));
failed:
    task_sweeper_free(keeper->sweeper);
    hub_close(hub);
    release(keeper);
    return NULL;
}

void keeper_free(struct keeper *keeper, int64_t limit_ms)
{
    struct timespec until;
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->mutex);
    keeper->quit = true;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(limit_ms / 1000 + 1);
    if (pthread_clockjoin_np(keeper->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
        release(keeper);
}

int keeper_fd(const struct keeper *keeper)
{
    return keeper->event;
}

void keeper_take(struct keeper *keeper, struct keeper_news *news)
{
    eventfd_t count;
    pthread_mutex_lock(&keeper->mutex);
    eventfd_read(keeper->event, &count);
    *news = keeper->news;
    memset(&keeper->news, 0, sizeof keeper->news);
    pthread_mutex_unlock(&keeper->mutex);
}

static void add_ending(struct keeper *keeper, const struct task_fence *fence, bool crash, const char *message,
                       const char *output)
{
    struct ending *ending = calloc(1, sizeof *ending), **last;
    if (!ending)
        return; /* then a sweeper takes the task back */
    ending->fence = *fence;
    ending->crash = crash;
    snprintf(ending->message, sizeof ending->message, "%s", message);
    ending->output = output && *output ? strdup(output) : NULL;
    pthread_mutex_lock(&keeper->mutex);
    for (last = &keeper->endings; *last; last = &(*last)->next)
        continue;
    *last = ending;
    keeper->ending_ms = 0;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
}

void keeper_crash(struct keeper *keeper, const struct task_fence *fence, const char *message, const char *output)
{
    add_ending(keeper, fence, true, message, output);
}

void keeper_release(struct keeper *keeper, const struct task_fence *fence)
{
    add_ending(keeper, fence, false, "", NULL);
}

void keeper_idle(struct keeper *keeper, bool idle, bool watch_empty)
{
    pthread_mutex_lock(&keeper->mutex);
    if (idle && !keeper->idle) {
        keeper->look_now = true;
        pthread_cond_broadcast(&keeper->changed);
    }
    keeper->idle = idle;
    keeper->watch_empty = watch_empty;
    if (!idle)
        keeper->news.empty = false;
    pthread_mutex_unlock(&keeper->mutex);
}

void keeper_changes(struct keeper *keeper, const bson_t *changes)
{
    pthread_mutex_lock(&keeper->mutex);
    bson_destroy(keeper->changes);
    keeper->changes = bson_copy(changes);
    pthread_mutex_unlock(&keeper->mutex);
}
