/* SPDX-License-Identifier: Apache-2.0 */
/* How the server answers a find, by its explain command. */
#include "hub/store_mongo_impl.h"

#include <string.h>

#define MOST_DEPTH 12 /* of a plan's stages */

struct plan {
    char index[128];
    bool scans, sorts;
};

/* Stages hang under inputStage, inputStages, shards, winningPlan … : whatever is a document is looked into. */
static void read_stages(const bson_t *document, int depth, struct plan *plan)
{
    bson_iter_t iter;
    if (depth == 0 || !bson_iter_init(&iter, document)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        uint32_t length = 0;
        const uint8_t *data = NULL;
        bson_t inner;
        if (strcmp(key, "rejectedPlans") == 0) {
            continue;
        }
        if (strcmp(key, "indexName") == 0 && BSON_ITER_HOLDS_UTF8(&iter)) {
            bson_strncpy(plan->index, bson_iter_utf8(&iter, NULL), sizeof plan->index);
        } else if (strcmp(key, "stage") == 0 && BSON_ITER_HOLDS_UTF8(&iter)) {
            const char *stage = bson_iter_utf8(&iter, NULL);
            plan->scans = plan->scans || strcmp(stage, "COLLSCAN") == 0;
            plan->sorts = plan->sorts || strcmp(stage, "SORT") == 0 || strcmp(stage, "SORT_KEY_GENERATOR") == 0;
        } else if (BSON_ITER_HOLDS_DOCUMENT(&iter)) {
            bson_iter_document(&iter, &length, &data);
        } else if (BSON_ITER_HOLDS_ARRAY(&iter)) {
            bson_iter_array(&iter, &length, &data);
        }
        if (data != NULL && bson_init_static(&inner, data, length)) {
            read_stages(&inner, depth - 1, plan);
        }
    }
}

static void append_number(const bson_t *reply, const char *path, const char *key, bson_t *out)
{
    bson_iter_t iter;
    bson_iter_t found;
    if (bson_iter_init(&iter, reply) && bson_iter_find_descendant(&iter, path, &found) && BSON_ITER_HOLDS_NUMBER(&found)) {
        BSON_APPEND_INT64(out, key, bson_iter_as_int64(&found));
    }
}

int mongo_explain(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                  bson_error_t *error)
{
    struct mongo *mongo = self;
    bson_error_t driver = {0};
    bson_t command = BSON_INITIALIZER, find, reply;
    struct plan plan = {.scans = false};
    int result = 1;

    BSON_APPEND_DOCUMENT_BEGIN(&command, "explain", &find);
    BSON_APPEND_UTF8(&find, "find", collection);
    BSON_APPEND_DOCUMENT(&find, "filter", request->filter.bson);
    if (request->sort) {
        BSON_APPEND_DOCUMENT(&find, "sort", request->sort);
    }
    BSON_APPEND_INT64(&find, "skip", request->skip);
    BSON_APPEND_INT64(&find, "limit", request->limit ? request->limit : 1);
    bson_append_document_end(&command, &find);
    BSON_APPEND_UTF8(&command, "verbosity", "executionStats");
    if (mongoc_client_command_simple(mongo->client, mongo->database, &command, NULL, &reply, &driver)) {
        read_stages(&reply, MOST_DEPTH, &plan);
        if (plan.index[0] && !plan.scans) {
            BSON_APPEND_UTF8(out, "index", plan.index);
        }
        BSON_APPEND_BOOL(out, "sorts", plan.sorts);
        append_number(&reply, "executionStats.totalDocsExamined", "documents_examined", out);
        append_number(&reply, "executionStats.totalKeysExamined", "keys_examined", out);
    } else if (mongo_server_code(&driver, &reply) != 0) {
        result = 0; /* it answers, but not to this: an unknown command, or not allowed */
    } else {
        result = mongo_fail(MONGO_READ, "explain", &driver, &reply, error);
    }
    bson_destroy(&reply);
    bson_destroy(&command);
    return result;
}
