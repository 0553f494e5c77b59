/* SPDX-License-Identifier: Apache-2.0 */
/* What conditions on tasks know beside paths and values: numbers and ranges, states, names with wildcards, and times. */
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/where_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAY_MS INT64_C(86400000)

static const char *const stamps[] = {"created_at", "claimed_at", "started_at", "beat_at", "finished_at"};
static const char *const states[] = {"waiting", "delayed", "ready", "running",   "paused", "parked",
                                     "done",    "failed",  "dead",  "cancelled", "stopped"};
#define STATES (sizeof states / sizeof *states)
#define STATES_UNFINISHED 6 /* the first ones */

void where_tasks_init(struct where_tasks *tasks, int64_t now)
{
    *tasks = (struct where_tasks){.now = now};
    bson_init(&tasks->names);
    bson_init(&tasks->patterns);
}

void where_tasks_destroy(struct where_tasks *tasks)
{
    if (tasks != NULL) {
        bson_destroy(&tasks->names);
        bson_destroy(&tasks->patterns);
    }
}

/* ---- patterns ---- */

static const char *after_character(const char *text)
{
    do {
        text++;
    } while (((unsigned char)*text & 0xc0) == 0x80);
    return text;
}

bool where_pattern_matches(const char *pattern, const char *text)
{
    const char *star = NULL, *again = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            again = text;
        } else if (*pattern == '?') {
            pattern++;
            text = after_character(text);
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = again = after_character(again);
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

/* fash*, *fash* and * as the store has them: 1; 0 it must be computed. */
static int append_simple_pattern(const char *path, const char *pattern, bson_t *out)
{
    size_t length = strlen(pattern), before = pattern[0] == '*';
    const char *star = strpbrk(pattern + before, "*?");
    bson_t inner;

    if (strspn(pattern, "*") == length) {
        BSON_APPEND_DOCUMENT_BEGIN(out, path, &inner);
        BSON_APPEND_UTF8(&inner, "$regex", "");
        bson_append_document_end(out, &inner);
        return 1;
    }
    if (star == NULL || *star != '*' || star[1] != '\0') {
        return 0;
    }
    bson_string_t *regex = bson_string_new(before ? NULL : "^");
    where_append_literal(regex, pattern + before, length - before - 1);
    BSON_APPEND_DOCUMENT_BEGIN(out, path, &inner);
    BSON_APPEND_UTF8(&inner, "$regex", regex->str);
    bson_append_document_end(out, &inner);
    bson_string_free(regex, true);
    return 1;
}

static int append_pattern(struct where_parser *parser, const char *path, bson_t *out)
{
    struct where_tasks *tasks = parser->tasks;
    char digits[16], computed[24];
    const char *key;
    bson_t one;

    if (!bson_utf8_validate(parser->value, strlen(parser->value), false)) {
        return where_refuse(parser, "UTF-8");
    }
    tasks->special = true;
    if (append_simple_pattern(path, parser->value, out) > 0) {
        return 1;
    }
    size_t length = bson_uint32_to_string(tasks->pattern_count++, &key, digits, sizeof digits);
    snprintf(computed, sizeof computed, "~%s", key);
    bson_append_document_begin(&tasks->patterns, key, (int)length, &one);
    BSON_APPEND_UTF8(&one, "path", path);
    BSON_APPEND_UTF8(&one, "pattern", parser->value);
    bson_append_document_end(&tasks->patterns, &one);
    BSON_APPEND_BOOL(out, computed, true);
    tasks->computed = true;
    return 1;
}

static void negate(const bson_t *condition, bson_t *out)
{
    bson_t list;
    BSON_APPEND_ARRAY_BEGIN(out, "$nor", &list);
    BSON_APPEND_DOCUMENT(&list, "0", condition);
    bson_append_array_end(out, &list);
}

int where_task_pattern(struct where_parser *parser, const char *path, bool negated, bson_t *out)
{
    bson_t one = BSON_INITIALIZER;
    int result = append_pattern(parser, path, negated ? &one : out);

    if (negated) {
        negate(&one, out);
    }
    bson_destroy(&one);
    return result < 0 ? -1 : where_next(parser);
}

/* ---- items: numbers, states, names ---- */

/* "124", "#124-186": 1; 0 it is something else; -1 a range that runs backwards. */
static int append_range(struct where_parser *parser, bson_t *out)
{
    const char *text = parser->value;
    char *end;
    bson_t seq;

    text += *text == '#';
    if (!isdigit((unsigned char)*text)) {
        return 0;
    }
    errno = 0;
    int64_t low = strtoll(text, &end, 10), high = low;
    if (*end == '-' && isdigit((unsigned char)end[1 + (end[1] == '#')])) {
        high = strtoll(end + 1 + (end[1] == '#'), &end, 10);
    }
    if (*end != '\0') {
        return 0;
    }
    if (errno != 0 || high < low) {
        return where_refuse(parser, "a range of task numbers such as 124-186");
    }
    if (low == high) {
        BSON_APPEND_INT64(out, "seq", low);
    } else {
        BSON_APPEND_DOCUMENT_BEGIN(out, "seq", &seq);
        BSON_APPEND_INT64(&seq, "$gte", low);
        BSON_APPEND_INT64(&seq, "$lte", high);
        bson_append_document_end(out, &seq);
    }
    return 1;
}

static void append_states(const char *operator, size_t first, size_t end, bson_t *out)
{
    bson_t inner, list;
    BSON_APPEND_DOCUMENT_BEGIN(out, "state", &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, operator, &list);
    for (size_t i = first; i < end; i++) {
        char digits[16];
        const char *key;
        bson_uint32_to_string((uint32_t)(i - first), &key, digits, sizeof digits);
        BSON_APPEND_UTF8(&list, key, states[i]);
    }
    bson_append_array_end(&inner, &list);
    bson_append_document_end(out, &inner);
}

/* Dead, or crashed since the last checkpoint or restart and not yet at a good end. */
static void append_crashed(bson_t *out)
{
    bson_t list, one, inner, wrong;
    BSON_APPEND_ARRAY_BEGIN(out, "$or", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &one);
    BSON_APPEND_UTF8(&one, "state", "dead");
    bson_append_document_end(&list, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "1", &one);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "crashes", &inner);
    BSON_APPEND_INT32(&inner, "$gt", 0);
    bson_append_document_end(&one, &inner);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "state", &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$nin", &wrong);
    BSON_APPEND_UTF8(&wrong, "0", "done");
    BSON_APPEND_UTF8(&wrong, "1", "stopped");
    BSON_APPEND_UTF8(&wrong, "2", "cancelled");
    bson_append_array_end(&inner, &wrong);
    bson_append_document_end(&one, &inner);
    bson_append_document_end(&list, &one);
    bson_append_array_end(out, &list);
}

