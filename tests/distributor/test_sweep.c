/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct sweep *parse(const char *text, bson_error_t *error)
{
    memset(error, 0, sizeof *error);
    return sweep_parse(text, strlen(text), "sweep.yaml", error);
}

static struct sweep *accepted(const char *text)
{
    bson_error_t error;
    struct sweep *sweep = parse(text, &error);
    cr_assert_not_null(sweep, "%s", error.message);
    return sweep;
}

/* The whole message. */
static void refused(const char *text, const char *message)
{
    bson_error_t error;
    struct sweep *sweep = parse(text, &error);
    cr_expect_null(sweep, "accepted: %s", text);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    cr_expect_str_eq(error.message, message);
    sweep_free(sweep);
}

static void point_is(const struct sweep *sweep, int64_t i, const char *json)
{
    bson_t point;
    bson_error_t error;
    cr_assert_eq(sweep_point(sweep, i, &point, &error), 0, "%s", error.message);
    char *text = bson_as_relaxed_extended_json(&point, NULL);
    cr_expect_str_eq(text, json, "point %d is %s", (int)i, text);
    bson_free(text);
    bson_destroy(&point);
}

Test(sweep, the_last_parameter_changes_fastest)
{
    struct sweep *sweep = accepted("method: grid\n"
                                   "parameters:\n"
                                   "  hidden: {values: [800, 600]}\n"
                                   "  learning_rate: [25e-2, 0.5, 1]\n"
                                   "  epochs: {value: 10}\n"
                                   "  optimizer: adam\n"
                                   "architecture: \"dense:${hidden} dense:10\"\n");
    cr_expect_eq(sweep_points(sweep), 6);
    point_is(sweep, 0, "{ \"hidden\" : 800, \"learning_rate\" : 0.25, \"epochs\" : 10, \"optimizer\" : \"adam\" }");
    point_is(sweep, 1, "{ \"hidden\" : 800, \"learning_rate\" : 0.5, \"epochs\" : 10, \"optimizer\" : \"adam\" }");
    point_is(sweep, 2, "{ \"hidden\" : 800, \"learning_rate\" : 1, \"epochs\" : 10, \"optimizer\" : \"adam\" }");
    point_is(sweep, 3, "{ \"hidden\" : 600, \"learning_rate\" : 0.25, \"epochs\" : 10, \"optimizer\" : \"adam\" }");
    point_is(sweep, 5, "{ \"hidden\" : 600, \"learning_rate\" : 1, \"epochs\" : 10, \"optimizer\" : \"adam\" }");
    bson_t point;
    cr_expect_eq(sweep_point(sweep, 6, &point, NULL), -1);
    bson_destroy(&point);
    cr_expect_eq(sweep_point(sweep, -1, &point, NULL), -1);
    bson_destroy(&point);
    sweep_free(sweep);
}

Test(sweep, nested_parameters_are_nested_in_the_point)
{
    struct sweep *sweep = accepted("parameters:\n"
                                   "  head:\n"
                                   "    parameters:\n"
                                   "      units: [1, 2]\n"
                                   "      drop: {parameters: {rate: 0.5}}\n"
                                   "  run: {values: [a, b], label: true}\n"
                                   "architecture: \"dropout:${head.drop.rate} dense:${head.units}\"\n");
    cr_expect_eq(sweep_points(sweep), 4);
    point_is(sweep, 2, "{ \"head\" : { \"units\" : 2, \"drop\" : { \"rate\" : 0.5 } }, \"run\" : \"a\" }");
    sweep_free(sweep);
}

