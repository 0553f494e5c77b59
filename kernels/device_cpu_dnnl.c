/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN's sgemm, 2.6 (Debian 12) and 3.x. */
#include "kernels/device_cpu.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>

static int sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
                 const float *b, int64_t b_stride, float beta, float *c, int64_t c_stride)
{
    return (int)dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1.0f, a, a_stride, b, b_stride,
                           beta, c, c_stride);
}

/* Of the calling thread; oneDNN asks OpenMP at each call. */
static void set_threads(int threads)
{
    omp_set_num_threads(threads);
}

static const char *isa_name(dnnl_cpu_isa_t isa)
{
    switch (isa) {
    case dnnl_cpu_isa_sse41: return "sse4.1";
    case dnnl_cpu_isa_avx: return "avx";
    case dnnl_cpu_isa_avx2: return "avx2";
    case dnnl_cpu_isa_avx512_core: return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni: return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16: return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx: return "avx512_core_amx";
    default: return (int)isa == 0 ? "reference code" : "another"; /* named _all by 2.6 and _default by 3 */
    }
}

static void describe(char *buffer, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(buffer, size, "oneDNN %d.%d.%d, %s", version->major, version->minor, version->patch,
             isa_name(dnnl_get_effective_cpu_isa()));
}

const struct cpu_gemm cpu_gemm_dnnl = {"dnnl", sgemm, set_threads, describe};
