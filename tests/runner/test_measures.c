/* SPDX-License-Identifier: Apache-2.0 */
/* Losses of classes and of values, metrics, schedules: from a dataset to the model's document. */
#include "values.h"

#include <math.h>

static void begin(void)
{
    open_hub();
    save_kind("line", "line", 300);
    save_kind("yes", "yes", 300);
    save_kind("pair", "classes", 300);
}

TestSuite(measures, .init = begin, .fini = close_hub, .timeout = 60);

static void add(const char *name, const char *dataset, const char *architecture, const char *hyper_parameters,
                const char *more)
{
    bson_t *fields = json("{'name': '%s', 'dataset': '%s', 'architecture': '%s', 'hyper_parameters': {%s}%s%s}", name,
                          dataset, architecture, hyper_parameters, *more ? ", " : "", more);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
}

static bson_t *run_and_find(const char *name)
{
    char filter[64];
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    snprintf(filter, sizeof filter, "{'name': '%s'}", name);
    bson_t *task = find_one("tasks", filter);
    cr_assert_str_eq(document_string(task, "state"), "done", "%s", document_string(task, "error.message"));
    return task;
}

Test(measures, regressions_train_from_targets_that_are_values)
{
    static const char *const losses[] = {"mse", "mae", "huber"};
    for (size_t i = 0; i < 3; i++) {
        char hyper_parameters[160];
        snprintf(hyper_parameters, sizeof hyper_parameters, "'epochs': 40, 'batch_size': 10, 'learning_rate': 0.01, 'loss': '%s'%s",
                 losses[i], i == 2 ? ", 'huber_delta': 0.5" : "");
        add(losses[i], "line", "dense:2", hyper_parameters, "");
        bson_t *task = run_and_find(losses[i]);
        cr_expect_gt(number(task, "result.metrics.test_r2"), 0.99, "%s", losses[i]);
        cr_expect_lt(number(task, "result.metrics.test_mae"), 0.1);
        cr_expect_geq(number(task, "result.metrics.test_rmse"), number(task, "result.metrics.test_mae"));
        cr_expect_eq(number(task, "result.metrics.rmse"), number(task, "result.metrics.test_rmse"));
        cr_expect(!document_has(task, "result.metrics.test_accuracy"));
        cr_expect(!document_has(task, "result.metrics.train_rmse"), "the train split is not measured apart");
        if (i == 0)
            cr_expect_float_eq(number(task, "result.metrics.test_loss"), pow(number(task, "result.metrics.test_rmse"), 2), 1e-6);
        if (i == 1)
            cr_expect_float_eq(number(task, "result.metrics.test_loss"), number(task, "result.metrics.test_mae"), 1e-6);
        bson_destroy(task);
    }
}

