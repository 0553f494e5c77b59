/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/model_retain.h"

#include "hub/fault.h"
#include "hub/query_text.h"
#include "hub/task_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODELS "models"

struct ranked {
    char id[HUB_ID_SIZE];
    bson_oid_t blob;
    bool known; /* has an objective */
    double objective;
};

struct ranking {
    struct ranked *list;
    size_t count, capacity;
};

/* ---- who has weights, the best first ---- */

static int compare(const void *a, const void *b, bool minimize)
{
    const struct ranked *x = a, *y = b;
    if (x->known != y->known) {
        return x->known ? -1 : 1;
    }
    if (x->known && x->objective != y->objective) {
        return (x->objective < y->objective) == minimize ? -1 : 1;
    }
    return strcmp(x->id, y->id); /* the same order for everybody */
}

static int least_first(const void *a, const void *b)
{
    return compare(a, b, true);
}

static int greatest_first(const void *a, const void *b)
{
    return compare(a, b, false);
}

/* {blob_id: any}: an ObjectId above the least, which the index serves. */
static void append_has_blob(bson_t *filter)
{
    bson_t above;
    bson_oid_t least;
    memset(&least, 0, sizeof least);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "blob_id", &above);
    BSON_APPEND_OID(&above, "$gt", &least);
    bson_append_document_end(filter, &above);
}

static void append_condition(bson_t *filter, const char *key, const char *operator, bool value)
{
    bson_t condition;
    BSON_APPEND_DOCUMENT_BEGIN(filter, key, &condition);
    BSON_APPEND_BOOL(&condition, operator, value);
    bson_append_document_end(filter, &condition);
}

static void take(struct ranking *ranking, const bson_t *model)
{
    bson_iter_t blob;
    const char *id = hub_text(model, "_id");
    if (id == NULL || strlen(id) >= HUB_ID_SIZE || !bson_iter_init_find(&blob, model, "blob_id") || !BSON_ITER_HOLDS_OID(&blob)) {
        return;
    }
    if (ranking->count == ranking->capacity) {
        ranking->capacity = ranking->capacity > 0 ? 2 * ranking->capacity : 64;
        ranking->list = bson_realloc(ranking->list, ranking->capacity * sizeof *ranking->list);
    }
    struct ranked *ranked = &ranking->list[ranking->count++];
    memset(ranked, 0, sizeof *ranked);
    memcpy(ranked->id, id, strlen(id));
    ranked->blob = *bson_iter_oid(&blob);
    ranked->known = hub_double(model, "objective", &ranked->objective) && !isnan(ranked->objective);
}

static int rank(struct hub *hub, const struct model_retention *retention, struct ranking *ranking, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, run;
    const bson_t *model;
    int next = -1;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(&filter, "sweep", retention->sweep);
    append_has_blob(&filter);
    append_condition(&filter, "final", "$ne", false);
    append_condition(&filter, "deleted", "$ne", true);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "run", &run);
    BSON_APPEND_INT32(&run, "$lte", 1);
    bson_append_document_end(&filter, &run);
    BSON_APPEND_INT32(&projection, "blob_id", 1);
    BSON_APPEND_INT32(&projection, "objective", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), MODELS, &filter, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &model, error)) == 1) {
        take(ranking, model);
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&filter);
    if (ranking->count > 0) {
        qsort(ranking->list, ranking->count, sizeof *ranking->list, retention->minimize ? least_first : greatest_first);
    }
    return cursor == NULL || next < 0 ? -1 : 1;
}

/* ---- what is still wanted ---- */

struct wanted {
    struct query **queries;
    size_t count, capacity;
};

static void want(struct wanted *wanted, const bson_t *filter)
{
    struct query *query = query_parse(filter, NULL);
    if (query == NULL) {
        return; /* its task will fail, and say why */
    }
    if (wanted->count == wanted->capacity) {
        wanted->capacity = wanted->capacity > 0 ? 2 * wanted->capacity : 16;
        wanted->queries = bson_realloc(wanted->queries, wanted->capacity * sizeof(struct query *));
    }
    wanted->queries[wanted->count++] = query;
}

static void want_text(struct wanted *wanted, const char *key, const char *text)
{
    bson_t filter = BSON_INITIALIZER;
    if (text != NULL) {
        BSON_APPEND_UTF8(&filter, key, text);
        want(wanted, &filter);
    }
    bson_destroy(&filter);
}

