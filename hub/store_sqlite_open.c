/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, making and describing a SQLite hub. The file is never opened by hand, only by SQLite: closing any other
 * descriptor of it would drop the process's locks. */
#include "hub/store_sqlite_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define BUSY_DEFAULT_MS 30000
#define BUSY_LIMIT_MS (24LL * 3600 * 1000)

bool sqlite_wal_is_safe(int version)
{
    return version >= 3051003 || (version >= 3050007 && version < 3051000) ||
           (version >= 3044006 && version < 3045000);
}

/* ---- the URI ---- */

static int parse_option(const char *option, size_t length, int64_t *busy_ms, bson_error_t *error)
{
    static const char name[] = "busy_timeout_ms=";
    char *end = NULL;
    if (length <= sizeof name - 1 || strncmp(option, name, sizeof name - 1) != 0)
        return hub_error(error, HUB_ERROR_INVALID, "hub URI: option '%.*s' is not busy_timeout_ms=MILLISECONDS",
                         (int)(length > 80 ? 80 : length), option);
    errno = 0;
    const char *digits = option + sizeof name - 1;
    *busy_ms = strtoll(digits, &end, 10);
    if (errno || end != option + length || *digits < '0' || *digits > '9' || *busy_ms > BUSY_LIMIT_MS)
        return hub_error(error, HUB_ERROR_INVALID, "hub URI: busy_timeout_ms must be a whole number from 0 to %lld",
                         BUSY_LIMIT_MS);
    return 0;
}

/* sqlite:PATH or sqlite:PATH?busy_timeout_ms=N. *path is new. */
static int parse_uri(const char *uri, char **path, int64_t *busy_ms, bson_error_t *error)
{
    const char *start = uri + strlen("sqlite:");
    const char *question = strrchr(start, '?');
    size_t length = question ? (size_t)(question - start) : strlen(start);
    *path = NULL;
    *busy_ms = BUSY_DEFAULT_MS;
    if (length == 0)
        return hub_error(error, HUB_ERROR_INVALID, "hub URI '%.80s': no path after sqlite:", uri);
    if (strncmp(start, "//", 2) == 0 && start[2] != '/')
        return hub_error(error, HUB_ERROR_INVALID,
                         "hub URI '%.200s': a SQLite hub has no host; write sqlite:%.*s, or sqlite:/… for a path from the root",
                         uri, (int)(length - 2), start + 2);
    if (length >= 8 && strncmp(start, ":memory:", 8) == 0)
        return hub_error(error, HUB_ERROR_INVALID, "hub URI: a hub in memory is not supported; name a file");
    for (const char *option = question; option;) {
        const char *text = option + 1;
        size_t size = strcspn(text, "&");
        if (parse_option(text, size, busy_ms, error))
            return -1;
        option = text[size] ? text + size : NULL;
    }
    /* "./" keeps SQLite from reading "file:…" or ":…" as something special */
    *path = bson_strdup_printf("%s%.*s", start[0] == '/' ? "" : "./", (int)length, start);
    return 0;
}

/* ---- making and checking ---- */

/* Between tries to lock: short sleeps until the deadline of the wait. */
static int handle_busy(void *data, int tries)
{
    struct sqlite_store *store = data;
    if (turnstile_now_us() >= store->deadline_us)
        return 0;
    sqlite3_sleep(tries < 4 ? 1 : 2 + tries % 4);
    return 1;
}

static int not_a_hub(const struct sqlite_store *store, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_VERSION, "'%s' is an SQLite file but not a hub; name another file", store->path);
}

/* 1 a hub, 0 an empty file, -1. Only reads. */
static int identify(struct sqlite_store *store, bson_error_t *error)
{
    int64_t application = 0, layout = 0, objects = 0;
    store->deadline_us = turnstile_now_us() + store->busy_ms * 1000;
    if (sqlite_query_int(store, "PRAGMA application_id", &application, error) < 0 ||
        sqlite_query_int(store, "PRAGMA user_version", &layout, error) < 0 ||
        sqlite_query_int(store, "SELECT count(*) FROM sqlite_schema", &objects, error) < 0)
        return -1;
    if (application == 0 && layout == 0 && objects == 0)
        return 0;
    if (application != SQLITE_STORE_APPLICATION_ID)
        return not_a_hub(store, error);
    if (layout > SQLITE_STORE_LAYOUT || layout < 1)
        return hub_error(error, HUB_ERROR_VERSION,
                         "'%s' has layout %lld, this program knows up to %d; use a newer tl_hub", store->path,
                         (long long)layout, SQLITE_STORE_LAYOUT);
    return 1;
}