Test(measures, yes_or_no_trains_from_values_and_from_two_classes)
{
#define BINARY "'epochs': 30, 'batch_size': 10, 'learning_rate': 0.02, 'loss': 'binary_cross_entropy'"
    add("values", "yes", "dense:1", BINARY, "'metrics': ['auc', 'f1', 'confusion_matrix']");
    bson_t *values = run_and_find("values");
    add("classes", "pair", "dense:1", BINARY, "'metrics': ['auc', 'f1', 'confusion_matrix']");
    bson_t *classes = run_and_find("classes");
    cr_expect_gt(number(values, "result.metrics.test_accuracy"), 0.9);
    cr_expect_gt(number(values, "result.metrics.test_auc"), 0.95);
    cr_expect_gt(number(values, "result.metrics.validation_f1"), 0.9);
    cr_expect(!document_has(values, "result.metrics.test_precision"), "not on the list");
    static const char *const same[] = {"result.metrics.test_accuracy", "result.metrics.test_auc", "result.metrics.test_loss",
                                       "result.metrics.train_loss",
                                       "result.metrics.test_confusion_matrix.0.0", "result.metrics.test_confusion_matrix.1.0"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        cr_expect_eq(number(values, same[i]), number(classes, same[i]), "%s", same[i]);
    double right = number(values, "result.metrics.test_confusion_matrix.0.0") +
                   number(values, "result.metrics.test_confusion_matrix.1.1");
    cr_expect_float_eq(right / 60, number(values, "result.metrics.test_accuracy"), 1e-12);
    bson_t *model = find_one("models", "{'name': 'classes'}");
    cr_expect_eq(number(model, "classes"), 2);
    cr_expect_eq(number(model, "metrics.validation_confusion_matrix.0.0"),
                 number(classes, "result.metrics.validation_confusion_matrix.0.0"));
    bson_destroy(model);
    bson_destroy(values);
    bson_destroy(classes);
}

Test(measures, of_classes_by_default_and_when_asked_for)
{
    add_task("some", "'epochs': 3", "");
    bson_t *task = run_and_find("some");
    cr_expect_gt(number(task, "result.metrics.test_f1"), 0.0);
    cr_expect_gt(number(task, "result.metrics.precision"), 0.0);
    cr_expect(!document_has(task, "result.metrics.test_top_k_accuracy"));
    cr_expect(!document_has(task, "result.metrics.test_auc"), "there are three classes");
    cr_expect_eq(count("logs", "{'split': 'validation', 'points.2.f1': {'$gt': 0}, 'points.2.recall': {'$gt': 0}}"), 1);
    bson_destroy(task);
    add_task("named", "'epochs': 3", "'metrics': [], 'top_k': 2, 'metric': {'name': 'validation_top_k_accuracy'},"
                                     " 'result_keys': ['test_f1', 'objective_is_not_one']");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    task = find_one("tasks", "{'name': 'named'}");
    cr_expect_not_null(strstr(document_string(task, "error.message"), "objective_is_not_one"));
    bson_destroy(task);
    add_task("right", "'epochs': 3", "'metrics': [], 'top_k': 2, 'metric': {'name': 'validation_top_k_accuracy'},"
                                     " 'result_keys': ['test_f1', 'test_confusion_matrix']");
    task = run_and_find("right");
    bson_t *model = find_one("models", "{'name': 'right'}");
    cr_expect_gt(number(model, "objective"), 0.6);
    cr_expect_gt(number(task, "result.metrics.test_f1"), 0.0);
    cr_expect(document_has(task, "result.metrics.test_confusion_matrix.2.2"));
    bson_destroy(task);
    bson_destroy(model);
}

Test(measures, the_best_epoch_goes_the_way_of_its_metric)
{
    static const char *const names[] = {"rmse", "r2"};
    for (size_t i = 0; i < 2; i++) {
        char more[120];
        snprintf(more, sizeof more, "'keep': 'best', 'metric': {'name': 'validation_%s'}", names[i]);
        add(names[i], "line", "dense:3:relu dense:2", "'epochs': 12, 'batch_size': 4, 'learning_rate': 0.3", more);
        bson_t *task = run_and_find(names[i]), points;
        char filter[128], path[64];
        snprintf(filter, sizeof filter, "{'split': 'validation', 'task': '%s'}", document_string(task, "_id"));
        bson_t *log = find_one("logs", filter);
        double best = 0, last = 0;
        int64_t epoch = 0;
        cr_assert(document_array(log, "points", &points));
        for (int64_t e = 1; e <= 12; e++) {
            snprintf(path, sizeof path, "%lld.%s", (long long)e - 1, names[i]);
            last = number(&points, path);
            if (epoch == 0 || (i == 0 ? last < best : last > best)) {
                best = last;
                epoch = e;
            }
        }
        cr_expect_neq(best, last, "the last is the best: this test shows nothing");
        cr_expect_eq(number(task, "result.metrics.best_epoch"), (double)epoch, "%s", names[i]);
        snprintf(path, sizeof path, "result.metrics.validation_%s", names[i]);
        cr_expect_eq(number(task, path), best);
        bson_destroy(log);
        bson_destroy(task);
    }
}

Test(measures, a_test_task_measures_what_it_is_asked_for)
{
    add("base", "pair", "dense:1", BINARY, "");
    bson_t *base = run_and_find("base");
    bson_t *fields = json("{'name': 'tested', 'kind': 'test', 'model': 'base', 'metrics': ['auc', 'confusion_matrix']}");
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_t *tested = run_and_find("tested");
    cr_expect_eq(number(tested, "result.metrics.auc"), number(base, "result.metrics.test_auc"));
    cr_expect(document_has(tested, "result.metrics.test_confusion_matrix.1.1"));
    bson_destroy(base);
    bson_destroy(tested);
    bson_destroy(fields);
}

Test(measures, the_learning_rate_follows_its_schedule_and_is_logged)
{
    add_task("falls", "'epochs': 6, 'batch_size': 30, 'learning_rate': 0.8, 'optimizer': 'sgd', 'schedule': 'step', 'step_epochs': 2,"
                      " 'gamma': 0.5", "");
    add_task("warms", "'epochs': 2, 'batch_size': 30, 'learning_rate': 0.1, 'schedule': 'cosine', 'warmup_steps': 4",
             "'log_every': 1");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *log = find_one("logs", "{'split': 'train', 'unit': 'epoch'}");
    static const double steps[] = {0.8, 0.8, 0.4, 0.4, 0.2, 0.2};
    for (int i = 0; i < 6; i++) {
        char path[64];
        snprintf(path, sizeof path, "points.%d.learning_rate", i);
        cr_expect_float_eq(number(log, path), steps[i], 1e-12);
    }
    bson_destroy(log);
    log = find_one("logs", "{'split': 'train', 'unit': 'batch'}");
    cr_expect_float_eq(number(log, "points.0.learning_rate"), 0.025, 1e-12);
    cr_expect_float_eq(number(log, "points.3.learning_rate"), 0.1, 1e-12);
    cr_expect_float_eq(number(log, "points.12.learning_rate"), 0.05, 1e-12, "half of the 16 steps after the warm-up");
    bson_destroy(log);
}

Test(measures, a_rate_that_falls_makes_another_model)
{
    add_task("plain", "'epochs': 3, 'optimizer': 'rmsprop', 'clip_norm': 0.1", "");
    add_task("clipped", "'epochs': 3, 'optimizer': 'rmsprop'", "");
    add_task("falling", "'epochs': 3, 'optimizer': 'rmsprop', 'clip_norm': 0.1, 'schedule': 'exponential', 'gamma': 0.5", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *plain = find_one("models", "{'name': 'plain'}"), *clipped = find_one("models", "{'name': 'clipped'}"),
           *falling = find_one("models", "{'name': 'falling'}");
    cr_expect_str_neq(document_string(plain, "sha256"), document_string(clipped, "sha256"));
    cr_expect_str_neq(document_string(plain, "sha256"), document_string(falling, "sha256"));
    bson_destroy(plain);
    bson_destroy(clipped);
    bson_destroy(falling);
}

Test(measures, what_does_not_fit_fails_and_names_the_field)
{
    static const struct {
        const char *dataset, *architecture, *hyper_parameters, *more, *said;
    } wrong[] = {
        {"blobs", "dense:1", "'loss': 'binary_cross_entropy'", "", "hyper_parameters.loss"},
        {"line", "dense:2", "'loss': 'binary_cross_entropy'", "", "is not from 0 to 1"},
        {"line", "dense:2", "'loss': 'bpr'", "", "hyper_parameters: loss"},
        {"line", "dense:2", "'huber_delta': 1", "", "huber_delta"},
        {"line", "dense:2", "'schedule': 'step'", "", "step_epochs"},
        {"line", "dense:2", "'gamma': 0.5", "", "gamma"},
        {"line", "dense:2", "'clip_norm': 'much'", "", "hyper_parameters.clip_norm"},
        {"line", "dense:2", "'clip_norm': -1", "", "clip_norm"},
        {"line", "dense:2", "", "'metrics': ['f1']", "f1"},
        {"line", "dense:2", "", "'metrics': ['colour']", "colour"},
        {"blobs", "dense:3", "", "'metrics': ['top_k_accuracy']", "top_k"},
        {"pair", "dense:2", "'loss': 'binary_cross_entropy'", "", "the data needs 1"},
    };
    size_t n = sizeof wrong / sizeof *wrong;
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "wrong%zu", i);
        add(name, wrong[i].dataset, wrong[i].architecture, wrong[i].hyper_parameters, wrong[i].more);
    }
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    for (size_t i = 0; i < n; i++) {
        char filter[64];
        snprintf(filter, sizeof filter, "{'name': 'wrong%zu'}", i);
        bson_t *task = find_one("tasks", filter);
        const char *message = document_string(task, "error.message");
        cr_expect_str_eq(document_string(task, "state"), "failed", "%s %s", wrong[i].hyper_parameters, wrong[i].more);
        cr_expect(message && strstr(message, wrong[i].said), "%s: %s", wrong[i].said, message ? message : "(none)");
        bson_destroy(task);
    }
}

