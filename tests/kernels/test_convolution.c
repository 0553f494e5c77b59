/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions on numbers worked by hand, and what their shapes refuse. */
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const devices[] = {"ref", "cpu"};

/* A net of one layer with the weights given, run on one sample: its output. */
static void run(const char *device_name, const char *text, struct shape input, const float *x, const float *weights,
                const float *bias, float *out)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    struct device *device = device_open(device_name, 1, &error);
    cr_assert_not_null(device, "%s", error.message);
    struct net_options options = {.architecture = architecture, .batch_size = 1, .device = device, .seed = 1};
    options.input_shapes[0] = input;
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s: %s", text, error.message);
    net_tensor_set(net, 0, weights);
    net_tensor_set(net, 1, bias);
    cr_assert_eq(net_predict(net, &(struct net_batch){.rows = 1, .inputs = {x}}, out, &error), 0, "%s", error.message);
    net_free(net);
    device_close(device);
    architecture_free(architecture);
}

static void expect(const char *text, struct shape input, const float *x, const float *weights, const float *bias,
                   const float *expected, size_t count)
{
    for (size_t d = 0; d < 2; d++) {
        float out[64];
        run(devices[d], text, input, x, weights, bias, out);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(out[i], expected[i], "%s on %s: value %zu is %g instead of %g", text, devices[d], i,
                         (double)out[i], (double)expected[i]);
        }
    }
}

Test(convolution, of_one_channel)
{
    static const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, w[] = {1, 0, 0, -2}, bias[] = {10};
    /* 1 - 2 * 5 + 10, … */
    expect("conv2d:1:2", (struct shape){2, {3, 3}}, x, w, bias, (const float[]){1, 0, -2, -3}, 4);
    expect("conv2d:1:2:1:0:relu", (struct shape){3, {1, 3, 3}}, x, w, bias, (const float[]){1, 0, 0, 0}, 4);
    expect("{\"layers\":[{\"type\":\"conv2d\",\"filters\":1,\"kernel\":2}]}", (struct shape){2, {3, 3}}, x, w, bias,
           (const float[]){1, 0, -2, -3}, 4);
    expect("{\"layers\":[{\"type\":\"conv2d\",\"filters\":1,\"kernel\":[2,2]}]}", (struct shape){2, {3, 3}}, x, w, bias,
           (const float[]){1, 0, -2, -3}, 4);
    /* At the corner only the last weight is on the image: -2 * 1 + 10. */
    expect("conv2d:1:2:2:1", (struct shape){2, {3, 3}}, x, w, bias, (const float[]){8, 4, -4, 5 - 18 + 10}, 4);
}

/* Nothing of the size of the padding is allocated. */
Test(convolution, with_far_more_padding_than_image)
{
    expect("conv2d:1:1:65536:65536", (struct shape){2, {1, 1}}, (const float[]){5}, (const float[]){2},
           (const float[]){3}, (const float[]){3, 3, 3, 3, 13, 3, 3, 3, 3}, 9);
}

Test(convolution, of_channels_in_groups)
{
    static const float x[] = {1, 2, 3, 4}, bias[] = {0, 100};
    expect("conv2d:2:1", (struct shape){3, {2, 1, 2}}, x, (const float[]){1, 10, 2, 20}, bias,
           (const float[]){31, 42, 162, 184}, 4);
    expect("conv2d:2:1:1:0:none:2", (struct shape){3, {2, 1, 2}}, x, (const float[]){10, 20}, bias,
           (const float[]){10, 20, 160, 180}, 4);
}

Test(convolution, over_a_sequence)
{
    static const float x[] = {1, 2, 3, 4, 5}, w[] = {1, 10, 100}, bias[] = {0};
    expect("conv1d:1:3", (struct shape){1, {5}}, x, w, bias, (const float[]){321, 432, 543}, 3);
    expect("conv1d:1:3:2:1", (struct shape){2, {1, 5}}, x, w, bias, (const float[]){210, 432, 54}, 3);
}

