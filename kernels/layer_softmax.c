/* SPDX-License-Identifier: Apache-2.0 */
/* softmax: y_i = exp(x_i) / sum_j exp(x_j) along one dimension; backward dx_i = y_i (dy_i - sum_j dy_j y_j). */
#include "kernels/layer_axis.h"
#include "kernels/layer_types.h"

#include <math.h>

static const struct layer_attribute attributes[] = {
    {.name = "axis", .kind = LAYER_INTEGER, .minimum = -SHAPE_RANK, .maximum = SHAPE_RANK - 1, .standard = -1,
     .about = "the dimension of a sample that it sums over; -1: the last"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    int axis;
    size->output = inputs[0];
    size->flops = 4 * shape_size(&inputs[0]);
    return layer_axis_find(layer->values[0].number, &inputs[0], &axis, error);
}

/* (outer, count, inner): the dimensions before the axis, it, and those behind it. */
static struct layer_axis axis_of(const struct layer *layer)
{
    int axis;
    layer_axis_find(layer->description->values[0].number, &layer->size.output, &axis, NULL);
    return layer_axis_split(&layer->size.output, axis);
}

static void softmax(const float *x, float *y, int64_t count, int64_t step)
{
    double largest = (double)x[0], sum = 0.0;
    for (int64_t i = 1; i < count; i++) {
        largest = (double)x[i * step] > largest ? (double)x[i * step] : largest;
    }
    for (int64_t i = 0; i < count; i++) {
        sum += exp((double)x[i * step] - largest);
    }
    for (int64_t i = 0; i < count; i++) {
        y[i * step] = (float)(exp((double)x[i * step] - largest) / sum);
    }
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const struct layer_axis axis = axis_of(layer);
    const struct tensor *x = layer->inputs[0];
    struct tensor *y = &layer->output;
    if (axis.outer == 1 && axis.inner == 1) {
        return pass->device->operations->softmax(pass->device, x, y, error);
    }
    for (int64_t r = 0; r < pass->rows && axis.inner == 1; r++) {
        const struct tensor from = {x->data + r * x->stride, axis.outer, axis.count, axis.count};
        struct tensor to = {y->data + r * y->stride, axis.outer, axis.count, axis.count};
        if (pass->device->operations->softmax(pass->device, &from, &to, error) < 0) {
            return -1;
        }
    }
    for (int64_t r = 0; r < pass->rows && axis.inner > 1; r++) {
        for (int64_t i = 0; i < axis.outer * axis.inner; i++) {
            int64_t start = i / axis.inner * axis.count * axis.inner + i % axis.inner;
            softmax(x->data + r * x->stride + start, y->data + r * y->stride + start, axis.count, axis.inner);
        }
    }
    return 0;
}

static void gradient(const float *y, const float *dy, float *dx, int64_t count, int64_t step)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)dy[i * step] * (double)y[i * step];
    }
    for (int64_t i = 0; i < count; i++) {
        dx[i * step] = (float)((double)y[i * step] * ((double)dy[i * step] - sum));
    }
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layer_axis axis = axis_of(layer);
    const struct tensor *y = &layer->output, *dy = &layer->output_gradient;
    struct tensor *dx = layer->input_gradients[0];
    for (int64_t r = 0; dx != NULL && r < pass->rows; r++) {
        for (int64_t i = 0; i < axis.outer * axis.inner; i++) {
            int64_t start = i / axis.inner * axis.count * axis.inner + i % axis.inner;
            gradient(y->data + r * y->stride + start, dy->data + r * dy->stride + start,
                     dx->data + r * dx->stride + start, axis.count, axis.inner);
        }
    }
    return 0;
}

const struct layer_type layer_softmax = {
    .name = "softmax", .about = "exp(x) divided by its sum: values of a sum of 1", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
