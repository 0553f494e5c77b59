/* SPDX-License-Identifier: Apache-2.0 */
/* The tasks of workers that died. What a worker told of is known by its fence. What it claimed and could not tell of is
 * found by the claim's worker: an id that only that process had, so that no living worker's task is ever meant. On a
 * server a claim may be carried out after its sender's death, so it is looked for more than once; what comes later
 * than that is taken back by the sweeper, as after the death of a machine. */
#include "runner/clock.h"
#include "runner/keeper_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MOST = 16 };

static const int64_t looks_ms[] = {0, 2000, 10000, 30000};

static void ending_free(struct ending *ending)
{
    if (ending)
        free(ending->output);
    free(ending);
}

void keeper_free_endings(struct keeper *keeper)
{
    while (keeper->endings) {
        struct ending *next = keeper->endings->next;
        ending_free(keeper->endings);
        keeper->endings = next;
    }
}

/* A worker that died within its first second had no time to say "started": it was seen at work all the same, and a
 * task that kills at once must not be tried for ever. */
static int end_task(struct hub *hub, const struct task_fence *fence, const struct ending *ending, bson_error_t *error)
{
    if (!ending->crash)
        return task_release(hub, fence, error);
    int result = task_started(hub, fence, error);
    return result > 0 ? task_crash(hub, fence, ending->message, ending->output, error) : result;
}

static int end_held(struct keeper *keeper, const struct ending *ending, bson_error_t *error)
{
    struct task_fence held[HELD_MOST];
    int count = task_find_held(keeper->hub, keeper->id, ending->worker, held, HELD_MOST, error), result = count;
    for (int i = 0; i < count && result >= 0; i++)
        result = end_task(keeper->hub, &held[i], ending, error);
    return result;
}

/* The first that is due, or NULL with *next_ms. */
static struct ending *first_due(struct keeper *keeper, bool last, int64_t *next_ms)
{
    int64_t now = clock_boot_ms();
    struct ending *due = NULL;
    pthread_mutex_lock(&keeper->mutex);
    for (struct ending *ending = keeper->endings; ending && !due; ending = ending->next) {
        if (last || ending->at_ms <= now)
            due = ending;
        else if (ending->at_ms < *next_ms)
            *next_ms = ending->at_ms;
    }
    pthread_mutex_unlock(&keeper->mutex);
    return due;
}

static void remove_ending(struct keeper *keeper, struct ending *ending)
{
    pthread_mutex_lock(&keeper->mutex);
    struct ending **at = &keeper->endings;
    while (*at && *at != ending)
        at = &(*at)->next;
    if (*at)
        *at = ending->next;
    pace_hurry(&keeper->pace, clock_boot_ms());
    pthread_mutex_unlock(&keeper->mutex);
    ending_free(ending);
}

/* Whether this worker's tasks are to be looked for once more. */
static bool look_again(const struct keeper *keeper, struct ending *ending, bool last)
{
    if (last || !*ending->worker || !strcmp(store_engine(hub_store(keeper->hub)), "sqlite"))
        return false;
    if (++ending->looks >= (int)(sizeof looks_ms / sizeof *looks_ms))
        return false;
    ending->at_ms = clock_boot_ms() + looks_ms[ending->looks];
    return true;
}

int64_t keeper_write_endings(struct keeper *keeper, bool last)
{
    bson_error_t error;
    int64_t next_ms = INT64_MAX;
    struct ending *ending;
    while ((ending = first_due(keeper, last, &next_ms)) != NULL) {
        int result = *ending->worker ? end_held(keeper, ending, &error)
                                     : end_task(keeper->hub, &ending->fence, ending, &error);
        if (keeper_heard(keeper, result, &error) < 0 && hub_error_code(&error) != HUB_ERROR_INVALID) {
            ending->at_ms = clock_boot_ms() + clock_jitter(2 * KEEPER_RETRY_MS);
            return last ? INT64_MAX : ending->at_ms;
        }
        if (!look_again(keeper, ending, last))
            remove_ending(keeper, ending);
    }
    return next_ms;
}

static void add(struct keeper *keeper, const struct task_fence *fence, const char *worker, const char *message,
                const char *output)
{
    struct ending *ending = calloc(1, sizeof *ending), **last;
    if (!ending)
        return; /* then a sweeper takes the task back */
    if (fence)
        ending->fence = *fence;
    snprintf(ending->worker, sizeof ending->worker, "%s", worker ? worker : "");
    ending->crash = message != NULL;
    snprintf(ending->message, sizeof ending->message, "%s", message ? message : "");
    ending->output = output && *output ? strdup(output) : NULL;
    pthread_mutex_lock(&keeper->mutex);
    for (last = &keeper->endings; *last; last = &(*last)->next)
        continue;
    *last = ending;
    pthread_mutex_unlock(&keeper->mutex);
    keeper_wake(keeper);
}

void keeper_crash(struct keeper *keeper, const struct task_fence *fence, const char *message, const char *output)
{
    add(keeper, fence, NULL, message, output);
}

void keeper_release(struct keeper *keeper, const struct task_fence *fence)
{
    add(keeper, fence, NULL, NULL, NULL);
}

void keeper_bury(struct keeper *keeper, const char *worker, const char *message, const char *output)
{
    add(keeper, NULL, worker, message, output);
}
