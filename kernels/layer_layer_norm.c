/* SPDX-License-Identifier: Apache-2.0 */
/* layer_norm (Ba, Kiros and Hinton 2016): y = weight h + bias with h = (x - mean) / sqrt(variance + eps), mean and variance
 * (divided by n) over the last dimensions of one sample. Backward, with g = dy weight:
 * dx = (g - mean(g) - h mean(g h)) / sqrt(variance + eps), dweight = sum dy h, dbias = sum dy. */
#include "kernels/layer_types.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS, EPS };
enum { WEIGHT, BIAS };

static const struct layer_attribute attributes[] = {
    {.name = "dimensions", .kind = LAYER_INTEGER, .minimum = 1, .maximum = SHAPE_RANK, .standard = 1,
     .about = "how many dimensions of a sample, from the last, are normalised together"},
    {.name = "eps", .kind = LAYER_NUMBER, .minimum = 1e-12, .maximum = 1.0, .standard = 1e-5,
     .about = "added to the variance"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    int dimensions = (int)layer->values[DIMENSIONS].number, first = inputs[0].rank - dimensions;
    if (first < 0) {
        char text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "dimensions: the input %s has no %d",
                                shape_format(&inputs[0], text, sizeof text), dimensions);
    }
    struct shape normalised = {.rank = dimensions};
    memcpy(normalised.dims, inputs[0].dims + first, (size_t)dimensions * sizeof normalised.dims[0]);
    int64_t count = shape_size(&normalised);
    size->output = inputs[0];
    size->flops = 8 * shape_size(&inputs[0]);
    size->workspace = 2 * shape_size(&inputs[0]) / count; /* mean and 1 / sqrt(variance + eps) of each group */
    size->parameter_count = 2;
    for (int i = 0; i < 2; i++) {
        struct layer_parameter *parameter = &size->parameters[i];
        *parameter = (struct layer_parameter){.name = i == WEIGHT ? "weight" : "bias", .rows = 1, .columns = count,
                                              .file_rank = dimensions,
                                              .initialiser = i == WEIGHT ? INITIALISER_ONE : INITIALISER_ZERO};
        memcpy(parameter->file_shape, normalised.dims, sizeof parameter->file_shape);
    }
    return 0;
}

static void normalise(const float *x, const float *weight, const float *bias, double eps, int64_t count, float *y,
                      float *kept)
{
    double mean = 0.0, variance = 0.0;
#pragma omp simd reduction(+ : mean)
    for (int64_t i = 0; i < count; i++) {
        mean += (double)x[i];
    }
    mean /= (double)count;
#pragma omp simd reduction(+ : variance)
    for (int64_t i = 0; i < count; i++) {
        variance += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double inverse = 1.0 / sqrt(variance / (double)count + eps);
    for (int64_t i = 0; i < count; i++) {
        y[i] = (float)(((double)x[i] - mean) * inverse * (double)weight[i] + (double)bias[i]);
    }
    kept[0] = (float)mean;
    kept[1] = (float)inverse;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct tensor *x = layer->inputs[0];
    struct tensor *y = &layer->output;
    const int64_t count = layer->parameters[WEIGHT].columns, groups = x->columns / count;
    for (int64_t r = 0; r < pass->rows; r++) {
        float *kept = layer->workspace + r * tensor_stride(2 * groups);
        for (int64_t g = 0; g < groups; g++) {
            normalise(x->data + r * x->stride + g * count, layer->parameters[WEIGHT].data, layer->parameters[BIAS].data,
                      layer->description->values[EPS].number, count, y->data + r * y->stride + g * count, kept + 2 * g);
        }
    }
    return 0;
}

/* Adds one group's part to the sums of dweight and dbias (double, count each), and sets dx where it is wanted. */
static void gradient(const float *x, const float *dy, const float *weight, const float *kept, int64_t count,
                     double *weight_sum, double *bias_sum, float *dx)
{
    const double mean = (double)kept[0], inverse = (double)kept[1];
    double plain = 0.0, moment = 0.0;
#pragma omp simd reduction(+ : plain, moment)
    for (int64_t i = 0; i < count; i++) {
        double h = ((double)x[i] - mean) * inverse, g = (double)dy[i] * (double)weight[i];
        plain += g;
        moment += g * h;
        weight_sum[i] += (double)dy[i] * h;
        bias_sum[i] += (double)dy[i];
    }
    plain /= (double)count;
    moment /= (double)count;
    for (int64_t i = 0; dx != NULL && i < count; i++) {
        double h = ((double)x[i] - mean) * inverse, g = (double)dy[i] * (double)weight[i];
        dx[i] = (float)((g - plain - h * moment) * inverse);
    }
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct tensor *x = layer->inputs[0], *dy = &layer->output_gradient, *dx = layer->input_gradients[0];
    const int64_t count = layer->parameters[WEIGHT].columns, groups = x->columns / count;
    double *weight_sum = layer->state, *bias_sum = weight_sum + count;
    memset(weight_sum, 0, 2 * (size_t)count * sizeof *weight_sum);
    for (int64_t r = 0; r < pass->rows; r++) {
        const float *kept = layer->workspace + r * tensor_stride(2 * groups);
        for (int64_t g = 0; g < groups; g++) {
            gradient(x->data + r * x->stride + g * count, dy->data + r * dy->stride + g * count,
                     layer->parameters[WEIGHT].data, kept + 2 * g, count, weight_sum, bias_sum,
                     dx != NULL ? dx->data + r * dx->stride + g * count : NULL);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        layer->gradients[WEIGHT].data[i] = (float)weight_sum[i];
        layer->gradients[BIAS].data[i] = (float)bias_sum[i];
    }
    return 0;
}

static int build(struct layer *layer, const struct layer_build *build, struct kernel_error *error)
{
    if (!build->training) {
        return 0;
    }
    layer->state_bytes = 2 * (size_t)layer->parameters[WEIGHT].columns * sizeof(double);
    layer->state = calloc(1, layer->state_bytes);
    return layer->state != NULL ? 0 : kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
}

static void destroy(struct layer *layer)
{
    free(layer->state);
    layer->state = NULL;
}

const struct layer_type layer_layer_norm = {
    .name = "layer_norm", .about = "each sample with mean 0 and variance 1 over its last dimensions, then scaled and "
                                   "shifted",
    .attributes = attributes, .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure,
    .code = {.build = build, .destroy = destroy, .forward = forward, .backward = backward},
};