/* The rate rises until the steps no longer converge: a square loss then grows beyond all numbers. */
#define RISES "'epochs': 40, 'batch_size': 10, 'loss': 'mse', 'optimizer': 'sgd', 'learning_rate': 30.0, 'warmup_epochs': 40"

Test(measures, a_run_that_goes_back_ends_with_a_lower_rate)
{
    add("fails", "line", "dense:2", RISES, "");
    add("back", "line", "dense:2", RISES, "'on_nonfinite': 'rollback'");
    add("again", "line", "dense:2", RISES, "'on_nonfinite': 'rollback'");
    add("enough", "line", "dense:2", RISES, "'on_nonfinite': 'rollback', 'max_rollbacks': 1, 'rollback_factor': 0.9");
    struct heard heard = {0};
    run((struct runner_options){.workers = 1, .until_empty = true}, &heard);
    bson_t *fails = find_one("tasks", "{'name': 'fails'}"), *back = find_one("models", "{'name': 'back'}"),
           *again = find_one("models", "{'name': 'again'}"), *enough = find_one("tasks", "{'name': 'enough'}");
    cr_expect_str_eq(document_string(fails, "state"), "failed");
    cr_expect_not_null(strstr(document_string(fails, "error.message"), "not finite"));
    double rollbacks = number(back, "metrics.rollbacks");
    cr_expect(rollbacks >= 2 && rollbacks <= 5, "%g", rollbacks);
    cr_expect_eq(heard.notes, 2 * (int)rollbacks + 1);
    cr_expect_leq(number(back, "rollbacks.0.epoch"), number(back, "rollbacks.1.epoch"));
    cr_expect_eq(number(back, "rollbacks.1.share"), 0.25);
    cr_expect_gt(number(back, "metrics.test_r2"), 0.9);
    cr_expect_str_eq(document_string(back, "sha256"), document_string(again, "sha256"));
    cr_expect_str_eq(document_string(enough, "state"), "failed");
    cr_expect_not_null(strstr(document_string(enough, "error.message"), "went back 1 times"), "%s",
                       document_string(enough, "error.message"));
    bson_t *all[] = {fails, back, again, enough};
    for (size_t i = 0; i < 4; i++)
        bson_destroy(all[i]);
}

