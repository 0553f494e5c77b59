/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines: what each stage and expression gives, on each engine, and against what the server itself gives. */
#include "both_engines.h"
#include "generated.h"
#include "hub/pipeline.h"
#include "server_aggregate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TEST_USES_SERVER;

static bson_error_t error;

/* The array p of {'p': […]}. */
static const bson_t *stages_of(const char *json)
{
    bson_iter_t at;
    bson_t view;
    uint32_t length;
    const uint8_t *data;
    cr_assert(bson_iter_init_find(&at, document("{'p': %s}", json), "p") && BSON_ITER_HOLDS_ARRAY(&at), "%s", json);
    bson_iter_array(&at, &length, &data);
    bson_init_static(&view, data, length);
    return document_keep(bson_copy(&view));
}

/* Canonical JSON, a line a document; "error" alone where it ends in one. */
static char *answer(struct store *store, const bson_t *stages, const bson_t *sort)
{
    bson_string_t *text = bson_string_new(NULL);
    const bson_t *found;
    int more = -1;
    struct store_cursor *cursor = store_aggregate(store, "d", NULL, sort, stages, &error);
    while (cursor && (more = store_cursor_next(cursor, &found, &error)) == 1) {
        char *json = bson_as_canonical_extended_json(found, NULL);
        bson_string_append(text, json);
        bson_string_append(text, "\n");
        bson_free(json);
    }
    store_cursor_close(cursor);
    if (more < 0) {
        bson_string_truncate(text, 0);
        bson_string_append(text, "error");
    }
    return bson_string_free(text, false);
}

static void insert(struct store *store, const char *json)
{
    OK(store_insert(store, "d", document("%s", json), &error));
}

/* One document, one computed field y; expected is its canonical JSON ("" for missing, "error"). */
static void expect_value(struct store *store, const char *expression, const char *expected)
{
    char *stages = bson_strdup_printf("[{'$project': {'_id': 0, 'y': %s}}]", expression);
    char *got = answer(store, stages_of(stages), NULL);
    const bson_t *wanted = *expected && strcmp(expected, "error") ? document("{'y': %s}", expected) : document("{}");
    char *json = bson_as_canonical_extended_json(wanted, NULL), *line = bson_strdup_printf("%s\n", json);
    const char *want = strcmp(expected, "error") ? line : "error";
    cr_expect(strcmp(got, want) == 0, "%s: got %s, not %s (%s)", expression, got, want, error.message);
    bson_free(json);
    bson_free(line);
    bson_free(got);
    bson_free(stages);
}

/* What the stand-in does otherwise than MongoDB documents it: $mod gives doubles, it knows no $switch in $project, no array
 * with a missing field and no path through an array with other elements. */
static bool stand_in_deviates(const char *expression)
{
    static const char *const deviating[] = {"{'$mod': [-7, 3]}", "{'$switch'", "['$i', '$nothing'", "'$o.v'"};
    for (size_t i = 0; i < sizeof deviating / sizeof *deviating; i++)
        if (strncmp(expression, deviating[i], strlen(deviating[i])) == 0)
            return test_server_is_stand_in();
    return false;
}

