/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEATURES 20
#define CLASSES 3
#define ROWS 300

static float data[ROWS * FEATURES];
static int32_t labels[ROWS];

/* Three clouds of points, one for each class. */
static void make_data(void)
{
    struct random_state random;
    random_init(&random, 77, 0);
    float centres[CLASSES * FEATURES];
    for (int i = 0; i < CLASSES * FEATURES; i++) {
        centres[i] = 2.0f * (float)random_normal(&random);
    }
    for (int r = 0; r < ROWS; r++) {
        labels[r] = (int32_t)random_below(&random, CLASSES);
        for (int c = 0; c < FEATURES; c++) {
            data[r * FEATURES + c] = centres[labels[r] * FEATURES + c] + (float)random_normal(&random);
        }
    }
}

static struct device *open_device(const char *name)
{
    struct kernel_error error = {0};
    struct device *device = device_open(name, 1, &error);
    cr_assert_not_null(device, "%s", error.message);
    return device;
}

static struct net *make_net(const char *text, const struct device *device, const char *loss, uint64_t seed)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    struct net_options options = {.architecture = architecture, .outputs = CLASSES, .loss = loss, .batch_size = 32,
                                  .device = device, .seed = seed};
    options.input_shapes[0] = (struct shape){1, {FEATURES}};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    architecture_free(architecture);
    return net;
}

static struct optimizer *make_optimizer(const char *name, double rate, const struct net *net)
{
    struct kernel_error error = {0};
    struct optimizer_options options;
    cr_assert_eq(optimizer_options_init(&options, name, &error), 0);
    cr_assert_eq(optimizer_options_set(&options, "learning_rate", rate, &error), 1);
    struct optimizer *optimizer = optimizer_new(&options, net_trained_floats(net), &error);
    cr_assert_not_null(optimizer, "%s", error.message);
    return optimizer;
}

/* Batches of 32 in order, the last one with 12 rows. */
static void train(struct net *net, struct optimizer *optimizer, int first_batch, int batches,
                  struct net_metrics *metrics)
{
    struct kernel_error error = {0};
    for (int b = first_batch; b < first_batch + batches; b++) {
        int start = b * 32 % 320;
        struct net_batch batch = {.rows = ROWS - start < 32 ? ROWS - start : 32, .inputs = {data + start * FEATURES},
                                  .labels = {labels + start}};
        cr_assert_eq(net_train_step(net, optimizer, &batch, metrics, &error), 0, "%s", error.message);
    }
}

static double accuracy(struct net *net)
{
    struct net_metrics metrics = {0};
    struct kernel_error error = {0};
    for (int start = 0; start < ROWS; start += 32) {
        struct net_batch batch = {.rows = ROWS - start < 32 ? ROWS - start : 32, .inputs = {data + start * FEATURES},
                                  .labels = {labels + start}};
        cr_assert_eq(net_evaluate(net, &batch, &metrics, &error), 0, "%s", error.message);
    }
    cr_assert_eq(metrics.rows, ROWS);
    return (double)metrics.correct / (double)metrics.rows;
}

Test(net, learns_on_every_device_and_with_every_optimiser)
{
    static const char *const devices[] = {"ref", "cpu"};
    static const struct { const char *name; double rate; } optimisers[] = {{"sgd", 0.05}, {"adam", 0.003}};
    make_data();
    for (size_t d = 0; d < 2; d++) {
        for (size_t o = 0; o < 2; o++) {
            struct device *device = open_device(devices[d]);
            struct net *net = make_net("dropout:0.1 dense:16:relu dense:3", device, "cross_entropy", 1);
            struct optimizer *optimizer = make_optimizer(optimisers[o].name, optimisers[o].rate, net);
            struct net_metrics metrics = {0};
            double before = accuracy(net);
            train(net, optimizer, 0, 300, &metrics);
            cr_expect_eq(metrics.rows, 30 * ROWS);
            cr_expect(accuracy(net) > 0.97 && before < 0.9, "%s %s: %g, before %g", devices[d], optimisers[o].name,
                      accuracy(net), before);
            net_free(net);
            optimizer_free(optimizer);
            device_close(device);
        }
    }
}

