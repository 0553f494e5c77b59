/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and deleting logs. Logs cannot be fenced: what a reader sees is only of claims that the task names. */
#include "hub/hub_impl.h"
#include "hub/logs.h"
#include "hub/model.h"
#include "hub/task_impl.h"

#include <string.h>

#define LOGS "logs"
#define LOGS_BUCKET_POINTS 512 /* of buckets that do not say their `first` */
#define TASKS_AT_ONCE 500

/* One task's logs being read. */
struct reading {
    struct hub *hub;
    const bson_t *task;
    int (*visit)(const bson_t *bucket, void *data);
    void *data;
    bson_t models; /* {"0": {_id, log_claims, log_points}, …}: of the task, read when a bucket asks for them */
    bool has_models;
};

/* How many points of the claim and split the document's log_claims and log_points under `where` ("checkpoint.", "result.",
 * or "" of a model) count: INT64_MAX where the claim is named without a count, 0 where it is not named. */
static int64_t counted_in(const bson_t *document, const char *where, const char *claim, const char *split)
{
    char path[64];
    bson_t claims, points, counts;
    bson_iter_t iter, count;
    snprintf(path, sizeof path, "%slog_claims", where);
    if (!hub_view(document, path, &claims) || !bson_iter_init(&iter, &claims)) {
        return 0;
    }
    snprintf(path, sizeof path, "%slog_points", where);
    bool has_points = hub_view(document, path, &points);
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

static int64_t counted_by_task(const bson_t *task, const char *claim, const char *split)
{
    static const char *const paths[] = {"claim.id", "result.claim_id"}, *const wheres[] = {"checkpoint.", "result."};
    const char *named;
    bson_t claims;
    int64_t most = 0;
    for (size_t i = 0; i < 2; i++) {
        named = hub_text(task, paths[i]);
        if (named != NULL && strcmp(named, claim) == 0) {
            return INT64_MAX;
        }
        int64_t counted = counted_in(task, wheres[i], claim, split);
        most = counted > most ? counted : most;
    }
    named = hub_text(task, "checkpoint.claim_id");
    return most == 0 && named != NULL && strcmp(named, claim) == 0 && !hub_view(task, "checkpoint.log_claims", &claims)
               ? INT64_MAX
               : most;
}

/* A task that was restarted names its newest claim only; those of its earlier runs are named by their models. */
static int read_models(struct reading *reading, bson_error_t *error)
{
    static const char *const paths[] = {"log_claims", "log_points"};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    const bson_t *model;
    char id[128];
    int more = 0;
    uint32_t count = 0;
    reading->has_models = true;
    if (task_document_id(reading->task, id)) {
        BSON_APPEND_UTF8(&filter, "task", id);
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
            BSON_APPEND_INT32(&projection, paths[i], 1);
        }
        struct store_find_options options = {.projection = &projection};
        struct store_cursor *cursor = model_find(reading->hub, &filter, &options, error);
        more = cursor == NULL ? -1 : 1;
        while (more > 0 && (more = store_cursor_next(cursor, &model, error)) == 1) {
            char buffer[16];
            const char *key;
            size_t digits = bson_uint32_to_string(count++, &key, buffer, sizeof buffer);
            bson_append_document(&reading->models, key, (int)digits, model);
        }
        store_cursor_close(cursor);
    }
    bson_destroy(&projection);
    bson_destroy(&filter);
    return more < 0 ? -1 : 1;
}

static int64_t counted_by_models(const struct reading *reading, const char *claim, const char *split)
{
    bson_iter_t iter;
    int64_t most = 0;
    if (!bson_iter_init(&iter, &reading->models)) {
        return 0;
    }
    while (bson_iter_next(&iter) && most < INT64_MAX) {
        bson_t model;
        if (!hub_item(&iter, &model)) {
            continue;
        }
        const char *id = hub_text(&model, "_id");
        int64_t counted =
            id != NULL && strcmp(id, claim) == 0 ? INT64_MAX : counted_in(&model, "", claim, split);
        most = counted > most ? counted : most;
    }
    return most;
}

