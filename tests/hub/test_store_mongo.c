/* SPDX-License-Identifier: Apache-2.0 */
/* What only the MongoDB engine has: URIs, time limits, the server's errors, sorting in two steps. */
#include "both_engines.h"
#include "client_option.h"
#include "proxy.h"
#include "wire_stub.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST_USES_SERVER;

extern bool mongo_always_sorts_in_two_steps; /* of hub/store_mongo_impl.h, which needs the driver's headers */

static bson_error_t error;

/* ---- a scripted server ---- */

enum step { FIND, COUNT, INSERT, UPDATE, DELETE, MODIFY, UPSERT, UPSERT_IN_BATCH, BATCH, TIME, PING };

static int64_t take_step(struct store *store, enum step step)
{
    const bson_t *filter = document("{'_id': 1}");
    const bson_t *update = document("{'$set': {'a': 1}}");
    struct store_operation operations[] = {
        {.kind = STORE_INSERT, .collection = "c", .document = document("{'_id': 1}")},
        {.kind = STORE_INSERT, .collection = "c", .document = document("{'_id': 2}")},
    };
    struct store_operation upsert = {
        .kind = STORE_UPDATE, .collection = "c", .filter = filter, .update = update, .upsert = true};
    struct store_modify_options upserting = {.upsert = true};
    bson_t out;
    int64_t result = -1;
    memset(&error, 0, sizeof error);
    switch (step) {
    case FIND:
        result = store_find_one(store, "c", filter, NULL, &out, &error);
        bson_destroy(&out);
        break;
    case COUNT:
        result = store_count(store, "c", filter, &error);
        break;
    case INSERT:
        result = store_insert(store, "c", filter, &error);
        break;
    case UPDATE:
        result = store_update(store, "c", filter, update, &error);
        break;
    case DELETE:
        result = store_delete(store, "c", filter, &error);
        break;
    case MODIFY:
        result = store_modify(store, "c", filter, update, NULL, NULL, &error);
        break;
    case UPSERT:
        result = store_modify(store, "c", filter, update, &upserting, NULL, &error);
        break;
    case UPSERT_IN_BATCH:
        result = store_batch(store, &upsert, 1, NULL, &error);
        break;
    case BATCH:
        result = store_batch(store, operations, 2, NULL, &error);
        break;
    case TIME:
        result = store_server_time(store, &(int64_t){0}, &error);
        break;
    case PING:
        result = store_ping(store, &error);
        break;
    }
    return result;
}

