/* SPDX-License-Identifier: Apache-2.0 */
/* A run that was stopped, paused or killed and taken up by another worker ends as one that ran through: the same bits, the
 * same logs, each point once. */
#include "runner/checkpoint.h"
#include "same.h"
#include "values.h"


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

typedef void add_function(const char *name, const char *hyper_parameters, const char *more);

static void stops_leave_no_trace_of(add_function *add_task_of, const char *hyper_parameters, const char *more)
{
    add_task_of("through", hyper_parameters, more);
    run_all(NULL);
    add_task_of("stopped", hyper_parameters, more);
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
    cr_expect_eq(heard.resumed, 1, "%s", heard.last);
    expect_finished("stopped");
    expect_same_model("through", "stopped");
    expect_same_logs("through", "stopped");
}

static void stops_leave_no_trace(const char *hyper_parameters, const char *more)
{
    stops_leave_no_trace_of(add, hyper_parameters, more);
}

#define LONGER "'epochs': 600, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002"
/* Long enough to be stopped three times after more than a second each (slow_down), on a fast machine too. */
#define LONGEST "'epochs': 1500, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002"
#define LONGEST_SGD "'epochs': 1500, 'batch_size': 7, 'seed': 5, 'optimizer': 'sgd', 'learning_rate': 0.01, 'momentum': 0.9"

Test(checkpoint, of_a_run_stopped_thrice_with_points_of_epochs)
{
    stops_leave_no_trace(LONGEST, "");
}

Test(checkpoint, of_a_run_stopped_thrice_with_points_of_batches)
{
    stops_leave_no_trace(LONGEST_SGD, "'log_every': 10");
}

Test(checkpoint, of_a_run_that_was_killed_behind_it)
{
    static const char every[] = "'checkpoint_every': 20, 'log_every': 10";
    add("through", LONGER, every);
    run_all(NULL);
    add("killed", LONGER, every);
    pid_t runner = start_slow_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 3000}");
    wait_for("tasks", "{'state': 'running', 'checkpoint.epoch': {'$gt': 60}}", 1, 60);
    kill(worker_of(runner), SIGKILL);
    wait_for("tasks", "{'errors': {'$exists': true}}", 1, 60);
    /* Points that came after the checkpoint are in the hub, too, or may be: they are not shown twice. */
    wait_for("tasks", "{'state': 'running', 'crashes': 0}", 1, 60); /* the next checkpoint forgives */
    cr_expect_eq(wait_runner(runner, 90), 0);
    expect_finished("killed");
    expect_same_model("through", "killed");
    expect_same_logs("through", "killed");
    bson_t *task = find_one("tasks", "{'name': 'killed'}");
    cr_expect_not_null(strstr(document_string(task, "errors.0.message"), "signal 9"), "it still tells why it crashed");
    bson_destroy(task);
}

/* Every epoch that is kept, by number: the digests of both are the same. */
static void expect_same_epochs(const char *one, const char *other, int64_t every, int64_t epochs)
{
    for (int64_t epoch = every; epoch < epochs; epoch += every) {
        char a[120], b[120];
        snprintf(a, sizeof a, "{'name': '%s', 'epoch': %d, 'final': false}", one, (int)epoch);
        snprintf(b, sizeof b, "{'name': '%s', 'epoch': %d, 'final': false}", other, (int)epoch);
        cr_assert_eq(count("models", a), 1, "%s", a);
        cr_assert_eq(count("models", b), 1, "%s", b);
        bson_t *first = find_one("models", a), *second = find_one("models", b);
        cr_expect_str_eq(document_string(first, "sha256"), document_string(second, "sha256"), "epoch %d", (int)epoch);
        cr_expect(document_has(first, "metrics.validation_loss"));
        bson_destroy(first);
        bson_destroy(second);
    }
}

