/* SPDX-License-Identifier: Apache-2.0 */
/* Which collections and indexes there are, and the side tables of the arrays tags and words. */
#include "hub/store_sqlite_impl.h"

#include <string.h>

void sqlite_quote(bson_string_t *sql, char quote, const char *prefix, const char *text)
{
    bson_string_append_c(sql, quote);
    bson_string_append(sql, prefix);
    for (; *text; text++) {
        if (*text == quote)
            bson_string_append_c(sql, quote);
        bson_string_append_c(sql, *text); /* byte by byte; the bytes of a UTF-8 character stay together */
    }
    bson_string_append_c(sql, quote);
}

/* ---- the registry ---- */

static bool is_membership(const bson_t *keys)
{
    bson_iter_t iter;
    return bson_count_keys(keys) == 1 && bson_iter_init(&iter, keys) && bson_iter_next(&iter) &&
           (strcmp(bson_iter_key(&iter), "tags") == 0 || strcmp(bson_iter_key(&iter), "words") == 0);
}

/* As sqlite_quote, for names that differ in case only: SQLite takes those for the same. A capital becomes ^ and the small
 * letter, ^ becomes ^^. */
static void quote_with_case(bson_string_t *sql, const char *prefix, const char *name)
{
    bson_string_t *folded = bson_string_new(NULL);
    for (; *name; name++) {
        bool capital = *name >= 'A' && *name <= 'Z';
        if (capital || *name == '^')
            bson_string_append_c(folded, '^');
        bson_string_append_c(folded, capital ? (char)(*name + ('a' - 'A')) : *name);
    }
    sqlite_quote(sql, '"', prefix, folded->str);
    bson_string_free(folded, true);
}

void sqlite_quote_key_column(bson_string_t *sql, const char *path)
{
    quote_with_case(sql, "k:", path);
}

void sqlite_quote_index(bson_string_t *sql, const char *collection, const char *name)
{
    char *prefix = bson_strdup_printf("i_%s:", collection);
    quote_with_case(sql, prefix, name);
    bson_free(prefix);
}

int sqlite_path_key(struct sqlite_store *store, const char *collection, const bson_t *document, const char *path,
                    bson_error_t *error)
{
    key_clear(&store->key);
    if (key_append_path(&store->key, document, path))
        return hub_error(error, HUB_ERROR_INVALID, "%s: there is an array at the indexed path '%s'", collection, path);
    return 0;
}

/* alias: "t.", or "" within CREATE INDEX. */
static char *column_sql(const char *path, const char *alias)
{
    bson_string_t *sql = bson_string_new(alias);
    if (strcmp(path, "_id") == 0)
        bson_string_append(sql, "id");
    else
        sqlite_quote_key_column(sql, path);
    return bson_string_free(sql, false);
}

static bool has_path(const struct sqlite_collection *collection, const char *path)
{
    for (size_t i = 0; i < collection->path_count; i++)
        if (strcmp(collection->paths[i], path) == 0)
            return true;
    return false;
}

static void index_destroy(struct sqlite_index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        bson_free(index->columns[i].path);
        bson_free(index->columns[i].sql);
    }
    bson_free(index->columns);
    bson_free(index->name);
    bson_destroy(index->keys);
}

void sqlite_registry_free(struct sqlite_store *store)
{
    for (size_t i = 0; i < store->collection_count; i++) {
        for (size_t j = 0; j < store->collections[i].count; j++)
            index_destroy(&store->collections[i].indexes[j]);
        for (size_t j = 0; j < store->collections[i].path_count; j++)
            bson_free(store->collections[i].paths[j]);
        bson_free(store->collections[i].paths);
        bson_free(store->collections[i].indexes);
        bson_free(store->collections[i].name);
    }
    bson_free(store->collections);
    store->collections = NULL;
    store->collection_count = 0;
}

