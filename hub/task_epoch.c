/* SPDX-License-Identifier: Apache-2.0 */
/* An epoch's parameters as a model of their own. As with the finish, one fenced update of the task decides (`kept`, with the
 * document that is to be shown; in a transaction it needs none), so that a runner that lost its task shows nothing. The model's
 * _id follows from what was computed: who repeats the epoch after a crash finds it there. */
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/task_impl.h"
#include "hub/task_weights_impl.h"

#include <string.h>

#define MODELS "models"

struct keep {
    struct hub *hub;
    const struct task_fence *fence;
    const struct task_epoch *epoch;
    bool atomic;
    char id[HUB_ID_SIZE]; /* of the model */
    struct task_weights weights;
    bson_t model, commit_filter, commit, output_filter, output_update, shown_filter, shown;
    struct store_operation *operations;
    size_t count, commit_at;
};

static void model_id(const struct task_fence *fence, const struct task_epoch *epoch, char id[HUB_ID_SIZE])
{
    char run[24], number[24];
    snprintf(run, sizeof run, "%" PRId64, epoch->run);
    snprintf(number, sizeof number, "%" PRId64, epoch->epoch);
    const char *const parts[] = {"epoch", fence->project, fence->task_id, run, number, epoch->identity};
    hub_digest_id(parts, sizeof parts / sizeof parts[0], id);
}

/* The model of this epoch, a tombstone too: 1 with *model, 0, -1. */
static int find(struct hub *hub, const struct task_fence *fence, const char *id, bson_t *model, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "project", fence->project);
    int result = store_find_one(hub_store(hub), MODELS, &filter, NULL, model, error);
    bson_destroy(&filter);
    return result;
}

int task_has_epoch(struct hub *hub, const struct task_fence *fence, const struct task_epoch *epoch, bson_error_t *error)
{
    bson_t model;
    char id[HUB_ID_SIZE];
    model_id(fence, epoch, id);
    int result = find(hub, fence, id, &model, error);
    bson_destroy(&model);
    return result;
}

static void build_commit(struct keep *k)
{
    bson_t part, kept;
    bson_destroy(&k->commit_filter);
    task_fence_filter(k->fence, &k->commit_filter);
    if (!k->atomic) {
        BSON_APPEND_NULL(&k->commit_filter, "kept"); /* what an earlier claim left is shown first */
        BSON_APPEND_DOCUMENT_BEGIN(&k->commit, "$set", &part);
        BSON_APPEND_DOCUMENT_BEGIN(&part, "kept", &kept);
        BSON_APPEND_UTF8(&kept, "claim_id", k->fence->claim_id);
        BSON_APPEND_INT64(&kept, "epoch", k->epoch->epoch);
        BSON_APPEND_OID(&kept, "blob_id", &k->weights.id);
        BSON_APPEND_UTF8(&kept, "sha256", k->weights.info.sha256);
        BSON_APPEND_DOCUMENT(&kept, "model", &k->model);
        bson_append_document_end(&part, &kept);
        BSON_APPEND_BOOL(&part, "published", false);
        bson_append_document_end(&k->commit, &part);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&k->commit, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "beat_at", true);
    bson_append_document_end(&k->commit, &part);
}

static void add(struct keep *k, struct store_operation operation)
{
    k->operations[k->count++] = operation;
}

static void build_operations(struct keep *k)
{
    size_t blob_count = 0;
    const struct store_operation *blob = k->weights.batch != NULL ? blob_batch_operations(k->weights.batch, &blob_count) : NULL;
    k->operations = bson_malloc0((blob_count + 5) * sizeof *k->operations);
    if (k->weights.batch != NULL && !k->atomic) {
        add(k, (struct store_operation){
                   .kind = STORE_INSERT, .collection = GC_UPLOADS, .document = &k->weights.upload, .ignore_duplicate = true});
    }
    for (size_t i = 0; i < blob_count; i++) {
        add(k, blob[i]);
    }
    k->commit_at = k->count;
    add(k, (struct store_operation){
               .kind = STORE_UPDATE, .collection = TASKS, .filter = &k->commit_filter, .update = &k->commit, .guard = true});
    add(k, (struct store_operation){.kind = STORE_UPDATE,
                                    .collection = MODELS,
                                    .filter = &k->output_filter,
                                    .update = &k->output_update,
                                    .upsert = true});
    if (!k->atomic) {
        add(k, (struct store_operation){
                   .kind = STORE_UPDATE, .collection = TASKS, .filter = &k->shown_filter, .update = &k->shown});
    }
    if (k->weights.batch == NULL || !k->atomic) {
        add(k, (struct store_operation){
                   .kind = STORE_DELETE, .collection = GC_UPLOADS, .filter = &k->weights.upload_filter});
    }
}

static void keep_init(struct keep *k)
{
    task_weights_init(&k->weights);
    bson_t *const documents[] = {&k->model,         &k->commit_filter, &k->commit, &k->output_filter,
                                 &k->output_update, &k->shown_filter,  &k->shown};
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        bson_init(documents[i]);
    }
}