Test(sweep, run_cap_takes_the_first_points_of_any_grid)
{
    char text[12000] = "run_cap: 7\nparameters:\n";
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), "  p%d: {values: [1, 2, 3, 4], label: true}\n", i);
    strcat(text, "architecture: dense:10\n");
    struct sweep *sweep = accepted(text); /* 4^100 points */
    cr_expect_eq(sweep_points(sweep), 7);
    bson_t point;
    bson_iter_t at;
    cr_assert_eq(sweep_point(sweep, 6, &point, NULL), 0);
    cr_assert(bson_iter_init_find(&at, &point, "p98"));
    cr_expect_eq(bson_iter_as_int64(&at), 2);
    cr_assert(bson_iter_init_find(&at, &point, "p99"));
    cr_expect_eq(bson_iter_as_int64(&at), 3);
    bson_destroy(&point);
    sweep_free(sweep);
    bson_error_t error;
    text[9] = '\n'; /* no cap any more: "run_cap: " is null */
    cr_expect_null(parse(text, &error));
    cr_expect(strstr(error.message, "run_cap"), "%s", error.message);
    cr_expect_null(parse(strchr(text, 'p') ? strstr(text, "parameters") : text, &error));
    cr_expect(strstr(error.message, "more than 1000000 points"), "%s", error.message);
}

Test(sweep, without_parameters_there_is_one_point)
{
    struct sweep *sweep = accepted("architecture: dense:10\n");
    cr_expect_eq(sweep_points(sweep), 1);
    point_is(sweep, 0, "{ }");
    sweep_free(sweep);
}

Test(sweep, unknown_keys_are_named_with_their_line)
{
    refused("parameters:\n  epochs: 1\n\nmetods: grid\n",
            "sweep.yaml:4: unknown key 'metods' in the sweep; did you mean 'method'?");
    refused(
        "parameters: {}\nprogram: train.py\n",
        "sweep.yaml:2: unknown key 'program' in the sweep; known are name, description, method, metric, parameters, "
        "run_cap, architecture, kind, dataset, model, queue, resource_class, priority, max_crashes, result_keys, "
        "tags, seed, log_every, keep, requires, checkpoint_every, checkpoint_minutes, metrics, top_k, "
        "on_nonfinite, rollback_factor, max_rollbacks, seeds, parallel, population, startup, rules, every, quantile, early_terminate, target, budget, "
        "keep_weights");
    refused("parameters:\n  hidden:\n    valeus: [1]\n",
            "sweep.yaml:3: unknown key 'valeus' in parameter 'hidden'; did you mean 'values'?");
    refused("metric: {name: accuracy, target: 1}\n",
            "sweep.yaml:1: unknown key 'target' in metric; known are name, goal");
}

Test(sweep, checkpoints_are_by_epochs_or_by_time)
{
    sweep_free(accepted("checkpoint_every: 3\ncheckpoint_minutes: 0.5\narchitecture: dense:10\n"));
    sweep_free(accepted("checkpoint_minutes: 0\narchitecture: dense:10\n"));
    refused("checkpoint_every: 0\n", "sweep.yaml:1: checkpoint_every must be an integer in [1, 1000000]");
    sweep_free(accepted("on_nonfinite: rollback\nrollback_factor: 0.1\nmax_rollbacks: 3\nmetrics: [f1]\ntop_k: 2\n"
                        "architecture: dense:10\n"));
    refused("on_nonfinite: hope\n", "sweep.yaml:1: on_nonfinite must be fail or rollback");
    refused("rollback_factor: 1.0\n", "sweep.yaml:1: rollback_factor must be a number above 0 and below 1");
    refused("max_rollbacks: 21\n", "sweep.yaml:1: max_rollbacks must be an integer in [1, 20]");
    refused("checkpoint_minutes: often\n", "sweep.yaml:1: checkpoint_minutes must be a number in [0, 1000000]");
    refused("checkpoint_minutes: -1\n", "sweep.yaml:1: checkpoint_minutes must be a number in [0, 1000000]");
}

Test(sweep, what_nobody_reads_is_refused)
{
    refused("parameters:\n  hidden: 3\n  learning_rat: 0.1\narchitecture: \"dense:${hidden}\"\n",
            "sweep.yaml:3: nothing reads parameter 'learning_rat'; did you mean 'learning_rate'? Else: use it in the "
            "architecture as ${learning_rat}, or give it label: true");
    refused("parameters:\n  hidden: 3\narchitecture: \"dense:10\"\n",
            "sweep.yaml:2: nothing reads parameter 'hidden'; it is no hyper-parameter: use it in the architecture as "
            "${hidden}, or give it label: true");
    refused("parameters:\n  hidden: 3\narchitecture:\n  layers:\n    - {type: dense, units: \"${hiden}\"}\n",
            "sweep.yaml:5: ${hiden} names no parameter; did you mean ${hidden}?");
    refused("parameters: {}\narchitecture: \"dense:${x dense:3\"\n", "sweep.yaml:2: '${' has no '}'");
}

