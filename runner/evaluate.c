/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of kind validate and test: a model, found by query, measured on a split of a dataset. The task's own dataset, or
 * else the one that the model was trained on; the task's own split, or else the one that the kind is named for. */
#include "runner/batch.h"
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/fit.h"
#include "runner/recipe.h"
#include "runner/result.h"
#include "runner/rows_data.h"
#include "runner/weights.h"

#include <stdio.h>
#include <string.h>

enum { ROWS = 256 }; /* of a batch, where the task names no batch_size */

struct evaluation {
    struct work *work;
    struct recipe recipe;
    bson_t model;
    const char *split;
    struct data data;
    struct net *net;
    struct metrics *metrics;
    struct batch batch;
    struct chosen *chosen; /* where samples are pairs */
    int64_t rows;          /* that were measured: all, or those until it was asked to stop */
};

static int read_dataset(struct evaluation *evaluation, bson_error_t *error)
{
    struct hub *hub = evaluation->work->worker->hub;
    const bson_t *task = evaluation->work->task;
    bson_t source = BSON_INITIALIZER, query;
    const char *name = document_string(&evaluation->model, "dataset.name");
    struct data_cache *cache = evaluation->work->worker->cache;
    int64_t version, upto = -1;
    int result;

    if (document_has(task, "dataset") || !name) {
        result = recipe_read_dataset(&evaluation->recipe, hub, task, error) ||
                         rows_data_resolve_task(cache, hub, task, &evaluation->recipe.dataset, error)
                     ? -1
                     : 0;
        goto out;
    }
    BSON_APPEND_DOCUMENT_BEGIN(&source, "dataset", &query);
    BSON_APPEND_UTF8(&query, "name", name);
    if (document_integer(&evaluation->model, "dataset.version", &version))
        BSON_APPEND_INT64(&query, "version", version);
    bson_append_document_end(&source, &query);
    document_integer(&evaluation->model, "dataset.rows_upto", &upto);
    result = recipe_read_dataset(&evaluation->recipe, hub, &source, error) ||
                     rows_data_resolve(cache, hub, document_string(&evaluation->model, "dataset.pipeline"), upto,
                                       &evaluation->recipe.dataset, error)
                 ? -1
                 : 0;
out:
    bson_destroy(&source);
    return result;
}

/* Of the split's rows. Pairs are those of the training's own measurement: what users have chosen in any split counts, and
 * items are drawn with the model's seed. */
static int make_samples(struct evaluation *evaluation, bson_error_t *error)
{
    const struct recipe *recipe = &evaluation->recipe;
    struct worker *worker = evaluation->work->worker;
    struct data other;
    int64_t seed = 0;
    bool among = false;
    for (int i = 0; i < RESULT_SPLITS && recipe->pairs; i++) {
        int found = data_load(worker->cache, worker->hub, &recipe->dataset, result_split_names[i], &other, error);
        if (found < 0 || (found > 0 && chosen_add(&evaluation->chosen, &other, result_split_names[i], error)))
            return -1;
        among = among || !strcmp(evaluation->split, result_split_names[i]);
    }
    if (recipe->pairs && !among && chosen_add(&evaluation->chosen, &evaluation->data, evaluation->split, error))
        return -1;
    if (document_integer(&evaluation->model, "seed", &seed))
        evaluation->data.seed = (uint64_t)seed;
    return data_sample(&evaluation->data, &recipe->sampling, evaluation->chosen, error);
}

