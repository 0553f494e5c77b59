/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of pipelines: from BSON to a tree, and a tree's value for a document. */
#include "hub/pipeline_impl.h"

#include <string.h>

#define NESTING_LIMIT 40
#define VALUE_DEPTH 80 /* arrays and documents that a path goes through */

/* ---- parsing ---- */

static const struct operator {
    const char *name;
    pipeline_function *function;
    size_t least, most; /* arguments; most 0: any number */
} operators[] = {
    {"$add", pipeline_add, 0, 0},           {"$subtract", pipeline_subtract, 2, 2}, {"$multiply", pipeline_multiply, 0, 0},
    {"$divide", pipeline_divide, 2, 2},     {"$mod", pipeline_mod, 2, 2},           {"$abs", pipeline_abs, 1, 1},
    {"$ceil", pipeline_round, 1, 1},        {"$floor", pipeline_round, 1, 1},       {"$trunc", pipeline_round, 1, 1},
    {"$sqrt", pipeline_real, 1, 1},         {"$exp", pipeline_real, 1, 1},          {"$ln", pipeline_real, 1, 1},
    {"$log10", pipeline_real, 1, 1},        {"$pow", pipeline_pow, 2, 2},           {"$eq", pipeline_compares, 2, 2},
    {"$ne", pipeline_compares, 2, 2},                 {"$gt", pipeline_compares, 2, 2},                 {"$gte", pipeline_compares, 2, 2},
    {"$lt", pipeline_compares, 2, 2},                 {"$lte", pipeline_compares, 2, 2},                {"$cmp", pipeline_compares, 2, 2},
    {"$not", pipeline_negate, 1, 1},                 {"$in", pipeline_is_in, 2, 2},                   {"$size", pipeline_size, 1, 1},
    {"$arrayElemAt", pipeline_element_at, 2, 2},     {"$concatArrays", pipeline_concat_arrays, 0, 0}, {"$concat", pipeline_concat, 0, 0},
    {"$toInt", pipeline_to_int, 1, 1},      {"$toLong", pipeline_to_long, 1, 1},    {"$toDouble", pipeline_to_double, 1, 1},
    {"$toString", pipeline_to_string, 1, 1}, {"$toBool", pipeline_to_bool, 1, 1},
};

#define OPERATORS                                                                                                      \
    "$add $subtract $multiply $divide $mod $abs $ceil $floor $trunc $sqrt $exp $ln $log10 $pow $eq $ne $gt $gte $lt "  \
    "$lte $cmp $and $or $not $in $cond $ifNull $switch $toInt $toLong $toDouble $toString $toBool $convert $concat "   \
    "$size $arrayElemAt $concatArrays $literal"

static struct pipeline_expression *expression_new(enum pipeline_expression_kind kind)
{
    struct pipeline_expression *expression =
        bson_aligned_alloc0(_Alignof(struct pipeline_expression), sizeof *expression);
    expression->kind = kind;
    return expression;
}

void pipeline_expression_free(struct pipeline_expression *expression)
{
    if (!expression)
        return;
    for (size_t i = 0; i < expression->count; i++) {
        pipeline_expression_free(expression->children[i]);
        if (expression->names)
            bson_free(expression->names[i]);
    }
    bson_free(expression->children);
    bson_free(expression->names);
    query_path_destroy(&expression->path);
    bson_free(expression);
}

static void add_child(struct pipeline_expression *parent, struct pipeline_expression *child)
{
    parent->children = bson_realloc(parent->children, (parent->count + 1) * sizeof *parent->children);
    parent->children[parent->count++] = child;
}

/* Parses a child and adds it. 0, -1. */
static int add_parsed(struct pipeline_expression *parent, const bson_iter_t *value, const char *where, unsigned depth,
                      bson_error_t *error)
{
    struct pipeline_expression *child = pipeline_expression_parse(value, where, depth + 1, error);
    if (!child)
        return -1;
    add_child(parent, child);
    return 0;
}

/* The arguments of an operator: an array's elements, or one value. */
static int parse_arguments(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                           unsigned depth, bson_error_t *error)
{
    bson_iter_t element;
    if (!BSON_ITER_HOLDS_ARRAY(value))
        return add_parsed(expression, value, where, depth, error);
    if (!bson_iter_recurse(value, &element))
        return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where);
    while (bson_iter_next(&element))
        if (add_parsed(expression, &element, where, depth, error))
            return -1;
    return 0;
}

