/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: the blob goes the way of every blob (announced, written, verified, pointed to, the announcement removed);
 * the pointer is one fenced update. A blob that was once offered in it is never deleted here: the reply may be lost, and
 * the pointer stand. */
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/task_impl.h"

#include <string.h>

struct upload {
    struct blob_writer *writer;
    bool failed; /* of the sink, not of what is written */
    bson_error_t error;
};

static int sink(void *to, const void *bytes, size_t length)
{
    struct upload *upload = to;
    upload->failed = upload->failed || blob_writer_write(upload->writer, bytes, length, &upload->error) < 0;
    return upload->failed ? -1 : 0;
}

static int write_blob(struct hub *hub, const struct task_fence *fence, const struct task_checkpoint *checkpoint,
                      const bson_oid_t *id, struct blob_info *info, bson_error_t *error)
{
    struct upload upload = {.writer = NULL};
    bson_t metadata = BSON_INITIALIZER;
    char filename[80];
    int result = -1;
    snprintf(filename, sizeof filename, "%s.checkpoint.safetensors", fence->claim_id);
    BSON_APPEND_UTF8(&metadata, "project", fence->project);
    BSON_APPEND_UTF8(&metadata, "kind", "checkpoint");
    BSON_APPEND_UTF8(&metadata, "claim", fence->claim_id);
    upload.writer = blob_writer_open(hub_store(hub), id, filename, &metadata, error);
    if (upload.writer != NULL) {
        result = checkpoint->write(checkpoint->data, sink, &upload, error);
        if (upload.failed) {
            result = -1;
            if (error != NULL) {
                *error = upload.error;
            }
        }
    }
    if (result >= 0) {
        result = blob_writer_finish(upload.writer, info, error) < 0 ? -1 : 0;
    }
    blob_writer_close(upload.writer);
    bson_destroy(&metadata);
    return result;
}

static void build_update(const struct task_fence *fence, const struct task_checkpoint *checkpoint,
                         const struct blob_info *info, bson_t *update)
{
    bson_t set, whole;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "checkpoint", &whole);
    BSON_APPEND_OID(&whole, "blob_id", &info->id);
    BSON_APPEND_UTF8(&whole, "claim_id", fence->claim_id);
    BSON_APPEND_UTF8(&whole, "sha256", info->sha256);
    BSON_APPEND_INT64(&whole, "bytes", info->length);
    if (checkpoint->fields != NULL) {
        hub_copy_without(checkpoint->fields, &whole, "blob_id", "claim_id", "sha256", "bytes", NULL);
    }
    bson_append_document_end(&set, &whole);
    BSON_APPEND_INT32(&set, "crashes", 0);
    bson_append_document_end(update, &set);
}

static bool names_blob(const bson_t *task, const bson_oid_t *id)
{
    bson_iter_t iter, value;
    return bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, "checkpoint.blob_id", &value) &&
           BSON_ITER_HOLDS_OID(&value) && bson_oid_equal(bson_iter_oid(&value), id);
}

int task_checkpoint(struct hub *hub, const struct task_fence *fence, const struct task_checkpoint *checkpoint,
                    bson_error_t *error)
{
    bson_oid_t id;
    struct blob_info info;
    bson_t update, task;
    bson_oid_init(&id, NULL);
    if (gc_announce_session(hub, &id, fence->task_id, fence->lane, fence->claim_id, NULL, error) < 0) {
        return -1;
    }
    if (write_blob(hub, fence, checkpoint, &id, &info, error) < 0) {
        gc_upload_done(hub, &id, NULL); /* it was never offered: gc need not wait for the claim to end */
        return -1;
    }
    build_update(fence, checkpoint, &info, &update);
    TL_TRY("checkpoint", fence);
    int result = task_fenced(hub, fence, NULL, &update, true, &task, error);
    TL_DID("checkpoint", fence, result);
    /* The reply was lost, and the task taken back meanwhile: the checkpoint stands all the same. */
    result = result <= 0 && names_blob(&task, &id) ? 1 : result;
    if (result >= 0) {
        gc_upload_done(hub, &id, NULL); /* an entry that stays is stale when the claim has ended */
    }
    bson_destroy(&task);
    bson_destroy(&update);
    return result;
}

int task_drop_checkpoint(struct hub *hub, const struct task_fence *fence, const bson_t *checkpoint, bson_error_t *error)
{
    bson_t same = BSON_INITIALIZER, update = BSON_INITIALIZER, part, task;
    bson_iter_t iter;
    task_append_same(&same, "checkpoint.blob_id", bson_iter_init_find(&iter, checkpoint, "blob_id") ? &iter : NULL);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "checkpoint", "");
    bson_append_document_end(&update, &part);
    int result = task_fenced(hub, fence, &same, &update, true, &task, error);
    if (result == 0 && task_held(&task, fence) == TASK_HELD) {
        result = 1; /* another one stands there, or none: this one is gone */
    }
    bson_destroy(&task);
    bson_destroy(&update);
    bson_destroy(&same);
    return result;
}
