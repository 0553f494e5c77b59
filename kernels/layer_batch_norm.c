/* SPDX-License-Identifier: Apache-2.0 */
/* batch_norm (Ioffe and Szegedy 2015): y = weight (x - mean) / sqrt(variance + eps) + bias for each channel. In training mean
 * and variance (divided by n) are the batch's, over its rows and the positions of a sample; the running ones go towards them
 * by momentum (there the variance is divided by n - 1, as PyTorch does) and are those of prediction. Channels are the first
 * dimension of an image, and the last one (the features) of vectors and sequences.
 * Backward, with h = (x - mean) / sqrt(variance + eps): dbias = sum dy, dweight = sum dy h,
 * dx = weight / sqrt(variance + eps) (dy - dbias / n - h dweight / n). */
#include "kernels/layer_types.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EPS, MOMENTUM };
enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };

static const struct layer_attribute attributes[] = {
    {.name = "eps", .kind = LAYER_NUMBER, .minimum = 1e-12, .maximum = 1.0, .standard = 1e-5,
     .about = "added to the variance"},
    {.name = "momentum", .kind = LAYER_NUMBER, .minimum = 0.0, .maximum = 1.0, .standard = 0.1,
     .about = "how much of a batch goes into the running mean and variance"},
    {0},
};

/* A sample seen as (outer, channels, inner). */
struct layout {
    int64_t outer, channels, inner;
};

static struct layout layout_of(const struct shape *shape)
{
    if (shape->rank >= 3) {
        return (struct layout){1, shape->dims[0], shape_size(shape) / shape->dims[0]};
    }
    int64_t features = shape->dims[shape->rank - 1];
    return (struct layout){shape_size(shape) / features, features, 1};
}

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    (void)layer;
    (void)error;
    static const struct { const char *name; enum initialiser initialiser; bool buffer; } parameters[] = {
        [WEIGHT] = {"weight", INITIALISER_ONE, false},
        [BIAS] = {"bias", INITIALISER_ZERO, false},
        [RUNNING_MEAN] = {"running_mean", INITIALISER_ZERO, true},
        [RUNNING_VAR] = {"running_var", INITIALISER_ONE, true},
    };
    int64_t channels = layout_of(&inputs[0]).channels;
    size->output = inputs[0];
    size->flops = 4 * shape_size(&inputs[0]);
    size->parameter_count = 4;
    for (int i = 0; i < 4; i++) {
        size->parameters[i] = (struct layer_parameter){
            .name = parameters[i].name, .rows = 1, .columns = channels, .file_rank = 1, .file_shape = {channels},
            .initialiser = parameters[i].initialiser, .buffer = parameters[i].buffer};
    }
    return 0;
}

/* By channel: mean and variance of the batch, from forward to backward, and numbers that only one pass uses. */
struct statistics {
    double *mean, *variance, *a, *b, *c;
};
#define STATISTICS 5

static struct statistics statistics_of(const struct layer *layer, int64_t channels)
{
    double *block = layer->state;
    return (struct statistics){block, block + channels, block + 2 * channels, block + 3 * channels, block + 4 * channels};
}

static int build(struct layer *layer, const struct layer_build *build, struct kernel_error *error)
{
    (void)build;
    layer->state_bytes = (size_t)layout_of(&layer->input_shapes[0]).channels * STATISTICS * sizeof(double);
    layer->state = calloc(1, layer->state_bytes);
    return layer->state != NULL ? 0 : kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
}

static void destroy(struct layer *layer)
{
    free(layer->state);
    layer->state = NULL;
}

/* The bodies below are compiled twice, once for inner = 1: then the loop over the channels is the one that is vectorised. */
#define INLINE static inline __attribute__((always_inline))

INLINE void add_values(const float *x, int64_t channels, const int64_t inner, double *sum)
{
    for (int64_t c = 0; c < channels; c++) {
        double own = 0.0;
#pragma omp simd reduction(+ : own)
        for (int64_t i = 0; i < inner; i++) {
            own += (double)x[c * inner + i];
        }
        sum[c] += own;
    }
}

INLINE void add_squares(const float *x, int64_t channels, const int64_t inner, const double *mean, double *sum)
{
    for (int64_t c = 0; c < channels; c++) {
        double own = 0.0;
#pragma omp simd reduction(+ : own)
        for (int64_t i = 0; i < inner; i++) {
            double off = (double)x[c * inner + i] - mean[c];
            own += off * off;
        }
        sum[c] += own;
    }
}

/* y = x * scale + shift. */
INLINE void transform(const float *x, int64_t channels, const int64_t inner, const double *scale, const double *shift,
                      float *y)
{
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < inner; i++) {
            y[c * inner + i] = (float)((double)x[c * inner + i] * scale[c] + shift[c]);
        }
    }
}

/* plain += dy, moment += dy (x - mean). */
INLINE void add_gradients(const float *x, const float *dy, int64_t channels, const int64_t inner, const double *mean,
                          double *plain, double *moment)
{
    for (int64_t c = 0; c < channels; c++) {
        double own = 0.0, product = 0.0;
#pragma omp simd reduction(+ : own, product)
        for (int64_t i = 0; i < inner; i++) {
            own += (double)dy[c * inner + i];
            product += (double)dy[c * inner + i] * ((double)x[c * inner + i] - mean[c]);
        }
        plain[c] += own;
        moment[c] += product;
    }
}

