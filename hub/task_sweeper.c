/* SPDX-License-Identifier: Apache-2.0 */
/* Take-back. No clock of another machine is looked at: a task is taken back when this process has itself seen the
 * same (claim.id, claim.beat) for one whole lease of its own CLOCK_BOOTTIME, by reads that lay no further apart than a
 * third of its lease. The lease is the one that the claim names, where that is longer than the sweeper's own. One sweeper acts at a time; it is elected by a lease of the same kind (task_sweeper_elect.c). */
#include "hub/fault.h"
#include "hub/runner_record.h"
#include "hub/task_sweeper_impl.h"

#include <stdlib.h>
#include <string.h>

#define FLEET 20             /* so many runners look at the leader as often as two would; more look more seldom */
#define WATCH_MOST_MS 600000 /* but at least so often */
#define COUNT_MS 60000       /* the leader counts the runners */
#define TIDY_MS 3600000      /* and removes old records */

struct task_sweeper *task_sweeper_new(int64_t lease_ms)
{
    struct task_sweeper *sweeper = bson_malloc0(sizeof *sweeper);
    sweeper->lease_ms = lease_ms > 0 ? lease_ms : TASK_LEASE_MS;
    sweeper->suspicious = true;
    hub_random_id(sweeper->holder);
    return sweeper;
}

static void forget(struct task_sweeper *sweeper)
{
    for (size_t i = 0; i < sweeper->count; i++) {
        sighting_clear(&sweeper->sightings[i]);
    }
    sweeper->count = 0;
    sweeper->contact = 0;
}

void task_sweeper_free(struct task_sweeper *sweeper)
{
    if (sweeper == NULL) {
        return;
    }
    forget(sweeper);
    sighting_clear(&sweeper->leader);
    bson_free(sweeper->sightings);
    bson_free(sweeper);
}

/* ---- watching ---- */

static char *key_of(const bson_t *task)
{
    bson_t value;
    sighting_values(task, "project", "_id", &value);
    char *key = bson_as_canonical_extended_json(&value, NULL);
    if (key == NULL) { /* what is not UTF-8 has no JSON; each of them is watched by itself */
        key = bson_malloc(65);
        hub_sha256(bson_get_data(&value), value.len, key);
    }
    bson_destroy(&value);
    return key;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct sighting *)a)->key, ((const struct sighting *)b)->key);
}

/* Tasks that stood still: what was seen of them, for the compare and set. */
struct suspects {
    bson_t **list;
    size_t count, capacity;
};

static void add_suspect(struct suspects *suspects, const bson_t *task)
{
    if (suspects->count == suspects->capacity) {
        suspects->capacity = suspects->capacity > 0 ? 2 * suspects->capacity : 16;
        suspects->list = bson_realloc(suspects->list, suspects->capacity * sizeof *suspects->list);
    }
    suspects->list[suspects->count++] = bson_copy(task);
}

static void free_suspects(struct suspects *suspects)
{
    for (size_t i = 0; i < suspects->count; i++) {
        bson_destroy(suspects->list[i]);
    }
    bson_free(suspects->list);
}

struct fresh {
    struct sighting *list;
    size_t count, capacity;
};

static void add_fresh(struct fresh *fresh, char *key, const bson_t *value, uint64_t round)
{
    if (fresh->count == fresh->capacity) {
        fresh->capacity = fresh->capacity > 0 ? 2 * fresh->capacity : 64;
        fresh->list = bson_realloc(fresh->list, fresh->capacity * sizeof *fresh->list);
    }
    struct sighting *sighting = &fresh->list[fresh->count++];
    memset(sighting, 0, sizeof *sighting);
    sighting->key = key;
    sighting->round = round;
    sighting_keep(sighting, value, INT64_MAX); /* since when is known at the end of the read */
}

static struct store_cursor *find_running(struct hub *hub, bson_error_t *error)
{
    static const char *const paths[] = {"project", "lane",    "seq",     "state", "claim.id",    "claim.beat", "claim.lease_ms",
                                        "started", "crashes", "lost",  "max_crashes", "request"};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "state", "running");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, &options, error);
    bson_destroy(&projection);
    bson_destroy(&filter);
    return cursor;
}

