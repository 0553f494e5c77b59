/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/train_gemm.h"

#include "bench/clock.h"
#include "kernels/block.h"
#include "kernels/device.h"

#include <stdio.h>
#include <stdlib.h>

/* The products of a step of the 784-800-800-10 net with 256 samples: c (m, n), sums of k. */
static const struct product {
    const char *name;
    bool transpose_a, transpose_b;
    int64_t m, n, k;
} products[] = {
    {"1024^3", false, false, 1024, 1024, 1024}, {"x w", false, false, 256, 800, 800},
    {"x^T dy", true, false, 800, 800, 256},     {"dy w^T", false, true, 256, 800, 800},
};

static int print_product(const struct device *device, const struct product *product, float *const blocks[3],
                         struct kernel_error *error)
{
    double best = 0.0;
    for (int round = 0; round < 10; round++) {
        double start = bench_cpu_now();
        if (device->operations->gemm(device, product->transpose_a, product->transpose_b, product->m, product->n,
                                     product->k, blocks[0], product->transpose_a ? product->m : product->k, blocks[1],
                                     product->transpose_b ? product->k : product->n, 0.0f, blocks[2], product->n,
                                     error) < 0) {
            return -1;
        }
        double rate = 2e-9 * (double)product->m * (double)product->n * (double)product->k / (bench_cpu_now() - start);
        best = rate > best ? rate : best;
    }
    printf(", %s %.0f", product->name, best);
    return 0;
}

/* A layer of 784 inputs and 64 units with a batch of 32: no library's. */
static int print_own(const struct device *device, float *const blocks[3], struct kernel_error *error)
{
    struct tensor x = {blocks[0], 32, 784, 784}, w = {blocks[1], 784, 64, 64}, y = {blocks[2], 32, 64, 64};
    double best = 0.0;
    for (int round = 0; round < 10; round++) {
        double start = bench_cpu_now();
        for (int i = 0; i < 100; i++) {
            if (device->operations->dense_forward(device, &x, &w, blocks[0], ACTIVATION_RELU, &y, error) < 0) {
                return -1;
            }
        }
        double rate = 2e-9 * 100 * 32 * 784 * 64 / (bench_cpu_now() - start);
        best = rate > best ? rate : best;
    }
    printf("own kernels, GFLOP/s: relu(x w + b), 32 x 784 x 64: %.0f\n", best);
    return 0;
}

int bench_print_gemm(struct kernel_error *error)
{
    static const char *const libraries[] = {"dnnl", "openblas"};
    enum { FLOATS = 1024 * 1024 };
    float *blocks[3] = {block_new(FLOATS, NULL), block_new(FLOATS, NULL), block_new(FLOATS, NULL)};
    struct device *device = NULL;
    int result = -1;
    if (blocks[0] == NULL || blocks[1] == NULL || blocks[2] == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
        goto out;
    }
    for (size_t i = 0; i < FLOATS; i++) {
        blocks[0][i] = blocks[1][i] = (float)(i % 7) * 0.125f;
    }
    for (size_t l = 0; l < 2; l++) {
        setenv("TL_HUB_GEMM", libraries[l], 1);
        device_close(device);
        device = device_open("cpu", 1, error);
        if (device == NULL) {
            goto out;
        }
        printf("sgemm of %s, GFLOP/s", libraries[l]);
        for (size_t p = 0; p < sizeof products / sizeof products[0]; p++) {
            if (print_product(device, &products[p], blocks, error) < 0) {
                goto out;
            }
        }
        printf("\n");
    }
    result = print_own(device, blocks, error);
out:
    device_close(device);
    for (int i = 0; i < 3; i++) {
        free(blocks[i]);
    }
    return result;
}
