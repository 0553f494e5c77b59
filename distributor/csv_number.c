/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_number.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define EXACT_POWERS 22 /* 10^22 is the last power of ten that a double holds exactly */
#define WORD_POWERS  19 /* 10^19 the last below 2^64 */
#define TEXT_BYTES   128

__extension__ typedef unsigned __int128 wide; /* named, since a compiler that is pedantic knows no such type */

static const double exact_powers[EXACT_POWERS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const uint64_t word_powers[WORD_POWERS + 1] = {1u,
                                                      10u,
                                                      100u,
                                                      1000u,
                                                      10000u,
                                                      100000u,
                                                      1000000u,
                                                      10000000u,
                                                      100000000u,
                                                      1000000000u,
                                                      10000000000u,
                                                      100000000000u,
                                                      1000000000000u,
                                                      10000000000000u,
                                                      100000000000000u,
                                                      1000000000000000u,
                                                      10000000000000000u,
                                                      100000000000000000u,
                                                      1000000000000000000u,
                                                      10000000000000000000u};

/* (2^127 - 1) / d, where d is 10^n with its first bit moved to the top. */
#define RECIPROCAL(power) (uint64_t)((((wide)1 << 127) - 1) / ((wide)(power) << __builtin_clzll(power)))
static const uint64_t reciprocals[WORD_POWERS + 1] = {
    RECIPROCAL(1u),
    RECIPROCAL(10u),
    RECIPROCAL(100u),
    RECIPROCAL(1000u),
    RECIPROCAL(10000u),
    RECIPROCAL(100000u),
    RECIPROCAL(1000000u),
    RECIPROCAL(10000000u),
    RECIPROCAL(100000000u),
    RECIPROCAL(1000000000u),
    RECIPROCAL(10000000000u),
    RECIPROCAL(100000000000u),
    RECIPROCAL(1000000000000u),
    RECIPROCAL(10000000000000u),
    RECIPROCAL(100000000000000u),
    RECIPROCAL(1000000000000000u),
    RECIPROCAL(10000000000000000u),
    RECIPROCAL(100000000000000000u),
    RECIPROCAL(1000000000000000000u),
    RECIPROCAL(10000000000000000000u)};

static bool digit(char c)
{
    return (unsigned)(c - '0') < 10;
}

/* ---- the slow way ---- */

static locale_t c_locale;

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static double by_strtod(const char *text, size_t length, char point)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char small[TEXT_BYTES], *copy = length < sizeof small ? small : malloc(length + 1);
    double value = NAN;
    pthread_once(&once, make_locale);
    if (!copy)
        return value;
    memcpy(copy, text, length);
    copy[length] = '\0';
    for (size_t i = 0; i < length && point != '.'; i++)
        if (copy[i] == point)
            copy[i] = '.';
    value = c_locale ? strtod_l(copy, NULL, c_locale) : strtod(copy, NULL);
    if (copy != small)
        free(copy);
    return value;
}

/* ---- the fast ways ---- */

/* quotient × 2^exponent / 2^63 to the nearest double; `more` says that the true quotient is larger, by less than one. Whether
 * anything was cut off decides ties, so that one rounding is made and that one right. */
static double round_quotient(uint64_t quotient, bool more, int exponent)
{
    const int cut = 64 - __builtin_clzll(quotient) - 53;
    const uint64_t half = UINT64_C(1) << (cut - 1), rest = quotient & ((half << 1) - 1);
    quotient >>= cut;
    quotient += (uint64_t)(rest > half) | ((uint64_t)(rest == half) & ((uint64_t)more | (quotient & 1))); /* no branch */
    const uint64_t power = (uint64_t)(1023 + cut - 63 + exponent) << 52; /* 2^n, far from both ends of the range */
    double scale;
    memcpy(&scale, &power, sizeof scale);
    return (double)quotient * scale;
}

/* word / 10^decimals, correctly rounded; word is not 0. Multiplied by the divisor's reciprocal, cut to 64 bits, the quotient
 * is at most two too small; only where that reaches a tie is it divided. */
