/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device_cpu.h"

#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double cpu_gemm_measure(const struct cpu_gemm *gemm, int64_t n)
{
    size_t floats = (size_t)(n * n);
    float *blocks = aligned_alloc(64, 3 * floats * sizeof *blocks);
    double best = -1.0;
    if (blocks == NULL) {
        return -1.0;
    }
    for (size_t i = 0; i < 3 * floats; i++) {
        blocks[i] = (float)(i % 7) * 0.125f;
    }
    for (int round = 0; round < 5; round++) { /* the first warms up caches and the library's code */
        double start = now();
        if (gemm->sgemm(false, false, n, n, n, blocks, n, blocks + floats, n, 0.0f, blocks + 2 * floats, n) != 0) {
            best = -1.0;
            break;
        }
        double rate = 2.0 * (double)n * (double)n * (double)n / (now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    free(blocks);
    return best;
}