static int make_hub(struct sqlite_store *store, bson_error_t *error)
{
    if (turnstile_enter(&store->turnstile, store->busy_ms, error))
        return -1;
    store->deadline_us = turnstile_now_us() + store->busy_ms * 1000;
    int result = sqlite_execute(store, "PRAGMA auto_vacuum = INCREMENTAL", error);
    if (result == 0 && sqlite_wal_is_safe(sqlite3_libversion_number()))
        result = sqlite_execute(store, "PRAGMA journal_mode = WAL", error);
    if (result == 0)
        result = sqlite_execute(store, "BEGIN IMMEDIATE", error);
    if (result == 0) {
        int made = identify(store, error); /* somebody may have been faster */
        char *sql = bson_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d;"
                                       "CREATE TABLE hub_indexes(collection TEXT NOT NULL, name TEXT NOT NULL,"
                                       " keys BLOB NOT NULL, PRIMARY KEY(collection, name)) WITHOUT ROWID",
                                       SQLITE_STORE_APPLICATION_ID, SQLITE_STORE_LAYOUT);
        result = made < 0 ? -1 : made ? 0 : sqlite_execute(store, sql, error);
        bson_free(sql);
        if (result == 0)
            result = sqlite_execute(store, "COMMIT", error);
        if (result)
            sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    turnstile_leave(&store->turnstile);
    return result;
}

static int read_text(struct sqlite_store *store, const char *sql, char *text, size_t size, bson_error_t *error)
{
    sqlite3_stmt *statement = sqlite_prepare(store, sql, error);
    text[0] = '\0';
    if (!statement)
        return -1;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW && sqlite3_column_text(statement, 0))
        bson_strncpy(text, (const char *)sqlite3_column_text(statement, 0), size);
    int result = code == SQLITE_ROW ? 0 : sqlite_fail(store, code, sql, error);
    sqlite3_reset(statement);
    return result;
}

/* WAL only where SQLite is free of the bug; elsewhere the rollback journal, kept between commits. */
static int choose_journal(struct sqlite_store *store, bson_error_t *error)
{
    char mode[32];
    if (read_text(store, "PRAGMA journal_mode", mode, sizeof mode, error))
        return -1;
    bool wal = strcmp(mode, "wal") == 0;
    if (wal && sqlite_wal_is_safe(sqlite3_libversion_number()))
        return 0;
    bson_error_t cause;
    int result = read_text(store, "PRAGMA journal_mode = PERSIST", mode, sizeof mode, &cause);
    if (wal && (result || strcmp(mode, "persist") != 0))
        return hub_error(error, HUB_ERROR_BUSY,
                         "'%s' is in WAL mode, which SQLite %s can damage, and other programs have it open; close them "
                         "and try again, or use SQLite 3.51.3 or later", store->path, sqlite3_libversion());
    if (result) {
        if (error)
            *error = cause;
        return -1;
    }
    return 0;
}

static int configure(struct sqlite_store *store, bson_error_t *error)
{
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_busy_handler(store->db, handle_busy, store);
    if (sqlite_register_functions(store, error))
        return -1;
    /* Debian's SQLite writes zeros over what is deleted, by way of the journal: on a full disk nothing could be deleted. */
    return sqlite_execute(store,
                          "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;"
                          "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA journal_size_limit = 1048576;"
                          "PRAGMA secure_delete = FAST",
                          error);
}

/* 1 there is something, 0 nothing or an empty file, -1 */
static int look(const char *path, bson_error_t *error)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT)
            return 0;
        return hub_error(error, HUB_ERROR_IO, "'%s': %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode))
        return hub_error(error, HUB_ERROR_INVALID, "'%s' is not a file", path);
    return status.st_size > 0;
}

void *sqlite_open(const char *uri, bool create, int64_t limit_ms, bson_error_t *error)
{
    struct sqlite_store *store = bson_malloc0(sizeof *store);
    int there;
    store->schema_version = -1;
    store->turnstile.fd = -1;
    if (parse_uri(uri, &store->path, &store->busy_ms, error))
        goto fail;
    if (limit_ms > 0 && store->busy_ms > limit_ms)
        store->busy_ms = limit_ms;
    turnstile_init(&store->turnstile, store->path);
    there = look(store->path, error);
    if (there < 0)
        goto fail;
    if (!there && !create) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "no hub at '%s'; make one with tl_hub init, or name another", store->path);
        goto fail;
    }
    int code = sqlite3_open_v2(store->path, &store->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0), NULL);
    if (code == SQLITE_OK)
        code = sqlite3_extended_result_codes(store->db, 1);
    if (code != SQLITE_OK) {
        sqlite_fail(store, code, "open", error);
        goto fail;
    }
    store->deadline_us = turnstile_now_us() + store->busy_ms * 1000;
    if (configure(store, error))
        goto fail;
    int hub = identify(store, error);
    if (hub < 0)
        goto fail;
    if (hub == 0 && !create) {
        not_a_hub(store, error);
        goto fail;
    }
    if (hub == 0 && make_hub(store, error))
        goto fail;
    if (choose_journal(store, error) || sqlite_begin_read(store, error))
        goto fail;
    sqlite_end_read(store);
    return store;
