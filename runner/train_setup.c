/* SPDX-License-Identifier: Apache-2.0 */
/* What a run begins with: data, net, optimiser; or what it goes on with: those of its checkpoint. */
#include "runner/train_impl.h"
#include "runner/document.h"
#include "runner/rows_data.h"
#include "runner/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_TRIES = 5, READ_WAIT_MS = 2000 }; /* of a checkpoint, where memory or the disk fails */

bool train_has_accuracy(const struct recipe *recipe)
{
    return loss_has_accuracy(recipe->loss_kind, recipe_outputs(recipe));
}

bool train_wants_confusion(const struct training *training)
{
    return metrics_options(training->metrics)->wanted & METRIC_BIT(METRIC_CONFUSION_MATRIX);
}

/* The names that this run will have, as if it were over. */
static int check_keys(const struct training *training, bson_error_t *error)
{
    struct result_scores scores = {.best_epoch = training->recipe.keep_best, .rolls_back = training->recipe.rolls_back};
    for (int split = 0; split < RESULT_SPLITS; split++) {
        scores.splits[split].known = training->has[split];
        scores.splits[split].has_accuracy = train_has_accuracy(&training->recipe);
        scores.splits[split].critic = training->recipe.sampling.kind == SAMPLING_GAN;
        scores.splits[split].has = split == RESULT_TRAIN ? 0 : metrics_options(training->metrics)->wanted;
        scores.splits[split].has &= ~METRIC_BIT(METRIC_CONFUSION_MATRIX);
    }
    metrics_confusion(training->metrics, &scores.classes);
    if (!train_wants_confusion(training))
        scores.classes = 0;
    return result_check_keys(training->work->task, &scores, error);
}

/* Of the rows that were loaded. */
static int make_samples(struct training *training, bson_error_t *error)
{
    const struct recipe *recipe = &training->recipe;
    for (int split = 0; split < RESULT_SPLITS && recipe->pairs; split++)
        if (training->has[split] &&
            ((split == RESULT_TRAIN &&
              chosen_add(&training->chosen[0], &training->data[split], result_split_names[split], error)) ||
             chosen_add(&training->chosen[1], &training->data[split], result_split_names[split], error)))
            return -1;
    for (int split = 0; split < RESULT_SPLITS; split++) {
        training->data[split].seed = (uint64_t)recipe->seed;
        if (training->has[split] && data_sample(&training->data[split], &recipe->sampling,
                                                training->chosen[split == RESULT_TRAIN ? 0 : 1], error))
            return -1;
        if (recipe->sampling.kind == SAMPLING_GAN && split != RESULT_TRAIN)
            training->has[split] = false; /* there is nothing to hold what is generated against */
    }
    return 0;
}

int train_load_data(struct training *training, bson_error_t *error)
{
    struct worker *worker = training->work->worker;
    const char *name = document_string(&training->recipe.dataset, "name");
    for (int split = 0; split < RESULT_SPLITS; split++) {
        int found = data_load_as(worker->cache, worker->hub, &training->recipe.dataset, result_split_names[split],
                                 training->recipe.shuffle_window > 0, &training->data[split], error);
        if (found < 0)
            return -1;
        training->has[split] = found > 0 && training->data[split].rows > 0;
    }
    if (!training->has[RESULT_TRAIN])
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: no rows in the split \"train\"", name ? name : "");
    if (training->data[RESULT_TRAIN].rows > UINT32_MAX)
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: more than 2^32 rows", name ? name : "");
    if (make_samples(training, error))
        return -1;
    if (!training->recipe.classes && !training->recipe.pairs)
        training->recipe.outputs = training->recipe.sampling.kind == SAMPLING_GAN ? 1 : training->data[RESULT_TRAIN].outputs;
    training->metrics = recipe_new_metrics(&training->recipe, recipe_outputs(&training->recipe), error);
    if (!training->metrics)
        return -1;
    training->at.epoch = 1;
    return check_keys(training, error);
}

