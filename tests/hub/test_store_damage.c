/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite files that were damaged, locked or put where nothing may be written; and writers that are killed. Damage is
 * reported by name and never written over, and nothing crashes. */
#include "documents.h"
#include "hub/store.h"
#include "test_program.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *path, *uri;
static bson_error_t error;

static void set_up(void)
{
    path = test_path(".db");
    uri = bson_strdup_printf("sqlite:%s?busy_timeout_ms=20000", path);
}

static void tear_down(void)
{
    documents_free();
    bson_free(uri);
    free(path);
}

TestSuite(damage, .init = set_up, .fini = tear_down, .timeout = 400);

static struct store *opened(bool create)
{
    struct store *store = store_open(uri, create, &error);
    cr_assert_not_null(store, "%s", error.message);
    return store;
}

/* ---- damaged files ---- */

struct bytes {
    uint8_t *data;
    size_t length;
};

static struct bytes read_file(void)
{
    struct bytes bytes = {0};
    struct stat status;
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL && fstat(fileno(file), &status) == 0);
    bytes.data = malloc((size_t)status.st_size + 1);
    cr_assert_not_null(bytes.data);
    bytes.length = fread(bytes.data, 1, (size_t)status.st_size, file);
    fclose(file);
    return bytes;
}

static void write_file(const uint8_t *data, size_t length)
{
    char *journal = bson_strdup_printf("%s-journal", path);
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL && fwrite(data, 1, length, file) == length && fclose(file) == 0);
    unlink(journal);
    bson_free(journal);
}

/* A hub with some of everything: indexes, arrays, documents longer than a page. */
static struct bytes make_file(void)
{
    char text[6001];
    struct store *store = opened(true);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cr_assert_gt(store_ensure_index(store, "things", "by_state", document("{'state': 1, 'n': -1}"), &error), 0);
    cr_assert_gt(store_ensure_index(store, "things", "by_tags", document("{'tags': 1}"), &error), 0);
    for (int i = 0; i < 60; i++) {
        bson_t *thing = BCON_NEW("_id", BCON_INT32(i), "state", i % 3 ? "a" : "b", "n", BCON_INT32(i), "tags", "[", "x", "]",
                                 "text", BCON_UTF8(text + 6000 - i * (i % 7 ? 1 : 100)));
        cr_assert_gt(store_insert(store, "things", thing, &error), 0, "%s", error.message);
        bson_destroy(thing);
    }
    store_close(store);
    documents_free();
    return read_file();
}

/* What may be said of a damaged file; a defect of this program it is not. A document that is whole but for a letter is
 * refused as one that a caller gives, when it is to be written again. */
static void check_code(const char *when)
{
    enum hub_error_code code = hub_error_code(&error);
    if (code == HUB_ERROR_INVALID && strncmp(error.message, "things: ", 8) == 0)
        return;
    cr_assert(code == HUB_ERROR_CORRUPT || code == HUB_ERROR_VERSION || code == HUB_ERROR_IO, "%s: code %d: %s", when,
              (int)code, error.message);
    cr_assert(strstr(error.message, path) != NULL, "%s: no file in: %s", when, error.message);
}

static bool read_all(struct store *store, const char *when)
{
    struct store_find_options options = {.sort = document("{'state': 1, 'n': -1}")};
    static const char *const filters[] = {"{}", "{'state': 'b'}", "{'tags': 'x'}", "{'_id': 7}"};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        struct store_cursor *cursor = store_find(store, "things", document("%s", filters[i]), &options, &error);
        const bson_t *found;
        int more = -1;
        while (cursor != NULL && (more = store_cursor_next(cursor, &found, &error)) > 0) {
            char *text = bson_as_canonical_extended_json(found, NULL);
            bson_free(text);
        }
        store_cursor_close(cursor);
        if (more < 0) {
            check_code(when);
            return false;
        }
    }
    return true;
}

