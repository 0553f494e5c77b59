/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/architecture_record.h"

#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <string.h>

#define ARCHITECTURES "architectures"

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

int architecture_record_save(struct hub *hub, const char *graph_json, const bson_t *fields, bson_t *record,
                             bson_error_t *error)
{
    bson_t whole, own = BSON_INITIALIZER, stored;
    bson_error_t inner;
    char id[HUB_ID_SIZE], digest[65];
    int result = -1;
    const char *const parts[] = {hub_project(hub), graph_json};
    bson_init(&stored);
    bson_init(&whole);
    bson_t *graph = bson_new_from_json((const uint8_t *)graph_json, -1, &inner);
    if (graph == NULL) {
        hub_error(error, HUB_ERROR_INVALID, "architecture: %s", inner.message);
        goto out;
    }
    hub_digest_id(parts, 2, id);
    hub_sha256(graph_json, strlen(graph_json), digest);
    hub_copy_without(fields, &own, "_id", "graph", "digest", NULL);
    BSON_APPEND_DOCUMENT(&own, "graph", graph);
    BSON_APPEND_UTF8(&own, "digest", digest);
    bson_destroy(&whole);
    if (hub_compose(hub, &own, id, &whole, error) < 0 || schema_check("architecture", &whole, error) < 0) {
        goto out;
    }
    result = store_insert(hub_store(hub), ARCHITECTURES, &whole, &inner);
    if (result >= 0) {
        bson_destroy(&stored);
        bson_copy_to(&whole, &stored);
        result = 1;
    } else if (hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
        result = change(hub, id, fields, &stored, error);
        result = result < 0 ? -1 : 0;
    } else if (error != NULL) {
        *error = inner;
    }
out:
    if (record != NULL) {
        bson_copy_to(&stored, record);
    }
    bson_destroy(&stored);
    bson_destroy(&whole);
    bson_destroy(&own);
    bson_destroy(graph);
    return result;
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