static const struct value_case {
    const char *expression, *expected;
    bool server; /* every server from 3.6 on computes it so */
} values[] = {
    {"'$i'", "7", true},
    {"{'$add': ['$i', 1]}", "8", true},
    {"{'$add': ['$i', 0.5]}", "{'$numberDouble': '7.5'}", true},
    {"{'$add': [2147483647, 1]}", "{'$numberLong': '2147483648'}", true},
    {"{'$add': ['$l', {'$numberLong': '9223372036854775807'}]}", "{'$numberDouble': '9223372036854775814'}", false},
    {"{'$add': ['$i', '$nothing']}", "null", true},
    {"{'$add': ['$i', '$null']}", "null", true},
    {"{'$add': ['$i', '$s']}", "error", false},
    {"{'$add': ['$t', 1000]}", "{'$date': {'$numberLong': '2000'}}", true},
    {"{'$add': ['$t', '$t']}", "error", false},
    {"{'$add': [0.1, 0.2, -0.3]}", "{'$numberDouble': '2.7755575615628914E-17'}", false},
    {"{'$subtract': ['$t', {'$date': {'$numberLong': '400'}}]}", "{'$numberLong': '600'}", true},
    {"{'$subtract': ['$t', 400]}", "{'$date': {'$numberLong': '600'}}", true},
    {"{'$subtract': ['$i', 0.5]}", "{'$numberDouble': '6.5'}", true},
    {"{'$subtract': [-2147483648, 1]}", "{'$numberLong': '-2147483649'}", true},
    {"{'$multiply': ['$i', 3]}", "21", true},
    {"{'$multiply': [65536, 65536]}", "{'$numberLong': '4294967296'}", true},
    {"{'$multiply': [{'$numberLong': '4611686018427387904'}, 4]}", "{'$numberDouble': '18446744073709551616'}", false},
    {"{'$divide': ['$i', 2]}", "{'$numberDouble': '3.5'}", true},
    {"{'$divide': [6, 2]}", "{'$numberDouble': '3.0'}", true},
    {"{'$divide': ['$i', 0]}", "error", false},
    {"{'$divide': ['$null', 0]}", "null", false},
    {"{'$mod': [-7, 3]}", "-1", true},
    {"{'$mod': [7.5, 2]}", "{'$numberDouble': '1.5'}", true},
    {"{'$mod': [7, 0]}", "error", false},
    {"{'$abs': -3}", "3", true},
    {"{'$abs': -2147483648}", "{'$numberLong': '2147483648'}", false},
    {"{'$abs': {'$numberLong': '-9223372036854775808'}}", "error", false},
    {"{'$ceil': 1.5}", "{'$numberDouble': '2.0'}", false},
    {"{'$floor': [-1.5]}", "{'$numberDouble': '-2.0'}", false},
    {"{'$trunc': '$i'}", "7", false},
    {"{'$sqrt': 16}", "{'$numberDouble': '4.0'}", true},
    {"{'$sqrt': -1}", "error", false},
    {"{'$ln': 0}", "error", false},
    {"{'$log10': 1000}", "{'$numberDouble': '3.0'}", true},
    {"{'$exp': 0}", "{'$numberDouble': '1.0'}", true},
    {"{'$pow': [2, 10]}", "1024", false},
    {"{'$pow': [2, 40]}", "{'$numberLong': '1099511627776'}", false},
    {"{'$pow': [2, 64]}", "{'$numberDouble': '18446744073709551616'}", false},
    {"{'$pow': [2, -1]}", "{'$numberDouble': '0.5'}", false},
    {"{'$pow': [0, -1]}", "error", false},
    {"{'$eq': ['$i', 7.0]}", "true", true},
    {"{'$eq': ['$nothing', null]}", "false", false},
    {"{'$lt': ['$nothing', '$null']}", "true", false},
    {"{'$gt': ['$s', 5]}", "true", true},
    {"{'$gte': [5, 5]}", "true", true},
    {"{'$lte': [6, 5]}", "false", true},
    {"{'$ne': ['a', 'b']}", "true", true},
    {"{'$cmp': [1, 2]}", "-1", true},
    {"{'$gt': [true, 'z']}", "true", true},
    {"{'$and': [1, '$i', 'x']}", "true", true},
    {"{'$and': []}", "true", true},
    {"{'$or': [0, null, false]}", "false", true},
    {"{'$not': ['$null']}", "true", true},
    {"{'$in': [2, '$a']}", "true", true},
    {"{'$cond': [{'$gt': ['$i', 5]}, 'big', 'small']}", "'big'", true},
    {"{'$cond': {'if': '$nothing', 'then': 1, 'else': 2}}", "2", true},
    {"{'$cond': [true, '$nothing', 2]}", "", true},
    {"{'$ifNull': ['$nothing', '$i']}", "7", true},
    {"{'$ifNull': ['$null', 'none']}", "'none'", true},
    {"{'$switch': {'branches': [{'case': {'$lt': ['$i', 0]}, 'then': 'neg'}], 'default': 'pos'}}", "'pos'", true},
    {"{'$switch': {'branches': [{'case': false, 'then': 1}]}}", "error", false},
    {"{'$literal': '$i'}", "'$i'", true},
    {"{'$literal': 1}", "1", true},
    {"{'$toInt': '12'}", "12", false},
    {"{'$toInt': 3.99}", "3", false},
    {"{'$toInt': -3.99}", "-3", false},
    {"{'$toInt': '3.5'}", "error", false},
    {"{'$toInt': ' 3'}", "error", false},
    {"{'$toInt': 2147483648.0}", "error", false},
    {"{'$toInt': true}", "1", false},
    {"{'$toInt': '$nothing'}", "null", false},
    {"{'$toLong': '$t'}", "{'$numberLong': '1000'}", false},
    {"{'$toLong': 1e300}", "error", false},
    {"{'$toDouble': '-1.5e3'}", "{'$numberDouble': '-1500.0'}", false},
    {"{'$toDouble': 'nan'}", "error", false},
    {"{'$toDouble': '$i'}", "{'$numberDouble': '7.0'}", false},
    {"{'$toString': 0.1}", "'0.1'", false},
    {"{'$toString': '$t'}", "'1970-01-01T00:00:01.000Z'", false},
    {"{'$toBool': ''}", "true", false},
    {"{'$convert': {'input': '$s', 'to': 'int', 'onError': -1}}", "-1", false},
    {"{'$convert': {'input': null, 'to': 'int', 'onNull': 0}}", "0", false},
    {"{'$concat': ['$s', '-', 'x']}", "'text-x'", true},
    {"{'$concat': ['$s', null]}", "null", true},
    {"{'$size': '$a'}", "3", true},
    {"{'$size': '$i'}", "error", false},
    {"{'$arrayElemAt': ['$a', -1]}", "3", true},
    {"{'$arrayElemAt': ['$a', 9]}", "", true},
    {"{'$concatArrays': ['$a', [4]]}", "[1, 2, 3, 4]", true},
    {"['$i', '$nothing', {'k': '$s'}]", "[7, null, {'k': 'text'}]", true},
    {"'$n.x'", "5", true},
    {"'$n.x.y'", "", true},
    {"'$o.v'", "[1, 2]", true},
    {"'$a.0'", "[]", false},
};

