/* SPDX-License-Identifier: Apache-2.0 */
/* Counting by values: the same answers with an index that holds the paths, with one that does not, and without. */
#include "both_engines.h"

#include <stdlib.h>
#include <string.h>

TEST_USES_SERVER;

static bson_error_t error;

/* The count of the combination, given as JSON of its values; 0 where there is none. */
static int64_t count_of(const bson_t *groups, const char *json)
{
    const bson_t *wanted = document("%s", json);
    bson_iter_t iter;
    int64_t count = 0;
    cr_assert(bson_iter_init(&iter, groups));
    while (bson_iter_next(&iter)) {
        bson_iter_t at, inner;
        const uint8_t *data;
        uint32_t length;
        bson_t values;
        cr_assert(bson_iter_recurse(&iter, &at) && bson_iter_find(&at, "values"));
        bson_iter_document(&at, &length, &data);
        cr_assert(bson_init_static(&values, data, length));
        if (bson_equal(&values, wanted)) {
            cr_assert(bson_iter_recurse(&iter, &inner) && bson_iter_find(&inner, "count"));
            count += bson_iter_as_int64(&inner);
        }
    }
    return count;
}

static void fill(struct store *store)
{
    static const char *const documents[] = {
        "{'_id': 1, 'p': 'a', 'q': 'x', 's': 'ready', 'n': 1}",   "{'_id': 2, 'p': 'a', 'q': 'x', 's': 'ready', 'n': 2}",
        "{'_id': 3, 'p': 'a', 'q': 'y', 's': 'ready', 'n': 1}",   "{'_id': 4, 'p': 'a', 'q': 'x', 's': 'done', 'n': 1}",
        "{'_id': 5, 'p': 'b', 'q': 'x', 's': 'ready', 'n': 1}",   "{'_id': 6, 'p': 'a', 'n': {'deep': 'down'}}",
    };
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        OK(store_insert(store, "things", document("%s", documents[i]), &error));
}

static void expect_counts(struct store *store)
{
    static const char *const states[] = {"s"}, *const both[] = {"q", "s"}, *const deep[] = {"n.deep"};
    bson_t groups;
    cr_expect_eq(OK(store_count_by(store, "things", document("{'p': 'a'}"), states, 1, &groups, &error)), 3);
    cr_expect_eq(count_of(&groups, "{'0': 'ready'}"), 3);
    cr_expect_eq(count_of(&groups, "{'0': 'done'}"), 1);
    cr_expect_eq(count_of(&groups, "{'0': null}"), 1, "a missing value is null");
    bson_destroy(&groups);
    cr_expect_eq(OK(store_count_by(store, "things", NULL, states, 1, &groups, &error)), 3, "everything");
    cr_expect_eq(count_of(&groups, "{'0': 'ready'}"), 4);
    bson_destroy(&groups);
    cr_expect_eq(OK(store_count_by(store, "things", document("{'p': 'a'}"), both, 2, &groups, &error)), 4);
    cr_expect_eq(count_of(&groups, "{'0': 'x', '1': 'ready'}"), 2);
    cr_expect_eq(count_of(&groups, "{'0': 'y', '1': 'ready'}"), 1);
    cr_expect_eq(count_of(&groups, "{'0': null, '1': null}"), 1);
    bson_destroy(&groups);
    /* A condition that no index serves. */
    cr_expect_eq(OK(store_count_by(store, "things", document("{'p': 'a', 'n': {'$gt': 1}}"), states, 1, &groups, &error)), 1);
    cr_expect_eq(count_of(&groups, "{'0': 'ready'}"), 1);
    bson_destroy(&groups);
    cr_expect_eq(OK(store_count_by(store, "things", document("{'n.deep': 'down'}"), deep, 1, &groups, &error)), 1);
    cr_expect_eq(count_of(&groups, "{'0': 'down'}"), 1);
    bson_destroy(&groups);
    cr_expect_eq(OK(store_count_by(store, "nothing", NULL, states, 1, &groups, &error)), 0);
    cr_expect(bson_empty(&groups));
    bson_destroy(&groups);
}

ON_BOTH_ENGINES(counts_by_values_without_an_index)
{
    fill(store);
    expect_counts(store);
}

ON_BOTH_ENGINES(counts_by_values_from_an_index)
{
    OK(store_ensure_index(store, "things", "claim", document("{'p': 1, 'q': 1, 's': 1, 'n': -1}"), &error));
    OK(store_ensure_index(store, "things", "short", document("{'s': 1}"), &error));
    fill(store);
    expect_counts(store);
}

static void expect_numbers(struct store *store)
{
    static const char *const documents[] = {
        "{'n': {'$numberDouble': '1.0'}}",     "{'n': {'$numberInt': '1'}}",       "{'n': {'$numberLong': '1'}}",
        "{'n': {'$numberDouble': '1.5'}}",     "{'n': {'$numberDouble': '-0.0'}}", "{'n': {'$numberLong': '0'}}",
        "{'n': {'$numberLong': '4294967296'}}", "{'n': {'$numberDouble': '4294967296'}}",
        "{'n': {'$numberDouble': 'NaN'}}",     "{'n': '1'}",                       "{'n': true}"};
    static const char *const path[] = {"n"};
    bson_t groups;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        OK(store_insert(store, "numbers", document("%s", documents[i]), &error));
    cr_expect_eq(OK(store_count_by(store, "numbers", NULL, path, 1, &groups, &error)), 7);
    cr_expect_eq(count_of(&groups, "{'0': {'$numberInt': '1'}}"), 3);
    cr_expect_eq(count_of(&groups, "{'0': {'$numberDouble': '1.5'}}"), 1);
    cr_expect_eq(count_of(&groups, "{'0': {'$numberInt': '0'}}"), 2);
    cr_expect_eq(count_of(&groups, "{'0': {'$numberLong': '4294967296'}}"), 2);
    cr_expect_eq(count_of(&groups, "{'0': '1'}"), 1);
    cr_expect_eq(count_of(&groups, "{'0': true}"), 1);
    bson_destroy(&groups);
}

ON_BOTH_ENGINES(equal_numbers_of_other_types_are_one)
{
    expect_numbers(store);
}

ON_BOTH_ENGINES(equal_numbers_of_other_types_are_one_in_an_index)
{
    OK(store_ensure_index(store, "numbers", "n", document("{'n': 1}"), &error));
    expect_numbers(store);
}

ON_BOTH_ENGINES(a_path_that_is_none_is_refused)
{
    static const char *const bad[] = {"$where"}, *const good[] = {"a"};
    bson_t groups;
    FAILS(HUB_ERROR_INVALID, store_count_by(store, "things", NULL, bad, 1, &groups, &error));
    bson_destroy(&groups);
    FAILS(HUB_ERROR_INVALID, store_count_by(store, "things", NULL, good, 0, &groups, &error));
    bson_destroy(&groups);
    FAILS(HUB_ERROR_INVALID, store_count_by(store, "things", document("{'$where': 'x'}"), good, 1, &groups, &error));
    bson_destroy(&groups);
}
