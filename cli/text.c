/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"
#include "cli/text_double.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decodes one code point; returns its length in bytes, or 0 where the bytes are not UTF-8. */
static size_t decode(const char *text, size_t length, uint32_t *point)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t need;
    uint32_t least;

    if (length == 0) {
        return 0;
    }
    if (s[0] < 0x80) {
        *point = s[0];
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] < 0xe0) {
        need = 2;
        least = 0x80;
        *point = s[0] & 0x1fu;
    } else if (s[0] >= 0xe0 && s[0] < 0xf0) {
        need = 3;
        least = 0x800;
        *point = s[0] & 0x0fu;
    } else if (s[0] >= 0xf0 && s[0] < 0xf5) {
        need = 4;
        least = 0x10000;
        *point = s[0] & 0x07u;
    } else {
        return 0;
    }
    if (length < need) {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        if ((s[i] & 0xc0u) != 0x80u) {
            return 0;
        }
        *point = (*point << 6) | (s[i] & 0x3fu);
    }
    if (*point < least || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000)) {
        return 0;
    }
    return need;
}

/* Whether a terminal would act on the code point, or show text in another order because of it. */
static bool is_dangerous(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x061c || (point >= 0x200b && point <= 0x200f) ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point == 0xfeff ||
           (point >= 0xe0000 && point <= 0xe007f);
}

void text_append_escaped(bson_string_t *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint32_t point = 0;
        size_t bytes = decode(text + i, length - i, &point);
        if (bytes == 0) {
            bson_string_append_printf(out, "\\x%02x", (unsigned char)text[i]);
            i++;
            continue;
        }
        if (point == '\n') {
            bson_string_append(out, "\\n");
        } else if (point == '\t') {
            bson_string_append(out, "\\t");
        } else if (point == '\r') {
            bson_string_append(out, "\\r");
        } else if (is_dangerous(point)) {
            bson_string_append_printf(out, point < 0x80 ? "\\x%02x" : "\\u%04x", point);
        } else {
            bson_string_append_printf(out, "%.*s", (int)bytes, text + i);
        }
        i += bytes;
    }
}

/* Columns of one code point: combining marks none, East Asian wide ones and emoji two. */
static size_t point_width(uint32_t point)
{
    if ((point >= 0x300 && point <= 0x36f) || (point >= 0x1ab0 && point <= 0x1aff) ||
        (point >= 0x20d0 && point <= 0x20ff) || (point >= 0xfe00 && point <= 0xfe0f)) {
        return 0;
    }
    if ((point >= 0x1100 && point <= 0x115f) || (point >= 0x2e80 && point <= 0xa4cf) ||
        (point >= 0xac00 && point <= 0xd7a3) || (point >= 0xf900 && point <= 0xfaff) ||
        (point >= 0xfe30 && point <= 0xfe6f) || (point >= 0xff00 && point <= 0xff60) ||
        (point >= 0x1f300 && point <= 0x1f64f) || (point >= 0x1f900 && point <= 0x1f9ff) ||
        (point >= 0x20000 && point <= 0x3fffd)) {
        return 2;
    }
    return 1;
}

size_t text_width(const char *text)
{
    size_t length = strlen(text), width = 0;

    for (size_t i = 0; i < length;) {
        uint32_t point = 0;
        size_t bytes = decode(text + i, length - i, &point);
        width += bytes == 0 ? 1 : point_width(point);
        i += bytes == 0 ? 1 : bytes;
    }
    return width;
}

void text_cut(bson_string_t *text, size_t width)
{
    size_t used = 0, i = 0;

    if (text_width(text->str) <= width) {
        return;
    }
    while (i < text->len) {
        uint32_t point = 0;
        size_t bytes = decode(text->str + i, text->len - i, &point);
        size_t columns = bytes == 0 ? 1 : point_width(point);
        if (used + columns + 1 > width) {
            break;
        }
        used += columns;
        i += bytes == 0 ? 1 : bytes;
    }
    bson_string_truncate(text, (uint32_t)i);
    if (width > 0) {
        bson_string_append(text, "…");
    }
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
 */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

void text_format_date(int64_t milliseconds, char out[TEXT_DATE_BYTES])
{
    int64_t days = milliseconds / 86400000, rest = milliseconds % 86400000, year;
    int month, day;

    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    date_from_days(days, &year, &month, &day);
    snprintf(out, TEXT_DATE_BYTES, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)year, month, day,
             (int)(rest / 3600000), (int)(rest / 60000 % 60), (int)(rest / 1000 % 60), (int)(rest % 1000));
}

/* Reads exactly count digits at *at. */
static bool take_digits(const char **at, const char *end, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (*at == end || !isdigit((unsigned char)**at)) {
            return false;
        }
        *value = *value * 10 + (**at - '0');
        (*at)++;
    }
    return true;
}

