/* SPDX-License-Identifier: Apache-2.0 */
/* The store's front: checks and parses everything once (store_front.c), then hands it to the engine that the URI named. */
#include "hub/fault.h"
#include "hub/store_front.h"
#include "hub/store_watch.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#define STAMP_MS 30000 /* how long the server's time is carried on before it is asked again */

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
    front_check_code(store->self ? 0 : -1, error);
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
    front_forget(store);
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
    front_check_code(result, error);
    return result;
}

int store_describe(struct store *store, bson_t *out, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    bson_init(out);
    int result = store->engine->describe(store->self, out, error);
    front_check_code(result, error);
    return result;
}

/* ---- operations ---- */

int store_ensure_index(struct store *store, const char *collection, const char *name, const bson_t *keys,
                       bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    if (front_check_may_write(store, error) || front_check_collection(collection, error) ||
        front_check_index(name, keys, error))
        return -1;
    int result = store->engine->ensure_index(store->self, collection, name, keys, error);
    front_check_code(result, error);
    if (result >= 0)
        front_declare(store, collection, keys);
    return result;
}

int store_insert(struct store *store, const char *collection, const bson_t *document, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    const bson_t *prepared;
    bson_t *owned = NULL;
    int result = -1;
    if (front_check_may_write(store, error) || front_check_collection(collection, error) ||
        front_prepare_document(store, collection, document, &prepared, &owned, error))
        goto out;
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->insert(store->self, collection, prepared, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    front_check_code(result, error);
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
    if (front_parse_find(collection, filter, options, &request, &tied, &query, error))
        goto out;
    void *self = store->engine->find(store->self, collection, &request, error);
    front_check_code(self ? 0 : -1, error);
    if (!self)
        goto out;
    cursor = bson_malloc0(sizeof *cursor);
    *cursor = (struct store_cursor){.self = self, .next = store->engine->cursor_next, .close = store->engine->cursor_close};
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
    if (front_parse_find(collection, filter, options, &request, &tied, &query, error) == 0) {
        result = store->engine->explain(store->self, collection, &request, out, error);
        front_check_code(result, error);
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
    int result = cursor->next(cursor->self, document, error);
    front_check_code(result, error);
    return result;
}

void store_cursor_close(struct store_cursor *cursor)
{
    if (!cursor)
        return;
    cursor->close(cursor->self);
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
    if (front_parse_find(collection, filter, options, &request, &tied, &query, error))
        goto out;
    request.limit = 1;
    result = store->engine->find_one(store->self, collection, &request, out, error);
    front_check_code(result, error);
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
    if (front_check_collection(collection, error) || front_parse_filter(filter, &parsed, &query, error))
        goto out;
    result = store->engine->count(store->self, collection, &parsed, error);
    front_check_code(result, error);
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
    struct store_modify_request request = {.sort = front_given(options->sort),
                                           .projection = front_given(options->projection),
                                           .return_new = options->return_new};
    struct query *query = NULL;
    struct update *change = NULL;
    bson_t base = BSON_INITIALIZER;
    int result = -1;
    if (out)
        bson_init(out);
    if (front_check_may_write(store, error) || front_check_collection(collection, error) ||
        front_parse_filter(filter, &request.filter, &query, error) ||
        front_parse_change(store, collection, update, &request.change, &change, error) ||
        front_check_views(request.sort, request.projection, error))
        goto out;
    if (options->upsert) {
        if (front_parse_upsert(store, collection, query, &base, error))
            goto out;
        request.upsert_base = &base;
    }
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->modify(store->self, collection, &request, out, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    front_check_code(result, error);
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
    if (front_check_may_write(store, error) || front_check_collection(collection, error) ||
        front_parse_filter(filter, &parsed, &query, error) ||
        front_parse_change(store, collection, update, &change, &owned, error))
        goto out;
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->update(store->self, collection, &parsed, &change, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    front_check_code(result, error);
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
    if (front_check_may_write(store, error) || front_check_collection(collection, error) ||
        front_parse_filter(filter, &parsed, &query, error))
        goto out;
    result = TL_FAULT_REFUSED(error) ? -1 : store->engine->delete(store->self, collection, &parsed, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    front_check_code(result, error);
out:
    query_free(query);
    return result;
}

/* ---- counting by values ---- */

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
    if (front_check_collection(collection, error) || front_check_paths(paths, count, error) ||
        front_parse_filter(filter, &parsed, &query, error))
        goto out;
    result = store->engine->count_by(store->self, collection, &parsed, paths, count, tally, error);
    front_check_code(result, error);
    if (result >= 0)
        result = store_tally_append(tally, out);
out:
    store_tally_free(tally);
    query_free(query);
    return result;
}

/* ---- what is declared, and whether it is whole ---- */

int store_list_indexes(struct store *store, const char *collection,
                       int (*visit)(void *data, const char *name, const bson_t *keys, bson_error_t *error), void *data,
                       bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    if (front_check_collection(collection, error))
        return -1;
    if (!store->engine->list_indexes)
        return 0;
    int result = store->engine->list_indexes(store->self, collection, visit, data, error);
    front_check_code(result, error);
    return result;
}

int store_check(struct store *store, void (*visit)(void *data, const char *what), void *data, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    int result = store->engine->check ? store->engine->check(store->self, visit, data, error) : 0;
    front_check_code(result, error);
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
    front_check_code(result, error);
    return result;
}

int store_stamp_time(struct store *store, int64_t *milliseconds, bson_error_t *error)
{
    struct timespec clock;
    clock_gettime(CLOCK_BOOTTIME, &clock);
    int64_t now = (int64_t)clock.tv_sec * 1000 + clock.tv_nsec / 1000000;
    if (store->time_read_at == 0 || now - store->time_read_at > STAMP_MS) {
        if (store_server_time(store, &store->time, error) < 0) {
            store->time_read_at = 0;
            return -1;
        }
        store->time_read_at = now;
    }
    *milliseconds = store->time + (now - store->time_read_at);
    return 1;
}

/* ---- wake-ups ---- */

struct store_watch *store_watch_open(struct store *store, const char *const *projects, bson_error_t *error)
{
    bson_error_t unused;
    error = error ? error : &unused;
    struct store_watch *watch = store->engine->watch(store->self, projects, error);
    front_check_code(watch ? 0 : -1, error);
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
