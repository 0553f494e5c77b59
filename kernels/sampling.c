/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/sampling.h"

#include "kernels/layer.h"

#include <string.h>

static const char *const names[SAMPLING_COUNT] = {"supervised", "autoencoder", "forecast", "recommender", "gan"};

int sampling_find(const char *name, enum sampling_kind *kind, struct kernel_error *error)
{
    for (int i = 0; i < SAMPLING_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *kind = (enum sampling_kind)i;
            return 0;
        }
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "recipe: \"%.40s\" is not known: use supervised, autoencoder, "
                            "forecast, recommender or gan", name);
}

const char *sampling_name(enum sampling_kind kind)
{
    return names[kind];
}

/* (window, values of a row), and what the target is. */
static int shape_forecast(const struct sampling *sampling, struct sampling_row *row, struct kernel_error *error)
{
    int64_t size = shape_size(&row->shape);
    if (sampling->window < 1 || sampling->window > SAMPLING_WINDOW) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "window: %lld is out of range: a forecast needs 1 to %d rows",
                                (long long)sampling->window, SAMPLING_WINDOW);
    }
    if (sampling->horizon < 1 || sampling->horizon > SAMPLING_WINDOW) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "horizon: %lld is out of range: use 1 to %d",
                                (long long)sampling->horizon, SAMPLING_WINDOW);
    }
    if (sampling->window * size > ARCHITECTURE_DIMENSION) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "window: %lld rows of %lld values are more than %d",
                                (long long)sampling->window, (long long)size, ARCHITECTURE_DIMENSION);
    }
    row->shape = (struct shape){.rank = 2, .dims = {sampling->window, size}};
    if (!row->labelled) {
        row->outputs = size;
        row->classes = false;
    }
    row->labelled = true;
    return 0;
}

int sampling_shape(const struct sampling *sampling, bool loss_of_pairs, struct sampling_row *row,
                   struct kernel_error *error)
{
    if (loss_of_pairs && sampling->kind != SAMPLING_RECOMMENDER) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "loss: bpr ranks pairs: it goes with recipe recommender");
    }
    switch (sampling->kind) {
    case SAMPLING_SUPERVISED: break;
    case SAMPLING_AUTOENCODER:
        row->outputs = shape_size(&row->shape);
        row->classes = false;
        row->labelled = true;
        break;
    case SAMPLING_FORECAST: return shape_forecast(sampling, row, error);
    case SAMPLING_RECOMMENDER:
        if (shape_size(&row->shape) < 2) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "recipe: a recommender's rows are ids: user and item at "
                                    "least");
        }
        if (loss_of_pairs) {
            row->outputs = 1;
            row->classes = false;
            row->labelled = true;
        }
        break;
    case SAMPLING_GAN:
        row->outputs = 0;
        row->classes = false;
        row->labelled = true;
        break;
    }
    if (!row->labelled) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "dataset: has no labels: recipe %s needs them",
                                sampling_name(sampling->kind));
    }
    return 0;
}

static int divide(const struct architecture *architecture, const struct shape *sample, struct shape *shapes,
                  struct kernel_error *error)
{
    int64_t left = shape_size(sample);
    if (architecture->input_count == 1) {
        const struct shape *own = &architecture->inputs[0].shape;
        if (own->rank > 0 && shape_size(own) != left) {
            char mine[80], theirs[80];
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "input %s has shape %s, a sample %s",
                                    architecture->inputs[0].name, shape_format(own, mine, sizeof mine),
                                    shape_format(sample, theirs, sizeof theirs));
        }
        shapes[0] = own->rank > 0 ? *own : *sample;
        return 0;
    }
    for (int i = 0; i < architecture->input_count; i++) {
        shapes[i] = architecture->inputs[i].shape;
        if (shapes[i].rank == 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "input %s: one of several inputs must say its "
                                    "shape", architecture->inputs[i].name);
        }
        left -= shape_size(&shapes[i]);
    }
    if (left != 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "its %d inputs take %lld values together, a sample "
                                "has %lld", architecture->input_count, (long long)(shape_size(sample) - left),
                                (long long)shape_size(sample));
    }
    return 0;
}

int sampling_mix(const struct architecture *architecture)
{
    int found = -1;
    for (int i = 0; i < architecture->layer_count; i++) {
        if (strcmp(architecture->layers[i].type->name, "mix") == 0) {
            if (found >= 0) {
                return -1;
            }
            found = i;
        }
    }
    return found;
}

static int refuse(struct kernel_error *error, const char *what)
{
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "of a gan: %s", what);
}

/* Nobody sees past mix: not the generator what is real, not the critic how it was made. */
static int check_sides(const struct architecture *architecture, int mix, struct kernel_error *error)
{
    for (int i = 0; i < architecture->layer_count; i++) {
        for (int j = 0; j < architecture->layers[i].input_count; j++) {
            int from = architecture->layers[i].inputs[j];
            if (i < mix ? from == 1 : i > mix && from < architecture->input_count + mix) {
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "of a gan: layer %s: %s",
                                        architecture->layers[i].name,
                                        i < mix ? "the generator may not see \"real\""
                                                : "the critic sees what comes out of mix, nothing before it");
            }
        }
    }
    return 0;
}

static int check_gan(const struct architecture *architecture, const struct shape *row, struct shape *shapes,
                     struct kernel_error *error)
{
    const int inputs = architecture->input_count, mix = sampling_mix(architecture);
    if (inputs != 2 || strcmp(architecture->inputs[0].name, "noise") != 0 ||
        strcmp(architecture->inputs[1].name, "real") != 0) {
        return refuse(error, "its inputs must be \"noise\" and \"real\"");
    }
    if (architecture->inputs[0].shape.rank == 0) {
        return refuse(error, "input noise must say its shape");
    }
    if (mix < 0) {
        return refuse(error, "it needs one layer of type mix, between generator and critic");
    }
    if (architecture->output_count != 2 || architecture->outputs[1] != inputs + architecture->layer_count - 1) {
        return refuse(error, "its outputs must be the generator's last layer and the critic's, which is the last of all");
    }
    const struct architecture_layer *layer = &architecture->layers[mix];
    if (layer->inputs[0] != architecture->outputs[0] || layer->inputs[1] != 1 || layer->inputs[0] < inputs) {
        return refuse(error, "mix must take the generator's last layer, which is the first output, and \"real\"");
    }
    shapes[0] = architecture->inputs[0].shape;
    shapes[1] = architecture->inputs[1].shape.rank > 0 ? architecture->inputs[1].shape : *row;
    return check_sides(architecture, mix, error);
}

int sampling_inputs(const struct sampling *sampling, const struct architecture *architecture, const struct shape *sample,
                    struct shape *shapes, struct kernel_error *error)
{
    memset(shapes, 0, ARCHITECTURE_INPUTS * sizeof *shapes);
    if (sampling->kind == SAMPLING_GAN) {
        return check_gan(architecture, sample, shapes, error);
    }
    if (architecture->output_count != 1) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%d outputs; recipe %s has one",
                                architecture->output_count, sampling_name(sampling->kind));
    }
    return divide(architecture, sample, shapes, error);
}
