/* SPDX-License-Identifier: Apache-2.0 */
/* Losses: values by hand, gradients by finite differences on ref, every variant of cpu against ref. */
#include "kernels/loss.h"
#include "kernels/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6, COLUMNS = 3, CELLS = ROWS * COLUMNS };

static const enum loss_kind all[] = {LOSS_CROSS_ENTROPY, LOSS_MSE, LOSS_BINARY_CROSS_ENTROPY,
                                     LOSS_MAE,           LOSS_HUBER, LOSS_BPR};

static struct device *open_device(const char *name)
{
    struct kernel_error error = {0};
    struct device *device = device_open(name, 1, &error);
    cr_assert_not_null(device, "%s", error.message);
    return device;
}

/* The mean loss of z (rows, columns) on ref; dz NULL: without gradient. */
static double loss_of(enum loss_kind kind, const struct device *device, float *z, const int32_t *labels, const float *t,
                      int64_t rows, int64_t columns, float *dz, int64_t *correct)
{
    struct kernel_error error = {0};
    struct tensor values = {.data = z, .rows = rows, .columns = columns, .stride = columns};
    struct tensor gradient = {.data = dz, .rows = rows, .columns = columns, .stride = columns};
    struct loss_batch batch = {.z = &values, .labels = labels, .targets = t, .dz = dz != NULL ? &gradient : NULL};
    double sum = 0;
    int64_t right = 0;
    cr_assert_eq(loss_run(kind, device, &batch, &sum, &right, &error), 0, "%s", error.message);
    if (correct != NULL) {
        *correct = right;
    }
    return sum / (double)rows;
}

Test(loss, gradients_are_those_of_finite_differences)
{
    struct device *device = open_device("ref");
    struct random_state random;
    float z[CELLS], t[CELLS], dz[CELLS];
    int32_t labels[ROWS];
    random_init(&random, 1, 1);
    for (int i = 0; i < CELLS; i++) {
        z[i] = 2.0f * (float)random_normal(&random);
        t[i] = random_uniform(&random);
    }
    for (int i = 0; i < ROWS; i++) {
        labels[i] = i % COLUMNS;
    }
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        loss_of(all[k], device, z, labels, t, ROWS, COLUMNS, dz, NULL);
        for (int i = 0; i < CELLS; i++) {
            float kept = z[i];
            volatile float above = kept + 1e-3f, below = kept - 1e-3f;
            z[i] = above;
            double high = loss_of(all[k], device, z, labels, t, ROWS, COLUMNS, NULL, NULL);
            z[i] = below;
            double low = loss_of(all[k], device, z, labels, t, ROWS, COLUMNS, NULL, NULL);
            z[i] = kept;
            double numeric = (high - low) / ((double)above - (double)below);
            cr_expect_float_eq((double)dz[i], numeric, 1e-5, "%s at %d: %g, by differences %g", loss_name(all[k]), i,
                               (double)dz[i], numeric);
        }
    }
    device_close(device);
}

Test(loss, values_by_hand)
{
    struct device *device = open_device("ref");
    float z[] = {0.0f, 2.0f, -3.0f, 0.5f}, t[] = {1.0f, 1.0f, 0.0f, 0.0f}, dz[4];
    int64_t correct;
    /* log 2, log(1 + e^-2), log(1 + e^-3), log(1 + e^0.5) */
    double sum = log(2.0) + log1p(exp(-2.0)) + log1p(exp(-3.0)) + log1p(exp(0.5));
    cr_expect_float_eq(loss_of(LOSS_BINARY_CROSS_ENTROPY, device, z, NULL, t, 4, 1, dz, &correct), sum / 4, 1e-12);
    cr_expect_eq(correct, 2, "0 is no, 0.5 is yes");
    cr_expect_float_eq((double)dz[0], -0.5 / 4, 1e-7);
    cr_expect_float_eq(loss_of(LOSS_MAE, device, z, NULL, t, 4, 1, dz, &correct), (1 + 1 + 3 + 0.5) / 4, 1e-12);
    cr_expect_eq(correct, 0);
    cr_expect_float_eq((double)dz[2], -0.25, 1e-7);
    cr_expect_float_eq(loss_of(LOSS_HUBER, device, z, NULL, t, 4, 1, dz, NULL), (0.5 + 0.5 + 2.5 + 0.125) / 4, 1e-12);
    cr_expect_float_eq((double)dz[2], -0.25, 1e-7);
    /* pairs (0, -3) and (2, 0.5) */
    cr_expect_float_eq(loss_of(LOSS_BPR, device, z, NULL, NULL, 4, 1, dz, &correct),
                       (log1p(exp(-3.0)) + log1p(exp(-1.5))) / 2, 1e-12);
    cr_expect_eq(correct, 4);
    cr_expect_eq(dz[0], -dz[2]);
    device_close(device);
}

