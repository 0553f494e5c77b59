/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/recipe.h"
#include "hub/architecture_record.h"
#include "hub/query_text.h"
#include "hub/task_keep.h"
#include "kernels/loss.h"
#include "runner/document.h"
#include "runner/rollback.h"
#include "runner/work.h"

#include <stdlib.h>
#include <string.h>

enum { EPOCHS_MAXIMUM = 1000000, BATCH_MAXIMUM = 1 << 20, THREADS_MAXIMUM = 1024, MINUTES_MAXIMUM = 1000000 };

#define CHECKPOINT_MINUTES 5.0 /* where the task says nothing of checkpoints */

void recipe_init(struct recipe *recipe)
{
    memset(recipe, 0, sizeof *recipe);
    bson_init(&recipe->dataset);
    bson_init(&recipe->dataset_query);
}

void recipe_destroy(struct recipe *recipe)
{
    if (!recipe)
        return;
    bson_destroy(&recipe->dataset);
    bson_destroy(&recipe->dataset_query);
    architecture_free(recipe->architecture);
    free(recipe->architecture_json);
}

int64_t recipe_outputs(const struct recipe *recipe)
{
    return recipe->classes && recipe->loss_kind == LOSS_BINARY_CROSS_ENTROPY ? 1 : recipe->outputs;
}

int recipe_read_precision(struct recipe *recipe, const bson_t *source, bson_error_t *error)
{
    struct kernel_error why = {0};
    const char *name = document_string(source, "hyper_parameters.precision");
    if (!document_has(source, "hyper_parameters.precision"))
        return 0;
    if (!name)
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.precision: must be a name");
    return device_precision_find(name, &recipe->precision, &why) ? work_kernel_error(error, &why, "hyper_parameters") : 0;
}

/* The optimiser and the schedule of its rate: their names first, for they decide which numbers there are. */
static int read_optimizer(struct recipe *recipe, const bson_t *hyper_parameters, bson_error_t *error)
{
    struct kernel_error why = {0};
    const char *name = document_string(hyper_parameters, "optimizer");
    const char *schedule = document_string(hyper_parameters, "schedule");
    bson_iter_t at;

    if (!name && document_has(hyper_parameters, "optimizer"))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.optimizer: must be a name");
    if (!schedule && document_has(hyper_parameters, "schedule"))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.schedule: must be a name");
    if (optimizer_options_init(&recipe->optimizer, name ? name : "adam", &why))
        return work_kernel_error(error, &why, "hyper_parameters.optimizer");
    if (schedule_init(&recipe->schedule, schedule ? schedule : "constant", &why))
        return work_kernel_error(error, &why, "hyper_parameters.schedule");
    if (!bson_iter_init(&at, hyper_parameters))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: a damaged document");
    while (bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        double value;
        if (BSON_ITER_HOLDS_BOOL(&at))
            value = bson_iter_bool(&at) ? 1 : 0;
        else if (!document_number(hyper_parameters, key, &value))
            continue;
        if (optimizer_options_set(&recipe->optimizer, key, value, &why) < 0 ||
            schedule_set(&recipe->schedule, key, value, &why) < 0)
            return work_kernel_error(error, &why, "hyper_parameters");
    }
    if (optimizer_options_check(&recipe->optimizer, &why) ||
        schedule_check(&recipe->schedule, recipe->optimizer.learning_rate, &why))
        return work_kernel_error(error, &why, "hyper_parameters");
    return 0;
}

