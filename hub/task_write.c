/* SPDX-License-Identifier: Apache-2.0 */
/* The fenced writes, all but the finish. Each is one findAndModify; where it matches nothing or its outcome is
 * unknown, the task is read again and says what is true. */
#include "hub/task_impl.h"
#include "hub/fault.h"

#include <string.h>

int task_fenced(struct hub *hub, const struct task_fence *fence, const bson_t *extra, const bson_t *update, bool again,
                bson_t *task, bson_error_t *error)
{
    bson_t filter;
    bson_error_t inner = {0};
    struct store_modify_options options = {.return_new = true};
    int result = -1;
    task_fence_filter(fence, &filter);
    if (extra != NULL) {
        bson_concat(&filter, extra);
    }
    for (int i = 0; i < TASK_WRITE_TRIES; i++) {
        result = store_modify(hub_store(hub), TASKS, &filter, update, &options, task, &inner);
        if (result > 0 || (result < 0 && !hub_unknown(&inner))) {
            break;
        }
        bool unknown = result < 0;
        bson_error_t lost = inner;
        bson_destroy(task);
        if (task_read(hub, fence, task, &inner) < 0) {
            result = -1;
            break;
        }
        result = 0;
        if (!unknown || task_held(task, fence) != TASK_HELD) {
            break;
        }
        if (!again || i + 1 == TASK_WRITE_TRIES) { /* held, and nobody knows what became of the write: no loss */
            inner = lost;
            result = -1;
            break;
        }
        bson_destroy(task);
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&filter);
    return result;
}

int task_started(struct hub *hub, const struct task_fence *fence, bson_error_t *error)
{
    bson_t update = BSON_INITIALIZER, part, task;
    TL_TRY("started", fence);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_BOOL(&part, "started", true);
    BSON_APPEND_INT32(&part, "lost", 0);
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "started_at", true);
    BSON_APPEND_BOOL(&part, "beat_at", true);
    bson_append_document_end(&update, &part);
    int result = task_fenced(hub, fence, NULL, &update, true, &task, error);
    TL_DID("started", fence, result);
    bson_destroy(&task);
    bson_destroy(&update);
    return result;
}

int task_beat(struct hub *hub, const struct task_fence *fence, const bson_t *progress, enum task_request *request,
              bson_error_t *error)
{
    bson_t update = BSON_INITIALIZER, part, task;
    *request = TASK_REQUEST_NONE;
    TL_TRY("beat", fence);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT32(&part, "claim.beat", 1);
    bson_append_document_end(&update, &part);
    if (progress != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
        BSON_APPEND_DOCUMENT(&part, "progress", progress);
        bson_append_document_end(&update, &part);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "beat_at", true);
    bson_append_document_end(&update, &part);
    /* Two beats for one are as good as one. */
    int result = task_fenced(hub, fence, NULL, &update, true, &task, error);
    TL_DID("beat", fence, result);
    if (result > 0) {
        *request = task_request_of(&task);
    }
    bson_destroy(&task);
    bson_destroy(&update);
    return result;
}

int task_end_with(struct hub *hub, const struct task_fence *fence, const bson_t *extra, const bson_t *update,
                  const char *state, bson_t *task, bson_error_t *error)
{
    int result = task_fenced(hub, fence, extra, update, true, task, error);
    if (result == 0 && task_held(task, fence) == TASK_ENDED) {
        const char *now = hub_text(task, "state");
        result = now != NULL && strcmp(now, state) == 0;
    }
    return result;
}

/* The request that came while the task was held decides, not what its runner meant to do. */
static int obey(struct hub *hub, const struct task_fence *fence, const bson_t *task, const char *state, bson_error_t *error)
{
    bson_t update, after;
    const char *reason = hub_text(task, "request.reason");
    task_end_update(&update, state, reason != NULL ? reason : "at the user's request", NULL);
    int result = task_end_with(hub, fence, NULL, &update, state, &after, error);
    bson_destroy(&after);
    bson_destroy(&update);
    return result;
}

int task_give_back(struct hub *hub, const struct task_fence *fence, const bson_t *update, const char *state,
                   bson_error_t *error)
{
    bson_t no_request = BSON_INITIALIZER, task;
    BSON_APPEND_NULL(&no_request, "request");
    int result = task_end_with(hub, fence, &no_request, update, state, &task, error);
    if (result == 0 && task_held(&task, fence) == TASK_HELD) {
        const char *requested = task_requested_state(&task);
        /* A request of no known kind is none. */
        if (requested != NULL) {
            result = obey(hub, fence, &task, requested, error);
        } else {
            bson_destroy(&task);
            result = task_end_with(hub, fence, NULL, update, state, &task, error);
        }
    }
    bson_destroy(&task);
    bson_destroy(&no_request);
    return result;
}

