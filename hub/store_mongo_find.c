/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB engine: reads.
 *
 * A cursor asks for few documents first and then for as many as fit in a reply by the sizes seen so far: a server may
 * fill a reply beyond the wire's 48 MB if it is not told how many are wanted.
 *
 * A server that has no index for a sort does it in memory, with at most 32 MB of whole documents before 4.4. Where it
 * refuses, the sort is done in two steps: first an aggregation gives the _ids in order, with only the sort's paths in
 * memory, then the documents are fetched by _id. */
#include "hub/store_mongo_impl.h"

#include <string.h>

#define FIRST_BATCH 3 /* of the largest documents there may be */
#define LARGEST_BATCH 1000
#define BATCH_BYTES (24L * 1024 * 1024)
#define SORTED_STEP 64 /* documents fetched at a time in the second step of a sort */

bool mongo_always_sorts_in_two_steps;

struct cursor {
    struct mongo *mongo;
    mongoc_collection_t *collection;
    mongoc_cursor_t *cursor; /* NULL before the first document is asked for */
    bson_t *filter;
    bson_t *sort; /* NULL: none */
    bson_t *projection;
    int64_t skip;
    int64_t limit;
    bool started; /* a document was given, so nothing may be asked anew */
    uint32_t batch; /* how many were asked for last */
    uint32_t left;  /* of them, how many are still to come */
    uint32_t largest;
    /* second step of a sort */
    bool is_two_step;
    bson_t **ids; /* each {_id: …} */
    size_t id_count;
    size_t next_id;
    bson_t *fetched[SORTED_STEP]; /* documents of ids[next_id …], NULL where one is gone */
    size_t fetched_count;
    size_t fetched_at;
    bson_t *without_id; /* the last document given, where the projection wants no _id */
};

/* The batch after one of `last` documents, where the largest so far was of so many bytes. */
static uint32_t next_batch(uint32_t last, uint32_t largest)
{
    int64_t fits = largest > 0 ? BATCH_BYTES / largest : FIRST_BATCH;
    int64_t more = (int64_t)last * 8;
    more = more < fits ? more : fits;
    return (uint32_t)(more < FIRST_BATCH ? FIRST_BATCH : more > LARGEST_BATCH ? LARGEST_BATCH : more);
}

/* Documents of which only the _id is asked for are small: so many as are wanted come at once. */
static uint32_t first_batch(const struct cursor *cursor)
{
    bson_iter_t id;
    bool ids = cursor->projection && bson_count_keys(cursor->projection) == 1 &&
               bson_iter_init_find(&id, cursor->projection, "_id") && bson_iter_as_bool(&id);
    return ids && cursor->limit > FIRST_BATCH ? (uint32_t)(cursor->limit < LARGEST_BATCH ? cursor->limit : LARGEST_BATCH)
                                              : FIRST_BATCH;
}

static void open_cursor(struct cursor *cursor)
{
    bson_t options = BSON_INITIALIZER;
    if (cursor->sort) {
        BSON_APPEND_DOCUMENT(&options, "sort", cursor->sort);
    }
    if (cursor->projection) {
        BSON_APPEND_DOCUMENT(&options, "projection", cursor->projection);
    }
    if (cursor->skip > 0) {
        BSON_APPEND_INT64(&options, "skip", cursor->skip);
    }
    if (cursor->limit > 0) {
        BSON_APPEND_INT64(&options, "limit", cursor->limit);
    }
    cursor->batch = cursor->left = first_batch(cursor);
    BSON_APPEND_INT32(&options, "batchSize", (int32_t)cursor->batch);
    cursor->cursor = mongoc_collection_find_with_opts(cursor->collection, cursor->filter, &options, NULL);
    bson_destroy(&options);
}

void *mongo_find(void *self, const char *collection, const struct store_find_request *request, bson_error_t *error)
{
    (void)error; /* the first document asked for opens it */
    struct cursor *cursor = bson_malloc0(sizeof *cursor);
    cursor->mongo = self;
    cursor->collection = mongo_collection(self, collection);
    cursor->filter = bson_copy(request->filter.bson);
    cursor->sort = request->sort ? bson_copy(request->sort) : NULL;
    cursor->projection = request->projection ? bson_copy(request->projection) : NULL;
    cursor->skip = request->skip;
    cursor->limit = request->limit;
    cursor->without_id = bson_new();
    return cursor;
}

