/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of kind infer: the rows of a split with the predictions of a model as labels, as a dataset that appears once. */
#include "fixture.h"

#include "runner/predict.h"

TestSuite(infer, .init = open_hub, .fini = close_hub, .timeout = 120);

static void train_base(void)
{
    add_task("base", "'epochs': 1, 'batch_size': 16, 'learning_rate': 0.0003", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
}

/* What the model predicts for the rows of a split, and their labels, gathered row by row. */
struct gathered {
    int64_t rows, outputs;
    float out[4096];
    int32_t labels[2048];
    float targets[4096];
    bool classes;
};

static int begin(void *context, const struct predict_about *about, bson_error_t *why)
{
    struct gathered *gathered = context;
    (void)why;
    cr_assert_leq(about->rows * about->outputs, 4096);
    gathered->outputs = about->outputs;
    gathered->classes = about->classes;
    return 0;
}

static int gather(void *context, const struct predict_batch *batch, bson_error_t *why)
{
    struct gathered *gathered = context;
    size_t width = (size_t)gathered->outputs, at = (size_t)batch->first, rows = (size_t)batch->rows;
    (void)why;
    cr_expect_eq(batch->first, gathered->rows);
    memcpy(gathered->out + at * width, batch->out, rows * width * sizeof *batch->out);
    if (batch->labels)
        memcpy(gathered->labels + at, batch->labels, rows * sizeof *batch->labels);
    if (batch->targets)
        memcpy(gathered->targets + at * width, batch->targets, rows * width * sizeof *batch->targets);
    gathered->rows += batch->rows;
    return 0;
}

static void predict(const char *model_filter, const char *dataset_filter, const char *split, int64_t batch_size,
                    struct gathered *gathered)
{
    struct predict_summary summary;
    bson_t *model = find_one("models", model_filter), *dataset = find_one("datasets", dataset_filter);
    struct predict_options options = {.hub = hub, .model = model, .dataset = dataset, .split = split, .device_name = "ref",
                                      .batch_size = batch_size, .begin = begin, .batch = gather, .context = gathered};
    memset(gathered, 0, sizeof *gathered);
    cr_assert_eq(predict_run(&options, &summary, error), 1, "%s", error->message);
    cr_expect_eq(summary.rows, gathered->rows);
    bson_destroy(model);
    bson_destroy(dataset);
}

static struct gathered before, after;

Test(infer, its_dataset_has_the_rows_and_the_predictions_as_labels)
{
    train_base();
    add_task("tested", "", "'kind': 'test', 'model': 'base'");
    add_task("inferred", "'batch_size': 7", "'kind': 'infer', 'model': 'base', 'save_dataset': 'out', 'save_split': 'train'");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *task = find_one("tasks", "{'name': 'inferred'}"), *tested = find_one("tasks", "{'name': 'tested'}"),
           *out = find_one("datasets", "{'name': 'out'}"), *model = find_one("models", "{}");
    cr_expect_str_eq(document_string(task, "state"), "done");
    cr_expect_eq(number(task, "result.metrics.rows"), 60);
    cr_expect_eq(number(task, "result.metrics.accuracy"), number(tested, "result.metrics.accuracy"));
    cr_expect_lt(number(task, "result.metrics.accuracy"), 1, "predictions and labels would be the same: this shows nothing");
    cr_expect_str_eq(document_string(task, "result.metrics.dataset"), document_string(out, "_id"));
    cr_expect_str_eq(document_string(task, "result.metrics.model"), document_string(model, "_id"));
    cr_expect_str_eq(document_string(task, "result.dataset_id"), document_string(out, "_id"));
    cr_expect_str_eq(document_string(out, "predicted_by.id"), document_string(model, "_id"));
    cr_expect_str_eq(document_string(out, "predicted_from.split"), "test");
    cr_expect_eq(number(out, "classes"), 3);
    cr_expect_eq(number(out, "splits.train"), 60);
    cr_expect_eq(count("models", "{}"), 1, "an inference makes no model");
    predict("{}", "{'name': 'blobs'}", "test", 60, &before);
    predict("{}", "{'name': 'out'}", "train", 11, &after);
    cr_assert(before.rows == 60 && after.rows == 60 && before.outputs == 3);
    cr_expect_eq(memcmp(before.out, after.out, 60 * 3 * sizeof *before.out), 0, "the same rows");
    for (int64_t i = 0; i < 60; i++)
        cr_expect_eq(after.labels[i], predict_class(before.out + 3 * i, 3), "row %lld", (long long)i);
    bson_destroy(task);
    bson_destroy(tested);
    bson_destroy(out);
    bson_destroy(model);
}

enum { LARGE_ROWS = 200000, LARGE_PARTS = 20 };

/* More rows than are predicted in some seconds one by one; all parts are the same bytes. */
static void enlarge(void)
{
    struct kernel_error why = {0};
    bson_t *fields = json("{'name': 'large', 'input_shape': [8], 'label': 'class', 'classes': 3,"
                          " 'features': {'dtype': 'U8', 'scale': 1.0, 'offset': 0.0}}"), dataset;
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    struct safetensors_tensor tensors[] = {
        {.name = (char *)"x", .dtype = SAFETENSORS_U8, .rank = 2, .shape = {LARGE_ROWS, 8}},
        {.name = (char *)"y", .dtype = SAFETENSORS_I64, .rank = 1, .shape = {LARGE_ROWS}}};
    size_t length, bytes = LARGE_ROWS * (8 + sizeof(int64_t));
    uint8_t *header = safetensors_header_new(tensors, 2, NULL, 0, &length, &why);
    uint8_t *file = calloc(1, length + bytes);
    cr_assert(writer && header && file);
    memcpy(file, header, length);
    for (int part = 0; part < LARGE_PARTS; part++)
        cr_assert_geq(dataset_writer_part(writer, "test", LARGE_ROWS, file, length + bytes, error), 0, "%s", error->message);
    cr_assert_eq(dataset_writer_finish(writer, &dataset, error), 1, "%s", error->message);
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
    free(header);
    free(file);
}

/* Rows of two values whose labels are two values, in several parts of one split. */
static void save_values(void)
{
    struct kernel_error why = {0};
    bson_t *fields = json("{'name': 'values', 'input_shape': [2], 'label': 'value', 'outputs': 2,"
                          " 'features': {'dtype': 'F32', 'scale': 1.0, 'offset': 0.0}}"), dataset;
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    cr_assert_not_null(writer, "%s", error->message);
    for (int part = 0; part < 4; part++) {
        enum { ROWS = 13 };
        float block[ROWS * 4];
        struct safetensors_tensor tensors[] = {
            {.name = (char *)"x", .dtype = SAFETENSORS_F32, .rank = 2, .shape = {ROWS, 2}},
            {.name = (char *)"y", .dtype = SAFETENSORS_F32, .rank = 2, .shape = {ROWS, 2}}};
        size_t length;
        for (int i = 0; i < ROWS * 2; i++) {
            block[i] = (float)((part * 31 + i * 17) % 23) / 23;
            block[ROWS * 2 + i] = 2 * block[i] + 1;
        }
        uint8_t *header = safetensors_header_new(tensors, 2, NULL, 0, &length, &why);
        cr_assert_not_null(header, "%s", why.message);
        uint8_t *file = malloc(length + sizeof block);
        cr_assert_not_null(file);
        memcpy(file, header, length);
        memcpy(file + length, block, sizeof block);
        cr_assert_geq(dataset_writer_part(writer, part == 0 ? "train" : "test", ROWS, file, length + sizeof block, error), 0,
                      "%s", error->message);
        free(header);
        free(file);
    }
    cr_assert_eq(dataset_writer_finish(writer, &dataset, error), 1, "%s", error->message);
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
}

Test(infer, values_become_labels_that_are_values)
{
    save_values();
    bson_t *fields = json("{'name': 'line', 'dataset': 'values', 'architecture': 'dense:2', 'hyper_parameters': {'epochs': 3}}");
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *more = json("{'name': 'inferred', 'kind': 'infer', 'dataset': 'values', 'model': 'line', 'save_dataset': 'out'}");
    cr_assert_eq(task_create(hub, more, NULL, error), 1, "%s", error->message);
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    predict("{'name': 'line'}", "{'name': 'values'}", "test", 5, &before);
    predict("{'name': 'line'}", "{'name': 'out'}", "test", 256, &after);
    cr_assert(before.rows == 39 && after.rows == 39 && before.outputs == 2 && !before.classes);
    cr_expect_eq(memcmp(before.out, after.targets, 39 * 2 * sizeof *before.out), 0, "the predictions are the labels");
    bson_t *task = find_one("tasks", "{'name': 'inferred'}");
    double squared = 0;
    for (size_t i = 0; i < 39 * 2; i++) {
        double difference = (double)before.out[i] - (double)before.targets[i];
        squared += difference * difference;
    }
    cr_expect_float_eq(number(task, "result.metrics.mse"), squared / (39 * 2), 1e-9);
    bson_destroy(task);
    bson_destroy(more);
    bson_destroy(fields);
}

Test(infer, what_it_cannot_do_fails_and_says_why)
{
    train_base();
    save_values();
    add_task("nameless", "", "'kind': 'infer', 'model': 'base'");
    add_task("splitless", "", "'kind': 'infer', 'model': 'base', 'save_dataset': 'a', 'split': 'none'");
    bson_t *narrow = json("{'name': 'narrow', 'kind': 'infer', 'dataset': 'values', 'model': 'base', 'save_dataset': 'b'}");
    cr_assert_eq(task_create(hub, narrow, NULL, error), 1, "%s", error->message);
    struct runner_summary summary = run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    cr_expect_eq(summary.failed, 3);
    const char *expected[][2] = {{"{'name': 'nameless'}", "save_dataset: missing"},
                                 {"{'name': 'splitless'}", "no rows in the split \"none\"; it has train, validation, test"},
                                 {"{'name': 'narrow'}", "model base takes rows of (8), the data have (2)"}};
    for (size_t i = 0; i < 3; i++) {
        bson_t *task = find_one("tasks", expected[i][0]);
        const char *message = document_string(task, "error.message");
        cr_expect(message && strstr(message, expected[i][1]), "%s", message ? message : "no message");
        bson_destroy(task);
    }
    cr_expect_eq(count("datasets", "{}"), 2);
    cr_expect_eq(count("uploads", "{}"), 0);
    bson_destroy(narrow);
}

enum asked { STOP, CANCEL, PAUSE };

/* The user, in a process of his own, who waits for the task to begin. */
static pid_t ask_when_begun(const char *name, enum asked asked)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct hub *own = hub_open(uri, NULL, HUB_OPEN_EXISTING, NULL);
        bson_t *which = json("{'name': '%s', 'started': true}", name);
        int64_t told = 0;
        for (int i = 0; own && i < 6000 && told == 0; i++) {
            told = asked == STOP     ? task_stop(own, which, "enough", NULL)
                   : asked == CANCEL ? task_cancel(own, which, "enough", NULL)
                                     : task_pause(own, which, NULL);
            usleep(10000);
        }
        _exit(0);
    }
    return pid;
}

