/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/pledge.h"

#include "distributor/task_query.h"
#include "hub/dataset.h"
#include "hub/task.h"

#include <string.h>

enum { LEVELS = 16, STAGES = 8 }; /* of tasks that wait; of datasets made from datasets that are made */

static const char *find_text(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

static bool is_maker(const bson_t *task, bool dataset, const char *name)
{
    const char *kind = find_text(task, "kind"), *made = find_text(task, dataset ? "save_dataset" : "name");
    return kind && made && !strcmp(kind, dataset ? "infer" : "train") && !strcmp(made, name);
}

/* The ids of a task's `after`, at the list's end. */
static void append_after(const bson_t *task, bson_t *ids)
{
    bson_iter_t at, id;
    char digits[16];
    const char *key;
    if (!bson_iter_init_find(&at, task, "after") || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &id))
        return;
    while (bson_iter_next(&id)) {
        bson_uint32_to_string(bson_count_keys(ids), &key, digits, sizeof digits);
        bson_append_iter(ids, key, -1, &id);
    }
}

/* Looks through the tasks of these ids; where none of them is the maker, *next gets what they wait for. 1, 0, -1. */
static int look(struct hub *hub, const bson_t *ids, bool dataset, const char *name, bson_t *maker, bson_t *next,
                bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in;
    const bson_t *task;
    int found = 0, more;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
    BSON_APPEND_ARRAY(&in, "$in", ids);
    bson_append_document_end(&filter, &in);
    struct store_cursor *cursor = task_find(hub, &filter, NULL, error);
    bson_destroy(&filter);
    if (!cursor)
        return -1;
    while ((more = store_cursor_next(cursor, &task, error)) > 0) {
        if (!found && is_maker(task, dataset, name)) {
            bson_reinit(maker);
            found = bson_concat(maker, task);
        }
        append_after(task, next);
    }
    store_cursor_close(cursor);
    return more < 0 ? -1 : found;
}

static int find_maker(struct hub *hub, const bson_t *fields, bool dataset, const char *name, bson_t *maker,
                      bson_error_t *error)
{
    bson_t ids = BSON_INITIALIZER;
    int found = 0;
    append_after(fields, &ids);
    for (int level = 0; level < LEVELS && found == 0 && !bson_empty(&ids); level++) {
        bson_t next = BSON_INITIALIZER;
        found = look(hub, &ids, dataset, name, maker, &next, error);
        bson_destroy(&ids);
        bson_init(&ids);
        bson_concat(&ids, &next);
        bson_destroy(&next);
    }
    bson_destroy(&ids);
    return found;
}

static void copy_fields(const bson_t *from, const char *const *keys, bson_t *to)
{
    bson_iter_t at;
    for (; *keys; keys++)
        if (bson_iter_init_find(&at, from, *keys))
            bson_append_iter(to, *keys, -1, &at);
}

static int find(struct hub *hub, const bson_t *fields, const char *field, const bson_t *query, int stages, bson_t *made,
                bson_error_t *error);

/* Its rows are those that were predicted; what the labels are is the model's affair, unless the rows say values. */
static int describe_dataset(struct hub *hub, const bson_t *maker, int stages, bson_t *made, bson_error_t *error)
{
    static const char *const kept[] = {"input_shape", "features", "rows", NULL};
    bson_t query, source;
    bson_init(&source);
    int there = task_query_read(maker, "dataset", &query, error);
    if (there > 0) {
        bson_destroy(&source);
        there = dataset_find_one(hub, &query, &source, error);
    }
    if (there == 0 && stages > 0) {
        bson_destroy(&source);
        there = find(hub, maker, "dataset", &query, stages - 1, &source, error);
    }
    copy_fields(&source, kept, made);
    const char *label = find_text(&source, "label");
    if (label && !strcmp(label, "value"))
        BSON_APPEND_UTF8(made, "label", label);
    bson_destroy(&query);
    bson_destroy(&source);
    return there < 0 ? -1 : 1;
}

static int find(struct hub *hub, const bson_t *fields, const char *field, const bson_t *query, int stages, bson_t *made,
                bson_error_t *error)
{
    static const char *const of_model[] = {"architecture", "hyper_parameters", NULL};
    const bool dataset = !strcmp(field, "dataset");
    const char *name = bson_count_keys(query) == 1 ? find_text(query, "name") : NULL;
    bson_t maker = BSON_INITIALIZER;
    bson_init(made);
    int found = name ? find_maker(hub, fields, dataset, name, &maker, error) : 0;
    if (found > 0) {
        BSON_APPEND_UTF8(made, "name", name);
        if (dataset)
            found = describe_dataset(hub, &maker, stages, made, error);
        else
            copy_fields(&maker, of_model, made);
    }
    bson_destroy(&maker);
    return found;
}

int pledge_find(struct hub *hub, const bson_t *fields, const char *field, const bson_t *query, bson_t *made,
                bson_error_t *error)
{
    return find(hub, fields, field, query, STAGES, made, error);
}
