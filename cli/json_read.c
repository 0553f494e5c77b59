/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 100

struct reader {
    const char *text, *at, *end;
    int depth;
    bson_error_t *error;
};

static int refuse(struct reader *reader, const char *what)
{
    if (reader->at >= reader->end) {
        return hub_error(reader->error, HUB_ERROR_INVALID, "JSON: %s, but it ends there", what);
    }
    return hub_error(reader->error, HUB_ERROR_INVALID, "JSON, position %zu: %s",
                     (size_t)(reader->at - reader->text) + 1, what);
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) != NULL && *reader->at != '\0') {
        reader->at++;
    }
}

static int read_hex4(struct reader *reader, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        char c = reader->at < reader->end ? *reader->at : '\0';
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint32_t)(c - 'a' + 10);
        } else if (c >= 'A' && c <= 'F') {
            digit = (uint32_t)(c - 'A' + 10);
        } else {
            return refuse(reader, "\\u needs four hex digits");
        }
        *value = *value * 16 + digit;
    }
    return 1;
}

static int read_escape(struct reader *reader, bson_string_t *out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = reader->at < reader->end ? *reader->at : '\0';
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;

    if (letter != NULL) {
        bson_string_append_c(out, meanings[letter - letters]);
        reader->at++;
        return 1;
    }
    if (c != 'u') {
        return refuse(reader, "unknown escape after \\");
    }
    reader->at++;
    uint32_t point, low;
    if (read_hex4(reader, &point) < 0) {
        return -1;
    }
    if (point >= 0xd800 && point < 0xdc00) {
        if (reader->end - reader->at < 6 || reader->at[0] != '\\' || reader->at[1] != 'u') {
            return refuse(reader, "half of a surrogate pair");
        }
        reader->at += 2;
        if (read_hex4(reader, &low) < 0) {
            return -1;
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return refuse(reader, "half of a surrogate pair");
        }
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point >= 0xdc00 && point < 0xe000) {
        return refuse(reader, "half of a surrogate pair");
    }
    if (point == 0) {
        return refuse(reader, "\\u0000 cannot be stored in text");
    }
    bson_string_append_unichar(out, point);
    return 1;
}

/* A string into *out, which is new either way. */
static int read_string(struct reader *reader, bson_string_t **out)
{
    *out = bson_string_new(NULL);
    if (reader->at == reader->end || *reader->at != '"') {
        return refuse(reader, "expected a text in double quotes");
    }
    reader->at++;
    while (reader->at < reader->end && *reader->at != '"') {
        if ((unsigned char)*reader->at < 0x20) {
            return refuse(reader, "a control character inside a text: write it as \\n, \\t or \\u00XX");
        }
        if (*reader->at == '\\') {
            reader->at++;
            if (read_escape(reader, *out) < 0) {
                return -1;
            }
            continue;
        }
        const char *from = reader->at;
        while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\\' &&
               (unsigned char)*reader->at >= 0x20) {
            reader->at++;
        }
        bson_string_append_printf(*out, "%.*s", (int)(reader->at - from), from);
    }
    if (reader->at == reader->end) {
        return refuse(reader, "a text needs its closing quote");
    }
    reader->at++;
    if (!bson_utf8_validate((*out)->str, (*out)->len, false)) {
        return refuse(reader, "the text before this is not UTF-8");
    }
    return 1;
}

