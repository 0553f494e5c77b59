/* SPDX-License-Identifier: Apache-2.0 */
/* Delayed tasks that are due, and waiting tasks whose predecessors have ended, are made ready. Anyone may do it, and
 * doing it twice changes nothing: each step names the state that it leaves. */
#include "hub/task_impl.h"
#include "hub/task_standing.h"
#include "hub/fault.h"

#include <string.h>

static void project_filter(const char *project, const char *state, bson_t *filter)
{
    bson_init(filter);
    if (project != NULL) {
        BSON_APPEND_UTF8(filter, "project", project);
    }
    BSON_APPEND_UTF8(filter, "state", state);
}

/* tidy also takes tasks whose not_before is missing or no date: they would wait for ever. */
static int64_t promote_delayed(struct hub *hub, const char *project, bool tidy, bson_error_t *error)
{
    bson_t filter, update = BSON_INITIALIZER, part, inner;
    int64_t now;
    if (hub_now(hub, &now, error) < 0) {
        bson_destroy(&update);
        return -1;
    }
    project_filter(project, "delayed", &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "not_before", &part);
    if (tidy) {
        BSON_APPEND_DOCUMENT_BEGIN(&part, "$not", &inner);
        BSON_APPEND_DATE_TIME(&inner, "$gt", now);
        bson_append_document_end(&part, &inner);
    } else {
        BSON_APPEND_DATE_TIME(&part, "$lte", now);
    }
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", "ready");
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "not_before", "");
    bson_append_document_end(&update, &part);
    TL_FAULT("promote_delayed.before");
    int64_t result = store_update(hub_store(hub), TASKS, &filter, &update, error);
    TL_FAULT("promote_delayed.after");
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* One state for all of a task's predecessors: "ready" all ended well, "cancelled" one never will, NULL not yet.
 * *culprit names the one that ended badly. met: all had ended well once, so that one that is gone did. -1 on error. */
