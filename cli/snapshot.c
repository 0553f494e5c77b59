/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/snapshot.h"
#include "cli/output.h"
#include "hub/runner_record.h"
#include "hub/task.h"
#include "hub/task_class.h"

#include <stdio.h>
#include <string.h>

#define MINUTE        60000LL
#define HOUR          (60 * MINUTE)
#define SHORT_WHILE   (10 * MINUTE)
#define LEAST_SPAN    5000LL
#define RUNNING_MOST  200
#define FAILURES_MOST 5
#define LABELS_MOST   64

static const char *const states[] = {"waiting", "delayed", "ready",     "running", "paused", "parked",
                                     "done",    "failed",  "dead",      "cancelled", "stopped"};
#define STATES (sizeof states / sizeof *states)

/* ---- counts ---- */

struct counts {
    int64_t of[STATES];
    bson_t groups; /* by queue, class and state */
};

static int64_t state_of(const char *state)
{
    for (size_t i = 0; i < STATES; i++) {
        if (state != NULL && strcmp(state, states[i]) == 0) {
            return (int64_t)i;
        }
    }
    return -1;
}

static int64_t count_of(const struct counts *counts, const char *state)
{
    return counts->of[state_of(state)];
}

static int take_counts(struct hub *hub, struct counts *counts, bson_t *out, bson_error_t *error)
{
    static const char *const paths[] = {"queue", "resource_class", "state"};
    bson_t filter = BSON_INITIALIZER, tasks;
    bson_iter_t iter;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    int result = store_count_by(hub_store(hub), "tasks", &filter, paths, 3, &counts->groups, error);
    bson_destroy(&filter);
    bool more = result >= 0 && bson_iter_init(&iter, &counts->groups);
    while (more && bson_iter_next(&iter)) {
        bson_t group;
        int64_t state = output_document(&iter, &group) ? state_of(output_text(&group, "values.2")) : -1;
        if (state >= 0) {
            counts->of[state] += output_integer(&group, "count", 0);
        }
    }
    BSON_APPEND_DOCUMENT_BEGIN(out, "tasks", &tasks);
    for (size_t i = 0; i < STATES && result >= 0; i++) {
        BSON_APPEND_INT64(&tasks, states[i], counts->of[i]);
    }
    bson_append_document_end(out, &tasks);
    return result;
}

/* ---- rates ---- */

/* Those whose stamp lies within the window before now. published, of tasks: what has an index with its time. */
static void since_filter(struct hub *hub, const char *stamp, int64_t since, bool published, bson_t *filter)
{
    bson_t after;
    bson_init(filter);
    BSON_APPEND_UTF8(filter, "project", hub_project(hub));
    if (published) {
        BSON_APPEND_BOOL(filter, "published", true);
    }
    BSON_APPEND_DOCUMENT_BEGIN(filter, stamp, &after);
    BSON_APPEND_DATE_TIME(&after, "$gt", since);
    bson_append_document_end(filter, &after);
}

static int64_t count_since(struct hub *hub, const char *collection, const char *stamp, int64_t since, bool published,
                           bson_error_t *error)
{
    bson_t filter;
    since_filter(hub, stamp, since, published, &filter);
    int64_t count = store_count(hub_store(hub), collection, &filter, error);
    bson_destroy(&filter);
    return count;
}

/* When the first of them ended, so that a runner that has just begun is not taken for a slow one. 0, or -1. */
static int first_since(struct hub *hub, int64_t *since, bson_error_t *error)
{
    bson_t filter, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER, task;
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    bson_iter_t at;
    since_filter(hub, "finished_at", *since, true, &filter);
    BSON_APPEND_INT32(&sort, "finished_at", 1);
    BSON_APPEND_INT32(&projection, "finished_at", 1);
    int result = store_find_one(hub_store(hub), "tasks", &filter, &options, &task, error);
    if (result > 0 && output_find(&task, "finished_at", &at) && BSON_ITER_HOLDS_DATE_TIME(&at)) {
        *since = bson_iter_date_time(&at);
    }
    bson_destroy(&task);
    bson_destroy(&projection);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result < 0 ? -1 : 0;
}

static int take_rates(struct hub *hub, int64_t now, bson_t *out, bson_error_t *error)
{
    int64_t hour = count_since(hub, "tasks", "finished_at", now - HOUR, true, error);
    int64_t recent = hour > 0 ? count_since(hub, "tasks", "finished_at", now - SHORT_WHILE, true, error) : hour;
    int64_t window = recent > 0 ? SHORT_WHILE : HOUR, count = recent > 0 ? recent : hour, since = now - window;
    int64_t models = recent < 0 ? -1 : hour > 0 ? count_since(hub, "models", "created_at", since, false, error) : 0;
    if (models < 0 || (count > 1 && first_since(hub, &since, error) < 0)) {
        return -1;
    }
    double span = now - since > LEAST_SPAN ? (double)(now - since) : (double)LEAST_SPAN;
    BSON_APPEND_INT64(out, "done_last_hour", hour);
    BSON_APPEND_DOUBLE(out, "tasks_per_hour", (double)count * (double)HOUR / span);
    BSON_APPEND_DOUBLE(out, "models_per_hour", (double)models * (double)HOUR / span);
    return 0;
}

