/* SPDX-License-Identifier: Apache-2.0 */
/* Keyword search: documents carry the words of their name, description and tags; a search is {words: {$all: […]}}. */
#include "hub/hub.h"

#include <string.h>

#define MAX_WORDS 64
#define MAX_WORD_BYTES 64

struct words {
    char words[MAX_WORDS][MAX_WORD_BYTES + 1];
    size_t count;
};

/* ASCII letters and digits, and every byte of a longer UTF-8 sequence. */
static bool in_word(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

static void add_word(struct words *words, const char *text, size_t length)
{
    char word[MAX_WORD_BYTES + 1];
    if (length > MAX_WORD_BYTES) {
        length = MAX_WORD_BYTES;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
            length--; /* no half character */
        }
    }
    for (size_t i = 0; i < length; i++) {
        word[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
    }
    word[length] = '\0';
    for (size_t i = 0; i < words->count; i++) {
        if (strcmp(words->words[i], word) == 0) {
            return;
        }
    }
    if (words->count < MAX_WORDS && length > 0) {
        memcpy(words->words[words->count++], word, length + 1);
    }
}

static void add_text(struct words *words, const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t length = 0;
        while (in_word((unsigned char)text[length])) {
            length++;
        }
        if (length > 0) {
            add_word(words, text, length);
        }
        text += length > 0 ? length : 1;
    }
}

static bool append_array(const struct words *words, bson_t *array)
{
    for (size_t i = 0; i < words->count; i++) {
        char key[16];
        const char *name;
        size_t length = bson_uint32_to_string((uint32_t)i, &name, key, sizeof key);
        if (!bson_append_utf8(array, name, (int)length, words->words[i], -1)) {
            return false;
        }
    }
    return true;
}

int hub_split_words(const char *text, bson_t *array)
{
    struct words words = {.count = 0};
    bson_init(array);
    add_text(&words, text);
    return append_array(&words, array) ? (int)words.count : -1;
}

int hub_append_words(bson_t *document, const char *name, const char *description, const bson_t *tags)
{
    struct words words = {.count = 0};
    bson_t array;
    bson_iter_t iter;
    add_text(&words, name);
    if (tags != NULL && bson_iter_init(&iter, tags)) {
        while (bson_iter_next(&iter)) {
            if (BSON_ITER_HOLDS_UTF8(&iter)) {
                add_text(&words, bson_iter_utf8(&iter, NULL));
            }
        }
    }
    add_text(&words, description);
    if (!BSON_APPEND_ARRAY_BEGIN(document, "words", &array)) {
        return -1;
    }
    bool good = append_array(&words, &array);
    return bson_append_array_end(document, &array) && good ? 1 : -1;
}
