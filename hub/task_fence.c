/* SPDX-License-Identifier: Apache-2.0 */
/* The fence: every write of whoever holds a claim carries _id, project, lane, state "running" and claim.id. */
#include "hub/query.h"
#include "hub/task_impl.h"
#include "hub/utf8.h"

#include <stdio.h>
#include <string.h>

bool task_id_text(const bson_iter_t *id, char out[128])
{
    out[0] = '\0';
    if (BSON_ITER_HOLDS_OID(id)) {
        bson_oid_to_string(bson_iter_oid(id), out);
        return true;
    }
    if (BSON_ITER_HOLDS_UTF8(id)) {
        uint32_t length;
        const char *text = bson_iter_utf8(id, &length);
        if (length > 0 && length < 128 && strlen(text) == length) {
            memcpy(out, text, length + 1);
            return true;
        }
    }
    return false;
}

/* Whether a filter can name the value: a foreign one may be of a type that the language does not have. */
static bool can_be_named(const bson_iter_t *value)
{
    bson_t document = BSON_INITIALIZER;
    bson_error_t unused;
    bson_append_iter(&document, "value", -1, value);
    bool can = query_check_document(&document, "value", &unused) == 0;
    bson_destroy(&document);
    return can;
}

bool task_is_nameable(const bson_t *task)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, task, "_id") && can_be_named(&iter);
}

bool task_document_id(const bson_t *task, char out[128])
{
    bson_iter_t iter;
    out[0] = '\0';
    return bson_iter_init_find(&iter, task, "_id") && can_be_named(&iter) && task_id_text(&iter, out);
}

void task_append_id(bson_t *filter, const char *key, const char *text)
{
    bson_t in, list;
    bson_oid_t oid;
    if (strlen(text) != 24 || !bson_oid_is_valid(text, 24)) {
        BSON_APPEND_UTF8(filter, key, text);
        return;
    }
    bson_oid_init_from_string(&oid, text);
    BSON_APPEND_DOCUMENT_BEGIN(filter, key, &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    BSON_APPEND_UTF8(&list, "0", text);
    BSON_APPEND_OID(&list, "1", &oid);
    bson_append_array_end(&in, &list);
    bson_append_document_end(filter, &in);
}

void task_append_same(bson_t *filter, const char *key, const bson_iter_t *value)
{
    bson_t condition, none;
    BSON_APPEND_DOCUMENT_BEGIN(filter, key, &condition);
    if (value != NULL && can_be_named(value)) {
        bson_append_iter(&condition, "$eq", -1, value);
    } else if (value != NULL && strcmp(key, "_id") != 0) {
        BSON_APPEND_BOOL(&condition, "$exists", true);
    } else if (value != NULL) { /* nothing else says which document it is: none, rather than another one */
        BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &none);
        bson_append_array_end(&condition, &none);
    } else {
        BSON_APPEND_BOOL(&condition, "$exists", false);
    }
    bson_append_document_end(filter, &condition);
}

void task_append_key(bson_t *filter, const bson_t *task)
{
    static const char *const keys[] = {"_id", "project", "lane"};
    for (size_t i = 0; i < 3; i++) {
        bson_iter_t iter;
        task_append_same(filter, keys[i], bson_iter_init_find(&iter, task, keys[i]) ? &iter : NULL);
    }
}

void task_fence_filter(const struct task_fence *fence, bson_t *filter)
{
    bson_init(filter);
    task_append_id(filter, "_id", fence->task_id);
    BSON_APPEND_UTF8(filter, "project", fence->project);
    BSON_APPEND_INT32(filter, "lane", fence->lane);
    BSON_APPEND_UTF8(filter, "state", "running");
    BSON_APPEND_UTF8(filter, "claim.id", fence->claim_id);
}

int task_read(struct hub *hub, const struct task_fence *fence, bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    task_append_id(&filter, "_id", fence->task_id);
    BSON_APPEND_UTF8(&filter, "project", fence->project);
    BSON_APPEND_INT32(&filter, "lane", fence->lane);
    int result = store_find_one(hub_store(hub), TASKS, &filter, NULL, task, error);
    bson_destroy(&filter);
    return result;
}

enum task_held task_held(const bson_t *task, const struct task_fence *fence)
{
    const char *claim = hub_text(task, "claim.id"), *state = hub_text(task, "state");
    if (claim == NULL || strcmp(claim, fence->claim_id) != 0) {
        return TASK_LOST;
    }
    return state != NULL && strcmp(state, "running") == 0 ? TASK_HELD : TASK_ENDED;
}

enum task_request task_request_of(const bson_t *task)
{
    const char *kind = hub_text(task, "request.kind");
    if (kind == NULL) {
        return TASK_REQUEST_NONE;
    }
    return strcmp(kind, "cancel") == 0  ? TASK_REQUEST_CANCEL
           : strcmp(kind, "stop") == 0  ? TASK_REQUEST_STOP
           : strcmp(kind, "pause") == 0 ? TASK_REQUEST_PAUSE
                                        : TASK_REQUEST_NONE;
}

