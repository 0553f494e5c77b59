/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/task_standing.h"

#include "hub/fault.h"
#include "hub/hub_impl.h"
#include "hub/rows.h"
#include "hub/task_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EVERY_LEAST_MS 1000

/* The name of the dataset that the task names, or NULL where it asks with a query. */
static const char *dataset_name(const bson_t *task)
{
    const char *name = hub_text(task, "dataset");
    if (name == NULL) {
        return hub_text(task, "dataset.name");
    }
    return name[0] != '{' ? name : NULL;
}

int task_standing_check(const bson_t *fields, bson_error_t *error)
{
    bson_t standing, after;
    if (!hub_view(fields, "standing", &standing)) {
        return hub_error(error, HUB_ERROR_INVALID, "task.standing: it is no document");
    }
    bool every = bson_has_field(&standing, "every_ms"), rows = bson_has_field(&standing, "rows");
    const char *kind = hub_text(fields, "kind");
    if (every == rows || bson_count_keys(&standing) != 1) {
        return hub_error(error, HUB_ERROR_INVALID, "task.standing: it is either {every_ms} or {rows}");
    }
    if (every ? hub_number(&standing, "every_ms", 0) < EVERY_LEAST_MS : hub_number(&standing, "rows", 0) < 1) {
        return hub_error(error, HUB_ERROR_INVALID, "task.standing: at least %d ms, or 1 row", EVERY_LEAST_MS);
    }
    if (kind != NULL && strcmp(kind, "train") != 0) {
        return hub_error(error, HUB_ERROR_INVALID, "task.standing: only a task of kind train can stand");
    }
    if (rows && dataset_name(fields) == NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "task.standing.rows: the dataset must be given by its name");
    }
    if ((hub_view(fields, "after", &after) && !bson_empty(&after)) || bson_has_field(fields, "not_before")) {
        return hub_error(error, HUB_ERROR_INVALID, "task.standing: it goes with neither after nor not_before");
    }
    return 1;
}

static void child_id(const bson_t *task, int64_t number, char id[HUB_ID_SIZE])
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    const char *const parts[] = {"standing", hub_text(task, "_id"), text};
    hub_digest_id(parts, 3, id);
}

/* The last one's state: 1 it has ended (or is gone), 0 not yet, -1. *model gets its model's _id where it left one. */
static int look_at_last(struct hub *hub, const bson_t *task, int64_t count, char model[128], bson_error_t *error)
{
    static const char *const ended[] = {"done", "stopped", "failed", "dead", "cancelled"};
    bson_t filter = BSON_INITIALIZER, last;
    char id[HUB_ID_SIZE];
    bool over = false;
    child_id(task, count, id);
    BSON_APPEND_UTF8(&filter, "_id", id);
    int result = store_find_one(hub_store(hub), TASKS, &filter, NULL, &last, error);
    const char *state = result > 0 ? hub_text(&last, "state") : NULL, *claim = hub_text(&last, "result.claim_id");
    for (size_t i = 0; i < sizeof ended / sizeof ended[0]; i++) {
        over = over || (state != NULL && strcmp(state, ended[i]) == 0);
    }
    if (over && claim != NULL && hub_text(&last, "result.sha256") != NULL && strlen(claim) < 128) {
        bson_t deleted = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&deleted, "_id", claim);
        BSON_APPEND_UTF8(&deleted, "project", hub_project(hub));
        int64_t there = store_count(hub_store(hub), "models", &deleted, error);
        bson_destroy(&deleted);
        if (there > 0) {
            snprintf(model, 128, "%s", claim);
        }
        result = there < 0 ? -1 : result;
    }
    bson_destroy(&last);
    bson_destroy(&filter);
    return result < 0 ? -1 : result == 0 || over;
}

/* Whether it is time; *mark is what the next one is measured from. 1, 0, -1. */
static int is_due(struct hub *hub, const bson_t *task, int64_t *mark, bson_error_t *error)
{
    bson_iter_t root, at;
    int64_t now, every = hub_number(task, "standing.every_ms", 0), rows = hub_number(task, "standing.rows", 0);
    const char *name = dataset_name(task);
    *mark = 0;
    if (every >= EVERY_LEAST_MS) {
        if (hub_now(hub, &now, error) < 0) {
            return -1;
        }
        int64_t next = now;
        if (bson_iter_init(&root, task) && bson_iter_find_descendant(&root, "standing.next_at", &at) && BSON_ITER_HOLDS_DATE_TIME(&at)) {
            next = bson_iter_date_time(&at);
        }
        /* Times that went by while nobody looked, or while the last one was running, are one. */
        *mark = next <= now ? next + ((now - next) / every + 1) * every : next;
        return next <= now;
    }
    if (rows < 1 || name == NULL) {
        return 0;
    }
    *mark = rows_highest(hub, name, error);
    return *mark < 0 ? -1 : *mark - hub_number(task, "standing.rows_upto", 0) >= rows;
}

