/* SPDX-License-Identifier: Apache-2.0 */
/* Products in bfloat16: how numbers are rounded, every device and instruction set against ref, and what it does to a
 * training. */
#include "kernels/bf16.h"
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const variants[] = {"plain", "avx2", "avx512", "wide"};
#define VARIANTS (sizeof variants / sizeof variants[0])

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Bits before and after. */
static const uint32_t roundings[][2] = {
    {0x3f800000, 0x3f800000}, /* 1 */
    {0x3f808000, 0x3f800000}, /* a tie, down to the even */
    {0x3f818000, 0x3f820000}, /* a tie, up to the even */
    {0x3f808001, 0x3f810000}, {0x3f807fff, 0x3f800000}, {0xbf808001, 0xbf810000}, {0xbf818000, 0xbf820000},
    {0x3fffffff, 0x40000000}, /* the exponent grows */
    {0x7f7f7fff, 0x7f7f0000}, /* the largest bfloat16 */
    {0x7f7fffff, 0x7f800000}, /* the largest float: to infinity */
    {0xff7fffff, 0xff800000}, {0x7f800000, 0x7f800000}, {0xff800000, 0xff800000},
    {0x00000000, 0x00000000}, {0x80000000, 0x80000000},
    {0x00000001, 0x00000000}, {0x00018000, 0x00020000}, {0x80400000, 0x80400000}, /* subnormal numbers */
};
#define ROUNDINGS (sizeof roundings / sizeof roundings[0])

Test(bf16, rounds_to_nearest_even)
{
    for (size_t i = 0; i < ROUNDINGS; i++) {
        uint32_t after = bits_of(bf16_round(float_of(roundings[i][0])));
        cr_expect_eq(after, roundings[i][1], "%08x: %08x", roundings[i][0], after);
        cr_expect_eq((uint32_t)bf16_of(float_of(roundings[i][0])) << 16, roundings[i][1]);
    }
    static const uint32_t nans[] = {0x7f800001, 0x7fc00000, 0xffffffff, 0x7fffffff, 0xff800001};
    for (size_t i = 0; i < sizeof nans / sizeof nans[0]; i++) {
        float rounded = bf16_round(float_of(nans[i]));
        cr_expect(isnan(rounded), "%08x", nans[i]);
        cr_expect_eq(bits_of(rounded) & 0x80400000u, (nans[i] & 0x80000000u) | 0x400000u, "%08x: sign, or not quiet",
                     nans[i]);
    }
}

/* A handle in bfloat16, or NULL where this machine or this build cannot run the variant in this way. */
static struct device *open_variant(const char *variant, const char *way)
{
    struct kernel_error error = {0};
    setenv("TL_HUB_KERNELS", variant, 1);
    setenv("TL_HUB_BF16", way, 1);
    struct device *device = device_open("cpu", 1, &error);
    cr_assert(device != NULL || strcmp(variant, "plain") != 0 || strcmp(way, "pairs") == 0, "%s", error.message);
    return device;
}

/* Every number as a row, times 1: it is what it is rounded to. */
Test(bf16, devices_round_alike)
{
    float numbers[1000], one = 1.0f, products[1000];
    struct random_state random;
    random_init(&random, 3, 1);
    for (size_t i = 0; i < 1000; i++) {
        numbers[i] = i < ROUNDINGS ? float_of(roundings[i][0]) : (float)random_normal(&random);
    }
    numbers[999] = NAN;
    for (size_t v = 0; v <= VARIANTS; v++) {
        struct device *device = v < VARIANTS ? open_variant(variants[v], "emulated") : device_open("ref", 1, NULL);
        if (device == NULL) {
            continue;
        }
        device->precision = PRECISION_BFLOAT16;
        cr_assert_eq(device->operations->gemm(device, true, false, 1000, 1, 1, numbers, 1000, &one, 1, 0.0f, products, 1,
                                              NULL), 0);
        for (size_t i = 0; i < 999; i++) {
            cr_expect_eq(products[i], bf16_round(numbers[i]), "%s: %08x: %08x", device_name(device),
                         bits_of(numbers[i]), bits_of(products[i]));
        }
        cr_expect(isnan(products[999]));
        device_close(device);
    }
}

static const char *const nets[] = {
    "dense:40:tanh dense:300:relu dense:10",
    "dense:33:gelu dense:10",
    "reshape:1x6x8 conv2d:9:3:1:1:tanh conv2d:10:3:1:1:relu conv2d:3:3:2:1 flatten dense:10",
    "reshape:2x4x6 conv_transpose:5:3:2:1:sigmoid flatten dense:10",
    "reshape:6x8 lstm:13:2:all lstm:20 dense:10",
    "reshape:6x8 gru:21:2 dense:10",
    /* Odd numbers of channels, groups, kernels and strides of two sizes: sums whose operands do not stand in twos. */
    "reshape:3x4x4 conv2d:7:2x3:1:1:tanh conv2d:14:3x2:2:1:none:7 flatten dense:10",
    "reshape:6x2x4 conv2d:15:3:1:1:none:3 conv_transpose:5:3:2:1:relu conv2d:6:4:3:2 flatten dense:10",
    "reshape:3x16 conv1d:5:4:2:1:tanh reshape:8x5 lstm:3 dense:10",
};
#define NETS (sizeof nets / sizeof nets[0])
enum { FEATURES = 48, ROWS = 19, CLASSES = 10 };