/* *most: how many of the first points of this claim and split may be seen; a bucket without a claim is the user's own. */
static int shown_points(struct reading *reading, const bson_t *bucket, int64_t *most, bson_error_t *error)
{
    const char *claim = hub_text(bucket, "claim"), *split = hub_text(bucket, "split");
    bson_iter_t iter;
    bool own = !bson_iter_init_find(&iter, bucket, "claim") || BSON_ITER_HOLDS_NULL(&iter);
    *most = own ? INT64_MAX : 0;
    if (own || claim == NULL) {
        return 1;
    }
    *most = counted_by_task(reading->task, claim, split != NULL ? split : "");
    if (*most == 0) {
        if (!reading->has_models && read_models(reading, error) < 0) {
            return -1;
        }
        *most = counted_by_models(reading, claim, split != NULL ? split : "");
    }
    return 1;
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

/* Visits what of the bucket may be seen. 1 to go on, 0 visit said stop, -1. */
static int visit_shown(struct reading *reading, const bson_t *bucket, bson_error_t *error)
{
    bson_t points, cut;
    int64_t most;
    if (shown_points(reading, bucket, &most, error) < 0) {
        return -1;
    }
    if (most == INT64_MAX) {
        return reading->visit(bucket, reading->data) == 0;
    }
    most -= hub_number(bucket, "first", hub_number(bucket, "number", 0) * LOGS_BUCKET_POINTS);
    if (most <= 0) {
        return 1;
    }
    if (!hub_view(bucket, "points", &points) || most >= bson_count_keys(&points)) {
        return reading->visit(bucket, reading->data) == 0;
    }
    cut_bucket(bucket, most, &cut);
    int result = reading->visit(&cut, reading->data);
    bson_destroy(&cut);
    return result == 0;
}

/* Buckets of the task that match, in order of split, claim and number. 1 to go on, 0 visit said stop, -1. */
static int read_buckets(struct reading *reading, const bson_t *filter, bson_error_t *error)
{
    bson_t whole, extra = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    const bson_t *bucket;
    char id[128] = "";
    int result = 1, next = 1;
    bson_init(&reading->models);
    reading->has_models = false;
    if (task_document_id(reading->task, id)) {
        BSON_APPEND_UTF8(&extra, "task", id);
    } else {
        BSON_APPEND_NULL(&extra, "task");
    }
    BSON_APPEND_INT32(&sort, "split", 1);
    /* A run that went on from a checkpoint: the claims one after the other, each with its buckets in order. */
    BSON_APPEND_INT32(&sort, "created_at", 1);
    BSON_APPEND_INT32(&sort, "number", 1);
    hub_filter(reading->hub, filter, &extra, &whole);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = store_find(hub_store(reading->hub), LOGS, &whole, &options, error);
    next = cursor == NULL ? -1 : 1;
    while (result > 0 && next > 0 && (next = store_cursor_next(cursor, &bucket, error)) == 1) {
        result = visit_shown(reading, bucket, error);
    }
    store_cursor_close(cursor);
    bson_destroy(&reading->models);
    bson_destroy(&whole);
    bson_destroy(&extra);
    bson_destroy(&sort);
    return next < 0 ? -1 : result;
}

/* Whether the tasks' filter has shown the bucket already, with its task. 1, 0 or -1. */
static int is_of_matching_task(struct hub *hub, const bson_t *task_filter, const bson_t *bucket, bson_error_t *error)
{
    bson_t whole, list, one = BSON_INITIALIZER;
    const char *task = hub_text(bucket, "task");
    if (task == NULL) {
        bson_destroy(&one);
        return 0;
    }
    task_append_id(&one, "_id", task);
    bson_init(&whole);
    BSON_APPEND_ARRAY_BEGIN(&whole, "$and", &list);
    BSON_APPEND_DOCUMENT(&list, "0", &one);
    if (task_filter != NULL && !bson_empty(task_filter)) {
        BSON_APPEND_DOCUMENT(&list, "1", task_filter);
    }
    bson_append_array_end(&whole, &list);
    struct store_find_options options = {.limit = 1};
    struct store_cursor *cursor = task_find(hub, &whole, &options, error);
    const bson_t *found;
    int result = cursor == NULL ? -1 : store_cursor_next(cursor, &found, error);
    store_cursor_close(cursor);
    bson_destroy(&whole);
    bson_destroy(&one);
    return result;
}

/* The filter of logs of the user's own, those that match by what they say themselves. */
static void saved_filter(const struct hub *hub, const bson_t *filter, bson_t *whole)
{
    bson_t own = BSON_INITIALIZER;
    BSON_APPEND_NULL(&own, "claim");
    hub_filter(hub, filter, &own, whole);
    bson_destroy(&own);
}

struct store_cursor *logs_find_saved(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                     bson_error_t *error)
{
    bson_t whole;
    saved_filter(hub, filter, &whole);
    struct store_cursor *cursor = store_find(hub_store(hub), LOGS, &whole, options, error);
    bson_destroy(&whole);
    return cursor;
}

int64_t logs_delete_saved(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t whole;
    saved_filter(hub, filter, &whole);
    int64_t deleted = store_delete(hub_store(hub), LOGS, &whole, error);
    bson_destroy(&whole);
    return deleted;
}

/* The user's own logs in order of name, but for those that their task has shown. 1 to go on, 0 visit said stop, -1. */
static int read_saved(struct reading *reading, const bson_t *task_filter, const bson_t *filter, bson_error_t *error)
{
    bson_t both = BSON_INITIALIZER, list, sort = BSON_INITIALIZER;
    const bson_t *bucket, *const filters[] = {task_filter, filter};
    const char *const keys[] = {"0", "1"};
    uint32_t count = 0;
    int result = 1, next = 1;
    BSON_APPEND_ARRAY_BEGIN(&both, "$and", &list);
    for (size_t i = 0; i < 2; i++) {
        if (filters[i] != NULL && !bson_empty(filters[i])) {
            BSON_APPEND_DOCUMENT(&list, keys[count], filters[i]);
            count++;
        }
    }
    bson_append_array_end(&both, &list);
    BSON_APPEND_INT32(&sort, "name", 1);
    BSON_APPEND_INT32(&sort, "created_at", 1);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = logs_find_saved(reading->hub, count > 0 ? &both : NULL, &options, error);
    next = cursor == NULL ? -1 : 1;
    while (result > 0 && next > 0 && (next = store_cursor_next(cursor, &bucket, error)) == 1) {
        int shown = is_of_matching_task(reading->hub, task_filter, bucket, error);
        result = shown < 0 ? -1 : shown > 0 ? 1 : reading->visit(bucket, reading->data) == 0;
    }
    store_cursor_close(cursor);
    bson_destroy(&both);
    bson_destroy(&sort);
    return next < 0 ? -1 : result;
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
    struct reading reading = {.hub = hub, .visit = visit, .data = data};
    int result = 1, next = 0;
    struct store_cursor *cursor = find_tasks(hub, task_filter, error);
    if (cursor == NULL) {
        return -1;
    }
    while (result > 0 && (next = store_cursor_next(cursor, &reading.task, error)) == 1) {
        result = read_buckets(&reading, filter, error);
    }
    store_cursor_close(cursor);
    if (next < 0) {
        return -1;
    }
    if (result > 0) {
        result = read_saved(&reading, task_filter, filter, error);
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
