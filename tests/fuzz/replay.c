/* SPDX-License-Identifier: Apache-2.0 */
/* Without libFuzzer: runs a target over the files of a folder, then over changed copies of them (bytes flipped, cut,
 * doubled, joined with another's), from a fixed seed, so that every run tries the same inputs.
 * usage: fuzz_NAME FOLDER [ROUNDS] */

#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>

#define INPUTS 256
#define INPUT_BYTES ((size_t)1 << 16)

struct input {
    uint8_t *data;
    size_t size;
};

static int compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int load(const char *folder, struct input inputs[INPUTS])
{
    struct dirent **entries = NULL;
    int found = scandir(folder, &entries, is_visible, compare), count = 0;
    for (int i = 0; i < found; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        FILE *file = count < INPUTS ? fopen(path, "rb") : NULL;
        if (file != NULL) {
            inputs[count].data = malloc(INPUT_BYTES);
            FUZZ_REQUIRE(inputs[count].data != NULL);
            inputs[count].size = fread(inputs[count].data, 1, INPUT_BYTES, file);
            count++;
            fclose(file);
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

static uint64_t state = 20;

static size_t below(size_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return limit > 0 ? (size_t)(state % limit) : 0;
}

/* Runs the target on a copy of exactly this size, so that a sanitizer sees the first byte read past it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t change(uint8_t *buffer, size_t size, const struct input *other)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '}', '[', ']', ':', ',', '$', '.', '-', '9', '\n'};
    size_t at = below(size);
    switch (below(6)) {
    case 0:
        if (size > 0)
            buffer[at] ^= (uint8_t)(1u << below(8));
        return size;
    case 1:
        if (size > 0)
            buffer[at] = telling[below(sizeof telling)];
        return size;
    case 2:
        return at;
    case 3: { /* leave some bytes out */
        size_t length = below(size - at < 16 ? size - at : 16);
        memmove(buffer + at, buffer + at + length, size - at - length);
        return size - length;
    }
    case 4: { /* double some bytes */
        size_t length = below(size - at);
        if (size + length > INPUT_BYTES)
            return size;
        memmove(buffer + at + length, buffer + at, size - at);
        return size + length;
    }
    default: { /* go on as another input does */
        size_t from = below(other->size), length = other->size - from;
        if (length > INPUT_BYTES - at)
            length = INPUT_BYTES - at;
        memcpy(buffer + at, other->data + from, length);
        return at + length;
    }
    }
}

int main(int argc, char **argv)
{
    struct input inputs[INPUTS];
    int count = argc > 1 ? load(argv[1], inputs) : 0;
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 20000;
    if (count == 0) {
        fprintf(stderr, "usage: %s FOLDER [ROUNDS]; the folder must hold inputs\n", argv[0]);
        return 2;
    }
    run((const uint8_t *)"", 0);
    for (int i = 0; i < count; i++)
        run(inputs[i].data, inputs[i].size);
    uint8_t *buffer = malloc(INPUT_BYTES);
    FUZZ_REQUIRE(buffer != NULL);
    for (long round = 0; round < rounds; round++) {
        const struct input *input = &inputs[below((size_t)count)];
        size_t size = input->size;
        memcpy(buffer, input->data, size);
        for (size_t changes = 1 + below(4); changes > 0; changes--)
            size = change(buffer, size, &inputs[below((size_t)count)]);
        run(buffer, size);
    }
    free(buffer);
    for (int i = 0; i < count; i++)
        free(inputs[i].data);
    printf("%d inputs and %ld changed ones\n", count, rounds);
    return 0;
}
