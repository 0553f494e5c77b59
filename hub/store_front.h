/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_FRONT_H
#define TL_HUB_STORE_FRONT_H

/* What the store's front does before an engine is called: what a caller gives is checked and parsed, once for both
 * engines. Only store.c, store_batch.c and store_aggregate.c include this; `error` is never NULL here. Returns 0, or -1 with *error. */

#include "hub/key.h"
#include "hub/store_impl.h"

struct declared;

struct store {
    const struct store_engine *engine;
    void *self;
    char *redacted;
    struct declared *declared; /* the paths that may hold no array, by collection */
    struct key scratch;
    bool in_batch; /* a batch's check is running: it may only read */
    int64_t time, time_read_at; /* the server's, and when that was, by CLOCK_BOOTTIME; 0: never */
};

/* What gives documents one by one: an engine's find, or a pipeline over one. self is what next and close take. */
struct store_cursor {
    void *self;
    int (*next)(void *self, const bson_t **document, bson_error_t *error);
    void (*close)(void *self);
};

/* In debug builds, engines are held to the declared error codes. */
void front_check_code(int64_t result, const bson_error_t *error);

int front_check_collection(const char *collection, bson_error_t *error);
int front_check_may_write(const struct store *store, bson_error_t *error);
int front_check_index(const char *name, const bson_t *keys, bson_error_t *error);
/* The paths of store_count_by. */
int front_check_paths(const char *const *paths, size_t count, bson_error_t *error);
/* Either may be NULL. */
int front_check_views(const bson_t *sort, const bson_t *projection, bson_error_t *error);

/* The document as it is stored: checked, its _id there and first. *prepared is document itself or *owned, a new one. */
int front_prepare_document(struct store *store, const char *collection, const bson_t *document, const bson_t **prepared,
                           bson_t **owned, bson_error_t *error);
/* filter->query is *owned: query_free it, error or not. */
int front_parse_filter(const bson_t *bson, struct store_filter *filter, struct query **owned, bson_error_t *error);
/* change->update is *owned: update_free it, error or not. */
int front_parse_change(struct store *store, const char *collection, const bson_t *bson, struct store_change *change,
                       struct update **owned, bson_error_t *error);
/* *base is what an upsert with this filter inserts; initialised always. */
int front_parse_upsert(struct store *store, const char *collection, const struct query *query, bson_t *base,
                       bson_error_t *error);
/* Fills request; *tied is to be destroyed and *query to be freed, error or not. */
int front_parse_find(const char *collection, const bson_t *filter, const struct store_find_options *options,
                     struct store_find_request *request, bson_t *tied, struct query **query, bson_error_t *error);
/* NULL for an absent or empty one. */
const bson_t *front_given(const bson_t *bson);

/* From now on no path of an index with these keys may hold an array. */
void front_declare(struct store *store, const char *collection, const bson_t *keys);
/* Frees what is declared. */
void front_forget(struct store *store);

#endif
