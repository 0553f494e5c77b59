/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB engine: the connection and the writes. The front has parsed every filter and update; the server gets the
 * caller's BSON. Writes wait for a majority and reads go to the primary, whatever the URI says. */
#include "hub/store_mongo_impl.h"
#include "hub/fault.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_DATABASE "tl_hub"
#define DEFAULT_SELECTION_MS 10000
#define DEFAULT_CONNECT_MS 10000 /* libmongoc's */
#define DEFAULT_SOCKET_MS 120000 /* no call hangs for ever; above what one large write or index takes */
#define IDLE_SOCKET_MS 60000
#define MONITOR_MS 180000 /* a server that is no longer primary says so itself */
#define MAJORITY_WAIT_MS 60000   /* then the outcome is unknown */

static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

static void start_driver(void)
{
    mongoc_log_set_handler(NULL, NULL); /* a library does not print, and the next call may want to */
    mongoc_init();
    atexit(mongoc_cleanup);
}

/* libmongoc quotes what it cannot parse, so its words are passed on only where there is nothing to hide. */
static int fail_uri(const char *uri, const char *reason, bson_error_t *error)
{
    char *redacted = store_redact_uri(uri);
    bool may_quote = redacted && strcmp(redacted, uri) == 0 && reason[0] != '\0';
    hub_error(error, HUB_ERROR_INVALID, "%s: not a MongoDB URI: %s", redacted ? redacted : "mongodb://...",
              may_quote ? reason
                        : "check the host, the options, and that the user and password are percent-encoded");
    bson_free(redacted);
    return -1;
}

static void set_defaults(mongoc_uri_t *uri)
{
    if (!mongoc_uri_has_option(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS)) {
        mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, DEFAULT_SELECTION_MS);
    }
    if (!mongoc_uri_has_option(uri, MONGOC_URI_SERVERSELECTIONTRYONCE)) {
        mongoc_uri_set_option_as_bool(uri, MONGOC_URI_SERVERSELECTIONTRYONCE, false); /* elections take a while */
    }
    if (!mongoc_uri_has_option(uri, MONGOC_URI_SOCKETTIMEOUTMS) ||
        mongoc_uri_get_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, 0) <= 0) {
        mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, DEFAULT_SOCKET_MS);
    }
    /* An idle runner asks every 15 s: libmongoc's own checks of a connection that was idle for 5 s would double that. A
     * connection that was closed is seen without asking; one that died in silence costs a retry. */
    if (!mongoc_uri_has_option(uri, MONGOC_URI_SOCKETCHECKINTERVALMS)) {
        mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETCHECKINTERVALMS, IDLE_SOCKET_MS);
    }
    if (!mongoc_uri_has_option(uri, MONGOC_URI_HEARTBEATFREQUENCYMS)) {
        mongoc_uri_set_option_as_int32(uri, MONGOC_URI_HEARTBEATFREQUENCYMS, MONITOR_MS);
    }
    if (!mongoc_uri_has_option(uri, MONGOC_URI_APPNAME)) {
        mongoc_uri_set_option_as_utf8(uri, MONGOC_URI_APPNAME, "tl_hub");
    }
}

/* A time limit of the URI, or that we have set, or otherwise libmongoc's own: it goes down, never up. */
static void shorten(mongoc_uri_t *uri, const char *option, int32_t own_ms, int64_t limit_ms)
{
    int32_t now_ms = mongoc_uri_get_option_as_int32(uri, option, own_ms);
    int32_t most_ms = limit_ms < INT32_MAX ? (int32_t)limit_ms : INT32_MAX;
    if (now_ms <= 0 || now_ms > most_ms) {
        mongoc_uri_set_option_as_int32(uri, option, most_ms);
    }
}

/* The URI may ask for weaker writes or for secondaries; its journal and wtimeout stay. */
static void set_safety(mongoc_client_t *client, const mongoc_uri_t *uri)
{
    mongoc_write_concern_t *concern = mongoc_write_concern_copy(mongoc_uri_get_write_concern(uri));
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_read_concern_t *plain = mongoc_read_concern_new();
    int64_t wait_ms = mongoc_write_concern_get_wtimeout_int64(concern);
    mongoc_write_concern_set_wmajority(concern, (int32_t)(wait_ms > 0 && wait_ms < INT32_MAX ? wait_ms
                                                                                             : MAJORITY_WAIT_MS));
    mongoc_client_set_write_concern(client, concern);
    mongoc_client_set_read_prefs(client, primary);
    mongoc_client_set_read_concern(client, plain);
    mongoc_write_concern_destroy(concern);
    mongoc_read_prefs_destroy(primary);
    mongoc_read_concern_destroy(plain);
}

