/* SPDX-License-Identifier: Apache-2.0 */
/* What store.h promises, on each engine. */
#include "both_engines.h"

#include <stdlib.h>
#include <string.h>

TEST_USES_SERVER;

static bson_error_t error;

/* The found documents' _ids (int32), in order, as "1 2 3". */
static const char *ids_found(struct store *store, const char *collection, const bson_t *filter,
                             const struct store_find_options *options)
{
    static char text[4096];
    size_t length = 0;
    const bson_t *found;
    bson_iter_t iter;
    struct store_cursor *cursor = store_find(store, collection, filter, options, &error);
    cr_assert(cursor != NULL, "find: %s", error.message);
    text[0] = '\0';
    while (OK(store_cursor_next(cursor, &found, &error)) > 0) {
        cr_assert(bson_iter_init_find(&iter, found, "_id"));
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%d", length ? " " : "",
                                   (int)bson_iter_as_int64(&iter));
    }
    store_cursor_close(cursor);
    return text;
}

static void insert(struct store *store, const char *collection, const char *json)
{
    OK(store_insert(store, collection, document("%s", json), &error));
}

#define EXPECT_ONE(store, collection, filter, options, json) \
    expect_one(__LINE__, store, collection, filter, options, json)

static void expect_one(int line, struct store *store, const char *collection, const bson_t *filter,
                       const struct store_find_options *options, const char *json)
{
    bson_t found;
    const bson_t *expected = document("%s", json);
    cr_assert(OK(store_find_one(store, collection, filter, options, &found, &error)) == 1, "line %d: none found", line);
    char *text = bson_as_relaxed_extended_json(&found, NULL);
    cr_assert(bson_equal(&found, expected), "line %d: found %s, not %s", line, text, json);
    bson_free(text);
    bson_destroy(&found);
}

static int64_t integer(const bson_t *from, const char *path)
{
    bson_iter_t iter;
    bson_iter_t found;
    cr_assert(bson_iter_init(&iter, from) && bson_iter_find_descendant(&iter, path, &found), "no %s", path);
    return bson_iter_as_int64(&found);
}

ON_BOTH_ENGINES(names_its_engine_and_describes_it)
{
    bson_t out;
    cr_expect(strcmp(store_engine(store), strncmp(uri, "sqlite:", 7) == 0 ? "sqlite" : "mongodb") == 0);
    cr_expect(store_batch_is_atomic(store) == (strncmp(uri, "sqlite:", 7) == 0));
    cr_assert(OK(store_ping(store, &error)) == 1);
    OK(store_describe(store, &out, &error));
    cr_expect(bson_count_keys(&out) >= 3);
    bson_destroy(&out);
}

ON_BOTH_ENGINES(nothing_is_found_in_a_collection_that_does_not_exist)
{
    bson_t out;
    const bson_t *filter = document("{'_id': 1}");
    cr_expect(strcmp(ids_found(store, "none", NULL, NULL), "") == 0);
    cr_expect(OK(store_find_one(store, "none", filter, NULL, &out, &error)) == 0);
    cr_expect(bson_empty(&out));
    bson_destroy(&out);
    cr_expect(OK(store_count(store, "none", filter, &error)) == 0);
    cr_expect(OK(store_delete(store, "none", filter, &error)) == 0);
    cr_expect(OK(store_update(store, "none", filter, document("{'$set': {'a': 1}}"), &error)) == 0);
    cr_expect(OK(store_modify(store, "none", filter, document("{'$set': {'a': 1}}"), NULL, &out, &error)) == 0);
    cr_expect(bson_empty(&out));
    bson_destroy(&out);
}

ON_BOTH_ENGINES(an_insert_adds_the_id_that_is_missing)
{
    bson_t out;
    bson_iter_t iter;
    insert(store, "things", "{'a': 1}");
    cr_assert(OK(store_find_one(store, "things", NULL, NULL, &out, &error)) == 1);
    cr_expect(bson_iter_init(&iter, &out) && bson_iter_next(&iter) && strcmp(bson_iter_key(&iter), "_id") == 0 &&
              BSON_ITER_HOLDS_OID(&iter));
    bson_destroy(&out);
}

ON_BOTH_ENGINES(the_same_id_twice_is_a_duplicate)
{
    insert(store, "things", "{'_id': 1, 'a': 1}");
    FAILS(HUB_ERROR_DUPLICATE, store_insert(store, "things", document("{'_id': 1, 'a': 2}"), &error));
    EXPECT_ONE(store, "things", NULL, NULL, "{'_id': 1, 'a': 1}");
    /* Numbers of any type are the same _id if they are equal. */
    FAILS(HUB_ERROR_DUPLICATE, store_insert(store, "things", document("{'_id': {'$numberLong': '1'}}"), &error));
    FAILS(HUB_ERROR_DUPLICATE, store_insert(store, "things", document("{'_id': 1.0}"), &error));
    insert(store, "things", "{'_id': '1'}");
    insert(store, "things", "{'_id': {'a': 1, 'b': 2}}");
    insert(store, "things", "{'_id': {'b': 2, 'a': 1}}");
    cr_expect(OK(store_count(store, "things", NULL, &error)) == 4);
}

