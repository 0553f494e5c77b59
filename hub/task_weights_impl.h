/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_WEIGHTS_IMPL_H
#define TL_HUB_TASK_WEIGHTS_IMPL_H

/* A model on its way out of a claim, for the finish and for epochs that are kept: its weights as a blob that was announced,
 * or as operations of a batch, and its document. */

#include "hub/blob.h"
#include "hub/task_impl.h"

struct task_weights {
    bson_oid_t id; /* of the blob */
    struct blob_info info;
    struct blob_batch *batch; /* NULL: too large to travel inside a batch; announced, written and verified */
    bson_t upload;            /* the announcement, for the batch */
    bson_t upload_filter;     /* {_id}: the announcement, to be removed */
};

/* filename: of the blob. A large file is announced and uploaded here. */
int task_weights_prepare(struct hub *hub, const struct task_fence *fence, const char *filename, const void *data,
                         size_t length, int64_t now, struct task_weights *weights, bson_error_t *error);
void task_weights_init(struct task_weights *weights);
void task_weights_destroy(struct task_weights *weights);

/* Fills *model (initialised by the caller) with the caller's fields and the hub's own, and checks it. metrics and logs_before
 * may be NULL. */
int task_weights_compose(const struct task_weights *weights, const struct task_fence *fence, const char *id,
                         const bson_t *fields, const bson_t *metrics, const bson_t *logs_before, int64_t now,
                         bson_t *model, bson_error_t *error);

#endif
