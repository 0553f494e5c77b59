/* SPDX-License-Identifier: Apache-2.0 */
#include "documents.h"
#include "hub/update.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(update, .fini = documents_free);

/* The result as canonical JSON in the document's arena, or NULL where applying is refused. */
static const bson_t *applied(const char *json, const char *change, bool inserting)
{
    bson_error_t error = {0};
    struct update *update = update_parse(document("%s", change), &error);
    cr_assert_not_null(update, "%s: %s", change, error.message);
    bson_t out;
    int result = update_apply(update, document("%s", json), inserting, 1700000000000, &out, &error);
    const bson_t *kept = document_keep(bson_copy(&out));
    bson_destroy(&out);
    update_free(update);
    if (result == 0)
        return kept;
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID, "%s: %s", change, error.message);
    return NULL;
}

struct change {
    const char *json, *change, *expected; /* NULL: refused */
};

static void check(const struct change *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const bson_t *result = applied(cases[i].json, cases[i].change, false);
        char *text = result ? bson_as_canonical_extended_json(result, NULL) : NULL;
        bool right = cases[i].expected ? result && bson_equal(result, document("%s", cases[i].expected)) : !result;
        cr_expect(right, "%s on %s gives %s, expected %s", cases[i].change, cases[i].json, text ? text : "an error",
                  cases[i].expected ? cases[i].expected : "an error");
        bson_free(text);
    }
}
#define CHECK(cases) check(cases, sizeof cases / sizeof *cases)

Test(update, sets_and_unsets)
{
    const struct change cases[] = {
        {"{'_id': 1, 'a': 1, 'b': 2}", "{'$set': {'a': 'x'}}", "{'_id': 1, 'a': 'x', 'b': 2}"},
        {"{'_id': 1}", "{'$set': {'b': 1, 'a': 2}}", "{'_id': 1, 'a': 2, 'b': 1}"},
        {"{'_id': 1}", "{'$set': {'a.10': 1, 'a.9': 2}}", "{'_id': 1, 'a': {'9': 2, '10': 1}}"},
        {"{'_id': 1}", "{'$set': {'a.b.c': 1}}", "{'_id': 1, 'a': {'b': {'c': 1}}}"},
        {"{'a': {'b': 1, 'c': 2}}", "{'$set': {'a.b': 5, 'a.d': 6}}", "{'a': {'b': 5, 'c': 2, 'd': 6}}"},
        {"{'a': 1}", "{'$set': {'a.b': 1}}", NULL},
        {"{'a': null}", "{'$set': {'a.b': 1}}", NULL},
        {"{'a': [1, 2]}", "{'$set': {'a.1': 5}}", "{'a': [1, 5]}"},
        {"{'a': [1]}", "{'$set': {'a.3': 5}}", "{'a': [1, null, null, 5]}"},
        {"{'a': [{'b': 1}]}", "{'$set': {'a.0.c': 5}}", "{'a': [{'b': 1, 'c': 5}]}"},
        {"{'a': [1]}", "{'$set': {'a.b': 5}}", NULL},
        {"{'a': [1]}", "{'$set': {'a.9999999': 5}}", NULL},
        {"{'a': {'0': 1}}", "{'$set': {'a.0': 5}}", "{'a': {'0': 5}}"},
        {"{'a': 1, 'b': 2}", "{'$unset': {'a': '', 'c': 1}}", "{'b': 2}"},
        {"{'a': {'b': 1}}", "{'$unset': {'a.b': 1}}", "{'a': {}}"},
        {"{'a': 5}", "{'$unset': {'a.b': 1}}", "{'a': 5}"},
        {"{'a': [1, 2]}", "{'$unset': {'a.0': 1}}", "{'a': [null, 2]}"},
        {"{'a': [1, 2]}", "{'$unset': {'a.x': 1}}", "{'a': [1, 2]}"},
        {"{}", "{'$unset': {'a.b': 1}}", "{}"},
        {"{'a': 1}", "{'$setOnInsert': {'a': 2, 'b': 3}}", "{'a': 1}"},
        {"{'a': 5}", "{'$setOnInsert': {'a.b': 3}}", "{'a': 5}"},
    };
    CHECK(cases);
    cr_expect(bson_equal(applied("{'_id': 1}", "{'$setOnInsert': {'b': 3}, '$set': {'a': 1}}", true),
                         document("{'_id': 1, 'a': 1, 'b': 3}")));
}