ON_BOTH_ENGINES(what_may_not_be_stored_is_refused)
{
    static const char *const refused[] = {
        "{'a.b': 1}",
        "{'$a': 1}",
        "{'': 1}",
        "{'a': {'$b': 1}}",
        "{'a': [{'b.c': 1}]}",
        "{'_id': [1]}",
        "{'a': {'$regularExpression': {'pattern': 'x', 'options': ''}}}",
        "{'a': {'$numberDecimal': '1'}}",
        "{'a': {'$timestamp': {'t': 1, 'i': 1}}}",
        "{'a': {'$code': 'x'}}",
        "{'a': {'$minKey': 1}}",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        FAILS(HUB_ERROR_INVALID, store_insert(store, "things", document("%s", refused[i]), &error));
    }
    char *large = bson_malloc0(16 * 1024 * 1024);
    memset(large, 'x', 15 * 1024 * 1024);
    bson_t *too_large = BCON_NEW("a", BCON_UTF8(large));
    FAILS(HUB_ERROR_INVALID, store_insert(store, "things", too_large, &error));
    bson_destroy(too_large);
    bson_free(large);
    cr_expect(OK(store_count(store, "things", NULL, &error)) == 0);
}

ON_BOTH_ENGINES(every_type_comes_back_as_it_was)
{
    const bson_t *all = document(
        "{'_id': {'$oid': '5f1a2b3c4d5e6f7081920a1b'}, 'double': 1.5, 'whole': 2.0, 'nan': {'$numberDouble': 'NaN'},"
        " 'minus_zero': {'$numberDouble': '-0.0'}, 'infinity': {'$numberDouble': '-Infinity'}, 'tiny': 5e-324,"
        " 'string': 'Grüße \\u4e16\\u754c', 'empty': '', 'document': {'z': 1, 'a': {'b': []}}, 'array': [1, 'a', [2],"
        " {}], 'binary': {'$binary': {'base64': 'AAEC/w==', 'subType': '00'}}, 'yes': true, 'date':"
        " {'$date': {'$numberLong': '-1'}}, 'null': null, 'int32': -2147483648, 'int64':"
        " {'$numberLong': '9223372036854775807'}, 'small_int64': {'$numberLong': '5'}}");
    bson_t out;
    OK(store_insert(store, "things", all, &error));
    cr_assert(OK(store_find_one(store, "things", NULL, NULL, &out, &error)) == 1);
    cr_expect(bson_equal(&out, all));
    bson_destroy(&out);
}

ON_BOTH_ENGINES(large_documents_come_back_whole)
{
    enum { SIZE = 14 * 1024 * 1024 };
    uint8_t *data = bson_malloc(SIZE);
    bson_t out;
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    bson_t *large = BCON_NEW("_id", BCON_INT32(1), "data", BCON_BIN(BSON_SUBTYPE_BINARY, data, SIZE));
    OK(store_insert(store, "things", large, &error));
    cr_assert(OK(store_find_one(store, "things", NULL, NULL, &out, &error)) == 1);
    cr_expect(bson_equal(&out, large));
    bson_destroy(&out);
    bson_destroy(large);
    bson_free(data);
}

ON_BOTH_ENGINES(find_sorts_skips_and_limits)
{
    insert(store, "things", "{'_id': 1, 'a': 2, 'b': 'x'}");
    insert(store, "things", "{'_id': 2, 'a': 1, 'b': 'y'}");
    insert(store, "things", "{'_id': 3, 'a': 2, 'b': 'w'}");
    insert(store, "things", "{'_id': 4, 'a': 3}");
    insert(store, "things", "{'_id': 5, 'a': 2, 'b': 'x'}");
    struct store_find_options by_a = {.sort = document("{'a': 1, 'b': -1, '_id': 1}")};
    cr_expect_str_eq(ids_found(store, "things", NULL, &by_a), "2 1 5 3 4");
    struct store_find_options down = {.sort = document("{'a': -1, 'b': 1, '_id': -1}")};
    cr_expect_str_eq(ids_found(store, "things", NULL, &down), "4 3 5 1 2");
    struct store_find_options part = {.sort = document("{'a': 1}"), .skip = 1, .limit = 3}; /* ties by _id */
    cr_expect_str_eq(ids_found(store, "things", NULL, &part), "1 3 5");
    struct store_find_options beyond = {.sort = document("{'a': 1}"), .skip = 4};
    cr_expect_str_eq(ids_found(store, "things", NULL, &beyond), "4");
    struct store_find_options first = {.sort = document("{'b': 1}"), .limit = 2};
    cr_expect_str_eq(ids_found(store, "things", document("{'a': 2}"), &first), "3 1");
}

ON_BOTH_ENGINES(values_of_different_types_sort_in_mongodbs_order)
{
    insert(store, "things", "{'_id': 1, 'a': {'$date': {'$numberLong': '0'}}}");
    insert(store, "things", "{'_id': 2, 'a': true}");
    insert(store, "things", "{'_id': 3, 'a': {'$oid': '5f1a2b3c4d5e6f7081920a1b'}}");
    insert(store, "things", "{'_id': 4, 'a': {'$binary': {'base64': 'AAEC', 'subType': '00'}}}");
    insert(store, "things", "{'_id': 5, 'a': {'x': 1}}");
    insert(store, "things", "{'_id': 6, 'a': 'text'}");
    insert(store, "things", "{'_id': 7, 'a': 3}");
    insert(store, "things", "{'_id': 8, 'a': null}");
    insert(store, "things", "{'_id': 9, 'a': -1.5}");
    insert(store, "things", "{'_id': 10, 'a': false}");
    struct store_find_options up = {.sort = document("{'a': 1}")};
    cr_expect_str_eq(ids_found(store, "things", NULL, &up), "8 9 7 6 5 4 3 10 2 1");
}

