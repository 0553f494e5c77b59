/* SPDX-License-Identifier: Apache-2.0 */
/* Every recipe: a run that was stopped in the middle of an epoch and taken up by another worker, and one whose worker was
 * killed behind a checkpoint, end with the bits of one that ran through: weights, metrics and logs. */
#include "same.h"

#include <math.h>

/* No limit of their own on a busy machine: the runs rest most of the time. */
TestSuite(exactness, .init = open_hub, .fini = close_hub, .timeout = 600);

/* ---- data ---- */

typedef void fill_row(int64_t row, int64_t split, float *x, float *y);

static float noise(uint64_t seed)
{
    for (int i = 0; i < 3; i++)
        seed = (seed ^ seed >> 31) * 6364136223846793005u + 1442695040888963407u;
    return (float)(seed >> 40) / (float)(1 << 24) - 0.5f;
}

/* A series of two values; rows of a user and an item with a rating. */
static void fill_series(int64_t row, int64_t split, float *x, float *y)
{
    (void)y;
    x[0] = (float)sin((double)row / 3) + 0.2f * noise((uint64_t)(row * 8 + split));
    x[1] = (float)cos((double)row / 5);
}

static void fill_ratings(int64_t row, int64_t split, float *x, float *y)
{
    const int64_t user = (row * 7 + split) % 30, item = (row * 11 + row / 30) % 20;
    x[0] = (float)user;
    x[1] = (float)item;
    y[0] = 0.5f * (float)((user + item) % 5) + 0.2f * noise((uint64_t)(row * 8 + split));
}

static void save_rows(struct dataset_writer *writer, int64_t split, int64_t rows, bool values, fill_row *fill)
{
    static const char *const names[] = {"train", "validation", "test"};
    struct kernel_error why = {0};
    struct safetensors_tensor tensors[] = {{.name = (char *)"x", .dtype = SAFETENSORS_F32, .rank = 2, .shape = {rows, 2}},
                                           {.name = (char *)"y", .dtype = SAFETENSORS_F32, .rank = 2, .shape = {rows, 1}}};
    size_t length, size = (size_t)rows * sizeof(float);
    uint8_t *header = safetensors_header_new(tensors, values ? 2 : 1, NULL, 0, &length, &why);
    cr_assert_not_null(header, "%s", why.message);
    uint8_t *file = malloc(length + 3 * size);
    memcpy(file, header, length);
    for (int64_t row = 0; row < rows; row++) {
        float x[2], y[1];
        fill(row, split, x, y);
        memcpy(file + length + (size_t)row * sizeof x, x, sizeof x);
        memcpy(file + length + 2 * size + (size_t)row * sizeof y, y, sizeof y);
    }
    cr_assert_geq(dataset_writer_part(writer, names[split], rows, file, length + (values ? 3 : 2) * size, error), 0, "%s",
                  error->message);
    free(header);
    free(file);
}

static void save_table(const char *name, int64_t rows, bool values, fill_row *fill)
{
    bson_t dataset, *fields = json("{'name': '%s', 'input_shape': [2], 'label': '%s'%s, 'features': {'dtype': 'F32'}}", name,
                                   values ? "value" : "none", values ? ", 'outputs': 1" : "");
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    cr_assert_not_null(writer, "%s", error->message);
    for (int64_t split = 0; split < 3; split++)
        save_rows(writer, split, split == 0 ? rows : rows / 5, values, fill);
    cr_assert_eq(dataset_writer_finish(writer, &dataset, error), 1, "%s", error->message);
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
}

/* ---- the recipes ---- */

struct exact {
    const char *name, *device, *dataset, *architecture;
    const char *hyper_parameters; /* beside seed */
    const char *more;             /* of the task */
};

