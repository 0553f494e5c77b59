/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/text.h"

#include <criterion/criterion.h>
#include <math.h>

/* Read and written again. */
static void expect_same(const char *text, const char *written)
{
    bson_t document;
    bson_error_t error;
    cr_assert(json_read_document(text, strlen(text), &document, &error) > 0, "%s: %s", text, error.message);
    bson_string_t *out = bson_string_new(NULL);
    json_append_document(out, &document);
    cr_expect_str_eq(out->str, written);
    bson_string_free(out, true);
    bson_destroy(&document);
}

static void expect_refusal(const char *text, const char *message)
{
    bson_t document;
    bson_error_t error = {0};
    cr_expect(json_read_document(text, strlen(text), &document, &error) < 0, "'%s' was taken", text);
    cr_expect(strstr(error.message, message) != NULL, "'%s' says '%s', not '%s'", text, error.message, message);
    bson_destroy(&document);
}

Test(json, reads_and_writes)
{
    expect_same("{}", "{}");
    expect_same(" { \"a\" : [ 1 , 2.5, -3e2 , true,null ] } ", "{\"a\": [1, 2.5, -300.0, true, null]}");
    expect_same("{\"a\": 9223372036854775807}", "{\"a\": 9223372036854775807}");
    expect_same("{\"a\": \"\\u00e9\\ud83d\\ude00\\n\\\"\"}", "{\"a\": \"é😀\\n\\\"\"}");
    expect_same("{\"a\": {\"$date\": \"2026-11-21\"}}", "{\"a\": \"2026-11-21T00:00:00.000Z\"}");
    expect_same("{\"a\": {\"$date\": -1}}", "{\"a\": \"1969-12-31T23:59:59.999Z\"}");
    expect_same("{\"a\": {\"$oid\": \"0123456789abcdef01234567\"}}", "{\"a\": \"0123456789abcdef01234567\"}");
}

Test(json, operators_stay_keys)
{
    expect_same("{\"name\": {\"$regex\": \"^a\"}}", "{\"name\": {\"$regex\": \"^a\"}}");
    expect_same("{\"$where\": \"1\"}", "{\"$where\": \"1\"}");
    expect_same("{\"a\": {\"$date\": 1, \"$gt\": 2}}", "{\"a\": {\"$date\": 1, \"$gt\": 2}}");
}

Test(json, refuses_what_is_not_json)
{
    expect_refusal("", "expected an object");
    expect_refusal("[1]", "expected an object");
    expect_refusal("{\"a\": 1", "it ends there");
    expect_refusal("{\"a\" 1}", "expected ':'");
    expect_refusal("{\"a\": 1} x", "nothing may follow");
    expect_refusal("{\"a\": 1, \"a\": 2}", "twice");
    expect_refusal("{\"a\": 01}", "not a number");
    expect_refusal("{\"a\": +1}", "not a number");
    expect_refusal("{\"a\": 1e999}", "beyond the range");
    expect_refusal("{\"a\": 99999999999999999999}", "beyond 64 bits");
    expect_refusal("{\"a\": nan}", "expected a value");
    expect_refusal("{\"a\": \"\\u0000\"}", "\\u0000");
    expect_refusal("{\"a\": \"\\ud800\"}", "surrogate");
    expect_refusal("{\"a\": \"\\q\"}", "unknown escape");
    expect_refusal("{\"a\": \"\n\"}", "control character");
    expect_refusal("{\"a\": \"\xff\"}", "UTF-8");
    expect_refusal("{a: 1}", "double quotes");
    expect_refusal("{\"a\": {\"$oid\": \"xyz\"}}", "$oid");
}

Test(json, nesting_is_bounded)
{
    bson_string_t *text = bson_string_new("{\"a\": ");
    for (int i = 0; i < 5000; i++) {
        bson_string_append(text, "[");
    }
    expect_refusal(text->str, "deeper than 100");
    bson_string_free(text, true);
}

