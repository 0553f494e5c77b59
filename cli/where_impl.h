/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_WHERE_IMPL_H
#define TL_CLI_WHERE_IMPL_H

/* The parser of conditions, for where.c and where_task.c alone. */

#include "cli/where.h"

enum where_token {
    WHERE_END,
    WHERE_WORD,
    WHERE_QUOTED,
    WHERE_OPERATOR,
    WHERE_OPEN,
    WHERE_CLOSE,
    WHERE_COMMA
};

struct where_parser {
    const char *text;
    const char *at;    /* behind the current token */
    const char *start; /* of the current token */
    enum where_token kind;
    char *value; /* of the current token: word, quoted text without its quotes, operator */
    int depth;
    struct where_tasks *tasks; /* NULL: documents of any kind, without the words that only tasks know */
    bson_error_t *error;
};

/* On to the next token. 1, or -1 with the position. */
int where_next(struct where_parser *parser);
/* "expected … at position …": -1. */
int where_refuse(struct where_parser *parser, const char *expected);
/* Whether the current token is this word, in any case. */
bool where_is_word(const struct where_parser *parser, const char *word);
/* The current token as a value under key, and on to the next. */
int where_take_value(struct where_parser *parser, const char *key, bson_t *out);
/* One dotted path of a filter, sort or column. */
bool where_is_path(const char *path);
/* A text as the store's regular expressions have it literally. */
void where_append_literal(bson_string_t *pattern, const char *text, size_t length);

/* What only tasks know, at the current token: 1 taken, its condition in out; 0 it is a comparison like any other; -1. */
int where_task_term(struct where_parser *parser, bson_t *out);
/* A value that only tasks know (now-2h, today) under key: 1 and on to the next token, 0 it is none, -1. */
int where_task_value(struct where_parser *parser, const char *key, bson_t *out);
/* path = the current word, which has * or ? in it, and on to the next token. */
int where_task_pattern(struct where_parser *parser, const char *path, bool negated, bson_t *out);

#endif