/* initial: with the weights of initial_model, where the task names one. */
static int build(struct training *training, bool initial, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct recipe *recipe = &training->recipe;
    int64_t rows = training->data[RESULT_TRAIN].rows;
    struct device *device = worker_device(training->work->worker, (int)recipe->threads, error);

    if (!device)
        return -1;
    training->device = device;
    const bool gan = recipe->sampling.kind == SAMPLING_GAN;
    struct net_options options = {.architecture = recipe->architecture,
                                  .outputs = gan ? shape_size(&recipe->input) : recipe_outputs(recipe),
                                  .loss = gan ? NULL : recipe->loss,
                                  .trains = gan,
                                  .huber_delta = recipe->huber_delta,
                                  .precision = recipe->precision,
                                  .batch_size = recipe->batch_size * (gan || recipe->pairs ? 2 : 1),
                                  .device = device,
                                  .seed = (uint64_t)recipe->seed};
    if (recipe_input_shapes(recipe, options.input_shapes, error))
        return -1;
    training->net = net_new(&options, &why);
    if (!training->net)
        return work_kernel_error(error, &why, "architecture");
    training->optimizer = optimizer_new(&recipe->optimizer, net_trained_floats(training->net), &why);
    if (!training->optimizer)
        return work_kernel_error(error, &why, "hyper_parameters");
    if (initial && document_has(training->work->task, "initial_model") &&
        weights_load_query(training->work->worker->hub, training->work->task, "initial_model", training->net, error))
        return -1;
    training->order = calloc((size_t)rows, sizeof *training->order);
    if (recipe->keep_best && training->has[RESULT_VALIDATION])
        training->best = calloc(net_parameter_floats(training->net), sizeof *training->best);
    if (!training->order || (recipe->keep_best && training->has[RESULT_VALIDATION] && !training->best))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the order of %lld rows", (long long)rows);
    if (recipe->rolls_back && rollback_init(&training->rollback, training->net, training->optimizer, error))
        return -1;
    rollback_keep(&training->rollback, training->net, training->optimizer);
    checkpoint_init(&training->checkpoint, training->work, recipe, training->net, training->optimizer, training->best,
                    &training->rollback);
    if (gan && !(training->gan = gan_new(training->net, recipe->architecture, recipe->batch_size, (uint64_t)recipe->seed,
                                         error)))
        return -1;
    if (batch_init(&training->batch, &training->data[RESULT_TRAIN], recipe->loss_kind, recipe->batch_size, error))
        return -1;
    return gan ? 0
               : batch_divide(&training->batch, &training->data[RESULT_TRAIN], recipe->architecture->input_count,
                              options.input_shapes, error);
}

void train_unbuild(struct training *training)
{
    checkpoint_destroy(&training->checkpoint);
    gan_free(training->gan);
    rollback_destroy(&training->rollback);
    free(training->order);
    free(training->best);
    batch_destroy(&training->batch);
    optimizer_free(training->optimizer);
    net_free(training->net);
    memset(&training->checkpoint, 0, sizeof training->checkpoint);
    training->gan = NULL;
    training->order = NULL;
    training->best = NULL;
    training->optimizer = NULL;
    training->net = NULL;
}

static bool fits(const struct training *training)
{
    const struct checkpoint_position *at = &training->at;
    int64_t rows = training->data[RESULT_TRAIN].rows;
    return at->epoch <= training->recipe.epochs + 1 && at->row <= rows &&
           (at->row == rows || at->row % training->recipe.batch_size == 0) &&
           (!at->scores.best_epoch || (training->best && at->scores.best_epoch < at->epoch));
}

/* The task that it goes on from: a member of a population begins with the checkpoint of its parent. */
static int find_parent(struct training *training, bson_t *parent, bson_error_t *error)
{
    const bson_t *task = training->work->task;
    const char *id = document_string(task, "lineage.task"), *project = document_string(task, "project");
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "project", project ? project : "");
    int found = store_find_one(hub_store(training->work->worker->hub), "tasks", &filter, NULL, parent, error);
    bson_destroy(&filter);
    if (found >= 0 && !document_has(parent, "checkpoint.blob_id"))
        return hub_error(error, HUB_ERROR_INVALID, "lineage: task %.40s, whose checkpoint it begins with, %s", id,
                         found ? "has none any more" : "is not there");
    return found;
}