int task_release(struct hub *hub, const struct task_fence *fence, bson_error_t *error)
{
    bson_t update = BSON_INITIALIZER, part;
    TL_TRY("release", fence);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", "ready");
    BSON_APPEND_BOOL(&part, "started", false);
    bson_append_document_end(&update, &part);
    int result = task_give_back(hub, fence, &update, "ready", error);
    TL_DID("release", fence, result);
    bson_destroy(&update);
    return result;
}

int task_crash(struct hub *hub, const struct task_fence *fence, const char *message, const char *output,
               bson_error_t *error)
{
    bson_t update, part, task;
    int64_t now;
    TL_TRY("crash", fence);
    int result = task_read(hub, fence, &task, error);
    if (result < 0 || hub_now(hub, &now, error) < 0) {
        bson_destroy(&task);
        return -1;
    }
    if (result == 0 || task_held(&task, fence) != TASK_HELD) {
        /* A second call finds what the first one did. */
        const char *state = hub_text(&task, "state");
        result = result > 0 && task_held(&task, fence) == TASK_ENDED && state != NULL &&
                 (strcmp(state, "delayed") == 0 || strcmp(state, "dead") == 0);
        bson_destroy(&task);
        return result;
    }
    bson_iter_t started;
    bool counts = bson_iter_init_find(&started, &task, "started") && bson_iter_as_bool(&started);
    int64_t crashes = hub_number(&task, "crashes", 0) + counts;
    bool dead = counts && crashes >= hub_number(&task, "max_crashes", TASK_MAX_CRASHES);
    bson_destroy(&task);
    message = message != NULL ? message : "its process died";
    if (dead) {
        task_end_update(&update, "dead", message, output);
        /* $set comes first in it; the count goes beside. */
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &part);
        BSON_APPEND_INT64(&part, "crashes", crashes);
        bson_append_document_end(&update, &part);
    } else {
        bson_init(&update);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
        BSON_APPEND_UTF8(&part, "state", "delayed");
        BSON_APPEND_INT64(&part, "crashes", crashes);
        BSON_APPEND_DATE_TIME(&part, "not_before", now + task_backoff_ms(crashes));
        task_append_error(&part, message, output);
        bson_append_document_end(&update, &part);
    }
    task_append_history(&update, fence->claim_id, message, output, now);
    TL_FAULT("crash.write");
    result = task_give_back(hub, fence, &update, dead ? "dead" : "delayed", error);
    TL_DID("crash", fence, result);
    bson_destroy(&update);
    return result;
}

static int end_task(struct hub *hub, const struct task_fence *fence, const char *state, const char *message,
                    const char *output, bool keep, bson_error_t *error)
{
    bson_t update, task;
    TL_TRY(state, fence);
    task_end_update(&update, state, message, output);
    if (keep) {
        task_append_history(&update, fence->claim_id, message, output, 0);
    }
    int result = task_end_with(hub, fence, NULL, &update, state, &task, error);
    TL_DID(state, fence, result);
    bson_destroy(&task);
    bson_destroy(&update);
    return result;
}

int task_fail(struct hub *hub, const struct task_fence *fence, const char *message, const char *output,
              bson_error_t *error)
{
    return end_task(hub, fence, "failed", message != NULL ? message : "it failed without saying why", output, true, error);
}

int task_end(struct hub *hub, const struct task_fence *fence, const char *state, const char *reason,
             bson_error_t *error)
{
    if (strcmp(state, "cancelled") != 0 && strcmp(state, "paused") != 0) {
        return hub_error(error, HUB_ERROR_INVALID, "a task ends without results as \"cancelled\" or \"paused\", not \"%s\"",
                         state);
    }
    if (reason != NULL || strcmp(state, "cancelled") != 0) {
        return end_task(hub, fence, state, reason, NULL, false, error);
    }
    /* The runner heard what is wanted, and not why. */
    bson_t task;
    int result = task_read(hub, fence, &task, error);
    if (result >= 0) {
        const char *why = result > 0 ? hub_text(&task, "request.reason") : NULL;
        result = end_task(hub, fence, state, why != NULL ? why : "at the user's request", NULL, false, error);
    }
    bson_destroy(&task);
    return result;
}
