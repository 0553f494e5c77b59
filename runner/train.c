/* SPDX-License-Identifier: Apache-2.0 */
/* The training of one net: epochs of batches in an order that seed and epoch alone decide, the validation data after
 * each epoch, the test data at the end. train_loss and train_accuracy are means over the batches of the last epoch, as the
 * net was at each of them (with dropout). */
#include "runner/train_impl.h"
#include "runner/clock.h"
#include "runner/epoch_keeper.h"
#include "runner/fit.h"
#include "runner/order.h"
#include "runner/rows_data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Streams of random numbers for the order of rows, far from those of layers: one for each epoch, so that the order is
 * known from seed and epoch. */
#define SHUFFLE_STREAM (UINT64_C(1) << 62)

/* The epoch that goes on, or the last when all are trained. */
static int64_t epoch_of(const struct training *training)
{
    return training->at.epoch < training->recipe.epochs ? training->at.epoch : training->recipe.epochs;
}

static int64_t steps_per_epoch(const struct training *training)
{
    return (training->data[RESULT_TRAIN].rows + training->recipe.batch_size - 1) / training->recipe.batch_size;
}

/* The learning rate of a step, from 0, in the epoch that goes on: a function of these, and of how often it went back. */
static double rate_of(const struct training *training, int64_t step)
{
    const struct recipe *recipe = &training->recipe;
    struct schedule_position at = {.epoch = epoch_of(training) - 1, .step = step, .epochs = recipe->epochs};
    at.steps_per_epoch = steps_per_epoch(training);
    return schedule_rate(&recipe->schedule, recipe->optimizer.learning_rate, &at) *
           pow(recipe->rollback_factor, (double)training->at.rollbacks);
}

/* {epoch, step, loss, accuracy, learning_rate, seconds}; the rate is that of the last step, of training points alone. */
static int log_point(struct training *training, int split, const struct batch_scores *scores, bool batch,
                     bson_error_t *error)
{
    bson_t point = BSON_INITIALIZER;
    int result = -1;
    if (BSON_APPEND_INT32(&point, "epoch", (int32_t)epoch_of(training)) &&
        BSON_APPEND_INT64(&point, "step", training->at.step) && batch_append_scores(&point, "", scores) &&
        (split != RESULT_TRAIN ||
         BSON_APPEND_DOUBLE(&point, "learning_rate", rate_of(training, training->at.step - 1))) &&
        BSON_APPEND_DOUBLE(&point, "seconds", clock_seconds() - training->started))
        result = heartbeat_log(training->work->worker->heartbeat, result_split_names[split], &point, batch, error);
    else
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the log");
    bson_destroy(&point);
    if (result > 0 && !training->thinned)
        work_note(training->work, "many log points wait for the hub: some of those of batches are left out");
    training->thinned = training->thinned || result > 0;
    return result < 0 ? -1 : 0;
}

/* Of the training rows. */
static void score(const struct training *training, const struct net_metrics *sums, struct batch_scores *scores)
{
    batch_score(sums, train_has_accuracy(&training->recipe), scores);
    scores->critic = training->gan != NULL;
}

/* What people watch: {epoch, epochs, step, fraction, loss, accuracy, …, seconds, seconds_left}. */
static void tell(struct training *training, const char *say, double fraction, bool wait)
{
    bson_t details = BSON_INITIALIZER;
    struct batch_scores running;
    double seconds = clock_seconds() - training->started;
    double share = ((double)(training->at.epoch - 1) + fraction) / (double)training->recipe.epochs;

    score(training, &training->at.sums, &running);
    if (BSON_APPEND_INT64(&details, "epoch", training->at.epoch) &&
        BSON_APPEND_INT64(&details, "epochs", training->recipe.epochs) &&
        BSON_APPEND_INT64(&details, "step", training->at.step) && BSON_APPEND_DOUBLE(&details, "fraction", fraction) &&
        batch_append_scores(&details, "", &running) &&
        batch_append_scores(&details, "validation_", &training->at.scores.splits[RESULT_VALIDATION]) &&
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
        hub_error(error, hub_error_code(&inner), "epoch %lld: %s", (long long)training->at.epoch, inner.message);
    }
    return -1;
}

