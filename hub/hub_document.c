/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and composing the hub's documents. */
#include "hub/hub_impl.h"

#include <string.h>
#include <time.h>

void hub_filter(const struct hub *hub, const bson_t *filter, const bson_t *extra, bson_t *out)
{
    bson_iter_t iter, other;
    bool clash = false;
    bson_init(out);
    BSON_APPEND_UTF8(out, "project", hub_project(hub));
    if (extra != NULL) {
        bson_concat(out, extra);
    }
    if (filter == NULL || bson_empty(filter)) {
        return;
    }
    if (bson_iter_init(&iter, filter)) {
        while (!clash && bson_iter_next(&iter)) {
            clash = bson_iter_init_find(&other, out, bson_iter_key(&iter));
        }
    }
    if (clash) {
        bson_t array;
        BSON_APPEND_ARRAY_BEGIN(out, "$and", &array);
        BSON_APPEND_DOCUMENT(&array, "0", filter);
        bson_append_array_end(out, &array);
    } else {
        bson_concat(out, filter);
    }
}

int hub_now(struct hub *hub, int64_t *milliseconds, bson_error_t *error)
{
    return store_server_time(hub_store(hub), milliseconds, error);
}

int64_t hub_boottime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void hub_sleep(int64_t milliseconds)
{
    int64_t end = hub_boottime() + milliseconds;
    for (int64_t left = milliseconds; left > 0; left = end - hub_boottime()) {
        struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = (long)(left % 1000) * 1000000L};
        nanosleep(&wait, NULL);
    }
}

void hub_copy_without(const bson_t *source, bson_t *destination, ...)
{
    bson_iter_t iter;
    if (source == NULL || !bson_iter_init(&iter, source)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter), *name;
        bool skip = false;
        va_list names;
        va_start(names, destination);
        while (!skip && (name = va_arg(names, const char *)) != NULL) {
            skip = strcmp(key, name) == 0;
        }
        va_end(names);
        if (!skip) {
            bson_append_iter(destination, key, -1, &iter);
        }
    }
}

static bool find(const bson_t *document, const char *path, bson_iter_t *value)
{
    bson_iter_t iter;
    return document != NULL && bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, value);
}

const char *hub_text(const bson_t *document, const char *path)
{
    bson_iter_t value;
    uint32_t length;
    if (!find(document, path, &value) || !BSON_ITER_HOLDS_UTF8(&value)) {
        return NULL;
    }
    /* A foreign text may hold NUL: cut there it would be another one. */
    const char *text = bson_iter_utf8(&value, &length);
    return strlen(text) == length ? text : NULL;
}

bool hub_double(const bson_t *document, const char *path, double *number)
{
    bson_iter_t value;
    if (!find(document, path, &value) || !BSON_ITER_HOLDS_NUMBER(&value)) {
        return false;
    }
    *number = bson_iter_as_double(&value);
    return true;
}

int64_t hub_number(const bson_t *document, const char *path, int64_t fallback)
{
    bson_iter_t value;
    if (!find(document, path, &value)) {
        return fallback;
    }
    if (BSON_ITER_HOLDS_INT32(&value) || BSON_ITER_HOLDS_INT64(&value)) {
        return bson_iter_as_int64(&value);
    }
    if (BSON_ITER_HOLDS_DOUBLE(&value)) {
        double number = bson_iter_double(&value);
        return number > -9.2e18 && number < 9.2e18 ? (int64_t)number : fallback;
    }
    return fallback;
}

bool hub_item(const bson_iter_t *iter, bson_t *view)
{
    const uint8_t *data = NULL;
    uint32_t length = 0;
    if (BSON_ITER_HOLDS_DOCUMENT(iter)) {
        bson_iter_document(iter, &length, &data);
    } else if (BSON_ITER_HOLDS_ARRAY(iter)) {
        bson_iter_array(iter, &length, &data);
    }
    return data != NULL && bson_init_static(view, data, length);
}

bool hub_view(const bson_t *document, const char *path, bson_t *view)
{
    bson_iter_t value;
    return find(document, path, &value) && hub_item(&value, view);
}

bool hub_unknown(const bson_error_t *error)
{
    return hub_error_code(error) == HUB_ERROR_UNKNOWN_OUTCOME;
}

bool hub_is_hex(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789abcdef")] == '\0';
}

void hub_append_prefix(bson_t *filter, const char *key, const char *prefix)
{
    bson_t range;
    char *end = bson_strdup_printf("%s\xf4\x8f\xbf\xbf", prefix); /* the last code point */
    BSON_APPEND_DOCUMENT_BEGIN(filter, key, &range);
    BSON_APPEND_UTF8(&range, "$gte", prefix);
    BSON_APPEND_UTF8(&range, "$lt", end);
    bson_append_document_end(filter, &range);
    bson_free(end);
}

int hub_compose(struct hub *hub, const bson_t *fields, const char *id, bson_t *out, bson_error_t *error)
{
    char fresh[HUB_ID_SIZE];
    int64_t now;
    bson_t tags;
    bson_init(out);
    if (hub_now(hub, &now, error) < 0) {
        return -1;
    }
    if (id == NULL) {
        id = hub_text(fields, "_id");
    }
    if (id == NULL) {
        hub_random_id(fresh);
        id = fresh;
    }
    bool tagged = fields != NULL && hub_view(fields, "tags", &tags);
    BSON_APPEND_UTF8(out, "_id", id);
    BSON_APPEND_UTF8(out, "project", hub_project(hub));
    hub_copy_without(fields, out, "_id", "project", "created_at", "schema_version", "words", NULL);
    if (hub_append_words(out, hub_text(fields, "name"), hub_text(fields, "description"), tagged ? &tags : NULL) < 0) {
        return hub_error(error, HUB_ERROR_INVALID, "the document is too large");
    }
    BSON_APPEND_DATE_TIME(out, "created_at", now);
    BSON_APPEND_INT32(out, "schema_version", HUB_SCHEMA_VERSION);
    return 1;
}
