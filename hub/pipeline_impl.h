/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_PIPELINE_IMPL_H
#define TL_HUB_PIPELINE_IMPL_H

/* Between the files of the pipeline: pipeline.c (stages, parsed), pipeline_expression.c, pipeline_arithmetic.c,
 * pipeline_array.c and pipeline_convert.c (values), pipeline_run.c and pipeline_group.c (documents through the stages). */

#include "hub/key.h"
#include "hub/pipeline.h"
#include "hub/query_impl.h"

/* ---- values ---- */

/* A value of a document, or one that was computed; not there: missing. Lives as long as the document and the scratch. */
struct pipeline_value {
    bool there;
    bson_iter_t at;
};

/* Memory for computed values, one document each, used again for the next document. */
struct pipeline_scratch {
    bson_t **documents;
    size_t used, capacity;
};

void pipeline_scratch_clear(struct pipeline_scratch *scratch);
void pipeline_scratch_destroy(struct pipeline_scratch *scratch);
/* An empty document to put the one field "" of a value in, then pipeline_take it. */
bson_t *pipeline_scratch_new(struct pipeline_scratch *scratch);
void pipeline_take(const bson_t *made, struct pipeline_value *out);

void pipeline_make_null(struct pipeline_scratch *scratch, struct pipeline_value *out);
void pipeline_make_bool(struct pipeline_scratch *scratch, bool value, struct pipeline_value *out);
void pipeline_make_int(struct pipeline_scratch *scratch, int32_t value, struct pipeline_value *out);
void pipeline_make_long(struct pipeline_scratch *scratch, int64_t value, struct pipeline_value *out);
void pipeline_make_double(struct pipeline_scratch *scratch, double value, struct pipeline_value *out);

/* null, or missing. */
bool pipeline_is_null(const struct pipeline_value *value);
bool pipeline_is_number(const struct pipeline_value *value);
/* Everything but null, missing, false and 0. */
bool pipeline_is_true(const struct pipeline_value *value);
/* MongoDB's order, with missing before null. */
int pipeline_compare(const struct pipeline_value *a, const struct pipeline_value *b);
const char *pipeline_type_name(const struct pipeline_value *value);
/* As the array's next element; a missing value is null there. */
void pipeline_append_element(bson_t *array, uint32_t index, const struct pipeline_value *value);

/* ---- expressions ---- */

/* An operator that needs all its arguments' values. 0, -1. */
typedef int pipeline_function(const char *name, const struct pipeline_value *arguments, size_t count,
                              struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error);
pipeline_function pipeline_add, pipeline_subtract, pipeline_multiply, pipeline_divide, pipeline_mod, pipeline_round,
    pipeline_real, pipeline_pow, pipeline_abs;
pipeline_function pipeline_compares, pipeline_negate, pipeline_is_in, pipeline_size, pipeline_element_at,
    pipeline_concat_arrays, pipeline_concat;
pipeline_function pipeline_to_int, pipeline_to_long, pipeline_to_double, pipeline_to_string, pipeline_to_bool;

enum pipeline_expression_kind {
    EXPRESSION_CONSTANT, /* value points into the pipeline's copy */
    EXPRESSION_PATH,
    EXPRESSION_DOCUMENT, /* children by names */
    EXPRESSION_ARRAY,
    EXPRESSION_FUNCTION,
    EXPRESSION_AND,
    EXPRESSION_OR,
    EXPRESSION_COND,     /* if, then, else */
    EXPRESSION_IF_NULL,
    EXPRESSION_SWITCH,   /* case, then, case, then, …, and the default where the count is odd */
    EXPRESSION_CONVERT   /* input, onError, onNull: NULL where missing; function is that of the type */
};

struct pipeline_expression {
    enum pipeline_expression_kind kind;
    const char *name;         /* the operator's */
    struct query_path path;
    struct pipeline_value value;
    pipeline_function *function;
    struct pipeline_expression **children;
    char **names;
    size_t count;
};

/* NULL on error. value is kept: it must live as long as the expression. where: the stage, for messages. */
struct pipeline_expression *pipeline_expression_parse(const bson_iter_t *value, const char *where, unsigned depth,
                                                      bson_error_t *error);
void pipeline_expression_free(struct pipeline_expression *expression);
int pipeline_evaluate(const struct pipeline_expression *expression, const bson_t *document,
                      struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error);
/* Appends {name: 1} for the first part of every path that it reads, where needed does not have it. */
void pipeline_expression_needs(const struct pipeline_expression *expression, bson_t *needed);
void pipeline_need(bson_t *needed, const char *path);

/* ---- sums: twice a double's digits, so that the order of numbers and their types matter as little as can be ---- */

struct pipeline_sum {
    double high, low;
    double plain; /* where high is no number */
    bool any_double, any_long;
};
void pipeline_sum_add(struct pipeline_sum *sum, const bson_iter_t *number);
double pipeline_sum_double(const struct pipeline_sum *sum);
/* As the widest type that was added, wider where that does not hold it. */
void pipeline_sum_value(const struct pipeline_sum *sum, struct pipeline_scratch *scratch, struct pipeline_value *out);

/* ---- stages ---- */

enum pipeline_stage_kind {
    STAGE_MATCH,
    STAGE_SORT,
    STAGE_SKIP,
    STAGE_LIMIT,
    STAGE_SAMPLE,
    STAGE_PROJECT,
    STAGE_ADD_FIELDS,
    STAGE_GROUP,
    STAGE_COUNT
};

enum pipeline_accumulator { ACCUMULATE_SUM, ACCUMULATE_AVG, ACCUMULATE_MIN, ACCUMULATE_MAX, ACCUMULATE_COUNT };

/* A computed field of $project, $addFields or $group. */
struct pipeline_field {
    char *name;
    struct pipeline_expression *expression; /* NULL: {$count: {}} */
    enum pipeline_accumulator accumulator;
};

struct pipeline_stage {
    enum pipeline_stage_kind kind;
    char where[48];      /* "stage 2 ($group)" */
    struct query *query;
    bson_t *sort;        /* with _id */
    int64_t number;      /* of $skip, $limit, $sample */
    uint64_t seed;
    bson_t *projection;  /* the paths of $project; NULL: only computed fields */
    bool keeps_id;       /* … and _id */
    struct pipeline_expression *id; /* of $group */
    struct pipeline_field *fields;
    size_t count;
    char *name;          /* of $count */
};

struct pipeline {
    bson_t *bson;
    struct pipeline_stage *stages;
    size_t count;
    size_t first; /* the first stage that the head does not have */
    struct pipeline_head head;
    bson_t *filter, *needed;
};

/* Puts the stage before the message. -1. */
int pipeline_blame(const struct pipeline_stage *stage, bson_error_t *error);

/* ---- groups (pipeline_group.c) ---- */

struct pipeline_groups;
struct pipeline_groups *pipeline_groups_new(const struct pipeline_stage *stage);
void pipeline_groups_free(struct pipeline_groups *groups);
int pipeline_groups_add(struct pipeline_groups *groups, const bson_t *document, struct pipeline_scratch *scratch,
                        bson_error_t *error);
/* After the last: puts them in order; then one by one into *out, an empty document. 1, 0. */
void pipeline_groups_sort(struct pipeline_groups *groups);
int pipeline_groups_next(struct pipeline_groups *groups, struct pipeline_scratch *scratch, bson_t *out);

#endif
