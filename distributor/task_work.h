/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TASK_WORK_H
#define TL_DISTRIBUTOR_TASK_WORK_H

/* What a task computes, as a digest: kind, dataset, model, initial_model and split as they are asked for, the architecture's digest,
 * the hyper-parameters whatever their order (5 and 5.0 are one), metrics, top_k, keep, on_nonfinite and its two numbers.
 * Not its name, tags, queue or sweep. Two tasks of the same dataset's name are the same work, although the newest
 * version of it may have changed between them. */

#include "hub/hub.h"

void task_work_digest(const bson_t *task, char digest[HUB_ID_SIZE]);

/* The work of every task of the project that is waiting, being done or done well. */
struct task_work;
struct task_work *task_work_read(struct hub *hub, bson_error_t *error);
/* The same without the tasks of one sweep (its _id). */
struct task_work *task_work_read_others(struct hub *hub, const char *sweep, bson_error_t *error);
void task_work_free(struct task_work *work);
bool task_work_has(const struct task_work *work, const char *digest);

#endif
