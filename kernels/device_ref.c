/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle: every operation as its formula, in plain loops, with sums in double. */
#include "kernels/bf16.h"
#include "kernels/device.h"
#include "kernels/random.h"

#include <math.h>
#include <string.h>

static bool supports(const struct device *device, enum device_operation operation)
{
    (void)device;
    (void)operation;
    return true;
}

static char *describe(struct device *device)
{
    (void)device;
    return strdup("device: ref\nkernels: plain loops, sums in double (the oracle; slow)\n");
}

/* An operand of a product, in the device's precision. */
static double operand(const struct device *device, float x)
{
    return (double)(device->precision == PRECISION_BFLOAT16 ? bf16_round(x) : x);
}

static int gemm(const struct device *device, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                const float *a, int64_t a_stride, const float *b, int64_t b_stride, float beta, float *c,
                int64_t c_stride, struct kernel_error *error)
{
    (void)error;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (int64_t l = 0; l < k; l++) {
                float x = transpose_a ? a[l * a_stride + i] : a[i * a_stride + l];
                float y = transpose_b ? b[j * b_stride + l] : b[l * b_stride + j];
                sum += operand(device, x) * operand(device, y);
            }
            float *out = &c[i * c_stride + j];
            *out = (float)(beta == 0.0f ? sum : sum + (double)beta * (double)*out);
        }
    }
    return 0;
}

#define SQRT_2 1.41421356237309504880
#define SQRT_2_PI 2.50662827463100050242

static double activate(enum activation activation, double x)
{
    switch (activation) {
    case ACTIVATION_NONE: break;
    case ACTIVATION_RELU: return x > 0.0 || isnan(x) ? x : 0.0;
    case ACTIVATION_TANH: return tanh(x);
    case ACTIVATION_SIGMOID: return 1.0 / (1.0 + exp(-x));
    case ACTIVATION_LEAKY_RELU: return x > 0.0 ? x : x * (double)LEAKY_RELU_SLOPE;
    case ACTIVATION_GELU: return x * 0.5 * erfc(-x / SQRT_2);
    }
    return x;
}

/* The derivative from y = activation(x); of gelu from x. */
static double derive(enum activation activation, double y)
{
    switch (activation) {
    case ACTIVATION_NONE: break;
    case ACTIVATION_RELU: return y > 0.0 ? 1.0 : 0.0;
    case ACTIVATION_TANH: return 1.0 - y * y;
    case ACTIVATION_SIGMOID: return y * (1.0 - y);
    case ACTIVATION_LEAKY_RELU: return y > 0.0 ? 1.0 : (double)LEAKY_RELU_SLOPE;
    case ACTIVATION_GELU: return 0.5 * erfc(-y / SQRT_2) + y * exp(-0.5 * y * y) / SQRT_2_PI;
    }
    return 1.0;
}

static int activation_forward(const struct device *device, enum activation activation, const struct tensor *x,
                              struct tensor *y, struct kernel_error *error)
{
    (void)device;
    (void)error;
    for (int64_t r = 0; r < x->rows; r++) {
        for (int64_t c = 0; c < x->columns; c++) {
            y->data[r * y->stride + c] = (float)activate(activation, (double)x->data[r * x->stride + c]);
        }
    }
    return 0;
}

static int activation_backward(const struct device *device, enum activation activation, const struct tensor *y,
                               const struct tensor *dy, struct tensor *dx, struct kernel_error *error)
{
    (void)device;
    (void)error;
    for (int64_t r = 0; r < y->rows; r++) {
        for (int64_t c = 0; c < y->columns; c++) {
            double slope = derive(activation, (double)y->data[r * y->stride + c]);
            dx->data[r * dx->stride + c] = (float)((double)dy->data[r * dy->stride + c] * slope);
        }
    }
    return 0;
}

