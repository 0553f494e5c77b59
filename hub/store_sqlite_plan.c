/* SPDX-License-Identifier: Apache-2.0 */
/* From a filter and a sort to SQL over one index. The filter's top level is a conjunction; of it, those conditions
 * become SQL that bind the index's first columns to values, and a range of the next. Every other condition is left to
 * query_matches. An index is named in the SQL, so that the choice is made here and nowhere else. */
#include "hub/store_sqlite_plan_impl.h"

#include <math.h>
#include <string.h>

#define IN_LIMIT 1000 /* elements of an $in that become SQL */

struct limit {
    struct key key;
    bool there;
    bool inclusive;
};

void conditions_add(struct conditions *conditions, const struct query_node *node)
{
    for (size_t i = 0; node->kind == QUERY_AND && i < node->count; i++)
        conditions_add(conditions, node->children[i]);
    if (node->kind == QUERY_AND)
        return;
    if (conditions->count < CONDITIONS_LIMIT)
        conditions->nodes[conditions->count++] = node;
    else
        conditions->all = false;
}

static bool is_range(const struct query_node *node)
{
    switch (node->kind) {
    case QUERY_GT:
    case QUERY_GTE:
    case QUERY_LT:
    case QUERY_LTE:
        return key_class_of(&node->value) != KEY_CLASS_NULL && key_class_of(&node->value) != KEY_CLASS_OTHER;
    case QUERY_LITERAL:
        return node->anchored;
    default:
        return false;
    }
}

static bool is_short_in(const struct query_node *node)
{
    bson_iter_t element;
    size_t count = 0;
    if (node->kind != QUERY_IN || !bson_iter_recurse(&node->value, &element))
        return false;
    while (bson_iter_next(&element))
        count++;
    return count <= IN_LIMIT;
}

/* The condition that binds path to one value (or, with in, to some), or -1. */
static int find_binding(const struct conditions *conditions, const char *path, bool in)
{
    for (size_t i = 0; i < conditions->count; i++)
        if (conditions->nodes[i]->kind == QUERY_EQ && strcmp(conditions->nodes[i]->path.text, path) == 0)
            return (int)i;
    for (size_t i = 0; in && i < conditions->count; i++)
        if (conditions->nodes[i]->kind == QUERY_IN && strcmp(conditions->nodes[i]->path.text, path) == 0 &&
            is_short_in(conditions->nodes[i]))
            return (int)i;
    return -1;
}

static bool has_range(const struct conditions *conditions, const char *path)
{
    for (size_t i = 0; i < conditions->count; i++)
        if (is_range(conditions->nodes[i]) && strcmp(conditions->nodes[i]->path.text, path) == 0)
            return true;
    return false;
}

/* Whether rows in the index's order, with its first columns bound, are in the sort's order. A last _id may be sorted
 * by SQLite within equal ones. */
static bool serves_sort(const struct sqlite_column *columns, size_t count, size_t bound, const bson_t *sort)
{
    bson_iter_t key;
    size_t at = bound;
    int direction = 0;
    bson_iter_init(&key, sort);
    while (bson_iter_next(&key)) {
        const char *path = bson_iter_key(&key);
        bool descending = bson_iter_as_double(&key) < 0, fixed = false;
        for (size_t i = 0; i < bound && !fixed; i++)
            fixed = strcmp(columns[i].path, path) == 0;
        if (fixed)
            continue;
        if (at < count && strcmp(columns[at].path, path) == 0) {
            int same = descending == columns[at].descending ? 1 : -1;
            if (direction && direction != same)
                return false;
            direction = same;
            at++;
            continue;
        }
        return strcmp(path, "_id") == 0 && at > bound && !bson_iter_next(&key);
    }
    return true;
}

static const struct sqlite_column id_column = {.path = (char *)"_id", .descending = false, .sql = (char *)"t.id"};

struct fit fit_of(const struct conditions *conditions, const struct sqlite_index *index, const bson_t *sort)
{
    const struct sqlite_column *columns = index ? index->columns : &id_column;
    size_t count = index ? index->count : 1;
    struct fit fit = {.index = index};
    bool in = false;
    while (fit.bound < count && find_binding(conditions, columns[fit.bound].path, true) >= 0) {
        in = in || find_binding(conditions, columns[fit.bound].path, false) < 0;
        fit.bound++;
    }
    bool range = fit.bound < count && has_range(conditions, columns[fit.bound].path);
    fit.sorted = sort && !in && serves_sort(columns, count, fit.bound, sort);
    fit.strength = (int)fit.bound * FIT_BOUND - (in ? 1 : 0) + (range ? 4 : 0);
    if (fit.bound && index && index->shared_lead)
        fit.strength -= FIT_BOUND - FIT_SHARED;
    if (!index && fit.bound)
        fit.strength = FIT_ID;
    return fit;
}

/* ---- SQL ---- */