struct data {
    float x[ROWS * FEATURES];
    int32_t y[ROWS];
};

static void fill(struct data *data)
{
    struct random_state random;
    random_init(&random, 5, 1);
    for (int i = 0; i < ROWS * FEATURES; i++) {
        data->x[i] = (float)random_normal(&random);
    }
    for (int i = 0; i < ROWS; i++) {
        data->y[i] = i % CLASSES;
    }
}

static struct net *make(const char *text, const struct device *device, enum device_precision precision)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s", error.message);
    struct net_options options = {.architecture = architecture, .input_shapes = {{1, {FEATURES}}}, .outputs = CLASSES,
                                  .loss = "cross_entropy", .batch_size = 64, .device = device, .seed = 4,
                                  .precision = precision};
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s: %s", text, error.message);
    architecture_free(architecture);
    return net;
}

static void differentiate(struct net *net, const struct data *data)
{
    struct net_metrics metrics = {0};
    struct net_batch batch = {.rows = ROWS, .inputs = {data->x}, .labels = {data->y}};
    struct kernel_error error = {0};
    cr_assert_eq(net_gradient(net, &batch, &metrics, &error), 0, "%s", error.message);
}

static double distance(const struct net *a, const struct net *b)
{
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < net_trained_floats(b); i++) {
        double x = (double)net_gradients((struct net *)(uintptr_t)a)[i];
        double y = (double)net_gradients((struct net *)(uintptr_t)b)[i];
        difference += (x - y) * (x - y);
        size += y * y;
    }
    return sqrt(difference / size);
}

/* How far one way of doing it is from ref's; next to what rounding does it is little: a sum whose last bit differs may be
 * rounded the other way, which happens to one in thousands. */
static void expect_like_ref(const char *variant, const char *way)
{
    struct data data;
    struct device *ref = device_open("ref", 1, NULL), *cpu = open_variant(variant, way);
    cr_assert_not_null(ref);
    fill(&data);
    for (size_t i = 0; i < NETS && cpu != NULL; i++) {
        struct net *exact = make(nets[i], ref, PRECISION_FLOAT32), *oracle = make(nets[i], ref, PRECISION_BFLOAT16);
        struct net *net = make(nets[i], cpu, PRECISION_BFLOAT16);
        differentiate(exact, &data);
        differentiate(oracle, &data);
        differentiate(net, &data);
        double rounding = distance(oracle, exact), error = distance(net, oracle);
        cr_expect(rounding > 5e-4 && rounding < 3e-2, "%s: rounding makes %g", nets[i], rounding);
        cr_expect(error < 3e-4 && error < 0.2 * rounding, "%s, %s, %s: %g from ref, where rounding makes %g", variant,
                  way, nets[i], error, rounding);
        float *first = malloc(net_trained_floats(net) * sizeof *first);
        cr_assert_not_null(first);
        memcpy(first, net_gradients(net), net_trained_floats(net) * sizeof *first);
        differentiate(net, &data);
        cr_expect_eq(memcmp(first, net_gradients(net), net_trained_floats(net) * sizeof *first), 0,
                     "%s: other bits the second time", nets[i]);
        free(first);
        net_free(exact);
        net_free(oracle);
        net_free(net);
    }
    device_close(ref);
    device_close(cpu);
}

Test(bf16, nets_are_like_ref_on_every_instruction_set)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        expect_like_ref(variants[v], "emulated");
    }
}

/* Pairs of bfloat16 by the code for CPUs that have AVX512-BF16, made of other instructions. */
Test(bf16, nets_are_like_ref_in_pairs)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        expect_like_ref(variants[v], "pairs");
    }
}

/* The way through oneDNN's matmul: with floats, which every machine has; with bfloat16 it is what this machine has, or
 * falls back. */
Test(bf16, nets_are_like_ref_by_oneDNN)
{
    expect_like_ref("plain", "dnnl_float32");
    for (size_t v = 0; v < VARIANTS; v++) {
        expect_like_ref(variants[v], "dnnl");
    }
}

