/* SPDX-License-Identifier: Apache-2.0 */
/* lstm and gru are PyTorch's: the same weights under the same names give the same numbers. Also what they refuse, and
 * how they start. (Their gradients by differences, and cpu against ref: test_layers.c.) */
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 2
#define TIME 3
#define FEATURES 2
#define UNITS 3
#define TENSORS 8

/* Made by PyTorch 2.15 with
 *
 *   import torch
 *   for kind in (torch.nn.LSTM, torch.nn.GRU):
 *       net = kind(2, 3, num_layers=2, batch_first=True)
 *       for n, p in enumerate(net.parameters()):
 *           p.data = ((n * 7 + torch.arange(p.numel()) * 5) % 11 - 5).reshape(p.shape) / 10
 *       x = ((torch.arange(12) * 3 % 7 - 3).reshape(2, 3, 2) / 4).requires_grad_()
 *       y, _ = net(x)
 *       (y * (torch.arange(18).reshape(y.shape) % 5 - 2)).sum().backward()
 *       print(y.flatten().tolist(), x.grad.flatten().tolist())
 *       print([(p.grad.flatten() * torch.arange(1, p.numel() + 1)).sum().item() for p in net.parameters()])
 */
static const struct known {
    const char *type;
    int gates;
    double y[ROWS * TIME * UNITS], dx[ROWS * TIME * FEATURES], weighted[TENSORS];
} lstm = {
    .type = "lstm", .gates = 4,
    .y = {-0.06223605200648308, -0.0692785307765007, -0.13849738240242004, -0.08396720886230469, -0.1046242043375969,
          -0.19083495438098907, -0.08979126065969467, -0.12489159405231476, -0.21181617677211761, -0.059790682047605515,
          -0.06261512637138367, -0.15162122249603271, -0.07994892448186874, -0.10634120553731918, -0.18320921063423157,
          -0.08773257583379745, -0.13273680210113525, -0.19114276766777039},
    .dx = {-0.0058252522721886635, -0.02163705602288246, 0.0021179234609007835, -0.02179199457168579,
           0.0038640443235635757, 0.006861691363155842, -0.012378742918372154, 0.016462689265608788,
           -0.010621418245136738, 0.039713166654109955, -0.002962717553600669, 0.002106340602040291},
    .weighted = {-0.10349369049072266, -0.03599238395690918, -0.8188667297363281, -0.8188667297363281,
                 -2.2511115074157715, 7.69309663772583, -10.615129470825195, -10.615129470825195},
}, gru = {
    .type = "gru", .gates = 3,
    .y = {-0.02473233826458454, -0.19386720657348633, -0.14626571536064148, -0.04298540577292442, -0.28204721212387085,
          -0.24845054745674133, -0.05552856996655464, -0.3238416910171509, -0.3112526834011078, -0.03510776907205582,
          -0.15669605135917664, -0.17869825661182404, -0.030449409037828445, -0.30505603551864624, -0.20666398108005524,
          -0.024927645921707153, -0.39708060026168823, -0.2317541539669037},
    .dx = {0.011027287691831589, -0.13047948479652405, 0.02643045037984848, -0.10993927717208862, -0.004316153936088085,
           0.007977055385708809, -0.00414165947586298, 0.06289815157651901, -0.04818536341190338, 0.07982262969017029,
           -0.012171830050647259, 0.005428273230791092},
    .weighted = {1.0661311149597168, -1.6085009574890137, -0.9891409873962402, -0.3513011932373047, -2.8985037803649902,
                 4.694840431213379, -13.298213958740234, -8.945755004882812},
};

static const char *const names[TENSORS] = {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0",
                                           "weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"};

/* The weights as a safetensors file with PyTorch's names behind a prefix. Returns its length. */
static size_t write_weights(const struct known *known, uint8_t *file, size_t size)
{
    char header[2048];
    float data[512];
    size_t floats = 0, length = 0;
    header[length++] = '{';
    for (int n = 0; n < TENSORS; n++) {
        int rows = known->gates * UNITS, columns = n == 0 ? FEATURES : n % 4 < 2 ? UNITS : 1;
        char shape[32];
        snprintf(shape, sizeof shape, n % 4 < 2 ? "%d,%d" : "%d", rows, columns);
        length += (size_t)snprintf(header + length, sizeof header - length,
                                   "%s\"%s_1.%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                   n > 0 ? "," : "", known->type, names[n], shape, floats * 4,
                                   (floats + (size_t)(rows * columns)) * 4);
        for (int k = 0; k < rows * columns; k++) {
            data[floats++] = (float)((n * 7 + k * 5) % 11 - 5) / 10.0f;
        }
    }
    header[length++] = '}';
    cr_assert(floats <= 512 && 8 + length + floats * 4 <= size);
    uint64_t bytes = length;
    memcpy(file, &bytes, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, data, floats * 4);
    return 8 + length + floats * 4;
}

