/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/dataset_label.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <string.h>

static bool has_tag(const bson_t *tags, const char *tag)
{
    bson_iter_t iter;
    bool found = false, more = bson_iter_init(&iter, tags);
    while (more && !found && bson_iter_next(&iter)) {
        found = BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), tag) == 0;
    }
    return found;
}

/* Appends to tags what it has not: how many. */
static int add_tags(bson_t *tags, const bson_t *document)
{
    bson_t given;
    bson_iter_t iter;
    int added = 0;
    bool more = hub_view(document, "tags", &given) && bson_iter_init(&iter, &given);
    while (more && bson_iter_next(&iter)) {
        char buffer[16];
        const char *key;
        if (BSON_ITER_HOLDS_UTF8(&iter) && !has_tag(tags, bson_iter_utf8(&iter, NULL))) {
            size_t digits = bson_uint32_to_string(bson_count_keys(tags), &key, buffer, sizeof buffer);
            bson_append_iter(tags, key, (int)digits, &iter);
            added++;
        }
    }
    return added;
}

static int change(struct hub *hub, const bson_t *tags, const char *description, bson_t *dataset, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, after, checked = BSON_INITIALIZER;
    const struct store_modify_options options = {.return_new = true};
    hub_copy_without(dataset, &checked, "tags", NULL);
    BSON_APPEND_ARRAY(&checked, "tags", tags);
    int result = schema_check("dataset", &checked, error);
    BSON_APPEND_UTF8(&filter, "_id", hub_text(dataset, "_id"));
    BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_ARRAY(&set, "tags", tags);
    if (description != NULL) {
        BSON_APPEND_UTF8(&set, "description", description);
    }
    if (result >= 0 && hub_append_words(&set, hub_text(dataset, "name"), description, tags) < 0) {
        result = hub_error(error, HUB_ERROR_INVALID, "dataset.tags: too many");
    }
    bson_append_document_end(&update, &set);
    if (result >= 0) {
        result = store_modify(hub_store(hub), "datasets", &filter, &update, &options, &after, error);
        if (result > 0) {
            bson_destroy(dataset);
            bson_copy_to(&after, dataset);
        }
        bson_destroy(&after);
    }
    bson_destroy(&checked);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

int dataset_label(struct hub *hub, const bson_t *fields, bson_t *dataset, bson_error_t *error)
{
    bson_t tags = BSON_INITIALIZER;
    const char *old = hub_text(dataset, "description"), *given = hub_text(fields, "description");
    int result = 0;
    add_tags(&tags, dataset);
    bool described = given != NULL && (old == NULL || strcmp(old, given) != 0);
    if (hub_text(dataset, "_id") != NULL && (add_tags(&tags, fields) > 0 || described)) {
        char *description = given != NULL || old != NULL ? bson_strdup(given != NULL ? given : old) : NULL;
        result = change(hub, &tags, description, dataset, error);
        bson_free(description);
    }
    bson_destroy(&tags);
    return result;
}