ON_BOTH_ENGINES(numbers_compare_exactly_across_types)
{
    insert(store, "n", "{'_id': 1, 'a': {'$numberLong': '9007199254740993'}}");
    insert(store, "n", "{'_id': 2, 'a': 9007199254740992.0}");
    insert(store, "n", "{'_id': 3, 'a': {'$numberLong': '9007199254740992'}}");
    insert(store, "n", "{'_id': 4, 'a': 5}");
    insert(store, "n", "{'_id': 5, 'a': 5.0}");
    insert(store, "n", "{'_id': 6, 'a': {'$numberLong': '5'}}");
    insert(store, "n", "{'_id': 7, 'a': 5.5}");
    struct store_find_options by_id = {.sort = document("{'_id': 1}")};
    cr_expect_str_eq(ids_found(store, "n", document("{'a': 5}"), &by_id), "4 5 6");
    cr_expect_str_eq(ids_found(store, "n", document("{'a': {'$numberLong': '9007199254740993'}}"), &by_id), "1");
    cr_expect_str_eq(ids_found(store, "n", document("{'a': {'$gte': 9007199254740992.0}}"), &by_id), "1 2 3");
    cr_expect_str_eq(ids_found(store, "n", document("{'a': {'$gt': {'$numberLong': '9007199254740992'}}}"), &by_id),
                     "1");
    cr_expect_str_eq(ids_found(store, "n", document("{'a': {'$gt': 5, '$lt': 6}}"), &by_id), "7");
    cr_expect_str_eq(ids_found(store, "n", document("{'a': {'$in': [5.5, 5]}}"), &by_id), "4 5 6 7");
}

ON_BOTH_ENGINES(filters_mean_what_mongodb_documents)
{
    static const struct {
        const char *filter;
        const char *ids;
    } cases[] = {
        {"{}", "1 2 3 4 5 6 7 8 9"},
        {"{'a': 1}", "1 2"},                          /* an array matches if one of its elements does */
        {"{'a': [1, 2]}", "2"},
        {"{'a': null}", "3 4 7 8 9"},                 /* null is also: missing */
        {"{'a': {'$ne': null}}", "1 2 5 6"},
        {"{'a': {'$exists': false}}", "4 7 8 9"},
        {"{'a': {'$exists': true}}", "1 2 3 5 6"},
        {"{'a': {'$gt': 0}}", "1 2"},                 /* only numbers: type brackets */
        {"{'a': {'$gte': ''}}", "5"},
        {"{'a': {'$ne': 1}}", "3 4 5 6 7 8 9"},
        {"{'a': {'$in': [1, 'text']}}", "1 2 5"},
        {"{'a': {'$in': [null, 1]}}", "1 2 3 4 7 8 9"},
        {"{'a': {'$nin': [1, null]}}", "5 6"},
        {"{'a': {'$all': [1, 2]}}", "2"},
        {"{'a': {'$not': {'$gt': 0}}}", "3 4 5 6 7 8 9"},
        {"{'a.b': 1}", "6"},
        {"{'a': {'b': 1}}", "6"},
        {"{'$or': [{'a': 1}, {'a': 'text'}]}", "1 2 5"},
        {"{'$and': [{'a': {'$gt': 0}}, {'a': {'$lt': 2}}]}", "1 2"},
        {"{'$nor': [{'a': 1}, {'a': null}]}", "5 6"},
        {"{'a': {'$regex': '^te'}}", "5"},
        {"{'a': {'$regex': 'ex'}}", "5"},
        {"{'a': {'$not': {'$regex': 'ex'}}}", "1 2 3 4 6 7 8 9"},
        {"{'tags': 'cnn'}", "7 8"},
        {"{'tags': {'$all': ['cnn', 'image']}}", "8"},
        {"{'tags': {'$in': ['image', 'none']}}", "8"},
        {"{'tags': {'$nin': ['cnn']}}", "1 2 3 4 5 6 9"},
        {"{'list.n': 2}", "9"},                       /* through an array, any element */
        {"{'list.0.n': 1}", "9"},                     /* and by index */
        {"{'list.1.n': 1}", ""},
        {"{'list.n': {'$gt': 1, '$lt': 2}}", "9"},    /* each condition by another element; */
        {"{'list.n': {'$gte': {'$date': {'$numberLong': '0'}}}}", ""},
    };
    insert(store, "f", "{'_id': 1, 'a': 1}");
    insert(store, "f", "{'_id': 2, 'a': [1, 2]}");
    insert(store, "f", "{'_id': 3, 'a': null}");
    insert(store, "f", "{'_id': 4}");
    insert(store, "f", "{'_id': 5, 'a': 'text'}");
    insert(store, "f", "{'_id': 6, 'a': {'b': 1}}");
    insert(store, "f", "{'_id': 7, 'tags': ['cnn']}");
    insert(store, "f", "{'_id': 8, 'tags': ['image', 'cnn']}");
    insert(store, "f", "{'_id': 9, 'list': [{'n': 1}, {'n': 2}]}");
    OK(store_ensure_index(store, "f", "tags", document("{'tags': 1}"), &error));
    struct store_find_options by_id = {.sort = document("{'_id': 1}")};
    /* The stand-in wants both of one element, as MongoDB does only for $elemMatch. */
    static const char stand_in_deviates[] = "{'list.n': {'$gt': 1, '$lt': 2}}";
    bool is_stand_in = strcmp(store_engine(store), "mongodb") == 0 && test_server_is_stand_in();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (is_stand_in && strcmp(cases[i].filter, stand_in_deviates) == 0) {
            continue;
        }
        const char *found = ids_found(store, "f", document("%s", cases[i].filter), &by_id);
        cr_expect(strcmp(found, cases[i].ids) == 0, "%s found '%s', not '%s'", cases[i].filter, found, cases[i].ids);
        int64_t count = store_count(store, "f", document("%s", cases[i].filter), &error);
        int64_t words = *cases[i].ids != '\0';
        for (const char *c = cases[i].ids; *c; c++) {
            words += *c == ' ';
        }
        cr_expect(count == words, "%s counts %d, not %d", cases[i].filter, (int)count, (int)words);
    }
}

