/* SPDX-License-Identifier: Apache-2.0 */
/* Which plan a find takes. There are three kinds: one index for what must hold together; for an $or of which every
 * alternative has an index of its own, the union of their rows; and, where a few documents are wanted in an order, the
 * index that has this order. Between few rows that must be sorted and many in order, the index itself tells: its entries
 * are counted as far as it matters. */
#include "hub/store_sqlite_plan_impl.h"

#include <string.h>

#define ALTERNATIVES_LIMIT 200   /* SQLite's own limit of a compound select is 500 */
#define BINDINGS_LIMIT     30000 /* SQLite's own limit is 32,766 */
#define FEW_ROWS           1000  /* that are rather sorted than looked for in an order */

static void plan_start(struct sqlite_plan *plan)
{
    *plan = (struct sqlite_plan){.from = bson_string_new(NULL), .order = bson_string_new(NULL)};
}

/* ---- one index ---- */

static struct fit best_fit(const struct conditions *conditions, const struct sqlite_collection *collection,
                           const bson_t *sort, bool in_order)
{
    struct fit best = fit_of(conditions, NULL, sort);
    if (in_order && !best.sorted)
        best = (struct fit){.strength = -1};
    for (size_t i = 0; i < collection->count && best.strength < FIT_ID; i++) {
        if (collection->indexes[i].membership)
            continue;
        struct fit fit = fit_of(conditions, &collection->indexes[i], sort);
        if (in_order ? fit.sorted && fit.strength > best.strength
                     : fit.strength > best.strength || (fit.strength == best.strength && fit.sorted && !best.sorted))
            best = fit;
    }
    return best;
}

static void make_single(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                        struct conditions *conditions, const struct fit *fit, const bson_t *sort)
{
    bool used = fit->strength > 0 || fit->sorted;
    plan_start(plan);
    plan_append_table(plan, collection, used ? fit->index : NULL);
    if (used)
        plan_append_conditions(plan, conditions, fit);
    if (fit->sorted)
        plan_append_order(plan, fit->index, sort);
    plan->exact = conditions_all_served(conditions);
    plan->sorted = !sort || fit->sorted;
}

/* ---- the union of an $or's alternatives ---- */

/* "SELECT t.rowid FROM …" of the rows of one alternative and all else that must hold. Whether an index serves something
 * that the alternative itself says. */
static bool append_alternative(struct sqlite_plan *plan, const struct sqlite_collection *collection,
                               const struct conditions *others, const struct query_node *alternative, bool *exact)
{
    struct conditions conditions = {.all = others->all};
    bool own = false;
    conditions_add(&conditions, alternative);
    size_t count = conditions.count;
    for (size_t i = 0; i < others->count; i++)
        conditions_add(&conditions, others->nodes[i]);
    bson_string_append(plan->from, "SELECT t.rowid");
    struct fit fit = best_fit(&conditions, collection, NULL, false);
    if (fit.strength >= FIT_ID || !plan_append_membership(plan, collection, &conditions)) {
        if (fit.strength <= 0)
            return false;
        plan_append_table(plan, collection, fit.index);
        plan_append_conditions(plan, &conditions, &fit);
    }
    for (size_t i = 0; i < count; i++)
        own = own || conditions.served[i];
    *exact = *exact && conditions_all_served(&conditions);
    return own;
}

/* Of the conditions the $or whose alternatives all have an index: *rows selects their rowids, some of them twice. */
static bool make_union(struct sqlite_plan *rows, const struct sqlite_collection *collection,
                       const struct conditions *conditions)
{
    for (size_t i = 0; i < conditions->count; i++) {
        const struct query_node *node = conditions->nodes[i];
        struct conditions others = *conditions;
        if (node->kind != QUERY_OR || node->count == 0 || node->count > ALTERNATIVES_LIMIT)
            continue;
        others.count--;
        memmove(&others.nodes[i], &others.nodes[i + 1], (others.count - i) * sizeof *others.nodes);
        bool indexed = true, exact = true;
        plan_start(rows);
        for (size_t j = 0; j < node->count && indexed; j++) {
            bson_string_append(rows->from, j > 0 ? " UNION ALL " : "");
            indexed = append_alternative(rows, collection, &others, node->children[j], &exact) &&
                      rows->binding_count <= BINDINGS_LIMIT;
        }
        rows->exact = exact;
        if (indexed)
            return true;
        sqlite_plan_destroy(rows);
    }
    return false;
}

