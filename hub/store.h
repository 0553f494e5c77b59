/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_H
#define TL_HUB_STORE_H

/* One language, two engines.
 *
 * A store holds BSON documents in named collections. The URI picks the engine: "sqlite:PATH" (embedded,
 * one machine) or "mongodb://…", "mongodb+srv://…". Everything above this header is written once.
 *
 * Principles
 *  - Filters, updates, projections and pipelines are a closed subset of MongoDB's language (query.h, update.h,
 *    pipeline.h). They are parsed here, in front of both engines; what is outside is refused by name
 *    (HUB_ERROR_INVALID), and MongoDB then gets the original BSON (of a pipeline what a find can say of it). The answers are the same on both engines: tests/hub holds them to it.
 *  - Documents hold only these types: double, string, document, array, binary, ObjectId, bool, date, null,
 *    int32, int64. Keys are not empty, hold no '.' or NUL and do not start with '$'. At most 15 MiB, 100 levels.
 *    Every document has an _id (insert adds an ObjectId where it is missing); _id is not an array.
 *  - A path of a declared index (store_ensure_index) holds a scalar, a document or nothing, never an array,
 *    except for the arrays "tags" and "words", which have a membership index each.
 *  - Reads see every write acknowledged before (primary reads, majority writes; synchronous=FULL).
 *  - No read transaction stays open while the caller looks at a document.
 *  - A store is used by one thread at a time; open one per thread. It does not survive a fork.
 *  - Returns: -1 error, 0 nothing, n done. `bson_error_t *error` may be NULL.
 */

#include "hub/error.h"

struct store;
struct store_cursor;

struct store_find_options {
    const bson_t *sort;       /* {path: 1 | -1, …} or NULL; ties are broken by _id where a limit or skip is given */
    const bson_t *projection; /* {path: 1, …} or {path: 0, …} (_id apart), or NULL */
    int64_t skip;
    int64_t limit;            /* 0: no limit */
    bool any_tie;             /* ties in any order: the sort stays what an index serves (a server sorts for _id) */
};

struct store_modify_options {
    const bson_t *sort;
    const bson_t *projection;
    bool upsert;              /* the filter must then be plain equalities, _id among them */
    bool return_new;          /* *out gets the document after the update, else before it */
};

/* Opens lazily on MongoDB (the first command connects), at once on SQLite. With create, a missing SQLite file is
 * made; without it a missing file is HUB_ERROR_NOT_FOUND. The URI's own time limits hold. */
struct store *store_open(const char *uri, bool create, bson_error_t *error);
/* The same, but no wait of one call for a connection, a primary, a reply or a lock is longer than limit_ms (> 0):
 * for those who must not wait, such as a heartbeat. */
struct store *store_open_with_timeout(const char *uri, bool create, int64_t limit_ms, bson_error_t *error);
void store_close(struct store *store);
const char *store_engine(const struct store *store);       /* "sqlite" or "mongodb" */
const char *store_uri_redacted(const struct store *store); /* no password, ever; owned by the store */
/* Redacts any hub URI, malformed ones too, into a new string (bson_free). */
char *store_redact_uri(const char *uri);
/* Writes '*' over the secrets in place: the same length, for what others can read of this process. */
void store_hide_secrets(char *uri);
/* Whether a batch is one transaction (SQLite) or only ordered (MongoDB). */
bool store_batch_is_atomic(const struct store *store);
/* Reaches the hub: 1, or -1 with HUB_ERROR_UNREACHABLE / _UNAUTHORIZED. */
int store_ping(struct store *store, bson_error_t *error);
/* What there is to say about the engine for `tl_hub doctor`: engine, library and server version, journal mode,
 * free space, … into *out (initialised even on error). */
int store_describe(struct store *store, bson_t *out, bson_error_t *error);

/* Makes the collection and the index where they are missing; keys {path: 1 | -1, …}. name is unique within the
 * collection. The same name with other keys is replaced. For the arrays "tags" and "words", keys is {tags: 1}. */
int store_ensure_index(struct store *store, const char *collection, const char *name, const bson_t *keys,
                       bson_error_t *error);

/* The collection's declared indexes, none where it does not exist: visit returns 0 to go on, -1 to stop with *error. */
int store_list_indexes(struct store *store, const char *collection,
                       int (*visit)(void *data, const char *name, const bson_t *keys, bson_error_t *error), void *data,
                       bson_error_t *error);
/* What the engine itself finds wrong with what it holds, one text each. SQLite: its integrity_check, the header's facts,
 * and every key column against its document; a shared lock is held for each part. MongoDB's servers check themselves. */
int store_check(struct store *store, void (*visit)(void *data, const char *what), void *data, bson_error_t *error);

int store_insert(struct store *store, const char *collection, const bson_t *document, bson_error_t *error);

/* NULL on error. The cursor's documents are borrowed until the next call. next: 1 a document, 0 the end, -1. */
struct store_cursor *store_find(struct store *store, const char *collection, const bson_t *filter,
                                const struct store_find_options *options, bson_error_t *error);