Test(checkpoint, of_a_run_that_keeps_epochs_and_was_killed)
{
    static const char task[] = "{'name': '%s', " NET ", 'keep': 'every 50 epochs', 'checkpoint_every': 70, "
                               "'hyper_parameters': {" LONGER "}}";
    struct gc_report report;
    const char *const names[] = {"through", "killed"};
    for (int i = 0; i < 2; i++) {
        bson_t *fields = json(task, names[i]);
        cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
        bson_destroy(fields);
        if (i == 0)
            run_all(NULL);
    }
    pid_t runner = start_slow_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 3000}");
    wait_for("models", "{'name': 'killed', 'epoch': {'$gte': 100}}", 1, 60); /* and the last checkpoint is of epoch 71 */
    kill(worker_of(runner), SIGKILL);
    cr_expect_eq(wait_runner(runner, 90), 0);
    expect_finished("killed");
    expect_same_model("through", "killed");
    expect_same_epochs("through", "killed", 50, 600);
    cr_expect_eq(count("models", "{'final': false}"), 22);
    cr_expect_eq(count("models", "{'epoch': 600, 'final': {'$exists': false}}"), 2, "the last is what the run ended with");
    cr_assert_eq(gc_run(hub, 1000, false, &report, error), 1, "%s", error->message);
    cr_expect_eq(count("blobs.files", "{'metadata.kind': 'model'}"), 24);
    cr_expect_eq(count("uploads", "{}"), 0);
}

Test(checkpoint, of_a_paused_run_waits_for_resume)
{
    bson_t *all = json("{'name': 'paused'}");
    add("through", LONGER, "");
    run_all(NULL);
    add("paused", LONGER, "");
    pid_t runner = run_for_a_while("{\"workers\": 1, \"lease_ms\": 3000}");
    cr_assert_eq(task_pause(hub, all, error), 1, "%s", error->message);
    wait_for("tasks", "{'name': 'paused', 'state': 'paused', 'checkpoint.step': {'$gt': 0}}", 1, 30);
    stop(runner);
    cr_assert_eq(task_resume(hub, all, error), 1, "%s", error->message);
    run_all(NULL);
    expect_finished("paused");
    expect_same_model("through", "paused");
    expect_same_logs("through", "paused");
    bson_destroy(all);
}

/* Parked at its rungs by one runner after the other, and promoted. */
static void promote(const char *name, int rungs)
{
    char filter[64];
    snprintf(filter, sizeof filter, "{'name': '%s'}", name);
    bson_t *task = find_one("tasks", filter);
    cr_assert_str_eq(document_string(task, "state"), "parked");
    cr_expect_eq(number(task, "rungs.count"), rungs);
    cr_expect_eq(number(task, "checkpoint.position.row"), 0);
    cr_assert_eq(task_unpark(hub, task, error), 1, "%s", error->message);
    bson_destroy(task);
}

Test(checkpoint, of_a_run_parked_at_its_rungs_and_promoted)
{
    static const char few[] = "'epochs': 9, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002";
    add("through", few, "'metric': {'name': 'validation_loss', 'goal': 'minimize'}, 'log_every': 2");
    run_all(NULL);
    add("climbs", few, "'metric': {'name': 'validation_loss', 'goal': 'minimize'}, 'log_every': 2, 'rungs': {'epochs': [1, 4, 20]}");
    run_all(NULL);
    promote("climbs", 1);
    run_all(NULL);
    promote("climbs", 2);
    run_all(NULL);
    expect_finished("climbs");
    expect_same_model("through", "climbs");
    expect_same_logs("through", "climbs");
    bson_t *task = find_one("tasks", "{'name': 'climbs'}");
    double value = 0;
    cr_expect(document_number(task, "rungs.values.1", &value) && value > 0);
    cr_expect_eq(number(task, "claims"), 3);
    bson_destroy(task);
}

