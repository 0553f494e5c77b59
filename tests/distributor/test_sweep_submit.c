/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/submit.h"
#include "distributor/sweep.h"
#include "fixture.h"
#include "hub/architecture_record.h"
#include "hub/task.h"

#include <time.h>

static void open_with_data(void)
{
    fixture_open();
    fixture_save_small();
}

TestSuite(sweep_submit, .init = open_with_data, .fini = fixture_close);

static int submit(const char *text, const bson_t *fields, struct sweep_submission *submission)
{
    memset(&fixture_error, 0, sizeof fixture_error);
    struct sweep *sweep = sweep_parse(text, strlen(text), "s.yaml", &fixture_error);
    cr_assert_not_null(sweep, "%s", fixture_error.message);
    int result = sweep_submit(fixture_hub, sweep, fields, submission, &fixture_error);
    sweep_free(sweep);
    return result;
}

/* Nothing is written when one point is refused. */
static void refused(const char *text, enum hub_error_code code, const char *message)
{
    struct sweep_submission submission;
    cr_expect_eq(submit(text, NULL, &submission), -1, "accepted: %s", text);
    cr_expect_eq(hub_error_code(&fixture_error), code);
    cr_expect(!strncmp(fixture_error.message, message, strlen(message)), "'%s' does not start with '%s'",
              fixture_error.message, message);
    cr_expect_eq(submission.submitted, 0);
    cr_expect_eq(fixture_count("tasks"), 0);
    cr_expect_eq(fixture_count("sweeps"), 0);
    cr_expect_eq(fixture_count("architectures"), 0);
}

#define SWEEP                               \
    "parameters:\n"                         \
    "  hidden: {values: [8, 16]}\n"         \
    "  learning_rate: [0.5, 0.25, 0.125]\n" \
    "  epochs: 2\n"                         \
    "architecture: \"dense:${hidden}:relu dense:3\"\n"

Test(sweep_submit, every_point_becomes_a_task_and_twice_is_once)
{
    struct sweep_submission first, second;
    cr_assert_eq(submit("dataset: small\n" SWEEP, NULL, &first), 0, "%s", fixture_error.message);
    cr_expect(first.points == 6 && first.submitted == 6 && first.skipped == 0);
    cr_expect_eq(first.last_seq - first.first_seq, 5);
    cr_expect_eq(fixture_count("tasks"), 6);
    cr_expect_eq(fixture_count("sweeps"), 1);
    cr_expect_eq(fixture_count("architectures"), 2);
    cr_assert_eq(submit("# another text, the same sweep\ndataset: small\n" SWEEP, NULL, &second), 0, "%s",
                 fixture_error.message);
    cr_expect(second.points == 6 && second.submitted == 0 && second.skipped == 6);
    cr_expect(second.first_seq == 0 && second.last_seq == 0);
    cr_expect_str_eq(first.sweep_id, second.sweep_id);
    cr_expect_eq(fixture_count("tasks"), 6);
    cr_expect_eq(fixture_count("sweeps"), 1);
}

Test(sweep_submit, a_metric_that_no_task_will_have_is_refused)
{
    refused("dataset: small\nmetric: {name: val_loss}\n" SWEEP, HUB_ERROR_INVALID,
            "s.yaml: metric: val_loss is not a result of this task; it will have loss, accuracy, top_k_accuracy, "
            "precision, recall, f1, and with train_, validation_, test_ before the name those of one split (of train loss "
            "and accuracy alone)");
    refused("dataset: small\nmetric: {name: train_f1}\n" SWEEP, HUB_ERROR_INVALID, "s.yaml: metric: train_f1 is not");
    refused("dataset: small\nmetric: {name: validation_rmse}\n" SWEEP, HUB_ERROR_INVALID,
            "s.yaml: metric: validation_rmse is not");
    refused("dataset: small\nmetrics: [f1, rmse]\n" SWEEP, HUB_ERROR_INVALID,
            "s.yaml:2: metrics: rmse is not one that this task can have: loss, accuracy, top_k_accuracy, precision, recall, f1, "
            "confusion_matrix");
    refused("dataset: small\nmetrics: [top_k_accuracy]\n" SWEEP, HUB_ERROR_INVALID,
            "s.yaml: top_k: every row is among the first 5 of 3 classes; give a smaller one");
    refused("dataset: small\nresult_keys: [loss, best_epoch]\n" SWEEP, HUB_ERROR_INVALID,
            "s.yaml: result_keys: best_epoch is not");
}