/* The named values of an operator's document; those after `needed` may be missing. */
static int parse_named(const char *operator, const bson_iter_t *value, const char *const *names, size_t count,
                       size_t needed, struct pipeline_value *found, const char *where, bson_error_t *error)
{
    bson_iter_t field;
    for (size_t i = 0; i < count; i++)
        found[i].there = false;
    if (!bson_iter_recurse(value, &field))
        return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where);
    while (bson_iter_next(&field)) {
        size_t i = 0;
        while (i < count && strcmp(bson_iter_key(&field), names[i]) != 0)
            i++;
        if (i == count)
            return hub_error(error, HUB_ERROR_INVALID, "%s: %s has no '%.80s'", where, operator, bson_iter_key(&field));
        found[i] = (struct pipeline_value){.there = true, .at = field};
    }
    for (size_t i = 0; i < needed; i++)
        if (!found[i].there)
            return hub_error(error, HUB_ERROR_INVALID, "%s: %s needs '%s'", where, operator, names[i]);
    return 0;
}

static int parse_cond(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                      unsigned depth, bson_error_t *error)
{
    static const char *const names[] = {"if", "then", "else"};
    struct pipeline_value found[3];
    if (!BSON_ITER_HOLDS_DOCUMENT(value)) {
        if (parse_arguments(expression, value, where, depth, error))
            return -1;
        return expression->count == 3
                   ? 0
                   : hub_error(error, HUB_ERROR_INVALID, "%s: $cond needs three values: if, then, else", where);
    }
    if (parse_named("$cond", value, names, 3, 3, found, where, error))
        return -1;
    for (size_t i = 0; i < 3; i++)
        if (add_parsed(expression, &found[i].at, where, depth, error))
            return -1;
    return 0;
}

static int parse_switch(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                        unsigned depth, bson_error_t *error)
{
    static const char *const names[] = {"branches", "default"}, *const parts[] = {"case", "then"};
    struct pipeline_value found[2], part[2];
    bson_iter_t branch;
    if (!BSON_ITER_HOLDS_DOCUMENT(value))
        return hub_error(error, HUB_ERROR_INVALID, "%s: $switch needs {branches: [{case, then}, …], default}", where);
    if (parse_named("$switch", value, names, 2, 1, found, where, error))
        return -1;
    if (!BSON_ITER_HOLDS_ARRAY(&found[0].at) || !bson_iter_recurse(&found[0].at, &branch))
        return hub_error(error, HUB_ERROR_INVALID, "%s: $switch needs an array of branches", where);
    while (bson_iter_next(&branch)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&branch))
            return hub_error(error, HUB_ERROR_INVALID, "%s: a branch of $switch must be {case, then}", where);
        if (parse_named("a branch of $switch", &branch, parts, 2, 2, part, where, error) ||
            add_parsed(expression, &part[0].at, where, depth, error) || add_parsed(expression, &part[1].at, where, depth, error))
            return -1;
    }
    if (expression->count == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: $switch needs at least one branch", where);
    return found[1].there ? add_parsed(expression, &found[1].at, where, depth, error) : 0;
}

static int parse_convert(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                         unsigned depth, bson_error_t *error)
{
    static const char *const names[] = {"input", "to", "onError", "onNull"};
    static const struct {
        const char *to;
        pipeline_function *function;
    } types[] = {{"int", pipeline_to_int}, {"long", pipeline_to_long}, {"double", pipeline_to_double},
                 {"string", pipeline_to_string}, {"bool", pipeline_to_bool}};
    struct pipeline_value found[4];
    if (!BSON_ITER_HOLDS_DOCUMENT(value))
        return hub_error(error, HUB_ERROR_INVALID, "%s: $convert needs {input, to, onError, onNull}", where);
    if (parse_named("$convert", value, names, 4, 2, found, where, error))
        return -1;
    for (size_t i = 0; i < sizeof types / sizeof *types && BSON_ITER_HOLDS_UTF8(&found[1].at); i++)
        if (strcmp(bson_iter_utf8(&found[1].at, NULL), types[i].to) == 0)
            expression->function = types[i].function;
    if (!expression->function)
        return hub_error(error, HUB_ERROR_INVALID, "%s: $convert to: one of \"int\", \"long\", \"double\", \"string\", \"bool\"",
                         where);
    if (add_parsed(expression, &found[0].at, where, depth, error))
        return -1;
    for (size_t i = 2; i < 4; i++) {
        if (!found[i].there)
            add_child(expression, NULL);
        else if (add_parsed(expression, &found[i].at, where, depth, error))
            return -1;
    }
    return 0;
}