static void mongo_close(void *self)
{
    struct mongo *mongo = self;
    if (!mongo) {
        return;
    }
    mongoc_client_destroy(mongo->client);
    bson_free(mongo->database);
    bson_free(mongo);
}

void (*mongo_client_made)(mongoc_client_t *client);

mongoc_client_t *mongo_client_new(const mongoc_uri_t *uri, bson_error_t *driver)
{
    mongoc_client_t *client = mongoc_client_new_from_uri_with_error(uri, driver);
    if (!client) {
        return NULL;
    }
    mongoc_client_set_error_api(client, MONGOC_ERROR_API_VERSION_2);
    set_safety(client, uri);
    if (mongo_client_made) {
        mongo_client_made(client);
    }
    return client;
}

static void *mongo_open(const char *text, bool create, int64_t limit_ms, bson_error_t *error)
{
    (void)create; /* a database comes to be with its first document */
    bson_error_t driver = {0};
    struct mongo *mongo = NULL;
    pthread_once(&driver_once, start_driver);
    mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &driver);
    if (!uri) {
        fail_uri(text, driver.message, error);
        return NULL;
    }
    set_defaults(uri);
    if (limit_ms > 0) {
        shorten(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, DEFAULT_SELECTION_MS, limit_ms);
        shorten(uri, MONGOC_URI_SOCKETTIMEOUTMS, DEFAULT_SOCKET_MS, limit_ms);
        shorten(uri, MONGOC_URI_CONNECTTIMEOUTMS, DEFAULT_CONNECT_MS, limit_ms);
    }
    mongoc_client_t *client = mongo_client_new(uri, &driver);
    if (!client) {
        if (driver.domain == MONGOC_ERROR_STREAM) { /* the names behind mongodb+srv:// are looked up here */
            mongo_fail(MONGO_READ, "mongodb+srv", &driver, NULL, error);
        } else {
            fail_uri(text, driver.message, error);
        }
        goto out;
    }
    const char *database = mongoc_uri_get_database(uri);
    mongo = bson_malloc0(sizeof *mongo);
    mongo->client = client;
    mongo->database = bson_strdup(database && database[0] ? database : DEFAULT_DATABASE);
    mongo->patience_ms = mongoc_uri_get_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                                        DEFAULT_SELECTION_MS);
out:
    mongoc_uri_destroy(uri);
    return mongo;
}

mongoc_collection_t *mongo_collection(const struct mongo *mongo, const char *collection)
{
    return mongoc_client_get_collection(mongo->client, mongo->database, collection);
}

int mongo_read_command(struct mongo *mongo, const char *database, const char *name, bson_t *reply, int32_t *code,
                       bson_error_t *error)
{
    bson_error_t driver = {0};
    bson_t *command = BCON_NEW(name, BCON_INT32(1));
    struct mongo_retry retry = {0};
    bool done;
    *code = 0;
    while (!(done = mongoc_client_command_simple(mongo->client, database, command, NULL, reply, &driver)) &&
           mongo_try_again(mongo, &retry, MONGO_READ, &driver, reply)) {
        bson_destroy(reply);
    }
    if (!done) {
        *code = mongo_server_code(&driver, reply);
        mongo_fail(MONGO_READ, name, &driver, reply, error);
    }
    bson_destroy(command);
    return done ? 1 : -1;
}

static int mongo_ping(void *self, bson_error_t *error)
{
    struct mongo *mongo = self;
    bson_t reply;
    int32_t code;
    int result = mongo_read_command(mongo, mongo->database, "ping", &reply, &code, error);
    bson_destroy(&reply);
    return result;
}

/* hello, by either of its names. */
static int say_hello(struct mongo *mongo, bson_t *reply, bson_error_t *error)
{
    int32_t code;
    if (!mongo->has_no_hello) {
        int result = mongo_read_command(mongo, "admin", "hello", reply, &code, error);
        if (result > 0 || code != 59) { /* CommandNotFound */
            return result;
        }
        bson_destroy(reply);
        mongo->has_no_hello = true;
    }
    return mongo_read_command(mongo, "admin", "isMaster", reply, &code, error);
}