static void add_index(struct sqlite_collection *collection, const char *name, const bson_t *keys)
{
    collection->indexes = bson_realloc(collection->indexes, (collection->count + 1) * sizeof *collection->indexes);
    struct sqlite_index *index = &collection->indexes[collection->count++];
    bson_iter_t iter;
    *index = (struct sqlite_index){
        .name = bson_strdup(name), .keys = bson_copy(keys), .membership = is_membership(keys)};
    index->columns = bson_malloc0((bson_count_keys(keys) + 1) * sizeof *index->columns);
    bson_iter_init(&iter, keys);
    while (bson_iter_next(&iter)) {
        struct sqlite_column *column = &index->columns[index->count++];
        column->path = bson_strdup(bson_iter_key(&iter));
        column->descending = bson_iter_as_double(&iter) < 0;
        column->sql = column_sql(column->path, "t.");
        if (!index->membership && strcmp(column->path, "_id") != 0 && !has_path(collection, column->path)) {
            collection->paths =
                bson_realloc(collection->paths, (collection->path_count + 1) * sizeof *collection->paths);
            collection->paths[collection->path_count++] = bson_strdup(column->path);
        }
    }
}

/* A path that three indexes or more begin with. */
static void mark_shared_leads(struct sqlite_collection *collection)
{
    for (size_t i = 0; i < collection->count; i++) {
        size_t same = 0;
        for (size_t j = 0; j < collection->count; j++)
            same += !collection->indexes[j].membership &&
                    strcmp(collection->indexes[i].columns[0].path, collection->indexes[j].columns[0].path) == 0;
        collection->indexes[i].shared_lead = same >= 3 && collection->indexes[i].count > 1;
    }
}

int sqlite_registry_load(struct sqlite_store *store, bson_error_t *error)
{
    sqlite3_stmt *rows = sqlite_prepare(store, "SELECT collection, name, keys FROM hub_indexes "
                                               "ORDER BY collection, name", error);
    if (!rows)
        return -1;
    sqlite_registry_free(store);
    int code, result = -1;
    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(rows, 0);
        const char *index = (const char *)sqlite3_column_text(rows, 1);
        bson_t keys;
        if (!name || !index || sqlite_column_bson(store, rows, 2, &keys, error)) {
            hub_error(error, HUB_ERROR_CORRUPT, "'%s': the list of indexes is damaged; restore it from a copy",
                      store->path);
            goto out;
        }
        size_t n = store->collection_count;
        if (n == 0 || strcmp(store->collections[n - 1].name, name) != 0) {
            store->collections = bson_realloc(store->collections, (n + 1) * sizeof *store->collections);
            store->collections[n] = (struct sqlite_collection){.name = bson_strdup(name)};
            store->collection_count = ++n;
        }
        if (*index)
            add_index(&store->collections[n - 1], index, &keys);
    }
    for (size_t i = 0; i < store->collection_count; i++)
        mark_shared_leads(&store->collections[i]);
    result = code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "read the list of indexes", error);
out:
    sqlite3_reset(rows);
    return result;
}

const struct sqlite_collection *sqlite_collection_find(const struct sqlite_store *store, const char *name)
{
    for (size_t i = 0; i < store->collection_count; i++)
        if (strcmp(store->collections[i].name, name) == 0)
            return &store->collections[i];
    return NULL;
}

static int write_registry_row(struct sqlite_store *store, const char *sql, const char *collection, const char *name,
                              const bson_t *keys, bson_error_t *error)
{
    sqlite3_stmt *row = sqlite_prepare(store, sql, error);
    if (!row)
        return -1;
    sqlite3_bind_text(row, 1, collection, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, name, -1, SQLITE_STATIC);
    if (keys)
        sqlite3_bind_blob64(row, 3, bson_get_data(keys), keys->len, SQLITE_STATIC);
    int code = sqlite3_step(row);
    int result = code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "write the list of indexes", error);
    sqlite3_reset(row);
    return result;
}

static int add_registry_row(struct sqlite_store *store, const char *collection, const char *name, const bson_t *keys,
                            bson_error_t *error)
{
    return write_registry_row(store, "INSERT OR REPLACE INTO hub_indexes(collection, name, keys) VALUES(?, ?, ?)",
                              collection, name, keys, error);
}

