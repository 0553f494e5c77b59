/* SPDX-License-Identifier: Apache-2.0 */
#include "documents.h"
#include "hub/query.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(query, .fini = documents_free);

static bool matches(const char *filter, const char *json)
{
    bson_error_t error = {0};
    struct query *query = query_parse(document("%s", filter), &error);
    cr_assert_not_null(query, "%s: %s", filter, error.message);
    bool result = query_matches(query, document("%s", json));
    query_free(query);
    return result;
}

struct match {
    const char *filter, *json;
    bool matches;
};

static void check(const struct match *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(matches(cases[i].filter, cases[i].json), cases[i].matches, "%s on %s", cases[i].filter,
                     cases[i].json);
}
#define CHECK(cases) check(cases, sizeof cases / sizeof *cases)

Test(query, compares_values_across_number_types_and_only_within_a_type)
{
    const struct match cases[] = {
        {"{}", "{'a': 1}", true},
        {"{'a': 1}", "{'a': 1.0}", true},
        {"{'a': 1}", "{'a': {'$numberLong': '1'}}", true},
        {"{'a': 1}", "{'a': '1'}", false},
        {"{'a': 1}", "{'a': true}", false},
        {"{'a': {'$numberLong': '9007199254740993'}}", "{'a': {'$numberDouble': '9007199254740992'}}", false},
        {"{'a': {'$gt': 1}}", "{'a': 1.5}", true},
        {"{'a': {'$gt': 1}}", "{'a': 1}", false},
        {"{'a': {'$gte': 1}}", "{'a': 1}", true},
        {"{'a': {'$lt': 1}}", "{'a': 'x'}", false},
        {"{'a': {'$gt': 1}}", "{'a': 'x'}", false},
        {"{'a': {'$lt': 1}}", "{}", false},
        {"{'a': {'$lt': 'b'}}", "{'a': 'a'}", true},
        {"{'a': {'$lt': true}}", "{'a': false}", true},
        {"{'a': {'$gt': {'$date': {'$numberLong': '5'}}}}", "{'a': {'$date': {'$numberLong': '6'}}}", true},
        {"{'a': {'$gt': {'$date': {'$numberLong': '5'}}}}", "{'a': 6}", false},
        {"{'a': {'$numberDouble': 'NaN'}}", "{'a': {'$numberDouble': 'NaN'}}", true},
        {"{'a': {'$lt': 5}}", "{'a': {'$numberDouble': 'NaN'}}", false},
        {"{'a': {'$gte': {'$numberDouble': 'NaN'}}}", "{'a': {'$numberDouble': 'NaN'}}", true},
        {"{'a': {'$gte': {'$numberDouble': 'NaN'}}}", "{'a': 1}", false},
        {"{'a': {'b': 1}}", "{'a': {'b': 1}}", true},
        {"{'a': {'b': 1}}", "{'a': {'b': 1, 'c': 2}}", false},
        {"{'a': {'b': 1, 'c': 2}}", "{'a': {'c': 2, 'b': 1}}", false},
        {"{'a': {'$gt': 1, '$lt': 3}}", "{'a': 2}", true},
        {"{'a': {'$gt': 1, '$lt': 3}}", "{'a': 3}", false},
    };
    CHECK(cases);
}

Test(query, takes_missing_for_null)
{
    const struct match cases[] = {
        {"{'a': null}", "{}", true},
        {"{'a': null}", "{'a': null}", true},
        {"{'a': null}", "{'a': 0}", false},
        {"{'a.b': null}", "{'a': 5}", true},
        {"{'a.b': null}", "{'a': [1, 2]}", false},
        {"{'a.b': null}", "{'a': []}", false},
        {"{'a.b': null}", "{'a': [{'b': 1}, {}]}", true},
        {"{'a': {'$ne': null}}", "{}", false},
        {"{'a': {'$gte': null}}", "{}", true},
        {"{'a': {'$gt': null}}", "{}", false},
        {"{'a': {'$in': [1, null]}}", "{}", true},
        {"{'a': {'$nin': [1, null]}}", "{}", false},
        {"{'a': {'$exists': true}}", "{'a': null}", true},
        {"{'a': {'$exists': true}}", "{}", false},
        {"{'a': {'$exists': false}}", "{}", true},
        {"{'a.b': {'$exists': true}}", "{'a': [{'b': 1}]}", true},
        {"{'a.b': {'$exists': false}}", "{'a': []}", true},
        {"{'a': {'$exists': true}}", "{'a': []}", true},
    };
    CHECK(cases);
}

