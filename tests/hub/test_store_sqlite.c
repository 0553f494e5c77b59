/* SPDX-License-Identifier: Apache-2.0 */
/* What only the SQLite engine promises: files it accepts, locks, one transaction a batch; its indexes are in
 * test_store_sqlite_index.c. What both engines promise is in test_store_conformance.c. */
#include "sqlite_store.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(sqlite, .init = set_up, .fini = tear_down);

/* The code with which opening is refused. */
static enum hub_error_code refused(const char *uri, bool create, const char *named)
{
    bson_error_t error = {0};
    struct store *store = store_open(uri, create, &error);
    cr_expect_null(store, "%s is opened", uri);
    store_close(store);
    cr_expect_not_null(strstr(error.message, named), "'%s' does not name %s", error.message, named);
    return hub_error_code(&error);
}

static enum hub_error_code refused_here(bool create, const char *named)
{
    char *uri = bson_strdup_printf("sqlite:%s?busy_timeout_ms=100", path);
    enum hub_error_code code = refused(uri, create, named);
    bson_free(uri);
    return code;
}

static void write_file(const char *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

static char *read_file(size_t *length)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    char *bytes = bson_malloc0(1 << 20);
    *length = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void raw(const char *sql)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* ---- opening ---- */

Test(sqlite, names_what_is_wrong_with_a_uri)
{
    cr_expect_eq(refused("sqlite:", true, "path"), HUB_ERROR_INVALID);
    cr_expect_eq(refused("sqlite:?busy_timeout_ms=1", true, "path"), HUB_ERROR_INVALID);
    cr_expect_eq(refused("sqlite::memory:", true, "memory"), HUB_ERROR_INVALID);
    cr_expect_eq(refused("sqlite:/tmp/x?mode=ro", true, "mode=ro"), HUB_ERROR_INVALID);
    cr_expect_eq(refused("sqlite:/tmp/x?busy_timeout_ms=soon", true, "busy_timeout_ms"), HUB_ERROR_INVALID);
    cr_expect_eq(refused("sqlite:/tmp", true, "not a file"), HUB_ERROR_INVALID);
    cr_expect_eq(refused("sqlite:/nonexistent/folder/hub.db", true, "/nonexistent"), HUB_ERROR_IO);
    cr_expect_eq(refused("postgres://u:geheim@h/db", true, "sqlite:PATH"), HUB_ERROR_INVALID);
    bson_error_t error;
    cr_expect_null(store_open("postgres://u:geheim@h/db", true, &error));
    cr_expect_null(strstr(error.message, "geheim"));
}

static int64_t busy_ms(const char *options, int64_t limit_ms)
{
    bson_error_t error = {0};
    bson_t out;
    bson_iter_t iter;
    char *uri = bson_strdup_printf("sqlite:%s%s", path, options);
    struct store *store = store_open_with_timeout(uri, true, limit_ms, &error);
    cr_assert_not_null(store, "%s", error.message);
    cr_assert_eq(store_describe(store, &out, NULL), 1);
    int64_t result = bson_iter_init_find(&iter, &out, "busy_timeout_ms") ? bson_iter_as_int64(&iter) : -1;
    bson_destroy(&out);
    store_close(store);
    bson_free(uri);
    return result;
}

Test(sqlite, waits_no_longer_than_the_opener_allows)
{
    cr_expect_eq(busy_ms("", 0), 30000);
    cr_expect_eq(busy_ms("", 700), 700);
    cr_expect_eq(busy_ms("?busy_timeout_ms=100", 700), 100);
    cr_expect_eq(busy_ms("?busy_timeout_ms=1000", 700), 700);
}

Test(sqlite, makes_a_missing_hub_only_when_asked)
{
    cr_expect_eq(refused_here(false, path), HUB_ERROR_NOT_FOUND);
    cr_expect_neq(access(path, F_OK), 0, "nothing was made");
    struct store *store = opened("", true);
    cr_expect_str_eq(store_engine(store), "sqlite");
    cr_expect(store_batch_is_atomic(store));
    insert(store, "things", "{'_id': 1}");
    store_close(store);
    store = opened("", false);
    cr_expect_eq(count(store, "things", "{}"), 1);
    store_close(store);
}

Test(sqlite, does_not_touch_files_that_are_no_hub)
{
    struct {
        const char *sql, *text;
        enum hub_error_code code;
    } cases[] = {{NULL, "This is a text file, longer than the header that SQLite looks at first, which is 100 bytes. "
                        "So it goes on a little, and on.", HUB_ERROR_VERSION},
                 {"CREATE TABLE cooking(recipe TEXT)", NULL, HUB_ERROR_VERSION},
                 {"PRAGMA application_id = 77; CREATE TABLE a(b)", NULL, HUB_ERROR_VERSION}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unlink(path);
        if (cases[i].sql)
            raw(cases[i].sql);
        else
            write_file(cases[i].text, strlen(cases[i].text));
        size_t before_length, after_length;
        char *before = read_file(&before_length);
        cr_expect_eq(refused_here(true, "not a hub"), cases[i].code);
        char *after = read_file(&after_length);
        cr_expect(before_length == after_length && memcmp(before, after, before_length) == 0, "case %zu", i);
        bson_free(before);
        bson_free(after);
    }
}

Test(sqlite, refuses_a_hub_of_a_later_layout)
{
    store_close(opened("", true));
    raw("PRAGMA user_version = 2");
    cr_expect_eq(refused_here(false, "newer"), HUB_ERROR_VERSION);
}

Test(sqlite, reports_a_truncated_file_and_leaves_it)
{
    struct store *store = opened("", true);
    for (int i = 0; i < 200; i++) {
        char *text = bson_strdup_printf("{'_id': %d, 'text': '%0200d'}", i, i);
        insert(store, "things", text);
        bson_free(text);
    }
    store_close(store);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(truncate(path, status.st_size / 2 + 100), 0);
    size_t before_length, after_length;
    char *before = read_file(&before_length);
    cr_expect_eq(refused_here(true, "damaged"), HUB_ERROR_CORRUPT);
    char *after = read_file(&after_length);
    cr_expect(before_length == after_length && memcmp(before, after, before_length) == 0);
    bson_free(before);
    bson_free(after);
}

Test(sqlite, reports_a_damaged_document_and_never_writes_over_it)
{
    bson_error_t error = {0};
    struct store *store = opened("", true);
    insert(store, "things", "{'_id': 1, 'text': 'abc', 'n': 1}");
    store_close(store);
    raw("UPDATE c_things SET bson = substr(bson, 1, 19) || x'7f000000' || substr(bson, 24)" /* the text's length */);
    store = opened("", false);
    bson_t out;
    cr_expect_eq(store_find_one(store, "things", document("{'_id': 1}"), NULL, &out, &error), -1);
    bson_destroy(&out);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_CORRUPT);
    cr_expect_eq(store_modify(store, "things", document("{'_id': 1}"), document("{'$set': {'n': 2}}"), NULL, NULL,
                              &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_CORRUPT, "%s", error.message);
    store_close(store);
}

Test(sqlite, does_not_run_wal_where_sqlite_can_damage_it)
{
    cr_expect(!sqlite_wal_is_safe(3040001) && !sqlite_wal_is_safe(3044005) && sqlite_wal_is_safe(3044006));
    cr_expect(!sqlite_wal_is_safe(3045000) && !sqlite_wal_is_safe(3050006) && sqlite_wal_is_safe(3050007));
    cr_expect(!sqlite_wal_is_safe(3051000) && !sqlite_wal_is_safe(3051002) && sqlite_wal_is_safe(3051003));
    if (sqlite_wal_is_safe(sqlite3_libversion_number()))
        return;
    bson_t out;
    bson_iter_t mode;
    store_close(opened("", true));
    raw("PRAGMA journal_mode = WAL");
    struct store *store = opened("", false);
    cr_assert_eq(store_describe(store, &out, NULL), 1);
    cr_assert(bson_iter_init_find(&mode, &out, "journal_mode"));
    cr_expect_str_eq(bson_iter_utf8(&mode, NULL), "persist");
    bson_destroy(&out);
    store_close(store);

    sqlite3 *other;
    sqlite3_open(path, &other);
    sqlite3_exec(other, "PRAGMA journal_mode = WAL; SELECT * FROM hub_indexes", NULL, NULL, NULL);
    cr_expect_eq(refused_here(false, "WAL"), HUB_ERROR_BUSY);
    sqlite3_close(other);
    store_close(opened("", false));
}

Test(sqlite, describes_itself)
{
    static const char *const fields[] = {"engine", "library_version", "journal_mode", "synchronous", "page_size",
                                         "file_bytes", "free_disk_bytes", "turnstile", "busy_timeout_ms"};
    struct store *store = opened("?busy_timeout_ms=1234", true);
    bson_t out;
    bson_iter_t iter;
    cr_assert_eq(store_describe(store, &out, NULL), 1);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        cr_expect(bson_has_field(&out, fields[i]), "%s", fields[i]);
    cr_expect(bson_iter_init_find(&iter, &out, "synchronous"));
    cr_expect_str_eq(bson_iter_utf8(&iter, NULL), "FULL");
    cr_expect(bson_iter_init_find(&iter, &out, "busy_timeout_ms") && bson_iter_as_int64(&iter) == 1234);
    bson_destroy(&out);
    store_close(store);
}

Test(sqlite, shows_no_password_in_a_uri)
{
    const struct {
        const char *uri, *shown;
    } cases[] = {
        {"mongodb://h/db", "mongodb://h/db"},
        {"mongodb://user:geheim@h:1/db?w=1", "mongodb://user:***@h:1/db?w=1"},
        {"mongodb+srv://user:geheim@h", "mongodb+srv://user:***@h"},
        {"mongodb://user:ge@heim/x?y@h/db", "mongodb://user:***@h/db"},
        {"mongodb://geheim@h/db", "mongodb://***@h/db"},
        {"mongodb:user:geheim@h", "mongodb:user:***@h"},
        {"user:geheim@h", "user:***@h"},
        {"user://geheim:x@h", "user:***@h"},
        {"mysql://h:1/db", "mysql://h:1/db"},
        {"mysql://user:geheim", "mysql://user:***"},
        {"mongodb://h/?tlsCertificateKeyFilePassword=geheim&w=1", "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"},
        {"mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:geheim",
         "mongodb://h/?authMechanismProperties=***"},
        {"mongodb://h/db&tlscertificatekeyfilePASSWORD=geheim", "mongodb://h/db&tlscertificatekeyfilePASSWORD=***"},
        {"mongodb://h/?tlsCertificateKeyFilePassword=ge/he?im&more;&w=1",
         "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"},
        {"mongodb://user:geheim", "mongodb://user:***"},
        {"mongodb://user:2718281828", "mongodb://user:***"},
        {"mongodb://user:ge/heim?w=1", "mongodb://user:***"},
        {"mongodb://a:1,user:1geheim/db", "mongodb://a:1,user:***"},
        {"mongodb:user:geheim", "mongodb:user:***"},
        {"mongodb://a:27017,[::1]:27018,c/db?w=1", "mongodb://a:27017,[::1]:27018,c/db?w=1"},
        {"mongodb://[::1]", "mongodb://[::1]"},
        {"sqlite:/a/b@c.db", "sqlite:/a/b@c.db"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *shown = store_redact_uri(cases[i].uri);
        cr_expect_str_eq(shown, cases[i].shown);
        char *hidden = bson_strdup(cases[i].uri);
        store_hide_secrets(hidden);
        cr_expect(strlen(hidden) == strlen(cases[i].uri) && strstr(hidden, "geheim") == NULL, "%s", hidden);
        bson_free(hidden);
        bson_free(shown);
    }
}

/* ---- locks ---- */

Test(sqlite, says_busy_after_its_time_limit_and_goes_on_afterwards)
{
    bson_error_t error = {0};
    struct store *store = opened("?busy_timeout_ms=150", true);
    insert(store, "things", "{'_id': 1}");
    sqlite3 *other;
    sqlite3_open(path, &other);
    cr_assert_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    int64_t start = turnstile_now_us();
    cr_expect_eq(store_insert(store, "things", document("{'_id': 2}"), &error), -1);
    int64_t waited = (turnstile_now_us() - start) / 1000;
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_BUSY, "%s", error.message);
    cr_expect(waited >= 140 && waited < 2000, "%lld ms", (long long)waited);
    cr_expect_eq(store_count(store, "things", document("{}"), &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_BUSY, "%s", error.message);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    insert(store, "things", "{'_id': 2}");
    cr_expect_eq(count(store, "things", "{}"), 2);

    struct turnstile turnstile;
    turnstile_init(&turnstile, path);
    cr_assert_eq(turnstile_enter(&turnstile, 100, &error), 0);
    cr_expect_eq(store_insert(store, "things", document("{'_id': 3}"), &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_BUSY, "%s", error.message);
    cr_expect_eq(count(store, "things", "{}"), 2, "readers need no turnstile");
    turnstile_destroy(&turnstile);
    insert(store, "things", "{'_id': 3}");
    store_close(store);
}

enum { WRITERS = 8, ROUNDS = 40 };

static void *write_rounds(void *data)
{
    struct store *store = opened("", false);
    int64_t *worst = data, first;
    bson_error_t error = {0};
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = turnstile_now_us();
        cr_assert_eq(store_counter_add(store, "rounds", 1, &first, &error), 1, "%s", error.message);
        int64_t waited = turnstile_now_us() - start;
        *worst = waited > *worst ? waited : *worst;
    }
    store_close(store);
    return NULL;
}

Test(sqlite, starves_no_writer_and_loses_no_write)
{
    pthread_t threads[WRITERS];
    int64_t worst[WRITERS] = {0}, first = 0;
    struct store *store = opened("", true);
    for (int i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_rounds, &worst[i]), 0);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_lt(worst[i], 5000000, "a writer waited %lld us", (long long)worst[i]);
    }
    cr_assert_eq(store_counter_add(store, "rounds", 3, &first, NULL), 1);
    cr_expect_eq(first, WRITERS * ROUNDS + 1);
    store_close(store);
}