Test(convolution, transposed)
{
    static const float x[] = {1, 2, 3, 4}, w[] = {1, 2, 3, 4}, bias[] = {1};
    /* Each input pixel paints its multiple of the kernel, two pixels apart. */
    expect("conv_transpose:1:2:2", (struct shape){2, {2, 2}}, x, w, bias,
           (const float[]){2, 3, 3, 5, 4, 5, 7, 9, 4, 7, 5, 9, 10, 13, 13, 17}, 16);
    /* Overlapping, with the border taken off: only the middle, 1*4 + 2*3 + 3*2 + 4*1 + 1. */
    expect("conv_transpose:1:2:1:1", (struct shape){2, {2, 2}}, x, w, bias, (const float[]){21}, 1);
    /* output_padding adds a row and a column that nothing paints here. */
    expect("conv_transpose:1:1:2:0:none:1:lecun_uniform:1", (struct shape){2, {1, 2}}, x, w, bias,
           (const float[]){2, 1, 3, 1, 1, 1, 1, 1}, 8);
}

static void refuses(const char *text, struct shape input, const char *part)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    if (architecture != NULL) {
        cr_expect_eq(architecture_check(architecture, &input, 0, NULL, &error), -1, "%s", text);
        architecture_free(architecture);
    }
    cr_expect_eq(error.code, KERNEL_ERROR_INVALID);
    cr_expect_not_null(strstr(error.message, part), "%s: \"%s\" does not say \"%s\"", text, error.message, part);
}

Test(convolution, refuses_what_does_not_fit)
{
    const struct shape image = {3, {3, 4, 6}};
    refuses("conv2d:2:5", image, "layer conv2d_1: kernel: height 5 is larger than the input's 4 with padding 0");
    refuses("conv2d:2:3x9:1:1", image, "kernel: width 9 is larger than the input's 6 with padding 1");
    refuses("conv2d:2:2x2x2", image, "kernel: has 3 numbers, it needs 1 or 2");
    refuses("conv2d:2:3:1:0:none:2", image, "groups: 2 does not divide the 3 channels and the 2 filters");
    refuses("conv2d:4:3:1:0:none:3", image, "groups: 3 does not divide the 3 channels and the 4 filters");
    refuses("conv2d:2:3", (struct shape){1, {9}}, "the input's shape is (9), it needs (channels, height, width)");
    refuses("conv2d:2:3:0", image, "stride");
    refuses("conv2d:16777216:1024x1024:1:1024", (struct shape){3, {16, 1024, 1024}}, "weights");
    refuses("conv1d:2:3x3", (struct shape){2, {3, 9}}, "kernel: has 2 numbers, it needs 1");
    refuses("conv1d:2:10", (struct shape){2, {3, 9}}, "kernel: length 10 is larger than the input's 9");
    refuses("conv1d:2:3", image, "the input's shape is (3, 4, 6), it needs (channels, length)");
    refuses("conv_transpose:2:1:1:2", (struct shape){2, {4, 4}}, "padding: 2 on both sides leaves nothing");
    refuses("conv_transpose:2:3:2:1:none:1:lecun_uniform:2", (struct shape){2, {4, 4}},
            "output_padding: 2 is not below the stride 2");
}

#define MANY 37 /* rows: several blocks of lanes, and a part of one */

/* 8 x 14 x 22; 7 x 11; 9 x 13; 3 x 5; 5 x 9; 5 x 9, as a line for conv1d. */
static const char deep[] = "conv2d:10:3:1:1:relu max_pool:2 conv2d:12:3:1:2:leaky_relu:2 conv2d:8:5x3:3:1:tanh "
                           "conv_transpose:9:3:2:1 conv_transpose:8:3:1:1:sigmoid reshape:8x45 conv1d:3:4:2:1 dense:4";

