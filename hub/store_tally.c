/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by values: an open hash table from the values' bytes to their number. */
#include "hub/store_impl.h"

#include <string.h>

struct entry {
    bson_t *values; /* NULL: free */
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
    for (size_t i = 0; i < tally->capacity; i++)
        bson_destroy(tally->entries[i].values);
    bson_free(tally->entries);
    bson_free(tally);
}

/* FNV-1a. */
static uint64_t hash_of(const bson_t *values)
{
    const uint8_t *data = bson_get_data(values);
    uint64_t hash = 14695981039346656037u;
    for (uint32_t i = 0; i < values->len; i++)
        hash = (hash ^ data[i]) * 1099511628211u;
    return hash;
}

/* Where the values are, or where they belong. */
static struct entry *place_of(struct entry *entries, size_t capacity, const bson_t *values, uint64_t hash)
{
    size_t at = hash & (capacity - 1);
    while (entries[at].values && (entries[at].hash != hash || !bson_equal(entries[at].values, values)))
        at = (at + 1) & (capacity - 1);
    return &entries[at];
}

static void grow(struct store_tally *tally)
{
    size_t capacity = 2 * tally->capacity;
    struct entry *entries = bson_malloc0(capacity * sizeof *entries);
    for (size_t i = 0; i < tally->capacity; i++)
        if (tally->entries[i].values)
            *place_of(entries, capacity, tally->entries[i].values, tally->entries[i].hash) = tally->entries[i];
    bson_free(tally->entries);
    tally->entries = entries;
    tally->capacity = capacity;
}

int store_tally_add(struct store_tally *tally, const bson_t *values, int64_t count, bson_error_t *error)
{
    uint64_t hash = hash_of(values);
    struct entry *entry = place_of(tally->entries, tally->capacity, values, hash);
    if (!entry->values) {
        if (tally->used == STORE_COUNT_GROUPS)
            return hub_error(error, HUB_ERROR_INVALID, "count: more than %d combinations of values; narrow the filter",
                             STORE_COUNT_GROUPS);
        *entry = (struct entry){.values = bson_copy(values), .hash = hash};
        tally->used++;
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

void store_tally_values(const bson_t *document, const char *const *paths, size_t count, bson_t *values)
{
    bson_init(values);
    for (size_t i = 0; i < count; i++) {
        bson_iter_t iter, value;
        const char key[2] = {(char)('0' + i), '\0'};
        if (bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, paths[i], &value))
            bson_append_iter(values, key, 1, &value);
        else
            bson_append_null(values, key, 1);
    }
}
