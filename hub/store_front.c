/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/store_front.h"

#include <assert.h>
#include <string.h>

/* The declared index paths of one collection that may not hold an array. */
struct declared {
    struct declared *next;
    char *collection;
    bool listed; /* the engine has been asked */
    char **paths;
    size_t count;
};

void front_check_code(int64_t result, const bson_error_t *error)
{
    assert(result >= 0 || (error->domain == HUB_ERROR_DOMAIN && error->code >= HUB_ERROR_INVALID &&
                           error->code <= HUB_ERROR_INTERNAL && error->message[0]));
    (void)result;
    (void)error;
}

int front_check_collection(const char *collection, bson_error_t *error)
{
    size_t length = strspn(collection, "abcdefghijklmnopqrstuvwxyz_.");
    if (length == 0 || collection[length] || length > 100 || collection[0] == '.' || collection[length - 1] == '.')
        return hub_error(error, HUB_ERROR_INVALID, "collection '%.80s': a name is of a-z, _ and .", collection);
    return 0;
}

int front_check_may_write(const struct store *store, bson_error_t *error)
{
    if (store->in_batch)
        return hub_error(error, HUB_ERROR_INVALID, "a batch's check may only read");
    return 0;
}

/* ---- declared paths ---- */

static bool is_membership_path(const char *path)
{
    return strcmp(path, "tags") == 0 || strcmp(path, "words") == 0;
}

static int declare_paths(void *data, const char *name, const bson_t *keys, bson_error_t *error)
{
    struct declared *declared = data;
    bson_iter_t iter;
    (void)name;
    (void)error;
    if (!bson_iter_init(&iter, keys))
        return 0;
    while (bson_iter_next(&iter)) {
        const char *path = bson_iter_key(&iter);
        bool known = is_membership_path(path);
        for (size_t i = 0; i < declared->count && !known; i++)
            known = strcmp(declared->paths[i], path) == 0;
        if (known)
            continue;
        declared->paths = bson_realloc(declared->paths, (declared->count + 1) * sizeof *declared->paths);
        declared->paths[declared->count++] = bson_strdup(path);
    }
    return 0;
}

static struct declared *declared_of(struct store *store, const char *collection)
{
    struct declared *declared = store->declared;
    while (declared && strcmp(declared->collection, collection) != 0)
        declared = declared->next;
    if (declared)
        return declared;
    declared = bson_malloc0(sizeof *declared);
    declared->collection = bson_strdup(collection);
    declared->next = store->declared;
    store->declared = declared;
    return declared;
}

void front_declare(struct store *store, const char *collection, const bson_t *keys)
{
    declare_paths(declared_of(store, collection), "", keys, NULL);
}

void front_forget(struct store *store)
{
    while (store->declared) {
        struct declared *next = store->declared->next;
        for (size_t i = 0; i < store->declared->count; i++)
            bson_free(store->declared->paths[i]);
        bson_free(store->declared->paths);
        bson_free(store->declared->collection);
        bson_free(store->declared);
        store->declared = next;
    }
}

/* NULL on error. */
static struct declared *listed_of(struct store *store, const char *collection, bson_error_t *error)
{
    struct declared *declared = declared_of(store, collection);
    if (!declared->listed && store->engine->list_indexes) {
        int result = store->engine->list_indexes(store->self, collection, declare_paths, declared, error);
        front_check_code(result, error);
        if (result < 0)
            return NULL;
    }
    declared->listed = true;
    return declared;
}

static int check_scalars(struct store *store, const char *collection, const bson_t *document, bson_error_t *error)
{
    const struct declared *declared = listed_of(store, collection, error);
    if (!declared)
        return -1;
    for (size_t i = 0; i < declared->count; i++) {
        key_clear(&store->scratch);
        if (key_append_path(&store->scratch, document, declared->paths[i]))
            return hub_error(error, HUB_ERROR_INVALID, "%s: there is an array at the indexed path '%.80s'", collection,
                             declared->paths[i]);
    }
    return 0;
}

/* ---- documents, filters, updates ---- */

