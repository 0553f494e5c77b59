/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads, each with a store of its own, on one hub. */
#include "both_engines.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TEST_USES_SERVER;

#define THREADS 6

static bson_error_t error;

struct worker {
    pthread_t thread;
    const char *uri;
    void (*work)(struct worker *worker, struct store *store);
    int number;
    char failure[600]; /* empty: none */
    int64_t *values;   /* what the work gives */
    size_t count;
};

/* Criterion's assertions belong to the test's main thread, so a worker keeps its failure for it. */
static bool worker_ok(struct worker *worker, int64_t result, const bson_error_t *reason)
{
    if (result < 0 && worker->failure[0] == '\0') {
        snprintf(worker->failure, sizeof worker->failure, "thread %d: %s", worker->number, reason->message);
    }
    return result >= 0;
}

static void *worker_main(void *data)
{
    struct worker *worker = data;
    bson_error_t reason;
    struct store *store = store_open(worker->uri, false, &reason);
    if (worker_ok(worker, store ? 0 : -1, &reason)) {
        worker->work(worker, store);
    }
    store_close(store);
    return NULL;
}

static void run_workers(struct worker *workers, const char *uri, void (*work)(struct worker *, struct store *))
{
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.uri = uri, .work = work, .number = i};
        cr_assert(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        cr_assert(workers[i].failure[0] == '\0', "%s", workers[i].failure);
    }
}

static void keep(struct worker *worker, int64_t value)
{
    worker->values = bson_realloc(worker->values, (worker->count + 1) * sizeof *worker->values);
    worker->values[worker->count++] = value;
}

/* Takes tasks in order until none is left; keeps their numbers. */
static void claim_all(struct worker *worker, struct store *store)
{
    bson_error_t reason;
    bson_t *filter = BCON_NEW("state", "ready");
    bson_t *sort = BCON_NEW("priority", BCON_INT32(-1), "_id", BCON_INT32(1));
    bson_t *update = BCON_NEW("$set", "{", "state", "running", "claim", "{", "runner", BCON_INT32(worker->number), "}",
                              "}", "$inc", "{", "claims", BCON_INT32(1), "}", "$currentDate", "{", "claimed_at",
                              BCON_BOOL(true), "}");
    struct store_modify_options options = {.sort = sort, .return_new = true};
    for (int result = 1; result > 0;) {
        bson_t out;
        bson_iter_t iter;
        result = store_modify(store, "tasks", filter, update, &options, &out, &reason);
        worker_ok(worker, result, &reason);
        if (result > 0 && bson_iter_init_find(&iter, &out, "_id")) {
            keep(worker, bson_iter_as_int64(&iter));
        }
        bson_destroy(&out);
    }
    bson_destroy(filter);
    bson_destroy(sort);
    bson_destroy(update);
}

ON_BOTH_ENGINES(every_task_is_claimed_exactly_once)
{
    enum { TASKS = 240 };
    struct worker workers[THREADS];
    int claimed[TASKS] = {0};
    OK(store_ensure_index(store, "tasks", "claim", document("{'state': 1, 'priority': -1, '_id': 1}"), &error));
    for (int i = 0; i < TASKS; i++) {
        OK(store_insert(store, "tasks", document("{'_id': %d, 'state': 'ready', 'priority': %d, 'claims': 0}", i, i % 3),
                        &error));
    }
    run_workers(workers, uri, claim_all);
    for (int i = 0; i < THREADS; i++) {
        for (size_t j = 0; j < workers[i].count; j++) {
            claimed[workers[i].values[j]]++;
        }
        bson_free(workers[i].values);
    }
    for (int i = 0; i < TASKS; i++) {
        cr_assert(claimed[i] == 1, "task %d was claimed %d times", i, claimed[i]);
    }
    cr_expect(OK(store_count(store, "tasks", document("{'state': 'running', 'claims': 1}"), &error)) == TASKS);
}

static void count_up(struct worker *worker, struct store *store)
{
    bson_error_t reason;
    for (int i = 0; i < 20; i++) {
        int64_t first = 0;
        if (!worker_ok(worker, store_counter_add(store, "numbers", 3, &first, &reason), &reason)) {
            return;
        }
        keep(worker, first);
    }
}