static void drop_fetched(struct cursor *cursor)
{
    for (size_t i = 0; i < cursor->fetched_count; i++) {
        bson_destroy(cursor->fetched[i]);
    }
    cursor->fetched_count = cursor->fetched_at = 0;
}

void mongo_cursor_close(void *self)
{
    struct cursor *cursor = self;
    if (!cursor) {
        return;
    }
    mongoc_cursor_destroy(cursor->cursor);
    mongoc_collection_destroy(cursor->collection);
    bson_destroy(cursor->filter);
    bson_destroy(cursor->sort);
    bson_destroy(cursor->projection);
    drop_fetched(cursor);
    for (size_t i = 0; i < cursor->id_count; i++) {
        bson_destroy(cursor->ids[i]);
    }
    bson_free(cursor->ids);
    bson_destroy(cursor->without_id);
    bson_free(cursor);
}

static const char *collection_name(const struct cursor *cursor)
{
    return mongoc_collection_get_name(cursor->collection);
}

/* The server will not sort so much in memory: 96 OperationFailed before 4.4, 292 since. */
static bool is_sort_refused(const struct cursor *cursor, const bson_error_t *driver, const bson_t *reply)
{
    int32_t code = mongo_server_code(driver, reply);
    return cursor->sort && (code == 292 || (code == 96 && strstr(driver->message, "ort operation used more")));
}

static bool add_id(struct cursor *cursor, const bson_t *document, size_t *room)
{
    bson_iter_t iter;
    if (!bson_iter_init_find(&iter, document, "_id")) {
        return false;
    }
    if (cursor->id_count == *room) {
        *room = *room ? *room * 2 : 256;
        cursor->ids = bson_realloc(cursor->ids, *room * sizeof *cursor->ids);
    }
    cursor->ids[cursor->id_count] = bson_new();
    bson_append_iter(cursor->ids[cursor->id_count++], "_id", 3, &iter);
    return true;
}

/* First step: the _ids in order. */
static int sort_ids(struct cursor *cursor, bson_error_t *error)
{
    bson_t pipeline = BSON_INITIALIZER;
    bson_t stages;
    bson_t stage;
    bson_t paths;
    bson_iter_t iter;
    bson_error_t driver;
    const bson_t *document;
    const bson_t *reply = NULL;
    size_t room = 0;
    uint32_t index = 0;
    char key[4];
    int result = 1;
    BSON_APPEND_ARRAY_BEGIN(&pipeline, "pipeline", &stages);
#define STAGE bson_snprintf(key, sizeof key, "%u", index++), bson_append_document_begin(&stages, key, -1, &stage)
    STAGE;
    BSON_APPEND_DOCUMENT(&stage, "$match", cursor->filter);
    bson_append_document_end(&stages, &stage);
    STAGE;
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$project", &paths);
    BSON_APPEND_INT32(&paths, "_id", 1);
    for (bool more = bson_iter_init(&iter, cursor->sort) && bson_iter_next(&iter); more; more = bson_iter_next(&iter)) {
        const char *path = bson_iter_key(&iter);
        if (strcmp(path, "_id") != 0 && strncmp(path, "_id.", 4) != 0) {
            BSON_APPEND_INT32(&paths, path, 1);
        }
    }
    bson_append_document_end(&stage, &paths);
    bson_append_document_end(&stages, &stage);
    STAGE;
    BSON_APPEND_DOCUMENT(&stage, "$sort", cursor->sort);
    bson_append_document_end(&stages, &stage);
    if (cursor->skip > 0) {
        STAGE;
        BSON_APPEND_INT64(&stage, "$skip", cursor->skip);
        bson_append_document_end(&stages, &stage);
    }
    if (cursor->limit > 0) {
        STAGE;
        BSON_APPEND_INT64(&stage, "$limit", cursor->limit);
        bson_append_document_end(&stages, &stage);
    }
#undef STAGE
    bson_append_array_end(&pipeline, &stages);
    bson_t *options = BCON_NEW("allowDiskUse", BCON_BOOL(true), "batchSize", BCON_INT32(LARGEST_BATCH));
    mongoc_cursor_t *ids = mongoc_collection_aggregate(cursor->collection, MONGOC_QUERY_NONE, &pipeline, options, NULL);
    while (mongoc_cursor_next(ids, &document)) {
        if (!add_id(cursor, document, &room)) {
            result = hub_error(error, HUB_ERROR_INTERNAL, "%s: the server gave a document without _id",
                               collection_name(cursor));
            break;
        }
    }
    if (result > 0 && mongoc_cursor_error_document(ids, &driver, &reply)) {
        result = mongo_fail(MONGO_READ, collection_name(cursor), &driver, reply, error);
    }
    mongoc_cursor_destroy(ids);
    bson_destroy(options);
    bson_destroy(&pipeline);
    return result;
}

