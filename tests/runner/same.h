/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_RUNNER_SAME_H
#define TL_TESTS_RUNNER_SAME_H

/* Runs that are stopped, and that they end as one that ran through: the same weights, metrics and logs, to the last bit. */
#include "fixture.h"

/* Points as text, without what differs from run to run. */
static inline int tell_bucket(const bson_t *bucket, void *data)
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

static inline char *logs_of(const char *name)
{
    bson_string_t *text = bson_string_new(NULL);
    bson_t *filter = json("{'name': '%s'}", name);
    cr_assert_geq(logs_read(hub, filter, NULL, tell_bucket, text, error), 0, "%s", error->message);
    bson_destroy(filter);
    return bson_string_free(text, false);
}

/* The first line in which two texts differ, for the message. */
static inline void expect_same_logs(const char *one, const char *other)
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

static inline void expect_same_model(const char *one, const char *other)
{
    char filter[64];
    snprintf(filter, sizeof filter, "{'name': '%s'}", one);
    bson_t *first = find_one("models", filter);
    snprintf(filter, sizeof filter, "{'name': '%s'}", other);
    bson_t *second = find_one("models", filter);
    bson_t metrics[2];
    cr_expect_str_eq(document_string(first, "sha256"), document_string(second, "sha256"), "%s and %s", one, other);
    cr_expect_eq(number(first, "epochs"), number(second, "epochs"));
    cr_assert(document_child(first, "metrics", &metrics[0]) && document_child(second, "metrics", &metrics[1]));
    char *all[] = {document_json(&metrics[0]), document_json(&metrics[1])};
    cr_expect_gt(strlen(all[0]), 10);
    cr_expect_str_eq(all[0], all[1], "%s and %s", one, other);
    bson_free(all[0]);
    bson_free(all[1]);
    bson_destroy(first);
    bson_destroy(second);
}

/* On the device that TL_TEST_DEVICE names, else on ref. */
static inline void run_all(struct heard *heard)
{
    run((struct runner_options){.workers = 1, .until_empty = true, .device = getenv("TL_TEST_DEVICE")}, heard);
}

static inline void expect_finished(const char *name)
{
    char filter[64];
    snprintf(filter, sizeof filter, "{'name': '%s'}", name);
    bson_t *task = find_one("tasks", filter);
    cr_expect_str_eq(document_string(task, "state"), "done", "%s", document_string(task, "error.message"));
    cr_expect(!document_has(task, "checkpoint"));
    bson_destroy(task);
}

static inline pid_t start_slow_runner(const char *options)
{
    setenv("TL_TEST_SLOW", "1", 1);
    pid_t runner = start_runner(options);
    unsetenv("TL_TEST_SLOW");
    return runner;
}

/* Runs until some of it was trained (more than a second of it, or a stop would not be worth a checkpoint). */
static inline pid_t run_for_a_while(const char *options)
{
    pid_t runner = start_slow_runner(options);
    wait_for("tasks", "{'state': 'running', 'progress.seconds': {'$gt': 1.2}}", 1, 60);
    return runner;
}

static inline void stop(pid_t runner)
{
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
}

#endif