Test(query, looks_into_arrays)
{
    const struct match cases[] = {
        {"{'a': 2}", "{'a': [1, 2]}", true},
        {"{'a': [1, 2]}", "{'a': [1, 2]}", true},
        {"{'a': [2, 1]}", "{'a': [1, 2]}", false},
        {"{'a': [1]}", "{'a': [[1], 2]}", true},
        {"{'a': {'$gt': 2}}", "{'a': [1, 3]}", true},
        {"{'a': {'$gt': 1, '$lt': 0}}", "{'a': [-1, 2]}", true},
        {"{'a': {'$ne': 2}}", "{'a': [1, 2]}", false},
        {"{'a': {'$nin': [5, 2]}}", "{'a': [1, 2]}", false},
        {"{'a.b': 2}", "{'a': [{'b': 1}, {'b': 2}]}", true},
        {"{'a.b': 2}", "{'a': [{'b': [1, 2]}]}", true},
        {"{'a.b': 2}", "{'a': [[{'b': 2}]]}", false},
        {"{'a.1': 2}", "{'a': [1, 2]}", true},
        {"{'a.0': 2}", "{'a': [1, 2]}", false},
        {"{'a.1.b': 2}", "{'a': [1, {'b': 2}]}", true},
        {"{'a.1.b': 2}", "{'a': [1, [{'b': 2}]]}", true},
        {"{'a.0': 1}", "{'a': [[1, 2]]}", false},
        {"{'a.0': [1, 2]}", "{'a': [[1, 2]]}", true},
        {"{'a.0': 1}", "{'a': {'0': 1}}", true},
        {"{'a.0': 1}", "{'a': [{'0': 1}]}", true},
        {"{'a': {'$all': [1, 2]}}", "{'a': [2, 3, 1]}", true},
        {"{'a': {'$all': [1, 4]}}", "{'a': [2, 3, 1]}", false},
        {"{'a': {'$all': [1]}}", "{'a': 1}", true},
        {"{'a': {'$all': []}}", "{'a': []}", false},
        {"{'a': {'$in': [[1, 2]]}}", "{'a': [1, 2]}", true},
        {"{'a': {'$lt': [2]}}", "{'a': [1, 5]}", true},
    };
    CHECK(cases);
}

Test(query, combines_conditions)
{
    const struct match cases[] = {
        {"{'a': 1, 'b': 2}", "{'a': 1, 'b': 2}", true},
        {"{'a': 1, 'b': 2}", "{'a': 1}", false},
        {"{'$or': [{'a': 1}, {'b': 1}]}", "{'b': 1}", true},
        {"{'$or': [{'a': 1}, {'b': 1}]}", "{'b': 2}", false},
        {"{'$nor': [{'a': 1}, {'b': 1}]}", "{'b': 2}", true},
        {"{'$nor': [{'a': 1}, {'b': 1}]}", "{'b': 1}", false},
        {"{'$and': [{'a': 1}, {'$or': [{'b': 1}, {'b': 2}]}]}", "{'a': 1, 'b': 2}", true},
        {"{'a': {'$not': {'$gt': 5}}}", "{'a': 3}", true},
        {"{'a': {'$not': {'$gt': 5}}}", "{}", true},
        {"{'a': {'$not': {'$gt': 5}}}", "{'a': 6}", false},
        {"{'a': {'$not': {'$gt': 5, '$lt': 9}}}", "{'a': 10}", true},
        {"{'a': {'$not': {'$not': {'$gt': 5}}}}", "{'a': 6}", true},
        {"{'a': {'$in': []}}", "{'a': 1}", false},
        {"{'a': {'$nin': []}}", "{'a': 1}", true},
    };
    CHECK(cases);
}