/* Opens, reads and writes; whether anything was reported. */
static bool try_damaged(const struct bytes *damaged, const char *when)
{
    write_file(damaged->data, damaged->length);
    struct store *store = store_open(uri, true, &error);
    bool reported = store == NULL;
    if (store == NULL) {
        check_code(when);
    } else {
        reported = !read_all(store, when);
    }
    if (reported) { /* reading is not writing: not even with a hub that may be made */
        struct bytes now = read_file();
        cr_assert(now.length == damaged->length && memcmp(now.data, damaged->data, now.length) == 0, "%s: written over", when);
        free(now.data);
    }
    if (store != NULL && store_update(store, "things", NULL, document("{'$inc': {'n': 1}, '$set': {'state': 'c'}}"), &error) < 0) {
        check_code(when);
        reported = true;
    }
    if (store != NULL && store_delete(store, "things", NULL, &error) < 0) {
        check_code(when);
        reported = true;
    }
    store_close(store);
    documents_free();
    return reported;
}

Test(damage, flipped_bits_are_reported_by_name_and_never_crash)
{
    struct bytes whole = make_file();
    uint64_t random = 88172645463325252u;
    int reported = 0;
    for (int i = 0; i < 600; i++) {
        char when[64];
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        /* Half of them in the first page, where the file says what it is and holds. */
        size_t at = (size_t)(random >> 20) % (i % 2 ? whole.length : 4096);
        uint8_t mask = (uint8_t)(1u << (random >> 8) % 8);
        snprintf(when, sizeof when, "byte %zu ^ %02x", at, mask);
        whole.data[at] ^= mask;
        reported += try_damaged(&whole, when);
        whole.data[at] ^= mask;
    }
    cr_assert_gt(reported, 30, "only %d were noticed", reported);
    free(whole.data);
}

Test(damage, overwritten_pages_are_reported_by_name_and_never_crash)
{
    struct bytes whole = make_file();
    uint8_t page[4096];
    int reported = 0, pages = (int)(whole.length / sizeof page);
    for (int i = 0; i < pages; i++) {
        for (int kind = 0; kind < 3; kind++) {
            char when[64];
            uint8_t *there = whole.data + (size_t)i * sizeof page;
            snprintf(when, sizeof when, "page %d, kind %d", i, kind);
            memcpy(page, there, sizeof page);
            if (kind == 2)
                memcpy(there, whole.data + (size_t)((i + 1) % pages) * sizeof page, sizeof page);
            else
                memset(there, kind ? 0xff : 0, sizeof page);
            reported += try_damaged(&whole, when);
            memcpy(there, page, sizeof page);
        }
    }
    cr_assert_gt(reported, pages, "only %d were noticed", reported);
    free(whole.data);
}

Test(damage, truncated_files_are_reported_by_name_and_never_crash)
{
    struct bytes whole = make_file();
    for (size_t length = 98; length < whole.length; length += length < 1024 ? 97 : 3511) {
        char when[64];
        struct bytes part = {whole.data, length};
        snprintf(when, sizeof when, "%zu bytes left", length);
        cr_assert(try_damaged(&part, when), "%s: not noticed", when);
    }
    free(whole.data);
}

/* ---- where nothing may be written ---- */

