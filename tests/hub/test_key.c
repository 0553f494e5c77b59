/* SPDX-License-Identifier: Apache-2.0 */
#include "documents.h"
#include "hub/key.h"
#include "hub/query.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static int sign(int64_t value)
{
    return (value > 0) - (value < 0);
}

static struct key key_of(const bson_iter_t *value)
{
    struct key key;
    key_init(&key);
    key_append_value(&key, value);
    return key;
}

static bson_iter_t value_of(const bson_t *holder, const char *name)
{
    bson_iter_t value;
    cr_assert(bson_iter_init_find(&value, holder, name));
    return value;
}

/* Values from the lowest to the highest; those in one array are equal. */
static const char *const ordered[] = {
    "[null]",
    "[{'$numberDouble': 'NaN'}]",
    "[{'$numberDouble': '-Infinity'}]",
    "[{'$numberLong': '-9223372036854775808'}, {'$numberDouble': '-9223372036854775808'}]",
    "[{'$numberLong': '-9007199254740993'}]",
    "[{'$numberLong': '-9007199254740992'}, {'$numberDouble': '-9007199254740992'}]",
    "[-1.5]",
    "[{'$numberInt': '-1'}, {'$numberLong': '-1'}, {'$numberDouble': '-1'}]",
    "[{'$numberInt': '0'}, {'$numberLong': '0'}, {'$numberDouble': '0'}, {'$numberDouble': '-0.0'}]",
    "[{'$numberDouble': '5e-324'}]",
    "[0.1]",
    "[1, {'$numberDouble': '1'}]",
    "[{'$numberLong': '9007199254740992'}, {'$numberDouble': '9007199254740992'}]",
    "[{'$numberLong': '9007199254740993'}]",
    "[{'$numberDouble': '9007199254740994'}, {'$numberLong': '9007199254740994'}]",
    "[{'$numberLong': '9223372036854775806'}]",
    "[{'$numberLong': '9223372036854775807'}]",
    "[{'$numberDouble': '9223372036854775808'}]",
    "[{'$numberDouble': 'Infinity'}]",
    "['']",
    "['\\u0000']",
    "['\\u0000a']",
    "['\\u0001']",
    "['a']",
    "['a\\u0000']",
    "['a\\u0000b']",
    "['aa']",
    "['b']",
    "['\xc3\xa4']",
    "[{}]",
    "[{'b': null}]",
    "[{'a': 1}, {'a': 1.0}]",
    "[{'a': 1, 'b': null}]",
    "[{'a': 2}]",
    "[{'b': 1}]",
    "[{'a': 'x'}]",
    "[{'a': {'a': 1}}]",
    "[[]]",
    "[[null]]",
    "[[1]]",
    "[[1, null]]",
    "[[1, 1]]",
    "[[2]]",
    "[['a']]",
    "[[[]]]",
    "[{'$binary': {'base64': '', 'subType': '00'}}]",
    "[{'$binary': {'base64': 'Ag==', 'subType': '00'}}]",
    "[{'$binary': {'base64': 'AQ==', 'subType': '05'}}]",
    "[{'$binary': {'base64': 'AAA=', 'subType': '00'}}]",
    "[{'$oid': '000000000000000000000001'}]",
    "[{'$oid': 'ff0000000000000000000000'}]",
    "[false]",
    "[true]",
    "[{'$date': {'$numberLong': '-1'}}]",
    "[{'$date': {'$numberLong': '0'}}]",
    "[{'$date': {'$numberLong': '1700000000000'}}]",
};
#define ORDERED (sizeof ordered / sizeof *ordered)

Test(key, orders_every_pair_as_mongodb_does, .fini = documents_free)
{
    const bson_t *holders[ORDERED];
    for (size_t i = 0; i < ORDERED; i++)
        holders[i] = document("{'v': %s}", ordered[i]);
    for (size_t i = 0; i < ORDERED; i++) {
        for (size_t j = 0; j < ORDERED; j++) {
            bson_iter_t array = value_of(holders[i], "v"), other = value_of(holders[j], "v"), a, b;
            for (bson_iter_recurse(&array, &a); bson_iter_next(&a);) {
                for (bson_iter_recurse(&other, &b); bson_iter_next(&b);) {
                    struct key x = key_of(&a), y = key_of(&b);
                    int expected = sign((int64_t)i - (int64_t)j);
                    cr_expect_eq(sign(key_compare(x.data, x.length, y.data, y.length)), expected, "keys of %s and %s",
                                 ordered[i], ordered[j]);
                    cr_expect_eq(sign(query_compare_values(&a, &b)), expected, "values %s and %s", ordered[i],
                                 ordered[j]);
                    bool prefix = x.length < y.length && memcmp(x.data, y.data, x.length) == 0;
                    cr_expect(!prefix, "the key of %s starts that of %s", ordered[i], ordered[j]);
                    key_destroy(&x);
                    key_destroy(&y);
                }
            }
        }
    }
}

