/* SPDX-License-Identifier: Apache-2.0 */
/* dot: per sample, the sum of x z over all elements of two inputs of the same size; normalised it is their cosine,
 * x z / (max(|x|, e) max(|z|, e)) with e = 1e-8, as PyTorch's cosine_similarity.
 * Backward: dx = dy z; of the cosine dx = dy (z / |z| - y x / |x|) / |x|, where e does not hold |x| up. */
#include "kernels/layer_types.h"

#include <math.h>

#define SMALLEST 1e-8

static const struct layer_attribute attributes[] = {
    {.name = "normalise", .kind = LAYER_BOOLEAN, .about = "divide by both lengths: the cosine of the angle"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    int64_t count = shape_size(&inputs[0]);
    if (count != shape_size(&inputs[1])) {
        char first[80], text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "inputs: %s and %s are not of the same size",
                                shape_format(&inputs[0], first, sizeof first),
                                shape_format(&inputs[1], text, sizeof text));
    }
    size->output = (struct shape){.rank = 1, .dims = {1}};
    size->flops = (layer->values[0].number != 0.0 ? 6 : 2) * count;
    return 0;
}

static double product(const float *x, const float *z, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)z[i];
    }
    return sum;
}

static double length(const float *x, int64_t count)
{
    return sqrt(product(x, x, count));
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct tensor *a = layer->inputs[0], *b = layer->inputs[1];
    for (int64_t r = 0; r < pass->rows; r++) {
        const float *x = a->data + r * a->stride, *z = b->data + r * b->stride;
        double y = product(x, z, a->columns);
        if (layer->description->values[0].number != 0.0) {
            y /= fmax(length(x, a->columns), SMALLEST) * fmax(length(z, a->columns), SMALLEST);
        }
        layer->output.data[r * layer->output.stride] = (float)y;
    }
    return 0;
}

/* dx, the gradient of x of one sample; z is the other input. */
static void gradient(bool normalise, const float *x, const float *z, double dy, float *dx, int64_t count)
{
    double of_z = dy, of_x = 0.0;
    if (normalise) {
        double long_x = length(x, count), other = fmax(length(z, count), SMALLEST);
        double own = fmax(long_x, SMALLEST);
        of_z = dy / (own * other);
        of_x = long_x > SMALLEST ? of_z * product(x, z, count) / (own * own) : 0.0;
    }
    for (int64_t i = 0; i < count; i++) {
        dx[i] = (float)(of_z * (double)z[i] - of_x * (double)x[i]);
    }
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    for (int i = 0; i < 2; i++) {
        const struct tensor *x = layer->inputs[i], *z = layer->inputs[1 - i], *dy = &layer->output_gradient;
        struct tensor *dx = layer->input_gradients[i];
        for (int64_t r = 0; dx != NULL && r < pass->rows; r++) {
            gradient(layer->description->values[0].number != 0.0, x->data + r * x->stride, z->data + r * z->stride,
                     (double)dy->data[r * dy->stride], dx->data + r * dx->stride, x->columns);
        }
    }
    return 0;
}

const struct layer_type layer_dot = {
    .name = "dot", .about = "the dot product of two inputs, one value per sample", .attributes = attributes,
    .minimum_inputs = 2, .maximum_inputs = 2, .measure = measure, .code = {.forward = forward, .backward = backward},
};