Test(sweep_submit, a_task_has_its_point_filled_in)
{
    struct sweep_submission submission;
    const bson_t *task;
    bson_t *sort = BCON_NEW("seq", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .skip = 4, .limit = 1};
    cr_assert_eq(submit("dataset: small\nseed: 11\npriority: 3\ntags: [a]\n"
                        "metric: {name: validation_loss, goal: minimize}\n" SWEEP,
                        NULL, &submission),
                 0, "%s", fixture_error.message);
    struct store_cursor *cursor = task_find(fixture_hub, NULL, &options, &fixture_error);
    cr_assert_not_null(cursor);
    cr_assert_eq(store_cursor_next(cursor, &task, &fixture_error), 1);
    bson_t *expected =
        BCON_NEW("name", "s", "kind", "train", "queue", "default", "resource_class", "cpu", "state", "ready",
                 "priority", BCON_INT32(3), "tags", "[", "a", "]", "sweep", BCON_UTF8(submission.sweep_id), "dataset",
                 "small", "architecture", "dense:16:relu dense:3", "point", "{", "hidden", BCON_INT32(16),
                 "learning_rate", BCON_DOUBLE(0.25), "epochs", BCON_INT32(2), "}", "hyper_parameters", "{",
                 "learning_rate", BCON_DOUBLE(0.25), "epochs", BCON_INT32(2), "seed", BCON_INT32(11), "batch_size",
                 BCON_INT32(32), "optimizer", "adam", "loss", "cross_entropy", "}", "metric", "{", "name",
                 "validation_loss", "goal", "minimize", "}");
    bson_iter_t want, have;
    cr_assert(bson_iter_init(&want, expected));
    while (bson_iter_next(&want)) {
        cr_assert(bson_iter_init_find(&have, task, bson_iter_key(&want)), "no %s", bson_iter_key(&want));
        bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER;
        bson_append_iter(&a, "value", -1, &want);
        bson_append_iter(&b, "value", -1, &have);
        char *x = bson_as_relaxed_extended_json(&a, NULL), *y = bson_as_relaxed_extended_json(&b, NULL);
        cr_expect_str_eq(y, x, "%s is %s, not %s", bson_iter_key(&want), y, x);
        bson_free(x);
        bson_free(y);
        bson_destroy(&a);
        bson_destroy(&b);
    }
    store_cursor_close(cursor);
    bson_destroy(expected);
    bson_destroy(sort);
}

Test(sweep_submit, parameters_are_filled_into_a_graph_with_their_types)
{
    struct sweep_submission submission;
    cr_assert_eq(submit("dataset: small\n"
                        "parameters: {hidden: [8, 16], act: [relu, tanh], rate: 0.5}\n"
                        "architecture:\n"
                        "  layers:\n"
                        "    - {type: dropout, rate: \"${rate}\"}\n"
                        "    - {type: dense, units: \"${hidden}\", activation: \"${act}\", name: \"h${hidden}\"}\n"
                        "    - {type: dense, units: 3}\n",
                        NULL, &submission),
                 0, "%s", fixture_error.message);
    cr_expect_eq(submission.submitted, 4);
    cr_expect_eq(fixture_count("architectures"), 4);
    bson_t *filter = BCON_NEW("architecture.layers.1.units", BCON_INT32(16), "architecture.layers.1.name", "h16");
    cr_expect_eq(store_count(hub_store(fixture_hub), "tasks", filter, &fixture_error), 2);
    bson_destroy(filter);
}

