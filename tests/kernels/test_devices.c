/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation of the cpu device against ref, on odd sizes, for each of its instruction sets that this CPU has. */
#include "kernels/device.h"
#include "kernels/random.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    struct device *ref, *cpu;
};

static const char *const variants[] = {"plain", "avx2", "avx512", "wide"};
#define VARIANTS (sizeof variants / sizeof variants[0])

/* False where this CPU cannot run the variant. */
static bool open_pair_on(struct pair *pair, const char *variant, int threads)
{
    struct kernel_error error = {0};
    setenv("TL_HUB_KERNELS", variant, 1);
    pair->ref = device_open("ref", 1, &error);
    pair->cpu = device_open("cpu", threads, &error);
    cr_assert_not_null(pair->ref);
    if (pair->cpu == NULL) {
        cr_assert(strcmp(variant, "plain") != 0, "%s", error.message);
        device_close(pair->ref);
        return false;
    }
    return true;
}

static bool open_pair(struct pair *pair, const char *variant)
{
    return open_pair_on(pair, variant, 1);
}

static void close_pair(struct pair *pair)
{
    device_close(pair->ref);
    device_close(pair->cpu);
}

static struct random_state randomness = {.seed = 11, .used = 4};

static struct tensor tensor_new(int64_t rows, int64_t columns)
{
    struct tensor tensor = {.rows = rows, .columns = columns, .stride = tensor_stride(columns)};
    tensor.data = aligned_alloc(64, (size_t)(rows * tensor.stride) * sizeof(float));
    cr_assert_not_null(tensor.data);
    memset(tensor.data, 0, (size_t)(rows * tensor.stride) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            tensor.data[r * tensor.stride + c] = (float)random_normal(&randomness);
        }
    }
    return tensor;
}

static struct tensor tensor_copy(const struct tensor *from)
{
    struct tensor copy = *from;
    size_t bytes = (size_t)(from->rows * from->stride) * sizeof(float);
    copy.data = aligned_alloc(64, bytes);
    cr_assert_not_null(copy.data);
    memcpy(copy.data, from->data, bytes);
    return copy;
}

/* Without padding, in a block of exactly its size: a sanitizer sees what reads beyond it. */
static struct tensor tensor_packed(int64_t rows, int64_t columns)
{
    struct tensor tensor = {.rows = rows, .columns = columns, .stride = columns};
    tensor.data = malloc((size_t)(rows * columns) * sizeof(float));
    cr_assert_not_null(tensor.data);
    for (int64_t i = 0; i < rows * columns; i++) {
        tensor.data[i] = (float)random_normal(&randomness);
    }
    return tensor;
}

/* |a - b| / |b| over the columns; and the padding of a is still zero where told so. */
static void expect_same(const char *what, const struct tensor *a, const struct tensor *b, double limit, bool padding)
{
    double difference = 0, size = 1e-30;
    for (int64_t r = 0; r < a->rows; r++) {
        for (int64_t c = 0; c < a->columns; c++) {
            double x = (double)a->data[r * a->stride + c], y = (double)b->data[r * b->stride + c];
            difference += (x - y) * (x - y);
            size += y * y;
        }
        for (int64_t c = a->columns; padding && c < a->stride; c++) {
            cr_assert_eq(a->data[r * a->stride + c], 0.0f, "%s: padding (%ld, %ld)", what, (long)r, (long)c);
        }
    }
    double error = sqrt(difference / size);
    cr_expect(error < limit, "%s (%ld, %ld): normalised error %g", what, (long)a->rows, (long)a->columns, error);
}

/* Slopes like 1 - y^2 have no digits left where |y| is next to 1: no two ways of computing them agree there. */
static void keep_from_saturation(struct tensor *y)
{
    for (int64_t i = 0; i < y->rows * y->stride; i++) {
        y->data[i] = fminf(fmaxf(y->data[i], -0.9f), 0.9f);
    }
}

