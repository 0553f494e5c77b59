/* SPDX-License-Identifier: Apache-2.0 */
#include "server_aggregate.h"

#include <mongoc/mongoc.h>

char *test_server_aggregate(const char *uri, const char *collection, const bson_t *stages)
{
    const bson_t *document;
    bson_error_t error;
    bson_t pipeline = BSON_INITIALIZER;
    bson_string_t *text = bson_string_new(NULL);
    mongoc_client_t *client = mongoc_client_new(uri);
    mongoc_collection_t *from =
        mongoc_client_get_collection(client, mongoc_uri_get_database(mongoc_client_get_uri(client)), collection);
    BSON_APPEND_ARRAY(&pipeline, "pipeline", stages);
    mongoc_cursor_t *cursor = mongoc_collection_aggregate(from, MONGOC_QUERY_NONE, &pipeline, NULL, NULL);
    while (mongoc_cursor_next(cursor, &document)) {
        char *json = bson_as_canonical_extended_json(document, NULL);
        bson_string_append(text, json);
        bson_string_append(text, "\n");
        bson_free(json);
    }
    bool failed = mongoc_cursor_error(cursor, &error);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(from);
    mongoc_client_destroy(client);
    bson_destroy(&pipeline);
    char *lines = bson_string_free(text, failed);
    return failed ? NULL : lines;
}
