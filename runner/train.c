/* SPDX-License-Identifier: Apache-2.0 */
/* The training of one net: epochs of batches in an order that seed and epoch alone decide, the validation data after
 * each epoch, the test data at the end. train_loss and train_accuracy are means over the batches of the last epoch, as the
 * net was at each of them (with dropout). */
#include "runner/batch.h"
#include "hub/blob.h"
#include "hub/model.h"
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/recipe.h"
#include "runner/result.h"
#include "runner/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of random numbers for the order of rows, far from those of layers: one for each epoch, so that the order is
 * known from seed and epoch. */
#define SHUFFLE_STREAM (UINT64_C(1) << 62)

struct training {
    struct work *work;
    struct recipe recipe;
    struct data data[RESULT_SPLITS];
    bool has[RESULT_SPLITS];
    struct net *net;
    struct optimizer *optimizer;
    struct batch batch;
    int64_t *order;
    int64_t epoch; /* from 1 */
    int64_t step;  /* of all */
    double started;
    struct net_metrics sums;  /* of the epoch */
    struct net_metrics point; /* since the last log point */
    struct result_scores scores;
    float *best; /* the best epoch's parameters, with keep: best */
    double best_value;
    struct batch_scores best_train;
    bool stopped;
};

static int load_data(struct training *training, bson_error_t *error)
{
    struct worker *worker = training->work->worker;
    const char *name = document_string(&training->recipe.dataset, "name");
    for (int split = 0; split < RESULT_SPLITS; split++) {
        int found = data_load(worker->cache, worker->hub, &training->recipe.dataset, result_split_names[split],
                              &training->data[split], error);
        if (found < 0)
            return -1;
        training->has[split] = found > 0 && training->data[split].rows > 0;
        training->scores.splits[split].known = training->has[split];
        training->scores.splits[split].has_accuracy = training->recipe.classes;
    }
    if (!training->has[RESULT_TRAIN])
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: no rows in the split \"train\"", name ? name : "");
    if (training->data[RESULT_TRAIN].rows > UINT32_MAX)
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: more than 2^32 rows", name ? name : "");
    if (!training->recipe.classes)
        training->recipe.outputs = training->data[RESULT_TRAIN].outputs;
    training->scores.best_epoch = training->recipe.keep_best;
    int result = result_check_keys(training->work->task, &training->scores, error);
    memset(&training->scores, 0, sizeof training->scores);
    return result;
}

static int build(struct training *training, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct recipe *recipe = &training->recipe;
    int64_t rows = training->data[RESULT_TRAIN].rows;
    struct device *device = worker_device(training->work->worker, (int)recipe->threads, error);

    if (!device)
        return -1;
    struct net_options options = {.architecture = recipe->architecture,
                                  .input_shapes = {recipe->input},
                                  .outputs = recipe->outputs,
                                  .loss = recipe->loss,
                                  .batch_size = recipe->batch_size,
                                  .device = device,
                                  .seed = (uint64_t)recipe->seed};
    training->net = net_new(&options, &why);
    if (!training->net)
        return work_kernel_error(error, &why, "architecture");
    training->optimizer = optimizer_new(&recipe->optimizer, net_parameter_floats(training->net), &why);
    if (!training->optimizer)
        return work_kernel_error(error, &why, "hyper_parameters");
    if (document_has(training->work->task, "initial_model") &&
        weights_load_query(training->work->worker->hub, training->work->task, "initial_model", training->net, error))
        return -1;
    training->order = calloc((size_t)rows, sizeof *training->order);
    if (recipe->keep_best && training->has[RESULT_VALIDATION])
        training->best = calloc(net_parameter_floats(training->net), sizeof *training->best);
    if (!training->order || (recipe->keep_best && training->has[RESULT_VALIDATION] && !training->best))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the order of %lld rows", (long long)rows);
    return batch_init(&training->batch, &training->data[RESULT_TRAIN], recipe->batch_size, error);
}