Test(sweep, values_are_checked)
{
    refused("method: hyperopt\n", "sweep.yaml:1: method 'hyperopt' is not known; known are grid, random, sobol, tpe, cma_es, "
                                  "evolution, pbt");
    refused("method: [grid]\n", "sweep.yaml:1: method must be a string; known are grid, random, sobol, tpe, cma_es, evolution, pbt");
    refused("parameters:\n  learning_rate: {min: 0, max: 1}\n",
            "sweep.yaml:2: parameter 'learning_rate' has a range, and method grid needs value or values");
    refused("parameters:\n  epochs: {value: 1, values: [2]}\n",
            "sweep.yaml:2: parameter 'epochs' needs one of value, values, parameters, or min and max");
    refused("parameters:\n  epochs: {values: 3}\n", "sweep.yaml:2: values of parameter 'epochs' must be a list, not an "
                                                    "integer");
    refused("parameters:\n  epochs: []\n", "sweep.yaml:2: parameter 'epochs' has no values");
    refused("parameters:\n  epochs:\n  - 1\n  - [2]\n",
            "sweep.yaml:4: a value of parameter 'epochs' is a list; it must "
            "be a number, a string, true or false");
    refused("parameters:\n  epochs:\n",
            "sweep.yaml:2: a value of parameter 'epochs' is nothing; it must be a number, a "
            "string, true or false");
    refused("parameters:\n  learning_rate: .nan\n", "sweep.yaml:2: a value of parameter 'learning_rate' is not finite");
    refused("parameters:\n  epochs:\n  - 3\n  - 1\n  - 3.0\n",
            "sweep.yaml:5: parameter 'epochs' has the same value twice");
    refused("parameters:\n  a.b: 1\n",
            "sweep.yaml:2: 'a.b' cannot name a parameter: letters, digits, _ and -, at most 64");
    refused("parameters:\n  $where: 1\n",
            "sweep.yaml:2: '$where' cannot name a parameter: letters, digits, _ and -, at most 64");
    refused("parameters: [1]\n", "sweep.yaml:1: parameters must be a map of names, not a list");
    refused("parameters:\n  seed: [1, 2]\nseed: 3\n",
            "sweep.yaml:2: seed stands among the parameters and beside them; keep one");
    refused("run_cap: 0\n", "sweep.yaml:1: run_cap must be an integer in [1, 1000000]");
    refused("seeds: 3\nseed: 9223372036854775806\n",
            "sweep.yaml:2: seed: 9223372036854775806 with seeds: 3 goes beyond the largest seed, 9223372036854775807");
    refused("seed: -1\n", "sweep.yaml:1: seed must be an integer in [0, 9223372036854775807]");
    refused("priority: high\n", "sweep.yaml:1: priority must be an integer in [-1000000, 1000000]");
    refused("kind: dream\n", "sweep.yaml:1: kind must be train, validate, test or outside");
    refused("tags: first\n", "sweep.yaml:1: tags must be a list of strings, not a string");
    refused("tags:\n- first\n- 2\n", "sweep.yaml:3: tags must be a list of strings");
    refused("dataset: 3\n", "sweep.yaml:1: dataset must be a name or a query, not an integer");
    refused("metric: accuracy\n", "sweep.yaml:1: metric must be a map {name: …, goal: maximize | minimize}");
    refused("metric:\n  name: accuracy\n  goal: up\n", "sweep.yaml:3: metric's goal must be maximize or minimize");
    refused("architecture: 3\n", "sweep.yaml:1: architecture must be a text or a graph, not an integer");
    refused("- method\n", "sweep.yaml:1: a sweep is a map with keys such as method and parameters, not a list");
    refused("", "sweep.yaml: empty; a sweep has parameters and an architecture");
    refused("a: 1\na: 2\n", "sweep.yaml:2: key 'a' stands here twice (first on line 1)");
}

