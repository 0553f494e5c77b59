/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/where.h"
#include "hub/query.h"

#include <criterion/criterion.h>

/* Every condition is given as the JSON that the same filter has, and passes the store's own reading. */
static void expect_filter(const char *text, const char *json)
{
    bson_t filter, expected;
    bson_error_t error;
    char *got, *want;

    cr_assert(where_parse(text, &filter, &error) > 0, "%s: %s", text, error.message);
    cr_assert(json_read_document(json, strlen(json), &expected, &error) > 0, "%s: %s", json, error.message);
    got = bson_as_canonical_extended_json(&filter, NULL);
    want = bson_as_canonical_extended_json(&expected, NULL);
    cr_expect_str_eq(got, want, "%s gave %s, not %s", text, got, want);
    struct query *query = query_parse(&filter, &error);
    cr_expect(query != NULL, "%s is refused by the store: %s", text, error.message);
    query_free(query);
    bson_free(got);
    bson_free(want);
    bson_destroy(&filter);
    bson_destroy(&expected);
}

static void expect_refusal(const char *text, const char *message)
{
    bson_t filter;
    bson_error_t error = {0};

    cr_expect(where_parse(text, &filter, &error) < 0, "'%s' was taken", text);
    cr_expect(strstr(error.message, message) != NULL, "'%s' says '%s', not '%s'", text, error.message, message);
    bson_destroy(&filter);
}

Test(where, comparisons)
{
    expect_filter("accuracy>0.9", "{\"accuracy\": {\"$gt\": 0.9}}");
    expect_filter("accuracy >= 1", "{\"accuracy\": {\"$gte\": 1}}");
    expect_filter("loss<1e-3", "{\"loss\": {\"$lt\": 0.001}}");
    expect_filter("loss<=-2", "{\"loss\": {\"$lte\": -2}}");
    expect_filter("state=done", "{\"state\": \"done\"}");
    expect_filter("state==done", "{\"state\": \"done\"}");
    expect_filter("state!=done", "{\"state\": {\"$ne\": \"done\"}}");
    expect_filter("hyper_parameters.epochs=10", "{\"hyper_parameters.epochs\": 10}");
}

Test(where, values_have_types)
{
    expect_filter("a=1", "{\"a\": {\"$numberInt\": \"1\"}}");
    expect_filter("a=5000000000", "{\"a\": {\"$numberLong\": \"5000000000\"}}");
    expect_filter("a=1.0", "{\"a\": {\"$numberDouble\": \"1.0\"}}");
    expect_filter("a=true", "{\"a\": true}");
    expect_filter("a=null", "{\"a\": null}");
    expect_filter("a='1'", "{\"a\": \"1\"}");
    expect_filter("a=\"it's\"", "{\"a\": \"it's\"}");
    expect_filter("a='it\\'s \\\\'", "{\"a\": \"it's \\\\\"}");
    expect_filter("a=2026-11-21", "{\"a\": {\"$date\": \"2026-11-21T00:00:00Z\"}}");
    expect_filter("a>2026-11-21T05:30:00+01:00", "{\"a\": {\"$gt\": {\"$date\": \"2026-11-21T04:30:00Z\"}}}");
    expect_refusal("a=2026-13-21", "no such date");
    expect_filter("a='2026-13-21'", "{\"a\": \"2026-13-21\"}");
    expect_filter("a=784:relu", "{\"a\": \"784:relu\"}");
    expect_filter("a=e5", "{\"a\": \"e5\"}");
    expect_filter("a=nan", "{\"a\": \"nan\"}");
    expect_filter("a=''", "{\"a\": \"\"}");
}

Test(where, texts_by_part)
{
    expect_filter("name~fash", "{\"name\": {\"$regex\": \"fash\"}}");
    expect_filter("name~^fash", "{\"name\": {\"$regex\": \"^fash\"}}");
    expect_filter("name~'a.b*'", "{\"name\": {\"$regex\": \"a\\\\.b\\\\*\"}}");
    expect_filter("name~'^(x'", "{\"name\": {\"$regex\": \"^\\\\(x\"}}");
}

Test(where, lists)
{
    expect_filter("state in (done, stopped)", "{\"state\": {\"$in\": [\"done\", \"stopped\"]}}");
    expect_filter("seq not in (1,2)", "{\"seq\": {\"$nin\": [1, 2]}}");
}

