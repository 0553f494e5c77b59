/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/sample.h"
#include "kernels/device.h"
#include "runner/document.h"
#include "runner/gan.h"
#include "runner/labelled.h"
#include "runner/predict.h"
#include "runner/recipe.h"
#include "runner/weights.h"
#include "runner/work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sampler {
    const struct sample_options *options;
    struct recipe recipe;
    struct sample_about about;
    struct device *device;
    struct net *net;
    struct labelled *labelled;
    struct dataset_writer *writer;
    float *rows; /* (batch size, row size) */
};

/* ---- the model ---- */

static int read_shape(struct sampler *sampler, const char *name, bson_error_t *error)
{
    const bson_t *model = sampler->options->model;
    struct shape *shape = &sampler->recipe.input;
    bson_t dims;
    bson_iter_t at;
    int64_t size = 1;
    if (document_array(model, "input_shape", &dims) && bson_iter_init(&at, &dims))
        while (bson_iter_next(&at)) {
            int64_t dimension;
            if (shape->rank == SHAPE_RANK || !document_integer(&dims, bson_iter_key(&at), &dimension) || dimension < 1 ||
                __builtin_mul_overflow(size, dimension, &size) || size > ARCHITECTURE_DIMENSION)
                return hub_error(error, HUB_ERROR_CORRUPT,
                                 "model %s: input_shape: it is not one of at most %d integers above 0", name, SHAPE_RANK);
            shape->dims[shape->rank++] = dimension;
        }
    if (shape->rank == 0)
        return hub_error(error, HUB_ERROR_INVALID, "model %s: it has no input_shape: what would a row be?", name);
    return 0;
}

static int read_model(struct sampler *sampler, bson_error_t *error)
{
    const bson_t *model = sampler->options->model;
    struct recipe *recipe = &sampler->recipe;
    const char *name = document_string(model, "name"), *kind = document_string(model, "hyper_parameters.recipe");
    name = name ? name : "";
    if (!kind || strcmp(kind, sampling_name(SAMPLING_GAN)))
        return hub_error(error, HUB_ERROR_INVALID, "model %s: its recipe is %s: only a gan makes rows of noise", name,
                         kind ? kind : sampling_name(SAMPLING_SUPERVISED));
    if (read_shape(sampler, name, error) || recipe_read_sampling(recipe, model, error) ||
        recipe_read_precision(recipe, model, error) ||
        recipe_read_architecture(recipe, sampler->options->hub, model, error))
        return -1;
    sampler->about.shape = recipe->input;
    return 0;
}

/* The range that bytes of the training data meant, where that can still be known. */
static int read_bounds(struct sampler *sampler, bson_error_t *error)
{
    bson_t training;
    struct sample_about *about = &sampler->about;
    int found = predict_find_training(sampler->options->hub, sampler->options->model, &training, error);
    const char *dtype = document_string(&training, "features.dtype");
    if (found > 0 && dtype && !strcmp(dtype, "U8")) {
        double scale = 1, offset = 0;
        document_number(&training, "features.scale", &scale);
        document_number(&training, "features.offset", &offset);
        about->low = fmin(offset, offset + 255 * scale);
        about->high = fmax(offset, offset + 255 * scale);
    }
    bson_destroy(&training);
    return found < 0 ? -1 : 0;
}

static int build(struct sampler *sampler, int64_t batch_size, bson_error_t *error)
{
    struct kernel_error why = {0};
    const struct sample_options *options = sampler->options;
    struct net_options net = {.architecture = sampler->recipe.architecture,
                              .outputs = shape_size(&sampler->recipe.input),
                              .batch_size = batch_size,
                              .precision = sampler->recipe.precision};
    sampler->device = device_open(options->device_name ? options->device_name : "cpu",
                                  options->threads > 0 ? options->threads : 1, &why);
    if (!sampler->device)
        return work_kernel_error(error, &why, "device");
    net.device = sampler->device;
    if (recipe_input_shapes(&sampler->recipe, net.input_shapes, error))
        return -1;
    sampler->net = net_new(&net, &why);
    if (!sampler->net)
        return work_kernel_error(error, &why, "model");
    sampler->rows = malloc((size_t)(batch_size * net.outputs) * sizeof *sampler->rows);
    if (!sampler->rows)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)batch_size);
    return weights_load(options->hub, options->model, sampler->net, error);
}

/* ---- the dataset that is made ---- */

static int sink(void *context, int64_t rows, const void *safetensors, size_t length, bson_error_t *error)
{
    struct sampler *sampler = context;
    const char *split = sampler->options->save_split ? sampler->options->save_split : "train";
    return dataset_writer_part(sampler->writer, split, rows, safetensors, length, error) < 0 ? -1 : 0;
}

