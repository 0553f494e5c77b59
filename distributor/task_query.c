/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/task_query.h"

#include "hub/dataset.h"
#include "hub/query_text.h"

#include <stdio.h>
#include <string.h>

bool task_query_is(const char *field)
{
    return !strcmp(field, "dataset") || !strcmp(field, "model") || !strcmp(field, "initial_model");
}

/* Puts the field's name in front. */
static int named(const char *field, bson_error_t *error)
{
    bson_error_t why = *error;
    return hub_error(error, hub_error_code(&why), "%s: %s", field, why.message);
}

/* A query must be one, and only what it finds matters: of the types of what it compares with nothing is checked. */
static int take_query(const bson_iter_t *value, const char *field, bson_t *query, bson_error_t *error)
{
    uint32_t length;
    const uint8_t *data;
    bson_t view;
    bson_iter_document(value, &length, &data);
    if (!bson_init_static(&view, data, length) || !bson_concat(query, &view))
        return hub_error(error, HUB_ERROR_INVALID, "%s: the query cannot be read", field);
    struct query *parsed = query_parse(query, error);
    query_free(parsed);
    return parsed ? 1 : named(field, error);
}

int task_query_read(const bson_t *fields, const char *field, bson_t *query, bson_error_t *error)
{
    bson_iter_t at;
    bson_error_t ignored;
    error = error ? error : &ignored;
    bson_init(query);
    if (!bson_iter_init_find(&at, fields, field))
        return 0;
    if (BSON_ITER_HOLDS_DOCUMENT(&at))
        return take_query(&at, field, query, error);
    if (!BSON_ITER_HOLDS_UTF8(&at) || !*bson_iter_utf8(&at, NULL))
        return hub_error(error, HUB_ERROR_INVALID, "%s: must be a name or a query document", field);
    const char *text = bson_iter_utf8(&at, NULL);
    if (!query_text_is(text))
        return BSON_APPEND_UTF8(query, "name", text) ? 1 : hub_error(error, HUB_ERROR_MEMORY, "%s: no memory", field);
    bson_destroy(query);
    return query_text_read(text, query, error) ? named(field, error) : 1;
}

int task_query_append(bson_t *document, const char *field, const bson_iter_t *value, bson_error_t *error)
{
    uint32_t length;
    const uint8_t *data;
    bson_t view;
    bson_error_t ignored;
    error = error ? error : &ignored;
    if (!BSON_ITER_HOLDS_DOCUMENT(value))
        return bson_append_iter(document, field, -1, value)
                   ? 0
                   : hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for the query", field);
    bson_iter_document(value, &length, &data);
    if (!bson_init_static(&view, data, length))
        return hub_error(error, HUB_ERROR_INVALID, "%s: the query cannot be read", field);
    return query_text_append(document, field, &view, error) ? named(field, error) : 0;
}

/* "fashion, iris" into text: the first names of a collection, for a message that says what there is. */
static void list_datasets(struct hub *hub, char *text, size_t size)
{
    const bson_t *dataset;
    bson_error_t ignored;
    size_t used = 0;
    char last[256] = "";
    bson_t *sort = BCON_NEW("name", BCON_INT32(1)), *projection = BCON_NEW("name", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .projection = projection, .limit = 200};
    struct store_cursor *cursor = dataset_find(hub, NULL, &options, &ignored);
    text[0] = '\0';
    while (cursor && store_cursor_next(cursor, &dataset, &ignored) == 1) {
        bson_iter_t at;
        if (!bson_iter_init_find(&at, dataset, "name") || !BSON_ITER_HOLDS_UTF8(&at))
            continue;
        const char *name = bson_iter_utf8(&at, NULL);
        if (!strcmp(name, last))
            continue; /* another version */
        snprintf(last, sizeof last, "%s", name);
        if (used + strlen(last) + 8 >= size) {
            snprintf(text + used, size - used, ", …");
            break;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", last);
    }
    store_cursor_close(cursor);
    bson_destroy(sort);
    bson_destroy(projection);
}

int task_query_not_found(struct hub *hub, const char *field, const bson_t *query, bson_error_t *error)
{
    char names[256];
    bson_iter_t at;
    char *json = bson_count_keys(query) == 1 && bson_iter_init_find(&at, query, "name") && BSON_ITER_HOLDS_UTF8(&at)
                     ? bson_strdup_printf("'%s'", bson_iter_utf8(&at, NULL))
                     : bson_as_relaxed_extended_json(query, NULL);
    if (strcmp(field, "dataset")) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "%s: nothing in project '%s' matches %s", field,
                  hub_project(hub), json ? json : "the query");
    } else {
        list_datasets(hub, names, sizeof names);
        hub_error(error, HUB_ERROR_NOT_FOUND, "dataset: nothing in project '%s' matches %s; there %s%s",
                  hub_project(hub), json ? json : "the query", *names ? "is: " : "are no datasets yet",
                  names);
    }
    bson_free(json);
    return -1;
}