static const int64_t sizes[][3] = {{1, 1, 1},    {2, 3, 5},     {7, 16, 10},  {32, 20, 16},   {5, 17, 33},
                                   {31, 64, 64}, {13, 300, 47}, {32, 784, 64}, {96, 784, 100}, {33, 513, 160},
                                   {8, 2, 700},  {1, 40, 1},   {130, 300, 340}};

static void dense_is_the_same_on(int threads)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair_on(&pair, variants[v], threads)) {
            continue;
        }
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (int activation = 0; activation < ACTIVATION_COUNT; activation++) {
                int64_t rows = sizes[s][0], in = sizes[s][1], out = sizes[s][2];
                struct tensor x = tensor_packed(rows, in), w = tensor_new(in, out), bias = tensor_new(1, out);
                struct tensor y = tensor_new(rows, out), dy = tensor_new(rows, out);
                for (int64_t i = 0; i < in * w.stride; i++) {
                    w.data[i] /= sqrtf((float)in);
                }
                struct tensor dx = tensor_new(rows, in), dw = tensor_new(in, out), db = tensor_new(1, out);
                struct tensor y2 = tensor_copy(&y), dy2 = tensor_copy(&dy), dx2 = tensor_copy(&dx);
                struct tensor dw2 = tensor_copy(&dw), db2 = tensor_copy(&db);
                enum activation a = (enum activation)activation;
                cr_assert_eq(pair.ref->operations->dense_forward(pair.ref, &x, &w, bias.data, a, &y, NULL), 0);
                cr_assert_eq(pair.cpu->operations->dense_forward(pair.cpu, &x, &w, bias.data, a, &y2, NULL), 0);
                expect_same("y", &y2, &y, 2e-6, false);
                keep_from_saturation(&y);
                memcpy(y2.data, y.data, (size_t)(rows * y.stride) * sizeof(float));
                cr_assert_eq(pair.ref->operations->dense_backward(pair.ref, &x, &w, &y, a, &dy, &dx, &dw, db.data,
                                                                  NULL), 0);
                cr_assert_eq(pair.cpu->operations->dense_backward(pair.cpu, &x, &w, &y2, a, &dy2, &dx2, &dw2, db2.data,
                                                                  NULL), 0);
                expect_same("dx", &dx2, &dx, 2e-6, false);
                expect_same("dw", &dw2, &dw, 2e-6, true);
                expect_same("db", &db2, &db, 4e-6, true);
                expect_same("dy", &dy2, &dy, 2e-6, true);
                float *blocks[] = {x.data, w.data, bias.data, y.data, dy.data, dx.data, dw.data, db.data, y2.data,
                                   dy2.data, dx2.data, dw2.data, db2.data};
                for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
                    free(blocks[i]);
                }
            }
        }
        close_pair(&pair);
    }
}

Test(devices, dense)
{
    dense_is_the_same_on(1);
}

Test(devices, dense_by_several_threads)
{
    dense_is_the_same_on(3);
}

Test(devices, gemm)
{
    static const char *const libraries[] = {"dnnl", "openblas"};
    for (size_t l = 0; l < 2; l++) {
        setenv("TL_HUB_GEMM", libraries[l], 1);
        struct pair pair;
        cr_assert(open_pair(&pair, "plain"));
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (int t = 0; t < 8; t++) {
                bool ta = (t & 1) != 0, tb = (t & 2) != 0;
                float beta = (t & 4) != 0 ? 1.0f : 0.0f;
                int64_t m = sizes[s][0], k = sizes[s][1], n = sizes[s][2];
                struct tensor a = ta ? tensor_new(k, m) : tensor_new(m, k);
                struct tensor b = tb ? tensor_new(n, k) : tensor_new(k, n), c = tensor_new(m, n);
                struct tensor c2 = tensor_copy(&c);
                cr_assert_eq(pair.ref->operations->gemm(pair.ref, ta, tb, m, n, k, a.data, a.stride, b.data, b.stride,
                                                        beta, c.data, c.stride, NULL), 0);
                cr_assert_eq(pair.cpu->operations->gemm(pair.cpu, ta, tb, m, n, k, a.data, a.stride, b.data, b.stride,
                                                        beta, c2.data, c2.stride, NULL), 0);
                expect_same("c", &c2, &c, 2e-6, true);
                free(a.data);
                free(b.data);
                free(c.data);
                free(c2.data);
            }
        }
        close_pair(&pair);
    }
}

