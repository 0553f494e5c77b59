/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/keeper.h"
#include "hub/runner_record.h"
#include "runner/clock.h"
#include "runner/keeper_impl.h"
#include "runner/machine.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    BEAT_MS = 15000,
    BEAT_QUIET_MS = 120000, /* where there is nothing new to say */
    PROMOTE_MS = 2000,
    PROMOTE_DOUBT_MS = 8000 /* by those who only suspect that there is no sweeper */
};

void keeper_tell(struct keeper *keeper)
{
    eventfd_write(keeper->news_event, 1); /* fails only where the counter is full: then it is readable already */
}

void keeper_wake(struct keeper *keeper)
{
    eventfd_write(keeper->wake_event, 1);
}

void keeper_note(struct keeper *keeper, const char *text)
{
    pthread_mutex_lock(&keeper->mutex);
    snprintf(keeper->news.note, sizeof keeper->news.note, "%s", text);
    keeper_tell(keeper);
    pthread_mutex_unlock(&keeper->mutex);
}

int64_t keeper_heard(struct keeper *keeper, int64_t result, const bson_error_t *error)
{
    if (result < 0 && !keeper->away)
        keeper_note(keeper, error->message);
    if (result >= 0 && keeper->away)
        keeper_note(keeper, "the hub answers again");
    keeper->away = result < 0;
    return result;
}

/* ---- the thread's work ---- */

static void append_now(const struct keeper *keeper, bson_t *changes)
{
    int64_t bytes = machine_free_bytes(hub_uri(keeper->hub));
    if (bytes >= 0)
        BSON_APPEND_INT64(changes, "disk_free_bytes", bytes);
}

/* A record that somebody has removed (gc, for it was silent for long) is written again. */
static void beat(struct keeper *keeper)
{
    bson_error_t error;
    char id[HUB_ID_SIZE];
    bson_t now = BSON_INITIALIZER;
    pthread_mutex_lock(&keeper->mutex);
    if (keeper->changes)
        bson_concat(&now, keeper->changes);
    bool changed = keeper->changed;
    keeper->changed = false;
    pthread_mutex_unlock(&keeper->mutex);
    append_now(keeper, &now);
    int64_t result = runner_record_beat(keeper->hub, keeper->id, &now, &error);
    if (result == 0)
        result = runner_record_save(keeper->hub, keeper->record, id, &error);
    if (keeper_heard(keeper, result, &error) < 0 && changed) {
        pthread_mutex_lock(&keeper->mutex);
        keeper->changed = true;
        pthread_mutex_unlock(&keeper->mutex);
    }
    keeper->beat_ms = clock_boot_ms();
    bson_destroy(&now);
}

static int64_t beat_due(const struct keeper *keeper)
{
    return keeper->beat_ms + (keeper->changed ? BEAT_MS : BEAT_QUIET_MS);
}

static void hurry(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->mutex);
    pace_hurry(&keeper->pace, clock_boot_ms());
    pthread_mutex_unlock(&keeper->mutex);
}

static void sweep(struct keeper *keeper)
{
    bson_error_t error;
    int64_t next_ms = 0;
    int64_t changed = keeper_heard(keeper, task_sweeper_round(keeper->sweeper, keeper->hub, &next_ms, &error), &error);
    if (next_ms < 50)
        next_ms = 50;
    keeper->sweep_ms = clock_boot_ms() + (changed < 0 ? clock_jitter(2 * KEEPER_RETRY_MS) : next_ms);
    if (changed > 0)
        hurry(keeper);
}

/* One promotes for all: the sweeper, and whoever has reason to believe that there is none. */
static void promote(struct keeper *keeper)
{
    bson_error_t error;
    keeper->promote_ms = clock_boot_ms() + clock_jitter(task_sweeper_leads(keeper->sweeper) ? PROMOTE_MS
                                                                                             : PROMOTE_DOUBT_MS);
    if (!task_sweeper_promotes(keeper->sweeper))
        return;
    if (keeper_heard(keeper, task_promote_all(keeper->hub, &error), &error) > 0)
        hurry(keeper);
}

/* ---- the thread ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Whether anybody asked for looks; the mutex is held. */
static bool is_asked(const struct keeper *keeper)
{
    bool asked = keeper->question.all_idle && keeper->question.until_empty;
    for (size_t i = 0; i < keeper->asked_count && !asked; i++)
        asked = keeper->asked[i];
    return asked;
}

