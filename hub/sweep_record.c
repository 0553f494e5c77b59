/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/sweep_record.h"

#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <string.h>

#define SWEEPS "sweeps"

static void compute_id(const struct hub *hub, const bson_t *fields, char id[HUB_ID_SIZE])
{
    bson_t specification, none = BSON_INITIALIZER;
    const char *name = hub_text(fields, "name");
    bool specified = hub_view(fields, "specification", &specification);
    size_t length;
    char *json = bson_as_relaxed_extended_json(specified ? &specification : &none, &length);
    const char *const parts[] = {hub_project(hub), name != NULL ? name : "", json};
    hub_digest_id(parts, 3, id);
    bson_free(json);
    bson_destroy(&none);
}

/* Submitted grows when more of its tasks were made, seeds when its points are trained with more of them. */
static int read_again(struct hub *hub, const char *id, const bson_t *fields, bson_t *record, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    static const char *const grows[] = {"submitted", "seeds"};
    bson_t most = BSON_INITIALIZER;
    int result;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    bson_destroy(record);
    for (size_t i = 0; i < sizeof grows / sizeof grows[0]; i++) {
        int64_t value = hub_number(fields, grows[i], 0);
        if (value > 0) {
            BSON_APPEND_INT64(&most, grows[i], value);
        }
    }
    if (!bson_empty(&most)) {
        struct store_modify_options options = {.return_new = true};
        BSON_APPEND_DOCUMENT(&update, "$max", &most);
        result = store_modify(hub_store(hub), SWEEPS, &filter, &update, &options, record, error);
    } else {
        result = store_find_one(hub_store(hub), SWEEPS, &filter, NULL, record, error);
    }
    bson_destroy(&most);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result < 0 ? -1 : 0;
}

int sweep_record_save(struct hub *hub, const bson_t *fields, bson_t *record, bson_error_t *error)
{
    bson_t whole, stored = BSON_INITIALIZER;
    bson_error_t inner;
    char digest[HUB_ID_SIZE];
    const char *id = hub_text(fields, "_id");
    int result = -1;
    if (id == NULL) {
        compute_id(hub, fields, digest);
        id = digest;
    }
    if (hub_compose(hub, fields, id, &whole, error) < 0 || schema_check("sweep", &whole, error) < 0) {
        goto out;
    }
    result = store_insert(hub_store(hub), SWEEPS, &whole, &inner);
    if (result >= 0) {
        bson_destroy(&stored);
        bson_copy_to(&whole, &stored);
        result = 1;
    } else if (hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
        result = read_again(hub, id, fields, &stored, error);
    } else if (error != NULL) {
        *error = inner;
    }
out:
    if (record != NULL) {
        bson_copy_to(&stored, record);
    }
    bson_destroy(&stored);
    bson_destroy(&whole);
    return result;
}

struct store_cursor *sweep_record_find(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t whole, sort = BSON_INITIALIZER;
    hub_filter(hub, filter, NULL, &whole);
    BSON_APPEND_INT32(&sort, "created_at", -1);
    struct store_find_options options = {.sort = &sort};
    struct store_cursor *cursor = store_find(hub_store(hub), SWEEPS, &whole, &options, error);
    bson_destroy(&sort);
    bson_destroy(&whole);
    return cursor;
}

int sweep_record_note(struct hub *hub, const char *id, const bson_t *fields, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set = BSON_INITIALIZER, most = BSON_INITIALIZER;
    bson_iter_t at;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    for (bool more = bson_iter_init(&at, fields) && bson_iter_next(&at); more; more = bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        bson_append_iter(strcmp(key, "proposed") == 0 || strcmp(key, "submitted") == 0 ? &most : &set, key, -1, &at);
    }
    if (!bson_empty(&set)) {
        BSON_APPEND_DOCUMENT(&update, "$set", &set);
    }
    if (!bson_empty(&most)) {
        BSON_APPEND_DOCUMENT(&update, "$max", &most);
    }
    int64_t result = store_update(hub_store(hub), SWEEPS, &filter, &update, error);
    bson_destroy(&set);
    bson_destroy(&most);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result < 0 ? -1 : result > 0;
}

int sweep_record_resolve(struct hub *hub, const char *text, bson_t *record, bson_error_t *error)
{
    bson_t sort = BSON_INITIALIZER;
    int result = 0;
    bson_init(record);
    BSON_APPEND_INT32(&sort, "created_at", -1);
    struct store_find_options options = {.sort = &sort, .limit = 1};
    bool usable = text[0] != '\0' && bson_utf8_validate(text, strlen(text), false);
    for (int i = 0; usable && i < 3 && result == 0; i++) {
        bson_t condition = BSON_INITIALIZER, filter;
        if (i < 2) {
            BSON_APPEND_UTF8(&condition, i == 0 ? "_id" : "name", text);
        } else if (strlen(text) >= 6 && hub_is_hex(text)) {
            hub_append_prefix(&condition, "_id", text);
        } else {
            bson_destroy(&condition);
            break;
        }
        hub_filter(hub, &condition, NULL, &filter);
        bson_destroy(record);
        result = store_find_one(hub_store(hub), SWEEPS, &filter, &options, record, error);
        bson_destroy(&filter);
        bson_destroy(&condition);
    }
    bson_destroy(&sort);
    return result;
}