ON_BOTH_ENGINES(a_counter_gives_each_number_to_one)
{
    struct worker workers[THREADS];
    bool given[THREADS * 20 * 3 + 1] = {false};
    run_workers(workers, uri, count_up);
    for (int i = 0; i < THREADS; i++) {
        for (size_t j = 0; j < workers[i].count; j++) {
            for (int64_t number = workers[i].values[j]; number < workers[i].values[j] + 3; number++) {
                cr_assert(number >= 1 && number <= THREADS * 20 * 3 && !given[number], "%d", (int)number);
                given[number] = true;
            }
        }
        bson_free(workers[i].values);
    }
}

static void upsert_same(struct worker *worker, struct store *store)
{
    bson_error_t reason;
    bson_t *update = BCON_NEW("$inc", "{", "n", BCON_INT32(1), "}");
    struct store_modify_options options = {.upsert = true};
    for (int i = 0; i < 20; i++) {
        bson_t *filter = BCON_NEW("_id", BCON_INT32(i));
        struct store_operation operation = {
            .kind = STORE_UPDATE, .collection = "u", .filter = filter, .update = update, .upsert = true};
        worker_ok(worker,
                  worker->number % 2 ? store_modify(store, "u", filter, update, &options, NULL, &reason)
                                     : store_batch(store, &operation, 1, NULL, &reason),
                  &reason);
        bson_destroy(filter);
    }
    bson_destroy(update);
}

ON_BOTH_ENGINES(upserts_at_once_insert_once_and_lose_nothing)
{
    struct worker workers[THREADS];
    run_workers(workers, uri, upsert_same);
    cr_expect(OK(store_count(store, "u", NULL, &error)) == 20);
    cr_expect(OK(store_count(store, "u", document("{'n': %d}", THREADS), &error)) == 20);
}

static void insert_same(struct worker *worker, struct store *store)
{
    bson_error_t reason;
    for (int i = 0; i < 30; i++) {
        bson_t *mine = BCON_NEW("_id", BCON_INT32(i), "by", BCON_INT32(worker->number));
        int result = store_insert(store, "d", mine, &reason);
        if (result >= 0) {
            keep(worker, i);
        } else if (reason.code != HUB_ERROR_DUPLICATE) {
            worker_ok(worker, -1, &reason);
        }
        bson_destroy(mine);
    }
}

ON_BOTH_ENGINES(an_id_goes_to_the_first_who_inserts_it)
{
    struct worker workers[THREADS];
    size_t inserted = 0;
    run_workers(workers, uri, insert_same);
    for (int i = 0; i < THREADS; i++) {
        for (size_t j = 0; j < workers[i].count; j++) {
            cr_expect(OK(store_count(store, "d", document("{'_id': %d, 'by': %d}", (int)workers[i].values[j], i),
                                     &error)) == 1);
        }
        inserted += workers[i].count;
        bson_free(workers[i].values);
    }
    cr_expect(inserted == 30);
}

/* Moves one unit at a time between two fields of a document: the guard keeps both at zero or above. */
static void move_units(struct worker *worker, struct store *store)
{
    bson_error_t reason;
    bson_t *filter = BCON_NEW("_id", BCON_INT32(1), "left", "{", "$gt", BCON_INT32(0), "}");
    bson_t *update = BCON_NEW("$inc", "{", "left", BCON_INT32(-1), "right", BCON_INT32(1), "}");
    for (int result = 1, tries = 0; result > 0 && tries < 1000; tries++) {
        struct store_operation operations[] = {
            {.kind = STORE_UPDATE, .collection = "g", .filter = filter, .update = update, .guard = true},
        };
        result = store_batch(store, operations, 1, NULL, &reason);
        worker_ok(worker, result, &reason);
        if (result > 0) {
            keep(worker, 1);
        }
    }
    bson_destroy(filter);
    bson_destroy(update);
}

ON_BOTH_ENGINES(a_guard_holds_against_others)
{
    struct worker workers[THREADS];
    size_t moved = 0;
    OK(store_insert(store, "g", document("{'_id': 1, 'left': 100, 'right': 0}"), &error));
    run_workers(workers, uri, move_units);
    for (int i = 0; i < THREADS; i++) {
        moved += workers[i].count;
        bson_free(workers[i].values);
    }
    cr_expect(moved == 100);
    cr_expect(OK(store_count(store, "g", document("{'left': 0, 'right': 100}"), &error)) == 1);
}
