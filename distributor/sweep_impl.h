/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_IMPL_H
#define TL_DISTRIBUTOR_SWEEP_IMPL_H

/* What the files of a sweep share: sweep.c reads, sweep_point.c makes points, sweep_submit.c submits. */

#include "distributor/sweep.h"
#include "distributor/yaml_tree.h"

#define SWEEP_POINTS     1000000
#define SWEEP_TEXT_BYTES (4u << 20) /* text and specification fit into one document */

struct sweep_parameter {
    char *path; /* "hidden", or "head.units" for a nested one */
    int line;
    struct yaml_tree_node **values;   /* borrowed from the tree; scalars, all different */
    struct yaml_tree_node *single[1]; /* what values points to where there is one */
    size_t count;
    bool label; /* only marks the point: nothing has to read it */
    bool used;  /* by the architecture */
};

struct sweep {
    char *file_name;
    char *text;
    size_t length;
    struct yaml_tree *tree;
    struct sweep_parameter *parameters;
    size_t parameter_count;
    int64_t points;                            /* after run_cap */
    const struct yaml_tree_node *architecture; /* NULL: to be given at submission */
    bson_t fields;                             /* of every task: kind, queue, …, as the file has them */
    bson_t metric;                             /* empty: none */
    int64_t seed;                              /* -1: none */
};

/* ---- sweep_point.c ---- */

/* The parameter of this path, or NULL. */
struct sweep_parameter *sweep_parameter_find(const struct sweep *sweep, const char *path, size_t length);
/* The value of the parameter at point i (0 <= i < points). */
const struct yaml_tree_node *sweep_value(const struct sweep *sweep, const struct sweep_parameter *parameter, int64_t i);
/* A scalar of the tree, integers as int32 where they fit. */
bool sweep_append_scalar(bson_t *document, const char *key, const struct yaml_tree_node *node);
/* All values: {hidden: {values: […]}, head: {units: {values: […]}}}. */
int sweep_append_values(const struct sweep *sweep, bson_t *document, const char *key, bson_error_t *error);

/* "hidden = 800, rate = 0.5", of the parameters that have several values, for messages: cut to size. */
void sweep_describe_point(const struct sweep *sweep, int64_t i, char *text, size_t size);

/* Walks the ${…} of a text or a whole node and marks what they name as used; refuses names that no parameter has. line
 * 0: a text that is not from the file. */
int sweep_mark_text(struct sweep *sweep, const char *text, int line, bson_error_t *error);
int sweep_mark_used(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
/* text with every ${parameter} filled in for point i; new (free), NULL without memory. The text was marked before. */
char *sweep_fill_text(const struct sweep *sweep, const char *text, int64_t i);
/* Appends node with every ${parameter} filled in: a string that is nothing but one takes the value's own type. */
int sweep_append_filled(const struct sweep *sweep, bson_t *document, const char *key, const struct yaml_tree_node *node,
                        int64_t i, bson_error_t *error);
/* Every parameter is read by training or the architecture, or is a label. */
int sweep_check_used(const struct sweep *sweep, bson_error_t *error);

#endif
