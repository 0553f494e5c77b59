/* SPDX-License-Identifier: Apache-2.0 */
/* The gradients of every layer and loss by finite differences on ref, and those of cpu against ref. */
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 5
#define FEATURES 7
#define OUTPUTS 4

struct fixture {
    struct net *net;
    struct device *device;
    struct net_batch batch;
    float x[ROWS * FEATURES], t[ROWS * OUTPUTS], u[ROWS * FEATURES];
    int32_t labels[ROWS];
};

static void setup(struct fixture *fixture, const char *text, const char *loss, const char *device, int64_t rows)
{
    struct kernel_error error = {0};
    struct random_state random;
    random_init(&random, 3, 1);
    for (int i = 0; i < ROWS * FEATURES; i++) {
        fixture->x[i] = (float)random_normal(&random);
        fixture->u[i] = (float)random_normal(&random);
    }
    for (int i = 0; i < ROWS * OUTPUTS; i++) {
        fixture->t[i] = (float)random_normal(&random);
    }
    for (int i = 0; strcmp(loss, "binary_cross_entropy") == 0 && i < ROWS * OUTPUTS; i++) {
        fixture->t[i] = fixture->t[i] > 0.0f ? 1.0f : 0.0f;
    }
    for (int i = 0; i < ROWS; i++) {
        fixture->labels[i] = (int32_t)random_below(&random, OUTPUTS);
    }
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    fixture->device = device_open(device, 1, &error);
    cr_assert_not_null(fixture->device, "%s", error.message);
    struct net_options options = {.architecture = architecture, .outputs = OUTPUTS, .loss = loss, .batch_size = ROWS,
                                  .device = fixture->device, .seed = 5};
    options.input_shapes[0] = options.input_shapes[1] = (struct shape){1, {FEATURES}};
    fixture->net = net_new(&options, &error);
    cr_assert_not_null(fixture->net, "%s: %s", text, error.message);
    architecture_free(architecture);
    fixture->batch = (struct net_batch){.rows = rows, .inputs = {fixture->x, fixture->u},
                                        .labels = {fixture->labels, fixture->labels, fixture->labels},
                                        .targets = {fixture->t, fixture->t, fixture->t}};
}

static void teardown(struct fixture *fixture)
{
    net_free(fixture->net);
    device_close(fixture->device);
}

static double loss_of(struct fixture *fixture)
{
    struct net_metrics metrics = {0};
    struct kernel_error error = {0};
    cr_assert_eq(net_gradient(fixture->net, &fixture->batch, &metrics, &error), 0, "%s", error.message);
    return metrics.loss_sum / (double)metrics.rows;
}

static void check(const char *text, const char *loss, int64_t rows)
{
    struct fixture fixture;
    setup(&fixture, text, loss, "ref", rows);
    loss_of(&fixture);
    size_t count = net_trained_floats(fixture.net);
    float *gradients = malloc(count * sizeof *gradients), *parameters = net_parameters(fixture.net);
    cr_assert_not_null(gradients);
    memcpy(gradients, net_gradients(fixture.net), count * sizeof *gradients);
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        float kept = parameters[i];
        if (kept == 0.0f) { /* padding */
            cr_expect_eq(gradients[i], 0.0f);
            continue;
        }
        volatile float above = kept + 2e-3f, below = kept - 2e-3f;
        parameters[i] = above;
        double high = loss_of(&fixture);
        parameters[i] = below;
        double low = loss_of(&fixture);
        parameters[i] = kept;
        double numeric = (high - low) / ((double)above - (double)below);
        difference += (numeric - (double)gradients[i]) * (numeric - (double)gradients[i]);
        size += numeric * numeric;
    }
    cr_expect(size > 1e-6, "%s: no gradient at all", text);
    /* Differences across the kink of a relu are off by a part of the slope. */
    double limit = strstr(text, "relu") != NULL ? 5e-2 : 2e-3;
    cr_expect(sqrt(difference / size) < limit, "%s, %s: normalised error %g", text, loss, sqrt(difference / size));
    teardown(&fixture);

    setup(&fixture, text, loss, "cpu", rows);
    loss_of(&fixture);
    difference = size = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)net_gradients(fixture.net)[i] - (double)gradients[i];
        difference += d * d;
        size += (double)gradients[i] * (double)gradients[i];
    }
    cr_expect(sqrt(difference / size) < 1e-5, "%s, %s: cpu differs from ref by %g", text, loss,
              sqrt(difference / size));
    teardown(&fixture);
    free(gradients);
}

