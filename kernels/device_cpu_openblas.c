/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device_cpu.h"

#include <cblas.h>
#include <stdio.h>

static int sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
                 const float *b, int64_t b_stride, float beta, float *c, int64_t c_stride)
{
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
                (blasint)m, (blasint)n, (blasint)k, 1.0f, a, (blasint)a_stride, b, (blasint)b_stride, beta, c,
                (blasint)c_stride);
    return 0;
}

/* Of the whole process. */
static void set_threads(int threads)
{
    openblas_set_num_threads(threads);
}

static void describe(char *buffer, size_t size)
{
    snprintf(buffer, size, "%.60s, core %.30s", openblas_get_config(), openblas_get_corename());
}

const struct cpu_gemm cpu_gemm_openblas = {"openblas", sgemm, set_threads, describe};