/* The runner died between its checkpoint at the rung and giving the task back: who goes on gives it back at once. */
Test(checkpoint, at_a_rung_that_is_not_recorded_is_parked_by_the_next)
{
    static const char few[] = "'epochs': 9, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002";
    add("through", few, "'metric': {'name': 'validation_loss', 'goal': 'minimize'}, 'log_every': 2");
    run_all(NULL);
    add("climbs", few, "'metric': {'name': 'validation_loss', 'goal': 'minimize'}, 'log_every': 2, 'rungs': {'epochs': [4]}");
    run_all(NULL);
    bson_t *task = find_one("tasks", "{'name': 'climbs'}"), *name = json("{'name': 'climbs'}");
    double value = document_number(task, "rungs.values.0", &value) ? value : -1, again = -2;
    bson_t *back = json("{'$set': {'state': 'ready', 'rungs': {'epochs': [4]}}}");
    cr_assert_eq(store_update(hub_store(hub), "tasks", name, back, error), 1);
    run_all(NULL);
    bson_destroy(task);
    task = find_one("tasks", "{'name': 'climbs'}");
    cr_expect(document_number(task, "rungs.values.0", &again) && again == value, "%g, not %g", again, value);
    bson_destroy(task);
    bson_destroy(name);
    bson_destroy(back);
    promote("climbs", 1);
    run_all(NULL);
    expect_finished("climbs");
    expect_same_model("through", "climbs");
    expect_same_logs("through", "climbs");
}

/* A member of a population that goes on from itself, with the same values, is one that trained through. */
Test(checkpoint, of_a_parent_is_what_a_member_goes_on_from)
{
    static const char few[] = "'epochs': 9, 'batch_size': 7, 'seed': 5, 'learning_rate': 0.002";
    char more[200];
    add("through", few, "");
    run_all(NULL);
    add("parent", few, "'rungs': {'epochs': [4]}");
    run_all(NULL);
    bson_t *parent = find_one("tasks", "{'name': 'parent'}");
    snprintf(more, sizeof more, "'lineage': {'generation': 1, 'member': 0, 'parent': 0, 'task': '%s'}", document_string(parent, "_id"));
    add("child", few, more);
    add("other", "'epochs': 9, 'batch_size': 5, 'seed': 5, 'learning_rate': 0.004", more);
    run_all(NULL);
    expect_finished("child");
    expect_same_model("through", "child");
    cr_expect_eq(count("logs", "{'split': 'validation', 'points.epoch': 5}"), 3, "through, child and other");
    expect_finished("other");
    cr_assert_eq(task_end_parked(hub, parent, "over", error), 1);
    add("late", few, more);
    run_all(NULL);
    bson_t *late = find_one("tasks", "{'name': 'late'}");
    cr_expect_str_eq(document_string(late, "state"), "failed");
    cr_expect_not_null(strstr(document_string(late, "error.message"), "has none any more"));
    bson_destroy(late);
    bson_destroy(parent);
}

Test(checkpoint, goes_on_with_the_version_of_the_data_that_it_was_written_with)
{
    add("through", LONGER, "");
    run_all(NULL);
    add("stopped", LONGER, "");
    stop(run_for_a_while("{\"workers\": 1, \"lease_ms\": 3000}"));
    save_blobs(150); /* a newer version */
    run_all(NULL);
    expect_finished("stopped");
    expect_same_model("through", "stopped");
    expect_same_logs("through", "stopped");
    bson_t *model = find_one("models", "{'name': 'stopped'}");
    cr_expect_eq(number(model, "dataset.version"), 1);
    bson_destroy(model);
}