Test(devices, activations)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        for (int activation = 0; activation < ACTIVATION_COUNT; activation++) {
            for (int64_t columns = 1; columns < 40; columns++) {
                enum activation a = (enum activation)activation;
                struct tensor x = tensor_packed(3, columns), y = tensor_packed(3, columns), y2 = tensor_packed(3, columns);
                struct tensor dy = tensor_packed(3, columns), dx = tensor_packed(3, columns);
                struct tensor dx2 = tensor_packed(3, columns);
                for (int64_t i = 0; i < 3 * columns; i++) {
                    x.data[i] *= i % 3 == 0 ? 20.0f : i % 3 == 1 ? 0.001f : 1.0f;
                }
                cr_assert_eq(pair.ref->operations->activation_forward(pair.ref, a, &x, &y, NULL), 0);
                cr_assert_eq(pair.cpu->operations->activation_forward(pair.cpu, a, &x, &y2, NULL), 0);
                for (int64_t i = 0; i < 3 * columns; i++) { /* element by element: small values count, too */
                    double error = fabs((double)y2.data[i] - (double)y.data[i]) / (fabs((double)y.data[i]) + 1e-30);
                    cr_assert(error < 1e-6, "activation %d of %g: %g not %g", activation, (double)x.data[i],
                              (double)y2.data[i], (double)y.data[i]);
                }
                cr_assert_eq(pair.ref->operations->activation_backward(pair.ref, a, &y, &dy, &dx, NULL), 0);
                cr_assert_eq(pair.cpu->operations->activation_backward(pair.cpu, a, &y, &dy, &dx2, NULL), 0);
                expect_same("dx", &dx2, &dx, 1e-6, false);
                float *blocks[] = {x.data, y.data, y2.data, dy.data, dx.data, dx2.data};
                for (size_t i = 0; i < 6; i++) {
                    free(blocks[i]);
                }
            }
        }
        close_pair(&pair);
    }
}

Test(devices, activations_keep_nan_and_saturate)
{
    static const float in[] = {NAN, INFINITY, -INFINITY, 200.0f, -200.0f, 0.0f};
    struct tensor x = {.data = (float *)(uintptr_t)in, .rows = 1, .columns = 6, .stride = 6};
    float out[6];
    struct tensor y = {.data = out, .rows = 1, .columns = 6, .stride = 6};
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        for (int d = 0; d < 2; d++) {
            const struct device *device = d == 0 ? pair.ref : pair.cpu;
            cr_assert_eq(device->operations->activation_forward(device, ACTIVATION_RELU, &x, &y, NULL), 0);
            cr_expect(isnan(out[0]) && isinf(out[1]) && out[2] == 0.0f && out[3] == 200.0f && out[4] == 0.0f);
            cr_assert_eq(device->operations->activation_forward(device, ACTIVATION_TANH, &x, &y, NULL), 0);
            cr_expect(isnan(out[0]) && out[1] == 1.0f && out[2] == -1.0f && out[3] == 1.0f && out[4] == -1.0f);
            cr_expect_eq(out[5], 0.0f);
            cr_assert_eq(device->operations->activation_forward(device, ACTIVATION_SIGMOID, &x, &y, NULL), 0);
            cr_expect(isnan(out[0]) && out[1] == 1.0f && out[2] < 1e-37f && out[3] == 1.0f && out[4] < 1e-37f);
        }
        close_pair(&pair);
    }
}

