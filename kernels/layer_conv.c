/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions in plain loops: three passes between the large and the small side, and the bias and activation of
 * whichever is the output. */
#include "kernels/bf16.h"
#include "kernels/layer_conv.h"

#include <string.h>

/* As dense has them. */
const char *const conv_initialiser_names[] = {"lecun_uniform", "he_uniform", "he_normal", "glorot_uniform",
                                              "glorot_normal", "orthogonal", "zero", NULL};
static const enum initialiser initialisers[] = {INITIALISER_LECUN_UNIFORM, INITIALISER_HE_UNIFORM,
                                                INITIALISER_HE_NORMAL, INITIALISER_GLOROT_UNIFORM,
                                                INITIALISER_GLOROT_NORMAL, INITIALISER_ORTHOGONAL, INITIALISER_ZERO};

int conv_measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                 struct kernel_error *error)
{
    struct conv_geometry of;
    const int rank = strcmp(layer->type->name, "conv1d") == 0 ? 2 : 3;
    if (inputs[0].rank != rank && inputs[0].rank != rank - 1) {
        char text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "the input's shape is %s, it needs %s",
                                shape_format(&inputs[0], text, sizeof text),
                                rank == 2 ? "(channels, length)" : "(channels, height, width)");
    }
    if (conv_geometry_of(layer, &inputs[0], &of, error) < 0) {
        return -1;
    }
    int64_t group = of.channels / of.groups, area = of.kernel_height * of.kernel_width;
    if ((double)of.filters * (double)group * (double)area > (double)ARCHITECTURE_PARAMETERS) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "kernel: %lld x %lld weights of (%lld, %lld) are more than "
                                "%lld in all", (long long)of.filters, (long long)group, (long long)of.kernel_height,
                                (long long)of.kernel_width, (long long)ARCHITECTURE_PARAMETERS);
    }
    int64_t channels = of.transposed ? of.channels : of.filters;
    int64_t height = of.transposed ? of.height : of.out_height, width = of.transposed ? of.width : of.out_width;
    size->output = of.flat ? (struct shape){.rank = 2, .dims = {channels, width}}
                           : (struct shape){.rank = 3, .dims = {channels, height, width}};
    int64_t pixels;
    if (__builtin_mul_overflow(of.out_height, of.out_width, &pixels) ||
        __builtin_mul_overflow(pixels, 2 * of.filters * group * area, &size->flops)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "too much work to count");
    }
    enum initialiser initialiser = initialisers[layer->values[CONV_INITIALISER].choice];
    int64_t fan_in = group * area;
    size->parameter_count = 2;
    size->parameters[0] = (struct layer_parameter){
        .name = "weight", .rows = of.filters, .columns = fan_in, .file_rank = of.flat ? 3 : 4,
        .file_shape = {of.filters, group, of.flat ? of.kernel_width : of.kernel_height, of.kernel_width},
        .initialiser = initialiser, .fan_in = fan_in, .fan_out = of.filters * area};
    size->parameters[1] = (struct layer_parameter){
        .name = "bias", .rows = 1, .columns = channels, .file_rank = 1, .file_shape = {channels},
        .initialiser = initialiser == INITIALISER_LECUN_UNIFORM ? initialiser : INITIALISER_ZERO,
        .fan_in = fan_in, .fan_out = channels};
    return 0;
}

/* One sample's sides, and the weights. */
struct sample {
    const struct conv_geometry *of;
    float *large, *small;
    const struct tensor *weights;
    enum device_precision precision;
};

/* An operand of a product. */
static double operand(enum device_precision precision, float x)
{
    return (double)(precision == PRECISION_BFLOAT16 ? bf16_round(x) : x);
}

/* The weights of filter k and the channel that is number c of its group: (kernel_height, kernel_width). */
static const float *weights_of(const struct sample *sample, int64_t k, int64_t c)
{
    return sample->weights->data + k * sample->weights->stride +
           c * sample->of->kernel_height * sample->of->kernel_width;
}

static double small_value(const struct sample *sample, int64_t k, int64_t oy, int64_t ox)
{
    const struct conv_geometry *of = sample->of;
    const int64_t group = of->channels / of->groups, first = k / (of->filters / of->groups) * group;
    double sum = 0.0;
    for (int64_t c = 0; c < group; c++) {
        const float *w = weights_of(sample, k, c), *large = sample->large + (first + c) * of->height * of->width;
        for (int64_t ky = 0; ky < of->kernel_height; ky++) {
            int64_t y = oy * of->stride_height + ky - of->padding_height;
            for (int64_t kx = 0; kx < of->kernel_width && y >= 0 && y < of->height; kx++) {
                int64_t x = ox * of->stride_width + kx - of->padding_width;
                if (x >= 0 && x < of->width) {
                    sum += operand(sample->precision, w[ky * of->kernel_width + kx]) *
                           operand(sample->precision, large[y * of->width + x]);
                }
            }
        }
    }
    return sum;
}

static double large_value(const struct sample *sample, int64_t c, int64_t y, int64_t x)
{
    const struct conv_geometry *of = sample->of;
    const int64_t group = of->channels / of->groups, filters = of->filters / of->groups, first = c / group * filters;
    double sum = 0.0;
    for (int64_t k = first; k < first + filters; k++) {
        const float *w = weights_of(sample, k, c % group), *small = sample->small + k * of->out_height * of->out_width;
        for (int64_t ky = 0; ky < of->kernel_height; ky++) {
            int64_t down = y + of->padding_height - ky, oy = down / of->stride_height;
            if (down < 0 || down % of->stride_height != 0 || oy >= of->out_height) {
                continue;
            }
            for (int64_t kx = 0; kx < of->kernel_width; kx++) {
                int64_t across = x + of->padding_width - kx, ox = across / of->stride_width;
                if (across >= 0 && across % of->stride_width == 0 && ox < of->out_width) {
                    sum += operand(sample->precision, w[ky * of->kernel_width + kx]) *
                           operand(sample->precision, small[oy * of->out_width + ox]);
                }
            }
        }
    }
    return sum;
}

