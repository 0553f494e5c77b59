/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_marks.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BLOCK   64
#define COMPARED 64 /* blocks that are compared before their masks are used */

/* What becomes part of csv_marks' two forms: one for any CPU, one for those with AVX2 and instructions that count bits. */
#define PART static inline __attribute__((always_inline))

/* A bit for each of 64 bytes. */
struct masks {
    uint64_t quotes, delimiters, lines;
};

#if defined(__x86_64__)
PART uint64_t equal_64(const __m128i bytes[4], char c)
{
    const __m128i wanted = _mm_set1_epi8(c);
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++)
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes[i], wanted)) << 16 * i;
    return mask;
}

static void compare(const char *text, size_t count, char delimiter, struct masks *masks)
{
    __m128i bytes[4];
    for (size_t block = 0; block < count; block++, text += BLOCK) {
        for (int i = 0; i < 4; i++)
            bytes[i] = _mm_loadu_si128((const __m128i *)(const void *)(text + 16 * i));
        masks[block] = (struct masks){.quotes = equal_64(bytes, '"'), .delimiters = equal_64(bytes, delimiter),
                                      .lines = equal_64(bytes, '\n')};
    }
}

#define WITH_AVX2 __attribute__((target("avx2,bmi,popcnt")))

WITH_AVX2 PART uint64_t equal_64_avx2(__m256i low, __m256i high, char c)
{
    const __m256i wanted = _mm256_set1_epi8(c);
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)) << 32;
}

WITH_AVX2 static void compare_avx2(const char *text, size_t count, char delimiter, struct masks *masks)
{
    for (size_t block = 0; block < count; block++, text += BLOCK) {
        const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)text);
        const __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(text + 32));
        masks[block] = (struct masks){.quotes = equal_64_avx2(low, high, '"'),
                                      .delimiters = equal_64_avx2(low, high, delimiter),
                                      .lines = equal_64_avx2(low, high, '\n')};
    }
}
#else
static void compare(const char *text, size_t count, char delimiter, struct masks *masks)
{
    for (size_t block = 0; block < count; block++, text += BLOCK) {
        masks[block] = (struct masks){0};
        for (int i = 0; i < BLOCK; i++) {
            masks[block].quotes |= (uint64_t)(text[i] == '"') << i;
            masks[block].delimiters |= (uint64_t)(text[i] == delimiter) << i;
            masks[block].lines |= (uint64_t)(text[i] == '\n') << i;
        }
    }
}
#endif

/* Bit i: the parity of bits 0 … i. */
PART uint64_t parity_before(uint64_t bits)
{
    for (int shift = 1; shift < 64; shift *= 2)
        bits ^= bits << shift;
    return bits;
}

/* What goes from one block to the next. */
struct carry {
    uint64_t inside;       /* all ones: the block begins within quotes */
    uint64_t may_open;     /* 1: a quote as the first byte may open a field, or be one that is doubled */
    uint64_t closed;       /* 1: the byte before was a closing quote */
};

/* Quotes may open only where a field begins or right after a quote (which is doubled then); only a delimiter, a line end or
 * a quote may follow one that closes. The bits of what is against that. */
PART uint64_t find_wrong(const struct masks *masks, uint64_t ends, uint64_t inside, uint64_t returns, struct carry *carry)
{
    const uint64_t opening = masks->quotes & inside, closing = masks->quotes & ~inside;
    const uint64_t starts = ends | closing;
    const uint64_t wrong_open = opening & ~(starts << 1 | carry->may_open);
    const uint64_t wrong_close = (closing << 1 | carry->closed) & ~(ends | masks->quotes | returns);
    carry->may_open = starts >> 63;
    carry->closed = closing >> 63;
    return wrong_open | wrong_close;
}

PART uint64_t find_returns(const char *text)
{
    uint64_t mask = 0;
    for (int i = 0; i < BLOCK; i++)
        mask |= (uint64_t)(text[i] == '\r') << i;
    return mask;
}

