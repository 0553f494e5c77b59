/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing over 16-byte keys: what has been written must be known, and ids are what is kept of it. */
#include "hub/archive_impl.h"

#include <string.h>

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* 32 hex digits are 16 bytes; up to 15 bytes go as they are with their length; the rest by digest. Never all zeros. */
static void make_key(const void *id, size_t length, uint8_t key[16])
{
    const char *text = id;
    char hex[65];
    memset(key, 0, 16);
    if (length < 16) {
        memcpy(key, id, length);
        key[15] = (uint8_t)(length + 1);
        return;
    }
    bool is_hex = length == 32;
    for (size_t i = 0; i < length && is_hex; i++) {
        is_hex = hex_value(text[i]) >= 0;
    }
    if (!is_hex) {
        hub_sha256(id, length, hex);
        text = hex;
    }
    for (size_t i = 0; i < 16; i++) {
        key[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
    }
    static const uint8_t none[16];
    if (memcmp(key, none, 16) == 0) {
        key[0] = 1;
    }
}

static size_t find(const struct archive_set *set, const uint8_t key[16])
{
    static const uint8_t none[16];
    uint64_t parts[2], hash;
    memcpy(parts, key, 16);
    hash = (parts[0] ^ parts[1] * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    size_t at = (size_t)(hash >> 20) & (set->capacity - 1);
    while (memcmp(set->slots[at], none, 16) != 0 && memcmp(set->slots[at], key, 16) != 0) {
        at = (at + 1) & (set->capacity - 1);
    }
    return at;
}

static void grow(struct archive_set *set)
{
    struct archive_set larger = {.count = set->count, .capacity = set->capacity > 0 ? 2 * set->capacity : 1024};
    static const uint8_t none[16];
    larger.slots = bson_malloc0(larger.capacity * sizeof *larger.slots);
    for (size_t i = 0; i < set->capacity; i++) {
        if (memcmp(set->slots[i], none, 16) != 0) {
            memcpy(larger.slots[find(&larger, set->slots[i])], set->slots[i], 16);
        }
    }
    bson_free(set->slots);
    *set = larger;
}

bool archive_set_add(struct archive_set *set, const void *id, size_t length)
{
    uint8_t key[16];
    make_key(id, length, key);
    if (3 * (set->count + 1) > 2 * set->capacity) {
        grow(set);
    }
    size_t at = find(set, key);
    if (memcmp(set->slots[at], key, 16) == 0) {
        return false;
    }
    memcpy(set->slots[at], key, 16);
    set->count++;
    return true;
}

bool archive_set_has(const struct archive_set *set, const void *id, size_t length)
{
    uint8_t key[16];
    make_key(id, length, key);
    return set->capacity > 0 && memcmp(set->slots[find(set, key)], key, 16) == 0;
}

void archive_set_destroy(struct archive_set *set)
{
    bson_free(set->slots);
    *set = (struct archive_set){0};
}
