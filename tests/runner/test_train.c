/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker makes of a task. */
#include "fixture.h"

TestSuite(train, .init = open_hub, .fini = close_hub, .timeout = 60);

Test(train, a_task_becomes_a_model_with_metrics_and_logs)
{
    struct heard heard = {0};
    add_task("first", "'epochs': 5, 'batch_size': 16, 'learning_rate': 0.01", "'tags': ['small'], 'description': 'blobs apart'");
    struct runner_summary summary = run((struct runner_options){.workers = 1, .until_empty = true}, &heard);
    cr_expect_eq(summary.done, 1);
    cr_expect_eq(heard.claimed, 1);
    cr_expect_eq(heard.epochs, 5);
    bson_t *task = find_one("tasks", "{'name': 'first'}"), *model = find_one("models", "{'name': 'first'}");
    cr_expect_str_eq(document_string(task, "state"), "done");
    cr_expect_gt(number(task, "result.metrics.test_accuracy"), 0.95);
    cr_expect_eq(number(task, "result.metrics.accuracy"), number(task, "result.metrics.test_accuracy"));
    cr_expect_eq(number(model, "accuracy"), number(model, "metrics.test_accuracy"));
    cr_expect_eq(number(model, "parameters"), 8 * 16 + 16 + 16 * 3 + 3);
    cr_expect_eq(number(model, "hyper_parameters.batch_size"), 16);
    cr_expect_str_eq(document_string(model, "hyper_parameters.optimizer"), "adam");
    cr_expect_str_eq(document_string(model, "dataset.name"), "blobs");
    cr_expect_str_eq(document_string(model, "dataset.query.name"), "blobs");
    cr_expect_not_null(document_string(model, "dataset.digest"));
    cr_expect(document_has(model, "architecture.layers"));
    cr_expect_str_eq(document_string(model, "device"), "ref");
    cr_expect_eq(count("logs", "{'split': 'train', 'points.4.epoch': 5}"), 1);
    cr_expect_eq(count("logs", "{'split': 'validation', 'points.4.epoch': 5}"), 1);
    cr_expect_eq(count("logs", "{'split': 'test'}"), 1);
    cr_expect_eq(count("runners", "{'state': 'gone', 'tasks': []}"), 1);
    bson_destroy(task);
    bson_destroy(model);
}
