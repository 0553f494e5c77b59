/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB engine: counting by values, an aggregation of two stages. */
#include "hub/store_mongo_impl.h"

static void append_pipeline(bson_t *pipeline, const bson_t *filter, const char *const *paths, size_t count)
{
    bson_t stages, stage, group, id, sum;
    BSON_APPEND_ARRAY_BEGIN(pipeline, "pipeline", &stages);
    BSON_APPEND_DOCUMENT_BEGIN(&stages, "0", &stage);
    BSON_APPEND_DOCUMENT(&stage, "$match", filter);
    bson_append_document_end(&stages, &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stages, "1", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$group", &group);
    BSON_APPEND_DOCUMENT_BEGIN(&group, "_id", &id);
    for (size_t i = 0; i < count; i++) {
        const char key[3] = {'v', (char)('0' + i), '\0'};
        char *reference = bson_strdup_printf("$%s", paths[i]);
        BSON_APPEND_UTF8(&id, key, reference);
        bson_free(reference);
    }
    bson_append_document_end(&group, &id);
    BSON_APPEND_DOCUMENT_BEGIN(&group, "n", &sum);
    BSON_APPEND_INT32(&sum, "$sum", 1);
    bson_append_document_end(&group, &sum);
    bson_append_document_end(&stage, &group);
    bson_append_document_end(&stages, &stage);
    bson_append_array_end(pipeline, &stages);
}

static int add_group(const bson_t *group, size_t count, struct store_tally *tally, bson_error_t *error)
{
    static const char *const keys[STORE_COUNT_PATHS] = {"_id.v0", "_id.v1", "_id.v2", "_id.v3"};
    bson_iter_t number;
    bson_t values;
    store_tally_values(group, keys, count, &values);
    int64_t n = bson_iter_init_find(&number, group, "n") ? bson_iter_as_int64(&number) : 0;
    int result = store_tally_add(tally, &values, n, error);
    bson_destroy(&values);
    return result;
}

int mongo_count_by(void *self, const char *name, const struct store_filter *filter, const char *const *paths,
                   size_t count, struct store_tally *tally, bson_error_t *error)
{
    struct mongo *mongo = self;
    struct mongo_retry retry = {0};
    mongoc_collection_t *collection = mongo_collection(mongo, name);
    bson_t pipeline = BSON_INITIALIZER;
    bson_t *options = BCON_NEW("allowDiskUse", BCON_BOOL(true), "batchSize", BCON_INT32(1000));
    int result = 0;
    append_pipeline(&pipeline, filter->bson, paths, count);
    for (bool again = true; again;) {
        const bson_t *group, *reply = NULL;
        bson_error_t driver = {0};
        bool started = false;
        mongoc_cursor_t *groups = mongoc_collection_aggregate(collection, MONGOC_QUERY_NONE, &pipeline, options, NULL);
        while (result == 0 && mongoc_cursor_next(groups, &group)) {
            started = true;
            result = add_group(group, count, tally, error);
        }
        again = false;
        if (result == 0 && mongoc_cursor_error_document(groups, &driver, &reply)) {
            again = !started && mongo_try_again(mongo, &retry, MONGO_READ, &driver, reply);
            if (!again)
                result = mongo_fail(MONGO_READ, name, &driver, reply, error);
        }
        mongoc_cursor_destroy(groups);
    }
    bson_destroy(options);
    bson_destroy(&pipeline);
    mongoc_collection_destroy(collection);
    return result;
}
