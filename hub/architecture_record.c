/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/architecture_record.h"

#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <string.h>

#define ARCHITECTURES "architectures"
#define AT_ONCE 100 /* of many */

/* Name, description and tags of a graph that is there already, where given; words follow. */
static int change(struct hub *hub, const char *id, const bson_t *fields, bson_t *record, bson_error_t *error)
{
    static const char *const names[] = {"name", "description", "tags"};
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, old, merged = BSON_INITIALIZER, tags;
    bson_iter_t iter;
    bool any = false;
    int result;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    result = store_find_one(hub_store(hub), ARCHITECTURES, &filter, NULL, &old, error);
    if (result <= 0) {
        goto out;
    }
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    hub_copy_without(&old, &merged, "words", "name", "description", "tags", NULL);
    for (size_t i = 0; i < 3; i++) {
        if (fields != NULL && bson_iter_init_find(&iter, fields, names[i])) {
            bson_append_iter(&set, names[i], -1, &iter);
            bson_append_iter(&merged, names[i], -1, &iter);
            any = true;
        } else if (bson_iter_init_find(&iter, &old, names[i])) {
            bson_append_iter(&merged, names[i], -1, &iter);
        }
    }
    bool tagged = hub_view(&merged, "tags", &tags);
    hub_append_words(&set, hub_text(&merged, "name"), hub_text(&merged, "description"), tagged ? &tags : NULL);
    bson_append_document_end(&update, &set);
    if (!any) {
        bson_destroy(record);
        bson_copy_to(&old, record);
        goto out;
    }
    result = schema_check("architecture", &merged, error);
    if (result > 0) {
        struct store_modify_options options = {.return_new = true};
        bson_destroy(record);
        result = store_modify(hub_store(hub), ARCHITECTURES, &filter, &update, &options, record, error);
    }
out:
    bson_destroy(&old);
    bson_destroy(&merged);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* The record of this graph under this name (NULL: under any, or none): 1 with its id, 0, -1. */
static int find_graph(struct hub *hub, const char *digest, const char *name, char id[HUB_ID_SIZE], bson_error_t *error)
{
    bson_t condition = BSON_INITIALIZER, filter, found;
    BSON_APPEND_UTF8(&condition, "digest", digest);
    if (name != NULL) {
        BSON_APPEND_UTF8(&condition, "name", name);
    }
    hub_filter(hub, NULL, &condition, &filter);
    int result = store_find_one(hub_store(hub), ARCHITECTURES, &filter, NULL, &found, error);
    const char *text = hub_text(&found, "_id");
    if (result > 0 && (text == NULL || strlen(text) >= HUB_ID_SIZE)) {
        result = 0; /* a foreign one */
    }
    if (result > 0) {
        memcpy(id, text, strlen(text) + 1);
    }
    bson_destroy(&found);
    bson_destroy(&filter);
    bson_destroy(&condition);
    return result;
}

static void graph_id(const struct hub *hub, const char *graph_json, const char *name, char id[HUB_ID_SIZE])
{
    const char *const parts[] = {hub_project(hub), graph_json, name};
    hub_digest_id(parts, name != NULL ? 3 : 2, id);
}

/* A new record, or what has become of the one that came between. */
static int insert(struct hub *hub, const char *id, const bson_t *own, const bson_t *fields, bson_t *record,
                  bson_error_t *error)
{
    bson_t whole;
    bson_error_t inner;
    int result = -1;
    if (hub_compose(hub, own, id, &whole, error) >= 0 && schema_check("architecture", &whole, error) >= 0) {
        result = store_insert(hub_store(hub), ARCHITECTURES, &whole, &inner);
        if (result >= 0) {
            bson_destroy(record);
            bson_copy_to(&whole, record);
            result = 1;
        } else if (hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
            result = change(hub, id, fields, record, error) < 0 ? -1 : 0;
        } else if (error != NULL) {
            *error = inner;
        }
    }
    bson_destroy(&whole);
    return result;
}

int architecture_record_save(struct hub *hub, const char *graph_json, const bson_t *fields, bson_t *record,
                             bson_error_t *error)
{
    bson_t own = BSON_INITIALIZER, stored;
    bson_error_t inner;
    char id[HUB_ID_SIZE], digest[65];
    const char *name = fields != NULL ? hub_text(fields, "name") : NULL;
    int result = -1;
    bson_init(&stored);
    bson_t *graph = bson_new_from_json((const uint8_t *)graph_json, -1, &inner);
    if (graph == NULL) {
        hub_error(error, HUB_ERROR_INVALID, "architecture: %s", inner.message);
        goto out;
    }
    hub_sha256(graph_json, strlen(graph_json), digest);
    int there = find_graph(hub, digest, name, id, error);
    if (there != 0) {
        result = there < 0 || change(hub, id, fields, &stored, error) < 0 ? -1 : 0;
        goto out;
    }
    graph_id(hub, graph_json, name, id);
    hub_copy_without(fields, &own, "_id", "graph", "digest", NULL);
    BSON_APPEND_DOCUMENT(&own, "graph", graph);
    BSON_APPEND_UTF8(&own, "digest", digest);
    result = insert(hub, id, &own, fields, &stored, error);
out:
    if (record != NULL) {
        bson_copy_to(&stored, record);
    }
    bson_destroy(&stored);
    bson_destroy(&own);
    bson_destroy(graph);
    return result;
}

/* ---- many ---- */

struct many {
    struct hub *hub;
    bson_t *documents[AT_ONCE];
    struct store_operation operations[AT_ONCE];
    size_t count;
    int64_t now;
};

static int add_document(struct many *many, const struct architecture_entry *entry, const char *digest,
                        bson_error_t *error)
{
    bson_error_t inner;
    char id[HUB_ID_SIZE];
    bson_t *graph = bson_new_from_json((const uint8_t *)entry->graph_json, -1, &inner);
    if (graph == NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "architecture: %s", inner.message);
    }
    bson_t *document = bson_new();
    graph_id(many->hub, entry->graph_json, NULL, id);
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_UTF8(document, "project", hub_project(many->hub));
    if (entry->text != NULL) {
        BSON_APPEND_UTF8(document, "text", entry->text);
    }
    BSON_APPEND_DOCUMENT(document, "graph", graph);
    BSON_APPEND_UTF8(document, "digest", digest);
    hub_append_words(document, NULL, NULL, NULL);
    BSON_APPEND_DATE_TIME(document, "created_at", many->now);
    BSON_APPEND_INT32(document, "schema_version", HUB_SCHEMA_VERSION);
    bson_destroy(graph);
    many->documents[many->count] = document;
    many->operations[many->count++] = (struct store_operation){
        .kind = STORE_INSERT, .collection = ARCHITECTURES, .document = document, .ignore_duplicate = true};
    return schema_check("architecture", document, error);
}

