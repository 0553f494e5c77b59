/* SPDX-License-Identifier: Apache-2.0 */
/* What users ask of tasks. A task that nobody holds changes at once; a running one gets a request, which its runner
 * hears with the next beat, and which release, crash and take-back obey. */
#include "hub/fault.h"
#include "hub/logs.h"
#include "hub/schema.h"
#include "hub/sweep_results.h"
#include "hub/task_impl.h"

#include <string.h>

#define DELETE_AT_ONCE 500

/* {project, state in states, …extra} and the user's filter. */
static void state_filter(const struct hub *hub, const bson_t *filter, const char *const *states, const bson_t *extra,
                         bson_t *out)
{
    bson_t conditions = BSON_INITIALIZER, in, list;
    BSON_APPEND_DOCUMENT_BEGIN(&conditions, "state", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (uint32_t i = 0; states[i] != NULL; i++) {
        char buffer[16];
        const char *key;
        size_t digits = bson_uint32_to_string(i, &key, buffer, sizeof buffer);
        bson_append_utf8(&list, key, (int)digits, states[i], -1);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&conditions, &in);
    if (extra != NULL) {
        bson_concat(&conditions, extra);
    }
    hub_filter(hub, filter, &conditions, out);
    bson_destroy(&conditions);
}

static int64_t change(struct hub *hub, const bson_t *filter, const char *const *states, const bson_t *extra,
                      const bson_t *update, bson_error_t *error)
{
    bson_t whole;
    state_filter(hub, filter, states, extra, &whole);
    TL_FAULT("request.before");
    int64_t result = store_update(hub_store(hub), TASKS, &whole, update, error);
    TL_FAULT("request.after");
    bson_destroy(&whole);
    return result;
}

/* Of two requests the stronger stands, whichever came first: cancel, stop, pause. Who was told that a task is cancelled
 * would not look again. */
static int64_t ask_running(struct hub *hub, const bson_t *filter, const char *kind, const char *reason,
                           bson_error_t *error)
{
    static const char *const running[] = {"running", NULL}, *const kinds[] = {"cancel", "stop", "pause"};
    bson_t update = BSON_INITIALIZER, weaker = BSON_INITIALIZER, stronger, list, set, request;
    BSON_APPEND_DOCUMENT_BEGIN(&weaker, "request.kind", &stronger);
    BSON_APPEND_ARRAY_BEGIN(&stronger, "$nin", &list);
    for (size_t i = 0; strcmp(kinds[i], kind) != 0; i++) {
        BSON_APPEND_UTF8(&list, i == 0 ? "0" : "1", kinds[i]);
    }
    bson_append_array_end(&stronger, &list);
    bson_append_document_end(&weaker, &stronger);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "request", &request);
    BSON_APPEND_UTF8(&request, "kind", kind);
    if (reason != NULL) {
        BSON_APPEND_UTF8(&request, "reason", reason);
    }
    bson_append_document_end(&set, &request);
    bson_append_document_end(&update, &set);
    int64_t result = change(hub, filter, running, &weaker, &update, error);
    bson_destroy(&weaker);
    bson_destroy(&update);
    return result;
}

/* Idle tasks that match extra by idle_update, running ones by a request; idle ones again, for a task may have been given back between. */
static int64_t request(struct hub *hub, const bson_t *filter, const char *const *idle, const bson_t *extra,
                       const bson_t *idle_update, const char *kind, const char *reason, bson_error_t *error)
{
    int64_t first = change(hub, filter, idle, extra, idle_update, error);
    int64_t asked = first < 0 ? -1 : ask_running(hub, filter, kind, reason, error);
    int64_t again = asked < 0 ? -1 : change(hub, filter, idle, extra, idle_update, error);
    return again < 0 ? -1 : first + asked + again;
}

static int64_t end_by_request(struct hub *hub, const bson_t *filter, const char *const *idle, const bson_t *extra,
                              const char *kind, const char *reason, bson_error_t *error)
{
    bson_t update;
    task_end_update(&update, "cancelled", reason != NULL ? reason : "at the user's request", NULL);
    int64_t result = request(hub, filter, idle, extra, &update, kind, reason, error);
    bson_destroy(&update);
    return result;
}

int64_t task_cancel(struct hub *hub, const bson_t *filter, const char *reason, bson_error_t *error)
{
    static const char *const idle[] = {"waiting", "delayed", "ready", "paused", "parked", NULL};
    return end_by_request(hub, filter, idle, NULL, "cancel", reason, error);
}