static void expect_near(const char *what, int index, double value, double expected)
{
    cr_expect(fabs(value - expected) < 2e-6 * (1 + fabs(expected)), "%s %d: %.9g, not %.9g", what, index, value,
              expected);
}

/* Every gradient by its index and one, summed up: in the order that files have. */
static void expect_gradients(struct net *net, const struct known *known)
{
    size_t count = net_trained_floats(net);
    float *gradients = malloc(count * sizeof *gradients), values[512];
    cr_assert_not_null(gradients);
    memcpy(gradients, net_gradients(net), count * sizeof *gradients);
    memcpy(net_parameters(net), gradients, count * sizeof *gradients); /* net_tensor_get has the order */
    for (int n = 0; n < TENSORS; n++) {
        char name[64], expected[64];
        struct shape shape;
        double sum = 0.0;
        cr_assert_eq(net_tensor(net, (size_t)n, name, sizeof name, &shape), 0);
        snprintf(expected, sizeof expected, "%s_1.%s", known->type, names[n]);
        cr_expect_str_eq(name, expected);
        net_tensor_get(net, (size_t)n, values);
        for (int64_t k = 0; k < shape_size(&shape); k++) {
            sum += (double)(k + 1) * (double)values[k];
        }
        expect_near(name, 0, sum, known->weighted[n]);
    }
    free(gradients);
}

static void check(const struct known *known, const char *device_text)
{
    struct kernel_error error = {0};
    char text[32];
    uint8_t file[8192];
    float x[ROWS * TIME * FEATURES], dy[ROWS * TIME * UNITS];
    snprintf(text, sizeof text, "%s:%d:2:all", known->type, UNITS);
    struct architecture *architecture = architecture_parse(text, &error);
    struct device *device = device_open(device_text, 1, &error);
    cr_assert(architecture != NULL && device != NULL, "%s", error.message);
    struct net_options options = {.architecture = architecture, .input_shapes = {{2, {TIME, FEATURES}}},
                                  .batch_size = ROWS, .device = device, .trains = true, .input_gradients = true};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    cr_assert_eq(net_weights_read_memory(net, file, write_weights(known, file, sizeof file), &error), 0, "%s",
                 error.message);
    for (int i = 0; i < ROWS * TIME * FEATURES; i++) {
        x[i] = (float)(i * 3 % 7 - 3) / 4.0f;
    }
    for (int i = 0; i < ROWS * TIME * UNITS; i++) {
        dy[i] = (float)(i % 5 - 2);
    }
    struct net_batch batch = {.rows = ROWS, .inputs = {x}};
    cr_assert_eq(net_forward(net, &batch, true, &error), 0, "%s", error.message);
    const struct tensor *y = net_output(net, 0);
    for (int i = 0; i < ROWS * TIME * UNITS; i++) {
        double value = (double)y->data[i / (TIME * UNITS) * y->stride + i % (TIME * UNITS)];
        expect_near("output", i, value, known->y[i]);
    }
    struct tensor gradient = {.data = dy, .rows = ROWS, .columns = TIME * UNITS, .stride = TIME * UNITS};
    cr_assert_eq(net_backward(net, &gradient, &error), 0, "%s", error.message);
    const struct tensor *dx = net_input_gradient(net, 0);
    for (int i = 0; i < ROWS * TIME * FEATURES; i++) {
        double value = (double)dx->data[i / (TIME * FEATURES) * dx->stride + i % (TIME * FEATURES)];
        expect_near("gradient of the input", i, value, known->dx[i]);
    }
    expect_gradients(net, known);
    net_free(net);
    device_close(device);
    architecture_free(architecture);
}

Test(recurrent, an_lstm_with_pytorchs_weights_gives_pytorchs_numbers)
{
    check(&lstm, "ref");
    check(&lstm, "cpu");
}

Test(recurrent, a_gru_with_pytorchs_weights_gives_pytorchs_numbers)
{
    check(&gru, "ref");
    check(&gru, "cpu");
}

static void expect_refused(const char *text, struct shape shape, const char *message)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    int result = architecture != NULL ? architecture_check(architecture, &shape, 0, NULL, &error) : -1;
    cr_expect_eq(result, -1, "%s", text);
    cr_expect(strstr(error.message, message) != NULL, "%s: \"%s\"", text, error.message);
    architecture_free(architecture);
}

Test(recurrent, what_does_not_fit_is_refused_by_field)
{
    expect_refused("lstm:4", (struct shape){1, {12}}, "lstm_1: takes (time, features), not (12)");
    expect_refused("gru:4", (struct shape){3, {1, 4, 3}}, "gru_1: takes (time, features), not (1, 4, 3)");
    expect_refused("lstm:0", (struct shape){2, {4, 3}}, "units");
    expect_refused("lstm:4:9", (struct shape){2, {4, 3}}, "layers");
    expect_refused("lstm:4:1:first", (struct shape){2, {4, 3}}, "outputs");
    expect_refused("gru:4:2:last:1", (struct shape){2, {4, 3}}, "dropout");
    expect_refused("gru:4:2:last:0.999999", (struct shape){2, {4, 3}}, "dropout: 0.999999 drops everything");
    expect_refused("lstm:4096", (struct shape){2, {4097, 1}}, "units: 4096 in each of 4097 steps");
}

