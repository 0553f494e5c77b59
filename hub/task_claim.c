/* SPDX-License-Identifier: Apache-2.0 */
/* The claim: one findAndModify on the claim index. */
#include "hub/fault.h"
#include "hub/schema.h"
#include "hub/task_impl.h"
#include "hub/task_shortlist.h"

#include <string.h>

#define MAX_SET_ASIDE 100 /* malformed tasks put away in one call */
#define MAX_VANISHED 10
#define MAX_LOOKED_AT 1000 /* of the first ones, for the malformed one */

static void claim_filter(const struct hub *hub, const struct task_claim_options *options, const char *state, bson_t *filter)
{
    bson_init(filter);
    BSON_APPEND_UTF8(filter, "project", options->project != NULL ? options->project : hub_project(hub));
    BSON_APPEND_UTF8(filter, "queue", options->queue != NULL ? options->queue : "default");
    BSON_APPEND_UTF8(filter, "resource_class", options->resource_class != NULL ? options->resource_class : "cpu");
    BSON_APPEND_INT32(filter, "lane", options->lane);
    BSON_APPEND_UTF8(filter, "state", state);
    if (options->name != NULL) {
        BSON_APPEND_UTF8(filter, "name", options->name);
    }
}

static void claim_sort(const struct task_claim_options *options, bson_t *sort)
{
    bson_init(sort);
    if (options->name != NULL) {
        BSON_APPEND_INT32(sort, "seq", -1);
    } else {
        BSON_APPEND_INT32(sort, "priority", -1);
        BSON_APPEND_INT32(sort, "seq", 1);
    }
}

/* The whole claim subdocument is set, so that no leaf of an earlier claim survives; what that claim left beside it goes. */
static void claim_update(const struct task_claim_options *options, const char *claim_id, bson_t *update)
{
    bson_t set, claim, part;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", "running");
    BSON_APPEND_DOCUMENT_BEGIN(&set, "claim", &claim);
    BSON_APPEND_UTF8(&claim, "id", claim_id);
    BSON_APPEND_UTF8(&claim, "runner", options->runner != NULL ? options->runner : "");
    if (options->worker != NULL) {
        BSON_APPEND_UTF8(&claim, "worker", options->worker);
    }
    if (options->lease_ms > 0) {
        BSON_APPEND_INT64(&claim, "lease_ms", options->lease_ms < TASK_LEASE_MOST_MS ? options->lease_ms : TASK_LEASE_MOST_MS);
    }
    BSON_APPEND_INT64(&claim, "beat", 0);
    bson_append_document_end(&set, &claim);
    BSON_APPEND_BOOL(&set, "started", false);
    bson_append_document_end(update, &set);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$inc", &part);
    BSON_APPEND_INT32(&part, "claims", 1);
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$unset", &part);
    static const char *const left[] = {"started_at", "progress", "request", "not_before", "error", "finished_at"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        BSON_APPEND_UTF8(&part, left[i], "");
    }
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "claimed_at", true);
    BSON_APPEND_BOOL(&part, "beat_at", true);
    bson_append_document_end(update, &part);
}

/* The reply was lost: is there a running task with my claim id? 1, 0, or -1 when it cannot be known now: then the
 * claim, if it was made, is left to take-back. */
static int ask(struct hub *hub, const struct task_claim_options *options, const char *claim_id, bson_t *task,
               bson_error_t *error)
{
    bson_t filter;
    int result = -1;
    claim_filter(hub, options, "running", &filter);
    BSON_APPEND_UTF8(&filter, "claim.id", claim_id);
    for (int i = 0; i < TASK_WRITE_TRIES && result < 0; i++) {
        if (i > 0) {
            bson_destroy(task);
            hub_sleep(50 << i);
        }
        result = store_find_one(hub_store(hub), TASKS, &filter, NULL, task, error);
    }
    bson_destroy(&filter);
    return result;
}

static int claim_by(struct hub *hub, const struct task_claim_options *options, const char *claim_id,
                    const bson_t *filter, const bson_t *sort, bson_t *task, bson_error_t *error)
{
    bson_t update;
    struct store_modify_options modify = {.sort = sort, .return_new = true};
    claim_update(options, claim_id, &update);
    TL_HISTORY("try claim - %s", claim_id);
    TL_FAULT("claim.before");
    int result = store_modify(hub_store(hub), TASKS, filter, &update, &modify, task, error);
    TL_FAULT("claim.after");
    if (result < 0 && hub_unknown(error)) {
        bson_destroy(task);
        result = ask(hub, options, claim_id, task, error);
    }
    bson_destroy(&update);
    return result;
}

/* A task that was read ahead, else the first in order. An index gives SQLite the first one at once: nothing is read
 * ahead there. */
static int claim_once(struct hub *hub, const struct task_claim_options *options, const char *claim_id, bson_t *task,
                      bson_error_t *error)
{
    bson_t filter, sort, listed;
    struct task_shortlist **shortlist = hub_shortlist(hub);
    bool reads_ahead = !store_batch_is_atomic(hub_store(hub));
    int result = 0;
    claim_filter(hub, options, "ready", &filter);
    claim_sort(options, &sort);
    bson_init(&listed);
    if (reads_ahead && task_shortlist_next(*shortlist, options, &listed) > 0) {
        bson_concat(&listed, &filter);
        result = claim_by(hub, options, claim_id, &listed, NULL, task, error);
        if (result <= 0) {
            task_shortlist_missed(*shortlist, options);
        }
        if (result == 0 || (result < 0 && hub_error_code(error) == HUB_ERROR_INVALID)) {
            bson_destroy(task);
            result = 0;
        }
    }
    if (result == 0) {
        result = claim_by(hub, options, claim_id, &filter, &sort, task, error);
        if (result > 0 && reads_ahead) {
            task_shortlist_claimed(hub, shortlist, options, &filter, &sort);
        }
    }
    bson_destroy(&listed);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}

