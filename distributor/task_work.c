/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/task_work.h"
#include "hub/task.h"

#include <stdlib.h>
#include <string.h>

static const char *const fields[] = {"kind",    "dataset", "model", "initial_model", "split",           "architecture_digest",
                                     "metrics", "top_k",   "keep",  "on_nonfinite",  "rollback_factor", "max_rollbacks",
                                     "hyper_parameters"};
#define FIELDS (sizeof fields / sizeof *fields)

struct task_work {
    char (*digests)[HUB_ID_SIZE];
    size_t count, capacity;
};

static void append_value(const bson_iter_t *value, bson_string_t *text)
{
    bson_t one = BSON_INITIALIZER;

    if (BSON_ITER_HOLDS_NUMBER(value)) {
        bson_string_append_printf(text, "%.17g", bson_iter_as_double(value));
        bson_destroy(&one);
        return;
    }
    bson_append_iter(&one, "", 0, value);
    char *json = bson_as_relaxed_extended_json(&one, NULL);
    bson_string_append(text, json != NULL ? json : "");
    bson_free(json);
    bson_destroy(&one);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A document's fields in the order of their names. */
static void append_sorted(const bson_iter_t *value, bson_string_t *text)
{
    bson_iter_t inner;
    char **parts = NULL;
    size_t count = 0;

    if (!bson_iter_recurse(value, &inner)) {
        return;
    }
    while (bson_iter_next(&inner)) {
        bson_string_t *part = bson_string_new(bson_iter_key(&inner));
        bson_string_append(part, "=");
        append_value(&inner, part);
        parts = bson_realloc(parts, (count + 1) * sizeof *parts);
        parts[count++] = bson_string_free(part, false);
    }
    if (count > 0) {
        qsort(parts, count, sizeof *parts, compare_texts);
    }
    for (size_t i = 0; i < count; i++) {
        bson_string_append_printf(text, "%zu:", strlen(parts[i]));
        bson_string_append(text, parts[i]);
        bson_free(parts[i]);
    }
    bson_free(parts);
}

void task_work_digest(const bson_t *task, char digest[HUB_ID_SIZE])
{
    const char *parts[FIELDS];
    char *texts[FIELDS];
    bson_iter_t iter;

    for (size_t i = 0; i < FIELDS; i++) {
        bson_string_t *text = bson_string_new(NULL);
        if (bson_iter_init_find(&iter, task, fields[i])) {
            if (strcmp(fields[i], "hyper_parameters") == 0 && BSON_ITER_HOLDS_DOCUMENT(&iter)) {
                append_sorted(&iter, text);
            } else {
                append_value(&iter, text);
            }
        } else if (strcmp(fields[i], "kind") == 0) {
            bson_string_append(text, "{ \"\" : \"train\" }");
        }
        parts[i] = texts[i] = bson_string_free(text, false);
    }
    hub_digest_id(parts, FIELDS, digest);
    for (size_t i = 0; i < FIELDS; i++) {
        bson_free(texts[i]);
    }
}

static int compare_digests(const void *a, const void *b)
{
    return strcmp(a, b);
}

struct task_work *task_work_read(struct hub *hub, bson_error_t *error)
{
    return task_work_read_others(hub, NULL, error);
}

struct task_work *task_work_read_others(struct hub *hub, const char *sweep, bson_error_t *error)
{
    static const char *const bad[] = {"failed", "dead", "cancelled"};
    struct task_work *work = bson_malloc0(sizeof *work);
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, inner, list;
    struct store_find_options options = {.projection = &projection};
    const bson_t *task;
    int more = -1;

    BSON_APPEND_DOCUMENT_BEGIN(&filter, "state", &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$nin", &list);
    for (uint32_t i = 0; i < 3; i++) {
        char digits[16];
        const char *key;
        bson_uint32_to_string(i, &key, digits, sizeof digits);
        BSON_APPEND_UTF8(&list, key, bad[i]);
    }
    bson_append_array_end(&inner, &list);
    bson_append_document_end(&filter, &inner);
    if (sweep != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "sweep", &inner);
        BSON_APPEND_UTF8(&inner, "$ne", sweep);
        bson_append_document_end(&filter, &inner);
    }
    for (size_t i = 0; i < FIELDS; i++) {
        BSON_APPEND_INT32(&projection, fields[i], 1);
    }
    struct store_cursor *cursor = task_find(hub, &filter, &options, error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &task, error)) > 0) {
        if (work->count == work->capacity) {
            work->capacity = work->capacity == 0 ? 256 : work->capacity * 2;
            work->digests = bson_realloc(work->digests, work->capacity * sizeof *work->digests);
        }
        task_work_digest(task, work->digests[work->count++]);
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    bson_destroy(&projection);
    if (more < 0) {
        task_work_free(work);
        return NULL;
    }
    if (work->count > 0) {
        qsort(work->digests, work->count, sizeof *work->digests, compare_digests);
    }
    return work;
}

void task_work_free(struct task_work *work)
{
    if (work != NULL) {
        bson_free(work->digests);
        bson_free(work);
    }
}

bool task_work_has(const struct task_work *work, const char *digest)
{
    return work->count > 0 && bsearch(digest, work->digests, work->count, sizeof *work->digests, compare_digests) != NULL;
}