static int read_once(struct training *training, const bson_t *parent, bson_error_t *error)
{
    return parent ? checkpoint_inherit(&training->checkpoint, parent, &training->at, error)
                  : checkpoint_read(&training->checkpoint, &training->at, error);
}

/* The task's checkpoint, or its parent's, a few times where the checkpoint itself is not to blame. 1, 0, -1 it is of no use, or the
 * hub is away (who asks for the work tries that again); -2 with *stop: the task is given back, and another worker may do
 * better. */
static int read_checkpoint(struct training *training, const bson_t *parent, enum work_stop *stop, bson_error_t *error)
{
    char text[640];
    for (int tries = 1;; tries++) {
        int found = read_once(training, parent, error);
        if (found > 0 && !fits(training))
            return hub_error(error, HUB_ERROR_INVALID, "epoch %lld, row %lld is not within this task",
                             (long long)training->at.epoch, (long long)training->at.row);
        if (found >= 0 || checkpoint_is_bad(error) || work_is_transient(error))
            return found;
        snprintf(text, sizeof text, "its checkpoint cannot be read (%s); %s", error->message,
                 tries < READ_TRIES ? "trying again" : "the task is given back");
        work_note(training->work, text);
        *stop = tries < READ_TRIES ? work_stopping(training->work) : WORK_STOPPING;
        if (*stop != WORK_GO_ON)
            return -2;
        worker_wait(training->work->worker, READ_WAIT_MS);
    }
}

/* 1, 0 with *stop, -1: without its parent's weights it is another run. */
static int inherit(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    bson_t parent = BSON_INITIALIZER;
    bson_destroy(&parent);
    int found = find_parent(training, &parent, error);
    if (found > 0)
        found = read_checkpoint(training, &parent, stop, error);
    bson_destroy(&parent);
    if (found > 0)
        rollback_keep(&training->rollback, training->net, training->optimizer);
    return found == -2 ? 0 : found;
}

/* The task's own checkpoint: 1; 0 with *stop; -1; -2 it is of no use, as is said. */
static int resume(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    char text[640];
    int found = read_checkpoint(training, NULL, stop, error);
    if (found == -2)
        return 0;
    if (found < 0 && work_is_transient(error))
        return -1;
    if (found > 0) {
        snprintf(text, sizeof text, "goes on from its checkpoint: epoch %lld, step %lld", (long long)training->at.epoch,
                 (long long)training->at.step);
        work_note(training->work, text);
        training->resumed_step = training->at.step;
        if (training->at.row == 0)
            rollback_keep(&training->rollback, training->net, training->optimizer);
        return 1;
    }
    snprintf(text, sizeof text, "its checkpoint is of no use, training starts from the beginning: %s",
             found < 0 ? error->message : "it is no document");
    work_note(training->work, text);
    checkpoint_drop(&training->checkpoint);
    return -2;
}

int train_prepare(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    char text[640];
    bool resuming = document_has(training->work->task, "checkpoint");
    bool inherits = document_string(training->work->task, "lineage.task");
    if (build(training, !resuming && !inherits, error))
        return -1;
    if (training->recipe.precision == PRECISION_BFLOAT16) {
        snprintf(text, sizeof text, "precision bfloat16 is %s", device_bfloat16(training->device));
        work_note(training->work, text);
    }
    int found = resuming ? resume(training, stop, error) : -2;
    if (found != -2)
        return found;
    if (resuming) {
        train_unbuild(training);
        memset(&training->at, 0, sizeof training->at);
        training->at.epoch = 1;
        if (build(training, !inherits, error))
            return -1;
    }
    return inherits ? inherit(training, stop, error) : 1;
}
