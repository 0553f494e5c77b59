/* SPDX-License-Identifier: Apache-2.0 */
#include "both_engines.h"

#include <stdio.h>
#include <stdlib.h>

int64_t succeeds(int64_t result, const bson_error_t *error)
{
    cr_assert(result >= 0, "failed: %s", error->message);
    return result;
}

static void run(test_on_store *test, char *uri)
{
    bson_error_t error = {0};
    struct store *store = store_open(uri, true, &error);
    cr_assert(store != NULL, "%s: %s", uri, error.message);
    test(store, uri);
    store_close(store);
    documents_free();
    free(uri);
}

void test_on_sqlite(test_on_store *test)
{
    char *path = test_path(".db");
    char *uri;
    cr_assert(asprintf(&uri, "sqlite:%s", path) > 0);
    free(path);
    run(test, uri);
}

void test_on_mongodb(test_on_store *test)
{
    run(test, test_server_database(NULL));
}