const struct sqlite_collection *sqlite_collection_make(struct sqlite_store *store, const char *name,
                                                       bson_error_t *error)
{
    const struct sqlite_collection *collection = sqlite_collection_find(store, name);
    if (collection)
        return collection;
    const bson_t none = BSON_INITIALIZER;
    bson_string_t *sql = bson_string_new("CREATE TABLE ");
    sqlite_quote(sql, '"', "c_", name);
    bson_string_append(sql, "(rowid INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, bson BLOB NOT NULL)");
    store->schema_version = -1;
    if (sqlite_execute(store, sql->str, error) == 0 && add_registry_row(store, name, "", &none, error) == 0 &&
        sqlite_registry_load(store, error) == 0)
        collection = sqlite_collection_find(store, name);
    bson_string_free(sql, true);
    return collection;
}

/* ---- indexes ---- */

static void quote_side_table(bson_string_t *sql, const char *collection, const char *path)
{
    char *prefix = bson_strdup_printf("m_%s.", collection);
    sqlite_quote(sql, '"', prefix, path);
    bson_free(prefix);
}

/* Those of index that no other index has; the index itself is gone already. */
static int drop_key_columns(struct sqlite_store *store, const struct sqlite_collection *collection,
                            const struct sqlite_index *index, bson_error_t *error)
{
    int result = 0;
    for (size_t i = 0; i < index->count && result == 0; i++) {
        const char *path = index->columns[i].path;
        bool used = strcmp(path, "_id") == 0;
        for (size_t j = 0; j < collection->count && !used; j++)
            for (size_t k = 0; &collection->indexes[j] != index && k < collection->indexes[j].count && !used; k++)
                used = !collection->indexes[j].membership && strcmp(collection->indexes[j].columns[k].path, path) == 0;
        if (used)
            continue;
        bson_string_t *sql = bson_string_new("ALTER TABLE ");
        sqlite_quote(sql, '"', "c_", collection->name);
        bson_string_append(sql, " DROP COLUMN ");
        sqlite_quote_key_column(sql, path);
        result = sqlite_execute(store, sql->str, error);
        bson_string_free(sql, true);
    }
    return result;
}

static int drop_index(struct sqlite_store *store, const char *collection, const struct sqlite_index *index,
                      bson_error_t *error)
{
    bson_string_t *sql = bson_string_new(index->membership ? "DROP TABLE " : "DROP INDEX ");
    if (index->membership)
        quote_side_table(sql, collection, index->columns[0].path);
    else
        sqlite_quote_index(sql, collection, index->name);
    int result = sqlite_execute(store, sql->str, error);
    bson_string_free(sql, true);
    if (result == 0 && !index->membership)
        result = drop_key_columns(store, sqlite_collection_find(store, collection), index, error);
    return result;
}

/* Fills a new side table from the documents there are. The registry knows the index already. */
static int fill_side_table(struct sqlite_store *store, const struct sqlite_collection *collection, bson_error_t *error)
{
    bson_string_t *sql = bson_string_new("SELECT rowid, bson FROM ");
    sqlite_quote(sql, '"', "c_", collection->name);
    sqlite3_stmt *rows = sqlite_prepare(store, sql->str, error);
    int code = SQLITE_DONE, result = rows ? 0 : -1;
    while (result == 0 && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        bson_t document;
        result = sqlite_column_bson(store, rows, 1, &document, error);
        if (result == 0)
            result = sqlite_membership_change(store, collection, sqlite3_column_int64(rows, 0), NULL, &document, error);
    }
    if (result == 0 && code != SQLITE_DONE)
        result = sqlite_fail(store, code, "index", error);
    sqlite3_reset(rows);
    bson_string_free(sql, true);
    return result;
}