static struct key *add_binding(struct sqlite_plan *plan)
{
    plan->bindings = bson_realloc(plan->bindings, (plan->binding_count + 1) * sizeof *plan->bindings);
    struct key *key = &plan->bindings[plan->binding_count++];
    key_init(key);
    return key;
}

static void add_value(struct sqlite_plan *plan, const bson_iter_t *value)
{
    key_append_value(add_binding(plan), value);
}

static void append_binding(struct sqlite_plan *plan, const char *sql, const struct query_node *node)
{
    if (node->kind == QUERY_EQ) {
        bson_string_append_printf(plan->from, "%s = ?", sql);
        add_value(plan, &node->value);
        return;
    }
    bson_iter_t element;
    const char *separator = "";
    bson_string_append_printf(plan->from, "%s IN (", sql);
    bson_iter_recurse(&node->value, &element);
    while (bson_iter_next(&element)) {
        bson_string_append_printf(plan->from, "%s?", separator);
        add_value(plan, &element);
        separator = ",";
    }
    bson_string_append(plan->from, ")");
}

/* Takes key over as the limit if it is the tighter one. */
static void tighten(struct limit *limit, struct key *key, bool inclusive, bool upper)
{
    int order = limit->there ? key_compare(key->data, key->length, limit->key.data, limit->key.length) : 0;
    bool tighter = !limit->there || (upper ? order < 0 : order > 0) || (order == 0 && !inclusive);
    if (tighter) {
        struct key old = limit->key;
        limit->key = *key;
        *key = old;
        limit->there = true;
        limit->inclusive = inclusive;
    }
    key_destroy(key);
}

static void tighten_to_class(struct limit *limit, unsigned class, bool upper)
{
    struct key key;
    uint8_t byte = (uint8_t)class;
    key_init(&key);
    key_append_bytes(&key, &byte, 1);
    tighten(limit, &key, !upper, upper);
}

/* A string's key without its end, so that it is a prefix of the keys of all strings that start so. */
static void literal_limits(const struct query_node *node, struct limit *lower, struct limit *upper)
{
    bson_t holder = BSON_INITIALIZER;
    bson_iter_t value;
    struct key low, high;
    key_init(&low);
    key_init(&high);
    bson_append_utf8(&holder, "v", 1, node->literal, (int)node->literal_length);
    bson_iter_init_find(&value, &holder, "v");
    key_append_value(&low, &value);
    low.length -= 2;
    key_append_bytes(&high, low.data, low.length);
    key_append_bytes(&high, "\xff", 1);
    tighten(lower, &low, true, false);
    tighten(upper, &high, false, true);
    bson_destroy(&holder);
}

/* Narrows to what node accepts. Whether that is exact. */
static bool range_limits(const struct query_node *node, struct limit *lower, struct limit *upper)
{
    if (node->kind == QUERY_LITERAL) {
        literal_limits(node, lower, upper);
        return true;
    }
    enum key_class class = key_class_of(&node->value);
    bool is_upper = node->kind == QUERY_LT || node->kind == QUERY_LTE;
    struct key key;
    key_init(&key);
    key_append_value(&key, &node->value);
    tighten(is_upper ? upper : lower, &key, node->kind == QUERY_GTE || node->kind == QUERY_LTE, is_upper);
    if (is_upper)
        tighten_to_class(lower, class, false);
    else
        tighten_to_class(upper, class + 1u, true);
    return class != KEY_CLASS_NUMBER || (!is_upper && !isnan(bson_iter_as_double(&node->value)));
}

static void append_limit(struct sqlite_plan *plan, const char *sql, struct limit *limit, bool upper,
                         const char **separator)
{
    if (!limit->there)
        return;
    bson_string_append_printf(plan->from, "%s%s %c%s ?", *separator, sql, upper ? '<' : '>',
                              limit->inclusive ? "=" : "");
    *add_binding(plan) = limit->key;
    *separator = " AND ";
}

static void append_range(struct sqlite_plan *plan, struct conditions *conditions, const struct sqlite_column *column,
                         const char **separator)
{
    struct limit lower = {.there = false}, upper = {.there = false};
    for (size_t i = 0; i < conditions->count; i++)
        if (is_range(conditions->nodes[i]) && strcmp(conditions->nodes[i]->path.text, column->path) == 0)
            conditions->served[i] = range_limits(conditions->nodes[i], &lower, &upper);
    append_limit(plan, column->sql, &lower, false, separator);
    append_limit(plan, column->sql, &upper, true, separator);
}

void plan_append_conditions(struct sqlite_plan *plan, struct conditions *conditions, const struct fit *fit)
{
    const struct sqlite_column *columns = fit->index ? fit->index->columns : &id_column;
    size_t count = fit->index ? fit->index->count : 1;
    const char *separator = " WHERE ";
    for (size_t i = 0; i < fit->bound; i++) {
        int at = find_binding(conditions, columns[i].path, true);
        bson_string_append(plan->from, separator);
        append_binding(plan, columns[i].sql, conditions->nodes[at]);
        conditions->served[at] = true;
        separator = " AND ";
    }
    if (fit->bound < count)
        append_range(plan, conditions, &columns[fit->bound], &separator);
}

