/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of kind "outside": another program does them, and no runner claims them (their class is "outside"). Who asks is given
 * one, which is "paused" from then on; who tells ends it. Each is one update of one document. */
#include "hub/task_impl.h"

#include <math.h>

/* The sweep's tasks in this state. They have its name: by name and state an index leads to the few that are ready or handed
 * out, where a sweep has tens of thousands that have ended. */
static int append_outside(struct hub *hub, const char *sweep, const char *state, bson_t *filter, bson_error_t *error)
{
    bson_t by_id = BSON_INITIALIZER, projection = BSON_INITIALIZER, record;
    struct store_find_options options = {.projection = &projection};
    BSON_APPEND_UTF8(&by_id, "_id", sweep);
    BSON_APPEND_INT32(&projection, "name", 1);
    int found = store_find_one(hub_store(hub), "sweeps", &by_id, &options, &record, error);
    const char *name = found > 0 ? hub_text(&record, "name") : NULL;
    BSON_APPEND_UTF8(filter, "project", hub_project(hub));
    if (name != NULL) {
        BSON_APPEND_UTF8(filter, "name", name);
    }
    BSON_APPEND_UTF8(filter, "state", state);
    BSON_APPEND_UTF8(filter, "sweep", sweep);
    BSON_APPEND_UTF8(filter, "kind", "outside");
    bson_destroy(&record);
    bson_destroy(&projection);
    bson_destroy(&by_id);
    return found < 0 ? -1 : 0;
}

/* ready → paused, of the first that matches. */
static int hand_out(struct hub *hub, const bson_t *filter, bson_t *task, bson_error_t *error)
{
    bson_t update = BSON_INITIALIZER, sort = BSON_INITIALIZER, part;
    struct store_modify_options options = {.sort = &sort, .return_new = true};
    BSON_APPEND_INT32(&sort, "seq", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", "paused");
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "claimed_at", true);
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), TASKS, filter, &update, &options, task, error);
    bson_destroy(&update);
    bson_destroy(&sort);
    return result;
}

int task_hand_out(struct hub *hub, const char *sweep, bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_init(task);
    int result = append_outside(hub, sweep, "ready", &filter, error);
    if (result == 0) {
        bson_destroy(task);
        result = hand_out(hub, &filter, task, error);
    }
    bson_destroy(&filter);
    return result;
}

int task_hand_out_again(struct hub *hub, const bson_t *told, bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    task_append_key(&filter, told);
    BSON_APPEND_UTF8(&filter, "state", "ready");
    int result = hand_out(hub, &filter, task, error);
    bson_destroy(&filter);
    return result;
}

/* ---- rungs ---- */

int64_t task_outside_until(const bson_t *task)
{
    char path[40];
    snprintf(path, sizeof path, "rungs.epochs.%" PRId64, hub_number(task, "rungs.count", 0));
    return hub_number(task, path, hub_number(task, "rungs.end", 0));
}

static bool is_rung(const bson_t *task, int64_t epoch)
{
    bson_t epochs;
    return hub_view(task, "rungs.epochs", &epochs) && hub_number(task, "rungs.count", 0) < bson_count_keys(&epochs) &&
           task_outside_until(task) == epoch;
}

/* The rungs of a task with one more. */
static void append_rung(const bson_t *task, const char *metric, const bson_t *metrics, bson_t *set)
{
    bson_t rungs, before, values;
    bson_iter_t at;
    double value = NAN;
    uint32_t count = 0;
    char key[16];
    const char *name;
    BSON_APPEND_DOCUMENT_BEGIN(set, "rungs", &rungs);
    if (hub_view(task, "rungs", &before)) {
        hub_copy_without(&before, &rungs, "count", "values", "metrics", "waits", NULL);
    }
    BSON_APPEND_ARRAY_BEGIN(&rungs, "values", &values);
    bool more = hub_view(task, "rungs.values", &before) && bson_iter_init(&at, &before);
    while (more && bson_iter_next(&at)) {
        bson_append_iter(&values, NULL, 0, &at);
        count++;
    }
    hub_double(metrics, metric, &value);
    size_t digits = bson_uint32_to_string(count++, &name, key, sizeof key);
    bson_append_double(&values, name, (int)digits, value);
    bson_append_array_end(&rungs, &values);
    BSON_APPEND_INT64(&rungs, "count", count);
    BSON_APPEND_DOCUMENT(&rungs, "metrics", metrics);
    BSON_APPEND_BOOL(&rungs, "waits", true);
    bson_append_document_end(set, &rungs);
}

