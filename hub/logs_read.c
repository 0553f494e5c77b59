/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and deleting logs. Logs cannot be fenced: what a reader sees is only of claims that the task names. */
#include "hub/hub_impl.h"
#include "hub/logs.h"
#include "hub/task_impl.h"

#include <string.h>

#define LOGS "logs"
#define LOGS_BUCKET_POINTS 512 /* of buckets that do not say their `first` */
#define TASKS_AT_ONCE 500

/* How many points of the claim and split `where` ("checkpoint" or "result") counts: INT64_MAX where it names the claim
 * without a count, 0 where it does not name it. */
static int64_t counted_in(const bson_t *task, const char *where, const char *claim, const char *split)
{
    char path[64];
    bson_t claims, points, counts;
    bson_iter_t iter, count;
    snprintf(path, sizeof path, "%s.log_claims", where);
    if (!hub_view(task, path, &claims) || !bson_iter_init(&iter, &claims)) {
        return 0;
    }
    snprintf(path, sizeof path, "%s.log_points", where);
    bool has_points = hub_view(task, path, &points);
    while (bson_iter_next(&iter)) {
        if (!BSON_ITER_HOLDS_UTF8(&iter) || strcmp(bson_iter_utf8(&iter, NULL), claim) != 0) {
            continue;
        }
        if (!has_points || !hub_view(&points, bson_iter_key(&iter), &counts)) {
            return INT64_MAX;
        }
        return bson_iter_init_find(&count, &counts, split) ? bson_iter_as_int64(&count) : 0;
    }
    return 0;
}

/* How many of the first points of this claim and split may be seen; a bucket without a claim is the user's own. */
static int64_t shown_points(const bson_t *bucket, const bson_t *task)
{
    static const char *const paths[] = {"claim.id", "result.claim_id"}, *const wheres[] = {"checkpoint", "result"};
    const char *claim = hub_text(bucket, "claim"), *split = hub_text(bucket, "split"), *named;
    bson_t claims;
    int64_t most = 0;
    if (claim == NULL) {
        return bson_has_field(bucket, "claim") ? 0 : INT64_MAX;
    }
    for (size_t i = 0; i < 2; i++) {
        named = hub_text(task, paths[i]);
        if (named != NULL && strcmp(named, claim) == 0) {
            return INT64_MAX;
        }
        int64_t counted = counted_in(task, wheres[i], claim, split != NULL ? split : "");
        most = counted > most ? counted : most;
    }
    named = hub_text(task, "checkpoint.claim_id");
    return most == 0 && named != NULL && strcmp(named, claim) == 0 && !hub_view(task, "checkpoint.log_claims", &claims) ? INT64_MAX
                                                                                                       : most;
}

/* Only the bucket's first points, as a new document. */
static void cut_bucket(const bson_t *bucket, int64_t most, bson_t *out)
{
    bson_t points, kept = BSON_INITIALIZER;
    bson_iter_t iter;
    bson_init(out);
    if (hub_view(bucket, "points", &points) && bson_iter_init(&iter, &points)) {
        for (int64_t i = 0; i < most && bson_iter_next(&iter); i++) {
            bson_append_iter(&kept, NULL, 0, &iter);
        }
    }
    hub_copy_without(bucket, out, "points", NULL);
    BSON_APPEND_ARRAY(out, "points", &kept);
    bson_destroy(&kept);
}

/* Visits what of the bucket may be seen. 0 to go on. */
static int visit_shown(const bson_t *bucket, const bson_t *task, int (*visit)(const bson_t *bucket, void *data),
                       void *data)
{
    bson_t points, cut;
    int64_t most = task != NULL ? shown_points(bucket, task) : INT64_MAX;
    if (most == INT64_MAX) {
        return visit(bucket, data);
    }
    most -= hub_number(bucket, "first", hub_number(bucket, "number", 0) * LOGS_BUCKET_POINTS);
    if (most <= 0) {
        return 0;
    }
    if (!hub_view(bucket, "points", &points) || most >= bson_count_keys(&points)) {
        return visit(bucket, data);
    }
    cut_bucket(bucket, most, &cut);
    int result = visit(&cut, data);
    bson_destroy(&cut);
    return result;
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
        if (visit_shown(bucket, task, visit, data) != 0) {
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
    static const char *const paths[] = {"claim.id",
                                        "result.claim_id",
                                        "result.log_claims",
                                        "result.log_points",
                                        "checkpoint.claim_id",
                                        "checkpoint.log_claims",
                                        "checkpoint.log_points",
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
