/* SPDX-License-Identifier: Apache-2.0 */
/* The finish: one ordered batch, which SQLite makes one transaction and MongoDB a sequence that is right wherever it
 * stops. The commit is the fenced update of the task; docs/task-states.md shows the order and why. */
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/task_impl.h"
#include "hub/task_weights_impl.h"

#include <string.h>

/* Everything that one try borrows from. */
struct finish {
    struct hub *hub;
    const struct task_fence *fence;
    const struct task_finish *finish;
    bool atomic;      /* the batch is one transaction: no state between its steps is ever seen */
    struct task_weights weights;
    bson_t model, commit_filter, commit, output_filter, output_update, published_filter, published,
        upload_filter; /* of a dataset's parts */
    struct store_operation *operations;
    size_t count;
    size_t commit_at; /* index of the commit in operations */
    char *reason; /* of "stopped" */
};

/* ---- the batch ---- */

static void build_commit(struct finish *f)
{
    bson_t set, result, part;
    bool model = f->finish->weights != NULL, dataset = f->finish->dataset != NULL;
    bson_destroy(&f->commit_filter);
    task_fence_filter(f->fence, &f->commit_filter);
    BSON_APPEND_DOCUMENT_BEGIN(&f->commit, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", f->finish->state);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "result", &result);
    BSON_APPEND_UTF8(&result, "claim_id", f->fence->claim_id);
    if (model) {
        BSON_APPEND_OID(&result, "blob_id", &f->weights.id);
        BSON_APPEND_UTF8(&result, "sha256", f->weights.info.sha256);
    }
    if (f->finish->metrics != NULL) {
        BSON_APPEND_DOCUMENT(&result, "metrics", f->finish->metrics);
    }
    bson_t rows; /* a selection stays with its task, too: the query alone does not say which rows there were */
    if (model && hub_view(f->finish->model, "dataset", &rows) && bson_has_field(&rows, "rows_upto")) {
        BSON_APPEND_DOCUMENT(&result, "data", &rows);
    }
    if (f->reason != NULL) {
        BSON_APPEND_UTF8(&result, "reason", f->reason);
    }
    if (f->finish->logs_before != NULL) {
        bson_concat(&result, f->finish->logs_before);
    }
    if (dataset) {
        BSON_APPEND_UTF8(&result, "dataset_id", f->fence->claim_id);
    }
    if (!f->atomic && (model || dataset)) { /* what a roll-forward needs; goes when it is published */
        BSON_APPEND_DOCUMENT(&result, model ? "model" : "dataset", model ? &f->model : f->finish->dataset);
    }
    bson_append_document_end(&set, &result);
    BSON_APPEND_BOOL(&set, "published", (!model && !dataset) || f->atomic);
    bson_append_document_end(&f->commit, &set);
    BSON_APPEND_DOCUMENT_BEGIN(&f->commit, "$unset", &part);
    BSON_APPEND_UTF8(&part, "request", "");
    BSON_APPEND_UTF8(&part, "error", "");
    BSON_APPEND_UTF8(&part, "checkpoint", ""); /* the run is over: its blob is gc's */
    bson_append_document_end(&f->commit, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&f->commit, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "finished_at", true);
    bson_append_document_end(&f->commit, &part);
}

static void build_published(struct finish *f)
{
    task_append_id(&f->published_filter, "_id", f->fence->task_id);
    BSON_APPEND_UTF8(&f->published_filter, "project", f->fence->project);
    BSON_APPEND_INT32(&f->published_filter, "lane", f->fence->lane);
    BSON_APPEND_UTF8(&f->published_filter, "result.claim_id", f->fence->claim_id);
    BSON_APPEND_NULL(&f->published_filter, "kept"); /* an earlier claim's epoch is still to be shown: whoever sweeps does both */
    task_append_published(&f->published);
}

static void add(struct finish *f, struct store_operation operation)
{
    f->operations[f->count++] = operation;
}

static void build_operations(struct finish *f)
{
    size_t blob_count = 0;
    const struct store_operation *blob = f->weights.batch != NULL ? blob_batch_operations(f->weights.batch, &blob_count) : NULL;
    bool model = f->finish->weights != NULL, dataset = f->finish->dataset != NULL;
    f->operations = bson_malloc0((blob_count + f->finish->log_count + 5) * sizeof *f->operations);
    /* In one transaction nobody sees a blob without its pointer, so that it need not be announced. */
    if (f->weights.batch != NULL && !f->atomic) {
        add(f, (struct store_operation){
                   .kind = STORE_INSERT, .collection = GC_UPLOADS, .document = &f->weights.upload, .ignore_duplicate = true});
    }
    for (size_t i = 0; i < blob_count; i++) {
        add(f, blob[i]);
    }
    for (size_t i = 0; i < f->finish->log_count; i++) {
        add(f, f->finish->logs[i]);
    }
    f->commit_at = f->count;
    add(f, (struct store_operation){.kind = STORE_UPDATE,
                                    .collection = TASKS,
                                    .filter = &f->commit_filter,
                                    .update = &f->commit,
                                    .guard = true});
    if (model || dataset) {
        add(f, (struct store_operation){.kind = STORE_UPDATE,
                                        .collection = model ? "models" : "datasets",
                                        .filter = &f->output_filter,
                                        .update = &f->output_update,
                                        .upsert = true});
    }
    if ((model || dataset) && !f->atomic) {
        add(f, (struct store_operation){.kind = STORE_UPDATE,
                                        .collection = TASKS,
                                        .filter = &f->published_filter,
                                        .update = &f->published});
    }
    if (dataset || (model && (f->weights.batch == NULL || !f->atomic))) {
        add(f, (struct store_operation){.kind = STORE_DELETE,
                                        .collection = GC_UPLOADS,
                                        .filter = dataset ? &f->upload_filter : &f->weights.upload_filter});
    }
}

static void finish_init(struct finish *f)
{
    task_weights_init(&f->weights);
    bson_init(&f->model);
    bson_init(&f->commit_filter);
    bson_init(&f->commit);
    bson_init(&f->output_filter);
    bson_init(&f->output_update);
    bson_init(&f->published_filter);
    bson_init(&f->published);
    bson_init(&f->upload_filter);
}

static void finish_destroy(struct finish *f)
{
    task_weights_destroy(&f->weights);
    bson_destroy(&f->model);
    bson_destroy(&f->commit_filter);
    bson_destroy(&f->commit);
    bson_destroy(&f->output_filter);
    bson_destroy(&f->output_update);
    bson_destroy(&f->published_filter);
    bson_destroy(&f->published);
    bson_destroy(&f->upload_filter);
    bson_free(f->operations);
    bson_free(f->reason);
}

/* Why it is stopped: a request goes with the commit, its reason stays. */
static int find_reason(struct finish *f, bson_error_t *error)
{
    bson_t task;
    if (strcmp(f->finish->state, "stopped") != 0) {
        return 1;
    }
    if (f->finish->reason != NULL) {
        f->reason = bson_strdup(f->finish->reason);
        return 1;
    }
    int result = task_read(f->hub, f->fence, &task, error);
    const char *reason = result > 0 ? hub_text(&task, "request.reason") : NULL;
    f->reason = bson_strdup(reason != NULL ? reason : "at the user's request");
    bson_destroy(&task);
    return result < 0 ? -1 : 1;
}

static int prepare(struct finish *f, bson_error_t *error)
{
    int64_t now;
    char filename[80];
    snprintf(filename, sizeof filename, "%s.safetensors", f->fence->claim_id);
    if (f->finish->weights != NULL) {
        if (store_stamp_time(hub_store(f->hub), &now, error) < 0) {
            return -1;
        }
        if (task_weights_prepare(f->hub, f->fence, filename, f->finish->weights, f->finish->weights_length, now,
                                 &f->weights, error) < 0 ||
            task_weights_compose(&f->weights, f->fence, f->fence->claim_id, f->finish->model, f->finish->metrics,
                                 f->finish->logs_before, now, &f->model, error) < 0) {
            return -1;
        }
        task_append_output(f->fence->project, f->fence->claim_id, &f->model, &f->output_filter, &f->output_update);
        build_published(f);
    }
    if (f->finish->dataset != NULL) {
        BSON_APPEND_UTF8(&f->upload_filter, "claim", f->fence->claim_id); /* its parts, and those of earlier tries */
        task_append_output(f->fence->project, f->fence->claim_id, f->finish->dataset, &f->output_filter,
                           &f->output_update);
        build_published(f);
    }
    if (find_reason(f, error) < 0) {
        return -1;
    }
    build_commit(f);
    build_operations(f);
    return 1;
}

/* ---- deciding ---- */

enum verdict {
    VERDICT_ERROR = -1,
    VERDICT_LOST,
    VERDICT_APPLIED,
    VERDICT_HELD /* not committed, and the task is still ours */
};

/* No match, or an unknown outcome: the task itself says what is true. Where the commit stands, the rest is rolled
 * forward here. */
static enum verdict decide(struct hub *hub, const struct task_fence *fence, bson_error_t *error)
{
    bson_t task;
    enum verdict verdict = VERDICT_LOST;
    int result = -1;
    for (int i = 0; i < TASK_WRITE_TRIES && result < 0; i++) {
        if (i > 0) {
            bson_destroy(&task);
            hub_sleep(50 << i);
        }
        result = task_read(hub, fence, &task, error);
    }
    const char *claim = hub_text(&task, "result.claim_id");
    if (result < 0) {
        verdict = VERDICT_ERROR;
    } else if (claim != NULL && strcmp(claim, fence->claim_id) == 0) {
        verdict = task_publish(hub, &task, error) < 0 ? VERDICT_ERROR : VERDICT_APPLIED;
    } else if (result > 0 && task_held(&task, fence) == TASK_HELD) {
        verdict = VERDICT_HELD;
    }
    bson_destroy(&task);
    return verdict;
}

static int check_arguments(const struct task_finish *finish, bson_error_t *error)
{
    if (strcmp(finish->state, "done") != 0 && strcmp(finish->state, "stopped") != 0) {
        return hub_error(error, HUB_ERROR_INVALID, "a task finishes as \"done\" or \"stopped\", not \"%s\"", finish->state);
    }
    if ((finish->weights == NULL) != (finish->model == NULL)) {
        return hub_error(error, HUB_ERROR_INVALID, "weights and the model's fields come together");
    }
    if (finish->weights != NULL && finish->dataset != NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "a task makes a model or a dataset, not both");
    }
    return 1;
}