Test(sweep_submit, what_the_caller_gives_comes_before_the_file)
{
    struct sweep_submission submission, again;
    bson_t *fields = BCON_NEW("name", "mine", "dataset", "small", "architecture", "dense:${hidden} dense:3", "tags",
                              "[", "b", "]", "hyper_parameters", "{", "batch_size", BCON_INT32(4), "}");
    cr_assert_eq(submit("dataset: nothing\nname: yours\n" SWEEP, fields, &submission), 0, "%s", fixture_error.message);
    bson_t *filter = BCON_NEW("name", "mine", "dataset", "small", "architecture", "dense:8 dense:3", "tags", "b",
                              "hyper_parameters.batch_size", BCON_INT32(4));
    cr_expect_eq(store_count(hub_store(fixture_hub), "tasks", filter, &fixture_error), 3);
    bson_destroy(filter);
    bson_destroy(fields);
    fields = BCON_NEW("name", "mine", "dataset", "small", "architecture", "dense:${hidden} dense:3", "hyper_parameters",
                      "{", "batch_size", BCON_INT32(4), "}", "priority", BCON_INT32(7));
    cr_assert_eq(submit("name: yours\n" SWEEP, fields, &again), 0, "%s", fixture_error.message);
    cr_expect_str_eq(again.sweep_id, submission.sweep_id); /* a priority makes no new tasks */
    cr_expect_eq(again.skipped, 6);
    bson_destroy(fields);
    fields = BCON_NEW("dataset", "small", "hyper_parameters", "{", "epochs", BCON_INT32(4), "}");
    cr_expect_eq(submit(SWEEP, fields, &again), -1);
    cr_expect_str_eq(fixture_error.message, "hyper_parameters.epochs: is in s.yaml already");
    bson_destroy(fields);
    fields = BCON_NEW("dataset", "small", "architecture", "dense:3");
    cr_expect_eq(submit(SWEEP, fields, &again), -1);
    cr_expect(strstr(fixture_error.message, "s.yaml:2: nothing reads parameter 'hidden'"), "%s", fixture_error.message);
    bson_destroy(fields);
    fields = BCON_NEW("dataset", "small", "architecture", "dense:${hiden} dense:3");
    cr_expect_eq(submit(SWEEP, fields, &again), -1);
    cr_expect_str_eq(fixture_error.message,
                     "the architecture given for s.yaml: ${hiden} names no parameter; did you mean ${hidden}?");
    bson_destroy(fields);
}

Test(sweep_submit, a_larger_run_cap_adds_the_points_that_were_left_out)
{
    struct sweep_submission first, second;
    cr_assert_eq(submit("run_cap: 2\ndataset: small\n" SWEEP, NULL, &first), 0, "%s", fixture_error.message);
    cr_expect_eq(first.submitted, 2);
    cr_assert_eq(submit("run_cap: 5\ndataset: small\n" SWEEP, NULL, &second), 0, "%s", fixture_error.message);
    cr_expect(second.submitted == 3 && second.skipped == 2);
    cr_expect_eq(second.first_seq, second.last_seq - 2);
    cr_expect_gt(second.first_seq, first.last_seq);
}

