/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/sampling.h"

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

int sampling_divide(const struct architecture *architecture, const struct shape *sample, struct shape *shapes,
                    struct kernel_error *error)
{
    int64_t left = shape_size(sample);
    memset(shapes, 0, ARCHITECTURE_INPUTS * sizeof *shapes);
    if (architecture->input_count == 1) {
        shapes[0] = *sample;
        return 0;
    }
    for (int i = 0; i < architecture->input_count; i++) {
        shapes[i] = architecture->inputs[i].shape;
        if (shapes[i].rank == 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "architecture: input %s: one of several inputs must say its "
                                    "shape", architecture->inputs[i].name);
        }
        left -= shape_size(&shapes[i]);
    }
    if (left != 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "architecture: its %d inputs take %lld values together, a sample "
                                "has %lld", architecture->input_count, (long long)(shape_size(sample) - left),
                                (long long)shape_size(sample));
    }
    return 0;
}