static double divide(uint64_t word, int decimals)
{
    const uint64_t divisor = word_powers[decimals];
    const int up = __builtin_clzll(word), down = __builtin_clzll(divisor);
    const uint64_t whole = word << up;
    uint64_t quotient = (uint64_t)((wide)whole * reciprocals[decimals] >> 64); /* 63 or 64 bits */
    const uint64_t half = UINT64_C(1) << (64 - __builtin_clzll(quotient) - 53 - 1);
    bool more = true;
    if ((quotient & ((half << 1) - 1)) - (half - 2) <= 2) {
        const wide numerator = (wide)whole << 63;
        quotient = (uint64_t)(numerator / (divisor << down));
        more = (uint64_t)numerator != quotient * (divisor << down); /* the remainder is below 2^64: its low half says all */
    }
    return round_quotient(quotient, more, down - up);
}

/* Up to eight digits at once: those of a little-endian word whose first digit is its lowest byte (Lemire 2018, "Quickly
 * parsing eight digits"). */
static bool eight_digits(const char *text, uint32_t *value)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    if ((((word + UINT64_C(0x4646464646464646)) | (word - UINT64_C(0x3030303030303030))) & UINT64_C(0x8080808080808080)) != 0)
        return false;
    word -= UINT64_C(0x3030303030303030);
    word = word * 10 + (word >> 8);
    *value = (uint32_t)(((word & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
                         ((word >> 16) & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001)) >> 32);
    return true;
}

/* The digits at text go into *word while it has room for them (19 in all); returns where they end. */
static const char *read_digits(const char *text, const char *end, uint64_t *word)
{
    uint32_t eight;
    while (end - text >= 8 && eight_digits(text, &eight)) {
        *word = *word * 100000000u + eight;
        text += 8;
    }
    for (; text < end && digit(*text); text++)
        *word = *word * 10 + (uint64_t)(*text - '0');
    return text;
}

static bool named_infinity(const char *text, size_t length)
{
    return (length == 3 && !strncasecmp(text, "inf", 3)) || (length == 8 && !strncasecmp(text, "infinity", 8));
}

/* The exponent after e, or -1 where it is none. Far values stay far. */
static int read_exponent(const char *text, const char *end, int *exponent)
{
    bool minus = false;
    int value = 0;
    if (text < end && (*text == '-' || *text == '+'))
        minus = *text++ == '-';
    if (text == end)
        return -1;
    for (; text < end; text++) {
        if (!digit(*text))
            return -1;
        value = value < 100000 ? value * 10 + (*text - '0') : value;
    }
    *exponent = minus ? -value : value;
    return 0;
}

enum csv_number csv_number(const char *text, size_t length, char point, double *value)
{
    const char *at = text, *const end = text + length;
    const bool minus = length > 0 && *text == '-';
    uint64_t word = 0;
    int exponent = 0;
    at += length > 0 && (*text == '-' || *text == '+');
    const char *const first = at;
    at = read_digits(at, end, &word);
    ptrdiff_t digits = at - first, decimals = 0;
    if (at < end && *at == point) {
        const char *const after = ++at;
        at = read_digits(at, end, &word);
        decimals = at - after;
        digits += decimals;
    }
    if (digits == 0) {
        if (!named_infinity(first, (size_t)(end - first)))
            return CSV_NUMBER_NONE;
        *value = minus ? -INFINITY : INFINITY;
        return CSV_NUMBER_INFINITE;
    }
    if (at < end && ((*at | 0x20) != 'e' || read_exponent(at + 1, end, &exponent)))
        return CSV_NUMBER_NONE;
    const int64_t scale = (int64_t)exponent - decimals;
    if (digits <= WORD_POWERS && scale >= -EXACT_POWERS && scale <= EXACT_POWERS && word <= UINT64_C(1) << 53)
        *value = scale < 0 ? (double)word / exact_powers[-scale] : (double)word * exact_powers[scale];
    else if (digits <= WORD_POWERS && word != 0 && scale >= -WORD_POWERS && scale <= 0)
        *value = divide(word, (int)-scale);
    else {
        *value = by_strtod(text, length, point);
        return isnan(*value) ? CSV_NUMBER_NONE : isinf(*value) ? CSV_NUMBER_INFINITE : CSV_NUMBER_FINITE;
    }
    *value = minus ? -*value : *value;
    return CSV_NUMBER_FINITE;
}

/* ---- sixteen digits at a time ---- */

#if defined(__SSE2__)
#define BLOCK      16
#define CHARACTERS 31                /* of two blocks, with one left for what a point leaves free */
#define SIXTEEN    10000000000000000u /* 10^16 */
#define HIGH_MOST  1843u             /* × 10^16, and 16 digits more, stay below 2^64 */

