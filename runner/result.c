/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/result.h"
#include "runner/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const result_split_names[RESULT_SPLITS] = {"train", "validation", "test"};

static const struct batch_scores *headline(const struct result_scores *scores)
{
    for (int split = RESULT_TEST; split > RESULT_TRAIN; split--)
        if (scores->splits[split].known)
            return &scores->splits[split];
    return &scores->splits[RESULT_TRAIN];
}

static bool append_integer(bson_t *document, const char *key, int64_t value)
{
    return value <= INT32_MAX ? BSON_APPEND_INT32(document, key, (int32_t)value)
                              : BSON_APPEND_INT64(document, key, value);
}

bool result_append_confusion(bson_t *document, const char *key, const int64_t *matrix, int64_t classes)
{
    bson_t rows, row;
    char name[24];
    bool done = BSON_APPEND_ARRAY_BEGIN(document, key, &rows);
    for (int64_t r = 0; done && matrix && r < classes; r++) {
        snprintf(name, sizeof name, "%lld", (long long)r);
        done = BSON_APPEND_ARRAY_BEGIN(&rows, name, &row);
        for (int64_t c = 0; done && c < classes; c++) {
            snprintf(name, sizeof name, "%lld", (long long)c);
            done = append_integer(&row, name, matrix[r * classes + c]);
        }
        done = done && bson_append_array_end(&rows, &row);
    }
    return done && bson_append_array_end(document, &rows);
}

static int all_metrics(const struct result_scores *scores, bson_t *metrics, bson_error_t *error)
{
    bool done = batch_append_scores(metrics, "", headline(scores));
    for (int split = 0; split < RESULT_SPLITS; split++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s_", result_split_names[split]);
        done = done && batch_append_scores(metrics, prefix, &scores->splits[split]);
        if (split == RESULT_TRAIN || !scores->splits[split].known || scores->classes == 0)
            continue;
        snprintf(prefix, sizeof prefix, "%s_%s", result_split_names[split], metric_name(METRIC_CONFUSION_MATRIX));
        done = done && result_append_confusion(metrics, prefix, scores->confusion[split], scores->classes);
    }
    if (scores->best_epoch > 0)
        done = done && BSON_APPEND_INT64(metrics, "best_epoch", scores->best_epoch);
    if (scores->rolls_back)
        done = done && BSON_APPEND_INT64(metrics, "rollbacks", scores->rollbacks);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the metrics");
}

int result_check_keys(const bson_t *task, const struct result_scores *scores, bson_error_t *error)
{
    bson_t keys, metrics = BSON_INITIALIZER;
    bson_iter_t at;
    int result = -1;

    if (!document_array(task, "result_keys", &keys)) {
        result = document_has(task, "result_keys")
                     ? hub_error(error, HUB_ERROR_INVALID, "result_keys: must be an array of names")
                     : 0;
        goto out;
    }
    if (all_metrics(scores, &metrics, error) || !bson_iter_init(&at, &keys))
        goto out;
    while (bson_iter_next(&at)) {
        const char *key = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
        if (key && bson_has_field(&metrics, key) && !strchr(key, '.'))
            continue;
        char known[1024] = "";
        bson_iter_t name;
        bson_iter_init(&name, &metrics);
        while (bson_iter_next(&name)) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", bson_iter_key(&name));
        }
        hub_error(error, HUB_ERROR_INVALID, "result_keys: %s is not a result of this task; it will have %s",
                  key ? key : "a value that is no name", known);
        goto out;
    }
    result = 0;
out:
    bson_destroy(&metrics);
    return result;
}

int result_metrics(const bson_t *task, const struct result_scores *scores, bson_t *metrics, bson_error_t *error)
{
    bson_t keys, all = BSON_INITIALIZER;
    bson_iter_t at, value;
    int result = all_metrics(scores, &all, error);
    bool chosen = !result && document_array(task, "result_keys", &keys) && !bson_empty(&keys), done = true;

    if (!result && !chosen)
        done = bson_concat(metrics, &all);
    if (!result && chosen && bson_iter_init(&at, &keys))
        while (bson_iter_next(&at))
            if (BSON_ITER_HOLDS_UTF8(&at) && bson_iter_init_find(&value, &all, bson_iter_utf8(&at, NULL)) &&
                !bson_has_field(metrics, bson_iter_key(&value)))
                done = done && bson_append_iter(metrics, NULL, 0, &value);
    bson_destroy(&all);
    if (!done)
        result = hub_error(error, HUB_ERROR_MEMORY, "no memory for the metrics");
    return result;
}

