/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB engine: a change stream as a wake-up. It waits in a thread, for libmongoc's wait cannot be cut short, with a
 * client of its own, until one task becomes ready, the server says no, or the watch is closed; whoever is last of the two,
 * thread and owner, frees. */
#include "hub/store_mongo_impl.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WAIT_MS 30000 /* a getMore's: so often an idle watch asks again. Half of the socket's patience where that is less */

struct watch {
    struct store_watch base;
    mongoc_client_t *client;
    char *database;
    bson_t *pipeline;
    atomic_int owners; /* the thread and whoever opened it */
    atomic_bool closed, came;
    bool told; /* take has said 1 */
};

static void drop(struct watch *watch)
{
    if (atomic_fetch_sub(&watch->owners, 1) > 1)
        return;
    close(watch->base.fd);
    mongoc_client_destroy(watch->client);
    bson_destroy(watch->pipeline);
    bson_free(watch->database);
    bson_free(watch);
}

/* Inserted as ready, or made ready. Only the names of the changed fields come with an update, so projects narrow the
 * inserts alone. */
static bson_t *pipeline_of(const char *const *projects)
{
    bson_t *pipeline = bson_new();
    bson_t stages, stage, match, either, insert, update, in, list;
    BSON_APPEND_ARRAY_BEGIN(pipeline, "pipeline", &stages);
    BSON_APPEND_DOCUMENT_BEGIN(&stages, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &match);
    BSON_APPEND_ARRAY_BEGIN(&match, "$or", &either);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "0", &insert);
    BSON_APPEND_UTF8(&insert, "operationType", "insert");
    BSON_APPEND_UTF8(&insert, "fullDocument.state", "ready");
    BSON_APPEND_DOCUMENT_BEGIN(&insert, "fullDocument.project", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (uint32_t i = 0; projects[i]; i++) {
        char buffer[16];
        const char *key;
        bson_uint32_to_string(i, &key, buffer, sizeof buffer);
        BSON_APPEND_UTF8(&list, key, projects[i]);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&insert, &in);
    bson_append_document_end(&either, &insert);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "1", &update);
    BSON_APPEND_UTF8(&update, "operationType", "update");
    BSON_APPEND_UTF8(&update, "updateDescription.updatedFields.state", "ready");
    bson_append_document_end(&either, &update);
    bson_append_array_end(&match, &either);
    bson_append_document_end(&stage, &match);
    bson_append_document_end(&stages, &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stages, "1", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$project", &match);
    BSON_APPEND_INT32(&match, "operationType", 1);
    bson_append_document_end(&stage, &match);
    bson_append_document_end(&stages, &stage);
    bson_append_array_end(pipeline, &stages);
    return pipeline;
}

/* Only where there is an oplog: members of a replica set, and routers of a cluster. */
static bool has_changes(mongoc_client_t *client)
{
    bson_error_t unused;
    bson_iter_t iter;
    mongoc_server_description_t *server = mongoc_client_select_server(client, false, NULL, &unused);
    const bson_t *hello = server ? mongoc_server_description_hello_response(server) : NULL;
    bool has = hello && ((bson_iter_init_find(&iter, hello, "setName") && BSON_ITER_HOLDS_UTF8(&iter)) ||
                         (bson_iter_init_find(&iter, hello, "msg") && BSON_ITER_HOLDS_UTF8(&iter)));
    mongoc_server_description_destroy(server);
    return has;
}

/* The server answers an idle getMore when its wait is over: that must come before the socket is given up. */
static int64_t wait_of(mongoc_client_t *client)
{
    int32_t socket_ms = mongoc_uri_get_option_as_int32(mongoc_client_get_uri(client), MONGOC_URI_SOCKETTIMEOUTMS, 0);
    return socket_ms > 0 && socket_ms / 2 < WAIT_MS ? socket_ms / 2 + 1 : WAIT_MS;
}

static void *wait_for_change(void *data)
{
    struct watch *watch = data;
    bson_t *options = BCON_NEW("maxAwaitTimeMS", BCON_INT64(wait_of(watch->client)));
    mongoc_collection_t *tasks = mongoc_client_get_collection(watch->client, watch->database, "tasks");
    mongoc_change_stream_t *stream = mongoc_collection_watch(tasks, watch->pipeline, options);
    const bson_t *event, *reply;
    bson_error_t unused;
    bool came = false;
    while (!came && !atomic_load(&watch->closed)) {
        came = mongoc_change_stream_next(stream, &event);
        if (!came && mongoc_change_stream_error_document(stream, &unused, &reply))
            break;
    }
    mongoc_change_stream_destroy(stream);
    mongoc_collection_destroy(tasks);
    bson_destroy(options);
    atomic_store(&watch->came, came);
    eventfd_write(watch->base.fd, 1);
    drop(watch);
    return NULL;
}

static int take(struct store_watch *base)
{
    struct watch *watch = (struct watch *)base;
    eventfd_t count;
    if (!watch->told && eventfd_read(base->fd, &count) < 0)
        return 0;
    bool first = !watch->told;
    watch->told = true;
    return first && atomic_load(&watch->came) ? 1 : -1;
}

static void close_watch(struct store_watch *base)
{
    struct watch *watch = (struct watch *)base;
    atomic_store(&watch->closed, true);
    drop(watch);
}

struct store_watch *mongo_watch(void *self, const char *const *projects, bson_error_t *error)
{
    struct mongo *mongo = self;
    bson_error_t driver = {0};
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    int failed;
    if (!has_changes(mongo->client)) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "tasks: the MongoDB server has no change streams; people poll");
        return NULL;
    }
    struct watch *watch = bson_malloc0(sizeof *watch);
    watch->base = (struct store_watch){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .take = take, .close = close_watch};
    watch->client = mongo_client_new(mongoc_client_get_uri(mongo->client), &driver);
    watch->database = bson_strdup(mongo->database);
    watch->pipeline = pipeline_of(projects);
    atomic_init(&watch->owners, 1);
    if (watch->base.fd < 0 || !watch->client) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "tasks: cannot be watched: %s", driver.message);
        drop(watch);
        return NULL;
    }
    atomic_store(&watch->owners, 2);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    failed = pthread_create(&thread, &attributes, wait_for_change, watch);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        atomic_store(&watch->owners, 1);
        drop(watch);
        hub_error(error, HUB_ERROR_NOT_FOUND, "tasks: cannot be watched: no thread");
        return NULL;
    }
    return &watch->base;
}
