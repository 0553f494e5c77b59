/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs with several inputs and outputs, and layers that keep more than weights. */
#include "kernels/architecture_weights.h"
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct device *open_device(const char *name)
{
    struct kernel_error error = {0};
    struct device *device = device_open(name, 1, &error);
    cr_assert_not_null(device, "%s", error.message);
    return device;
}

static struct net *make_net(const char *text, const struct device *device, const char *loss, const struct shape *shapes,
                            int count)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    struct net_options options = {.architecture = architecture, .loss = loss, .batch_size = 16, .device = device,
                                  .seed = 3};
    memcpy(options.input_shapes, shapes, (size_t)count * sizeof *shapes);
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s: %s", text, error.message);
    architecture_free(architecture);
    return net;
}

static struct optimizer *make_optimizer(const struct net *net, const char *name, double rate)
{
    struct kernel_error error = {0};
    struct optimizer_options options;
    cr_assert_eq(optimizer_options_init(&options, name, &error), 0);
    cr_assert_eq(optimizer_options_set(&options, "learning_rate", rate, &error), 1);
    struct optimizer *optimizer = optimizer_new(&options, net_trained_floats(net), &error);
    cr_assert_not_null(optimizer, "%s", error.message);
    return optimizer;
}

/* Values of a shop: who (an id), what (features); how much they spend and what they like. */
static const char shop[] =
    "{\"inputs\":[{\"name\":\"who\"},{\"name\":\"what\",\"shape\":[5]}],\"layers\":["
    "{\"name\":\"person\",\"type\":\"embedding\",\"inputs\":[\"who\"],\"rows\":4,\"dimension\":3},"
    "{\"name\":\"flat\",\"type\":\"flatten\",\"inputs\":[\"person\"]},"
    "{\"name\":\"both\",\"type\":\"concat\",\"inputs\":[\"flat\",\"what\"]},"
    "{\"name\":\"trunk\",\"type\":\"dense\",\"inputs\":[\"both\"],\"units\":24,\"activation\":\"gelu\"},"
    "{\"name\":\"norm\",\"type\":\"layer_norm\",\"inputs\":[\"trunk\"]},"
    "{\"name\":\"spend\",\"type\":\"dense\",\"inputs\":[\"norm\"],\"units\":1},"
    "{\"name\":\"like\",\"type\":\"dense\",\"inputs\":[\"norm\"],\"units\":2,\"activation\":\"tanh\"}],"
    "\"outputs\":[\"spend\",\"like\"]}";

#define SAMPLES 64

struct shop_data {
    float who[SAMPLES], what[SAMPLES * 5], spend[SAMPLES], like[SAMPLES * 2];
};

static void make_shop(struct shop_data *data)
{
    struct random_state random;
    random_init(&random, 21, 0);
    for (int i = 0; i < SAMPLES; i++) {
        data->who[i] = (float)random_below(&random, 4);
        float sum = 0.0f;
        for (int j = 0; j < 5; j++) {
            data->what[i * 5 + j] = (float)random_normal(&random);
            sum += (float)(j - 2) * data->what[i * 5 + j];
        }
        data->spend[i] = 0.3f * sum + data->who[i] - 1.5f;
        data->like[2 * i] = data->who[i] < 2.0f ? 0.5f : -0.5f;
        data->like[2 * i + 1] = 0.5f * tanhf(data->what[i * 5]);
    }
}