ON_BOTH_ENGINES(expressions_have_these_values)
{
    insert(store, "{'_id': 1, 'i': 7, 'l': {'$numberLong': '7'}, 'd': 2.5, 's': 'text', 'null': null, 'a': [1, 2, 3], "
                  "'t': {'$date': {'$numberLong': '1000'}}, 'n': {'x': 5}, 'o': [{'v': 1}, 3, {'v': 2}, {}]}");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        expect_value(store, values[i].expression, values[i].expected);
        if (strcmp(store_engine(store), "mongodb") == 0 && values[i].server &&
            !stand_in_deviates(values[i].expression)) {
            char *text = bson_strdup_printf("[{'$project': {'_id': 0, 'y': %s}}]", values[i].expression);
            const bson_t *stages = stages_of(text);
            char *ours = answer(store, stages, NULL), *theirs = test_server_aggregate(uri, "d", stages);
            cr_expect(theirs && strcmp(ours, theirs) == 0, "%s: ours %s, the server's %s", values[i].expression, ours,
                      theirs ? theirs : "an error");
            bson_free(ours);
            bson_free(theirs);
            bson_free(text);
        }
    }
}

static void fill(struct store *store)
{
    for (int i = 0; i < 12; i++) {
        char *json = bson_strdup_printf("{'_id': %d, 'k': '%c', 'v': %s%d%s, 'w': %d, 'n': {'x': %d, 'y': %d}}", i,
                                        'a' + i % 3, i % 4 ? "" : "{'$numberDouble': '", i, i % 4 ? "" : ".5'}", -i, i % 5,
                                        i * i);
        insert(store, json);
        bson_free(json);
    }
    insert(store, "{'_id': 12, 'k': 'a'}");
    insert(store, "{'_id': 13, 'v': null, 'k': {'$numberInt': '3'}}");
    insert(store, "{'_id': 14, 'v': 'text', 'k': {'$numberDouble': '3.0'}}");
}