Test(sweep_submit, one_wrong_point_refuses_the_whole_sweep_with_its_line)
{
    refused(SWEEP, HUB_ERROR_INVALID, "s.yaml: no dataset; give one, or 'dataset: NAME' in the file");
    refused("dataset: none\n" SWEEP, HUB_ERROR_NOT_FOUND,
            "s.yaml:1: dataset: nothing in project 'default' matches 'none'; there is: small");
    refused(
        "dataset: small\nparameters:\n  epochs: [1, 2]\n  learning_rate:\n  - 0.1\n  - -0.1\narchitecture: dense:3\n",
        HUB_ERROR_INVALID, "s.yaml:6: with epochs = 1, learning_rate = -0.1: hyper_parameters.learning_rate: ");
    refused("dataset: small\nparameters:\n  epochs: [1, 2000000]\narchitecture: dense:3\n", HUB_ERROR_INVALID,
            "s.yaml:3: with epochs = 2000000: hyper_parameters.epochs: 2000000 is not in [1, 1000000]");
    refused("dataset: small\nparameters:\n  n: [3, 4]\narchitecture: \"dense:8 dense:${n}\"\n", HUB_ERROR_INVALID,
            "s.yaml:4: with n = 4: architecture: layer dense_2: ");
    refused("dataset: small\nparameters:\n  n: 0\narchitecture: \"dense:${n} dense:3\"\n", HUB_ERROR_INVALID,
            "s.yaml:4: architecture: layer dense_1: ");
    refused("dataset: small\nparameters: {optimizer: [adam, sdg]}\narchitecture: dense:3\n", HUB_ERROR_INVALID,
            "s.yaml:2: with optimizer = sdg: hyper_parameters.optimizer: ");
    refused("dataset: small\nparameters: {}\n", HUB_ERROR_INVALID, "s.yaml: architecture: missing");
    refused("dataset: small\nkind: test\n", HUB_ERROR_INVALID, "s.yaml: model: missing");
    refused("dataset: small\nkind: test\narchitecture: dense:3\n", HUB_ERROR_INVALID,
            "s.yaml:3: architecture: a task of kind test takes its model's");
    refused("parameters: {}\ndataset: {version: {$gt: 7}}\narchitecture: dense:3\n", HUB_ERROR_NOT_FOUND,
            "s.yaml:2: dataset: nothing in project 'default' matches { \"version\" : { \"$gt\" : 7 } }");
    refused("dataset: {version: {$big: 7}}\narchitecture: dense:3\n", HUB_ERROR_INVALID, "s.yaml:1: dataset: ");
    refused("dataset: small\narchitecture: dense:3\nmodel: x\n", HUB_ERROR_INVALID, "s.yaml:3: model: ");
}

static struct sweep_submission accepted(const char *text)
{
    struct sweep_submission submission;
    cr_assert_eq(submit(text, NULL, &submission), 0, "%s", fixture_error.message);
    return submission;
}

/* keep: best is judged by validation rows. */
Test(sweep_submit, the_best_weights_need_a_validation_split)
{
    struct idx_options options = {.directory = TL_TEST_DATA "/idx_plain", .name = "plain"};
    bson_t dataset;
    cr_assert_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    bson_destroy(&dataset);
    refused("dataset: plain\narchitecture: dense:3\nkeep: best\n", HUB_ERROR_INVALID,
            "s.yaml:3: keep: the dataset has no rows of the split 'validation'; it has train, test");
    cr_expect_eq(accepted("dataset: small\narchitecture: dense:3\nkeep: best\n").submitted, 1);
}

/* Whatever decides what is computed or kept makes another sweep; how it is queued does not. */
Test(sweep_submit, its_identity_is_what_it_computes_and_keeps)
{
    static const char *const others[] = {"keep: best\n", "log_every: 3\n", "metric: {name: validation_loss}\n",
                                         "metric: {name: validation_loss, goal: maximize}\n", "result_keys: [loss]\n"};
    cr_expect_eq(accepted("dataset: small\n" SWEEP).submitted, 6);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *text = bson_strdup_printf("%sdataset: small\n" SWEEP, others[i]);
        cr_expect_eq(accepted(text).submitted, 6, "%s", others[i]);
        struct sweep_submission again = accepted(text);
        cr_expect(again.submitted == 0 && again.skipped == 6, "%s", others[i]);
        cr_expect_str_eq(again.differs, "");
        bson_free(text);
    }
    struct sweep_submission queued = accepted("priority: 3\ntags: [x]\ndataset: small\n" SWEEP);
    cr_expect_eq(queued.submitted, 0);
    cr_expect_str_eq(queued.differs, "priority, tags");
}