static bool hides_id(const bson_t *projection)
{
    bson_iter_t iter;
    return projection && bson_iter_init_find(&iter, projection, "_id") && !bson_iter_as_bool(&iter);
}

/* Where document belongs among the ids of this step, or -1. */
static int64_t place_of(const struct cursor *cursor, const bson_t *document, size_t count)
{
    bson_t id = BSON_INITIALIZER;
    bson_iter_t iter;
    int64_t place = -1;
    if (bson_iter_init_find(&iter, document, "_id")) {
        bson_append_iter(&id, "_id", 3, &iter);
        for (size_t i = 0; i < count && place < 0; i++) {
            place = bson_equal(cursor->ids[cursor->next_id + i], &id) ? (int64_t)i : -1;
        }
    }
    bson_destroy(&id);
    return place;
}

/* Second step: the next documents. The filter goes with the _ids, for a document may have changed since. */
static int fetch_sorted(struct cursor *cursor, bson_error_t *error)
{
    cursor->batch = next_batch(cursor->batch, cursor->largest);
    size_t count = cursor->batch > SORTED_STEP ? SORTED_STEP : cursor->batch;
    count = count > cursor->id_count - cursor->next_id ? cursor->id_count - cursor->next_id : count;
    drop_fetched(cursor);
    bson_t filter = BSON_INITIALIZER;
    bson_t options = BSON_INITIALIZER;
    bson_t both;
    bson_t only;
    bson_t in;
    bson_t list;
    bson_iter_t iter;
    const char *key;
    char text[16];
    BSON_APPEND_ARRAY_BEGIN(&filter, "$and", &both);
    BSON_APPEND_DOCUMENT(&both, "0", cursor->filter);
    BSON_APPEND_DOCUMENT_BEGIN(&both, "1", &only);
    BSON_APPEND_DOCUMENT_BEGIN(&only, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0; i < count; i++) {
        bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
        bson_iter_init_find(&iter, cursor->ids[cursor->next_id + i], "_id");
        bson_append_iter(&list, key, -1, &iter);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&only, &in);
    bson_append_document_end(&both, &only);
    bson_append_array_end(&filter, &both);
    if (cursor->projection) {
        bson_t projection = BSON_INITIALIZER;
        bson_copy_to_excluding_noinit(cursor->projection, &projection, "_id", NULL);
        if (!bson_empty(&projection)) {
            BSON_APPEND_DOCUMENT(&options, "projection", &projection);
        } else if (!hides_id(cursor->projection)) {
            BSON_APPEND_DOCUMENT(&options, "projection", cursor->projection);
        }
        bson_destroy(&projection);
    }
    BSON_APPEND_INT32(&options, "batchSize", (int32_t)count);
    mongoc_cursor_t *documents = mongoc_collection_find_with_opts(cursor->collection, &filter, &options, NULL);
    const bson_t *document;
    const bson_t *reply = NULL;
    bson_error_t driver;
    int result = 1;
    memset(cursor->fetched, 0, sizeof cursor->fetched);
    cursor->fetched_count = count;
    while (mongoc_cursor_next(documents, &document)) {
        int64_t place = place_of(cursor, document, count);
        if (place >= 0 && !cursor->fetched[place]) {
            cursor->fetched[place] = bson_copy(document);
            cursor->largest = document->len > cursor->largest ? document->len : cursor->largest;
        }
    }
    if (mongoc_cursor_error_document(documents, &driver, &reply)) {
        result = mongo_fail(MONGO_READ, collection_name(cursor), &driver, reply, error);
    }
    cursor->next_id += count;
    mongoc_cursor_destroy(documents);
    bson_destroy(&filter);
    bson_destroy(&options);
    return result;
}