/* Runners of one hub may have different leases: who beats every quarter of an hour is not dead to who beats every second. */
static int64_t lease_of(const struct task_sweeper *sweeper, const bson_t *task)
{
    int64_t named = hub_number(task, "claim.lease_ms", 0);
    return named > sweeper->lease_ms && named <= TASK_LEASE_MOST_MS ? named : sweeper->lease_ms;
}

/* After a read of all: new sightings join, those not seen again go. */
static void merge(struct task_sweeper *sweeper, struct fresh *fresh, int64_t end)
{
    size_t kept = 0;
    for (size_t i = 0; i < sweeper->count; i++) {
        if (sweeper->sightings[i].round == sweeper->round) {
            sweeper->sightings[kept++] = sweeper->sightings[i];
        } else {
            sighting_clear(&sweeper->sightings[i]);
        }
    }
    sweeper->count = kept;
    if (fresh->count > 0) {
        sweeper->sightings = bson_realloc(sweeper->sightings, (kept + fresh->count) * sizeof *sweeper->sightings);
        memcpy(sweeper->sightings + kept, fresh->list, fresh->count * sizeof *fresh->list);
        sweeper->count = kept + fresh->count;
    }
    for (size_t i = 0; i < sweeper->count; i++) {
        if (sweeper->sightings[i].since == INT64_MAX) {
            sweeper->sightings[i].since = end;
        }
    }
    if (sweeper->count > 0) {
        qsort(sweeper->sightings, sweeper->count, sizeof *sweeper->sightings, by_key);
    }
    bson_free(fresh->list);
}

/* Reads all running tasks; those that stood still for a lease join suspects. -1: nothing was learnt. */
static int observe(struct task_sweeper *sweeper, struct hub *hub, struct suspects *suspects, bson_error_t *error)
{
    const bson_t *task;
    struct fresh fresh = {0};
    int64_t begin = hub_boottime();
    int next;
    if (sweeper->contact > 0 && begin - sweeper->contact > sweeper->lease_ms / 3) {
        forget(sweeper); /* beats in the gap were not seen: watching begins anew */
    }
    struct store_cursor *cursor = find_running(hub, error);
    if (cursor == NULL) {
        return -1;
    }
    sweeper->round++;
    sweeper->running = 0;
    while ((next = store_cursor_next(cursor, &task, error)) == 1) {
        bson_t value;
        struct sighting wanted = {.key = key_of(task)};
        struct sighting *seen = sweeper->count > 0 ? bsearch(&wanted, sweeper->sightings, sweeper->count,
                                                             sizeof *sweeper->sightings, by_key)
                                                   : NULL;
        sighting_values(task, "claim.id", "claim.beat", &value);
        sweeper->running++;
        if (seen == NULL) {
            add_fresh(&fresh, wanted.key, &value, sweeper->round);
        } else {
            if (!sighting_shows(seen, &value)) {
                sighting_keep(seen, &value, INT64_MAX);
            } else if (seen->since != INT64_MAX && begin - seen->since >= lease_of(sweeper, task)) {
                add_suspect(suspects, task);
            }
            seen->round = sweeper->round;
            bson_free(wanted.key);
        }
        bson_destroy(&value);
    }
    store_cursor_close(cursor);
    int64_t end = hub_boottime();
    merge(sweeper, &fresh, end);
    if (next < 0) {
        forget(sweeper);
        return -1;
    }
    sweeper->contact = end;
    return 1;
}

/* ---- acting ---- */

static void back_off(bson_t *set, const char *count_key, int64_t count, int64_t now, int64_t delay)
{
    BSON_APPEND_UTF8(set, "state", delay > 0 ? "delayed" : "ready");
    BSON_APPEND_INT64(set, count_key, count);
    if (delay > 0) {
        BSON_APPEND_DATE_TIME(set, "not_before", now + delay);
    }
    BSON_APPEND_BOOL(set, "started", false);
}

