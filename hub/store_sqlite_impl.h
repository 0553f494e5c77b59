/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_SQLITE_IMPL_H
#define TL_HUB_STORE_SQLITE_IMPL_H

/* The SQLite engine's parts among themselves. Only store_sqlite*.c include this (and sqlite3.h).
 *
 * One table per collection, "c_NAME"(rowid, id, bson, …): the BSON is the only truth; id is the key (key.h) of _id.
 * Each path of a declared index has a column "k:PATH" with the key of the value there, and the index is an SQL index
 * over these columns, so SQLite orders and seeks in MongoDB's order. Columns and not expressions over the BSON: an
 * update then writes only the indexes whose keys it changed, not all of them. The arrays tags and words have a side
 * table "m_NAME.PATH"(key, row) each, one row per element.
 * Table hub_indexes(collection, name, keys) lists them; name '' stands for the collection itself.
 * A filter becomes SQL only as far as one index (or _id, or the side tables, or for an $or one a branch) serves it;
 * query_matches decides. */

#include "hub/key.h"
#include "hub/query_impl.h"
#include "hub/store_impl.h"

#include <sqlite3.h>

#define SQLITE_STORE_APPLICATION_ID 0x544c4842 /* "TLHB" */
#define SQLITE_STORE_LAYOUT 1                  /* user_version */
#define SQLITE_STORE_LEVELS 200                /* of documents within a document, as many as a MongoDB server takes */

/* ---- the turnstile: one writer at a time, in fair order (store_sqlite_turnstile.c) ---- */

struct turnstile {
    char *path; /* the lock file, beside the database */
    int fd;     /* -1 until first needed */
    bool inside;
};

void turnstile_init(struct turnstile *turnstile, const char *database);
void turnstile_destroy(struct turnstile *turnstile);
/* Waits up to limit_ms. 0, or -1 with HUB_ERROR_BUSY or HUB_ERROR_IO. */
int turnstile_enter(struct turnstile *turnstile, int64_t limit_ms, bson_error_t *error);
void turnstile_leave(struct turnstile *turnstile);
int64_t turnstile_now_us(void); /* CLOCK_MONOTONIC */

/* ---- the connection (store_sqlite_connection.c) ---- */

struct sqlite_column {
    char *path;
    bool descending;
    char *sql; /* its expression over the alias t */
};

struct sqlite_index {
    char *name;
    bson_t *keys;
    bool membership; /* of the array that columns[0] names */
    struct sqlite_column *columns;
    size_t count;
    bool shared_lead; /* its first path is that of several indexes: it tells few rows from others */
};

struct sqlite_collection {
    char *name;
    struct sqlite_index *indexes;
    size_t count;
    char **paths; /* that have a key column */
    size_t path_count;
};

struct sqlite_statement {
    char *sql;
    uint64_t hash;
    uint64_t used; /* for eviction */
    sqlite3_stmt *handle;
};

#define SQLITE_STORE_STATEMENTS 96

struct sqlite_store {
    sqlite3 *db;
    char *path;
    int64_t busy_ms;     /* the time limit of waiting for locks */
    int64_t deadline_us; /* of the wait that goes on */
    struct turnstile turnstile;

    struct sqlite_statement statements[SQLITE_STORE_STATEMENTS];
    uint64_t clock;

    unsigned depth; /* transactions inside each other: reads within a batch */
    bool writing;
    bool full;        /* what is being written found no space */
    bool making_room;

    /* The one the registry below was read at; -1: read it again. So it is after every change of the schema, which
     * may be rolled back. */
    int64_t schema_version;
    struct sqlite_collection *collections;
    size_t collection_count;

    struct key key; /* scratch */
    char refused_path[128]; /* bson_key met an array there */
    bool refused_bson;      /* bson_key met malformed BSON */
};

/* The error of the last call on the connection, as one of ours. Returns -1. what: "insert into tasks". */
int sqlite_fail(struct sqlite_store *store, int code, const char *what, bson_error_t *error);
/* A reset statement without bindings from the cache, or NULL. Give it back with sqlite3_reset. */
sqlite3_stmt *sqlite_prepare(struct sqlite_store *store, const char *sql, bson_error_t *error);
int sqlite_execute(struct sqlite_store *store, const char *sql, bson_error_t *error);
int sqlite_query_int(struct sqlite_store *store, const char *sql, int64_t *value, bson_error_t *error);
int sqlite_register_functions(struct sqlite_store *store, bson_error_t *error);
void sqlite_statements_free(struct sqlite_store *store);

/* Transactions; a read within a transaction joins it. */
int sqlite_begin_read(struct sqlite_store *store, bson_error_t *error);
void sqlite_end_read(struct sqlite_store *store);
int sqlite_begin_write(struct sqlite_store *store, bson_error_t *error);
int sqlite_commit(struct sqlite_store *store, bson_error_t *error);
void sqlite_rollback(struct sqlite_store *store);

/* The BSON in column index of the current row, borrowed until the next step. */
int sqlite_column_bson(struct sqlite_store *store, sqlite3_stmt *statement, int index, bson_t *bson,
                       bson_error_t *error);
/* Whether it is BSON to its end, and not nested deeper than anything that was written by a store. */
bool sqlite_bson_is_whole(const bson_t *bson);

/* ---- collections and indexes (store_sqlite_index.c) ---- */

