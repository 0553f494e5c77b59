/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_MONGO_IMPL_H
#define TL_HUB_STORE_MONGO_IMPL_H

/* Between the files of the MongoDB engine: store_mongo.c (connection, writes), store_mongo_find.c (reads),
 * store_mongo_index.c and store_mongo_error.c. */

#include "hub/store_impl.h"

#include <mongoc/mongoc.h>

struct mongo {
    mongoc_client_t *client;
    char *database;
    int64_t patience_ms; /* how long a step waits for a primary: the URI's serverSelectionTimeoutMS */
    bool has_no_hello;   /* a server before 4.4.2: isMaster instead */
};

/* The collection's handle; mongoc_collection_destroy it. */
mongoc_collection_t *mongo_collection(const struct mongo *mongo, const char *collection);

/* What was asked when an error came: whether a lost reply leaves the outcome open. */
enum mongo_kind { MONGO_READ, MONGO_WRITE };

/* Turns libmongoc's error and the server's reply (may be NULL) into one of ours; -1. where is a collection or a
 * command. Messages name hosts, never a user or a password. */
int mongo_fail(enum mongo_kind kind, const char *where, const bson_error_t *driver, const bson_t *reply,
               bson_error_t *error);
/* The server's code of this error (also that of the first writeErrors entry), or 0. */
int32_t mongo_server_code(const bson_error_t *driver, const bson_t *reply);
bool mongo_is_duplicate(const bson_error_t *driver, const bson_t *reply);

/* One step is tried again while no server says that it is the primary: only after a refusal that shows that nothing
 * was done, and only within patience_ms of the first try. Starts as {0}. Sleeps before it says yes. */
struct mongo_retry {
    int64_t deadline; /* bson_get_monotonic_time; 0 before the first refusal */
    int tries;
};
bool mongo_try_again(const struct mongo *mongo, struct mongo_retry *retry, enum mongo_kind kind,
                     const bson_error_t *driver, const bson_t *reply);

/* Runs a read command on the primary; reply is initialised always. 1, or -1 with *error, and *code the server's. */
int mongo_read_command(struct mongo *mongo, const char *database, const char *command, bson_t *reply, int32_t *code,
                       bson_error_t *error);

/* store_mongo_find.c */
void *mongo_find(void *self, const char *collection, const struct store_find_request *request, bson_error_t *error);
int mongo_cursor_next(void *cursor, const bson_t **document, bson_error_t *error);
void mongo_cursor_close(void *cursor);
int mongo_find_one(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                   bson_error_t *error);
int64_t mongo_count(void *self, const char *collection, const struct store_filter *filter, bson_error_t *error);
int mongo_explain(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                  bson_error_t *error);
/* For tests: sorts as after a server's refusal to sort in memory (see store_mongo_find.c). */
extern bool mongo_always_sorts_in_two_steps;

/* store_mongo_count.c */
int mongo_count_by(void *self, const char *collection, const struct store_filter *filter, const char *const *paths,
                   size_t count, struct store_tally *tally, bson_error_t *error);

/* store_mongo_watch.c */
struct store_watch *mongo_watch(void *self, const char *const *projects, bson_error_t *error);

/* store_mongo.c: a client as every store has it (majority writes, primary reads). NULL with *driver set. */
mongoc_client_t *mongo_client_new(const mongoc_uri_t *uri, bson_error_t *driver);
/* For benchmarks and tests: is shown every client that is made, to monitor its commands. */
extern void (*mongo_client_made)(mongoc_client_t *client);

/* store_mongo_index.c */
int mongo_ensure_index(void *self, const char *collection, const char *name, const bson_t *keys, bson_error_t *error);
int mongo_list_indexes(void *self, const char *collection, store_index_visitor *visit, void *data,
                       bson_error_t *error);

#endif
