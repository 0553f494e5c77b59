/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/pace.h"
#include "runner/clock.h"

static void soon(struct pace *pace, int64_t now_ms)
{
    int64_t at = pace->last_ms + PACE_LEAST_MS > now_ms ? pace->last_ms + PACE_LEAST_MS : now_ms;
    if (pace->last_ms == 0)
        at = now_ms;
    if (at < pace->next_ms)
        pace->next_ms = at;
}

void pace_hurry(struct pace *pace, int64_t now_ms)
{
    pace->since_ms = now_ms;
    soon(pace, now_ms);
}

void pace_wake(struct pace *pace, int64_t now_ms)
{
    soon(pace, now_ms);
}

int64_t pace_looked(struct pace *pace, int64_t now_ms, int64_t most_ms)
{
    int64_t wait = (now_ms - pace->since_ms) / 8;
    if (wait > most_ms)
        wait = most_ms;
    if (wait < PACE_LEAST_MS)
        wait = PACE_LEAST_MS;
    pace->last_ms = now_ms;
    pace->next_ms = now_ms + wait - wait / 5 * 3 / 2 + clock_jitter(wait / 5 * 2);
    return wait;
}
