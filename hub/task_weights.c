/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/task_weights_impl.h"

#include "hub/gc_impl.h"
#include "hub/schema.h"

#include <string.h>

#define SMALL_WEIGHTS (8 << 20) /* bytes that travel inside the batch */
#define PIECE ((size_t)1 << 20)

void task_weights_init(struct task_weights *weights)
{
    memset(weights, 0, sizeof *weights);
    bson_init(&weights->upload);
    bson_init(&weights->upload_filter);
}

void task_weights_destroy(struct task_weights *weights)
{
    blob_batch_free(weights->batch);
    bson_destroy(&weights->upload);
    bson_destroy(&weights->upload_filter);
}

/* Weights too large for a batch are announced and streamed before it. */
static int upload_large(struct hub *hub, const struct task_fence *fence, const char *filename, const bson_t *metadata,
                        const uint8_t *data, size_t length, struct task_weights *weights, bson_error_t *error)
{
    if (gc_announce_session(hub, &weights->id, fence->task_id, fence->lane, fence->claim_id, NULL, error) < 0) {
        return -1;
    }
    struct blob_writer *writer = blob_writer_open(hub_store(hub), &weights->id, filename, metadata, error);
    int result = writer == NULL ? -1 : 1;
    while (result > 0 && length > 0) {
        size_t part = length < PIECE ? length : PIECE;
        result = blob_writer_write(writer, data, part, error);
        data += part;
        length -= part;
    }
    if (result > 0) {
        result = blob_writer_finish(writer, &weights->info, error);
    }
    blob_writer_close(writer);
    return result;
}

int task_weights_prepare(struct hub *hub, const struct task_fence *fence, const char *filename, const void *data,
                         size_t length, int64_t now, struct task_weights *weights, bson_error_t *error)
{
    bson_t metadata = BSON_INITIALIZER;
    int result = 1;
    bson_oid_init(&weights->id, NULL);
    BSON_APPEND_OID(&weights->upload_filter, "_id", &weights->id);
    BSON_APPEND_UTF8(&metadata, "project", fence->project);
    BSON_APPEND_UTF8(&metadata, "kind", "model");
    BSON_APPEND_UTF8(&metadata, "claim", fence->claim_id);
    if (length > SMALL_WEIGHTS) {
        result = upload_large(hub, fence, filename, &metadata, data, length, weights, error);
    } else {
        bson_destroy(&weights->upload);
        gc_upload_document(hub, &weights->id, fence->task_id, fence->lane, fence->claim_id, NULL, now, &weights->upload);
        weights->batch = blob_batch_new(hub_store(hub), &weights->id, filename, &metadata, data, length, error);
        if (weights->batch != NULL) {
            weights->info = *blob_batch_info(weights->batch);
        } else {
            result = -1;
        }
    }
    bson_destroy(&metadata);
    return result < 0 ? -1 : 1;
}

/* ---- the model's document ---- */

/* The first of test, validation and train that metrics has; plain NAME after them. */
static bool headline(const bson_t *metrics, const char *name, double *value)
{
    static const char *const splits[] = {"test_", "validation_", "train_", ""};
    for (size_t i = 0; metrics != NULL && i < sizeof splits / sizeof splits[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s%s", splits[i], name);
        if (hub_double(metrics, path, value)) {
            return true;
        }
    }
    return false;
}

int task_weights_compose(const struct task_weights *weights, const struct task_fence *fence, const char *id,
                         const bson_t *fields, const bson_t *metrics, const bson_t *logs_before, int64_t now,
                         bson_t *model, bson_error_t *error)
{
    bson_t tags;
    double value;
    bool tagged = hub_view(fields, "tags", &tags);
    if (hub_text(fields, "name") == NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "model.name: it is missing");
    }
    BSON_APPEND_UTF8(model, "_id", id);
    BSON_APPEND_UTF8(model, "project", fence->project);
    hub_copy_without(fields, model, "_id", "project", "words", "blob_id", "sha256", "bytes", "task", "created_at",
                     "schema_version", "log_claims", "log_points", NULL);
    BSON_APPEND_UTF8(model, "task", fence->task_id);
    if (logs_before != NULL) {
        bson_concat(model, logs_before); /* the task forgets them when it is restarted */
    }
    if (metrics != NULL && !bson_has_field(fields, "metrics")) {
        BSON_APPEND_DOCUMENT(model, "metrics", metrics);
    }
    if (!bson_has_field(fields, "accuracy") && headline(metrics, "accuracy", &value)) {
        BSON_APPEND_DOUBLE(model, "accuracy", value);
    }
    if (!bson_has_field(fields, "loss") && headline(metrics, "loss", &value)) {
        BSON_APPEND_DOUBLE(model, "loss", value);
    }
    if (hub_append_words(model, hub_text(fields, "name"), hub_text(fields, "description"), tagged ? &tags : NULL) < 0) {
        return hub_error(error, HUB_ERROR_INVALID, "model: the document is too large");
    }
    BSON_APPEND_OID(model, "blob_id", &weights->id);
    BSON_APPEND_UTF8(model, "sha256", weights->info.sha256);
    BSON_APPEND_INT64(model, "bytes", weights->info.length);
    BSON_APPEND_DATE_TIME(model, "created_at", now);
    BSON_APPEND_INT32(model, "schema_version", HUB_SCHEMA_VERSION);
    return schema_check("model", model, error);
}