Test(net, a_function_is_fitted_by_mean_squared_error)
{
    struct kernel_error error = {0};
    struct device *device = open_device("cpu");
    make_data();
    struct net *net = make_net("dense:32:tanh dense:3", device, "mse", 4);
    struct optimizer *optimizer = make_optimizer("adam", 0.003, net);
    float targets[ROWS * 3];
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < 3; c++) {
            targets[3 * r + c] = 0.2f * data[r * FEATURES + c] - (float)c;
        }
    }
    double first = 0, last = 0;
    for (int step = 0; step < 1500; step++) {
        int start = step % 9 * 32;
        struct net_batch batch = {.rows = 32, .inputs = {data + start * FEATURES}, .targets = {targets + 3 * start}};
        struct net_metrics metrics = {0};
        cr_assert_eq(net_train_step(net, optimizer, &batch, &metrics, &error), 0, "%s", error.message);
        last = metrics.loss_sum / 32;
        first = step == 0 ? last : first;
        cr_expect_eq(metrics.correct, 0);
    }
    cr_expect(first > 0.5 && last < 0.02, "%g %g", first, last);
    float out[3 * 2];
    struct net_batch two = {.rows = 2, .inputs = {data}};
    cr_assert_eq(net_predict(net, &two, out, &error), 0);
    cr_expect(fabsf(out[0] - targets[0]) < 0.5f && fabsf(out[5] - targets[5]) < 0.5f);
    net_free(net);
    optimizer_free(optimizer);
    device_close(device);
}

Test(net, the_same_seed_gives_the_same_bits_and_another_does_not)
{
    struct device *device = open_device("cpu");
    make_data();
    struct net_metrics metrics = {0};
    struct net *nets[3];
    for (int i = 0; i < 3; i++) {
        nets[i] = make_net("dropout:0.2 dense:30:relu dropout:0.5 dense:3", device, "cross_entropy", i < 2 ? 9 : 10);
        struct optimizer *optimizer = make_optimizer("adam", 0.003, nets[i]);
        train(nets[i], optimizer, 0, 25, &metrics);
        optimizer_free(optimizer);
    }
    size_t bytes = net_parameter_floats(nets[0]) * sizeof(float);
    cr_expect_eq(memcmp(net_parameters(nets[0]), net_parameters(nets[1]), bytes), 0);
    cr_expect_neq(memcmp(net_parameters(nets[0]), net_parameters(nets[2]), bytes), 0);
    for (int i = 0; i < 3; i++) {
        net_free(nets[i]);
    }
    device_close(device);
}

Test(net, the_same_number_of_threads_gives_the_same_bits)
{
    struct kernel_error error = {0};
    make_data();
    struct net_metrics metrics = {0};
    float *first = NULL;
    for (int run = 0; run < 3; run++) {
        struct device *device = device_open("cpu", 2, &error);
        cr_assert_not_null(device, "%s", error.message);
        struct net *net = make_net("dense:300:tanh dropout:0.5 dense:300:relu dense:3", device, "cross_entropy", 9);
        struct optimizer *optimizer = make_optimizer("adam", 0.003, net);
        train(net, optimizer, 0, 3, &metrics);
        size_t bytes = net_parameter_floats(net) * sizeof(float);
        if (run == 0) {
            first = malloc(bytes);
            cr_assert_not_null(first);
            memcpy(first, net_parameters(net), bytes);
        }
        cr_expect_eq(memcmp(net_parameters(net), first, bytes), 0);
        optimizer_free(optimizer);
        net_free(net);
        device_close(device);
    }
    free(first);
}

struct file {
    uint8_t bytes[1 << 17];
    size_t length, read, limit;
};

static int write_file(void *context, const void *bytes, size_t length)
{
    struct file *file = context;
    if (file->length + length > sizeof file->bytes || (file->limit != 0 && file->length + length > file->limit)) {
        return 1;
    }
    memcpy(file->bytes + file->length, bytes, length);
    file->length += length;
    return 0;
}

/* In small pieces, as a stream may. */
static int64_t read_file(void *context, void *buffer, size_t size)
{
    struct file *file = context;
    size_t count = file->length - file->read;
    count = count < size ? count : size;
    count = count < 1000 ? count : 1000;
    memcpy(buffer, file->bytes + file->read, count);
    file->read += count;
    return (int64_t)count;
}

static struct file files[3];

