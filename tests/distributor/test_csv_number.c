/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_number.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* xorshift64*: texts to try, the same in every run. */
static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717);
}

/* By both ways in; what stands before the text is digits, points and signs, which must not matter. */
static enum csv_number read_number(const char *text, size_t length, char point, double *value)
{
    static const char before[] = "9.-+,";
    char copy[CSV_NUMBER_MARGIN + 256];
    double within = 0;
    for (size_t i = 0; i < CSV_NUMBER_MARGIN; i++)
        copy[i] = before[next() % (sizeof before - 1)];
    memcpy(copy + CSV_NUMBER_MARGIN, text, length);
    const enum csv_number found = csv_number(text, length, point, value);
    cr_assert_eq(csv_number_within(copy + CSV_NUMBER_MARGIN, length, point, &within), found, "%.*s", (int)length, text);
    cr_assert(found == CSV_NUMBER_NONE || memcmp(value, &within, sizeof within) == 0, "%.*s is %.17g, not %.17g", (int)length,
              text, within, *value);
    return found;
}

static void expect_as_strtod(const char *text)
{
    double ours = 0, theirs = strtod(text, NULL);
    cr_assert_neq(read_number(text, strlen(text), '.', &ours), CSV_NUMBER_NONE, "%s is refused", text);
    cr_assert(memcmp(&ours, &theirs, sizeof ours) == 0, "%s is %.17g, not %.17g", text, ours, theirs);
}

Test(csv_number, texts_round_as_strtod_rounds_them)
{
    static const char *const texts[] = {
        "0", "-0", "+1", "1.", ".5", "-.5e3", "1e22", "1e23", "9007199254740993", "9007199254740992.5", "0.1", "1e-400",
        "4.9406564584124654e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "123456789012345678901234567890",
        "0.000000000000000000000000000000000000001", "18446744073709551615", "1844674407370955161.6", "18446744073709551616",
        "0000000000000000000000000000000001.5", "9999999999999999999", "0.9999999999999999999", "5e-1", "1E5", "1e+5",
        "1234567890123456", "12345678901234567", "-123456789012345.6", ".1234567890123456", "0.12345678901234567", "16384.",
        "0000000000000000000000000000012", "-00000000000000000000000000000.5", "0.00012345678901234567890123456",
        "18439999999999999999", "18440000000000000000", "1843999999999999.9999", "-0.0000000000000000000000000000"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_as_strtod(texts[i]);
}

/* From no digit before the point to none behind it, in texts of 1 to 31 characters. */
Test(csv_number, every_place_of_the_point_is_as_good)
{
    char text[40];
    for (int digits = 1; digits <= 30; digits++)
        for (int point = 0; point <= digits; point++)
            for (int round = 0; round < 20; round++) {
                int length = 0;
                for (int i = 0; i <= digits; i++) {
                    if (i == point)
                        text[length++] = '.';
                    if (i < digits)
                        text[length++] = (char)('0' + next() % 10);
                }
                text[length] = '\0';
                expect_as_strtod(text);
            }
}

Test(csv_number, random_numbers_of_every_length_round_as_strtod_rounds_them)
{
    char text[80];
    for (int i = 0; i < 400000; i++) {
        const uint64_t bits = next();
        double value;
        memcpy(&value, &bits, sizeof value);
        if (i % 4 == 0 && isfinite(value))
            snprintf(text, sizeof text, "%.17g", value);
        else if (i % 4 == 1)
            snprintf(text, sizeof text, "%.*f", (int)(bits % 20), (double)(bits >> 11) / 9007199254740992.0);
        else if (i % 4 == 2)
            snprintf(text, sizeof text, "%llu.%llu", (unsigned long long)(bits % 1000), (unsigned long long)(next() >> (bits >> 58)));
        else /* half way between two doubles: the remainder decides */
            snprintf(text, sizeof text, "%llu.5", (unsigned long long)((bits >> 11 | UINT64_C(1) << 52) % (UINT64_C(1) << 53)));
        expect_as_strtod(text);
    }
}

Test(csv_number, what_is_no_number_is_none)
{
    static const char *const texts[] = {"", "-", "+", ".", "e5", "1e", "1e+", "1x", "0x10", " 1", "1 ", "1,5", "1.2.3", "--1",
                                        "nan", "in", "infinit", "1e5.0", "12345678x", "123456789 ", "-.",
                                        "1.23456789012345.6", "1234567890123456x", "x2345678901234567", "1/", "1:", "123456789012345-7"};
    double value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_expect_eq(read_number(texts[i], strlen(texts[i]), '.', &value), CSV_NUMBER_NONE, "\"%s\" is taken", texts[i]);
}

Test(csv_number, what_no_double_holds_is_infinite)
{
    double value;
    cr_expect_eq(read_number("1e999", 5, '.', &value), CSV_NUMBER_INFINITE);
    cr_expect_eq(read_number("-Inf", 4, '.', &value), CSV_NUMBER_INFINITE);
    cr_expect_eq(read_number("infinity", 8, '.', &value), CSV_NUMBER_INFINITE);
}

Test(csv_number, a_decimal_comma_is_taken_where_it_is_the_point)
{
    double value = 0;
    cr_expect_eq(read_number("3,25", 4, ',', &value), CSV_NUMBER_FINITE);
    cr_expect_eq(value, 3.25);
    cr_expect_eq(read_number("123456789012345678901234,5", 26, ',', &value), CSV_NUMBER_FINITE);
    cr_expect_eq(value, 123456789012345678901234.5);
    cr_expect_eq(read_number("3.25", 4, ',', &value), CSV_NUMBER_NONE);
}