Test(loss, huber_takes_its_delta)
{
    struct device *device = open_device("ref");
    float z[] = {3.0f}, t[] = {0.0f};
    struct tensor values = {.data = z, .rows = 1, .columns = 1, .stride = 1};
    struct loss_batch batch = {.z = &values, .targets = t, .huber_delta = 2.0};
    double sum;
    int64_t correct;
    cr_assert_eq(loss_run(LOSS_HUBER, device, &batch, &sum, &correct, NULL), 0);
    cr_expect_float_eq(sum, 2.0 * (3.0 - 1.0), 1e-12);
    struct kernel_error error = {0};
    const double bad[] = {0.0, -1.0, NAN, INFINITY, 1e7};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(loss_check_huber_delta(LOSS_HUBER, bad[i], &error), -1);
        cr_expect_eq(strncmp(error.message, "huber_delta: ", 13), 0, "%s", error.message);
    }
    cr_expect_eq(loss_check_huber_delta(LOSS_MSE, 1.0, &error), -1);
    cr_expect_eq(loss_check_huber_delta(LOSS_HUBER, 0.5, &error), 0);
    device_close(device);
}

Test(loss, far_values_stay_finite_and_nan_stays_nan)
{
    static const char *const names[] = {"ref", "cpu"};
    for (size_t d = 0; d < 2; d++) {
        struct device *device = open_device(names[d]);
        float z[] = {1000.0f, -1000.0f, 1000.0f, -1000.0f}, t[] = {1.0f, 0.0f, 0.0f, 1.0f}, dz[4];
        cr_expect_float_eq(loss_of(LOSS_BINARY_CROSS_ENTROPY, device, z, NULL, t, 4, 1, dz, NULL), 500.0, 1e-3);
        cr_expect_float_eq((double)dz[0], 0.0, 1e-7);
        cr_expect_float_eq((double)dz[2], 0.25, 1e-7);
        cr_expect_float_eq((double)dz[3], -0.25, 1e-7);
        cr_expect_float_eq(loss_of(LOSS_BPR, device, z, NULL, NULL, 4, 1, dz, NULL), log(2.0), 1e-9);
        z[0] = -1000.0f;
        z[2] = 1000.0f;
        cr_expect_float_eq(loss_of(LOSS_BPR, device, z, NULL, NULL, 4, 1, dz, NULL), (2000.0 + log(2.0)) / 2, 1e-3);
        z[1] = NAN;
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
            int32_t labels[4] = {0};
            if (all[k] != LOSS_CROSS_ENTROPY) { /* of one class there is nothing to lose */
                cr_expect(isnan(loss_of(all[k], device, z, labels, t, 4, 1, dz, NULL)), "%s on %s", loss_name(all[k]),
                          names[d]);
            }
        }
        device_close(device);
    }
}

static void expect_close(const char *what, const float *a, const float *b, int64_t count)
{
    double difference = 0, size = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    cr_expect(sqrt(difference / size) < 2e-6, "%s: normalised error %g", what, sqrt(difference / size));
}

