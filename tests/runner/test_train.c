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

Test(train, the_same_seed_gives_the_same_bits_whoever_trains)
{
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "one%d", i);
        add_task(name, "'epochs': 3, 'seed': 7", "");
    }
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    add_task("two0", "'epochs': 3, 'seed': 7", "");
    add_task("two1", "'epochs': 3, 'seed': 7", "");
    add_task("other", "'epochs': 3, 'seed': 8", "");
    run((struct runner_options){.workers = 2, .until_empty = true}, NULL);
    bson_t *first = find_one("models", "{'name': 'one0'}"), *other = find_one("models", "{'name': 'other'}");
    char same[256];
    snprintf(same, sizeof same, "{'sha256': '%s'}", document_string(first, "sha256"));
    cr_expect_eq(count("models", same), 4);
    cr_expect_str_neq(document_string(first, "sha256"), document_string(other, "sha256"));
    bson_destroy(first);
    bson_destroy(other);
}

Test(train, result_keys_choose_what_is_saved)
{
    add_task("few", "'epochs': 1", "'result_keys': ['test_accuracy', 'train_loss']");
    add_task("wrong", "'epochs': 1", "'result_keys': ['test_accuraci']");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *few = find_one("tasks", "{'name': 'few'}"), *wrong = find_one("tasks", "{'name': 'wrong'}"), metrics;
    cr_assert(document_child(few, "result.metrics", &metrics));
    cr_expect_eq(bson_count_keys(&metrics), 2);
    cr_expect(document_has(&metrics, "test_accuracy"));
    cr_expect_str_eq(document_string(wrong, "state"), "failed");
    cr_expect_not_null(strstr(document_string(wrong, "error.message"), "test_accuraci"));
    cr_expect_not_null(strstr(document_string(wrong, "error.message"), "validation_accuracy"));
    bson_t *model = find_one("models", "{'name': 'few'}");
    cr_expect_gt(number(model, "accuracy"), 0.2, "models are found by accuracy whatever is saved");
    bson_destroy(few);
    bson_destroy(wrong);
    bson_destroy(model);
}

Test(train, the_objective_is_what_the_metric_came_to)
{
    add_task("plain", "'epochs': 1", "");
    add_task("metric", "'epochs': 1", "'metric': {'name': 'validation_loss', 'goal': 'minimize'}");
    add_task("missing", "'epochs': 1", "'metric': {'name': 'nothing', 'goal': 'minimize'}");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *plain = find_one("models", "{'name': 'plain'}"), *metric = find_one("models", "{'name': 'metric'}");
    cr_expect_eq(number(plain, "objective"), number(plain, "metrics.test_accuracy"));
    cr_expect_eq(number(metric, "objective"), number(metric, "metrics.validation_loss"));
    cr_expect_eq(count("models", "{'name': 'missing', 'objective': {'$exists': false}}"), 1);
    bson_destroy(plain);
    bson_destroy(metric);
}

/* Of the validation log of a task: the epoch with the best value, the best, and the last. sign -1: less is better. */
static void best_of_log(const bson_t *task, const char *metric, double sign, double *epoch, double *most, double *final)
{
    char path[128];
    bson_t points;
    bson_iter_t at;
    snprintf(path, sizeof path, "{'split': 'validation', 'task': '%s'}", document_string(task, "_id"));
    bson_t *log = find_one("logs", path);
    *epoch = 0;
    cr_assert(document_array(log, "points", &points) && bson_iter_init(&at, &points));
    while (bson_iter_next(&at)) {
        snprintf(path, sizeof path, "%s.%s", bson_iter_key(&at), metric);
        *final = number(&points, path);
        if (*epoch == 0 || sign * *final > sign * *most) {
            *most = *final;
            snprintf(path, sizeof path, "%s.epoch", bson_iter_key(&at));
            *epoch = number(&points, path);
        }
    }
    bson_destroy(log);
}