static void keep_destroy(struct keep *k)
{
    task_weights_destroy(&k->weights);
    bson_t *const documents[] = {&k->model,         &k->commit_filter, &k->commit, &k->output_filter,
                                 &k->output_update, &k->shown_filter,  &k->shown};
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        bson_destroy(documents[i]);
    }
    bson_free(k->operations);
}

static int prepare(struct keep *k, bson_error_t *error)
{
    int64_t now;
    char filename[80];
    bson_t fields = BSON_INITIALIZER;
    snprintf(filename, sizeof filename, "%s.safetensors", k->id);
    hub_copy_without(k->epoch->model, &fields, "epoch", "final", NULL);
    BSON_APPEND_INT64(&fields, "epoch", k->epoch->epoch);
    BSON_APPEND_BOOL(&fields, "final", false);
    int result = hub_now(k->hub, &now, error);
    if (result >= 0) {
        result = task_weights_prepare(k->hub, k->fence, filename, k->epoch->weights, k->epoch->weights_length, now,
                                      &k->weights, error);
    }
    if (result >= 0) {
        result = task_weights_compose(&k->weights, k->fence, k->id, &fields, NULL, NULL, now, &k->model, error);
    }
    bson_destroy(&fields);
    if (result < 0) {
        return -1;
    }
    task_append_output(k->fence->project, k->id, &k->model, &k->output_filter, &k->output_update);
    task_append_id(&k->shown_filter, "_id", k->fence->task_id);
    BSON_APPEND_UTF8(&k->shown_filter, "project", k->fence->project);
    BSON_APPEND_INT32(&k->shown_filter, "lane", k->fence->lane);
    BSON_APPEND_OID(&k->shown_filter, "kept.blob_id", &k->weights.id);
    BSON_APPEND_NULL(&k->shown_filter, "result"); /* one that finished meanwhile is published as a whole */
    task_append_published(&k->shown);
    build_commit(k);
    build_operations(k);
    return 1;
}

enum verdict { VERDICT_ERROR = -1, VERDICT_LOST, VERDICT_APPLIED, VERDICT_HELD };

/* No match, or an unknown outcome: the model, or the task, says what is true. What stands in the task is shown. */
static enum verdict decide(struct keep *k, bson_error_t *error)
{
    bson_t task, model;
    enum verdict verdict = VERDICT_ERROR;
    int result = task_read(k->hub, k->fence, &task, error);
    if (result > 0 && bson_has_field(&task, "kept")) {
        result = task_publish(k->hub, &task, error) < 0 ? -1 : 1;
    }
    int there = result < 0 ? -1 : find(k->hub, k->fence, k->id, &model, error);
    if (there >= 0) {
        verdict = there > 0                                                   ? VERDICT_APPLIED
                  : result > 0 && task_held(&task, k->fence) == TASK_HELD ? VERDICT_HELD
                                                                              : VERDICT_LOST;
    }
    if (result >= 0) {
        bson_destroy(&model);
    }
    bson_destroy(&task);
    return verdict;
}

/* As task_keep_epoch. */
static int commit(struct keep *k, bson_error_t *error)
{
    int result = -1;
    for (int i = 0; i < TASK_WRITE_TRIES; i++) {
        size_t stopped_at = 0;
        bson_error_t reading;
        result = store_batch(hub_store(k->hub), k->operations, k->count, &stopped_at, error);
        bool unclear = result == 0 || hub_unknown(error) || (!k->atomic && stopped_at >= k->commit_at);
        if (result > 0 || (result < 0 && !unclear)) {
            return result;
        }
        enum verdict verdict = decide(k, &reading);
        if (verdict == VERDICT_APPLIED || verdict == VERDICT_LOST) {
            return verdict == VERDICT_APPLIED;
        }
        if (verdict == VERDICT_ERROR) {
            *error = reading;
            return -1;
        }
        /* Still ours, and an earlier claim's epoch is out of the way: the same documents again. */
        if (result == 0) {
            result = hub_error(error, HUB_ERROR_CONFLICT, "task %s: epoch %" PRId64 " matched nothing, and yet the task is held",
                               k->fence->task_id, k->epoch->epoch);
        }
    }
    return result;
}

int task_keep_epoch(struct hub *hub, const struct task_fence *fence, const struct task_epoch *epoch, bson_error_t *error)
{
    bson_error_t inner = {0};
    struct keep k = {.hub = hub, .fence = fence, .epoch = epoch, .atomic = store_batch_is_atomic(hub_store(hub))};
    model_id(fence, epoch, k.id);
    int result = task_has_epoch(hub, fence, epoch, error);
    if (result != 0) {
        return result;
    }
    keep_init(&k);
    TL_TRY("epoch", fence);
    result = prepare(&k, &inner) < 0 ? -1 : commit(&k, &inner);
    TL_DID("epoch", fence, result);
    if (result >= 0) {
        gc_upload_done(hub, &k.weights.id, NULL); /* an entry that stays is stale when the claim has ended */
    } else if (error != NULL) {
        *error = inner;
    }
    keep_destroy(&k);
    return result;
}