static int mongo_server_time(void *self, int64_t *milliseconds, bson_error_t *error)
{
    struct mongo *mongo = self;
    bson_t reply;
    bson_iter_t iter;
    int result = say_hello(mongo, &reply, error);
    if (result > 0) {
        if (bson_iter_init_find(&iter, &reply, "localTime") && BSON_ITER_HOLDS_DATE_TIME(&iter)) {
            *milliseconds = bson_iter_date_time(&iter);
        } else {
            result = hub_error(error, HUB_ERROR_INTERNAL, "hello: the MongoDB server does not tell its time");
        }
    }
    bson_destroy(&reply);
    return result;
}

static int mongo_describe(void *self, bson_t *out, bson_error_t *error)
{
    struct mongo *mongo = self;
    bson_error_t ignored;
    bson_t reply;
    bson_iter_t iter;
    bson_iter_t found;
    int32_t code;
    char driver[64];
    int result = say_hello(mongo, &reply, error);
    if (result > 0) {
        const char *topology = "standalone";
        BSON_APPEND_UTF8(out, "engine", "mongodb");
        bson_snprintf(driver, sizeof driver, "libmongoc %s", mongoc_get_version());
        BSON_APPEND_UTF8(out, "library", driver);
        BSON_APPEND_UTF8(out, "database", mongo->database);
        if (bson_iter_init_find(&iter, &reply, "msg") && BSON_ITER_HOLDS_UTF8(&iter) &&
            strcmp(bson_iter_utf8(&iter, NULL), "isdbgrid") == 0) {
            topology = "sharded cluster";
        }
        if (bson_iter_init_find(&iter, &reply, "setName") && BSON_ITER_HOLDS_UTF8(&iter)) {
            topology = "replica set";
            BSON_APPEND_UTF8(out, "replica_set", bson_iter_utf8(&iter, NULL));
        }
        BSON_APPEND_UTF8(out, "topology", topology);
    }
    bson_destroy(&reply);
    if (result < 0) {
        return -1;
    }
    result = mongo_read_command(mongo, "admin", "buildInfo", &reply, &code, error);
    if (result > 0 && bson_iter_init_find(&iter, &reply, "version") && BSON_ITER_HOLDS_UTF8(&iter)) {
        BSON_APPEND_UTF8(out, "server_version", bson_iter_utf8(&iter, NULL));
    }
    bson_destroy(&reply);
    /* Not every user may ask this, and not every server knows. */
    if (result > 0 && mongo_read_command(mongo, "admin", "serverStatus", &reply, &code, &ignored) > 0) {
        if (bson_iter_init(&iter, &reply) && bson_iter_find_descendant(&iter, "storageEngine.name", &found) &&
            BSON_ITER_HOLDS_UTF8(&found)) {
            BSON_APPEND_UTF8(out, "storage", bson_iter_utf8(&found, NULL));
        }
        bson_destroy(&reply);
    } else if (result > 0) {
        bson_destroy(&reply);
    }
    return result;
}

static int64_t reply_count(const bson_t *reply, const char *key)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, reply, key) ? bson_iter_as_int64(&iter) : 0;
}

/* Inserts in order. 1, or -1 with *failed_at the first that was not inserted (0 where that cannot be told). With
 * keep_going, a document whose _id is there already is passed over. */