/* The gradients of a deep net, after MANY rows and then of fewer. */
static void gradients_of(const char *device_name, int threads, int64_t rows, float **gradients, size_t *count)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(deep, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    struct device *device = device_open(device_name, threads, &error);
    cr_assert_not_null(device, "%s", error.message);
    struct net_options options = {.architecture = architecture, .outputs = 4, .loss = "cross_entropy",
                                  .batch_size = MANY, .device = device, .seed = 3};
    options.input_shapes[0] = (struct shape){3, {8, 14, 22}};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    static float x[MANY * 8 * 14 * 22];
    int32_t labels[MANY];
    struct random_state random;
    random_init(&random, 1, 2);
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
        x[i] = (float)random_normal(&random);
    }
    for (int i = 0; i < MANY; i++) {
        labels[i] = i % 4;
    }
    struct net_metrics metrics = {0};
    struct net_batch batch = {.rows = MANY, .inputs = {x}, .labels = {labels}};
    cr_assert_eq(net_gradient(net, &batch, &metrics, &error), 0, "%s", error.message);
    batch.rows = rows;
    cr_assert_eq(net_gradient(net, &batch, &metrics, &error), 0, "%s", error.message);
    *count = net_trained_floats(net);
    *gradients = malloc(*count * sizeof **gradients);
    cr_assert_not_null(*gradients);
    memcpy(*gradients, net_gradients(net), *count * sizeof **gradients);
    net_free(net);
    device_close(device);
    architecture_free(architecture);
}

Test(convolution, many_rows_on_threads)
{
    static const int64_t rows[] = {MANY, 16, 3, 1};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        float *expected, *got, *again;
        size_t count;
        gradients_of("ref", 1, rows[r], &expected, &count);
        for (int threads = 1; threads <= 3; threads++) {
            gradients_of("cpu", threads, rows[r], &got, &count);
            gradients_of("cpu", threads, rows[r], &again, &count);
            cr_expect_eq(memcmp(got, again, count * sizeof *got), 0, "%d threads: other bits", threads);
            double off = 0.0, size = 1e-20;
            for (size_t i = 0; i < count; i++) {
                off += ((double)got[i] - (double)expected[i]) * ((double)got[i] - (double)expected[i]);
                size += (double)expected[i] * (double)expected[i];
            }
            cr_expect(sqrt(off / size) < 1e-5, "%lld rows, %d threads: off by %g", (long long)rows[r], threads,
                      sqrt(off / size));
            free(got);
            free(again);
        }
        free(expected);
    }
}

/* As PyTorch names and shapes them, so that weights can be taken over. */
Test(convolution, tensors_have_the_usual_shapes)
{
    static const struct { const char *text; struct shape input, weight; } rows[] = {
        {"conv2d:6:3x2:1:0:none:2", {3, {4, 5, 5}}, {4, {6, 2, 3, 2}}},
        {"conv1d:6:3", {2, {4, 5}}, {3, {6, 4, 3}}},
        {"conv_transpose:6:3x2:1:0:none:2", {3, {4, 5, 5}}, {4, {4, 3, 3, 2}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kernel_error error = {0};
        struct architecture *architecture = architecture_parse(rows[i].text, &error);
        struct device *device = device_open("ref", 1, &error);
        struct net_options options = {.architecture = architecture, .batch_size = 1, .device = device};
        options.input_shapes[0] = rows[i].input;
        struct net *net = net_new(&options, &error);
        cr_assert_not_null(net, "%s", error.message);
        char name[128];
        struct shape shape;
        cr_assert_eq(net_tensor(net, 0, name, sizeof name, &shape), 0);
        cr_expect_not_null(strstr(name, "_1.weight"));
        cr_expect_eq(shape.rank, rows[i].weight.rank);
        for (int d = 0; d < shape.rank; d++) {
            cr_expect_eq(shape.dims[d], rows[i].weight.dims[d], "%s", rows[i].text);
        }
        net_free(net);
        device_close(device);
        architecture_free(architecture);
    }
}