/* From byte n on: 32 bytes whose last n are ones. */
static const uint8_t last_bytes[4 * BLOCK] = {
    [2 * BLOCK] = 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255,               255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

static __m128i load(const void *bytes)
{
    return _mm_loadu_si128(bytes);
}

/* Sixteen characters less '0', and 0 where they are not wanted. */
static __m128i load_digits(const char *characters, const uint8_t *wanted)
{
    return _mm_and_si128(_mm_sub_epi8(load(characters), _mm_set1_epi8('0')), load(wanted));
}

/* A bit for each byte that is above 9. */
static unsigned above_nine(__m128i digits)
{
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits)) ^ 0xffffu;
}

static __m128i choose(const uint8_t *mask, __m128i yes, __m128i no)
{
    return _mm_or_si128(_mm_and_si128(load(mask), yes), _mm_andnot_si128(load(mask), no));
}

/* Sixteen digits, the first in the lowest byte: neighbours are joined to pairs, fours, eights. */
static uint64_t join_digits(__m128i digits)
{
    const __m128i pairs = _mm_add_epi16(_mm_mullo_epi16(_mm_and_si128(digits, _mm_set1_epi16(255)), _mm_set1_epi16(10)),
                                        _mm_srli_epi16(digits, 8));
    const __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(1 << 16 | 100));
    const __m128i eights = _mm_madd_epi16(_mm_packs_epi32(fours, fours), _mm_set1_epi32(1 << 16 | 10000));
    const uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (both & 0xffffffffu) * 100000000u + (both >> 32);
}

static enum csv_number put_sign(double magnitude, uint64_t minus, double *value)
{
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    bits |= minus << 63;
    memcpy(value, &bits, sizeof bits);
    return CSV_NUMBER_FINITE;
}

/* Of 1 to 31 characters behind the sign. What stands before a point moves over it by one. */
__attribute__((noinline)) static enum csv_number read_two_blocks(const char *text, size_t length, uint64_t minus, char point, double *value)
{
    const char *end = text + length;
    const size_t n = length - minus;
    const uint8_t *all = last_bytes + n;
    __m128i low = load_digits(end - BLOCK, all + BLOCK), high = load_digits(end - 2 * BLOCK, all);
    const unsigned others = above_nine(low) << BLOCK | above_nine(high);
    int decimals = 0;
    if (others) {
        const int at = __builtin_ctz(others);
        const uint8_t *behind = last_bytes + 31 - at;
        if ((others & (others - 1)) || n == 1 || end[at - 2 * BLOCK] != point)
            return csv_number(text, length, point, value);
        decimals = 31 - at;
        low = choose(behind + BLOCK, low, load_digits(end - BLOCK - 1, all - 1 + BLOCK));
        high = choose(behind, high, load_digits(end - 2 * BLOCK - 1, all - 1));
    }
    const uint64_t above = join_digits(high), word = join_digits(low) + above * SIXTEEN;
    if (above <= HIGH_MOST && decimals <= WORD_POWERS && word > 0)
        return put_sign(divide(word, decimals), minus, value); /* where one division would do, too: nobody foresees that */
    return csv_number(text, length, point, value);
}

/* Up to 16 characters, of which one is a point, are most of what tables hold: they are read here, and all else elsewhere. */
enum csv_number csv_number_within(const char *text, size_t length, char point, double *value)
{
    const uint64_t minus = length > 0 && *text == '-';
    const char *end = text + length;
    const size_t n = length - minus;
    if (n - 2 <= BLOCK - 2) {
        const uint8_t *all = last_bytes + BLOCK + n;
        const __m128i digits = load_digits(end - BLOCK, all);
        const unsigned others = above_nine(digits);
        const int at = __builtin_ctz(others | 1u << BLOCK);
        if (others && !(others & (others - 1)) && end[at - BLOCK] == point) {
            const uint64_t word =
                join_digits(choose(last_bytes + 2 * BLOCK - 1 - at, digits, load_digits(end - BLOCK - 1, all - 1)));
            return put_sign((double)(int64_t)word / exact_powers[BLOCK - 1 - at], minus, value);
        }
    }
    return n - 1 < CHARACTERS ? read_two_blocks(text, length, minus, point, value) : csv_number(text, length, point, value);
}
#else
enum csv_number csv_number_within(const char *text, size_t length, char point, double *value)
{
    return csv_number(text, length, point, value);
}
#endif