/* What becomes of a task whose holder stood still. */
static void take_back_update(const bson_t *task, int64_t now, int64_t lease_ms, bson_t *update)
{
    const char *requested = task_requested_state(task), *reason = hub_text(task, "request.reason");
    char message[200];
    bson_t set, part;
    bson_iter_t iter;
    const char *claim = hub_text(task, "claim.id");
    bool started = bson_iter_init_find(&iter, task, "started") && BSON_ITER_HOLDS_BOOL(&iter) && bson_iter_bool(&iter);
    int64_t crashes = hub_number(task, "crashes", 0) + 1, lost = hub_number(task, "lost", 0) + 1;
    if (requested != NULL) {
        task_end_update(update, requested, reason != NULL ? reason : "at the user's request", NULL);
        return;
    }
    if (started && crashes >= hub_number(task, "max_crashes", TASK_MAX_CRASHES)) {
        snprintf(message, sizeof message, "dead after %" PRId64 " crashes: the last runner was silent for %g s", crashes,
                 (double)lease_ms / 1000);
    } else if (!started && lost >= TASK_MAX_LOST) {
        snprintf(message, sizeof message, "dead: %" PRId64 " runners in a row fell silent before the work began", lost);
    } else {
        bson_init(update);
        BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
        if (started) {
            back_off(&set, "crashes", crashes, now, task_backoff_ms(crashes));
        } else {
            back_off(&set, "lost", lost, now, lost > 1 ? task_backoff_ms(lost - 1) : 0);
        }
        bson_append_document_end(update, &set);
        if (started) {
            snprintf(message, sizeof message, "its runner was silent for %g s", (double)lease_ms / 1000);
            task_append_history(update, claim, message, NULL, now);
        }
        return;
    }
    task_end_update(update, "dead", message, NULL);
    task_append_history(update, claim, message, NULL, now);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$max", &part); /* unlike $inc it refuses no foreign type */
    BSON_APPEND_INT64(&part, started ? "crashes" : "lost", started ? crashes : lost);
    bson_append_document_end(update, &part);
}

/* Compare and set on what was seen: claim.id, claim.beat and the request, whatever their types. */
static int take_back(struct task_sweeper *sweeper, struct hub *hub, const bson_t *task, bson_error_t *error)
{
    static const char *const paths[] = {"claim.id", "claim.beat", "request"};
    bson_t filter = BSON_INITIALIZER, update;
    int64_t now;
    if (hub_now(hub, &now, error) < 0) {
        bson_destroy(&filter);
        return -1;
    }
    task_append_key(&filter, task);
    BSON_APPEND_UTF8(&filter, "state", "running");
    for (size_t i = 0; i < 3; i++) {
        bson_iter_t iter, value;
        bool there = bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, paths[i], &value);
        task_append_same(&filter, paths[i], there ? &value : NULL);
    }
    take_back_update(task, now, lease_of(sweeper, task), &update);
    /* An unknown outcome is found out at the next round. A claim that no filter can name is put away as it is. */
    bson_error_t inner;
    TL_HISTORY("try take-back %s %s %" PRId64, hub_text(task, "_id"), hub_text(task, "claim.id"), lease_of(sweeper, task));
    TL_FAULT("take_back.before");
    int result = store_modify(hub_store(hub), TASKS, &filter, &update, NULL, NULL, &inner);
    TL_FAULT("take_back.after");
    TL_HISTORY("did take-back %s %s %d", hub_text(task, "_id"), hub_text(task, "claim.id"), result);
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_INVALID) {
        result = task_set_aside(hub, task, inner.message, error);
    } else if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* The commit stands and the model does not show: whoever finished died between the two. */
static int64_t roll_forward(struct hub *hub, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *task;
    int64_t changed = 0;
    int next, result;
    BSON_APPEND_BOOL(&filter, "published", false);
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, NULL, error);
    bson_destroy(&filter);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &task, error)) == 1) {
        TL_FAULT("roll_forward.before");
        result = task_publish(hub, task, error);
        if (result < 0) {
            next = -1;
            break;
        }
        changed += result;
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : changed;
}

