/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/predict.h"
#include "kernels/device.h"
#include "runner/data_parts.h"
#include "runner/document.h"
#include "runner/forecast.h"
#include "runner/labelled.h"
#include "runner/predictor.h"
#include "runner/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_BYTES = 64, TAGS_MOST = 64 };

struct predict {
    const struct predict_options *options;
    struct predict_summary *summary;
    struct device *device; /* opened here */
    struct predictor *predictor;
    struct predictor_data rows; /* what the data say of themselves */
    struct data_parts *parts;
    bson_t training;       /* the manifest that the model was trained on; empty where it is gone */
    bson_t names;          /* a view of the classes' names */
    const char *split;     /* of the dataset that is made */
    struct labelled *labelled;
    struct forecast *forecast; /* NULL: the model's samples are rows */
    float *out;            /* (batch size, outputs) */
    uint8_t *x;            /* (batch size, features) of bytes, … */
    float *values;         /* … or of floats */
    int32_t *y;
    float *targets;        /* (batch size, outputs of the rows' labels) */
};

int64_t predict_class(const float *probabilities, int64_t classes)
{
    int64_t best = 0;
    for (int64_t i = 1; i < classes; i++)
        if (probabilities[i] > probabilities[best])
            best = i;
    return best;
}

int predict_find_training(struct hub *hub, const bson_t *model, bson_t *dataset, bson_error_t *error)
{
    bson_t query = BSON_INITIALIZER;
    int64_t version;
    const char *id = document_string(model, "dataset.id"), *name = document_string(model, "dataset.name");
    int found = 0;
    bson_init(dataset);
    if (id) {
        BSON_APPEND_UTF8(&query, "_id", id);
        bson_destroy(dataset);
        found = dataset_find_one(hub, &query, dataset, error);
    }
    if (found == 0 && name && document_integer(model, "dataset.version", &version)) {
        bson_reinit(&query);
        BSON_APPEND_UTF8(&query, "name", name);
        BSON_APPEND_INT64(&query, "version", version);
        bson_destroy(dataset);
        found = dataset_find_one(hub, &query, dataset, error);
    }
    bson_destroy(&query);
    return found;
}

/* ---- before the first row ---- */

static int describe(struct predict *predict, bson_error_t *error)
{
    const struct predict_options *options = predict->options;
    const struct predict_bytes *bytes = options->bytes;
    if (!bytes) {
        if (predictor_describe(options->dataset, &predict->rows, error))
            return -1;
        predict->parts = data_parts_open(options->hub, options->dataset, options->split, error);
        if (!predict->parts)
            return -1;
        predict->summary->about.rows = data_parts_rows(predict->parts);
        return 0;
    }
    predict->rows.shape.rank = bytes->rank;
    memcpy(predict->rows.shape.dims, bytes->dims, (size_t)bytes->rank * sizeof bytes->dims[0]);
    predict->rows.labelled = bytes->classes > 0 || bytes->outputs > 0;
    predict->rows.classes = bytes->classes;
    predict->rows.outputs = bytes->outputs;
    predict->summary->about.rows = bytes->rows;
    return 0;
}

/* The training data's names: the model's classes are those. Else the names that the rows' own dataset has. */
static void find_names(struct predict *predict)
{
    const bson_t *sources[] = {&predict->training, predict->options->dataset};
    for (size_t i = 0; i < 2 && predict->summary->about.classes; i++) {
        if (!sources[i] || !document_array(sources[i], "class_names", &predict->names) ||
            bson_count_keys(&predict->names) != predict->summary->about.outputs)
            continue;
        predict->summary->about.names = &predict->names;
        return;
    }
}

static int open_device(struct predict *predict, bson_error_t *error)
{
    struct kernel_error why = {0};
    const struct predict_options *options = predict->options;
    if (options->device)
        return 0;
    predict->device = device_open(options->device_name ? options->device_name : "cpu",
                                  options->threads > 0 ? options->threads : 1, &why);
    return predict->device ? 0 : work_kernel_error(error, &why, "device");
}

