/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the logs of a run: buckets grow in memory and are written whole. */
#include "hub/hub_impl.h"
#include "hub/logs.h"
#include "hub/schema.h"

#include <string.h>

#define BUCKET_POINTS 512
#define BUCKET_BYTES (1 << 20) /* a full bucket whatever its number of points */

struct bucket {
    char split[65];
    int32_t number;
    int64_t first; /* points of the split in the buckets before */
    uint32_t count;
    bson_t *points; /* as a BSON array's document */
    bool dirty;    /* holds what the hub has not */
    bool stamped;  /* written once: created_at stands */
    bson_t *filter, *update; /* of the last operations handed out, or NULL */
};

struct logs {
    struct task_fence fence;
    int32_t run;
    char unit[16];
    struct bucket **buckets;
    size_t count, capacity;
    struct store_operation *operations;
};

struct logs *logs_new(const struct task_fence *fence, int32_t run, const char *unit)
{
    struct logs *logs = bson_malloc0(sizeof *logs);
    logs->fence = *fence;
    logs->run = run;
    snprintf(logs->unit, sizeof logs->unit, "%s", unit);
    return logs;
}

static void unbuild(struct bucket *bucket)
{
    bson_destroy(bucket->filter);
    bson_destroy(bucket->update);
    bucket->filter = NULL;
    bucket->update = NULL;
}

static void free_bucket(struct bucket *bucket)
{
    unbuild(bucket);
    bson_destroy(bucket->points);
    bson_free(bucket);
}

void logs_free(struct logs *logs)
{
    if (logs == NULL) {
        return;
    }
    for (size_t i = 0; i < logs->count; i++) {
        free_bucket(logs->buckets[i]);
    }
    bson_free(logs->buckets);
    bson_free(logs->operations);
    bson_free(logs);
}

static bool is_full(const struct bucket *bucket)
{
    return bucket->count >= BUCKET_POINTS || bucket->points->len >= BUCKET_BYTES;
}

/* The split's open bucket, made where there is none. */
static struct bucket *open_bucket(struct logs *logs, const char *split)
{
    int32_t number = 0;
    int64_t first = 0;
    for (size_t i = 0; i < logs->count; i++) {
        struct bucket *bucket = logs->buckets[i];
        if (strcmp(bucket->split, split) == 0) {
            if (!is_full(bucket)) {
                return bucket;
            }
            if (bucket->number >= number) {
                number = bucket->number + 1;
                first = bucket->first + bucket->count;
            }
        }
    }
    if (logs->count == logs->capacity) {
        logs->capacity = logs->capacity > 0 ? 2 * logs->capacity : 4;
        logs->buckets = bson_realloc(logs->buckets, logs->capacity * sizeof(struct bucket *));
    }
    struct bucket *bucket = bson_malloc0(sizeof *bucket);
    snprintf(bucket->split, sizeof bucket->split, "%s", split);
    bucket->number = number;
    bucket->first = first;
    bucket->points = bson_new();
    logs->buckets[logs->count++] = bucket;
    return bucket;
}

int logs_add(struct logs *logs, const char *split, const bson_t *point, bson_error_t *error)
{
    char buffer[16];
    const char *key;
    size_t length = strlen(split);
    if (length == 0 || length > 64 || !bson_utf8_validate(split, length, false)) {
        return hub_error(error, HUB_ERROR_INVALID, "log.split: 1 to 64 bytes are allowed");
    }
    if (point->len > BUCKET_BYTES) {
        return hub_error(error, HUB_ERROR_INVALID, "log.points: a point of %" PRIu32 " bytes is too large", point->len);
    }
    struct bucket *bucket = open_bucket(logs, split);
    size_t digits = bson_uint32_to_string(bucket->count, &key, buffer, sizeof buffer);
    if (!bson_append_document(bucket->points, key, (int)digits, point)) {
        return hub_error(error, HUB_ERROR_INVALID, "log.points: the point does not fit");
    }
    bucket->count++;
    bucket->dirty = true;
    return 1;
}

bool logs_append_counts(const struct logs *logs, bson_t *out)
{
    bool done = true;
    for (size_t i = 0; i < logs->count; i++) {
        const struct bucket *bucket = logs->buckets[i];
        bool last = true;
        for (size_t j = i + 1; j < logs->count; j++) {
            last = last && strcmp(logs->buckets[j]->split, bucket->split) != 0;
        }
        /* A name that cannot be a key is of no split that a checkpoint speaks of. */
        if (last && bucket->split[0] != '$' && strchr(bucket->split, '.') == NULL) {
            done = done && BSON_APPEND_INT64(out, bucket->split, bucket->first + bucket->count);
        }
    }
    return done;
}

