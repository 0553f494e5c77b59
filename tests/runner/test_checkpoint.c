/* SPDX-License-Identifier: Apache-2.0 */
/* A run that was stopped, paused or killed and taken up by another worker ends as one that ran through: the same bits, the
 * same logs, each point once. */
#include "fixture.h"

#include <dirent.h>

TestSuite(checkpoint, .init = open_hub, .fini = close_hub, .timeout = 120);

/* Some seconds on the ref device; everything that a checkpoint has to carry: dropout, momentum or moments, the best
 * parameters, a log point every so many batches that do not divide the epoch. */
#define NET "'dataset': 'blobs', 'architecture': 'dropout:0.1 dense:24:relu dropout:0.5 dense:3'"
#define ADAM "'epochs': 300, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002"
#define SGD "'epochs': 300, 'batch_size': 7, 'seed': 5, 'optimizer': 'sgd', 'learning_rate': 0.01, 'momentum': 0.9"

static void add(const char *name, const char *hyper_parameters, const char *more)
{
    bson_t *fields = json("{'name': '%s', " NET ", 'keep': 'best', 'hyper_parameters': {%s}%s%s}", name, hyper_parameters,
                          *more ? ", " : "", more);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
}

/* Points as text, without what differs from run to run. */
static int tell_bucket(const bson_t *bucket, void *data)
{
    bson_string_t *text = data;
    bson_t points;
    bson_iter_t at, field;
    cr_assert(document_array(bucket, "points", &points) && bson_iter_init(&at, &points));
    while (bson_iter_next(&at)) {
        bson_t point = BSON_INITIALIZER;
        cr_assert(bson_iter_recurse(&at, &field));
        while (bson_iter_next(&field))
            if (strcmp(bson_iter_key(&field), "seconds"))
                bson_append_iter(&point, NULL, 0, &field);
        char *line = document_json(&point);
        bson_string_append_printf(text, "%s %s\n", document_string(bucket, "split"), line);
        bson_free(line);
        bson_destroy(&point);
    }
    return 0;
}

static char *logs_of(const char *name)
{
    bson_string_t *text = bson_string_new(NULL);
    bson_t *filter = json("{'name': '%s'}", name);
    cr_assert_geq(logs_read(hub, filter, NULL, tell_bucket, text, error), 0, "%s", error->message);
    bson_destroy(filter);
    return bson_string_free(text, false);
}

/* The first line in which two texts differ, for the message. */
static void expect_same_logs(const char *one, const char *other)
{
    char *a = logs_of(one), *b = logs_of(other), *x = a, *y = b;
    cr_expect_gt(strlen(a), 1000);
    while (*x && *x == *y)
        x++, y++;
    if (*x || *y) {
        while (x > a && x[-1] != '\n')
            x--, y--;
        cr_expect(false, "%s and %s differ at '%.*s' and '%.*s'", one, other, (int)strcspn(x, "\n"), x,
                  (int)strcspn(y, "\n"), y);
    }
    bson_free(a);
    bson_free(b);
}

static void expect_same_model(const char *one, const char *other)
{
    char filter[64];
    snprintf(filter, sizeof filter, "{'name': '%s'}", one);
    bson_t *first = find_one("models", filter);
    snprintf(filter, sizeof filter, "{'name': '%s'}", other);
    bson_t *second = find_one("models", filter);
    static const char *const same[] = {"metrics.best_epoch", "metrics.train_loss", "metrics.validation_loss",
                                       "metrics.test_loss", "epochs"};
    cr_expect_str_eq(document_string(first, "sha256"), document_string(second, "sha256"), "%s and %s", one, other);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        cr_expect_eq(number(first, same[i]), number(second, same[i]), "%s", same[i]);
    bson_destroy(first);
    bson_destroy(second);
}

static void run_all(struct heard *heard)
{
    run((struct runner_options){.workers = 1, .until_empty = true}, heard);
}

static void expect_finished(const char *name)
{
    char filter[64];
    snprintf(filter, sizeof filter, "{'name': '%s'}", name);
    bson_t *task = find_one("tasks", filter);
    cr_expect_str_eq(document_string(task, "state"), "done", "%s", document_string(task, "error.message"));
    cr_expect(!document_has(task, "checkpoint"));
    bson_destroy(task);
}

/* Runs until some of it was trained (more than a second of it, or a stop would not be worth a checkpoint). */
static pid_t run_for_a_while(const char *options)
{
    pid_t runner = start_runner(options);
    wait_for("tasks", "{'state': 'running', 'progress.seconds': {'$gt': 1.2}}", 1, 60);
    return runner;
}

static void stop(pid_t runner)
{
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
}

static void stops_leave_no_trace(const char *hyper_parameters, const char *more)
{
    add("through", hyper_parameters, more);
    run_all(NULL);
    add("stopped", hyper_parameters, more);
    for (int i = 0; i < 3; i++) {
        stop(run_for_a_while("{\"workers\": 1, \"lease_ms\": 3000}"));
        bson_t *task = find_one("tasks", "{'name': 'stopped'}");
        cr_expect_str_eq(document_string(task, "state"), "ready");
        cr_expect_eq(number(task, "crashes"), 0);
        cr_expect_gt(number(task, "checkpoint.step"), 0);
        bson_destroy(task);
    }
    struct heard heard = {0};
    run_all(&heard);
    cr_expect_not_null(strstr(heard.last, "goes on from its checkpoint"), "%s", heard.last);
    expect_finished("stopped");
    expect_same_model("through", "stopped");
    expect_same_logs("through", "stopped");
}

#define LONGER "'epochs': 3000, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002"
#define LONGER_SGD "'epochs': 3000, 'batch_size': 7, 'seed': 5, 'optimizer': 'sgd', 'learning_rate': 0.01, 'momentum': 0.9"

Test(checkpoint, of_a_run_stopped_thrice_with_points_of_epochs)
{
    stops_leave_no_trace(LONGER, "");
}

Test(checkpoint, of_a_run_stopped_thrice_with_points_of_batches)
{
    stops_leave_no_trace(LONGER_SGD, "'log_every': 10");
}
