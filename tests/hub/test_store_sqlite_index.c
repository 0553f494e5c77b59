/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes on SQLite: which ones a query uses, and that they change no answer. */
#include "sqlite_store.h"

TestSuite(sqlite_index, .init = set_up, .fini = tear_down);

/* ---- plans ---- */

/* The plan's step without the names of the columns: "(k:a=? AND k:b>?)" becomes "(=? AND >?)". */
static void append_step(bson_string_t *text, const char *step)
{
    const char *columns = strchr(step, '(');
    if (!columns) {
        bson_string_append_printf(text, "%s; ", step);
        return;
    }
    bson_string_append_printf(text, "%.*s(", (int)(columns - step), step);
    const char *separator = "";
    for (const char *mark = columns; (mark = strchr(mark, '?')); mark++) {
        bson_string_append_printf(text, "%s%c?", separator, mark[-1]);
        separator = " AND ";
    }
    bson_string_append(text, "); ");
}

/* How SQLite would run the find: its query plan, on one line. */
static char *explain(const char *collection, const char *filter, const char *sort, int64_t wanted, bool *exact,
                     bool *sorted)
{
    bson_error_t error = {0};
    char *uri = bson_strdup_printf("sqlite:%s", path);
    struct sqlite_store *store = store_engine_sqlite.open(uri, false, 0, &error);
    cr_assert_not_null(store, "%s", error.message);
    struct query *query = query_parse(document("%s", filter), &error);
    struct sqlite_plan plan;
    cr_assert_eq(sqlite_begin_read(store, &error), 0);
    cr_assert_eq(sqlite_plan_init(store, &plan, sqlite_collection_find(store, collection), query,
                                  sort ? document("%s", sort) : NULL, wanted, &error),
                 0, "%s", error.message);
    char *sql = bson_strdup_printf("EXPLAIN QUERY PLAN SELECT t.rowid, t.bson%s%s", plan.from->str, plan.order->str);
    sqlite3_stmt *statement = sqlite_prepare(store, sql, &error);
    cr_assert_not_null(statement, "%s: %s", sql, error.message);
    bson_string_t *text = bson_string_new(NULL);
    while (sqlite3_step(statement) == SQLITE_ROW)
        append_step(text, (const char *)sqlite3_column_text(statement, 3));
    *exact = plan.exact;
    *sorted = plan.sorted;
    sqlite3_reset(statement);
    sqlite_end_read(store);
    sqlite_plan_destroy(&plan);
    query_free(query);
    bson_free(sql);
    bson_free(uri);
    store_engine_sqlite.close(store);
    return bson_string_free(text, false);
}

#define CLAIM_FILTER                                                                                                   \
    "{'project': 'p', 'queue': 'default', 'resource_class': 'cpu', 'lane': 0, 'state': 'ready'}"

static void make_indexes(struct store *store)
{
    ensure(store, "tasks", "claim", "{'project': 1, 'queue': 1, 'resource_class': 1, 'lane': 1, 'state': 1, "
                                    "'priority': -1, 'seq': 1}");
    ensure(store, "tasks", "newest", "{'project': 1, 'name': 1, 'state': 1, 'seq': -1}");
    ensure(store, "tasks", "number", "{'project': 1, 'seq': 1}");
    ensure(store, "tasks", "blob", "{'result.blob_id': 1}");
    ensure(store, "tasks", "tags", "{'tags': 1}");
    ensure(store, "tasks", "words", "{'words': 1}");
}

