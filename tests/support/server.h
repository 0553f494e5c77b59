/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_SERVER_H
#define TL_TEST_SERVER_H

/* A MongoDB server for a test program (see mongo-server beside this file for which). A program that wants one says
 * TEST_USES_SERVER once, at file level: the server is started before the first test and stopped after the last.
 * Where none can be had the tests that ask for it are skipped, loudly; with CI in the environment that is a failure. */

#include <stdbool.h>

#include "test_program.h"

int test_server_start(const char *folder);
void test_server_stop(const char *folder);

#define TEST_USES_SERVER                                                       \
    __attribute__((constructor)) static void test_uses_server(void)            \
    {                                                                          \
        test_program_hooks.before = test_server_start;                         \
        test_program_hooks.after = test_server_stop;                           \
    }                                                                          \
    struct test_uses_server_needs_a_semicolon

bool test_server_exists(void);
/* Whether it is mongo-java-server, whose own deviations from MongoDB tests may have to leave out. */
bool test_server_is_stand_in(void);
/* Ends the test as skipped if there is no server. */
void test_server_need(void);
/* The URI of a database that no other test uses (free it); dropped after the last test. options is appended to the
 * query ("a=b&c=d"), or NULL. Skips the test if there is no server. */
char *test_server_database(const char *options);

#endif
