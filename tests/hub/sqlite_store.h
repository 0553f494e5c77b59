/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_SQLITE_STORE_H
#define TL_TEST_SQLITE_STORE_H

/* A database file for each test of a suite with these as .init and .fini, and short words for what is done in it. */

#include "documents.h"
#include "hub/store_sqlite_impl.h"
#include "test_program.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *path;

static inline void set_up(void)
{
    path = test_path(".db");
}

static inline void tear_down(void)
{
    documents_free();
    free(path);
}

static inline struct store *opened(const char *options, bool create)
{
    bson_error_t error = {0};
    char *uri = bson_strdup_printf("sqlite:%s%s", path, options);
    struct store *store = store_open(uri, create, &error);
    cr_assert_not_null(store, "%s: %s", uri, error.message);
    bson_free(uri);
    return store;
}

static inline void insert(struct store *store, const char *collection, const char *json)
{
    bson_error_t error = {0};
    cr_assert_eq(store_insert(store, collection, document("%s", json), &error), 1, "%s: %s", json, error.message);
}

static inline void ensure(struct store *store, const char *collection, const char *name, const char *keys)
{
    bson_error_t error = {0};
    cr_assert_eq(store_ensure_index(store, collection, name, document("%s", keys), &error), 1, "%s", error.message);
}

static inline int64_t count(struct store *store, const char *collection, const char *filter)
{
    bson_error_t error = {0};
    int64_t result = store_count(store, collection, document("%s", filter), &error);
    cr_assert_geq(result, 0, "%s: %s", filter, error.message);
    return result;
}

#endif
