/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN's sgemm, and its matmul for bfloat16; 2.6 (Debian 12) and 3.x. */
#include "kernels/device_cpu.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

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

/* --- matmul -------------------------------------------------------------------------------------------------------- */

#define KEPT_PRIMITIVES 48 /* the forms of a net of 16 dense layers; then the oldest goes */

struct primitive {
    struct cpu_matmul_sizes sizes;
    dnnl_primitive_t primitive; /* NULL: oneDNN has none for these sizes */
    dnnl_memory_t a, b, c;
    dnnl_status_t status;
    bool known;
};

struct cpu_matmul {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct primitive kept[KEPT_PRIMITIVES];
    int next;
};

static void forget(struct primitive *primitive)
{
    const dnnl_memory_t memories[] = {primitive->a, primitive->b, primitive->c};
    if (primitive->primitive != NULL) {
        dnnl_primitive_destroy(primitive->primitive);
    }
    for (size_t i = 0; i < sizeof memories / sizeof memories[0]; i++) {
        if (memories[i] != NULL) {
            dnnl_memory_destroy(memories[i]);
        }
    }
    *primitive = (struct primitive){0};
}

struct cpu_matmul *cpu_matmul_new(void)
{
    struct cpu_matmul *matmul = calloc(1, sizeof *matmul);
    if (matmul != NULL && (dnnl_engine_create(&matmul->engine, dnnl_cpu, 0) != dnnl_success ||
                           dnnl_stream_create(&matmul->stream, matmul->engine, dnnl_stream_default_flags) !=
                           dnnl_success)) {
        cpu_matmul_free(matmul);
        return NULL;
    }
    return matmul;
}

void cpu_matmul_free(struct cpu_matmul *matmul)
{
    if (matmul != NULL) {
        for (int i = 0; i < KEPT_PRIMITIVES; i++) {
            forget(&matmul->kept[i]);
        }
        if (matmul->stream != NULL) {
            dnnl_stream_destroy(matmul->stream);
        }
        if (matmul->engine != NULL) {
            dnnl_engine_destroy(matmul->engine);
        }
        free(matmul);
    }
}

/* A matrix as oneDNN sees it: (rows, columns), whose transpose lies in memory where told so. */
struct matrix {
    dnnl_dims_t dims, strides;
    dnnl_data_type_t type;
};

static struct matrix matrix_of(int64_t rows, int64_t columns, bool transposed, int64_t stride, dnnl_data_type_t type)
{
    return (struct matrix){.dims = {rows, columns}, .type = type,
                           .strides = {transposed ? 1 : stride, transposed ? stride : 1}};
}

/* The three matrices' memories, without data, and the primitive: its description is an object of its own in 2.6. */
#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t make(dnnl_engine_t engine, const struct matrix matrices[3], struct primitive *to)
{
    dnnl_memory_desc_t about[3] = {NULL, NULL, NULL};
    dnnl_memory_t *const memories[] = {&to->a, &to->b, &to->c};
    dnnl_primitive_desc_t description = NULL;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        status = dnnl_memory_desc_create_with_strides(&about[i], 2, matrices[i].dims, matrices[i].type,
                                                      matrices[i].strides);
        if (status == dnnl_success) {
            status = dnnl_memory_create(memories[i], about[i], engine, DNNL_MEMORY_NONE);
        }
    }
    if (status == dnnl_success) {
        status = dnnl_matmul_primitive_desc_create(&description, engine, about[0], about[1], NULL, about[2], NULL);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&to->primitive, description);
        dnnl_primitive_desc_destroy(description);
    }
    for (int i = 0; i < 3; i++) {
        if (about[i] != NULL) {
            dnnl_memory_desc_destroy(about[i]);
        }
    }
    return status;
}
#else
static dnnl_status_t make(dnnl_engine_t engine, const struct matrix matrices[3], struct primitive *to)
{
    dnnl_memory_desc_t about[3];
    dnnl_memory_t *const memories[] = {&to->a, &to->b, &to->c};
    dnnl_matmul_desc_t operation;
    dnnl_primitive_desc_t description = NULL;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        status = dnnl_memory_desc_init_by_strides(&about[i], 2, matrices[i].dims, matrices[i].type,
                                                  matrices[i].strides);
        if (status == dnnl_success) {
            status = dnnl_memory_create(memories[i], &about[i], engine, DNNL_MEMORY_NONE);
        }
    }
    if (status == dnnl_success) {
        status = dnnl_matmul_desc_init(&operation, &about[0], &about[1], NULL, &about[2]);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_desc_create(&description, &operation, NULL, engine, NULL);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&to->primitive, description);
        dnnl_primitive_desc_destroy(description);
    }
    return status;
}
#endif

static struct primitive *find(struct cpu_matmul *matmul, const struct cpu_matmul_sizes *sizes)
{
    for (int i = 0; i < KEPT_PRIMITIVES; i++) {
        const struct cpu_matmul_sizes *have = &matmul->kept[i].sizes;
        if (matmul->kept[i].known && have->bfloat16 == sizes->bfloat16 && have->transpose_a == sizes->transpose_a &&
            have->transpose_b == sizes->transpose_b && have->m == sizes->m && have->n == sizes->n &&
            have->k == sizes->k && have->a_stride == sizes->a_stride && have->b_stride == sizes->b_stride &&
            have->c_stride == sizes->c_stride) {
            return &matmul->kept[i];
        }
    }
    const dnnl_data_type_t type = sizes->bfloat16 ? dnnl_bf16 : dnnl_f32;
    const struct matrix matrices[] = {
        matrix_of(sizes->m, sizes->k, sizes->transpose_a, sizes->a_stride, type),
        matrix_of(sizes->k, sizes->n, sizes->transpose_b, sizes->b_stride, type),
        matrix_of(sizes->m, sizes->n, false, sizes->c_stride, dnnl_f32)};
    struct primitive *primitive = &matmul->kept[matmul->next];
    matmul->next = (matmul->next + 1) % KEPT_PRIMITIVES;
    forget(primitive);
    primitive->sizes = *sizes;
    primitive->known = true;
    primitive->status = make(matmul->engine, matrices, primitive);
    return primitive;
}

int cpu_matmul_run(struct cpu_matmul *matmul, const struct cpu_matmul_sizes *sizes, int threads, const void *a,
                   const void *b, float *c)
{
    set_threads(threads); /* when it is made, too */
    struct primitive *primitive = find(matmul, sizes);
    if (primitive->status != dnnl_success) {
        return (int)primitive->status;
    }
    /* It only reads a and b. */
    dnnl_status_t status = dnnl_memory_set_data_handle(primitive->a, (void *)(uintptr_t)a);
    if (status == dnnl_success) {
        status = dnnl_memory_set_data_handle(primitive->b, (void *)(uintptr_t)b);
    }
    if (status == dnnl_success) {
        status = dnnl_memory_set_data_handle(primitive->c, c);
    }
    if (status != dnnl_success) {
        return (int)status;
    }
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, primitive->a}, {DNNL_ARG_WEIGHTS, primitive->b},
                                         {DNNL_ARG_DST, primitive->c}};
    status = dnnl_primitive_execute(primitive->primitive, matmul->stream, 3, arguments);
    return (int)(status == dnnl_success ? dnnl_stream_wait(matmul->stream) : status);
}