/* The same alternatives once more than are asked one by one, in any order, and fewer of them. */
Test(query, finds_the_one_of_many_ranges)
{
    const char *many = "{'$or': [{'n': {'$gte': 70, '$lte': 79}}, {'n': 5}, {'n': {'$gte': 10, '$lte': 12, '$in': [10, 12]}}, "
                       "{'n': {'$gte': 20, '$lte': 21}}, {'n': {'$gte': 30, '$lte': 30}, 'x': 1}, {'n': {'$gte': 40, '$lte': 49}}, "
                       "{'n': {'$gte': 50, '$lte': 59}}, {'n': {'$gte': 60, '$lte': 69}}, {'id': {'$in': ['a', 'b']}}]}";
    const char *overlapping = "{'$or': [{'n': {'$gte': 1, '$lte': 9}}, {'n': {'$gte': 5, '$lte': 12}, 'x': 1}, {'n': 20}, {'n': 21}, "
                              "{'n': 22}, {'n': 23}, {'n': 24}, {'n': 25}, {'n': 26}]}";
    const struct match cases[] = {
        {many, "{'n': 5}", true},          {many, "{'n': 4}", false},       {many, "{'n': 6}", false},
        {many, "{'n': 10}", true},         {many, "{'n': 11}", false},      {many, "{'n': 12}", true},
        {many, "{'n': 30}", false},        {many, "{'n': 30, 'x': 1}", true}, {many, "{'n': 79}", true},
        {many, "{'n': 80}", false},        {many, "{'n': {'$numberLong': '45'}}", true},
        {many, "{'n': 45.5}", true},       {many, "{'n': 59.5}", false},    {many, "{'n': 5.0}", true},
        {many, "{'n': [1, 65]}", true},    {many, "{'n': [1, 2]}", false},  {many, "{'n': '5'}", false},
        {many, "{}", false},               {many, "{'id': 'b'}", true},     {many, "{'n': 1, 'id': 'b'}", true},
        {many, "{'n': null}", false},      {many, "{'n': {'$numberDouble': 'NaN'}}", false},
        {overlapping, "{'n': 11, 'x': 1}", true}, {overlapping, "{'n': 11}", false}, {overlapping, "{'n': 8}", true},
        {overlapping, "{'n': 24}", true},
    };
    CHECK(cases);
}

Test(query, finds_literals_in_strings)
{
    const struct match cases[] = {
        {"{'a': {'$regex': 'bc'}}", "{'a': 'abcd'}", true},
        {"{'a': {'$regex': '^bc'}}", "{'a': 'abcd'}", false},
        {"{'a': {'$regex': '^ab'}}", "{'a': 'abcd'}", true},
        {"{'a': {'$regex': 'a\\\\.b'}}", "{'a': 'a.b'}", true},
        {"{'a': {'$regex': 'a\\\\.b'}}", "{'a': 'axb'}", false},
        {"{'a': {'$regex': ''}}", "{'a': ''}", true},
        {"{'a': {'$regex': 'b'}}", "{'a': ['a', 'b']}", true},
        {"{'a': {'$regex': '1'}}", "{'a': 1}", false},
        {"{'a': {'$not': {'$regex': 'b'}}}", "{'a': 'a'}", true},
        {"{'a': {'$regex': 'B'}}", "{'a': 'b'}", false},
    };
    CHECK(cases);
    /* extended JSON reads {$regex: …} as a BSON regular expression; programs build the operator itself */
    bson_error_t error = {0};
    bson_t filter = BSON_INITIALIZER, operator;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "a", &operator);
    BSON_APPEND_UTF8(&operator, "$regex", "^b\\+");
    bson_append_document_end(&filter, &operator);
    struct query *query = query_parse(&filter, &error);
    cr_assert_not_null(query, "%s", error.message);
    cr_expect(query_matches(query, document("{'a': 'b+c'}")));
    cr_expect(!query_matches(query, document("{'a': 'ab+c'}")));
    query_free(query);
    bson_destroy(&filter);
}