Test(train, best_keeps_the_epoch_that_the_metric_calls_best)
{
    /* A learning rate that soon spoils what it learned. */
    add_task("best", "'epochs': 12, 'learning_rate': 0.5, 'batch_size': 8", "'keep': 'best'");
    add_task("last", "'epochs': 12, 'learning_rate': 0.5, 'batch_size': 8", "'keep': 'last'");
    add_task("least", "'epochs': 12, 'learning_rate': 0.5, 'batch_size': 8",
             "'keep': 'best', 'metric': {'name': 'validation_loss', 'goal': 'minimize'}");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *best = find_one("tasks", "{'name': 'best'}"), *last = find_one("tasks", "{'name': 'last'}"),
           *least = find_one("tasks", "{'name': 'least'}");
    double epoch, by_loss, most = 0, final = 0;
    best_of_log(best, "accuracy", 1, &epoch, &most, &final);
    cr_expect_eq(number(best, "result.metrics.validation_accuracy"), most);
    cr_expect_eq(number(best, "result.metrics.best_epoch"), epoch);
    cr_expect_eq(number(last, "result.metrics.validation_accuracy"), final);
    cr_expect(!document_has(last, "result.metrics.best_epoch"));
    best_of_log(least, "loss", -1, &by_loss, &most, &final);
    cr_expect_eq(number(least, "result.metrics.validation_loss"), most);
    cr_expect_eq(number(least, "result.metrics.best_epoch"), by_loss);
    cr_expect_neq(epoch, by_loss, "the two would be the same: this test shows nothing");
    bson_destroy(best);
    bson_destroy(last);
    bson_destroy(least);
}

Test(train, log_every_writes_a_point_for_so_many_batches)
{
    add_task("batches", "'epochs': 2, 'batch_size': 30", "'log_every': 4");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *log = find_one("logs", "{'split': 'train'}"), points;
    cr_expect_str_eq(document_string(log, "unit"), "batch");
    cr_assert(document_array(log, "points", &points));
    cr_expect_eq(bson_count_keys(&points), 6, "steps 4, 8, 10 (the epoch's last), 12, 16, 20");
    cr_expect_eq(number(&points, "2.step"), 10);
    bson_destroy(log);
}

