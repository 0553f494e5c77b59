/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/sweep_results.h"

#include "hub/hub_impl.h"

#include <inttypes.h>
#include <stdio.h>

#define RESULTS "results"

int sweep_results_save(struct hub *hub, const char *sweep, int64_t number, const bson_t *fields, bson_error_t *error)
{
    char id[HUB_ID_SIZE + 24];
    bson_t document = BSON_INITIALIZER;
    bson_error_t inner;
    int64_t now;
    int result = -1;
    if (hub_now(hub, &now, error) < 0) {
        goto out;
    }
    snprintf(id, sizeof id, "%.32s:%08" PRId64, sweep, number); /* so that their order is that of the numbers */
    BSON_APPEND_UTF8(&document, "_id", id);
    BSON_APPEND_UTF8(&document, "project", hub_project(hub));
    BSON_APPEND_UTF8(&document, "sweep", sweep);
    BSON_APPEND_INT64(&document, "number", number);
    if (!bson_concat(&document, fields)) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for results of sweep %s", sweep);
        goto out;
    }
    BSON_APPEND_DATE_TIME(&document, "created_at", now);
    BSON_APPEND_INT32(&document, "schema_version", HUB_SCHEMA_VERSION);
    result = store_insert(hub_store(hub), RESULTS, &document, &inner);
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
        result = 0;
    } else if (result < 0 && error != NULL) {
        *error = inner;
    }
out:
    bson_destroy(&document);
    return result < 0 ? -1 : 0;
}

struct store_cursor *sweep_results_find(struct hub *hub, const char *sweep, bson_error_t *error)
{
    char from[HUB_ID_SIZE + 2];
    bson_t condition = BSON_INITIALIZER, filter, sort = BSON_INITIALIZER;
    snprintf(from, sizeof from, "%.32s:", sweep);
    hub_append_prefix(&condition, "_id", from);
    hub_filter(hub, &condition, NULL, &filter);
    BSON_APPEND_INT32(&sort, "_id", 1);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = store_find(hub_store(hub), RESULTS, &filter, &options, error);
    bson_destroy(&sort);
    bson_destroy(&filter);
    bson_destroy(&condition);
    return cursor;
}

int64_t sweep_results_forget(struct hub *hub, bson_error_t *error)
{
    bson_t filter;
    hub_filter(hub, NULL, NULL, &filter);
    int64_t deleted = store_delete(hub_store(hub), RESULTS, &filter, error);
    bson_destroy(&filter);
    return deleted;
}