static int next_sorted(struct cursor *cursor, const bson_t **document, bson_error_t *error)
{
    for (;;) {
        while (cursor->fetched_at < cursor->fetched_count) {
            const bson_t *found = cursor->fetched[cursor->fetched_at++];
            if (!found) {
                continue;
            }
            *document = found;
            if (hides_id(cursor->projection)) {
                bson_reinit(cursor->without_id);
                bson_copy_to_excluding_noinit(found, cursor->without_id, "_id", NULL);
                *document = cursor->without_id;
            }
            return 1;
        }
        if (cursor->next_id == cursor->id_count) {
            return 0;
        }
        if (fetch_sorted(cursor, error) < 0) {
            return -1;
        }
    }
}

int mongo_cursor_next(void *self, const bson_t **document, bson_error_t *error)
{
    struct cursor *cursor = self;
    struct mongo_retry retry = {0};
    *document = NULL;
    if (!cursor->started && !cursor->is_two_step && cursor->sort && mongo_always_sorts_in_two_steps) {
        cursor->is_two_step = true;
        if (sort_ids(cursor, error) < 0) {
            return -1;
        }
    }
    if (cursor->is_two_step) {
        return next_sorted(cursor, document, error);
    }
    for (;;) {
        bson_error_t driver = {0};
        const bson_t *reply = NULL;
        if (!cursor->cursor) {
            open_cursor(cursor);
        }
        if (mongoc_cursor_next(cursor->cursor, document)) {
            cursor->started = true;
            if ((*document)->len > cursor->largest) {
                cursor->largest = (*document)->len;
            }
            if (--cursor->left == 0) {
                cursor->batch = cursor->left = next_batch(cursor->batch, cursor->largest);
                mongoc_cursor_set_batch_size(cursor->cursor, cursor->batch);
            }
            return 1;
        }
        if (!mongoc_cursor_error_document(cursor->cursor, &driver, &reply)) {
            return 0;
        }
        if (!cursor->started && is_sort_refused(cursor, &driver, reply)) {
            cursor->is_two_step = true;
            return sort_ids(cursor, error) < 0 ? -1 : next_sorted(cursor, document, error);
        }
        if (cursor->started || !mongo_try_again(cursor->mongo, &retry, MONGO_READ, &driver, reply)) {
            return mongo_fail(MONGO_READ, collection_name(cursor), &driver, reply, error);
        }
        mongoc_cursor_destroy(cursor->cursor);
        cursor->cursor = NULL;
    }
}

int mongo_find_one(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                   bson_error_t *error)
{
    struct store_find_request one = *request;
    const bson_t *document;
    one.limit = 1;
    struct cursor *cursor = mongo_find(self, collection, &one, error);
    int result = mongo_cursor_next(cursor, &document, error);
    if (result > 0 && !bson_concat(out, document)) {
        result = hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a document", collection);
    }
    mongo_cursor_close(cursor);
    return result;
}

int64_t mongo_count(void *self, const char *name, const struct store_filter *filter, bson_error_t *error)
{
    struct mongo *mongo = self;
    struct mongo_retry retry = {0};
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    int64_t count;
    for (;;) {
        bson_error_t driver = {0};
        bson_t reply;
        count = mongoc_collection_count_documents(collection, filter->bson, NULL, NULL, &reply, &driver);
        bool again = count < 0 && mongo_try_again(mongo, &retry, MONGO_READ, &driver, &reply);
        if (count < 0 && !again) {
            mongo_fail(MONGO_READ, name, &driver, &reply, error);
        }
        bson_destroy(&reply);
        if (!again) {
            break;
        }
    }
    mongoc_collection_destroy(collection);
    return count;
}
