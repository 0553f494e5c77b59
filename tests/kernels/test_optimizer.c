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
        expect_refused("sgd", "nesterov", bad[i]);
    }
    expect_refused("adam", "learning_rate", 0.0);
    expect_refused("adam", "beta1", 1.0);
    expect_refused("adam", "momentum", 0.5);
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
    cr_expect_null(optimizer_new(&options, SIZE_MAX / 2, &error));
    cr_expect_eq(error.code, KERNEL_ERROR_MEMORY);
}