/* dx = a dy + b (x - mean) + c. */
INLINE void set_gradients(const float *x, const float *dy, int64_t channels, const int64_t inner,
                          const struct statistics *by, float *dx)
{
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < inner; i++) {
            double off = (double)x[c * inner + i] - by->mean[c];
            dx[c * inner + i] = (float)(by->a[c] * (double)dy[c * inner + i] + by->b[c] * off + by->c[c]);
        }
    }
}

/* Runs statement for every block (channels, inner) of the batch; position is its number of floats from the row's start. */
#define FOR_BLOCKS(statement) \
    for (int64_t r = 0; r < pass->rows; r++) { \
        for (int64_t o = 0; o < layout.outer; o++) { \
            const int64_t position = o * layout.channels * layout.inner; \
            if (layout.inner == 1) { \
                const int64_t inner = 1; \
                statement; \
            } else { \
                const int64_t inner = layout.inner; \
                statement; \
            } \
        } \
    }
#define AT(tensor) ((tensor)->data + r * (tensor)->stride + position)

static void measure_batch(const struct layer *layer, const struct layer_pass *pass, struct layout layout,
                          const struct statistics *by)
{
    const struct tensor *x = layer->inputs[0];
    const double n = (double)(pass->rows * layout.outer * layout.inner);
    memset(by->mean, 0, (size_t)layout.channels * sizeof *by->mean);
    memset(by->variance, 0, (size_t)layout.channels * sizeof *by->variance);
    FOR_BLOCKS(add_values(AT(x), layout.channels, inner, by->mean))
    for (int64_t c = 0; c < layout.channels; c++) {
        by->mean[c] /= n;
    }
    FOR_BLOCKS(add_squares(AT(x), layout.channels, inner, by->mean, by->variance))
    for (int64_t c = 0; c < layout.channels; c++) {
        by->variance[c] /= n;
    }
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layout layout = layout_of(&layer->input_shapes[0]);
    const struct statistics by = statistics_of(layer, layout.channels);
    const struct tensor *x = layer->inputs[0], *y = &layer->output;
    const float *weight = layer->parameters[WEIGHT].data, *bias = layer->parameters[BIAS].data;
    const float *running_mean = layer->parameters[RUNNING_MEAN].data;
    const float *running_var = layer->parameters[RUNNING_VAR].data;
    if (pass->training) {
        measure_batch(layer, pass, layout, &by);
    }
    for (int64_t c = 0; c < layout.channels; c++) {
        double mean = pass->training ? by.mean[c] : (double)running_mean[c];
        double variance = pass->training ? by.variance[c] : (double)running_var[c];
        by.a[c] = (double)weight[c] / sqrt(variance + layer->description->values[EPS].number);
        by.b[c] = (double)bias[c] - mean * by.a[c];
    }
    FOR_BLOCKS(transform(AT(x), layout.channels, inner, by.a, by.b, AT(y)))
    return 0;
}

static void move_running(struct layer *layer, const struct statistics *by, int64_t channels, double n)
{
    const double momentum = layer->description->values[MOMENTUM].number;
    float *mean = layer->parameters[RUNNING_MEAN].data, *variance = layer->parameters[RUNNING_VAR].data;
    for (int64_t c = 0; c < channels; c++) {
        double unbiased = n > 1.0 ? by->variance[c] * n / (n - 1.0) : by->variance[c];
        mean[c] = (float)((1.0 - momentum) * (double)mean[c] + momentum * by->mean[c]);
        variance[c] = (float)((1.0 - momentum) * (double)variance[c] + momentum * unbiased);
    }
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layout layout = layout_of(&layer->input_shapes[0]);
    const struct statistics by = statistics_of(layer, layout.channels);
    const double n = (double)(pass->rows * layout.outer * layout.inner);
    const struct tensor *x = layer->inputs[0], *dy = &layer->output_gradient, *dx = layer->input_gradients[0];
    double *plain = by.c, *moment = by.b;
    memset(plain, 0, (size_t)layout.channels * sizeof *plain);
    memset(moment, 0, (size_t)layout.channels * sizeof *moment);
    FOR_BLOCKS(add_gradients(AT(x), AT(dy), layout.channels, inner, by.mean, plain, moment))
    for (int64_t c = 0; c < layout.channels; c++) {
        double inverse = 1.0 / sqrt(by.variance[c] + layer->description->values[EPS].number);
        layer->gradients[BIAS].data[c] = (float)plain[c];
        layer->gradients[WEIGHT].data[c] = (float)(moment[c] * inverse);
        by.a[c] = (double)layer->parameters[WEIGHT].data[c] * inverse;
        by.b[c] = -by.a[c] * inverse * inverse * moment[c] / n;
        by.c[c] = -by.a[c] * plain[c] / n;
    }
    if (dx != NULL) {
        FOR_BLOCKS(set_gradients(AT(x), AT(dy), layout.channels, inner, &by, AT(dx)))
    }
    move_running(layer, &by, layout.channels, n);
    return 0;
}

const struct layer_type layer_batch_norm = {
    .name = "batch_norm", .about = "each channel with mean 0 and variance 1 over the batch, then scaled and shifted",
    .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure,
    .code = {.build = build, .destroy = destroy, .forward = forward, .backward = backward},
};