/* Makes *plan of the rows. */
static void take_union(struct sqlite_plan *plan, const struct sqlite_collection *collection, struct sqlite_plan *rows,
                       const bson_t *sort)
{
    plan_start(plan);
    plan_append_table(plan, collection, NULL);
    bson_string_append(plan->from, " WHERE t.rowid IN (");
    bson_string_append(plan->from, rows->from->str);
    bson_string_append(plan->from, ")");
    plan->bindings = rows->bindings;
    plan->binding_count = rows->binding_count;
    plan->exact = rows->exact;
    plan->sorted = !sort;
    rows->bindings = NULL;
    rows->binding_count = 0;
    sqlite_plan_destroy(rows);
}

/* ---- choosing ---- */

/* Whether select, which gives rowids, gives at most `most` of them. 1, 0, -1. */
static int gives_few(struct sqlite_store *store, const struct sqlite_plan *plan, const char *select, int64_t most,
                     bson_error_t *error)
{
    bson_string_t *sql = bson_string_new("SELECT count(*) FROM (");
    bson_string_append_printf(sql, "%s%s LIMIT %lld)", select, plan->from->str, (long long)most + 1);
    sqlite3_stmt *statement = sqlite_prepare(store, sql->str, error);
    int result = -1;
    bson_string_free(sql, true);
    if (!statement)
        return -1;
    for (size_t i = 0; i < plan->binding_count; i++)
        sqlite3_bind_blob64(statement, (int)i + 1, plan->bindings[i].data, plan->bindings[i].length, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        result = sqlite3_column_int64(statement, 0) <= most;
    else
        sqlite_fail(store, code, "find", error);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

/* Whether those of the first wanted documents in order are found sooner by sorting the few rows that narrow, or the union,
 * gives. wanted 0: all of them, so that the fewer rows are always the better ones. */
static int prefers_few(struct sqlite_store *store, const struct sqlite_collection *collection,
                       const struct conditions *conditions, const struct fit *narrow, const struct sqlite_plan *rows,
                       int64_t wanted, bson_error_t *error)
{
    struct conditions some = *conditions;
    struct sqlite_plan plan;
    int64_t most = wanted < INT64_MAX / 4 ? FEW_ROWS + 2 * wanted : INT64_MAX / 2;
    if (wanted == 0)
        return 1;
    if (rows)
        return gives_few(store, rows, "", most, error);
    make_single(&plan, collection, &some, narrow, NULL);
    int result = gives_few(store, &plan, "SELECT t.rowid", most, error);
    sqlite_plan_destroy(&plan);
    return result;
}

int sqlite_plan_init(struct sqlite_store *store, struct sqlite_plan *plan, const struct sqlite_collection *collection,
                     const struct query *query, const bson_t *sort, int64_t wanted, bson_error_t *error)
{
    struct conditions conditions = {.all = true};
    struct sqlite_plan rows;
    int few = 1;
    conditions_add(&conditions, query->root);
    struct fit narrow = best_fit(&conditions, collection, sort, false);
    plan_start(plan);
    if (narrow.strength < FIT_ID && plan_append_membership(plan, collection, &conditions)) {
        plan->exact = conditions_all_served(&conditions);
        plan->sorted = !sort;
        return 0;
    }
    sqlite_plan_destroy(plan);
    bool several = narrow.strength <= FIT_SHARED && make_union(&rows, collection, &conditions);
    if (sort && narrow.strength < FIT_ID && (several || !narrow.sorted)) {
        struct fit ordered = best_fit(&conditions, collection, sort, true);
        if (ordered.sorted && (several || narrow.strength > ordered.strength))
            few = prefers_few(store, collection, &conditions, &narrow, several ? &rows : NULL, wanted, error);
        else if (ordered.sorted)
            few = 0;
        if (few == 0)
            narrow = ordered;
    }
    if (several && few == 1)
        take_union(plan, collection, &rows, sort);
    else if (several)
        sqlite_plan_destroy(&rows);
    if (few >= 0 && !(several && few == 1))
        make_single(plan, collection, &conditions, &narrow, sort);
    return few < 0 ? -1 : 0;
}
