/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and deleting logs. Logs cannot be fenced: what a reader sees is only of claims that the task names. */
#include "hub/hub_impl.h"
#include "hub/logs.h"
#include "hub/task_impl.h"

#include <string.h>

#define LOGS "logs"
#define TASKS_AT_ONCE 500

/* Whether the task names the claim that wrote the bucket; a bucket without a claim is the user's own. */
static bool is_shown(const bson_t *bucket, const bson_t *task)
{
    static const char *const paths[] = {"claim.id", "result.claim_id", "checkpoint.claim_id"};
    const char *claim = hub_text(bucket, "claim"), *named;
    bson_t list;
    bson_iter_t iter;
    if (claim == NULL) {
        return !bson_has_field(bucket, "claim");
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        named = hub_text(task, paths[i]);
        if (named != NULL && strcmp(named, claim) == 0) {
            return true;
        }
    }
    if (hub_view(task, "checkpoint.log_claims", &list) && bson_iter_init(&iter, &list)) {
        while (bson_iter_next(&iter)) {
            if (BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), claim) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Buckets that match, in order of split, claim and number; task NULL: those of no task. 1 to go on, 0 visit said stop, -1. */
static int read_buckets(struct hub *hub, const bson_t *task, const bson_t *filter,
                        int (*visit)(const bson_t *bucket, void *data), void *data, bson_error_t *error)
{
    bson_t whole, extra = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    const bson_t *bucket;
    char id[128] = "";
    int result = 1;
    if (task != NULL && task_document_id(task, id)) {
        BSON_APPEND_UTF8(&extra, "task", id);
        BSON_APPEND_INT32(&sort, "split", 1);
    } else {
        BSON_APPEND_NULL(&extra, "task");
        BSON_APPEND_INT32(&sort, "name", 1);
    }
    /* A run that went on from a checkpoint: the claims one after the other, each with its buckets in order. */
    BSON_APPEND_INT32(&sort, "created_at", 1);
    BSON_APPEND_INT32(&sort, "number", 1);
    hub_filter(hub, filter, &extra, &whole);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = store_find(hub_store(hub), LOGS, &whole, &options, error);
    result = cursor == NULL ? -1 : 1;
    while (result > 0 && (result = store_cursor_next(cursor, &bucket, error)) == 1) {
        if ((task == NULL || is_shown(bucket, task)) && visit(bucket, data) != 0) {
            result = -2;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&whole);
    bson_destroy(&extra);
    bson_destroy(&sort);
    return result == -2 ? 0 : result == 0 ? 1 : -1;
}

static struct store_cursor *find_tasks(struct hub *hub, const bson_t *task_filter, bson_error_t *error)
{
    static const char *const paths[] = {"claim.id", "result.claim_id", "checkpoint.claim_id", "checkpoint.log_claims",
                                        "seq"};
    bson_t sort = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&sort, "seq", 1);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    struct store_cursor *cursor = task_find(hub, task_filter, &options, error);
    bson_destroy(&projection);
    bson_destroy(&sort);
    return cursor;
}

int logs_read(struct hub *hub, const bson_t *task_filter, const bson_t *filter,
              int (*visit)(const bson_t *bucket, void *data), void *data, bson_error_t *error)
{
    const bson_t *task;
    int result = 1, next = 0;
    struct store_cursor *cursor = find_tasks(hub, task_filter, error);
    if (cursor == NULL) {
        return -1;
    }
    while (result > 0 && (next = store_cursor_next(cursor, &task, error)) == 1) {
        result = read_buckets(hub, task, filter, visit, data, error);
    }
    store_cursor_close(cursor);
    if (next < 0) {
        return -1;
    }
    if (result > 0 && (task_filter == NULL || bson_empty(task_filter))) {
        result = read_buckets(hub, NULL, filter, visit, data, error);
    }
    return result < 0 ? -1 : 1;
}

static int64_t delete_of(struct hub *hub, bson_t *ids, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "task", &in);
    BSON_APPEND_ARRAY(&in, "$in", ids);
    bson_append_document_end(&filter, &in);
    int64_t deleted = store_delete(hub_store(hub), LOGS, &filter, error);
    bson_destroy(&filter);
    return deleted;
}

int64_t logs_delete_buckets(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t whole;
    hub_filter(hub, filter, NULL, &whole);
    int64_t deleted = store_delete(hub_store(hub), LOGS, &whole, error);
    bson_destroy(&whole);
    return deleted;
}

int64_t logs_delete(struct hub *hub, const bson_t *task_filter, bson_error_t *error)
{
    const bson_t *task;
    int64_t deleted = 0;
    int next;
    uint32_t count = 0;
    if (task_filter == NULL || bson_empty(task_filter)) {
        return logs_delete_buckets(hub, NULL, error);
    }
    struct store_cursor *cursor = find_tasks(hub, task_filter, error);
    if (cursor == NULL) {
        return -1;
    }
    bson_t ids = BSON_INITIALIZER;
    do {
        char id[128], buffer[16];
        const char *key;
        next = store_cursor_next(cursor, &task, error);
        if (next == 1 && task_document_id(task, id)) {
            size_t digits = bson_uint32_to_string(count++, &key, buffer, sizeof buffer);
            bson_append_utf8(&ids, key, (int)digits, id, -1);
        }
        if (count == TASKS_AT_ONCE || (next == 0 && count > 0)) {
            int64_t part = delete_of(hub, &ids, error);
            deleted = part < 0 ? -1 : deleted + part;
            bson_reinit(&ids);
            count = 0;
        }
    } while (next == 1 && deleted >= 0);
    bson_destroy(&ids);
    store_cursor_close(cursor);
    return next < 0 ? -1 : deleted;
}
