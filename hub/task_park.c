/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that wait at a rung of their sweep: "parked" with their checkpoint, claimed by nobody, until they are promoted or
 * ended. Each step is one update of one document, and names the park that it leaves: the claim that parked the task, and how
 * many rungs it had come to. So a promotion happens once, whoever decides it and however often. */
#include "hub/fault.h"
#include "hub/task_impl.h"

#include <string.h>

/* {state: "parked", rungs: {…, waits: true}} */
static void park_update(const bson_t *rungs, bool drop_request, bson_t *update)
{
    bson_t set, part;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", "parked");
    BSON_APPEND_BOOL(&set, "started", false);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "rungs", &part);
    hub_copy_without(rungs, &part, "waits", NULL);
    BSON_APPEND_BOOL(&part, "waits", true);
    bson_append_document_end(&set, &part);
    bson_append_document_end(update, &set);
    if (drop_request) {
        BSON_APPEND_DOCUMENT_BEGIN(update, "$unset", &part);
        BSON_APPEND_UTF8(&part, "request", "");
        bson_append_document_end(update, &part);
    }
}

/* Who is to stop has results: those of the rung. */
static int park_and_stop(struct hub *hub, const struct task_fence *fence, const bson_t *rungs, const bson_t *task,
                         bson_error_t *error)
{
    bson_t update, parked;
    const char *reason = hub_text(task, "request.reason");
    park_update(rungs, true, &update);
    int result = task_end_with(hub, fence, NULL, &update, "parked", &parked, error);
    if (result > 0 && task_end_parked(hub, &parked, reason != NULL ? reason : "at the user's request", error) < 0) {
        result = -1;
    }
    bson_destroy(&parked);
    bson_destroy(&update);
    return result;
}

int task_park(struct hub *hub, const struct task_fence *fence, const bson_t *rungs, bson_error_t *error)
{
    bson_t update, no_request = BSON_INITIALIZER, task;
    TL_TRY("park", fence);
    BSON_APPEND_NULL(&no_request, "request");
    park_update(rungs, false, &update);
    int result = task_end_with(hub, fence, &no_request, &update, "parked", &task, error);
    if (result == 0 && task_held(&task, fence) == TASK_HELD && task_request_of(&task) == TASK_REQUEST_STOP) {
        result = park_and_stop(hub, fence, rungs, &task, error);
    } else if (result == 0 && task_held(&task, fence) == TASK_HELD) {
        result = task_give_back(hub, fence, &update, "parked", error);
    }
    TL_DID("park", fence, result);
    bson_destroy(&task);
    bson_destroy(&no_request);
    bson_destroy(&update);
    return result;
}

/* This park of the task, and no other. One that was promoted and then paused stands at no rung, with the same claim and count. */
static void park_filter(const bson_t *task, const char *state, bson_t *filter)
{
    static const char *const same[] = {"claim.id", "rungs.count"};
    bson_init(filter);
    task_append_key(filter, task);
    BSON_APPEND_UTF8(filter, "state", state);
    if (strcmp(state, "paused") == 0) {
        BSON_APPEND_BOOL(filter, "rungs.waits", true);
    }
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        bson_iter_t iter, value;
        bool there = bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, same[i], &value);
        task_append_same(filter, same[i], there ? &value : NULL);
    }
}

int task_unpark(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    bson_t filter, update = BSON_INITIALIZER, set;
    park_filter(task, "parked", &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", "ready");
    BSON_APPEND_BOOL(&set, "rungs.waits", false);
    bson_append_document_end(&update, &set);
    TL_FAULT("unpark.before");
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
    TL_FAULT("unpark.after");
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* {claim_id, metrics, reason, log_claims, log_points} */
static void append_result(const bson_t *task, const char *reason, bson_t *set)
{
    static const char *const kept[] = {"log_claims", "log_points"};
    bson_t result, metrics, list;
    char id[HUB_ID_SIZE];
    const char *claim = hub_text(task, "claim.id");
    BSON_APPEND_DOCUMENT_BEGIN(set, "result", &result);
    if (claim == NULL) { /* another program's (kind "outside") */
        hub_random_id(id);
        claim = id;
    }
    BSON_APPEND_UTF8(&result, "claim_id", claim);
    if (hub_view(task, "rungs.metrics", &metrics)) {
        BSON_APPEND_DOCUMENT(&result, "metrics", &metrics);
    }
    BSON_APPEND_UTF8(&result, "reason", reason);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        char path[32];
        snprintf(path, sizeof path, "checkpoint.%s", kept[i]);
        if (hub_view(task, path, &list)) {
            BSON_APPEND_ARRAY(&result, kept[i], &list);
        }
    }
    bson_append_document_end(set, &result);
}

static int end_at_rung(struct hub *hub, const bson_t *task, const char *state, const char *reason, bson_error_t *error)
{
    static const char *const gone[] = {"request", "error", "checkpoint"};
    bson_t filter, whole, update = BSON_INITIALIZER, part;
    park_filter(task, state, &filter);
    int result = store_find_one(hub_store(hub), TASKS, &filter, NULL, &whole, error);
    if (result > 0) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
        BSON_APPEND_UTF8(&part, "state", "stopped");
        append_result(&whole, reason, &part);
        BSON_APPEND_BOOL(&part, "published", true);
        BSON_APPEND_BOOL(&part, "rungs.waits", false);
        bson_append_document_end(&update, &part);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
        for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
            BSON_APPEND_UTF8(&part, gone[i], "");
        }
        bson_append_document_end(&update, &part);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
        BSON_APPEND_BOOL(&part, "finished_at", true);
        bson_append_document_end(&update, &part);
        TL_FAULT("end_parked.before");
        result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
        TL_FAULT("end_parked.after");
    }
    bson_destroy(&update);
    bson_destroy(&whole);
    bson_destroy(&filter);
    return result;
}

int task_end_parked(struct hub *hub, const bson_t *task, const char *reason, bson_error_t *error)
{
    return end_at_rung(hub, task, "parked", reason, error);
}

static int64_t stop_at_rung(struct hub *hub, const bson_t *filter, const char *state, const char *reason, bson_error_t *error)
{
    bson_t parked = BSON_INITIALIZER, projection = BSON_INITIALIZER, whole;
    static const char *const paths[] = {"project", "lane", "claim.id", "rungs.count"};
    const bson_t *task;
    int64_t ended = 0;
    int next = -1, result = 0;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    BSON_APPEND_UTF8(&parked, "state", state);
    if (strcmp(state, "paused") == 0) {
        BSON_APPEND_BOOL(&parked, "rungs.waits", true);
    }
    hub_filter(hub, filter, &parked, &whole);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &whole, &options, error);
    while (cursor != NULL && result >= 0 && (next = store_cursor_next(cursor, &task, error)) > 0) {
        result = end_at_rung(hub, task, state, reason, error);
        ended += result > 0;
    }
    store_cursor_close(cursor);
    bson_destroy(&whole);
    bson_destroy(&projection);
    bson_destroy(&parked);
    return cursor == NULL || next < 0 || result < 0 ? -1 : ended;
}

int64_t task_stop_parked(struct hub *hub, const bson_t *filter, const char *reason, bson_error_t *error)
{
    int64_t paused = stop_at_rung(hub, filter, "paused", reason, error);
    int64_t parked = paused < 0 ? -1 : stop_at_rung(hub, filter, "parked", reason, error);
    return parked < 0 ? -1 : paused + parked;
}