static void sleep_until(struct keeper *keeper, int64_t until_ms, bool watching)
{
    eventfd_t count;
    int64_t wait = until_ms - clock_boot_ms();
    struct pollfd ready[2] = {{.fd = keeper->wake_event, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    if (keeper->watch && watching)
        ready[1].fd = store_watch_fd(keeper->watch);
    if (poll(ready, 2, wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait) <= 0)
        return;
    if (ready[0].revents)
        eventfd_read(keeper->wake_event, &count);
    if (ready[1].revents)
        keeper_take_watch(keeper);
}

static void *run(void *data)
{
    struct keeper *keeper = data;
    bson_error_t error;
    for (;;) {
        int64_t ending_ms = keeper_write_endings(keeper, false);
        pthread_mutex_lock(&keeper->mutex);
        bool quit = keeper->quit, asked = is_asked(keeper);
        int64_t look_ms = asked ? keeper->pace.next_ms : INT64_MAX, beat_ms = beat_due(keeper);
        pthread_mutex_unlock(&keeper->mutex);
        int64_t now = clock_boot_ms(), tend_ms = keeper_tend_due(keeper);
        if (quit)
            break;
        if (asked)
            keeper_watch(keeper);
        if (now >= keeper_refresh_due(keeper))
            keeper_refresh(keeper);
        else if (now >= look_ms)
            keeper_look(keeper);
        else if (now >= beat_ms)
            beat(keeper);
        else if (now >= tend_ms)
            keeper_tend(keeper, false);
        else if (now >= keeper->promote_ms)
            promote(keeper);
        else if (now >= keeper->sweep_ms)
            sweep(keeper);
        else
            sleep_until(keeper, earlier(earlier(earlier(ending_ms, look_ms), keeper_refresh_due(keeper)),
                                        earlier(earlier(beat_ms, tend_ms),
                                                earlier(keeper->promote_ms, keeper->sweep_ms))), asked);
    }
    store_watch_close(keeper->watch);
    keeper->watch = NULL;
    keeper_write_endings(keeper, true);
    task_sweeper_resign(keeper->sweeper, keeper->hub, &error);
    runner_record_end(keeper->hub, keeper->id, &error);
    task_sweeper_free(keeper->sweeper);
    hub_close(keeper->hub);
    pthread_mutex_lock(&keeper->mutex);
    keeper->ended = true;
    pthread_cond_signal(&keeper->gone);
    pthread_mutex_unlock(&keeper->mutex);
    return NULL;
}

static void release(struct keeper *keeper)
{
    keeper_free_endings(keeper);
    keeper_unserve(keeper);
    bson_free(keeper->news.ready);
    bson_free(keeper->news.sources);
    if (keeper->news_event >= 0)
        close(keeper->news_event);
    if (keeper->wake_event >= 0)
        close(keeper->wake_event);
    pthread_cond_destroy(&keeper->gone);
    pthread_mutex_destroy(&keeper->mutex);
    bson_destroy(keeper->changes);
    bson_destroy(keeper->record);
    free(keeper);
}

static bool prepare(struct keeper *keeper, const struct keeper_options *options)
{
    bson_iter_t id;
    int64_t now = clock_boot_ms();
    pthread_condattr_t attributes;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->gone, &attributes);
    pthread_condattr_destroy(&attributes);
    keeper->news_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    keeper->wake_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    keeper->record = bson_copy(options->record);
    if (bson_iter_init_find(&id, keeper->record, "_id") && BSON_ITER_HOLDS_UTF8(&id))
        keeper->id = bson_iter_utf8(&id, NULL);
    keeper->sweeper = task_sweeper_new(options->lease_ms);
    keeper->beat_ms = now;
    keeper->tend = options->tend;
    keeper->tend_ms = now + clock_jitter(1000);
    /* Soon, but not before workers that find work at once are at it. */
    keeper->sweep_ms = now + clock_jitter(500);
    keeper->promote_ms = now + clock_jitter(500);
    pace_hurry(&keeper->pace, now);
    return keeper_serve(keeper, options) && keeper->news_event >= 0 && keeper->wake_event >= 0 && keeper->id &&
           keeper->sweeper;
}

struct keeper *keeper_new(struct hub *hub, const struct keeper_options *options, bson_error_t *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    sigset_t all, before;
    if (!keeper) {
        hub_close(hub);
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner");
        return NULL;
    }
    keeper->hub = hub;
    if (!prepare(keeper, options)) {
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
    keeper_wake(keeper);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(limit_ms / 1000 + 1);
    while (!keeper->ended && pthread_cond_timedwait(&keeper->gone, &keeper->mutex, &until) == 0)
        continue;
    bool ended = keeper->ended;
    pthread_mutex_unlock(&keeper->mutex);
    if (ended && pthread_join(keeper->thread, NULL) == 0)
        release(keeper);
}

/* ---- the supervisor's side ---- */

int keeper_fd(const struct keeper *keeper)
{
    return keeper->news_event;
}

void keeper_take(struct keeper *keeper, struct keeper_news *news)
{
    eventfd_t count;
    pthread_mutex_lock(&keeper->mutex);
    eventfd_read(keeper->news_event, &count);
    *news = keeper->news;
    memset(&keeper->news, 0, sizeof keeper->news);
    pthread_mutex_unlock(&keeper->mutex);
}

void keeper_ask(struct keeper *keeper, const struct keeper_question *question, size_t count)
{
    pthread_mutex_lock(&keeper->mutex);
    bool was_asked = is_asked(keeper), was_idle = keeper->question.all_idle;
    keeper->asked = bson_realloc(keeper->asked, count + 1);
    memcpy(keeper->asked, question->asked, count * sizeof *keeper->asked);
    keeper->asked_count = count;
    keeper->question = *question;
    keeper->question.asked = NULL;
    if (!question->all_idle)
        keeper->news.empty = false;
    bool asked = is_asked(keeper);
    if (question->work || (asked && !was_asked) || (question->all_idle && !was_idle))
        pace_hurry(&keeper->pace, clock_boot_ms());
    pthread_mutex_unlock(&keeper->mutex);
    if (asked)
        keeper_wake(keeper);
}

void keeper_changes(struct keeper *keeper, const bson_t *changes)
{
    pthread_mutex_lock(&keeper->mutex);
    if (!keeper->changes || !bson_equal(keeper->changes, changes)) {
        bson_destroy(keeper->changes);
        keeper->changes = bson_copy(changes);
        keeper->changed = true;
    }
    pthread_mutex_unlock(&keeper->mutex);
}