/* Without the tasks that nobody takes. */
static void append_left(const struct counts *counts, int64_t unserved, bson_t *out)
{
    double rate = output_number(out, "tasks_per_hour");
    int64_t left = count_of(counts, "ready") + count_of(counts, "delayed") + count_of(counts, "waiting") +
                   count_of(counts, "running") - unserved;
    if (rate > 0 && left > 0) {
        BSON_APPEND_DOUBLE(out, "seconds_left", (double)left / rate * 3600);
    }
}

/* ---- runners ---- */

/* What a runner's record says of a list: whether it has the text. A record of before there was the list has it. */
static bool list_has(const bson_t *runner, const char *path, const char *text, bool missing)
{
    bson_iter_t at, iter;
    if (!output_find(runner, path, &at) || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &iter)) {
        return missing;
    }
    while (bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), text) == 0) {
            return true;
        }
    }
    return false;
}

static bool serves(const bson_t *runner, const char *queue, const char *class)
{
    const char *labels[LABELS_MOST + 1] = {NULL};
    char base[TASK_CLASS_SIZE];
    bson_iter_t at, iter;
    snprintf(base, sizeof base, "%.*s", (int)strcspn(class, "+"), class);
    if (output_find(runner, "labels", &at) && BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &iter)) {
        for (size_t i = 0; i < LABELS_MOST && bson_iter_next(&iter); i++) {
            labels[i] = BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
        }
    }
    return list_has(runner, "queues", queue, true) && list_has(runner, "resource_classes", base, true) &&
           task_class_fits(class, base, labels, output_integer(runner, "task_memory_bytes", 0));
}

static void append_runner(bson_t *list, uint32_t index, const bson_t *runner, int64_t now)
{
    bson_t one;
    bson_iter_t beat;
    char digits[16];
    const char *key;
    int64_t silent = output_find(runner, "beat_at", &beat) && BSON_ITER_HOLDS_DATE_TIME(&beat)
                         ? now - bson_iter_date_time(&beat)
                         : 0;
    bson_uint32_to_string(index, &key, digits, sizeof digits);
    BSON_APPEND_DOCUMENT_BEGIN(list, key, &one);
    bson_concat(&one, runner);
    BSON_APPEND_BOOL(&one, "silent", silent > RUNNER_RECORD_SILENT_MS);
    BSON_APPEND_INT64(&one, "silent_seconds", silent > 0 ? silent / 1000 : 0);
    bson_append_document_end(list, &one);
}

static int take_runners(struct hub *hub, int64_t now, bson_t *out, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in, choice, list;
    const bson_t *runner;
    uint32_t index = 0;
    int more = -1;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "state", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &choice);
    BSON_APPEND_UTF8(&choice, "0", "running");
    BSON_APPEND_UTF8(&choice, "1", "draining");
    bson_append_array_end(&in, &choice);
    bson_append_document_end(&filter, &in);
    BSON_APPEND_ARRAY_BEGIN(out, "runners", &list);
    struct store_cursor *cursor = runner_record_find(hub, &filter, error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &runner, error)) > 0) {
        append_runner(&list, index++, runner, now);
    }
    store_cursor_close(cursor);
    bson_append_array_end(out, &list);
    bson_destroy(&filter);
    return more;
}

/* Whether a runner that is not silent takes such tasks. */
static bool is_served(const bson_t *out, const char *queue, const char *class)
{
    bson_iter_t at, iter;
    bool served = false;
    if (!output_find(out, "runners", &at) || !bson_iter_recurse(&at, &iter)) {
        return false;
    }
    while (!served && bson_iter_next(&iter)) {
        bson_t runner;
        bson_iter_t silent;
        served = output_document(&iter, &runner) && serves(&runner, queue, class) &&
                 !(output_find(&runner, "silent", &silent) && bson_iter_as_bool(&silent));
    }
    return served;
}

int snapshot_take_runners(struct hub *hub, bson_t *out, bson_error_t *error)
{
    int64_t now;
    return store_server_time(hub_store(hub), &now, error) < 0 ? -1 : take_runners(hub, now, out, error);
}

int64_t snapshot_memory_offered(const bson_t *snapshot)
{
    bson_iter_t at, iter, silent;
    int64_t most = 0;
    bool more = output_find(snapshot, "runners", &at) && bson_iter_recurse(&at, &iter);
    while (more && bson_iter_next(&iter)) {
        bson_t runner;
        if (!output_document(&iter, &runner) || (output_find(&runner, "silent", &silent) && bson_iter_as_bool(&silent))) {
            continue;
        }
        int64_t bytes = output_integer(&runner, "task_memory_bytes", 0);
        most = bytes > most ? bytes : most;
    }
    return most;
}

bool snapshot_is_served(const bson_t *snapshot, const char *queue, const char *resource_class)
{
    bson_iter_t at, iter;
    bool any = output_find(snapshot, "runners", &at) && bson_iter_recurse(&at, &iter) && bson_iter_next(&iter);
    return !any || is_served(snapshot, queue, resource_class);
}