Test(mongodb_errors, become_the_few_that_the_hub_knows)
{
    static const struct {
        const char *script;
        enum step step;
        enum hub_error_code code; /* 0: succeeds */
        int times;                /* how often the command must have come; 0: any */
    } cases[] = {
        {"insert 11000 DuplicateKey", INSERT, HUB_ERROR_DUPLICATE, 1},
        {"find 13 Unauthorized", FIND, HUB_ERROR_UNAUTHORIZED, 1},
        {"insert 13 Unauthorized", INSERT, HUB_ERROR_UNAUTHORIZED, 1},
        {"ping 18 AuthenticationFailed", PING, HUB_ERROR_UNAUTHORIZED, 1},
        {"update 8000 AtlasError", UPDATE, HUB_ERROR_UNAUTHORIZED, 1},
        {"insert 14031 OutOfDiskSpace", INSERT, HUB_ERROR_NO_SPACE, 1},
        {"update 121 DocumentValidationFailure", UPDATE, HUB_ERROR_INVALID, 1},
        /* A refusal before anything was done is tried again. */
        {"insert 10107 NotWritablePrimary 2", INSERT, 0, 3},
        {"findAndModify 13435 NotPrimaryNoSecondaryOk 1", MODIFY, 0, 2},
        {"update 10107 NotWritablePrimary 2", UPDATE, 0, 3},
        {"delete 10107 NotWritablePrimary 2", DELETE, 0, 3},
        {"find 189 PrimarySteppedDown 2", FIND, 0, 0},
        {"aggregate 11600 InterruptedAtShutdown 2", COUNT, 0, 0},
        /* Two upserts at once: the second try finds what the other one inserted. Only once, and only for upserts. */
        {"findAndModify 11000 DuplicateKey 1", UPSERT, 0, 2},
        {"update 11000 DuplicateKey 1", UPSERT_IN_BATCH, 0, 2},
        {"findAndModify 11000 DuplicateKey", UPSERT, HUB_ERROR_DUPLICATE, 2},
        {"findAndModify 11000 DuplicateKey 1", MODIFY, HUB_ERROR_DUPLICATE, 1},
        /* An interrupted write may have been done. */
        {"insert 189 PrimarySteppedDown", INSERT, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"update 91 ShutdownInProgress", UPDATE, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"findAndModify 11602 InterruptedDueToReplStateChange", MODIFY, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"insert close x", INSERT, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"insert close x", BATCH, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"update close x", UPDATE, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"findAndModify close x", MODIFY, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"delete close x", DELETE, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"find close x", FIND, HUB_ERROR_UNREACHABLE, 0},
        {"aggregate close x", COUNT, HUB_ERROR_UNREACHABLE, 0},
        /* Written, but not known to be on a majority. */
        {"insert wc:64 WriteConcernFailed", INSERT, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"update wc:91 ShutdownInProgress", UPDATE, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"delete wc:64 WriteConcernFailed", DELETE, HUB_ERROR_UNKNOWN_OUTCOME, 1},
        {"findAndModify wc:64 WriteConcernFailed", MODIFY, HUB_ERROR_UNKNOWN_OUTCOME, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wire_stub stub;
        char command[64];
        wire_stub_start(&stub, cases[i].script, "serverSelectionTimeoutMS=1500&heartbeatFrequencyMS=500");
        struct store *store = store_open(stub.uri, false, &error);
        cr_assert(store != NULL, "%s", error.message);
        int64_t result = take_step(store, cases[i].step);
        store_close(store);
        sscanf(cases[i].script, "%63s", command);
        int times = wire_stub_end(&stub, command);
        cr_expect((result >= 0 && cases[i].code == 0) || (result < 0 && error.code == cases[i].code),
                  "%s (step %d): code %u, not %d: %s", cases[i].script, cases[i].step, error.code, cases[i].code,
                  error.message);
        cr_expect(cases[i].times == 0 || times == cases[i].times, "%s (step %d): came %d times, not %d",
                  cases[i].script, cases[i].step, times, cases[i].times);
        cr_expect(strchr(error.message, '\n') == NULL);
    }
    documents_free();
}

/* {option in the URI, limit, what holds}: an opener's limit makes times shorter, never longer. -1 is libmongoc's own. */
Test(mongodb_errors, limits_only_go_down)
{
    static const struct {
        const char *option, *uri;
        int64_t limit_ms;
        int32_t holds;
    } cases[] = {
        {"connectTimeoutMS", "connectTimeoutMS=200", 500, 200},    {"connectTimeoutMS", "connectTimeoutMS=900", 500, 500},
        {"connectTimeoutMS", "appName=x", 500, 500},               {"connectTimeoutMS", "appName=x", 60000, -1},
        {"socketTimeoutMS", "socketTimeoutMS=200", 500, 200},      {"socketTimeoutMS", "socketTimeoutMS=0", 500, 500},
        {"socketTimeoutMS", "appName=x", 500, 500},                {"socketTimeoutMS", "appName=x", 600000, 120000},
        {"serverSelectionTimeoutMS", "appName=x", 60000, 10000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char uri[128];
        snprintf(uri, sizeof uri, "mongodb://127.0.0.1:1/x?%s", cases[i].uri);
        client_option_note(cases[i].option);
        struct store *store = store_open_with_timeout(uri, false, cases[i].limit_ms, &error);
        cr_assert_not_null(store, "%s", error.message);
        cr_expect_eq(client_option_last(), cases[i].holds, "%s, %lld ms: %d", cases[i].uri, (long long)cases[i].limit_ms,
                     (int)client_option_last());
        store_close(store);
    }
}

/* The URI's own limit is two minutes: then the test's time is up. */
Test(mongodb_errors, nothing_is_waited_for_longer_than_the_opener_allows, .timeout = 60)
{
    char *uri = test_server_database(NULL);
    struct proxy proxy;
    proxy_start(&proxy, uri);
    struct store *store = store_open_with_timeout(proxy.uri, true, 500, &error);
    cr_assert_not_null(store, "%s", error.message);
    OK(store_insert(store, "c", document("{'_id': 1}"), &error));
    proxy_tell(&proxy, "black-hole");
    FAILS(HUB_ERROR_UNKNOWN_OUTCOME, store_insert(store, "c", document("{'_id': 2}"), &error));
    FAILS(HUB_ERROR_UNREACHABLE, store_count(store, "c", document("{'_id': 1}"), &error));
    store_close(store);
    documents_free();
    proxy_stop(&proxy);
    free(uri);
}

Test(mongodb_errors, without_a_primary_an_operation_ends_in_time)
{
    static const enum step steps[] = {FIND, COUNT, INSERT, UPDATE, DELETE, MODIFY, BATCH};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct wire_stub stub;
        wire_stub_start(&stub, "* 10107 NotWritablePrimary", "serverSelectionTimeoutMS=700&heartbeatFrequencyMS=500");
        struct store *store = store_open(stub.uri, false, &error);
        int64_t start = bson_get_monotonic_time();
        cr_expect(take_step(store, steps[i]) == -1 && error.code == HUB_ERROR_UNREACHABLE, "%u %s", error.code,
                  error.message);
        cr_expect(bson_get_monotonic_time() - start < 5000000);
        store_close(store);
        wire_stub_end(&stub, "");
    }
    documents_free();
}

/* ---- URIs ---- */

Test(mongodb_uri, a_server_that_is_down_is_unreachable_within_the_uris_time)
{
    struct store *store = store_open("mongodb://somebody:CANARY@127.0.0.1:1/x?serverSelectionTimeoutMS=400", false,
                                     &error);
    cr_assert(store != NULL, "%s", error.message);
    static const enum step steps[] = {PING, FIND, COUNT, INSERT, UPDATE, DELETE, MODIFY, BATCH, TIME};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int64_t start = bson_get_monotonic_time();
        cr_expect(take_step(store, steps[i]) == -1 && error.code == HUB_ERROR_UNREACHABLE, "%u %s", error.code,
                  error.message);
        cr_expect(bson_get_monotonic_time() - start < 4000000);
        cr_expect(strstr(error.message, "CANARY") == NULL, "%s", error.message);
    }
    bson_t out;
    FAILS(HUB_ERROR_UNREACHABLE, store_describe(store, &out, &error));
    bson_destroy(&out);
    cr_expect(strstr(store_uri_redacted(store), "CANARY") == NULL);
    store_close(store);
    documents_free();
}