static int parse_operator(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                          unsigned depth, bson_error_t *error)
{
    const char *name = bson_iter_key(value);
    expression->name = name;
    if (strcmp(name, "$literal") == 0) {
        expression->kind = EXPRESSION_CONSTANT;
        expression->value = (struct pipeline_value){.there = true, .at = *value};
        return query_check_value(value, where, 1, error);
    }
    if (strcmp(name, "$cond") == 0) {
        expression->kind = EXPRESSION_COND;
        return parse_cond(expression, value, where, depth, error);
    }
    if (strcmp(name, "$switch") == 0) {
        expression->kind = EXPRESSION_SWITCH;
        return parse_switch(expression, value, where, depth, error);
    }
    if (strcmp(name, "$convert") == 0) {
        expression->kind = EXPRESSION_CONVERT;
        return parse_convert(expression, value, where, depth, error);
    }
    if (strcmp(name, "$ifNull") == 0) {
        expression->kind = EXPRESSION_IF_NULL;
        if (parse_arguments(expression, value, where, depth, error))
            return -1;
        return expression->count >= 2 ? 0 : hub_error(error, HUB_ERROR_INVALID, "%s: $ifNull needs two values", where);
    }
    if (strcmp(name, "$and") == 0 || strcmp(name, "$or") == 0) {
        expression->kind = name[1] == 'a' ? EXPRESSION_AND : EXPRESSION_OR;
        return parse_arguments(expression, value, where, depth, error);
    }
    expression->kind = EXPRESSION_FUNCTION;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (strcmp(name, operators[i].name) != 0)
            continue;
        expression->function = operators[i].function;
        if (parse_arguments(expression, value, where, depth, error))
            return -1;
        if (expression->count < operators[i].least || (operators[i].most && expression->count > operators[i].most))
            return hub_error(error, HUB_ERROR_INVALID, "%s: %s needs %zu value%s, not %zu", where, name,
                             operators[i].least, operators[i].least == 1 ? "" : "s", expression->count);
        return 0;
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: operator %.80s is not one of %s", where, name, OPERATORS);
}

static int parse_document(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                          unsigned depth, bson_error_t *error)
{
    bson_iter_t field;
    if (!bson_iter_recurse(value, &field))
        return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where);
    while (bson_iter_next(&field)) {
        const char *key = bson_iter_key(&field);
        if (key[0] == '$' && expression->count == 0) {
            if (parse_operator(expression, &field, where, depth, error))
                return -1;
            return bson_iter_next(&field) ? hub_error(error, HUB_ERROR_INVALID,
                                                      "%s: an operator must stand alone, but '%.80s' follows", where,
                                                      bson_iter_key(&field))
                                          : 0;
        }
        if (query_check_path(key, where, error))
            return -1;
        if (strchr(key, '.'))
            return hub_error(error, HUB_ERROR_INVALID, "%s: the name '%.80s' holds a '.'; write documents in each other",
                             where, key);
        for (size_t i = 0; i < expression->count; i++)
            if (strcmp(expression->names[i], key) == 0)
                return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' is named twice", where, key);
        if (add_parsed(expression, &field, where, depth, error))
            return -1;
        expression->names = bson_realloc(expression->names, expression->count * sizeof *expression->names);
        expression->names[expression->count - 1] = bson_strdup(key);
    }
    return field.err_off ? hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", where) : 0;
}

static int parse_text(struct pipeline_expression *expression, const bson_iter_t *value, const char *where,
                      bson_error_t *error)
{
    uint32_t length;
    const char *text = bson_iter_utf8(value, &length);
    if (query_check_value(value, where, 1, error))
        return -1;
    if (text[0] != '$') {
        expression->value = (struct pipeline_value){.there = true, .at = *value};
        return 0;
    }
    if (text[1] == '$')
        return hub_error(error, HUB_ERROR_INVALID, "%s: there are no variables such as '%.80s'", where, text);
    if (strlen(text) != length)
        return hub_error(error, HUB_ERROR_INVALID, "%s: a path holds NUL", where);
    if (query_check_path(text + 1, where, error))
        return -1;
    expression->kind = EXPRESSION_PATH;
    query_path_init(&expression->path, text + 1);
    return 0;
}