ON_BOTH_ENGINES(projections_keep_or_leave_out)
{
    insert(store, "p", "{'_id': 1, 'a': 1, 'b': {'c': 2, 'd': 3}, 'e': [1, 2]}");
    struct store_find_options keep = {.projection = document("{'b.c': 1, 'e': 1}")};
    EXPECT_ONE(store, "p", NULL, &keep, "{'_id': 1, 'b': {'c': 2}, 'e': [1, 2]}");
    struct store_find_options no_id = {.projection = document("{'a': 1, '_id': 0}")};
    EXPECT_ONE(store, "p", NULL, &no_id, "{'a': 1}");
    struct store_find_options leave = {.projection = document("{'b.c': 0, 'e': 0}")};
    EXPECT_ONE(store, "p", NULL, &leave, "{'_id': 1, 'a': 1, 'b': {'d': 3}}");
    struct store_find_options only_id = {.projection = document("{'_id': 1}")};
    EXPECT_ONE(store, "p", NULL, &only_id, "{'_id': 1}");
}

ON_BOTH_ENGINES(a_cursor_goes_through_many_batches_while_others_write)
{
    enum { COUNT = 1500 };
    bool seen[COUNT] = {false};
    const bson_t *found;
    int64_t given = 0;
    for (int start = 0; start < COUNT; start += 500) {
        struct store_operation inserts[500] = {0};
        for (int i = 0; i < 500; i++) {
            inserts[i].kind = STORE_INSERT;
            inserts[i].collection = "many";
            inserts[i].document = document("{'_id': %d, 'a': %d, 'filler': 'abcdefghijklmnopqrstuvwxyz'}", start + i,
                                           (start + i) % 7);
        }
        cr_assert(OK(store_batch(store, inserts, 500, NULL, &error)) == 1);
    }
    cr_expect(OK(store_count(store, "many", document("{'a': 3}"), &error)) == 214);
    struct store_cursor *cursor = store_find(store, "many", document("{}"), NULL, &error);
    cr_assert(cursor != NULL);
    while (OK(store_cursor_next(cursor, &found, &error)) > 0) {
        int64_t id = integer(found, "_id");
        cr_assert(!seen[id], "%d came twice", (int)id);
        seen[id] = true;
        if (given++ % 100 == 0) {
            OK(store_insert(store, "others", document("{'_id': %d}", (int)given), &error));
        }
    }
    store_cursor_close(cursor);
    cr_expect(given == COUNT);
    struct store_cursor *abandoned = store_find(store, "many", document("{}"), NULL, &error);
    OK(store_cursor_next(abandoned, &found, &error));
    store_cursor_close(abandoned);
    cr_expect(OK(store_update(store, "many", document("{'a': 3}"), document("{'$set': {'a': 8}}"), &error)) == 214);
    cr_expect(OK(store_delete(store, "many", document("{'a': {'$lt': 8}}"), &error)) == COUNT - 214);
    cr_expect(OK(store_count(store, "many", NULL, &error)) == 214);
}

ON_BOTH_ENGINES(a_cursor_over_documents_of_a_megabyte_stays_within_a_reply)
{
    enum { COUNT = 70 };
    int64_t given = 0;
    const bson_t *found;
    uint8_t *data = bson_malloc0(1024 * 1024);
    for (int i = 0; i < COUNT; i++) {
        bson_t *large = BCON_NEW("_id", BCON_INT32(i), "data", BCON_BIN(BSON_SUBTYPE_BINARY, data, 1024 * 1024));
        OK(store_insert(store, "large", large, &error));
        bson_destroy(large);
    }
    bson_free(data);
    struct store_find_options down = {.sort = document("{'_id': -1}")};
    struct store_cursor *cursor = store_find(store, "large", NULL, &down, &error);
    while (OK(store_cursor_next(cursor, &found, &error)) > 0) {
        cr_assert(integer(found, "_id") == COUNT - 1 - given);
        given++;
    }
    store_cursor_close(cursor);
    cr_expect(given == COUNT);
}