static int park_told(struct hub *hub, const bson_t *filter, const bson_t *found, const char *metric, const bson_t *metrics,
                     bson_t *task, bson_error_t *error)
{
    bson_t same, update = BSON_INITIALIZER, set;
    bson_iter_t iter, count;
    struct store_modify_options options = {.return_new = true};
    bson_copy_to(filter, &same);
    bool counted = bson_iter_init(&iter, found) && bson_iter_find_descendant(&iter, "rungs.count", &count);
    task_append_same(&same, "rungs.count", counted ? &count : NULL);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", "parked");
    append_rung(found, metric, metrics, &set);
    bson_append_document_end(&update, &set);
    int result = store_modify(hub_store(hub), TASKS, &same, &update, &options, task, error);
    bson_destroy(&update);
    bson_destroy(&same);
    return result;
}

int task_tell_rung(struct hub *hub, const char *sweep, int64_t point, int64_t epoch, const char *metric, const bson_t *metrics,
                   bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, found;
    int result = append_outside(hub, sweep, "paused", &filter, error);
    BSON_APPEND_INT64(&filter, "point_number", point);
    bson_init(task);
    bson_init(&found);
    if (result == 0) {
        bson_destroy(&found);
        result = store_find_one(hub_store(hub), TASKS, &filter, NULL, &found, error);
    }
    if (result > 0 && !is_rung(&found, epoch)) {
        int64_t next = task_outside_until(&found);
        result = next == 0 ? hub_error(error, HUB_ERROR_INVALID, "its sweep has no rungs (early_terminate of type asha)")
                           : hub_error(error, HUB_ERROR_INVALID, "epoch %" PRId64 " is not what it was to be trained up to: that is %" PRId64 "%s", epoch,
                                       next, next == hub_number(&found, "rungs.end", 0) ? ", its end (tell without --epoch)" : "");
    } else if (result > 0) {
        bson_destroy(task);
        result = park_told(hub, &filter, &found, metric, metrics, task, error);
    }
    bson_destroy(&found);
    bson_destroy(&filter);
    return result;
}

/* ---- ends ---- */

static void append_told(const bson_t *metrics, const char *failure, bson_t *update)
{
    bson_t part, inner;
    char id[HUB_ID_SIZE];
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    BSON_APPEND_UTF8(&part, "state", failure != NULL ? "failed" : "done");
    if (failure != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(&part, "error", &inner);
        BSON_APPEND_UTF8(&inner, "message", failure);
        bson_append_document_end(&part, &inner);
    } else {
        hub_random_id(id);
        BSON_APPEND_DOCUMENT_BEGIN(&part, "result", &inner);
        BSON_APPEND_UTF8(&inner, "claim_id", id);
        BSON_APPEND_DOCUMENT(&inner, "metrics", metrics);
        bson_append_document_end(&part, &inner);
        BSON_APPEND_BOOL(&part, "published", true);
    }
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "finished_at", true);
    bson_append_document_end(update, &part);
}

/* One that was handed out comes before one that nobody asked for. */
int task_tell(struct hub *hub, const char *sweep, int64_t point, const bson_t *metrics, const char *failure, bson_t *task,
              bson_error_t *error)
{
    static const char *const states[] = {"paused", "ready"};
    bson_t update = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    struct store_modify_options options = {.sort = &sort, .return_new = true};
    int result = 0;
    BSON_APPEND_INT32(&sort, "seq", 1);
    append_told(metrics, failure, &update);
    bson_init(task);
    for (int i = 0; i < 2 && result == 0; i++) {
        bson_t filter = BSON_INITIALIZER;
        result = append_outside(hub, sweep, states[i], &filter, error);
        BSON_APPEND_INT64(&filter, "point_number", point);
        if (result == 0) {
            bson_destroy(task);
            result = store_modify(hub_store(hub), TASKS, &filter, &update, &options, task, error);
        }
        bson_destroy(&filter);
    }
    bson_destroy(&update);
    bson_destroy(&sort);
    return result;
}
