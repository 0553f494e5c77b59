/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, and the engine's table of functions. Updates are not translated: within BEGIN IMMEDIATE the document is
 * read, changed by update_apply and written back. */
#include "hub/store_sqlite_impl.h"
#include "hub/fault.h"

#include <string.h>
#include <time.h>

#define DELETE_STEP 500 /* documents deleted in one transaction */

static int64_t wall_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static sqlite3_stmt *prepare_on(struct sqlite_store *store, const char *before, const char *collection,
                                const char *after, bson_error_t *error)
{
    bson_string_t *sql = bson_string_new(before);
    sqlite_quote(sql, '"', "c_", collection);
    bson_string_append(sql, after);
    sqlite3_stmt *statement = sqlite_prepare(store, sql->str, error);
    bson_string_free(sql, true);
    return statement;
}

/* INSERT with the collection's key columns, bound. NULL on error. */
static sqlite3_stmt *prepare_insert(struct sqlite_store *store, const struct sqlite_collection *collection,
                                    const bson_t *document, bson_error_t *error)
{
    bson_string_t *sql = bson_string_new("INSERT INTO ");
    sqlite_quote(sql, '"', "c_", collection->name);
    bson_string_append(sql, "(id, bson");
    for (size_t i = 0; i < collection->path_count; i++) {
        bson_string_append(sql, ", ");
        sqlite_quote_key_column(sql, collection->paths[i]);
    }
    bson_string_append(sql, ") VALUES(?, ?");
    for (size_t i = 0; i < collection->path_count; i++)
        bson_string_append(sql, ", ?");
    bson_string_append(sql, ")");
    sqlite3_stmt *statement = sqlite_prepare(store, sql->str, error);
    bson_string_free(sql, true);
    for (size_t i = 0; statement && i < collection->path_count; i++) {
        if (sqlite_path_key(store, collection->name, document, collection->paths[i], error)) {
            sqlite3_clear_bindings(statement);
            return NULL;
        }
        sqlite3_bind_blob64(statement, (int)i + 3, store->key.data, store->key.length, SQLITE_TRANSIENT);
    }
    if (statement)
        sqlite3_bind_blob64(statement, 2, bson_get_data(document), document->len, SQLITE_STATIC);
    return statement;
}

/* UPDATE of the BSON and of those key columns whose keys differ, bound. NULL on error. */
static sqlite3_stmt *prepare_replace(struct sqlite_store *store, const struct sqlite_collection *collection,
                                     int64_t row, const bson_t *before, const bson_t *after, bson_error_t *error)
{
    struct key *keys = bson_malloc0((collection->path_count + 1) * sizeof *keys); /* of after, where they differ */
    bson_string_t *sql = bson_string_new("UPDATE ");
    sqlite3_stmt *statement = NULL;
    sqlite_quote(sql, '"', "c_", collection->name);
    bson_string_append(sql, " SET bson = ?");
    for (size_t i = 0; i < collection->path_count; i++) {
        const char *path = collection->paths[i];
        if (sqlite_path_key(store, collection->name, after, path, error))
            goto out;
        key_append_bytes(&keys[i], store->key.data, store->key.length);
        key_clear(&store->key);
        if (key_append_path(&store->key, before, path) == 0 &&
            key_compare(store->key.data, store->key.length, keys[i].data, keys[i].length) == 0) {
            key_clear(&keys[i]);
            continue;
        }
        bson_string_append(sql, ", ");
        sqlite_quote_key_column(sql, path);
        bson_string_append(sql, " = ?");
    }
    bson_string_append(sql, " WHERE rowid = ?");
    statement = sqlite_prepare(store, sql->str, error);
    int at = 1;
    if (!statement)
        goto out;
    sqlite3_bind_blob64(statement, at++, bson_get_data(after), after->len, SQLITE_STATIC);
    for (size_t i = 0; i < collection->path_count; i++)
        if (keys[i].length > 0)
            sqlite3_bind_blob64(statement, at++, keys[i].data, keys[i].length, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, at, row);
out:
    for (size_t i = 0; i < collection->path_count; i++)
        key_destroy(&keys[i]);
    bson_free(keys);
    bson_string_free(sql, true);
    return statement;
}

