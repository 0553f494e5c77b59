/* SPDX-License-Identifier: Apache-2.0 */
/* A hub with a search of so many finished points, as a program that asked and told would leave it: bench_search_hub URI POINTS
 * METHOD. The next points are proposed by whoever asks. */
#include "distributor/sweep.h"
#include "distributor/sweep_search.h"
#include "hub/hub.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOGETHER 1000

static uint64_t state = 1;

/* xorshift64* (Vigna 2016): 0 to 1. */
static double draw(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (double)((state * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0;
}

static int submit(struct hub *hub, int64_t points, const char *method, char id[HUB_ID_SIZE], bson_error_t *error)
{
    char text[1000];
    struct sweep_submission submission;
    int length = snprintf(text, sizeof text,
                          "name: bench-search\nkind: outside\nmethod: %s\nseed: 1\nrun_cap: %lld\nparallel: 8\n"
                          "metric: {name: value, goal: minimize}\nparameters:\n  rate: {distribution: log_uniform_values, "
                          "min: 0.00001, max: 1}\n  width: {min: 4, max: 256}\n  dropout: {min: 0.0, max: 0.6}\n"
                          "  momentum: {min: 0.0, max: 1.0}\n  kind: [relu, gelu, tanh]\n  layers: {min: 1, max: 4}\n",
                          method, (long long)points + 1000);
    struct sweep *sweep = sweep_parse(text, (size_t)length, "bench-search.yaml", error);
    int result = sweep != NULL ? sweep_submit(hub, sweep, NULL, &submission, error) : -1;
    if (result == 0) {
        snprintf(id, HUB_ID_SIZE, "%s", submission.sweep_id);
    }
    sweep_free(sweep);
    return result;
}

/* The task of this point, as task_tell leaves it. */
static void make_task(const bson_t *first, const char *sweep, int64_t number, int64_t seq, int64_t now, bson_t *task)
{
    static const char *const kinds[] = {"relu", "gelu", "tanh"};
    char id[HUB_ID_SIZE], claim[HUB_ID_SIZE], digits[24];
    bson_t part, metrics;
    double rate = pow(10, -5 * draw()), dropout = 0.6 * draw(), momentum = draw();
    int width = 4 + (int)(draw() * 253), kind = (int)(draw() * 3), layers = 1 + (int)(draw() * 4);

    snprintf(digits, sizeof digits, "%lld", (long long)number);
    hub_digest_id((const char *const[]){"task", "default", sweep, digits}, 4, id);
    hub_random_id(claim);
    bson_init(task);
    BSON_APPEND_UTF8(task, "_id", id);
    bson_copy_to_excluding_noinit(first, task, "_id", "seq", "state", "point", "point_number", NULL);
    BSON_APPEND_INT64(task, "seq", seq);
    BSON_APPEND_UTF8(task, "state", "done");
    BSON_APPEND_INT64(task, "point_number", number);
    BSON_APPEND_DOCUMENT_BEGIN(task, "point", &part);
    BSON_APPEND_DOUBLE(&part, "rate", rate);
    BSON_APPEND_INT32(&part, "width", width);
    BSON_APPEND_DOUBLE(&part, "dropout", dropout);
    BSON_APPEND_DOUBLE(&part, "momentum", momentum);
    BSON_APPEND_UTF8(&part, "kind", kinds[kind]);
    BSON_APPEND_INT32(&part, "layers", layers);
    bson_append_document_end(task, &part);
    BSON_APPEND_DATE_TIME(task, "claimed_at", now + number * 500);
    BSON_APPEND_DATE_TIME(task, "finished_at", now + number * 500 + 400);
    BSON_APPEND_DOCUMENT_BEGIN(task, "result", &part);
    BSON_APPEND_UTF8(&part, "claim_id", claim);
    BSON_APPEND_DOCUMENT_BEGIN(&part, "metrics", &metrics);
    BSON_APPEND_DOUBLE(&metrics, "value", fabs(log10(rate) + 2.5) + dropout + fabs(momentum - 0.9) + 4.0 / width + 0.1 * kind);
    bson_append_document_end(&part, &metrics);
    bson_append_document_end(task, &part);
    BSON_APPEND_BOOL(task, "published", true);
}

static int fill(struct hub *hub, const char *sweep, int64_t points, bson_error_t *error)
{
    static bson_t documents[TOGETHER];
    static struct store_operation operations[TOGETHER];
    bson_t first, filter = BSON_INITIALIZER, fields = BSON_INITIALIZER;
    int64_t number, result = -1;

    BSON_APPEND_UTF8(&filter, "sweep", sweep);
    if (store_find_one(hub_store(hub), "tasks", &filter, NULL, &first, error) <= 0 ||
        store_delete(hub_store(hub), "tasks", &filter, error) < 0 ||
        store_counter_add(hub_store(hub), "tasks:default", points, &number, error) < 0) {
        goto out;
    }
    for (int64_t i = 0; i < points; i += TOGETHER) {
        size_t n = (size_t)(points - i < TOGETHER ? points - i : TOGETHER);
        for (size_t j = 0; j < n; j++) {
            int64_t which = i + (int64_t)j;
            make_task(&first, sweep, which, number + which, INT64_C(1700000000000), &documents[j]);
            operations[j] = (struct store_operation){.kind = STORE_INSERT, .collection = "tasks", .document = &documents[j]};
        }
        result = store_batch(hub_store(hub), operations, n, NULL, error);
        for (size_t j = 0; j < n; j++) {
            bson_destroy(&documents[j]);
        }
        if (result < 0) {
            goto out;
        }
    }
    BSON_APPEND_INT64(&fields, "proposed", points);
    BSON_APPEND_INT64(&fields, "submitted", points);
    BSON_APPEND_INT64(&fields, "ended", points);
    result = sweep_record_note(hub, sweep, &fields, error);
out:
    bson_destroy(&fields);
    bson_destroy(&filter);
    bson_destroy(&first);
    return (int)result;
}

/* As whoever proposed the last points would have done: results are kept, and the next points made. */
static int go_on(struct hub *hub, const char *sweep, bson_error_t *error)
{
    struct sweep_search *search = sweep_search_open(hub, sweep, error);
    int64_t made = search != NULL ? sweep_search_step(search, hub, 1, error) : -1;
    sweep_search_close(search);
    return made < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    bson_error_t error;
    char sweep[HUB_ID_SIZE];

    if (argc != 4) {
        fprintf(stderr, "usage: %s URI POINTS METHOD\n", argv[0]);
        return 2;
    }
    int64_t points = strtoll(argv[2], NULL, 10);
    struct hub *hub = hub_init(argv[1], "default", &error) < 0 ? NULL : hub_open(argv[1], NULL, HUB_OPEN_EXISTING, &error);
    int code = hub != NULL && submit(hub, points, argv[3], sweep, &error) == 0 && fill(hub, sweep, points, &error) > 0 &&
                       go_on(hub, sweep, &error) == 0
                   ? 0
                   : 1;
    if (code != 0) {
        fprintf(stderr, "%s: %s\n", argv[0], error.message);
    }
    hub_close(hub);
    return code;
}