/* Eight at a time, whether there are so many or not: entries behind the count are written over. */
PART void put_ends(struct csv_marks *marks, uint64_t ends, uint32_t base)
{
    uint32_t *out = marks->ends + marks->count;
    const size_t count = (size_t)__builtin_popcountll(ends);
    for (size_t done = 0; done < count; done += 8)
        for (size_t i = done; i < done + 8; i++) {
            out[i] = base + (ends ? (uint32_t)__builtin_ctzll(ends) : 0);
            ends &= ends - 1;
        }
    marks->count += count;
}

PART void put_records(struct csv_marks *marks, uint64_t lines, uint64_t ends)
{
    for (; lines; lines &= lines - 1) {
        const uint64_t up_to = (lines & (0 - lines)) | ((lines & (0 - lines)) - 1);
        marks->records[marks->record_count++] = (uint32_t)(marks->count + (size_t)__builtin_popcountll(ends & up_to));
    }
}

/* One block, whose masks hold nothing behind the text's end. */
PART void mark_block(const char *text, size_t at, struct masks masks, struct carry *carry, size_t *last_open,
                     struct csv_marks *marks)
{
    uint64_t ends = masks.delimiters | masks.lines;
    marks->lines += __builtin_popcountll(masks.lines);
    if (masks.quotes | carry->inside | carry->closed) {
        const uint64_t inside = parity_before(masks.quotes) ^ carry->inside;
        ends &= ~inside;
        masks.lines &= ~inside;
        const uint64_t wrong = find_wrong(&masks, ends, inside, find_returns(text + at), carry);
        if (wrong && marks->wrong == SIZE_MAX)
            marks->wrong = at + (size_t)__builtin_ctzll(wrong);
        if (masks.quotes & inside)
            *last_open = at + 63 - (size_t)__builtin_clzll(masks.quotes & inside);
        carry->inside = 0 - (inside >> 63);
    } else {
        carry->may_open = ends >> 63;
    }
    put_records(marks, masks.lines, ends);
    put_ends(marks, ends, (uint32_t)at);
}

PART void mark(const char *text, size_t length, char delimiter, struct csv_marks *marks,
               void (*compare_blocks)(const char *, size_t, char, struct masks *))
{
    struct masks masks[COMPARED];
    struct carry carry = {.may_open = 1};
    size_t last_open = SIZE_MAX;
    marks->count = marks->record_count = 0;
    marks->lines = 0;
    marks->opened = marks->wrong = SIZE_MAX;
    for (size_t from = 0; from < length; from += COMPARED * BLOCK) {
        const size_t left = length - from, count = left < COMPARED * BLOCK ? (left + BLOCK - 1) / BLOCK : COMPARED;
        compare_blocks(text + from, count, delimiter, masks);
        if (count * BLOCK > left) {
            const uint64_t real = (UINT64_C(1) << left % BLOCK) - 1;
            struct masks *last = &masks[count - 1];
            *last = (struct masks){last->quotes & real, last->delimiters & real, last->lines & real};
        }
        for (size_t i = 0; i < count; i++)
            mark_block(text, from + i * BLOCK, masks[i], &carry, &last_open, marks);
    }
    if (carry.inside)
        marks->opened = last_open;
    if (marks->wrong >= length) /* what follows a closing quote that is the last byte is not known yet */
        marks->wrong = SIZE_MAX;
}

static void mark_plainly(const char *text, size_t length, char delimiter, struct csv_marks *marks)
{
    mark(text, length, delimiter, marks, compare);
}

#if defined(__x86_64__)
WITH_AVX2 static void mark_with_avx2(const char *text, size_t length, char delimiter, struct csv_marks *marks)
{
    mark(text, length, delimiter, marks, compare_avx2);
}
#endif

void csv_marks(const char *text, size_t length, char delimiter, struct csv_marks *marks)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt")) {
        mark_with_avx2(text, length, delimiter, marks);
        return;
    }
#endif
    mark_plainly(text, length, delimiter, marks);
}
