/* SPDX-License-Identifier: Apache-2.0 */
/* An update, a document and perhaps a filter, each in BSON. What an accepted update makes of a document is a document
 * that may be stored, or it is refused; the filter is tried as an upsert's. */

#include "hub/query.h"
#include "hub/update.h"
#include "tests/fuzz/fuzz.h"

/* The BSON document at the start of *data, which then moves past it. */
static bool take(const uint8_t **data, size_t *size, bson_t *out)
{
    uint32_t length;
    if (*size < 5)
        return false;
    memcpy(&length, *data, sizeof length);
    length = BSON_UINT32_FROM_LE(length);
    if (length > *size || !bson_init_static(out, *data, length) || !bson_validate(out, BSON_VALIDATE_NONE, NULL))
        return false;
    *data += length;
    *size -= length;
    return true;
}

static void apply(const struct update *update, const bson_t *document, bool inserting)
{
    bson_t out;
    bson_error_t error = {0};
    int done = update_apply(update, document, inserting, 1700000000000, &out, &error);
    FUZZ_REQUIRE(done >= 0 || error.message[0] != '\0');
    FUZZ_REQUIRE(bson_validate(&out, BSON_VALIDATE_NONE, NULL));
    bson_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t bson, document, filter;
    bson_error_t error = {0};
    if (!take(&data, &size, &bson))
        return 0;
    struct update *update = update_parse(&bson, &error);
    if (update == NULL) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return 0;
    }
    update_check_no_array(update, "tags", &error);
    update_check_no_array(update, "a.b", &error);
    if (take(&data, &size, &document) && query_check_document(&document, "document", &error) >= 0) {
        apply(update, &document, false);
        apply(update, &document, true);
    }
    struct query *query = take(&data, &size, &filter) ? query_parse(&filter, &error) : NULL;
    if (query != NULL) {
        bson_t base;
        if (query_upsert_base(query, &base, &error) >= 0)
            apply(update, &base, true);
        bson_destroy(&base);
    }
    query_free(query);
    update_free(update);
    return 0;
}