int front_prepare_document(struct store *store, const char *collection, const bson_t *document, const bson_t **prepared,
                           bson_t **owned, bson_error_t *error)
{
    bson_iter_t iter;
    *prepared = document;
    *owned = NULL;
    if (query_check_document(document, collection, error) || check_scalars(store, collection, document, error))
        return -1;
    if (bson_iter_init(&iter, document) && bson_iter_next(&iter) && strcmp(bson_iter_key(&iter), "_id") == 0)
        return 0;
    *owned = bson_new();
    if (bson_iter_init_find(&iter, document, "_id")) {
        bson_append_iter(*owned, "_id", 3, &iter);
    } else {
        bson_oid_t id;
        bson_oid_init(&id, NULL);
        bson_append_oid(*owned, "_id", 3, &id);
    }
    bson_copy_to_excluding_noinit(document, *owned, "_id", NULL);
    *prepared = *owned;
    return 0;
}

static const bson_t *const nothing = &(const bson_t)BSON_INITIALIZER;

int front_parse_filter(const bson_t *bson, struct store_filter *filter, struct query **owned, bson_error_t *error)
{
    filter->bson = bson ? bson : nothing;
    *owned = query_parse(bson, error);
    filter->query = *owned;
    return *owned ? 0 : -1;
}

int front_parse_change(struct store *store, const char *collection, const bson_t *bson, struct store_change *change,
                       struct update **owned, bson_error_t *error)
{
    change->bson = bson;
    *owned = update_parse(bson, error);
    change->update = *owned;
    if (!*owned)
        return -1;
    const struct declared *declared = listed_of(store, collection, error);
    if (!declared)
        return -1;
    for (size_t i = 0; i < declared->count; i++)
        if (update_check_no_array(*owned, declared->paths[i], error))
            return -1;
    return 0;
}

int front_parse_upsert(struct store *store, const char *collection, const struct query *query, bson_t *base,
                       bson_error_t *error)
{
    if (query_upsert_base(query, base, error))
        return -1;
    return check_scalars(store, collection, base, error);
}

const bson_t *front_given(const bson_t *bson)
{
    return bson && !bson_empty(bson) ? bson : NULL;
}

int front_check_views(const bson_t *sort, const bson_t *projection, bson_error_t *error)
{
    if (sort && query_check_sort(sort, error))
        return -1;
    return projection ? query_check_projection(projection, error) : 0;
}

int front_parse_find(const char *collection, const bson_t *filter, const struct store_find_options *options,
                     struct store_find_request *request, bson_t *tied, struct query **query, bson_error_t *error)
{
    static const struct store_find_options none;
    options = options ? options : &none;
    *request = (struct store_find_request){.skip = options->skip, .limit = options->limit};
    bson_init(tied);
    *query = NULL;
    if (front_check_collection(collection, error) || front_parse_filter(filter, &request->filter, query, error))
        return -1;
    request->sort = front_given(options->sort);
    request->projection = front_given(options->projection);
    if (front_check_views(request->sort, request->projection, error))
        return -1;
    if (options->skip < 0 || options->limit < 0)
        return hub_error(error, HUB_ERROR_INVALID, "find: skip and limit must not be negative");
    if (request->sort && !options->any_tie && (options->skip || options->limit) && !bson_has_field(request->sort, "_id")) {
        bson_concat(tied, request->sort);
        BSON_APPEND_INT32(tied, "_id", 1);
        request->sort = tied;
    }
    return 0;
}

/* ---- indexes and counts ---- */

int front_check_index(const char *name, const bson_t *keys, bson_error_t *error)
{
    bson_iter_t iter;
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.");
    if (length == 0 || name[length] || length > 100)
        return hub_error(error, HUB_ERROR_INVALID, "index '%.80s': a name is of letters, digits, _ and .", name);
    if (bson_empty(keys))
        return hub_error(error, HUB_ERROR_INVALID, "index '%s': no keys", name);
    if (query_check_sort(keys, error))
        return -1;
    bson_iter_init(&iter, keys);
    while (bson_iter_next(&iter))
        if (is_membership_path(bson_iter_key(&iter)) && bson_count_keys(keys) > 1)
            return hub_error(error, HUB_ERROR_INVALID, "index '%s': '%s' has an index of its own", name,
                             bson_iter_key(&iter));
    return 0;
}

int front_check_paths(const char *const *paths, size_t count, bson_error_t *error)
{
    bson_t sort = BSON_INITIALIZER;
    if (count < 1 || count > STORE_COUNT_PATHS)
        return hub_error(error, HUB_ERROR_INVALID, "count: by 1 to %d paths", STORE_COUNT_PATHS);
    for (size_t i = 0; i < count; i++)
        BSON_APPEND_INT32(&sort, paths[i], 1);
    int result = query_check_sort(&sort, error);
    bson_destroy(&sort);
    return result;
}