Test(bf16, what_is_done_is_said)
{
    struct kernel_error error = {0};
    struct device *device = open_variant("plain", "emulated");
    cr_expect_eq(strncmp(device_bfloat16(device), "emulated: ", 10), 0);
    device_close(device);
    device = open_variant("plain", "dnnl_float32");
    cr_expect_not_null(strstr(device_bfloat16(device), "matmul"), "%s", device_bfloat16(device));
    device_close(device);
    device = open_variant("plain", "dnnl");
    const char *about = device_bfloat16(device);
    cr_expect(strncmp(about, "native: ", 8) == 0 || strstr(about, "does not work here") != NULL, "%s", about);
    device_close(device);
    device = open_variant("plain", "pairs");
    cr_expect(device == NULL || strstr(device_bfloat16(device), "of others in pairs") != NULL);
    device_close(device);
    setenv("TL_HUB_KERNELS", "plain", 1);
    setenv("TL_HUB_BF16", "tf32", 1);
    cr_expect_null(device_open("cpu", 1, &error));
    cr_expect_not_null(strstr(error.message, "TL_HUB_BF16: \"tf32\" is not known"), "%s", error.message);
    enum device_precision precision;
    cr_expect_eq(device_precision_find("bfloat16", &precision, &error), 0);
    cr_expect_eq(precision, PRECISION_BFLOAT16);
    cr_expect_eq(device_precision_find("float16", &precision, &error), -1);
    cr_expect_str_eq(error.message, "precision: \"float16\" is not known: use float32 or bfloat16");
}

static void expect_the_same_with_two_threads(const char *kernels, const char *way, const char *text)
{
    struct data data;
    fill(&data);
    setenv("TL_HUB_KERNELS", kernels, 1);
    setenv("TL_HUB_BF16", way, 1);
    struct device *one = device_open("cpu", 1, NULL), *two = device_open("cpu", 2, NULL);
    if (one != NULL && two != NULL) {
        struct net *a = make(text, one, PRECISION_BFLOAT16), *b = make(text, two, PRECISION_BFLOAT16);
        differentiate(a, &data);
        differentiate(b, &data);
        cr_expect_eq(memcmp(net_gradients(a), net_gradients(b), net_trained_floats(a) * sizeof(float)), 0, "%s, %s, %s",
                     kernels, way, text);
        net_free(a);
        net_free(b);
    }
    device_close(one);
    device_close(two);
}

/* Bits do not depend on how rows are shared out where no sums cross them; dense and recurrent layers are such. */
Test(bf16, threads_give_the_same_bits)
{
    expect_the_same_with_two_threads("plain", "emulated", nets[5]);
    for (size_t v = 0; v < VARIANTS; v++) {
        expect_the_same_with_two_threads(variants[v], "pairs", nets[4]);
        expect_the_same_with_two_threads(variants[v], "pairs", nets[5]);
    }
}

/* Ten clouds of points around places at random, so near each other that some points are in the wrong one. */
static void draw(struct random_state *random, float *x, int32_t *y, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        y[i] = (int32_t)random_below(random, CLASSES);
        struct random_state place;
        random_init(&place, 77, (uint64_t)y[i]);
        for (int j = 0; j < FEATURES; j++) {
            x[i * FEATURES + j] = (float)(0.4 * random_normal(&place) + random_normal(random));
        }
    }
}

static double accuracy(enum device_precision precision)
{
    enum { TRAIN = 4096, TEST = 16384, BATCH = 64 };
    float *x = malloc((TRAIN + TEST) * FEATURES * sizeof *x);
    int32_t *y = malloc((TRAIN + TEST) * sizeof *y);
    cr_assert(x != NULL && y != NULL);
    struct random_state random;
    random_init(&random, 8, 1);
    draw(&random, x, y, TRAIN + TEST);
    struct device *device = open_variant("plain", "emulated");
    struct net *net = make("dense:48:relu dense:10", device, precision);
    struct optimizer_options options;
    struct kernel_error error = {0};
    cr_assert_eq(optimizer_options_init(&options, "adam", &error), 0);
    struct optimizer *optimizer = optimizer_new(&options, net_trained_floats(net), &error);
    cr_assert_not_null(optimizer, "%s", error.message);
    for (int step = 0; step < 6 * TRAIN / BATCH; step++) {
        struct net_metrics metrics = {0};
        int64_t row = step * BATCH % TRAIN;
        struct net_batch batch = {.rows = BATCH, .inputs = {x + row * FEATURES}, .labels = {y + row}};
        cr_assert_eq(net_train_step(net, optimizer, &batch, &metrics, &error), 0, "%s", error.message);
    }
    struct net_metrics metrics = {0};
    for (int64_t row = TRAIN; row < TRAIN + TEST; row += BATCH) {
        struct net_batch batch = {.rows = BATCH, .inputs = {x + row * FEATURES}, .labels = {y + row}};
        cr_assert_eq(net_evaluate(net, &batch, &metrics, &error), 0, "%s", error.message);
    }
    optimizer_free(optimizer);
    net_free(net);
    device_close(device);
    free(x);
    free(y);
    return (double)metrics.correct / (double)metrics.rows;
}

Test(bf16, trains_as_well_as_float32)
{
    double exact = accuracy(PRECISION_FLOAT32), rounded = accuracy(PRECISION_BFLOAT16);
    cr_expect(exact > 0.7, "%g", exact);
    cr_expect(exact != rounded, "nothing was rounded");
    cr_expect(fabs(exact - rounded) < 0.003, "%g in float32, %g in bfloat16", exact, rounded);
}