static int train_batch(struct training *training, int64_t first, int64_t count, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct net_metrics sums = {0};
    struct data *data = &training->data[RESULT_TRAIN];
    data->draw = (uint64_t)training->at.step + 1;
    struct net_batch rows = batch_gather(&training->batch, data, training->order + first, first, count);
    if ((!schedule_is_constant(&training->recipe.schedule) || training->at.rollbacks > 0) &&
        optimizer_set_learning_rate(training->optimizer, rate_of(training, training->at.step), &why))
        return work_kernel_error(error, &why, NULL);
    if (training->gan ? gan_step(training->gan, training->optimizer, training->device, rows.inputs[0], count, &sums, &why)
                      : net_train_step(training->net, training->optimizer, &rows, &sums, &why)) {
        training->not_finite = why.code == KERNEL_ERROR_NONFINITE;
        work_kernel_error(error, &why, NULL);
        return name_epoch(training, error);
    }
    training->at.step++;
    training->at.row += count;
    struct net_metrics *totals[] = {&training->at.sums, &training->at.point};
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
    score(training, &training->at.point, &scores);
    memset(&training->at.point, 0, sizeof training->at.point);
    return scores.known ? log_point(training, RESULT_TRAIN, &scores, true, error) : 0;
}

/* Where the run is now, for a checkpoint. */
static const struct checkpoint_position *position(struct training *training)
{
    training->at.seconds = clock_seconds() - training->started;
    return &training->at;
}

/* 1 all batches done, or some and a stop with results was asked for; 0 told to stop; -1. */
static int train_epoch(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    const struct recipe *recipe = &training->recipe;
    int64_t rows = training->data[RESULT_TRAIN].rows;
    struct random_state random;

    random_init(&random, (uint64_t)recipe->seed, SHUFFLE_STREAM + (uint64_t)training->at.epoch);
    if (order_rows(&random, recipe->shuffle_window, training->order, rows))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the order of %lld rows", (long long)rows);
    while (training->at.row < rows) {
        int64_t first = training->at.row;
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
        if (recipe->log_every > 0 && training->at.step % recipe->log_every == 0 && log_batches(training, error))
            return -1;
        if (work_progress_due(training->work))
            tell(training, "progress", (double)(first + count) / (double)rows, false);
        if (training->at.row < rows && checkpoint_is_due(&training->checkpoint, 0) &&
            net_check_finite(training->net, NULL) == 0)
            checkpoint_write_and_go_on(&training->checkpoint, position(training));
    }
    if (recipe->log_every > 0 && log_batches(training, error))
        return -1;
    return 1;
}

/* Validation or test, with what the matrix needs. As batch_evaluate. */
static int measure(struct training *training, enum result_split split, enum work_stop *stop, bson_error_t *error)
{
    int64_t classes;
    struct batch_scores scores;
    int done = batch_evaluate(training->work, training->net, &training->data[split], &training->batch, training->metrics,
                              result_split_names[split], &scores, NULL, stop, error);
    const int64_t *confusion = metrics_confusion(training->metrics, &classes);
    training->not_finite = scores.not_finite;
    if (done > 0)
        training->at.scores.splits[split] = scores;
    if (done <= 0 || !confusion)
        return done;
    if (!training->confusion[split])
        training->confusion[split] = calloc((size_t)(classes * classes), sizeof *confusion);
    if (!training->confusion[split])
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the confusion matrix");
    memcpy(training->confusion[split], confusion, (size_t)(classes * classes) * sizeof *confusion);
    return done;
}

static void keep_best(struct training *training)
{
    struct checkpoint_position *at = &training->at;
    const struct batch_scores *validation = &at->scores.splits[RESULT_VALIDATION];
    double value;
    if (!training->best || !batch_metric(validation, training->recipe.best, &value))
        return;
    value = metric_is_minimised(training->recipe.best) ? -value : value;
    if (at->scores.best_epoch > 0 && value <= at->best_value)
        return;
    at->best_value = value;
    at->scores.best_epoch = at->epoch;
    at->best_train = at->scores.splits[RESULT_TRAIN];
    memcpy(training->best, net_parameters(training->net), net_parameter_floats(training->net) * sizeof(float));
}

static void warn(void *data, const char *text)
{
    char note[1100];
    snprintf(note, sizeof note, "%s", text);
    work_note(data, note);
}

/* 1 it goes on or is stopped with results, -1 a rule fails it. */
static int ask_rules(struct training *training, bson_error_t *error)
{
    struct rules_state state = {.scores = &training->at.scores,
                                .seconds = clock_seconds() - training->started,
                                .learning_rate = rate_of(training, training->at.step - 1),
                                .epoch = training->at.epoch,
                                .epochs = training->recipe.epochs,
                                .step = training->at.step};
    const struct rule *rule = rules_ask(training->rules, &state, warn, training->work);
    if (!rule)
        return 1;
    snprintf(training->reason, sizeof training->reason, "epoch %lld: %s", (long long)training->at.epoch, rule_text(rule));
    if (rule_action(rule) == RULE_FAIL)
        return hub_error(error, HUB_ERROR_INVALID, "%.400s", training->reason);
    training->stopped = true;
    return 1;
}

