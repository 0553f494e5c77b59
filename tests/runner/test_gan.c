/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/gan.h"

#include "kernels/random.h"
#include "kernels/sampling.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, STEPS = 5000, SAMPLES = 500 };

static struct kernel_error why;
static bson_error_t error;
static const struct sampling recipe = {.kind = SAMPLING_GAN};

#define GRAPH(generator, mixed, critic, outputs) \
    "{\"inputs\":[{\"name\":\"noise\",\"shape\":[2]},{\"name\":\"real\"}],\"layers\":[" generator \
    "{\"name\":\"mix\",\"type\":\"mix\",\"inputs\":[" mixed "]}," critic "],\"outputs\":[" outputs "]}"
#define GENERATOR \
    "{\"type\":\"dense\",\"units\":12,\"inputs\":[\"noise\"],\"activation\":\"tanh\"}," \
    "{\"name\":\"made\",\"type\":\"dense\",\"units\":2},"
#define CRITIC \
    "{\"type\":\"dense\",\"units\":16,\"inputs\":[\"mix\"],\"activation\":\"tanh\"}," \
    "{\"name\":\"critic\",\"type\":\"dense\",\"units\":1}"

static const char text[] = GRAPH(GENERATOR, "\"made\",\"real\"", CRITIC, "\"made\",\"critic\"");

struct bench {
    struct architecture *architecture;
    struct device *device;
    struct net *net;
    struct optimizer *optimizer;
    struct gan *gan;
};

static void open_bench(struct bench *bench, uint64_t seed)
{
    struct optimizer_options options;
    struct net_options net = {.batch_size = 2 * BATCH, .trains = true, .seed = seed};
    bench->architecture = architecture_parse(text, &why);
    bench->device = device_open("ref", 1, &why);
    cr_assert(bench->architecture && bench->device, "%s", why.message);
    cr_assert_eq(sampling_inputs(&recipe, bench->architecture, &(struct shape){1, {2}}, net.input_shapes, &why), 0, "%s",
                 why.message);
    net.architecture = bench->architecture;
    net.device = bench->device;
    bench->net = net_new(&net, &why);
    cr_assert_not_null(bench->net, "%s", why.message);
    cr_assert_eq(optimizer_options_init(&options, "adam", &why), 0);
    options.learning_rate = 0.002;
    options.beta1 = 0.5;
    bench->optimizer = optimizer_new(&options, net_trained_floats(bench->net), &why);
    bench->gan = gan_new(bench->net, bench->architecture, BATCH, seed, &error);
    cr_assert(bench->optimizer && bench->gan);
}

static void close_bench(struct bench *bench)
{
    gan_free(bench->gan);
    optimizer_free(bench->optimizer);
    net_free(bench->net);
    device_close(bench->device);
    architecture_free(bench->architecture);
}

/* Around (2, -1), 0.3 wide in one direction and 0.9 in the other. */
static void draw_real(struct random_state *random, float *rows, int count)
{
    for (int i = 0; i < count; i++) {
        rows[2 * i] = (float)(2 + 0.3 * random_normal(random));
        rows[2 * i + 1] = (float)(-1 + 0.9 * random_normal(random));
    }
}

static struct net_metrics train(struct bench *bench, int steps)
{
    float rows[2 * BATCH];
    struct net_metrics metrics = {0};
    struct random_state random;
    random_init(&random, 9, 1);
    for (int i = 0; i < steps; i++) {
        draw_real(&random, rows, BATCH);
        cr_assert_eq(gan_step(bench->gan, bench->optimizer, bench->device, rows, BATCH, &metrics, &why), 0, "%s", why.message);
    }
    return metrics;
}

