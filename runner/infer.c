/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of kind infer: a model, found by query, predicts the rows of a split, and the rows with the predictions as labels
 * become a dataset of the name save_dataset. Its parts are uploaded under the claim as they are full; the finish publishes
 * the manifest, or nobody ever sees them. */
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/fit.h"
#include "runner/forecast.h"
#include "runner/predict.h"
#include "runner/recipe.h"
#include "runner/rows_data.h"
#include "runner/weights.h"
#include "runner/work.h"

#include <string.h>

struct inference {
    struct work *work;
    struct recipe recipe; /* of which dataset and architecture */
    bson_t model;
    const char *split, *name, *save_split;
    int64_t rows, predicted; /* in all, and so far */
    enum work_stop *stop;
    bool stopped;         /* asked to: with the rows that it has */
};

static int read_text(const bson_t *task, const char *field, const char *standard, const char **text, bson_error_t *error)
{
    *text = document_string(task, field);
    if (!*text && document_has(task, field))
        return hub_error(error, HUB_ERROR_INVALID, "%s: must be a text", field);
    *text = *text ? *text : standard;
    return 0;
}

/* What the model takes of the dataset: a row, or of a forecast a window, for which the split is held in memory as a whole. */
static int read_sample(struct inference *inference, bool *held, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct sampling *sampling = &inference->recipe.sampling;
    const char *name = document_string(&inference->model, "hyper_parameters.recipe");
    struct sampling_row row = {.shape = inference->recipe.input, .labelled = true};
    if (name && sampling_find(name, &sampling->kind, &why))
        return work_kernel_error(error, &why, "model");
    *held = sampling->kind == SAMPLING_FORECAST;
    if (!*held)
        return 0;
    if (document_integer_in(&inference->model, "hyper_parameters.window", 1, SAMPLING_WINDOW, 0, &sampling->window, error) ||
        document_integer_in(&inference->model, "hyper_parameters.horizon", 1, SAMPLING_WINDOW, 1, &sampling->horizon, error))
        return -1;
    if (sampling_shape(sampling, false, &row, &why))
        return work_kernel_error(error, &why, "model");
    inference->recipe.input = row.shape;
    return 0;
}

static int prepare(struct inference *inference, struct predict_options *options, bson_error_t *error)
{
    struct worker *worker = inference->work->worker;
    const bson_t *task = inference->work->task;
    int64_t threads;
    bool held;
    if (document_integer_in(task, "hyper_parameters.batch_size", 1, 1 << 20, PREDICT_ROWS, &options->batch_size, error) ||
        document_integer_in(task, "threads", 0, 1024, 0, &threads, error) ||
        document_integer_in(task, "steps", 1, FORECAST_STEPS, 0, &options->steps, error) ||
        read_text(task, "save_dataset", NULL, &inference->name, error) ||
        read_text(task, "save_split", NULL, &inference->save_split, error) ||
        read_text(task, "split", "test", &inference->split, error))
        return -1;
    if (!inference->name)
        return hub_error(error, HUB_ERROR_INVALID, "save_dataset: missing; the name of the dataset that the predictions become");
    if (weights_find_model(worker->hub, task, "model", &inference->model, error) ||
        recipe_read_dataset(&inference->recipe, worker->hub, task, error) ||
        rows_data_resolve_task(worker->cache, worker->hub, task, &inference->recipe.dataset, error) ||
        read_sample(inference, &held, error))
        return -1;
    /* Without an architecture predict_run says what is missing. */
    if (document_has(&inference->model, "architecture") &&
        (recipe_read_architecture(&inference->recipe, worker->hub, &inference->model, error) ||
         fit_pass(worker, &inference->recipe, options->batch_size, inference->split, held, error)))
        return -1;
    options->hub = worker->hub;
    options->model = &inference->model;
    options->dataset = &inference->recipe.dataset;
    options->split = inference->split;
    options->device = worker_device(worker, (int)threads, error);
    options->save_name = inference->name;
    options->save_split = inference->save_split;
    return options->device ? 0 : -1;
}

static int begin(void *context, const struct predict_about *about, bson_error_t *error)
{
    struct inference *inference = context;
    (void)error;
    inference->rows = about->rows;
    return 0;
}

