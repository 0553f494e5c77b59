/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite on a disk that fails: a piece of work is done again and again, and each time another of the requests that it
 * makes of the disk fails. What was acknowledged is there, what was not is there as a whole or not at all, the error
 * says what it is, and the work goes on when the disk does. */
#include "documents.h"
#include "faulty_vfs.h"
#include "hub/store.h"
#include "test_program.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path, *uri;
static bson_error_t error;

static void set_up(void)
{
    path = test_path(".db");
    uri = bson_strdup_printf("sqlite:%s?busy_timeout_ms=1000", path);
    faulty_vfs_install();
}

static void tear_down(void)
{
    documents_free();
    bson_free(uri);
    free(path);
}

TestSuite(faults, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- the work: every kind of write, in steps that are acknowledged one by one ---- */

static const char *long_text(void)
{
    static char text[40001];
    if (text[0] == '\0')
        memset(text, 'x', sizeof text - 1);
    return text;
}

static int insert(struct store *store, const char *json)
{
    return store_insert(store, "things", document("%s", json), &error);
}

static int insert_long(struct store *store)
{
    bson_t *large = BCON_NEW("_id", BCON_INT32(8), "state", "a", "n", BCON_INT32(8), "text", BCON_UTF8(long_text()));
    int result = store_insert(store, "things", large, &error);
    bson_destroy(large);
    return result;
}

static int run_batch(struct store *store)
{
    const struct store_operation operations[] = {
        {.kind = STORE_INSERT, .collection = "things", .document = document("{'_id': 5, 'state': 'a', 'tags': ['x', 'y']}")},
        {.kind = STORE_UPDATE, .collection = "things", .filter = document("{'_id': 1, 'state': 'a'}"),
         .update = document("{'$set': {'state': 'c'}}"), .guard = true},
        {.kind = STORE_INSERT, .collection = "others", .document = document("{'_id': 1}")},
        {.kind = STORE_DELETE, .collection = "things", .filter = document("{'_id': 2}")},
    };
    return store_batch(store, operations, sizeof operations / sizeof *operations, NULL, &error);
}

#define STEPS 12

/* 1 or more, or -1 with error. */
static int64_t step(struct store *store, int number)
{
    int64_t first;
    switch (number) {
    case 0: return store_ensure_index(store, "things", "by_state", document("{'state': 1, 'n': -1}"), &error);
    case 1: return insert(store, "{'_id': 1, 'state': 'a', 'n': 1}");
    case 2: return insert(store, "{'_id': 2, 'state': 'a', 'n': 2}");
    case 3: return store_ensure_index(store, "things", "by_tags", document("{'tags': 1}"), &error);
    case 4: return insert(store, "{'_id': 3, 'state': 'b', 'n': 3, 'tags': ['x', 'z']}");
    case 5: return run_batch(store);
    case 6: return insert_long(store);
    case 7: return store_update(store, "things", document("{'state': 'a'}"), document("{'$inc': {'n': 100}}"), &error);
    case 8:
        return store_modify(store, "things", document("{'state': 'b'}"),
                            document("{'$set': {'state': 'd'}, '$push': {'tags': 'w'}}"), NULL, NULL, &error);
    case 9: return store_counter_add(store, "numbers", 5, &first, &error);
    case 10: return store_delete(store, "things", document("{'_id': 8}"), &error);
    default:
        return store_update(store, "things", document("{'_id': 3}"), document("{'$unset': {'tags': ''}}"), &error);
    }
}

/* ---- what is there ---- */

static void append_collection(struct store *store, const char *name, const bson_t *filter, bson_string_t *out)
{
    struct store_find_options options = {.sort = document("{'_id': 1}")};
    struct store_cursor *cursor = store_find(store, name, filter, &options, &error);
    const bson_t *found;
    int more = -1;
    cr_assert_not_null(cursor, "%s", error.message);
    while ((more = store_cursor_next(cursor, &found, &error)) > 0) {
        char *text = bson_as_canonical_extended_json(found, NULL);
        size_t length = strlen(text);
        bson_string_append_printf(out, "%.200s…%zu\n", text, length);
        bson_free(text);
    }
    cr_assert_eq(more, 0, "%s", error.message);
    store_cursor_close(cursor);
}

/* All documents, and what the indexes say of them. */
static char *contents(struct store *store)
{
    static const char *const states[] = {"a", "b", "c", "d"};
    bson_string_t *out = bson_string_new(NULL);
    append_collection(store, "things", NULL, out);
    append_collection(store, "others", NULL, out);
    append_collection(store, "counters", document("{'value': {'$gt': 0}}"), out); /* one made, and not yet used, is none */
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        bson_string_append_printf(out, "%s %lld\n", states[i],
                                  (long long)store_count(store, "things", document("{'state': '%s'}", states[i]), &error));
    bson_string_append_printf(out, "x %lld\n", (long long)store_count(store, "things", document("{'tags': 'x'}"), &error));
    return bson_string_free(out, false);
}

/* expected[i]: after i steps. */
static void expect_contents(char *expected[STEPS + 1])
{
    struct store *store = store_open(uri, true, &error);
    cr_assert_not_null(store, "%s", error.message);
    expected[0] = contents(store);
    for (int i = 0; i < STEPS; i++) {
        cr_assert_gt(step(store, i), 0, "step %d: %s", i, error.message);
        expected[i + 1] = contents(store);
    }
    store_close(store);
}

static void free_contents(char *expected[STEPS + 1])
{
    for (int i = 0; i <= STEPS; i++)
        bson_free(expected[i]);
}

static void remove_files(void)
{
    char *journal = bson_strdup_printf("%s-journal", path);
    unlink(path);
    unlink(journal);
    bson_free(journal);
}

static void check_integrity(const char *when)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK, "%s: %s", when,
                 sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW, "%s: %s", when, sqlite3_errmsg(db));
    const char *said = (const char *)sqlite3_column_text(statement, 0);
    cr_assert_str_eq(said, "ok", "%s: %s", when, said);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* ---- one request fails ---- */