Test(net, a_run_resumed_from_a_checkpoint_ends_with_the_same_bits)
{
    static const char *const optimisers[] = {"adam", "sgd"};
    static const char text[] = "dropout:0.2 dense:30:relu dropout:0.5 dense:3";
    struct kernel_error error = {0};
    make_data();
    for (size_t o = 0; o < 2; o++) {
        struct device *device = open_device("cpu");
        struct net *through = make_net(text, device, "cross_entropy", 9);
        struct optimizer *optimizer = make_optimizer(optimisers[o], 0.003, through);
        struct net_metrics metrics = {0};
        struct file *file = &files[o];
        train(through, optimizer, 0, 13, &metrics);
        struct safetensors_pair pairs[] = {{"epoch", "1"}, {"position", "96"}};
        cr_assert_eq(net_checkpoint_write(through, optimizer, NULL, pairs, 2, write_file, file, &error), 0, "%s",
                     error.message);
        train(through, optimizer, 13, 20, &metrics);

        struct net *resumed = make_net(text, device, "cross_entropy", 1234);
        struct optimizer *other = make_optimizer(optimisers[o], 0.003, resumed);
        struct safetensors *header = NULL;
        cr_assert_eq(net_checkpoint_read(resumed, other, NULL, read_file, file, &header, &error), 0, "%s",
                     error.message);
        cr_expect_str_eq(safetensors_metadata(header, "position"), "96");
        cr_expect_eq(net_steps(resumed), 13);
        safetensors_free(header);
        train(resumed, other, 13, 20, &metrics);
        cr_expect_eq(memcmp(net_parameters(through), net_parameters(resumed),
                            net_parameter_floats(through) * sizeof(float)), 0);
        /* A checkpoint's weights load as weights, but not into another optimiser. */
        cr_expect_eq(net_weights_read_memory(resumed, file->bytes, file->length, &error), 0, "%s", error.message);
        struct optimizer *wrong = make_optimizer(optimisers[1 - o], 0.003, resumed);
        file->read = 0;
        cr_expect_eq(net_checkpoint_read(resumed, wrong, NULL, read_file, file, NULL, &error), -1);
        optimizer_free(wrong);
        optimizer_free(optimizer);
        optimizer_free(other);
        net_free(through);
        net_free(resumed);
        device_close(device);
    }
}