Test(sqlite, goes_on_after_a_writer_was_killed_in_the_middle)
{
    int ready[2];
    char byte;
    struct stat status;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork(); /* before any SQLite here */
    if (child == 0) {
        bson_error_t error;
        char *uri = bson_strdup_printf("sqlite:%s", path);
        struct sqlite_store *store = store_engine_sqlite.open(uri, true, 0, &error);
        if (store && sqlite_begin_write(store, &error) == 0 && sqlite_collection_make(store, "things", &error) &&
            write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_eq(stat(path, &status), 0);
    struct store *store = opened("?busy_timeout_ms=2000", false);
    cr_expect_eq(count(store, "things", "{}"), 0, "what was not committed is not there");
    insert(store, "things", "{'_id': 1}");
    store_close(store);
}

Test(sqlite, holds_no_lock_while_a_cursor_is_open)
{
    bson_error_t error = {0};
    const bson_t *found;
    struct store *store = opened("", true), *other = opened("?busy_timeout_ms=200", false);
    struct store_operation operations[500] = {0};
    for (int i = 0; i < 500; i++)
        operations[i] = (struct store_operation){
            .kind = STORE_INSERT, .collection = "things", .document = document("{'_id': %d, 'n': %d}", i, i)};
    cr_assert_eq(store_batch(store, operations, 500, NULL, &error), 1);
    struct store_cursor *cursor = store_find(store, "things", document("{'n': {'$gte': 0}}"), NULL, &error);
    cr_assert_not_null(cursor);
    cr_assert_eq(store_cursor_next(cursor, &found, &error), 1);
    insert(other, "things", "{'_id': 1000, 'n': -1}");
    cr_expect_eq(store_delete(other, "things", document("{'n': {'$gte': 400}}"), &error), 100);
    cr_assert_eq(store_update(other, "things", document("{'n': 300}"), document("{'$set': {'n': -5}}"), &error), 1);
    int seen = 1;
    while (store_cursor_next(cursor, &found, &error) == 1)
        seen++;
    cr_expect_eq(seen, 399, "what has gone or no longer matches is left out: %d", seen);
    store_cursor_close(cursor);
    store_close(other);
    store_close(store);
}

Test(sqlite, sees_collections_and_indexes_that_others_make)
{
    bson_error_t error = {0};
    struct store *store = opened("", true), *other = opened("", false);
    cr_expect_eq(count(other, "things", "{}"), 0);
    insert(store, "things", "{'_id': 1, 'tags': ['a', 'b']}");
    cr_expect_eq(count(other, "things", "{}"), 1);
    ensure(store, "things", "tags", "{'tags': 1}");
    insert(other, "things", "{'_id': 2, 'tags': ['b']}");
    cr_expect_eq(count(store, "things", "{'tags': 'b'}"), 2, "the other store kept the side table");
    ensure(store, "things", "kind", "{'kind': 1}");
    cr_expect_eq(store_insert(other, "things", document("{'_id': 3, 'kind': [1]}"), &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID, "%s", error.message);
    store_close(other);
    store_close(store);
}

Test(sqlite, forgets_a_collection_whose_making_was_rolled_back)
{
    bson_error_t error = {0};
    struct store *store = opened("", true), *other = opened("", false);
    struct store_operation operations[] = {
        {.kind = STORE_INSERT, .collection = "gone", .document = document("{'_id': 1}")},
        {.kind = STORE_UPDATE, .collection = "gone", .filter = document("{'_id': 2}"),
         .update = document("{'$set': {'a': 1}}"), .guard = true},
    };
    cr_expect_eq(store_batch(store, operations, 2, NULL, &error), 0);
    insert(other, "there", "{'_id': 1}"); /* gives the schema the number that the batch had given it */
    cr_expect_eq(count(store, "there", "{}"), 1);
    cr_expect_eq(count(store, "gone", "{}"), 0);
    insert(store, "gone", "{'_id': 1}");
    store_close(other);
    store_close(store);
}

/* ---- batches, space ---- */

static int count_within(struct store *store, void *data, bson_error_t *error)
{
    int64_t *seen = data;
    *seen = store_count(store, "things", document("{}"), error);
    return *seen < 0 ? -1 : *seen == 2;
}

static int write_within(struct store *store, void *data, bson_error_t *error)
{
    (void)data;
    return store_insert(store, "things", document("{'_id': 9}"), error);
}

Test(sqlite, takes_a_batch_as_a_whole_or_not_at_all)
{
    bson_error_t error = {0};
    size_t stopped;
    int64_t seen = 0;
    struct store *store = opened("", true);
    struct store_operation operations[] = {
        {.kind = STORE_INSERT, .collection = "things", .document = document("{'_id': 1}")},
        {.kind = STORE_INSERT, .collection = "things", .document = document("{'_id': 2}")},
        {.kind = STORE_CHECK, .check = count_within, .data = &seen},
        {.kind = STORE_UPDATE, .collection = "things", .filter = document("{'_id': 3}"),
         .update = document("{'$set': {'a': 1}}"), .guard = true},
    };
    cr_expect_eq(store_batch(store, operations, 4, &stopped, &error), 0);
    cr_expect_eq(stopped, 3);
    cr_expect_eq(seen, 2, "a check sees what came before it");
    cr_expect_eq(count(store, "things", "{}"), 0, "nothing of it stays, not even the collection");
    operations[3].guard = false;
    cr_expect_eq(store_batch(store, operations, 4, &stopped, &error), 1);
    cr_expect_eq(stopped, 4);
    cr_expect_eq(store_batch(store, operations, 4, &stopped, &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_DUPLICATE);
    cr_expect_eq(stopped, 0);
    operations[0].ignore_duplicate = operations[1].ignore_duplicate = true;
    cr_expect_eq(store_batch(store, operations, 4, &stopped, &error), 1);
    operations[2].check = write_within;
    cr_expect_eq(store_batch(store, operations, 4, &stopped, &error), -1, "a check may only read");
    cr_expect_eq(stopped, 2);
    cr_expect_eq(count(store, "things", "{}"), 2);
    store_close(store);
}

Test(sqlite, says_when_there_is_no_space_and_goes_on_when_there_is)
{
    bson_error_t error = {0};
    char *uri = bson_strdup_printf("sqlite:%s", path);
    struct store *store = store_open(uri, true, &error);
    insert(store, "things", "{'_id': 1}");
    store_close(store);
    struct sqlite_store *engine = store_engine_sqlite.open(uri, false, 0, &error);
    cr_assert_not_null(engine);
    sqlite3_exec(engine->db, "PRAGMA max_page_count = 10", NULL, NULL, NULL);
    const bson_t *large = document("{'_id': 2, 'text': '%0100000d'}", 0);
    cr_expect_eq(store_engine_sqlite.insert(engine, "things", large, &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_NO_SPACE, "%s", error.message);
    sqlite3_exec(engine->db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL);
    cr_expect_eq(store_engine_sqlite.insert(engine, "things", large, &error), 1, "%s", error.message);
    store_engine_sqlite.close(engine);
    bson_free(uri);
}
