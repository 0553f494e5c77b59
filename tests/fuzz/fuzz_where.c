/* SPDX-License-Identifier: Apache-2.0 */
/* What a user types after --where and --filter: whatever is accepted is a filter of the subset, or is refused by it. */

#include "cli/json.h"
#include "cli/where.h"
#include "hub/query.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    bson_error_t error = {0};
    bson_t filter, json;
    bson_error_t query_error = {0};
    if (where_parse(text, &filter, &error) >= 0) {
        struct query *query = query_parse(&filter, &query_error);
        FUZZ_REQUIRE(query != NULL || query_error.message[0] != '\0');
        query_free(query);
    } else {
        FUZZ_REQUIRE(error.message[0] != '\0');
    }
    bson_destroy(&filter);
    if (json_read_document(text, size, &json, &error) >= 0) {
        bson_string_t *again = bson_string_new(NULL);
        json_append_document(again, &json);
        bson_string_free(again, true);
        query_free(query_parse(&json, NULL));
    }
    bson_destroy(&json);
    bson_t sort;
    where_parse_sort(text, &sort, &error);
    bson_destroy(&sort);
    free(text);
    return 0;
}
