/* SPDX-License-Identifier: Apache-2.0 */
/* Wake-ups: they come when something has changed, and where there are none nothing is lost. */
#include "both_engines.h"
#include "hub/store_watch.h"
#include "wire_stub.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST_USES_SERVER;

static bson_error_t error;
static const char *const projects[] = {"default", NULL};

/* What take says once something is there to take, or 0 after `ms`. */
static int comes(struct store_watch *watch, int ms)
{
    struct pollfd ready = {.fd = store_watch_fd(watch), .events = POLLIN};
    return poll(&ready, 1, ms) > 0 ? store_watch_take(watch) : 0;
}

static struct store *open_file(char **uri)
{
    char *path = test_path(".db");
    *uri = bson_strdup_printf("sqlite:%s", path);
    struct store *store = store_open(*uri, true, &error);
    cr_assert_not_null(store, "%s", error.message);
    OK(store_insert(store, "tasks", document("{'_id': 0}"), &error));
    free(path);
    return store;
}

Test(watch, a_file_wakes_when_another_one_writes_to_it)
{
    char *uri;
    struct store *store = open_file(&uri), *other = store_open(uri, false, &error);
    cr_assert_not_null(other);
    struct store_watch *watch = store_watch_open(store, projects, &error);
    cr_assert_not_null(watch, "%s", error.message);
    cr_expect_eq(comes(watch, 0), 0, "nothing has changed");
    OK(store_insert(other, "tasks", document("{'_id': 1}"), &error));
    cr_expect_eq(comes(watch, 5000), 1);
    OK(store_count(other, "tasks", NULL, &error));
    cr_expect_eq(comes(watch, 100), 0, "reading wakes nobody");
    OK(store_insert(other, "tasks", document("{'_id': 2}"), &error));
    cr_expect_eq(comes(watch, 5000), 1, "it goes on");
    store_watch_close(watch);
    store_close(other);
    store_close(store);
    bson_free(uri);
}

Test(watch, other_files_of_the_folder_wake_nobody)
{
    char *uri;
    struct store *store = open_file(&uri);
    struct store_watch *watch = store_watch_open(store, projects, &error);
    cr_assert_not_null(watch, "%s", error.message);
    char *path = bson_strdup_printf("%s.txt", uri + 7);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("something else", file);
    fclose(file);
    cr_expect_eq(comes(watch, 300), 0);
    unlink(path);
    bson_free(path);
    store_watch_close(watch);
    store_close(store);
    bson_free(uri);
}

Test(watch, a_server_without_change_streams_has_none)
{
    test_server_need();
    if (!test_server_is_stand_in())
        cr_skip_test("this server may have change streams");
    char *uri = test_server_database(NULL);
    struct store *store = store_open(uri, false, &error);
    cr_assert_not_null(store);
    cr_expect_null(store_watch_open(store, projects, &error));
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_NOT_FOUND, "%s", error.message);
    OK(store_ping(store, &error));
    store_close(store);
    free(uri);
}

/* ---- a scripted replica set ---- */

#define STUB_OPTIONS "serverSelectionTimeoutMS=2000"

Test(watch, a_change_on_a_replica_set_wakes_once)
{
    struct wire_stub stub;
    wire_stub_start(&stub, "hello set:rs0 x; getMore change x 1", STUB_OPTIONS);
    struct store *store = store_open(stub.uri, false, &error);
    cr_assert_not_null(store);
    struct store_watch *watch = store_watch_open(store, projects, &error);
    cr_assert_not_null(watch, "%s", error.message);
    cr_expect_eq(comes(watch, 10000), 1);
    cr_expect_eq(store_watch_take(watch), -1, "one event ends it");
    store_watch_close(watch);
    store_close(store);
    wire_stub_end(&stub, "");
}

/* The socket is given up after 600 ms, and a watch asks again before that: it stays open. */
Test(watch, an_idle_watch_outlives_a_short_socket_timeout)
{
    struct wire_stub stub;
    wire_stub_start(&stub, "hello set:rs0 x; getMore wait x", STUB_OPTIONS "&socketTimeoutMS=600");
    struct store *store = store_open(stub.uri, false, &error);
    cr_assert_not_null(store);
    struct store_watch *watch = store_watch_open(store, projects, &error);
    cr_assert_not_null(watch, "%s", error.message);
    cr_expect_eq(comes(watch, 2500), 0);
    store_watch_close(watch);
    store_close(store);
    wire_stub_end(&stub, "");
}

Test(watch, a_server_that_says_no_ends_the_watch_and_nothing_else)
{
    struct wire_stub stub;
    wire_stub_start(&stub, "hello set:rs0 x; getMore 13 Unauthorized", STUB_OPTIONS);
    struct store *store = store_open(stub.uri, false, &error);
    cr_assert_not_null(store);
    struct store_watch *watch = store_watch_open(store, projects, &error);
    cr_assert_not_null(watch, "%s", error.message);
    cr_expect_eq(comes(watch, 10000), -1);
    store_watch_close(watch);
    OK(store_ping(store, &error));
    store_close(store);
    wire_stub_end(&stub, "");
}

Test(watch, one_that_is_closed_early_leaves_nothing_behind)
{
    struct wire_stub stub;
    wire_stub_start(&stub, "hello set:rs0 x", STUB_OPTIONS);
    struct store *store = store_open(stub.uri, false, &error);
    cr_assert_not_null(store);
    for (int i = 0; i < 3; i++) {
        struct store_watch *watch = store_watch_open(store, projects, &error);
        cr_assert_not_null(watch, "%s", error.message);
        cr_expect_eq(comes(watch, 100), 0);
        store_watch_close(watch);
    }
    store_close(store);
    wire_stub_end(&stub, "");
    usleep(300000); /* the threads find their server gone, and end */
}
