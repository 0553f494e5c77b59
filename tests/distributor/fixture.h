/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_DISTRIBUTOR_FIXTURE_H
#define TL_TESTS_DISTRIBUTOR_FIXTURE_H

/* A folder and a hub of its own for each test; the small IDX files of tests/data in it as dataset "small". */

#include "distributor/idx.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fixture_folder[64];
static struct hub *fixture_hub;
static bson_error_t fixture_error;

static inline void fixture_open(void)
{
    char uri[96];
    snprintf(fixture_folder, sizeof fixture_folder, "/tmp/tl_distributor.XXXXXX");
    cr_assert_not_null(mkdtemp(fixture_folder));
    snprintf(uri, sizeof uri, "sqlite:%s/hub.db", fixture_folder);
    fixture_hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &fixture_error);
    cr_assert_not_null(fixture_hub, "%s", fixture_error.message);
}

static inline void fixture_close(void)
{
    char command[96];
    hub_close(fixture_hub);
    fixture_hub = NULL;
    snprintf(command, sizeof command, "rm -rf %s", fixture_folder);
    cr_assert_eq(system(command), 0);
}

/* 12 training rows of shape (3, 2), of which 4 for validation, 5 test rows, 3 classes. */
static inline void fixture_save_small(void)
{
    struct idx_options options = {.directory = TL_TEST_DATA "/idx_plain", .name = "small", .validation = 4, .seed = 1};
    bson_t dataset;
    cr_assert_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    bson_destroy(&dataset);
}

/* How many documents of a collection match. */
static inline int64_t fixture_count(const char *collection)
{
    bson_t all = BSON_INITIALIZER;
    int64_t count = store_count(hub_store(fixture_hub), collection, &all, &fixture_error);
    cr_assert_geq(count, 0, "%s", fixture_error.message);
    bson_destroy(&all);
    return count;
}

#endif
