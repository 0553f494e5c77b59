/* SPDX-License-Identifier: Apache-2.0 */
/* Making tasks and finding them. */
#include "hub/fault.h"
#include "hub/schema.h"
#include "hub/task_class.h"
#include "hub/task_impl.h"
#include "hub/task_standing.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 500
#define BATCH_BYTES (4 << 20)

/* Only the hub's own writes set these. */
static const char *const protocol_fields[] = {
    "state",    "seq",        "claims",      "crashes",    "lost",    "claim",      "claimed_at", "started_at",
    "beat_at",  "started",    "progress",    "request",    "checkpoint", "result",  "published",  "error",
    "run",      "finished_at", "created_at", "schema_version", "words", "project", "after_met", "kept",
};

static int check_names(const bson_t *fields, bson_error_t *error)
{
    bson_iter_t iter;
    if (!bson_iter_init(&iter, fields)) {
        return hub_error(error, HUB_ERROR_INVALID, "task: the document cannot be read");
    }
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        for (size_t i = 0; i < sizeof protocol_fields / sizeof protocol_fields[0]; i++) {
            if (strcmp(key, protocol_fields[i]) == 0) {
                return hub_error(error, HUB_ERROR_INVALID, "task.%s: the hub sets it; leave it out", key);
            }
        }
        if (!schema_knows("task", key)) {
            return hub_error(error, HUB_ERROR_INVALID,
                             "task.%.100s: there is no such field; put numbers of your own into hyper_parameters and "
                             "labels into tags", key);
        }
    }
    return 1;
}

static void append_default_text(bson_t *task, const bson_t *fields, const char *key, const char *value)
{
    if (!bson_has_field(fields, key)) {
        BSON_APPEND_UTF8(task, key, value);
    }
}

static void append_default_int(bson_t *task, const bson_t *fields, const char *key, int32_t value)
{
    if (!bson_has_field(fields, key)) {
        BSON_APPEND_INT32(task, key, value);
    }
}

/* What the task requires, and memory that it needs, become part of its class; a class that is no text is left for the schema to refuse. */
static int append_class(bson_t *task, const bson_t *fields, bson_error_t *error)
{
    char class[TASK_CLASS_SIZE], memory[TASK_CLASS_MEMORY_SIZE];
    bson_iter_t given;
    bson_t needs, sized = BSON_INITIALIZER;
    bool there = bson_iter_init_find(&given, fields, "resource_class");
    bool needy = hub_view(fields, "requires", &needs);
    int64_t bytes = hub_number(fields, "needs.memory", 0);
    if (bson_has_field(fields, "requires") && !needy) {
        return hub_error(error, HUB_ERROR_INVALID, "task.requires: it is not a list of labels");
    }
    if (there && !BSON_ITER_HOLDS_UTF8(&given)) {
        bson_append_iter(task, "resource_class", -1, &given);
        return 1;
    }
    const char *base = there ? bson_iter_utf8(&given, NULL) : "cpu";
    int result = task_class_compose(base, needy ? &needs : NULL, class, error);
    task_class_memory(bytes, memory);
    /* Who names a class with memory knows better. */
    if (result > 0 && memory[0] != '\0' && task_class_memory_needed(class) == 0) {
        char *named = bson_strdup(class);
        BSON_APPEND_UTF8(&sized, "0", memory);
        result = task_class_compose(named, &sized, class, error);
        bson_free(named);
    }
    BSON_APPEND_UTF8(task, "resource_class", class);
    bson_destroy(&sized);
    return result;
}

/* The lane follows from the _id, so that a task that is submitted again is found where it is. */
static int append_lane(const struct hub *hub, const bson_t *fields, bson_t *task, bson_error_t *error)
{
    bson_iter_t iter;
    char digest[HUB_ID_SIZE], id[128];
    int32_t lanes = hub_lanes(hub), lane = 0;
    if (bson_iter_init_find(&iter, fields, "lane")) {
        int64_t given = hub_number(fields, "lane", -1);
        if (BSON_ITER_HOLDS_NUMBER(&iter) && given >= lanes) {
            return hub_error(error, HUB_ERROR_INVALID,
                             "task.lane: %" PRId64 " is not below %d, the hub's number of lanes: no runner would claim it", given,
                             (int)lanes);
        }
        return 1; /* it comes with the other fields */
    }
    if (lanes > 1 && task_document_id(task, id)) {
        const char *const parts[] = {id};
        hub_digest_id(parts, 1, digest);
        digest[7] = '\0';
        lane = (int32_t)(strtol(digest, NULL, 16) % lanes);
    }
    BSON_APPEND_INT32(task, "lane", lane);
    return 1;
}

