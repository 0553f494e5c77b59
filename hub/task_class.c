/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/task_class.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_LENGTH 64
#define MEMORY_STEPS 40           /* to 1 PiB */
#define MEMORY_MOST (INT64_C(1) << 20) /* GiB */

static bool is_word(const char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (length < 1 || length > WORD_LENGTH || strchr("_.-", text[0]) != NULL)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0' || strchr(letters, text[i]) == NULL)
            return false;
    return true;
}

bool task_class_is_word(const char *text)
{
    return is_word(text, strlen(text));
}

/* Pieces of a class or of a list of needs, not terminated. */
struct words {
    struct {
        const char *text;
        size_t length;
    } list[TASK_CLASS_NEEDS];
    size_t count;
};

static int compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

/* Keeps the list sorted, each word once. */
static int add(struct words *words, const char *text, size_t length, bson_error_t *error)
{
    size_t at = 0;
    if (!is_word(text, length))
        return hub_error(error, HUB_ERROR_INVALID,
                         "task.requires: \"%.*s\" is no label: 1 to %d letters, digits, '_', '.' and '-', a letter or "
                         "digit first", (int)(length < 100 ? length : 100), text, WORD_LENGTH);
    while (at < words->count && compare(words->list[at].text, words->list[at].length, text, length) < 0)
        at++;
    if (at < words->count && compare(words->list[at].text, words->list[at].length, text, length) == 0)
        return 0;
    if (words->count == TASK_CLASS_NEEDS)
        return hub_error(error, HUB_ERROR_INVALID, "task.requires: at most %d labels", TASK_CLASS_NEEDS);
    memmove(&words->list[at + 1], &words->list[at], (words->count - at) * sizeof words->list[0]);
    words->list[at].text = text;
    words->list[at].length = length;
    words->count++;
    return 0;
}

static int add_needs(struct words *words, const bson_t *needs, bson_error_t *error)
{
    bson_iter_t iter;
    uint32_t length;
    if (needs == NULL || !bson_iter_init(&iter, needs))
        return 0;
    while (bson_iter_next(&iter)) {
        if (!BSON_ITER_HOLDS_UTF8(&iter))
            return hub_error(error, HUB_ERROR_INVALID, "task.requires: it is a list of labels, which are texts");
        const char *text = bson_iter_utf8(&iter, &length);
        if (add(words, text, length, error))
            return -1;
    }
    return 0;
}

int task_class_compose(const char *base, const bson_t *needs, char out[TASK_CLASS_SIZE], bson_error_t *error)
{
    struct words words = {.count = 0};
    size_t first = strcspn(base, "+"), used = first;
    out[0] = '\0';
    if (!is_word(base, first))
        return hub_error(error, HUB_ERROR_INVALID,
                         "task.resource_class: \"%.100s\" is none: 1 to %d letters, digits, '_', '.' and '-', a letter "
                         "or digit first, then '+' and a label for each thing that is needed", base, WORD_LENGTH);
    for (const char *at = base + first; *at == '+';) {
        size_t length = strcspn(at + 1, "+");
        if (add(&words, at + 1, length, error))
            return -1;
        at += 1 + length;
    }
    if (add_needs(&words, needs, error))
        return -1;
    for (size_t i = 0; i < words.count; i++)
        used += 1 + words.list[i].length;
    if (used >= TASK_CLASS_SIZE)
        return hub_error(error, HUB_ERROR_INVALID, "task.requires: the labels are too long: %zu letters in all, at most %d",
                         used, TASK_CLASS_SIZE - 1);
    memcpy(out, base, first);
    used = first;
    for (size_t i = 0; i < words.count; i++) {
        out[used++] = '+';
        memcpy(out + used, words.list[i].text, words.list[i].length);
        used += words.list[i].length;
    }
    out[used] = '\0';
    return 1;
}

static bool has_label(const char *const *labels, const char *text, size_t length)
{
    for (size_t i = 0; labels != NULL && labels[i] != NULL; i++)
        if (strlen(labels[i]) == length && memcmp(labels[i], text, length) == 0)
            return true;
    return false;
}

/* ---- memory ---- */

/* 1 and then 2, 3, 4, 6, 8, 12, … GiB: few enough to be asked for one by one, and no more than half is given away. */
int64_t task_class_memory_step(size_t index)
{
    int64_t gib = index == 0 ? 1 : index < MEMORY_STEPS ? (int64_t)(2 + (index - 1) % 2) << (index - 1) / 2 : 0;
    return gib << 30;
}

void task_class_memory(int64_t bytes, char out[TASK_CLASS_MEMORY_SIZE])
{
    size_t index = 0;
    out[0] = '\0';
    if (bytes <= TASK_CLASS_MEMORY_FREE)
        return;
    while (index + 1 < MEMORY_STEPS && task_class_memory_step(index) < bytes)
        index++;
    snprintf(out, TASK_CLASS_MEMORY_SIZE, "mem%" PRId64 "g", task_class_memory_step(index) >> 30);
}

int64_t task_class_memory_of(const char *label, size_t length)
{
    int64_t gib = 0;
    if (length < 5 || length > 12 || memcmp(label, "mem", 3) != 0 || label[length - 1] != 'g')
        return -1;
    for (size_t i = 3; i + 1 < length; i++) {
        if (label[i] < '0' || label[i] > '9')
            return -1;
        gib = gib * 10 + (label[i] - '0');
    }
    return gib > 0 && gib <= MEMORY_MOST ? gib << 30 : -1;
}

int64_t task_class_memory_needed(const char *full)
{
    int64_t most = 0;
    size_t length = strcspn(full, "+");
    for (const char *at = full + length; *at == '+'; at += 1 + length) {
        length = strcspn(at + 1, "+");
        int64_t bytes = task_class_memory_of(at + 1, length);
        most = bytes > most ? bytes : most;
    }
    return most;
}

bool task_class_fits(const char *full, const char *base, const char *const *labels, int64_t memory)
{
    size_t length = strcspn(full, "+");
    if (strlen(base) != length || memcmp(full, base, length) != 0)
        return false;
    for (const char *at = full + length; *at == '+'; at += 1 + length) {
        length = strcspn(at + 1, "+");
        int64_t bytes = task_class_memory_of(at + 1, length);
        if (!has_label(labels, at + 1, length) && !(bytes > 0 && bytes <= memory))
            return false;
    }
    return true;
}

bool task_class_serves(const char *full, const char *base, const char *const *labels)
{
    return task_class_fits(full, base, labels, 0);
}