/* A forecast's rows are those that it is for. */
static int make_forecast(struct predict *predict, bson_error_t *error)
{
    struct predict_about *about = &predict->summary->about;
    const struct sampling *sampling = predictor_sampling(predict->predictor);
    if (sampling->kind != SAMPLING_FORECAST)
        return predict->options->steps > 0
                   ? hub_error(error, HUB_ERROR_INVALID, "steps: the model's recipe is %s; only a forecast looks ahead",
                               sampling_name(sampling->kind))
                   : 0;
    predict->forecast = forecast_new(sampling, predictor_forecasts_rows(predict->predictor), about->rows,
                                     predict->options->steps, error);
    if (!predict->forecast)
        return -1;
    about->rows = forecast_count(predict->forecast);
    return 0;
}

static bool make_rows(struct predict *predict, int64_t size)
{
    const struct predict_bytes *bytes = predict->options->bytes;
    const size_t features = (size_t)shape_size(&predict->rows.shape);
    if (bytes->read_values) {
        predict->values = calloc((size_t)size, features * sizeof *predict->values);
        predict->targets = calloc((size_t)size, (size_t)(bytes->outputs + 1) * sizeof *predict->targets);
    } else {
        predict->x = calloc((size_t)size, features);
    }
    predict->y = calloc((size_t)size, sizeof *predict->y);
    return (bytes->read_values ? predict->values && predict->targets : predict->x != NULL) && predict->y;
}

static int prepare(struct predict *predict, bson_error_t *error)
{
    const struct predict_options *options = predict->options;
    struct predict_about *about = &predict->summary->about;
    int64_t size = options->batch_size > 0 ? options->batch_size : PREDICT_ROWS;
    if (describe(predict, error) || open_device(predict, error))
        return -1;
    bson_destroy(&predict->training);
    int found = predict_find_training(options->hub, options->model, &predict->training, error);
    if (found < 0)
        return -1;
    predict->predictor = predictor_open(options->hub, options->model, found ? &predict->training : NULL, &predict->rows, size,
                                        options->device ? options->device : predict->device, error);
    if (!predict->predictor || make_forecast(predict, error))
        return -1;
    about->outputs = predictor_outputs(predict->predictor);
    about->classes = predictor_classifies(predict->predictor);
    about->compared = predictor_compares(predict->predictor);
    find_names(predict);
    predict->out = calloc((size_t)size, (size_t)about->outputs * sizeof *predict->out);
    if (options->bytes && !make_rows(predict, size))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)size);
    if (!predict->out)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)size);
    return 0;
}

/* ---- the dataset that is made ---- */

/* Cut to what a tag may have, no half character; each once. */
static void append_tag(bson_t *tags, uint32_t *count, const char *tag)
{
    char key[16];
    bson_iter_t at;
    size_t length = strlen(tag);
    if (length > TAG_BYTES)
        for (length = TAG_BYTES; length > 0 && ((unsigned char)tag[length] & 0xc0) == 0x80;)
            length--;
    if (length == 0 || *count == TAGS_MOST || !bson_iter_init(&at, tags))
        return;
    while (bson_iter_next(&at))
        if (strlen(bson_iter_utf8(&at, NULL)) == length && !memcmp(bson_iter_utf8(&at, NULL), tag, length))
            return;
    snprintf(key, sizeof key, "%u", (unsigned)(*count)++);
    bson_append_utf8(tags, key, -1, tag, (int)length);
}

/* "predicted", "model=…", "from=…", then the caller's. */
static bool append_tags(const struct predict *predict, bson_t *fields)
{
    const struct predict_options *options = predict->options;
    bson_t tags = BSON_INITIALIZER, given;
    bson_iter_t at;
    uint32_t count = 0;
    const char *id = document_string(options->model, "_id"), *name = document_string(options->model, "name");
    const char *from = options->bytes ? options->bytes->name : document_string(options->dataset, "name");
    char *source = options->bytes ? bson_strdup_printf("from=%s", from)
                                  : bson_strdup_printf("from=%s:%s", from ? from : "", options->split);
    char *model = bson_strdup_printf("model=%s", name ? name : id ? id : "");
    append_tag(&tags, &count, "predicted");
    append_tag(&tags, &count, model);
    append_tag(&tags, &count, source);
    if (options->save_fields && document_array(options->save_fields, "tags", &given) && bson_iter_init(&at, &given))
        while (bson_iter_next(&at))
            if (BSON_ITER_HOLDS_UTF8(&at))
                append_tag(&tags, &count, bson_iter_utf8(&at, NULL));
    bool done = BSON_APPEND_ARRAY(fields, "tags", &tags);
    bson_free(source);
    bson_free(model);
    bson_destroy(&tags);
    return done;
}

