/* SPDX-License-Identifier: Apache-2.0 */
/* Counting by values. Where an index holds all the paths and serves the whole filter, the index alone is read, in its
 * order, so that nothing is sorted: SQL counts by every column up to the last one wanted, and the tally adds up. One row
 * of each group shows its values. Otherwise every match is looked at. */
#include "hub/store_sqlite_impl.h"

static int add_row(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row, int64_t number,
                   const char *const *paths, size_t count, struct store_tally *tally, bson_error_t *error)
{
    bson_t *document, values;
    int result = sqlite_fetch(store, collection, row, &document, error);
    if (result == 1) {
        store_tally_values(document, paths, count, &values);
        result = store_tally_add(tally, &values, number, error);
        bson_destroy(&values);
    }
    bson_destroy(document);
    return result < 0 ? -1 : 0;
}

static int count_index(struct sqlite_store *store, const struct sqlite_collection *collection,
                       const struct sqlite_plan *plan, const char *const *paths, size_t count,
                       struct store_tally *tally, bson_error_t *error)
{
    bson_string_t *sql = bson_string_new("SELECT count(*), min(t.rowid)");
    bson_string_append(sql, plan->from->str);
    bson_string_append(sql, plan->order->str);
    sqlite3_stmt *statement = sqlite_prepare(store, sql->str, error);
    bson_string_free(sql, true);
    if (!statement)
        return -1;
    for (size_t i = 0; i < plan->binding_count; i++)
        sqlite3_bind_blob64(statement, (int)i + 1, plan->bindings[i].data, plan->bindings[i].length, SQLITE_STATIC);
    int code, result = 0;
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW)
        result = add_row(store, collection, sqlite3_column_int64(statement, 1), sqlite3_column_int64(statement, 0),
                         paths, count, tally, error);
    if (result == 0 && code != SQLITE_DONE)
        result = sqlite_fail(store, code, "count", error);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

static int count_rows(struct sqlite_store *store, const struct sqlite_collection *collection, const struct query *query,
                      const char *const *paths, size_t count, struct store_tally *tally, bson_error_t *error)
{
    int64_t *rows;
    size_t found;
    int result = sqlite_find_rows(store, collection, query, NULL, 0, 0, &rows, &found, error);
    for (size_t i = 0; i < found && result == 0; i++)
        result = add_row(store, collection, rows[i], 1, paths, count, tally, error);
    bson_free(rows);
    return result;
}

int sqlite_count_by(void *self, const char *name, const struct store_filter *filter, const char *const *paths,
                    size_t count, struct store_tally *tally, bson_error_t *error)
{
    struct sqlite_store *store = self;
    struct sqlite_plan plan;
    int result = 0;
    if (sqlite_begin_read(store, error))
        return -1;
    const struct sqlite_collection *collection = sqlite_collection_find(store, name);
    if (collection && sqlite_plan_grouped(&plan, collection, filter->query, paths, count)) {
        result = count_index(store, collection, &plan, paths, count, tally, error);
        sqlite_plan_destroy(&plan);
    } else if (collection) {
        result = count_rows(store, collection, filter->query, paths, count, tally, error);
    }
    sqlite_end_read(store);
    return result;
}
