/* SPDX-License-Identifier: Apache-2.0 */
/* Filters and documents as they may come from a database or a user: a filter in BSON, then a document in BSON. A filter
 * that is accepted can be matched against any document that is BSON at all. */

#include "hub/query.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t length;
    bson_t filter, document;
    if (size < 5)
        return 0;
    memcpy(&length, data, sizeof length);
    length = BSON_UINT32_FROM_LE(length);
    if (length > size || !bson_init_static(&filter, data, length) ||
        !bson_validate(&filter, BSON_VALIDATE_NONE, NULL))
        return 0;
    bool has_document = bson_init_static(&document, data + length, size - length) &&
                        bson_validate(&document, BSON_VALIDATE_NONE, NULL);
    bson_error_t error = {0};
    struct query *query = query_parse(&filter, &error);
    FUZZ_REQUIRE(query != NULL || error.message[0] != '\0');
    if (has_document) {
        bson_t out;
        query_check_document(&document, "document", &error);
        query_project(&filter, &document, &out, &error);
        bson_destroy(&out);
        if (query != NULL)
            query_matches(query, &document);
    }
    query_check_sort(&filter, &error);
    query_free(query);
    return 0;
}
