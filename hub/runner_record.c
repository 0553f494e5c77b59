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
    bson_t whole = BSON_INITIALIZER, both, either, part, sort = BSON_INITIALIZER;
    static const char *const paths[] = {"project", "projects"}; /* older records have only the first */
    BSON_APPEND_ARRAY_BEGIN(&whole, "$and", &both);
    BSON_APPEND_DOCUMENT_BEGIN(&both, "0", &part);
    BSON_APPEND_ARRAY_BEGIN(&part, "$or", &either);
    for (size_t i = 0; i < 2; i++) {
        bson_t one;
        BSON_APPEND_DOCUMENT_BEGIN(&either, i == 0 ? "0" : "1", &one);
        BSON_APPEND_UTF8(&one, paths[i], hub_project(hub));
        bson_append_document_end(&either, &one);
    }
    bson_append_array_end(&part, &either);
    bson_append_document_end(&both, &part);
    if (filter != NULL) {
        BSON_APPEND_DOCUMENT(&both, "1", filter);
    }
    bson_append_array_end(&whole, &both);
    BSON_APPEND_INT32(&sort, "started_at", -1);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = store_find(hub_store(hub), RUNNERS, &whole, &options, error);
    bson_destroy(&sort);
    bson_destroy(&whole);
    return cursor;
}

static void append_living(bson_t *filter)
{
    bson_t in, list;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "state", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    BSON_APPEND_UTF8(&list, "0", "running");
    BSON_APPEND_UTF8(&list, "1", "draining");
    bson_append_array_end(&in, &list);
    bson_append_document_end(filter, &in);
}

int64_t runner_record_count(struct hub *hub, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    append_living(&filter);
    int64_t count = store_count(hub_store(hub), RUNNERS, &filter, error);
    bson_destroy(&filter);
    return count;
}

static int64_t remove_before(struct hub *hub, const char *state, const char *stamp, int64_t before, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, old;
    if (state != NULL) {
        BSON_APPEND_UTF8(&filter, "state", state);
    } else {
        append_living(&filter);
    }
    BSON_APPEND_DOCUMENT_BEGIN(&filter, stamp, &old);
    BSON_APPEND_DATE_TIME(&old, "$lt", before);
    bson_append_document_end(&filter, &old);
    int64_t removed = store_delete(hub_store(hub), RUNNERS, &filter, error);
    bson_destroy(&filter);
    return removed;
}

int64_t runner_record_tidy(struct hub *hub, bson_error_t *error)
{
    int64_t now;
    if (hub_now(hub, &now, error) < 0) {
        return -1;
    }
    int64_t gone = remove_before(hub, "gone", "ended_at", now - RUNNER_RECORD_KEEP_MS, error);
    int64_t silent = gone < 0 ? -1 : remove_before(hub, NULL, "beat_at", now - RUNNER_RECORD_KEEP_MS, error);
    return silent < 0 ? -1 : gone + silent;
}