Test(net, weights_are_named_and_laid_out_as_pytorch_does)
{
    struct kernel_error error = {0};
    struct device *device = open_device("cpu");
    make_data();
    struct net *net = make_net("dense:5:relu dense:3", device, "cross_entropy", 2);
    struct file *file = &files[2];
    struct safetensors_pair pair = {"task", "124"};
    cr_assert_eq(net_weights_write(net, &pair, 1, write_file, file, &error), 0, "%s", error.message);
    struct safetensors *header = safetensors_parse(file->bytes, file->length, &error);
    cr_assert_not_null(header, "%s", error.message);
    cr_expect_eq(header->count, 4);
    cr_expect_str_eq(safetensors_metadata(header, "format"), "pt");
    cr_expect_str_eq(safetensors_metadata(header, "task"), "124");
    const struct safetensors_tensor *w1 = safetensors_find(header, "dense_1.weight");
    const struct safetensors_tensor *b1 = safetensors_find(header, "dense_1.bias");
    const struct safetensors_tensor *w2 = safetensors_find(header, "dense_2.weight");
    const struct safetensors_tensor *b2 = safetensors_find(header, "dense_2.bias");
    cr_assert(w1 != NULL && b1 != NULL && w2 != NULL && b2 != NULL);
    cr_assert(w1->rank == 2 && w1->shape[0] == 5 && w1->shape[1] == FEATURES);
    cr_assert(b2->rank == 1 && b2->shape[0] == 3);
    /* The forward pass by hand, from the file alone. */
    const float *base = (const float *)(const void *)(file->bytes + header->data_begin);
    double hidden[5], out[3], sum = 0;
    for (int o = 0; o < 5; o++) {
        hidden[o] = (double)base[b1->begin / 4 + (size_t)o];
        for (int i = 0; i < FEATURES; i++) {
            hidden[o] += (double)base[w1->begin / 4 + (size_t)(o * FEATURES + i)] * (double)data[i];
        }
        hidden[o] = hidden[o] > 0 ? hidden[o] : 0;
    }
    for (int o = 0; o < 3; o++) {
        out[o] = (double)base[b2->begin / 4 + (size_t)o];
        for (int i = 0; i < 5; i++) {
            out[o] += (double)base[w2->begin / 4 + (size_t)(o * 5 + i)] * hidden[i];
        }
        sum += exp(out[o]);
    }
    float p[3];
    struct net_batch one = {.rows = 1, .inputs = {data}};
    cr_assert_eq(net_predict(net, &one, p, &error), 0);
    for (int o = 0; o < 3; o++) {
        cr_expect_float_eq((double)p[o], exp(out[o]) / sum, 1e-5);
    }
    struct net *copy = make_net("dense:5:relu dense:3", device, NULL, 3);
    cr_assert_eq(net_weights_read(copy, read_file, file, &error), 0, "%s", error.message);
    cr_expect_eq(memcmp(net_parameters(copy), net_parameters(net), net_parameter_floats(net) * sizeof(float)), 0);
    float values[5 * FEATURES];
    char name[64];
    struct shape shape;
    cr_expect_eq(net_tensor_count(net), 4);
    cr_assert_eq(net_tensor(net, 0, name, sizeof name, &shape), 0);
    cr_expect(strcmp(name, "dense_1.weight") == 0 && shape.rank == 2 && shape.dims[0] == 5);
    net_tensor_get(net, 0, values);
    cr_expect_arr_eq(values, base + w1->begin / 4, sizeof values);
    values[3] = 42.0f;
    net_tensor_set(net, 0, values);
    cr_expect_eq(net_parameters(net)[3 * 16], 42.0f); /* (in, out) with padded rows */
    safetensors_free(header);

    /* What does not fit is refused by name. */
    struct net *wide = make_net("dense:6:relu dense:3", device, "cross_entropy", 2);
    cr_expect_eq(net_weights_read_memory(wide, file->bytes, file->length, &error), -1);
    cr_expect_not_null(strstr(error.message, "dense_1.weight has shape (5, 20): the net's is (6, 20)"), "%s",
                       error.message);
    struct net *deep = make_net("dense:5:relu dense:3 dense:3", device, "cross_entropy", 2);
    cr_expect_eq(net_weights_read_memory(deep, file->bytes, file->length, &error), -1);
    cr_expect_not_null(strstr(error.message, "dense_3.weight is missing"), "%s", error.message);
    cr_expect_eq(net_weights_read_memory(net, file->bytes, file->length - 1, &error), -1);
    cr_expect_not_null(strstr(error.message, "cut off"), "%s", error.message);
    file->length++;
    cr_expect_eq(net_weights_read_memory(net, file->bytes, file->length, &error), -1);
    cr_expect_not_null(strstr(error.message, "longer"), "%s", error.message);
    struct file *small = &files[0];
    small->limit = 600;
    cr_expect_eq(net_weights_write(net, NULL, 0, write_file, small, &error), -1);
    cr_expect_eq(error.code, KERNEL_ERROR_IO);
    struct safetensors_pair taken = {"format", "np"};
    cr_expect_eq(net_weights_write(net, &taken, 1, write_file, file, &error), -1);
    net_free(net);
    net_free(copy);
    net_free(wide);
    net_free(deep);
    device_close(device);
}

Test(net, nan_is_found_named_and_leaves_the_parameters)
{
    struct kernel_error error = {0};
    make_data();
    static const char *const devices[] = {"ref", "cpu"};
    for (size_t d = 0; d < 2; d++) {
        struct device *device = open_device(devices[d]);
        struct net *net = make_net("dense:5:relu dense:3", device, "cross_entropy", 2);
        struct optimizer *optimizer = make_optimizer("sgd", 0.1, net);
        struct net_metrics metrics = {0};
        train(net, optimizer, 0, 4, &metrics);
        size_t bytes = net_parameter_floats(net) * sizeof(float);
        float *kept = malloc(bytes);
        cr_assert_not_null(kept);
        float x[2 * FEATURES];
        memcpy(x, data, sizeof x);
        x[FEATURES + 2] = NAN;
        struct net_batch batch = {.rows = 2, .inputs = {x}, .labels = {labels}};
        memcpy(kept, net_parameters(net), bytes);
        cr_expect_eq(net_train_step(net, optimizer, &batch, &metrics, &error), -1);
        cr_expect_eq(error.code, KERNEL_ERROR_NONFINITE);
        cr_expect_not_null(strstr(error.message, "step 5: input input has NaN or infinity in row 1"), "%s",
                           error.message);
        cr_expect_eq(memcmp(kept, net_parameters(net), bytes), 0);
        x[FEATURES + 2] = 0.0f;
        net_parameters(net)[0] = INFINITY;
        memcpy(kept, net_parameters(net), bytes);
        cr_expect_eq(net_train_step(net, optimizer, &batch, &metrics, &error), -1);
        cr_expect_not_null(strstr(error.message, "in layer dense_1"), "%s", error.message);
        cr_expect_eq(memcmp(kept, net_parameters(net), bytes), 0);
        free(kept);
        net_free(net);
        optimizer_free(optimizer);
        device_close(device);
    }
}

