/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/predictor.h"
#include "kernels/loss.h"
#include "runner/document.h"
#include "runner/recipe.h"
#include "runner/weights.h"
#include "runner/work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct predictor {
    struct net *net;
    bool classifies, compares, forecasts_rows;
    struct sampling sampling;
    int64_t outputs, sample_size;
    float *x;          /* (batch size, sample size) */
    uint32_t *indices; /* (batch size) */
    int input_count;     /* of the net, where it has several, else 0 */
    float *inputs[ARCHITECTURE_INPUTS]; /* (batch size, input size) */
    int64_t input_sizes[ARCHITECTURE_INPUTS];
};

/* ---- the model ---- */

static int read_shape(const bson_t *document, const char *what, struct shape *shape, bson_error_t *error)
{
    bson_t dims;
    bson_iter_t at;
    int64_t size = 1;
    memset(shape, 0, sizeof *shape);
    if (!document_array(document, "input_shape", &dims) || !bson_iter_init(&at, &dims))
        return 0;
    while (bson_iter_next(&at)) {
        int64_t dimension;
        if (shape->rank == SHAPE_RANK || !document_integer(&dims, bson_iter_key(&at), &dimension) || dimension < 1 ||
            __builtin_mul_overflow(size, dimension, &size) || size > ARCHITECTURE_DIMENSION)
            return hub_error(error, HUB_ERROR_CORRUPT, "%s: input_shape: it is not one of at most %d integers above 0", what,
                             SHAPE_RANK);
        shape->dims[shape->rank++] = dimension;
    }
    return 0;
}

int predictor_describe(const bson_t *dataset, struct predictor_data *data, bson_error_t *error)
{
    const char *name = document_string(dataset, "name"), *label = document_string(dataset, "label");
    int64_t classes = 0, outputs = 1;
    char what[256];
    memset(data, 0, sizeof *data);
    snprintf(what, sizeof what, "dataset %s", name ? name : "");
    if (read_shape(dataset, what, &data->shape, error))
        return -1;
    if (data->shape.rank == 0)
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: no input_shape", what);
    document_integer(dataset, "classes", &classes);
    document_integer(dataset, "outputs", &outputs);
    bool values = label && !strcmp(label, "value");
    data->labelled = true;
    data->classes = !values && classes > 0 && classes <= INT32_MAX ? (int32_t)classes : 0;
    data->outputs = values && outputs > 0 && outputs <= INT32_MAX ? (int32_t)outputs : 0;
    return 0;
}

/* Whether the model tells classes: by its loss, else by its number of classes, else as the data's labels are. */
static int classifies(const bson_t *model, const struct predictor_data *data, bool *classes, bson_error_t *error)
{
    struct kernel_error why = {0};
    enum loss_kind kind;
    int64_t count;
    const char *loss = document_string(model, "hyper_parameters.loss");
    *classes = document_integer(model, "classes", &count) || !data->labelled || data->classes > 0;
    if (!loss)
        return 0;
    if (loss_find(loss, &kind, &why))
        return work_kernel_error(error, &why, "model: hyper_parameters.loss");
    *classes = loss_takes_classes(kind);
    return 0;
}

static int fit_shape(const bson_t *model, const char *name, const struct architecture *architecture,
                     const struct predictor_data *data, struct shape *shape, bson_error_t *error)
{
    char what[256], mine[96], theirs[96];
    snprintf(what, sizeof what, "model %s", name);
    if (read_shape(model, what, shape, error))
        return -1;
    if (shape->rank == 0)
        *shape = architecture->inputs[0].shape.rank ? architecture->inputs[0].shape : data->shape;
    if (shape_size(shape) != shape_size(&data->shape))
        return hub_error(error, HUB_ERROR_INVALID, "model %s takes rows of %s, the data have %s", name,
                         shape_format(shape, mine, sizeof mine), shape_format(&data->shape, theirs, sizeof theirs));
    return 0;
}

/* Buffers for the columns of x that each of several inputs takes. */
static int make_inputs(struct predictor *predictor, const struct recipe *recipe, const struct net_options *options,
                       bson_error_t *error)
{
    for (int i = 0; i < recipe->architecture->input_count; i++) {
        predictor->input_sizes[i] = shape_size(&options->input_shapes[i]);
        predictor->inputs[i] = calloc((size_t)(options->batch_size * predictor->input_sizes[i]), sizeof(float));
        predictor->input_count = i + 1;
        if (!predictor->inputs[i])
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)options->batch_size);
    }
    return 0;
}