static void check_error(enum faulty_kind kind, const char *when)
{
    enum hub_error_code code = hub_error_code(&error);
    cr_assert(code == (kind == FAULTY_FULL ? HUB_ERROR_NO_SPACE : HUB_ERROR_IO), "%s: code %d: %s", when, (int)code,
              error.message);
    cr_assert(strstr(error.message, path) != NULL || strlen(path) > 200, "%s: no file in: %s", when, error.message);
}

/* The step failed. Whether it was done all the same, which an error of the disk at the very end may leave open; a full
 * disk may not. */
static bool was_done(struct store *store, char *expected[STEPS + 1], int number, enum faulty_kind kind, const char *when)
{
    char *now = contents(store);
    bool before = strcmp(now, expected[number]) == 0, after = strcmp(now, expected[number + 1]) == 0;
    cr_assert(before || after, "%s: neither as before nor as after step %d:\n%s", when, number, now);
    cr_assert(before || kind != FAULTY_FULL, "%s: no space, and yet written", when);
    bson_free(now);
    return !before;
}

/* Everything from the start, with the at-th request failing: false when there are not so many. */
static bool work_through(char *expected[STEPS + 1], enum faulty_kind kind, int64_t at, bool stays)
{
    char when[64];
    snprintf(when, sizeof when, "kind %d, request %lld%s", (int)kind, (long long)at, stays ? " and later" : "");
    remove_files();
    faulty_vfs_arm(kind, at, stays);
    struct store *store = store_open(uri, true, &error);
    bool fired = faulty_vfs_fired();
    if (store == NULL) {
        check_error(kind, when);
        faulty_vfs_arm(FAULTY_NONE, 0, false);
        store = store_open(uri, true, &error);
        cr_assert_not_null(store, "%s: %s", when, error.message);
    }
    for (int i = 0; i < STEPS; i++) {
        if (step(store, i) < 0) {
            check_error(kind, when);
            fired = true;
            faulty_vfs_arm(FAULTY_NONE, 0, false);
            if (!was_done(store, expected, i, kind, when))
                cr_assert_gt(step(store, i), 0, "%s: step %d does not go on: %s", when, i, error.message);
        }
    }
    fired = fired || faulty_vfs_fired();
    faulty_vfs_arm(FAULTY_NONE, 0, false);
    char *end = contents(store);
    cr_assert_str_eq(end, expected[STEPS], "%s", when);
    bson_free(end);
    store_close(store);
    check_integrity(when);
    documents_free();
    return fired;
}

static void let_each_fail(enum faulty_kind kind, bool stays)
{
    char *expected[STEPS + 1];
    int64_t at = 1;
    faulty_vfs_arm(FAULTY_NONE, 0, false);
    expect_contents(expected);
    while (work_through(expected, kind, at, stays))
        at++;
    cr_assert_gt(at, 20, "only %lld requests", (long long)at);
    free_contents(expected);
}

Test(faults, a_full_disk_writes_nothing_and_is_named)
{
    let_each_fail(FAULTY_FULL, true);
}

Test(faults, a_disk_full_for_a_moment_harms_nothing)
{
    let_each_fail(FAULTY_FULL, false);
}

Test(faults, a_failing_write_leaves_whole_documents)
{
    let_each_fail(FAULTY_WRITE, false);
}

Test(faults, a_disk_that_fails_from_then_on_leaves_whole_documents)
{
    let_each_fail(FAULTY_WRITE, true);
}