/* Marks the digests that are there under any name. */
static int find_digests(struct hub *hub, char (*digests)[65], bool *there, size_t count, bson_error_t *error)
{
    bson_t condition = BSON_INITIALIZER, in, list, filter, projection = BSON_INITIALIZER;
    const bson_t *record;
    int next = -1;
    BSON_APPEND_DOCUMENT_BEGIN(&condition, "digest", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0; i < count; i++) {
        char buffer[16];
        const char *key;
        size_t length = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        bson_append_utf8(&list, key, (int)length, digests[i], -1);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&condition, &in);
    hub_filter(hub, NULL, &condition, &filter);
    BSON_APPEND_INT32(&projection, "digest", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), ARCHITECTURES, &filter, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &record, error)) == 1) {
        const char *digest = hub_text(record, "digest");
        for (size_t i = 0; digest != NULL && i < count; i++) {
            there[i] = there[i] || strcmp(digests[i], digest) == 0;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&filter);
    bson_destroy(&condition);
    return next;
}

static int64_t save_some(struct hub *hub, const struct architecture_entry *entries, size_t count, bson_error_t *error)
{
    char digests[AT_ONCE][65];
    bool there[AT_ONCE] = {false};
    struct many many = {.hub = hub};
    int64_t result = -1;
    for (size_t i = 0; i < count; i++) {
        hub_sha256(entries[i].graph_json, strlen(entries[i].graph_json), digests[i]);
    }
    if (hub_now(hub, &many.now, error) < 0 || find_digests(hub, digests, there, count, error) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (!there[i] && add_document(&many, &entries[i], digests[i], error) < 0) {
            goto out;
        }
    }
    result = many.count == 0 || store_batch(hub_store(hub), many.operations, many.count, NULL, error) > 0
                 ? (int64_t)many.count
                 : -1;
out:
    for (size_t i = 0; i < many.count; i++) {
        bson_destroy(many.documents[i]);
    }
    return result;
}

int64_t architecture_record_save_many(struct hub *hub, const struct architecture_entry *entries, size_t count,
                                      bson_error_t *error)
{
    int64_t saved = 0;
    for (size_t done = 0; done < count && saved >= 0; done += AT_ONCE) {
        int64_t part = save_some(hub, entries + done, count - done < AT_ONCE ? count - done : AT_ONCE, error);
        saved = part < 0 ? -1 : saved + part;
    }
    return saved;
}

struct store_cursor *architecture_record_find(struct hub *hub, const bson_t *filter,
                                              const struct store_find_options *options, bson_error_t *error)
{
    bson_t whole;
    hub_filter(hub, filter, NULL, &whole);
    struct store_cursor *cursor = store_find(hub_store(hub), ARCHITECTURES, &whole, options, error);
    bson_destroy(&whole);
    return cursor;
}

int architecture_record_resolve(struct hub *hub, const char *text, bson_t *record, bson_error_t *error)
{
    static const char *const ways[] = {"name", "_id", "digest"};
    bson_t sort = BSON_INITIALIZER;
    int result = 0;
    bson_init(record);
    BSON_APPEND_INT32(&sort, "created_at", -1);
    struct store_find_options options = {.sort = &sort, .limit = 1};
    bool usable = text[0] != '\0' && bson_utf8_validate(text, strlen(text), false);
    for (size_t i = 0; usable && i < 3 && result == 0; i++) {
        bson_t condition = BSON_INITIALIZER, filter;
        if (i == 0) {
            BSON_APPEND_UTF8(&condition, ways[i], text);
        } else if (strlen(text) < 6 || !hub_is_hex(text)) {
            bson_destroy(&condition);
            continue;
        } else {
            hub_append_prefix(&condition, ways[i], text);
        }
        hub_filter(hub, &condition, NULL, &filter);
        bson_destroy(record);
        result = store_find_one(hub_store(hub), ARCHITECTURES, &filter, &options, record, error);
        bson_destroy(&filter);
        bson_destroy(&condition);
    }
    bson_destroy(&sort);
    return result;
}

int64_t architecture_record_delete(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t whole;
    hub_filter(hub, filter, NULL, &whole);
    int64_t deleted = store_delete(hub_store(hub), ARCHITECTURES, &whole, error);
    bson_destroy(&whole);
    return deleted;
}
