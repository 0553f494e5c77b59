/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/model.h"

#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"
#include "hub/task_impl.h"
#include "hub/tombstone.h"

#include <string.h>

#define MODELS "models"
#define READ_BYTES (1 << 20)
#define TAG_TRIES 10
#define SAVE_TRIES 4
#define FILTER_DEPTH 100

/* ---- saving ---- */

/* Beats; an upload that gc has taken goes no further. */
static int hold(struct hub *hub, const char *session, bson_error_t *error)
{
    int held = gc_session_hold(hub, session, 1, error);
    return held == 0 ? gc_session_lost(error) : held;
}

/* Streams the weights, beating on. */
static int upload(struct hub *hub, const char *session, const bson_oid_t *blob_id, const bson_t *metadata,
                  const char *filename, int64_t (*read)(void *data, void *buffer, size_t size), void *data,
                  struct blob_info *info, bson_error_t *error)
{
    uint8_t *buffer = bson_malloc(READ_BYTES);
    int64_t got = 0, beaten = hub_boottime();
    int result = -1;
    struct blob_writer *writer = blob_writer_open(hub_store(hub), blob_id, filename, metadata, error);
    if (writer == NULL) {
        goto out;
    }
    while ((got = read(data, buffer, READ_BYTES)) > 0) {
        if (blob_writer_write(writer, buffer, (size_t)got, error) < 0) {
            goto out;
        }
        if (hub_boottime() - beaten >= GC_BEAT_MS) {
            if (hold(hub, session, error) < 0) {
                goto out;
            }
            beaten = hub_boottime();
        }
    }
    if (got < 0) {
        hub_error(error, HUB_ERROR_IO, "the weights could not be read to their end");
        goto out;
    }
    result = hold(hub, session, error) < 0 ? -1 : blob_writer_finish(writer, info, error);
out:
    blob_writer_close(writer);
    bson_free(buffer);
    return result;
}

static int delete_one(struct hub *hub, const bson_t *model, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_iter_t iter;
    if (bson_iter_init_find(&iter, model, "_id")) {
        bson_append_iter(&filter, "_id", 3, &iter);
    }
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    int64_t deleted = store_delete(hub_store(hub), MODELS, &filter, error);
    bson_destroy(&filter);
    return deleted < 0 ? -1 : 1;
}

/* A lost reply is answered by asking whether a model with this blob, which is nobody else's, stands there. */
static int insert(struct hub *hub, const bson_t *model, const bson_oid_t *blob_id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_error_t inner;
    int result = -1;
    BSON_APPEND_OID(&filter, "blob_id", blob_id);
    for (int i = 0; i < SAVE_TRIES && result <= 0; i++) {
        bson_t found;
        result = store_insert(hub_store(hub), MODELS, model, &inner) < 0 ? -1 : 1;
        if (result > 0 || !hub_unknown(&inner)) {
            break;
        }
        result = store_find_one(hub_store(hub), MODELS, &filter, NULL, &found, &inner);
        bson_destroy(&found);
        if (result < 0) {
            break;
        }
    }
    if (result == 0) {
        result = hub_error(&inner, HUB_ERROR_UNKNOWN_OUTCOME, "the model: replies keep being lost; try again");
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&filter);
    return result;
}

int model_save(struct hub *hub, const bson_t *fields, int64_t (*read)(void *data, void *buffer, size_t size),
               void *data, bson_t *model, bson_error_t *error)
{
    bson_t composed, metadata = BSON_INITIALIZER, own = BSON_INITIALIZER;
    struct blob_info info;
    bson_oid_t blob_id;
    char session[HUB_ID_SIZE], filename[80];
    int result = -1;
    bson_init(model);
    bson_oid_init(&blob_id, NULL);
    hub_random_id(session);
    hub_copy_without(fields, &own, "blob_id", "sha256", "bytes", "deleted", NULL);
    if (hub_compose(hub, &own, NULL, &composed, error) < 0) {
        goto out;
    }
    /* What can be refused is refused before anything is uploaded. */
    if (hub_text(fields, "name") == NULL) {
        hub_error(error, HUB_ERROR_INVALID, "model.name: it is missing");
        goto out;
    }
    if (schema_check("model", &composed, error) < 0) {
        goto out;
    }
    snprintf(filename, sizeof filename, "%s.safetensors", session);
    BSON_APPEND_UTF8(&metadata, "project", hub_project(hub));
    BSON_APPEND_UTF8(&metadata, "kind", "model");
    if (gc_announce_session(hub, &blob_id, NULL, 0, NULL, session, error) < 0 ||
        upload(hub, session, &blob_id, &metadata, filename, read, data, &info, error) < 0) {
        goto out;
    }
    BSON_APPEND_OID(&composed, "blob_id", &info.id);
    BSON_APPEND_UTF8(&composed, "sha256", info.sha256);
    BSON_APPEND_INT64(&composed, "bytes", info.length);
    TL_FAULT("save_model.before");
    if (insert(hub, &composed, &blob_id, error) < 0) {
        goto out;
    }
    TL_FAULT("save_model.after");
    /* No claim protects this upload: was it still announced, and is the blob there, now that the model points to it? */
    result = gc_session_hold(hub, session, 1, error);
    if (result > 0) {
        result = gc_keep(hub, &blob_id, error);
    }
    if (result == 0) {
        result = delete_one(hub, &composed, error) < 0 ? -1 : gc_session_lost(error);
    }
    if (result > 0) {
        gc_session_done(hub, session, NULL); /* stale anyway once its beat stands still */
        bson_destroy(model);
        bson_copy_to(&composed, model);
    }
out:
    bson_destroy(&own);
    bson_destroy(&metadata);
    bson_destroy(&composed);
    return result;
}