/* As another user where the tests run as root, whom no mode stops. */
static int in_child(int (*check)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(9);
        _exit(check());
    }
    cr_assert(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int write_is_refused(void)
{
    struct store *store = store_open(uri, true, &error);
    int result = 1;
    if (store != NULL) {
        int64_t there = store_count(store, "things", NULL, &error);
        result = there == 1 ? 0 : 2;
        if (result == 0 && store_insert(store, "things", document("{'_id': 2}"), &error) >= 0)
            result = 3;
    }
    if (result <= 1 && (hub_error_code(&error) != HUB_ERROR_IO || strstr(error.message, path) == NULL)) {
        fprintf(stderr, "%s\n", error.message);
        result = 4;
    }
    store_close(store);
    documents_free();
    return result;
}

Test(damage, a_file_that_may_only_be_read_is_read_and_refused_for_writing)
{
    struct store *store = opened(true);
    cr_assert_gt(store_insert(store, "things", document("{'_id': 1}"), &error), 0);
    store_close(store);
    cr_assert_eq(chmod(path, 0444), 0);
    cr_expect_leq(in_child(write_is_refused), 1, "see above");
    cr_assert_eq(chmod(path, 0644), 0);
    store = opened(false);
    cr_expect_eq(store_count(store, "things", NULL, &error), 1);
    store_close(store);
}

static int make_is_refused(void)
{
    struct store *store = store_open(uri, true, &error);
    int result = store != NULL ? 1 : hub_error_code(&error) == HUB_ERROR_IO && strstr(error.message, path) != NULL ? 0 : 2;
    if (result == 2)
        fprintf(stderr, "%s\n", error.message);
    store_close(store);
    return result;
}

Test(damage, a_folder_that_may_only_be_read_is_named)
{
    char *folder = bson_strdup_printf("%s.folder", path);
    cr_assert_eq(mkdir(folder, 0555), 0);
    free(path);
    bson_free(uri);
    path = NULL;
    cr_assert_gt(asprintf(&path, "%s/hub.db", folder), 0);
    uri = bson_strdup_printf("sqlite:%s", path);
    cr_expect_eq(in_child(make_is_refused), 0);
    rmdir(folder);
    bson_free(folder);
}

/* ---- writers that are killed ---- */

#define WRITERS 32

/* Inserts {_id: "WRITER/N"} and says N on the pipe after each acknowledged one. */
static void write_until_killed(int writer, int64_t first, int pipe_end)
{
    bson_error_t reason;
    struct store *store = store_open(uri, false, &reason);
    for (int64_t n = first; store != NULL; n++) {
        char id[64];
        snprintf(id, sizeof id, "%d/%lld", writer, (long long)n);
        bson_t *document = BCON_NEW("_id", BCON_UTF8(id), "writer", BCON_INT32(writer), "n", BCON_INT64(n));
        int result = store_insert(store, "things", document, &reason);
        bson_destroy(document);
        if (result < 0 && hub_error_code(&reason) == HUB_ERROR_DUPLICATE)
            continue; /* written by the one before, who was killed before it said so */
        if (result < 0 || write(pipe_end, &n, sizeof n) != sizeof n)
            break;
    }
    fprintf(stderr, "writer %d: %s\n", writer, reason.message);
    _exit(1);
}

struct writer {
    pid_t pid;
    int pipe_end;
    int64_t acknowledged; /* the last one; they are without gaps */
};

static void start_writer(struct writer *writer, int number)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    writer->pid = fork();
    cr_assert_geq(writer->pid, 0);
    if (writer->pid == 0) {
        close(ends[0]);
        write_until_killed(number, writer->acknowledged + 1, ends[1]);
    }
    close(ends[1]);
    writer->pipe_end = ends[0];
}

static void take_acknowledged(struct writer *writer)
{
    int64_t n;
    while (read(writer->pipe_end, &n, sizeof n) == sizeof n)
        writer->acknowledged = n;
    close(writer->pipe_end);
}

static void kill_writer(struct writer *writer)
{
    int status;
    cr_assert_eq(kill(writer->pid, SIGKILL), 0);
    cr_assert_eq(waitpid(writer->pid, &status, 0), writer->pid);
    cr_assert(WIFSIGNALED(status), "a writer gave up");
    take_acknowledged(writer);
}

Test(damage, writers_that_are_killed_lose_nothing_acknowledged)
{
    struct writer writers[WRITERS] = {{0}};
    struct store *store = opened(true);
    int64_t total = 0;
    cr_assert_gt(store_ensure_index(store, "things", "by_writer", document("{'writer': 1, 'n': 1}"), &error), 0);
    store_close(store);
    for (int i = 0; i < WRITERS; i++)
        start_writer(&writers[i], i);
    for (int round = 0; round < 60; round++) { /* one is killed again and again, and now and then another */
        usleep(20000);
        int victim = round % 4 ? 0 : round % WRITERS;
        kill_writer(&writers[victim]);
        start_writer(&writers[victim], victim);
    }
    for (int i = 0; i < WRITERS; i++)
        kill_writer(&writers[i]);
    store = opened(false);
    for (int i = 0; i < WRITERS; i++) {
        int64_t there = store_count(store, "things", document("{'writer': %d, 'n': {'$lte': %lld}}", i, (long long)writers[i].acknowledged), &error);
        cr_expect_eq(there, writers[i].acknowledged, "writer %d: %lld acknowledged, %lld there", i,
                     (long long)writers[i].acknowledged, (long long)there);
        total += there;
    }
    cr_expect_gt(total, WRITERS);
    store_close(store);
    sqlite3 *db;
    sqlite3_stmt *statement;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
    cr_assert(sqlite3_step(statement) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}