Test(update, counts_as_the_server_does)
{
    const struct change cases[] = {
        {"{'a': 1}", "{'$inc': {'a': 2, 'b': 5}}", "{'a': 3, 'b': 5}"},
        {"{'a': 1}", "{'$inc': {'a': 0.5}}", "{'a': 1.5}"},
        {"{'a': 1}", "{'$inc': {'a': {'$numberLong': '1'}}}", "{'a': {'$numberLong': '2'}}"},
        {"{'a': 2147483647}", "{'$inc': {'a': 1}}", "{'a': {'$numberLong': '2147483648'}}"},
        {"{'a': {'$numberLong': '9223372036854775807'}}", "{'$inc': {'a': 1}}", NULL},
        {"{'a': 'x'}", "{'$inc': {'a': 1}}", NULL},
        {"{'a': null}", "{'$inc': {'a': 1}}", NULL},
        {"{'a': {'b': 1}}", "{'$inc': {'a.b': -1}}", "{'a': {'b': 0}}"},
        {"{'a': 5}", "{'$min': {'a': 3}, '$max': {'b': 1}}", "{'a': 3, 'b': 1}"},
        {"{'a': 5}", "{'$min': {'a': 7}}", "{'a': 5}"},
        {"{'a': 5}", "{'$max': {'a': 'x'}}", "{'a': 'x'}"},
        {"{'a': 5}", "{'$max': {'a': 5.0}}", "{'a': 5}"},
        {"{'a': null}", "{'$min': {'a': 1}}", "{'a': null}"},
    };
    CHECK(cases);
}

Test(update, pushes_and_slices)
{
    const struct change cases[] = {
        {"{'a': [1]}", "{'$push': {'a': 2}}", "{'a': [1, 2]}"},
        {"{}", "{'$push': {'a.b': 2}}", "{'a': {'b': [2]}}"},
        {"{'a': [1]}", "{'$push': {'a': [2, 3]}}", "{'a': [1, [2, 3]]}"},
        {"{'a': [1]}", "{'$push': {'a': {'$each': [2, 3]}}}", "{'a': [1, 2, 3]}"},
        {"{'a': [1, 2]}", "{'$push': {'a': {'$each': [3, 4], '$slice': -3}}}", "{'a': [2, 3, 4]}"},
        {"{'a': [1, 2]}", "{'$push': {'a': {'$each': [3, 4], '$slice': 3}}}", "{'a': [1, 2, 3]}"},
        {"{'a': [1, 2]}", "{'$push': {'a': {'$each': [3, 4], '$slice': 0}}}", "{'a': []}"},
        {"{'a': [1, 2]}", "{'$push': {'a': {'$each': [], '$slice': -1}}}", "{'a': [2]}"},
        {"{'a': [1, 2]}", "{'$push': {'a': {'$each': [3], '$slice': -10}}}", "{'a': [1, 2, 3]}"},
        {"{}", "{'$push': {'a': {'$each': [1, 2, 3], '$slice': -2}}}", "{'a': [2, 3]}"},
        {"{'a': 5}", "{'$push': {'a': 1}}", NULL},
        {"{'a': {'b': [1]}}", "{'$push': {'a.b': {'c': 1}}}", "{'a': {'b': [1, {'c': 1}]}}"},
    };
    CHECK(cases);
}

Test(update, writes_the_date_it_is_given)
{
    const struct change cases[] = {
        {"{'a': 1}", "{'$currentDate': {'a': true, 'b': true}}",
         "{'a': {'$date': {'$numberLong': '1700000000000'}}, 'b': {'$date': {'$numberLong': '1700000000000'}}}"},
    };
    CHECK(cases);
    static const char *const types[] = {"date", "timestamp"};
    for (size_t i = 0; i < 2; i++) { /* {$type: …} cannot be written in extended JSON */
        bson_error_t error = {0};
        bson_t change = BSON_INITIALIZER, paths, type;
        BSON_APPEND_DOCUMENT_BEGIN(&change, "$currentDate", &paths);
        BSON_APPEND_DOCUMENT_BEGIN(&paths, "a", &type);
        BSON_APPEND_UTF8(&type, "$type", types[i]);
        bson_append_document_end(&paths, &type);
        bson_append_document_end(&change, &paths);
        struct update *update = update_parse(&change, &error);
        cr_expect_eq(update != NULL, i == 0, "%s", types[i]);
        update_free(update);
        bson_destroy(&change);
    }
}