/* Put away: the callback hears of it. */
static int put_away(const struct task_claim_options *options, const bson_t *task, const char *message, int result)
{
    if (result > 0 && options->set_aside != NULL) {
        options->set_aside(task, message, options->data);
    }
    return result;
}

static int set_aside(struct hub *hub, const struct task_claim_options *options, const bson_t *task, const char *message,
                     bson_error_t *error)
{
    return put_away(options, task, message, task_set_aside(hub, task, message, error));
}

/* The same for a task that was just claimed. The claim's id names it: its own _id may be one that no filter can name,
 * and a task that runs for ever keeps the queue from ever being empty. */
static int set_aside_claimed(struct hub *hub, const struct task_claim_options *options, const char *claim_id,
                             const bson_t *task, const char *message, bson_error_t *error)
{
    bson_t filter, update;
    claim_filter(hub, options, "running", &filter);
    BSON_APPEND_UTF8(&filter, "claim.id", claim_id);
    task_end_update(&update, "failed", message, NULL);
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return put_away(options, task, message, result);
}

/* A task that a claim would take is of wrong types, so that the claim itself fails (claims: "many"): it is put away. It
 * is among the first, though not surely the first: others may have the same priority and seq. 1, 0 when all of those
 * are in order, -1. */
static int set_aside_first(struct hub *hub, const struct task_claim_options *options, bson_error_t *error)
{
    bson_t filter, sort;
    const bson_t *found;
    bson_t *malformed = NULL;
    bson_error_t inner;
    int result = -1;
    claim_filter(hub, options, "ready", &filter);
    claim_sort(options, &sort);
    struct store_find_options find = {.sort = &sort, .limit = MAX_LOOKED_AT, .any_tie = true};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, &find, error);
    while (cursor != NULL && malformed == NULL && (result = store_cursor_next(cursor, &found, error)) > 0) {
        if (schema_check("task", found, &inner) < 0) {
            malformed = bson_copy(found);
        }
    }
    store_cursor_close(cursor);
    if (malformed != NULL) {
        result = set_aside(hub, options, malformed, inner.message, error);
        bson_destroy(malformed);
    }
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}

int task_claim(struct hub *hub, const struct task_claim_options *options, bson_t *task, struct task_fence *fence,
               bson_error_t *error)
{
    bson_error_t inner = {0};
    int vanished = 0; /* malformed tasks that another runner put away first */
    memset(fence, 0, sizeof *fence);
    bson_init(task);
    for (int i = 0; i < MAX_SET_ASIDE; i++) {
        char claim_id[HUB_ID_SIZE];
        hub_random_id(claim_id);
        bson_destroy(task);
        int result = claim_once(hub, options, claim_id, task, &inner);
        if (result == 0) {
            return 0;
        }
        if (result < 0) {
            int aside = hub_error_code(&inner) == HUB_ERROR_INVALID ? set_aside_first(hub, options, error) : 0;
            if (i + 1 < MAX_SET_ASIDE &&
                (aside > 0 || (aside == 0 && hub_error_code(&inner) == HUB_ERROR_INVALID && ++vanished < MAX_VANISHED))) {
                continue;
            }
            if (aside >= 0 && error != NULL) {
                *error = inner;
            }
            return -1;
        }
        int fits = schema_check("task", task, &inner);
        if (fits > 0 && task_fill_fence(task, claim_id, fence)) {
            TL_HISTORY("did claim %s %s 1 %" PRId64 " %" PRId64, fence->task_id, claim_id, hub_number(task, "run", 1),
                       hub_number(task, "claims", 0));
            return 1;
        }
        /* Claimed, and of no use to anyone: it has failed, and the next one is asked for. */
        if (fits > 0) {
            hub_error(&inner, HUB_ERROR_INVALID, "task._id: it is no text that a task can be found by");
        }
        if (set_aside_claimed(hub, options, claim_id, task, inner.message, error) < 0) {
            break;
        }
        if (i + 1 == MAX_SET_ASIDE) {
            hub_error(error, HUB_ERROR_INVALID,
                      "%d malformed tasks in a row were set aside as failed; the last: %.300s", MAX_SET_ASIDE, inner.message);
        }
    }
    bson_reinit(task);
    return -1;
}

int task_explain_claim(struct hub *hub, const struct task_claim_options *options, bson_t *out, bson_error_t *error)
{
    static const struct task_claim_options defaults = {.runner = ""};
    bson_t filter, sort;
    options = options != NULL ? options : &defaults;
    claim_filter(hub, options, "ready", &filter);
    claim_sort(options, &sort);
    struct store_find_options find = {.sort = &sort, .limit = 1, .any_tie = true};
    int result = store_explain(hub_store(hub), TASKS, &filter, &find, out, error);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}