/* 1 written, 0 there already (only with ignore_duplicate), -1. */
static int insert_row(struct sqlite_store *store, const char *name, const bson_t *document, bool ignore_duplicate,
                      bson_error_t *error)
{
    const struct sqlite_collection *collection = sqlite_collection_make(store, name, error);
    if (!collection)
        return -1;
    bson_iter_t id;
    struct key key;
    int result = -1;
    if (!bson_iter_init_find(&id, document, "_id"))
        return hub_error(error, HUB_ERROR_INTERNAL, "insert into %s: no _id", name);
    sqlite3_stmt *statement = prepare_insert(store, collection, document, error);
    if (!statement)
        return -1;
    key_init(&key);
    key_append_value(&key, &id);
    sqlite3_bind_blob64(statement, 1, key.data, key.length, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) {
        result = 1;
        if (sqlite_has_membership(collection) &&
            sqlite_membership_change(store, collection, sqlite3_last_insert_rowid(store->db), NULL, document, error))
            result = -1;
    } else if (code == SQLITE_CONSTRAINT_UNIQUE && ignore_duplicate) {
        result = 0;
    } else if (code == SQLITE_CONSTRAINT_UNIQUE) {
        bson_t shown = BSON_INITIALIZER;
        bson_append_iter(&shown, "_id", 3, &id);
        char *text = bson_as_relaxed_extended_json(&shown, NULL);
        hub_error(error, HUB_ERROR_DUPLICATE, "%s has a document %.120s already", name, text ? text : "with this _id");
        bson_free(text);
        bson_destroy(&shown);
    } else {
        sqlite_fail(store, code, "insert", error);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    key_destroy(&key);
    return result;
}

static int replace_row(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row,
                       const bson_t *before, const bson_t *after, bson_error_t *error)
{
    sqlite3_stmt *statement = prepare_replace(store, collection, row, before, after, error);
    if (!statement)
        return -1;
    int code = sqlite3_step(statement);
    int result = code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "update", error);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (result == 0 && sqlite_has_membership(collection))
        result = sqlite_membership_change(store, collection, row, before, after, error);
    return result;
}

static int delete_row(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row,
                      bson_error_t *error)
{
    if (sqlite_has_membership(collection)) {
        bson_t *document;
        int there = sqlite_fetch(store, collection, row, &document, error);
        if (there == 1 && sqlite_membership_change(store, collection, row, document, NULL, error))
            there = -1;
        bson_destroy(document);
        if (there < 0)
            return -1;
    }
    sqlite3_stmt *statement = prepare_on(store, "DELETE FROM ", collection->name, " WHERE rowid = ?", error);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, row);
    int code = sqlite3_step(statement);
    int result = code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "delete", error);
    sqlite3_reset(statement);
    return result;
}

/* The document after the change, in *after (new). */
static int apply_change(const char *collection, const struct store_change *change, const bson_t *before,
                        bool inserting, bson_t **after, bson_error_t *error)
{
    bson_t applied;
    *after = NULL;
    bson_error_t unused;
    int result = update_apply(change->update, before, inserting, wall_clock_ms(), &applied, error);
    /* A foreign document that no store would have taken is changed all the same, as a server does: else whoever wants to
     * set it aside could not. */
    if (result == 0 && query_check_document(&applied, collection, error) < 0 &&
        (inserting || query_check_document(before, collection, &unused) == 0))
        result = -1;
    if (result == 0)
        *after = bson_copy(&applied);
    bson_destroy(&applied);
    return result;
}

/* Changes the first match, or inserts where base is given. 1 or 0 as store_modify. *before is NULL after an insert;
 * both are new. Within a write transaction. */