static bool append_state(const struct where_parser *parser, bson_t *out)
{
    if (where_is_word(parser, "ended") || where_is_word(parser, "unfinished")) {
        append_states(where_is_word(parser, "ended") ? "$nin" : "$in", 0, STATES_UNFINISHED, out);
        return true;
    }
    if (where_is_word(parser, "crashed")) {
        append_crashed(out);
        return true;
    }
    for (size_t i = 0; i < STATES; i++) {
        if (where_is_word(parser, states[i])) {
            BSON_APPEND_UTF8(out, "state", states[i]);
            return true;
        }
    }
    return false;
}

bool where_is_task_word(const char *text)
{
    const struct where_parser parser = {.kind = WHERE_WORD, .value = (char *)text};
    bson_t unused = BSON_INITIALIZER;
    bool is = append_state(&parser, &unused);
    bson_destroy(&unused);
    return is;
}

static int append_name(struct where_parser *parser, bson_t *out)
{
    struct where_tasks *tasks = parser->tasks;
    const char *text = parser->value, *key;
    char digits[16];
    bson_t list, one, inner;

    if (!bson_utf8_validate(text, strlen(text), false)) {
        return where_refuse(parser, "UTF-8");
    }
    bson_uint32_to_string(tasks->name_count++, &key, digits, sizeof digits);
    BSON_APPEND_UTF8(&tasks->names, key, text);
    BSON_APPEND_ARRAY_BEGIN(out, "$or", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &one);
    BSON_APPEND_UTF8(&one, "name", text);
    bson_append_document_end(&list, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "1", &one);
    if (text_is_hex(text, 6)) {
        char *regex = bson_strdup_printf("^%s", text);
        BSON_APPEND_DOCUMENT_BEGIN(&one, "_id", &inner);
        BSON_APPEND_UTF8(&inner, "$regex", regex);
        bson_append_document_end(&one, &inner);
        bson_free(regex);
    } else {
        BSON_APPEND_UTF8(&one, "_id", text);
    }
    bson_append_document_end(&list, &one);
    bson_append_array_end(out, &list);
    return 1;
}