Test(graphs, two_inputs_and_two_outputs_are_trained_together)
{
    static const char *const devices[] = {"ref", "cpu"};
    const struct shape shapes[] = {{1, {1}}, {1, {5}}};
    struct kernel_error error = {0};
    struct shop_data data;
    make_shop(&data);
    for (size_t d = 0; d < 2; d++) {
        struct device *device = open_device(devices[d]);
        struct net *net = make_net(shop, device, "mse", shapes, 2);
        struct optimizer *optimizer = make_optimizer(net, "adam", 0.01);
        double first = 0, last = 0;
        for (int epoch = 0; epoch < 200; epoch++) {
            struct net_metrics metrics = {0};
            for (int start = 0; start < SAMPLES; start += 16) {
                struct net_batch batch = {.rows = 16, .inputs = {data.who + start, data.what + 5 * start},
                                          .targets = {data.spend + start, data.like + 2 * start}};
                cr_assert_eq(net_train_step(net, optimizer, &batch, &metrics, &error), 0, "%s", error.message);
            }
            last = metrics.loss_sum / (double)metrics.rows;
            first = epoch == 0 ? last : first;
        }
        cr_expect(first > 0.3 && last < 0.02 * first, "%s: from %g to %g", devices[d], first, last);
        /* Both outputs learned, not only the first. */
        struct net_batch batch = {.rows = 16, .inputs = {data.who, data.what}};
        cr_assert_eq(net_forward(net, &batch, false, &error), 0, "%s", error.message);
        const struct tensor *spend = net_output(net, 0), *like = net_output(net, 1);
        cr_expect(spend->columns == 1 && like->columns == 2);
        for (int i = 0; i < 16; i++) {
            cr_expect_float_eq(spend->data[i * spend->stride], data.spend[i], 0.5f);
            cr_expect_float_eq(like->data[i * like->stride], data.like[2 * i], 0.35f);
        }
        net_free(net);
        optimizer_free(optimizer);
        device_close(device);
    }
}

Test(graphs, what_is_missing_of_a_batch_is_named)
{
    const struct shape shapes[] = {{1, {1}}, {1, {5}}};
    struct kernel_error error = {0};
    struct shop_data data;
    make_shop(&data);
    struct device *device = open_device("cpu");
    struct net *net = make_net(shop, device, "mse", shapes, 2);
    struct optimizer *optimizer = make_optimizer(net, "sgd", 0.01);
    struct net_metrics metrics = {0};
    struct net_batch batch = {.rows = 16, .inputs = {data.who}, .targets = {data.spend, data.like}};
    cr_expect_eq(net_train_step(net, optimizer, &batch, &metrics, &error), -1);
    cr_expect_str_eq(error.message, "batch: input what is missing");
    batch.inputs[1] = data.what;
    batch.targets[1] = NULL;
    cr_expect_eq(net_train_step(net, optimizer, &batch, &metrics, &error), -1);
    cr_expect_str_eq(error.message, "batch: targets of output 2 are missing");
    static const float wrong[] = {4.0f, -1.0f, 1.5f, NAN, INFINITY, -INFINITY, 1e20f};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        data.who[7] = wrong[i];
        batch.targets[1] = data.like;
        cr_expect_eq(net_train_step(net, optimizer, &batch, &metrics, &error), -1);
        cr_expect_eq(error.code, KERNEL_ERROR_INVALID);
        cr_expect_not_null(strstr(error.message, "layer person: row 7 of the batch: "), "%s", error.message);
    }
    cr_expect_eq(metrics.rows, 0);
    cr_expect_eq(net_steps(net), 0);
    net_free(net);
    optimizer_free(optimizer);
    device_close(device);
}

Test(graphs, an_embedding_changes_only_the_rows_that_were_seen)
{
    const struct shape shape = {1, {2}};
    struct kernel_error error = {0};
    struct device *device = open_device("cpu");
    struct net *net = make_net("embedding:5:3 dense:1", device, "mse", &shape, 1);
    struct optimizer *optimizer = make_optimizer(net, "sgd", 0.1);
    struct net_metrics metrics = {0};
    float ids[] = {1, 3, 3, 1}, targets[] = {1, 2}, before[15], after[15];
    net_tensor_get(net, 0, before);
    struct net_batch batch = {.rows = 2, .inputs = {ids}, .targets = {targets}};
    cr_assert_eq(net_train_step(net, optimizer, &batch, &metrics, &error), 0, "%s", error.message);
    net_tensor_get(net, 0, after);
    for (int row = 0; row < 5; row++) {
        bool same = memcmp(before + 3 * row, after + 3 * row, 3 * sizeof *before) == 0;
        cr_expect_eq(same, row != 1 && row != 3, "row %d", row);
    }
    net_free(net);
    optimizer_free(optimizer);
    device_close(device);
}