Test(query, refuses_what_is_outside_the_subset_by_name)
{
    const struct {
        const char *filter, *named;
    } cases[] = {
        {"{'$where': 'true'}", "$where"},
        {"{'a': {'$where': '1'}}", "$where"},
        {"{'$expr': {}}", "$expr"},
        {"{'$text': {'$search': 'x'}}", "$text"},
        {"{'a': {'$elemMatch': {'b': 1}}}", "$elemMatch"},
        {"{'a': {'$size': 1}}", "$size"},
        {"{'a': {'$mod': [2, 0]}}", "$mod"},
        {"{'a': {'$regex': 'a.*b'}}", "'.'"},
        {"{'a': {'$regex': 'a$'}}", "'$'"},
        {"{'a': {'$regex': '\\\\d'}}", "backslash"},
        {"{'a': {'$regex': 'a\\\\'}}", "backslash"},
        {"{'a': {'$regex': 'a', '$options': 'i'}}", "$options"},
        {"{'a': {'$regularExpression': {'pattern': 'a', 'options': 'i'}}}", "$options"},
        {"{'a': {'$in': [{'$regularExpression': {'pattern': 'a', 'options': ''}}]}}", "regular expression"},
        {"{'a': {'$eq': {'$gt': 1}}}", "$gt"},
        {"{'a': {'b': {'$gt': 1}}}", "$gt"},
        {"{'a': {'$in': [{'$gt': 1}]}}", "$gt"},
        {"{'a': {'$in': 1}}", "$in"},
        {"{'a': {'$all': 1}}", "$all"},
        {"{'a': {'$gt': 1, 'b': 2}}", "'b'"},
        {"{'a': {'$not': 5}}", "$not"},
        {"{'a': {'$not': {}}}", "$not"},
        {"{'a': {'$not': {'b': 1}}}", "'b'"},
        {"{'a': {'$exists': 'yes'}}", "$exists"},
        {"{'$or': []}", "$or"},
        {"{'$or': {'a': 1}}", "$or"},
        {"{'$and': [5]}", "$and"},
        {"{'a..b': 1}", "a..b"},
        {"{'': 1}", "empty"},
        {"{'a.$b': 1}", "a.$b"},
        {"{'a.': 1}", "a."},
        {"{'a': {'$minKey': 1}}", "MinKey"},
        {"{'a': {'$timestamp': {'t': 1, 'i': 1}}}", "timestamp"},
        {"{'a': {'$numberDecimal': '1'}}", "decimal128"},
        {"{'a': {'x.y': 1}}", "x.y"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bson_error_t error = {0};
        struct query *query = query_parse(document("%s", cases[i].filter), &error);
        cr_expect_null(query, "%s is accepted", cases[i].filter);
        query_free(query);
        cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID, "%s", cases[i].filter);
        cr_expect_not_null(strstr(error.message, cases[i].named), "%s: '%s' does not name %s", cases[i].filter,
                           error.message, cases[i].named);
    }
}

Test(query, refuses_filters_nested_without_end)
{
    bson_t *filter = bson_new();
    BSON_APPEND_INT32(filter, "a", 1);
    for (int i = 0; i < 60; i++) {
        bson_t *outer = bson_new(), array;
        BSON_APPEND_ARRAY_BEGIN(outer, "$and", &array);
        BSON_APPEND_DOCUMENT(&array, "0", filter);
        bson_append_array_end(outer, &array);
        bson_destroy(filter);
        filter = outer;
    }
    bson_error_t error;
    cr_expect_null(query_parse(filter, &error));
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    bson_destroy(filter);
}

static void expect_json(const bson_t *bson, const char *expected, const char *what)
{
    cr_expect(bson_equal(bson, document("%s", expected)), "%s: got %s, expected %s", what,
              bson_as_canonical_extended_json(bson, NULL), expected);
}

Test(query, projects)
{
    const struct {
        const char *projection, *json, *expected;
    } cases[] = {
        {"{'a': 1}", "{'_id': 1, 'a': 2, 'b': 3}", "{'_id': 1, 'a': 2}"},
        {"{'a': true, '_id': 0}", "{'_id': 1, 'a': 2, 'b': 3}", "{'a': 2}"},
        {"{'a': 0}", "{'_id': 1, 'a': 2, 'b': 3}", "{'_id': 1, 'b': 3}"},
        {"{'_id': 0}", "{'_id': 1, 'a': 2}", "{'a': 2}"},
        {"{'_id': 1}", "{'_id': 1, 'a': 2}", "{'_id': 1}"},
        {"{'b': 1, 'a': 1}", "{'_id': 1, 'a': 2, 'b': 3}", "{'_id': 1, 'a': 2, 'b': 3}"},
        {"{'a.b': 1}", "{'_id': 1, 'a': {'b': 1, 'c': 2}}", "{'_id': 1, 'a': {'b': 1}}"},
        {"{'a.b': 1}", "{'_id': 1, 'a': 5}", "{'_id': 1}"},
        {"{'a.b': 1}", "{'_id': 1, 'a': {'c': 2}}", "{'_id': 1, 'a': {}}"},
        {"{'a.b': 1}", "{'_id': 1, 'a': [{'b': 1, 'c': 2}, 5, {'c': 3}]}", "{'_id': 1, 'a': [{'b': 1}, {}]}"},
        {"{'a.b': 0}", "{'_id': 1, 'a': [{'b': 1, 'c': 2}, 5]}", "{'_id': 1, 'a': [{'c': 2}, 5]}"},
        {"{'a.b': 0}", "{'_id': 1, 'a': 5}", "{'_id': 1, 'a': 5}"},
        {"{'a.b': 1, 'a.c': 1}", "{'_id': 1, 'a': {'b': 1, 'c': 2, 'd': 3}}", "{'_id': 1, 'a': {'b': 1, 'c': 2}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bson_t out;
        bson_error_t error = {0};
        cr_expect_eq(query_check_projection(document("%s", cases[i].projection), &error), 0, "%s: %s",
                     cases[i].projection, error.message);
        cr_assert_eq(query_project(document("%s", cases[i].projection), document("%s", cases[i].json), &out, &error),
                     0);
        expect_json(&out, cases[i].expected, cases[i].projection);
        bson_destroy(&out);
    }
}

Test(query, refuses_other_projections_and_sorts)
{
    static const char *const projections[] = {"{'a': 1, 'b': 0}", "{'a': 2}",         "{'a': 'x'}",
                                              "{'a.$': 1}",       "{'a': {'$slice': 1}}", "{'a': 1, 'a.b': 1}",
                                              "{'_id': 1, 'a': 0}", "{'': 1}"};
    static const char *const sorts[] = {"{'a': 0}", "{'a': 2}", "{'a': 'x'}", "{'a': {'$meta': 'textScore'}}",
                                        "{'$a': 1}", "{'a..b': 1}"};
    bson_error_t error;
    for (size_t i = 0; i < sizeof projections / sizeof *projections; i++)
        cr_expect_eq(query_check_projection(document("%s", projections[i]), &error), -1, "%s", projections[i]);
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++)
        cr_expect_eq(query_check_sort(document("%s", sorts[i]), &error), -1, "%s", sorts[i]);
    cr_expect_eq(query_check_sort(document("{'a': 1, 'b.c': -1, 'd': 1.0}"), &error), 0);
}