static int take_batch(void *context, const struct predict_batch *batch, bson_error_t *error)
{
    struct inference *inference = context;
    bson_t details = BSON_INITIALIZER;
    (void)error;
    inference->predicted += batch->rows;
    *inference->stop = work_stopping(inference->work);
    if (*inference->stop != WORK_GO_ON && *inference->stop != WORK_STOP)
        return 1;
    if (work_progress_due(inference->work) && BSON_APPEND_INT32(&details, "epoch", 1) &&
        BSON_APPEND_INT32(&details, "epochs", 1) &&
        BSON_APPEND_DOUBLE(&details, "fraction", (double)inference->predicted / (double)inference->rows)) {
        work_say(inference->work, "progress", &details, false);
        heartbeat_progress(inference->work->worker->heartbeat, &details);
    }
    bson_destroy(&details);
    inference->stopped = *inference->stop == WORK_STOP;
    return inference->stopped ? PREDICT_ENOUGH : 0;
}

static struct dataset_writer *open_save(void *context, const bson_t *fields, bson_error_t *error)
{
    struct inference *inference = context;
    return dataset_writer_open_claimed(inference->work->worker->hub, inference->work->fence, fields, error);
}

/* A process that slept for longer than its lease uploads nothing. */
static bool may_upload(void *context)
{
    struct inference *inference = context;
    int held = work_confirm(inference->work);
    if (held <= 0)
        *inference->stop = held == 0 ? WORK_LOST : WORK_STOPPING;
    return held > 0;
}

/* {rows, accuracy or mse, model, dataset}: those of result_keys where there are some. */
static int fill(struct inference *inference, const struct predict_summary *summary, struct work_result *result,
                bson_error_t *error)
{
    bson_t all = BSON_INITIALIZER, keys;
    bson_iter_t at, value;
    int filled = -1;
    const char *model = document_string(&inference->model, "_id");
    bool done = predict_append_scores(summary, &all) && (!model || BSON_APPEND_UTF8(&all, "model", model)) &&
                BSON_APPEND_UTF8(&all, "dataset", inference->work->fence->claim_id);
    if (!document_array(inference->work->task, "result_keys", &keys) || bson_empty(&keys)) {
        filled = done && bson_concat(&result->metrics, &all) ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the metrics");
        goto out;
    }
    for (bool more = done && bson_iter_init(&at, &keys); more && bson_iter_next(&at);) {
        const char *key = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
        if (!key || !bson_iter_init_find(&value, &all, key)) {
            hub_error(error, HUB_ERROR_INVALID, "result_keys: %s is not a result of this task", key ? key : "a value that is no name");
            goto out;
        }
        bson_append_iter(&result->metrics, NULL, 0, &value);
    }
    filled = 0;
out:
    bson_destroy(&all);
    return filled;
}

static int add_log(struct inference *inference, const struct predict_summary *summary, bson_error_t *error)
{
    bson_t point = BSON_INITIALIZER;
    struct work *work = inference->work;
    bool done = predict_append_scores(summary, &point) && BSON_APPEND_INT32(&point, "epoch", 0) &&
                BSON_APPEND_DOUBLE(&point, "seconds", clock_seconds() - work->started);
    int result = done ? heartbeat_log(work->worker->heartbeat, inference->split, &point, false, error)
                      : hub_error(error, HUB_ERROR_MEMORY, "no memory for a log point");
    bson_destroy(&point);
    return result;
}

int infer_recipe(struct work *work, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct inference inference = {.work = work, .stop = stop};
    struct predict_options options = {.begin = begin, .batch = take_batch, .save_open = open_save, .save_part = may_upload,
                                      .context = &inference};
    struct predict_summary summary = {.writer = NULL};
    int done = -1;

    bson_init(&inference.model);
    recipe_init(&inference.recipe);
    if (prepare(&inference, &options, error) == 0)
        done = predict_run(&options, &summary, error);
    if (done > 0) {
        result->stopped = inference.stopped;
        bson_destroy(&result->dataset);
        done = dataset_writer_manifest(summary.writer, &result->dataset, error) < 0 ||
                       fill(&inference, &summary, result, error) || add_log(&inference, &summary, error)
                   ? -1
                   : 1;
    }
    dataset_writer_close(summary.writer);
    recipe_destroy(&inference.recipe);
    bson_destroy(&inference.model);
    return done;
}
