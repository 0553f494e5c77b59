/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/query_text.h"

#include <string.h>

bool query_text_is(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

static bool copy_fields(bson_iter_t *from, bson_t *to);

/* libbson's reader takes {"$regex": "^a"} for a regular expression of its own; here it is an operator. */
static bool copy_value(const bson_iter_t *from, const char *key, bson_t *to)
{
    bson_iter_t inner;
    bson_t child;
    bool done;
    if (BSON_ITER_HOLDS_REGEX(from)) {
        const char *options, *pattern = bson_iter_regex(from, &options);
        done = BSON_APPEND_DOCUMENT_BEGIN(to, key, &child) && BSON_APPEND_UTF8(&child, "$regex", pattern) &&
               (*options == '\0' || BSON_APPEND_UTF8(&child, "$options", options));
        return bson_append_document_end(to, &child) && done;
    }
    if (!BSON_ITER_HOLDS_DOCUMENT(from) && !BSON_ITER_HOLDS_ARRAY(from)) {
        return bson_append_iter(to, key, -1, from);
    }
    if (!bson_iter_recurse(from, &inner)) {
        return false;
    }
    if (BSON_ITER_HOLDS_ARRAY(from)) {
        done = BSON_APPEND_ARRAY_BEGIN(to, key, &child) && copy_fields(&inner, &child);
        return bson_append_array_end(to, &child) && done;
    }
    done = BSON_APPEND_DOCUMENT_BEGIN(to, key, &child) && copy_fields(&inner, &child);
    return bson_append_document_end(to, &child) && done;
}

static bool copy_fields(bson_iter_t *from, bson_t *to)
{
    while (bson_iter_next(from)) {
        if (!copy_value(from, bson_iter_key(from), to)) {
            return false;
        }
    }
    return true;
}

int query_text_read(const char *text, bson_t *filter, bson_error_t *error)
{
    bson_error_t why;
    bson_iter_t fields;
    bson_init(filter);
    bson_t *parsed = bson_new_from_json((const uint8_t *)text, -1, &why);
    if (parsed == NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "%s", why.message);
    }
    bool copied = bson_iter_init(&fields, parsed) && copy_fields(&fields, filter);
    bson_destroy(parsed);
    if (!copied) {
        return hub_error(error, HUB_ERROR_INVALID, "the query cannot be read");
    }
    struct query *query = query_parse(filter, error);
    query_free(query);
    return query != NULL ? 0 : -1;
}

int query_text_append(bson_t *document, const char *key, const bson_t *query, bson_error_t *error)
{
    bson_t back;
    if (query_check_document(query, key, NULL) == 0) {
        return BSON_APPEND_DOCUMENT(document, key, query) ? 0
                                                          : hub_error(error, HUB_ERROR_INVALID, "%s: too large", key);
    }
    char *text = bson_as_relaxed_extended_json(query, NULL);
    if (text == NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: the query cannot be written as text", key);
    }
    int result = query_text_read(text, &back, error);
    if (result == 0 && !BSON_APPEND_UTF8(document, key, text)) {
        result = hub_error(error, HUB_ERROR_INVALID, "%s: too large", key);
    }
    bson_destroy(&back);
    bson_free(text);
    return result;
}