Test(devices, dropout_masks_are_the_same_bits)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        static const int64_t shapes[][2] = {{1, 1}, {3, 5}, {32, 784}, {7, 64}, {9, 100}, {2, 16}};
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            struct tensor x = tensor_packed(shapes[s][0], shapes[s][1]), y = tensor_new(x.rows, x.columns);
            struct tensor y2 = tensor_new(x.rows, x.columns);
            struct device_dropout dropout = {.seed = 0x123456789abcdefull, .stream = 3, .step = 1ull << 33 | 17,
                                             .threshold = 13107, .scale = 65536.0f / 52429.0f};
            cr_assert_eq(pair.ref->operations->dropout(pair.ref, &dropout, &x, &y, NULL), 0);
            cr_assert_eq(pair.cpu->operations->dropout(pair.cpu, &dropout, &x, &y2, NULL), 0);
            int64_t dropped = 0;
            for (int64_t r = 0; r < x.rows; r++) {
                cr_assert_arr_eq(y.data + r * y.stride, y2.data + r * y2.stride, (size_t)x.columns * sizeof(float));
                for (int64_t c = 0; c < x.columns; c++) {
                    dropped += y.data[r * y.stride + c] == 0.0f;
                }
            }
            if (x.rows * x.columns > 20000) {
                double share = (double)dropped / (double)(x.rows * x.columns);
                cr_expect(fabs(share - 0.2) < 0.01, "%g", share);
            }
            free(x.data);
            free(y.data);
            free(y2.data);
        }
        close_pair(&pair);
    }
}

Test(devices, losses)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        static const int64_t columns[] = {1, 2, 10, 16, 17, 64, 65, 1000};
        for (size_t s = 0; s < sizeof columns / sizeof columns[0]; s++) {
            for (int large = 0; large < 2; large++) {
                struct tensor z = tensor_packed(37, columns[s]), t = tensor_packed(37, columns[s]);
                struct tensor d = tensor_packed(37, columns[s]), d2 = tensor_packed(37, columns[s]);
                int32_t labels[37];
                for (int64_t i = 0; i < 37; i++) {
                    labels[i] = (int32_t)(i * 7 % columns[s]);
                }
                for (int64_t i = 0; i < 37 * columns[s]; i++) {
                    z.data[i] *= large == 1 ? 1000.0f : 1.0f;
                }
                double loss, loss2;
                int64_t correct, correct2;
                const struct device_operations *ref = pair.ref->operations, *cpu = pair.cpu->operations;
                cr_assert_eq(ref->cross_entropy(pair.ref, &z, labels, &d, &loss, &correct, NULL), 0);
                cr_assert_eq(cpu->cross_entropy(pair.cpu, &z, labels, &d2, &loss2, &correct2, NULL), 0);
                cr_expect_eq(correct2, correct);
                cr_expect(fabs(loss2 - loss) <= 1e-5 * (fabs(loss) + 1e-3), "%g %g", loss2, loss);
                expect_same("cross-entropy", &d2, &d, 2e-5, false);
                cr_assert_eq(cpu->cross_entropy(pair.cpu, &z, labels, NULL, &loss2, &correct2, NULL), 0);
                cr_expect_eq(correct2, correct);
                cr_expect(fabs(loss2 - loss) <= 1e-5 * (fabs(loss) + 1e-3), "%g %g", loss2, loss);
                cr_assert_eq(ref->softmax(pair.ref, &z, &d, NULL), 0);
                cr_assert_eq(cpu->softmax(pair.cpu, &z, &d2, NULL), 0);
                expect_same("softmax", &d2, &d, 2e-6, false);
                cr_assert_eq(ref->squared_error(pair.ref, &z, &t, &d, &loss, NULL), 0);
                cr_assert_eq(cpu->squared_error(pair.cpu, &z, &t, &d2, &loss2, NULL), 0);
                cr_expect(fabs(loss2 - loss) <= 1e-6 * fabs(loss));
                expect_same("squared error", &d2, &d, 2e-6, false);
                free(z.data);
                free(t.data);
                free(d.data);
                free(d2.data);
            }
        }
        close_pair(&pair);
    }
}