Test(mongodb_uri, what_is_malformed_is_refused_without_its_secret)
{
    static const char *const uris[] = {
        "mongodb://user:CANARY@", "mongodb://user:CAN@ARY:CANARY@h/x", "mongodb://user:CANARY/CANARY@host/x",
        "mongodb://user:CANARY%zz@host", "mongodb://user:CANARY@host:99999/", "mongodb://user:CANARY@host:port/",
        "mongodb://", "mongodb://h?authMechanism=NONE", "mongodb://user:CANARY@h/?tls=true&ssl=false",
        "mongodb+srv://user:CANARY@h:1/x",
    };
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        memset(&error, 0, sizeof error);
        struct store *store = store_open(uris[i], false, &error);
        if (store) { /* libmongoc overlooks some; then it must not be shown either */
            cr_expect(strstr(store_uri_redacted(store), "CANARY") == NULL, "%s", store_uri_redacted(store));
            store_close(store);
            continue;
        }
        cr_expect(error.domain == HUB_ERROR_DOMAIN, "%s", uris[i]);
        cr_expect(strstr(error.message, "CANARY") == NULL, "%s: %s", uris[i], error.message);
    }
}

Test(mongodb_uri, weak_writes_and_secondaries_are_not_obeyed)
{
    char *uri = test_server_database("w=0&readPreference=secondaryPreferred");
    struct store *store = store_open(uri, false, &error);
    cr_assert(store != NULL, "%s", error.message);
    OK(store_insert(store, "c", document("{'_id': 1}"), &error));
    FAILS(HUB_ERROR_DUPLICATE, store_insert(store, "c", document("{'_id': 1}"), &error)); /* w=0 would not tell */
    cr_expect(OK(store_update(store, "c", NULL, document("{'$set': {'a': 1}}"), &error)) == 1);
    store_close(store);
    documents_free();
    free(uri);
}