Test(key, of_random_numbers_agrees_with_the_comparison_of_values, .fini = documents_free)
{
    uint64_t state = 1;
    bson_t holder = BSON_INITIALIZER;
    enum { COUNT = 400 };
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t bits = state ^ state >> 29;
        snprintf(name, sizeof name, "%d", i);
        double real;
        if (i % 4 == 0)
            BSON_APPEND_INT32(&holder, name, (int32_t)(bits >> 56) - 128);
        else if (i % 4 == 1)
            BSON_APPEND_INT64(&holder, name, (int64_t)bits >> (bits % 60));
        else if (i % 4 == 2)
            BSON_APPEND_DOUBLE(&holder, name, (double)((int64_t)bits >> (bits % 60)));
        else
            BSON_APPEND_DOUBLE(&holder, name, (memcpy(&real, &bits, sizeof real), real));
    }
    bson_iter_t a, b;
    for (bson_iter_init(&a, &holder); bson_iter_next(&a);) {
        for (bson_iter_init(&b, &holder); bson_iter_next(&b);) {
            struct key x = key_of(&a), y = key_of(&b);
            cr_expect_eq(sign(key_compare(x.data, x.length, y.data, y.length)), sign(query_compare_values(&a, &b)));
            if (bson_iter_type(&a) != BSON_TYPE_DOUBLE && bson_iter_type(&b) != BSON_TYPE_DOUBLE) {
                int64_t m = bson_iter_as_int64(&a), n = bson_iter_as_int64(&b);
                cr_expect_eq(sign(query_compare_values(&a, &b)), (m > n) - (m < n));
            }
            key_destroy(&x);
            key_destroy(&y);
        }
    }
    bson_destroy(&holder);
}

Test(key, at_a_path_is_null_where_nothing_is_and_refuses_arrays, .fini = documents_free)
{
    struct {
        const char *json, *path;
        int result;
        unsigned class;
    } cases[] = {{"{'a': {'b': 1}}", "a.b", 0, KEY_CLASS_NUMBER}, {"{'a': {'b': 1}}", "a", 0, KEY_CLASS_DOCUMENT},
                 {"{'a': {'b': 1}}", "a.c", 0, KEY_CLASS_NULL},   {"{'a': 5}", "a.b", 0, KEY_CLASS_NULL},
                 {"{}", "a", 0, KEY_CLASS_NULL},                  {"{'a': null}", "a", 0, KEY_CLASS_NULL},
                 {"{'a': [1]}", "a", -1, 0},                      {"{'a': [{'b': 1}]}", "a.b", -1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct key key;
        key_init(&key);
        cr_expect_eq(key_append_path(&key, document("%s", cases[i].json), cases[i].path), cases[i].result, "%s",
                     cases[i].json);
        cr_expect_eq(key.length > 0, cases[i].result == 0);
        if (key.length)
            cr_expect_eq(key.data[0], cases[i].class, "%s", cases[i].json);
        key_destroy(&key);
    }
}

/* The sort's order between two documents. */
static int order(const char *sort, const char *a, const char *b)
{
    struct key x, y;
    key_init(&x);
    key_init(&y);
    key_append_sort(&x, document("%s", sort), document("%s", a));
    key_append_sort(&y, document("%s", sort), document("%s", b));
    int result = sign(key_compare(x.data, x.length, y.data, y.length));
    key_destroy(&x);
    key_destroy(&y);
    return result;
}

Test(key, sorts_documents, .fini = documents_free)
{
    cr_expect_eq(order("{'a': 1}", "{'a': 1}", "{'a': 2}"), -1);
    cr_expect_eq(order("{'a': -1}", "{'a': 1}", "{'a': 2}"), 1);
    cr_expect_eq(order("{'a': -1, 'b': 1}", "{'a': 1, 'b': 1}", "{'a': 1, 'b': 2}"), -1);
    cr_expect_eq(order("{'a': -1}", "{'a': 'x'}", "{'a': 'xy'}"), 1);
    cr_expect_eq(order("{'a': 1}", "{}", "{'a': null}"), 0, "a missing value is null");
    cr_expect_eq(order("{'a': 1}", "{'a': []}", "{'a': null}"), -1, "an empty array comes before null");
    cr_expect_eq(order("{'a': 1}", "{'a': [5, 1]}", "{'a': 2}"), -1, "the smallest element counts");
    cr_expect_eq(order("{'a': -1}", "{'a': [5, 1]}", "{'a': 4}"), -1, "the largest element counts");
    cr_expect_eq(order("{'a.b': 1}", "{'a': [{'b': 5}, {'b': 2}]}", "{'a': {'b': 3}}"), -1);
    cr_expect_eq(order("{'a.b': 1}", "{'a': [{'b': 5}, {}]}", "{'a': {'b': 3}}"), -1, "missing in an element is null");
    cr_expect_eq(order("{'a.1': 1}", "{'a': [9, 1]}", "{'a': [0, 2]}"), -1, "a number names an element");
}