Test(gan, learns_where_the_data_are_and_how_wide)
{
    struct bench bench;
    float *made = calloc(2 * SAMPLES, sizeof *made), some[2 * 40];
    double mean[2] = {0}, square[2] = {0};
    open_bench(&bench, 6);
    struct net_metrics metrics = train(&bench, STEPS);
    cr_expect(metrics.rows == 2ll * BATCH * STEPS && net_steps(bench.net) == STEPS);
    for (int i = 0; i < SAMPLES; i += 100)
        cr_assert_eq(gan_sample(bench.net, bench.architecture, 5, i, 100, made + 2 * i, &error), 0, "%s", error.message);
    cr_assert_eq(gan_sample(bench.net, bench.architecture, 5, 60, 40, some, &error), 0);
    cr_expect_eq(memcmp(some, made + 120, sizeof some), 0, "a sample is known by its number");
    for (int i = 0; i < 2 * SAMPLES; i++) {
        mean[i % 2] += (double)made[i] / SAMPLES;
        square[i % 2] += (double)made[i] * (double)made[i] / SAMPLES;
    }
    for (int k = 0; k < 2; k++) {
        double wanted = k ? -1 : 2, width = sqrt(square[k] - mean[k] * mean[k]), right = k ? 0.9 : 0.3;
        cr_expect(fabs(mean[k] - wanted) < 0.5, "value %d: mean %g, not %g", k, mean[k], wanted);
        cr_expect(width > right / 4 && width < right * 3, "value %d: deviation %g, not %g", k, width, right);
    }
    free(made);
    close_bench(&bench);
}

Test(gan, a_step_moves_both_parts_and_the_same_seed_the_same_way)
{
    struct bench one, two;
    open_bench(&one, 3);
    open_bench(&two, 3);
    const size_t count = net_trained_floats(one.net), critic = net_layer_offset(one.net, 2);
    cr_assert(critic > 0 && critic < count);
    float *before = malloc(count * sizeof *before);
    memcpy(before, net_parameters(one.net), count * sizeof *before);
    train(&one, 1);
    cr_expect_neq(memcmp(before, net_parameters(one.net), critic * sizeof *before), 0, "the generator");
    cr_expect_neq(memcmp(before + critic, net_parameters(one.net) + critic, (count - critic) * sizeof *before), 0, "the critic");
    cr_expect_eq(optimizer_steps(one.optimizer), 1);
    train(&two, 1);
    cr_expect_eq(memcmp(net_parameters(one.net), net_parameters(two.net), count * sizeof *before), 0);
    free(before);
    close_bench(&one);
    close_bench(&two);
}

Test(gan, other_graphs_are_refused_by_name)
{
    static const struct { const char *text, *says; } cases[] = {
        {"dense:3", "inputs must be"},
        {GRAPH(GENERATOR, "\"real\",\"made\"", CRITIC, "\"made\",\"critic\""), "mix must take"},
        {GRAPH(GENERATOR, "\"made\",\"real\"", CRITIC, "\"critic\",\"made\""), "outputs must be"},
        {GRAPH(GENERATOR, "\"made\",\"real\"", "{\"name\":\"critic\",\"type\":\"dense\",\"units\":1,\"inputs\":[\"made\"]}",
               "\"made\",\"critic\",\"mix\""), "outputs must be"},
        {GRAPH(GENERATOR, "\"made\",\"real\"",
               "{\"name\":\"peek\",\"type\":\"dense\",\"units\":2,\"inputs\":[\"real\"]},"
               "{\"name\":\"both\",\"type\":\"mix\",\"inputs\":[\"mix\",\"peek\"]},"
               "{\"name\":\"critic\",\"type\":\"dense\",\"units\":1}", "\"made\",\"critic\""), "one layer of type mix"},
        {GRAPH("{\"name\":\"made\",\"type\":\"dense\",\"units\":2,\"inputs\":[\"real\"]},"
               "{\"name\":\"last\",\"type\":\"dense\",\"units\":2,\"inputs\":[\"noise\"]},", "\"last\",\"real\"", CRITIC,
               "\"last\",\"critic\",\"made\""), "outputs must be"},
    };
    struct shape shapes[ARCHITECTURE_INPUTS];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct architecture *architecture = architecture_parse(cases[i].text, &why);
        cr_assert_not_null(architecture, "%zu: %s", i, why.message);
        cr_expect_eq(sampling_inputs(&recipe, architecture, &(struct shape){1, {2}}, shapes, &why), -1, "%zu", i);
        cr_expect(strstr(why.message, cases[i].says), "%zu: %s", i, why.message);
        architecture_free(architecture);
    }
}
