/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_IMPL_H
#define TL_DISTRIBUTOR_SWEEP_IMPL_H

/* What the files of a sweep share: sweep.c reads, sweep_parameter.c reads parameters, sweep_draw.c and sweep_point.c make
 * points, sweep_fill.c fills them in, sweep_submit.c submits, sweep_search.c goes on from results. */

#include "distributor/search.h"
#include "distributor/stop_early.h"
#include "distributor/sweep.h"
#include "distributor/yaml_tree.h"

#define SWEEP_POINTS     1000000
#define SWEEP_PARALLEL   8 /* points under way at once, of a method that learns */
#define SWEEP_EPOCHS     1000000 /* the latest rung is below */
#define SWEEP_TEXT_BYTES (4u << 20) /* text and specification fit into one document */

struct sweep_parameter {
    char *path; /* "hidden", or "head.units" for a nested one */
    int line;
    struct yaml_tree_node **values;   /* borrowed from the tree; scalars, all different */
    struct yaml_tree_node *single[1]; /* what values points to where there is one */
    size_t count;
    bool label; /* only marks the point: nothing has to read it */
    bool used;  /* by the architecture */
    bool range;    /* a distribution, and no values */
    bool integer;  /* its numbers are */
    const char *distribution; /* W&B's name of it, of a range */
    double *ends;  /* of values with probabilities: cumulative; else NULL */
    struct search_dimension dimension; /* of a range, and of several values where the method is no grid */
};

/* The point that was placed last, of methods other than grid. */
struct sweep_draw {
    int64_t number; /* -1: none */
    double *units;                /* (dimensions) */
    struct yaml_tree_node *nodes; /* (parameters): the numbers drawn */
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
    int64_t seeds;                             /* tasks a point */
    enum search_method method;
    int64_t parallel, population, startup; /* population, startup 0: as the method has it */
    int64_t every, epochs;                 /* PBT: of a generation, and of all */
    double quantile;                       /* PBT; 0: as the method has it */
    struct stop_early_options early;       /* type NONE: none */
    int64_t keep_weights;                  /* of so many models, the best; 0: of all */
    bool has_target;
    double target;                         /* of the metric: reached, the sweep is over */
    int64_t budget_tasks;                  /* that ended; 0: any number */
    double budget_seconds, budget_flops;   /* of all its tasks; 0: any */
    struct search_dimension *dimensions;   /* (space.count): of the parameters with more than one value */
    struct search_space space;             /* empty for a grid */
    struct sweep_draw *draw;
};

/* "FILE:LINE: message" as HUB_ERROR_INVALID; returns -1. */
int sweep_refuse(bson_error_t *error, const char *file_name, int line, const char *format, ...) BSON_GNUC_PRINTF(4, 5);
/* As sweep_refuse, of an unknown key: with the nearest known one, or all of them. known ends with NULL. */
int sweep_refuse_key(const struct sweep *sweep, const struct yaml_tree_node *key, const char *where,
                     const char *const *known, bson_error_t *error);
/* Its points are tried by another program: what they mean is its business. */
bool sweep_is_outside(const struct sweep *sweep);
int sweep_no_memory(const struct sweep *sweep, bson_error_t *error);

/* Whether somebody has to see to it while its tasks run: it learns, or is stopped by what they come to. */
bool sweep_is_watched(const struct sweep *sweep);

/* ---- sweep_stop.c ---- */

/* The keys early_terminate, target and budget. */
int sweep_take_early(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
int sweep_take_target(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
int sweep_take_budget(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
/* {…, rungs: {epochs}} for a task of `end` epochs, where the sweep promotes; -1 without memory. */
int sweep_append_rungs(const struct sweep *sweep, int64_t end, bson_t *task);
/* "best N". */
int sweep_take_keep_weights(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
/* When all keys are known. */
int sweep_settle_stops(struct sweep *sweep, bson_error_t *error);

/* ---- sweep_pbt.c ---- */

/* The key quantile. */
int sweep_take_quantile(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
/* When the parameters are known: generations of `every` epochs make up `epochs`. *points: of all generations. */
int sweep_count_generations(struct sweep *sweep, int64_t *points, bson_error_t *error);
/* After which epoch a generation ends; 0: the last, which ends with its tasks. */
int64_t sweep_generation_end(const struct sweep *sweep, int64_t generation);
/* Into fixed (space.count): dimensions that the weights of a member go with. */
void sweep_find_fixed(const struct sweep *sweep, bool *fixed);

/* ---- sweep_parameter.c ---- */

int sweep_take_parameters(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error);
/* When no parameter moves in memory any more, and the method is known. */
int sweep_settle_parameters(struct sweep *sweep, bson_error_t *error);

/* ---- sweep_draw.c ---- */

/* The dimensions, when the parameters are settled. */
int sweep_prepare_draw(struct sweep *sweep, bson_error_t *error);
void sweep_free_draw(struct sweep *sweep);
/* Makes the point of this number the one at this place: units is (space.count). */
void sweep_place(const struct sweep *sweep, int64_t number, const double *units);
/* The place of a point that a task has, into units. false: it is not one of this sweep. */
bool sweep_place_of(const struct sweep *sweep, const bson_t *point, double *units);
/* The number that was drawn for the parameter at point i; random and Sobol points are placed when they are asked for. */
const struct yaml_tree_node *sweep_drawn_value(const struct sweep *sweep, const struct sweep_parameter *parameter, int64_t i);
/* What a search of this sweep starts from. */
void sweep_search_options(const struct sweep *sweep, struct search_options *options);

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
/* text with every N * [piece] repeated and every ${parameter} filled in for point i; new (free), NULL on error. The text was
 * marked before. */
char *sweep_fill_text(const struct sweep *sweep, const char *text, int64_t i, bson_error_t *error);
/* Appends node with every ${parameter} filled in: a string that is nothing but one takes the value's own type. */
int sweep_append_filled(const struct sweep *sweep, bson_t *document, const char *key, const struct yaml_tree_node *node,
                        int64_t i, bson_error_t *error);
/* ---- sweep_repeat.c ---- */

/* text with every "N * [piece]" written out, ${name.#} in the k-th copy being ${name.k}; N is a number or ${parameter}. New
 * (free), NULL on error. */
char *sweep_repeat_text(const struct sweep *sweep, const char *text, int64_t i, bson_error_t *error);
/* Refuses what repeating has made of ${name.#}, where there is no such parameter. */
int sweep_check_copies(const struct sweep *sweep, const char *text, bson_error_t *error);

/* ---- sweep_point.c ---- */

/* Every parameter is read by training or the architecture, or is a label. */
int sweep_check_used(const struct sweep *sweep, bson_error_t *error);

#endif
