/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device.h"
#include "kernels/optimizer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Three steps on f(p) = p^2 / 2 (g = p) from p = 1. */
static double three_steps(const struct optimizer_options *options)
{
    struct kernel_error error = {0};
    struct device *device = device_open("ref", 1, &error);
    struct optimizer *optimizer = optimizer_new(options, 1, &error);
    cr_assert(device != NULL && optimizer != NULL, "%s", error.message);
    float p = 1.0f;
    for (int i = 0; i < 3; i++) {
        float g = p;
        cr_assert_eq(optimizer_step(optimizer, device, &p, &g, &error), 0);
    }
    cr_expect_eq(optimizer_steps(optimizer), 3);
    optimizer_free(optimizer);
    device_close(device);
    return (double)p;
}

/* The expected values follow from the formulas by hand. */
Test(optimizer, formulas)
{
    struct optimizer_options options;
    cr_assert_eq(optimizer_options_init(&options, "sgd", NULL), 0);
    cr_expect_eq(optimizer_options_set(&options, "learning_rate", 0.1, NULL), 1);
    cr_expect_float_eq(three_steps(&options), 0.729, 1e-6);
    cr_expect_eq(optimizer_options_set(&options, "weight_decay", 0.5, NULL), 1);
    cr_expect_float_eq(three_steps(&options), 0.614125, 1e-6); /* 0.85^3 */
    cr_expect_eq(optimizer_options_set(&options, "weight_decay", 0.0, NULL), 1);
    cr_expect_eq(optimizer_options_set(&options, "momentum", 0.9, NULL), 1);
    /* b: 1, 1.8, 2.34; p: 0.9, 0.72, 0.486 */
    cr_expect_float_eq(three_steps(&options), 0.486, 1e-6);
    cr_expect_eq(optimizer_options_set(&options, "nesterov", 1.0, NULL), 1);
    /* p 1: b 1, p -= 0.1 (1 + 0.9) = 0.81; b 1.71, p -= 0.1 (0.81 + 1.539) = 0.5751; b 2.1141, p -= 0.1 (0.5751 +
     * 1.90269) = 0.327321 */
    cr_expect_float_eq(three_steps(&options), 0.327321, 1e-6);
    cr_assert_eq(optimizer_options_init(&options, "adam", NULL), 0);
    cr_expect_eq(optimizer_options_set(&options, "learning_rate", 0.1, NULL), 1);
    double p = 1, m = 0, v = 0;
    for (int t = 1; t <= 3; t++) {
        m = 0.9 * m + 0.1 * p;
        v = 0.999 * v + 0.001 * p * p;
        p -= 0.1 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
    }
    cr_expect_float_eq(three_steps(&options), p, 1e-5);
}

/* Five steps on f(p) = (p0^2 + 3 p1^2) / 2 from (1, -2). */
static void expect_as_pytorch(const char *name, const char *const *fields, const double *values, double p0, double p1)
{
    static const char *const devices[] = {"ref", "cpu"};
    struct kernel_error error = {0};
    struct optimizer_options options;
    cr_assert_eq(optimizer_options_init(&options, name, &error), 0);
    for (size_t i = 0; fields[i] != NULL; i++) {
        cr_assert_eq(optimizer_options_set(&options, fields[i], values[i], &error), 1, "%s", error.message);
    }
    for (size_t d = 0; d < 2; d++) {
        struct device *device = device_open(devices[d], 1, &error);
        struct optimizer *optimizer = optimizer_new(&options, 2, &error);
        cr_assert(device != NULL && optimizer != NULL, "%s", error.message);
        float p[] = {1.0f, -2.0f};
        for (int i = 0; i < 5; i++) {
            float g[] = {p[0], 3.0f * p[1]};
            cr_assert_eq(optimizer_step(optimizer, device, p, g, &error), 0, "%s", error.message);
        }
        cr_expect_float_eq((double)p[0], p0, 1e-5, "%s on %s: %.9g", name, devices[d], (double)p[0]);
        cr_expect_float_eq((double)p[1], p1, 1e-5, "%s on %s: %.9g", name, devices[d], (double)p[1]);
        optimizer_free(optimizer);
        device_close(device);
    }
}

#define FIELDS(...) (const char *const[]){__VA_ARGS__, NULL}
#define VALUES(...) (const double[]){__VA_ARGS__}

