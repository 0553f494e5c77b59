/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/text.h"

#include <math.h>
#include <string.h>

void json_append_string(bson_string_t *out, const char *text, size_t length)
{
    bson_string_append_c(out, '"');
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            bson_string_append_printf(out, "\\%c", c);
        } else if (c == '\n') {
            bson_string_append(out, "\\n");
        } else if (c == '\t') {
            bson_string_append(out, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            bson_string_append_printf(out, "\\u%04x", c);
        } else if (c == 0xc2 && i + 1 < length && (unsigned char)text[i + 1] < 0xa0) {
            /* C1 control characters: terminals obey them as they obey escape sequences. */
            bson_string_append_printf(out, "\\u%04x", (unsigned char)text[i + 1]);
            i++;
        } else if (c < 0x80) {
            size_t run = i + 1;
            while (run < length && (unsigned char)text[run] >= 0x20 && (unsigned char)text[run] < 0x7f &&
                   text[run] != '"' && text[run] != '\\') {
                run++;
            }
            bson_string_append_printf(out, "%.*s", (int)(run - i), text + i);
            i = run;
            continue;
        } else {
            size_t bytes = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            if (i + bytes <= length && bson_utf8_validate(text + i, bytes, false)) {
                bson_string_append_printf(out, "%.*s", (int)bytes, text + i);
                i += bytes;
                continue;
            }
            bson_string_append(out, "\\ufffd");
        }
        i++;
    }
    bson_string_append_c(out, '"');
}

static void append_base64(bson_string_t *out, const uint8_t *data, uint32_t length)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (uint32_t i = 0; i < length; i += 3) {
        uint32_t rest = length - i;
        uint32_t three = (uint32_t)data[i] << 16 | (rest > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (rest > 2 ? (uint32_t)data[i + 2] : 0);
        bson_string_append_c(out, letters[three >> 18]);
        bson_string_append_c(out, letters[three >> 12 & 63]);
        bson_string_append_c(out, rest > 1 ? letters[three >> 6 & 63] : '=');
        bson_string_append_c(out, rest > 2 ? letters[three & 63] : '=');
    }
}

static void append_members(bson_string_t *out, bson_iter_t *iter, bool array)
{
    bool first = true;

    bson_string_append_c(out, array ? '[' : '{');
    while (bson_iter_next(iter)) {
        if (!first) {
            bson_string_append(out, ", ");
        }
        first = false;
        if (!array) {
            json_append_string(out, bson_iter_key(iter), bson_iter_key_len(iter));
            bson_string_append(out, ": ");
        }
        json_append_value(out, iter);
    }
    bson_string_append_c(out, array ? ']' : '}');
}

void json_append_value(bson_string_t *out, const bson_iter_t *iter)
{
    bson_iter_t inner;
    uint32_t length;

    switch (bson_iter_type(iter)) {
    case BSON_TYPE_DOUBLE: {
        char number[32];
        double value = bson_iter_double(iter);
        text_format_double(value, number);
        bson_string_append_printf(out, isfinite(value) ? "%s" : "\"%s\"", number);
        break;
    }
    case BSON_TYPE_UTF8: {
        const char *text = bson_iter_utf8(iter, &length);
        json_append_string(out, text, length);
        break;
    }
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        if (bson_iter_recurse(iter, &inner)) {
            append_members(out, &inner, bson_iter_type(iter) == BSON_TYPE_ARRAY);
        } else {
            bson_string_append(out, "null");
        }
        break;
    case BSON_TYPE_BINARY: {
        const uint8_t *data;
        bson_subtype_t subtype;
        bson_iter_binary(iter, &subtype, &length, &data);
        bson_string_append(out, "{\"$binary\": \"");
        append_base64(out, data, length);
        bson_string_append(out, "\"}");
        break;
    }
    case BSON_TYPE_OID: {
        char digits[25];
        bson_oid_to_string(bson_iter_oid(iter), digits);
        bson_string_append_printf(out, "\"%s\"", digits);
        break;
    }
    case BSON_TYPE_BOOL: bson_string_append(out, bson_iter_bool(iter) ? "true" : "false"); break;
    case BSON_TYPE_DATE_TIME: {
        char date[TEXT_DATE_BYTES];
        text_format_date(bson_iter_date_time(iter), date);
        bson_string_append_printf(out, "\"%s\"", date);
        break;
    }
    case BSON_TYPE_INT32: bson_string_append_printf(out, "%d", bson_iter_int32(iter)); break;
    case BSON_TYPE_INT64: bson_string_append_printf(out, "%lld", (long long)bson_iter_int64(iter)); break;
    default:
        /* null, and the types that the store does not hold */
        bson_string_append(out, "null");
        break;
    }
}

void json_append_document(bson_string_t *out, const bson_t *document)
{
    bson_iter_t iter;
    if (bson_iter_init(&iter, document)) {
        append_members(out, &iter, false);
    } else {
        bson_string_append(out, "{}");
    }
}
