/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions on numbers worked by hand, and what their shapes refuse. */
#include "kernels/net.h"

#include <criterion/criterion.h>
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
    /* At the corner only the last weight is on the image: -2 * 1 + 10. */
    expect("conv2d:1:2:2:1", (struct shape){2, {3, 3}}, x, w, bias, (const float[]){8, 4, -4, 5 - 18 + 10}, 4);
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