static int read_number(struct reader *reader, const char *key, bson_t *document)
{
    char buffer[64];
    size_t length = 0;
    bool integer = true;
    const char *start = reader->at;

    while (reader->at < reader->end && strchr("+-.eE0123456789", *reader->at) != NULL && *reader->at != '\0') {
        integer = integer && strchr(".eE", *reader->at) == NULL;
        if (length + 1 == sizeof buffer) {
            return refuse(reader, "a number of more than 63 digits");
        }
        buffer[length++] = *reader->at++;
    }
    buffer[length] = '\0';
    const char *digits = buffer + (buffer[0] == '-');
    char *stop;
    reader->at = start;
    if (digits[0] < '0' || digits[0] > '9' || (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9')) {
        return refuse(reader, "not a number");
    }
    if (integer) {
        errno = 0;
        long long value = strtoll(buffer, &stop, 10);
        if (*stop != '\0') {
            return refuse(reader, "not a number");
        }
        if (errno == ERANGE) {
            return refuse(reader, "an integer beyond 64 bits");
        }
        reader->at = start + length;
        if (value >= INT32_MIN && value <= INT32_MAX) {
            BSON_APPEND_INT32(document, key, (int32_t)value);
        } else {
            BSON_APPEND_INT64(document, key, value);
        }
        return 1;
    }
    double value = strtod(buffer, &stop);
    if (*stop != '\0') {
        return refuse(reader, "not a number");
    }
    if (!isfinite(value)) {
        return refuse(reader, "a number beyond the range of a double");
    }
    reader->at = start + length;
    BSON_APPEND_DOUBLE(document, key, value);
    return 1;
}

static int read_value(struct reader *reader, const char *key, bson_t *document);

/* {"$date": …} and its kin: 1 appended, 0 an ordinary document, -1 wrong. */
static int append_extended(struct reader *reader, const bson_t *object, const char *key, bson_t *document)
{
    bson_iter_t iter;
    if (!bson_iter_init(&iter, object) || !bson_iter_next(&iter) || bson_iter_key(&iter)[0] != '$') {
        return 0;
    }
    const char *name = bson_iter_key(&iter);
    const char *text = BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : NULL;
    char *stop = NULL;
    int64_t milliseconds;
    if (bson_count_keys(object) != 1) {
        return 0;
    }
    if (strcmp(name, "$date") == 0) {
        if (text != NULL && text_parse_date(text, strlen(text), &milliseconds)) {
            BSON_APPEND_DATE_TIME(document, key, milliseconds);
            return 1;
        }
        if (BSON_ITER_HOLDS_INT(&iter)) {
            BSON_APPEND_DATE_TIME(document, key, bson_iter_as_int64(&iter));
            return 1;
        }
        return refuse(reader, "$date needs a date such as \"2026-11-21T05:00:00Z\" before this");
    }
    if (strcmp(name, "$oid") == 0) {
        bson_oid_t oid;
        if (text == NULL || !bson_oid_is_valid(text, strlen(text))) {
            return refuse(reader, "$oid needs 24 hex digits before this");
        }
        bson_oid_init_from_string(&oid, text);
        BSON_APPEND_OID(document, key, &oid);
        return 1;
    }
    bool is_long = strcmp(name, "$numberLong") == 0;
    if (is_long || strcmp(name, "$numberInt") == 0) {
        errno = 0;
        long long value = text != NULL ? strtoll(text, &stop, 10) : 0;
        if (text == NULL || stop == text || *stop != '\0' || errno != 0 ||
            (!is_long && (value < INT32_MIN || value > INT32_MAX))) {
            return refuse(reader, "a number in quotes is needed before this");
        }
        if (is_long) {
            BSON_APPEND_INT64(document, key, value);
        } else {
            BSON_APPEND_INT32(document, key, (int32_t)value);
        }
        return 1;
    }
    if (strcmp(name, "$numberDouble") == 0) {
        double value = text != NULL ? strtod(text, &stop) : 0;
        if (text == NULL || stop == text || *stop != '\0') {
            return refuse(reader, "a number in quotes is needed before this");
        }
        BSON_APPEND_DOUBLE(document, key, value);
        return 1;
    }
    return 0;
}

/* What stands between { and }, or [ and ], into out. */
static int read_members(struct reader *reader, bool array, bson_t *out)
{
    char close = array ? ']' : '}';
    uint32_t index = 0;

    if (++reader->depth > DEPTH) {
        return refuse(reader, "nested deeper than 100 levels");
    }
    reader->at++;
    skip_space(reader);
    if (reader->at < reader->end && *reader->at == close) {
        reader->at++;
        reader->depth--;
        return 1;
    }
    for (;;) {
        bson_string_t *name = NULL;
        char digits[16];
        const char *key;
        skip_space(reader);
        if (array) {
            bson_uint32_to_string(index++, &key, digits, sizeof digits);
        } else {
            if (read_string(reader, &name) < 0) {
                bson_string_free(name, true);
                return -1;
            }
            key = name->str;
            if (bson_has_field(out, key) && strchr(key, '.') == NULL) {
                (void)hub_error(reader->error, HUB_ERROR_INVALID,
                                "JSON, position %zu: the key \"%s\" stands there twice",
                                (size_t)(reader->at - reader->text), key);
                bson_string_free(name, true);
                return -1;
            }
            skip_space(reader);
            if (reader->at == reader->end || *reader->at != ':') {
                bson_string_free(name, true);
                return refuse(reader, "expected ':' after a key");
            }
            reader->at++;
        }
        int result = read_value(reader, key, out);
        if (name != NULL) {
            bson_string_free(name, true);
        }
        if (result < 0) {
            return -1;
        }
        skip_space(reader);
        if (reader->at < reader->end && *reader->at == ',') {
            reader->at++;
            continue;
        }
        if (reader->at < reader->end && *reader->at == close) {
            reader->at++;
            reader->depth--;
            return 1;
        }
        return refuse(reader, array ? "expected ',' or ']'" : "expected ',' or '}'");
    }
}

static int read_word(struct reader *reader, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) {
        return refuse(reader, "expected a value");
    }
    reader->at += length;
    return 1;
}