static int make_net(struct predictor *predictor, struct hub *hub, const bson_t *model, const struct predictor_data *data,
                    int64_t batch_size, const struct device *device, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct predictor_data sample = *data;
    struct recipe recipe;
    struct shape shape;
    int result = -1;
    const char *name = document_string(model, "name");
    name = name ? name : "";
    recipe_init(&recipe);
    if (!document_has(model, "architecture")) {
        hub_error(error, HUB_ERROR_INVALID, "model %s: it has no architecture: save it with one (save-model --architecture)",
                  name);
        goto out;
    }
    if (classifies(model, data, &predictor->classifies, error))
        goto out;
    recipe.classes = predictor->classifies;
    recipe.input = data->shape;
    if (recipe_read_sampling(&recipe, model, error))
        goto out;
    if (recipe.sampling.kind == SAMPLING_GAN) {
        hub_error(error, HUB_ERROR_INVALID, "model %s: it makes rows of noise; sample draws some", name);
        goto out;
    }
    predictor->sampling = recipe.sampling;
    sample.shape = recipe.input;
    recipe.classes = predictor->classifies;
    if (recipe_read_precision(&recipe, model, error) || recipe_read_loss(&recipe, model, error) ||
        recipe_read_architecture(&recipe, hub, model, error) ||
        fit_shape(model, name, recipe.architecture, &sample, &shape, error))
        goto out;
    recipe.input = shape;
    struct net_options options = {.architecture = recipe.architecture,
                                  .loss = recipe.loss,
                                  .precision = recipe.precision,
                                  .batch_size = batch_size,
                                  .device = device};
    if (recipe_input_shapes(&recipe, options.input_shapes, error))
        goto out;
    if (recipe.architecture->input_count > 1 && make_inputs(predictor, &recipe, &options, error))
        goto out;
    predictor->net = net_new(&options, &why);
    if (!predictor->net) {
        work_kernel_error(error, &why, "model");
        goto out;
    }
    predictor->outputs = shape_size(&net_size(predictor->net)->output);
    predictor->sample_size = shape_size(&shape);
    result = weights_load(hub, model, predictor->net, error);
out:
    recipe_destroy(&recipe);
    return result;
}

/* A forecast is of rows where the training data had no labels; where these are gone, the data at hand say so. */
static bool forecasts_rows(const struct predictor *predictor, const bson_t *training, const struct predictor_data *data)
{
    const char *label = training ? document_string(training, "label") : NULL;
    return predictor->sampling.kind == SAMPLING_FORECAST && !predictor->classifies &&
           predictor->outputs == shape_size(&data->shape) &&
           (label ? !strcmp(label, "none") : data->classes == 0 && data->outputs == 0);
}

struct predictor *predictor_open(struct hub *hub, const bson_t *model, const bson_t *training,
                                 const struct predictor_data *data, int64_t batch_size, const struct device *device,
                                 bson_error_t *error)
{
    struct predictor *predictor = calloc(1, sizeof *predictor);
    if (!predictor) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory to predict");
        return NULL;
    }
    if (make_net(predictor, hub, model, data, batch_size, device, error))
        goto failed;
    predictor->forecasts_rows = forecasts_rows(predictor, training, data);
    predictor->compares = predictor->forecasts_rows ||
                          (data->labelled && (predictor->classifies ? data->classes > 0
                                                                    : data->outputs == predictor->outputs));
    predictor->x = calloc((size_t)batch_size, (size_t)predictor->sample_size * sizeof *predictor->x);
    predictor->indices = calloc((size_t)batch_size, sizeof *predictor->indices);
    if (predictor->x && predictor->indices)
        return predictor;
    hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)batch_size);
failed:
    predictor_close(predictor);
    return NULL;
}

void predictor_close(struct predictor *predictor)
{
    if (!predictor)
        return;
    net_free(predictor->net);
    free(predictor->x);
    free(predictor->indices);
    for (int i = 0; i < predictor->input_count; i++)
        free(predictor->inputs[i]);
    free(predictor);
}

int64_t predictor_batch_size(const struct predictor *predictor)
{
    return net_batch_size(predictor->net);
}

bool predictor_classifies(const struct predictor *predictor)
{
    return predictor->classifies;
}

int64_t predictor_outputs(const struct predictor *predictor)
{
    return predictor->outputs;
}

bool predictor_compares(const struct predictor *predictor)
{
    return predictor->compares;
}

const struct sampling *predictor_sampling(const struct predictor *predictor)
{
    return &predictor->sampling;
}

bool predictor_forecasts_rows(const struct predictor *predictor)
{
    return predictor->forecasts_rows;
}

/* ---- rows ---- */

int predictor_run(struct predictor *predictor, const struct data *data, int64_t first, int64_t count, float *out,
                  bson_error_t *error)
{
    struct kernel_error why = {0};
    for (int64_t i = 0; i < count; i++)
        predictor->indices[i] = (uint32_t)(first + i);
    data_gather(data, predictor->indices, count, predictor->x, NULL, NULL);
    struct net_batch batch = {.rows = count, .inputs = {predictor->x}};
    for (int64_t i = 0, column = 0; i < predictor->input_count; column += predictor->input_sizes[i++]) {
        const int64_t size = predictor->input_sizes[i];
        for (int64_t r = 0; r < count; r++)
            memcpy(predictor->inputs[i] + r * size, predictor->x + r * data->features + column, (size_t)size * sizeof(float));
        batch.inputs[i] = predictor->inputs[i];
    }
    if (net_predict(predictor->net, &batch, out, &why))
        return work_kernel_error(error, &why, "predicting");
    for (int64_t i = 0; i < count * predictor->outputs; i++)
        if (!isfinite(out[i]))
            return hub_error(error, HUB_ERROR_INVALID, "row %lld: the model gives a value that is not finite",
                             (long long)(first + i / predictor->outputs));
    return 0;
}
