/* SPDX-License-Identifier: Apache-2.0 */
/* One sweeper acts at a time: meta {_id: "sweeper", holder, beat, running, runners}. Whoever has seen the same holder and
 * beat for a lease of its own clock may take the lead. */
#include "hub/fault.h"
#include "hub/task_sweeper_impl.h"

#define META "meta"
#define SWEEPER_ID "sweeper"

static void leader_filter(bson_t *filter)
{
    bson_init(filter);
    BSON_APPEND_UTF8(filter, "_id", SWEEPER_ID);
}

/* holder NULL keeps it. */
static void leader_update(const struct task_sweeper *sweeper, const char *holder, bson_t *update)
{
    bson_t part;
    bson_init(update);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$inc", &part);
    BSON_APPEND_INT64(&part, "beat", 1);
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    BSON_APPEND_INT64(&part, "running", sweeper->running);
    BSON_APPEND_INT64(&part, "runners", sweeper->runners);
    if (holder != NULL) {
        BSON_APPEND_UTF8(&part, "holder", holder);
    }
    bson_append_document_end(update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, "beat_at", true);
    bson_append_document_end(update, &part);
}

/* The leader says that it still is: 1, 0 another one is, -1. */
static int beat_on(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error)
{
    bson_t filter, update;
    leader_filter(&filter);
    BSON_APPEND_UTF8(&filter, "holder", sweeper->holder);
    leader_update(sweeper, NULL, &update);
    TL_FAULT("lead.before");
    int result = store_modify(hub_store(hub), META, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

static int insert_leader(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error)
{
    bson_t document;
    bson_error_t inner;
    leader_filter(&document);
    BSON_APPEND_UTF8(&document, "holder", sweeper->holder);
    BSON_APPEND_INT64(&document, "beat", 1);
    TL_FAULT("elect.before");
    int result = store_insert(hub_store(hub), META, &document, &inner);
    bson_destroy(&document);
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
        return 0;
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    return result < 0 ? -1 : 1;
}

/* Compare and set on what was seen for a lease. */
static int take_lead(struct task_sweeper *sweeper, struct hub *hub, const bson_t *leader, bson_error_t *error)
{
    bson_t filter, update;
    bson_iter_t iter;
    leader_filter(&filter);
    task_append_same(&filter, "holder", bson_iter_init_find(&iter, leader, "holder") ? &iter : NULL);
    task_append_same(&filter, "beat", bson_iter_init_find(&iter, leader, "beat") ? &iter : NULL);
    leader_update(sweeper, sweeper->holder, &update);
    if (!bson_iter_init_find(&iter, leader, "beat") || !BSON_ITER_HOLDS_NUMBER(&iter)) {
        /* Not ours to count on: made anew. */
        bson_t set;
        bson_reinit(&update);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
        BSON_APPEND_UTF8(&set, "holder", sweeper->holder);
        BSON_APPEND_INT64(&set, "beat", 1);
        bson_append_document_end(&update, &set);
    }
    int result = store_modify(hub_store(hub), META, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

int task_sweeper_elect(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error)
{
    bson_t filter, leader, value;
    int64_t begin = hub_boottime();
    int result;
    if (sweeper->leading) {
        result = beat_on(sweeper, hub, error);
        if (result < 0) {
            return -1;
        }
        sweeper->leading = result > 0;
        if (sweeper->leading) {
            return 1;
        }
        sighting_clear(&sweeper->leader);
        sweeper->suspicious = sweeper->trusting = false;
    }
    leader_filter(&filter);
    result = store_find_one(hub_store(hub), META, &filter, NULL, &leader, error);
    bson_destroy(&filter);
    int64_t end = hub_boottime();
    if (result < 0) {
        bson_destroy(&leader);
        return -1;
    }
    if (result == 0) {
        result = insert_leader(sweeper, hub, error);
        sweeper->leading = result > 0;
        bson_destroy(&leader);
        return result;
    }
    if (sweeper->leader_contact > 0 && begin - sweeper->leader_contact > sweeper->lease_ms / 3) {
        /* Whatever it did in the gap was not seen. */
        sighting_clear(&sweeper->leader);
    }
    sweeper->leader_contact = end;
    const char *holder = hub_text(&leader, "holder");
    sighting_values(&leader, "holder", "beat", &value);
    if (holder == NULL || holder[0] == '\0') {
        result = take_lead(sweeper, hub, &leader, error);
    } else if (!sighting_shows(&sweeper->leader, &value)) {
        /* Never seen: it may be dead. Seen to beat before, it is given a second look first. */
        sweeper->trusting = sweeper->leader.value != NULL;
        sweeper->has_trusted = sweeper->has_trusted || sweeper->trusting;
        sweeper->suspicious = !sweeper->has_trusted;
        sweeper->runners = hub_number(&leader, "runners", 0);
        sighting_keep(&sweeper->leader, &value, end);
        result = 0;
    } else {
        sweeper->suspicious = true;
        sweeper->trusting = false;
        result = begin - sweeper->leader.since >= sweeper->lease_ms ? take_lead(sweeper, hub, &leader, error) : 0;
    }
    bson_destroy(&value);
    bson_destroy(&leader);
    sweeper->leading = result > 0;
    return result < 0 ? -1 : 1;
}

int task_sweeper_resign(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error)
{
    bson_t filter, update;
    if (!sweeper->leading) {
        return 0;
    }
    leader_filter(&filter);
    BSON_APPEND_UTF8(&filter, "holder", sweeper->holder);
    leader_update(sweeper, "", &update);
    int result = store_modify(hub_store(hub), META, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    sweeper->leading = false;
    return result;
}
