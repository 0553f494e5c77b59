/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/where_impl.h"
#include "cli/json.h"
#include "cli/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH 64

int where_refuse(struct where_parser *parser, const char *expected)
{
    if (parser->kind == WHERE_END) {
        return hub_error(parser->error, HUB_ERROR_INVALID, "expected %s where it ends: '%s'", expected, parser->text);
    }
    return hub_error(parser->error, HUB_ERROR_INVALID, "expected %s at position %zu: '%s'", expected,
                     (size_t)(parser->start - parser->text) + 1, parser->start);
}

static bool is_word_byte(char c)
{
    return c != '\0' && !isspace((unsigned char)c) && strchr("()=<>!~,'\"", c) == NULL;
}

static int next_quoted(struct where_parser *parser)
{
    char quote = *parser->at++;
    bson_string_t *value = bson_string_new(NULL);

    while (*parser->at != '\0' && *parser->at != quote) {
        if (*parser->at == '\\' && (parser->at[1] == quote || parser->at[1] == '\\')) {
            parser->at++;
        }
        bson_string_append_printf(value, "%c", *parser->at++);
    }
    parser->kind = WHERE_QUOTED;
    parser->value = bson_string_free(value, false);
    if (*parser->at != quote) {
        return hub_error(parser->error, HUB_ERROR_INVALID, "no closing quote for the one at position %zu: %s",
                         (size_t)(parser->start - parser->text) + 1, parser->start);
    }
    parser->at++;
    return 1;
}

int where_next(struct where_parser *parser)
{
    bson_free(parser->value);
    parser->value = NULL;
    while (isspace((unsigned char)*parser->at)) {
        parser->at++;
    }
    parser->start = parser->at;
    size_t length = 1;
    switch (*parser->at) {
    case '\0': parser->kind = WHERE_END; return 1;
    case '(': parser->kind = WHERE_OPEN; break;
    case ')': parser->kind = WHERE_CLOSE; break;
    case ',': parser->kind = WHERE_COMMA; break;
    case '\'':
    case '"': return next_quoted(parser);
    case '=':
    case '~':
        parser->kind = WHERE_OPERATOR;
        length = *parser->at == '=' && parser->at[1] == '=' ? 2 : 1;
        break;
    case '<':
    case '>':
        parser->kind = WHERE_OPERATOR;
        length = parser->at[1] == '=' ? 2 : 1;
        break;
    case '!':
        parser->kind = WHERE_OPERATOR;
        if (parser->at[1] != '=') {
            return where_refuse(parser, "'=' after '!'");
        }
        length = 2;
        break;
    default:
        parser->kind = WHERE_WORD;
        length = 0;
        while (is_word_byte(parser->at[length])) {
            length++;
        }
        break;
    }
    parser->value = bson_strndup(parser->at, length);
    parser->at += length;
    return 1;
}

bool where_is_word(const struct where_parser *parser, const char *word)
{
    return parser->kind == WHERE_WORD && strcasecmp(parser->value, word) == 0;
}

/* A bare word as the value it looks like: 1 appended, 0 it is only text. */
static int append_typed(const char *word, const char *key, bson_t *out, bson_error_t *error)
{
    char *stop;
    int64_t milliseconds;

    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        BSON_APPEND_BOOL(out, key, word[0] == 't');
        return 1;
    }
    if (strcmp(word, "null") == 0) {
        BSON_APPEND_NULL(out, key);
        return 1;
    }
    /* strtod knows hexadecimal, "nan" and "infinity" too; none of them is meant */
    size_t numeric = strspn(word, "+-.0123456789eE");
    if (word[numeric] != '\0' || strpbrk(word, "0123456789") == NULL || word[0] == 'e' || word[0] == 'E') {
        return 0;
    }
    errno = 0;
    long long integer = strtoll(word, &stop, 10);
    if (*stop == '\0' && errno == 0) {
        if (integer >= INT32_MIN && integer <= INT32_MAX) {
            BSON_APPEND_INT32(out, key, (int32_t)integer);
        } else {
            BSON_APPEND_INT64(out, key, integer);
        }
        return 1;
    }
    if (*stop == '\0') {
        return hub_error(error, HUB_ERROR_INVALID, "%s: an integer beyond 64 bits; put it into quotes if it is text",
                         word);
    }
    double number = strtod(word, &stop);
    if (*stop == '\0') {
        if (!isfinite(number)) {
            return hub_error(error, HUB_ERROR_INVALID, "%s: beyond the range of a number", word);
        }
        BSON_APPEND_DOUBLE(out, key, number);
        return 1;
    }
    if (text_parse_date(word, strlen(word), &milliseconds)) {
        BSON_APPEND_DATE_TIME(out, key, milliseconds);
        return 1;
    }
    return 0;
}

