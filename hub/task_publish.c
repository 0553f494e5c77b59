/* SPDX-License-Identifier: Apache-2.0 */
/* After the commit: the model or dataset appears, the task says so. Whoever comes first does it; doing it again changes nothing. */
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/task_impl.h"

#include <string.h>

void task_append_output(const char *project, const char *claim, const bson_t *document, bson_t *filter, bson_t *update)
{
    bson_t part;
    BSON_APPEND_UTF8(filter, "_id", claim);
    BSON_APPEND_UTF8(filter, "project", project);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$setOnInsert", &part);
    hub_copy_without(document, &part, "_id", "project", NULL);
    bson_append_document_end(update, &part);
}

void task_append_published(bson_t *update)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    BSON_APPEND_BOOL(&part, "published", true);
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "result.model", "");
    BSON_APPEND_UTF8(&part, "result.dataset", "");
    bson_append_document_end(update, &part);
}

/* Nothing can be shown of it (a foreign document): it counts as published, so that nobody tries for ever. */
static int mark_only(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    task_append_key(&filter, task);
    BSON_APPEND_BOOL(&filter, "published", false);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_BOOL(&part, "published", true);
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

int task_publish(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    bson_t output, output_filter = BSON_INITIALIZER, output_update = BSON_INITIALIZER, task_filter = BSON_INITIALIZER,
                   task_update = BSON_INITIALIZER, upload_filter = BSON_INITIALIZER;
    bson_iter_t iter, blob;
    struct store_operation operations[3];
    size_t count = 0;
    const char *claim = hub_text(task, "result.claim_id"), *project = hub_text(task, "project");
    int result = -1;
    if (bson_iter_init_find(&iter, task, "published") && bson_iter_as_bool(&iter)) {
        return 0;
    }
    if (claim == NULL || project == NULL) {
        return mark_only(hub, task, error);
    }
    memset(operations, 0, sizeof operations);
    bool model = hub_view(task, "result.model", &output), dataset = !model && hub_view(task, "result.dataset", &output);
    if (model || dataset) {
        task_append_output(project, claim, &output, &output_filter, &output_update);
        operations[count++] = (struct store_operation){.kind = STORE_UPDATE,
                                                       .collection = model ? "models" : "datasets",
                                                       .filter = &output_filter,
                                                       .update = &output_update,
                                                       .upsert = true};
    }
    task_append_key(&task_filter, task);
    BSON_APPEND_UTF8(&task_filter, "result.claim_id", claim);
    task_append_published(&task_update);
    operations[count++] = (struct store_operation){
        .kind = STORE_UPDATE, .collection = TASKS, .filter = &task_filter, .update = &task_update};
    if (bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, "result.blob_id", &blob) &&
        BSON_ITER_HOLDS_OID(&blob)) {
        BSON_APPEND_OID(&upload_filter, "_id", bson_iter_oid(&blob));
    } else if (dataset) {
        BSON_APPEND_UTF8(&upload_filter, "claim", claim);
    }
    if (!bson_empty(&upload_filter)) {
        operations[count++] =
            (struct store_operation){.kind = STORE_DELETE, .collection = GC_UPLOADS, .filter = &upload_filter};
    }
    bson_error_t inner;
    TL_FAULT("publish.before");
    for (int i = 0; i < TASK_WRITE_TRIES; i++) {
        result = store_batch(hub_store(hub), operations, count, NULL, &inner);
        if (result >= 0 || !hub_unknown(&inner)) {
            break;
        }
    }
    TL_FAULT("publish.after");
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_INVALID) {
        result = mark_only(hub, task, error);
    } else if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&upload_filter);
    bson_destroy(&task_update);
    bson_destroy(&task_filter);
    bson_destroy(&output_update);
    bson_destroy(&output_filter);
    return result;
}

int task_forget_model(struct hub *hub, const char *project, const char *task, const char *model, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    task_append_id(&filter, "_id", task);
    BSON_APPEND_UTF8(&filter, "project", project);
    BSON_APPEND_UTF8(&filter, "result.claim_id", model);
    BSON_APPEND_BOOL(&filter, "published", true);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_BOOL(&part, "result.deleted", true);
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "result.blob_id", "");
    bson_append_document_end(&update, &part);
    /* Not a findAndModify: on a sharded cluster that would need the lane, which a model does not know. */
    int64_t changed = store_update(hub_store(hub), TASKS, &filter, &update, error);
    int result = changed < 0 ? -1 : changed > 0;
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}