/* A task that works row by row, and is asked as soon as it has begun. */
static bson_t *run_asked(const char *name, enum asked asked, const char *rest)
{
    int status;
    bson_t *fields = json("{'name': '%s', %s, 'hyper_parameters': {'batch_size': 1}}", name, rest);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
    pid_t pid = ask_when_begun(name, asked);
    run((struct runner_options){.workers = 1, .until_empty = true, .lease_ms = 2000}, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    char *filter = bson_strdup_printf("{'name': '%s'}", name);
    bson_t *task = find_one("tasks", filter);
    bson_free(filter);
    return task;
}

static bson_t *run_stopped(const char *name, const char *rest)
{
    train_base();
    enlarge();
    char *all = bson_strdup_printf("'dataset': 'large', 'model': 'base', %s", rest);
    bson_t *task = run_asked(name, STOP, all);
    bson_free(all);
    cr_expect_str_eq(document_string(task, "state"), "stopped");
    cr_expect_str_eq(document_string(task, "result.reason"), "enough");
    return task;
}

/* The rows so far are measured, and the result says how many they were. */
Test(infer, told_to_stop_a_test_ends_with_the_rows_that_it_measured)
{
    bson_t *task = run_stopped("tested", "'kind': 'test'");
    cr_expect_gt(number(task, "result.metrics.rows"), 0);
    cr_expect_lt(number(task, "result.metrics.rows"), LARGE_PARTS * (double)LARGE_ROWS);
    cr_expect(document_has(task, "result.metrics.test_accuracy"));
    bson_destroy(task);
}

/* The rows so far become the dataset, and those that wait for it go on. */
Test(infer, told_to_stop_it_ends_with_the_rows_that_it_has)
{
    bson_t *task = run_stopped("inferred", "'kind': 'infer', 'save_dataset': 'out'"), *out = find_one("datasets", "{'name': 'out'}");
    cr_expect_gt(number(out, "splits.test"), 0);
    cr_expect_lt(number(out, "splits.test"), LARGE_PARTS * (double)LARGE_ROWS);
    cr_expect_eq(number(task, "result.metrics.rows"), number(out, "splits.test"));
    bson_destroy(task);
    bson_destroy(out);
}

/* A forecast for each row of a long series, one by one. */
#define AHEAD "'kind': 'infer', 'dataset': 'large', 'model': 'next', 'save_dataset': 'ahead'"

static int64_t train_forecast(void)
{
    bson_t *fields = json("{'name': 'next', 'dataset': 'blobs', 'architecture': 'dense:16:relu dense:3', "
                          "'hyper_parameters': {'recipe': 'forecast', 'window': 4, 'epochs': 1}}");
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *task = find_one("tasks", "{'name': 'next'}");
    cr_assert_str_eq(document_string(task, "state"), "done", "%s", document_string(task, "error.message"));
    bson_destroy(task);
    enlarge();
    return count("blobs.files", "{}");
}

/* But the blobs that there were. */
static void expect_nothing_left(int64_t blobs_before)
{
    struct gc_report report;
    cr_expect_eq(count("datasets", "{'name': 'ahead'}"), 0);
    cr_assert_eq(gc_run(hub, 100, false, &report, error), 1, "%s", error->message);
    cr_expect_eq(count("uploads", "{}"), 0);
    cr_expect_eq(count("blobs.files", "{}"), blobs_before);
}

Test(infer, a_forecast_that_is_stopped_ends_with_the_rows_that_it_has)
{
    train_forecast();
    bson_t *task = run_asked("ahead", STOP, AHEAD), *out = find_one("datasets", "{'name': 'ahead'}");
    cr_expect_str_eq(document_string(task, "state"), "stopped");
    cr_expect_gt(number(out, "splits.test"), 0);
    cr_expect_lt(number(out, "splits.test"), LARGE_PARTS * (double)LARGE_ROWS - 10);
    cr_expect_eq(number(task, "result.metrics.rows"), number(out, "splits.test"));
    bson_destroy(task);
    bson_destroy(out);
}

Test(infer, a_forecast_that_is_cancelled_leaves_nothing)
{
    int64_t blobs_before = train_forecast();
    bson_t *task = run_asked("ahead", CANCEL, AHEAD);
    cr_expect_str_eq(document_string(task, "state"), "cancelled");
    expect_nothing_left(blobs_before);
    bson_destroy(task);
}

Test(infer, a_forecast_that_is_paused_begins_again_when_it_is_resumed)
{
    bson_t *which = json("{'name': 'ahead'}");
    int64_t blobs_before = train_forecast();
    bson_t *task = run_asked("ahead", PAUSE, AHEAD);
    cr_expect_str_eq(document_string(task, "state"), "paused");
    expect_nothing_left(blobs_before);
    bson_destroy(task);
    cr_assert_eq(task_resume(hub, which, error), 1, "%s", error->message);
    bson_t *update = json("{'$set': {'hyper_parameters.batch_size': 1000}}");
    cr_assert_eq(store_update(hub_store(hub), "tasks", which, update, error), 1, "%s", error->message);
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *done = find_one("tasks", "{'name': 'ahead'}");
    cr_expect_str_eq(document_string(done, "state"), "done");
    cr_expect_eq(count("datasets", "{'name': 'ahead'}"), 1);
    bson_destroy(done);
    bson_destroy(update);
    bson_destroy(which);
}

#ifdef TL_HUB_FAULTS
/* Its worker dies at a point of the protocol and the task runs again: one dataset, and after gc no blob of the first. */
static void dies_at(const char *fault)
{
    char *once = test_path(".once");
    struct gc_report report;
    train_base();
    int64_t blobs = count("blobs.files", "{}");
    add_task("inferred", "", "'kind': 'infer', 'model': 'base', 'save_dataset': 'out'");
    setenv("TL_HUB_FAULT_ONCE", once, 1);
    setenv("TL_HUB_FAULT", fault, 1);
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    unsetenv("TL_HUB_FAULT");
    cr_expect_eq(access(once, F_OK), 0, "%s: nobody came by", fault);
    bson_t *task = find_one("tasks", "{'name': 'inferred'}"), *out = find_one("datasets", "{'name': 'out'}");
    cr_expect_str_eq(document_string(task, "state"), "done", "%s", fault);
    cr_expect_str_eq(document_string(task, "result.claim_id"), document_string(out, "_id"));
    cr_expect_eq(count("datasets", "{'name': 'out'}"), 1, "%s", fault);
    cr_assert_eq(gc_run(hub, 100, false, &report, error), 1, "%s", error->message);
    cr_expect_eq(count("blobs.files", "{}"), blobs + 1, "%s", fault);
    cr_expect_eq(count("uploads", "{}"), 0, "%s", fault);
    predict("{}", "{'name': 'out'}", "test", 60, &after);
    cr_expect_eq(after.rows, 60);
    bson_destroy(task);
    bson_destroy(out);
    free(once);
}

Test(infer, a_worker_that_dies_before_the_commit_leaves_nothing)
{
    dies_at("batch.before:kill");
}

Test(infer, a_worker_that_dies_after_the_commit_has_published)
{
    dies_at("finish.after:kill");
}

Test(infer, a_commit_whose_reply_is_lost_is_made_once)
{
    dies_at("batch.before:lose");
}
#endif
