/* SPDX-License-Identifier: Apache-2.0 */
/* Statements, transactions and errors of one SQLite connection. */
#include "hub/store_sqlite_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READER_PATIENCE_US 20000 /* then a reader goes through the turnstile, so that writers cannot starve it */

/* ---- errors ---- */

/* SQLite says "unable to open database file" of all of these, with the errno of its last try. */
static const char *why_not_opened(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? bson_strdup(".") : slash == path ? bson_strdup("/") : bson_strndup(path, (size_t)(slash - path));
    struct stat status;
    const char *why = NULL;
    if (stat(folder, &status) != 0)
        why = errno == ENOENT ? "there is no such folder" : strerror(errno);
    else if (!S_ISDIR(status.st_mode))
        why = "what it should be in is no folder";
    else if (access(path, F_OK) != 0 && access(folder, W_OK | X_OK) != 0)
        why = errno == EROFS ? "its folder is on a read-only file system" : "its folder may not be written to";
    else if (access(path, F_OK) == 0 && access(path, R_OK | W_OK) != 0)
        why = "it may not be read and written";
    bson_free(folder);
    return why;
}

int sqlite_fail(struct sqlite_store *store, int code, const char *what, bson_error_t *error)
{
    const char *message = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);
    int system = store->db ? sqlite3_system_errno(store->db) : 0;
    const char *path = store->path;
    if (store->refused_path[0]) {
        hub_error(error, HUB_ERROR_INVALID, "%s: there is an array at the indexed path '%s'", what,
                  store->refused_path);
        store->refused_path[0] = '\0';
        return -1;
    }
    if (store->refused_bson) {
        store->refused_bson = false;
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: '%s' holds a malformed document; restore it from a copy", what,
                         path);
    }
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return hub_error(error, HUB_ERROR_BUSY,
                         "%s: '%s' stayed locked for %lld ms; see which program holds it, or give sqlite:…?"
                         "busy_timeout_ms= a longer time", what, path, (long long)store->busy_ms);
    case SQLITE_FULL:
        store->full = store->writing;
        return hub_error(error, HUB_ERROR_NO_SPACE, "%s: no space left for '%s'; nothing was written", what, path);
    case SQLITE_CORRUPT:
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: '%s' is damaged (%s); restore it from a copy", what, path,
                         message);
    case SQLITE_NOTADB:
        return hub_error(error, HUB_ERROR_VERSION, "%s: '%s' is not a hub (not an SQLite file)", what, path);
    case SQLITE_NOMEM:
        return hub_error(error, HUB_ERROR_MEMORY, "%s: out of memory", what);
    case SQLITE_TOOBIG:
        return hub_error(error, HUB_ERROR_INVALID, "%s: too large for SQLite", what);
    case SQLITE_READONLY:
        return hub_error(error, HUB_ERROR_IO, "%s: '%s' or its folder may not be written to", what, path);
    case SQLITE_IOERR:
        store->full = store->writing && (system == ENOSPC || system == EDQUOT);
        if (system == ENOSPC || system == EDQUOT)
            return hub_error(error, HUB_ERROR_NO_SPACE, "%s: no space left for '%s'; nothing was written", what, path);
        return hub_error(error, HUB_ERROR_IO, "%s: '%s': %s (%s)", what, path, message, strerror(system));
    case SQLITE_CANTOPEN:
        if (why_not_opened(path))
            return hub_error(error, HUB_ERROR_IO, "%s: '%s': %s", what, path, why_not_opened(path));
        __attribute__((fallthrough));
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
    case SQLITE_NOLFS:
        return hub_error(error, HUB_ERROR_IO, "%s: '%s': %s%s%s", what, path, message, system ? ": " : "",
                         system ? strerror(system) : "");
    default:
        return hub_error(error, HUB_ERROR_INTERNAL, "%s: '%s': %s (SQLite error %d)", what, path, message, code);
    }
}

/* ---- statements ---- */

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(1099511628211);
    return hash;
}

