/* SPDX-License-Identifier: Apache-2.0 */
/* The store's front: checks and parses everything once, then hands it to the engine that the URI named. */
#include "hub/store.h"

#include "hub/fault.h"
#include "hub/key.h"
#include "hub/store_impl.h"
#include "hub/store_watch.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* The declared index paths of one collection that may not hold an array. */
struct declared {
    struct declared *next;
    char *collection;
    bool listed; /* the engine has been asked */
    char **paths;
    size_t count;
};

struct store {
    const struct store_engine *engine;
    void *self;
    char *redacted;
    struct declared *declared;
    struct key scratch;
    bool in_batch; /* a batch's check is running: it may only read */
};

struct store_cursor {
    const struct store_engine *engine;
    void *self;
};

/* In debug builds, engines are held to the declared error codes. */
static void check_code(int64_t result, const bson_error_t *error)
{
    assert(result >= 0 || (error->domain == HUB_ERROR_DOMAIN && error->code >= HUB_ERROR_INVALID &&
                           error->code <= HUB_ERROR_INTERNAL && error->message[0]));
    (void)result;
    (void)error;
}

/* ---- open and close ---- */

struct store *store_open(const char *uri, bool create, bson_error_t *error)
{
    return store_open_with_timeout(uri, create, 0, error);
}

struct store *store_open_with_timeout(const char *uri, bool create, int64_t limit_ms, bson_error_t *error)
{
    bson_error_t unused;
    if (!error)
        error = &unused;
    const struct store_engine *engine = NULL;
    struct store *store = bson_malloc0(sizeof *store);
    store->redacted = store_redact_uri(uri);
    key_init(&store->scratch);
    if (strncmp(uri, "sqlite:", 7) == 0)
        engine = &store_engine_sqlite;
    else if (strncasecmp(uri, "mongodb://", 10) == 0 || strncasecmp(uri, "mongodb+srv://", 14) == 0)
        engine = store_engine_mongo_get(error);
    else
        hub_error(error, HUB_ERROR_INVALID,
                  "hub URI '%.200s': unknown scheme; use sqlite:PATH, mongodb://… or mongodb+srv://…", store->redacted);
    if (!engine) {
        store_close(store);
        return NULL;
    }
    store->self = engine->open(uri, create, limit_ms, error);
    check_code(store->self ? 0 : -1, error);
    if (!store->self) {
        store_close(store);
        return NULL;
    }
    store->engine = engine;
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->engine)
        store->engine->close(store->self);
    while (store->declared) {
        struct declared *next = store->declared->next;
        for (size_t i = 0; i < store->declared->count; i++)
            bson_free(store->declared->paths[i]);
        bson_free(store->declared->paths);
        bson_free(store->declared->collection);
        bson_free(store->declared);
        store->declared = next;
    }
    key_destroy(&store->scratch);
    bson_free(store->redacted);
    bson_free(store);
}

const char *store_engine(const struct store *store)
{
    return store->engine->name;
}

const char *store_uri_redacted(const struct store *store)
{
    return store->redacted;
}

bool store_batch_is_atomic(const struct store *store)
{
    return store->engine->batch_is_atomic;
}

int store_ping(struct store *store, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    int result = store->engine->ping(store->self, error);
    check_code(result, error);
    return result;
}

int store_describe(struct store *store, bson_t *out, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    bson_init(out);
    int result = store->engine->describe(store->self, out, error);
    check_code(result, error);
    return result;
}

/* ---- checks ---- */

static int check_collection(const char *collection, bson_error_t *error)
{
    size_t length = strspn(collection, "abcdefghijklmnopqrstuvwxyz_.");
    if (length == 0 || collection[length] || length > 100 || collection[0] == '.' || collection[length - 1] == '.')
        return hub_error(error, HUB_ERROR_INVALID, "collection '%.80s': a name is of a-z, _ and .", collection);
    return 0;
}