/* {epoch, step, loss, accuracy, seconds} */
static int log_point(struct training *training, int split, const struct batch_scores *scores, bson_error_t *error)
{
    bson_t point = BSON_INITIALIZER;
    int result = -1;
    if (BSON_APPEND_INT32(&point, "epoch", (int32_t)training->epoch) &&
        BSON_APPEND_INT64(&point, "step", training->step) && batch_append_scores(&point, "", scores) &&
        BSON_APPEND_DOUBLE(&point, "seconds", clock_seconds() - training->started))
        result = heartbeat_log(training->work->worker->heartbeat, result_split_names[split], &point, error);
    else
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the log");
    bson_destroy(&point);
    return result;
}

/* What people watch: {epoch, epochs, step, fraction, loss, accuracy, …, seconds, seconds_left}. */
static void tell(struct training *training, const char *say, double fraction, bool wait)
{
    bson_t details = BSON_INITIALIZER;
    struct batch_scores running;
    double seconds = clock_seconds() - training->started;
    double share = ((double)(training->epoch - 1) + fraction) / (double)training->recipe.epochs;

    batch_score(&training->sums, training->recipe.classes, &running);
    if (BSON_APPEND_INT64(&details, "epoch", training->epoch) &&
        BSON_APPEND_INT64(&details, "epochs", training->recipe.epochs) &&
        BSON_APPEND_INT64(&details, "step", training->step) && BSON_APPEND_DOUBLE(&details, "fraction", fraction) &&
        batch_append_scores(&details, "", &running) &&
        batch_append_scores(&details, "validation_", &training->scores.splits[RESULT_VALIDATION]) &&
        BSON_APPEND_DOUBLE(&details, "seconds", seconds) &&
        BSON_APPEND_DOUBLE(&details, "seconds_left", share > 0 ? seconds / share - seconds : 0)) {
        heartbeat_progress(training->work->worker->heartbeat, &details);
        work_say(training->work, say, &details, wait);
    }
    bson_destroy(&details);
}

/* Puts the epoch before the message. Returns -1. */
static int name_epoch(const struct training *training, bson_error_t *error)
{
    if (error) {
        bson_error_t inner = *error;
        hub_error(error, hub_error_code(&inner), "epoch %lld: %s", (long long)training->epoch, inner.message);
    }
    return -1;
}

static int train_batch(struct training *training, int64_t first, int64_t count, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct net_metrics sums = {0};
    struct net_batch rows =
        batch_gather(&training->batch, &training->data[RESULT_TRAIN], training->order + first, first, count);
    if (net_train_step(training->net, training->optimizer, &rows, &sums, &why)) {
        work_kernel_error(error, &why, NULL);
        return name_epoch(training, error);
    }
    training->step++;
    struct net_metrics *totals[] = {&training->sums, &training->point};
    for (size_t i = 0; i < 2; i++) {
        totals[i]->rows += sums.rows;
        totals[i]->correct += sums.correct;
        totals[i]->loss_sum += sums.loss_sum;
    }
    return 0;
}

/* A log point of the batches since the last one. */
static int log_batches(struct training *training, bson_error_t *error)
{
    struct batch_scores scores;
    batch_score(&training->point, training->recipe.classes, &scores);
    memset(&training->point, 0, sizeof training->point);
    return scores.known ? log_point(training, RESULT_TRAIN, &scores, error) : 0;
}

/* 1 all batches done, or some and a stop with results was asked for; 0 told to stop; -1. */
static int train_epoch(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    const struct recipe *recipe = &training->recipe;
    int64_t rows = training->data[RESULT_TRAIN].rows;
    struct random_state random;

    memset(&training->sums, 0, sizeof training->sums);
    random_init(&random, (uint64_t)recipe->seed, SHUFFLE_STREAM + (uint64_t)training->epoch);
    random_order(&random, training->order, (size_t)rows);
    for (int64_t first = 0; first < rows; first += recipe->batch_size) {
        *stop = work_stopping(training->work);
        if (*stop == WORK_STOP) {
            training->stopped = true;
            break;
        }
        if (*stop != WORK_GO_ON)
            return 0;
        int64_t count = rows - first < recipe->batch_size ? rows - first : recipe->batch_size;
        if (train_batch(training, first, count, error))
            return -1;
        if (recipe->log_every > 0 && training->step % recipe->log_every == 0 && log_batches(training, error))
            return -1;
        if (work_progress_due(training->work))
            tell(training, "progress", (double)(first + count) / (double)rows, false);
    }
    if (recipe->log_every > 0 && log_batches(training, error))
        return -1;
    return 1;
}

