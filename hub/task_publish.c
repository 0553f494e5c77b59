/* SPDX-License-Identifier: Apache-2.0 */
/* After the commit: the model or dataset appears, or the epoch that was kept, and the task says so. Whoever comes first does it; doing it again changes nothing. */
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
    BSON_APPEND_UTF8(&part, "kept", "");
    bson_append_document_end(update, &part);
}

int task_show_kept(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    return bson_has_field(task, "kept") ? task_publish(hub, task, error) : 0;
}

/* Nothing can be shown of it (a foreign document): it counts as published, so that nobody tries for ever. */
static int mark_only(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    task_append_key(&filter, task);
    if (!bson_has_field(task, "kept")) {
        BSON_APPEND_BOOL(&filter, "published", false);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_BOOL(&part, "published", true);
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "kept", "");
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* One try of showing what a task holds back. */
struct showing {
    bson_t filters[4], updates[3];
    size_t filter_count, update_count;
    struct store_operation operations[4];
    size_t count;
};

static void show(struct showing *showing, const char *collection, const char *project, const char *id,
                 const bson_t *document)
{
    bson_t *filter = &showing->filters[showing->filter_count++], *update = &showing->updates[showing->update_count++];
    bson_init(filter);
    bson_init(update);
    task_append_output(project, id, document, filter, update);
    showing->operations[showing->count++] = (struct store_operation){
        .kind = STORE_UPDATE, .collection = collection, .filter = filter, .update = update, .upsert = true};
}

/* Compare and set on what was seen: what came meanwhile is shown by who looks next. */
static void mark(struct showing *showing, const bson_t *task)
{
    static const char *const seen[] = {"result.claim_id", "kept.blob_id"};
    bson_t *filter = &showing->filters[showing->filter_count++], *update = &showing->updates[showing->update_count++];
    bson_init(filter);
    bson_init(update);
    task_append_key(filter, task);
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        bson_iter_t iter, value;
        bool there = bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, seen[i], &value);
        task_append_same(filter, seen[i], there ? &value : NULL);
    }
    task_append_published(update);
    showing->operations[showing->count++] =
        (struct store_operation){.kind = STORE_UPDATE, .collection = TASKS, .filter = filter, .update = update};
}

/* Of what the task ended with; an epoch's goes with its claim. */
static void drop_upload(struct showing *showing, const bson_t *task, const char *claim, bool dataset)
{
    bson_iter_t iter, blob;
    bool model = bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, "result.blob_id", &blob) &&
                 BSON_ITER_HOLDS_OID(&blob);
    if (!model && !dataset) {
        return;
    }
    bson_t *filter = &showing->filters[showing->filter_count++];
    bson_init(filter);
    if (model) {
        BSON_APPEND_OID(filter, "_id", bson_iter_oid(&blob));
    } else {
        BSON_APPEND_UTF8(filter, "claim", claim);
    }
    showing->operations[showing->count++] =
        (struct store_operation){.kind = STORE_DELETE, .collection = GC_UPLOADS, .filter = filter};
}

static int write_showing(struct hub *hub, const struct showing *showing, bson_error_t *error)
{
    int result = -1;
    TL_FAULT("publish.before");
    for (int i = 0; i < TASK_WRITE_TRIES; i++) {
        result = store_batch(hub_store(hub), showing->operations, showing->count, NULL, error);
        if (result >= 0 || !hub_unknown(error)) {
            break;
        }
    }
    TL_FAULT("publish.after");
    return result;
}

int task_publish(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    bson_t output, kept;
    bson_iter_t iter;
    bson_error_t inner;
    struct showing showing = {.count = 0};
    const char *claim = hub_text(task, "result.claim_id"), *project = hub_text(task, "project");
    const char *epoch = hub_text(task, "kept.model._id");
    bool held_back = hub_view(task, "kept.model", &kept) && epoch != NULL;
    if (!bson_has_field(task, "kept") && bson_iter_init_find(&iter, task, "published") && bson_iter_as_bool(&iter)) {
        return 0;
    }
    if ((claim == NULL && !held_back) || project == NULL) {
        return mark_only(hub, task, error);
    }
    bool model = hub_view(task, "result.model", &output), dataset = !model && hub_view(task, "result.dataset", &output);
    if (claim != NULL && (model || dataset)) {
        show(&showing, model ? "models" : "datasets", project, claim, &output);
    }
    if (held_back) {
        show(&showing, "models", project, epoch, &kept);
    }
    mark(&showing, task);
    if (claim != NULL) {
        drop_upload(&showing, task, claim, dataset);
    }
    int result = write_showing(hub, &showing, &inner);
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_INVALID) {
        result = mark_only(hub, task, error);
    } else if (result < 0 && error != NULL) {
        *error = inner;
    }
    for (size_t i = 0; i < showing.filter_count; i++) {
        bson_destroy(&showing.filters[i]);
    }
    for (size_t i = 0; i < showing.update_count; i++) {
        bson_destroy(&showing.updates[i]);
    }
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