Test(sweep, yaml_and_json_say_the_same)
{
    bson_error_t error;
    struct sweep *yaml = sweep_load(TL_TEST_DATA "/sweeps/grid.yaml", &error);
    cr_assert_not_null(yaml, "%s", error.message);
    struct sweep *json = sweep_load(TL_TEST_DATA "/sweeps/grid.json", &error);
    cr_assert_not_null(json, "%s", error.message);
    cr_assert_eq(sweep_points(yaml), 12);
    cr_assert_eq(sweep_points(json), 12);
    for (int64_t i = 0; i < 12; i++) {
        bson_t a, b;
        cr_assert_eq(sweep_point(yaml, i, &a, NULL), 0);
        cr_assert_eq(sweep_point(json, i, &b, NULL), 0);
        cr_expect(bson_equal(&a, &b), "point %d", (int)i);
        bson_destroy(&a);
        bson_destroy(&b);
    }
    sweep_free(yaml);
    sweep_free(json);
}

Test(sweep, a_file_that_is_not_there_is_said_so)
{
    bson_error_t error;
    cr_expect_null(sweep_load("/nowhere/sweep.yaml", &error));
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_NOT_FOUND);
    cr_expect_str_eq(error.message, "/nowhere/sweep.yaml: No such file or directory");
}

Test(sweep, every_prefix_of_a_file_is_taken_or_refused)
{
    static const char *const names[] = {"/sweeps/grid.yaml", "/sweeps/grid.json"};
    for (size_t i = 0; i < 2; i++) {
        char path[4096], text[4096];
        snprintf(path, sizeof path, "%s%s", TL_TEST_DATA, names[i]);
        FILE *file = fopen(path, "rb");
        cr_assert_not_null(file);
        size_t length = fread(text, 1, sizeof text, file), taken = 0;
        fclose(file);
        for (size_t cut = 0; cut <= length; cut++) {
            bson_error_t error = {0};
            struct sweep *sweep = sweep_parse(text, cut, names[i], &error);
            cr_expect(sweep || error.message[0], "cut at %zu: no message", cut);
            taken += !!sweep;
            sweep_free(sweep);
        }
        cr_expect(taken > 0);
    }
}

Test(sweep, ranges_are_read_with_wandbs_keys)
{
    struct sweep *sweep = accepted("method: random\nrun_cap: 200\nseed: 1\n"
                                   "parameters:\n"
                                   "  hidden: {min: 4, max: 9}\n"
                                   "  batch_size: {distribution: q_log_uniform_values, min: 16, max: 256, q: 16}\n"
                                   "  learning_rate: {distribution: log_uniform, min: -9, max: -1}\n"
                                   "  optimizer: {values: [adam, sgd], probabilities: [0.9, 0.1]}\n"
                                   "  epochs: 3\n"
                                   "  mark: {mu: 3, sigma: 0.5, distribution: normal, label: true}\n"
                                   "architecture: \"dense:${hidden} dense:10\"\n");
    int adam = 0;
    cr_expect_eq(sweep_points(sweep), 200);
    for (int64_t i = 0; i < 200; i++) {
        bson_t point;
        bson_iter_t at;
        cr_assert_eq(sweep_point(sweep, i, &point, NULL), 0);
        cr_assert(bson_iter_init_find(&at, &point, "hidden") && BSON_ITER_HOLDS_INT32(&at));
        cr_expect(bson_iter_int32(&at) >= 4 && bson_iter_int32(&at) <= 9);
        cr_assert(bson_iter_init_find(&at, &point, "batch_size") && BSON_ITER_HOLDS_INT32(&at));
        cr_expect(bson_iter_int32(&at) >= 16 && bson_iter_int32(&at) <= 256 && bson_iter_int32(&at) % 16 == 0);
        cr_assert(bson_iter_init_find(&at, &point, "learning_rate") && BSON_ITER_HOLDS_DOUBLE(&at));
        cr_expect(bson_iter_double(&at) >= 0.000123 && bson_iter_double(&at) <= 0.3679);
        cr_assert(bson_iter_init_find(&at, &point, "optimizer"));
        adam += !strcmp(bson_iter_utf8(&at, NULL), "adam");
        bson_destroy(&point);
    }
    cr_expect(adam > 165 && adam < 195, "%d of 200", adam);
    sweep_free(sweep);
}

