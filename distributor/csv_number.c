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

/* word / 10^decimals, correctly rounded; word is not 0. The quotient has at least 63 bits, of which 53 stay; whether
 * anything was cut off decides ties, so that one rounding is made and that one right. */
static double divide(uint64_t word, int decimals)
{
    const uint64_t divisor = word_powers[decimals];
    const int up = __builtin_clzll(word), down = __builtin_clzll(divisor);
    const wide numerator = (wide)(word << up) << 63;
    const uint64_t whole = divisor << down;
    uint64_t quotient = (uint64_t)(numerator / whole);
    const bool more = (uint64_t)numerator != quotient * whole; /* the remainder is below 2^64: its low half says all */
    const int bits = 64 - __builtin_clzll(quotient), cut = bits - 53;
    const uint64_t half = UINT64_C(1) << (cut - 1), rest = quotient & ((half << 1) - 1);
    quotient >>= cut;
    quotient += rest > half || (rest == half && (more || (quotient & 1)));
    const uint64_t power = (uint64_t)(1023 + cut - 63 - up + down) << 52; /* 2^n, far from both ends of the range */
    double scale;
    memcpy(&scale, &power, sizeof scale);
    return (double)quotient * scale;
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