static void save_net(const char *name, const char *text)
{
    char *graph;
    bson_t *fields = BCON_NEW("name", BCON_UTF8(name));
    cr_assert_eq(submit_architecture(text, &graph, &fixture_error), 0, "%s", fixture_error.message);
    cr_assert_geq(architecture_record_save(fixture_hub, graph, fields, NULL, &fixture_error), 0);
    bson_destroy(fields);
    bson_free(graph);
    usleep(2000); /* names go by time: the newest of a name */
}

/* A name stands for the net that was saved last under it: another net is another sweep. */
Test(sweep_submit, a_saved_architecture_is_part_of_the_identity)
{
    static const char sweep[] = "dataset: small\nparameters: {net: [one, two]}\narchitecture: ${net}\n";
    save_net("one", "dense:3");
    save_net("two", "dense:4:relu dense:3");
    cr_expect_eq(accepted(sweep).submitted, 2);
    cr_expect_eq(accepted(sweep).submitted, 0);
    save_net("two", "dense:5:relu dense:3");
    cr_expect_eq(accepted(sweep).submitted, 2);
}

Test(sweep_submit, yaml_and_json_make_the_same_tasks)
{
    static const char *const files[] = {TL_TEST_DATA "/sweeps/grid.yaml", TL_TEST_DATA "/sweeps/grid.json"};
    struct sweep_submission submissions[2];
    for (int i = 0; i < 2; i++) {
        struct sweep *sweep = sweep_load(files[i], &fixture_error);
        cr_assert_not_null(sweep, "%s", fixture_error.message);
        cr_assert_eq(sweep_submit(fixture_hub, sweep, NULL, &submissions[i], &fixture_error), 0, "%s",
                     fixture_error.message);
        sweep_free(sweep);
    }
    cr_expect_eq(submissions[0].submitted, 12);
    cr_expect(submissions[1].submitted == 0 && submissions[1].skipped == 12);
    cr_expect_str_eq(submissions[0].sweep_id, submissions[1].sweep_id);
}

/* Ten classes under the name that the examples use. */
static void save_ten_classes(void)
{
    uint8_t images[16 + 10 * 4] = {0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 2};
    uint8_t labels[8 + 10] = {0, 0, 8, 1, 0, 0, 0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    char path[128];
    bson_t dataset;
    struct idx_options options = {.directory = fixture_folder, .name = "fashion", .validation = 2};
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", fixture_folder);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(images, sizeof images, 1, file) == 1 && !fclose(file));
    snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", fixture_folder);
    file = fopen(path, "wb");
    cr_assert(file && fwrite(labels, sizeof labels, 1, file) == 1 && !fclose(file));
    cr_assert_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    bson_destroy(&dataset);
}

Test(sweep_submit, the_examples_are_accepted)
{
    static const struct {
        const char *path;
        int64_t points;
    } examples[] = {{"/examples/fashion-mnist/sweep.yaml", 3},
                    {"/examples/sweeps/learning-rates.yaml", 20},
                    {"/examples/sweeps/graph.yaml", 4},
                    {"/examples/sweeps/depths.json", 3},
                    {"/examples/sweeps/halving.yaml", 200},
                    {"/examples/sweeps/population.yaml", 8},
                    {"/examples/sequences/sweep.yaml", 2}};
    save_ten_classes();
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct sweep_submission submission;
        char path[4096];
        snprintf(path, sizeof path, "%s%s", TL_TEST_SOURCE_DIR, examples[i].path);
        struct sweep *sweep = sweep_load(path, &fixture_error);
        cr_assert_not_null(sweep, "%s", fixture_error.message);
        cr_expect_eq(sweep_submit(fixture_hub, sweep, NULL, &submission, &fixture_error), 0, "%s",
                     fixture_error.message);
        cr_expect_eq(submission.submitted, examples[i].points, "%s", examples[i].path);
        sweep_free(sweep);
    }
}