static int check_may_write(const struct store *store, bson_error_t *error)
{
    if (store->in_batch)
        return hub_error(error, HUB_ERROR_INVALID, "a batch's check may only read");
    return 0;
}

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

/* NULL on error. */
static struct declared *listed_of(struct store *store, const char *collection, bson_error_t *error)
{
    struct declared *declared = declared_of(store, collection);
    if (!declared->listed && store->engine->list_indexes) {
        int result = store->engine->list_indexes(store->self, collection, declare_paths, declared, error);
        check_code(result, error);
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

/* The document as it is stored: checked, its _id there and first. *prepared is document itself or *owned, a new one. */
static int prepare_document(struct store *store, const char *collection, const bson_t *document,
                            const bson_t **prepared, bson_t **owned, bson_error_t *error)
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

/* filter.query is to be freed with query_free, error or not. */
static int parse_filter(const bson_t *bson, struct store_filter *filter, struct query **owned, bson_error_t *error)
{
    filter->bson = bson ? bson : nothing;
    *owned = query_parse(bson, error);
    filter->query = *owned;
    return *owned ? 0 : -1;
}

static int parse_change(struct store *store, const char *collection, const bson_t *bson, struct store_change *change,
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

static int parse_upsert(struct store *store, const char *collection, const struct query *query, bson_t *base,
                        bson_error_t *error)
{
    if (query_upsert_base(query, base, error))
        return -1;
    return check_scalars(store, collection, base, error);
}

/* NULL for an absent or empty one. */
static const bson_t *given(const bson_t *bson)
{
    return bson && !bson_empty(bson) ? bson : NULL;
}

static int check_views(const bson_t *sort, const bson_t *projection, bson_error_t *error)
{
    if (sort && query_check_sort(sort, error))
        return -1;
    return projection ? query_check_projection(projection, error) : 0;
}

/* Fills request; *tied is to be destroyed and *query to be freed, error or not. */
static int parse_find(const char *collection, const bson_t *filter, const struct store_find_options *options,
                      struct store_find_request *request, bson_t *tied, struct query **query, bson_error_t *error)
{
    static const struct store_find_options none;
    options = options ? options : &none;
    *request = (struct store_find_request){.skip = options->skip, .limit = options->limit};
    bson_init(tied);
    *query = NULL;
    if (check_collection(collection, error) || parse_filter(filter, &request->filter, query, error))
        return -1;
    request->sort = given(options->sort);
    request->projection = given(options->projection);
    if (check_views(request->sort, request->projection, error))
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

/* ---- operations ---- */

static int check_index(const char *name, const bson_t *keys, bson_error_t *error)
{
    bson_iter_t iter;
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.");
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

int store_ensure_index(struct store *store, const char *collection, const char *name, const bson_t *keys,
                       bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    if (check_may_write(store, error) || check_collection(collection, error) || check_index(name, keys, error))
        return -1;
    int result = store->engine->ensure_index(store->self, collection, name, keys, error);
    check_code(result, error);
    if (result >= 0)
        declare_paths(declared_of(store, collection), name, keys, error);
    return result;
}

int store_insert(struct store *store, const char *collection, const bson_t *document, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    const bson_t *prepared;
    bson_t *owned = NULL;
    int result = -1;
    if (check_may_write(store, error) || check_collection(collection, error) ||
        prepare_document(store, collection, document, &prepared, &owned, error))
        goto out;
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->insert(store->self, collection, prepared, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    check_code(result, error);
out:
    bson_destroy(owned);
    return result;
}

struct store_cursor *store_find(struct store *store, const char *collection, const bson_t *filter,
                                const struct store_find_options *options, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_find_request request;
    bson_t tied;
    struct query *query;
    struct store_cursor *cursor = NULL;
    if (parse_find(collection, filter, options, &request, &tied, &query, error))
        goto out;
    void *self = store->engine->find(store->self, collection, &request, error);
    check_code(self ? 0 : -1, error);
    if (!self)
        goto out;
    cursor = bson_malloc0(sizeof *cursor);
    cursor->engine = store->engine;
    cursor->self = self;
out:
    bson_destroy(&tied);
    query_free(query);
    return cursor;
}

int store_explain(struct store *store, const char *collection, const bson_t *filter,
                  const struct store_find_options *options, bson_t *out, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_find_request request;
    bson_t tied;
    struct query *query;
    int result = -1;
    bson_init(out);
    if (parse_find(collection, filter, options, &request, &tied, &query, error) == 0) {
        result = store->engine->explain(store->self, collection, &request, out, error);
        check_code(result, error);
    }
    bson_destroy(&tied);
    query_free(query);
    return result;
}

int store_cursor_next(struct store_cursor *cursor, const bson_t **document, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    *document = NULL;
    int result = cursor->engine->cursor_next(cursor->self, document, error);
    check_code(result, error);
    return result;
}

void store_cursor_close(struct store_cursor *cursor)
{
    if (!cursor)
        return;
    cursor->engine->cursor_close(cursor->self);
    bson_free(cursor);
}

int store_find_one(struct store *store, const char *collection, const bson_t *filter,
                   const struct store_find_options *options, bson_t *out, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_find_request request;
    bson_t tied;
    struct query *query;
    int result = -1;
    bson_init(out);
    if (parse_find(collection, filter, options, &request, &tied, &query, error))
        goto out;
    request.limit = 1;
    result = store->engine->find_one(store->self, collection, &request, out, error);
    check_code(result, error);
out:
    bson_destroy(&tied);
    query_free(query);
    return result;
}

int64_t store_count(struct store *store, const char *collection, const bson_t *filter, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_filter parsed;
    struct query *query = NULL;
    int64_t result = -1;
    if (check_collection(collection, error) || parse_filter(filter, &parsed, &query, error))
        goto out;
    result = store->engine->count(store->self, collection, &parsed, error);
    check_code(result, error);
out:
    query_free(query);
    return result;
}

int store_modify(struct store *store, const char *collection, const bson_t *filter, const bson_t *update,
                 const struct store_modify_options *options, bson_t *out, bson_error_t *error)
{
    static const struct store_modify_options none;
    bson_error_t unused;
    error = error ? error : &unused;
    options = options ? options : &none;
    struct store_modify_request request = {.sort = given(options->sort),
                                           .projection = given(options->projection),
                                           .return_new = options->return_new};
    struct query *query = NULL;
    struct update *change = NULL;
    bson_t base = BSON_INITIALIZER;
    int result = -1;
    if (out)
        bson_init(out);
    if (check_may_write(store, error) || check_collection(collection, error) ||
        parse_filter(filter, &request.filter, &query, error) ||
        parse_change(store, collection, update, &request.change, &change, error) ||
        check_views(request.sort, request.projection, error))
        goto out;
    if (options->upsert) {
        if (parse_upsert(store, collection, query, &base, error))
            goto out;
        request.upsert_base = &base;
    }
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->modify(store->self, collection, &request, out, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    check_code(result, error);
out:
    bson_destroy(&base);
    update_free(change);
    query_free(query);
    return result;
}

int64_t store_update(struct store *store, const char *collection, const bson_t *filter, const bson_t *update,
                     bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_filter parsed;
    struct store_change change;
    struct query *query = NULL;
    struct update *owned = NULL;
    int64_t result = -1;
    if (check_may_write(store, error) || check_collection(collection, error) ||
        parse_filter(filter, &parsed, &query, error) ||
        parse_change(store, collection, update, &change, &owned, error))
        goto out;
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->update(store->self, collection, &parsed, &change, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    check_code(result, error);
out:
    update_free(owned);
    query_free(query);
    return result;
}

int64_t store_delete(struct store *store, const char *collection, const bson_t *filter, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_filter parsed;
    struct query *query = NULL;
    int64_t result = -1;
    if (check_may_write(store, error) || check_collection(collection, error) ||
        parse_filter(filter, &parsed, &query, error))
        goto out;
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->delete(store->self, collection, &parsed, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    check_code(result, error);
out:
    query_free(query);
    return result;
}

/* ---- counting by values ---- */

static int check_paths(const char *const *paths, size_t count, bson_error_t *error)
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

int store_count_by(struct store *store, const char *collection, const bson_t *filter, const char *const *paths,
                   size_t count, bson_t *out, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_filter parsed;
    struct query *query = NULL;
    struct store_tally *tally = store_tally_new();
    int result = -1;
    bson_init(out);
    if (check_collection(collection, error) || check_paths(paths, count, error) ||
        parse_filter(filter, &parsed, &query, error))
        goto out;
    result = store->engine->count_by(store->self, collection, &parsed, paths, count, tally, error);
    check_code(result, error);
    if (result >= 0)
        result = store_tally_append(tally, out);
out:
    store_tally_free(tally);
    query_free(query);
    return result;
}

/* ---- batches ---- */

/* What a prepared entry owns. */
struct batch_owned {
    bson_t *document;
    struct query *query;
    struct update *update;
    bson_t *base;
};

static int prepare_entry(struct store *store, const struct store_operation *operation,
                         struct store_batch_entry *entry, struct batch_owned *owned, bson_error_t *error)
{
    entry->operation = operation;
    entry->run = 1;
    if (operation->kind == STORE_CHECK) {
        if (!operation->check)
            return hub_error(error, HUB_ERROR_INVALID, "batch: a check without a function");
        return 0;
    }
    if (check_collection(operation->collection, error))
        return -1;
    switch (operation->kind) {
    case STORE_INSERT:
        return prepare_document(store, operation->collection, operation->document, &entry->document, &owned->document,
                                error);
    case STORE_UPDATE:
        if (parse_filter(operation->filter, &entry->filter, &owned->query, error) ||
            parse_change(store, operation->collection, operation->update, &entry->change, &owned->update, error))
            return -1;
        if (!operation->upsert)
            return 0;
        bson_t base;
        int result = parse_upsert(store, operation->collection, owned->query, &base, error);
        owned->base = bson_copy(&base);
        bson_destroy(&base);
        entry->upsert_base = owned->base;
        return result;
    case STORE_DELETE:
        return parse_filter(operation->filter, &entry->filter, &owned->query, error);
    default:
        return hub_error(error, HUB_ERROR_INVALID, "batch: unknown kind of operation %d", (int)operation->kind);
    }
}

/* Consecutive inserts that may travel together. */
static void count_runs(struct store_batch_entry *entries, size_t count)
{
    for (size_t i = count; i-- > 1 && !TL_FAULT_APART();) {
        const struct store_operation *a = entries[i - 1].operation, *b = entries[i].operation;
        if (a->kind == STORE_INSERT && b->kind == STORE_INSERT && a->ignore_duplicate == b->ignore_duplicate &&
            strcmp(a->collection, b->collection) == 0)
            entries[i - 1].run = entries[i].run + 1;
    }
}

int store_batch(struct store *store, const struct store_operation *operations, size_t count, size_t *stopped_at,
                bson_error_t *error)
{
    bson_error_t unused;
    size_t unused_index;
    error = error ? error : &unused;
    stopped_at = stopped_at ? stopped_at : &unused_index;
    *stopped_at = 0;
    if (check_may_write(store, error))
        return -1;
    *stopped_at = count;
    if (count == 0)
        return 1;
    struct store_batch_entry *entries = bson_malloc0(count * sizeof *entries);
    struct batch_owned *owned = bson_malloc0(count * sizeof *owned);
    int result = -1;
    for (size_t i = 0; i < count; i++) {
        if (prepare_entry(store, &operations[i], &entries[i], &owned[i], error)) {
            *stopped_at = i;
            goto out;
        }
    }
    count_runs(entries, count);
    store->in_batch = true;
    result = TL_FAULT_REFUSED(error) ? (*stopped_at = 0, -1)
                                     : store->engine->batch(store->self, store, entries, count, stopped_at, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    store->in_batch = false;
    check_code(result, error);
out:
    for (size_t i = 0; i < count; i++) {
        bson_destroy(owned[i].document);
        bson_destroy(owned[i].base);
        update_free(owned[i].update);
        query_free(owned[i].query);
    }
    bson_free(owned);
    bson_free(entries);
    return result;
}

/* ---- what is declared, and whether it is whole ---- */

int store_list_indexes(struct store *store, const char *collection,
                       int (*visit)(void *data, const char *name, const bson_t *keys, bson_error_t *error), void *data,
                       bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    if (check_collection(collection, error))
        return -1;
    if (!store->engine->list_indexes)
        return 0;
    int result = store->engine->list_indexes(store->self, collection, visit, data, error);
    check_code(result, error);
    return result;
}

int store_check(struct store *store, void (*visit)(void *data, const char *what), void *data, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    int result = store->engine->check ? store->engine->check(store->self, visit, data, error) : 0;
    check_code(result, error);
    return result;
}

/* ---- small things ---- */

/* The counter's first document. An insert that finds it there is as good: an upsert would race with others. */
static int make_counter(struct store *store, const char *name, bson_error_t *error)
{
    bson_t document = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&document, "_id", name);
    BSON_APPEND_INT64(&document, "value", 0);
    const struct store_operation operation = {
        .kind = STORE_INSERT, .collection = "counters", .document = &document, .ignore_duplicate = true};
    int result = store_batch(store, &operation, 1, NULL, error);
    bson_destroy(&document);
    return result;
}

int store_counter_add(struct store *store, const char *name, int64_t n, int64_t *first, bson_error_t *error)
{
    *first = 0;
    if (n < 1)
        return hub_error(error, HUB_ERROR_INVALID, "counter '%.80s': can only go up", name);
    /* The document before: a server that hands out a live one after (the stand-in of the tests) gives a number twice. */
    const struct store_modify_options options = {.return_new = false};
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, increment = BSON_INITIALIZER, out;
    bson_iter_t value;
    BSON_APPEND_UTF8(&filter, "_id", name);
    BSON_APPEND_INT64(&increment, "value", n);
    BSON_APPEND_DOCUMENT(&update, "$inc", &increment);
    int result = store_modify(store, "counters", &filter, &update, &options, &out, error);
    if (result == 0 && (result = make_counter(store, name, error)) == 1) {
        bson_destroy(&out);
        result = store_modify(store, "counters", &filter, &update, &options, &out, error);
    }
    if (result == 1) {
        if (bson_iter_init_find(&value, &out, "value") && BSON_ITER_HOLDS_INT(&value))
            *first = bson_iter_as_int64(&value) + 1;
        else
            result = hub_error(error, HUB_ERROR_CORRUPT, "counter '%.80s' holds no whole number", name);
    } else if (result == 0) {
        result = hub_error(error, HUB_ERROR_INTERNAL, "counter '%.80s' was not made", name);
    }
    bson_destroy(&out);
    bson_destroy(&update);
    bson_destroy(&increment);
    bson_destroy(&filter);
    return result;
}

int store_server_time(struct store *store, int64_t *milliseconds, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    *milliseconds = 0;
    int result = store->engine->server_time(store->self, milliseconds, error);
    check_code(result, error);
    return result;
}

/* ---- wake-ups ---- */

struct store_watch *store_watch_open(struct store *store, const char *const *projects, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_watch *watch = store->engine->watch(store->self, projects, error);
    check_code(watch ? 0 : -1, error);
    return watch;
}

int store_watch_fd(const struct store_watch *watch)
{
    return watch->fd;
}

int store_watch_take(struct store_watch *watch)
{
    return watch->take(watch);
}

void store_watch_close(struct store_watch *watch)
{
    if (watch)
        watch->close(watch);
}