Test(faults, a_failing_read_is_reported)
{
    let_each_fail(FAULTY_READ, false);
}

/* ---- making room ---- */

static int insert_large(struct store *store, int first, int count)
{
    struct store_operation operations[8] = {0};
    static uint8_t bytes[1 << 20];
    for (int i = 0; i < count; i++) {
        bson_t *large = BCON_NEW("_id", BCON_INT32(first + i), "data", BCON_BIN(BSON_SUBTYPE_BINARY, bytes, sizeof bytes));
        operations[i] = (struct store_operation){.kind = STORE_INSERT, .collection = "large", .document = document_keep(large)};
    }
    return store_batch(store, operations, (size_t)count, NULL, &error);
}

/* Not by way of a journal that would have to hold what is deleted. */
Test(faults, documents_can_be_deleted_when_the_disk_is_full)
{
    faulty_vfs_arm(FAULTY_NONE, 0, false);
    struct store *store = store_open(uri, true, &error);
    cr_assert_not_null(store, "%s", error.message);
    cr_assert_eq(insert_large(store, 0, 8), 1, "%s", error.message);
    faulty_vfs_leave_room(100000);
    cr_expect_eq(insert_large(store, 8, 1), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_NO_SPACE, "%s", error.message);
    cr_expect_eq(store_delete(store, "large", document("{'_id': {'$lt': 6}}"), &error), 6, "%s", error.message);
    faulty_vfs_leave_room(-1);
    store_close(store);
    check_integrity("deleted on a full disk");
}

/* Pages are free in the file, but the journal of a write into them cannot grow. */
Test(faults, a_write_into_what_was_deleted_is_possible_on_a_full_disk)
{
    faulty_vfs_arm(FAULTY_NONE, 0, false);
    struct store *store = store_open(uri, true, &error);
    cr_assert_not_null(store, "%s", error.message);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(store_insert(store, "things", document("{'_id': %d, 'state': 'a', 'text': '%0900d'}", i, i), &error), 1);
    cr_assert_eq(insert_large(store, 0, 8), 1, "%s", error.message);
    faulty_vfs_leave_room(100000);
    cr_assert_eq(store_delete(store, "large", document("{'_id': {'$lt': 6}}"), &error), 6, "%s", error.message);
    int64_t changed = store_update(store, "things", document("{}"), document("{'$set': {'n': 1}}"), &error);
    cr_assert_eq(changed, -1, "the journal did not grow: nothing is shown");
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_NO_SPACE, "%s", error.message);
    cr_expect_eq(store_update(store, "things", document("{}"), document("{'$set': {'n': 1}}"), &error), 200, "%s", error.message);
    cr_expect_eq(insert_large(store, 8, 3), 1, "%s", error.message);
    faulty_vfs_leave_room(-1);
    store_close(store);
    check_integrity("written on a full disk");
}

/* ---- the power goes ---- */

/* Everything from the start, with the power cut at the at-th request; false when there are not so many. */
static bool cut_power(char *expected[STEPS + 1], int64_t at, uint64_t seed)
{
    char when[64];
    int done = -1, i = 0;
    snprintf(when, sizeof when, "power cut at request %lld, seed %llu", (long long)at, (unsigned long long)seed);
    remove_files();
    faulty_vfs_arm(FAULTY_POWER, at, true);
    struct store *store = store_open(uri, true, &error);
    while (store != NULL && i < STEPS && step(store, i) > 0)
        i++;
    done = store != NULL ? i : -1;
    store_close(store);
    bool fired = faulty_vfs_fired();
    faulty_vfs_restore(seed);
    store = store_open(uri, true, &error);
    cr_assert_not_null(store, "%s: %s", when, error.message);
    char *now = contents(store);
    if (done < 0)
        cr_assert_str_eq(now, expected[0], "%s: while it was made", when);
    else
        cr_assert(strcmp(now, expected[done]) == 0 || (fired && done < STEPS && strcmp(now, expected[done + 1]) == 0),
                  "%s: %d steps were acknowledged, and there is\n%s", when, done, now);
    bson_free(now);
    store_close(store);
    check_integrity(when);
    documents_free();
    return fired;
}

Test(faults, what_was_acknowledged_survives_a_power_cut)
{
    char *expected[STEPS + 1];
    faulty_vfs_arm(FAULTY_NONE, 0, false);
    expect_contents(expected);
    const char *wanted = getenv("TL_TEST_POWER_SEEDS");
    uint64_t seeds = wanted != NULL ? strtoull(wanted, NULL, 10) : 5;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        int64_t at = 1;
        while (cut_power(expected, at, seed * 1000 + seed % 5))
            at++;
        cr_assert_gt(at, 40, "only %lld requests", (long long)at);
    }
    free_contents(expected);
}