static int add_key_column(struct sqlite_store *store, const char *collection, const char *path, bson_error_t *error)
{
    bson_string_t *sql = bson_string_new("ALTER TABLE ");
    sqlite_quote(sql, '"', "c_", collection);
    bson_string_append(sql, " ADD COLUMN ");
    sqlite_quote_key_column(sql, path);
    bson_string_append(sql, " BLOB; UPDATE ");
    sqlite_quote(sql, '"', "c_", collection);
    bson_string_append(sql, " SET ");
    sqlite_quote_key_column(sql, path);
    bson_string_append(sql, " = bson_key(bson,");
    sqlite_quote(sql, '\'', "", path);
    bson_string_append(sql, ")");
    int result = sqlite_execute(store, sql->str, error);
    bson_string_free(sql, true);
    return result;
}

/* Those of keys that no index had before. */
static int add_key_columns(struct sqlite_store *store, const char *collection, const bson_t *keys, bson_error_t *error)
{
    const struct sqlite_collection *table = sqlite_collection_find(store, collection);
    bson_iter_t iter;
    int result = 0;
    bson_iter_init(&iter, keys);
    while (result == 0 && bson_iter_next(&iter))
        if (strcmp(bson_iter_key(&iter), "_id") != 0 && !has_path(table, bson_iter_key(&iter)))
            result = add_key_column(store, collection, bson_iter_key(&iter), error);
    return result;
}

static int create_index(struct sqlite_store *store, const char *collection, const char *name, const bson_t *keys,
                        bson_error_t *error)
{
    if (!is_membership(keys) && add_key_columns(store, collection, keys, error))
        return -1;
    bson_string_t *sql = bson_string_new(NULL);
    bson_iter_t iter;
    bson_iter_init(&iter, keys);
    if (is_membership(keys)) {
        bson_iter_next(&iter);
        bson_string_append(sql, "CREATE TABLE ");
        quote_side_table(sql, collection, bson_iter_key(&iter));
        bson_string_append(sql, "(key BLOB NOT NULL, row INTEGER NOT NULL, PRIMARY KEY(key, row)) WITHOUT ROWID");
    } else {
        const char *separator = "(";
        bson_string_append(sql, "CREATE INDEX ");
        sqlite_quote_index(sql, collection, name);
        bson_string_append(sql, " ON ");
        sqlite_quote(sql, '"', "c_", collection);
        while (bson_iter_next(&iter)) {
            char *expression = column_sql(bson_iter_key(&iter), "");
            bson_string_append_printf(sql, "%s%s%s", separator, expression,
                                      bson_iter_as_double(&iter) < 0 ? " DESC" : "");
            bson_free(expression);
            separator = ", ";
        }
        bson_string_append(sql, ")");
    }
    int result = sqlite_execute(store, sql->str, error);
    bson_string_free(sql, true);
    if (result || add_registry_row(store, collection, name, keys, error) || sqlite_registry_load(store, error))
        return -1;
    return is_membership(keys) ? fill_side_table(store, sqlite_collection_find(store, collection), error) : 0;
}

static const struct sqlite_index *find_index(const struct sqlite_collection *collection, const char *name)
{
    for (size_t i = 0; collection && i < collection->count; i++)
        if (strcmp(collection->indexes[i].name, name) == 0)
            return &collection->indexes[i];
    return NULL;
}

/* Another membership index of the same path: one side table serves both, so the second name is refused. */
static const struct sqlite_index *find_side_table(const struct sqlite_collection *collection, const bson_t *keys)
{
    for (size_t i = 0; is_membership(keys) && i < collection->count; i++)
        if (collection->indexes[i].membership && bson_has_field(keys, collection->indexes[i].columns[0].path))
            return &collection->indexes[i];
    return NULL;
}