static void build(struct logs *logs, struct bucket *bucket)
{
    bson_t part;
    char *id = bson_strdup_printf("%s/%s/%" PRId32, logs->fence.claim_id, bucket->split, bucket->number);
    unbuild(bucket);
    bucket->filter = bson_new();
    bucket->update = bson_new();
    BSON_APPEND_UTF8(bucket->filter, "_id", id);
    BSON_APPEND_UTF8(bucket->filter, "project", logs->fence.project);
    BSON_APPEND_DOCUMENT_BEGIN(bucket->update, "$set", &part);
    BSON_APPEND_UTF8(&part, "task", logs->fence.task_id);
    BSON_APPEND_UTF8(&part, "claim", logs->fence.claim_id);
    BSON_APPEND_INT32(&part, "run", logs->run);
    BSON_APPEND_UTF8(&part, "split", bucket->split);
    BSON_APPEND_INT32(&part, "number", bucket->number);
    BSON_APPEND_INT64(&part, "first", bucket->first);
    BSON_APPEND_UTF8(&part, "unit", logs->unit);
    BSON_APPEND_ARRAY(&part, "points", bucket->points);
    BSON_APPEND_INT32(&part, "schema_version", HUB_SCHEMA_VERSION);
    bson_append_document_end(bucket->update, &part);
    if (!bucket->stamped) {
        BSON_APPEND_DOCUMENT_BEGIN(bucket->update, "$currentDate", &part);
        BSON_APPEND_BOOL(&part, "created_at", true);
        bson_append_document_end(bucket->update, &part);
    }
    bson_free(id);
}

const struct store_operation *logs_operations(struct logs *logs, size_t *count)
{
    bson_free(logs->operations);
    logs->operations = bson_malloc0((logs->count + 1) * sizeof *logs->operations);
    *count = 0;
    for (size_t i = 0; i < logs->count; i++) {
        struct bucket *bucket = logs->buckets[i];
        if (bucket->dirty) {
            build(logs, bucket);
            logs->operations[(*count)++] = (struct store_operation){.kind = STORE_UPDATE,
                                                                    .collection = "logs",
                                                                    .filter = bucket->filter,
                                                                    .update = bucket->update,
                                                                    .upsert = true};
        }
    }
    return logs->operations;
}

/* What is full and written is not needed again; its split's last bucket stays, for its number. */
static void drop_written(struct logs *logs)
{
    size_t kept = 0;
    for (size_t i = 0; i < logs->count; i++) {
        struct bucket *bucket = logs->buckets[i];
        bool last = true;
        for (size_t j = i + 1; j < logs->count; j++) {
            last = last && strcmp(logs->buckets[j]->split, bucket->split) != 0;
        }
        if (!last && !bucket->dirty && is_full(bucket)) {
            free_bucket(bucket);
        } else {
            logs->buckets[kept++] = bucket;
        }
    }
    logs->count = kept;
}

int logs_flush(struct logs *logs, struct hub *hub, bson_error_t *error)
{
    size_t count;
    bson_error_t inner;
    int result = 1;
    const struct store_operation *operations = logs_operations(logs, &count);
    if (count == 0) {
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        result = store_batch(hub_store(hub), operations, count, NULL, &inner);
        if (result >= 0 || !hub_unknown(&inner)) {
            break;
        }
    }
    if (result < 0) {
        if (error != NULL) {
            *error = inner;
        }
        return -1;
    }
    for (size_t i = 0; i < logs->count; i++) {
        logs->buckets[i]->stamped = logs->buckets[i]->stamped || logs->buckets[i]->dirty;
        logs->buckets[i]->dirty = false;
    }
    drop_written(logs);
    return 1;
}

/* ---- a log that no claim writes ---- */

int logs_save(struct hub *hub, const bson_t *fields, bson_error_t *error)
{
    bson_t log = BSON_INITIALIZER, points, point;
    char id[HUB_ID_SIZE];
    int64_t now;
    int result = -1;
    static const char *const kept[] = {"task", "name", "run", "split", "unit", "description", "tags", "points"};
    bson_iter_t iter;
    bson_t tags;
    if (hub_now(hub, &now, error) < 0) {
        goto out;
    }
    hub_random_id(id);
    BSON_APPEND_UTF8(&log, "_id", id);
    BSON_APPEND_UTF8(&log, "project", hub_project(hub));
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (bson_iter_init_find(&iter, fields, kept[i])) {
            bson_append_iter(&log, kept[i], -1, &iter);
        }
    }
    if (!bson_has_field(&log, "task") && !bson_has_field(&log, "name")) {
        hub_error(error, HUB_ERROR_INVALID, "log.name: name the log, or give the task that it belongs to");
        goto out;
    }
    if (!bson_has_field(&log, "split")) {
        BSON_APPEND_UTF8(&log, "split", "train");
    }
    if (!bson_has_field(&log, "unit")) {
        BSON_APPEND_UTF8(&log, "unit", "epoch");
    }
    BSON_APPEND_INT32(&log, "number", 0);
    if (!bson_has_field(&log, "points")) {
        /* Everything else is the point. */
        BSON_APPEND_ARRAY_BEGIN(&log, "points", &points);
        BSON_APPEND_DOCUMENT_BEGIN(&points, "0", &point);
        hub_copy_without(fields, &point, "_id", "project", "task", "name", "run", "split", "unit", "description", "tags",
                         "words", "created_at", "schema_version", "number", "claim", NULL);
        bson_append_document_end(&points, &point);
        bson_append_array_end(&log, &points);
    }
    bool tagged = hub_view(fields, "tags", &tags);
    if (hub_append_words(&log, hub_text(fields, "name"), hub_text(fields, "description"), tagged ? &tags : NULL) < 0) {
        hub_error(error, HUB_ERROR_INVALID, "log: the document is too large");
        goto out;
    }
    BSON_APPEND_DATE_TIME(&log, "created_at", now);
    BSON_APPEND_INT32(&log, "schema_version", HUB_SCHEMA_VERSION);
    if (schema_check("log", &log, error) < 0 || store_insert(hub_store(hub), "logs", &log, error) < 0) {
        goto out;
    }
    result = 1;
out:
    bson_destroy(&log);
    return result;
}