Test(sqlite_index, seeks_in_indexes)
{
    struct store *store = opened("", true);
    make_indexes(store);
    store_close(store);
    const struct {
        const char *filter, *sort, *plan;
        bool exact, sorted;
    } cases[] = {
        {CLAIM_FILTER, "{'priority': -1, 'seq': 1}",
         "SEARCH t USING INDEX i_tasks:claim (=? AND =? AND =? AND =? AND =?); ", true,
         true},
        {"{'_id': 5, 'project': 'p', 'lane': 0, 'state': 'running', 'claim.id': 'x'}", NULL,
         "SEARCH t USING INDEX sqlite_autoindex_c_tasks_1 (=?); ", false, true},
        {"{'_id': {'$in': [1, 2, 3]}}", NULL, "SEARCH t USING INDEX sqlite_autoindex_c_tasks_1 (=?); ", true, true},
        {"{'project': 'p', 'name': {'$regex': '^ab'}}", NULL,
         "SEARCH t USING INDEX i_tasks:newest (=? AND >? AND <?); ", true, true},
        {"{'project': 'p', 'name': {'$gt': 'a', '$lte': 'b'}}", "{'name': -1}",
         "SEARCH t USING INDEX i_tasks:newest (=? AND >? AND <?); ", true, true},
        {"{'project': 'p', 'name': 'n', 'state': {'$in': ['ready', 'delayed']}}", "{'seq': -1}",
         "SEARCH t USING INDEX i_tasks:newest (=? AND =? AND =?); ", true, false},
        {"{'result.blob_id': {'$oid': '000000000000000000000001'}, 'x': 1}", NULL,
         "SEARCH t USING INDEX i_tasks:blob (=?); ", false, true},
        {"{'$and': [{'result.blob_id': 5}]}", NULL, "SEARCH t USING INDEX i_tasks:blob (=?); ", true, true},
        {"{}", "{'result.blob_id': -1}", "SCAN t USING INDEX i_tasks:blob; ", true, true},
        {"{'x': 1}", "{'y': 1}", "SCAN t; ", false, false},
        {"{'$or': [{'project': 'p'}, {'x': 1}]}", NULL, "SCAN t; ", false, true},
        {"{'x': 1, '$or': [{'result.blob_id': 5}, {'_id': {'$in': [1, 2]}}]}", NULL,
         "SEARCH t USING INTEGER PRIMARY KEY (=?); LIST SUBQUERY 2; COMPOUND QUERY; LEFT-MOST SUBQUERY; "
         "SEARCH t USING COVERING INDEX i_tasks:blob (=?); UNION ALL; "
         "SEARCH t USING COVERING INDEX sqlite_autoindex_c_tasks_1 (=?); ", false, true},
        {"{'project': 'p', '$or': [{'name': 'a'}, {'name': {'$regex': '^b'}}]}", NULL,
         "SEARCH t USING INTEGER PRIMARY KEY (=?); LIST SUBQUERY 2; COMPOUND QUERY; LEFT-MOST SUBQUERY; "
         "SEARCH t USING COVERING INDEX i_tasks:newest (=? AND =?); UNION ALL; "
         "SEARCH t USING COVERING INDEX i_tasks:newest (=? AND >? AND <?); ", true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool exact, sorted;
        char *plan = explain("tasks", cases[i].filter, cases[i].sort, 0, &exact, &sorted);
        cr_expect_str_eq(plan, cases[i].plan, "%s: %s", cases[i].filter, plan);
        cr_expect_eq(exact, cases[i].exact, "%s", cases[i].filter);
        cr_expect_eq(sorted, cases[i].sorted, "%s", cases[i].filter);
        bson_free(plan);
    }
    bool exact, sorted;
    char *plan = explain("tasks", "{'words': {'$all': ['a', 'b']}, 'tags': 'c'}", NULL, 0, &exact, &sorted);
    cr_expect_eq(strncmp(plan, "SEARCH m USING PRIMARY KEY (=?); ", 33), 0, "%s", plan);
    cr_expect_not_null(strstr(plan, "SEARCH t USING INTEGER PRIMARY KEY (=?)"), "%s", plan);
    cr_expect_null(strstr(plan, "SCAN"), "%s", plan);
    cr_expect(exact);
    bson_free(plan);
}

static void expect_plan(const char *filter, const char *sort, int64_t wanted, const char *start, bool sorted)
{
    bool exact, in_order;
    char *plan = explain("tasks", filter, sort, wanted, &exact, &in_order);
    cr_expect_eq(strncmp(plan, start, strlen(start)), 0, "%s: %s", filter, plan);
    cr_expect_eq(in_order, sorted, "%s", filter);
    bson_free(plan);
}

/* Which is the quicker one, few rows that are sorted or many in order, hangs on how many there are. */
Test(sqlite_index, the_first_of_many_come_in_order_and_of_few_are_sorted)
{
    bson_error_t error = {0};
    struct store *store = opened("", true);
    ensure(store, "tasks", "number", "{'project': 1, 'seq': 1}");
    ensure(store, "tasks", "state", "{'state': 1}");
    ensure(store, "tasks", "sweep", "{'project': 1, 'sweep': 1}");
    ensure(store, "tasks", "newest", "{'project': 1, 'name': 1}");
    ensure(store, "tasks", "tags", "{'tags': 1}");
    for (int i = 0; i < 3000; i += 1000) {
        struct store_operation operations[1000] = {0};
        for (int j = 0; j < 1000; j++)
            operations[j] = (struct store_operation){
                .kind = STORE_INSERT, .collection = "tasks",
                .document = document("{'_id': %d, 'project': 'p', 'seq': %d, 'state': '%s', 'sweep': 's%d', 'name': 'n%d', "
                                     "'tags': ['%s']}", i + j, i + j, (i + j) % 500 ? "done" : "failed", j % 2, j % 100,
                                     j % 300 ? "a" : "b")};
        cr_assert_eq(store_batch(store, operations, 1000, NULL, &error), 1, "%s", error.message);
        documents_free();
    }
    const char *seq = "{'seq': -1}", *in_order = "SEARCH t USING INDEX i_tasks:number (=?); ",
               *by_state = "SEARCH t USING INDEX i_tasks:state (=?); ", *both = "SEARCH t USING INTEGER PRIMARY KEY (=?); LIST";
    expect_plan("{'project': 'p', 'state': 'done'}", seq, 20, in_order, true);
    expect_plan("{'project': 'p', 'state': 'failed'}", seq, 20, by_state, false);
    expect_plan("{'project': 'p', 'state': 'done'}", seq, 0, by_state, false);
    expect_plan("{'project': 'p', '$or': [{'state': 'failed'}, {'state': 'dead'}]}", seq, 20, both, false);
    expect_plan("{'project': 'p', '$or': [{'state': 'done'}, {'state': 'dead'}]}", seq, 20, in_order, true);
    expect_plan("{'project': 'p', '$or': [{'state': 'done'}, {'state': 'dead'}]}", seq, 0, both, false);
    expect_plan("{'project': 'p', '$or': [{'seq': {'$gte': 5, '$lte': 9}}, {'seq': 70}, {'tags': 'b'}]}", seq, 20, both, false);
    expect_plan("{'project': 'p', '$or': [{'seq': 5}, {'x': 70}]}", seq, 20, in_order, true); /* one of them has no index */
    const char *filter = "{'project': 'p', '$or': [{'seq': {'$lt': 3}}, {'sweep': 's0', 'seq': 6}, {'seq': 1}, {'tags': 'b'}]}";
    cr_expect_eq(count(store, "tasks", filter), 3 + 1 + 12 - 1);
    store_close(store);
}

Test(sqlite_index, claims_the_first_of_a_long_queue)
{
    bson_error_t error = {0};
    const int sizes[] = {1000, 20000};
    for (int k = 0; k < 2; k++) {
        free(path);
        path = test_path(".db");
        struct store *store = opened("", true);
        make_indexes(store);
        for (int i = 0; i < sizes[k]; i += 1000) {
            struct store_operation operations[1000] = {0};
            for (int j = 0; j < 1000; j++)
                operations[j] = (struct store_operation){
                    .kind = STORE_INSERT,
                    .collection = "tasks",
                    .document = document("{'_id': %d, 'project': 'p', 'queue': 'default', 'resource_class': 'cpu', "
                                         "'lane': 0, 'state': 'ready', 'priority': %d, 'seq': %d}", i + j, j % 3,
                                         i + j)};
            cr_assert_eq(store_batch(store, operations, 1000, NULL, &error), 1, "%s", error.message);
        }
        documents_free();
        const struct store_modify_options options = {.sort = document("{'priority': -1, 'seq': 1}")};
        for (int i = 0; i < 100; i++) {
            bson_t out;
            bson_iter_t seq;
            cr_assert_eq(store_modify(store, "tasks", document(CLAIM_FILTER),
                                      document("{'$set': {'state': 'running'}}"), &options, &out, &error), 1);
            cr_assert(bson_iter_init_find(&seq, &out, "seq"));
            /* priority 2 first: within each thousand 2, 5, 8, …, 998 */
            cr_expect_eq(bson_iter_int32(&seq), 2 + 3 * i, "got %d", bson_iter_int32(&seq));
            bson_destroy(&out);
        }
        store_close(store);
    }
}

Test(sqlite_index, keeps_arrays_off_indexed_paths)
{
    bson_error_t error = {0};
    struct store *store = opened("", true);
    insert(store, "things", "{'_id': 1, 'a': [1], 'c': {'d': 1}}");
    cr_expect_eq(store_ensure_index(store, "things", "a", document("{'a': 1}"), &error), -1, "there is one already");
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID, "%s", error.message);
    ensure(store, "things", "cd", "{'c.d': 1}");
    cr_expect_eq(store_insert(store, "things", document("{'_id': 2, 'c': [{'d': 1}]}"), &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    cr_expect_not_null(strstr(error.message, "c.d"), "%s", error.message);
    cr_expect_eq(store_update(store, "things", document("{}"), document("{'$set': {'c.d': [1]}}"), &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    const struct store_modify_options upsert = {.upsert = true};
    cr_expect_eq(store_modify(store, "things", document("{'_id': 5, 'c.d': [1]}"), document("{'$set': {'x': 1}}"),
                              &upsert, NULL, &error), -1);
    cr_expect_eq(store_ensure_index(store, "things", "mixed", document("{'a': 1, 'tags': 1}"), &error), -1);
    cr_expect_eq(count(store, "things", "{}"), 1);
    store_close(store);
}

/* ---- the same answers with an index as without ---- */

static uint64_t random_state = 7;

static unsigned random_below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % n;
}

static const char *random_scalar(void)
{
    static const char *const values[] = {"null", "1", "2", "1.0", "1.5", "{'$numberLong': '3'}", "'a'", "'ab'", "'b'",
                                         "''", "true", "false", "{'$date': 5}", "{'x': 1}", "{'x': 2}", "{}",
                                         "{'$numberDouble': 'NaN'}", "{'$numberDouble': '-0.0'}", "0",
                                         "{'$oid': '000000000000000000000001'}"};
    return values[random_below(sizeof values / sizeof *values)];
}

static char *random_condition(const char *name)
{
    static const char *const comparisons[] = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"};
    switch (random_below(8)) {
    case 0:
    case 1:
        return bson_strdup_printf("'%s': %s", name, random_scalar());
    case 2:
        return bson_strdup_printf("'%s': {'$in': [%s, %s, %s]}", name, random_scalar(), random_scalar(),
                                  random_scalar());
    case 3:
        return bson_strdup_printf("'%s': {'$gte': %s, '$lt': %s}", name, random_scalar(), random_scalar());
    case 4:
        return bson_strdup_printf("'%s': {'$regex': '^%s'}", name, random_below(2) ? "a" : "");
    case 5:
        return bson_strdup_printf("'%s': {'$exists': %s}", name, random_below(2) ? "true" : "false");
    default:
        return bson_strdup_printf("'%s': {'%s': %s}", name, comparisons[random_below(6)], random_scalar());
    }
}

static bson_string_t *ids_of(struct store *store, const char *collection, const bson_t *filter, const bson_t *sort,
                             int64_t skip, int64_t limit, int *found)
{
    bson_error_t error = {0};
    const bson_t *one;
    bson_iter_t id;
    const struct store_find_options options = {.sort = sort, .skip = skip, .limit = limit};
    bson_string_t *ids = bson_string_new(NULL);
    struct store_cursor *cursor = store_find(store, collection, filter, &options, &error);
    cr_assert_not_null(cursor, "%s", error.message);
    *found = 0;
    while (store_cursor_next(cursor, &one, &error) == 1) {
        cr_assert(bson_iter_init_find(&id, one, "_id"));
        bson_string_append_printf(ids, "%d ", bson_iter_int32(&id));
        ++*found;
    }
    store_cursor_close(cursor);
    return ids;
}

Test(sqlite_index, answers_the_same_with_indexes_as_without)
{
    bson_error_t error = {0};
    enum { DOCUMENTS = 300, QUERIES = 900 };
    static const char *const sorts[] = {"{'_id': 1}", "{'a': 1, '_id': 1}", "{'a': -1, '_id': 1}",
                                        "{'a': 1, 'b.c': -1, '_id': 1}", "{'b.c': 1, 'a': 1, '_id': -1}",
                                        "{'d': -1, '_id': 1}"};
    struct store *store = opened("", true);
    ensure(store, "with", "a", "{'a': 1, 'b.c': -1}");
    ensure(store, "with", "b", "{'b.c': 1, 'a': 1, 'd': 1}");
    ensure(store, "with", "d", "{'d': -1}");
    ensure(store, "with", "a2", "{'a': 1, 'd': 1}"); /* three begin with a */
    ensure(store, "with", "a3", "{'a': 1, '_id': 1}");
    ensure(store, "with", "tags", "{'tags': 1}");
    for (int i = 0; i < DOCUMENTS; i++) {
        char *a = random_below(5) ? bson_strdup_printf(", 'a': %s", random_scalar()) : bson_strdup("");
        char *b = random_below(4) ? bson_strdup_printf(", 'b': {'c': %s}", random_scalar()) : bson_strdup(", 'b': 5");
        char *text = bson_strdup_printf("{'_id': %d%s%s, 'd': %s, 'tags': [%s, %s]}", i, a, b, random_scalar(),
                                        random_scalar(), random_scalar());
        insert(store, "with", text);
        insert(store, "without", text);
        bson_free(a);
        bson_free(b);
        bson_free(text);
    }
    for (int i = 0; i < 2; i++) { /* indexes and side tables follow */
        const char *collection = i ? "with" : "without";
        cr_assert_eq(store_update(store, collection, document("{'_id': {'$lt': 30}}"),
                                  document("{'$set': {'tags': ['a', 1]}}"), &error), 30);
        cr_assert_eq(store_update(store, collection, document("{'_id': {'$gte': 30, '$lt': 60}}"),
                                  document("{'$set': {'a': 'ab'}, '$unset': {'b': 1}}"), &error), 30);
        cr_assert_eq(store_update(store, collection, document("{'_id': {'$gte': 60, '$lt': 90}}"),
                                  document("{'$unset': {'a': 1}, '$set': {'b': {'c': 2}}}"), &error), 30);
        cr_assert_eq(store_delete(store, collection, document("{'_id': {'$gte': 290}}"), &error), 10);
    }
    int answered = 0, total = 0;
    for (int i = 0; i < QUERIES; i++) {
        char *a = random_condition("a"), *b = random_condition(random_below(2) ? "b.c" : "_id");
        char *d = random_condition(random_below(2) ? "d" : "tags");
        const bson_t *filter = random_below(3) == 0 ? document("{%s, '$or': [{%s}, {%s}]}", random_below(2) ? a : "'x': null", b, d)
                               : random_below(3) == 0 ? document("{'$or': [{%s, %s}, {'$and': [{%s}, {%s}]}, {'a': 1}]}", a, b, d, b)
                               : random_below(3) ? document("{%s, %s}", a, b)
                               : random_below(2) ? document("{%s}", d)
                                                 : document("{%s, %s, %s}", a, b, d);
        const bson_t *sort = document("%s", sorts[random_below(sizeof sorts / sizeof *sorts)]);
        int64_t skip = random_below(3) ? 0 : random_below(5), limit = random_below(2) ? 0 : 1 + random_below(20);
        int found, expected;
        bson_string_t *x = ids_of(store, "with", filter, sort, skip, limit, &found);
        bson_string_t *y = ids_of(store, "without", filter, sort, skip, limit, &expected);
        char *json = bson_as_relaxed_extended_json(filter, NULL);
        char *order = bson_as_relaxed_extended_json(sort, NULL);
        cr_expect_str_eq(x->str, y->str, "%s sorted by %s", json, order);
        int64_t n = store_count(store, "with", filter, &error);
        cr_expect_eq(n, store_count(store, "without", filter, &error), "%s", json);
        cr_expect(limit || skip || n == found);
        answered += expected > 0;
        total += expected;
        bson_free(json);
        bson_free(order);
        bson_string_free(x, true);
        bson_string_free(y, true);
        bson_free(a);
        bson_free(b);
        bson_free(d);
        documents_free();
    }
    cr_expect_gt(answered, QUERIES / 3, "%d of %d have an answer", answered, QUERIES);
    store_close(store);
}

Test(sqlite_index, replaces_an_index_whose_keys_changed)
{
    struct store *store = opened("", true);
    insert(store, "things", "{'_id': 1, 'a': 1, 'b': 2, 'tags': ['x']}");
    ensure(store, "things", "one", "{'a': 1}");
    ensure(store, "things", "one", "{'a': 1}");
    ensure(store, "things", "one", "{'b': 1}");
    cr_expect_eq(count(store, "things", "{'b': 2}"), 1);
    ensure(store, "things", "one", "{'tags': 1}");
    cr_expect_eq(count(store, "things", "{'tags': 'x'}"), 1);
    ensure(store, "things", "one", "{'a': -1}");
    cr_expect_eq(count(store, "things", "{'tags': 'x', 'a': 1}"), 1);
    ensure(store, "things", "One", "{'A': 1}");
    cr_expect_eq(count(store, "things", "{'A': null, 'a': 1}"), 1, "names and paths differ by case");
    cr_expect_eq(store_delete(store, "things", document("{}"), NULL), 1);
    store_close(store);
}