ON_BOTH_ENGINES(modify_changes_the_first_in_order_and_gives_it)
{
    bson_t out;
    insert(store, "q", "{'_id': 1, 'state': 'ready', 'priority': 0}");
    insert(store, "q", "{'_id': 2, 'state': 'ready', 'priority': 5}");
    insert(store, "q", "{'_id': 3, 'state': 'ready', 'priority': 5}");
    struct store_modify_options claim = {.sort = document("{'priority': -1, '_id': 1}"), .return_new = true};
    const bson_t *ready = document("{'state': 'ready'}");
    const bson_t *running = document("{'$set': {'state': 'running', 'claim': {'id': 'x', 'beat': 0}}, "
                                     "'$inc': {'claims': 1}}");
    cr_assert(OK(store_modify(store, "q", ready, running, &claim, &out, &error)) == 1);
    cr_expect(integer(&out, "_id") == 2 && integer(&out, "claims") == 1 && integer(&out, "claim.beat") == 0);
    bson_destroy(&out);
    claim.return_new = false;
    claim.projection = document("{'state': 1}");
    cr_assert(OK(store_modify(store, "q", ready, running, &claim, &out, &error)) == 1);
    cr_expect(bson_equal(&out, document("{'_id': 3, 'state': 'ready'}"))); /* as it was before */
    bson_destroy(&out);
    cr_assert(OK(store_modify(store, "q", ready, running, NULL, NULL, &error)) == 1);
    cr_assert(OK(store_modify(store, "q", ready, running, &claim, &out, &error)) == 0);
    cr_expect(bson_empty(&out));
    bson_destroy(&out);
    cr_expect(OK(store_count(store, "q", document("{'state': 'running', 'claims': 1}"), &error)) == 3);
}

ON_BOTH_ENGINES(an_upsert_inserts_once_and_then_changes)
{
    bson_t out;
    struct store_modify_options upsert = {.upsert = true};
    const bson_t *filter = document("{'_id': 'm', 'project': 'p'}");
    const bson_t *change = document("{'$inc': {'n': 1}, '$setOnInsert': {'first': true}}");
    cr_assert(OK(store_modify(store, "u", filter, change, &upsert, &out, &error)) == 1);
    cr_expect(bson_empty(&out));
    bson_destroy(&out);
    upsert.return_new = true;
    cr_assert(OK(store_modify(store, "u", filter, document("{'$inc': {'n': 1}, '$setOnInsert': {'first': 7}}"), &upsert,
                              &out, &error)) == 1);
    cr_expect(integer(&out, "n") == 2 && integer(&out, "first") == 1);
    bson_destroy(&out);
    cr_assert(OK(store_modify(store, "u", document("{'_id': 'new'}"), change, &upsert, &out, &error)) == 1);
    cr_expect(integer(&out, "n") == 1);
    bson_destroy(&out);
    FAILS(HUB_ERROR_INVALID, store_modify(store, "u", document("{'_id': {'$gt': 1}}"), change, &upsert, NULL, &error));
    FAILS(HUB_ERROR_INVALID, store_modify(store, "u", document("{'project': 'p'}"), change, &upsert, NULL, &error));
    /* Only the rest of the filter differs: there is nothing to change and nothing that could be inserted. */
    FAILS(HUB_ERROR_DUPLICATE,
          store_modify(store, "u", document("{'_id': 'm', 'project': 'q'}"), change, &upsert, NULL, &error));
    cr_expect(OK(store_count(store, "u", NULL, &error)) == 2);
}

