/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_LOGS_H
#define TL_HUB_LOGS_H

/* Logs: buckets of points per (task, claim, split, number): {_id: "CLAIM/SPLIT/NUMBER", project, task, claim, run, split,
 * number, unit: "epoch" | "batch", points: [{epoch, step, loss, accuracy, seconds, …}], created_at, schema_version}.
 * A bucket is written whole ($set, upsert), so that writing it again is the same write. At most 512 points a bucket.
 * `first` is the number of points of the claim and split in the buckets before.
 *
 * Readers show only claims that the task names: all points of claim.id and result.claim_id; of claims that a run went
 * on from, those up to the checkpoint (checkpoint.log_claims and, in the same order, checkpoint.log_points: {SPLIT:
 * number of points}; under result when it is finished); and those of the task's models, which are what earlier runs of a
 * restarted task left (a model's _id is its claim; its log_claims and log_points are the result's). So what a claim wrote after its last checkpoint, and another one
 * did again, is not shown twice. Split "output" is what the work printed: {text}. */

#include "hub/task.h"

struct logs; /* the open buckets of one run, in memory */

struct logs *logs_new(const struct task_fence *fence, int32_t run, const char *unit);
void logs_free(struct logs *logs);
/* Adds a point {epoch, …} to split "train", "validation" or "test". */
int logs_add(struct logs *logs, const char *split, const bson_t *point, bson_error_t *error);
/* Writes the buckets that changed since the last flush. */
int logs_flush(struct logs *logs, struct hub *hub, bson_error_t *error);
/* {SPLIT: points added so far}, appended to out: what a checkpoint says of its own claim. */
bool logs_append_counts(const struct logs *logs, bson_t *out);
/* The same as operations for task_finish; owned by logs, valid until the next call. */
const struct store_operation *logs_operations(struct logs *logs, size_t *count);

/* Buckets of tasks that match task_filter (NULL: all the project's), those readers may see, in order of task, split,
 * number; then the logs of the user's own that match it by what they say themselves (name, tags, words), in order of
 * name. filter adds conditions on the bucket (split, run). Each is passed to visit, which returns 0 to go on. */
int logs_read(struct hub *hub, const bson_t *task_filter, const bson_t *filter,
              int (*visit)(const bson_t *bucket, void *data), void *data, bson_error_t *error);
/* All buckets of tasks that match (NULL: every log of the project). The number of buckets. */
int64_t logs_delete(struct hub *hub, const bson_t *task_filter, bson_error_t *error);
/* Logs that no claim wrote and that match filter (NULL: all) by what they say themselves. */
struct store_cursor *logs_find_saved(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                     bson_error_t *error);
int64_t logs_delete_saved(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* By conditions on the buckets themselves (name, split, run); filter NULL: all the project's. The number of buckets. */
int64_t logs_delete_buckets(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* A log that does not come from a claim (TensorHub's save_*_log), for a task or a free name: {task | name, split
 * ("train"), unit ("epoch"), run, description, tags, points: […]}; without points every other field makes one point.
 * Found by keyword as well: it has the words of its name, tags and description. */
int logs_save(struct hub *hub, const bson_t *fields, bson_error_t *error);

#endif