static int append_text(const char *text, const char *key, bson_t *out, bson_error_t *error)
{
    if (!bson_utf8_validate(text, strlen(text), false)) {
        return hub_error(error, HUB_ERROR_INVALID, "the value of %s is not UTF-8", key);
    }
    BSON_APPEND_UTF8(out, key, text);
    return 1;
}

/* 2026-13-01, 2026-11-21T25:00: compared as text, it would find nothing. */
static bool looks_like_date(const char *word)
{
    for (int i = 0; i < 10; i++) {
        if (i == 4 || i == 7 ? word[i] != '-' : !isdigit((unsigned char)word[i])) {
            return false;
        }
    }
    return word[10] == '\0' || word[10] == 'T' || word[10] == 't';
}

/* The current token as a value under key, and on to the next. */
int where_take_value(struct where_parser *parser, const char *key, bson_t *out)
{
    int result = 0;
    int64_t milliseconds;

    if (parser->kind != WHERE_WORD && parser->kind != WHERE_QUOTED) {
        return where_refuse(parser, "a value");
    }
    if (parser->tasks != NULL && (result = where_task_value(parser, key, out)) != 0) {
        return result;
    }
    if (parser->kind == WHERE_WORD) {
        result = append_typed(parser->value, key, out, parser->error);
        if (result == 0 && text_parse_date(parser->value, strlen(parser->value), &milliseconds)) {
            BSON_APPEND_DATE_TIME(out, key, milliseconds);
            result = 1;
        }
    }
    if (result == 0 && parser->kind == WHERE_WORD && looks_like_date(parser->value)) {
        return hub_error(parser->error, HUB_ERROR_INVALID,
                         "%s: there is no such date (YYYY-MM-DD or YYYY-MM-DDTHH:MM); put it into quotes if it is text",
                         parser->value);
    }
    if (result == 0) {
        result = append_text(parser->value, key, out, parser->error);
    }
    return result < 0 ? -1 : where_next(parser);
}

/* {path: {name: …}} from the array or value that stands in inner. */
static void append_condition(bson_t *out, const char *path, const bson_t *inner)
{
    BSON_APPEND_DOCUMENT(out, path, inner);
}

void where_append_literal(bson_string_t *pattern, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr("\\^$.|?*+()[]{}", text[i]) != NULL) {
            bson_string_append_c(pattern, '\\');
        }
        bson_string_append_printf(pattern, "%c", text[i]);
    }
}

/* path ~ text: a literal regular expression of the store's subset. */
static int parse_match(struct where_parser *parser, const char *path, bson_t *out)
{
    if (parser->kind != WHERE_WORD && parser->kind != WHERE_QUOTED) {
        return where_refuse(parser, "a text after '~'");
    }
    const char *text = parser->value;
    bson_string_t *pattern = bson_string_new(*text == '^' ? "^" : NULL);
    text += *text == '^';
    where_append_literal(pattern, text, strlen(text));
    bson_t inner = BSON_INITIALIZER;
    int result = append_text(pattern->str, "$regex", &inner, parser->error);
    if (result > 0) {
        append_condition(out, path, &inner);
        result = where_next(parser);
    }
    bson_destroy(&inner);
    bson_string_free(pattern, true);
    return result;
}

static int parse_list(struct where_parser *parser, const char *path, bool negated, bson_t *out)
{
    bson_t inner = BSON_INITIALIZER, list = BSON_INITIALIZER;
    uint32_t index = 0;
    int result = -1;

    if (parser->kind != WHERE_OPEN) {
        (void)where_refuse(parser, "'(' after in");
        goto out;
    }
    do {
        char digits[16];
        const char *key;
        bson_uint32_to_string(index++, &key, digits, sizeof digits);
        if (where_next(parser) < 0 || where_take_value(parser, key, &list) < 0) {
            goto out;
        }
    } while (parser->kind == WHERE_COMMA);
    if (parser->kind != WHERE_CLOSE) {
        (void)where_refuse(parser, "',' or ')'");
        goto out;
    }
    BSON_APPEND_ARRAY(&inner, negated ? "$nin" : "$in", &list);
    append_condition(out, path, &inner);
    result = where_next(parser);
out:
    bson_destroy(&list);
    bson_destroy(&inner);
    return result;
}