/* The same work, from the last model. */
static int create(struct hub *hub, const bson_t *task, int64_t number, const char *model, bson_error_t *error)
{
    bson_t fields = BSON_INITIALIZER, query;
    bson_iter_t iter;
    char id[HUB_ID_SIZE];
    static const char *const same[] = {"lane", "queue", "resource_class", "needs", "kind", "name", "description", "tags", "dataset",
                                       "pipeline", "architecture", "architecture_digest", "hyper_parameters", "result_keys",
                                       "metrics", "top_k", "metric", "seed", "log_every", "keep", "on_nonfinite",
                                       "rollback_factor", "max_rollbacks", "checkpoint_every", "checkpoint_minutes", "priority",
                                       "max_crashes"};
    child_id(task, number, id);
    BSON_APPEND_UTF8(&fields, "_id", id);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        if (bson_iter_init_find(&iter, task, same[i])) {
            bson_append_iter(&fields, same[i], -1, &iter);
        }
    }
    if (model[0] != '\0') {
        BSON_APPEND_DOCUMENT_BEGIN(&fields, "initial_model", &query);
        BSON_APPEND_UTF8(&query, "_id", model);
        bson_append_document_end(&fields, &query);
    } else if (bson_iter_init_find(&iter, task, "initial_model")) {
        bson_append_iter(&fields, "initial_model", -1, &iter);
    }
    BSON_APPEND_UTF8(&fields, "standing_of", hub_text(task, "_id"));
    BSON_APPEND_INT64(&fields, "standing_number", number);
    TL_HISTORY("try submit %s -", id);
    TL_FAULT("standing_create.before");
    int result = task_create(hub, &fields, NULL, error);
    if (result >= 0) {
        TL_HISTORY("did submit %s - %d", id, result);
    }
    TL_FAULT("standing_create.after");
    bson_destroy(&fields);
    return result;
}

/* While nobody else has counted it. */
static int advance(struct hub *hub, const bson_t *task, int64_t count, int64_t mark, const char *model, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
    bson_iter_t root, seen;
    char id[HUB_ID_SIZE];
    bool there = bson_iter_init(&root, task) && bson_iter_find_descendant(&root, "standing.count", &seen);
    child_id(task, count + 1, id);
    task_append_key(&filter, task);
    BSON_APPEND_UTF8(&filter, "state", "waiting");
    task_append_same(&filter, "standing.count", there ? &seen : NULL);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_INT64(&set, "standing.count", count + 1);
    BSON_APPEND_UTF8(&set, "standing.last", id);
    if (model[0] != '\0') {
        BSON_APPEND_UTF8(&set, "standing.model", model);
    }
    if (hub_number(task, "standing.every_ms", 0) > 0) {
        BSON_APPEND_DATE_TIME(&set, "standing.next_at", mark);
    } else {
        BSON_APPEND_INT64(&set, "standing.rows_upto", mark);
    }
    bson_append_document_end(&update, &set);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

static int start(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    int64_t mark, count = hub_number(task, "standing.count", 0);
    char model[128] = "";
    const char *kept = hub_text(task, "standing.model");
    bson_error_t inner;
    if (kept != NULL) {
        snprintf(model, sizeof model, "%s", kept);
    }
    int result = is_due(hub, task, &mark, error);
    if (result > 0 && count > 0) {
        result = look_at_last(hub, task, count, model, error);
    }
    if (result <= 0) {
        return result;
    }
    if (create(hub, task, count + 1, model, &inner) < 0) {
        if (hub_error_code(&inner) == HUB_ERROR_INVALID) {
            return task_set_aside(hub, task, inner.message, error);
        }
        if (error != NULL) {
            *error = inner;
        }
        return -1;
    }
    return advance(hub, task, count, mark, model, error);
}

int task_standing_start(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    const char *project = hub_text(task, "project");
    if (project == NULL || hub_text(task, "_id") == NULL || hub_number(task, "standing.count", 0) < 0) {
        return 0;
    }
    char *own = bson_strdup(hub_project(hub));
    hub_set_project(hub, project);
    int result = start(hub, task, error);
    hub_set_project(hub, own);
    bson_free(own);
    return result;
}