/* ---- finding ---- */

static bool is_named(const bson_t *filter, int depth)
{
    static const char *const names[] = {"_id", "epoch", "final"};
    bson_iter_t iter, inner;
    bson_t part;
    bool named = false, more = filter != NULL && bson_iter_init(&iter, filter);
    while (more && !named && bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            named = named || strcmp(key, names[i]) == 0;
        }
        if (named || *key != '$' || depth == 0 || !BSON_ITER_HOLDS_ARRAY(&iter) || !bson_iter_recurse(&iter, &inner)) {
            continue;
        }
        while (!named && bson_iter_next(&inner)) {
            named = BSON_ITER_HOLDS_DOCUMENT(&inner) && hub_item(&inner, &part) && is_named(&part, depth - 1);
        }
    }
    return named;
}

/* Who asks for models means those that runs ended with; epochs are found by who names them. */
static void live_filter(const struct hub *hub, const bson_t *filter, bson_t *out)
{
    bson_t last = BSON_INITIALIZER, condition, both;
    if (is_named(filter, FILTER_DEPTH)) {
        bson_destroy(&last);
        tombstone_live_filter(hub, filter, out);
        return;
    }
    BSON_APPEND_DOCUMENT_BEGIN(&last, "final", &condition);
    BSON_APPEND_BOOL(&condition, "$ne", false);
    bson_append_document_end(&last, &condition);
    hub_filter(hub, filter, &last, &both);
    tombstone_live_filter(hub, &both, out);
    bson_destroy(&both);
    bson_destroy(&last);
}

struct store_cursor *model_find(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                bson_error_t *error)
{
    bson_t whole;
    live_filter(hub, filter, &whole);
    struct store_cursor *cursor = store_find(hub_store(hub), MODELS, &whole, options, error);
    bson_destroy(&whole);
    return cursor;
}

int model_find_one(struct hub *hub, const bson_t *filter, const bson_t *sort, bson_t *model, bson_error_t *error)
{
    bson_t whole, newest = BSON_INITIALIZER;
    live_filter(hub, filter, &whole);
    BSON_APPEND_INT32(&newest, "created_at", -1);
    struct store_find_options options = {.sort = sort != NULL ? sort : &newest, .limit = 1};
    int result = store_find_one(hub_store(hub), MODELS, &whole, &options, model, error);
    bson_destroy(&newest);
    bson_destroy(&whole);
    return result;
}

int model_resolve(struct hub *hub, const char *text, bson_t *model, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, second;
    const bson_t *document;
    int result, count = 0;
    size_t length = strlen(text);
    bson_init(model);
    if (length == 0 || !bson_utf8_validate(text, length, false)) {
        bson_destroy(&filter);
        return 0;
    }
    BSON_APPEND_UTF8(&filter, "_id", text);
    bson_destroy(model);
    result = model_find_one(hub, &filter, NULL, model, error);
    if (result == 0 && length >= 4 && length < 32 && hub_is_hex(text)) {
        bson_init(&second);
        hub_append_prefix(&second, "_id", text);
        struct store_find_options options = {.limit = 2};
        struct store_cursor *cursor = model_find(hub, &second, &options, error);
        bson_destroy(&second);
        result = cursor == NULL ? -1 : 0;
        while (result == 0 && (result = store_cursor_next(cursor, &document, error)) == 1) {
            count++;
            bson_destroy(model);
            bson_copy_to(document, model);
            result = 0;
        }
        store_cursor_close(cursor);
        if (result == 0 && count > 1) {
            bson_reinit(model);
            result = hub_error(error, HUB_ERROR_INVALID, "\"%.100s\" begins the ids of several models: give more of its digits",
                               text);
        } else if (result == 0) {
            result = count;
        }
    }
    if (result == 0) {
        bson_reinit(&filter);
        BSON_APPEND_UTF8(&filter, "name", text);
        bson_destroy(model);
        result = model_find_one(hub, &filter, NULL, model, error);
    }
    bson_destroy(&filter);
    return result;
}

/* ---- deleting ---- */

/* A model of a task leaves a tombstone: a roll-forward may still be on its way. One saved by hand just goes. */
static int bury(struct hub *hub, const bson_t *model, bson_error_t *error)
{
    return hub_text(model, "task") == NULL ? delete_one(hub, model, error)
                                           : tombstone_bury(hub, MODELS, model, true, error);
}