static int dense_forward(const struct device *device, const struct tensor *x, const struct tensor *w,
                         const float *bias, enum activation activation, struct tensor *y, struct kernel_error *error)
{
    (void)error;
    for (int64_t r = 0; r < x->rows; r++) {
        for (int64_t o = 0; o < w->columns; o++) {
            double sum = (double)bias[o];
            for (int64_t i = 0; i < w->rows; i++) {
                sum += operand(device, x->data[r * x->stride + i]) * operand(device, w->data[i * w->stride + o]);
            }
            y->data[r * y->stride + o] = (float)activate(activation, sum);
        }
    }
    return 0;
}

static int dense_backward(const struct device *device, const struct tensor *x, const struct tensor *w,
                          const struct tensor *y, enum activation activation, struct tensor *dy, struct tensor *dx,
                          struct tensor *dw, float *dbias, struct kernel_error *error)
{
    activation_backward(device, activation, y, dy, dy, error);
    for (int64_t o = 0; o < w->columns; o++) {
        double sum = 0.0;
        for (int64_t r = 0; r < dy->rows; r++) {
            sum += (double)dy->data[r * dy->stride + o];
        }
        dbias[o] = (float)sum;
    }
    gemm(device, true, false, w->rows, w->columns, dy->rows, x->data, x->stride, dy->data, dy->stride, 0.0f, dw->data,
         dw->stride, error);
    if (dx != NULL) {
        gemm(device, false, true, dy->rows, w->rows, w->columns, dy->data, dy->stride, w->data, w->stride, 0.0f,
             dx->data, dx->stride, error);
    }
    return 0;
}

static int dropout(const struct device *device, const struct device_dropout *mask, const struct tensor *x,
                   struct tensor *y, struct kernel_error *error)
{
    (void)device;
    (void)error;
    for (int64_t r = 0; r < x->rows; r++) {
        for (int64_t c = 0; c < x->columns; c++) {
            uint64_t e = (uint64_t)(r * x->columns + c);
            uint64_t half = e % 64 / 8;
            uint32_t words[4];
            random_block(mask->seed, mask->stream << 40 | mask->step, e / 64 * 8 + e % 8, words);
            uint32_t bits = words[half / 2] >> (half % 2 == 0 ? 0 : 16) & 0xffff;
            y->data[r * y->stride + c] = bits < mask->threshold ? 0.0f : x->data[r * x->stride + c] * mask->scale;
        }
    }
    return 0;
}

static int softmax(const struct device *device, const struct tensor *z, struct tensor *p, struct kernel_error *error)
{
    (void)device;
    (void)error;
    for (int64_t r = 0; r < z->rows; r++) {
        const float *in = z->data + r * z->stride;
        float *out = p->data + r * p->stride;
        double largest = (double)in[0], sum = 0.0;
        for (int64_t c = 1; c < z->columns; c++) {
            largest = (double)in[c] > largest ? (double)in[c] : largest;
        }
        for (int64_t c = 0; c < z->columns; c++) {
            sum += exp((double)in[c] - largest);
        }
        for (int64_t c = 0; c < z->columns; c++) {
            out[c] = (float)(exp((double)in[c] - largest) / sum);
        }
    }
    return 0;
}

static int cross_entropy(const struct device *device, const struct tensor *z, const int32_t *labels, struct tensor *dz,
                         double *loss_sum, int64_t *correct, struct kernel_error *error)
{
    (void)device;
    (void)error;
    *loss_sum = 0.0;
    *correct = 0;
    for (int64_t r = 0; r < z->rows; r++) {
        const float *in = z->data + r * z->stride;
        int64_t best = 0;
        double sum = 0.0;
        for (int64_t c = 1; c < z->columns; c++) {
            best = in[c] > in[best] ? c : best;
        }
        for (int64_t c = 0; c < z->columns; c++) {
            sum += exp((double)in[c] - (double)in[best]);
        }
        *loss_sum += log(sum) - ((double)in[labels[r]] - (double)in[best]);
        *correct += best == labels[r];
        for (int64_t c = 0; dz != NULL && c < z->columns; c++) {
            double p = exp((double)in[c] - (double)in[best]) / sum;
            dz->data[r * dz->stride + c] = (float)((p - (c == labels[r] ? 1.0 : 0.0)) / (double)z->rows);
        }
    }
    return 0;
}

