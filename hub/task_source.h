/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_SOURCE_H
#define TL_HUB_TASK_SOURCE_H

/* Where a runner claims from. A source is one project, queue, resource class and lane: what one claim's filter names. What a
 * runner serves is every project with every queue and every base class, and those classes with needs that exist and that its
 * labels and its memory meet, each in all lanes of the hub (hub_lanes). */

#include "hub/task.h"
#include "hub/task_class.h"

#define TASK_SOURCES_MOST 400

/* NULL-ended lists; labels may be NULL. */
struct task_serves {
    const char *const *projects;
    const char *const *queues;
    const char *const *bases;
    const char *const *labels;
    const char *name; /* only tasks of this name, or NULL */
    int64_t memory;   /* bytes that it gives a task: labels of memory up to this are met */
};

/* Whether it serves more classes than its bases, so that those that there are must be looked for, now and then. */
bool task_serves_labels(const struct hub *hub, const struct task_serves *serves);

struct task_source {
    char project[65];
    char queue[65];
    char resource_class[TASK_CLASS_SIZE];
    int32_t lane;
};

/* The sources, in a fixed order (*list: bson_free; NULL on error). With labels or memory for large tasks, the classes that exist are found by a
 * loose scan over the claim's index: a few reads for each project and queue. The number, or -1. */
int task_sources_find(struct hub *hub, const struct task_serves *serves, struct task_source **list, bson_error_t *error);
/* Which of the sources have a ready task: asked[i] says whether to look at i, and ready[i] what was found (false where
 * it was not asked). One command on MongoDB where nothing is ready. The number of ready ones, or -1. */
int task_sources_ready(struct hub *hub, const struct task_serves *serves, const struct task_source *list, size_t count,
                       const bool *asked, bool *ready, bson_error_t *error);

enum task_left {
    TASK_LEFT_NOTHING,
    TASK_LEFT_SOME,    /* ready, delayed, running, or waiting for what may still end well */
    TASK_LEFT_WAITING  /* only tasks that wait for others that did not end well, or wait in a ring */
};
/* What is left to be done in the sources. *first_seq: a waiting task's number. An enum task_left, or -1. */
int task_sources_left(struct hub *hub, const struct task_serves *serves, const struct task_source *list, size_t count,
                      int64_t *waiting, int64_t *first_seq, bson_error_t *error);

#endif