int64_t model_delete(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    const bson_t *model;
    int64_t deleted = 0;
    int next, result;
    struct store_cursor *cursor = model_find(hub, filter, NULL, error);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &model, error)) == 1) {
        if ((result = bury(hub, model, error)) < 0) {
            next = -1;
            break;
        }
        deleted += result;
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : deleted;
}

/* ---- tags ---- */

static bool is_among(const char *tag, const char *const *tags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tag, tags[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void append_tag(bson_t *tags, uint32_t *count, const char *tag)
{
    char buffer[16];
    const char *key;
    size_t digits = bson_uint32_to_string((*count)++, &key, buffer, sizeof buffer);
    bson_append_utf8(tags, key, (int)digits, tag, -1);
}

/* The tags after the change; whether anything changes. */
static bool change_tags(const bson_t *model, const char *const *add, size_t add_count, const char *const *remove,
                        size_t remove_count, bson_t *tags)
{
    bson_t old;
    bson_iter_t iter;
    uint32_t count = 0;
    bool changed = false;
    bson_init(tags);
    bool tagged = hub_view(model, "tags", &old);
    if (tagged && bson_iter_init(&iter, &old)) {
        while (bson_iter_next(&iter)) {
            if (!BSON_ITER_HOLDS_UTF8(&iter) || is_among(bson_iter_utf8(&iter, NULL), remove, remove_count)) {
                changed = true;
            } else {
                append_tag(tags, &count, bson_iter_utf8(&iter, NULL));
            }
        }
    }
    for (size_t i = 0; i < add_count; i++) {
        bool there = is_among(add[i], remove, remove_count) || is_among(add[i], add, i);
        if (tagged && bson_iter_init(&iter, &old)) {
            while (!there && bson_iter_next(&iter)) {
                there = BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), add[i]) == 0;
            }
        }
        if (!there) {
            append_tag(tags, &count, add[i]);
            changed = true;
        }
    }
    return changed;
}

/* Compare and set on `revision`, so that two who tag at once both have their way. 1 changed, 0 nothing to change, -1. */
static int tag_one(struct hub *hub, const bson_iter_t *id, const char *const *add, size_t add_count,
                   const char *const *remove, size_t remove_count, bson_error_t *error)
{
    int result = 0;
    for (int i = 0; i < TAG_TRIES; i++) {
        bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part, tags, model, checked = BSON_INITIALIZER;
        bson_iter_t iter;
        bool changed = false;
        bson_append_iter(&filter, "_id", 3, id);
        BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
        result = model_find_one(hub, &filter, NULL, &model, error);
        bson_init(&tags);
        if (result > 0) {
            bson_destroy(&tags);
            changed = change_tags(&model, add, add_count, remove, remove_count, &tags);
            hub_copy_without(&model, &checked, "tags", NULL);
            BSON_APPEND_ARRAY(&checked, "tags", &tags);
            result = changed ? schema_check("model", &checked, error) : 0;
        }
        if (result > 0) {
            if (bson_iter_init_find(&iter, &model, "revision")) {
                bson_append_iter(&filter, "revision", 8, &iter);
            } else {
                BSON_APPEND_NULL(&filter, "revision");
            }
            BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
            BSON_APPEND_ARRAY(&part, "tags", &tags);
            if (hub_append_words(&part, hub_text(&model, "name"), hub_text(&model, "description"), &tags) < 0) {
                result = hub_error(error, HUB_ERROR_INVALID, "model.tags: too many");
            }
            BSON_APPEND_INT64(&part, "revision", hub_number(&model, "revision", 0) + 1);
            bson_append_document_end(&update, &part);
            result = result < 0 ? -1 : store_modify(hub_store(hub), MODELS, &filter, &update, NULL, NULL, error);
        }
        bson_destroy(&checked);
        bson_destroy(&tags);
        bson_destroy(&model);
        bson_destroy(&update);
        bson_destroy(&filter);
        if (result != 0 || !changed) {
            return result;
        }
    }
    return hub_error(error, HUB_ERROR_CONFLICT, "the model's tags keep changing: try again");
}

int64_t model_tag(struct hub *hub, const bson_t *filter, const char *const *add, size_t add_count,
                  const char *const *remove, size_t remove_count, bson_error_t *error)
{
    bson_t projection = BSON_INITIALIZER;
    const bson_t *model;
    bson_iter_t id;
    int64_t changed = 0;
    int next, result;
    BSON_APPEND_INT32(&projection, "_id", 1);
    struct store_find_options options = {.projection = &projection};
    struct store_cursor *cursor = model_find(hub, filter, &options, error);
    bson_destroy(&projection);
    if (cursor == NULL) {
        return -1;
    }
    while ((next = store_cursor_next(cursor, &model, error)) == 1) {
        if (bson_iter_init_find(&id, model, "_id")) {
            result = tag_one(hub, &id, add, add_count, remove, remove_count, error);
            if (result < 0) {
                next = -1;
                break;
            }
            changed += result;
        }
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : changed;
}