Test(sweep_submit, ten_thousand_tasks_take_seconds)
{
    char text[12000] = "dataset: small\nparameters:\n  hidden: [1, 2, 3, 4, 5]\n  epochs: [1, 2]\n  seed: [0";
    struct timespec begin, end;
    struct sweep_submission submission;
    for (int i = 1; i < 1000; i++)
        sprintf(text + strlen(text), ",%d", i);
    strcat(text, "]\narchitecture: \"dense:${hidden} dense:3\"\n");
    clock_gettime(CLOCK_MONOTONIC, &begin);
    cr_assert_eq(submit(text, NULL, &submission), 0, "%s", fixture_error.message);
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_expect(submission.points == 10000 && submission.submitted == 10000);
    cr_expect_eq(submission.last_seq - submission.first_seq, 9999);
    cr_expect_eq(fixture_count("tasks"), 10000);
    cr_expect_lt(end.tv_sec - begin.tv_sec, 60); /* 1.4 s on two idle cores; sanitizers and busy machines are slower */
}

static void nets_are(const char *text, const char *const *expected, size_t count)
{
    struct sweep_submission submission;
    cr_assert_eq(submit(text, NULL, &submission), 0, "%s", fixture_error.message);
    cr_expect_eq(submission.submitted, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        bson_t *filter = BCON_NEW("architecture", BCON_UTF8(expected[i]));
        cr_expect_eq(store_count(hub_store(fixture_hub), "tasks", filter, &fixture_error), 1, "no net '%s'", expected[i]);
        bson_destroy(filter);
    }
}

Test(sweep_submit, pieces_of_a_net_are_repeated)
{
    static const char *const nets[] = {"dense:3", "dense:8 relu dense:3", "dense:8 relu dense:8 relu dense:3"};
    nets_are("dataset: small\nparameters: {layers: [0, 1, 2], epochs: 1, width: {value: 8, repeat: 2}}\n"
             "architecture: \"${layers} * [dense:${width.#} relu] dense:3\"\n", nets, 3);
}

Test(sweep_submit, pieces_of_a_net_are_repeated_within_each_other)
{
    static const char *const nets[] = {"dense:4 dense:5 dense:5 dense:3", "dense:4 dense:5 dense:5 dense:4 dense:5 dense:5 dense:3"};
    nets_are("dataset: small\nparameters: {times: [1, 2], epochs: 1}\n"
             "architecture: \"${times}*[dense:4 2 * [dense:5]] dense:3\"\n", nets, 2);
}

Test(sweep_submit, what_is_wrong_with_a_repeated_piece_is_said)
{
#define PIECE(parameters, net) "dataset: small\nparameters: {epochs: 1" parameters "}\narchitecture: \"" net "\"\n"
    refused(PIECE("", "300 * [dense:4] dense:3"), HUB_ERROR_INVALID,
            "s.yaml:3: architecture: how often a piece in [ ] is repeated must be an integer in [0, 256]");
    refused(PIECE(", n: [relu, tanh]", "${n} * [dense:4] dense:3"), HUB_ERROR_INVALID,
            "s.yaml:3: with n = relu: architecture: how often a piece in [ ] is repeated must be an integer in [0, 256]");
    refused(PIECE("", "2 * [dense:4 dense:3"), HUB_ERROR_INVALID, "s.yaml:3: architecture: a [ has no ]");
    refused(PIECE(", w: {values: [4, 5], repeat: 1}", "2 * [dense:${w.#}] dense:3"), HUB_ERROR_INVALID,
            "s.yaml:3: with w.1 = 4: architecture: ${w.2} names no parameter: a piece is repeated more often than the parameter's repeat says");
}