Test(checkpoint, is_taken_by_time_and_the_one_before_is_collected)
{
    struct gc_report report;
    add("timed", LONGER, "'checkpoint_minutes': 0.005");
    pid_t runner = start_slow_runner("{\"workers\": 1, \"until_empty\": true}");
    wait_for("blobs.files", "{'metadata.kind': 'checkpoint'}", 3, 60);
    cr_assert_eq(gc_run(hub, 1000, false, &report, error), 1, "%s", error->message); /* beside the run */
    cr_expect_geq(report.blobs_deleted, 1);
    cr_expect_eq(wait_runner(runner, 90), 0);
    expect_finished("timed");
    cr_assert_eq(gc_run(hub, 1000, false, &report, error), 1, "%s", error->message);
    cr_expect_eq(count("blobs.files", "{'metadata.kind': 'checkpoint'}"), 0);
    cr_expect_eq(count("blobs.files", "{'metadata.kind': 'model'}"), 1);
    cr_expect_eq(count("uploads", "{}"), 0);
}

Test(checkpoint, is_not_for_short_tasks)
{
    add("short", ADAM, "");
    run_all(NULL);
    expect_finished("short");
    cr_expect_eq(count("blobs.files", "{'metadata.kind': 'checkpoint'}"), 0);
}

Test(checkpoint, options_are_checked)
{
    add("every", ADAM, "");
    bson_t *all = json("{'name': 'every'}"), *wrong = json("{'$set': {'checkpoint_minutes': 'often'}}");
    cr_assert_eq(store_update(hub_store(hub), "tasks", all, wrong, error), 1);
    run_all(NULL);
    cr_expect_eq(count("tasks", "{'state': 'failed'}"), 1);
    bson_t *task = json("{'name': 'wrong', " NET ", 'checkpoint_every': 0}");
    cr_expect_eq(task_create(hub, task, NULL, error), -1);
    bson_destroy(task);
    bson_destroy(all);
    bson_destroy(wrong);
}

/* ---- checkpoints of no use ---- */

