/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets that are there: finding them, and deleting them with what hangs on them. */
#include "hub/dataset.h"

#include "hub/hub_impl.h"
#include "hub/rows.h"
#include "hub/tombstone.h"

#define DATASETS "datasets"

struct store_cursor *dataset_find(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                  bson_error_t *error)
{
    bson_t whole;
    tombstone_live_filter(hub, filter, &whole);
    struct store_cursor *cursor = store_find(hub_store(hub), DATASETS, &whole, options, error);
    bson_destroy(&whole);
    return cursor;
}

int dataset_find_one(struct hub *hub, const bson_t *filter, bson_t *dataset, bson_error_t *error)
{
    bson_t whole, sort = BSON_INITIALIZER;
    tombstone_live_filter(hub, filter, &whole);
    /* Of one name the versions are in order; of several, time is all there is. */
    if (hub_text(&whole, "name") == NULL) {
        BSON_APPEND_INT32(&sort, "created_at", -1);
    }
    BSON_APPEND_INT32(&sort, "version", -1);
    struct store_find_options options = {.sort = &sort, .limit = 1};
    int result = store_find_one(hub_store(hub), DATASETS, &whole, &options, dataset, error);
    bson_destroy(&sort);
    bson_destroy(&whole);
    return result;
}

/* With the last manifest of a name its rows go, and before it: when that is cut short, the manifest is there to do it again. */
static int delete_rows(struct hub *hub, const bson_t *dataset, bson_error_t *error)
{
    const char *name = hub_text(dataset, "name");
    if (!rows_is_source(dataset) || name == NULL) {
        return 0;
    }
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(&filter, "name", name);
    BSON_APPEND_UTF8(&filter, "storage", "rows");
    int64_t manifests = store_count(hub_store(hub), DATASETS, &filter, error);
    bson_destroy(&filter);
    return manifests < 0 || (manifests <= 1 && rows_delete(hub, name, error) < 0) ? -1 : 0;
}

/* The manifest of a task's dataset stays as its tombstone: a roll-forward may still be on its way. */
static int delete_one(struct hub *hub, const bson_t *dataset, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_iter_t iter;
    if (delete_rows(hub, dataset, error) < 0) {
        bson_destroy(&filter);
        return -1;
    }
    if (hub_text(dataset, "task") != NULL) {
        bson_destroy(&filter);
        return tombstone_bury(hub, DATASETS, dataset, false, error);
    }
    if (bson_iter_init_find(&iter, dataset, "_id")) {
        bson_append_iter(&filter, "_id", 3, &iter);
    }
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    int64_t deleted = store_delete(hub_store(hub), DATASETS, &filter, error);
    bson_destroy(&filter);
    return deleted < 0 ? -1 : deleted > 0;
}

int64_t dataset_delete(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t projection = BSON_INITIALIZER;
    const bson_t *dataset;
    int64_t deleted = 0;
    int next, result;
    BSON_APPEND_INT32(&projection, "task", 1);
    BSON_APPEND_INT32(&projection, "name", 1);
    BSON_APPEND_INT32(&projection, "storage", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = dataset_find(hub, filter, &options, error);
    bson_destroy(&projection);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &dataset, error)) == 1) {
        if ((result = delete_one(hub, dataset, error)) < 0) {
            next = -1;
            break;
        }
        deleted += result;
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : deleted;
}
