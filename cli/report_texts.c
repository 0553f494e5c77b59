/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report_texts.h"

#include <bson/bson.h>
#include <string.h>

struct report_texts {
    char **slots;
    size_t capacity, count; /* capacity is a power of two */
};

uint64_t report_texts_hash(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

struct report_texts *report_texts_new(void)
{
    struct report_texts *texts = bson_malloc0(sizeof *texts);

    texts->capacity = 1024;
    texts->slots = bson_malloc0(texts->capacity * sizeof *texts->slots);
    return texts;
}

void report_texts_free(struct report_texts *texts)
{
    if (texts != NULL) {
        for (size_t i = 0; i < texts->capacity; i++) {
            bson_free(texts->slots[i]);
        }
        bson_free(texts->slots);
        bson_free(texts);
    }
}

/* The slot of a text, or the free one where it belongs. */
static char **find_slot(char **slots, size_t capacity, const char *text)
{
    size_t at = report_texts_hash(REPORT_TEXTS_HASH, text, strlen(text)) & (capacity - 1);

    while (slots[at] != NULL && strcmp(slots[at], text) != 0) {
        at = (at + 1) & (capacity - 1);
    }
    return &slots[at];
}

static void grow(struct report_texts *texts)
{
    size_t capacity = texts->capacity * 2;
    char **slots = bson_malloc0(capacity * sizeof *slots);

    for (size_t i = 0; i < texts->capacity; i++) {
        if (texts->slots[i] != NULL) {
            *find_slot(slots, capacity, texts->slots[i]) = texts->slots[i];
        }
    }
    bson_free(texts->slots);
    texts->slots = slots;
    texts->capacity = capacity;
}

const char *report_texts_keep(struct report_texts *texts, const char *text)
{
    char **slot = find_slot(texts->slots, texts->capacity, text);

    if (*slot == NULL) {
        if (texts->count * 2 >= texts->capacity) {
            grow(texts);
            slot = find_slot(texts->slots, texts->capacity, text);
        }
        *slot = bson_strdup(text);
        texts->count++;
    }
    return *slot;
}