Test(measures, precision_is_of_the_training_and_of_what_measures_it)
{
    add("exact", "pair", "dense:8:relu dense:2", "'epochs': 3", "");
    bson_destroy(run_and_find("exact"));
    add("rounded", "pair", "dense:8:relu dense:2", "'epochs': 3, 'precision': 'bfloat16'", "");
    bson_destroy(run_and_find("rounded"));
    bson_t *exact = find_one("models", "{'name': 'exact'}"), *rounded = find_one("models", "{'name': 'rounded'}");
    cr_expect(!document_has(exact, "bfloat16"));
    const char *how = document_string(rounded, "bfloat16");
    cr_assert_not_null(how);
    cr_expect(!strncmp(how, "emulated: ", 10) || !strncmp(how, "native: ", 8), "%s", how);
    cr_expect_str_eq(document_string(rounded, "hyper_parameters.precision"), "bfloat16");
    cr_expect_neq(number(exact, "metrics.test_loss"), number(rounded, "metrics.test_loss"));

    bson_t *again = json("{'name': 'again', 'kind': 'test', 'model': {'name': 'rounded'}}");
    cr_assert_eq(task_create(hub, again, NULL, error), 1, "%s", error->message);
    bson_destroy(again);
    again = run_and_find("again");
    cr_expect_eq(number(again, "result.metrics.loss"), number(rounded, "metrics.test_loss"), "it was measured in float32");
    bson_destroy(again);
    bson_destroy(exact);
    bson_destroy(rounded);
}