ON_BOTH_ENGINES(update_operators_do_what_mongodb_documents)
{
    static const struct {
        const char *before;
        const char *update;
        const char *after;
    } cases[] = {
        {"{'_id': 1}", "{'$set': {'a.b': 1}}", "{'_id': 1, 'a': {'b': 1}}"},
        {"{'_id': 1, 'a': {'x': 1}, 'c': 1}", "{'$set': {'a': {'y': 2}}}", "{'_id': 1, 'a': {'y': 2}, 'c': 1}"},
        {"{'_id': 1, 'a': [1, 2]}", "{'$set': {'a.1': 5}}", "{'_id': 1, 'a': [1, 5]}"},
        {"{'_id': 1, 'a': 1, 'b': 2}", "{'$unset': {'a': '', 'none': ''}}", "{'_id': 1, 'b': 2}"},
        {"{'_id': 1, 'a': 2147483647}", "{'$inc': {'a': 1}}", "{'_id': 1, 'a': {'$numberLong': '2147483648'}}"},
        {"{'_id': 1, 'a': 1}", "{'$inc': {'a': 0.5, 'b': 2}}", "{'_id': 1, 'a': 1.5, 'b': 2}"},
        {"{'_id': 1, 'a': 3, 'b': 3}", "{'$min': {'a': 2, 'b': 4}}", "{'_id': 1, 'a': 2, 'b': 3}"},
        {"{'_id': 1, 'a': 3, 'b': 3}", "{'$max': {'a': 2, 'b': 4, 'c': 1}}", "{'_id': 1, 'a': 3, 'b': 4, 'c': 1}"},
        {"{'_id': 1, 'a': [1]}", "{'$push': {'a': 2, 'b': 3}}", "{'_id': 1, 'a': [1, 2], 'b': [3]}"},
        {"{'_id': 1, 'a': [1, 2]}", "{'$push': {'a': {'$each': [3, 4], '$slice': -3}}}", "{'_id': 1, 'a': [2, 3, 4]}"},
        {"{'_id': 1, 'a': 1}", "{'$setOnInsert': {'a': 2}}", "{'_id': 1, 'a': 1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        OK(store_delete(store, "o", NULL, &error));
        insert(store, "o", cases[i].before);
        cr_assert(store_update(store, "o", NULL, document("%s", cases[i].update), &error) == 1, "%s: %s",
                  cases[i].update, error.message);
        EXPECT_ONE(store, "o", NULL, NULL, cases[i].after);
    }
    int64_t now;
    bson_t *stamp = BCON_NEW("$currentDate", "{", "at", BCON_BOOL(true), "on", "{", "$type", "date", "}", "}");
    OK(store_server_time(store, &now, &error));
    cr_assert(OK(store_update(store, "o", NULL, stamp, &error)) == 1);
    bson_destroy(stamp);
    bson_t out;
    bson_iter_t iter;
    OK(store_find_one(store, "o", NULL, NULL, &out, &error));
    cr_assert(bson_iter_init_find(&iter, &out, "at") && BSON_ITER_HOLDS_DATE_TIME(&iter));
    cr_expect(llabs(bson_iter_date_time(&iter) - now) < 60000);
    cr_assert(bson_iter_init_find(&iter, &out, "on") && BSON_ITER_HOLDS_DATE_TIME(&iter));
    bson_destroy(&out);
}

ON_BOTH_ENGINES(an_update_that_does_not_fit_the_document_changes_nothing)
{
    insert(store, "o", "{'_id': 1, 'a': 'text', 'b': 1}");
    FAILS(HUB_ERROR_INVALID, store_update(store, "o", NULL, document("{'$inc': {'a': 1}}"), &error));
    FAILS(HUB_ERROR_INVALID, store_update(store, "o", NULL, document("{'$push': {'b': 1}}"), &error));
    FAILS(HUB_ERROR_INVALID, store_update(store, "o", NULL, document("{'$set': {'b.c': 1}}"), &error));
    FAILS(HUB_ERROR_INVALID, store_modify(store, "o", NULL, document("{'$set': {'_id': 2}}"), NULL, NULL, &error));
    EXPECT_ONE(store, "o", NULL, NULL, "{'_id': 1, 'a': 'text', 'b': 1}");
}

ON_BOTH_ENGINES(what_is_outside_of_the_subset_is_refused_by_name)
{
    static const struct {
        const char *text;
        const char *named;
    } filters[] = {
        {"{'$where': 'true'}", "$where"},
        {"{'a': {'$where': '1'}}", "$where"},
        {"{'$expr': {'$eq': ['$a', 1]}}", "$expr"},
        {"{'$text': {'$search': 'x'}}", "$text"},
        {"{'$jsonSchema': {}}", "$jsonSchema"},
        {"{'a': {'$elemMatch': {'b': 1}}}", "$elemMatch"},
        {"{'a': {'$type': 'string'}}", "$type"},
        {"{'a': {'$size': 1}}", "$size"},
        {"{'a': {'$mod': [2, 0]}}", "$mod"},
        {"{'a': {'$regex': 'x', '$options': 'i'}}", "$options"},
        {"{'a': {'$regex': 'a.*b'}}", "$regex"},
        {"{'a': {'$gt': 1, 'b': 1}}", "a"},
        {"{'$comment': 'x'}", "$comment"},
    };
    static const struct {
        const char *text;
        const char *named;
    } updates[] = {
        {"{'$rename': {'a': 'b'}}", "$rename"},
        {"{'$pull': {'a': 1}}", "$pull"},
        {"{'$bit': {'a': {'and': 1}}}", "$bit"},
        {"{'a': 1}", "a"},
        {"{'$set': {'a': 1, 'a.b': 2}}", "a"},
        {"{'$set': {'_id': 2}}", "_id"},
        {"{'$push': {'a': {'$each': [1], '$sort': 1}}}", "$sort"},
        {"{'$set': {'a.$[].b': 1}}", "$["},
        {"{'$set': {'$a': 1}}", "$a"},
        {"{}", ""},
    };
    insert(store, "o", "{'_id': 1, 'a': 1}");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        bson_t out;
        const bson_t *filter = document("%s", filters[i].text);
        FAILS(HUB_ERROR_INVALID, store_find_one(store, "o", filter, NULL, &out, &error));
        cr_expect(strstr(error.message, filters[i].named) != NULL, "%s: %s", filters[i].text, error.message);
        bson_destroy(&out);
        cr_expect(store_find(store, "o", filter, NULL, &error) == NULL);
        FAILS(HUB_ERROR_INVALID, store_count(store, "o", filter, &error));
        FAILS(HUB_ERROR_INVALID, store_delete(store, "o", filter, &error));
        FAILS(HUB_ERROR_INVALID, store_update(store, "o", filter, document("{'$set': {'b': 1}}"), &error));
    }
    for (size_t i = 0; i < sizeof updates / sizeof updates[0]; i++) {
        const bson_t *update = document("%s", updates[i].text);
        FAILS(HUB_ERROR_INVALID, store_update(store, "o", NULL, update, &error));
        cr_expect(strstr(error.message, updates[i].named) != NULL, "%s: %s", updates[i].text, error.message);
        FAILS(HUB_ERROR_INVALID, store_modify(store, "o", NULL, update, NULL, NULL, &error));
    }
    EXPECT_ONE(store, "o", NULL, NULL, "{'_id': 1, 'a': 1}");
}

