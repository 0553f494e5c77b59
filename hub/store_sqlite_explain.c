/* SPDX-License-Identifier: Apache-2.0 */
/* How SQLite answers a find: its plan, and what it read to the first match or to the limit. */
#include "hub/store_sqlite_impl.h"

#include <string.h>

/* The statement that a find of this plan steps through. */
static char *select_of(const struct sqlite_plan *plan)
{
    return bson_strdup_printf("SELECT t.rowid, t.bson%s%s", plan->from->str, plan->order->str);
}

static void bind(const struct sqlite_plan *plan, sqlite3_stmt *statement)
{
    for (size_t i = 0; i < plan->binding_count; i++)
        sqlite3_bind_blob64(statement, (int)i + 1, plan->bindings[i].data, plan->bindings[i].length, SQLITE_STATIC);
}

/* The index's name out of "SEARCH t USING INDEX i_tasks:claim (…)", as the hub declared it. */
static void append_index(const char *plan, const char *collection, bson_t *out)
{
    char *prefix = bson_strdup_printf(" INDEX i_%s:", collection);
    const char *found = strstr(plan, prefix);
    if (found) {
        found += strlen(prefix);
        bson_append_utf8(out, "index", -1, found, (int)strcspn(found, " "));
    }
    bson_free(prefix);
}

static int explain_plan(struct sqlite_store *store, const struct sqlite_plan *plan, const char *collection,
                        bool *sql_sorts, bson_t *out, bson_error_t *error)
{
    char *select = select_of(plan), *sql = bson_strdup_printf("EXPLAIN QUERY PLAN %s", select);
    bson_string_t *words = bson_string_new(NULL);
    sqlite3_stmt *statement = sqlite_prepare(store, sql, error);
    int code = SQLITE_ERROR;
    bson_free(select);
    bson_free(sql);
    if (statement) {
        bind(plan, statement);
        while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(statement, 3);
            bson_string_append(words, words->len ? "; " : "");
            bson_string_append(words, detail ? detail : "");
        }
        if (code != SQLITE_DONE)
            sqlite_fail(store, code, "explain", error);
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
    if (code == SQLITE_DONE) {
        append_index(words->str, collection, out);
        BSON_APPEND_UTF8(out, "plan", words->str);
        *sql_sorts = strstr(words->str, "TEMP B-TREE FOR") != NULL;
    }
    bson_string_free(words, true);
    return code == SQLITE_DONE ? 0 : -1;
}

/* How many documents are read until `wanted` match; a sort needs them all. */
static int64_t examine(struct sqlite_store *store, const struct sqlite_plan *plan, const struct query *query,
                       int64_t wanted, bson_error_t *error)
{
    char *sql = select_of(plan);
    sqlite3_stmt *statement = sqlite_prepare(store, sql, error);
    int64_t examined = 0, matched = 0;
    bson_t bson;
    int code = SQLITE_DONE;
    bson_free(sql);
    if (!statement)
        return -1;
    bind(plan, statement);
    while ((!plan->sorted || matched < wanted) && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        examined++;
        if (sqlite_column_bson(store, statement, 1, &bson, error)) {
            examined = -1;
            break;
        }
        matched += query_matches(query, &bson);
    }
    if (examined >= 0 && code != SQLITE_DONE && code != SQLITE_ROW)
        examined = sqlite_fail(store, code, "explain", error);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return examined;
}

int sqlite_explain(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                   bson_error_t *error)
{
    struct sqlite_store *store = self;
    struct sqlite_plan plan;
    bool sql_sorts = false;
    int result = -1;
    if (sqlite_begin_read(store, error))
        return -1;
    const struct sqlite_collection *table = sqlite_collection_find(store, collection);
    if (!table) {
        sqlite_end_read(store);
        BSON_APPEND_BOOL(out, "sorts", false);
        BSON_APPEND_INT64(out, "documents_examined", 0);
        return 1;
    }
    if (sqlite_plan_init(store, &plan, table, request->filter.query, request->sort,
                         request->limit ? request->skip + request->limit : 0, error) < 0) {
        sqlite_end_read(store);
        return -1;
    }
    if (explain_plan(store, &plan, collection, &sql_sorts, out, error) == 0) {
        int64_t examined =
            examine(store, &plan, request->filter.query, request->skip + (request->limit ? request->limit : 1), error);
        if (examined >= 0) {
            BSON_APPEND_BOOL(out, "sorts", sql_sorts || !plan.sorted);
            BSON_APPEND_INT64(out, "documents_examined", examined);
            result = 1;
        }
    }
    sqlite_plan_destroy(&plan);
    sqlite_end_read(store);
    return result;
}