/* ---- explain ---- */

static int explain(const char *script, bson_t *plan)
{
    struct wire_stub stub;
    wire_stub_start(&stub, script, "");
    struct store *store = store_open(stub.uri, false, &error);
    int result = store_explain(store, "c", document("{'a': 1}"), NULL, plan, &error);
    store_close(store);
    wire_stub_end(&stub, "explain");
    return result;
}

Test(mongodb, explain_reads_the_winning_plan)
{
    bson_t plan;
    cr_assert_eq(explain("", &plan), 1, "%s", error.message);
    cr_expect(bson_equal(&plan, document("{'index': 'served', 'sorts': false, 'documents_examined': "
                                         "{'$numberLong': '1'}, 'keys_examined': {'$numberLong': '2'}}")),
              "another plan");
    bson_destroy(&plan);
    cr_expect_eq(explain("explain 59 CommandNotFound", &plan), 0, "not every server tells");
    cr_expect(bson_empty(&plan));
    bson_destroy(&plan);
    documents_free();
}

/* ---- sorting in two steps ---- */

static void collect(struct store *store, const bson_t *filter, const struct store_find_options *options, bson_t *all)
{
    struct store_cursor *cursor = store_find(store, "s", filter, options, &error);
    const bson_t *found;
    cr_assert(cursor != NULL, "%s", error.message);
    bson_init(all);
    while (OK(store_cursor_next(cursor, &found, &error)) > 0) {
        BSON_APPEND_DOCUMENT(all, "d", found);
    }
    store_cursor_close(cursor);
}

Test(mongodb, a_sort_in_two_steps_gives_the_same)
{
    char *uri = test_server_database(NULL);
    struct store *store = store_open(uri, false, &error);
    struct store_find_options options[] = {
        {.sort = document("{'a': 1, '_id': 1}")},
        {.sort = document("{'b.c': -1, 'a': 1, '_id': -1}"), .skip = 7, .limit = 120},
        {.sort = document("{'a': -1, '_id': 1}"), .projection = document("{'b': 1, '_id': 0}")},
        {.sort = document("{'a': -1, '_id': 1}"), .projection = document("{'_id': 0}")},
        {.sort = document("{'a': -1, '_id': 1}"), .projection = document("{'_id': 1}")},
        {.sort = document("{'_id': -1}"), .projection = document("{'filler': 0}")},
    };
    for (int i = 0; i < 300; i++) {
        OK(store_insert(store, "s",
                        i % 4 ? document("{'_id': %d, 'a': %d, 'b': {'c': %d}, 'filler': 'x'}", i, i * 7 % 31, i % 5)
                              : document("{'_id': '%d', 'a': 'text', 'filler': 'x'}", i),
                        &error));
    }
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        bson_t one;
        bson_t two;
        const bson_t *filter = i % 2 ? document("{'filler': 'x', 'a': {'$ne': 3}}") : NULL;
        mongo_always_sorts_in_two_steps = false;
        collect(store, filter, &options[i], &one);
        mongo_always_sorts_in_two_steps = true;
        collect(store, filter, &options[i], &two);
        mongo_always_sorts_in_two_steps = false;
        cr_expect(bson_count_keys(&one) > 100);
        cr_expect(bson_equal(&one, &two), "options %zu: %u and %u", i, bson_count_keys(&one), bson_count_keys(&two));
        bson_destroy(&one);
        bson_destroy(&two);
    }
    store_close(store);
    documents_free();
    free(uri);
}