/* Hours of training are not thrown away for want of memory, or because a disk or the hub had a bad moment. */
Test(checkpoint_errors, only_what_is_wrong_with_the_checkpoint_itself_costs_it)
{
    static const struct {
        enum hub_error_code code;
        bool bad, again; /* it is dropped when it cannot be read so; another is tried when one could not be written so */
    } cases[] = {
        {HUB_ERROR_INVALID, true, false},      {HUB_ERROR_NOT_FOUND, true, false},
        {HUB_ERROR_CORRUPT, true, false},      {HUB_ERROR_VERSION, true, false},
        {HUB_ERROR_IO, false, true},           {HUB_ERROR_MEMORY, false, true},
        {HUB_ERROR_UNREACHABLE, false, true},  {HUB_ERROR_UNKNOWN_OUTCOME, false, true},
        {HUB_ERROR_UNAUTHORIZED, false, true}, {HUB_ERROR_BUSY, false, true},
        {HUB_ERROR_NO_SPACE, false, true},     {HUB_ERROR_INTERNAL, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hub_error(error, cases[i].code, "x");
        cr_expect_eq(checkpoint_is_bad(error), cases[i].bad, "code %d", (int)cases[i].code);
        cr_expect_eq(checkpoint_may_succeed(error), cases[i].again, "code %d", (int)cases[i].code);
    }
}

static void poke(const char *collection, const char *filter, const char *update)
{
    bson_t *where = json("%s", filter), *what = json("%s", update);
    cr_assert_geq(store_update(hub_store(hub), collection, where, what, error), 1, "%s: %s", filter, error->message);
    bson_destroy(where);
    bson_destroy(what);
}

static void remove_blob(void)
{
    bson_t *filter = json("{'metadata.kind': 'checkpoint'}");
    cr_assert_geq(store_delete(hub_store(hub), "blobs.files", filter, error), 1, "%s", error->message);
    bson_destroy(filter);
}

static void spoil_chunk(void)
{
    bson_t *files = find_one("blobs.files", "{'metadata.kind': 'checkpoint'}"), filter = BSON_INITIALIZER;
    bson_t *update = json("{'$set': {'data': {'$binary': {'base64': 'AAAA', 'subType': '00'}}}}");
    bson_iter_t at;
    cr_assert(bson_iter_init_find(&at, files, "_id"));
    bson_append_iter(&filter, "files_id", -1, &at);
    cr_assert_eq(store_update(hub_store(hub), "blobs.chunks", &filter, update, error), 1, "%s", error->message);
    bson_destroy(update);
    bson_destroy(&filter);
    bson_destroy(files);
}

Test(checkpoint, that_is_of_no_use_is_noted_and_fails_nothing, .timeout = 600)
{
    static const char *const updates[] = {
        NULL, NULL, /* the blob is gone, or damaged */
        "{'$set': {'checkpoint.identity': 'of something else'}}",
        "{'$set': {'checkpoint.step': {'$numberLong': '7'}}}",
        "{'$set': {'checkpoint.epoch': 602}}",
        "{'$set': {'checkpoint.position.row': 3}}",
        "{'$set': {'checkpoint.position.row': -7}}",
        "{'$set': {'checkpoint.position.best_epoch': 99999}}",
        "{'$unset': {'checkpoint.position': ''}}",
        "{'$set': {'checkpoint.log_points': []}}",
        "{'$set': {'checkpoint.position.sums': [1, 'a']}}",
        "{'$set': {'checkpoint': {'foreign': true}}}",
    };
    bson_t *all = json("{'name': 'broken'}");
    add("through", LONGER, "");
    run_all(NULL);
    add("broken", LONGER, "");
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        struct heard heard = {0};
        stop(run_for_a_while("{\"workers\": 1, \"lease_ms\": 3000}"));
        cr_assert_eq(count("tasks", "{'name': 'broken', 'state': 'ready', 'checkpoint.step': {'$gt': 0}}"), 1);
        if (i == 0)
            remove_blob();
        else if (i == 1)
            spoil_chunk();
        else
            poke("tasks", "{'name': 'broken'}", updates[i]);
        if (i < 2) { /* to the end once, the others only to where it is known that they start anew */
            run_all(&heard);
            cr_expect_not_null(strstr(heard.last, "of no use"), "%s", heard.last);
            expect_finished("broken");
            expect_same_model("through", "broken");
            expect_same_logs("through", "broken");
            bson_t *done = json("{'name': 'broken'}");
            cr_assert_eq(model_delete(hub, done, error), 1, "%s", error->message);
            bson_destroy(done);
            cr_assert_eq(task_restart(hub, all, NULL, error), 1, "%s", error->message);
        } else {
            pid_t runner = start_slow_runner("{\"workers\": 1, \"lease_ms\": 3000}");
            wait_for("tasks", "{'state': 'running', 'checkpoint': {'$exists': false}, 'progress.epoch': {'$gt': 0}}", 1, 30);
            stop(runner);
        }
    }
    bson_destroy(all);
}

static void add_line(const char *name, const char *hyper_parameters, const char *more)
{
    bson_t *fields = json("{'name': '%s', 'dataset': 'line', 'architecture': 'dense:2', 'hyper_parameters': {%s}, %s}", name,
                          hyper_parameters, more);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
}

/* The rate rises over the whole training, and every time that the steps no longer converge the run goes back: in most epochs,
 * so that it is also stopped in epochs that it goes back in. */
Test(checkpoint, of_a_run_that_goes_back_and_is_stopped_within_epochs)
{
    save_kind("line", "line", 40000);
    stops_leave_no_trace_of(add_line,
                            "'epochs': 20, 'batch_size': 1, 'seed': 5, 'optimizer': 'sgd', 'momentum': 0.1,"
                            " 'learning_rate': 4.0, 'warmup_epochs': 20",
                            "'on_nonfinite': 'rollback', 'rollback_factor': 0.9, 'max_rollbacks': 20, 'keep': 'best',"
                            " 'log_every': 4000");
    bson_t *model = find_one("models", "{'name': 'stopped'}");
    cr_expect_geq(number(model, "metrics.rollbacks"), 8);
    bson_destroy(model);
}