Test(update, refuses_what_is_outside_the_subset_by_name)
{
    const struct {
        const char *change, *named;
    } cases[] = {
        {"{}", "operator"},
        {"{'a': 1}", "'a'"},
        {"{'$rename': {'a': 'b'}}", "$rename"},
        {"{'$pull': {'a': 1}}", "$pull"},
        {"{'$addToSet': {'a': 1}}", "$addToSet"},
        {"{'$set': {}}", "$set"},
        {"{'$set': 5}", "$set"},
        {"{'$set': {'_id': 1}}", "_id"},
        {"{'$set': {'_id.a': 1}}", "_id"},
        {"{'$set': {'a': 1}, '$inc': {'a': 1}}", "'a'"},
        {"{'$set': {'a.b': 1, 'a': 2}}", "'a'"},
        {"{'$set': {'a': 1}, '$unset': {'a.b': 1}}", "'a.b'"},
        {"{'$set': {'a.$': 1}}", "a.$"},
        {"{'$set': {'a.$[]': 1}}", "a.$[]"},
        {"{'$set': {'a..b': 1}}", "a..b"},
        {"{'$set': {'a': {'$b': 1}}}", "$b"},
        {"{'$set': {'a': {'b.c': 1}}}", "b.c"},
        {"{'$set': {'a': {'$numberDecimal': '1'}}}", "decimal128"},
        {"{'$inc': {'a': 'x'}}", "$inc"},
        {"{'$push': {'a': {'$slice': 1}}}", "$slice"},
        {"{'$push': {'a': {'$each': 1}}}", "$each"},
        {"{'$push': {'a': {'$each': [], '$slice': 1.5}}}", "$slice"},
        {"{'$push': {'a': {'$each': [], '$sort': 1}}}", "$sort"},
        {"{'$push': {'a': {'$each': [], '$position': 0}}}", "$position"},
        {"{'$currentDate': {'a': 1}}", "$currentDate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bson_error_t error = {0};
        struct update *update = update_parse(document("%s", cases[i].change), &error);
        cr_expect_null(update, "%s is accepted", cases[i].change);
        update_free(update);
        cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID, "%s", cases[i].change);
        cr_expect_not_null(strstr(error.message, cases[i].named), "%s: '%s' does not name %s", cases[i].change,
                           error.message, cases[i].named);
    }
}

Test(update, is_refused_where_it_could_put_an_array_at_an_indexed_path)
{
    const struct {
        const char *change;
        bool refused;
    } cases[] = {{"{'$set': {'a.b': [1]}}", true},   {"{'$set': {'a': [1]}}", true},
                 {"{'$set': {'a': {'b': [1]}}}", true}, {"{'$set': {'a': {'b': 1}}}", false},
                 {"{'$set': {'a': {'c': [1]}}}", false}, {"{'$set': {'a.b.c': [1]}}", false},
                 {"{'$push': {'a': 1}}", true},      {"{'$push': {'a.b': 1}}", true},
                 {"{'$push': {'a.c': 1}}", false},   {"{'$max': {'a.b': [1]}}", true},
                 {"{'$setOnInsert': {'a.b': [1]}}", true}, {"{'$inc': {'a.b': 1}}", false},
                 {"{'$set': {'ab': [1]}}", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bson_error_t error = {0};
        struct update *update = update_parse(document("%s", cases[i].change), &error);
        cr_assert_not_null(update);
        cr_expect_eq(update_check_no_array(update, "a.b", &error), cases[i].refused ? -1 : 0, "%s", cases[i].change);
        update_free(update);
    }
}

Test(update, reports_a_damaged_document)
{
    bson_error_t error = {0};
    struct update *update = update_parse(document("{'$set': {'b': 1}}"), &error);
    bson_t *damaged = bson_copy(document("{'a': 'text', 'c': 2}")), view, out;
    uint8_t *bytes = bson_destroy_with_steal(damaged, true, NULL);
    bytes[7] = 0x7f; /* the string's length */
    cr_assert(bson_init_static(&view, bytes, (size_t)bytes[0]));
    cr_expect_eq(update_apply(update, &view, false, 0, &out, &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_CORRUPT);
    bson_destroy(&out);
    bson_free(bytes);
    update_free(update);
}