Test(train, validate_and_test_measure_a_model_that_a_query_finds)
{
    add_task("base", "'epochs': 5, 'batch_size': 16, 'learning_rate': 0.01", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    add_task("validated", "", "'kind': 'validate', 'model': 'base'");
    add_task("tested", "", "'kind': 'test', 'model': '{\\'name\\': \\'base\\', \\'accuracy\\': {\\'$gt\\': 0.5}}'");
    add_task("trained", "", "'kind': 'test', 'model': 'base', 'split': 'train'");
    add_task("nothing", "", "'kind': 'test', 'model': 'no such model'");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *base = find_one("tasks", "{'name': 'base'}"), *validated = find_one("tasks", "{'name': 'validated'}"),
           *tested = find_one("tasks", "{'name': 'tested'}"), *trained = find_one("tasks", "{'name': 'trained'}"),
           *nothing = find_one("tasks", "{'name': 'nothing'}");
    cr_expect_eq(number(validated, "result.metrics.validation_accuracy"),
                 number(base, "result.metrics.validation_accuracy"));
    cr_expect_float_eq(number(tested, "result.metrics.test_loss"), number(base, "result.metrics.test_loss"), 1e-9);
    cr_expect_eq(number(trained, "result.metrics.rows"), 300);
    cr_expect_str_eq(document_string(nothing, "state"), "failed");
    cr_expect_not_null(strstr(document_string(nothing, "error.message"), "no such model"));
    cr_expect_eq(count("models", "{}"), 1, "an evaluation makes no model");
    bson_t *all[] = {base, validated, tested, trained, nothing};
    for (size_t i = 0; i < 5; i++)
        bson_destroy(all[i]);
}

Test(train, initial_model_gives_the_weights_to_start_from)
{
    add_task("base", "'epochs': 10, 'batch_size': 16, 'learning_rate': 0.01", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    add_task("cold", "'epochs': 1, 'learning_rate': 0.0001", "");
    add_task("warm", "'epochs': 1, 'learning_rate': 0.0001", "'initial_model': 'base'");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *cold = find_one("tasks", "{'name': 'cold'}"), *warm = find_one("tasks", "{'name': 'warm'}");
    cr_expect_lt(number(warm, "result.metrics.test_loss"), 0.5 * number(cold, "result.metrics.test_loss"));
    bson_destroy(cold);
    bson_destroy(warm);
}

Test(train, a_loss_that_is_not_finite_fails_the_task_and_says_where)
{
    bson_t *fields = json("{'name': 'explodes', 'dataset': 'blobs', 'architecture': 'dense:16 dense:16 dense:3',"
                          " 'hyper_parameters': {'epochs': 50, 'optimizer': 'sgd', 'learning_rate': 1000.0,"
                          " 'momentum': 0.99}}");
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    add_task("good", "'epochs': 1", "");
    struct runner_summary summary = run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    cr_expect_eq(summary.failed, 1);
    cr_expect_eq(summary.done, 1, "the runner goes on");
    bson_t *task = find_one("tasks", "{'name': 'explodes'}");
    cr_expect_str_eq(document_string(task, "state"), "failed");
    cr_expect_not_null(strstr(document_string(task, "error.message"), "epoch "));
    cr_expect_not_null(strstr(document_string(task, "error.message"), "step "));
    cr_expect_eq(count("models", "{'name': 'explodes'}"), 0);
    bson_destroy(task);
    bson_destroy(fields);
}

Test(train, what_does_not_fit_fails_and_names_the_field)
{
    static const struct {
        const char *fields, *said;
    } wrong[] = {
        {"'dataset': 'blobs', 'architecture': 'dense:16:relu dense:4'", "dense_2"},
        {"'dataset': 'blobs', 'architecture': 'dense:16:rolu dense:3'", "dense_1"},
        {"'dataset': 'blobs'", "architecture"},
        {"'architecture': 'dense:3'", "dataset"},
        {"'dataset': 'none', 'architecture': 'dense:3'", "none"},
        {"'dataset': 'blobs', 'architecture': 'dense:3', 'hyper_parameters': {'epochs': 1000001}", "hyper_parameters.epochs"},
        {"'dataset': 'blobs', 'architecture': 'dense:3', 'hyper_parameters': {'batch_size': 2147483647}",
         "hyper_parameters.batch_size"},
        {"'dataset': 'blobs', 'architecture': 'dense:3', 'hyper_parameters': {'learning_rate': 1001.0}", "learning_rate"},
        {"'dataset': 'blobs', 'architecture': 'dense:3', 'hyper_parameters': {'optimizer': 'adom'}", "optimizer"},
        {"'dataset': 'blobs', 'architecture': 'dense:3', 'hyper_parameters': {'loss': 'mse'}", "loss"},
        {"'dataset': 'blobs', 'architecture': 'dense:3', 'kind': 'infer'", "save_dataset"},
    };
    size_t n = sizeof wrong / sizeof *wrong;
    for (size_t i = 0; i < n; i++) {
        bson_t *fields = json("{'name': 'wrong%zu', %s}", i, wrong[i].fields);
        cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s: %s", wrong[i].fields, error->message);
        bson_destroy(fields);
    }
    struct runner_summary summary = run((struct runner_options){.workers = 2, .until_empty = true}, NULL);
    cr_expect_eq(summary.failed, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        char filter[64];
        snprintf(filter, sizeof filter, "{'name': 'wrong%zu'}", i);
        bson_t *task = find_one("tasks", filter);
        const char *message = document_string(task, "error.message");
        cr_expect_str_eq(document_string(task, "state"), "failed");
        cr_expect(message && strstr(message, wrong[i].said), "%s: %s", wrong[i].fields, message ? message : "(none)");
        bson_destroy(task);
    }
}

static int find_text(const bson_t *bucket, void *data)
{
    const char *text = document_string(bucket, "points.0.text");
    *(bool *)data = text && strstr(text, "a library says something\na library says something\n");
    return 0;
}

Test(train, what_finished_work_printed_is_a_log_of_its_own)
{
    bson_t *output = json("{'split': 'output'}");
    bool found = false;
    add_task("quiet", "'epochs': 1", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    cr_expect_eq(count("logs", "{'split': 'output'}"), 0);
    setenv("TL_TEST_CHATTER", "1", 1);
    add_task("chatty", "'epochs': 800, 'batch_size': 4", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    unsetenv("TL_TEST_CHATTER");
    cr_expect_eq(count("tasks", "{'state': 'done'}"), 2);
    cr_assert_eq(logs_read(hub, NULL, output, find_text, &found, error), 1, "%s", error->message);
    cr_expect(found);
    bson_destroy(output);
}

Test(train, a_saved_architecture_is_found_by_name)
{
    bson_t *fields = json("{'name': 'tiny'}");
    cr_assert_eq(architecture_record_save(hub, "{\"layers\":[{\"name\":\"d1\",\"type\":\"dense\",\"inputs\":[\"input\"],\"units\":3}]}",
                                          fields, NULL, error), 1,
                 "%s", error->message);
    bson_t *task = json("{'name': 'saved', 'dataset': 'blobs', 'architecture': 'tiny', 'hyper_parameters': {'epochs': 1}}");
    cr_assert_eq(task_create(hub, task, NULL, error), 1, "%s", error->message);
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    cr_expect_eq(count("tasks", "{'state': 'done'}"), 1);
    bson_t *model = find_one("models", "{}");
    cr_expect_eq(number(model, "parameters"), 8 * 3 + 3);
    bson_destroy(model);
    bson_destroy(task);
    bson_destroy(fields);
}

Test(train, a_malformed_task_counts_as_failed)
{
    struct heard heard = {0};
    bson_t *foreign = json("{'_id': 'f1', 'project': 'default', 'lane': 0, 'queue': 'default', 'resource_class': 'cpu',"
                           " 'kind': 'train', 'name': 'foreign', 'state': 'ready', 'priority': 0, 'seq': 1,"
                           " 'hyper_parameters': {'epochs': 'many'}}");
    cr_assert_geq(store_insert(hub_store(hub), "tasks", foreign, error), 0, "%s", error->message);
    add_task("good", "'epochs': 1", "");
    struct runner_summary summary = run((struct runner_options){.workers = 1, .until_empty = true}, &heard);
    cr_expect_eq(summary.failed, 1);
    cr_expect_eq(summary.done, 1);
    cr_expect_eq(heard.failed, 1);
    cr_expect_not_null(strstr(heard.last, "task.hyper_parameters.epochs"), "%s", heard.last);
    cr_expect_eq(count("tasks", "{'name': 'foreign', 'state': 'failed'}"), 1);
    bson_destroy(foreign);
}

/* ---- the log of a run that ends badly ---- */

static int find_last(const bson_t *bucket, void *data)
{
    int64_t *last = data;
    bson_t points;
    bson_iter_t at;
    cr_assert(document_array(bucket, "points", &points) && bson_iter_init(&at, &points));
    while (bson_iter_next(&at)) {
        char path[32];
        snprintf(path, sizeof path, "%s.step", bson_iter_key(&at));
        *last = (int64_t)number(&points, path);
    }
    return 0;
}

/* The step of the last point that readers are shown. */
static int64_t last_step(void)
{
    bson_t *all = json("{}"), *split = json("{'split': 'train'}");
    int64_t last = 0;
    cr_assert_geq(logs_read(hub, all, split, find_last, &last, error), 0, "%s", error->message);
    bson_destroy(split);
    bson_destroy(all);
    return last;
}

/* Neither is as long as the log is kept back for. */
Test(train, a_run_that_fails_shows_its_log_up_to_there)
{
    add_task("diverges", "'epochs': 50, 'batch_size': 30, 'optimizer': 'sgd', 'learning_rate': 1000.0, 'momentum': 0.99", "'log_every': 1");
    struct heard heard = {0};
    run((struct runner_options){.workers = 1, .until_empty = true}, &heard);
    bson_t *task = find_one("tasks", "{'state': 'failed'}");
    cr_expect_gt(last_step(), 0, "%s", document_string(task, "error.message"));
    bson_destroy(task);
}

Test(train, a_run_that_is_cancelled_shows_its_log_up_to_there)
{
    bson_t *all = json("{}");
    add_task("cancelled", LONG, "'log_every': 1");
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 3000}");
    wait_for("tasks", "{'state': 'running', 'progress.step': {'$gt': 0}}", 1, 60);
    cr_assert_eq(task_cancel(hub, all, NULL, error), 1, "%s", error->message);
    cr_expect_eq(wait_runner(runner, 60), 0);
    bson_t *task = find_one("tasks", "{'state': 'cancelled'}");
    bson_destroy(task);
    cr_expect_gt(last_step(), 0);
    bson_destroy(all);
}