#define EMBEDDINGS \
    "{'inputs': [{'name': 'user', 'shape': [1]}, {'name': 'item', 'shape': [1]}], 'layers': [" \
    "{'name': 'users', 'type': 'embedding', 'inputs': ['user'], 'rows': 30, 'dimension': 6}," \
    "{'name': 'items', 'type': 'embedding', 'inputs': ['item'], 'rows': 20, 'dimension': 6}," \
    "{'name': 'match', 'type': 'dot', 'inputs': ['users', 'items']}]}"
#define GAN \
    "{'inputs': [{'name': 'noise', 'shape': [4]}, {'name': 'real'}], 'layers': [" \
    "{'type': 'dense', 'units': 16, 'inputs': ['noise'], 'activation': 'relu'}, {'type': 'batch_norm'}," \
    "{'name': 'made', 'type': 'dense', 'units': 8}, {'name': 'mix', 'type': 'mix', 'inputs': ['made', 'real']}," \
    "{'type': 'dense', 'units': 16, 'activation': 'tanh'}, {'type': 'dropout', 'rate': 0.3}," \
    "{'name': 'critic', 'type': 'dense', 'units': 1}], 'outputs': ['made', 'critic']}"
#define SMALL_STEPS "'batch_size': 7, 'learning_rate': 0.002"

static const struct exact cases[] = {
    {"dropout", "ref", "blobs", "'dropout:0.1 dense:24:relu dropout:0.5 dense:3'", "'epochs': 250, " SMALL_STEPS, "'keep': 'best'"},
    {"schedule", "cpu", "blobs", "'dense:64:relu dropout:0.5 dense:3'",
     "'epochs': 240, 'batch_size': 7, 'optimizer': 'sgd', 'momentum': 0.9, 'nesterov': true, 'learning_rate': 0.01, "
     "'schedule': 'cosine', 'warmup_epochs': 5, 'weight_decay': 0.0001, 'clip_norm': 1.0", "'log_every': 50"},
    {"convolutions", "ref", "blobs", "'reshape:2x4 conv1d:6:3:1:1 batch_norm relu dropout:0.2 flatten dense:3'",
     "'epochs': 120, " SMALL_STEPS, "'keep': 'best'"},
    {"images", "cpu", "blobs", "'reshape:2x2x2 conv2d:8:3:1:1 batch_norm relu flatten dropout:0.2 dense:3'",
     "'epochs': 120, " SMALL_STEPS, "'log_every': 30"},
    {"lstm", "ref", "blobs", "'reshape:4x2 lstm:8 dropout:0.2 dense:3'", "'epochs': 120, " SMALL_STEPS, "'keep': 'best'"},
    {"gru", "cpu", "blobs", "'reshape:4x2 gru:8 dense:3'", "'epochs': 120, " SMALL_STEPS, "'log_every': 30"},
    {"autoencoder", "ref", "blobs", "'dense:16:tanh dense:2 dense:16:tanh dense:8'",
     "'recipe': 'autoencoder', 'epochs': 180, " SMALL_STEPS, "'keep': 'best'"},
    {"forecast", "ref", "series", "'lstm:6 dense:2'", "'recipe': 'forecast', 'window': 6, 'horizon': 2, 'epochs': 120, " SMALL_STEPS,
     "'keep': 'best'"},
    {"ratings", "ref", "ratings", EMBEDDINGS, "'recipe': 'recommender', 'epochs': 800, 'weight_decay': 0.0003, " SMALL_STEPS,
     "'keep': 'best'"},
    {"choices", "ref", "choices", EMBEDDINGS, "'recipe': 'recommender', 'loss': 'bpr', 'epochs': 150, " SMALL_STEPS, "'keep': 'best'"},
    {"gan", "ref", "blobs", GAN, "'recipe': 'gan', 'epochs': 40, 'beta1': 0.5, " SMALL_STEPS, "'log_every': 40"},
    {"gan_cpu", "cpu", "blobs", GAN, "'recipe': 'gan', 'epochs': 50, 'beta1': 0.5, " SMALL_STEPS, "'log_every': 40"},
    {"window", "cpu", "blobs", "'dropout:0.1 dense:24:relu dense:3'", "'epochs': 250, 'shuffle_window': 40, " SMALL_STEPS, "'keep': 'best'"},
};

