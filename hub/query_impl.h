/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_QUERY_IMPL_H
#define TL_HUB_QUERY_IMPL_H

/* The parsed form of a filter. Only query*.c and the SQLite engine, which turns parts of it into SQL, include this. */

#include "hub/query.h"

#define QUERY_DEPTH_LIMIT 100 /* levels of a document, counted from 1 at the top */

enum query_kind {
    QUERY_AND,    /* every child; none: true */
    QUERY_OR,     /* some child; none: false */
    QUERY_NOT,    /* not its one child */
    QUERY_EQ,
    QUERY_GT,
    QUERY_GTE,
    QUERY_LT,
    QUERY_LTE,
    QUERY_IN,     /* value is the array */
    QUERY_EXISTS, /* $exists: true; false is NOT of it */
    QUERY_LITERAL /* $regex: the literal is a substring, or a prefix */
};

/* A dotted path; parts point into one copy of it. */
struct query_path {
    char *text;
    char *split;
    const char **parts;
    size_t count;
};

struct query_node {
    enum query_kind kind;
    struct query_path path;  /* of the leaves */
    bson_iter_t value;       /* of EQ … IN: points into the query's copy of the filter */
    char *literal;
    size_t literal_length;
    bool anchored;
    struct query_node **children;
    size_t count;
    struct query_ranges *ranges; /* of an OR with many children, or NULL */
};

struct query {
    bson_t *filter;
    struct query_node *root; /* an AND */
};

bool query_node_matches(const struct query_node *node, const bson_t *document);

/* Of an OR whose children are complete: NULL where it does not help. match: 1, 0, or -1 where each child must be asked. */
struct query_ranges *query_ranges_new(const struct query_node *node);
void query_ranges_free(struct query_ranges *ranges);
int query_ranges_match(const struct query_ranges *ranges, const bson_t *document);

/* Checks a path of a filter, sort, projection, update or index: parts not empty and not starting with '$', at most
 * QUERY_DEPTH_LIMIT of them. */
int query_check_path(const char *path, const char *where, bson_error_t *error);
/* path must have been checked. */
void query_path_init(struct query_path *path, const char *text);
void query_path_destroy(struct query_path *path);
/* Whether a is b or leads to it. */
bool query_path_is_prefix(const char *a, const char *b);

/* A value that may be stored or compared with: types, keys, UTF-8, depth (of this value within its document). */
int query_check_value(const bson_iter_t *value, const char *where, unsigned depth, bson_error_t *error);

/* Whether the literal pattern is inside the text, or at its start. */
bool query_literal_matches(const struct query_node *node, const char *text, size_t length);

#endif