int recipe_read_hyper_parameters(struct recipe *recipe, const bson_t *source, bson_error_t *error)
{
    static const char *const numbers[] = {
        "learning_rate", "momentum",    "beta1",       "beta2", "alpha",             "epsilon",       "weight_decay",
        "clip_norm",     "clip_value",  "step_epochs", "gamma", "min_learning_rate", "warmup_epochs", "warmup_steps",
        "huber_delta"};
    bson_t none = BSON_INITIALIZER, given;
    double value;
    int result = -1;

    if (!document_child(source, "hyper_parameters", &given)) {
        if (document_has(source, "hyper_parameters")) {
            hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: must be a document");
            goto out;
        }
        if (!bson_init_static(&given, bson_get_data(&none), none.len))
            goto out;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (document_has(&given, numbers[i]) && !document_number(&given, numbers[i], &value)) {
            hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: must be a number", numbers[i]);
            goto out;
        }
    if (document_integer_in(source, "hyper_parameters.epochs", 1, EPOCHS_MAXIMUM, 10, &recipe->epochs, error) ||
        document_integer_in(source, "hyper_parameters.batch_size", 1, BATCH_MAXIMUM, 32, &recipe->batch_size, error) ||
        document_integer_in(source, "hyper_parameters.shuffle_window", 0, UINT32_MAX, 0, &recipe->shuffle_window, error) ||
        document_integer_in(source, "seed", 0, INT64_MAX, 0, &recipe->seed, error) ||
        document_integer_in(source, "hyper_parameters.seed", 0, INT64_MAX, recipe->seed, &recipe->seed, error))
        goto out;
    result = recipe_read_precision(recipe, source, error) || read_optimizer(recipe, &given, error) ? -1 : 0;
out:
    bson_destroy(&none);
    return result;
}

static int read_checkpoints(struct recipe *recipe, const bson_t *task, bson_error_t *error)
{
    double minutes = document_has(task, "checkpoint_every") ? 0 : CHECKPOINT_MINUTES;
    if (document_has(task, "checkpoint_minutes") &&
        (!document_number(task, "checkpoint_minutes", &minutes) || !(minutes >= 0 && minutes <= MINUTES_MAXIMUM)))
        return hub_error(error, HUB_ERROR_INVALID, "checkpoint_minutes: must be a number in [0, %d]", MINUTES_MAXIMUM);
    recipe->checkpoint_seconds = minutes * 60;
    return document_integer_in(task, "checkpoint_every", 1, EPOCHS_MAXIMUM, 0, &recipe->checkpoint_every, error);
}

static int read_nonfinite(struct recipe *recipe, const bson_t *task, bson_error_t *error)
{
    const char *what = document_string(task, "on_nonfinite");
    if (document_has(task, "on_nonfinite") && (!what || (strcmp(what, "fail") && strcmp(what, "rollback"))))
        return hub_error(error, HUB_ERROR_INVALID, "on_nonfinite: must be \"fail\" or \"rollback\"");
    recipe->rolls_back = what && !strcmp(what, "rollback");
    recipe->rollback_factor = 0.5;
    if (document_has(task, "rollback_factor") &&
        (!document_number(task, "rollback_factor", &recipe->rollback_factor) ||
         !(recipe->rollback_factor > 0 && recipe->rollback_factor < 1)))
        return hub_error(error, HUB_ERROR_INVALID, "rollback_factor: must be a number above 0 and below 1");
    return document_integer_in(task, "max_rollbacks", 1, ROLLBACKS_MOST, 5, &recipe->max_rollbacks, error);
}

static int read_task_options(struct recipe *recipe, const bson_t *task, bson_error_t *error)
{
    const char *keep = document_string(task, "keep"), *every = document_string(task, "log_every");
    bool by_epoch = every && !strcmp(every, "epoch");
    if (document_integer_in(task, "threads", 0, THREADS_MAXIMUM, 0, &recipe->threads, error) ||
        (!by_epoch && document_integer_in(task, "log_every", 1, INT32_MAX, 0, &recipe->log_every, error)))
        return -1;
    struct task_keep kept;
    if ((document_has(task, "keep") && !keep) || !task_keep_read(keep, &kept))
        return hub_error(error, HUB_ERROR_INVALID, "keep: must be " TASK_KEEP_HELP);
    recipe->keep_best = kept.best;
    recipe->keep_every = kept.every;
    return read_nonfinite(recipe, task, error) || read_checkpoints(recipe, task, error) ? -1 : 0;
}

/* input_shape, label and classes of the manifest. */
static int read_shapes(struct recipe *recipe, bson_error_t *error)
{
    bson_t dims;
    bson_iter_t at;
    const char *label = document_string(&recipe->dataset, "label");
    const char *name = document_string(&recipe->dataset, "name");

    if (!name)
        name = "";
    recipe->classes = !label || !strcmp(label, "class");
    if (recipe->classes && (!document_integer(&recipe->dataset, "classes", &recipe->outputs) || recipe->outputs < 1))
        return hub_error(error, HUB_ERROR_CORRUPT, "dataset %s: no number of classes", name);
    if (!document_array(&recipe->dataset, "input_shape", &dims) || !bson_iter_init(&at, &dims))
        return hub_error(error, HUB_ERROR_CORRUPT, "dataset %s: no input_shape", name);
    while (bson_iter_next(&at)) {
        int64_t dimension;
        if (recipe->input.rank == SHAPE_RANK || !document_integer(&dims, bson_iter_key(&at), &dimension) ||
            dimension < 1 || dimension > ARCHITECTURE_DIMENSION)
            return hub_error(error, HUB_ERROR_CORRUPT, "dataset %s: input_shape: at most %d integers in [1, %d]", name,
                             SHAPE_RANK, ARCHITECTURE_DIMENSION);
        recipe->input.dims[recipe->input.rank++] = dimension;
    }
    if (recipe->input.rank == 0)
        return hub_error(error, HUB_ERROR_CORRUPT, "dataset %s: input_shape is empty", name);
    return 0;
}

/* A name as {name: it}; a query, or a query's JSON, as it is. */
static void keep_query(struct recipe *recipe, const bson_t *source)
{
    bson_iter_t at;
    bson_t query;
    const char *text = document_string(source, "dataset");
    if (text && !query_text_is(text)) {
        BSON_APPEND_DOCUMENT_BEGIN(&recipe->dataset_query, "query", &query);
        BSON_APPEND_UTF8(&query, "name", text);
        bson_append_document_end(&recipe->dataset_query, &query);
    } else if (bson_iter_init_find(&at, source, "dataset")) {
        bson_append_iter(&recipe->dataset_query, "query", -1, &at);
    }
}

static int take_dataset(struct recipe *recipe, const bson_t *found, const bson_t *source, bson_error_t *error)
{
    bson_destroy(&recipe->dataset);
    bson_copy_to(found, &recipe->dataset);
    keep_query(recipe, source);
    return read_shapes(recipe, error);
}

/* A run that goes on from a checkpoint goes on with the data that it began with, though there may be a newer version. 1, 0
 * where there is none to go on with, -1. */
static int read_dataset_again(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error)
{
    bson_t query = BSON_INITIALIZER, found;
    const char *id = document_string(source, "checkpoint.dataset");
    int result = 0;
    if (id) {
        BSON_APPEND_UTF8(&query, "_id", id);
        result = dataset_find_one(hub, &query, &found, error);
        if (result == 1 && take_dataset(recipe, &found, source, error))
            result = -1;
        bson_destroy(&found);
    }
    bson_destroy(&query);
    return result;
}

int recipe_read_dataset(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error)
{
    bson_t query, found;
    int again = read_dataset_again(recipe, hub, source, error);
    if (again != 0)
        return again < 0 ? -1 : 0;
    int result = document_query(source, "dataset", &query, error);
    if (result == 0)
        result = hub_error(error, HUB_ERROR_INVALID, "dataset: missing; name a dataset or give a query");
    if (result == 1) {
        result = dataset_find_one(hub, &query, &found, error);
        if (result == 0) {
            char *json = document_json(&query);
            result = hub_error(error, HUB_ERROR_NOT_FOUND, "dataset: nothing in project %s matches %s",
                               hub_project(hub), json ? json : "the query");
            bson_free(json);
        }
        if (result == 1)
            result = take_dataset(recipe, &found, source, error);
        bson_destroy(&found);
    }
    bson_destroy(&query);
    return result < 0 ? -1 : 0;
}

/* A name has neither blanks nor colons nor braces, and there must be such a record; else it is the short form. */
static int read_saved(struct hub *hub, const char *text, char **json, bson_error_t *error)
{
    bson_t record, graph;
    *json = NULL;
    if (!*text || strpbrk(text, " :\t\n{"))
        return 0;
    int result = architecture_record_resolve(hub, text, &record, error);
    if (result == 1) {
        if (document_child(&record, "graph", &graph))
            *json = document_json(&graph);
        if (!*json)
            result = hub_error(error, HUB_ERROR_CORRUPT, "architecture %s: the saved record has no graph", text);
    }
    bson_destroy(&record);
    return result;
}

int recipe_read_architecture(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error)
{
    struct kernel_error why = {0};
    const char *text = document_string(source, "architecture");
    char *json = NULL;
    bson_t graph;

    if (text) {
        if (read_saved(hub, text, &json, error) < 0)
            return -1;
    } else if (document_child(source, "architecture", &graph)) {
        json = document_json(&graph);
        if (!json)
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the architecture");
    } else {
        return hub_error(error, HUB_ERROR_INVALID, "architecture: missing; a short form, a graph or a saved name");
    }
    recipe->architecture = architecture_parse(json ? json : text, &why);
    bson_free(json);
    if (!recipe->architecture)
        return work_kernel_error(error, &why, "architecture");
    recipe->architecture_json = architecture_to_json(recipe->architecture);
    if (!recipe->architecture_json)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the architecture");
    hub_sha256(recipe->architecture_json, strlen(recipe->architecture_json), recipe->architecture_digest);
    return 0;
}

int recipe_input_shapes(const struct recipe *recipe, struct shape *shapes, bson_error_t *error)
{
    struct kernel_error why = {0};
    return sampling_inputs(&recipe->sampling, recipe->architecture, &recipe->input, shapes, &why)
               ? work_kernel_error(error, &why, "architecture")
               : 0;
}

int recipe_read_sampling(struct recipe *recipe, const bson_t *source, bson_error_t *error)
{
    struct kernel_error why = {0};
    const char *name = document_string(source, "hyper_parameters.recipe"), *label = document_string(&recipe->dataset, "label");
    const char *loss = document_string(source, "hyper_parameters.loss");
    if (!name && document_has(source, "hyper_parameters.recipe"))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.recipe: must be a name");
    if (name && sampling_find(name, &recipe->sampling.kind, &why))
        return work_kernel_error(error, &why, "hyper_parameters");
    if (document_integer_in(source, "hyper_parameters.window", 1, SAMPLING_WINDOW, 0, &recipe->sampling.window, error) ||
        document_integer_in(source, "hyper_parameters.horizon", 1, SAMPLING_WINDOW, 1, &recipe->sampling.horizon, error))
        return -1;
    recipe->pairs = loss && !strcmp(loss, "bpr");
    struct sampling_row row = {.shape = recipe->input, .labelled = !label || strcmp(label, "none"),
                               .classes = recipe->classes, .outputs = recipe->outputs};
    if (sampling_shape(&recipe->sampling, recipe->pairs, &row, &why))
        return work_kernel_error(error, &why, "hyper_parameters");
    if ((recipe->pairs || recipe->sampling.kind == SAMPLING_GAN) && recipe->batch_size > BATCH_MAXIMUM / 2)
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.batch_size: %lld: at most %d where a step takes twice as many",
                         (long long)recipe->batch_size, BATCH_MAXIMUM / 2);
    recipe->input = row.shape;
    recipe->classes = row.classes;
    recipe->outputs = row.outputs;
    return 0;
}