void plan_append_order(struct sqlite_plan *plan, const struct sqlite_index *index, const bson_t *sort)
{
    bson_iter_t key;
    const char *separator = " ORDER BY ";
    bson_iter_init(&key, sort);
    while (bson_iter_next(&key)) {
        const char *sql = NULL;
        if (strcmp(bson_iter_key(&key), "_id") == 0)
            sql = id_column.sql;
        for (size_t i = 0; !sql && index && i < index->count; i++)
            if (strcmp(index->columns[i].path, bson_iter_key(&key)) == 0)
                sql = index->columns[i].sql;
        if (!sql)
            continue;
        bson_string_append_printf(plan->order, "%s%s%s", separator, sql, bson_iter_as_double(&key) < 0 ? " DESC" : "");
        separator = ", ";
    }
}

bool plan_append_membership(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                            struct conditions *conditions)
{
    size_t tables = 0;
    for (size_t i = 0; i < conditions->count; i++) {
        const struct query_node *node = conditions->nodes[i];
        const struct sqlite_index *index = NULL;
        if (node->kind != QUERY_EQ || key_class_of(&node->value) == KEY_CLASS_NULL ||
            key_class_of(&node->value) == KEY_CLASS_ARRAY || tables >= 32)
            continue;
        for (size_t j = 0; j < collection->count && !index; j++)
            if (collection->indexes[j].membership && strcmp(collection->indexes[j].columns[0].path, node->path.text) == 0)
                index = &collection->indexes[j];
        if (!index)
            continue;
        char *prefix = bson_strdup_printf("m_%s.", collection->name);
        if (tables == 0) {
            bson_string_append(plan->from, " FROM ");
            sqlite_quote(plan->from, '"', prefix, node->path.text);
            bson_string_append(plan->from, " AS m CROSS JOIN ");
            sqlite_quote(plan->from, '"', "c_", collection->name);
            bson_string_append(plan->from, " AS t ON t.rowid = m.row WHERE m.key = ?");
        } else {
            bson_string_append(plan->from, " AND EXISTS (SELECT 1 FROM ");
            sqlite_quote(plan->from, '"', prefix, node->path.text);
            bson_string_append(plan->from, " AS o WHERE o.key = ? AND o.row = m.row)");
        }
        bson_free(prefix);
        add_value(plan, &node->value);
        conditions->served[i] = true;
        tables++;
    }
    return tables > 0;
}

bool conditions_all_served(const struct conditions *conditions)
{
    for (size_t i = 0; i < conditions->count; i++)
        if (!conditions->served[i])
            return false;
    return conditions->all;
}

void plan_append_table(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                       const struct sqlite_index *index)
{
    bson_string_append(plan->from, " FROM ");
    sqlite_quote(plan->from, '"', "c_", collection->name);
    bson_string_append(plan->from, " AS t");
    if (index) {
        bson_string_append(plan->from, " INDEXED BY ");
        sqlite_quote_index(plan->from, collection->name, index->name);
    }
}

/* How many of the index's columns it takes to have all the paths; 0: it does not have them. */
static size_t columns_for(const struct sqlite_index *index, const char *const *paths, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < index->count && strcmp(index->columns[at].path, paths[i]) != 0)
            at++;
        if (at == index->count)
            return 0;
        most = at + 1 > most ? at + 1 : most;
    }
    return most;
}

bool sqlite_plan_grouped(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                         const struct query *query, const char *const *paths, size_t count)
{
    struct conditions conditions = {.all = true};
    struct fit best = {.index = NULL};
    conditions_add(&conditions, query->root);
    for (size_t i = 0; i < collection->count; i++) {
        const struct sqlite_index *index = &collection->indexes[i];
        if (index->membership || columns_for(index, paths, count) == 0)
            continue;
        struct fit fit = fit_of(&conditions, index, NULL);
        if (!best.index || fit.strength > best.strength)
            best = fit;
    }
    if (!best.index)
        return false;
    *plan = (struct sqlite_plan){.from = bson_string_new(NULL), .order = bson_string_new(" GROUP BY ")};
    plan_append_table(plan, collection, best.index);
    plan_append_conditions(plan, &conditions, &best);
    plan->exact = conditions_all_served(&conditions);
    size_t columns = columns_for(best.index, paths, count);
    for (size_t i = 0; i < columns; i++)
        bson_string_append_printf(plan->order, "%s%s", i > 0 ? ", " : "", best.index->columns[i].sql);
    if (!plan->exact)
        sqlite_plan_destroy(plan);
    return plan->exact;
}

void sqlite_plan_destroy(struct sqlite_plan *plan)
{
    for (size_t i = 0; i < plan->binding_count; i++)
        key_destroy(&plan->bindings[i]);
    bson_free(plan->bindings);
    bson_string_free(plan->from, true);
    bson_string_free(plan->order, true);
    *plan = (struct sqlite_plan){0};
}