Test(where, and_binds_closer_than_or_and_not_closest)
{
    expect_filter("a=1 and b=2 and c=3", "{\"$and\": [{\"a\": 1}, {\"b\": 2}, {\"c\": 3}]}");
    expect_filter("a=1 or b=2 and c=3", "{\"$or\": [{\"a\": 1}, {\"$and\": [{\"b\": 2}, {\"c\": 3}]}]}");
    expect_filter("(a=1 or b=2) and c=3", "{\"$and\": [{\"$or\": [{\"a\": 1}, {\"b\": 2}]}, {\"c\": 3}]}");
    expect_filter("not a=1 and b=2", "{\"$and\": [{\"$nor\": [{\"a\": 1}]}, {\"b\": 2}]}");
    expect_filter("not (a=1 or b=2)", "{\"$nor\": [{\"$or\": [{\"a\": 1}, {\"b\": 2}]}]}");
    expect_filter("a=1 AND b=2", "{\"$and\": [{\"a\": 1}, {\"b\": 2}]}");
    expect_filter("((a=1))", "{\"a\": 1}");
}

Test(where, the_slips_are_named)
{
    expect_refusal("", "a path");
    expect_refusal("accuracy", "one of = != < <= > >= ~ in");
    expect_refusal("accuracy>", "a value where it ends");
    expect_refusal("accuracy>0.9 tags=cnn", "'and' or 'or' at position 14");
    expect_refusal("(a=1", "')' where it ends");
    expect_refusal("a=1)", "'and' or 'or' at position 4");
    expect_refusal("a!1", "'=' after '!'");
    expect_refusal("a='x", "no closing quote");
    expect_refusal("a in 1", "'(' after in");
    expect_refusal("a in (1", "',' or ')'");
    expect_refusal("$where=1", "a path");
    expect_refusal("a..b=1", "a path");
    expect_refusal("a=99999999999999999999", "beyond 64 bits");
    expect_refusal("a=1e999", "beyond the range");
    expect_refusal("a=\xff", "not UTF-8");
}

Test(where, nesting_is_bounded)
{
    char text[4096] = "";
    for (int i = 0; i < 500; i++) {
        strcat(text, "not ");
    }
    strcat(text, "a=1");
    expect_refusal(text, "64 levels");
}

static void expect_sort(const char *text, const char *json)
{
    bson_t sort;
    bson_error_t error;
    cr_assert(where_parse_sort(text, &sort, &error) > 0, "%s: %s", text, error.message);
    bson_string_t *got = bson_string_new(NULL);
    json_append_document(got, &sort);
    cr_expect_str_eq(got->str, json);
    bson_string_free(got, true);
    bson_destroy(&sort);
}

Test(where, sort_keys)
{
    static const char *const wrong[] = {"", "a,", "a:up", "a,a", "a:desc,a:asc", "$x", "a b"};

    expect_sort("accuracy:desc,loss:asc", "{\"accuracy\": -1, \"loss\": 1}");
    expect_sort("-accuracy, name", "{\"accuracy\": -1, \"name\": 1}");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bson_t sort;
        bson_error_t error;
        cr_expect(where_parse_sort(wrong[i], &sort, &error) < 0, "'%s' was taken", wrong[i]);
        bson_destroy(&sort);
    }
}

Test(where, settings_have_the_type_they_look_like)
{
    static const char *const texts[] = {"learning_rate=0.001", "epochs=10", "nesterov=true",
                                        "name=adam",           "text='10'", "list=[1,2]",
                                        "object={\"a\": 1.5}", "empty=",    "equation=a=b"};
    static const char *const wrong[] = {
        "epochs", "=3", "a.b=3", "$a=3", "epochs=11", "list2=[1", "big=99999999999999999999"};
    bson_t document = BSON_INITIALIZER;
    bson_error_t error;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_assert(where_parse_setting(texts[i], &document, &error) > 0, "%s: %s", texts[i], error.message);
    }
    bson_string_t *got = bson_string_new(NULL);
    json_append_document(got, &document);
    cr_expect_str_eq(got->str, "{\"learning_rate\": 0.001, \"epochs\": 10, \"nesterov\": true, \"name\": \"adam\", "
                               "\"text\": \"10\", \"list\": [1, 2], \"object\": {\"a\": 1.5}, \"empty\": \"\", "
                               "\"equation\": \"a=b\"}");
    bson_string_free(got, true);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect(where_parse_setting(wrong[i], &document, &error) < 0, "'%s' was taken", wrong[i]);
    }
    bson_destroy(&document);
}

/* ---- what only tasks know ---- */

#define NOW INT64_C(1700000000000)