int recipe_read_loss(struct recipe *recipe, const bson_t *source, bson_error_t *error)
{
    struct kernel_error why = {0};
    enum loss_kind kind;
    const char *name = document_string(source, "hyper_parameters.loss");
    if (!name && document_has(source, "hyper_parameters.loss"))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: must be a name");
    if (name && recipe->sampling.kind == SAMPLING_GAN)
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: a gan's two nets have their own");
    recipe->loss = name ? name : recipe->classes ? "cross_entropy" : "mse";
    if (recipe->sampling.kind == SAMPLING_GAN)
        recipe->loss = "binary_cross_entropy";
    if (loss_find(recipe->loss, &kind, &why))
        return work_kernel_error(error, &why, "hyper_parameters.loss");
    recipe->loss = loss_name(kind);
    recipe->loss_kind = kind;
    if (!recipe->pairs && !loss_takes_labels(kind, recipe->classes, recipe->classes ? recipe->outputs : 0))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: %s does not go with labels that are %s",
                         recipe->loss, recipe->classes ? "classes" : "values");
    if (!document_has(source, "hyper_parameters.huber_delta"))
        return 0;
    if (!document_number(source, "hyper_parameters.huber_delta", &recipe->huber_delta))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.huber_delta: must be a number");
    return loss_check_huber_delta(kind, recipe->huber_delta, &why) ? work_kernel_error(error, &why, "hyper_parameters") : 0;
}