Test(loss, every_variant_of_cpu_is_as_ref)
{
    static const char *const variants[] = {"plain", "avx2", "avx512", "wide"};
    static const int64_t columns[] = {1, 2, 7, 8, 17, 64, 200, 1031};
    struct device *ref = open_device("ref");
    for (size_t v = 0; v < 3; v++) {
        setenv("TL_HUB_KERNELS", variants[v], 1);
        struct device *cpu = device_open("cpu", 1, NULL);
        cr_assert(cpu != NULL || v > 0);
        for (size_t s = 0; cpu != NULL && s < sizeof columns / sizeof columns[0]; s++) {
            for (float scale = 0.01f; scale < 200.0f; scale *= 100.0f) {
                /* Blocks of exactly their size: a sanitizer sees what reads beyond them. */
                size_t count = (size_t)(38 * columns[s]);
                float *z = malloc(count * sizeof *z), *t = malloc(count * sizeof *t);
                float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
                int32_t labels[38];
                struct random_state random;
                cr_assert(z != NULL && t != NULL && a != NULL && b != NULL);
                random_init(&random, 5, s);
                for (size_t i = 0; i < count; i++) {
                    z[i] = scale * (float)random_normal(&random);
                    t[i] = i % 3 == 0 ? 1.0f : random_uniform(&random);
                }
                for (int64_t i = 0; i < 38; i++) {
                    labels[i] = (int32_t)(i % columns[s]);
                }
                for (size_t k = 1; k < sizeof all / sizeof all[0]; k++) {
                    int64_t right, right2;
                    double one = loss_of(all[k], ref, z, labels, t, 38, columns[s], a, &right);
                    double other = loss_of(all[k], cpu, z, labels, t, 38, columns[s], b, &right2);
                    cr_expect(fabs(one - other) <= 1e-6 * (fabs(one) + 0.1), "%s: %.9g %.9g", loss_name(all[k]), one, other);
                    cr_expect_eq(right, right2);
                    expect_close(loss_name(all[k]), b, a, (int64_t)count);
                }
                free(z);
                free(t);
                free(a);
                free(b);
            }
        }
        device_close(cpu);
    }
    device_close(ref);
}

Test(loss, targets_that_do_not_fit_are_refused)
{
    struct device *device = open_device("ref");
    struct kernel_error error = {0};
    float z[3] = {0}, t[3] = {0.0f, 1.5f, 1.0f};
    struct tensor values = {.data = z, .rows = 3, .columns = 1, .stride = 1};
    struct loss_batch batch = {.z = &values, .targets = t};
    double sum;
    int64_t correct;
    cr_expect_eq(loss_run(LOSS_BINARY_CROSS_ENTROPY, device, &batch, &sum, &correct, &error), -1);
    cr_expect(error.code == KERNEL_ERROR_INVALID && strstr(error.message, "row 1: target 1.5") != NULL, "%s", error.message);
    t[1] = NAN;
    cr_expect_eq(loss_run(LOSS_BINARY_CROSS_ENTROPY, device, &batch, &sum, &correct, &error), -1);
    cr_expect_eq(loss_run(LOSS_BPR, device, &batch, &sum, &correct, &error), -1);
    cr_expect_not_null(strstr(error.message, "pairs"), "%s", error.message);
    device_close(device);
}

Test(loss, predictions_are_probabilities_or_values)
{
    struct device *device = open_device("ref");
    float z[] = {0.0f, (float)log(3.0)}, p[2];
    struct tensor values = {.data = z, .rows = 1, .columns = 2, .stride = 2};
    struct tensor out = {.data = p, .rows = 1, .columns = 2, .stride = 2};
    cr_assert_eq(loss_predict(LOSS_CROSS_ENTROPY, device, &values, &out, NULL), 0);
    cr_expect_float_eq((double)p[1], 0.75, 1e-6);
    cr_assert_eq(loss_predict(LOSS_BINARY_CROSS_ENTROPY, device, &values, &out, NULL), 0);
    cr_expect(fabsf(p[0] - 0.5f) < 1e-6f && fabsf(p[1] - 0.75f) < 1e-6f);
    cr_assert_eq(loss_predict(LOSS_HUBER, device, &values, &out, NULL), 0);
    cr_expect(p[0] == z[0] && p[1] == z[1]);
    device_close(device);
}

Test(loss, names)
{
    enum loss_kind kind;
    struct kernel_error error = {0};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        cr_expect(loss_find(loss_name(all[k]), &kind, &error) == 0 && kind == all[k]);
        cr_expect_not_null(strstr(loss_names(), loss_name(all[k])));
        cr_expect_eq(loss_takes_classes(kind), kind == LOSS_CROSS_ENTROPY);
        cr_expect_eq(loss_target(kind) == LOSS_OF_PAIRS, kind == LOSS_BPR);
    }
    cr_expect(loss_has_accuracy(LOSS_CROSS_ENTROPY, 10) && loss_has_accuracy(LOSS_BINARY_CROSS_ENTROPY, 1));
    cr_expect(!loss_has_accuracy(LOSS_BINARY_CROSS_ENTROPY, 2) && !loss_has_accuracy(LOSS_MSE, 1));
    cr_expect_eq(loss_find("hinge", &kind, &error), -1);
    cr_expect_not_null(strstr(error.message, "hinge"));
    cr_expect_eq(loss_find(NULL, &kind, &error), -1);
}
