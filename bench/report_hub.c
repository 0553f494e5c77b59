/* SPDX-License-Identifier: Apache-2.0 */
/* A hub with a sweep of so many finished tasks and their models, as a search leaves it: bench_report_hub URI TASKS [PROJECTS
 * [RUNNERS]]. With projects the tasks are spread over them, as in a lab, and there are records of runners. Weights are not
 * written; nothing that is measured reads them. */
#include "hub/hub.h"
#include "hub/sweep_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOGETHER 1000

static uint64_t state = 1;
static int64_t projects = 1, runners;

/* xorshift64* (Vigna 2016): 0 to 1. */
static double draw(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (double)((state * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0;
}

static void append_common(bson_t *out, const char *id, const char *project, int64_t now)
{
    bson_init(out);
    BSON_APPEND_UTF8(out, "_id", id);
    BSON_APPEND_UTF8(out, "project", project);
    BSON_APPEND_UTF8(out, "name", "bench-sweep");
    BSON_APPEND_DATE_TIME(out, "created_at", now);
    BSON_APPEND_INT32(out, "schema_version", HUB_SCHEMA_VERSION);
}

static void append_parameters(bson_t *out, const char *key, int hidden, double rate, double dropout, const char *optimizer)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(out, key, &part);
    BSON_APPEND_INT32(&part, "hidden", hidden);
    BSON_APPEND_DOUBLE(&part, "learning_rate", rate);
    BSON_APPEND_DOUBLE(&part, "dropout", dropout);
    BSON_APPEND_UTF8(&part, "optimizer", optimizer);
    BSON_APPEND_INT32(&part, "batch_size", 64);
    BSON_APPEND_INT32(&part, "epochs", 20);
    bson_append_document_end(out, &part);
}

static void append_metrics(bson_t *out, const char *key, double accuracy)
{
    static const char *const names[] = {"accuracy", "validation_accuracy", "test_accuracy", "train_accuracy", "f1"};
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(out, key, &part);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        BSON_APPEND_DOUBLE(&part, names[i], accuracy - (double)i * 0.001);
    }
    BSON_APPEND_DOUBLE(&part, "loss", 1 - accuracy);
    bson_append_document_end(out, &part);
}

static void make_pair(int64_t i, int64_t now, const char *sweep, bson_t *task, bson_t *model)
{
    char id[HUB_ID_SIZE], claim[HUB_ID_SIZE];
    bson_t part;
    int hidden = 8 << (int)(draw() * 7);
    double rate = pow(10, -4 + 3 * draw()), dropout = 0.6 * draw(), seconds = 0.5 + hidden * 0.01 * (1 + draw());
    const char *optimizer = draw() < 0.5 ? "adam" : "sgd";
    double accuracy = 0.98 - 0.15 * fabs(log10(rate) + 2.5) / 2 - 0.2 * dropout * dropout - 0.6 / hidden + 0.02 * draw();

    char project[32] = "default";

    hub_random_id(id);
    hub_random_id(claim);
    if (i % projects > 0) {
        snprintf(project, sizeof project, "project-%d", (int)(i % projects));
    }
    append_common(task, id, project, now);
    BSON_APPEND_INT32(task, "lane", 0);
    BSON_APPEND_UTF8(task, "queue", "default");
    BSON_APPEND_UTF8(task, "resource_class", "cpu");
    BSON_APPEND_UTF8(task, "kind", "train");
    BSON_APPEND_UTF8(task, "state", "done");
    BSON_APPEND_INT32(task, "priority", 0);
    BSON_APPEND_INT64(task, "seq", i + 1);
    BSON_APPEND_UTF8(task, "sweep", sweep);
    BSON_APPEND_UTF8(task, "dataset", "digits");
    BSON_APPEND_UTF8(task, "architecture", "dense:${hidden}:relu dense:10");
    append_parameters(task, "point", hidden, rate, dropout, optimizer);
    append_parameters(task, "hyper_parameters", hidden, rate, dropout, optimizer);
    BSON_APPEND_DATE_TIME(task, "claimed_at", now + i * 500);
    BSON_APPEND_DATE_TIME(task, "finished_at", now + i * 500 + (int64_t)(seconds * 1000));
    BSON_APPEND_BOOL(task, "published", true);
    BSON_APPEND_DOCUMENT_BEGIN(task, "result", &part);
    BSON_APPEND_UTF8(&part, "claim_id", claim);
    append_metrics(&part, "metrics", accuracy);
    bson_append_document_end(task, &part);
    append_common(model, claim, project, now + i * 500);
    BSON_APPEND_UTF8(model, "task", id);
    BSON_APPEND_INT64(model, "task_seq", i + 1);
    BSON_APPEND_UTF8(model, "sweep", sweep);
    append_parameters(model, "point", hidden, rate, dropout, optimizer);
    append_metrics(model, "metrics", accuracy);
    BSON_APPEND_DOUBLE(model, "accuracy", accuracy);
    BSON_APPEND_DOUBLE(model, "loss", 1 - accuracy);
    BSON_APPEND_INT64(model, "parameters", 64 * hidden + hidden + hidden * 10 + 10);
    BSON_APPEND_INT64(model, "bytes", 4 * (64 * hidden + hidden + hidden * 10 + 10));
    BSON_APPEND_DOUBLE(model, "training_seconds", seconds);
}