/* The caller's tags, then "generated" and what made it. */
static bool append_tags(const struct sampler *sampler, bson_t *fields)
{
    const char *name = document_string(sampler->options->model, "name");
    bson_t tags = BSON_INITIALIZER, given;
    bson_iter_t at;
    char key[16];
    unsigned count = 0;
    bool done = true;
    if (sampler->options->save_fields && document_array(sampler->options->save_fields, "tags", &given) &&
        bson_iter_init(&at, &given))
        for (; done && bson_iter_next(&at); count++) {
            snprintf(key, sizeof key, "%u", count);
            done = bson_append_iter(&tags, key, -1, &at);
        }
    if (done && count < 63) {
        char *model = bson_strdup_printf("model=%.32s", name ? name : "");
        snprintf(key, sizeof key, "%u", count++);
        done = BSON_APPEND_UTF8(&tags, key, "generated");
        snprintf(key, sizeof key, "%u", count);
        if (bson_utf8_validate(model, strlen(model), false)) /* it may have been cut within a character */
            done = done && BSON_APPEND_UTF8(&tags, key, model);
        bson_free(model);
    }
    done = done && BSON_APPEND_ARRAY(fields, "tags", &tags);
    bson_destroy(&tags);
    return done;
}

/* generated_by: what it takes to make them again. */
static bool append_origin(const struct sampler *sampler, bson_t *fields)
{
    static const char *const same[][2] = {{"_id", "id"}, {"name", "name"}, {"sha256", "sha256"}};
    const struct sample_options *options = sampler->options;
    bson_t model;
    bson_iter_t at;
    bool done = BSON_APPEND_DOCUMENT_BEGIN(fields, "generated_by", &model);
    for (size_t i = 0; done && i < sizeof same / sizeof *same; i++)
        done = !bson_iter_init_find(&at, options->model, same[i][0]) || bson_append_iter(&model, same[i][1], -1, &at);
    return done && BSON_APPEND_INT64(&model, "seed", (int64_t)options->seed) &&
           BSON_APPEND_INT64(&model, "count", options->count) && bson_append_document_end(fields, &model);
}

static int open_save(struct sampler *sampler, bson_error_t *error)
{
    const bson_t *given = sampler->options->save_fields;
    bson_t fields = BSON_INITIALIZER;
    bson_iter_t at;
    sampler->labelled = labelled_new(&sampler->about.shape, false, 0, 0, sink, sampler, error);
    bool done = sampler->labelled && BSON_APPEND_UTF8(&fields, "name", sampler->options->save_name) &&
                labelled_append_fields(sampler->labelled, 1, 0, NULL, &fields) && append_tags(sampler, &fields) &&
                append_origin(sampler, &fields);
    for (bool more = done && given && bson_iter_init(&at, given); more && bson_iter_next(&at);)
        done = done && (!strcmp(bson_iter_key(&at), "tags") || bson_append_iter(&fields, NULL, 0, &at));
    if (done)
        sampler->writer = dataset_writer_open(sampler->options->hub, &fields, error);
    else if (sampler->labelled)
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
    bson_destroy(&fields);
    return sampler->writer ? 0 : -1;
}

/* ---- the rows ---- */

static int save(struct sampler *sampler, int64_t count, bson_error_t *error)
{
    const int64_t size = shape_size(&sampler->about.shape);
    struct data data = {.rows = count, .features = size, .stored_rows = count, .stored_features = size,
                        .x_f32 = sampler->rows};
    return labelled_add(sampler->labelled, &data, 0, count, NULL, error);
}

/* 0, 1 told to stop, -1. */
static int all_batches(struct sampler *sampler, int64_t batch_size, bson_error_t *error)
{
    const struct sample_options *options = sampler->options;
    const int64_t size = shape_size(&sampler->about.shape);
    int result = 0;
    for (int64_t first = 0; first < options->count && result == 0; first += batch_size) {
        int64_t count = options->count - first < batch_size ? options->count - first : batch_size;
        if (gan_sample(sampler->net, sampler->recipe.architecture, options->seed, first, count, sampler->rows, error))
            return -1;
        for (int64_t i = 0; i < count * size; i++)
            if (!isfinite(sampler->rows[i]))
                return hub_error(error, HUB_ERROR_INVALID, "row %lld: the generator gives a value that is not finite",
                                 (long long)(first + i / size));
        result = options->batch ? options->batch(options->context, first, count, sampler->rows, error) : 0;
        if (result == 0 && sampler->labelled)
            result = save(sampler, count, error);
    }
    if (result == 0 && sampler->labelled)
        result = labelled_end(sampler->labelled, error);
    return result;
}

int sample_run(const struct sample_options *options, struct dataset_writer **writer, bson_error_t *error)
{
    struct sampler sampler = {.options = options};
    const int64_t standard = options->batch_size > 0 ? options->batch_size : SAMPLE_ROWS;
    const int64_t batch_size = options->count < standard ? options->count : standard;
    int result = -1;
    *writer = NULL;
    recipe_init(&sampler.recipe);
    if (options->count < 1) {
        hub_error(error, HUB_ERROR_INVALID, "count: %lld: at least 1", (long long)options->count);
        goto out;
    }
    if (read_model(&sampler, error) || read_bounds(&sampler, error) || build(&sampler, batch_size, error) ||
        (options->save_name && open_save(&sampler, error)))
        goto out;
    result = options->begin ? options->begin(options->context, &sampler.about, error) : 0;
    if (result == 0)
        result = all_batches(&sampler, batch_size, error);
    result = result < 0 ? -1 : result == 0;
out:
    if (result > 0)
        *writer = sampler.writer;
    else
        dataset_writer_close(sampler.writer);
    labelled_free(sampler.labelled);
    free(sampler.rows);
    net_free(sampler.net);
    device_close(sampler.device);
    recipe_destroy(&sampler.recipe);
    return result;
}