const char *task_requested_state(const bson_t *task)
{
    switch (task_request_of(task)) {
    case TASK_REQUEST_CANCEL:
    case TASK_REQUEST_STOP: /* given back without results, there is nothing to keep */
        return "cancelled";
    case TASK_REQUEST_PAUSE: return "paused";
    default: return NULL;
    }
}

int64_t task_backoff_ms(int64_t n)
{
    int64_t delay = 1000;
    char random[HUB_ID_SIZE], digits[5] = {0};
    for (int64_t i = 1; i < n && delay < 600000; i++) {
        delay *= 4;
    }
    delay = delay < 600000 ? delay : 600000;
    hub_random_id(random);
    memcpy(digits, random, 4);
    /* Between three and five quarters, so that tasks that fell together do not come back together. */
    return delay * 3 / 4 + delay * (int64_t)bson_ascii_strtoll(digits, NULL, 16) / (2 * 65536);
}

/* The last bytes of a long text say most: what a program printed before it died. */
static void append_cut(bson_t *document, const char *key, const char *text, size_t most, bool keep_end)
{
    size_t length = strlen(text), start = 0;
    if (length > most) {
        start = keep_end ? length - most : 0;
        length = most;
    }
    char *copy = bson_strndup(text + start, length);
    utf8_clean(copy, length);
    bson_append_utf8(document, key, -1, copy, (int)length);
    bson_free(copy);
}

void task_append_error(bson_t *set, const char *message, const char *output)
{
    bson_t document;
    BSON_APPEND_DOCUMENT_BEGIN(set, "error", &document);
    append_cut(&document, "message", message, TASK_MAX_TEXT, false);
    if (output != NULL && output[0] != '\0') {
        append_cut(&document, "output", output, TASK_MAX_TEXT, true);
    }
    bson_append_document_end(set, &document);
}

void task_append_history(bson_t *update, const char *claim, const char *message, const char *output, int64_t now)
{
    bson_t push, errors, each, entry;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$push", &push);
    BSON_APPEND_DOCUMENT_BEGIN(&push, "errors", &errors);
    BSON_APPEND_ARRAY_BEGIN(&errors, "$each", &each);
    BSON_APPEND_DOCUMENT_BEGIN(&each, "0", &entry);
    if (claim != NULL) {
        BSON_APPEND_UTF8(&entry, "claim", claim);
    }
    append_cut(&entry, "message", message, TASK_KEPT_TEXT, false);
    if (output != NULL && output[0] != '\0') {
        append_cut(&entry, "output", output, 2 * TASK_KEPT_TEXT, true);
    }
    if (now != 0) {
        BSON_APPEND_DATE_TIME(&entry, "at", now);
    }
    bson_append_document_end(&each, &entry);
    bson_append_array_end(&errors, &each);
    BSON_APPEND_INT32(&errors, "$slice", -TASK_KEPT_ERRORS);
    bson_append_document_end(&push, &errors);
    bson_append_document_end(update, &push);
}

void task_end_update(bson_t *update, const char *state, const char *message, const char *output)
{
    bson_t set, stamp;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", state);
    if (message != NULL) {
        task_append_error(&set, message, output);
    }
    bson_append_document_end(update, &set);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$currentDate", &stamp);
    BSON_APPEND_BOOL(&stamp, "finished_at", true);
    bson_append_document_end(update, &stamp);
}

int task_set_aside(struct hub *hub, const bson_t *task, const char *message, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update;
    bson_iter_t iter;
    task_append_key(&filter, task);
    task_append_same(&filter, "state", bson_iter_init_find(&iter, task, "state") ? &iter : NULL);
    task_end_update(&update, "failed", message, NULL);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

bool task_fill_fence(const bson_t *task, const char *claim_id, struct task_fence *fence)
{
    const char *project = hub_text(task, "project");
    memset(fence, 0, sizeof *fence);
    if (!task_document_id(task, fence->task_id) || project == NULL || strlen(project) >= sizeof fence->project) {
        return false;
    }
    memcpy(fence->project, project, strlen(project) + 1);
    fence->lane = (int32_t)hub_number(task, "lane", 0);
    snprintf(fence->claim_id, sizeof fence->claim_id, "%s", claim_id);
    return true;
}

int task_find_held(struct hub *hub, const char *runner, const char *worker, struct task_fence *fences, size_t size,
                   bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *task;
    size_t found = 0;
    int more = -1;
    BSON_APPEND_UTF8(&filter, "state", "running");
    BSON_APPEND_UTF8(&filter, "claim.runner", runner);
    BSON_APPEND_UTF8(&filter, "claim.worker", worker);
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, NULL, error);
    while (cursor != NULL && found < size && (more = store_cursor_next(cursor, &task, error)) > 0) {
        const char *claim_id = hub_text(task, "claim.id");
        if (claim_id != NULL && strlen(claim_id) < HUB_ID_SIZE && task_fill_fence(task, claim_id, &fences[found])) {
            found++;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    return more < 0 ? -1 : (int)found;
}