static void keep_best(struct training *training)
{
    const struct batch_scores *validation = &training->scores.splits[RESULT_VALIDATION];
    double value = validation->has_accuracy ? validation->accuracy : -validation->loss;
    if (!training->best || !validation->known || (training->scores.best_epoch > 0 && value <= training->best_value))
        return;
    training->best_value = value;
    training->scores.best_epoch = training->epoch;
    training->best_train = training->scores.splits[RESULT_TRAIN];
    memcpy(training->best, net_parameters(training->net), net_parameter_floats(training->net) * sizeof(float));
}

static int end_epoch(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    struct batch_scores *scores = training->scores.splits;
    batch_score(&training->sums, training->recipe.classes, &scores[RESULT_TRAIN]);
    if (training->recipe.log_every == 0 && scores[RESULT_TRAIN].known &&
        log_point(training, RESULT_TRAIN, &scores[RESULT_TRAIN], error))
        return -1;
    if (training->has[RESULT_VALIDATION]) {
        int done = batch_evaluate(training->work, training->net, &training->data[RESULT_VALIDATION], &training->batch,
                                  "validation", &scores[RESULT_VALIDATION], stop, error);
        if (done < 0)
            return name_epoch(training, error);
        if (done == 0)
            return 0;
        if (log_point(training, RESULT_VALIDATION, &scores[RESULT_VALIDATION], error))
            return -1;
        keep_best(training);
    }
    tell(training, "epoch", 1, true);
    return 1;
}

static int finish(struct training *training, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct batch_scores *scores = training->scores.splits;
    struct result_training facts = {.epochs = training->epoch};
    const bson_t *task = training->work->task;

    if (training->best && training->scores.best_epoch > 0 && training->scores.best_epoch != training->epoch) {
        memcpy(net_parameters(training->net), training->best, net_parameter_floats(training->net) * sizeof(float));
        scores[RESULT_TRAIN] = training->best_train;
        int done = batch_evaluate(training->work, training->net, &training->data[RESULT_VALIDATION], &training->batch,
                                  "validation", &scores[RESULT_VALIDATION], stop, error);
        if (done <= 0)
            return done;
    }
    if (training->has[RESULT_TEST]) {
        int done = batch_evaluate(training->work, training->net, &training->data[RESULT_TEST], &training->batch,
                                  "test", &scores[RESULT_TEST], stop, error);
        if (done <= 0)
            return done;
        if (log_point(training, RESULT_TEST, &scores[RESULT_TEST], error))
            return -1;
    }
    facts.seconds = clock_seconds() - training->started;
    result->stopped = training->stopped;
    if (result_metrics(task, &training->scores, &result->metrics, error) ||
        result_model(training->work, &training->recipe, training->net, &training->scores, &facts, &result->metrics,
                     &result->model, error) ||
        result_weights(training->net, &training->recipe, &result->weights, &result->weights_length, error))
        return -1;
    return 1;
}

int train_recipe(struct work *work, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct training training = {.work = work, .started = clock_seconds()};
    int done = -1;

    recipe_init(&training.recipe);
    if (recipe_read(&training.recipe, work->worker->hub, work->task, error) || load_data(&training, error) ||
        build(&training, error))
        goto out;
    training.started = clock_seconds(); /* reading the data is not training */
    for (int64_t epoch = 1; epoch <= training.recipe.epochs && !training.stopped; epoch++) {
        training.epoch = epoch;
        done = train_epoch(&training, stop, error);
        if (done > 0)
            done = end_epoch(&training, stop, error);
        if (done <= 0)
            goto out;
    }
    done = finish(&training, result, stop, error);
out:
    free(training.order);
    free(training.best);
    batch_destroy(&training.batch);
    optimizer_free(training.optimizer);
    net_free(training.net);
    recipe_destroy(&training.recipe);
    return done;
}