static int parse_operator(struct where_parser *parser, const char *path, bson_t *out)
{
    static const char *const names[][2] = {{"!=", "$ne"}, {"<", "$lt"}, {"<=", "$lte"}, {">", "$gt"}, {">=", "$gte"}};
    char sign[3];
    int result = -1;

    bson_strncpy(sign, parser->value, sizeof sign);
    if (where_next(parser) < 0) {
        return -1;
    }
    if (parser->tasks != NULL && (sign[0] == '=' || sign[0] == '!') && parser->kind == WHERE_WORD &&
        strpbrk(parser->value, "*?") != NULL) {
        return where_task_pattern(parser, path, sign[0] == '!', out);
    }
    if (sign[0] == '=') {
        return where_take_value(parser, path, out);
    }
    if (sign[0] == '~') {
        return parse_match(parser, path, out);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(sign, names[i][0]) == 0) {
            bson_t inner = BSON_INITIALIZER;
            result = where_take_value(parser, names[i][1], &inner);
            if (result > 0) {
                append_condition(out, path, &inner);
            }
            bson_destroy(&inner);
            break;
        }
    }
    return result;
}

/* One dotted path of a filter, sort or column. */
bool where_is_path(const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < length; i++) {
        bool letter =
            isalnum((unsigned char)path[i]) || path[i] == '_' || path[i] == '-' || (unsigned char)path[i] >= 0x80;
        bool dot = path[i] == '.' && i > 0 && i + 1 < length && path[i - 1] != '.';
        if (!letter && !dot) {
            return false;
        }
    }
    return length > 0 && bson_utf8_validate(path, length, false);
}

static int parse_comparison(struct where_parser *parser, bson_t *out)
{
    if (parser->kind != WHERE_WORD || !where_is_path(parser->value)) {
        return where_refuse(parser, "a path such as accuracy or hyper_parameters.epochs");
    }
    char *path = bson_strdup(parser->value);
    int result = where_next(parser);
    bool negated = false;
    if (result > 0 && where_is_word(parser, "not")) {
        negated = true;
        result = where_next(parser);
    }
    if (result < 0) {
        goto out;
    }
    if (where_is_word(parser, "in")) {
        result = where_next(parser) < 0 ? -1 : parse_list(parser, path, negated, out);
    } else if (negated) {
        result = where_refuse(parser, "in after not");
    } else if (parser->kind == WHERE_OPERATOR) {
        result = parse_operator(parser, path, out);
    } else {
        result = where_refuse(parser, "one of = != < <= > >= ~ in");
    }
out:
    bson_free(path);
    return result;
}

static int parse_any(struct where_parser *parser, bson_t *out);

static int parse_one(struct where_parser *parser, bson_t *out)
{
    int result = -1;

    if (++parser->depth > DEPTH) {
        return where_refuse(parser, "fewer parentheses and nots (64 levels)");
    }
    if (where_is_word(parser, "not")) {
        bson_t inner = BSON_INITIALIZER, list = BSON_INITIALIZER;
        if (where_next(parser) > 0 && parse_one(parser, &inner) > 0) {
            BSON_APPEND_DOCUMENT(&list, "0", &inner);
            BSON_APPEND_ARRAY(out, "$nor", &list);
            result = 1;
        }
        bson_destroy(&list);
        bson_destroy(&inner);
    } else if (parser->kind == WHERE_OPEN) {
        if (where_next(parser) > 0 && parse_any(parser, out) > 0) {
            result = parser->kind == WHERE_CLOSE ? where_next(parser) : where_refuse(parser, "'and', 'or' or ')'");
        }
    } else {
        result = parser->tasks != NULL ? where_task_term(parser, out) : 0;
        result = result == 0 ? parse_comparison(parser, out) : result;
    }
    parser->depth--;
    return result;
}

