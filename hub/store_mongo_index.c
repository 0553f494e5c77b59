/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB engine: indexes. */
#include "hub/store_mongo_impl.h"

#include <string.h>

/* Keys as the store writes them, {path: 1 | -1}. False for an index of another kind (text, hashed, …). */
static bool read_keys(const bson_t *index, bson_t *keys)
{
    bson_iter_t iter;
    bson_iter_t key;
    if (!bson_iter_init_find(&iter, index, "key") || !BSON_ITER_HOLDS_DOCUMENT(&iter) ||
        !bson_iter_recurse(&iter, &key)) {
        return false;
    }
    while (bson_iter_next(&key)) {
        if (!BSON_ITER_HOLDS_NUMBER(&key)) {
            return false;
        }
        BSON_APPEND_INT32(keys, bson_iter_key(&key), bson_iter_as_int64(&key) < 0 ? -1 : 1);
    }
    return true;
}

int mongo_list_indexes(void *self, const char *name, store_index_visitor *visit, void *data, bson_error_t *error)
{
    struct mongo *mongo = self;
    struct mongo_retry retry = {0};
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    mongoc_cursor_t *cursor = NULL;
    bson_error_t driver;
    const bson_t *index;
    const bson_t *reply;
    bson_iter_t iter;
    bool visited = false;
    int result = 0;
    do {
        mongoc_cursor_destroy(cursor);
        cursor = mongoc_collection_find_indexes_with_opts(collection, NULL);
        while (result == 0 && mongoc_cursor_next(cursor, &index)) {
            bson_t keys = BSON_INITIALIZER;
            visited = true;
            if (bson_iter_init_find(&iter, index, "name") && BSON_ITER_HOLDS_UTF8(&iter) &&
                strcmp(bson_iter_utf8(&iter, NULL), "_id_") != 0 && read_keys(index, &keys)) {
                result = visit(data, bson_iter_utf8(&iter, NULL), &keys, error);
            }
            bson_destroy(&keys);
        }
        reply = NULL;
    } while (result == 0 && mongoc_cursor_error_document(cursor, &driver, &reply) && !visited &&
             mongo_server_code(&driver, reply) != 26 && mongo_try_again(mongo, &retry, MONGO_READ, &driver, reply));
    if (result == 0 && mongoc_cursor_error_document(cursor, &driver, &reply) &&
        mongo_server_code(&driver, reply) != 26) { /* NamespaceNotFound: no collection, no indexes */
        result = mongo_fail(MONGO_READ, name, &driver, reply, error);
    }
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    return result;
}

struct wanted_index {
    const char *name;
    bson_t keys; /* as read_keys writes them */
    bool is_there;      /* these keys, by this name or another: MongoDB has one index for the same keys */
    bool name_is_taken; /* by other keys */
};

static int look_for_index(void *data, const char *name, const bson_t *keys, bson_error_t *error)
{
    struct wanted_index *wanted = data;
    (void)error;
    if (bson_equal(keys, &wanted->keys)) {
        wanted->is_there = true;
    } else if (strcmp(name, wanted->name) == 0) {
        wanted->name_is_taken = true;
    }
    return 0;
}

static int run_index_command(struct mongo *mongo, const char *where, const bson_t *command, int32_t *code,
                             bson_error_t *error)
{
    struct mongo_retry retry = {0};
    bson_t options = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t driver = {0};
    bool done;
    mongoc_write_concern_t *concern = mongoc_write_concern_copy(mongoc_client_get_write_concern(mongo->client));
    mongoc_write_concern_append(concern, &options);
    while (!(done = mongoc_client_write_command_with_opts(mongo->client, mongo->database, command, &options, &reply,
                                                          &driver)) &&
           mongo_try_again(mongo, &retry, MONGO_WRITE, &driver, &reply)) {
        bson_destroy(&reply);
    }
    *code = 0;
    if (!done) {
        *code = mongo_server_code(&driver, &reply);
        mongo_fail(MONGO_WRITE, where, &driver, &reply, error);
    }
    bson_destroy(&reply);
    bson_destroy(&options);
    mongoc_write_concern_destroy(concern);
    return done ? 1 : -1;
}

static int create_index(struct mongo *mongo, const char *collection, const struct wanted_index *wanted, int32_t *code,
                        bson_error_t *error)
{
    /* GridFS wants its chunks unique; its clients look for this index and make it otherwise. background keeps servers
     * before 4.2 answering while they build; later ones ignore it. */
    bool unique = strcmp(collection, "blobs.chunks") == 0 && bson_has_field(&wanted->keys, "files_id") &&
                  bson_has_field(&wanted->keys, "n");
    bson_t *command = BCON_NEW("createIndexes", BCON_UTF8(collection), "indexes", "[", "{", "key",
                               BCON_DOCUMENT(&wanted->keys), "name", BCON_UTF8(wanted->name), "unique",
                               BCON_BOOL(unique), "background", BCON_BOOL(true), "}", "]");
    int result = run_index_command(mongo, collection, command, code, error);
    bson_destroy(command);
    return result;
}

static int drop_index(struct mongo *mongo, const char *collection, const char *name, bson_error_t *error)
{
    int32_t code;
    bson_t *command = BCON_NEW("dropIndexes", BCON_UTF8(collection), "index", BCON_UTF8(name));
    int result = run_index_command(mongo, collection, command, &code, error);
    if (result < 0 && (code == 27 || code == 26)) { /* IndexNotFound: another program was faster */
        result = 0;
    }
    bson_destroy(command);
    return result;
}

int mongo_ensure_index(void *self, const char *collection, const char *name, const bson_t *keys, bson_error_t *error)
{
    struct mongo *mongo = self;
    struct wanted_index wanted = {.name = name, .keys = BSON_INITIALIZER};
    bson_iter_t iter;
    int result = -1;
    int32_t code = 0;
    if (!bson_iter_init(&iter, keys)) {
        hub_error(error, HUB_ERROR_INVALID, "%s: the index '%s' has no keys", collection, name);
        goto out;
    }
    while (bson_iter_next(&iter)) {
        BSON_APPEND_INT32(&wanted.keys, bson_iter_key(&iter), bson_iter_as_int64(&iter) < 0 ? -1 : 1);
    }
    /* A second round where another program made or changed the index between look and creation (85
     * IndexOptionsConflict, 86 IndexKeySpecsConflict). */
    for (int round = 0; round < 2; round++) {
        wanted.is_there = wanted.name_is_taken = false;
        if (mongo_list_indexes(mongo, collection, look_for_index, &wanted, error) < 0) {
            goto out;
        }
        if (wanted.name_is_taken && drop_index(mongo, collection, name, error) < 0) {
            goto out;
        }
        if (wanted.is_there) {
            result = 0;
            goto out;
        }
        result = create_index(mongo, collection, &wanted, &code, error);
        if (result > 0 || (code != 85 && code != 86)) {
            goto out;
        }
    }
out:
    bson_destroy(&wanted.keys);
    return result;
}