static int end_epoch(struct training *training, enum work_stop *stop, bson_error_t *error)
{
    struct batch_scores *scores = training->at.scores.splits;
    struct kernel_error why = {0};
    if (net_check_finite(training->net, &why)) { /* a loss would tell so at the next step only */
        training->not_finite = true;
        work_kernel_error(error, &why, NULL);
        return name_epoch(training, error);
    }
    score(training, &training->at.sums, &scores[RESULT_TRAIN]);
    if (training->recipe.log_every == 0 && !training->at.logged && scores[RESULT_TRAIN].known &&
        log_point(training, RESULT_TRAIN, &scores[RESULT_TRAIN], false, error))
        return -1;
    training->at.logged = true;
    if (training->has[RESULT_VALIDATION]) {
        int done = measure(training, RESULT_VALIDATION, stop, error);
        if (done < 0)
            return name_epoch(training, error);
        if (done == 0)
            return 0;
        if (log_point(training, RESULT_VALIDATION, &scores[RESULT_VALIDATION], false, error))
            return -1;
        keep_best(training);
    }
    tell(training, "epoch", 1, true);
    return ask_rules(training, error);
}

/* Between two epochs, also where a run goes on that was interrupted before it could be parked. */
static bool is_at_rung(const struct training *training)
{
    return training->at.row == 0 && rungs_are_reached(&training->rungs, training->at.epoch - 1, training->recipe.epochs);
}

/* The task is given back until it is promoted. 0 with *stop, -1. */
static int park(struct training *training, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct result_scores scores = training->at.scores;
    bson_t metrics = BSON_INITIALIZER;
    scores.rolls_back = training->recipe.rolls_back;
    scores.rollbacks = training->at.rollbacks;
    int failed = result_metrics(training->work->task, &scores, &metrics, error) ||
                 rungs_add(&training->rungs, training->work->task, &metrics, clock_seconds() - training->started,
                           &result->rungs, error);
    bson_destroy(&metrics);
    if (failed)
        return -1;
    if (training->at.step != training->resumed_step)
        checkpoint_write_to_park(&training->checkpoint, position(training));
    *stop = WORK_PARK;
    return 0;
}

static void begin_next_epoch(struct training *training)
{
    training->at.epoch++;
    training->at.row = 0;
    training->at.logged = false;
    memset(&training->at.sums, 0, sizeof training->at.sums);
    memset(&training->at.point, 0, sizeof training->at.point);
    rollback_keep(&training->rollback, training->net, training->optimizer);
    if (training->at.epoch <= training->recipe.epochs && !is_at_rung(training) &&
        checkpoint_is_due(&training->checkpoint, training->at.epoch - 1))
        checkpoint_write_and_go_on(&training->checkpoint, position(training));
}

static int finish(struct training *training, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct result_training facts = {.epochs = epoch_of(training)};
    struct result_scores all;
    const bson_t *task = training->work->task;
    struct batch_scores train = training->at.scores.splits[RESULT_TRAIN];
    bool earlier = training->best && training->at.scores.best_epoch > 0 && training->at.scores.best_epoch != facts.epochs;

    if (earlier) {
        memcpy(net_parameters(training->net), training->best, net_parameter_floats(training->net) * sizeof(float));
        train = training->at.best_train;
    }
    /* A checkpoint has the numbers, not the matrix. */
    if (earlier || (training->has[RESULT_VALIDATION] && train_wants_confusion(training) && !training->confusion[RESULT_VALIDATION])) {
        int done = measure(training, RESULT_VALIDATION, stop, error);
        if (done <= 0)
            return done;
    }
    if (training->has[RESULT_TEST]) {
        int done = measure(training, RESULT_TEST, stop, error);
        if (done <= 0)
            return done;
        if (log_point(training, RESULT_TEST, &training->at.scores.splits[RESULT_TEST], false, error))
            return -1;
    }
    all = training->at.scores;
    all.splits[RESULT_TRAIN] = train;
    if (train_wants_confusion(training))
        metrics_confusion(training->metrics, &all.classes);
    all.rolls_back = training->recipe.rolls_back;
    all.rollbacks = training->at.rollbacks;
    facts.rollback_records = training->at.rollback_records;
    for (int split = 0; split < RESULT_SPLITS; split++)
        all.confusion[split] = training->confusion[split];
    facts.seconds = clock_seconds() - training->started;
    result->stopped = training->stopped;
    snprintf(result->reason, sizeof result->reason, "%s", training->reason);
    if (!bson_concat(&result->logs_before, &training->checkpoint.before))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the result");
    if (result_metrics(task, &all, &result->metrics, error) ||
        result_model(training->work, &training->recipe, training->net, &all, &facts, &result->metrics, &result->model,
                     error) ||
        result_weights(training->net, &training->recipe, &result->weights, &result->weights_length, error))
        return -1;
    return 1;
}

