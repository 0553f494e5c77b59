/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_IMPL_H
#define TL_HUB_STORE_IMPL_H

/* Between the store's front (store.c) and its engines. Only store*.c include this.
 *
 * The front has checked everything when an engine is called: the collection's name, the document (types, keys, size;
 * _id there and first), the filter, update, sort and projection (inside the subset), the rule that a declared index
 * path holds no array, an upsert's filter. Engines get both the original BSON and what was parsed from it: MongoDB
 * sends the BSON, SQLite works with the parsed one. Nothing here may be NULL unless it says so; `error` never is. */

#include "hub/query.h"
#include "hub/store.h"
#include "hub/update.h"

/* filter is never NULL: {} where the caller gave none. */
struct store_filter {
    const bson_t *bson;
    const struct query *query;
};

struct store_change {
    const bson_t *bson;
    const struct update *update;
};

/* Options as the engine must obey them: the front has added {_id: 1} to the sort where ties must be broken. sort and
 * projection may be NULL; they are never empty documents. */
struct store_find_request {
    struct store_filter filter;
    const bson_t *sort;
    const bson_t *projection;
    int64_t skip;
    int64_t limit; /* 0: no limit */
};

struct store_modify_request {
    struct store_filter filter;
    struct store_change change;
    const bson_t *sort;
    const bson_t *projection;
    const bson_t *upsert_base; /* NULL: no upsert; else the document that the filter's equalities make, _id first */
    bool return_new;
};

/* One operation of a batch. operation is the caller's; document replaces operation->document (it has its _id, first).
 * filter, change and upsert_base are set where the kind uses them. */
struct store_batch_entry {
    const struct store_operation *operation;
    const bson_t *document;
    struct store_filter filter;
    struct store_change change;
    const bson_t *upsert_base;
    size_t run; /* of inserts: how many entries from this one on are inserts into the same collection with the same
                 * ignore_duplicate, and so may travel together; 1 otherwise */
};

/* Called for each index of a collection; returns 0 to go on, -1 to stop with *error set. */
typedef int store_index_visitor(void *data, const char *name, const bson_t *keys, bson_error_t *error);

/* Counts by values (store_tally.c). values: "0", "1", … with null for a missing value. 0, or -1 with *error set. */
struct store_tally;
struct store_tally *store_tally_new(void);
int store_tally_add(struct store_tally *tally, const bson_t *values, int64_t count, bson_error_t *error);
/* Appends what store_count_by gives; the number of combinations. */
int store_tally_append(const struct store_tally *tally, bson_t *out);
void store_tally_free(struct store_tally *tally);
/* The values at the paths of a document, as a tally wants them; *values is initialised here. */
void store_tally_values(const bson_t *document, const char *const *paths, size_t count, bson_t *values);

/* What an engine's watch begins with. */
struct store_watch {
    int fd;
    int (*take)(struct store_watch *watch);
    void (*close)(struct store_watch *watch);
};

/* An engine's functions mirror store.h one to one and return the same values. self is what open returned. */
struct store_engine {
    const char *name;     /* "sqlite" or "mongodb" */
    bool batch_is_atomic;

    /* limit_ms 0: the URI's own time limits, else none of them is longer. */
    void *(*open)(const char *uri, bool create, int64_t limit_ms, bson_error_t *error);
    void (*close)(void *self);
    int (*ping)(void *self, bson_error_t *error);
    int (*describe)(void *self, bson_t *out, bson_error_t *error); /* out is initialised; append to it */

    int (*ensure_index)(void *self, const char *collection, const char *name, const bson_t *keys,
                        bson_error_t *error);
    /* The collection's declared indexes (none if it does not exist), so that the front can refuse arrays at their
     * paths. Called once per collection and store, before the first write there. May be NULL: then the front knows
     * only the indexes declared through this store. */
    int (*list_indexes)(void *self, const char *collection, store_index_visitor *visit, void *data,
                        bson_error_t *error);

    int (*insert)(void *self, const char *collection, const bson_t *document, bson_error_t *error);
    /* The request and all it points to are only borrowed for the call: a cursor keeps copies of what it needs. */
    void *(*find)(void *self, const char *collection, const struct store_find_request *request, bson_error_t *error);
    int (*cursor_next)(void *cursor, const bson_t **document, bson_error_t *error);
    void (*cursor_close)(void *cursor);
    /* out is initialised and empty. */
    int (*find_one)(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                    bson_error_t *error);
    /* tally is to be given each combination's values and count; the same one may come several times. */
    int (*count_by)(void *self, const char *collection, const struct store_filter *filter, const char *const *paths,
                    size_t count, struct store_tally *tally, bson_error_t *error);
    int64_t (*count)(void *self, const char *collection, const struct store_filter *filter, bson_error_t *error);
    /* out is initialised and empty; NULL where the caller does not want it. */
    int (*modify)(void *self, const char *collection, const struct store_modify_request *request, bson_t *out,
                  bson_error_t *error);
    int64_t (*update)(void *self, const char *collection, const struct store_filter *filter,
                      const struct store_change *change, bson_error_t *error);
    int64_t (*delete)(void *self, const char *collection, const struct store_filter *filter, bson_error_t *error);
    /* store is for the checks' callbacks, which read through it. *stopped_at is count on entry. */
    int (*batch)(void *self, struct store *store, const struct store_batch_entry *entries, size_t count,
                 size_t *stopped_at, bson_error_t *error);
    struct store_watch *(*watch)(void *self, const char *const *projects, bson_error_t *error);
    int (*server_time)(void *self, int64_t *milliseconds, bson_error_t *error);
    /* May be NULL: there is nothing to look at. */
    int (*check)(void *self, void (*visit)(void *data, const char *what), void *data, bson_error_t *error);
    /* out is initialised; append to it. */
    int (*explain)(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                   bson_error_t *error);
};

extern const struct store_engine store_engine_sqlite;
extern const struct store_engine store_engine_mongo;
/* The above: linked in (store_mongo_linked.c), or loaded when it is first wanted (module/store_mongo_load.c). NULL on
 * error. */
const struct store_engine *store_engine_mongo_get(bson_error_t *error);

#endif
