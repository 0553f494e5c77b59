/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a hub on SQLite: their size, modes and names. */
#include "documents.h"
#include "hub/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96];
static bson_error_t error;

static void set_up(void)
{
    snprintf(folder, sizeof folder, "/tmp/tl_test.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/hub.db", folder);
}

static void tear_down(void)
{
    static const char *const names[] = {"hub.db", "hub.db-journal", "hub.db.lock", "link.db", "link.db.lock"};
    documents_free();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        unlink(name);
    }
    cr_expect_eq(rmdir(folder), 0, "files are left in %s", folder);
}

TestSuite(sqlite_file, .init = set_up, .fini = tear_down);

static struct store *opened(const char *name, bool create)
{
    char uri[160];
    snprintf(uri, sizeof uri, "sqlite:%s/%s", folder, name);
    struct store *store = store_open(uri, create, &error);
    cr_assert_not_null(store, "%s", error.message);
    return store;
}

static void insert_megabytes(struct store *store, int first, int count)
{
    struct store_operation operations[40] = {0};
    for (int i = 0; i < count; i++) {
        uint8_t *bytes = bson_malloc0(1 << 20);
        bson_t *large = bson_new();
        BSON_APPEND_INT32(large, "_id", first + i);
        bson_append_binary(large, "data", 4, BSON_SUBTYPE_BINARY, bytes, 1 << 20);
        bson_free(bytes);
        operations[i] = (struct store_operation){
            .kind = STORE_INSERT, .collection = "things", .document = document_keep(large)};
    }
    cr_assert_eq(store_batch(store, operations, (size_t)count, NULL, &error), 1, "%s", error.message);
}

Test(sqlite_file, what_was_deleted_is_given_back)
{
    struct stat full, emptied;
    struct store *store = opened("hub.db", true);
    insert_megabytes(store, 0, 40);
    insert_megabytes(store, 40, 20);
    cr_assert_eq(stat(path, &full), 0);
    cr_assert_gt(full.st_size, 60 << 20);
    cr_expect_eq(store_delete(store, "things", document("{}"), &error), 60);
    cr_assert_eq(stat(path, &emptied), 0);
    cr_expect_lt(emptied.st_size, 4 << 20, "%lld bytes are left", (long long)emptied.st_size);
    store_close(store);
}

Test(sqlite_file, whoever_may_write_the_hub_may_pass_its_turnstile)
{
    char lock[128];
    struct stat status;
    snprintf(lock, sizeof lock, "%s.lock", path);
    store_close(opened("hub.db", true));
    cr_assert_eq(chmod(path, 0666), 0);
    cr_assert_eq(unlink(lock), 0);
    store_close(opened("hub.db", true));
    struct store *store = opened("hub.db", false);
    cr_expect_eq(store_insert(store, "things", document("{'_id': 1}"), &error), 1, "%s", error.message);
    cr_assert_eq(stat(lock, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0666);
    store_close(store);
}

Test(sqlite_file, two_names_have_one_turnstile)
{
    char link[128], lock[160];
    store_close(opened("hub.db", true));
    snprintf(link, sizeof link, "%s/link.db", folder);
    cr_assert_eq(symlink(path, link), 0);
    struct store *store = opened("link.db", false);
    cr_expect_eq(store_insert(store, "things", document("{'_id': 1}"), &error), 1, "%s", error.message);
    store_close(store);
    snprintf(lock, sizeof lock, "%s.lock", link);
    cr_expect_neq(access(lock, F_OK), 0, "a second turnstile");
}
