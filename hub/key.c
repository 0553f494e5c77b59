/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/key.h"

#include <math.h>
#include <string.h>

#define DEPTH_LIMIT 128 /* above what may be stored; deeper foreign values count as null */

void key_init(struct key *key)
{
    *key = (struct key){0};
}

void key_clear(struct key *key)
{
    key->length = 0;
}

void key_destroy(struct key *key)
{
    if (!key)
        return;
    bson_free(key->data);
    key_init(key);
}

void key_append_bytes(struct key *key, const void *data, size_t length)
{
    if (key->length + length > key->capacity) {
        size_t capacity = key->capacity ? key->capacity : 64;
        while (capacity < key->length + length)
            capacity *= 2;
        key->data = bson_realloc(key->data, capacity);
        key->capacity = capacity;
    }
    if (length)
        memcpy(key->data + key->length, data, length);
    key->length += length;
}

static void append_byte(struct key *key, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    key_append_bytes(key, &b, 1);
}

static void append_big_endian(struct key *key, uint64_t value, unsigned bytes)
{
    uint8_t buffer[8];
    for (unsigned i = 0; i < bytes; i++)
        buffer[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    key_append_bytes(key, buffer, bytes);
}

enum key_class key_class_of(const bson_iter_t *value)
{
    if (!value)
        return KEY_CLASS_NULL;
    switch (bson_iter_type(value)) {
    case BSON_TYPE_NULL:
    case BSON_TYPE_UNDEFINED:
    case BSON_TYPE_EOD:
        return KEY_CLASS_NULL;
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        return KEY_CLASS_NUMBER;
    case BSON_TYPE_UTF8:
        return KEY_CLASS_STRING;
    case BSON_TYPE_DOCUMENT:
        return KEY_CLASS_DOCUMENT;
    case BSON_TYPE_ARRAY:
        return KEY_CLASS_ARRAY;
    case BSON_TYPE_BINARY:
        return KEY_CLASS_BINARY;
    case BSON_TYPE_OID:
        return KEY_CLASS_OBJECT_ID;
    case BSON_TYPE_BOOL:
        return KEY_CLASS_BOOL;
    case BSON_TYPE_DATE_TIME:
        return KEY_CLASS_DATE;
    case BSON_TYPE_MINKEY:
        return KEY_CLASS_MIN;
    case BSON_TYPE_MAXKEY:
        return KEY_CLASS_MAX;
    default:
        return KEY_CLASS_OTHER;
    }
}

void key_number(const bson_iter_t *value, double *nearest, int *rest)
{
    *rest = 0;
    if (bson_iter_type(value) == BSON_TYPE_DOUBLE) {
        *nearest = bson_iter_double(value);
        if (*nearest == 0)
            *nearest = 0; /* -0 */
        return;
    }
    int64_t integer = bson_iter_as_int64(value);
    *nearest = (double)integer;
    if (*nearest >= 9223372036854775808.0) /* rounded up to 2^63, which no int64 holds */
        *rest = (int)(integer - INT64_MAX) - 1;
    else
        *rest = (int)(integer - (int64_t)*nearest);
}

void key_binary(const bson_iter_t *value, const uint8_t **data, size_t *length, uint8_t *subtype)
{
    bson_subtype_t type = BSON_SUBTYPE_BINARY;
    uint32_t size = 0;
    *data = NULL;
    bson_iter_binary(value, &type, &size, data);
    if (type == BSON_SUBTYPE_BINARY_DEPRECATED && *data) { /* libbson has skipped its inner length */
        *data -= 4;
        size += 4;
    }
    *length = size;
    *subtype = (uint8_t)type;
}

static void append_body(struct key *key, const bson_iter_t *value, enum key_class class, unsigned depth);

static void append_fields(struct key *key, const bson_iter_t *value, bool names, unsigned depth)
{
    bson_iter_t field;
    if (bson_iter_recurse(value, &field)) {
        while (bson_iter_next(&field)) {
            enum key_class class = depth < DEPTH_LIMIT ? key_class_of(&field) : KEY_CLASS_NULL;
            append_byte(key, class);
            if (names)
                key_append_bytes(key, bson_iter_key(&field), strlen(bson_iter_key(&field)) + 1);
            append_body(key, &field, class, depth + 1);
        }
    }
    append_byte(key, KEY_CLASS_END);
}

static void append_string(struct key *key, const char *text, size_t length)
{
    const char *end = text + length;
    while (text < end) {
        const char *zero = memchr(text, 0, (size_t)(end - text));
        const char *stop = zero ? zero : end;
        key_append_bytes(key, text, (size_t)(stop - text));
        if (zero) {
            key_append_bytes(key, "\0\xff", 2);
            stop++;
        }
        text = stop;
    }
    key_append_bytes(key, "\0\0", 2);
}

static void append_body(struct key *key, const bson_iter_t *value, enum key_class class, unsigned depth)
{
    switch (class) {
    case KEY_CLASS_NUMBER: {
        double nearest;
        int rest;
        key_number(value, &nearest, &rest);
        uint64_t bits = 0;
        if (!isnan(nearest)) {
            memcpy(&bits, &nearest, sizeof bits);
            bits = bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
        }
        append_big_endian(key, bits, 8);
        append_big_endian(key, (uint64_t)(rest + 32768), 2);
        break;
    }
    case KEY_CLASS_STRING: {
        uint32_t length = 0;
        const char *text = bson_iter_utf8(value, &length);
        append_string(key, text, length);
        break;
    }
    case KEY_CLASS_DOCUMENT:
        append_fields(key, value, true, depth);
        break;
    case KEY_CLASS_ARRAY:
        append_fields(key, value, false, depth);
        break;
    case KEY_CLASS_BINARY: {
        const uint8_t *data;
        size_t length;
        uint8_t subtype;
        key_binary(value, &data, &length, &subtype);
        append_big_endian(key, length, 4);
        append_byte(key, subtype);
        key_append_bytes(key, data, length);
        break;
    }
    case KEY_CLASS_OBJECT_ID:
        key_append_bytes(key, bson_iter_oid(value)->bytes, 12);
        break;
    case KEY_CLASS_BOOL:
        append_byte(key, bson_iter_bool(value));
        break;
    case KEY_CLASS_DATE:
        append_big_endian(key, (uint64_t)bson_iter_date_time(value) ^ UINT64_C(1) << 63, 8);
        break;
    default:
        break;
    }
}

void key_append_value(struct key *key, const bson_iter_t *value)
{
    enum key_class class = key_class_of(value);
    append_byte(key, class);
    append_body(key, value, class, 0);
}

int key_append_path(struct key *key, const bson_t *document, const char *path)
{
    bson_iter_t iter;
    if (!bson_iter_init(&iter, document)) {
        key_append_value(key, NULL);
        return 0;
    }
    for (;;) {
        const char *dot = strchr(path, '.');
        int length = dot ? (int)(dot - path) : (int)strlen(path);
        if (!bson_iter_find_w_len(&iter, path, length)) {
            key_append_value(key, NULL);
            return 0;
        }
        if (BSON_ITER_HOLDS_ARRAY(&iter))
            return -1;
        if (!dot) {
            key_append_value(key, &iter);
            return 0;
        }
        bson_iter_t child;
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &child)) {
            key_append_value(key, NULL);
            return 0;
        }
        iter = child;
        path = dot + 1;
    }
}