/* Tasks that are ready, or will be, and that no runner takes; only where there are runners at all. */
static int64_t append_unserved(const struct counts *counts, bson_t *out)
{
    int64_t total = 0;
    bson_t list;
    bson_iter_t iter, runners;
    uint32_t index = 0;
    bool any = output_find(out, "runners", &runners) && bson_iter_recurse(&runners, &iter) && bson_iter_next(&iter);
    bson_t found = BSON_INITIALIZER;
    bool more = any && bson_iter_init(&iter, &counts->groups);
    while (more && bson_iter_next(&iter)) {
        bson_t group, one;
        char digits[16];
        const char *key;
        if (!output_document(&iter, &group)) {
            continue;
        }
        const char *state = output_text(&group, "values.2"), *queue = output_text(&group, "values.0"),
                   *class = output_text(&group, "values.1");
        if (state == NULL || queue == NULL || class == NULL || strcmp(state, "ready") != 0 ||
            is_served(out, queue, class)) {
            continue;
        }
        bson_uint32_to_string(index++, &key, digits, sizeof digits);
        BSON_APPEND_DOCUMENT_BEGIN(&found, key, &one);
        BSON_APPEND_UTF8(&one, "queue", queue);
        BSON_APPEND_UTF8(&one, "resource_class", class);
        BSON_APPEND_INT64(&one, "ready", output_integer(&group, "count", 0));
        if (task_class_memory_needed(class) > 0) {
            BSON_APPEND_INT64(&one, "memory_needed", task_class_memory_needed(class));
            BSON_APPEND_INT64(&one, "memory_offered", snapshot_memory_offered(out));
        }
        total += output_integer(&group, "count", 0);
        bson_append_document_end(&found, &one);
    }
    BSON_APPEND_ARRAY_BEGIN(out, "unserved", &list);
    bson_concat(&list, &found);
    bson_append_array_end(out, &list);
    bson_destroy(&found);
    return total;
}

/* ---- tasks ---- */

static int append_tasks(struct hub *hub, const char *key, const bson_t *filter, const char *sort_path, int direction,
                        int64_t limit, bson_t *out, bson_error_t *error)
{
    static const char *const paths[] = {"seq", "name", "state", "kind", "queue", "progress", "error.message",
                                        "finished_at", "started_at", "claim.runner"};
    bson_t sort = BSON_INITIALIZER, projection = BSON_INITIALIZER, list;
    struct store_find_options options = {.sort = &sort, .projection = &projection, .limit = limit};
    const bson_t *task;
    uint32_t index = 0;
    int more = -1;
    BSON_APPEND_INT32(&sort, sort_path, direction);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    BSON_APPEND_ARRAY_BEGIN(out, key, &list);
    struct store_cursor *cursor = task_find(hub, filter, &options, error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &task, error)) > 0) {
        char digits[16];
        const char *place;
        bson_uint32_to_string(index++, &place, digits, sizeof digits);
        BSON_APPEND_DOCUMENT(&list, place, task);
    }
    store_cursor_close(cursor);
    bson_append_array_end(out, &list);
    bson_destroy(&sort);
    bson_destroy(&projection);
    return more;
}

static int take_tasks(struct hub *hub, unsigned parts, const struct counts *counts, bson_t *out, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in, list;
    int result = 0;
    if (parts & SNAPSHOT_RUNNING) {
        BSON_APPEND_UTF8(&filter, "state", "running");
        result = append_tasks(hub, "running", &filter, "seq", 1, RUNNING_MOST, out, error);
    }
    if (result >= 0 && parts & SNAPSHOT_FAILURES && count_of(counts, "failed") + count_of(counts, "dead") > 0) {
        bson_reinit(&filter);
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "state", &in);
        BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
        BSON_APPEND_UTF8(&list, "0", "failed");
        BSON_APPEND_UTF8(&list, "1", "dead");
        bson_append_array_end(&in, &list);
        bson_append_document_end(&filter, &in);
        result = append_tasks(hub, "failures", &filter, "finished_at", -1, FAILURES_MOST, out, error);
    }
    bson_destroy(&filter);
    return result;
}

int snapshot_take(struct hub *hub, unsigned parts, bson_t *out, bson_error_t *error)
{
    struct counts counts = {.of = {0}};
    int64_t now;
    int result = -1;
    bson_init(&counts.groups);
    if (store_server_time(hub_store(hub), &now, error) < 0) {
        goto out;
    }
    BSON_APPEND_DATE_TIME(out, "at", now);
    bson_destroy(&counts.groups);
    if (take_counts(hub, &counts, out, error) < 0 || take_rates(hub, now, out, error) < 0 ||
        take_runners(hub, now, out, error) < 0) {
        goto out;
    }
    append_left(&counts, append_unserved(&counts, out), out);
    result = take_tasks(hub, parts, &counts, out, error);
out:
    bson_destroy(&counts.groups);
    return result < 0 ? -1 : 1;
}