static void want_field(struct wanted *wanted, const bson_t *task, const char *field)
{
    const char *text = hub_text(task, field);
    bson_t filter;
    if (text != NULL && query_text_is(text)) {
        if (query_text_read(text, &filter, NULL) == 0) {
            want(wanted, &filter);
        }
        bson_destroy(&filter);
    } else if (text != NULL) {
        want_text(wanted, "name", text);
    } else if (hub_view(task, field, &filter)) {
        want(wanted, &filter);
    }
}

/* The queries of all tasks that have not ended. */
static int find_wanted(struct hub *hub, struct wanted *wanted, bson_error_t *error)
{
    static const char *const open[] = {"waiting", "delayed", "ready", "running", "paused", "parked"};
    static const char *const fields[] = {"model", "initial_model", "standing"};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, in, list, any, one;
    const bson_t *task;
    int next = -1;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "state", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (uint32_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        const char *key;
        char buffer[16];
        bson_uint32_to_string(i, &key, buffer, sizeof buffer);
        BSON_APPEND_UTF8(&list, key, open[i]);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    BSON_APPEND_ARRAY_BEGIN(&filter, "$or", &any);
    for (uint32_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const char *key;
        char buffer[16];
        bson_uint32_to_string(i, &key, buffer, sizeof buffer);
        BSON_APPEND_DOCUMENT_BEGIN(&any, key, &one);
        append_condition(&one, fields[i], "$exists", true);
        bson_append_document_end(&any, &one);
        BSON_APPEND_INT32(&projection, fields[i], 1);
    }
    bson_append_array_end(&filter, &any);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &task, error)) == 1) {
        want_field(wanted, task, "model");
        want_field(wanted, task, "initial_model");
        want_text(wanted, "_id", hub_text(task, "standing.model"));
        want_text(wanted, "task", hub_text(task, "standing.last"));
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&filter);
    return cursor == NULL || next < 0 ? -1 : 1;
}

static bool is_wanted(const struct wanted *wanted, const bson_t *model)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (query_matches(wanted->queries[i], model)) {
            return true;
        }
    }
    return false;
}

/* ---- dropping ---- */