/* Names that are no metric's are refused where they are used. */
static void name_metric(struct recipe *recipe, const char *name)
{
    enum metric metric;
    size_t split;
    if (metric_find_of_split(name, &metric, &split) && strncmp(name, "train_", 6))
        recipe->named_metrics |= METRIC_BIT(metric);
}

static int read_list(struct recipe *recipe, const bson_t *task, bson_error_t *error)
{
    bson_t list;
    bson_iter_t at;
    recipe->chooses_metrics = document_has(task, "metrics");
    if (!recipe->chooses_metrics)
        return 0;
    if (!document_array(task, "metrics", &list) || !bson_iter_init(&at, &list))
        return hub_error(error, HUB_ERROR_INVALID, "metrics: must be an array of names");
    while (bson_iter_next(&at)) {
        enum metric metric;
        const char *name = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
        if (!metric_find(name, &metric))
            return hub_error(error, HUB_ERROR_INVALID, "metrics: %.60s is none that is known", name ? name : "what is no name");
        recipe->metrics |= METRIC_BIT(metric);
    }
    return 0;
}

int recipe_read_metrics(struct recipe *recipe, const bson_t *task, bson_error_t *error)
{
    const char *name = document_string(task, "metric.name");
    bool accuracy = loss_has_accuracy(recipe->loss_kind, recipe_outputs(recipe));
    bson_t keys;
    bson_iter_t at;
    size_t split;
    recipe->metrics = recipe->named_metrics = 0;
    if (read_list(recipe, task, error) ||
        document_integer_in(task, "top_k", 1, ARCHITECTURE_DIMENSION, 5, &recipe->top_k, error))
        return -1;
    name_metric(recipe, name);
    if (document_array(task, "result_keys", &keys) && bson_iter_init(&at, &keys))
        while (bson_iter_next(&at))
            if (BSON_ITER_HOLDS_UTF8(&at))
                name_metric(recipe, bson_iter_utf8(&at, NULL));
    unsigned possible = metrics_possible(recipe->loss_kind, recipe_outputs(recipe)) & ~METRIC_BIT(METRIC_CONFUSION_MATRIX);
    if (!metric_find_of_split(name, &recipe->best, &split) || !(possible & METRIC_BIT(recipe->best)))
        recipe->best = accuracy ? METRIC_ACCURACY : METRIC_LOSS;
    return 0;
}

struct metrics *recipe_new_metrics(const struct recipe *recipe, int64_t columns, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct metrics_options options = {.loss = recipe->loss_kind, .columns = columns, .top_k = recipe->top_k};
    options.wanted = recipe->chooses_metrics ? recipe->metrics : metrics_standard(recipe->loss_kind, columns);
    options.wanted |= recipe->named_metrics & metrics_possible(recipe->loss_kind, columns);
    struct metrics *metrics = metrics_new(&options, &why);
    if (!metrics)
        work_kernel_error(error, &why, NULL);
    return metrics;
}

int recipe_read(struct recipe *recipe, struct hub *hub, const bson_t *task, bson_error_t *error)
{
    return recipe_read_hyper_parameters(recipe, task, error) || read_task_options(recipe, task, error) ||
                   recipe_read_dataset(recipe, hub, task, error) || recipe_read_sampling(recipe, task, error) ||
                   recipe_read_loss(recipe, task, error) || recipe_read_metrics(recipe, task, error) ||
                   recipe_read_architecture(recipe, hub, task, error)
               ? -1
               : 0;
}