int64_t task_stop(struct hub *hub, const bson_t *filter, const char *reason, bson_error_t *error)
{
    static const char *const idle[] = {"waiting", "delayed", "ready", "paused", NULL};
    const char *why = reason != NULL ? reason : "at the user's request";
    bson_t elsewhere = BSON_INITIALIZER, part;
    BSON_APPEND_DOCUMENT_BEGIN(&elsewhere, "rungs.waits", &part);
    BSON_APPEND_BOOL(&part, "$ne", true);
    bson_append_document_end(&elsewhere, &part);
    /* Those at a rung have results, paused or not; one may have come there, or been paused there, meanwhile. */
    int64_t parked = task_stop_parked(hub, filter, why, error);
    int64_t others = parked < 0 ? -1 : end_by_request(hub, filter, idle, &elsewhere, "stop", reason, error);
    int64_t late = others < 0 ? -1 : task_stop_parked(hub, filter, why, error);
    bson_destroy(&elsewhere);
    return late < 0 ? -1 : parked + others + late;
}

static void set_state(bson_t *update, const char *state)
{
    bson_t set;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", state);
    bson_append_document_end(update, &set);
}

int64_t task_pause(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    static const char *const idle[] = {"waiting", "delayed", "ready", "parked", NULL};
    bson_t update;
    set_state(&update, "paused");
    int64_t result = request(hub, filter, idle, NULL, &update, "pause", NULL, error);
    bson_destroy(&update);
    return result;
}

/* {…, path: {$exists: there}} */
static void append_exists(bson_t *filter, const char *path, bool there)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(filter, path, &part);
    BSON_APPEND_BOOL(&part, "$exists", there);
    bson_append_document_end(filter, &part);
}

/* Paused tasks that match extra go to a state. */
static int64_t resume_to(struct hub *hub, const bson_t *filter, const bson_t *extra, const char *state, bson_error_t *error)
{
    static const char *const paused[] = {"paused", NULL};
    bson_t update;
    set_state(&update, state);
    int64_t result = change(hub, filter, paused, extra, &update, error);
    bson_destroy(&update);
    return result;
}

/* One that stood at a rung stands there again. A task whose predecessors have not all ended goes back to waiting, one with a delay to delayed (promotion looks after
 * both), any other to ready. A running task that was asked to pause, and has not yet, goes on. */
int64_t task_resume(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    static const char *const running[] = {"running", NULL};
    bson_t go_on = BSON_INITIALIZER, pausing = BSON_INITIALIZER, after = BSON_INITIALIZER, delay = BSON_INITIALIZER,
           rung = BSON_INITIALIZER, part;
    BSON_APPEND_UTF8(&pausing, "request.kind", "pause");
    BSON_APPEND_DOCUMENT_BEGIN(&go_on, "$unset", &part);
    BSON_APPEND_UTF8(&part, "request", "");
    bson_append_document_end(&go_on, &part);
    append_exists(&after, "after", true);
    BSON_APPEND_DOCUMENT_BEGIN(&after, "after_met", &part);
    BSON_APPEND_BOOL(&part, "$ne", true);
    bson_append_document_end(&after, &part);
    append_exists(&delay, "not_before", true);
    BSON_APPEND_BOOL(&rung, "rungs.waits", true);
    int64_t heard = change(hub, filter, running, &pausing, &go_on, error);
    int64_t parked = heard < 0 ? -1 : resume_to(hub, filter, &rung, "parked", error);
    int64_t waiting = parked < 0 ? -1 : resume_to(hub, filter, &after, "waiting", error);
    int64_t delayed = waiting < 0 ? -1 : resume_to(hub, filter, &delay, "delayed", error);
    int64_t ready = delayed < 0 ? -1 : resume_to(hub, filter, NULL, "ready", error);
    bson_destroy(&go_on);
    bson_destroy(&pausing);
    bson_destroy(&after);
    bson_destroy(&delay);
    bson_destroy(&rung);
    return ready < 0 ? -1 : heard + parked + waiting + delayed + ready;
}