static const struct stage_case {
    const char *stages, *expected; /* documents in canonical JSON with ' for ", or a number of lines */
    bool server;
} pipelines[] = {
    {"[]", "15", false},
    {"[{'$match': {'k': 'a'}}]", "5", true},
    {"[{'$match': {'k': 'a'}}, {'$match': {'v': {'$gte': 6}}}, {'$project': {'v': 1}}]",
     "{'_id': 6, 'v': 6} {'_id': 9, 'v': 9}", true},
    {"[{'$sort': {'v': -1}}, {'$limit': 2}, {'$project': {'_id': 1}}]", "{'_id': 14} {'_id': 11}", true},
    {"[{'$sort': {'k': 1, 'v': -1}}, {'$skip': 2}, {'$limit': 2}, {'$project': {'_id': 1}}]", "{'_id': 9} {'_id': 6}", true},
    {"[{'$sort': {'_id': 1}}, {'$addFields': {'z': {'$mod': ['$_id', 2]}}}, {'$sort': {'z': 1}}, {'$limit': 2}, "
     "{'$project': {'z': 1}}]", "{'_id': 0, 'z': 0} {'_id': 2, 'z': 0}", false},
    {"[{'$sort': {'_id': 1}}, {'$limit': 1}, {'$project': {'n': 0, 'k': 0, 'v': 0}}]", "{'_id': 0, 'w': 0}", true},
    {"[{'$match': {'_id': 5}}, {'$project': {'n.y': 1, '_id': 0}}]", "{'n': {'y': 25}}", true},
    {"[{'$match': {'_id': 5}}, {'$project': {'w': 1, 'x': ['$n.x', '$n.y'], '_id': 0}}]", "{'w': -5, 'x': [0, 25]}", true},
    {"[{'$match': {'_id': 5}}, {'$project': {'_id': '$w'}}]", "{'_id': -5}", true},
    {"[{'$match': {'_id': 5}}, {'$addFields': {'w': 1, 'new': '$v'}}, {'$project': {'n': 0}}]",
     "{'_id': 5, 'k': 'c', 'v': 5, 'w': 1, 'new': 5}", true},
    {"[{'$match': {'_id': 5}}, {'$addFields': {'v': '$none', 'n': 1}}]", "{'_id': 5, 'k': 'c', 'w': -5, 'n': 1}", true},
    {"[{'$count': 'rows'}]", "{'rows': 15}", true},
    {"[{'$match': {'k': 'nobody'}}, {'$count': 'rows'}]", "0", true},
    {"[{'$group': {'_id': '$k', 'n': {'$sum': 1}}}, {'$sort': {'_id': 1}}]",
     "{'_id': 3, 'n': 2} {'_id': 'a', 'n': 5} {'_id': 'b', 'n': 4} {'_id': 'c', 'n': 4}", true},
    {"[{'$group': {'_id': null, 's': {'$sum': '$w'}, 'a': {'$avg': '$w'}, 'lo': {'$min': '$v'}, 'hi': {'$max': '$v'}}}]",
     "{'_id': null, 's': -66, 'a': {'$numberDouble': '-5.5'}, 'lo': {'$numberDouble': '0.5'}, 'hi': 'text'}", true},
    {"[{'$group': {'_id': null, 's': {'$sum': '$v'}}}]", "{'_id': null, 's': {'$numberDouble': '67.5'}}", true},
    {"[{'$group': {'_id': '$none', 's': {'$sum': '$none'}, 'a': {'$avg': '$none'}, 'm': {'$max': '$none'}}}]",
     "{'_id': null, 's': 0, 'a': null, 'm': null}", false},
    {"[{'$group': {'_id': {'k': '$n.x'}, 'c': {'$count': {}}}}, {'$limit': 2}]",
     "{'_id': {}, 'c': 3} {'_id': {'k': 0}, 'c': 3}", false},
    {"[{'$sample': {'size': 4, 'seed': 9}}, {'$count': 'n'}]", "{'n': 4}", false},
    {"[{'$sample': {'size': 400}}, {'$count': 'n'}]", "{'n': 15}", false},
    {"[{'$sample': {'size': 3, 'seed': 1}}, {'$project': {'_id': 1}}]", "{'_id': 13} {'_id': 5} {'_id': 8}", false},
    {"[{'$project': {'_id': 0, 'v': 1}}, {'$sample': {'size': 3}}]", "error", false},
    {"[{'$match': {'_id': {'$lt': 3}}}, {'$project': {'x': {'$toInt': '$k'}}}]", "error", false},
};

