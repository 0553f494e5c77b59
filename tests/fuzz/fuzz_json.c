/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as it is read from files and options: what is read is BSON that can be stored or is refused, and what is written of
 * it reads back to the same text. */

#include "cli/json.h"
#include "cli/where.h"
#include "hub/query.h"
#include "tests/fuzz/fuzz.h"

static char *written(const bson_t *document)
{
    bson_string_t *text = bson_string_new(NULL);
    json_append_document(text, document);
    return bson_string_free(text, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t document, again, value = BSON_INITIALIZER;
    bson_error_t error = {0};
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (json_read_document(text, size, &document, &error) >= 0) {
        FUZZ_REQUIRE(bson_validate(&document, BSON_VALIDATE_UTF8 | BSON_VALIDATE_UTF8_ALLOW_NULL, NULL));
        query_check_document(&document, "document", &error);
        char *first = written(&document);
        FUZZ_REQUIRE(json_read_document(first, strlen(first), &again, &error) >= 0);
        char *second = written(&again);
        FUZZ_REQUIRE(strcmp(first, second) == 0);
        bson_destroy(&again);
        bson_free(first);
        bson_free(second);
    } else {
        FUZZ_REQUIRE(error.message[0] != '\0');
    }
    bson_destroy(&document);
    json_read_value(text, size, "value", &value, &error);
    bson_destroy(&value);
    bson_init(&value);
    where_parse_setting(text, &value, &error);
    FUZZ_REQUIRE(bson_validate(&value, BSON_VALIDATE_NONE, NULL));
    bson_destroy(&value);
    free(text);
    return 0;
}
