/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_SERVING_H
#define TL_RUNNER_SERVING_H

/* What a runner serves, from its options; its record in the hub; and what its workers are told. */

#include "hub/task_source.h"
#include "runner/runner.h"

struct serving {
    struct task_serves serves; /* points into the options, and into: */
    const char *project[2], *queue[2], *base[2];
    struct task_source *sources; /* list number 0 */
    size_t source_count;
};

/* Checks names and projects and finds the sources. 0 or -1; to be destroyed in any case. */
int serving_init(struct serving *serving, const struct runner_options *options, struct hub *hub, bson_error_t *error);
void serving_destroy(struct serving *serving);
/* Saves the runner record; *record (initialised always) is what was saved, with its _id. 0 or -1. */
int serving_save_record(const struct serving *serving, const struct runner_options *options, int workers,
                        struct hub *hub, bson_t *record, bson_error_t *error);

#endif
