/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/category_set.h"

#include "distributor/csv_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct category {
    char *name;
    size_t length;
    uint64_t hash;
    int64_t total;
    double number; /* of a numeric set */
    int64_t old;   /* while it is sorted */
};

struct category_set {
    size_t limit, count, capacity, bytes;
    struct category *categories;
    uint32_t *slots; /* (slot_count) number + 1; 0: free */
    size_t slot_count;
    bool numeric;    /* sorted by value: found by value */
};

struct category_set *category_set_new(size_t limit)
{
    struct category_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->limit = limit < CATEGORY_SET_MOST ? limit : CATEGORY_SET_MOST;
    set->slot_count = 64;
    set->slots = calloc(set->slot_count, sizeof *set->slots);
    if (set->slots)
        return set;
    category_set_free(set);
    return NULL;
}

void category_set_free(struct category_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        free(set->categories[i].name);
    free(set->categories);
    free(set->slots);
    free(set);
}

/* Up to seven bytes as a number, without a call: the texts are short. */
static uint64_t few_bytes(const char *text, size_t length)
{
    uint32_t low, high;
    uint16_t first;
    if (length >= 4) {
        memcpy(&low, text, 4);
        memcpy(&high, text + length - 4, 4);
        return (uint64_t)high << 32 | low;
    }
    if (length >= 2) {
        memcpy(&first, text, 2);
        return (uint64_t)(uint8_t)text[length - 1] << 16 | first;
    }
    return length ? (uint8_t)*text : 0;
}

/* FNV-1a, eight bytes a step, and a last mixing. */
static uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ length, word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * UINT64_C(1099511628211);
        hash ^= hash >> 29;
    }
    hash = (hash ^ few_bytes(text, length)) * UINT64_C(1099511628211);
    hash ^= hash >> 32;
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

/* The slot of a text, or the free one where it would go. */
static size_t slot_of(const struct category_set *set, const char *text, size_t length, uint64_t hash)
{
    size_t slot = (hash >> 20) & (set->slot_count - 1);
    for (; set->slots[slot]; slot = (slot + 1) & (set->slot_count - 1)) {
        const struct category *category = &set->categories[set->slots[slot] - 1];
        if (category->hash != hash || category->length != length)
            continue;
        if (length < 8 ? few_bytes(category->name, length) == few_bytes(text, length) : !memcmp(category->name, text, length))
            break;
    }
    return slot;
}

static bool rehash(struct category_set *set, size_t slot_count)
{
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return false;
    free(set->slots);
    set->slots = slots;
    set->slot_count = slot_count;
    for (size_t i = 0; i < set->count; i++) {
        const struct category *category = &set->categories[i];
        set->slots[slot_of(set, category->name, category->length, category->hash)] = (uint32_t)i + 1;
    }
    return true;
}

int64_t category_set_add(struct category_set *set, const char *text, size_t length)
{
    const uint64_t hash = hash_of(text, length);
    size_t slot = slot_of(set, text, length, hash);
    if (set->slots[slot])
        return (int64_t)set->slots[slot] - 1;
    if (set->count == set->limit || set->bytes + length > CATEGORY_SET_BYTES)
        return -1;
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 8;
        struct category *more = realloc(set->categories, capacity * sizeof *more);
        if (!more)
            return -1;
        set->categories = more;
        set->capacity = capacity;
    }
    char *name = malloc(length + 1);
    if (!name)
        return -1;
    memcpy(name, text, length);
    name[length] = '\0';
    set->categories[set->count++] = (struct category){.name = name, .length = length, .hash = hash};
    set->bytes += length;
    set->slots[slot] = (uint32_t)set->count;
    if (set->count * 2 > set->slot_count && !rehash(set, set->slot_count * 2))
        return -1;
    return (int64_t)set->count - 1;
}

static int64_t find_number(const struct category_set *set, double number)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->categories[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->categories[low].number == number ? (int64_t)low : -1;
}

int64_t category_set_find(const struct category_set *set, const char *text, size_t length)
{
    double number;
    if (set->numeric)
        return csv_number(text, length, '.', &number) == CSV_NUMBER_FINITE ? find_number(set, number) : -1;
    const size_t slot = slot_of(set, text, length, hash_of(text, length));
    return (int64_t)set->slots[slot] - 1;
}

size_t category_set_count(const struct category_set *set)
{
    return set->count;
}

const char *category_set_name(const struct category_set *set, size_t i)
{
    return set->categories[i].name;
}

int64_t category_set_total(const struct category_set *set, size_t i)
{
    return set->categories[i].total;
}

void category_set_tally(struct category_set *set, size_t i, int64_t count)
{
    set->categories[i].total += count;
}

int64_t category_set_most(const struct category_set *set)
{
    int64_t best = -1;
    for (size_t i = 0; i < set->count; i++)
        if (best < 0 || set->categories[i].total > set->categories[best].total)
            best = (int64_t)i;
    return best;
}

bool category_set_is_numeric(const struct category_set *set, bool *integers)
{
    bool whole = true;
    for (size_t i = 0; i < set->count; i++) {
        double number;
        if (csv_number(set->categories[i].name, set->categories[i].length, '.', &number) != CSV_NUMBER_FINITE)
            return false;
        whole = whole && number == floor(number);
    }
    if (integers)
        *integers = whole;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct category *left = a, *right = b;
    const size_t length = left->length < right->length ? left->length : right->length;
    int order = memcmp(left->name, right->name, length);
    return order ? order : (left->length > right->length) - (left->length < right->length);
}

static int by_number(const void *a, const void *b)
{
    const struct category *left = a, *right = b;
    return left->number != right->number ? (left->number > right->number) - (left->number < right->number)
                                         : by_name(a, b);
}

static int name_number(struct category *category)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        double back;
        int length = snprintf(text, sizeof text, "%.*g", digits, category->number + 0.0); /* no "-0" */
        if (csv_number(text, (size_t)length, '.', &back) == CSV_NUMBER_FINITE && back == category->number)
            break;
    }
    if (category->number == floor(category->number) && fabs(category->number) < 1e15)
        snprintf(text, sizeof text, "%.0f", category->number + 0.0);
    char *name = strdup(text);
    if (!name)
        return -1;
    free(category->name);
    category->name = name;
    category->length = strlen(name);
    category->hash = hash_of(name, category->length);
    return 0;
}

int category_set_sort(struct category_set *set, bool numeric, int64_t *order)
{
    size_t kept = 0;
    set->numeric = numeric && category_set_is_numeric(set, NULL);
    for (size_t i = 0; i < set->count; i++) {
        set->categories[i].old = (int64_t)i;
        if (set->numeric)
            csv_number(set->categories[i].name, set->categories[i].length, '.', &set->categories[i].number);
    }
    if (set->count > 0)
        qsort(set->categories, set->count, sizeof *set->categories, set->numeric ? by_number : by_name);
    for (size_t i = 0; i < set->count; i++) {
        struct category *category = &set->categories[i];
        const bool same = set->numeric && kept > 0 && set->categories[kept - 1].number == category->number;
        if (order)
            order[category->old] = (int64_t)(same ? kept - 1 : kept);
        if (same) {
            set->categories[kept - 1].total += category->total;
            free(category->name);
        } else {
            set->categories[kept++] = *category;
        }
    }
    set->count = kept;
    for (size_t i = 0; i < set->count && set->numeric; i++)
        if (name_number(&set->categories[i]))
            return -1;
    return rehash(set, set->slot_count) ? 0 : -1;
}