static int parse_item(struct where_parser *parser, bson_t *out)
{
    int result = 0;

    if (parser->kind == WHERE_WORD) {
        if (where_is_word(parser, "and") || where_is_word(parser, "or") || where_is_word(parser, "not") ||
            where_is_word(parser, "in")) {
            return where_refuse(parser, "a task's number, name or state (put a name like this into quotes)");
        }
        result = append_range(parser, out);
        if (result == 0 && append_state(parser, out)) {
            result = 1;
        }
        if (result == 0 && strpbrk(parser->value, "*?") != NULL) {
            result = append_pattern(parser, "name", out);
        }
    }
    if (result == 0) {
        result = parser->kind == WHERE_WORD || parser->kind == WHERE_QUOTED
                     ? append_name(parser, out)
                     : where_refuse(parser, "a task's number, name or state, or a condition such as state=failed");
    }
    return result < 0 ? -1 : where_next(parser);
}

static int parse_items(struct where_parser *parser, bson_t *out)
{
    bson_t list = BSON_INITIALIZER;
    uint32_t count = 0;
    int result = 1;

    parser->tasks->special = true;
    for (;;) {
        char digits[16];
        const char *key;
        bson_t one = BSON_INITIALIZER;
        result = parse_item(parser, &one);
        bool more = result > 0 && parser->kind == WHERE_COMMA;
        if (result > 0 && count == 0 && !more) {
            bson_concat(out, &one);
        } else if (result > 0) {
            bson_uint32_to_string(count, &key, digits, sizeof digits);
            BSON_APPEND_DOCUMENT(&list, key, &one);
        }
        count++;
        bson_destroy(&one);
        if (!more || (result = where_next(parser)) < 0) {
            break;
        }
    }
    if (result > 0 && count > 1) {
        BSON_APPEND_ARRAY(out, "$or", &list);
    }
    bson_destroy(&list);
    return result;
}

/* ---- times ---- */

/* now, now-2h, today, yesterday. */
static bool read_moment(const struct where_parser *parser, int64_t *moment)
{
    int64_t now = parser->tasks->now, back;

    if (parser->kind != WHERE_WORD) {
        return false;
    }
    if (where_is_word(parser, "today") || where_is_word(parser, "yesterday")) {
        *moment = now - (now % DAY_MS + DAY_MS) % DAY_MS - (where_is_word(parser, "yesterday") ? DAY_MS : 0);
        return true;
    }
    if (strncasecmp(parser->value, "now", 3) != 0) {
        return false;
    }
    *moment = now;
    if (parser->value[3] == '-' && cli_parse_duration(parser->value + 4, &back)) {
        *moment = now - back;
        return true;
    }
    return parser->value[3] == '\0';
}

int where_task_value(struct where_parser *parser, const char *key, bson_t *out)
{
    int64_t moment;

    if (!read_moment(parser, &moment)) {
        return 0;
    }
    parser->tasks->special = true;
    BSON_APPEND_DATE_TIME(out, key, moment);
    return where_next(parser);
}