int store_cursor_next(struct store_cursor *cursor, const bson_t **document, bson_error_t *error);
void store_cursor_close(struct store_cursor *cursor);
/* The first match into *out (initialised even on error or nothing; bson_destroy it): 1, 0, -1. */
int store_find_one(struct store *store, const char *collection, const bson_t *filter,
                   const struct store_find_options *options, bson_t *out, bson_error_t *error);
int64_t store_count(struct store *store, const char *collection, const bson_t *filter, bson_error_t *error);

/* What a pipeline (pipeline.h: a BSON array of stages) makes of the documents that match filter: the same documents on both
 * engines, in the same order where sort, or a stage, gives one. sort {path: 1 | -1, …} is the order in which they come to
 * the first stage (NULL: any). A cursor as store_find gives it; NULL with HUB_ERROR_INVALID, naming the stage, for what is
 * outside the subset. */
struct store_cursor *store_aggregate(struct store *store, const char *collection, const bson_t *filter,
                                     const bson_t *sort, const bson_t *pipeline, bson_error_t *error);

/* How many matches there are of each combination of values at the paths (at most STORE_COUNT_PATHS): *out (initialised
 * always) is {"0": {count: n, values: {"0": value, "1": value, …}}, "1": …} in no order; a missing value is null, and
 * numbers that are equal are one, as the narrowest type that holds it. One
 * statement: on SQLite it is one picture of the hub. More than STORE_COUNT_GROUPS combinations are
 * HUB_ERROR_INVALID. The number of combinations, or -1. */
#define STORE_COUNT_PATHS 4
#define STORE_COUNT_GROUPS 100000
int store_count_by(struct store *store, const char *collection, const bson_t *filter, const char *const *paths,
                   size_t count, bson_t *out, bson_error_t *error);

/* findAndModify: changes the first match in sort order, atomically. 1 changed (or inserted, by upsert), 0 no match.
 * *out (NULL allowed, initialised always) is as return_new says; empty after an upsert that inserted, unless
 * return_new. */
int store_modify(struct store *store, const char *collection, const bson_t *filter, const bson_t *update,
                 const struct store_modify_options *options, bson_t *out, bson_error_t *error);
/* Every match; the number of documents matched. */
int64_t store_update(struct store *store, const char *collection, const bson_t *filter, const bson_t *update,
                     bson_error_t *error);
/* Every match; the number of documents deleted. Deletes in bounded steps, so it may stop half-way on error. */
int64_t store_delete(struct store *store, const char *collection, const bson_t *filter, bson_error_t *error);

/* How a find is answered, run once as far as its first document (or limit): {index: its name, or missing where none
 * serves; sorts: whether documents are sorted after they were read; documents_examined, and keys_examined on MongoDB; plan:
 * the engine's own words on SQLite}. 1, 0 (this server does not tell), -1; *out is initialised always. */
int store_explain(struct store *store, const char *collection, const bson_t *filter,
                  const struct store_find_options *options, bson_t *out, bson_error_t *error);

enum store_operation_kind {
    STORE_INSERT,  /* document */
    STORE_UPDATE,  /* filter, update: the first match; upsert */
    STORE_DELETE,  /* filter: every match */
    STORE_CHECK    /* check(store, data, error): reads and says 1 to go on, 0 or -1 to end the batch */
};

struct store_operation {
    enum store_operation_kind kind;
    const char *collection;
    const bson_t *document;
    const bson_t *filter;
    const bson_t *update;
    bool upsert;
    bool ignore_duplicate;     /* STORE_INSERT: a document with this _id already there is no error */
    bool guard;                /* STORE_UPDATE: no match ends the batch (0): HUB_ERROR_CONFLICT is *not* set */
    int (*check)(struct store *store, void *data, bson_error_t *error);
    void *data;
};

/* In order; ends at the first error, failed check or guard without a match. One transaction on SQLite (all or
 * nothing); on MongoDB, in order, what came before stays: every protocol must be right under that. Consecutive
 * inserts into one collection travel together. Returns 1 all done, 0 a guard or check ended it, -1.
 * *stopped_at (NULL allowed) is the index of the operation that ended it, or count. */
int store_batch(struct store *store, const struct store_operation *operations, size_t count, size_t *stopped_at,
                bson_error_t *error);

/* Adds n to the counter and gives its first new value, from 1: values first … first + n - 1 are the caller's. */
int store_counter_add(struct store *store, const char *name, int64_t n, int64_t *first, bson_error_t *error);
/* The server's time in ms since 1970 UTC. Decides nothing between machines but delays (not_before). */
int store_server_time(struct store *store, int64_t *milliseconds, bson_error_t *error);
/* The same for stamps that only people read: asked once in half a minute and carried on by this machine's CLOCK_BOOTTIME. */
int store_stamp_time(struct store *store, int64_t *milliseconds, bson_error_t *error);

#endif