static bool append_same(bson_t *to, const bson_t *from, const char *key, const char *as)
{
    bson_iter_t at;
    return !bson_iter_init_find(&at, from, key) || bson_append_iter(to, as, -1, &at);
}

/* predicted_by and predicted_from: what it takes to do it again. */
static bool append_origin(const struct predict *predict, bson_t *fields)
{
    const struct predict_options *options = predict->options;
    bson_t model, source;
    bool done = BSON_APPEND_DOCUMENT_BEGIN(fields, "predicted_by", &model) &&
                append_same(&model, options->model, "_id", "id") && append_same(&model, options->model, "name", "name") &&
                append_same(&model, options->model, "sha256", "sha256") && bson_append_document_end(fields, &model) &&
                BSON_APPEND_DOCUMENT_BEGIN(fields, "predicted_from", &source);
    if (options->bytes)
        done = done && BSON_APPEND_UTF8(&source, "file", options->bytes->name);
    else
        done = done && append_same(&source, options->dataset, "_id", "id") &&
               append_same(&source, options->dataset, "name", "name") &&
               append_same(&source, options->dataset, "version", "version") &&
               append_same(&source, options->dataset, "digest", "digest") &&
               BSON_APPEND_UTF8(&source, "split", options->split);
    if (predict->forecast) /* which rows of it the first and the last are for */
        done = done && BSON_APPEND_INT64(&source, "first_row", forecast_first(predict->forecast)) &&
               BSON_APPEND_INT64(&source, "forecasts", forecast_count(predict->forecast));
    return done && bson_append_document_end(fields, &source);
}

static int sink(void *context, int64_t rows, const void *safetensors, size_t length, bson_error_t *error)
{
    struct predict *predict = context;
    if (predict->options->save_part && !predict->options->save_part(predict->options->context))
        return 1;
    return dataset_writer_part(predict->summary->writer, predict->split, rows, safetensors, length, error) < 0 ? -1 : 0;
}

static int open_save(struct predict *predict, bson_error_t *error)
{
    static const char *const ours[] = {"name", "input_shape", "label", "classes", "outputs", "features", "class_names",
                                       "predicted_by", "predicted_from"};
    const struct predict_options *options = predict->options;
    const struct predict_about *about = &predict->summary->about;
    bson_t fields = BSON_INITIALIZER;
    bson_iter_t at;
    double scale = options->bytes ? options->bytes->scale : 1, offset = options->bytes ? options->bytes->offset : 0;
    const char *dtype = options->bytes && options->bytes->read_values ? "F32"
                        : options->bytes                               ? "U8"
                                                                       : document_string(options->dataset, "features.dtype");
    if (!options->bytes) {
        document_number(options->dataset, "features.scale", &scale);
        document_number(options->dataset, "features.offset", &offset);
    }
    predict->split = options->save_split ? options->save_split : options->bytes ? "train" : options->split;
    /* Forecasts of rows are a series themselves, without labels. */
    const bool rows = predictor_forecasts_rows(predict->predictor), bytes = !rows && dtype && !strcmp(dtype, "U8");
    predict->labelled = labelled_new(&predict->rows.shape, bytes, about->classes ? about->outputs : 0,
                                     rows ? 0 : about->outputs, sink, predict, error);
    bool done = predict->labelled && BSON_APPEND_UTF8(&fields, "name", options->save_name) &&
                labelled_append_fields(predict->labelled, scale, offset, about->names, &fields) &&
                append_tags(predict, &fields) && append_origin(predict, &fields);
    for (bool more = done && options->save_fields && bson_iter_init(&at, options->save_fields); more && bson_iter_next(&at);) {
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (!strcmp(bson_iter_key(&at), ours[i])) {
                hub_error(error, HUB_ERROR_INVALID, "field %s: comes from the predictions, it cannot be given", ours[i]);
                bson_destroy(&fields);
                return -1;
            }
        done = done && (!strcmp(bson_iter_key(&at), "tags") || bson_append_iter(&fields, NULL, 0, &at));
    }
    if (done)
        predict->summary->writer = options->save_open(options->context, &fields, error);
    else if (predict->labelled)
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
    bson_destroy(&fields);
    return predict->summary->writer ? 0 : -1;
}