/* A chain of parts with one word between them; two and more stand in an array under the operator. */
static int parse_chain(struct where_parser *parser, const char *word, const char *operator,
                       int (*part)(struct where_parser *, bson_t *), bson_t *out)
{
    bson_t list = BSON_INITIALIZER;
    uint32_t count = 0;
    int result = -1;

    for (;;) {
        bson_t one = BSON_INITIALIZER;
        char digits[16];
        const char *key;
        bson_uint32_to_string(count, &key, digits, sizeof digits);
        if (part(parser, &one) < 0) {
            bson_destroy(&one);
            goto out;
        }
        if (count == 0 && !where_is_word(parser, word)) {
            bson_concat(out, &one);
            bson_destroy(&one);
            result = 1;
            goto out;
        }
        BSON_APPEND_DOCUMENT(&list, key, &one);
        bson_destroy(&one);
        count++;
        if (!where_is_word(parser, word)) {
            break;
        }
        if (where_next(parser) < 0) {
            goto out;
        }
    }
    BSON_APPEND_ARRAY(out, operator, & list);
    result = 1;
out:
    bson_destroy(&list);
    return result;
}

static int parse_all(struct where_parser *parser, bson_t *out)
{
    return parse_chain(parser, "and", "$and", parse_one, out);
}

static int parse_any(struct where_parser *parser, bson_t *out)
{
    return parse_chain(parser, "or", "$or", parse_all, out);
}

static int parse(const char *text, struct where_tasks *tasks, bson_t *filter, bson_error_t *error)
{
    struct where_parser parser = {.text = text, .at = text, .start = text, .tasks = tasks, .error = error};
    int result = -1;

    bson_init(filter);
    if (where_next(&parser) > 0 && parse_any(&parser, filter) > 0) {
        result = parser.kind == WHERE_END ? 1 : where_refuse(&parser, "'and' or 'or'");
    }
    bson_free(parser.value);
    return result;
}

int where_parse(const char *text, bson_t *filter, bson_error_t *error)
{
    return parse(text, NULL, filter, error);
}

int where_parse_tasks(const char *text, struct where_tasks *tasks, bson_t *filter, bson_error_t *error)
{
    return parse(text, tasks, filter, error);
}

int where_parse_sort(const char *text, bson_t *sort, bson_error_t *error)
{
    bson_init(sort);
    for (const char *at = text;;) {
        size_t length = strcspn(at, ",");
        char *key = bson_strndup(at, length), *path = key;
        int32_t direction = 1;
        char *colon = strchr(key, ':');
        bool known = true;
        if (colon != NULL) {
            *colon = '\0';
            known = strcmp(colon + 1, "asc") == 0 || strcmp(colon + 1, "desc") == 0;
            direction = strcmp(colon + 1, "desc") == 0 ? -1 : 1;
        } else if (*path == '-') {
            direction = -1;
            path++;
        }
        while (*path == ' ') {
            path++;
        }
        if (!known || !where_is_path(path) || bson_has_field(sort, path)) {
            bson_free(key);
            return hub_error(error, HUB_ERROR_INVALID,
                             "'%.*s' is not a sort key: write PATH:asc or PATH:desc, each path once", (int)length, at);
        }
        BSON_APPEND_INT32(sort, path, direction);
        bson_free(key);
        if (at[length] == '\0') {
            return 1;
        }
        at += length + 1;
    }
}

int where_parse_setting(const char *text, bson_t *document, bson_error_t *error)
{
    const char *equals = strchr(text, '=');
    int result;

    if (equals == NULL) {
        return hub_error(error, HUB_ERROR_INVALID, "'%s' is not KEY=VALUE", text);
    }
    char *key = bson_strndup(text, (size_t)(equals - text));
    const char *value = equals + 1;
    size_t length = strlen(value);
    if (!where_is_path(key) || strchr(key, '.') != NULL) {
        result = hub_error(error, HUB_ERROR_INVALID, "'%s' is not a key: use letters, digits, _ and -", key);
    } else if (bson_has_field(document, key)) {
        result = hub_error(error, HUB_ERROR_INVALID, "%s is given twice", key);
    } else if (*value == '[' || *value == '{') {
        bson_error_t reason;
        result = json_read_value(value, length, key, document, &reason);
        if (result < 0) {
            result = hub_error(error, HUB_ERROR_INVALID, "%s: %s", key, reason.message);
        }
    } else if (length >= 2 && (*value == '"' || *value == '\'') && value[length - 1] == *value) {
        char *inside = bson_strndup(value + 1, length - 2);
        result = append_text(inside, key, document, error);
        bson_free(inside);
    } else {
        result = *value == '\0' ? 0 : append_typed(value, key, document, error);
        if (result == 0) {
            result = append_text(value, key, document, error);
        }
    }
    bson_free(key);
    return result;
}
