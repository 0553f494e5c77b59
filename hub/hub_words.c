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

/* The small letter of a capital one of Latin, Greek or Cyrillic script: all are of two bytes, and so are the small ones.
 * The same on every machine, whatever its locale. */
static unsigned fold(unsigned c)
{
    if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3ab) || (c >= 0x410 && c <= 0x42f)) {
        return c + 0x20;
    }
    if (c >= 0x400 && c <= 0x40f) {
        return c + 0x50;
    }
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) { /* the capital ones are odd */
        return c + (c & 1);
    }
    if ((c >= 0x100 && c <= 0x12f) || (c >= 0x132 && c <= 0x137) || (c >= 0x14a && c <= 0x177) ||
        (c >= 0x460 && c <= 0x481) || (c >= 0x48a && c <= 0x4bf) || (c >= 0x4d0 && c <= 0x52f)) { /* even */
        return c | 1;
    }
    switch (c) {
    case 0x178: return 0xff;
    case 0x386: return 0x3ac;
    case 0x388:
    case 0x389:
    case 0x38a: return c + 0x25;
    case 0x38c: return 0x3cc;
    case 0x38e:
    case 0x38f: return c + 0x3f;
    case 0x3c2: return 0x3c3; /* the sigma at a word's end */
    default: return c;
    }
}

/* Letters of one and of two bytes, in place. */
static void fold_word(char *word, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)word[i];
        if (c >= 'A' && c <= 'Z') {
            word[i] = (char)(c - 'A' + 'a');
        } else if (c >= 0xc3 && c <= 0xdf && i + 1 < length && ((unsigned char)word[i + 1] & 0xc0) == 0x80) {
            unsigned folded = fold((c & 0x1fu) << 6 | ((unsigned char)word[i + 1] & 0x3fu));
            word[i] = (char)(0xc0 | folded >> 6);
            word[++i] = (char)(0x80 | (folded & 0x3f));
        }
    }
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
    memcpy(word, text, length);
    fold_word(word, length);
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