struct pipeline_expression *pipeline_expression_parse(const bson_iter_t *value, const char *where, unsigned depth,
                                                      bson_error_t *error)
{
    struct pipeline_expression *expression = expression_new(EXPRESSION_CONSTANT);
    int result;
    if (depth > NESTING_LIMIT) {
        result = hub_error(error, HUB_ERROR_INVALID, "%s: nested deeper than %d levels", where, NESTING_LIMIT);
    } else if (BSON_ITER_HOLDS_UTF8(value)) {
        result = parse_text(expression, value, where, error);
    } else if (BSON_ITER_HOLDS_DOCUMENT(value)) {
        expression->kind = EXPRESSION_DOCUMENT;
        result = parse_document(expression, value, where, depth, error);
    } else if (BSON_ITER_HOLDS_ARRAY(value)) {
        expression->kind = EXPRESSION_ARRAY;
        result = parse_arguments(expression, value, where, depth, error);
    } else {
        expression->value = (struct pipeline_value){.there = true, .at = *value};
        result = query_check_value(value, where, 1, error);
    }
    if (result == 0)
        return expression;
    pipeline_expression_free(expression);
    return NULL;
}

void pipeline_need(bson_t *needed, const char *path)
{
    char *first = bson_strndup(path, strcspn(path, "."));
    if (!bson_has_field(needed, first))
        BSON_APPEND_INT32(needed, first, 1);
    bson_free(first);
}

void pipeline_expression_needs(const struct pipeline_expression *expression, bson_t *needed)
{
    if (!expression)
        return;
    if (expression->kind == EXPRESSION_PATH)
        pipeline_need(needed, expression->path.text);
    for (size_t i = 0; i < expression->count; i++)
        pipeline_expression_needs(expression->children[i], needed);
}

/* ---- values ---- */

static void find_path(const struct query_path *path, size_t part, bson_iter_t *fields, unsigned depth,
                      struct pipeline_scratch *scratch, struct pipeline_value *out);

/* A path through an array is the array of what it leads to in each element that is a document (or an array). */
static void find_in_array(const struct query_path *path, size_t part, const bson_iter_t *array, unsigned depth,
                          struct pipeline_scratch *scratch, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch), found;
    bson_iter_t element, fields;
    uint32_t index = 0;
    BSON_APPEND_ARRAY_BEGIN(made, "", &found);
    for (bool more = bson_iter_recurse(array, &element) && bson_iter_next(&element); more; more = bson_iter_next(&element)) {
        struct pipeline_value value = {.there = false};
        if (BSON_ITER_HOLDS_ARRAY(&element) && depth < VALUE_DEPTH)
            find_in_array(path, part, &element, depth + 1, scratch, &value);
        else if (BSON_ITER_HOLDS_DOCUMENT(&element) && bson_iter_recurse(&element, &fields))
            find_path(path, part, &fields, depth + 1, scratch, &value);
        if (value.there)
            pipeline_append_element(&found, index++, &value);
    }
    bson_append_array_end(made, &found);
    pipeline_take(made, out);
}

static void find_path(const struct query_path *path, size_t part, bson_iter_t *fields, unsigned depth,
                      struct pipeline_scratch *scratch, struct pipeline_value *out)
{
    bson_iter_t child;
    out->there = false;
    if (depth > VALUE_DEPTH || !bson_iter_find(fields, path->parts[part]))
        return;
    if (part + 1 == path->count) {
        out->there = true;
        out->at = *fields;
    } else if (BSON_ITER_HOLDS_ARRAY(fields)) {
        find_in_array(path, part + 1, fields, depth + 1, scratch, out);
    } else if (BSON_ITER_HOLDS_DOCUMENT(fields) && bson_iter_recurse(fields, &child)) {
        find_path(path, part + 1, &child, depth + 1, scratch, out);
    }
}

static int evaluate_children(const struct pipeline_expression *expression, const bson_t *document,
                             struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    struct pipeline_value few[4], *values = few;
    int result = 0;
    if (expression->count > 4)
        values = bson_aligned_alloc0(_Alignof(struct pipeline_value), expression->count * sizeof *values);
    for (size_t i = 0; i < expression->count && result == 0; i++)
        result = pipeline_evaluate(expression->children[i], document, scratch, &values[i], error);
    if (result == 0)
        result = expression->function(expression->name, values, expression->count, scratch, out, error);
    if (values != few)
        bson_free(values);
    return result;
}