static int insert_run(struct mongo *mongo, const char *name, const bson_t **documents, size_t count, bool keep_going,
                      size_t *failed_at, bson_error_t *error)
{
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    bson_t *options = BCON_NEW("ordered", BCON_BOOL(true), "validate", BCON_BOOL(false));
    struct mongo_retry retry = {0};
    size_t start = 0;
    int result = 1;
    while (start < count) {
        bson_error_t driver = {0};
        bson_iter_t iter;
        bson_iter_t index;
        bson_t reply;
        bool done = mongoc_collection_insert_many(collection, documents + start, count - start, options, &reply,
                                                  &driver);
        if (done) {
            bson_destroy(&reply);
            break;
        }
        *failed_at = start;
        if (bson_iter_init(&iter, &reply) && bson_iter_find_descendant(&iter, "writeErrors.0.index", &index) &&
            bson_iter_as_int64(&index) >= 0 && bson_iter_as_int64(&index) < (int64_t)(count - start)) {
            *failed_at = start + (size_t)bson_iter_as_int64(&index);
        }
        if (mongo_try_again(mongo, &retry, MONGO_WRITE, &driver, &reply)) {
            bson_destroy(&reply);
            continue;
        }
        bson_iter_t id;
        bson_iter_t found;
        mongo_fail(MONGO_WRITE, name, &driver, &reply, error);
        bson_destroy(&reply);
        result = -1;
        if (keep_going && error->code == HUB_ERROR_DUPLICATE && bson_iter_init_find(&id, documents[*failed_at], "_id")) {
            /* Only the same _id is no error, not a clash in another unique index. */
            bson_t same = BSON_INITIALIZER;
            bson_t there = BSON_INITIALIZER;
            bson_error_t clash = *error;
            bson_append_iter(&same, "_id", 3, &id);
            struct store_find_request request = {.filter = {.bson = &same}, .limit = 1};
            int exists = mongo_find_one(mongo, name, &request, &there, error);
            if (exists > 0 && bson_iter_init_find(&found, &there, "_id")) {
                result = 1;
            } else if (exists == 0) {
                *error = clash;
            }
            bson_destroy(&same);
            bson_destroy(&there);
        }
        if (result < 0) {
            break;
        }
        start = *failed_at + 1;
    }
    bson_destroy(options);
    mongoc_collection_destroy(collection);
    return result;
}

static int mongo_insert(void *self, const char *collection, const bson_t *document, bson_error_t *error)
{
    size_t failed_at;
    return insert_run(self, collection, &document, 1, false, &failed_at, error);
}

/* Whether the reply holds a document, and that into *out (may be NULL). */
static bool read_modified(const bson_t *reply, bson_t *out)
{
    bson_iter_t iter;
    const uint8_t *data;
    uint32_t length;
    bson_t value;
    if (!bson_iter_init_find(&iter, reply, "value") || !BSON_ITER_HOLDS_DOCUMENT(&iter)) {
        return false;
    }
    bson_iter_document(&iter, &length, &data);
    if (!bson_init_static(&value, data, length) || bson_empty(&value)) {
        return false;
    }
    if (out) {
        bson_concat(out, &value);
    }
    return true;
}

static int mongo_modify(void *self, const char *name, const struct store_modify_request *request, bson_t *out,
                        bson_error_t *error)
{
    struct mongo *mongo = self;
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    mongoc_find_and_modify_opts_t *options = mongoc_find_and_modify_opts_new();
    mongoc_write_concern_t *concern = mongoc_write_concern_copy(mongoc_client_get_write_concern(mongo->client));
    bson_t extra = BSON_INITIALIZER;
    bson_error_t driver = {0};
    bson_t reply;
    int result = -1;
    bool may_repeat = request->upsert_base != NULL;
    struct mongo_retry retry = {0};
    int flags = (request->upsert_base ? MONGOC_FIND_AND_MODIFY_UPSERT : 0) |
                (request->return_new ? MONGOC_FIND_AND_MODIFY_RETURN_NEW : 0);
    bool ready = mongoc_find_and_modify_opts_set_update(options, request->change.bson) &&
                 mongoc_find_and_modify_opts_set_flags(options, (mongoc_find_and_modify_flags_t)flags) &&
                 (!request->sort || mongoc_find_and_modify_opts_set_sort(options, request->sort)) &&
                 (!request->projection || mongoc_find_and_modify_opts_set_fields(options, request->projection)) &&
                 mongoc_write_concern_append(concern, &extra) && mongoc_find_and_modify_opts_append(options, &extra);
    if (!ready) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a change", name);
        goto out;
    }
    for (;;) {
        bool done = mongoc_collection_find_and_modify_with_opts(collection, request->filter.bson, options, &reply,
                                                                &driver);
        if (done) {
            /* An upsert that inserted has nothing to show of before. */
            result = read_modified(&reply, out) || request->upsert_base ? 1 : 0;
            bson_destroy(&reply);
            break;
        }
        /* Two upserts at once: the other one has inserted, so now there is a match. */
        bool again = may_repeat && mongo_is_duplicate(&driver, &reply);
        may_repeat = may_repeat && !again;
        if (!again && !mongo_try_again(mongo, &retry, MONGO_WRITE, &driver, &reply)) {
            mongo_fail(MONGO_WRITE, name, &driver, &reply, error);
            bson_destroy(&reply);
            break;
        }
        bson_destroy(&reply);
    }