fail:
    sqlite_close(store);
    return NULL;
}

void sqlite_close(void *self)
{
    struct sqlite_store *store = self;
    if (!store)
        return;
    sqlite_statements_free(store);
    sqlite_registry_free(store);
    sqlite3_close(store->db);
    turnstile_destroy(&store->turnstile);
    key_destroy(&store->key);
    bson_free(store->path);
    bson_free(store);
}

/* ---- what there is to say ---- */

int sqlite_ping(void *self, bson_error_t *error)
{
    struct sqlite_store *store = self;
    if (sqlite_begin_read(store, error))
        return -1;
    sqlite_end_read(store);
    return 1;
}

/* The name of a file system that SQLite's locks cannot be relied on, or NULL. */
static const char *network_file_system(const char *path)
{
    static const struct {
        unsigned long type;
        const char *name;
    } types[] = {{0x6969, "NFS"},       {0x517b, "SMB"},     {0xff534d42, "CIFS"},     {0xfe534d42, "SMB2"},
                 {0x65735546, "FUSE"},  {0x01021997, "9P"},  {0x5346414f, "AFS"},      {0x00c36400, "Ceph"},
                 {0x0bd00bd0, "Lustre"}, {0x47504653, "GPFS"}, {0x73757245, "Coda"}};
    struct statfs status;
    if (statfs(path, &status) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (((unsigned long)status.f_type & 0xffffffff) == types[i].type)
            return types[i].name;
    return NULL;
}

int sqlite_describe(void *self, bson_t *out, bson_error_t *error)
{
    struct sqlite_store *store = self;
    static const char *const levels[] = {"OFF", "NORMAL", "FULL", "EXTRA"};
    int64_t level = 0, page_size = 0, pages = 0, free_pages = 0;
    char journal[32];
    struct statvfs space;
    BSON_APPEND_UTF8(out, "engine", "sqlite");
    BSON_APPEND_UTF8(out, "path", store->path);
    BSON_APPEND_UTF8(out, "library_version", sqlite3_libversion());
    BSON_APPEND_BOOL(out, "wal_is_safe", sqlite_wal_is_safe(sqlite3_libversion_number()));
    if (sqlite_begin_read(store, error))
        return -1;
    int result = -1;
    if (read_text(store, "PRAGMA journal_mode", journal, sizeof journal, error) == 0 &&
        sqlite_query_int(store, "PRAGMA synchronous", &level, error) >= 0 &&
        sqlite_query_int(store, "PRAGMA page_size", &page_size, error) >= 0 &&
        sqlite_query_int(store, "PRAGMA page_count", &pages, error) >= 0 &&
        sqlite_query_int(store, "PRAGMA freelist_count", &free_pages, error) >= 0)
        result = 1;
    sqlite_end_read(store);
    if (result < 0)
        return -1;
    BSON_APPEND_UTF8(out, "journal_mode", journal);
    BSON_APPEND_UTF8(out, "synchronous", level >= 0 && level < 4 ? levels[level] : "?");
    BSON_APPEND_INT64(out, "page_size", page_size);
    BSON_APPEND_INT64(out, "file_bytes", pages * page_size);
    BSON_APPEND_INT64(out, "unused_bytes", free_pages * page_size);
    if (statvfs(store->path, &space) == 0)
        BSON_APPEND_INT64(out, "free_disk_bytes", (int64_t)(space.f_bavail * space.f_frsize));
    BSON_APPEND_INT64(out, "busy_timeout_ms", store->busy_ms);
    BSON_APPEND_UTF8(out, "turnstile", store->turnstile.path);
    const char *network = network_file_system(store->path);
    if (network) {
        char *warning = bson_strdup_printf("the hub lies on %s, where file locks cannot be relied on: it can be damaged "
                                           "when several programs write; use a local disk or MongoDB", network);
        BSON_APPEND_UTF8(out, "warning", warning);
        bson_free(warning);
    }
    return 1;
}