/* ---- sort keys ---- */

/* The best (smallest or largest) key seen so far of the values at one path. */
struct best {
    struct key key;
    struct key candidate;
    bool descending;
    bool any;
};

static void offer_candidate(struct best *best)
{
    int order = best->any
                    ? key_compare(best->candidate.data, best->candidate.length, best->key.data, best->key.length)
                    : 0;
    if (!best->any || (best->descending ? order > 0 : order < 0)) {
        struct key better = best->candidate;
        best->candidate = best->key;
        best->key = better;
    }
    best->any = true;
    key_clear(&best->candidate);
}

static void offer_value(struct best *best, const bson_iter_t *value)
{
    key_append_value(&best->candidate, value);
    offer_candidate(best);
}

static void offer_path(struct best *best, bson_iter_t *fields, const char *path, unsigned depth);

/* The elements of an array that path (NULL: ends here) leads through. */
static void offer_array(struct best *best, const bson_iter_t *array, const char *path, unsigned depth)
{
    bson_iter_t element;
    bool empty = true;
    if (bson_iter_recurse(array, &element)) {
        if (path) { /* a number picks one element */
            const char *dot = strchr(path, '.');
            int length = dot ? (int)(dot - path) : (int)strlen(path);
            bson_iter_t picked = element;
            if (path[0] >= '0' && path[0] <= '9' && bson_iter_find_w_len(&picked, path, length)) {
                bson_iter_t child;
                if (BSON_ITER_HOLDS_ARRAY(&picked) && depth < DEPTH_LIMIT)
                    offer_array(best, &picked, dot ? dot + 1 : NULL, depth + 1);
                else if (!dot)
                    offer_value(best, &picked);
                else if (BSON_ITER_HOLDS_DOCUMENT(&picked) && bson_iter_recurse(&picked, &child))
                    offer_path(best, &child, dot + 1, depth + 1);
                else
                    offer_value(best, NULL);
                return;
            }
        }
        while (bson_iter_next(&element)) {
            bson_iter_t child;
            empty = false;
            if (!path)
                offer_value(best, &element);
            else if (BSON_ITER_HOLDS_DOCUMENT(&element) && bson_iter_recurse(&element, &child))
                offer_path(best, &child, path, depth + 1);
            else
                offer_value(best, NULL);
        }
    }
    if (empty && path) {
        offer_value(best, NULL);
    } else if (empty) {
        append_byte(&best->candidate, KEY_CLASS_EMPTY_ARRAY);
        offer_candidate(best);
    }
}