/* ---- the rows ---- */

static void score(struct predict *predict, const struct predict_batch *batch)
{
    struct predict_summary *summary = predict->summary;
    const int64_t width = summary->about.outputs;
    if (!summary->about.compared || (!batch->labels && !batch->targets))
        return;
    summary->compared += batch->rows;
    for (int64_t i = 0; i < batch->rows; i++) {
        const float *row = batch->out + i * width;
        double sum = 0;
        if (batch->labels) {
            summary->correct += predict_class(row, width) == batch->labels[i];
            continue;
        }
        for (int64_t j = 0; j < width; j++) {
            double difference = (double)row[j] - (double)batch->targets[i * width + j];
            sum += difference * difference;
        }
        summary->squared += sum / (double)width;
    }
}

/* 0, 1 told to stop, PREDICT_ENOUGH, -1. */
static int one_batch(struct predict *predict, const struct data *data, int64_t first, int64_t count, bson_error_t *error)
{
    const struct predict_options *options = predict->options;
    struct predict_summary *summary = predict->summary;
    struct predict_batch batch = {.first = summary->rows, .rows = count, .out = predict->out};
    if (summary->about.compared) {
        batch.labels = summary->about.classes && data->y_class ? data->y_class + first : NULL;
        batch.targets = !summary->about.classes && data->y_value ? data->y_value + first * summary->about.outputs : NULL;
    }
    if (predictor_run(predict->predictor, data, first, count, predict->out, error))
        return -1;
    score(predict, &batch);
    summary->rows += count;
    int result = options->batch ? options->batch(options->context, &batch, error) : 0, kept = 0;
    if ((result == 0 || result == PREDICT_ENOUGH) && predict->labelled)
        kept = labelled_add(predict->labelled, data, first, count, predict->out, error);
    return kept ? kept : result;
}

/* The rows of one block of data, batch by batch. */
static int all_batches(struct predict *predict, const struct data *data, bson_error_t *error)
{
    int64_t size = predictor_batch_size(predict->predictor);
    int result = 0;
    for (int64_t first = 0; first < data->rows && result == 0; first += size)
        result = one_batch(predict, data, first, data->rows - first < size ? data->rows - first : size, error);
    return result;
}

/* The dataset's rows: the forecasts themselves, or the rows with their labels, as far as there are rows. */
static int save_forecasts(struct predict *predict, const struct forecast_batch *batch, bson_error_t *error)
{
    const int64_t width = predict->summary->about.outputs;
    if (predictor_forecasts_rows(predict->predictor)) {
        struct data rows = {.rows = batch->count, .features = width, .stored_rows = batch->count, .stored_features = width,
                            .x_f32 = batch->out};
        return labelled_add(predict->labelled, &rows, 0, batch->count, NULL, error);
    }
    return batch->series ? labelled_add(predict->labelled, batch->series, batch->first, batch->count, batch->out, error) : 0;
}