/* Whether the run went back to where its epoch began; otherwise *error is why it fails. */
static bool goes_back(struct training *training, bson_error_t *error)
{
    struct checkpoint_position *at = &training->at;
    bson_error_t why = error ? *error : (bson_error_t){0};
    char text[800];
    if (!training->rollback.on || !training->not_finite)
        return false;
    if (at->rollbacks == training->recipe.max_rollbacks) {
        hub_error(error, hub_error_code(&why), "%s; it went back %lld times before (max_rollbacks)", why.message,
                  (long long)at->rollbacks);
        return false;
    }
    at->rollback_records[at->rollbacks++] = (struct rollback_record){.epoch = at->epoch, .step = at->step};
    at->step = (at->epoch - 1) * steps_per_epoch(training);
    at->row = 0;
    at->logged = false;
    memset(&at->sums, 0, sizeof at->sums);
    memset(&at->point, 0, sizeof at->point);
    rollback_restore(&training->rollback, at->step, training->net, training->optimizer);
    training->not_finite = false;
    snprintf(text, sizeof text, "%.600s; goes back to the beginning of the epoch with %g times the learning rate (%lld of %lld)",
             why.message, pow(training->recipe.rollback_factor, (double)at->rollbacks), (long long)at->rollbacks,
             (long long)training->recipe.max_rollbacks);
    work_note(training->work, text);
    return true;
}

/* Epoch by epoch to the end, from where the run is. As train_epoch. */
static int train(struct training *training, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    int done = 1;
    while (done > 0 && training->at.epoch <= training->recipe.epochs && !training->stopped) {
        if (is_at_rung(training) && (*stop = work_stopping(training->work)) != WORK_STOP)
            return *stop == WORK_GO_ON ? park(training, result, stop, error) : 0;
        done = train_epoch(training, stop, error);
        if (done > 0)
            done = end_epoch(training, stop, error);
        if (done > 0 && !training->stopped && epoch_is_kept(&training->recipe, training->at.epoch))
            done = epoch_keep(training->work, &training->checkpoint, training->net, position(training), stop, error);
        if (done > 0 && !training->stopped)
            begin_next_epoch(training);
        if (done < 0 && goes_back(training, error))
            done = 1;
    }
    return done;
}

static bool may_be_resumed(enum work_stop stop)
{
    return stop == WORK_STOPPING || stop == WORK_PAUSE || stop == WORK_AWAY;
}

int train_recipe(struct work *work, struct work_result *result, enum work_stop *stop, bson_error_t *error)
{
    struct training training = {.work = work, .started = clock_seconds(), .resumed_step = -1};
    int done = -1;

    recipe_init(&training.recipe);
    if (recipe_read(&training.recipe, work->worker->hub, work->task, error) ||
        rows_data_resolve_task(work->worker->cache, work->worker->hub, work->task, &training.recipe.dataset, error) ||
        rules_new(work->task, &training.rules, error) || rungs_read(work->task, &training.rungs, error) ||
        fit_training(work->worker, &training.recipe, error) ||
        train_load_data(&training, error))
        goto out;
    done = train_prepare(&training, stop, error);
    if (done <= 0)
        goto out;
    training.started = clock_seconds() - training.at.seconds; /* reading the data is not training */
    done = train(&training, result, stop, error);
    if (done > 0)
        done = finish(&training, result, stop, error);
    if (done == 0 && may_be_resumed(*stop) && !training.stopped && net_check_finite(training.net, NULL) == 0)
        checkpoint_write_and_leave(&training.checkpoint, position(&training));
out:
    train_unbuild(&training);
    chosen_free(training.chosen[0]);
    chosen_free(training.chosen[1]);
    metrics_free(training.metrics);
    for (int split = 0; split < RESULT_SPLITS; split++)
        free(training.confusion[split]);
    rules_free(training.rules);
    recipe_destroy(&training.recipe);
    return done;
}
