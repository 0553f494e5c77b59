/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rows.h"

#include "hub/dataset.h"
#include "hub/dataset_impl.h"
#include "hub/hub_impl.h"
#include "hub/pipeline.h"
#include "hub/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SAVE_TRIES 20
#define SERVER_BATCH 1000

bool rows_is_source(const bson_t *dataset)
{
    const char *storage = hub_text(dataset, "storage");
    return storage != NULL && strcmp(storage, "rows") == 0;
}

static void append_key(const struct hub *hub, const char *name, bson_t *filter)
{
    BSON_APPEND_UTF8(filter, "project", hub_project(hub));
    BSON_APPEND_UTF8(filter, "dataset", name);
}

static void append_range(bson_t *filter, int64_t after, int64_t upper)
{
    bson_t range;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "seq", &range);
    if (after > 0) {
        BSON_APPEND_INT64(&range, "$gt", after);
    }
    BSON_APPEND_INT64(&range, "$lte", upper);
    bson_append_document_end(filter, &range);
}

/* ---- writing ---- */

int rows_begin(struct hub *hub, const char *name, bson_error_t *error)
{
    int64_t highest = rows_highest(hub, name, error), first;
    if (highest <= 0) {
        return highest < 0 ? -1 : 1;
    }
    bson_t filter = BSON_INITIALIZER, counter;
    char *id = bson_strdup_printf("rows:%s:%s", hub_project(hub), name);
    BSON_APPEND_UTF8(&filter, "_id", id);
    int result = store_find_one(hub_store(hub), "counters", &filter, NULL, &counter, error);
    int64_t value = result > 0 ? hub_number(&counter, "value", 0) : 0;
    if (result >= 0 && value < highest) {
        result = store_counter_add(hub_store(hub), id, highest - value, &first, error);
    }
    bson_destroy(&counter);
    bson_destroy(&filter);
    bson_free(id);
    return result < 0 ? -1 : 1;
}

/* The row as it is stored. Its _id follows from its number, so that inserting it twice is harmless. */
static int compose(struct hub *hub, const char *name, const bson_t *row, int64_t seq, bson_t *out, bson_error_t *error)
{
    char number[24], id[HUB_ID_SIZE];
    snprintf(number, sizeof number, "%" PRId64, seq);
    const char *const parts[] = {hub_project(hub), name, number};
    hub_digest_id(parts, 3, id);
    BSON_APPEND_UTF8(out, "_id", id);
    append_key(hub, name, out);
    BSON_APPEND_INT64(out, "seq", seq);
    hub_copy_without(row, out, "_id", "project", "dataset", "seq", NULL);
    return schema_check("row", out, error);
}

/* One commit where that is one. A server gets fewer at once: it answers each within the socket's time-out however slow it is, and
 * what is sent again after a lost reply is less. */
static int insert(struct hub *hub, const struct store_operation *operations, size_t count, bson_error_t *error)
{
    const size_t most = store_batch_is_atomic(hub_store(hub)) ? count : SERVER_BATCH;
    int result = 1;
    for (size_t begin = 0; result >= 0 && begin < count; begin += most) {
        const size_t some = count - begin < most ? count - begin : most;
        result = store_batch(hub_store(hub), operations + begin, some, NULL, error);
        if (result < 0 && hub_unknown(error)) {
            result = store_batch(hub_store(hub), operations + begin, some, NULL, error);
        }
    }
    return result;
}

int64_t rows_append(struct hub *hub, const char *name, const bson_t *const *rows, size_t count, bson_error_t *error)
{
    bson_error_t inner;
    int64_t first = 0;
    int result = -1;
    if (count == 0 || count > ROWS_BATCH) {
        return hub_error(error, HUB_ERROR_INVALID, "rows: a batch has 1 to %d", ROWS_BATCH);
    }
    struct store_operation *operations = bson_malloc0(count * sizeof *operations);
    bson_t **documents = bson_malloc0(count * sizeof *documents);
    char *counter = bson_strdup_printf("rows:%s:%s", hub_project(hub), name);
    size_t made = 0;
    if (store_counter_add(hub_store(hub), counter, (int64_t)count, &first, error) < 0) {
        goto out;
    }
    for (; made < count; made++) {
        documents[made] = bson_new();
        if (compose(hub, name, rows[made], first + (int64_t)made, documents[made], error) < 0) {
            made++;
            goto out;
        }
        operations[made] = (struct store_operation){
            .kind = STORE_INSERT, .collection = ROWS_COLLECTION, .document = documents[made], .ignore_duplicate = true};
    }
    result = insert(hub, operations, count, &inner);
    if (result < 0 && error != NULL) {
        *error = inner;
    }
out:
    for (size_t i = 0; i < made; i++) {
        bson_destroy(documents[i]);
    }
    bson_free(documents);
    bson_free(operations);
    bson_free(counter);
    return result < 0 ? -1 : first + (int64_t)count - 1;
}

/* ---- reading ---- */

int64_t rows_highest(struct hub *hub, const char *name, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER, row;
    append_key(hub, name, &filter);
    BSON_APPEND_INT32(&sort, "seq", -1);
    BSON_APPEND_INT32(&projection, "seq", 1);
    struct store_find_options options = {.sort = &sort, .projection = &projection, .limit = 1, .any_tie = true};
    int result = store_find_one(hub_store(hub), ROWS_COLLECTION, &filter, &options, &row, error);
    int64_t seq = result > 0 ? hub_number(&row, "seq", 0) : 0;
    bson_destroy(&row);
    bson_destroy(&projection);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result < 0 ? -1 : seq > 0 ? seq : 0;
}