static int change_first(struct sqlite_store *store, const char *name, const struct store_filter *filter,
                        const struct store_change *change, const bson_t *sort, const bson_t *base, bson_t **before,
                        bson_t **after, bson_error_t *error)
{
    const struct sqlite_collection *collection = sqlite_collection_find(store, name);
    int64_t row;
    *after = NULL;
    int found = sqlite_find_first(store, collection, filter->query, sort, 0, &row, before, error);
    if (found == 1) {
        if (apply_change(name, change, *before, false, after, error))
            return -1;
        if (bson_equal(*before, *after))
            return 1;
        return replace_row(store, collection, row, *before, *after, error) ? -1 : 1;
    }
    if (found < 0 || !base)
        return found;
    if (apply_change(name, change, base, true, after, error))
        return -1;
    return insert_row(store, name, *after, false, error);
}

/* ---- operations ---- */

static int sqlite_insert(void *self, const char *collection, const bson_t *document, bson_error_t *error)
{
    struct sqlite_store *store = self;
    if (sqlite_begin_write(store, error))
        return -1;
    if (insert_row(store, collection, document, false, error) < 0) {
        sqlite_rollback(store);
        return -1;
    }
    return sqlite_commit(store, error) ? -1 : 1;
}

static int sqlite_modify(void *self, const char *collection, const struct store_modify_request *request, bson_t *out,
                         bson_error_t *error)
{
    struct sqlite_store *store = self;
    bson_t *before = NULL, *after = NULL;
    if (sqlite_begin_write(store, error))
        return -1;
    int result = change_first(store, collection, &request->filter, &request->change, request->sort,
                              request->upsert_base, &before, &after, error);
    if (result < 1)
        sqlite_rollback(store);
    else if (sqlite_commit(store, error))
        result = -1;
    const bson_t *shown = request->return_new ? after : before;
    if (result == 1 && out && shown) {
        bson_t projected;
        if (!request->projection)
            bson_concat(out, shown);
        else if (query_project(request->projection, shown, &projected, error) == 0)
            bson_concat(out, &projected);
        if (request->projection)
            bson_destroy(&projected);
    }
    bson_destroy(before);
    bson_destroy(after);
    return result;
}

static int64_t sqlite_update(void *self, const char *name, const struct store_filter *filter,
                             const struct store_change *change, bson_error_t *error)
{
    struct sqlite_store *store = self;
    int64_t *rows = NULL;
    size_t count = 0;
    if (sqlite_begin_write(store, error))
        return -1;
    const struct sqlite_collection *collection = sqlite_collection_find(store, name);
    int result = sqlite_find_rows(store, collection, filter->query, NULL, 0, 0, &rows, &count, error);
    for (size_t i = 0; i < count && result == 0; i++) {
        bson_t *before, *after = NULL;
        result = sqlite_fetch(store, collection, rows[i], &before, error) == 1 ? 0 : -1;
        if (result == 0)
            result = apply_change(name, change, before, false, &after, error);
        if (result == 0 && !bson_equal(before, after))
            result = replace_row(store, collection, rows[i], before, after, error);
        bson_destroy(before);
        bson_destroy(after);
    }
    bson_free(rows);
    if (result || count == 0)
        sqlite_rollback(store);
    else if (sqlite_commit(store, error))
        result = -1;
    return result ? -1 : (int64_t)count;
}

/* Deletes up to limit matches (0: all); how many. Within a write transaction. */
static int64_t delete_matches(struct sqlite_store *store, const char *name, const struct query *query, int64_t limit,
                              bson_error_t *error)
{
    int64_t *rows = NULL;
    size_t count = 0;
    const struct sqlite_collection *collection = sqlite_collection_find(store, name);
    int result = sqlite_find_rows(store, collection, query, NULL, 0, limit, &rows, &count, error);
    for (size_t i = 0; i < count && result == 0; i++)
        result = delete_row(store, collection, rows[i], error);
    bson_free(rows);
    return result ? -1 : (int64_t)count;
}