/* One comparison of time and its moment. since: "<" of a duration is ">" of the moment that it reaches back to. */
static int read_time(struct where_parser *parser, char sign[3], int64_t *moment)
{
    int64_t back;

    bson_strncpy(sign, parser->value, 3);
    if (parser->kind != WHERE_OPERATOR || (sign[0] != '<' && sign[0] != '>')) {
        return where_refuse(parser, "one of < <= > >=");
    }
    if (where_next(parser) < 0) {
        return -1;
    }
    if (parser->kind != WHERE_WORD) {
        return where_refuse(parser, "a time such as 90s, 10m, 2h, 1d or a date");
    }
    if (text_parse_date(parser->value, strlen(parser->value), moment) || read_moment(parser, moment)) {
        return where_next(parser);
    }
    if (!cli_parse_duration(parser->value, &back)) {
        return where_refuse(parser, "a time such as 90s, 10m, 2h, 1d or a date");
    }
    *moment = parser->tasks->now - back;
    sign[0] = sign[0] == '<' ? '>' : '<';
    return where_next(parser);
}

static void append_bound(bson_t *out, const char *path, const char *operator, int64_t moment)
{
    bson_t inner;
    BSON_APPEND_DOCUMENT_BEGIN(out, path, &inner);
    BSON_APPEND_DATE_TIME(&inner, operator, moment);
    bson_append_document_end(out, &inner);
}

static int parse_age(struct where_parser *parser, bson_t *out)
{
    char sign[3];
    int64_t moment;

    if (read_time(parser, sign, &moment) < 0) {
        return -1;
    }
    bool equal = sign[1] == '=';
    append_bound(out, "created_at", sign[0] == '>' ? equal ? "$gte" : "$gt" : equal ? "$lte" : "$lt", moment);
    return 1;
}

/* Later than a moment: some stamp is. Earlier: not one is at or after it. */
static int parse_last_change(struct where_parser *parser, bson_t *out)
{
    char sign[3];
    int64_t moment;
    bson_t list;

    if (read_time(parser, sign, &moment) < 0) {
        return -1;
    }
    bool later = sign[0] == '>', equal = sign[1] == '=';
    BSON_APPEND_ARRAY_BEGIN(out, later ? "$or" : "$nor", &list);
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        char digits[16];
        const char *key;
        bson_t one = BSON_INITIALIZER;
        append_bound(&one, stamps[i], later == equal ? "$gte" : "$gt", moment);
        bson_uint32_to_string((uint32_t)i, &key, digits, sizeof digits);
        BSON_APPEND_DOCUMENT(&list, key, &one);
        bson_destroy(&one);
    }
    bson_append_array_end(out, &list);
    return 1;
}

static int parse_runtime(struct where_parser *parser, bson_t *out)
{
    static const char *const names[][2] = {{"=", "$eq"}, {"==", "$eq"}, {"!=", "$ne"}, {"<", "$lt"},
                                           {"<=", "$lte"}, {">", "$gt"}, {">=", "$gte"}};
    const char *operator = NULL;
    int64_t milliseconds;
    bson_t inner;

    for (size_t i = 0; parser->kind == WHERE_OPERATOR && i < sizeof names / sizeof *names; i++) {
        operator = strcmp(parser->value, names[i][0]) == 0 ? names[i][1] : operator;
    }
    if (operator == NULL) {
        return where_refuse(parser, "one of = != < <= > >=");
    }
    if (where_next(parser) < 0) {
        return -1;
    }
    if (parser->kind != WHERE_WORD || !cli_parse_duration(parser->value, &milliseconds)) {
        return where_refuse(parser, "a time such as 7200, 90s, 10m, 2h");
    }
    BSON_APPEND_DOCUMENT_BEGIN(out, "~runtime", &inner);
    BSON_APPEND_DOUBLE(&inner, operator, (double)milliseconds / 1000);
    bson_append_document_end(out, &inner);
    parser->tasks->computed = true;
    return where_next(parser);
}