static void normal(struct random_state *random, float *x, int count, float mean, float deviation)
{
    for (int i = 0; i < count; i++) {
        x[i] = mean + deviation * (float)random_normal(random);
    }
}

Test(graphs, running_statistics_go_to_those_of_the_data_and_stay_where_a_step_is_refused)
{
    const struct shape shape = {1, {2}};
    struct kernel_error error = {0};
    struct random_state random;
    random_init(&random, 9, 9);
    struct device *device = open_device("cpu");
    struct net *net = make_net("batch_norm dense:1", device, "mse", &shape, 1);
    struct optimizer *optimizer = make_optimizer(net, "sgd", 1e-3);
    struct net_metrics metrics = {0};
    float x[32], targets[16] = {0}, mean[2], variance[2];
    struct net_batch batch = {.rows = 16, .inputs = {x}, .targets = {targets}};
    for (int step = 0; step < 300; step++) {
        normal(&random, x, 32, 3.0f, 2.0f);
        cr_assert_eq(net_train_step(net, optimizer, &batch, &metrics, &error), 0, "%s", error.message);
    }
    net_tensor_get(net, 2, mean);
    net_tensor_get(net, 3, variance);
    cr_expect(fabsf(mean[0] - 3.0f) < 0.5f && fabsf(variance[1] - 4.0f) < 1.5f, "%g %g", (double)mean[0],
              (double)variance[1]);
    /* Neither evaluation nor a step that is refused moves them. */
    size_t bytes = net_parameter_floats(net) * sizeof(float);
    float *kept = malloc(bytes);
    cr_assert_not_null(kept);
    memcpy(kept, net_parameters(net), bytes);
    cr_assert_eq(net_evaluate(net, &batch, &metrics, &error), 0);
    x[5] = NAN;
    cr_expect_eq(net_train_step(net, optimizer, &batch, &metrics, &error), -1);
    cr_expect_eq(error.code, KERNEL_ERROR_NONFINITE);
    cr_expect_eq(memcmp(kept, net_parameters(net), bytes), 0);
    free(kept);
    net_free(net);
    optimizer_free(optimizer);
    device_close(device);
}

static const struct { const char *text; struct shape inputs[2]; const char *part; } misfits[] = {
    {"reshape:3x4", {{1, {10}}}, "layer reshape_1: shape: (3, 4) has 12 values, the input (10) has 10"},
    {"softmax:1", {{1, {10}}}, "layer softmax_1: axis: 1 is no dimension of the input (10)"},
    {"softmax:-2", {{1, {10}}}, "layer softmax_1: axis: -2 is no dimension"},
    {"layer_norm:2", {{1, {10}}}, "layer layer_norm_1: dimensions: the input (10) has no 2"},
    {"embedding:5:2", {{6, {1, 1, 1, 1, 1, 1}}}, "layer embedding_1: the input has 6 dimensions"},
    {"max_pool:2", {{1, {10}}}, "layer max_pool_1: the input (10) is not (channels, height, width)"},
    {"avg_pool:2:1:2", {{3, {1, 8, 8}}}, "layer avg_pool_1: padding: 2 is more than half of the kernel 2"},
    {"max_pool:9", {{3, {1, 8, 10}}}, "layer max_pool_1: kernel: 9 does not fit into the input (1, 8, 10)"},
    {"global_pool", {{1, {10}}}, "layer global_pool_1: the input (10) is neither"},
    {"upsample", {{2, {4, 4}}}, "layer upsample_1: the input (4, 4) is not (channels, height, width)"},
    {"upsample:64", {{3, {16, 1024, 1024}}}, "layer upsample_1: its output has no size from 1 to"},
    {"embedding:16777216:16777216", {{1, {1}}}, "layer embedding_1: weight (16777216 x 16777216)"},
#define OF_TWO(type) "{\"inputs\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"layers\":[{\"name\":\"join\",\"type\":\"" type \
                     "\",\"inputs\":[\"a\",\"b\"]}]}"
    {OF_TWO("add"), {{1, {3}}, {1, {4}}}, "layer join: inputs: (3) and (4) are not the same shape"},
    {OF_TWO("multiply"), {{2, {2, 3}}, {1, {6}}}, "layer join: inputs: (2, 3) and (6) are not the same shape"},
    {OF_TWO("concat"), {{2, {2, 3}}, {2, {2, 4}}}, "layer join: inputs: (2, 3) and (2, 4) differ"},
    {OF_TWO("concat"), {{2, {2, 3}}, {1, {3}}}, "layer join: inputs: (2, 3) and (3) differ"},
    {OF_TWO("dot"), {{2, {2, 3}}, {1, {7}}}, "layer join: inputs: (2, 3) and (7) are not of the same size"},
};

