/* SPDX-License-Identifier: Apache-2.0 */
/* What can be wrong with the file itself: pages, header, and columns that do not say what their documents say. Pages are
 * checked a table at a time, and rows some hundreds at a time, so that writers get in between. */
#include "hub/store_sqlite_impl.h"

#include <stdarg.h>
#include <string.h>

#define STEP 400 /* rows of one transaction */

struct check {
    struct sqlite_store *store;
    void (*visit)(void *data, const char *what);
    void *data;
};

static void found(const struct check *check, const char *format, ...) BSON_GNUC_PRINTF(2, 3);

static void found(const struct check *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = bson_strdupv_printf(format, arguments);
    va_end(arguments);
    check->visit(check->data, text);
    bson_free(text);
}

static int check_header(const struct check *check, bson_error_t *error)
{
    int64_t application = 0, layout = 0, vacuum = 0;
    if (sqlite_begin_read(check->store, error))
        return -1;
    int result = sqlite_query_int(check->store, "PRAGMA application_id", &application, error) < 0 ||
                         sqlite_query_int(check->store, "PRAGMA user_version", &layout, error) < 0 ||
                         sqlite_query_int(check->store, "PRAGMA auto_vacuum", &vacuum, error) < 0
                     ? -1
                     : 0;
    sqlite_end_read(check->store);
    if (result == 0 && application != SQLITE_STORE_APPLICATION_ID)
        found(check, "the header's application_id is %lld, not %d", (long long)application, SQLITE_STORE_APPLICATION_ID);
    if (result == 0 && layout != SQLITE_STORE_LAYOUT)
        found(check, "the header's user_version is %lld, not %d", (long long)layout, SQLITE_STORE_LAYOUT);
    if (result == 0 && vacuum != 2)
        found(check, "the header's auto_vacuum is %lld, not 2 (incremental): the file will not shrink", (long long)vacuum);
    return result;
}

/* PRAGMA integrity_check over one table, or over the list of free pages and the schema table. */
static int check_pages(const struct check *check, const char *table, bson_error_t *error)
{
    bson_string_t *sql = bson_string_new("PRAGMA integrity_check(");
    sqlite_quote(sql, '"', "", table);
    bson_string_append(sql, ")");
    if (sqlite_begin_read(check->store, error)) {
        bson_string_free(sql, true);
        return -1;
    }
    sqlite3_stmt *statement = sqlite_prepare(check->store, sql->str, error);
    int code = SQLITE_ERROR;
    while (statement && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (text && strcmp(text, "ok") != 0)
            found(check, "integrity_check of %s: %s", table, text);
    }
    int result = !statement ? -1 : code == SQLITE_DONE ? 0 : sqlite_fail(check->store, code, "integrity_check", error);
    sqlite3_reset(statement);
    sqlite_end_read(check->store);
    bson_string_free(sql, true);
    return result;
}

/* The names of all tables, in a new list that ends with NULL. */
static int list_tables(struct sqlite_store *store, char ***tables, bson_error_t *error)
{
    size_t count = 0;
    int code = SQLITE_ERROR;
    *tables = bson_malloc0(sizeof **tables);
    if (sqlite_begin_read(store, error))
        return -1;
    sqlite3_stmt *statement =
        sqlite_prepare(store, "SELECT 'sqlite_schema' UNION ALL SELECT name FROM sqlite_schema WHERE type = 'table'", error);
    while (statement && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        *tables = bson_realloc(*tables, (count + 2) * sizeof **tables);
        (*tables)[count++] = bson_strdup(name ? name : "");
        (*tables)[count] = NULL;
    }
    int result = !statement ? -1 : code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "check", error);
    sqlite3_reset(statement);
    sqlite_end_read(store);
    return result;
}

static bool is_key(sqlite3_stmt *statement, int column, const struct key *key)
{
    return (size_t)sqlite3_column_bytes(statement, column) == key->length &&
           (key->length == 0 || memcmp(sqlite3_column_blob(statement, column), key->data, key->length) == 0);
}

/* Row: rowid, id, bson, the key columns. */
static void check_row(const struct check *check, const struct sqlite_collection *collection, sqlite3_stmt *statement)
{
    struct sqlite_store *store = check->store;
    long long row = sqlite3_column_int64(statement, 0);
    bson_iter_t id;
    bson_t bson;
    bson_error_t unused;
    if (sqlite_column_bson(store, statement, 2, &bson, &unused) || !sqlite_bson_is_whole(&bson)) {
        found(check, "%s, row %lld: the document is malformed", collection->name, row);
        return;
    }
    key_clear(&store->key);
    if (bson_iter_init_find(&id, &bson, "_id"))
        key_append_value(&store->key, &id);
    if (!is_key(statement, 1, &store->key))
        found(check, "%s, row %lld: the column id is not the document's _id", collection->name, row);
    for (size_t i = 0; i < collection->path_count; i++)
        if (sqlite_path_key(store, collection->name, &bson, collection->paths[i], &unused) ||
            !is_key(statement, (int)i + 3, &store->key))
            found(check, "%s, row %lld: the index column of '%s' is not what the document says", collection->name, row,
                  collection->paths[i]);
}

/* The next rows after *last of the index-th collection: how many, 0 at the end, -1. */
static int check_step(const struct check *check, size_t index, int64_t *last, bson_error_t *error)
{
    struct sqlite_store *store = check->store;
    int rows = 0, code = SQLITE_ERROR;
    if (sqlite_begin_read(store, error))
        return -1;
    if (index >= store->collection_count) { /* the schema changed */
        sqlite_end_read(store);
        return 0;
    }
    const struct sqlite_collection *collection = &store->collections[index];
    bson_string_t *sql = bson_string_new("SELECT rowid, id, bson");
    for (size_t i = 0; i < collection->path_count; i++) {
        bson_string_append(sql, ", ");
        sqlite_quote_key_column(sql, collection->paths[i]);
    }
    bson_string_append(sql, " FROM ");
    sqlite_quote(sql, '"', "c_", collection->name);
    bson_string_append(sql, " WHERE rowid > ? ORDER BY rowid LIMIT ?");
    sqlite3_stmt *statement = sqlite_prepare(store, sql->str, error);
    if (statement) {
        sqlite3_bind_int64(statement, 1, *last);
        sqlite3_bind_int(statement, 2, STEP);
    }
    while (statement && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *last = sqlite3_column_int64(statement, 0);
        check_row(check, collection, statement);
        rows++;
    }
    int result = !statement ? -1 : code == SQLITE_DONE ? rows : sqlite_fail(store, code, "check", error);
    sqlite3_reset(statement);
    sqlite_end_read(store);
    bson_string_free(sql, true);
    return result;
}

int sqlite_check(void *self, void (*visit)(void *data, const char *what), void *data, bson_error_t *error)
{
    struct check check = {.store = self, .visit = visit, .data = data};
    char **tables = NULL;
    int result = check_header(&check, error) || list_tables(check.store, &tables, error) ? -1 : 1;
    for (size_t i = 0; result > 0 && tables[i]; i++)
        result = check_pages(&check, tables[i], error) ? -1 : 1;
    for (size_t i = 0; result > 0 && i < check.store->collection_count; i++) {
        int64_t last = INT64_MIN;
        int step = 1;
        while (step > 0)
            step = check_step(&check, i, &last, error);
        result = step < 0 ? -1 : 1;
    }
    for (size_t i = 0; tables && tables[i]; i++)
        bson_free(tables[i]);
    bson_free(tables);
    return result;
}
