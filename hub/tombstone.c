/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/tombstone.h"

#include "hub/fault.h"
#include "hub/hub_impl.h"
#include "hub/task_impl.h"

#include <string.h>

void tombstone_live_filter(const struct hub *hub, const bson_t *filter, bson_t *out)
{
    bson_t live = BSON_INITIALIZER, condition;
    BSON_APPEND_DOCUMENT_BEGIN(&live, "deleted", &condition);
    BSON_APPEND_BOOL(&condition, "$ne", true);
    bson_append_document_end(&live, &condition);
    hub_filter(hub, filter, &live, out);
    bson_destroy(&live);
}

bool tombstone_is(const bson_t *document)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, "deleted") && bson_iter_as_bool(&iter);
}

/* The $unset of everything that a tombstone does not need. */
static void append_bare(const bson_t *document, bson_t *update)
{
    static const char *const kept[] = {"_id", "project", "task", "created_at", "schema_version", "deleted"};
    bson_t part;
    bson_iter_t iter;
    bool more = bson_iter_init(&iter, document);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$unset", &part);
    while (more && bson_iter_next(&iter)) {
        bool keep = false;
        for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
            keep = keep || strcmp(bson_iter_key(&iter), kept[i]) == 0;
        }
        if (!keep) {
            BSON_APPEND_UTF8(&part, bson_iter_key(&iter), "");
        }
    }
    bson_append_document_end(update, &part);
}

int tombstone_bury(struct hub *hub, const char *collection, const bson_t *document, bool bare, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    bson_iter_t iter;
    if (bson_iter_init_find(&iter, document, "_id")) {
        bson_append_iter(&filter, "_id", 3, &iter);
    }
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_BOOL(&part, "deleted", true);
    bson_append_document_end(&update, &part);
    if (bare) {
        append_bare(document, &update);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "deleted_at", true);
    bson_append_document_end(&update, &part);
    TL_FAULT("bury.before");
    int result = store_modify(hub_store(hub), collection, &filter, &update, NULL, NULL, error);
    const char *id = hub_text(document, "_id");
    /* The tombstone stands; gc says it to the task where this one does not come to it. */
    if (result > 0 && id != NULL &&
        task_forget_model(hub, hub_project(hub), hub_text(document, "task"), id, error) < 0) {
        result = -1;
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}