int task_finish(struct hub *hub, const struct task_fence *fence, const struct task_finish *finish,
                bson_error_t *error)
{
    bson_error_t inner = {0};
    struct finish f = {.hub = hub, .fence = fence, .finish = finish, .atomic = store_batch_is_atomic(hub_store(hub))};
    int result = -1;
    if (check_arguments(finish, error) < 0) {
        return -1;
    }
    if (finish->again) {
        enum verdict verdict = decide(hub, fence, error);
        if (verdict != VERDICT_HELD) {
            result = verdict == VERDICT_APPLIED ? 1 : verdict == VERDICT_LOST ? 0 : -1;
            TL_DID("finish", fence, result);
            return result;
        }
    }
    finish_init(&f);
    TL_TRY("finish", fence);
    if (prepare(&f, &inner) < 0) {
        goto out;
    }
    for (int i = 0; i < TASK_WRITE_TRIES; i++) {
        size_t stopped_at = 0;
        TL_FAULT("batch.before");
        result = store_batch(hub_store(hub), f.operations, f.count, &stopped_at, &inner);
        /* An error after the commit's place in the order may have left the commit standing. */
        bool unclear = result == 0 || hub_unknown(&inner) || (!f.atomic && stopped_at >= f.commit_at);
        if (result > 0 || (result < 0 && !unclear)) {
            break;
        }
        bson_error_t reading;
        TL_FAULT("decide.before");
        enum verdict verdict = decide(hub, fence, &reading);
        if (verdict == VERDICT_APPLIED) {
            result = 1;
            break;
        }
        if (verdict == VERDICT_LOST) {
            result = 0;
            break;
        }
        if (verdict == VERDICT_ERROR) {
            result = -1;
            inner = reading;
            break;
        }
        /* Still ours: the same documents are sent again, which their _ids make harmless. */
        if (result == 0) {
            hub_error(&inner, HUB_ERROR_CONFLICT, "task %s: the finish matched nothing, and yet the task is held", fence->task_id);
            result = -1;
        }
    }
    if (result == 0 && finish->weights != NULL) {
        /* The blob is gc's; only the announcement is ours to take back, and stale from now on if this fails. */
        gc_upload_done(hub, &f.weights.id, NULL);
    } else if (result == 0 && finish->dataset != NULL) {
        store_delete(hub_store(hub), GC_UPLOADS, &f.upload_filter, NULL);
    }
out:
    TL_DID("finish", fence, result);
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    finish_destroy(&f);
    return result;
}