/* Passes are cut into ranges for the threads: each is what one thread makes of the whole, to the bit. */
Test(devices, passes_by_several_threads_give_the_same_bits)
{
    struct kernel_error error = {0};
    const int64_t rows = 301, columns = 331, floats = rows * tensor_stride(columns);
    const size_t bytes = (size_t)floats * sizeof(float);
    struct device *one = device_open("cpu", 1, &error), *three = device_open("cpu", 3, &error);
    cr_assert(one != NULL && three != NULL, "%s", error.message);
    const struct device_operations *cpu = one->operations;
    struct tensor x = tensor_new(rows, columns), y = tensor_new(rows, columns), y3 = tensor_copy(&y);
    const struct device_dropout mask = {.seed = 5, .stream = 3, .step = 9, .threshold = 13107, .scale = 1.25f};
    cr_assert_eq(cpu->dropout(one, &mask, &x, &y, NULL), 0);
    cr_assert_eq(cpu->dropout(three, &mask, &x, &y3, NULL), 0);
    cr_expect_arr_eq(y.data, y3.data, bytes, "dropout");
    cr_assert_eq(cpu->activation_forward(one, ACTIVATION_TANH, &x, &y, NULL), 0);
    cr_assert_eq(cpu->activation_forward(three, ACTIVATION_TANH, &x, &y3, NULL), 0);
    cr_expect_arr_eq(y.data, y3.data, bytes, "activation");
    struct tensor dx = tensor_copy(&x), dx3 = tensor_copy(&x);
    cr_assert_eq(cpu->activation_backward(one, ACTIVATION_TANH, &y, &x, &dx, NULL), 0);
    cr_assert_eq(cpu->activation_backward(three, ACTIVATION_TANH, &y, &x, &dx3, NULL), 0);
    cr_expect_arr_eq(dx.data, dx3.data, bytes, "activation's gradient");
    struct tensor m = tensor_copy(&x), m3 = tensor_copy(&x), v = tensor_copy(&x), v3;
    for (int64_t i = 0; i < floats; i++) {
        v.data[i] = fabsf(v.data[i]);
    }
    v3 = tensor_copy(&v);
    const struct device_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .step_size = 0.05f,
                                     .root_scale = 3.0f, .keep = 1.0f};
    cr_assert_eq(cpu->adam(one, &adam, (size_t)floats, y.data, x.data, m.data, v.data, NULL), 0);
    cr_assert_eq(cpu->adam(three, &adam, (size_t)floats, y3.data, x.data, m3.data, v3.data, NULL), 0);
    cr_expect(memcmp(y.data, y3.data, bytes) == 0 && memcmp(m.data, m3.data, bytes) == 0 &&
              memcmp(v.data, v3.data, bytes) == 0, "adam");
    const struct device_sgd sgd = {.learning_rate = 0.1f, .momentum = 0.9f};
    cr_assert_eq(cpu->sgd(one, &sgd, (size_t)floats, y.data, x.data, m.data, NULL), 0);
    cr_assert_eq(cpu->sgd(three, &sgd, (size_t)floats, y3.data, x.data, m3.data, NULL), 0);
    cr_expect(memcmp(y.data, y3.data, bytes) == 0 && memcmp(m.data, m3.data, bytes) == 0, "sgd");
    float *blocks[] = {x.data, y.data, y3.data, dx.data, dx3.data, m.data, m3.data, v.data, v3.data};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        free(blocks[i]);
    }
    device_close(one);
    device_close(three);
}