static int take_forecasts(void *context, const struct forecast_batch *from, bson_error_t *error)
{
    struct predict *predict = context;
    const struct predict_options *options = predict->options;
    struct predict_batch batch = {.first = from->first, .rows = from->count, .out = from->out};
    if (predict->summary->about.compared) {
        batch.labels = predict->summary->about.classes ? from->labels : NULL;
        batch.targets = predict->summary->about.classes ? NULL : from->targets;
    }
    score(predict, &batch);
    predict->summary->rows += from->count;
    int result = options->batch ? options->batch(options->context, &batch, error) : 0, kept = 0;
    if ((result == 0 || result == PREDICT_ENOUGH) && predict->labelled)
        kept = save_forecasts(predict, from, error);
    return kept ? kept : result;
}

/* The rows of one block: predicted, or kept until the series is whole. */
static int take_block(struct predict *predict, const struct data *data, bson_error_t *error)
{
    return predict->forecast ? forecast_add(predict->forecast, data, error) : all_batches(predict, data, error);
}

static int over_parts(struct predict *predict, bson_error_t *error)
{
    struct data data;
    int next, result = 0;
    while (result == 0 && (next = data_parts_next(predict->parts, &data, error)) != 0)
        result = next < 0 ? -1 : take_block(predict, &data, error);
    return result;
}

static int over_bytes(struct predict *predict, bson_error_t *error)
{
    const struct predict_bytes *bytes = predict->options->bytes;
    int64_t size = predictor_batch_size(predict->predictor);
    int result = 0;
    for (int64_t first = 0; first < bytes->rows && result == 0; first += size) {
        int64_t count = bytes->rows - first < size ? bytes->rows - first : size;
        struct data data = {.rows = count,
                            .features = shape_size(&predict->rows.shape),
                            .stored_rows = count,
                            .stored_features = shape_size(&predict->rows.shape),
                            .classes = bytes->classes,
                            .outputs = bytes->outputs,
                            .x_u8 = predict->x,
                            .x_f32 = predict->values,
                            .y_class = bytes->classes > 0 ? predict->y : NULL,
                            .y_value = bytes->outputs > 0 ? predict->targets : NULL,
                            .scale = (float)bytes->scale,
                            .offset = (float)bytes->offset};
        result = bytes->read_values
                     ? bytes->read_values(bytes->context, predict->values, predict->y, predict->targets, count, error)
                     : bytes->read(bytes->context, predict->x, predict->y, count, error);
        result = result ? result : take_block(predict, &data, error);
    }
    return result;
}

int predict_run(const struct predict_options *options, struct predict_summary *summary, bson_error_t *error)
{
    struct predict predict = {.options = options, .summary = summary};
    int result = -1;
    memset(summary, 0, sizeof *summary);
    bson_init(&predict.training);
    if (prepare(&predict, error) || (options->save_name && open_save(&predict, error)))
        goto out;
    result = options->begin ? options->begin(options->context, &summary->about, error) : 0;
    if (result == 0)
        result = options->bytes ? over_bytes(&predict, error) : over_parts(&predict, error);
    if (result == 0 && predict.forecast)
        result = forecast_run(predict.forecast, predict.predictor, predict.out, take_forecasts, &predict, error);
    result = result == PREDICT_ENOUGH ? 0 : result;
    if (result == 0 && predict.labelled)
        result = labelled_end(predict.labelled, error);
    result = result < 0 ? -1 : result == 0;
out:
    if (result <= 0) {
        dataset_writer_close(summary->writer);
        summary->writer = NULL;
    }
    summary->about.names = NULL;
    labelled_free(predict.labelled);
    forecast_free(predict.forecast);
    predictor_close(predict.predictor);
    device_close(predict.device);
    data_parts_close(predict.parts);
    bson_destroy(&predict.training);
    free(predict.out);
    free(predict.x);
    free(predict.values);
    free(predict.targets);
    free(predict.y);
    return result;
}

bool predict_append_scores(const struct predict_summary *summary, bson_t *document)
{
    double rows = (double)summary->compared;
    bool done = BSON_APPEND_INT64(document, "rows", summary->rows);
    if (summary->compared > 0)
        done = done && (summary->about.classes ? BSON_APPEND_DOUBLE(document, "accuracy", (double)summary->correct / rows)
                                               : BSON_APPEND_DOUBLE(document, "mse", summary->squared / rows));
    return done;
}
