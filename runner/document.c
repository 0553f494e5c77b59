/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/document.h"
#include "hub/query_text.h"

#include <math.h>
#include <string.h>

static bool find(const bson_t *document, const char *path, bson_iter_t *at)
{
    bson_iter_t iter;
    return document && bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, at);
}

const char *document_string(const bson_t *document, const char *path)
{
    bson_iter_t at;
    uint32_t length;
    if (!find(document, path, &at) || !BSON_ITER_HOLDS_UTF8(&at))
        return NULL;
    const char *text = bson_iter_utf8(&at, &length);
    return text && strlen(text) == length ? text : NULL;
}

bool document_number(const bson_t *document, const char *path, double *value)
{
    bson_iter_t at;
    if (!find(document, path, &at))
        return false;
    if (BSON_ITER_HOLDS_DOUBLE(&at))
        *value = bson_iter_double(&at);
    else if (BSON_ITER_HOLDS_INT32(&at))
        *value = (double)bson_iter_int32(&at);
    else if (BSON_ITER_HOLDS_INT64(&at))
        *value = (double)bson_iter_int64(&at);
    else
        return false;
    return true;
}

bool document_integer(const bson_t *document, const char *path, int64_t *value)
{
    bson_iter_t at;
    if (!find(document, path, &at))
        return false;
    if (BSON_ITER_HOLDS_INT32(&at)) {
        *value = bson_iter_int32(&at);
    } else if (BSON_ITER_HOLDS_INT64(&at)) {
        *value = bson_iter_int64(&at);
    } else if (BSON_ITER_HOLDS_DOUBLE(&at)) {
        double number = bson_iter_double(&at);
        if (!(fabs(number) <= 9007199254740992.0) || number != floor(number))
            return false;
        *value = (int64_t)number;
    } else {
        return false;
    }
    return true;
}

bool document_bool(const bson_t *document, const char *path, bool standard)
{
    bson_iter_t at;
    return find(document, path, &at) && BSON_ITER_HOLDS_BOOL(&at) ? bson_iter_bool(&at) : standard;
}

bool document_child(const bson_t *document, const char *path, bson_t *child)
{
    bson_iter_t at;
    const uint8_t *data;
    uint32_t length;
    if (!find(document, path, &at) || !BSON_ITER_HOLDS_DOCUMENT(&at))
        return false;
    bson_iter_document(&at, &length, &data);
    return bson_init_static(child, data, length);
}

bool document_array(const bson_t *document, const char *path, bson_t *child)
{
    bson_iter_t at;
    const uint8_t *data;
    uint32_t length;
    if (!find(document, path, &at) || !BSON_ITER_HOLDS_ARRAY(&at))
        return false;
    bson_iter_array(&at, &length, &data);
    return bson_init_static(child, data, length);
}

bool document_has(const bson_t *document, const char *path)
{
    bson_iter_t at;
    return find(document, path, &at) && !BSON_ITER_HOLDS_NULL(&at);
}

int document_integer_in(const bson_t *document, const char *path, int64_t minimum, int64_t maximum, int64_t standard,
                        int64_t *value, bson_error_t *error)
{
    *value = standard;
    if (!document_has(document, path))
        return 0;
    if (document_integer(document, path, value) && *value >= minimum && *value <= maximum)
        return 0;
    *value = standard;
    return hub_error(error, HUB_ERROR_INVALID, "%s: must be an integer in [%lld, %lld]", path, (long long)minimum,
                     (long long)maximum);
}

int document_query(const bson_t *document, const char *path, bson_t *filter, bson_error_t *error)
{
    bson_t child;
    const char *name = document_string(document, path);
    bson_init(filter);
    if (name && query_text_is(name)) {
        bson_error_t why;
        bson_destroy(filter);
        if (query_text_read(name, filter, &why))
            return hub_error(error, hub_error_code(&why), "%s: %s", path, why.message);
        return 1;
    }
    if (name) {
        if (!BSON_APPEND_UTF8(filter, "name", name))
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the query %s", path);
        return 1;
    }
    if (document_child(document, path, &child)) {
        if (!bson_concat(filter, &child))
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the query %s", path);
        return 1;
    }
    if (!document_has(document, path))
        return 0;
    return hub_error(error, HUB_ERROR_INVALID, "%s: must be a query or a name", path);
}

char *document_json(const bson_t *document)
{
    return bson_as_relaxed_extended_json(document, NULL);
}