Test(query, checks_documents)
{
    static const char *const good[] = {"{}", "{'_id': {'a': 1}, 'b': [{'c': null}], 'd': {'$date': 0}}"};
    static const char *const bad[] = {"{'a.b': 1}", "{'$a': 1}", "{'a': {'$b': 1}}", "{'': 1}", "{'a': [{'': 1}]}",
                                      "{'_id': [1]}", "{'a': {'$numberDecimal': '1'}}", "{'a': {'$maxKey': 1}}",
                                      "{'a': {'$symbol': 'x'}}", "{'a': {'$code': 'x'}}"};
    bson_error_t error;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect_eq(query_check_document(document("%s", good[i]), "here", &error), 0, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(query_check_document(document("%s", bad[i]), "here", &error), -1, "%s", bad[i]);
        cr_expect_not_null(strstr(error.message, "here"));
    }
    bson_t text = BSON_INITIALIZER;
    bson_append_utf8(&text, "a", 1, "\xff\xfe", 2);
    cr_expect_eq(query_check_document(&text, "here", &error), -1, "not UTF-8");
    bson_destroy(&text);
    for (int levels = 99; levels <= 101; levels++) { /* documents inside the outermost */
        bson_t *nested = bson_new();
        for (int i = 0; i < levels; i++) {
            bson_t *outer = bson_new();
            BSON_APPEND_DOCUMENT(outer, "a", nested);
            bson_destroy(nested);
            nested = outer;
        }
        cr_expect_eq(query_check_document(nested, "here", &error), levels <= 99 ? 0 : -1, "%d", levels);
        bson_destroy(nested);
    }
    uint8_t *bytes = bson_malloc0(15 * 1024 * 1024);
    bson_t large = BSON_INITIALIZER;
    bson_append_binary(&large, "a", 1, BSON_SUBTYPE_BINARY, bytes, 15 * 1024 * 1024);
    cr_expect_eq(query_check_document(&large, "here", &error), -1, "too large");
    bson_destroy(&large);
    bson_free(bytes);
}

Test(query, makes_the_document_of_an_upsert)
{
    struct {
        const char *filter, *expected;
    } cases[] = {{"{'b': 1, '_id': 5, 'a.c': 'x'}", "{'_id': 5, 'a': {'c': 'x'}, 'b': 1}"},
                 {"{'_id': {'$eq': 5}}", "{'_id': 5}"},
                 {"{'a': 1}", NULL},
                 {"{'_id': 1, 'a': {'$gt': 5}}", NULL},
                 {"{'_id': 1, '$or': [{'a': 1}]}", NULL},
                 {"{'_id': 1, 'a': 1, 'a.b': 2}", NULL},
                 {"{'_id': [1]}", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bson_error_t error = {0};
        bson_t base;
        struct query *query = query_parse(document("%s", cases[i].filter), &error);
        cr_assert_not_null(query);
        cr_expect_eq(query_upsert_base(query, &base, &error), cases[i].expected ? 0 : -1, "%s", cases[i].filter);
        if (cases[i].expected)
            expect_json(&base, cases[i].expected, cases[i].filter);
        bson_destroy(&base);
        query_free(query);
    }
}