static bool take(const char **at, const char *end, char c)
{
    if (*at == end || **at != c) {
        return false;
    }
    (*at)++;
    return true;
}

bool text_parse_date(const char *text, size_t length, int64_t *milliseconds)
{
    const char *at = text, *end = text + length;
    int year, month, day, hour = 0, minute = 0, second = 0, fraction = 0, zone = 0;
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    *milliseconds = 0;
    if (!take_digits(&at, end, 4, &year) || !take(&at, end, '-') || !take_digits(&at, end, 2, &month) ||
        !take(&at, end, '-') || !take_digits(&at, end, 2, &day) || month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month - 1] + (month == 2 && leap)) {
        return false;
    }
    if (at < end && (*at == 'T' || *at == 't')) {
        at++;
        if (!take_digits(&at, end, 2, &hour) || !take(&at, end, ':') || !take_digits(&at, end, 2, &minute)) {
            return false;
        }
        if (at < end && *at == ':') {
            at++;
            if (!take_digits(&at, end, 2, &second)) {
                return false;
            }
            if (at < end && *at == '.') {
                int scale = 100;
                at++;
                if (at == end || !isdigit((unsigned char)*at)) {
                    return false;
                }
                for (; at < end && isdigit((unsigned char)*at); at++, scale /= 10) {
                    fraction += (*at - '0') * scale;
                }
            }
        }
        if (at < end && (*at == 'Z' || *at == 'z')) {
            at++;
        } else if (at < end && (*at == '+' || *at == '-')) {
            int sign = *at == '+' ? 1 : -1, zone_hour, zone_minute;
            at++;
            if (!take_digits(&at, end, 2, &zone_hour)) {
                return false;
            }
            (void)take(&at, end, ':');
            if (!take_digits(&at, end, 2, &zone_minute) || zone_hour > 23 || zone_minute > 59) {
                return false;
            }
            zone = sign * (zone_hour * 60 + zone_minute);
        }
    }
    if (at != end || hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    *milliseconds = days_from_date(year, month, day) * 86400000 + hour * 3600000LL + (minute - zone) * 60000LL +
                    second * 1000LL + fraction;
    return true;
}

/* As "%.*g" writes it with the fewest digits that read back; false where they were not found. */
static bool format_short(double value, char out[32])
{
    char digits[TEXT_DOUBLE_DIGITS + 1];
    int exponent, count = text_double_shortest(fabs(value), digits, &exponent);
    const char *sign = value < 0 ? "-" : "";

    if (count == 0) {
        return false;
    }
    if (exponent < -4) {
        snprintf(out, 32, "%s%c%s%se-%02d", sign, *digits, count > 1 ? "." : "", digits + 1, -exponent);
    } else if (exponent < 0) {
        snprintf(out, 32, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
    } else {
        snprintf(out, 32, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
    }
    return true;
}

void text_format_double(double value, char out[32])
{
    if (!isfinite(value)) {
        snprintf(out, 32, "%s", isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
        return;
    }
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(out, 32, "%.0f", value); /* not "1e+02" */
    } else if (!format_short(value, out)) {
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(out, 32, "%.*g", digits, value);
            if (strtod(out, NULL) == value) {
                break;
            }
        }
    }
    if (strpbrk(out, ".e") == NULL) {
        size_t length = strlen(out);
        snprintf(out + length, 32 - length, ".0");
    }
}

bool text_parse_bytes(const char *text, int64_t *bytes)
{
    static const char units[] = "KMGTP";
    char *end;
    double value = strtod(text, &end);
    if (end == text || *text < '0' || *text > '9') {
        return false;
    }
    const char *unit = *end != '\0' ? strchr(units, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end) : NULL;
    for (const char *at = units; unit != NULL && at <= unit; at++) {
        value *= 1024;
    }
    end += unit != NULL;
    end += unit != NULL && *end == 'i' && (end[1] == 'B' || end[1] == 'b');
    end += *end == 'B' || *end == 'b';
    if (*end != '\0' || !(value >= 1 && value < 9e18)) {
        return false;
    }
    *bytes = (int64_t)value;
    return true;
}

void text_format_bytes(int64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(out, size, unit > 0 && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void text_format_seconds(double seconds, char *out, size_t size)
{
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(out, size, "?");
    } else if (seconds < 9.95) {
        snprintf(out, size, "%.1f s", seconds);
    } else if (seconds < 99.5) {
        snprintf(out, size, "%.0f s", seconds);
    } else {
        long long whole = (long long)(seconds + 0.5);
        if (whole < 3600) {
            snprintf(out, size, "%lldm %02llds", whole / 60, whole % 60);
        } else {
            snprintf(out, size, "%lldh %02lldm", whole / 3600, whole / 60 % 60);
        }
    }
}

bool text_is_hex(const char *text, size_t least)
{
    size_t length = strspn(text, "0123456789abcdef");
    return length >= least && text[length] == '\0';
}