out:
    bson_destroy(&extra);
    mongoc_write_concern_destroy(concern);
    mongoc_find_and_modify_opts_destroy(options);
    mongoc_collection_destroy(collection);
    return result;
}

/* One update command; matched counts an upsert's insert too. */
static int64_t update(struct mongo *mongo, const char *name, const bson_t *filter, const bson_t *change, bool many,
                      bool upsert, bson_error_t *error)
{
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    bson_t *options = BCON_NEW("upsert", BCON_BOOL(upsert));
    int64_t result = -1;
    bool may_repeat = upsert;
    struct mongo_retry retry = {0};
    for (;;) {
        bson_error_t driver = {0};
        bson_t reply;
        bool done = many ? mongoc_collection_update_many(collection, filter, change, NULL, &reply, &driver)
                         : mongoc_collection_update_one(collection, filter, change, options, &reply, &driver);
        if (done) {
            result = reply_count(&reply, "matchedCount") + reply_count(&reply, "upsertedCount");
            bson_destroy(&reply);
            break;
        }
        bool again = may_repeat && mongo_is_duplicate(&driver, &reply);
        may_repeat = may_repeat && !again;
        if (!again && !mongo_try_again(mongo, &retry, MONGO_WRITE, &driver, &reply)) {
            mongo_fail(MONGO_WRITE, name, &driver, &reply, error);
            bson_destroy(&reply);
            break;
        }
        bson_destroy(&reply);
    }
    bson_destroy(options);
    mongoc_collection_destroy(collection);
    return result;
}

/* How many entries from entries[0] on are updates of one collection that nothing hangs on, and so may travel together. */
static size_t updates_together(const struct store_batch_entry *entries, size_t count)
{
    size_t run = 0;
    while (run < count && !TL_FAULT_APART() && entries[run].operation->kind == STORE_UPDATE &&
           !entries[run].operation->guard &&
           strcmp(entries[run].operation->collection, entries[0].operation->collection) == 0) {
        run++;
    }
    return run > 0 ? run : 1;
}

/* The index of the statement that a reply says has failed, or -1: it says nothing of the kind. */
static int64_t failed_statement(const bson_t *reply, size_t count)
{
    bson_iter_t iter, index;
    bool told = bson_iter_init(&iter, reply) && bson_iter_find_descendant(&iter, "writeErrors.0.index", &index);
    int64_t at = told ? bson_iter_as_int64(&index) : -1;
    return at < (int64_t)count ? at : -1;
}

static bool send_updates(mongoc_collection_t *collection, const struct store_batch_entry *entries, size_t count,
                         bson_t *reply, bson_error_t *driver)
{
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(collection, NULL);
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        bson_t *options = BCON_NEW("upsert", BCON_BOOL(entries[i].upsert_base != NULL));
        good = mongoc_bulk_operation_update_one_with_opts(bulk, entries[i].filter.bson, entries[i].change.bson, options, driver);
        bson_destroy(options);
    }
    if (good) {
        good = mongoc_bulk_operation_execute(bulk, reply, driver) != 0;
    } else {
        bson_init(reply);
    }
    mongoc_bulk_operation_destroy(bulk);
    return good;
}

/* One command for several updates, in order. 1, or -1 with *failed_at the first that may not have been done. */
static int update_run(struct mongo *mongo, const struct store_batch_entry *entries, size_t count, size_t *failed_at,
                      bson_error_t *error)
{
    const char *name = entries[0].operation->collection;
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    struct mongo_retry retry = {0};
    int result = 1;
    for (size_t start = 0; start < count && result > 0;) {
        bson_error_t driver = {0};
        bson_t reply;
        if (send_updates(collection, entries + start, count - start, &reply, &driver)) {
            bson_destroy(&reply);
            break;
        }
        int64_t failed = failed_statement(&reply, count - start);
        if (failed >= 0) { /* those before it are done; it alone knows what to do about two upserts at once */
            const struct store_batch_entry *entry = &entries[start + (size_t)failed];
            *failed_at = start + (size_t)failed;
            result = update(mongo, name, entry->filter.bson, entry->change.bson, false, entry->upsert_base != NULL, error) < 0
                         ? -1
                         : 1;
            start = *failed_at + 1;
        } else if (!mongo_try_again(mongo, &retry, MONGO_WRITE, &driver, &reply)) {
            *failed_at = start;
            result = mongo_fail(MONGO_WRITE, name, &driver, &reply, error);
        }
        bson_destroy(&reply);
    }
    mongoc_collection_destroy(collection);
    return result;
}