static int answer(struct store *store, void *data, bson_error_t *reason)
{
    int *say = data;
    bson_t out;
    cr_assert(store_find_one(store, "b", document("{'_id': 1}"), NULL, &out, reason) == 1); /* reads what was written */
    bson_destroy(&out);
    return *say < 0 ? hub_error(reason, HUB_ERROR_CORRUPT, "the check says no") : *say;
}

ON_BOTH_ENGINES(a_batch_goes_in_order_and_ends_at_a_guard_or_a_check)
{
    size_t stopped = 99;
    int say = 1;
    bool atomic = store_batch_is_atomic(store);
    struct store_operation all[] = {
        {.kind = STORE_INSERT, .collection = "b", .document = document("{'_id': 1, 'n': 0}")},
        {.kind = STORE_INSERT, .collection = "b", .document = document("{'_id': 2, 'n': 0}")},
        {.kind = STORE_CHECK, .check = answer, .data = &say},
        {.kind = STORE_UPDATE, .collection = "b", .filter = document("{'_id': 1}"),
         .update = document("{'$inc': {'n': 5}}"), .guard = true},
        {.kind = STORE_UPDATE, .collection = "b", .filter = document("{'_id': 3}"),
         .update = document("{'$set': {'n': 7}}"), .upsert = true},
        {.kind = STORE_DELETE, .collection = "b", .filter = document("{'_id': 2}")},
    };
    cr_assert(OK(store_batch(store, all, 6, &stopped, &error)) == 1);
    cr_expect(stopped == 6);
    EXPECT_ONE(store, "b", document("{'_id': 1}"), NULL, "{'_id': 1, 'n': 5}");
    EXPECT_ONE(store, "b", document("{'_id': 3}"), NULL, "{'_id': 3, 'n': 7}");
    cr_expect(OK(store_count(store, "b", NULL, &error)) == 2);

    struct store_operation guarded[] = {
        {.kind = STORE_INSERT, .collection = "b", .document = document("{'_id': 10}")},
        {.kind = STORE_UPDATE, .collection = "b", .filter = document("{'_id': 99}"),
         .update = document("{'$set': {'n': 1}}")}, /* no guard: goes on */
        {.kind = STORE_UPDATE, .collection = "b", .filter = document("{'_id': 99}"),
         .update = document("{'$set': {'n': 1}}"), .guard = true},
        {.kind = STORE_INSERT, .collection = "b", .document = document("{'_id': 11}")},
    };
    cr_assert(OK(store_batch(store, guarded, 4, &stopped, &error)) == 0);
    cr_expect(stopped == 2);
    cr_expect(OK(store_count(store, "b", document("{'_id': 10}"), &error)) == !atomic);
    cr_expect(OK(store_count(store, "b", document("{'_id': 11}"), &error)) == 0);

    struct store_operation checked[] = {
        {.kind = STORE_INSERT, .collection = "b", .document = document("{'_id': 20}")},
        {.kind = STORE_CHECK, .check = answer, .data = &say},
        {.kind = STORE_INSERT, .collection = "b", .document = document("{'_id': 21}")},
    };
    say = 0;
    cr_assert(OK(store_batch(store, checked, 3, &stopped, &error)) == 0);
    cr_expect(stopped == 1);
    cr_expect(OK(store_count(store, "b", document("{'_id': 20}"), &error)) == !atomic);
    cr_expect(OK(store_count(store, "b", document("{'_id': 21}"), &error)) == 0);
    OK(store_delete(store, "b", document("{'_id': 20}"), &error));
    say = -1;
    FAILS(HUB_ERROR_CORRUPT, store_batch(store, checked, 3, &stopped, &error));
    cr_expect(stopped == 1);
    cr_assert(OK(store_batch(store, checked, 0, &stopped, &error)) == 1);
}

ON_BOTH_ENGINES(a_batch_ends_at_a_duplicate_unless_told_otherwise)
{
    size_t stopped = 99;
    insert(store, "b", "{'_id': 2, 'old': true}");
    insert(store, "b", "{'_id': 4, 'old': true}");
    struct store_operation inserts[5] = {0};
    for (int i = 0; i < 5; i++) {
        inserts[i].kind = STORE_INSERT;
        inserts[i].collection = "b";
        inserts[i].document = document("{'_id': %d}", i + 1);
    }
    FAILS(HUB_ERROR_DUPLICATE, store_batch(store, inserts, 5, &stopped, &error));
    cr_expect(stopped == 1);
    cr_expect(OK(store_count(store, "b", NULL, &error)) == (store_batch_is_atomic(store) ? 2 : 3));
    for (int i = 0; i < 5; i++) {
        inserts[i].ignore_duplicate = true;
    }
    cr_assert(OK(store_batch(store, inserts, 5, &stopped, &error)) == 1);
    cr_expect(stopped == 5);
    cr_expect(OK(store_count(store, "b", NULL, &error)) == 5);
    cr_expect(OK(store_count(store, "b", document("{'old': true}"), &error)) == 2);
}