ON_BOTH_ENGINES(stages_give_these_documents)
{
    fill(store);
    const bson_t *order = document("{'_id': 1}");
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++) {
        const bson_t *stages = stages_of(pipelines[i].stages);
        const char *expected = pipelines[i].expected;
        char *got = answer(store, stages, order);
        if (strcmp(expected, "error") == 0) {
            cr_expect(strcmp(got, "error") == 0, "%s: got %s", pipelines[i].stages, got);
            cr_expect(strstr(error.message, "stage ") != NULL, "%s", error.message);
        } else if (expected[0] == '{') {
            bson_string_t *want = bson_string_new(NULL);
            bson_iter_t one;
            char *list = bson_strdup_printf("[%s]", expected);
            for (char *c = strstr(list, "} {"); c; c = strstr(c, "} {"))
                c[1] = ',';
            const bson_t *all = stages_of(list);
            for (bson_iter_init(&one, all); bson_iter_next(&one);) {
                bson_t view;
                uint32_t length;
                const uint8_t *data;
                bson_iter_document(&one, &length, &data);
                bson_init_static(&view, data, length);
                char *json = bson_as_canonical_extended_json(&view, NULL);
                bson_string_append_printf(want, "%s\n", json);
                bson_free(json);
            }
            cr_expect(strcmp(got, want->str) == 0, "%s: got\n%snot\n%s%s", pipelines[i].stages, got, want->str,
                      error.message);
            bson_string_free(want, true);
            bson_free(list);
        } else {
            int lines = 0;
            for (const char *c = got; *c; c++)
                lines += *c == '\n';
            cr_expect(lines == atoi(expected), "%s: %d documents", pipelines[i].stages, lines);
        }
        if (strcmp(store_engine(store), "mongodb") == 0 && pipelines[i].server) {
            char *theirs = test_server_aggregate(uri, "d", stages);
            cr_expect(theirs && strcmp(got, theirs) == 0, "%s: ours\n%sthe server's\n%s", pipelines[i].stages, got,
                      theirs ? theirs : "an error");
            bson_free(theirs);
        }
        bson_free(got);
    }
}

ON_BOTH_ENGINES(a_caller_s_filter_cannot_be_widened)
{
    fill(store);
    const bson_t *found;
    int count = 0;
    struct store_cursor *cursor = store_aggregate(store, "d", document("{'k': 'b'}"), document("{'_id': -1}"),
                                                  stages_of("[{'$match': {'$or': [{'k': 'a'}, {'_id': {'$gte': 4}}]}}]"), &error);
    while (cursor && OK(store_cursor_next(cursor, &found, &error)) == 1) {
        bson_iter_t at;
        cr_assert(bson_iter_init_find(&at, found, "_id"));
        cr_expect(bson_iter_int32(&at) == 10 - 3 * count, "_id %d", bson_iter_int32(&at));
        count++;
    }
    store_cursor_close(cursor);
    cr_expect(count == 3);
}

