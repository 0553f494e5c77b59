/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_H
#define TL_DISTRIBUTOR_SWEEP_H

/* Sweep files (YAML or JSON): W&B's keys name, description, method ("grid"), metric {name, goal}, parameters {NAME:
 * {value: V} | {values: [V, …]} | V | [V, …]}, run_cap, and ours: architecture (short form or graph, with ${parameter} filled in), kind,
 * dataset, queue, resource_class, priority, max_crashes, result_keys, tags, seed,
 * log_every, keep, checkpoint_every, checkpoint_minutes, model. A parameter that neither training nor the architecture reads is refused, unless it has label: true. Unknown keys are refused with file:line and the key. */

#include "hub/hub.h"

struct sweep;

/* file_name is for messages. NULL on error. */
struct sweep *sweep_parse(const char *text, size_t length, const char *file_name, bson_error_t *error);
struct sweep *sweep_load(const char *path, bson_error_t *error);
void sweep_free(struct sweep *sweep);
int64_t sweep_points(const struct sweep *sweep);
/* The i-th point: parameters in the file's order, the last one changing fastest. */
int sweep_point(const struct sweep *sweep, int64_t i, bson_t *point, bson_error_t *error);

struct sweep_submission {
    char sweep_id[HUB_ID_SIZE];
    int64_t points, submitted, skipped; /* skipped: were there already */
    int64_t first_seq, last_seq;        /* of those submitted now */
    int64_t existing;                   /* left out by sweep_submit_missing */
    int64_t deleted;                    /* of a search that learns: were made once, and are made no more */
    char differs[128];                  /* "priority, tags": what the tasks that were there have otherwise, where all were */
};
/* Checks every point (hyper-parameters, and the architecture's shapes against the dataset's), then saves the sweep and
 * architectures and submits the tasks. Nothing is written when any point is refused. fields: overrides for the tasks (name,
 * dataset, queue, priority, tags …); dataset must be given here or in the file. */
int sweep_submit(struct hub *hub, const struct sweep *sweep, const bson_t *fields, struct sweep_submission *submission,
                 bson_error_t *error);
/* The same without the tasks whose work some other task of the project does already, or has done (task_work.h). Only for
 * sweeps that go on from no results of their own. */
int sweep_submit_missing(struct hub *hub, const struct sweep *sweep, const bson_t *fields,
                         struct sweep_submission *submission, bson_error_t *error);

#endif