/* The model's pointer goes, if it still is this one. 1, 0, -1. */
static int drop_pointer(struct hub *hub, const bson_t *model, const bson_iter_t *blob, int64_t keep, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    char why[80];
    snprintf(why, sizeof why, "keep_weights: best %" PRId64 " of its sweep", keep);
    BSON_APPEND_UTF8(&filter, "_id", hub_text(model, "_id"));
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_OID(&filter, "blob_id", bson_iter_oid(blob));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "weights_dropped", why);
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "blob_id", "");
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), MODELS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* Those of epochs first: were the run's own to go first, nobody would come by them again. A wanted one stays. */
static int drop_epochs(struct hub *hub, const bson_t *model, const struct wanted *wanted, int64_t keep, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *epoch;
    bson_iter_t blob;
    int next = -1, result = 1;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(&filter, "task", hub_text(model, "task"));
    BSON_APPEND_INT64(&filter, "run", hub_number(model, "run", 1));
    BSON_APPEND_BOOL(&filter, "final", false);
    append_condition(&filter, "deleted", "$ne", true);
    struct store_cursor *cursor = store_find(hub_store(hub), MODELS, &filter, NULL, error);
    while (cursor != NULL && result >= 0 && (next = store_cursor_next(cursor, &epoch, error)) == 1) {
        if (bson_iter_init_find(&blob, epoch, "blob_id") && BSON_ITER_HOLDS_OID(&blob) && !is_wanted(wanted, epoch)) {
            result = drop_pointer(hub, epoch, &blob, keep, error);
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    return cursor == NULL || next < 0 || result < 0 ? -1 : 1;
}

/* ---- epochs of runs that ended without a model of their own ---- */

/* Whether the epochs of this run of the task are nobody's any more: it has ended, everything of it is published, or it is a run that
 * the task left behind. A second or later run's stay, as its model does, until the task leaves it. */
static bool run_is_over(const bson_t *task, int64_t run)
{
    static const char *const ended[] = {"done", "stopped", "cancelled", "failed", "dead"};
    const char *state = hub_text(task, "state");
    int64_t now = hub_number(task, "run", 1);
    bson_iter_t iter;
    bool published = !bson_iter_init_find(&iter, task, "published") || bson_iter_as_bool(&iter);
    bool over = false;
    for (size_t i = 0; state != NULL && i < sizeof ended / sizeof ended[0]; i++) {
        over = over || strcmp(state, ended[i]) == 0;
    }
    return now > run || (now == run && run <= 1 && over && published);
}

/* The task first, its models after it: what is published by then is seen. 1, 0, -1. */
static int run_is_left(struct hub *hub, const char *id, int64_t run, bson_error_t *error)
{
    bson_t by_id = BSON_INITIALIZER, filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, task;
    struct store_find_options options = {.projection = &projection};
    task_append_id(&by_id, "_id", id);
    BSON_APPEND_UTF8(&by_id, "project", hub_project(hub));
    BSON_APPEND_INT32(&projection, "state", 1);
    BSON_APPEND_INT32(&projection, "run", 1);
    BSON_APPEND_INT32(&projection, "published", 1);
    int there = store_find_one(hub_store(hub), TASKS, &by_id, &options, &task, error);
    bool left = there == 0 || (there > 0 && run_is_over(&task, run));
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(&filter, "task", id);
    BSON_APPEND_INT64(&filter, "run", run);
    append_has_blob(&filter);
    append_condition(&filter, "final", "$ne", false);
    append_condition(&filter, "deleted", "$ne", true);
    int64_t finals = left ? store_count(hub_store(hub), MODELS, &filter, error) : 0;
    bson_destroy(&task);
    bson_destroy(&projection);
    bson_destroy(&filter);
    bson_destroy(&by_id);
    return there < 0 || finals < 0 ? -1 : left && finals == 0;
}

struct epochs {
    bson_t **list; /* {_id, task, run, blob_id} */
    size_t count, capacity;
};

static int by_run(const void *a, const void *b)
{
    const bson_t *x = *(bson_t *const *)a, *y = *(bson_t *const *)b;
    int order = strcmp(hub_text(x, "task"), hub_text(y, "task"));
    int64_t mine = hub_number(x, "run", 1), other = hub_number(y, "run", 1);
    return order != 0 ? order : (mine > other) - (mine < other);
}

static void take_epoch(struct epochs *epochs, const bson_t *model)
{
    if (hub_text(model, "_id") == NULL || hub_text(model, "task") == NULL) {
        return;
    }
    if (epochs->count == epochs->capacity) {
        epochs->capacity = epochs->capacity > 0 ? 2 * epochs->capacity : 64;
        epochs->list = bson_realloc(epochs->list, epochs->capacity * sizeof *epochs->list);
    }
    epochs->list[epochs->count++] = bson_copy(model);
}

/* The sweep's epochs that have weights, one run after the other. They are sorted here: what a server may sort is bounded. */
static int find_epochs(struct hub *hub, const char *sweep, struct epochs *epochs, bson_error_t *error)
{
    static const char *const paths[] = {"task", "run", "blob_id"};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    const bson_t *model;
    int next = -1;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(&filter, "sweep", sweep);
    append_has_blob(&filter);
    BSON_APPEND_BOOL(&filter, "final", false);
    append_condition(&filter, "deleted", "$ne", true);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), MODELS, &filter, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &model, error)) == 1) {
        take_epoch(epochs, model);
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&filter);
    if (epochs->count > 0) {
        qsort(epochs->list, epochs->count, sizeof *epochs->list, by_run);
    }
    return cursor == NULL || next < 0 ? -1 : 1;
}

/* 1 dropped, 0 it is wanted or gone, -1. */
static int drop_epoch(struct hub *hub, const bson_t *epoch, const struct wanted *wanted, int64_t keep, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, whole;
    bson_iter_t blob;
    BSON_APPEND_UTF8(&filter, "_id", hub_text(epoch, "_id"));
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    int result = store_find_one(hub_store(hub), MODELS, &filter, NULL, &whole, error);
    if (result > 0 && !is_wanted(wanted, &whole) && bson_iter_init_find(&blob, &whole, "blob_id") && BSON_ITER_HOLDS_OID(&blob)) {
        result = drop_pointer(hub, &whole, &blob, keep, error);
    } else if (result > 0) {
        result = 0;
    }
    bson_destroy(&whole);
    bson_destroy(&filter);
    return result;
}