static int64_t sqlite_delete(void *self, const char *collection, const struct store_filter *filter,
                             bson_error_t *error)
{
    struct sqlite_store *store = self;
    int64_t total = 0, step;
    do {
        if (sqlite_begin_write(store, error))
            return -1;
        step = delete_matches(store, collection, filter->query, DELETE_STEP, error);
        if (step <= 0)
            sqlite_rollback(store);
        else if (sqlite_commit(store, error))
            return -1;
        if (step < 0)
            return -1;
        total += step;
    } while (step == DELETE_STEP);
    bson_error_t unused; /* the deleting is done; a file that could not be made smaller is no error */
    if (total > 0)
        sqlite_shrink(store, &unused);
    return total;
}

/* ---- batches ---- */

static int run_entry(struct sqlite_store *store, struct store *front, const struct store_batch_entry *entry,
                     bson_error_t *error)
{
    const struct store_operation *operation = entry->operation;
    switch (operation->kind) {
    case STORE_INSERT:
        return insert_row(store, operation->collection, entry->document, operation->ignore_duplicate, error) < 0 ? -1
                                                                                                                 : 1;
    case STORE_UPDATE: {
        bson_t *before = NULL, *after = NULL;
        int result = change_first(store, operation->collection, &entry->filter, &entry->change, NULL,
                                  entry->upsert_base, &before, &after, error);
        bson_destroy(before);
        bson_destroy(after);
        return result == 0 && !operation->guard ? 1 : result;
    }
    case STORE_DELETE:
        return delete_matches(store, operation->collection, entry->filter.query, 0, error) < 0 ? -1 : 1;
    case STORE_CHECK: {
        int result = operation->check(front, operation->data, error);
        if (result < 0 && error->domain != HUB_ERROR_DOMAIN)
            hub_error(error, HUB_ERROR_INTERNAL, "a batch's check failed without saying why");
        return result;
    }
    default:
        return hub_error(error, HUB_ERROR_INTERNAL, "batch: unknown operation");
    }
}

static int sqlite_batch(void *self, struct store *front, const struct store_batch_entry *entries, size_t count,
                        size_t *stopped_at, bson_error_t *error)
{
    struct sqlite_store *store = self;
    *stopped_at = 0;
    if (sqlite_begin_write(store, error))
        return -1;
    for (size_t i = 0; i < count; i++) {
        TL_FAULT_STEP(entries[i].operation, false);
        int result = TL_FAULT_REFUSED(error) ? -1 : run_entry(store, front, &entries[i], error);
        if (result < 1) {
            *stopped_at = i;
            sqlite_rollback(store);
            return result;
        }
        TL_FAULT_STEP(entries[i].operation, true);
    }
    TL_FAULT("transaction.before");
    if (sqlite_commit(store, error))
        return -1;
    TL_FAULT("transaction.after");
    *stopped_at = count;
    return 1;
}

static int sqlite_server_time(void *self, int64_t *milliseconds, bson_error_t *error)
{
    (void)self;
    (void)error;
    *milliseconds = wall_clock_ms();
    return 1;
}

const struct store_engine store_engine_sqlite = {
    .name = "sqlite",
    .batch_is_atomic = true,
    .open = sqlite_open,
    .close = sqlite_close,
    .ping = sqlite_ping,
    .describe = sqlite_describe,
    .ensure_index = sqlite_ensure_index,
    .list_indexes = sqlite_list_indexes,
    .insert = sqlite_insert,
    .find = sqlite_find,
    .cursor_next = sqlite_cursor_next,
    .cursor_close = sqlite_cursor_close,
    .find_one = sqlite_find_one,
    .count = sqlite_count,
    .count_by = sqlite_count_by,
    .modify = sqlite_modify,
    .update = sqlite_update,
    .delete = sqlite_delete,
    .batch = sqlite_batch,
    .watch = sqlite_watch,
    .server_time = sqlite_server_time,
    .check = sqlite_check,
    .explain = sqlite_explain,
};
