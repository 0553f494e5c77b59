/* SPDX-License-Identifier: Apache-2.0 */
/* Is there work for those who found none, and if not, is anything left? */
#include "runner/clock.h"
#include "runner/keeper_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REFRESH_MS = 60000, /* which classes there are, for runners with labels or much memory */
    REFRESH_LOCAL_MS = 10000, /* in a file: asking costs no server anything */
    REFRESH_MOST_MS = 300000,
    WATCH_AFTER_MS = 2000, /* a change stream is opened when looks are this far apart */
    WATCH_AGAIN_MS = 20000,
    WATCH_FAILED_MS = 300000
};

/* ---- what is served ---- */

static const char *keep_text(struct keeper *keeper, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    keeper->texts = bson_realloc(keeper->texts, (keeper->text_count + 1) * sizeof *keeper->texts);
    keeper->texts[keeper->text_count++] = copy;
    return copy;
}

static const char *const *keep_list(struct keeper *keeper, const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    const char **copy = bson_malloc0((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = keep_text(keeper, list[i]);
    return copy;
}

static bool is_local(const struct keeper *keeper)
{
    return !strcmp(store_engine(hub_store(keeper->hub)), "sqlite");
}

static int64_t least_refresh_ms(const struct keeper *keeper)
{
    return is_local(keeper) ? REFRESH_LOCAL_MS : REFRESH_MS;
}

bool keeper_serve(struct keeper *keeper, const struct keeper_options *options)
{
    keeper->serves = (struct task_serves){.projects = keep_list(keeper, options->serves->projects),
                                          .queues = keep_list(keeper, options->serves->queues),
                                          .bases = keep_list(keeper, options->serves->bases),
                                          .labels = keep_list(keeper, options->serves->labels),
                                          .memory = options->serves->memory};
    if (options->serves->name)
        keeper->serves.name = keep_text(keeper, options->serves->name);
    size_t bytes = options->source_count * sizeof *keeper->sources;
    keeper->sources = bson_malloc0(bytes ? bytes : 1);
    memcpy(keeper->sources, options->sources, bytes);
    keeper->source_count = options->source_count;
    keeper->refresh_ms = clock_boot_ms() + clock_jitter(least_refresh_ms(keeper));
    for (size_t i = 0; i < keeper->text_count; i++)
        if (!keeper->texts[i])
            return false;
    return true;
}

void keeper_unserve(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->text_count; i++)
        free(keeper->texts[i]);
    bson_free(keeper->texts);
    bson_free((void *)keeper->serves.projects);
    bson_free((void *)keeper->serves.queues);
    bson_free((void *)keeper->serves.bases);
    bson_free((void *)keeper->serves.labels);
    bson_free(keeper->sources);
    bson_free(keeper->asked);
}

/* New classes may have come. 1 the list is another one, 0 as it was, -1. */
static int refresh(struct keeper *keeper, int64_t wait_ms, bson_error_t *error)
{
    struct task_source *list;
    int count = task_sources_find(keeper->hub, &keeper->serves, &list, error);
    keeper->refresh_ms = clock_boot_ms() + clock_jitter(wait_ms);
    if (count < 0)
        return -1;
    if ((size_t)count == keeper->source_count && !memcmp(list, keeper->sources, (size_t)count * sizeof *list)) {
        bson_free(list);
        return 0;
    }
    bson_free(keeper->sources);
    keeper->sources = list;
    keeper->source_count = (size_t)count;
    keeper->number++;
    pthread_mutex_lock(&keeper->mutex);
    bson_free(keeper->news.sources);
    bson_free(keeper->news.ready);
    keeper->news.ready = NULL;
    keeper->news.sources = bson_malloc((size_t)count * sizeof *list);
    memcpy(keeper->news.sources, list, (size_t)count * sizeof *list);
    keeper->news.count = (size_t)count;
    keeper->news.number = keeper->number;
    keeper_tell(keeper);
    pthread_mutex_unlock(&keeper->mutex);
    return 1;
}

/* ---- looking ---- */

/* What the supervisor wants to know, copied; false: nothing, or about sources that are no more. */
static bool take_question(struct keeper *keeper, struct keeper_question *question, bool **asked)
{
    pthread_mutex_lock(&keeper->mutex);
    *question = keeper->question;
    bool current = keeper->asked_count == keeper->source_count && question->number == keeper->number;
    *asked = bson_malloc0(keeper->source_count + 1);
    if (current)
        memcpy(*asked, keeper->asked, keeper->source_count * sizeof **asked);
    pthread_mutex_unlock(&keeper->mutex);
    return current;
}

/* Gives ready away. */
static void tell_ready(struct keeper *keeper, bool *ready)
{
    pthread_mutex_lock(&keeper->mutex);
    bson_free(keeper->news.ready);
    keeper->news.ready = ready;
    keeper->news.count = keeper->source_count;
    keeper->news.number = keeper->number;
    keeper_tell(keeper);
    pthread_mutex_unlock(&keeper->mutex);
}

/* 1 nothing is left to be done, 0 something is, -1. On a server two looks must agree. */
static int nothing_left(struct keeper *keeper, bson_error_t *error)
{
    int64_t waiting, first;
    int other = task_serves_labels(keeper->hub, &keeper->serves) ? refresh(keeper, least_refresh_ms(keeper), error) : 0;
    if (other != 0)
        return other < 0 ? -1 : 0;
    int left = task_sources_left(keeper->hub, &keeper->serves, keeper->sources, keeper->source_count, &waiting, &first,
                                 error);
    if (left < 0 || left == TASK_LEFT_SOME) {
        keeper->empties = 0;
        return left < 0 ? -1 : 0;
    }
    if (keeper_tend(keeper, true) > 0) {
        keeper->empties = 0;
        return 0;
    }
    if (++keeper->empties < 2 && !is_local(keeper)) {
        pthread_mutex_lock(&keeper->mutex);
        pace_hurry(&keeper->pace, clock_boot_ms());
        pthread_mutex_unlock(&keeper->mutex);
        return 0;
    }
    if (left == TASK_LEFT_WAITING) {
        char text[256];
        snprintf(text, sizeof text,
                 "%lld tasks wait for tasks that did not end well, the first is #%lld: none of them can start",
                 (long long)waiting, (long long)first);
        keeper_note(keeper, text);
    }
    return 1;
}

int64_t keeper_refresh_due(const struct keeper *keeper)
{
    return task_serves_labels(keeper->hub, &keeper->serves) ? keeper->refresh_ms : INT64_MAX;
}

/* Also while all workers have plenty to do: a class that is new must get its turns. The longer all are idle, the
 * rarer. */
void keeper_refresh(struct keeper *keeper)
{
    bson_error_t error = {0};
    pthread_mutex_lock(&keeper->mutex);
    int64_t idle_ms = keeper->question.all_idle ? clock_boot_ms() - keeper->pace.since_ms : 0;
    pthread_mutex_unlock(&keeper->mutex);
    int64_t wait = idle_ms / 2 > REFRESH_MOST_MS ? REFRESH_MOST_MS : idle_ms / 2, least = least_refresh_ms(keeper);
    keeper_heard(keeper, refresh(keeper, wait < least ? least : wait, &error), &error);
}

void keeper_look(struct keeper *keeper)
{
    struct keeper_question question;
    bson_error_t error = {0};
    bool *asked, *ready = NULL, empty = false;
    int found = 0;
    bool current = take_question(keeper, &question, &asked);
    if (current) {
        ready = bson_malloc0(keeper->source_count + 1);
        found = (int)keeper_heard(keeper, task_sources_ready(keeper->hub, &keeper->serves, keeper->sources,
                                                             keeper->source_count, asked, ready, &error), &error);
        if (found == 0 && question.all_idle && question.until_empty)
            empty = keeper_heard(keeper, nothing_left(keeper, &error), &error) > 0;
    }
    if (found > 0)
        tell_ready(keeper, ready);
    else
        bson_free(ready);
    bson_free(asked);
    int64_t most = keeper->watch && !is_local(keeper) ? PACE_WATCH_MOST_MS : PACE_MOST_MS;
    if (!question.all_idle && most > PACE_BUSY_MOST_MS)
        most = PACE_BUSY_MOST_MS;
    pthread_mutex_lock(&keeper->mutex);
    /* Only where the workers have been idle all the while: one may have claimed what was just counted. */
    keeper->news.empty = empty && keeper->question.all_idle;
    if (keeper->news.empty)
        keeper_tell(keeper);
    pace_looked(&keeper->pace, clock_boot_ms(), most);
    pthread_mutex_unlock(&keeper->mutex);
}

/* ---- wake-ups ---- */

void keeper_watch(struct keeper *keeper)
{
    bson_error_t error;
    int64_t now = clock_boot_ms();
    bool local = is_local(keeper);
    if (keeper->watch || now < keeper->watch_ms || keeper->away)
        return;
    pthread_mutex_lock(&keeper->mutex);
    bool wanted = local || (keeper->question.all_idle && now - keeper->pace.since_ms >= 8 * WATCH_AFTER_MS);
    pthread_mutex_unlock(&keeper->mutex);
    if (!wanted)
        return;
    keeper->watch = store_watch_open(hub_store(keeper->hub), keeper->serves.projects, &error);
    if (!keeper->watch)
        keeper->watch_ms = now + clock_jitter(WATCH_FAILED_MS);
}

void keeper_take_watch(struct keeper *keeper)
{
    int64_t now = clock_boot_ms();
    int came = store_watch_take(keeper->watch);
    bool local = is_local(keeper);
    if (came < 0 || (came > 0 && !local)) { /* a server's watch is for one event */
        store_watch_close(keeper->watch);
        keeper->watch = NULL;
        keeper->watch_ms = now + clock_jitter(came < 0 ? WATCH_FAILED_MS : 2 * WATCH_AGAIN_MS);
    }
    if (came > 0) {
        if (local && keeper->refresh_ms > now + REFRESH_LOCAL_MS) /* the file changed: perhaps by a task of a new class */
            keeper->refresh_ms = now + clock_jitter(REFRESH_LOCAL_MS);
        pthread_mutex_lock(&keeper->mutex);
        pace_wake(&keeper->pace, now);
        pthread_mutex_unlock(&keeper->mutex);
    }
}