/* How many lost their weights, or -1. Each run is asked for once. looked: whether wanted is known already. */
static int64_t drop_left(struct hub *hub, const struct model_retention *retention, struct wanted *wanted, bool looked,
                         bson_error_t *error)
{
    struct epochs epochs = {0};
    int64_t dropped = 0;
    int left = 0, result = find_epochs(hub, retention->sweep, &epochs, error);
    for (size_t i = 0; i < epochs.count && result >= 0; i++) {
        const bson_t *epoch = epochs.list[i];
        if (i == 0 || by_run(&epochs.list[i - 1], &epochs.list[i]) != 0) {
            left = result = run_is_left(hub, hub_text(epoch, "task"), hub_number(epoch, "run", 1), error);
        }
        if (left > 0 && !looked) {
            looked = true;
            result = find_wanted(hub, wanted, error);
        }
        if (left > 0 && result >= 0) {
            result = drop_epoch(hub, epoch, wanted, retention->keep, error);
            dropped += result > 0;
        }
    }
    for (size_t i = 0; i < epochs.count; i++) {
        bson_destroy(epochs.list[i]);
    }
    bson_free(epochs.list);
    return result < 0 ? -1 : dropped;
}

/* ---- a run's own model, and what goes with it ---- */

/* The task's pointer, before the model's. 1 it points there no more, 0 its model is not published yet, -1. */
static int drop_result(struct hub *hub, const bson_t *model, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    int64_t held_back = 0;
    task_append_id(&filter, "_id", hub_text(model, "task"));
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(&filter, "result.claim_id", hub_text(model, "_id"));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "result.blob_id", "");
    bson_append_document_end(&update, &part);
    bson_t published = BSON_INITIALIZER, unpublished = BSON_INITIALIZER;
    bson_concat(&published, &filter);
    BSON_APPEND_BOOL(&published, "published", true);
    bson_concat(&unpublished, &filter);
    BSON_APPEND_BOOL(&unpublished, "published", false);
    int64_t changed = store_update(hub_store(hub), TASKS, &published, &update, error);
    if (changed == 0) {
        held_back = store_count(hub_store(hub), TASKS, &unpublished, error);
    }
    bson_destroy(&unpublished);
    bson_destroy(&published);
    bson_destroy(&update);
    bson_destroy(&filter);
    return changed < 0 || held_back < 0 ? -1 : held_back == 0;
}

static int drop(struct hub *hub, const struct ranked *ranked, const struct wanted *wanted, int64_t keep, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, model;
    bson_iter_t blob;
    BSON_APPEND_UTF8(&filter, "_id", ranked->id);
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_OID(&filter, "blob_id", &ranked->blob);
    int result = store_find_one(hub_store(hub), MODELS, &filter, NULL, &model, error);
    bool may = result > 0 && hub_text(&model, "task") != NULL && bson_iter_init_find(&blob, &model, "blob_id");
    if (may && is_wanted(wanted, &model)) {
        may = false;
    }
    if (may) {
        result = drop_epochs(hub, &model, wanted, keep, error);
    }
    if (may && result > 0) {
        TL_FAULT("retain_result.before");
        result = drop_result(hub, &model, error);
    }
    if (may && result > 0) {
        TL_FAULT("retain_model.before");
        result = drop_pointer(hub, &model, &blob, keep, error);
    }
    bson_destroy(&model);
    bson_destroy(&filter);
    return result < 0 ? -1 : may && result > 0;
}

int64_t model_retain(struct hub *hub, const struct model_retention *retention, bson_error_t *error)
{
    struct ranking ranking = {0};
    struct wanted wanted = {0};
    int64_t dropped = 0;
    int result = rank(hub, retention, &ranking, error);
    size_t keep = retention->keep > 0 ? (size_t)retention->keep : 0;
    bool looked = result > 0 && ranking.count > keep;
    if (looked) {
        result = find_wanted(hub, &wanted, error);
    }
    for (size_t i = keep; i < ranking.count && result >= 0; i++) {
        result = drop(hub, &ranking.list[i], &wanted, retention->keep, error);
        dropped += result > 0;
    }
    int64_t left = result < 0 ? -1 : drop_left(hub, retention, &wanted, looked, error);
    for (size_t i = 0; i < wanted.count; i++) {
        query_free(wanted.queries[i]);
    }
    bson_free(wanted.queries);
    bson_free(ranking.list);
    return left < 0 ? -1 : dropped + left;
}

void model_say_no_weights(const bson_t *model, char *text, size_t size)
{
    const char *id = hub_text(model, "_id"), *why = hub_text(model, "weights_dropped");
    if (why == NULL) {
        snprintf(text, size, "model %.64s has no weights", id != NULL ? id : "");
    } else {
        snprintf(text, size, "model %.64s: its weights were dropped (%.80s); tl_hub restart-task '#%" PRId64 "' trains it again, "
                 "and those are kept", id != NULL ? id : "", why, hub_number(model, "task_seq", 0));
    }
}