int64_t task_set(struct hub *hub, const bson_t *filter, const bson_t *set, bson_error_t *error)
{
    static const char *const open[] = {"waiting", "delayed", "ready", "running", "paused", "parked", NULL};
    static const char *const keys[] = {"priority", "queue", "resource_class", "max_crashes"};
    bson_t update = BSON_INITIALIZER;
    bson_iter_t iter;
    int64_t result = -1;
    if (!bson_iter_init(&iter, set) || bson_empty(set)) {
        hub_error(error, HUB_ERROR_INVALID, "nothing to set: give priority, queue, resource_class or max_crashes");
        goto out;
    }
    while (bson_iter_next(&iter)) {
        size_t known = 0;
        while (known < sizeof keys / sizeof keys[0] && strcmp(keys[known], bson_iter_key(&iter)) != 0) {
            known++;
        }
        if (known == sizeof keys / sizeof keys[0]) {
            hub_error(error, HUB_ERROR_INVALID, "%.100s cannot be changed: only priority, queue, resource_class, max_crashes",
                      bson_iter_key(&iter));
            goto out;
        }
    }
    if (schema_check_fields("task", set, error) < 0) {
        goto out;
    }
    BSON_APPEND_DOCUMENT(&update, "$set", set);
    result = change(hub, filter, open, NULL, &update, error);
out:
    bson_destroy(&update);
    return result;
}

/* ---- restarting and deleting: first what is finished must be published ---- */

static int publish_matching(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t whole, unpublished = BSON_INITIALIZER;
    const bson_t *task;
    int next;
    BSON_APPEND_BOOL(&unpublished, "published", false);
    hub_filter(hub, filter, &unpublished, &whole);
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &whole, NULL, error);
    bson_destroy(&whole);
    bson_destroy(&unpublished);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &task, error)) == 1) {
        if (task_publish(hub, task, error) < 0) {
            next = -1;
            break;
        }
    }
    store_cursor_close(cursor);
    return next;
}

static void append_published(bson_t *filter)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "published", &part);
    BSON_APPEND_BOOL(&part, "$ne", false);
    bson_append_document_end(filter, &part);
}

static int check_changes(const bson_t *set, bson_error_t *error)
{
    bson_iter_t iter;
    if (set == NULL || !bson_iter_init(&iter, set)) {
        return 1;
    }
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        if (key[0] == '\0' || key[0] == '$' || strchr(key, '.') != NULL) {
            return hub_error(error, HUB_ERROR_INVALID, "hyper-parameter \"%.100s\": a name has no '.' and no '$'", key);
        }
    }
    return 1;
}

/* A new run from a state, with hyper_parameters changed by set and other fields by also (NULL: none). */
static void restart_update(bson_t *update, const char *state, const bson_t *set, const bson_t *also)
{
    static const char *const left[] = {"result",  "published",  "error",      "finished_at", "request",
                                       "progress", "checkpoint", "started_at", "not_before",  "started", "rungs"};
    bson_t part;
    bson_iter_t iter;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", state);
    BSON_APPEND_INT32(&part, "crashes", 0);
    BSON_APPEND_INT32(&part, "lost", 0);
    if (set != NULL && bson_iter_init(&iter, set)) {
        while (bson_iter_next(&iter)) {
            char *path = bson_strdup_printf("hyper_parameters.%s", bson_iter_key(&iter));
            bson_append_iter(&part, path, -1, &iter);
            bson_free(path);
        }
    }
    if (also != NULL) {
        bson_concat(&part, also);
    }
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$inc", &part);
    BSON_APPEND_INT32(&part, "run", 1);
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$unset", &part);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        BSON_APPEND_UTF8(&part, left[i], "");
    }
    bson_append_document_end(update, &part);
}

static int64_t restart_to(struct hub *hub, const bson_t *filter, bool stages, const bson_t *set, const bson_t *also,
                          bson_error_t *error)
{
    static const char *const ended[] = {"done", "failed", "dead", "cancelled", "stopped", NULL};
    bson_t update, extra = BSON_INITIALIZER;
    append_published(&extra);
    append_exists(&extra, "after", stages);
    restart_update(&update, stages ? "waiting" : "ready", set, also);
    int64_t result = change(hub, filter, ended, &extra, &update, error);
    bson_destroy(&extra);
    bson_destroy(&update);
    return result;
}

/* Those that wait for others first: where both are restarted, they wait again. */
int64_t task_restart(struct hub *hub, const bson_t *filter, const bson_t *set, bson_error_t *error)
{
    return task_restart_with(hub, filter, set, NULL, error);
}