/* Whether a comparison follows the current word. */
static bool is_compared(const struct where_parser *parser)
{
    const char *at = parser->at;

    while (isspace((unsigned char)*at)) {
        at++;
    }
    if (*at != '\0' && strchr("=<>!~", *at) != NULL) {
        return true;
    }
    size_t length = strcspn(at, " \t\n\r(");
    if (length == 3 && strncasecmp(at, "not", 3) == 0) {
        at += length;
        while (isspace((unsigned char)*at)) {
            at++;
        }
        length = strcspn(at, " \t\n\r(");
    }
    return length == 2 && strncasecmp(at, "in", 2) == 0;
}

int where_task_term(struct where_parser *parser, bson_t *out)
{
    static const struct {
        const char *word;
        int (*parse)(struct where_parser *parser, bson_t *out);
    } times[] = {{"tmod", parse_last_change}, {"age", parse_age}, {"runtime", parse_runtime}};

    if (parser->kind != WHERE_WORD || !is_compared(parser)) {
        return parse_items(parser, out);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (where_is_word(parser, times[i].word)) {
            parser->tasks->special = true;
            return where_next(parser) < 0 ? -1 : times[i].parse(parser, out);
        }
    }
    return 0;
}

/* ---- what is computed ---- */

static bool find_date(const bson_t *task, const char *path, int64_t *moment)
{
    bson_iter_t iter;

    if (!bson_iter_init_find(&iter, task, path) || !BSON_ITER_HOLDS_DATE_TIME(&iter)) {
        return false;
    }
    *moment = bson_iter_date_time(&iter);
    return true;
}

static void append_runtime(const struct where_tasks *tasks, const bson_t *task, bson_t *out)
{
    bson_iter_t state;
    int64_t start, end;

    if (!find_date(task, "started_at", &start) && !find_date(task, "claimed_at", &start)) {
        return;
    }
    if (!find_date(task, "finished_at", &end)) {
        if (!bson_iter_init_find(&state, task, "state") || !BSON_ITER_HOLDS_UTF8(&state) ||
            strcmp(bson_iter_utf8(&state, NULL), "running") != 0) {
            return;
        }
        end = tasks->now;
    }
    if (end >= start) {
        BSON_APPEND_DOUBLE(out, "~runtime", (double)(end - start) / 1000);
    }
}

static bool value_matches(const bson_iter_t *value, const char *pattern)
{
    bson_iter_t element;

    if (BSON_ITER_HOLDS_UTF8(value)) {
        return where_pattern_matches(pattern, bson_iter_utf8(value, NULL));
    }
    if (BSON_ITER_HOLDS_ARRAY(value) && bson_iter_recurse(value, &element)) {
        while (bson_iter_next(&element)) {
            if (BSON_ITER_HOLDS_UTF8(&element) && where_pattern_matches(pattern, bson_iter_utf8(&element, NULL))) {
                return true;
            }
        }
    }
    return false;
}

void where_tasks_complete(const struct where_tasks *tasks, const bson_t *task, bson_t *out)
{
    bson_iter_t list, path, pattern, iter, value;

    bson_copy_to(task, out);
    append_runtime(tasks, task, out);
    if (!bson_iter_init(&list, &tasks->patterns)) {
        return;
    }
    while (bson_iter_next(&list)) {
        char computed[24];
        snprintf(computed, sizeof computed, "~%s", bson_iter_key(&list));
        if (bson_iter_recurse(&list, &path) && bson_iter_find(&path, "path") && bson_iter_recurse(&list, &pattern) &&
            bson_iter_find(&pattern, "pattern") && bson_iter_init(&iter, task) &&
            bson_iter_find_descendant(&iter, bson_iter_utf8(&path, NULL), &value)) {
            BSON_APPEND_BOOL(out, computed, value_matches(&value, bson_iter_utf8(&pattern, NULL)));
        }
    }
}