static struct net *make(const char *text, const struct device *device)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    struct net_options options = {.architecture = architecture, .input_shapes = {{2, {4, 3}}}, .batch_size = 2,
                                  .device = device, .seed = 3};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    architecture_free(architecture);
    return net;
}

Test(recurrent, weights_start_as_pytorchs_or_orthogonal)
{
    enum { WIDE = 16 };
    struct kernel_error error = {0};
    struct device *device = device_open("ref", 1, &error);
    struct net *uniform = make("lstm:16", device), *orthogonal = make("gru:16:1:last:0:orthogonal", device);
    float values[4 * WIDE * WIDE];
    for (size_t n = 0; n < 4; n++) {
        char name[64];
        struct shape shape;
        float largest = 0.0f;
        cr_assert_eq(net_tensor(uniform, n, name, sizeof name, &shape), 0);
        net_tensor_get(uniform, n, values);
        for (int64_t k = 0; k < shape_size(&shape); k++) {
            largest = fmaxf(largest, fabsf(values[k]));
        }
        cr_expect(largest <= 0.25f && largest > 0.2f, "%s: within 1 / sqrt(16), not %g", name, (double)largest);
    }
    net_tensor_get(orthogonal, 1, values); /* weight_hh_l0 */
    for (int gate = 0; gate < 3; gate++) {
        const float *w = values + gate * WIDE * WIDE;
        for (int i = 0; i < WIDE * WIDE; i++) {
            double product = 0.0;
            for (int k = 0; k < WIDE; k++) {
                product += (double)w[i / WIDE * WIDE + k] * (double)w[i % WIDE * WIDE + k];
            }
            cr_assert(fabs(product - (i / WIDE == i % WIDE ? 1.0 : 0.0)) < 1e-5, "gate %d: %g", gate, product);
        }
    }
    net_tensor_get(orthogonal, 2, values); /* bias_ih_l0 */
    for (int k = 0; k < 3 * WIDE; k++) {
        cr_assert_eq(values[k], 0.0f);
    }
    net_free(uniform);
    net_free(orthogonal);
    device_close(device);
}

/* Gradients of a step on cpu with so many threads, (net_trained_floats) of a net of three layers. */
static float *gradients_with(const char *text, int threads, size_t *count)
{
    enum { BATCH = 7 };
    struct kernel_error error = {0};
    float x[BATCH * TIME * FEATURES], dy[BATCH * TIME * 9];
    struct architecture *architecture = architecture_parse(text, &error);
    struct device *device = device_open("cpu", threads, &error);
    cr_assert(architecture != NULL && device != NULL, "%s", error.message);
    struct net_options options = {.architecture = architecture, .input_shapes = {{2, {TIME, FEATURES}}},
                                  .batch_size = BATCH, .device = device, .seed = 1, .trains = true};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s", error.message);
    for (int i = 0; i < BATCH * TIME * FEATURES; i++) {
        x[i] = (float)(i * 3 % 7 - 3) / 4.0f;
    }
    for (int i = 0; i < BATCH * TIME * 9; i++) {
        dy[i] = (float)(i % 5 - 2);
    }
    struct net_batch batch = {.rows = BATCH, .inputs = {x}};
    struct tensor gradient = {.data = dy, .rows = BATCH, .columns = TIME * 9, .stride = TIME * 9};
    cr_assert_eq(net_forward(net, &batch, true, &error), 0, "%s", error.message);
    cr_assert_eq(net_backward(net, &gradient, &error), 0, "%s", error.message);
    *count = net_trained_floats(net);
    float *copy = malloc(*count * sizeof *copy);
    cr_assert_not_null(copy);
    memcpy(copy, net_gradients(net), *count * sizeof *copy);
    net_free(net);
    device_close(device);
    architecture_free(architecture);
    return copy;
}

Test(recurrent, threads_share_the_work_and_change_nothing)
{
    static const char *const texts[] = {"lstm:9:3:all", "gru:9:3:all"};
    for (size_t i = 0; i < 2; i++) {
        size_t one_count, count;
        float *one = gradients_with(texts[i], 1, &one_count);
        for (int threads = 2; threads <= 8; threads += 3) {
            float *some = gradients_with(texts[i], threads, &count);
            cr_expect(count == one_count && memcmp(one, some, count * sizeof *one) == 0, "%s with %d threads", texts[i],
                      threads);
            free(some);
        }
        free(one);
    }
}