static void set_small(const struct sample *sample, const float *bias)
{
    const struct conv_geometry *of = sample->of;
    float *out = sample->small;
    for (int64_t k = 0; k < of->filters; k++) {
        for (int64_t oy = 0; oy < of->out_height; oy++) {
            for (int64_t ox = 0; ox < of->out_width; ox++) {
                *out++ = (float)(small_value(sample, k, oy, ox) + (bias != NULL ? (double)bias[k] : 0.0));
            }
        }
    }
}

static void set_large(const struct sample *sample, const float *bias)
{
    const struct conv_geometry *of = sample->of;
    float *out = sample->large;
    for (int64_t c = 0; c < of->channels; c++) {
        for (int64_t y = 0; y < of->height; y++) {
            for (int64_t x = 0; x < of->width; x++) {
                *out++ = (float)(large_value(sample, c, y, x) + (bias != NULL ? (double)bias[c] : 0.0));
            }
        }
    }
}

int conv_forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    struct conv_geometry of;
    if (conv_geometry_of(layer->description, &layer->input_shapes[0], &of, error) < 0) {
        return -1;
    }
    const struct tensor *x = layer->inputs[0];
    for (int64_t r = 0; r < pass->rows; r++) {
        float *in = x->data + r * x->stride, *out = layer->output.data + r * layer->output.stride;
        const struct sample sample = {.of = &of, .large = of.transposed ? out : in, .small = of.transposed ? in : out,
                                      .weights = &layer->parameters[0], .precision = pass->device->precision};
        (of.transposed ? set_large : set_small)(&sample, layer->parameters[1].data);
    }
    return pass->device->operations->activation_forward(pass->device, of.activation, &layer->output, &layer->output,
                                                        error);
}

/* dw for one filter, channel of its group and place in the kernel: the sum over all samples and pixels. */
static double weight_gradient(const struct conv_geometry *of, enum device_precision precision,
                              const struct tensor *large, const struct tensor *small, int64_t k, int64_t c, int64_t ky, int64_t kx)
{
    double sum = 0.0;
    for (int64_t r = 0; r < large->rows; r++) {
        const float *plane = large->data + r * large->stride + c * of->height * of->width;
        const float *dz = small->data + r * small->stride + k * of->out_height * of->out_width;
        for (int64_t oy = 0; oy < of->out_height; oy++) {
            int64_t y = oy * of->stride_height + ky - of->padding_height;
            for (int64_t ox = 0; ox < of->out_width && y >= 0 && y < of->height; ox++) {
                int64_t x = ox * of->stride_width + kx - of->padding_width;
                if (x >= 0 && x < of->width) {
                    sum += operand(precision, plane[y * of->width + x]) *
                           operand(precision, dz[oy * of->out_width + ox]);
                }
            }
        }
    }
    return sum;
}

static void set_weight_gradients(const struct conv_geometry *of, enum device_precision precision,
                                 const struct tensor *large, const struct tensor *small, struct tensor *gradients)
{
    int64_t group = of->channels / of->groups, filters = of->filters / of->groups;
    for (int64_t k = 0; k < of->filters; k++) {
        float *out = gradients->data + k * gradients->stride;
        for (int64_t c = 0; c < group; c++) {
            for (int64_t ky = 0; ky < of->kernel_height; ky++) {
                for (int64_t kx = 0; kx < of->kernel_width; kx++) {
                    *out++ = (float)weight_gradient(of, precision, large, small, k, k / filters * group + c, ky, kx);
                }
            }
        }
    }
}

static void set_bias_gradients(const struct tensor *dz, int64_t channels, float *gradients)
{
    int64_t area = dz->columns / channels;
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0.0;
        for (int64_t r = 0; r < dz->rows; r++) {
            for (int64_t i = 0; i < area; i++) {
                sum += (double)dz->data[r * dz->stride + c * area + i];
            }
        }
        gradients[c] = (float)sum;
    }
}

int conv_backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    struct conv_geometry of;
    struct tensor *dz = &layer->output_gradient, *dx = layer->input_gradients[0], *x = layer->inputs[0];
    if (conv_geometry_of(layer->description, &layer->input_shapes[0], &of, error) < 0 ||
        pass->device->operations->activation_backward(pass->device, of.activation, &layer->output, dz, dz, error) <
        0) {
        return -1;
    }
    set_bias_gradients(dz, layer->parameters[1].columns, layer->gradients[1].data);
    set_weight_gradients(&of, pass->device->precision, of.transposed ? dz : x, of.transposed ? x : dz,
                         &layer->gradients[0]);
    for (int64_t r = 0; r < pass->rows && dx != NULL; r++) {
        float *in = dx->data + r * dx->stride, *out = dz->data + r * dz->stride;
        const struct sample sample = {.of = &of, .large = of.transposed ? out : in, .small = of.transposed ? in : out,
                                      .weights = &layer->parameters[0], .precision = pass->device->precision};
        (of.transposed ? set_small : set_large)(&sample, NULL);
    }
    return 0;
}
