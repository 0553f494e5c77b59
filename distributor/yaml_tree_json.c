/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/yaml_tree.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct yaml_tree *tree;
    const char *file_name;
    const char *at, *end;
    int line;
};

static int refuse(const struct reader *reader, const char *what, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s:%d: not JSON: %s", reader->file_name, reader->line, what);
}

static void skip_space(struct reader *reader)
{
    for (; reader->at < reader->end && memchr(" \t\r\n", *reader->at, 4); reader->at++)
        reader->line += *reader->at == '\n';
}

static bool next_is(const struct reader *reader, char c)
{
    return reader->at < reader->end && *reader->at == c;
}

static int read_hex(struct reader *reader, uint32_t *code, bson_error_t *error)
{
    *code = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        if (reader->at >= reader->end || !isxdigit((unsigned char)*reader->at))
            return refuse(reader, "\\u needs four hexadecimal digits", error);
        int c = tolower((unsigned char)*reader->at);
        *code = *code * 16 + (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return 0;
}

/* After \u; a pair of surrogates is one character. */
static int read_unicode(struct reader *reader, char **out, bson_error_t *error)
{
    uint32_t code, low;
    if (read_hex(reader, &code, error))
        return -1;
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u')
            return refuse(reader, "half of a surrogate pair", error);
        reader->at += 2;
        if (read_hex(reader, &low, error))
            return -1;
        if (low < 0xdc00 || low >= 0xe000)
            return refuse(reader, "half of a surrogate pair", error);
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (!code)
        return refuse(reader, "a string with a NUL character", error);
    char *to = *out;
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    *out = to;
    return 0;
}

static int read_escape(struct reader *reader, char **out, bson_error_t *error)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    reader->at++;
    if (next_is(reader, 'u')) {
        reader->at++;
        return read_unicode(reader, out, error);
    }
    const char *found = reader->at < reader->end && *reader->at ? strchr(from, *reader->at) : NULL;
    if (!found)
        return refuse(reader, "an escape that JSON does not have", error);
    *(*out)++ = to[found - from];
    reader->at++;
    return 0;
}

static struct yaml_tree_node *read_string(struct reader *reader, bson_error_t *error)
{
    const char *closing = ++reader->at;
    while (closing < reader->end && *closing != '"')
        closing += *closing == '\\' ? 2 : 1;
    if (closing >= reader->end) {
        refuse(reader, "a string that does not end", error);
        return NULL;
    }
    struct yaml_tree_node *node = yaml_tree_node_new(reader->tree, YAML_TREE_STRING, reader->line);
    char *to = node ? malloc((size_t)(closing - reader->at) + 1) : NULL; /* escapes only make it shorter */
    if (!to) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", reader->file_name);
        return NULL;
    }
    node->text = to;
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at == '\\') {
            if (read_escape(reader, &to, error))
                return NULL;
        } else if ((unsigned char)*reader->at < 0x20) {
            refuse(reader, "a control character in a string", error);
            return NULL;
        } else {
            *to++ = *reader->at++;
        }
    }
    *to = '\0';
    reader->at++;
    return node;
}

/* -? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][-+]?[0-9]+)? */
static bool is_number(const char *text)
{
    text += *text == '-';
    size_t whole = strspn(text, "0123456789");
    if (!whole || (whole > 1 && *text == '0'))
        return false;
    text += whole;
    if (*text == '.') {
        size_t fraction = strspn(++text, "0123456789");
        if (!fraction)
            return false;
        text += fraction;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = strspn(text, "0123456789");
        if (!exponent)
            return false;
        text += exponent;
    }
    return !*text;
}

static struct yaml_tree_node *read_word(struct reader *reader, bson_error_t *error)
{
    char word[400];
    size_t length = 0;
    while (reader->at < reader->end && (isalnum((unsigned char)*reader->at) || strchr("+-._", *reader->at)) &&
           *reader->at && length < sizeof word - 1)
        word[length++] = *reader->at++;
    word[length] = '\0';
    if (strcmp(word, "true") && strcmp(word, "false") && strcmp(word, "null") && !is_number(word)) {
        if (length)
            hub_error(error, HUB_ERROR_INVALID, "%s:%d: not JSON: '%.40s'", reader->file_name, reader->line, word);
        else
            refuse(reader, reader->at < reader->end ? "a value was expected" : "the text ends too early", error);
        return NULL;
    }
    struct yaml_tree_node *node = yaml_tree_node_new(reader->tree, YAML_TREE_NULL, reader->line);
    if (!node) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", reader->file_name);
        return NULL;
    }
    return yaml_tree_resolve(node, word, reader->file_name, error) ? NULL : node;
}

static struct yaml_tree_node *read_value(struct reader *reader, int depth, bson_error_t *error);

static int read_members(struct reader *reader, struct yaml_tree_node *node, int depth, bson_error_t *error)
{
    char closing = node->kind == YAML_TREE_MAP ? '}' : ']';
    reader->at++;
    skip_space(reader);
    if (next_is(reader, closing)) {
        reader->at++;
        return 0;
    }
    for (;;) {
        struct yaml_tree_node *key = NULL, *item;
        skip_space(reader);
        if (node->kind == YAML_TREE_MAP) {
            if (!next_is(reader, '"'))
                return refuse(reader, "a key in double quotes was expected", error);
            if (!(key = read_string(reader, error)))
                return -1;
            skip_space(reader);
            if (!next_is(reader, ':'))
                return refuse(reader, "':' was expected after a key", error);
            reader->at++;
        }
        if (!(item = read_value(reader, depth + 1, error)) || yaml_tree_add(node, key, item, reader->file_name, error))
            return -1;
        skip_space(reader);
        if (next_is(reader, closing)) {
            reader->at++;
            return 0;
        }
        if (!next_is(reader, ','))
            return refuse(reader, closing == '}' ? "',' or '}' was expected" : "',' or ']' was expected", error);
        reader->at++;
    }
}

static struct yaml_tree_node *read_value(struct reader *reader, int depth, bson_error_t *error)
{
    skip_space(reader);
    if (next_is(reader, '"'))
        return read_string(reader, error);
    if (!next_is(reader, '{') && !next_is(reader, '['))
        return read_word(reader, error);
    if (depth >= YAML_TREE_DEPTH) {
        hub_error(error, HUB_ERROR_INVALID, "%s:%d: nested deeper than %d levels", reader->file_name, reader->line,
                  YAML_TREE_DEPTH);
        return NULL;
    }
    struct yaml_tree_node *node =
        yaml_tree_node_new(reader->tree, next_is(reader, '{') ? YAML_TREE_MAP : YAML_TREE_LIST, reader->line);
    if (!node) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", reader->file_name);
        return NULL;
    }
    return read_members(reader, node, depth, error) ? NULL : node;
}

int yaml_tree_parse_json(struct yaml_tree *tree, const char *text, size_t length, const char *file_name,
                         bson_error_t *error)
{
    struct reader reader = {.tree = tree, .file_name = file_name, .at = text, .end = text + length, .line = 1};
    if (!bson_utf8_validate(text, length, true))
        return hub_error(error, HUB_ERROR_INVALID, "%s: not JSON: not UTF-8", file_name);
    skip_space(&reader);
    if (reader.at == reader.end)
        return 0;
    tree->root = read_value(&reader, 0, error);
    if (!tree->root)
        return -1;
    skip_space(&reader);
    if (reader.at < reader.end)
        return refuse(&reader, "text after the end", error);
    return 0;
}
