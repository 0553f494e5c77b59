/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate of a run's memory against what nets and optimisers really take: never less, and not much more. */
#include "kernels/footprint.h"
#include "kernels/net.h"
#include "test_program.h"

#include <criterion/criterion.h>

static const char *const architectures[] = {"dense:800:relu dropout:0.5 dense:800:relu dense:10", "flatten dense:10",
                                            "dense:3000:tanh dense:2000:sigmoid dense:10", "dense:16:relu dense:10"};

static int64_t bytes_of(const char *text, int64_t batch_size, const char *loss, const char *optimizer_name,
                        struct architecture_size *size)
{
    struct kernel_error error = {0};
    struct optimizer_options chosen;
    struct device *device = device_open("ref", 1, &error);
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert(device && architecture, "%s", error.message);
    struct net_options options = {.architecture = architecture, .input_shapes = {{1, {784}}}, .outputs = 10, .loss = loss,
                                  .batch_size = batch_size, .device = device};
    cr_assert_eq(architecture_check(architecture, options.input_shapes, 10, size, &error), 0, "%s", error.message);
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    int64_t bytes = (int64_t)net_memory(net) + batch_size * 784 * (int64_t)sizeof(float); /* the caller's batch */
    if (optimizer_name) {
        cr_assert_eq(optimizer_options_init(&chosen, optimizer_name, &error), 0);
        struct optimizer *optimizer = optimizer_new(&chosen, net_trained_floats(net), &error);
        cr_assert_not_null(optimizer, "%s", error.message);
        cr_expect_eq(optimizer_state_count(optimizer), optimizer_options_states(&chosen), "%s", optimizer_name);
        bytes += (int64_t)(optimizer_state_count(optimizer) * net_trained_floats(net) * sizeof(float));
        optimizer_free(optimizer);
    }
    net_free(net);
    architecture_free(architecture);
    device_close(device);
    return bytes;
}

static int64_t estimate(const struct architecture_size *size, int64_t batch_size, int states)
{
    struct footprint_options options = {.batch_size = batch_size, .trains = states >= 0, .states = states >= 0 ? states : 0};
    struct footprint footprint, empty;
    struct architecture_size nothing = {.input = {1, {1}}, .output = {1, {1}}};
    footprint_of(size, &options, &footprint);
    footprint_of(&nothing, &(struct footprint_options){.batch_size = 1}, &empty);
    return footprint.memory - empty.memory; /* without the program */
}

Test(footprint, is_from_above_and_not_far)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        for (int64_t batch_size = 1; batch_size <= 1024; batch_size *= 32) {
            struct architecture_size size;
            const char *text = architectures[i];
            int64_t adam = bytes_of(text, batch_size, "cross_entropy", "adam", &size), about = estimate(&size, batch_size, 2);
            cr_expect_geq(about, adam * 9 / 10 - 65536, "%s, %lld rows: %lld, really %lld", text, (long long)batch_size,
                          (long long)about, (long long)adam);
            cr_expect_leq(about, adam * 2 + 1048576, "%s, %lld rows: %lld, really %lld", text, (long long)batch_size,
                          (long long)about, (long long)adam);
            int64_t sgd = bytes_of(text, batch_size, "cross_entropy", "sgd", &size);
            cr_expect_geq(estimate(&size, batch_size, 0), sgd * 9 / 10 - 65536, "%s", text);
        }
}

Test(footprint, counts_what_is_asked_for)
{
    struct architecture_size size = {.parameters = 1000000, .activations = 1000, .flops = 2000000, .input = {1, {10}}, .output = {1, {2}}};
    struct footprint_options options = {.batch_size = 10, .trains = true, .states = 2, .rows = 100, .forward_rows = 50};
    struct footprint plain, best, data, pass;
    footprint_of(&size, &options, &plain);
    cr_expect_float_eq(plain.flops, 2000000.0 * (3 * 100 + 50), 1);
    options.keeps_best = true;
    footprint_of(&size, &options, &best);
    cr_expect_geq(best.memory - plain.memory, 4000000);
    options.data_bytes = 123456789;
    footprint_of(&size, &options, &data);
    cr_expect_eq(data.memory - best.memory, 123456789);
    footprint_of(&size, &(struct footprint_options){.batch_size = 10}, &pass);
    cr_expect_lt(pass.memory, plain.memory - 12000000, "no gradients, no optimiser");
    size.parameters = INT64_C(1) << 61;
    footprint_of(&size, &options, &data);
    cr_expect_eq(data.memory, INT64_MAX, "more than can be counted");
}