Test(sweep, what_is_wrong_with_a_range_is_said_with_its_line)
{
#define RANGE(text) "method: random\nrun_cap: 3\nparameters:\n  learning_rate: " text "\n"
    refused(RANGE("{min: 1}"), "sweep.yaml:4: parameter 'learning_rate' needs min and max");
    refused(RANGE("{min: 1, max: 1}"), "sweep.yaml:4: max of parameter 'learning_rate' must be above its min");
    refused(RANGE("{min: a, max: 1}"), "sweep.yaml:4: min of parameter 'learning_rate' must be a number");
    refused(RANGE("{min: 0, max: 1, distribution: log_uniform_values}"),
            "sweep.yaml:4: parameter 'learning_rate' is log_uniform_values: min must be above 0");
    refused(RANGE("{min: 0, max: 1, mu: 3}"), "sweep.yaml:4: parameter 'learning_rate' is normal: it has no min");
    refused(RANGE("{min: 0.1, max: 0.2, q: 1}"),
            "sweep.yaml:4: parameter 'learning_rate': no multiple of q lies between min and max");
    refused(RANGE("{values: [1, 2], min: 1}"), "sweep.yaml:4: parameter 'learning_rate' has values; it has no min");
    refused(RANGE("{values: [1, 2], probabilities: [0.5, 0.4]}"),
            "sweep.yaml:4: probabilities of parameter 'learning_rate' come to 0.9, not 1");
    refused("method: random\nparameters: {epochs: {min: 1, max: 3}}\n",
            "sweep.yaml: method random needs run_cap: how many points it may try");
    refused("method: tpe\nrun_cap: 4\nparameters: {epochs: {min: 1, max: 3}}\n",
            "sweep.yaml: method tpe needs a metric {name: …, goal: maximize | minimize}");
    refused("method: random\nrun_cap: 4\nparameters: {epochs: 1}\n",
            "sweep.yaml: method random needs a parameter with several values, or with min and max");
    refused("method: tpe\nrun_cap: 4\nmetric: {name: loss}\nresult_keys: [accuracy]\nparameters: {epochs: {min: 1, max: 3}}\n",
            "sweep.yaml:4: result_keys leaves out loss, which method tpe chooses by");
}

Test(sweep, what_is_wrong_with_stopping_is_said_with_its_line)
{
    refused("metric: {name: loss}\nearly_terminate: {type: mean}\n",
            "sweep.yaml:2: early_terminate needs type: median, asha, hyperband or halving");
    refused("metric: {name: loss}\nearly_terminate: {type: median, eta: 3}\n",
            "sweep.yaml:2: unknown key 'eta' in early_terminate of type median; known are type, min_iter, interval, startup");
    refused("metric: {name: loss}\nearly_terminate: {type: hyperband, s: 3}\n",
            "sweep.yaml:2: early_terminate of type hyperband needs min_iter, or max_iter and s");
    refused("metric: {name: test_loss}\nearly_terminate: {type: hyperband, min_iter: 3}\n",
            "sweep.yaml:2: early_terminate looks at every epoch, and test_loss is measured at the end");
    refused("early_terminate: {type: median}\n", "sweep.yaml: early_terminate needs a metric {name: …, goal: maximize | minimize}");
    refused("target: high\n", "sweep.yaml:1: target must be a number: what the metric is to reach");
    refused("budget: {time: 3w}\n", "sweep.yaml:1: time of budget must be seconds, or a time such as 90s, 10m, 2h, 3d");
    refused("budget: {tasks: 0}\n", "sweep.yaml:1: tasks must be an integer in [1, 1000000]");
}