Test(pipeline, what_is_outside_is_refused_by_name)
{
    static const char *const refused[][2] = {
        {"[{'$lookup': {}}]", "$lookup"},
        {"[{'$out': 'x'}]", "$out"},
        {"[{'$match': {'$where': '1'}}]", "$where"},
        {"[{'$match': {}, '$limit': 1}]", "$limit"},
        {"[7]", "stage 1"},
        {"[{'$limit': 0}]", "$limit"},
        {"[{'$limit': 1.5}]", "$limit"},
        {"[{'$skip': -1}]", "$skip"},
        {"[{'$limit': 1}, {'$sort': {}}]", "stage 2"},
        {"[{'$sort': {'a': 2}}]", "'a'"},
        {"[{'$sample': {}}]", "size"},
        {"[{'$sample': {'size': 1, 'by': 2}}]", "by"},
        {"[{'$project': {}}]", "$project"},
        {"[{'$project': {'a': 1, 'b': 0}}]", "'b'"},
        {"[{'$project': {'a': 0, 'b': '$c'}}]", "computed"},
        {"[{'$project': {'a': 5}}]", "'a'"},
        {"[{'$project': {'a': {'$map': {}}}}]", "$map"},
        {"[{'$project': {'a': {'$add': [1], 'b': 2}}}]", "'b'"},
        {"[{'$project': {'a': {'$divide': [1]}}}]", "$divide"},
        {"[{'$project': {'a': '$$ROOT'}}]", "$$ROOT"},
        {"[{'$project': {'a.b': '$c'}}]", "a.b"},
        {"[{'$project': {'a': '$b..c'}}]", "b..c"},
        {"[{'$project': {'a': {'$convert': {'input': 1, 'to': 'date'}}}}]", "to"},
        {"[{'$project': {'a': {'$cond': {'if': 1, 'then': 2}}}}]", "else"},
        {"[{'$project': {'a': {'$switch': {'branches': []}}}}]", "$switch"},
        {"[{'$addFields': {'a': 1, 'a': 2}}]", "twice"},
        {"[{'$group': {'n': {'$sum': 1}}}]", "_id"},
        {"[{'$group': {'_id': null, 'n': {'$push': 1}}}]", "$push"},
        {"[{'$group': {'_id': null, 'n': 1}}]", "'n'"},
        {"[{'$count': ''}]", "$count"},
        {"[{'$count': 'a.b'}]", "$count"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        memset(&error, 0, sizeof error);
        struct pipeline *pipeline = pipeline_parse(stages_of(refused[i][0]), &error);
        cr_expect(!pipeline, "%s is accepted", refused[i][0]);
        cr_expect(strstr(error.message, refused[i][1]) != NULL, "%s: %s", refused[i][0], error.message);
        pipeline_free(pipeline);
    }
    bson_t stages;
    cr_expect(pipeline_text_read("{}", &stages, &error) == -1);
    bson_destroy(&stages);
    cr_expect(pipeline_text_read("[{\"$limit\": 1}] trailing", &stages, &error) == -1);
    bson_destroy(&stages);
    cr_expect(pipeline_text_read(" [{\"$match\": {\"a\": {\"$regex\": \"^b\"}}}]", &stages, &error) == 0, "%s", error.message);
    bson_destroy(&stages);
    documents_free();
}

/* ---- what is held is bounded ---- */

static bson_t *large;
static int left;

static int give_large(void *data, const bson_t **out, bson_error_t *unused)
{
    (void)data;
    (void)unused;
    bson_reinit(large);
    BSON_APPEND_INT32(large, "_id", left);
    char *text = bson_malloc0(1 << 20);
    memset(text, 'a' + left % 26, (1 << 20) - 1);
    BSON_APPEND_UTF8(large, "s", text);
    bson_free(text);
    *out = large;
    return left-- > 0;
}

static int run_large(const char *json, int documents)
{
    const bson_t *found;
    int more, count = 0;
    struct pipeline *pipeline = pipeline_parse(stages_of(json), &error);
    cr_assert(pipeline != NULL, "%s", error.message);
    large = bson_new();
    left = documents;
    struct pipeline_run *run = pipeline_run_new(pipeline, give_large, NULL);
    while ((more = pipeline_run_next(run, &found, &error)) == 1)
        count++;
    pipeline_run_free(run);
    pipeline_free(pipeline);
    bson_destroy(large);
    return more < 0 ? -1 : count;
}

Test(pipeline, holds_no_more_than_it_may)
{
    cr_expect(run_large("[{'$addFields': {'a': 1}}, {'$sort': {'s': 1}}]", 130) == -1);
    cr_expect(strstr(error.message, "stage 2 ($sort)") && strstr(error.message, "100 MiB"), "%s", error.message);
    cr_expect(run_large("[{'$addFields': {'a': 1}}, {'$sort': {'s': 1}}, {'$limit': 5}]", 130) == 5, "%s", error.message);
    cr_expect(run_large("[{'$addFields': {'a': 1}}, {'$project': {'a': 1}}, {'$sort': {'a': 1}}]", 130) == 130);
    cr_expect(run_large("[{'$addFields': {'a': 1}}, {'$sample': {'size': 200}}]", 130) == -1);
    cr_expect(run_large("[{'$group': {'_id': ['$_id', '$s']}}]", 130) == -1);
    cr_expect(strstr(error.message, "$group") && strstr(error.message, "100 MiB"), "%s", error.message);
    documents_free();
}

/* ---- generated pipelines: SQLite against MongoDB ---- */

static const char *const stage_texts[] = {
    "{'$sort': {'a': 1}}", "{'$sort': {'s': -1, 'b': 1}}", "{'$skip': 3}", "{'$limit': 20}",
    "{'$sample': {'size': 12, 'seed': 4}}", "{'$project': {'a': 1, 'n.x': 1, 'l': 1}}", "{'$project': {'l': 0, 'n': 0}}",
    "{'$addFields': {'c': {'$cond': [{'$gt': ['$a', '$b']}, '$a', '$b']}}}",
    "{'$addFields': {'a': {'$ifNull': ['$a', -1]}, 'p': '$n.x'}}", "{'$project': {'x': ['$a', '$n.x'], 's': 1}}",
    "{'$group': {'_id': '$s', 'n': {'$sum': 1}, 'v': {'$sum': '$a'}, 'm': {'$min': '$b'}, 'h': {'$max': '$a'}}}",
    "{'$group': {'_id': {'a': '$a'}, 'g': {'$avg': '$b'}}}", "{'$match': {'a': {'$gte': 1}}}",
    "{'$addFields': {'t': {'$convert': {'input': '$a', 'to': 'double', 'onError': 0}}}}", NULL};

Test(differential, generated_pipelines_give_the_same_on_both_engines, .timeout = 300)
{
    const char *told = getenv("TL_TEST_SEED");
    uint64_t seed = told ? strtoull(told, NULL, 10) : (uint64_t)time(NULL);
    char *mongo_uri = test_server_database(NULL), *path = test_path(".db");
    char *sqlite_uri = bson_strdup_printf("sqlite:%s", path);
    struct store *sqlite = store_open(sqlite_uri, true, &error), *mongo = store_open(mongo_uri, true, &error);
    const bson_t *order = document("{'_id': 1}");
    int answered = 0, total = 120, different = 0;
    fprintf(stderr, "TL_TEST_SEED=%llu\n", (unsigned long long)seed);
    generated_start(seed, 0, test_server_is_stand_in());
    for (int id = 0; id < GENERATED_DOCUMENTS; id++) {
        const bson_t *made = document_keep(generated_document(id));
        OK(store_insert(sqlite, "d", made, &error));
        OK(store_insert(mongo, "d", made, &error));
    }
    for (int i = 0; i < total && different < 5; i++) {
        bson_string_t *text = bson_string_new("[");
        int stages = 1 + generated_below(4);
        for (int j = 0; j < stages; j++)
            bson_string_append_printf(text, "%s%s", j ? ", " : "", generated_one_of(stage_texts));
        bson_string_append(text, "]");
        const bson_t *pipeline = stages_of(text->str);
        char *one = answer(sqlite, pipeline, order), *two = answer(mongo, pipeline, order);
        answered += one[0] == '{';
        if (strcmp(one, two) != 0) {
            different++;
            cr_expect(false, "%s:\nsqlite\n%s\nmongodb\n%s", text->str, one, two);
        }
        bson_free(one);
        bson_free(two);
        bson_string_free(text, true);
    }
    fprintf(stderr, "%d pipelines, %d with an answer\n", total, answered);
    cr_expect(answered * 10 >= total * 6, "too few answers to mean anything: %d", answered);
    store_close(sqlite);
    store_close(mongo);
    documents_free();
    bson_free(sqlite_uri);
    free(mongo_uri);
    free(path);
}
