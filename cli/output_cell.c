/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output_cell.h"
#include "cli/json.h"
#include "cli/text.h"

#include <math.h>
#include <string.h>
#include <time.h>

static void append_number(bson_string_t *out, double value, enum output_style style)
{
    char text[32];

    if (style == OUTPUT_BYTES && fabs(value) < 9e18) {
        text_format_bytes((int64_t)value, text, sizeof text);
    } else if (style == OUTPUT_SECONDS && isfinite(value)) {
        text_format_seconds(value, text, sizeof text);
    } else if (style == OUTPUT_FRACTION && isfinite(value)) {
        snprintf(text, sizeof text, fabs(value) < 1e6 ? "%.4f" : "%.4g", value);
    } else {
        snprintf(text, sizeof text, "%.6g", value);
    }
    bson_string_append(out, text);
}

/* {a: 1, b: {c: 2}} as a=1 b.c=2. */
static void append_parameters(bson_string_t *out, const char *prefix, bson_iter_t *iter)
{
    while (bson_iter_next(iter)) {
        bson_iter_t inner;
        bool right;
        char *key = bson_strdup_printf("%s%s%s", prefix, *prefix != '\0' ? "." : "", bson_iter_key(iter));
        if (BSON_ITER_HOLDS_DOCUMENT(iter) && bson_iter_recurse(iter, &inner)) {
            append_parameters(out, key, &inner);
        } else {
            if (out->len > 0) {
                bson_string_append_c(out, OUTPUT_PART);
            }
            text_append_escaped(out, key, strlen(key));
            bson_string_append_c(out, '=');
            output_table_cell(out, iter, OUTPUT_AUTO, &right);
        }
        bson_free(key);
    }
}

static bool is_flat_array(const bson_iter_t *value)
{
    bson_iter_t inner;
    if (!bson_iter_recurse(value, &inner)) {
        return false;
    }
    while (bson_iter_next(&inner)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&inner) || BSON_ITER_HOLDS_ARRAY(&inner)) {
            return false;
        }
    }
    return true;
}

/* Words with commas between them, numbers with × (a shape). */
static void append_flat_array(bson_string_t *out, const bson_iter_t *value)
{
    bson_iter_t inner;
    bool first = true, right;

    if (!bson_iter_recurse(value, &inner)) {
        return;
    }
    while (bson_iter_next(&inner)) {
        if (!first) {
            bson_string_append(out, BSON_ITER_HOLDS_INT(&inner) ? "×" : ", ");
        }
        first = false;
        output_table_cell(out, &inner, OUTPUT_AUTO, &right);
    }
}

void output_table_cell(bson_string_t *out, const bson_iter_t *value, enum output_style style, bool *right)
{
    bson_iter_t inner;
    uint32_t length;

    *right = false;
    switch (bson_iter_type(value)) {
    case BSON_TYPE_NULL:
    case BSON_TYPE_UNDEFINED: break;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        *right = true;
        if (style == OUTPUT_BYTES || style == OUTPUT_SECONDS || style == OUTPUT_FRACTION) {
            append_number(out, (double)bson_iter_as_int64(value), style);
        } else {
            bson_string_append_printf(out, "%lld", (long long)bson_iter_as_int64(value));
        }
        break;
    case BSON_TYPE_DOUBLE:
        *right = true;
        append_number(out, bson_iter_double(value), style);
        break;
    case BSON_TYPE_BOOL: bson_string_append(out, bson_iter_bool(value) ? "yes" : "no"); break;
    case BSON_TYPE_UTF8: {
        const char *text = bson_iter_utf8(value, &length);
        if (style == OUTPUT_ID && length > 12 && text_is_hex(text, 13)) {
            length = 12;
        }
        text_append_escaped(out, text, length);
        break;
    }
    case BSON_TYPE_DATE_TIME: {
        char date[TEXT_DATE_BYTES];
        text_format_date(bson_iter_date_time(value), date);
        date[strcspn(date, ".")] = '\0';
        char *t = strchr(date, 'T');
        if (t != NULL) {
            *t = ' ';
        }
        bson_string_append_printf(out, "%sZ", date);
        break;
    }
    case BSON_TYPE_DOCUMENT:
        if (style == OUTPUT_PARAMETERS && bson_iter_recurse(value, &inner)) {
            append_parameters(out, "", &inner);
            break;
        }
        json_append_value(out, value);
        break;
    case BSON_TYPE_ARRAY:
        if (is_flat_array(value)) {
            append_flat_array(out, value);
            break;
        }
        json_append_value(out, value);
        break;
    case BSON_TYPE_OID: {
        char digits[25];
        bson_oid_to_string(bson_iter_oid(value), digits);
        bson_string_append(out, digits);
        break;
    }
    default: json_append_value(out, value); break;
    }
}

void output_age_cell(bson_string_t *out, int64_t milliseconds)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    char date[TEXT_DATE_BYTES];
    int64_t age = (int64_t)time(NULL) - milliseconds / 1000;

    /* Another machine's clock may be a little ahead. */
    if (age < -60 || age > INT64_C(30) * 86400) {
        text_format_date(milliseconds, date);
        date[strcspn(date, "T")] = '\0';
        bson_string_append(out, date);
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (age >= units[i].seconds) {
            bson_string_append_printf(out, "%lld %s ago", (long long)(age / units[i].seconds), units[i].name);
            return;
        }
    }
    bson_string_append(out, "now");
}

void output_csv_text(bson_string_t *out, const char *text, bool neutralise)
{
    bool guard = neutralise && *text != '\0' && strchr("=+-@\t\r", *text) != NULL;

    if (!guard && strpbrk(text, "\",\r\n'") == NULL && *text != ' ') {
        bson_string_append(out, text);
        return;
    }
    bson_string_append(out, guard ? "\"'" : "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            bson_string_append_c(out, '"');
        }
        bson_string_append_c(out, *text);
    }
    bson_string_append_c(out, '"');
}

void output_csv_cell(bson_string_t *out, const bson_iter_t *value)
{
    bson_type_t type = bson_iter_type(value);

    if (type == BSON_TYPE_NULL) {
        return;
    }
    if (type == BSON_TYPE_UTF8) {
        output_csv_text(out, bson_iter_utf8(value, NULL), true);
        return;
    }
    bson_string_t *json = bson_string_new(NULL);
    json_append_value(json, value);
    size_t length = json->len;
    if (length >= 2 && json->str[0] == '"') { /* dates, ids and NaN: without JSON's quotes */
        bson_string_truncate(json, (uint32_t)(length - 1));
        output_csv_text(out, json->str + 1, false);
    } else {
        output_csv_text(out, json->str, false);
    }
    bson_string_free(json, true);
}
