/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RUNGS_H
#define TL_RUNNER_RUNGS_H

/* The rungs of a task (hub/task.h): after which epochs its runner gives it back "parked", with the metric that decides whether
 * it is promoted. */

#include "hub/error.h"

#define RUNGS_MOST 64

struct rungs {
    int64_t epochs[RUNGS_MOST]; /* ascending */
    double values[RUNGS_MOST];  /* (count) */
    size_t most, count;         /* how many there are, and how many it has come to */
};

/* Of the task as it was claimed; one without has none. 0, -1 where they make no sense. */
int rungs_read(const bson_t *task, struct rungs *rungs, bson_error_t *error);
/* Whether a run of so many completed epochs, of `epochs` in all, stands at its next rung. */
bool rungs_are_reached(const struct rungs *rungs, int64_t completed, int64_t epochs);
/* What task_park takes, with this rung added: its value is the metric that the task names, NaN where metrics has none. Appended
 * to out. */
int rungs_add(const struct rungs *rungs, const bson_t *task, const bson_t *metrics, double seconds, bson_t *out,
              bson_error_t *error);

#endif