static bool append_same(bson_t *model, const bson_t *source, const char *from, const char *to)
{
    bson_iter_t at;
    return !bson_iter_init_find(&at, source, from) || bson_append_iter(model, to, -1, &at);
}

static bool append_dataset(bson_t *model, const struct recipe *recipe)
{
    bson_t child;
    const bson_t *dataset = &recipe->dataset;
    return BSON_APPEND_DOCUMENT_BEGIN(model, "dataset", &child) && append_same(&child, dataset, "_id", "id") &&
           append_same(&child, dataset, "name", "name") && append_same(&child, dataset, "version", "version") &&
           append_same(&child, dataset, "digest", "digest") &&
           append_same(&child, dataset, "pipeline", "pipeline") && append_same(&child, dataset, "rows_upto", "rows_upto") &&
           bson_concat(&child, &recipe->dataset_query) && bson_append_document_end(model, &child);
}

/* As they were used, defaults filled in, so that it can be trained again. */
static bool append_hyper_parameters(bson_t *model, const struct work *work, const struct recipe *recipe)
{
    bson_t child, given;
    const struct optimizer_options *optimizer = &recipe->optimizer;
    bool done = BSON_APPEND_DOCUMENT_BEGIN(model, "hyper_parameters", &child);
    if (document_child(work->task, "hyper_parameters", &given))
        done = done && bson_concat(&child, &given);
    if (!bson_has_field(&child, "epochs"))
        done = done && append_integer(&child, "epochs", recipe->epochs);
    if (!bson_has_field(&child, "batch_size"))
        done = done && append_integer(&child, "batch_size", recipe->batch_size);
    if (!bson_has_field(&child, "seed"))
        done = done && append_integer(&child, "seed", recipe->seed);
    if (!bson_has_field(&child, "optimizer"))
        done = done && BSON_APPEND_UTF8(&child, "optimizer", optimizer_name(optimizer->kind));
    if (!bson_has_field(&child, "learning_rate"))
        done = done && BSON_APPEND_DOUBLE(&child, "learning_rate", optimizer->learning_rate);
    if (!bson_has_field(&child, "loss"))
        done = done && BSON_APPEND_UTF8(&child, "loss", recipe->loss);
    return done && bson_append_document_end(model, &child);
}

static bool append_architecture(bson_t *model, const struct work *work, const struct recipe *recipe)
{
    bson_t graph;
    /* The graph itself, not the task's name for it: a saved architecture may be deleted or change its name. */
    bool done = bson_init_from_json(&graph, recipe->architecture_json, -1, NULL);
    if (done) {
        done = BSON_APPEND_DOCUMENT(model, "architecture", &graph);
        bson_destroy(&graph);
    }
    const char *digest = document_string(work->task, "architecture_digest");
    return done && BSON_APPEND_UTF8(model, "architecture_digest", digest ? digest : recipe->architecture_digest);
}

/* What the sweep is to make large or small: its metric where the task names one, else the headline. */
static bool append_objective(bson_t *model, const struct work *work, const struct result_scores *scores)
{
    bson_t all = BSON_INITIALIZER;
    double value = 0;
    const char *name = document_string(work->task, "metric.name");
    const struct batch_scores *best = headline(scores);
    bool done = all_metrics(scores, &all, NULL) == 0;
    bool known = !name || document_number(&all, name, &value);
    if (!name)
        value = best->has_accuracy && !best->critic ? best->accuracy : best->loss;
    bson_destroy(&all);
    /* A metric that this run does not have (a dataset without that split) leaves the objective out. */
    return done && (!known || BSON_APPEND_DOUBLE(model, "objective", value));
}