static int prepare(struct evaluation *evaluation, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct recipe *recipe = &evaluation->recipe;
    struct worker *worker = evaluation->work->worker;
    const bson_t *task = evaluation->work->task;
    int64_t rows, threads;

    const char *split = document_string(task, "split");
    evaluation->split = split ? split : !strcmp(evaluation->work->kind, "validate") ? "validation" : "test";
    if (document_integer_in(task, "hyper_parameters.batch_size", 1, 1 << 20, ROWS, &rows, error) ||
        document_integer_in(task, "threads", 0, 1024, 0, &threads, error) ||
        weights_find_model(worker->hub, task, "model", &evaluation->model, error) ||
        read_dataset(evaluation, error) || recipe_read_sampling(recipe, &evaluation->model, error) ||
        recipe_read_precision(recipe, &evaluation->model, error) ||
        recipe_read_loss(recipe, &evaluation->model, error) ||
        recipe_read_metrics(recipe, task, error) ||
        recipe_read_architecture(recipe, worker->hub, &evaluation->model, error) ||
        fit_pass(worker, recipe, rows * (recipe->pairs ? 2 : 1), evaluation->split, true, error))
        return -1;
    int found = data_load(worker->cache, worker->hub, &recipe->dataset, evaluation->split, &evaluation->data, error);
    if (found < 0)
        return -1;
    if (found == 0 || evaluation->data.rows == 0) {
        const char *name = document_string(&recipe->dataset, "name");
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: no rows in the split \"%s\"", name ? name : "",
                         evaluation->split);
    }
    if (recipe->sampling.kind == SAMPLING_GAN)
        return hub_error(error, HUB_ERROR_INVALID, "model: a gan is not measured on data; look at what it generates");
    if (make_samples(evaluation, error))
        return -1;
    int64_t outputs = recipe->classes || recipe->pairs ? recipe_outputs(recipe) : evaluation->data.outputs;
    evaluation->metrics = recipe_new_metrics(recipe, outputs, error);
    if (!evaluation->metrics)
        return -1;
    struct device *device = worker_device(worker, (int)threads, error);
    if (!device)
        return -1;
    struct net_options options = {.architecture = recipe->architecture,
                                  .outputs = outputs,
                                  .loss = recipe->loss,
                                  .huber_delta = recipe->huber_delta,
                                  .precision = recipe->precision,
                                  .batch_size = data_batch_rows(&evaluation->data, rows),
                                  .device = device};
    if (recipe_input_shapes(recipe, options.input_shapes, error))
        return -1;
    evaluation->net = net_new(&options, &why);
    if (!evaluation->net)
        return work_kernel_error(error, &why, "architecture");
    if (weights_load(worker->hub, &evaluation->model, evaluation->net, error))
        return -1;
    if (batch_init(&evaluation->batch, &evaluation->data, recipe->loss_kind, rows, error))
        return -1;
    return batch_divide(&evaluation->batch, &evaluation->data, recipe->architecture->input_count, options.input_shapes, error);
}

/* {accuracy, loss, SPLIT_accuracy, SPLIT_loss, rows}, and which model it was. */
static int fill(struct evaluation *evaluation, const struct batch_scores *scores, struct work_result *result,
                bson_error_t *error)
{
    bson_t all = BSON_INITIALIZER, keys, point = BSON_INITIALIZER;
    bson_iter_t at, value;
    char prefix[96];
    int64_t classes;
    const int64_t *confusion = metrics_confusion(evaluation->metrics, &classes);
    const char *model = document_string(&evaluation->model, "_id");
    bool done, chosen = document_array(evaluation->work->task, "result_keys", &keys) && !bson_empty(&keys);

    snprintf(prefix, sizeof prefix, "%.60s_", evaluation->split);
    done = batch_append_scores(&all, "", scores) && batch_append_scores(&all, prefix, scores);
    snprintf(prefix, sizeof prefix, "%.60s_%s", evaluation->split, metric_name(METRIC_CONFUSION_MATRIX));
    done = done && (!confusion || result_append_confusion(&all, prefix, confusion, classes));
    if (!done || !BSON_APPEND_INT64(&all, "rows", evaluation->rows) ||
        (model && !BSON_APPEND_UTF8(&all, "model", model))) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the metrics");
        goto out;
    }
    done = false;
    if (!chosen && !bson_concat(&result->metrics, &all))
        goto out;
    if (chosen && bson_iter_init(&at, &keys))
        while (bson_iter_next(&at)) {
            const char *key = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
            if (!key || !bson_iter_init_find(&value, &all, key)) {
                hub_error(error, HUB_ERROR_INVALID, "result_keys: %s is not a result of this task",
                          key ? key : "a value that is no name");
                goto out;
            }
            bson_append_iter(&result->metrics, NULL, 0, &value);
        }
    done = batch_append_scores(&point, "", scores) && BSON_APPEND_INT32(&point, "epoch", 0) &&
           BSON_APPEND_DOUBLE(&point, "seconds", clock_seconds() - evaluation->work->started) &&
           heartbeat_log(evaluation->work->worker->heartbeat, evaluation->split, &point, false, error) == 0;
out:
    bson_destroy(&all);
    bson_destroy(&point);
    return done ? 1 : -1;
}

int evaluate_recipe(struct work *work, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct evaluation evaluation = {.work = work};
    struct batch_scores scores;
    int done = -1;

    bson_init(&evaluation.model);
    recipe_init(&evaluation.recipe);
    if (prepare(&evaluation, error) == 0)
        done = batch_evaluate(work, evaluation.net, &evaluation.data, &evaluation.batch, evaluation.metrics,
                              evaluation.split, &scores, &evaluation.rows, stop, error);
    result->stopped = done > 0 && evaluation.rows < evaluation.data.rows;
    if (done > 0)
        done = fill(&evaluation, &scores, result, error);
    batch_destroy(&evaluation.batch);
    metrics_free(evaluation.metrics);
    net_free(evaluation.net);
    chosen_free(evaluation.chosen);
    recipe_destroy(&evaluation.recipe);
    bson_destroy(&evaluation.model);
    return done;
}