sqlite3_stmt *sqlite_prepare(struct sqlite_store *store, const char *sql, bson_error_t *error)
{
    uint64_t hash = hash_text(sql);
    struct sqlite_statement *oldest = NULL;
    for (size_t i = 0; i < SQLITE_STORE_STATEMENTS; i++) {
        struct sqlite_statement *statement = &store->statements[i];
        bool idle = !statement->handle || !sqlite3_stmt_busy(statement->handle);
        if (idle && statement->handle && statement->hash == hash && strcmp(statement->sql, sql) == 0) {
            statement->used = ++store->clock;
            sqlite3_reset(statement->handle);
            sqlite3_clear_bindings(statement->handle);
            return statement->handle;
        }
        if (idle && (!oldest || statement->used < oldest->used))
            oldest = statement;
    }
    sqlite3_stmt *handle = NULL;
    if (!oldest) {
        hub_error(error, HUB_ERROR_INTERNAL, "too many SQL statements at once");
        return NULL;
    }
    int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL);
    if (code != SQLITE_OK) {
        sqlite_fail(store, code, "SQL", error);
        return NULL;
    }
    sqlite3_finalize(oldest->handle);
    bson_free(oldest->sql);
    *oldest = (struct sqlite_statement){
        .sql = bson_strdup(sql), .hash = hash, .used = ++store->clock, .handle = handle};
    return handle;
}

void sqlite_statements_free(struct sqlite_store *store)
{
    for (size_t i = 0; i < SQLITE_STORE_STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i].handle);
        bson_free(store->statements[i].sql);
        store->statements[i] = (struct sqlite_statement){0};
    }
}

int sqlite_execute(struct sqlite_store *store, const char *sql, bson_error_t *error)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : sqlite_fail(store, code, "SQL", error);
}

/* As sqlite_execute, for what runs often. Returns SQLite's code. */
static int step_cached(struct sqlite_store *store, const char *sql, int64_t *value, bson_error_t *error)
{
    sqlite3_stmt *statement = sqlite_prepare(store, sql, error);
    if (!statement)
        return SQLITE_ERROR;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW && value)
        *value = sqlite3_column_int64(statement, 0);
    int reset = sqlite3_reset(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return SQLITE_OK;
    return reset != SQLITE_OK ? reset : code;
}

int sqlite_query_int(struct sqlite_store *store, const char *sql, int64_t *value, bson_error_t *error)
{
    sqlite3_stmt *statement = sqlite_prepare(store, sql, error);
    if (!statement)
        return -1;
    *value = 0;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *value = sqlite3_column_int64(statement, 0);
    int result = code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "SQL", error);
    sqlite3_reset(statement);
    return result;
}

/* bson_key(bson, 'path'): the key of the value there; an array on the way is an error, so no row can have one. */
static void bson_key_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct sqlite_store *store = sqlite3_user_data(context);
    const uint8_t *data = sqlite3_value_blob(values[0]);
    const char *path = (const char *)sqlite3_value_text(values[1]);
    bson_t bson;
    (void)count;
    if (!data || !path || !bson_init_static(&bson, data, (size_t)sqlite3_value_bytes(values[0]))) {
        store->refused_bson = true;
        sqlite3_result_error(context, "malformed document", -1);
        return;
    }
    key_clear(&store->key);
    if (key_append_path(&store->key, &bson, path)) {
        bson_strncpy(store->refused_path, path, sizeof store->refused_path);
        sqlite3_result_error(context, "array at an indexed path", -1);
        return;
    }
    sqlite3_result_blob64(context, store->key.data, store->key.length, SQLITE_TRANSIENT);
}