/* Six looks a lease; with thousands of running tasks four, which the rule about gaps still allows. Those who only
 * watch the leader come the more seldom the larger the fleet is, so that all together cost the same: two looks close
 * together, for a look by itself says nothing after a long gap, and then a pause. */
static int64_t next_round(const struct task_sweeper *sweeper)
{
    int64_t lease = sweeper->lease_ms;
    if (sweeper->leading || sweeper->suspicious) {
        return sweeper->running > 2000 ? lease / 4 : lease / 6;
    }
    if (!sweeper->trusting || sweeper->runners <= FLEET) {
        return lease / 4;
    }
    char digits[4] = {sweeper->holder[0], sweeper->holder[1], sweeper->holder[2], '\0'};
    int64_t wait = lease / 4 * sweeper->runners / FLEET;
    wait = wait < WATCH_MOST_MS ? wait : WATCH_MOST_MS;
    return wait * 4 / 5 + wait * 2 / 5 * (int64_t)strtol(digits, NULL, 16) / 4096; /* not all at once */
}

bool task_sweeper_leads(const struct task_sweeper *sweeper)
{
    return sweeper->leading;
}

bool task_sweeper_promotes(const struct task_sweeper *sweeper)
{
    return sweeper->leading || sweeper->suspicious;
}

/* The runners' records: how many, now and then; those of runners that are long gone go. */
static int tidy_records(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error)
{
    int64_t now = hub_boottime(), count = 0;
    if (sweeper->tidied > 0 && now - sweeper->tidied < COUNT_MS) {
        return 0;
    }
    count = runner_record_count(hub, error);
    if (count < 0) {
        return -1;
    }
    sweeper->runners = count;
    sweeper->tidied = now;
    if (sweeper->tidied_long > 0 && now - sweeper->tidied_long < TIDY_MS) {
        return 0;
    }
    sweeper->tidied_long = now;
    return runner_record_tidy(hub, error) < 0 ? -1 : 0;
}

/* Whether no other document would do better. */
static bool is_the_hubs(const bson_error_t *error)
{
    switch (hub_error_code(error)) {
    case HUB_ERROR_INVALID:
    case HUB_ERROR_DUPLICATE:
    case HUB_ERROR_INTERNAL: return false;
    default: return true;
    }
}

int64_t task_sweeper_round(struct task_sweeper *sweeper, struct hub *hub, int64_t *next_ms, bson_error_t *error)
{
    bson_error_t unused;
    error = error != NULL ? error : &unused;
    struct suspects suspects = {0};
    int64_t changed = 0, part;
    int result = -1;
    *next_ms = sweeper->lease_ms / 6;
    if (task_sweeper_elect(sweeper, hub, error) < 0) {
        return -1;
    }
    if (!sweeper->leading && !sweeper->suspicious) {
        forget(sweeper);
        *next_ms = next_round(sweeper);
        return 0;
    }
    if (observe(sweeper, hub, &suspects, error) < 0) {
        goto out;
    }
    *next_ms = next_round(sweeper);
    result = 1;
    if (!sweeper->leading) {
        goto out;
    }
    for (size_t i = 0; i < suspects.count; i++) {
        part = take_back(sweeper, hub, suspects.list[i], error);
        if (part < 0 && is_the_hubs(error)) {
            result = -1;
            goto out;
        }
        changed += part > 0 ? part : 0; /* one that nothing can be done with must not keep the others */
    }
    if ((part = roll_forward(hub, error)) < 0 || tidy_records(sweeper, hub, error) < 0) {
        result = -1;
        goto out;
    }
    changed += part;
    part = task_promote_project(hub, NULL, true, error);
    result = part < 0 ? -1 : 1;
    changed += part;
out:
    free_suspects(&suspects);
    return result < 0 ? -1 : changed;
}
