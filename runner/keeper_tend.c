/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody else does with the hub now and then, in the keeper's thread: runner knows nothing of sweeps. */
#include "runner/clock.h"
#include "runner/keeper_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEND_MS = 2000,   /* by the one that promotes for the fleet */
    TEND_GAP_MS = 10, /* between two times, when tasks end one after the other, at least */
    TEND_SHARE = 3    /* and so many times what the last one took: of a search all open points are read */
};

void keeper_ended(struct keeper *keeper)
{
    if (!keeper->tend.tend)
        return;
    pthread_mutex_lock(&keeper->mutex);
    keeper->task_ended = true;
    pthread_mutex_unlock(&keeper->mutex);
    keeper_wake(keeper);
}

/* A hub that is away is said once; any other refusal as often as it is another one. */
static void say(struct keeper *keeper, const bson_error_t *error)
{
    if (hub_error_code(error) != HUB_ERROR_INVALID && hub_error_code(error) != HUB_ERROR_NOT_FOUND)
        keeper_heard(keeper, -1, error);
    else if (strcmp(keeper->tend_said, error->message)) {
        snprintf(keeper->tend_said, sizeof keeper->tend_said, "%s", error->message);
        keeper_note(keeper, error->message);
    }
}

int64_t keeper_tend(struct keeper *keeper, bool now)
{
    bson_error_t error = {0};
    int64_t made = 0, started_ms = clock_boot_ms();
    if (!keeper->tend.tend)
        return 0;
    pthread_mutex_lock(&keeper->mutex);
    keeper->task_ended = false;
    pthread_mutex_unlock(&keeper->mutex);
    char *project = strdup(hub_project(keeper->hub));
    for (size_t i = 0; project && keeper->serves.projects[i]; i++) {
        hub_set_project(keeper->hub, keeper->serves.projects[i]);
        int64_t some = keeper->tend.tend(keeper->tend.data, keeper->hub, now, &error);
        if (some < 0)
            say(keeper, &error);
        else
            made += some;
    }
    if (project)
        hub_set_project(keeper->hub, project);
    free(project);
    keeper->tended_ms = clock_boot_ms();
    keeper->tend_took_ms = keeper->tended_ms - started_ms;
    keeper->tend_ms = keeper->tended_ms + clock_jitter(TEND_MS);
    if (made > 0) {
        pthread_mutex_lock(&keeper->mutex);
        pace_hurry(&keeper->pace, keeper->tended_ms);
        pthread_mutex_unlock(&keeper->mutex);
    }
    return made;
}

int64_t keeper_tend_due(struct keeper *keeper)
{
    if (!keeper->tend.tend)
        return INT64_MAX;
    pthread_mutex_lock(&keeper->mutex);
    bool ended = keeper->task_ended;
    pthread_mutex_unlock(&keeper->mutex);
    if (ended) {
        int64_t gap = TEND_SHARE * keeper->tend_took_ms;
        gap = gap < TEND_GAP_MS ? TEND_GAP_MS : gap > TEND_MS ? TEND_MS : gap;
        return keeper->tended_ms + gap;
    }
    return task_sweeper_promotes(keeper->sweeper) ? keeper->tend_ms : INT64_MAX;
}