static void add_run(const struct exact *exact, const char *name, const char *more)
{
    bson_t *fields = json("{'name': '%s', 'dataset': '%s', 'architecture': %s, 'hyper_parameters': {'seed': 5, %s}, %s%s}", name,
                          exact->dataset, exact->architecture, exact->hyper_parameters, exact->more, more);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s: %s", exact->name, error->message);
    bson_destroy(fields);
}

static void expect_the_same(const char *name)
{
    expect_finished(name);
    expect_same_model("through", name);
    expect_same_logs("through", name);
}

/* Until its checkpoint is one from within an epoch: nearly always the first one. A run that has not trained for a second since
 * it was last safe writes none. */
static void stop_within_an_epoch(const char *name)
{
    char filter[96];
    for (int i = 0; i < 5; i++) {
        pid_t runner = start_slow_runner("{\"workers\": 1, \"lease_ms\": 3000}");
        snprintf(filter, sizeof filter, "{'state': 'running', 'progress.seconds': {'$gt': %g}}", 1.3 + 1.5 * i);
        wait_for("tasks", filter, 1, 100);
        stop(runner);
        if (count("tasks", "{'name': 'stopped', 'state': 'ready', 'checkpoint.position.row': {'$gt': 0}}") == 1)
            return;
    }
    cr_assert(false, "%s: it was never stopped within an epoch", name);
}

/* Trains for longer than a checkpoint is old, so that what came after it is lost. */
static void kill_behind_a_checkpoint(void)
{
    pid_t runner = start_slow_runner("{\"workers\": 1, \"lease_ms\": 3000}");
    wait_for("tasks", "{'state': 'running', 'checkpoint.epoch': {'$gt': 2}}", 1, 100);
    kill(worker_of(runner), SIGKILL);
    wait_for("tasks", "{'name': 'killed', 'errors': {'$exists': true}, 'checkpoint.epoch': {'$gt': 2}}", 1, 60);
    stop(runner);
}

static void leaves_no_trace(const struct exact *exact)
{
    struct heard heard = {0};
    setenv("TL_TEST_DEVICE", exact->device, 1);
    setenv("TL_HUB_CACHE_DIR", getenv("TL_TEST_FOLDER"), 1); /* where the one with a window keeps its file */
    save_blobs(strcmp(exact->device, "ref") ? 6000 : 900); /* long epochs on a fast device too */
    save_table("series", 900, false, fill_series);
    save_table("ratings", 900, true, fill_ratings);
    save_table("choices", 900, false, fill_ratings);
    add_run(exact, "through", "");
    run_all(NULL);
    expect_finished("through");
    add_run(exact, "stopped", "");
    stop_within_an_epoch(exact->name);
    run_all(&heard);
    cr_expect_eq(heard.resumed, 1, "%s: %s", exact->name, heard.last);
    expect_the_same("stopped");
    add_run(exact, "killed", ", 'checkpoint_every': 1");
    kill_behind_a_checkpoint();
    heard.resumed = 0;
    run_all(&heard);
    cr_expect_eq(heard.resumed, 1, "%s: %s", exact->name, heard.last);
    expect_the_same("killed");
}

#define EXACT(index, case) \
    Test(exactness, case) \
    { \
        cr_assert_str_eq(cases[index].name, #case); \
        leaves_no_trace(&cases[index]); \
    }

EXACT(0, dropout)
EXACT(1, schedule)
EXACT(2, convolutions)
EXACT(3, images)
EXACT(4, lstm)
EXACT(5, gru)
EXACT(6, autoencoder)
EXACT(7, forecast)
EXACT(8, ratings)
EXACT(9, choices)
EXACT(10, gan)
EXACT(11, gan_cpu)
EXACT(12, window)