/* The whole document into task (empty) but for seq, which comes last, when all are known to be good. */
static int compose(struct hub *hub, const bson_t *fields, int64_t now, bson_t *task, bson_error_t *error)
{
    char id[HUB_ID_SIZE];
    bson_t tags, after;
    bson_iter_t iter;
    bool tagged, waits;
    if (check_names(fields, error) < 0) {
        return -1;
    }
    if (!bson_has_field(fields, "name")) {
        return hub_error(error, HUB_ERROR_INVALID, "task.name: it is missing");
    }
    if (bson_iter_init_find(&iter, fields, "_id")) {
        bson_append_iter(task, "_id", 3, &iter);
    } else {
        hub_random_id(id);
        BSON_APPEND_UTF8(task, "_id", id);
    }
    BSON_APPEND_UTF8(task, "project", hub_project(hub));
    if (append_lane(hub, fields, task, error) < 0) {
        return -1;
    }
    append_default_text(task, fields, "queue", "default");
    if (append_class(task, fields, error) < 0) {
        return -1;
    }
    append_default_text(task, fields, "kind", "train");
    hub_copy_without(fields, task, "_id", "resource_class", "requires", NULL);
    tagged = hub_view(fields, "tags", &tags);
    if (hub_append_words(task, hub_text(fields, "name"), hub_text(fields, "description"), tagged ? &tags : NULL) < 0) {
        return hub_error(error, HUB_ERROR_INVALID, "task: the document is too large");
    }
    waits = hub_view(fields, "after", &after) && !bson_empty(&after);
    if (bson_has_field(fields, "standing")) {
        if (task_standing_check(fields, error) < 0) {
            return -1;
        }
        waits = true;
        if (!bson_has_field(fields, "after")) { /* resumed or restarted, it waits again */
            BSON_APPEND_ARRAY_BEGIN(task, "after", &after);
            bson_append_array_end(task, &after);
        }
    }
    BSON_APPEND_UTF8(task, "state",
                     waits                                  ? "waiting"
                     : bson_has_field(fields, "not_before") ? "delayed"
                                                            : "ready");
    append_default_int(task, fields, "priority", 0);
    append_default_int(task, fields, "max_crashes", TASK_MAX_CRASHES);
    BSON_APPEND_INT32(task, "run", 1);
    BSON_APPEND_INT32(task, "claims", 0);
    BSON_APPEND_INT32(task, "crashes", 0);
    BSON_APPEND_INT32(task, "lost", 0);
    BSON_APPEND_DATE_TIME(task, "created_at", now);
    BSON_APPEND_INT32(task, "schema_version", HUB_SCHEMA_VERSION);
    return 1;
}

static int check(const bson_t *task, bson_error_t *error)
{
    /* seq is not there yet. */
    bson_t whole;
    bson_copy_to(task, &whole);
    BSON_APPEND_INT64(&whole, "seq", 0);
    int result = schema_check("task", &whole, error);
    bson_destroy(&whole);
    return result;
}