/* The expected values are what PyTorch 2 computes in double with the same options. */
Test(optimizer, steps_are_those_of_pytorch)
{
    expect_as_pytorch("rmsprop", FIELDS(NULL), NULL, 0.696465799281033, -1.685481581109753);
    expect_as_pytorch("rmsprop", FIELDS("learning_rate", "alpha", "momentum", "weight_decay"), VALUES(0.02, 0.9, 0.8, 0.1),
                      0.49575550824049236, -1.4796425352303808);
    expect_as_pytorch("adamw", FIELDS(NULL), NULL, 0.9949505414563626, -1.9949003236845813);
    expect_as_pytorch("adamw", FIELDS("learning_rate", "weight_decay"), VALUES(0.1, 0.2), 0.4337381616739022,
                      -1.3319075575021182);
    expect_as_pytorch("adam", FIELDS("learning_rate", "weight_decay"), VALUES(0.1, 0.2), 0.5079636610395944,
                      -1.5029557808082719);
    expect_as_pytorch("sgd", FIELDS("learning_rate", "clip_norm"), VALUES(0.1, 0.5), 0.9574956391901762,
                      -1.753641930679364);
    expect_as_pytorch("sgd", FIELDS("learning_rate", "clip_value", "momentum", "nesterov"), VALUES(0.1, 0.3, 0.9, 1),
                      0.4951092999999999, -1.4951093);
}

Test(optimizer, gradients_that_are_not_finite_are_not_clipped_into_good_ones)
{
    struct kernel_error error = {0};
    struct optimizer_options options;
    struct device *device = device_open("cpu", 1, &error);
    static const char *const clips[] = {"clip_norm", "clip_value"};
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(optimizer_options_init(&options, "sgd", NULL), 0);
        cr_assert_eq(optimizer_options_set(&options, clips[i], 1.0, NULL), 1);
        struct optimizer *optimizer = optimizer_new(&options, 2, &error);
        float p[] = {1.0f, 2.0f}, g[] = {NAN, INFINITY};
        cr_expect_eq(optimizer_step(optimizer, device, p, g, &error), -1);
        cr_expect_eq(error.code, KERNEL_ERROR_NONFINITE);
        cr_expect(p[0] == 1.0f && p[1] == 2.0f && optimizer_steps(optimizer) == 0);
        optimizer_free(optimizer);
    }
    device_close(device);
}

static void expect_refused(const char *name, const char *field, double value)
{
    struct kernel_error error = {0};
    struct optimizer_options options;
    cr_assert_eq(optimizer_options_init(&options, name, &error), 0);
    cr_expect_eq(optimizer_options_set(&options, field, value, &error), -1, "%s %s %g", name, field, value);
    cr_expect_eq(strncmp(error.message, field, strlen(field)), 0, "%s", error.message);
}

Test(optimizer, values_out_of_range_are_refused_by_name)
{
    const double bad[] = {-1.0, NAN, INFINITY, -INFINITY, 0x1p63};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_refused("adam", "learning_rate", bad[i]);
        expect_refused("adam", "beta1", bad[i]);
        expect_refused("adam", "beta2", bad[i]);
        expect_refused("adam", "epsilon", bad[i]);
        expect_refused("adam", "weight_decay", bad[i]);
        expect_refused("sgd", "momentum", bad[i]);
        expect_refused("rmsprop", "alpha", bad[i]);
        expect_refused("rmsprop", "momentum", bad[i]);
        expect_refused("adamw", "weight_decay", bad[i]);
        expect_refused("adam", "clip_norm", bad[i]);
        expect_refused("sgd", "clip_value", bad[i]);
        expect_refused("sgd", "nesterov", bad[i]);
    }
    expect_refused("adam", "learning_rate", 0.0);
    expect_refused("adam", "beta1", 1.0);
    expect_refused("adam", "momentum", 0.5);
    expect_refused("adam", "alpha", 0.5);
    expect_refused("rmsprop", "nesterov", 1.0);
    expect_refused("rmsprop", "beta1", 0.5);
    expect_refused("sgd", "clip_norm", 0.0);
    expect_refused("adam", "nesterov", 1.0);
    expect_refused("sgd", "beta1", 0.5);
    struct kernel_error error = {0};
    struct optimizer_options options;
    cr_expect_eq(optimizer_options_init(&options, "adagrad", &error), -1);
    cr_expect_not_null(strstr(error.message, "adagrad"));
    cr_assert_eq(optimizer_options_init(&options, "sgd", &error), 0);
    cr_expect_eq(optimizer_options_set(&options, "colour", 1.0, &error), 0);
    options.nesterov = true;
    cr_expect_null(optimizer_new(&options, 4, &error));
    cr_expect_not_null(strstr(error.message, "nesterov"));
    options.nesterov = false;
    options.momentum = 0.9;
    options.clip_norm = options.clip_value = 1.0;
    cr_expect_null(optimizer_new(&options, 4, &error));
    cr_expect_not_null(strstr(error.message, "clip_value"));
    options.clip_norm = 0.0;
    cr_expect_null(optimizer_new(&options, SIZE_MAX / 2, &error));
    cr_expect_eq(error.code, KERNEL_ERROR_MEMORY);
}