Test(graphs, what_does_not_fit_names_layer_and_field)
{
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        struct kernel_error error = {0};
        struct architecture *architecture = architecture_parse(misfits[i].text, &error);
        cr_assert_not_null(architecture, "%s", error.message);
        cr_expect_eq(architecture_check(architecture, misfits[i].inputs, 0, NULL, &error), -1, "%s", misfits[i].text);
        cr_expect_not_null(strstr(error.message, misfits[i].part), "%s", error.message);
        architecture_free(architecture);
    }
}

/* One tensor in the header of a file of weights. */
static int check_weights(const char *text, const struct shape *input, const char *header, struct kernel_error *error)
{
    uint8_t bytes[512] = {0};
    uint64_t length = strlen(header);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    struct architecture *architecture = architecture_parse(text, error);
    struct safetensors *weights = safetensors_parse_header(bytes, 8 + length, 0, error);
    cr_assert(architecture != NULL && weights != NULL, "%s", error->message);
    int result = architecture_check_weights(architecture, input, weights, error);
    safetensors_free(weights);
    architecture_free(architecture);
    return result;
}

Test(graphs, weights_are_checked_as_far_as_shapes_are_known)
{
    static const char dense[] = "{\"dense_1.weight\":{\"dtype\":\"F32\",\"shape\":[2,6],\"data_offsets\":[0,48]},"
                                "\"dense_1.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[48,56]}}";
    static const char norm[] = "{\"batch_norm_1.weight\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}";
    struct kernel_error error = {0};
    cr_expect_eq(check_weights("dropout:0.1 dense:2", NULL, dense, &error), 0, "%s", error.message);
    cr_expect_eq(check_weights("dense:3", NULL, dense, &error), -1);
    cr_expect_not_null(strstr(error.message, "dense_1.weight"), "%s", error.message);
    cr_expect_eq(check_weights("reshape:1x2x4 max_pool:2 dense:2", NULL, dense, &error), -1);
    cr_expect_not_null(strstr(error.message, "has shape (2, 6), the net's is (2, 2)"), "%s", error.message);
    /* An image of any size goes through these: nothing can be said without it. */
    cr_expect_eq(check_weights("max_pool:2 dense:2", NULL, dense, &error), 0, "%s", error.message);
    cr_expect_eq(check_weights("batch_norm dense:2", NULL, norm, &error), 0, "%s", error.message);
    cr_expect_eq(check_weights("max_pool:2 dense:2", &(struct shape){3, {1, 4, 4}}, dense, &error), -1);
    cr_expect_eq(check_weights("batch_norm", &(struct shape){1, {3}}, norm, &error), -1);
    cr_expect_not_null(strstr(error.message, "no tensor batch_norm_1.bias"), "%s", error.message);
}