static int read_value(struct reader *reader, const char *key, bson_t *document)
{
    int result;

    skip_space(reader);
    if (reader->at == reader->end) {
        return refuse(reader, "expected a value");
    }
    switch (*reader->at) {
    case '{': {
        bson_t object;
        bson_init(&object);
        result = read_members(reader, false, &object);
        if (result > 0) {
            result = append_extended(reader, &object, key, document);
        }
        if (result == 0) {
            BSON_APPEND_DOCUMENT(document, key, &object);
            result = 1;
        }
        bson_destroy(&object);
        return result;
    }
    case '[': {
        bson_t array;
        bson_init(&array);
        result = read_members(reader, true, &array);
        if (result > 0) {
            BSON_APPEND_ARRAY(document, key, &array);
        }
        bson_destroy(&array);
        return result;
    }
    case '"': {
        bson_string_t *text;
        result = read_string(reader, &text);
        if (result > 0) {
            bson_append_utf8(document, key, -1, text->str, (int)text->len);
        }
        bson_string_free(text, true);
        return result;
    }
    case 't':
        result = read_word(reader, "true");
        if (result > 0) {
            BSON_APPEND_BOOL(document, key, true);
        }
        return result;
    case 'f':
        result = read_word(reader, "false");
        if (result > 0) {
            BSON_APPEND_BOOL(document, key, false);
        }
        return result;
    case 'n':
        result = read_word(reader, "null");
        if (result > 0) {
            BSON_APPEND_NULL(document, key);
        }
        return result;
    default: return read_number(reader, key, document);
    }
}

static int read_end(struct reader *reader)
{
    skip_space(reader);
    return reader->at == reader->end ? 1 : refuse(reader, "nothing may follow the value");
}

int json_read_document(const char *text, size_t length, bson_t *document, bson_error_t *error)
{
    struct reader reader = {.text = text, .at = text, .end = text + length, .error = error};

    bson_init(document);
    skip_space(&reader);
    if (reader.at == reader.end || *reader.at != '{') {
        return refuse(&reader, "expected an object, {\"key\": value, …}");
    }
    return read_members(&reader, false, document) < 0 || read_end(&reader) < 0 ? -1 : 1;
}

int json_read_value(const char *text, size_t length, const char *key, bson_t *document, bson_error_t *error)
{
    struct reader reader = {.text = text, .at = text, .end = text + length, .error = error};
    return read_value(&reader, key, document) < 0 || read_end(&reader) < 0 ? -1 : 1;
}