Test(json, what_a_terminal_would_obey_is_escaped)
{
    bson_string_t *out = bson_string_new(NULL);
    static const char bad[] = "\x1b[2J\x07\xc2\x9b\x7f\xff.";
    json_append_string(out, bad, sizeof bad - 1);
    cr_expect_str_eq(out->str, "\"\\u001b[2J\\u0007\\u009b\\u007f\\ufffd.\"");
    bson_string_truncate(out, 0);
    static const char names[] = "a\x1b[31m\n\xe2\x80\xae\xff é";
    text_append_escaped(out, names, sizeof names - 1);
    cr_expect_str_eq(out->str, "a\\x1b[31m\\n\\u202e\\xff é");
    bson_string_free(out, true);
}

static void expect_shortest(double value)
{
    char text[32], expected[64];
    text_format_double(value, text);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(expected, sizeof expected, "%.*g", digits, value);
        if (strtod(expected, NULL) == value) {
            break;
        }
    }
    if (fabs(value) < 1e15 && value == floor(value)) {
        snprintf(expected, sizeof expected, "%.0f", value);
    }
    if (strpbrk(expected, ".e") == NULL) {
        strcat(expected, ".0");
    }
    cr_assert_str_eq(text, expected, "%.20g", value);
}

Test(json, doubles_are_as_short_as_printf_can_say_them)
{
    static const double values[] = {0.1,    0.001,  9.5e-5, 1e-6,   1e-5,  123.456, 9.999999999999999, 0.30000000000000004, 1e22,
                                    100.5,  -2.5e-7, 1e15,   1e16,  0.0,   -0.0,    4503599627370495.5, 5e-324, 9007199254740993.0,
                                    2.5,    0.5,    0.25,   0.0625, 99.99, 1.0,     0.00012345678901234567, 1e-4, 8.5e-4};
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        expect_shortest(values[i]);
        expect_shortest(-values[i]);
        expect_shortest(nextafter(values[i], 1e300));
        expect_shortest(nextafter(values[i], -1e300));
    }
    for (int power = -22; power <= 53; power++) { /* below a power of two doubles lie closer than above it */
        expect_shortest(ldexp(1, power));
        expect_shortest(nextafter(ldexp(1, power), 0));
        expect_shortest(nextafter(ldexp(1, power), 1e300));
    }
    for (int i = 0; i < 40000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double any = ldexp((double)(state >> 11), (int)(state % 75) - 73);
        expect_shortest(any);
        expect_shortest(floor(any * 1e4) / 1e4); /* what people write */
    }
}

Test(json, doubles_read_back_as_they_were)
{
    static const double values[] = {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e15, 123456789.125};
    char text[32];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        text_format_double(values[i], text);
        double back = strtod(text, NULL);
        cr_expect(memcmp(&back, &values[i], sizeof back) == 0, "%s", text);
        cr_expect(strpbrk(text, ".e") != NULL, "%s looks like an integer", text);
    }
    text_format_double((double)NAN, text);
    cr_expect_str_eq(text, "NaN");
}

Test(text, dates)
{
    static const struct {
        const char *text, *formatted;
    } good[] = {{"1970-01-01", "1970-01-01T00:00:00.000Z"},
                {"2024-02-29T12:34:56.7Z", "2024-02-29T12:34:56.700Z"},
                {"2026-11-21T00:30+02:00", "2026-11-20T22:30:00.000Z"},
                {"0001-01-01", "0001-01-01T00:00:00.000Z"}};
    static const char *const bad[] = {
        "", "2026", "2026-02-29", "2026-11-21T25:00", "2026-11-21Tx", "2026-11-21T10:00:00.", "2026-1-1"};
    char text[TEXT_DATE_BYTES];
    int64_t milliseconds;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(text_parse_date(good[i].text, strlen(good[i].text), &milliseconds), "%s", good[i].text);
        text_format_date(milliseconds, text);
        cr_expect_str_eq(text, good[i].formatted);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(!text_parse_date(bad[i], strlen(bad[i]), &milliseconds), "'%s' was taken", bad[i]);
    }
}

Test(text, widths_and_cutting)
{
    bson_string_t *text = bson_string_new("Größe 漢字");
    cr_expect_eq(text_width(text->str), 10);
    text_cut(text, 8);
    cr_expect_str_eq(text->str, "Größe …");
    text_cut(text, 20);
    cr_expect_str_eq(text->str, "Größe …");
    bson_string_free(text, true);
}