static int64_t mongo_update(void *self, const char *collection, const struct store_filter *filter,
                            const struct store_change *change, bson_error_t *error)
{
    return update(self, collection, filter->bson, change->bson, true, false, error);
}

static int64_t mongo_delete(void *self, const char *name, const struct store_filter *filter, bson_error_t *error)
{
    struct mongo *mongo = self;
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    int64_t result = -1;
    struct mongo_retry retry = {0};
    for (;;) {
        bson_error_t driver = {0};
        bson_t reply;
        bool done = mongoc_collection_delete_many(collection, filter->bson, NULL, &reply, &driver);
        bool again = !done && mongo_try_again(mongo, &retry, MONGO_WRITE, &driver, &reply);
        if (done) {
            result = reply_count(&reply, "deletedCount");
        } else if (!again) {
            mongo_fail(MONGO_WRITE, name, &driver, &reply, error);
        }
        bson_destroy(&reply);
        if (!again) {
            break;
        }
    }
    mongoc_collection_destroy(collection);
    return result;
}

/* The inserts from entries[0] on that travel together. */
static int batch_inserts(struct mongo *mongo, const struct store_batch_entry *entries, size_t *failed_at,
                         bson_error_t *error)
{
    const struct store_operation *first = entries[0].operation;
    const bson_t **documents = bson_malloc(entries[0].run * sizeof *documents);
    for (size_t i = 0; i < entries[0].run; i++) {
        documents[i] = entries[i].document;
    }
    int result = insert_run(mongo, first->collection, documents, entries[0].run, first->ignore_duplicate, failed_at,
                            error);
    bson_free((void *)documents);
    return result;
}

static int mongo_batch(void *self, struct store *store, const struct store_batch_entry *entries, size_t count,
                       size_t *stopped_at, bson_error_t *error)
{
    struct mongo *mongo = self;
    size_t done = 0;
    while (done < count) {
        const struct store_batch_entry *entry = &entries[done];
        const struct store_operation *operation = entry->operation;
        size_t step = 1;
        size_t failed_at = 0;
        int64_t matched;
        int result = 1;
        TL_FAULT_STEP(operation, false);
        if (TL_FAULT_REFUSED(error)) {
            *stopped_at = done;
            return -1;
        }
        switch (operation->kind) {
        case STORE_INSERT:
            step = entry->run;
            result = batch_inserts(mongo, entry, &failed_at, error);
            break;
        case STORE_UPDATE:
            step = updates_together(entry, count - done);
            if (step > 1) {
                result = update_run(mongo, entry, step, &failed_at, error);
                break;
            }
            matched = update(mongo, operation->collection, entry->filter.bson, entry->change.bson, false,
                             entry->upsert_base != NULL, error);
            result = matched < 0 ? -1 : matched == 0 && operation->guard ? 0 : 1;
            break;
        case STORE_DELETE:
            result = mongo_delete(mongo, operation->collection, &entry->filter, error) < 0 ? -1 : 1;
            break;
        case STORE_CHECK:
            result = operation->check(store, operation->data, error);
            break;
        }
        result = TL_FAULT_LOST(error) ? -1 : result;
        if (result <= 0) {
            *stopped_at = done + failed_at;
            return result;
        }
        TL_FAULT_STEP(operation, true);
        done += step;
    }
    *stopped_at = count;
    return 1;
}

const struct store_engine store_engine_mongo = {
    .name = "mongodb",
    .batch_is_atomic = false,
    .open = mongo_open,
    .close = mongo_close,
    .ping = mongo_ping,
    .describe = mongo_describe,
    .ensure_index = mongo_ensure_index,
    .list_indexes = mongo_list_indexes,
    .insert = mongo_insert,
    .find = mongo_find,
    .cursor_next = mongo_cursor_next,
    .cursor_close = mongo_cursor_close,
    .find_one = mongo_find_one,
    .count = mongo_count,
    .count_by = mongo_count_by,
    .modify = mongo_modify,
    .update = mongo_update,
    .delete = mongo_delete,
    .batch = mongo_batch,
    .watch = mongo_watch,
    .server_time = mongo_server_time,
    .explain = mongo_explain,
};