Test(net, bad_batches_are_refused)
{
    struct kernel_error error = {0};
    make_data();
    struct device *device = open_device("cpu");
    struct net *net = make_net("dense:3", device, "cross_entropy", 2);
    struct net_metrics metrics = {0};
    struct net_batch batch = {.rows = 33, .inputs = {data}, .labels = {labels}};
    cr_expect_eq(net_evaluate(net, &batch, &metrics, &error), -1);
    batch.rows = 0;
    cr_expect_eq(net_evaluate(net, &batch, &metrics, &error), -1);
    batch.rows = 4;
    batch.inputs[0] = NULL;
    cr_expect_eq(net_evaluate(net, &batch, &metrics, &error), -1);
    cr_expect_not_null(strstr(error.message, "input input is missing"));
    batch.inputs[0] = data;
    const int32_t bad[] = {0, 1, 3, -1}, negative[] = {0, 1, 2, -1};
    batch.labels[0] = bad;
    cr_expect_eq(net_evaluate(net, &batch, &metrics, &error), -1);
    cr_expect_str_eq(error.message, "batch: row 2: label 3 is not one of the 3 classes");
    batch.labels[0] = negative;
    cr_expect_eq(net_evaluate(net, &batch, &metrics, &error), -1);
    cr_expect_str_eq(error.message, "batch: row 3: label -1 is not one of the 3 classes");
    batch.labels[0] = NULL;
    cr_expect_eq(net_evaluate(net, &batch, &metrics, &error), -1);
    cr_expect_eq(metrics.rows, 0);
    net_free(net);
    device_close(device);
}

Test(net, options_are_checked_before_anything_is_allocated)
{
    struct kernel_error error = {0};
    struct device *device = open_device("ref");
    struct architecture *architecture = architecture_parse("dense:16777216 dense:3", &error);
    cr_assert_not_null(architecture);
    struct net_options options = {.architecture = architecture, .outputs = 3, .loss = "cross_entropy",
                                  .batch_size = 0, .device = device};
    options.input_shapes[0] = (struct shape){1, {2}};
    cr_expect_null(net_new(&options, &error));
    cr_expect_not_null(strstr(error.message, "batch_size: 0"));
    options.batch_size = 1ll << 40;
    cr_expect_null(net_new(&options, &error));
    cr_expect_not_null(strstr(error.message, "batch_size"));
    options.batch_size = 1;
    options.loss = "hinge";
    cr_expect_null(net_new(&options, &error));
    cr_expect_not_null(strstr(error.message, "hinge"));
    options.loss = "mse";
    options.outputs = 4;
    cr_expect_null(net_new(&options, &error));
    cr_expect_not_null(strstr(error.message, "layer dense_2"));
    architecture_free(architecture);
    device_close(device);
    net_free(NULL);
}

Test(net, prediction_has_no_dropout_and_does_not_disturb_training)
{
    struct kernel_error error = {0};
    make_data();
    struct device *device = open_device("cpu");
    struct net *plain = make_net("dense:30:relu dense:3", device, "cross_entropy", 9);
    struct net *dropped = make_net("dropout:0.5 dense:30:relu dropout:0.9 dense:3", device, "cross_entropy", 9);
    float a[3 * 4], b[3 * 4], c[3 * 4];
    struct net_batch batch = {.rows = 4, .inputs = {data}, .labels = {labels}};
    cr_assert_eq(net_predict(plain, &batch, a, &error), 0);
    cr_assert_eq(net_predict(dropped, &batch, b, &error), 0);
    cr_expect_arr_eq(a, b, sizeof a);
    struct net_metrics one = {0}, two = {0};
    cr_assert_eq(net_gradient(dropped, &batch, &one, &error), 0);
    cr_assert_eq(net_predict(dropped, &batch, c, &error), 0);
    cr_expect_arr_eq(a, c, sizeof a);
    cr_assert_eq(net_gradient(dropped, &batch, &two, &error), 0);
    cr_expect_eq(one.loss_sum, two.loss_sum);
    net_set_steps(dropped, 1);
    cr_assert_eq(net_gradient(dropped, &batch, &two, &error), 0);
    cr_expect_neq(2.0 * one.loss_sum, two.loss_sum);
    net_free(plain);
    net_free(dropped);
    device_close(device);
}