ON_BOTH_ENGINES(indexes_are_made_once_and_replaced_by_name)
{
    struct store_find_options sorted = {.sort = document("{'a': -1, 'b': 1}")};
    for (int i = 0; i < 5; i++) {
        insert(store, "i", i % 2 ? "{'a': 1, 'b': 2}" : "{'a': 2, 'b': 1}");
    }
    for (int again = 0; again < 2; again++) {
        OK(store_ensure_index(store, "i", "ab", document("{'a': 1, 'b': -1}"), &error));
        OK(store_ensure_index(store, "i", "nested", document("{'c.d': 1}"), &error));
        OK(store_ensure_index(store, "fresh", "x", document("{'x': -1}"), &error));
        OK(store_ensure_index(store, "fresh.files", "x", document("{'x': -1, 'y': 1}"), &error));
    }
    OK(store_ensure_index(store, "i", "ab", document("{'a': -1, 'b': 1}"), &error));
    OK(store_ensure_index(store, "i", "ab", document("{'a': -1, 'b': 1}"), &error));
    cr_expect(OK(store_count(store, "i", document("{'a': 2, 'b': 1}"), &error)) == 3);
    bson_t out;
    cr_assert(OK(store_find_one(store, "i", NULL, &sorted, &out, &error)) == 1);
    cr_expect(integer(&out, "a") == 2);
    bson_destroy(&out);
    FAILS(HUB_ERROR_INVALID, store_ensure_index(store, "i", "bad", document("{'a': 'text'}"), &error));
    FAILS(HUB_ERROR_INVALID, store_ensure_index(store, "i", "bad", document("{}"), &error));
}

ON_BOTH_ENGINES(the_path_of_an_index_holds_no_array)
{
    OK(store_ensure_index(store, "i", "state", document("{'state': 1, 'result.blob': 1}"), &error));
    OK(store_ensure_index(store, "i", "tags", document("{'tags': 1}"), &error));
    insert(store, "i", "{'_id': 1, 'state': {'any': 'document'}, 'tags': ['a', 'b'], 'free': [1]}");
    FAILS(HUB_ERROR_INVALID, store_insert(store, "i", document("{'state': [1]}"), &error));
    cr_expect(strstr(error.message, "state") != NULL, "%s", error.message);
    FAILS(HUB_ERROR_INVALID, store_insert(store, "i", document("{'result': {'blob': []}}"), &error));
    FAILS(HUB_ERROR_INVALID, store_insert(store, "i", document("{'result': [{'blob': 1}]}"), &error));
    FAILS(HUB_ERROR_INVALID, store_update(store, "i", NULL, document("{'$set': {'state': [1]}}"), &error));
    FAILS(HUB_ERROR_INVALID, store_update(store, "i", NULL, document("{'$push': {'result.blob': 1}}"), &error));
    FAILS(HUB_ERROR_INVALID, store_update(store, "i", NULL, document("{'$set': {'result': {'blob': [1]}}}"), &error));
    struct store_operation batch = {.kind = STORE_INSERT, .collection = "i", .document = document("{'state': []}")};
    FAILS(HUB_ERROR_INVALID, store_batch(store, &batch, 1, NULL, &error));
    cr_assert(OK(store_update(store, "i", NULL, document("{'$push': {'tags': 'c', 'free': 2}}"), &error)) == 1);
    EXPECT_ONE(store, "i", NULL, NULL,
               "{'_id': 1, 'state': {'any': 'document'}, 'tags': ['a', 'b', 'c'], 'free': [1, 2]}");
    /* Another program's store learns of the index from the hub. */
    struct store *other = store_open(uri, false, &error);
    cr_assert(other != NULL, "%s", error.message);
    FAILS(HUB_ERROR_INVALID, store_insert(other, "i", document("{'state': [1]}"), &error));
    store_close(other);
}

ON_BOTH_ENGINES(writes_are_seen_by_every_store_at_once)
{
    struct store *other = store_open(uri, false, &error);
    cr_assert(other != NULL, "%s", error.message);
    for (int i = 0; i < 50; i++) {
        OK(store_insert(i % 2 ? store : other, "r", document("{'_id': %d}", i), &error));
        cr_assert(OK(store_count(i % 2 ? other : store, "r", document("{'_id': %d}", i), &error)) == 1);
    }
    store_close(other);
}

ON_BOTH_ENGINES(counters_start_at_one_and_have_no_holes)
{
    int64_t first = 0;
    OK(store_counter_add(store, "tasks", 1, &first, &error));
    cr_expect(first == 1);
    OK(store_counter_add(store, "tasks", 10, &first, &error));
    cr_expect(first == 2);
    OK(store_counter_add(store, "tasks", 1, &first, &error));
    cr_expect(first == 12);
    OK(store_counter_add(store, "others", 1, &first, &error));
    cr_expect(first == 1);
    FAILS(HUB_ERROR_INVALID, store_counter_add(store, "tasks", 0, &first, &error));
}

ON_BOTH_ENGINES(the_time_is_the_servers)
{
    int64_t one = 0;
    int64_t two = 0;
    OK(store_server_time(store, &one, &error));
    OK(store_server_time(store, &two, &error));
    cr_expect(two >= one);
    cr_expect(llabs(one - (int64_t)time(NULL) * 1000) < 60000); /* the tests' server is on this machine */
}