/* As nets have them: rows padded with zeros, which stay zeros. */
Test(devices, losses_of_padded_rows)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        for (int64_t columns = 1; columns < 70; columns += columns < 20 ? 1 : 7) {
            struct tensor z = tensor_new(37, columns), d = tensor_new(37, columns), d2 = tensor_copy(&d);
            int32_t labels[37];
            for (int64_t i = 0; i < 37; i++) {
                labels[i] = (int32_t)(i * 7 % columns);
            }
            double loss, loss2;
            int64_t correct, correct2;
            const struct device_operations *ref = pair.ref->operations, *cpu = pair.cpu->operations;
            cr_assert_eq(ref->cross_entropy(pair.ref, &z, labels, &d, &loss, &correct, NULL), 0);
            cr_assert_eq(cpu->cross_entropy(pair.cpu, &z, labels, &d2, &loss2, &correct2, NULL), 0);
            cr_expect_eq(correct2, correct);
            cr_expect(fabs(loss2 - loss) <= 1e-5 * (fabs(loss) + 1e-3), "%g %g", loss2, loss);
            expect_same("cross-entropy", &d2, &d, 2e-5, true);
            free(z.data);
            free(d.data);
            free(d2.data);
        }
        close_pair(&pair);
    }
}

Test(devices, equal_largest_values_count_for_the_first_class)
{
    float values[] = {1, 3, 3, 2};
    struct tensor z = {.data = values, .rows = 1, .columns = 4, .stride = 4};
    struct pair pair;
    cr_assert(open_pair(&pair, "plain"));
    for (int d = 0; d < 2; d++) {
        const struct device *device = d == 0 ? pair.ref : pair.cpu;
        double loss;
        int64_t correct;
        int32_t label = 1;
        cr_assert_eq(device->operations->cross_entropy(device, &z, &label, NULL, &loss, &correct, NULL), 0);
        cr_expect_eq(correct, 1);
        label = 2;
        cr_assert_eq(device->operations->cross_entropy(device, &z, &label, NULL, &loss, &correct, NULL), 0);
        cr_expect_eq(correct, 0);
    }
    close_pair(&pair);
}

Test(devices, optimisers)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        struct tensor p = tensor_packed(1, 1003), g = tensor_packed(1, 1003), m = tensor_packed(1, 1003);
        struct tensor s = tensor_packed(1, 1003), p2 = tensor_packed(1, 1003), m2 = tensor_packed(1, 1003);
        struct tensor s2 = tensor_packed(1, 1003);
        for (int kind = 0; kind < 7; kind++) {
            for (int64_t i = 0; i < 1003; i++) {
                p2.data[i] = p.data[i];
                m2.data[i] = m.data[i];
                s.data[i] = s2.data[i] = i % 50 == 0 ? 0.0f : fabsf(s.data[i]);
                g.data[i] *= i % 50 == 0 ? 0.0f : 1.0f;
            }
            const struct device_operations *ref = pair.ref->operations, *cpu = pair.cpu->operations;
            if (kind == 0) {
                struct device_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .weight_decay = 0.01f,
                                           .keep = 0.99f, .step_size = 0.05f, .root_scale = 3.0f};
                cr_assert_eq(ref->adam(pair.ref, &adam, 1003, p.data, g.data, m.data, s.data, NULL), 0);
                cr_assert_eq(cpu->adam(pair.cpu, &adam, 1003, p2.data, g.data, m2.data, s2.data, NULL), 0);
                expect_same("v", &s2, &s, 1e-6, false);
            } else if (kind >= 5) {
                struct device_rmsprop rmsprop = {.learning_rate = 0.01f, .alpha = 0.9f, .epsilon = 1e-3f, .momentum = 0.7f,
                                                 .weight_decay = 0.01f};
                float *one = kind == 5 ? NULL : m.data, *other = kind == 5 ? NULL : m2.data;
                cr_assert_eq(ref->rmsprop(pair.ref, &rmsprop, 1003, p.data, g.data, s.data, one, NULL), 0);
                cr_assert_eq(cpu->rmsprop(pair.cpu, &rmsprop, 1003, p2.data, g.data, s2.data, other, NULL), 0);
                expect_same("square", &s2, &s, 1e-6, false);
            } else {
                struct device_sgd sgd = {.learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f,
                                         .nesterov = kind == 3, .first = kind == 2};
                cr_assert_eq(ref->sgd(pair.ref, &sgd, 1003, p.data, g.data, kind == 1 ? NULL : m.data, NULL), 0);
                cr_assert_eq(cpu->sgd(pair.cpu, &sgd, 1003, p2.data, g.data, kind == 1 ? NULL : m2.data, NULL), 0);
            }
            expect_same("p", &p2, &p, 1e-6, false);
            expect_same("m", &m2, &m, 1e-6, false);
        }
        float *blocks[] = {p.data, g.data, m.data, s.data, p2.data, m2.data, s2.data};
        for (size_t i = 0; i < 7; i++) {
            free(blocks[i]);
        }
        close_pair(&pair);
    }
}

