/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_PACE_H
#define TL_RUNNER_PACE_H

/* When an idle runner looks again. It looks soon after there was work and ever more seldom after: it waits an eighth of
 * the time that it has been idle for, at most 15 s, each time a tenth more or less than that, so that runners that were
 * started together do not come together. Times are milliseconds of any clock that only goes forward. */

#include <stdbool.h>
#include <stdint.h>

#define PACE_LEAST_MS 20 /* between two looks, however much there is to wake for */
#define PACE_MOST_MS 15000
#define PACE_BUSY_MOST_MS 5000  /* while other workers of the runner are busy */
#define PACE_WATCH_MOST_MS 60000 /* while the server says what becomes ready */

struct pace {
    int64_t since_ms; /* there was work, or a reason to expect some */
    int64_t last_ms;  /* when it looked last; 0 never */
    int64_t next_ms;  /* when to look */
};

/* There was work: more is likely. Looks at once, and often for a while. */
void pace_hurry(struct pace *pace, int64_t now_ms);
/* Something has changed that may have nothing to do with us: one look. */
void pace_wake(struct pace *pace, int64_t now_ms);
/* A look has shown nothing: sets next_ms. The wait without the jitter. */
int64_t pace_looked(struct pace *pace, int64_t now_ms, int64_t most_ms);

#endif