static void expect_tasks(const char *text, const char *json, bool computed)
{
    bson_t filter, expected;
    bson_error_t error;
    struct where_tasks tasks;

    where_tasks_init(&tasks, NOW);
    cr_assert(where_parse_tasks(text, &tasks, &filter, &error) > 0, "%s: %s", text, error.message);
    cr_assert(json_read_document(json, strlen(json), &expected, &error) > 0, "%s: %s", json, error.message);
    char *got = bson_as_relaxed_extended_json(&filter, NULL), *want = bson_as_relaxed_extended_json(&expected, NULL);
    cr_expect_str_eq(got, want, "%s gave %s, not %s", text, got, want);
    cr_expect_eq(tasks.computed, computed, "%s", text);
    bson_free(got);
    bson_free(want);
    bson_destroy(&filter);
    bson_destroy(&expected);
    where_tasks_destroy(&tasks);
}

Test(tasks, numbers_states_and_names)
{
    expect_tasks("124", "{\"seq\": 124}", false);
    expect_tasks("#124-#186", "{\"seq\": {\"$gte\": 124, \"$lte\": 186}}", false);
    expect_tasks("failed, 3", "{\"$or\": [{\"state\": \"failed\"}, {\"seq\": 3}]}", false);
    expect_tasks("fash*", "{\"name\": {\"$regex\": \"^fash\"}}", false);
    expect_tasks("*a.b*", "{\"name\": {\"$regex\": \"a\\\\.b\"}}", false);
    expect_tasks("f*n", "{\"~0\": true}", true);
    expect_tasks("tags!=c?n", "{\"$nor\": [{\"~0\": true}]}", true);
    expect_tasks("'fash*'", "{\"$or\": [{\"name\": \"fash*\"}, {\"_id\": \"fash*\"}]}", false);
}

Test(tasks, times)
{
    expect_tasks("age<1d", "{\"created_at\": {\"$gt\": {\"$date\": \"2023-11-13T22:13:20Z\"}}}", false);
    expect_tasks("age>=2h", "{\"created_at\": {\"$lte\": {\"$date\": \"2023-11-14T20:13:20Z\"}}}", false);
    expect_tasks("beat_at<now-20s", "{\"beat_at\": {\"$lt\": {\"$date\": \"2023-11-14T22:13:00Z\"}}}", false);
    expect_tasks("created_at<today", "{\"created_at\": {\"$lt\": {\"$date\": \"2023-11-14T00:00:00Z\"}}}", false);
    expect_tasks("runtime>2h", "{\"~runtime\": {\"$gt\": 7200.0}}", true);
    expect_tasks("state=failed and runtime<=90",
                 "{\"$and\": [{\"state\": \"failed\"}, {\"~runtime\": {\"$lte\": 90.0}}]}", true);
}

Test(tasks, the_time_since_the_last_change)
{
    static const struct {
        const char *text;
        int64_t changed;
        bool holds;
    } cases[] = {{"tmod<1h", NOW - 3599999, true},  {"tmod<1h", NOW - 3600000, false}, {"tmod<=1h", NOW - 3600000, true},
                 {"tmod>1h", NOW - 3600000, false}, {"tmod>1h", NOW - 3600001, true},  {"tmod>=1h", NOW - 3600000, true},
                 {"tmod>2023-11-14", NOW, true},    {"tmod<2023-11-14", NOW, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct where_tasks tasks;
        bson_t filter, task = BSON_INITIALIZER;
        bson_error_t error;
        where_tasks_init(&tasks, NOW);
        cr_assert(where_parse_tasks(cases[i].text, &tasks, &filter, &error) > 0, "%s", error.message);
        BSON_APPEND_DATE_TIME(&task, "created_at", 1000);
        BSON_APPEND_DATE_TIME(&task, "finished_at", cases[i].changed);
        struct query *query = query_parse(&filter, &error);
        cr_assert(query != NULL, "%s", error.message);
        cr_expect_eq(query_matches(query, &task), cases[i].holds, "%s, changed %lld ms before", cases[i].text,
                     (long long)(NOW - cases[i].changed));
        query_free(query);
        bson_destroy(&task);
        bson_destroy(&filter);
        where_tasks_destroy(&tasks);
    }
}

Test(tasks, patterns)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {{"a*b", "ab", true},   {"a*b", "axxb", true}, {"a*b", "axxbc", false}, {"*b*c", "abbbc", true},
                 {"?", "ä", true},      {"??", "ä", false},    {"*?", "", false},       {"*", "", true},
                 {"a**b", "a-b", true}, {"", "", true},        {"", "a", false},        {"*ä?", "xäö", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(where_pattern_matches(cases[i].pattern, cases[i].text), cases[i].matches, "'%s' and '%s'",
                     cases[i].pattern, cases[i].text);
    }
}