Test(devices, clipping)
{
    for (size_t v = 0; v < VARIANTS; v++) {
        struct pair pair;
        if (!open_pair(&pair, variants[v])) {
            continue;
        }
        static const int64_t counts[] = {1, 7, 64, 1003, 9001};
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            struct tensor g = tensor_packed(1, counts[i]), g2 = tensor_packed(1, counts[i]);
            memcpy(g2.data, g.data, (size_t)counts[i] * sizeof(float));
            double norm, norm2;
            size_t count = (size_t)counts[i];
            cr_assert_eq(pair.ref->operations->squared_norm(pair.ref, count, g.data, &norm, NULL), 0);
            cr_assert_eq(pair.cpu->operations->squared_norm(pair.cpu, count, g.data, &norm2, NULL), 0);
            cr_expect(fabs(norm2 - norm) <= 1e-6 * norm, "%g %g", norm2, norm);
            cr_assert_eq(pair.ref->operations->clip(pair.ref, 0.7f, 0.5f, count, g.data, NULL), 0);
            cr_assert_eq(pair.cpu->operations->clip(pair.cpu, 0.7f, 0.5f, count, g2.data, NULL), 0);
            cr_expect_arr_eq(g2.data, g.data, count * sizeof(float));
            g.data[counts[i] - 1] = NAN;
            cr_assert_eq(pair.cpu->operations->squared_norm(pair.cpu, count, g.data, &norm2, NULL), 0);
            cr_expect(isnan(norm2));
            free(g.data);
            free(g2.data);
        }
        close_pair(&pair);
    }
}

Test(devices, unknown_devices_and_settings_are_refused)
{
    struct kernel_error error = {0};
    cr_expect_null(device_open("gpu", 1, &error));
    cr_expect_eq(error.code, KERNEL_ERROR_UNSUPPORTED);
    cr_expect_not_null(strstr(error.message, "gpu"));
    cr_expect_null(device_open("ref", -1, &error));
    cr_expect_null(device_open("ref", 2000, &error));
    setenv("TL_HUB_GEMM", "mkl", 1);
    cr_expect_null(device_open("cpu", 1, &error));
    cr_expect_not_null(strstr(error.message, "mkl"));
    unsetenv("TL_HUB_GEMM");
    setenv("TL_HUB_KERNELS", "altivec", 1);
    cr_expect_null(device_open("cpu", 1, &error));
    cr_expect_not_null(strstr(error.message, "altivec"));
    device_close(NULL);
}

Test(devices, a_missing_module_says_where_it_was_looked_for)
{
    struct kernel_error error = {0};
    setenv("TL_HUB_DEVICE_PATH", "/nowhere/at/all", 1);
    cr_expect_null(device_open("cpu", 1, &error));
    cr_expect_eq(error.code, KERNEL_ERROR_UNSUPPORTED);
    cr_expect_not_null(strstr(error.message, "/nowhere/at/all/tl_device_cpu.so"), "%s", error.message);
}

Test(devices, the_doctor_is_told_which_gemm_and_why)
{
    struct kernel_error error = {0};
    struct device *device = device_open("cpu", 1, &error);
    cr_assert_not_null(device, "%s", error.message);
    char *text = device_describe(device, &error);
    cr_assert_not_null(text);
    cr_expect_not_null(strstr(text, "gemm dnnl: "), "%s", text);
    cr_expect_not_null(strstr(text, "gemm openblas: "));
    cr_expect_not_null(strstr(text, "gemm chosen: "));
    cr_expect_not_null(strstr(text, "because"));
    free(text);
    device_close(device);
}