static int fill(struct hub *hub, int64_t tasks, const char *sweep, bson_error_t *error)
{
    static bson_t documents[2 * TOGETHER];
    static struct store_operation operations[2 * TOGETHER];
    int64_t now = (int64_t)time(NULL) * 1000 - tasks * 500;

    for (int64_t i = 0; i < tasks; i += TOGETHER) {
        size_t n = (size_t)(tasks - i < TOGETHER ? tasks - i : TOGETHER);
        for (size_t j = 0; j < n; j++) {
            make_pair(i + (int64_t)j, now, sweep, &documents[j], &documents[n + j]);
            operations[j] = (struct store_operation){.kind = STORE_INSERT, .collection = "tasks", .document = &documents[j]};
            operations[n + j] =
                (struct store_operation){.kind = STORE_INSERT, .collection = "models", .document = &documents[n + j]};
        }
        int done = store_batch(hub_store(hub), operations, 2 * n, NULL, error);
        for (size_t j = 0; j < 2 * n; j++) {
            bson_destroy(&documents[j]);
        }
        if (done < 0) {
            return -1;
        }
    }
    return 1;
}

/* As living runners keep them, with a task each. */
static int add_runners(struct hub *hub, bson_error_t *error)
{
    int64_t now = (int64_t)time(NULL) * 1000;
    int result = 1;

    for (int64_t i = 0; i < runners && result > 0; i++) {
        char id[HUB_ID_SIZE];
        bson_t runner, part;
        hub_random_id(id);
        append_common(&runner, id, "default", now);
        BSON_APPEND_UTF8(&runner, "state", "running");
        BSON_APPEND_UTF8(&runner, "host", "node");
        BSON_APPEND_INT32(&runner, "pid", (int32_t)i + 1);
        BSON_APPEND_INT32(&runner, "workers", 8);
        BSON_APPEND_INT64(&runner, "beat", i);
        BSON_APPEND_DATE_TIME(&runner, "beat_at", now);
        BSON_APPEND_DATE_TIME(&runner, "started_at", now);
        BSON_APPEND_ARRAY_BEGIN(&runner, "queues", &part);
        BSON_APPEND_UTF8(&part, "0", "default");
        bson_append_array_end(&runner, &part);
        BSON_APPEND_ARRAY_BEGIN(&runner, "tasks", &part);
        BSON_APPEND_UTF8(&part, "0", id);
        bson_append_array_end(&runner, &part);
        BSON_APPEND_INT64(&runner, "tasks_done", 500);
        BSON_APPEND_INT64(&runner, "tasks_failed", 1);
        result = store_insert(hub_store(hub), "runners", &runner, error);
        bson_destroy(&runner);
    }
    return result;
}

int main(int argc, char **argv)
{
    bson_error_t error;
    bson_t fields = BSON_INITIALIZER, specification = BSON_INITIALIZER, record, metric;
    int64_t first;
    int code = 1;

    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: %s URI TASKS [PROJECTS [RUNNERS]]\n", argv[0]);
        return 2;
    }
    projects = argc > 3 && strtoll(argv[3], NULL, 10) > 0 ? strtoll(argv[3], NULL, 10) : 1;
    runners = argc > 4 ? strtoll(argv[4], NULL, 10) : 0;
    int64_t tasks = strtoll(argv[2], NULL, 10);
    struct hub *hub = hub_init(argv[1], "default", &error) < 0 ? NULL : hub_open(argv[1], NULL, HUB_OPEN_EXISTING, &error);
    BSON_APPEND_UTF8(&specification, "method", "random");
    BSON_APPEND_UTF8(&fields, "name", "bench-sweep");
    BSON_APPEND_DOCUMENT(&fields, "specification", &specification);
    BSON_APPEND_DOCUMENT_BEGIN(&fields, "metric", &metric);
    BSON_APPEND_UTF8(&metric, "name", "validation_accuracy");
    BSON_APPEND_UTF8(&metric, "goal", "maximize");
    bson_append_document_end(&fields, &metric);
    bson_init(&record);
    if (hub != NULL) {
        bson_destroy(&record);
        bson_iter_t id;
        if (sweep_record_save(hub, &fields, &record, &error) >= 0 && bson_iter_init_find(&id, &record, "_id") &&
            store_counter_add(hub_store(hub), "tasks", tasks, &first, &error) >= 0 &&
            fill(hub, tasks, bson_iter_utf8(&id, NULL), &error) > 0 && add_runners(hub, &error) > 0) {
            code = 0;
        }
    }
    if (code != 0) {
        fprintf(stderr, "%s: %s\n", argv[0], error.message);
    }
    bson_destroy(&record);
    bson_destroy(&fields);
    bson_destroy(&specification);
    hub_close(hub);
    return code;
}