static int evaluate_parts(const struct pipeline_expression *expression, const bson_t *document,
                          struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    bson_t *made = pipeline_scratch_new(scratch), parts;
    struct pipeline_value value;
    bool array = expression->kind == EXPRESSION_ARRAY;
    int result = 0;
    if (array)
        BSON_APPEND_ARRAY_BEGIN(made, "", &parts);
    else
        BSON_APPEND_DOCUMENT_BEGIN(made, "", &parts);
    for (size_t i = 0; i < expression->count && result == 0; i++) {
        result = pipeline_evaluate(expression->children[i], document, scratch, &value, error);
        if (result == 0 && array)
            pipeline_append_element(&parts, (uint32_t)i, &value);
        else if (result == 0 && value.there)
            bson_append_iter(&parts, expression->names[i], -1, &value.at);
    }
    if (array)
        bson_append_array_end(made, &parts);
    else
        bson_append_document_end(made, &parts);
    pipeline_take(made, out);
    return result;
}

static int evaluate_switch(const struct pipeline_expression *expression, const bson_t *document,
                           struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    struct pipeline_value chosen;
    size_t i = 0;
    for (; i + 1 < expression->count; i += 2) {
        if (pipeline_evaluate(expression->children[i], document, scratch, &chosen, error))
            return -1;
        if (pipeline_is_true(&chosen))
            return pipeline_evaluate(expression->children[i + 1], document, scratch, out, error);
    }
    if (i < expression->count)
        return pipeline_evaluate(expression->children[i], document, scratch, out, error);
    return hub_error(error, HUB_ERROR_INVALID, "$switch: no case is true, and there is no default");
}

static int evaluate_convert(const struct pipeline_expression *expression, const bson_t *document,
                            struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    struct pipeline_value input;
    const struct pipeline_expression *on_error = expression->children[1], *on_null = expression->children[2];
    if (pipeline_evaluate(expression->children[0], document, scratch, &input, error))
        return -1;
    if (on_null && pipeline_is_null(&input))
        return pipeline_evaluate(on_null, document, scratch, out, error);
    if (expression->function(expression->name, &input, 1, scratch, out, error) == 0)
        return 0;
    return on_error ? pipeline_evaluate(on_error, document, scratch, out, error) : -1;
}

static int evaluate_logic(const struct pipeline_expression *expression, const bson_t *document,
                          struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    bool all = expression->kind == EXPRESSION_AND;
    for (size_t i = 0; i < expression->count; i++) {
        if (pipeline_evaluate(expression->children[i], document, scratch, out, error))
            return -1;
        if (pipeline_is_true(out) != all) {
            pipeline_make_bool(scratch, !all, out);
            return 0;
        }
    }
    pipeline_make_bool(scratch, all, out);
    return 0;
}

int pipeline_evaluate(const struct pipeline_expression *expression, const bson_t *document,
                      struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    bson_iter_t fields;
    out->there = false;
    switch (expression->kind) {
    case EXPRESSION_CONSTANT:
        *out = expression->value;
        return 0;
    case EXPRESSION_PATH:
        if (bson_iter_init(&fields, document))
            find_path(&expression->path, 0, &fields, 0, scratch, out);
        return 0;
    case EXPRESSION_DOCUMENT:
    case EXPRESSION_ARRAY:
        return evaluate_parts(expression, document, scratch, out, error);
    case EXPRESSION_FUNCTION:
        return evaluate_children(expression, document, scratch, out, error);
    case EXPRESSION_AND:
    case EXPRESSION_OR:
        return evaluate_logic(expression, document, scratch, out, error);
    case EXPRESSION_COND:
        if (pipeline_evaluate(expression->children[0], document, scratch, out, error))
            return -1;
        return pipeline_evaluate(expression->children[pipeline_is_true(out) ? 1 : 2], document, scratch, out, error);
    case EXPRESSION_IF_NULL:
        for (size_t i = 0; i < expression->count; i++)
            if (pipeline_evaluate(expression->children[i], document, scratch, out, error))
                return -1;
            else if (!pipeline_is_null(out))
                return 0;
        return 0;
    case EXPRESSION_SWITCH:
        return evaluate_switch(expression, document, scratch, out, error);
    case EXPRESSION_CONVERT:
        return evaluate_convert(expression, document, scratch, out, error);
    }
    return 0;
}