/* Where the run went back, and the share of the learning rate that it went on with. */
static bool append_rollbacks(bson_t *model, const struct recipe *recipe, const struct result_scores *scores,
                             const struct rollback_record *records)
{
    bson_t list, record;
    double share = 1;
    char key[24];
    if (!scores->rolls_back || scores->rollbacks == 0)
        return true;
    bool done = BSON_APPEND_ARRAY_BEGIN(model, "rollbacks", &list);
    for (int64_t i = 0; done && i < scores->rollbacks; i++) {
        share *= recipe->rollback_factor;
        snprintf(key, sizeof key, "%lld", (long long)i);
        done = BSON_APPEND_DOCUMENT_BEGIN(&list, key, &record) && append_integer(&record, "epoch", records[i].epoch) &&
               append_integer(&record, "step", records[i].step) && BSON_APPEND_DOUBLE(&record, "share", share) &&
               bson_append_document_end(&list, &record);
    }
    return done && bson_append_array_end(model, &list);
}

int result_model(const struct work *work, const struct recipe *recipe, const struct net *net,
                 const struct result_scores *scores, const struct result_training *training, const bson_t *metrics,
                 bson_t *model, bson_error_t *error)
{
    static const char *const same[] = {"description", "tags", "sweep", "point"};
    const char *name = document_string(work->task, "name");
    bson_t shape;
    bool done = BSON_APPEND_UTF8(model, "name", name ? name : "task");

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        done = done && append_same(model, work->task, same[i], same[i]);
    done = done && append_same(model, work->task, "seq", "task_seq") && append_integer(model, "run", work->run) &&
           batch_append_scores(model, "", headline(scores)) && append_objective(model, work, scores) &&
           BSON_APPEND_DOCUMENT(model, "metrics", metrics) && append_dataset(model, recipe) &&
           append_architecture(model, work, recipe) && append_hyper_parameters(model, work, recipe) &&
           append_integer(model, "seed", recipe->seed) && BSON_APPEND_ARRAY_BEGIN(model, "input_shape", &shape);
    for (int i = 0; done && i < recipe->input.rank; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        done = append_integer(&shape, key, recipe->input.dims[i]);
    }
    done = done && bson_append_array_end(model, &shape);
    if (recipe->classes)
        done = done && append_integer(model, "classes", recipe->outputs);
    done = done && BSON_APPEND_INT64(model, "parameters", net_size(net)->parameters) &&
           BSON_APPEND_DOUBLE(model, "training_seconds", training->seconds) &&
           append_integer(model, "epochs", training->epochs) &&
           (recipe->keep_every == 0 || append_integer(model, "epoch", training->epochs)) &&
           append_rollbacks(model, recipe, scores, training->rollback_records) &&
           BSON_APPEND_UTF8(model, "device", work->worker->device_name) &&
           (recipe->precision != PRECISION_BFLOAT16 ||
            BSON_APPEND_UTF8(model, "bfloat16", device_bfloat16(work->worker->device))) &&
           BSON_APPEND_UTF8(model, "program_version", TL_HUB_VERSION);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the model's document");
}

struct memory {
    uint8_t *data;
    size_t length, capacity;
};

static int write_memory(void *context, const void *data, size_t length)
{
    struct memory *memory = context;
    if (memory->capacity - memory->length < length) {
        size_t capacity = memory->capacity + memory->capacity / 2 + length;
        uint8_t *grown = realloc(memory->data, capacity);
        if (!grown)
            return -1;
        memory->data = grown;
        memory->capacity = capacity;
    }
    memcpy(memory->data + memory->length, data, length);
    memory->length += length;
    return 0;
}

int result_weights(const struct net *net, const struct recipe *recipe, uint8_t **weights, size_t *length,
                   bson_error_t *error)
{
    struct kernel_error why = {0};
    struct safetensors_pair metadata = {"architecture", recipe->architecture_json};
    /* Room for all at once: growing would hold the file twice. */
    struct memory memory = {.capacity = (size_t)net_size(net)->parameters * sizeof(float) +
                                        strlen(recipe->architecture_json) * 2 + net_tensor_count(net) * 160 + 4096};
    *weights = NULL;
    *length = 0;
    memory.data = malloc(memory.capacity);
    if (!memory.data)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the weights");
    if (net_weights_write(net, &metadata, 1, write_memory, &memory, &why)) {
        free(memory.data);
        return work_kernel_error(error, &why, "weights");
    }
    *weights = memory.data;
    *length = memory.length;
    return 0;
}
