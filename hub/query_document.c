/* SPDX-License-Identifier: Apache-2.0 */
/* What a document, a value and a path may look like. */
#include "hub/query_impl.h"

#include <string.h>

#define DOCUMENT_BYTES_LIMIT (15 * 1024 * 1024)

static const char *type_name(bson_type_t type)
{
    switch (type) {
    case BSON_TYPE_UNDEFINED:
        return "undefined";
    case BSON_TYPE_REGEX:
        return "regular expression";
    case BSON_TYPE_DBPOINTER:
        return "DBPointer";
    case BSON_TYPE_CODE:
    case BSON_TYPE_CODEWSCOPE:
        return "JavaScript code";
    case BSON_TYPE_SYMBOL:
        return "symbol";
    case BSON_TYPE_TIMESTAMP:
        return "timestamp";
    case BSON_TYPE_DECIMAL128:
        return "decimal128";
    case BSON_TYPE_MINKEY:
        return "MinKey";
    case BSON_TYPE_MAXKEY:
        return "MaxKey";
    default:
        return "unknown";
    }
}

static int check_key(const char *key, const char *where, bson_error_t *error)
{
    if (!*key)
        return hub_error(error, HUB_ERROR_INVALID, "%s: a key is empty", where);
    if (key[0] == '$')
        return hub_error(error, HUB_ERROR_INVALID, "%s: key '%.80s' starts with '$', which only operators do", where,
                         key);
    if (strchr(key, '.'))
        return hub_error(error, HUB_ERROR_INVALID, "%s: key '%.80s' holds a '.', which separates the parts of a path",
                         where, key);
    if (!bson_utf8_validate(key, strlen(key), false))
        return hub_error(error, HUB_ERROR_INVALID, "%s: a key is not valid UTF-8", where);
    return 0;
}

static int check_fields(bson_iter_t *fields, bool keys, const char *where, unsigned depth, bson_error_t *error)
{
    if (depth > QUERY_DEPTH_LIMIT)
        return hub_error(error, HUB_ERROR_INVALID, "%s: nested deeper than %d levels", where, QUERY_DEPTH_LIMIT);
    while (bson_iter_next(fields)) {
        if (keys && check_key(bson_iter_key(fields), where, error))
            return -1;
        if (query_check_value(fields, where, depth, error))
            return -1;
    }
    if (fields->err_off)
        return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where);
    return 0;
}

int query_check_value(const bson_iter_t *value, const char *where, unsigned depth, bson_error_t *error)
{
    switch (bson_iter_type(value)) {
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_BINARY:
    case BSON_TYPE_OID:
    case BSON_TYPE_BOOL:
    case BSON_TYPE_DATE_TIME:
    case BSON_TYPE_NULL:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        return 0;
    case BSON_TYPE_UTF8: {
        uint32_t length = 0;
        const char *text = bson_iter_utf8(value, &length);
        if (!bson_utf8_validate(text, length, true))
            return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' is not valid UTF-8", where, bson_iter_key(value));
        return 0;
    }
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY: {
        bson_iter_t fields;
        if (!bson_iter_recurse(value, &fields))
            return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where);
        return check_fields(&fields, BSON_ITER_HOLDS_DOCUMENT(value), where, depth + 1, error);
    }
    default:
        return hub_error(error, HUB_ERROR_INVALID,
                         "%s: '%.80s' has type %s; only double, string, document, array, binary, ObjectId, bool, date, "
                         "null, int32 and int64 are kept", where, bson_iter_key(value),
                         type_name(bson_iter_type(value)));
    }
}

int query_check_document(const bson_t *document, const char *where, bson_error_t *error)
{
    if (document->len > DOCUMENT_BYTES_LIMIT)
        return hub_error(error, HUB_ERROR_INVALID, "%s: %u bytes, more than the %d that a document may have", where,
                         document->len, DOCUMENT_BYTES_LIMIT);
    bson_iter_t fields;
    if (!bson_iter_init(&fields, document))
        return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where);
    if (check_fields(&fields, true, where, 1, error))
        return -1;
    if (bson_iter_init_find(&fields, document, "_id") && BSON_ITER_HOLDS_ARRAY(&fields))
        return hub_error(error, HUB_ERROR_INVALID, "%s: _id is an array", where);
    return 0;
}

int query_check_path(const char *path, const char *where, bson_error_t *error)
{
    size_t parts = 0;
    if (!bson_utf8_validate(path, strlen(path), false))
        return hub_error(error, HUB_ERROR_INVALID, "%s: a path is not valid UTF-8", where);
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, ".");
        if (length == 0)
            return hub_error(error, HUB_ERROR_INVALID, "%s: path '%.80s' has an empty part", where, path);
        if (part[0] == '$')
            return hub_error(error, HUB_ERROR_INVALID, "%s: path '%.80s' has a part that starts with '$'", where, path);
        if (++parts > QUERY_DEPTH_LIMIT)
            return hub_error(error, HUB_ERROR_INVALID, "%s: path '%.80s' has more than %d parts", where, path,
                             QUERY_DEPTH_LIMIT);
        part += length;
        if (!*part)
            return 0;
    }
}

void query_path_init(struct query_path *path, const char *text)
{
    path->text = bson_strdup(text);
    path->split = bson_strdup(text);
    path->count = 1;
    for (const char *c = text; *c; c++)
        path->count += *c == '.';
    path->parts = bson_malloc(path->count * sizeof *path->parts);
    char *part = path->split;
    for (size_t i = 0; i < path->count; i++) {
        path->parts[i] = part;
        part += strcspn(part, ".");
        *part++ = '\0';
    }
}

void query_path_destroy(struct query_path *path)
{
    bson_free(path->text);
    bson_free(path->split);
    bson_free(path->parts);
    *path = (struct query_path){0};
}

bool query_path_is_prefix(const char *a, const char *b)
{
    size_t length = strlen(a);
    return strncmp(a, b, length) == 0 && (b[length] == '\0' || b[length] == '.');
}