static void append_in(bson_t *filter, const char *key, const bson_t *const *documents, size_t count)
{
    bson_t in, list;
    bson_iter_t iter;
    BSON_APPEND_DOCUMENT_BEGIN(filter, key, &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0, n = 0; i < count; i++) {
        char buffer[16];
        const char *name;
        if (documents[i] != NULL && bson_iter_init_find(&iter, documents[i], "_id")) {
            size_t length = bson_uint32_to_string((uint32_t)n++, &name, buffer, sizeof buffer);
            bson_append_iter(&list, name, (int)length, &iter);
        }
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(filter, &in);
}

static bool same_id(const bson_t *a, const bson_t *b)
{
    bson_iter_t x, y;
    char id_x[128], id_y[128];
    return bson_iter_init_find(&x, a, "_id") && bson_iter_init_find(&y, b, "_id") &&
           bson_iter_type(&x) == bson_iter_type(&y) && task_id_text(&x, id_x) && task_id_text(&y, id_y) &&
           strcmp(id_x, id_y) == 0;
}

/* Drops (sets to NULL) the tasks that are in the store already. The number left, or -1. */
static int64_t drop_existing(struct hub *hub, bson_t **tasks, size_t count, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    const bson_t *document;
    int64_t left = (int64_t)count;
    int result = -1;
    append_in(&filter, "_id", (const bson_t *const *)tasks, count);
    BSON_APPEND_INT32(&projection, "_id", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, &options, error);
    while (cursor != NULL && (result = store_cursor_next(cursor, &document, error)) == 1) {
        for (size_t i = 0; i < count; i++) {
            if (tasks[i] != NULL && same_id(tasks[i], document)) {
                bson_destroy(tasks[i]);
                tasks[i] = NULL;
                left--;
            }
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&filter);
    return result < 0 ? -1 : left;
}

/* Inserts those that are not NULL, numbered from *seq on. The ids' uniqueness is what makes it safe to repeat. */
static int insert_batch(struct hub *hub, bson_t **tasks, size_t count, int64_t *seq, bson_error_t *error)
{
    struct store_operation *operations = bson_malloc0(count * sizeof *operations);
    size_t n = 0, bytes = 0, sent = 0;
    int result = 1;
    for (size_t i = 0; i < count; i++) {
        if (tasks[i] != NULL) {
            BSON_APPEND_INT64(tasks[i], "seq", (*seq)++);
            operations[n++] = (struct store_operation){
                .kind = STORE_INSERT, .collection = TASKS, .document = tasks[i], .ignore_duplicate = true};
        }
    }
    for (size_t i = 0; i < n && result >= 0; i++) {
        bytes += operations[i].document->len;
        if (i + 1 == n || bytes > BATCH_BYTES) {
            bson_error_t inner;
            for (int tries = 0; tries < TASK_WRITE_TRIES; tries++) {
                TL_FAULT("create.before");
                result = store_batch(hub_store(hub), operations + sent, i + 1 - sent, NULL, &inner);
                TL_FAULT("create.after");
                if (result >= 0 || !hub_unknown(&inner)) {
                    break;
                }
            }
            if (result < 0 && error != NULL) {
                *error = inner;
            }
            sent = i + 1;
            bytes = 0;
        }
    }
    bson_free(operations);
    return result;
}

/* Two runs of a sweep at once may both have seen an id as new: the numbers tell whose document stands. */
static int64_t count_ours(struct hub *hub, bson_t **tasks, size_t count, int64_t first, int64_t last, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, range;
    append_in(&filter, "_id", (const bson_t *const *)tasks, count);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "seq", &range);
    BSON_APPEND_INT64(&range, "$gte", first);
    BSON_APPEND_INT64(&range, "$lte", last);
    bson_append_document_end(&filter, &range);
    int64_t ours = store_count(hub_store(hub), TASKS, &filter, error);
    bson_destroy(&filter);
    return ours;
}

int64_t task_create_many(struct hub *hub, const bson_t *const *fields, size_t count, bson_error_t *error)
{
    int64_t now, left = 0, first = 0, result = -1;
    char counter[128];
    bson_t **tasks = bson_malloc0((count > 0 ? count : 1) * sizeof *tasks);
    if (hub_now(hub, &now, error) < 0) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        tasks[i] = bson_new();
        if (compose(hub, fields[i], now, tasks[i], error) < 0 || check(tasks[i], error) < 0) {
            goto out;
        }
    }
    for (size_t i = 0; i < count; i += BATCH) {
        int64_t part = drop_existing(hub, tasks + i, count - i < BATCH ? count - i : BATCH, error);
        if (part < 0) {
            goto out;
        }
        left += part;
    }
    result = 0;
    if (left == 0) {
        goto out;
    }
    snprintf(counter, sizeof counter, "tasks:%s", hub_project(hub));
    result = -1;
    if (store_counter_add(hub_store(hub), counter, left, &first, error) < 0) {
        goto out;
    }
    int64_t seq = first, inserted = 0;
    for (size_t i = 0; i < count; i += BATCH) {
        size_t size = count - i < BATCH ? count - i : BATCH;
        if (insert_batch(hub, tasks + i, size, &seq, error) < 0) {
            goto out;
        }
        int64_t ours = count_ours(hub, tasks + i, size, first, first + left - 1, error);
        if (ours < 0) {
            goto out;
        }
        inserted += ours;
    }
    result = inserted;
out:
    for (size_t i = 0; i < count; i++) {
        bson_destroy(tasks[i]);
    }
    bson_free(tasks);
    return result;
}

int task_create(struct hub *hub, const bson_t *fields, bson_t *task, bson_error_t *error)
{
    bson_t whole, filter = BSON_INITIALIZER;
    bson_iter_t iter;
    char id[HUB_ID_SIZE];
    int result = -1;
    bson_copy_to(fields, &whole);
    if (task != NULL) {
        bson_init(task);
    }
    if (!bson_iter_init_find(&iter, &whole, "_id")) {
        hub_random_id(id);
        BSON_APPEND_UTF8(&whole, "_id", id);
    }
    const bson_t *list[] = {&whole};
    int64_t made = task_create_many(hub, list, 1, error);
    if (made < 0) {
        goto out;
    }
    result = (int)made;
    if (task != NULL && bson_iter_init_find(&iter, &whole, "_id")) {
        bson_append_iter(&filter, "_id", 3, &iter);
        bson_destroy(task);
        int found = store_find_one(hub_store(hub), TASKS, &filter, NULL, task, error);
        result = found < 0 ? -1 : result;
    }
out:
    bson_destroy(&filter);
    bson_destroy(&whole);
    return result;
}

