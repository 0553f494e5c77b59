/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_YAML_TREE_H
#define TL_DISTRIBUTOR_YAML_TREE_H

/* A YAML or JSON text as a tree of nodes that know their line. YAML 1.2's core schema gives plain scalars their type
 * (so `yes` is a string and 1e-3 a float); JSON (RFC 8259) is read strictly, by a parser of its own.
 *
 * Texts come from anywhere: duplicate keys, more than one document, unknown tags and cyclic aliases are refused; size,
 * depth and the number of nodes (aliases counted as often as they are used) are limited. Errors are HUB_ERROR_INVALID,
 * "FILE:LINE: what". */

#include "hub/error.h"

#define YAML_TREE_TEXT_BYTES (8u << 20)
#define YAML_TREE_DEPTH      64
#define YAML_TREE_NODES      2000000

enum yaml_tree_kind {
    YAML_TREE_NULL,
    YAML_TREE_BOOL,
    YAML_TREE_INT,
    YAML_TREE_FLOAT,
    YAML_TREE_STRING,
    YAML_TREE_LIST,
    YAML_TREE_MAP
};

struct yaml_tree_node {
    enum yaml_tree_kind kind;
    int line;                      /* from 1 */
    bool boolean;                  /* BOOL */
    int64_t integer;               /* INT */
    double number;                 /* FLOAT, and INT as a double */
    char *text;                    /* STRING, UTF-8 without NUL */
    size_t count;                  /* of items, or of keys and items */
    struct yaml_tree_node **keys;  /* MAP: STRING nodes, in the text's order */
    struct yaml_tree_node **items; /* LIST and MAP; a node may stand in several places (aliases) */
    int64_t weight;                /* nodes below and with this one, aliases expanded */
    struct yaml_tree_node *next;   /* of all nodes of the tree, for freeing */
};

struct yaml_tree {
    struct yaml_tree_node *root; /* NULL: an empty text */
    struct yaml_tree_node *nodes;
};

/* file_name is for messages; a name that ends in .json is read as JSON, everything else as YAML. NULL on error. */
struct yaml_tree *yaml_tree_parse(const char *text, size_t length, const char *file_name, bson_error_t *error);
void yaml_tree_free(struct yaml_tree *tree);

/* The item of this key, or NULL. */
const struct yaml_tree_node *yaml_tree_get(const struct yaml_tree_node *map, const char *key);
/* "a string", "a list", … for messages. */
const char *yaml_tree_kind_name(enum yaml_tree_kind kind);

/* For the two parsers. Nodes belong to the tree from the start; NULL without memory. */
struct yaml_tree_node *yaml_tree_node_new(struct yaml_tree *tree, enum yaml_tree_kind kind, int line);
/* Adds to a LIST (key NULL) or a MAP (key a STRING node). -1: a duplicate key, too many nodes, no memory. */
int yaml_tree_add(struct yaml_tree_node *parent, struct yaml_tree_node *key, struct yaml_tree_node *item,
                  const char *file_name, bson_error_t *error);
/* A plain scalar's type by the core schema into *node. -1: an integer beyond 64 bits. */
int yaml_tree_resolve(struct yaml_tree_node *node, const char *text, const char *file_name, bson_error_t *error);
/* yaml_tree_json.c: *root is set; yaml_tree.c frees the tree on error. */
int yaml_tree_parse_json(struct yaml_tree *tree, const char *text, size_t length, const char *file_name,
                         bson_error_t *error);

#endif
