/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/runner_record.h"

#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <string.h>

#define RUNNERS "runners"

int runner_record_save(struct hub *hub, const bson_t *fields, char id[HUB_ID_SIZE], bson_error_t *error)
{
    bson_t record = BSON_INITIALIZER;
    int64_t now;
    const char *given = hub_text(fields, "_id");
    int result = -1;
    if (given != NULL && strlen(given) < HUB_ID_SIZE) {
        memcpy(id, given, strlen(given) + 1);
    } else {
        hub_random_id(id);
    }
    if (hub_now(hub, &now, error) < 0) {
        goto out;
    }
    BSON_APPEND_UTF8(&record, "_id", id);
    BSON_APPEND_UTF8(&record, "project", hub_project(hub));
    hub_copy_without(fields, &record, "_id", "project", "state", "beat", "beat_at", "started_at", "created_at",
                     "schema_version", NULL);
    BSON_APPEND_UTF8(&record, "state", "running");
    BSON_APPEND_INT64(&record, "beat", 0);
    BSON_APPEND_DATE_TIME(&record, "beat_at", now);
    BSON_APPEND_DATE_TIME(&record, "started_at", now);
    BSON_APPEND_DATE_TIME(&record, "created_at", now);
    BSON_APPEND_INT32(&record, "schema_version", HUB_SCHEMA_VERSION);
    if (schema_check("runner", &record, error) < 0 || store_insert(hub_store(hub), RUNNERS, &record, error) < 0) {
        goto out;
    }
    result = 1;
out:
    bson_destroy(&record);
    return result;
}

static int change(struct hub *hub, const char *id, const bson_t *changes, const char *state, const char *stamp,
                  bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT64(&part, "beat", 1);
    bson_append_document_end(&update, &part);
    if (state != NULL || (changes != NULL && !bson_empty(changes))) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
        if (state != NULL) {
            BSON_APPEND_UTF8(&part, "state", state);
        }
        hub_copy_without(changes, &part, "_id", "project", "beat", "beat_at", "started_at", "ended_at", "created_at",
                         "schema_version", NULL);
        bson_append_document_end(&update, &part);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &part);
    BSON_APPEND_BOOL(&part, stamp, true);
    bson_append_document_end(&update, &part);
    int result = store_modify(hub_store(hub), RUNNERS, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

int runner_record_beat(struct hub *hub, const char *id, const bson_t *changes, bson_error_t *error)
{
    return change(hub, id, changes, NULL, "beat_at", error);
}

int runner_record_end(struct hub *hub, const char *id, bson_error_t *error)
{
    bson_t changes = BSON_INITIALIZER, tasks;
    BSON_APPEND_ARRAY_BEGIN(&changes, "tasks", &tasks);
    bson_append_array_end(&changes, &tasks);
    int result = change(hub, id, &changes, "gone", "ended_at", error);
    bson_destroy(&changes);
    return result;
}

struct store_cursor *runner_record_find(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t whole, sort = BSON_INITIALIZER;
    hub_filter(hub, filter, NULL, &whole);
    BSON_APPEND_INT32(&sort, "started_at", -1);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = store_find(hub_store(hub), RUNNERS, &whole, &options, error);
    bson_destroy(&sort);
    bson_destroy(&whole);
    return cursor;
}