struct store_cursor *task_find(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                               bson_error_t *error)
{
    bson_t whole;
    hub_filter(hub, filter, NULL, &whole);
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &whole, options, error);
    bson_destroy(&whole);
    return cursor;
}

/* ---- by what people type ---- */

/* The only match, or with newest the first in seq's order: 1, 0, or -1 and the matches' numbers in the error. */
static int find_only(struct hub *hub, const bson_t *condition, const char *what, const char *text, bson_t *task,
                     bson_error_t *error)
{
    bson_t filter, sort = BSON_INITIALIZER;
    const bson_t *document;
    char numbers[200] = "";
    int count = 0, result;
    hub_filter(hub, condition, NULL, &filter);
    BSON_APPEND_INT32(&sort, "seq", -1);
    struct store_find_options options = {.sort = &sort, .limit = 6};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, &options, error);
    bson_destroy(&filter);
    bson_destroy(&sort);
    if (cursor == NULL) {
        return -1;
    }
    while ((result = store_cursor_next(cursor, &document, error)) == 1) {
        size_t used = strlen(numbers);
        snprintf(numbers + used, sizeof numbers - used, count < 5 ? "%s#%" PRId64 : "%s…", count > 0 ? ", " : "",
                 hub_number(document, "seq", 0));
        if (count++ == 0) {
            bson_destroy(task);
            bson_copy_to(document, task);
        }
    }
    store_cursor_close(cursor);
    if (result < 0) {
        return -1;
    }
    if (count > 1) {
        bson_reinit(task);
        return hub_error(error, HUB_ERROR_INVALID, "%s \"%.100s\" is not one task: say which of %s", what, text, numbers);
    }
    return count;
}

int task_resolve(struct hub *hub, const char *text, bson_t *task, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const char *digits = text[0] == '#' ? text + 1 : text;
    size_t length = strlen(digits);
    int result = 0;
    bson_init(task);
    if (length == 0 || !bson_utf8_validate(text, strlen(text), false)) {
        bson_destroy(&filter);
        return 0;
    }
    if (length <= 18 && digits[strspn(digits, "0123456789")] == '\0') {
        BSON_APPEND_INT64(&filter, "seq", bson_ascii_strtoll(digits, NULL, 10));
        result = find_only(hub, &filter, "number", digits, task, error);
    }
    if (result == 0 && text[0] != '#') {
        bson_reinit(&filter);
        task_append_id(&filter, "_id", text);
        result = find_only(hub, &filter, "id", text, task, error);
    }
    if (result == 0 && text[0] != '#' && length >= 6 && length < 32 && hub_is_hex(text)) {
        bson_reinit(&filter);
        hub_append_prefix(&filter, "_id", text);
        result = find_only(hub, &filter, "the id's beginning", text, task, error);
    }
    if (result == 0 && text[0] != '#') {
        bson_reinit(&filter);
        BSON_APPEND_UTF8(&filter, "name", text);
        result = find_only(hub, &filter, "name", text, task, error);
    }
    bson_destroy(&filter);
    return result;
}

int task_count_states(struct hub *hub, const bson_t *filter, bson_t *out, bson_error_t *error)
{
    static const char *const states[] = {"waiting", "delayed", "ready",     "running", "paused", "parked", "done",
                                         "failed",  "dead",    "cancelled", "stopped"};
    static const char *const paths[] = {"state"};
    int64_t counts[sizeof states / sizeof states[0]] = {0};
    bson_t whole, groups;
    bson_iter_t iter;
    hub_filter(hub, filter, NULL, &whole);
    int result = store_count_by(hub_store(hub), TASKS, &whole, paths, 1, &groups, error);
    bool more = result >= 0 && bson_iter_init(&iter, &groups);
    while (more && bson_iter_next(&iter)) {
        bson_t group;
        const char *state = hub_view(&groups, bson_iter_key(&iter), &group) ? hub_text(&group, "values.0") : NULL;
        for (size_t i = 0; i < sizeof states / sizeof states[0] && state != NULL; i++) {
            counts[i] += strcmp(state, states[i]) == 0 ? hub_number(&group, "count", 0) : 0;
        }
    }
    bson_destroy(&groups);
    bson_destroy(&whole);
    bson_init(out);
    for (size_t i = 0; i < sizeof states / sizeof states[0] && result >= 0; i++) {
        BSON_APPEND_INT64(out, states[i], counts[i]);
    }
    return result < 0 ? -1 : 1;
}
