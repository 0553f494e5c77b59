/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_KEY_H
#define TL_HUB_KEY_H

/* BSON values as byte strings in MongoDB's order: memcmp of two keys (the shorter first where one is a prefix, which
 * cannot happen between whole keys) gives what query_compare_values gives for the values.
 *
 * A key is a class byte and a body:
 *   null, missing  nothing
 *   number         the nearest double with its bits made sortable (8 bytes, big-endian; NaN is lowest, -0 is 0), then
 *                  what an int64 differs from it plus 32768 (2 bytes), so that all int64 stay distinct
 *   string         the bytes with 00 as 00 ff, then 00 00
 *   document       per field: class byte, name, 00, body; then 00
 *   array          the same without names
 *   binary         length (4 bytes), subtype, bytes; as MongoDB compares them
 *   ObjectId       12 bytes
 *   bool           1 byte
 *   date           8 bytes, sign bit flipped
 * No key is a prefix of another one, so keys can be joined, and a joined key can be inverted in part (descending). */

#include <bson/bson.h>

struct key {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

enum key_class {
    KEY_CLASS_END = 0x00,
    KEY_CLASS_MIN = 0x01,
    KEY_CLASS_EMPTY_ARRAY = 0x03, /* only in sort keys: MongoDB sorts an empty array before null */
    KEY_CLASS_NULL = 0x05,
    KEY_CLASS_NUMBER = 0x0a,
    KEY_CLASS_STRING = 0x0f,
    KEY_CLASS_DOCUMENT = 0x14,
    KEY_CLASS_ARRAY = 0x19,
    KEY_CLASS_BINARY = 0x1e,
    KEY_CLASS_OBJECT_ID = 0x23,
    KEY_CLASS_BOOL = 0x28,
    KEY_CLASS_DATE = 0x2d,
    KEY_CLASS_OTHER = 0x60, /* types that the store does not hold; foreign documents only */
    KEY_CLASS_MAX = 0x7f
};

void key_init(struct key *key);
void key_clear(struct key *key); /* empties it and keeps the memory */
void key_destroy(struct key *key);
void key_append_bytes(struct key *key, const void *data, size_t length);

/* NULL is a missing value. */
void key_append_value(struct key *key, const bson_iter_t *value);
enum key_class key_class_of(const bson_iter_t *value);
/* A number as the double and the rest that order it. */
void key_number(const bson_iter_t *value, double *nearest, int *rest);
/* The bytes of a binary value as MongoDB compares them: subtype 2 with its inner length. */
void key_binary(const bson_iter_t *value, const uint8_t **data, size_t *length, uint8_t *subtype);

/* The key of the value at a dotted path through documents only. -1: there is an array on the way or at its end (the
 * key is then left as it was). */
int key_append_path(struct key *key, const bson_t *document, const char *path);

/* The key that orders documents by sort {path: 1 | -1, …}. As in MongoDB an array stands by its smallest element where
 * the order is ascending and by its largest where it is descending; each path on its own. */
void key_append_sort(struct key *key, const bson_t *sort, const bson_t *document);

int key_compare(const void *a, size_t a_length, const void *b, size_t b_length);

#endif