static int squared_error(const struct device *device, const struct tensor *z, const struct tensor *t,
                         struct tensor *dz, double *loss_sum, struct kernel_error *error)
{
    (void)device;
    (void)error;
    *loss_sum = 0.0;
    for (int64_t r = 0; r < z->rows; r++) {
        double sum = 0.0;
        for (int64_t c = 0; c < z->columns; c++) {
            double difference = (double)z->data[r * z->stride + c] - (double)t->data[r * t->stride + c];
            sum += difference * difference;
            if (dz != NULL) {
                dz->data[r * dz->stride + c] = (float)(2.0 * difference / ((double)z->rows * (double)z->columns));
            }
        }
        *loss_sum += sum / (double)z->columns;
    }
    return 0;
}

static int sgd(const struct device *device, const struct device_sgd *step, size_t count, float *parameters,
               const float *gradients, float *momentum, struct kernel_error *error)
{
    (void)device;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        double d = (double)gradients[i] + (double)step->weight_decay * (double)parameters[i];
        if (momentum != NULL) {
            double b = step->first ? d : (double)step->momentum * (double)momentum[i] + d;
            momentum[i] = (float)b;
            d = step->nesterov ? d + (double)step->momentum * b : b;
        }
        parameters[i] = (float)((double)parameters[i] - (double)step->learning_rate * d);
    }
    return 0;
}

static int adam(const struct device *device, const struct device_adam *step, size_t count, float *parameters,
                const float *gradients, float *m, float *v, struct kernel_error *error)
{
    (void)device;
    (void)error;
    double beta1 = (double)step->beta1, beta2 = (double)step->beta2;
    for (size_t i = 0; i < count; i++) {
        double g = (double)gradients[i] + (double)step->weight_decay * (double)parameters[i];
        double mean = beta1 * (double)m[i] + (1.0 - beta1) * g;
        double square = beta2 * (double)v[i] + (1.0 - beta2) * g * g;
        m[i] = (float)mean;
        v[i] = (float)square;
        double change = (double)step->step_size * mean / (sqrt(square) * (double)step->root_scale +
                                                          (double)step->epsilon);
        parameters[i] = (float)((double)parameters[i] * (double)step->keep - change);
    }
    return 0;
}

static int rmsprop(const struct device *device, const struct device_rmsprop *step, size_t count, float *parameters,
                   const float *gradients, float *square, float *momentum, struct kernel_error *error)
{
    (void)device;
    (void)error;
    double alpha = (double)step->alpha;
    for (size_t i = 0; i < count; i++) {
        double g = (double)gradients[i] + (double)step->weight_decay * (double)parameters[i];
        double s = alpha * (double)square[i] + (1.0 - alpha) * g * g;
        double d = g / (sqrt(s) + (double)step->epsilon);
        square[i] = (float)s;
        if (momentum != NULL) {
            d += (double)step->momentum * (double)momentum[i];
            momentum[i] = (float)d;
        }
        parameters[i] = (float)((double)parameters[i] - (double)step->learning_rate * d);
    }
    return 0;
}

static int squared_norm(const struct device *device, size_t count, const float *values, double *sum,
                        struct kernel_error *error)
{
    (void)device;
    (void)error;
    *sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        *sum += (double)values[i] * (double)values[i];
    }
    return 0;
}

static int clip(const struct device *device, float scale, float limit, size_t count, float *values,
                struct kernel_error *error)
{
    (void)device;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        float v = values[i] * scale;
        values[i] = v > limit ? limit : v < -limit ? -limit : v;
    }
    return 0;
}

const struct device_operations device_ref_operations = {
    .name = "ref",
    .supports = supports,
    .describe = describe,
    .gemm = gemm,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .dropout = dropout,
    .cross_entropy = cross_entropy,
    .softmax = softmax,
    .squared_error = squared_error,
    .sgd = sgd,
    .adam = adam,
    .rmsprop = rmsprop,
    .squared_norm = squared_norm,
    .clip = clip,
};