static int judge(struct hub *hub, const bson_t *task, const bson_t *after, bool met, const char **verdict, char culprit[200],
                 bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in, list, projection = BSON_INITIALIZER;
    bson_iter_t iter;
    const bson_t *document;
    uint32_t named = 0, well = 0, found = 0;
    const char *project = hub_text(task, "project");
    int next = -1;
    *verdict = NULL;
    culprit[0] = '\0';
    if (project != NULL) {
        BSON_APPEND_UTF8(&filter, "project", project);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    bson_iter_init(&iter, after);
    while (bson_iter_next(&iter)) {
        char buffer[16], text[128];
        const char *key;
        bson_iter_t before;
        bool twice = false;
        for (bson_iter_init(&before, after); bson_iter_next(&before) && strcmp(bson_iter_key(&before), bson_iter_key(&iter)) != 0;) {
            char other[128];
            twice = twice || (task_id_text(&iter, text) && task_id_text(&before, other) && strcmp(text, other) == 0);
        }
        if (!twice) {
            size_t digits = bson_uint32_to_string(named++, &key, buffer, sizeof buffer);
            bson_append_iter(&list, key, (int)digits, &iter);
        }
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    BSON_APPEND_INT32(&projection, "state", 1);
    BSON_APPEND_INT32(&projection, "seq", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = named > 0 ? store_find(hub_store(hub), TASKS, &filter, &options, error) : NULL;
    while (cursor != NULL && (next = store_cursor_next(cursor, &document, error)) == 1) {
        const char *state = hub_text(document, "state");
        found++;
        if (state != NULL && (strcmp(state, "done") == 0 || strcmp(state, "stopped") == 0)) {
            well++;
        } else if (state != NULL &&
                   (strcmp(state, "failed") == 0 || strcmp(state, "dead") == 0 || strcmp(state, "cancelled") == 0)) {
            snprintf(culprit, 200, "task #%" PRId64 ", which it waits for, is %s", hub_number(document, "seq", 0), state);
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&filter);
    if (named > 0 && (cursor == NULL || next < 0)) {
        return -1;
    }
    if (met) {
        named = found;
    } else if (culprit[0] == '\0' && found < named) {
        snprintf(culprit, 200, "a task that it waits for is not there");
    }
    *verdict = culprit[0] != '\0' ? "cancelled" : well == named ? "ready" : NULL;
    return 1;
}

/* The last judgement: many tasks wait for the same ones, and one question serves them all. */
struct judged {
    bson_t after;
    char project[128];
    bool met;
    const char *verdict;
    char culprit[200];
    bool valid;
};

static int judge_again(struct hub *hub, const bson_t *task, const bson_t *after, struct judged *judged, bson_error_t *error)
{
    const char *project = hub_text(task, "project");
    bson_iter_t iter;
    bool met = bson_iter_init_find(&iter, task, "after_met") && BSON_ITER_HOLDS_BOOL(&iter) && bson_iter_bool(&iter);
    project = project != NULL ? project : "";
    if (judged->valid && judged->met == met && bson_equal(after, &judged->after) && strcmp(project, judged->project) == 0) {
        return 1;
    }
    if (judged->valid) {
        bson_destroy(&judged->after);
    }
    bson_copy_to(after, &judged->after);
    judged->valid = true;
    judged->met = met;
    snprintf(judged->project, sizeof judged->project, "%s", project);
    return judge(hub, task, after, met, &judged->verdict, judged->culprit, error);
}

/* Its predecessors have ended well; a delay of its own still holds. */
static void ready_update(const bson_t *task, bool after, bson_t *update)
{
    bson_t set;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", bson_has_field(task, "not_before") ? "delayed" : "ready");
    if (after) {
        BSON_APPEND_BOOL(&set, "after_met", true);
    }
    bson_append_document_end(update, &set);
}

/* It stays; it may be time for what it starts. */
static int promote_standing(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, whole;
    task_append_key(&filter, task);
    BSON_APPEND_UTF8(&filter, "state", "waiting");
    int result = store_find_one(hub_store(hub), TASKS, &filter, NULL, &whole, error);
    if (result > 0) {
        result = task_standing_start(hub, &whole, error);
    }
    bson_destroy(&whole);
    bson_destroy(&filter);
    return result;
}

static int promote_waiting_task(struct hub *hub, const bson_t *task, struct judged *judged, bson_error_t *error)
{
    bson_t after, filter = BSON_INITIALIZER, update;
    bson_iter_t iter;
    const char *verdict = NULL;
    int result = 0;
    if (bson_has_field(task, "standing")) {
        bson_destroy(&filter);
        return promote_standing(hub, task, error);
    }
    bool there = bson_iter_init_find(&iter, task, "after") && !BSON_ITER_HOLDS_NULL(&iter);
    if (there && !BSON_ITER_HOLDS_ARRAY(&iter)) {
        bson_destroy(&filter);
        return task_set_aside(hub, task, "task.after: it is not an array of ids", error);
    }
    if (!there) {
        verdict = "ready";
    } else if (hub_view(task, "after", &after)) {
        if (judge_again(hub, task, &after, judged, error) < 0) {
            bson_destroy(&filter);
            return -1;
        }
        verdict = judged->verdict;
    }
    if (verdict != NULL) {
        task_append_key(&filter, task);
        BSON_APPEND_UTF8(&filter, "state", "waiting");
        if (strcmp(verdict, "ready") == 0) {
            ready_update(task, there, &update);
        } else {
            task_end_update(&update, verdict, judged->culprit, NULL);
        }
        TL_FAULT("promote_waiting.before");
        result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
        TL_FAULT("promote_waiting.after");
        bson_destroy(&update);
    }
    bson_destroy(&filter);
    return result;
}

static int64_t promote_waiting(struct hub *hub, const char *project, bson_error_t *error)
{
    static const char *const paths[] = {"project", "lane", "state", "after", "after_met", "not_before", "standing"};
    bson_t filter, projection = BSON_INITIALIZER;
    const bson_t *task;
    int64_t changed = 0;
    int next, result;
    struct judged judged = {.valid = false};
    project_filter(project, "waiting", &filter);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, &options, error);
    bson_destroy(&projection);
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &task, error)) == 1) {
        result = promote_waiting_task(hub, task, &judged, error);
        if (result < 0) {
            next = -1;
            break;
        }
        changed += result;
    }
    store_cursor_close(cursor);
    if (judged.valid) {
        bson_destroy(&judged.after);
    }
    return next < 0 ? -1 : changed;
}

int64_t task_promote_project(struct hub *hub, const char *project, bool tidy, bson_error_t *error)
{
    int64_t delayed = promote_delayed(hub, project, tidy, error);
    int64_t waiting = delayed < 0 ? -1 : promote_waiting(hub, project, error);
    return waiting < 0 ? -1 : delayed + waiting;
}

int64_t task_promote(struct hub *hub, bson_error_t *error)
{
    return task_promote_project(hub, hub_project(hub), false, error);
}

int64_t task_promote_all(struct hub *hub, bson_error_t *error)
{
    return task_promote_project(hub, NULL, false, error);
}
