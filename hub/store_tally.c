/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by values: an open hash table from the values' key to their number. By key and not by their bytes, for 1 and 1.0
 * are one value. */
#include "hub/key.h"
#include "hub/store_impl.h"

#include <math.h>
#include <string.h>

struct entry {
    bson_t *values; /* NULL: free */
    struct key key;
    uint64_t hash;
    int64_t count;
};

struct store_tally {
    struct entry *entries;
    size_t capacity; /* a power of two */
    size_t used;
};

struct store_tally *store_tally_new(void)
{
    struct store_tally *tally = bson_malloc0(sizeof *tally);
    tally->capacity = 64;
    tally->entries = bson_malloc0(tally->capacity * sizeof *tally->entries);
    return tally;
}

void store_tally_free(struct store_tally *tally)
{
    if (!tally)
        return;
    for (size_t i = 0; i < tally->capacity; i++) {
        bson_destroy(tally->entries[i].values);
        key_destroy(&tally->entries[i].key);
    }
    bson_free(tally->entries);
    bson_free(tally);
}

/* FNV-1a. */
static uint64_t hash_of(const struct key *key)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < key->length; i++)
        hash = (hash ^ key->data[i]) * 1099511628211u;
    return hash;
}

static void key_of(const bson_t *values, struct key *key)
{
    bson_iter_t iter;
    key_init(key);
    bool more = bson_iter_init(&iter, values);
    while (more && bson_iter_next(&iter))
        key_append_value(key, &iter);
}

/* Where the values are, or where they belong. */
static struct entry *place_of(struct entry *entries, size_t capacity, const struct key *key, uint64_t hash)
{
    size_t at = hash & (capacity - 1);
    while (entries[at].values &&
           (entries[at].hash != hash ||
            key_compare(entries[at].key.data, entries[at].key.length, key->data, key->length) != 0))
        at = (at + 1) & (capacity - 1);
    return &entries[at];
}

static void grow(struct store_tally *tally)
{
    size_t capacity = 2 * tally->capacity;
    struct entry *entries = bson_malloc0(capacity * sizeof *entries);
    for (size_t i = 0; i < tally->capacity; i++)
        if (tally->entries[i].values)
            *place_of(entries, capacity, &tally->entries[i].key, tally->entries[i].hash) = tally->entries[i];
    bson_free(tally->entries);
    tally->entries = entries;
    tally->capacity = capacity;
}

int store_tally_add(struct store_tally *tally, const bson_t *values, int64_t count, bson_error_t *error)
{
    struct key key;
    key_of(values, &key);
    uint64_t hash = hash_of(&key);
    struct entry *entry = place_of(tally->entries, tally->capacity, &key, hash);
    if (!entry->values && tally->used == STORE_COUNT_GROUPS) {
        key_destroy(&key);
        return hub_error(error, HUB_ERROR_INVALID, "count: more than %d combinations of values; narrow the filter",
                         STORE_COUNT_GROUPS);
    }
    if (!entry->values) {
        *entry = (struct entry){.values = bson_copy(values), .key = key, .hash = hash};
        tally->used++;
    } else {
        key_destroy(&key);
    }
    entry->count += count;
    if (2 * tally->used > tally->capacity)
        grow(tally);
    return 0;
}

int store_tally_append(const struct store_tally *tally, bson_t *out)
{
    uint32_t index = 0;
    for (size_t i = 0; i < tally->capacity; i++) {
        bson_t group;
        char buffer[16];
        const char *key;
        if (!tally->entries[i].values)
            continue;
        bson_uint32_to_string(index++, &key, buffer, sizeof buffer);
        BSON_APPEND_DOCUMENT_BEGIN(out, key, &group);
        BSON_APPEND_INT64(&group, "count", tally->entries[i].count);
        BSON_APPEND_DOCUMENT(&group, "values", tally->entries[i].values);
        bson_append_document_end(out, &group);
    }
    return (int)tally->used;
}

/* Of the values that count as one number each engine meets another one first: all are shown as the narrowest type that
 * holds it. */
static void append_number(bson_t *values, const char *key, const bson_iter_t *value)
{
    double number = bson_iter_as_double(value);
    bool whole = BSON_ITER_HOLDS_INT(value) || (number == floor(number) && fabs(number) < 0x1p63);
    int64_t integer = whole ? bson_iter_as_int64(value) : 0;
    if (whole && integer >= INT32_MIN && integer <= INT32_MAX)
        bson_append_int32(values, key, 1, (int32_t)integer);
    else if (whole)
        bson_append_int64(values, key, 1, integer);
    else
        bson_append_double(values, key, 1, number);
}

void store_tally_values(const bson_t *document, const char *const *paths, size_t count, bson_t *values)
{
    bson_init(values);
    for (size_t i = 0; i < count; i++) {
        bson_iter_t iter, value;
        const char key[2] = {(char)('0' + i), '\0'};
        if (!bson_iter_init(&iter, document) || !bson_iter_find_descendant(&iter, paths[i], &value))
            bson_append_null(values, key, 1);
        else if (BSON_ITER_HOLDS_DOUBLE(&value) || BSON_ITER_HOLDS_INT(&value))
            append_number(values, key, &value);
        else
            bson_append_iter(values, key, 1, &value);
    }
}