int sqlite_register_functions(struct sqlite_store *store, bson_error_t *error)
{
    int code = sqlite3_create_function_v2(store->db, "bson_key", 2,
                                          SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, store,
                                          bson_key_function, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : sqlite_fail(store, code, "bson_key", error);
}

/* libbson's own check follows documents within documents as deep as they go, on the stack. */
static bool is_deeper(bson_iter_t *fields, unsigned levels)
{
    while (bson_iter_next(fields)) {
        bson_iter_t inner;
        if ((BSON_ITER_HOLDS_DOCUMENT(fields) || BSON_ITER_HOLDS_ARRAY(fields)) && bson_iter_recurse(fields, &inner) &&
            (levels == 0 || is_deeper(&inner, levels - 1)))
            return true;
    }
    return false;
}

bool sqlite_bson_is_whole(const bson_t *bson)
{
    bson_iter_t fields;
    return bson_iter_init(&fields, bson) && !is_deeper(&fields, SQLITE_STORE_LEVELS) &&
           bson_validate(bson, BSON_VALIDATE_NONE, NULL);
}

int sqlite_column_bson(struct sqlite_store *store, sqlite3_stmt *statement, int index, bson_t *bson,
                       bson_error_t *error)
{
    const uint8_t *data = sqlite3_column_blob(statement, index);
    if (data && bson_init_static(bson, data, (size_t)sqlite3_column_bytes(statement, index)))
        return 0;
    bson_init(bson);
    return hub_error(error, HUB_ERROR_CORRUPT, "'%s' holds a malformed document; restore it from a copy", store->path);
}

/* ---- transactions ---- */

/* Loads the registry again if the schema is not the one it was read at. Takes the read lock. Returns SQLite's code, or
 * SQLITE_ERROR with *error set and *failed. */
static int check_schema(struct sqlite_store *store, bool *failed, bson_error_t *error)
{
    int64_t version = 0;
    *failed = false;
    int code = step_cached(store, "PRAGMA schema_version", &version, error);
    if (code != SQLITE_OK || version == store->schema_version)
        return code;
    store->schema_version = -1;
    if (sqlite_registry_load(store, error)) {
        *failed = true;
        return SQLITE_ERROR;
    }
    store->schema_version = version;
    return SQLITE_OK;
}

int sqlite_begin_read(struct sqlite_store *store, bson_error_t *error)
{
    if (store->depth > 0) {
        store->depth++;
        return 0;
    }
    bool failed = false;
    int64_t limit_us = store->busy_ms * 1000;
    store->deadline_us = turnstile_now_us() + (limit_us < READER_PATIENCE_US ? limit_us : READER_PATIENCE_US);
    int code = step_cached(store, "BEGIN", NULL, error);
    if (code == SQLITE_OK)
        code = check_schema(store, &failed, error);
    if ((code & 0xff) == SQLITE_BUSY && limit_us > READER_PATIENCE_US) {
        bson_error_t unused; /* a folder that cannot be written to has no turnstile, and no writers */
        int64_t start = turnstile_now_us();
        bool inside = turnstile_enter(&store->turnstile, store->busy_ms, &unused) == 0;
        store->deadline_us = start + limit_us;
        code = check_schema(store, &failed, error);
        if (inside)
            turnstile_leave(&store->turnstile);
    }
    store->deadline_us = turnstile_now_us() + limit_us;
    if (code != SQLITE_OK) {
        if (!failed)
            sqlite_fail(store, code, "read", error);
        if (!sqlite3_get_autocommit(store->db))
            sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    store->depth = 1;
    return 0;
}

void sqlite_end_read(struct sqlite_store *store)
{
    if (--store->depth > 0)
        return;
    bson_error_t unused;
    if (step_cached(store, "COMMIT", NULL, &unused) != SQLITE_OK && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int sqlite_begin_write(struct sqlite_store *store, bson_error_t *error)
{
    if (store->depth > 0)
        return hub_error(error, HUB_ERROR_INTERNAL, "a write inside another transaction");
    bool failed = false;
    int64_t start = turnstile_now_us();
    if (turnstile_enter(&store->turnstile, store->busy_ms, error))
        return -1;
    store->deadline_us = start + store->busy_ms * 1000;
    int code = step_cached(store, "BEGIN IMMEDIATE", NULL, error);
    if (code == SQLITE_OK)
        code = check_schema(store, &failed, error);
    if (code != SQLITE_OK) {
        if (!failed)
            sqlite_fail(store, code, "write", error);
        if (!sqlite3_get_autocommit(store->db))
            sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        turnstile_leave(&store->turnstile);
        return -1;
    }
    store->depth = 1;
    store->writing = true;
    return 0;
}

int sqlite_commit(struct sqlite_store *store, bson_error_t *error)
{
    store->deadline_us = turnstile_now_us() + store->busy_ms * 1000; /* readers may still be there */
    int code = step_cached(store, "COMMIT", NULL, error);
    if (code != SQLITE_OK) {
        sqlite_fail(store, code, "commit", error);
        sqlite_rollback(store);
        return -1;
    }
    store->depth = 0;
    store->writing = false;
    turnstile_leave(&store->turnstile);
    return 0;
}

void sqlite_rollback(struct sqlite_store *store)
{
    if (!sqlite3_get_autocommit(store->db)) /* SQLite may have rolled back by itself */
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    store->depth = 0;
    store->writing = false;
    turnstile_leave(&store->turnstile);
    if (store->full && !store->making_room) {
        store->making_room = true;
        sqlite_make_room(store);
        store->making_room = false;
    }
    store->full = false;
}
