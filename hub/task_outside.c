/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of kind "outside": another program does them, and no runner claims them (their class is "outside"). Who asks is given
 * one, which is "paused" from then on; who tells ends it. Each is one update of one document. */
#include "hub/task_impl.h"

static void append_outside(const struct hub *hub, const char *sweep, bson_t *filter)
{
    BSON_APPEND_UTF8(filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(filter, "sweep", sweep);
    BSON_APPEND_UTF8(filter, "kind", "outside");
}

int task_hand_out(struct hub *hub, const char *sweep, bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, sort = BSON_INITIALIZER, part;
    struct store_modify_options options = {.sort = &sort, .return_new = true};
    append_outside(hub, sweep, &filter);
    BSON_APPEND_UTF8(&filter, "state", "ready");
    BSON_APPEND_INT32(&sort, "seq", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", "paused");
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "claimed_at", true);
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, &options, task, error);
    bson_destroy(&update);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}

int task_tell(struct hub *hub, const char *sweep, int64_t point, const bson_t *metrics, const char *failure, bson_t *task,
              bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, sort = BSON_INITIALIZER, part, inner;
    struct store_modify_options options = {.sort = &sort, .return_new = true};
    char id[HUB_ID_SIZE];
    append_outside(hub, sweep, &filter);
    BSON_APPEND_INT64(&filter, "point_number", point);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "state", &part);
    BSON_APPEND_ARRAY_BEGIN(&part, "$in", &inner);
    BSON_APPEND_UTF8(&inner, "0", "paused");
    BSON_APPEND_UTF8(&inner, "1", "ready");
    bson_append_array_end(&part, &inner);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_INT32(&sort, "seq", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", failure != NULL ? "failed" : "done");
    if (failure != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(&part, "error", &inner);
        BSON_APPEND_UTF8(&inner, "message", failure);
        bson_append_document_end(&part, &inner);
    } else {
        hub_random_id(id);
        BSON_APPEND_DOCUMENT_BEGIN(&part, "result", &inner);
        BSON_APPEND_UTF8(&inner, "claim_id", id);
        BSON_APPEND_DOCUMENT(&inner, "metrics", metrics);
        bson_append_document_end(&part, &inner);
        BSON_APPEND_BOOL(&part, "published", true);
    }
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "finished_at", true);
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, &options, task, error);
    bson_destroy(&update);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}