int64_t rows_count(struct hub *hub, const char *name, int64_t after, int64_t upper, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    append_key(hub, name, &filter);
    append_range(&filter, after, upper);
    int64_t count = store_count(hub_store(hub), ROWS_COLLECTION, &filter, error);
    bson_destroy(&filter);
    return count;
}

struct store_cursor *rows_select(struct hub *hub, const char *name, int64_t upper, const char *pipeline, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, stages;
    struct store_cursor *cursor = NULL;
    bson_init(&stages);
    if (pipeline != NULL && pipeline[0] != '\0') {
        bson_destroy(&stages);
        if (pipeline_text_read(pipeline, &stages, error) < 0) {
            goto out;
        }
    }
    append_key(hub, name, &filter);
    append_range(&filter, 0, upper);
    BSON_APPEND_INT32(&sort, "seq", 1);
    cursor = store_aggregate(hub_store(hub), ROWS_COLLECTION, &filter, &sort, &stages, error);
out:
    bson_destroy(&stages);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return cursor;
}

int64_t rows_delete(struct hub *hub, const char *name, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    append_key(hub, name, &filter);
    int64_t deleted = store_delete(hub_store(hub), ROWS_COLLECTION, &filter, error);
    bson_destroy(&filter);
    return deleted;
}

/* ---- the manifest ---- */

static int check_fields(const bson_t *fields, bson_error_t *error)
{
    static const char *const own[] = {"version", "digest", "rows", "splits", "parts", "task", "deleted", "deleted_at"};
    const char *name = hub_text(fields, "name"), *pipeline = hub_text(fields, "pipeline");
    bson_t stages;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (bson_has_field(fields, own[i])) {
            return hub_error(error, HUB_ERROR_INVALID, "dataset.%s: the hub sets it; leave it out", own[i]);
        }
    }
    if (name == NULL || name[0] == '\0') {
        return hub_error(error, HUB_ERROR_INVALID, "dataset.name: it is missing");
    }
    if (pipeline == NULL) {
        return 1;
    }
    int result = pipeline_text_read(pipeline, &stages, error);
    bson_destroy(&stages);
    return result < 0 ? -1 : 1;
}

/* One try: 1, 0 the newest is the same, -1; -2 another writer took the version. */
static int try_save(struct hub *hub, const bson_t *fields, bson_t *dataset, bson_error_t *error)
{
    bson_t query = BSON_INITIALIZER, newest, whole = BSON_INITIALIZER, parts;
    bson_error_t inner;
    const char *name = hub_text(fields, "name");
    char digest[65], number[24], id[HUB_ID_SIZE];
    int64_t version = 0;
    BSON_APPEND_UTF8(&query, "name", name);
    int result = dataset_find_one(hub, &query, &newest, error);
    hub_copy_without(fields, &whole, "_id", "storage", NULL);
    BSON_APPEND_UTF8(&whole, "storage", "rows");
    dataset_digest(&whole, digest);
    const char *old = hub_text(&newest, "digest");
    if (result > 0 && old != NULL && strcmp(old, digest) == 0) {
        bson_destroy(dataset);
        bson_copy_to(&newest, dataset);
        result = 0;
        goto out;
    }
    if (result < 0 || dataset_next_version(hub, name, hub_number(&newest, "version", 0), &version, error) < 0) {
        result = -1;
        goto out;
    }
    snprintf(number, sizeof number, "%" PRId64, version);
    const char *const names[] = {hub_project(hub), name, number};
    hub_digest_id(names, 3, id);
    BSON_APPEND_INT32(&whole, "version", (int32_t)version);
    BSON_APPEND_UTF8(&whole, "digest", digest);
    BSON_APPEND_INT64(&whole, "rows", 0);
    BSON_APPEND_ARRAY_BEGIN(&whole, "parts", &parts);
    bson_append_array_end(&whole, &parts);
    bson_destroy(dataset);
    result = hub_compose(hub, &whole, id, dataset, error);
    result = result < 0 || schema_check("dataset", dataset, error) < 0 ? -1 : 1;
    if (result > 0 && store_insert(hub_store(hub), "datasets", dataset, &inner) < 0) {
        bool again = hub_unknown(&inner) || hub_error_code(&inner) == HUB_ERROR_DUPLICATE;
        if (!again && error != NULL) {
            *error = inner;
        }
        result = again ? -2 : -1;
    }
out:
    bson_destroy(&whole);
    bson_destroy(&newest);
    bson_destroy(&query);
    return result;
}

int rows_save_dataset(struct hub *hub, const bson_t *fields, bson_t *dataset, bson_error_t *error)
{
    bson_init(dataset);
    int result = check_fields(fields, error) < 0 ? -1 : -2;
    for (int i = 0; i < SAVE_TRIES && result == -2; i++) {
        result = try_save(hub, fields, dataset, error);
    }
    if (result == -2) {
        return hub_error(error, HUB_ERROR_CONFLICT, "dataset \"%.200s\": other writers keep saving versions of it; try again",
                         hub_text(fields, "name"));
    }
    return result;
}