int64_t task_restart_with(struct hub *hub, const bson_t *filter, const bson_t *set, const bson_t *also, bson_error_t *error)
{
    if (check_changes(set, error) < 0 || publish_matching(hub, filter, error) < 0) {
        return -1;
    }
    int64_t stages = restart_to(hub, filter, true, set, also, error);
    int64_t others = stages < 0 ? -1 : restart_to(hub, filter, false, set, also, error);
    if (others < 0 || (stages + others > 0 && sweep_results_forget(hub, error) < 0)) {
        return -1;
    }
    return stages + others;
}

/* Deletes the tasks of these ids that are not running, then the logs of those that are gone. */
static int64_t delete_ids(struct hub *hub, const bson_t *ids, bson_error_t *error)
{
    static const char *const idle[] = {"waiting", "delayed", "ready",     "paused", "parked", "done",
                                       "failed",  "dead",    "cancelled", "stopped", NULL};
    bson_t by_id = BSON_INITIALIZER, in, published = BSON_INITIALIZER, whole, left = BSON_INITIALIZER,
           projection = BSON_INITIALIZER, gone = BSON_INITIALIZER, logs = BSON_INITIALIZER;
    const bson_t *document;
    bson_iter_t iter, other;
    uint32_t count = 0;
    int next = 0;
    BSON_APPEND_DOCUMENT_BEGIN(&by_id, "_id", &in);
    BSON_APPEND_ARRAY(&in, "$in", ids);
    bson_append_document_end(&by_id, &in);
    append_published(&published);
    state_filter(hub, &by_id, idle, &published, &whole);
    TL_FAULT("delete_task.before");
    int64_t deleted = store_delete(hub_store(hub), TASKS, &whole, error);
    TL_FAULT("delete_task.after");
    bson_destroy(&whole);
    if (deleted <= 0) {
        goto out;
    }
    BSON_APPEND_INT32(&projection, "_id", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &by_id, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &document, error)) == 1) {
        char id[128];
        if (task_document_id(document, id)) {
            BSON_APPEND_BOOL(&left, id, true);
        }
    }
    store_cursor_close(cursor);
    if (cursor == NULL || next < 0 || !bson_iter_init(&iter, ids)) {
        deleted = -1;
        goto out;
    }
    while (bson_iter_next(&iter)) {
        char id[128], buffer[16];
        const char *key;
        if (task_id_text(&iter, id) && !bson_iter_init_find(&other, &left, id)) {
            size_t digits = bson_uint32_to_string(count++, &key, buffer, sizeof buffer);
            bson_append_utf8(&gone, key, (int)digits, id, -1);
        }
    }
    BSON_APPEND_DOCUMENT_BEGIN(&logs, "task", &in);
    BSON_APPEND_ARRAY(&in, "$in", &gone);
    bson_append_document_end(&logs, &in);
    if (count > 0 && logs_delete_buckets(hub, &logs, error) < 0) {
        deleted = -1;
    }
out:
    bson_destroy(&logs);
    bson_destroy(&gone);
    bson_destroy(&projection);
    bson_destroy(&left);
    bson_destroy(&published);
    bson_destroy(&by_id);
    return deleted;
}

int64_t task_delete(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t projection = BSON_INITIALIZER, ids = BSON_INITIALIZER;
    const bson_t *task;
    bson_iter_t iter;
    uint32_t count = 0;
    int64_t deleted = 0;
    int next;
    struct store_cursor *cursor = NULL;
    BSON_APPEND_INT32(&projection, "_id", 1);
    struct store_find_options options = {.projection = &projection};
    if (publish_matching(hub, filter, error) < 0 || (cursor = task_find(hub, filter, &options, error)) == NULL) {
        deleted = -1;
        goto out;
    }
    do {
        next = store_cursor_next(cursor, &task, error);
        if (next == 1 && bson_iter_init_find(&iter, task, "_id")) {
            char buffer[16];
            const char *key;
            size_t digits = bson_uint32_to_string(count++, &key, buffer, sizeof buffer);
            bson_append_iter(&ids, key, (int)digits, &iter);
        }
        if (count == DELETE_AT_ONCE || (next == 0 && count > 0)) {
            int64_t part = delete_ids(hub, &ids, error);
            deleted = part < 0 ? -1 : deleted + part;
            bson_reinit(&ids);
            count = 0;
        }
    } while (next == 1 && deleted >= 0);
    deleted = next < 0 ? -1 : deleted;
    if (deleted > 0 && sweep_results_forget(hub, error) < 0) {
        deleted = -1;
    }
out:
    store_cursor_close(cursor);
    bson_destroy(&ids);
    bson_destroy(&projection);
    return deleted;
}
