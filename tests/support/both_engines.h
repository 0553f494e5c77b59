/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_BOTH_ENGINES_H
#define TL_TEST_BOTH_ENGINES_H

/* One test, run on each engine: ON_BOTH_ENGINES(name) { … store, uri … } makes the Criterion tests sqlite::name and
 * mongodb::name. Each has a hub of its own, empty at the start. The test's file says TEST_USES_SERVER. */

#include <criterion/criterion.h>

#include "documents.h"
#include "hub/store.h"
#include "server.h"

typedef void test_on_store(struct store *store, const char *uri);

void test_on_sqlite(test_on_store *test);
void test_on_mongodb(test_on_store *test);

#define ON_BOTH_ENGINES(name)                                                                  \
    static void name##_on_store(struct store *store, const char *uri);                         \
    Test(sqlite, name)                                                                         \
    {                                                                                          \
        test_on_sqlite(name##_on_store);                                                       \
    }                                                                                          \
    Test(mongodb, name)                                                                        \
    {                                                                                          \
        test_on_mongodb(name##_on_store);                                                      \
    }                                                                                          \
    static void name##_on_store(struct store *store __attribute__((unused)), const char *uri __attribute__((unused)))

/* Fails the test where result is an error, with its message; gives result. */
int64_t succeeds(int64_t result, const bson_error_t *error);
#define OK(call) succeeds((call), &error)
/* The call must fail with this code (HUB_ERROR_…); its message is left in error. */
#define FAILS(code_, call)                                                                                     \
    do {                                                                                                       \
        memset(&error, 0, sizeof error);                                                                       \
        cr_assert((call) == -1, "%s should fail", #call);                                                      \
        cr_assert(error.domain == HUB_ERROR_DOMAIN && error.code == (code_), "%s: code %u: %s", #call,         \
                  error.code, error.message);                                                                  \
    } while (0)

#endif