int sqlite_registry_load(struct sqlite_store *store, bson_error_t *error);
void sqlite_registry_free(struct sqlite_store *store);
/* NULL if there is none of that name. Valid until the registry is loaded again. */
const struct sqlite_collection *sqlite_collection_find(const struct sqlite_store *store, const char *name);
/* Makes it where it is missing; within a write transaction. NULL on error. */
const struct sqlite_collection *sqlite_collection_make(struct sqlite_store *store, const char *name,
                                                       bson_error_t *error);
int sqlite_ensure_index(void *self, const char *collection, const char *name, const bson_t *keys, bson_error_t *error);
int sqlite_list_indexes(void *self, const char *collection, store_index_visitor *visit, void *data,
                        bson_error_t *error);
/* Brings the side tables from what before said to what after says; either may be NULL. */
int sqlite_membership_change(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row,
                             const bson_t *before, const bson_t *after, bson_error_t *error);
bool sqlite_has_membership(const struct sqlite_collection *collection);
/* The key of the value at path into store->key (cleared first). -1: there is an array on the way. */
int sqlite_path_key(struct sqlite_store *store, const char *collection, const bson_t *document, const char *path,
                    bson_error_t *error);
/* "k:PATH", quoted, appended. */
void sqlite_quote_key_column(bson_string_t *sql, const char *path);
/* "i_COLLECTION:NAME", quoted, appended. */
void sqlite_quote_index(bson_string_t *sql, const char *collection, const char *name);
/* 'text' as an SQL literal with the given quote character, appended. */
void sqlite_quote(bson_string_t *sql, char quote, const char *prefix, const char *text);

/* ---- from filter and sort to SQL (store_sqlite_plan.c, store_sqlite_choose.c) ---- */

struct sqlite_plan {
    bson_string_t *from;  /* " FROM … WHERE …" */
    bson_string_t *order; /* " ORDER BY …" or "" */
    struct key *bindings;
    size_t binding_count;
    bool exact;  /* SQL's rows are the matches; otherwise they only hold them */
    bool sorted; /* the rows come in the sort's order */
};

/* Within a transaction. sort may be NULL; wanted: how many documents are read, in its order, at most; 0: all. 0, or -1 and
 * nothing to destroy. */
int sqlite_plan_init(struct sqlite_store *store, struct sqlite_plan *plan, const struct sqlite_collection *collection,
                     const struct query *query, const bson_t *sort, int64_t wanted, bson_error_t *error);
/* For counting by the paths from one index alone: order is then " GROUP BY …" over its columns in their order. false
 * (and nothing to destroy) where no index holds all the paths and serves the whole filter. */
bool sqlite_plan_grouped(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                         const struct query *query, const char *const *paths, size_t count);
void sqlite_plan_destroy(struct sqlite_plan *plan);

/* ---- reading (store_sqlite_find.c) ---- */

/* Rowids in the order asked for, within a transaction. collection may be NULL (nothing found). */
int sqlite_find_rows(struct sqlite_store *store, const struct sqlite_collection *collection,
                     const struct query *query, const bson_t *sort, int64_t skip, int64_t limit, int64_t **rows,
                     size_t *count, bson_error_t *error);
/* The first match in the sort's order after skip: 1 with *row and a new *document, 0, -1. */
int sqlite_find_first(struct sqlite_store *store, const struct sqlite_collection *collection,
                      const struct query *query, const bson_t *sort, int64_t skip, int64_t *row, bson_t **document,
                      bson_error_t *error);
/* One row: 1 with a new *document, 0 if it is gone, -1. */
int sqlite_fetch(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row,
                 bson_t **document, bson_error_t *error);
void *sqlite_find(void *self, const char *collection, const struct store_find_request *request, bson_error_t *error);
int sqlite_cursor_next(void *cursor, const bson_t **document, bson_error_t *error);
void sqlite_cursor_close(void *cursor);
int sqlite_find_one(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                    bson_error_t *error);
int64_t sqlite_count(void *self, const char *collection, const struct store_filter *filter, bson_error_t *error);

int sqlite_explain(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                   bson_error_t *error);

/* ---- counting by values (store_sqlite_count.c) ---- */

int sqlite_count_by(void *self, const char *collection, const struct store_filter *filter, const char *const *paths,
                    size_t count, struct store_tally *tally, bson_error_t *error);

/* ---- unused pages (store_sqlite_space.c) ---- */

/* After deletes: where there are many, they are given back, so many at a time that other writers wait for a moment only. */
int sqlite_shrink(struct sqlite_store *store, bson_error_t *error);
/* A write found no space. The file may have pages for it, but what it overwrites goes to the journal first, and that cannot
 * grow: up to 4 MiB of unused pages are given back, for the next try. */
void sqlite_make_room(struct sqlite_store *store);

/* ---- wake-ups (store_sqlite_watch.c) ---- */

struct store_watch *sqlite_watch(void *self, const char *const *projects, bson_error_t *error);

/* ---- opening and describing (store_sqlite_open.c) ---- */

void *sqlite_open(const char *uri, bool create, int64_t limit_ms, bson_error_t *error);
void sqlite_close(void *self);
int sqlite_ping(void *self, bson_error_t *error);
int sqlite_describe(void *self, bson_t *out, bson_error_t *error);
/* Whether this SQLite (as sqlite3_libversion_number gives it) is free of the bug that can corrupt a WAL file when it
 * is reset: 3.51.3, 3.50.7 and later in 3.50, 3.44.6 and later in 3.44. */
bool sqlite_wal_is_safe(int version);

/* ---- looking for damage (store_sqlite_check.c) ---- */

int sqlite_check(void *self, void (*visit)(void *data, const char *what), void *data, bson_error_t *error);

#endif