int sqlite_ensure_index(void *self, const char *collection, const char *name, const bson_t *keys, bson_error_t *error)
{
    struct sqlite_store *store = self;
    if (sqlite_begin_read(store, error))
        return -1;
    const struct sqlite_index *index = find_index(sqlite_collection_find(store, collection), name);
    bool there = index && bson_equal(index->keys, keys);
    sqlite_end_read(store);
    if (there)
        return 1;

    if (sqlite_begin_write(store, error))
        return -1;
    const struct sqlite_collection *table = sqlite_collection_make(store, collection, error);
    if (!table)
        goto fail;
    index = find_index(table, name);
    if (index && bson_equal(index->keys, keys)) { /* somebody was faster */
        sqlite_rollback(store);
        return 1;
    }
    store->schema_version = -1;
    if (index) {
        if (drop_index(store, collection, index, error) ||
            write_registry_row(store, "DELETE FROM hub_indexes WHERE collection = ? AND name = ?", collection, name,
                               NULL, error) ||
            sqlite_registry_load(store, error))
            goto fail;
        table = sqlite_collection_find(store, collection);
    }
    index = find_side_table(table, keys);
    if (index) {
        hub_error(error, HUB_ERROR_INVALID, "index '%s' of %s: '%s' indexes the same array", name, collection,
                  index->name);
        goto fail;
    }
    if (create_index(store, collection, name, keys, error))
        goto fail;
    return sqlite_commit(store, error) ? -1 : 1;
fail:
    sqlite_rollback(store);
    return -1;
}

int sqlite_list_indexes(void *self, const char *collection, store_index_visitor *visit, void *data,
                        bson_error_t *error)
{
    struct sqlite_store *store = self;
    int result = 0;
    if (sqlite_begin_read(store, error))
        return -1;
    const struct sqlite_collection *table = sqlite_collection_find(store, collection);
    for (size_t i = 0; table && i < table->count && result == 0; i++)
        result = visit(data, table->indexes[i].name, table->indexes[i].keys, error);
    sqlite_end_read(store);
    return result;
}

/* ---- side tables ---- */

bool sqlite_has_membership(const struct sqlite_collection *collection)
{
    for (size_t i = 0; i < collection->count; i++)
        if (collection->indexes[i].membership)
            return true;
    return false;
}

static bool same_value(const bson_t *a, const bson_t *b, const char *path)
{
    bson_iter_t x, y;
    bool in_a = a && bson_iter_init_find(&x, a, path);
    bool in_b = b && bson_iter_init_find(&y, b, path);
    if (!in_a || !in_b)
        return in_a == in_b;
    return bson_iter_type(&x) == bson_iter_type(&y) && query_compare_values(&x, &y) == 0;
}

static int change_element(struct sqlite_store *store, sqlite3_stmt *statement, int64_t row, const bson_iter_t *value,
                          bson_error_t *error)
{
    key_clear(&store->key);
    key_append_value(&store->key, value);
    sqlite3_bind_blob64(statement, 1, store->key.data, store->key.length, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 2, row);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "index", error);
}

/* Runs sql, which ends in the side table's columns, for each element (or the one value) at path. */
static int change_elements(struct sqlite_store *store, const char *sql, int64_t row, const bson_t *document,
                           const char *path, bson_error_t *error)
{
    bson_iter_t value, element;
    if (!document || !bson_iter_init_find(&value, document, path))
        return 0;
    sqlite3_stmt *statement = sqlite_prepare(store, sql, error);
    if (!statement)
        return -1;
    if (!BSON_ITER_HOLDS_ARRAY(&value))
        return change_element(store, statement, row, &value, error);
    if (bson_iter_recurse(&value, &element))
        while (bson_iter_next(&element))
            if (change_element(store, statement, row, &element, error))
                return -1;
    return 0;
}

int sqlite_membership_change(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row,
                             const bson_t *before, const bson_t *after, bson_error_t *error)
{
    int result = 0;
    for (size_t i = 0; i < collection->count && result == 0; i++) {
        const struct sqlite_index *index = &collection->indexes[i];
        if (!index->membership || same_value(before, after, index->columns[0].path))
            continue;
        const char *path = index->columns[0].path;
        bson_string_t *table = bson_string_new(NULL);
        quote_side_table(table, collection->name, path);
        char *remove = bson_strdup_printf("DELETE FROM %s WHERE key = ? AND row = ?", table->str);
        char *add = bson_strdup_printf("INSERT OR IGNORE INTO %s(key, row) VALUES(?, ?)", table->str);
        result = change_elements(store, remove, row, before, path, error);
        if (result == 0)
            result = change_elements(store, add, row, after, path, error);
        bson_free(add);
        bson_free(remove);
        bson_string_free(table, true);
    }
    return result;
}