static const char *const architectures[] = {
    "dense:4",
    "dense:6:tanh dense:4",
    "dense:6:sigmoid dense:5:tanh dense:4",
    "dense:6:relu dense:4",
    "dense:19:relu dense:33:relu dense:4",
    "dense:6 tanh dense:4",
    "dense:6 sigmoid flatten dense:4 tanh",
    "dense:6 relu dense:4",
    "dropout:0.3 dense:9:tanh dropout:0.5 dense:4",
    "tanh dropout:0.25 relu dense:4:sigmoid",
    /* one layer used by two, and two outputs (the losses add up) */
    "{\"layers\":[{\"type\":\"dense\",\"units\":6,\"activation\":\"tanh\"},"
    "{\"name\":\"left\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"dense_1\"],\"activation\":\"sigmoid\"},"
    "{\"name\":\"right\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"dense_1\"]}],\"outputs\":[\"left\",\"right\"]}",
    /* an output that another layer goes on from, and an input of its own */
    "{\"inputs\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"layers\":["
    "{\"name\":\"first\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"a\"],\"activation\":\"tanh\"},"
    "{\"name\":\"other\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"b\"],\"activation\":\"tanh\"},"
    "{\"name\":\"second\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"first\"]}],"
    "\"outputs\":[\"second\",\"first\",\"other\"]}",
};

Test(gradients, every_layer_with_cross_entropy)
{
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        check(architectures[i], "cross_entropy", ROWS);
        check(architectures[i], "cross_entropy", 1);
    }
}

Test(gradients, every_layer_with_mean_squared_error)
{
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        check(architectures[i], "mse", ROWS);
        check(architectures[i], "mse", 3);
    }
}

Test(gradients, every_layer_with_the_other_losses)
{
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        check(architectures[i], "binary_cross_entropy", ROWS);
        check(architectures[i], "huber", ROWS);
        check(architectures[i], "bpr", 4);
    }
    check("dense:6:tanh dense:4", "mae", ROWS); /* differences must not cross its kinks */
}

/* The same gradients from passes one by one, with the loss computed here; and those of the inputs by differences. */
Test(gradients, passes_one_by_one_give_those_of_parameters_and_inputs)
{
    static const char text[] = "{\"layers\":[{\"type\":\"dense\",\"units\":6,\"activation\":\"tanh\"},"
                               "{\"name\":\"left\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"dense_1\"]},"
                               "{\"name\":\"right\",\"type\":\"dense\",\"units\":4,\"inputs\":[\"input\"]}],"
                               "\"outputs\":[\"left\",\"right\"]}";
    struct fixture fixture;
    struct kernel_error error = {0};
    setup(&fixture, text, "mse", "ref", ROWS);
    loss_of(&fixture);
    struct architecture *architecture = architecture_parse(text, &error);
    struct net_options options = {.architecture = architecture, .batch_size = ROWS, .device = fixture.device, .seed = 5,
                                  .trains = true, .input_gradients = true};
    options.input_shapes[0] = (struct shape){1, {FEATURES}};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    architecture_free(architecture);
    struct tensor none[2] = {{0}}, dz[2];
    float values[2][ROWS * OUTPUTS];
    cr_expect_eq(net_backward(net, none, &error), -1, "without a forward pass");
    cr_assert_eq(net_forward(net, &fixture.batch, true, &error), 0, "%s", error.message);
    for (int k = 0; k < 2; k++) {
        const struct tensor *z = net_output(net, k);
        dz[k] = (struct tensor){.data = values[k], .rows = ROWS, .columns = OUTPUTS, .stride = OUTPUTS};
        for (int i = 0; i < ROWS * OUTPUTS; i++) {
            values[k][i] = 2 * (z->data[i / OUTPUTS * z->stride + i % OUTPUTS] - fixture.t[i]) / (ROWS * OUTPUTS);
        }
    }
    cr_assert_eq(net_backward(net, dz, &error), 0, "%s", error.message);
    for (size_t i = 0; i < net_trained_floats(net); i++) {
        cr_assert(fabsf(net_gradients(net)[i] - net_gradients(fixture.net)[i]) < 1e-6f);
    }
    const struct tensor *gradient = net_input_gradient(net, 0);
    cr_expect_null(net_input_gradient(fixture.net, 0));
    cr_assert(gradient->rows == ROWS && gradient->columns == FEATURES);
    for (int i = 0; i < ROWS * FEATURES; i++) {
        float kept = fixture.x[i];
        fixture.x[i] = kept + 1e-2f;
        double high = loss_of(&fixture);
        fixture.x[i] = kept - 1e-2f;
        double numeric = (high - loss_of(&fixture)) / 2e-2;
        fixture.x[i] = kept;
        double own = (double)gradient->data[i / FEATURES * gradient->stride + i % FEATURES];
        cr_assert(fabs(own - numeric) < 1e-3 * (1 + fabs(numeric)), "input %d: %g, not %g", i, own, numeric);
    }
    dz[1].columns = OUTPUTS - 1;
    cr_expect_eq(net_backward(net, dz, &error), -1, "a gradient of another shape");
    net_free(net);
    teardown(&fixture);
}