static void offer_path(struct best *best, bson_iter_t *fields, const char *path, unsigned depth)
{
    const char *dot = strchr(path, '.');
    int length = dot ? (int)(dot - path) : (int)strlen(path);
    bson_iter_t child;
    if (depth >= DEPTH_LIMIT || !bson_iter_find_w_len(fields, path, length))
        offer_value(best, NULL);
    else if (BSON_ITER_HOLDS_ARRAY(fields))
        offer_array(best, fields, dot ? dot + 1 : NULL, depth + 1);
    else if (!dot)
        offer_value(best, fields);
    else if (BSON_ITER_HOLDS_DOCUMENT(fields) && bson_iter_recurse(fields, &child))
        offer_path(best, &child, dot + 1, depth + 1);
    else
        offer_value(best, NULL);
}

void key_append_sort(struct key *key, const bson_t *sort, const bson_t *document)
{
    bson_iter_t path;
    struct best best = {.any = false};
    if (!bson_iter_init(&path, sort))
        return;
    while (bson_iter_next(&path)) {
        best.descending = bson_iter_as_int64(&path) < 0;
        best.any = false;
        key_clear(&best.key);
        bson_iter_t fields;
        if (bson_iter_init(&fields, document))
            offer_path(&best, &fields, bson_iter_key(&path), 0);
        else
            offer_value(&best, NULL);
        size_t start = key->length;
        key_append_bytes(key, best.key.data, best.key.length);
        if (best.descending)
            for (size_t i = start; i < key->length; i++)
                key->data[i] = (uint8_t)~key->data[i];
    }
    key_destroy(&best.key);
    key_destroy(&best.candidate);
}

int key_compare(const void *a, size_t a_length, const void *b, size_t b_length)
{
    size_t common = a_length < b_length ? a_length : b_length;
    int order = common ? memcmp(a, b, common) : 0;
    if (order)
        return order;
    return a_length < b_length ? -1 : a_length > b_length;
}
