/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_RECURRENT_SEQUENCE_H
#define TL_KERNELS_LAYER_RECURRENT_SEQUENCE_H

/* What the portable code of lstm and gru and a device's own must agree on: attributes, the order of parameters, what is
 * kept in the workspace, the masks of dropout. Inline, for a device's module links nothing of this library. */

#include "kernels/layer.h"

#include <math.h>
#include <string.h>

enum recurrent_attribute {
    RECURRENT_UNITS, RECURRENT_LAYERS, RECURRENT_OUTPUTS, RECURRENT_DROPOUT, RECURRENT_INITIALISER
};
enum recurrent_outputs { RECURRENT_LAST, RECURRENT_ALL }; /* output: (units), or (time, units) */

/* Parameter 4 * l + one of these, of layer l: weights (inputs, gates * units), biases (gates * units). */
enum recurrent_parameter {
    RECURRENT_WEIGHT_IH, RECURRENT_WEIGHT_HH, RECURRENT_BIAS_IH, RECURRENT_BIAS_HH, RECURRENT_PARAMETERS
};

#define RECURRENT_MOST_LAYERS 8

/* Of dropout after layer l: the net's own streams of random numbers are below. */
#define RECURRENT_DROPOUT_STREAMS 8192

static inline int64_t recurrent_units(const struct architecture_layer *layer)
{
    return (int64_t)layer->values[RECURRENT_UNITS].number;
}

static inline int recurrent_layers(const struct architecture_layer *layer)
{
    return (int)layer->values[RECURRENT_LAYERS].number;
}

static inline bool recurrent_gives_all(const struct architecture_layer *layer)
{
    return layer->values[RECURRENT_OUTPUTS].choice == RECURRENT_ALL;
}

/* A layer's workspace in one pass. All is time-major, (time, rows, columns), rows those of the pass and columns the
 * units up to the next multiple of TENSOR_ALIGN. */
struct recurrent_workspace {
    float *h[RECURRENT_MOST_LAYERS];       /* hidden states */
    float *kept[RECURRENT_MOST_LAYERS];    /* what the cell keeps for backward: kept * columns for each row */
    float *dropped[RECURRENT_MOST_LAYERS]; /* h after dropout; NULL: there is none */
    float *gradient;                       /* of the hidden states of the layer that is being done */
};

/* Divides it; parts NULL: only says how many floats a row takes. kept is the number of the cell's kept values. */
static inline int64_t recurrent_divide(const struct architecture_layer *layer, int kept, int64_t time, int64_t rows,
                                       float *workspace, struct recurrent_workspace *parts)
{
    const int layers = recurrent_layers(layer);
    const int64_t sequence = time * tensor_stride(recurrent_units(layer));
    const bool drops = layer->values[RECURRENT_DROPOUT].number > 0.0;
    const int dropped = drops ? layers - 1 : 0;
    for (int l = 0; parts != NULL && l < layers; l++) {
        parts->h[l] = workspace + l * (1 + kept) * sequence * rows;
        parts->kept[l] = parts->h[l] + sequence * rows;
        parts->dropped[l] = l < dropped ? workspace + (layers * (1 + kept) + l) * sequence * rows : NULL;
    }
    if (parts != NULL) {
        parts->gradient = workspace + (layers * (1 + kept) + dropped) * sequence * rows;
    }
    return (layers * (1 + kept) + dropped + 1) * sequence;
}

/* What layer l > 0 sees: the hidden states below, after dropout in training. */
static inline float *recurrent_seen(const struct recurrent_workspace *parts, const struct layer_pass *pass, int l)
{
    return pass->training && parts->dropped[l - 1] != NULL ? parts->dropped[l - 1] : parts->h[l - 1];
}

/* Dropout after layer l, of the hidden states or of their gradient, from one sequence into another or the same; the
 * mask is that of a tensor (time * rows, units). Does nothing where that layer has none or outside training. */
static inline int recurrent_drop(const struct layer *layer, const struct layer_pass *pass, int l, float *from,
                                 float *to, struct kernel_error *error)
{
    const double rate = layer->description->values[RECURRENT_DROPOUT].number;
    if (!pass->training || rate == 0.0 || l >= recurrent_layers(layer->description) - 1) {
        return 0;
    }
    const long threshold = lround(rate * 65536.0);
    const struct device_dropout dropout = {
        .seed = pass->seed, .stream = layer->stream + RECURRENT_DROPOUT_STREAMS * ((uint64_t)l + 1), .step = pass->step,
        .threshold = (uint32_t)threshold, .scale = 65536.0f / (float)(65536 - threshold)};
    const int64_t units = recurrent_units(layer->description);
    struct tensor x = {.data = from, .rows = layer->input_shapes[0].dims[0] * pass->rows, .columns = units,
                       .stride = tensor_stride(units)}, y = x;
    y.data = to;
    return pass->device->operations->dropout(pass->device, &dropout, &x, &y, error);
}

/* The top layer's hidden states, the last or all, into the layer's output. */
static inline void recurrent_put_output(struct layer *layer, const struct layer_pass *pass,
                                        const struct recurrent_workspace *parts)
{
    const int64_t time = layer->input_shapes[0].dims[0], units = recurrent_units(layer->description);
    const float *h = parts->h[recurrent_layers(layer->description) - 1];
    for (int64_t row = 0; row < pass->rows; row++) {
        float *y = layer->output.data + row * layer->output.stride;
        for (int64_t t = recurrent_gives_all(layer->description) ? 0 : time - 1; t < time; t++, y += units) {
            memcpy(y, h + (t * pass->rows + row) * tensor_stride(units), (size_t)units * sizeof *y);
        }
    }
}

/* The gradient of the layer's output into parts->gradient: 0 for the steps that gave none. */
static inline void recurrent_get_gradient(const struct layer *layer, const struct layer_pass *pass,
                                          const struct recurrent_workspace *parts)
{
    const int64_t time = layer->input_shapes[0].dims[0], units = recurrent_units(layer->description);
    const int64_t columns = tensor_stride(units);
    memset(parts->gradient, 0, (size_t)(time * pass->rows * columns) * sizeof *parts->gradient);
    for (int64_t row = 0; row < pass->rows; row++) {
        const float *dy = layer->output_gradient.data + row * layer->output_gradient.stride;
        for (int64_t t = recurrent_gives_all(layer->description) ? 0 : time - 1; t < time; t++, dy += units) {
            memcpy(parts->gradient + (t * pass->rows + row) * columns, dy, (size_t)units * sizeof *dy);
        }
    }
}

#endif
