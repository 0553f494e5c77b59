/* SPDX-License-Identifier: Apache-2.0 */
/* Products in bfloat16 on the cpu. Native: oneDNN's matmul of operands turned into bfloat16, where the CPU has instructions
 * for it (AVX512-BF16 or AMX) and oneDNN's answer on a small product is right. Else, and for any product that oneDNN has no
 * primitive for, the same arithmetic emulated: operands rounded as floats, float32's products and sums. The two differ in the
 * order of the sums alone. */
#include "kernels/bf16.h"
#include "kernels/device_cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum way { EMULATED, NATIVE, NATIVE_FLOAT32 };

/* One side of a product, rounded. */
struct operand {
    void *data;
    size_t bytes; /* that it has room for */
};

struct cpu_bf16 {
    const struct cpu_gemm *gemm;
    const struct cpu_kernels *kernels;
    enum way way;
    bool tried;
    const char *about;
    const struct cpu_pair_kernels *pairs;
    struct cpu_matmul *matmul;
    struct operand a, b;
};

/* Of those that the own code has; whoever has AMX has them too. */
static bool has_pairs(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static bool has_instructions(void)
{
#if defined(__x86_64__)
    /* CPUs with AMX have this, too, and clang 14 has no name for AMX. */
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static int choose(struct cpu_bf16 *bf16, struct kernel_error *error)
{
    /* For tests dnnl_float32: floats through the same primitive; pairs: the own code of any CPU that the kernels have it of. */
    const char *wish = getenv("TL_HUB_BF16");
    bf16->way = EMULATED;
    bf16->pairs = has_pairs() ? bf16->kernels->pairs : NULL;
    if (wish == NULL || wish[0] == '\0') {
        bf16->way = bf16->gemm == &cpu_gemm_dnnl && has_instructions() ? NATIVE : EMULATED;
        bf16->about = !has_instructions() ? "emulated: operands rounded, products in float32, for the CPU has neither "
                                            "AVX512-BF16 nor AMX"
                                          : "emulated: operands rounded, products in float32, for OpenBLAS was chosen";
        return 0;
    }
    bf16->about = "emulated: operands rounded, products in float32, for TL_HUB_BF16 asks for it";
    if (strcmp(wish, "pairs") == 0) {
        bf16->pairs = bf16->kernels->pairs;
        if (bf16->pairs == NULL) {
            return kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "TL_HUB_BF16: the kernels \"%s\" have no pairs",
                                    bf16->kernels->name);
        }
        bf16->about = "emulated: operands rounded, products of dense layers in float32, of others in pairs, for TL_HUB_BF16 "
                      "asks for it";
        return 0;
    }
    bf16->pairs = strcmp(wish, "dnnl") == 0 ? bf16->pairs : NULL;
    if (strcmp(wish, "dnnl") == 0 || strcmp(wish, "dnnl_float32") == 0) {
        bf16->way = wish[4] == '\0' ? NATIVE : NATIVE_FLOAT32;
        return 0;
    }
    return strcmp(wish, "emulated") == 0 ? 0
           : kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "TL_HUB_BF16: \"%.20s\" is not known: use emulated or "
                              "dnnl", wish);
}

struct cpu_bf16 *cpu_bf16_new(const struct cpu_gemm *gemm, const struct cpu_kernels *kernels,
                              struct kernel_error *error)
{
    struct cpu_bf16 *bf16 = calloc(1, sizeof *bf16);
    if (bf16 == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "device cpu: out of memory");
        return NULL;
    }
    bf16->gemm = gemm;
    bf16->kernels = kernels;
    if (choose(bf16, error) < 0) {
        free(bf16);
        return NULL;
    }
    return bf16;
}

const struct cpu_pair_kernels *cpu_bf16_pairs(const struct cpu_bf16 *bf16)
{
    return bf16->pairs;
}

void cpu_bf16_free(struct cpu_bf16 *bf16)
{
    if (bf16 != NULL) {
        cpu_matmul_free(bf16->matmul);
        free(bf16->a.data);
        free(bf16->b.data);
        free(bf16);
    }
}

/* --- operands ------------------------------------------------------------------------------------------------------ */

struct rounding {
    const struct cpu_kernels *kernels;
    const float *from;
    int64_t columns, from_stride, to_stride;
    void *to;
    bool halves; /* bfloat16 itself; else floats */
};

static void round_rows(void *context, int64_t first, int64_t count)
{
    const struct rounding *rounding = context;
    for (int64_t row = first; row < first + count; row++) {
        const float *from = rounding->from + row * rounding->from_stride;
        if (!rounding->halves) {
            rounding->kernels->round_bf16((size_t)rounding->columns, from,
                                          (float *)rounding->to + row * rounding->to_stride);
            continue;
        }
        uint16_t *to = (uint16_t *)rounding->to + row * rounding->to_stride;
        for (int64_t column = 0; column < rounding->columns; column++) {
            to[column] = bf16_of(from[column]);
        }
    }
}

/* *stride is that of the rounded rows. */
static int round_operand(const struct cpu_bf16 *bf16, bool halves, int threads, int64_t rows, int64_t columns, const float *from,
                         int64_t from_stride, struct operand *operand, int64_t *stride, struct kernel_error *error)
{
    *stride = (columns + 2 * TENSOR_ALIGN - 1) / (2 * TENSOR_ALIGN) * (2 * TENSOR_ALIGN);
    size_t bytes = (size_t)(rows * *stride) * sizeof(float);
    if (bytes > operand->bytes) {
        free(operand->data);
        operand->bytes = 0;
        operand->data = aligned_alloc(64, bytes);
        if (operand->data == NULL) {
            return kernel_error_set(error, KERNEL_ERROR_MEMORY, "device cpu: out of memory for the operands of a product "
                                    "in bfloat16 (%zu bytes)", bytes);
        }
        operand->bytes = bytes;
    }
    struct rounding rounding = {.kernels = bf16->kernels, .from = from, .columns = columns, .from_stride = from_stride,
                                .to_stride = *stride, .to = operand->data, .halves = halves};
    cpu_in_parallel(rows * columns >= 32768 ? threads : 1, rows, 1, round_rows, &rounding);
    return 0;
}

/* --- products ------------------------------------------------------------------------------------------------------ */

#define TRIAL_M 17
#define TRIAL_N 35
#define TRIAL_K 66

/* Whether oneDNN's product of whole numbers, all of them exact in bfloat16, is right, from each side transposed or not. */
static bool is_right(struct cpu_bf16 *bf16)
{
    enum { MOST = TRIAL_K * TRIAL_K };
    float a[MOST], b[MOST], c[TRIAL_M * TRIAL_N];
    uint16_t a_halves[MOST], b_halves[MOST];
    for (int i = 0; i < MOST; i++) {
        a[i] = (float)(i * 7 % 15 - 7);
        b[i] = (float)(i * 5 % 13 - 6);
        a_halves[i] = bf16_of(a[i]);
        b_halves[i] = bf16_of(b[i]);
    }
    for (int form = 0; form < 4; form++) {
        const bool left = form % 2 == 1, right = form / 2 == 1, floats = bf16->way == NATIVE_FLOAT32;
        const struct cpu_matmul_sizes sizes = {
            .bfloat16 = !floats, .transpose_a = left, .transpose_b = right, .m = TRIAL_M, .n = TRIAL_N, .k = TRIAL_K,
            .a_stride = left ? TRIAL_M : TRIAL_K, .b_stride = right ? TRIAL_K : TRIAL_N, .c_stride = TRIAL_N};
        if (cpu_matmul_run(bf16->matmul, &sizes, 1, floats ? (void *)a : a_halves, floats ? (void *)b : b_halves, c) !=
            0) {
            return false;
        }
        for (int i = 0; i < TRIAL_M * TRIAL_N; i++) {
            float sum = 0.0f;
            for (int l = 0; l < TRIAL_K; l++) {
                int m = i / TRIAL_N, n = i % TRIAL_N;
                sum += (left ? a[l * TRIAL_M + m] : a[m * TRIAL_K + l]) *
                       (right ? b[n * TRIAL_K + l] : b[l * TRIAL_N + n]);
            }
            if (!(c[i] == sum)) {
                return false;
            }
        }
    }
    return true;
}

static void try_native(struct cpu_bf16 *bf16)
{
    if (bf16->tried || bf16->way == EMULATED) {
        return;
    }
    bf16->tried = true;
    bf16->matmul = cpu_matmul_new();
    bf16->about = bf16->way == NATIVE ? bf16->pairs != NULL
                                        ? "native: oneDNN's products of bfloat16 in dense layers, AVX512-BF16's in others"
                                        : "native: oneDNN's products of bfloat16 in dense layers; other layers round their "
                                          "operands"
                                      : "emulated: operands rounded, oneDNN's matmul in float32";
    if (bf16->matmul == NULL || !is_right(bf16)) {
        bf16->way = EMULATED;
        bf16->about = "emulated: operands rounded, products in float32, for oneDNN's bfloat16 does not work here";
    }
}

const char *cpu_bf16_describe(struct cpu_bf16 *bf16)
{
    try_native(bf16);
    return bf16->about;
}

int cpu_bf16_gemm(struct cpu_bf16 *bf16, int threads, bool transpose_a, bool transpose_b, int64_t m, int64_t n,
                  int64_t k, const float *a, int64_t a_stride, const float *b, int64_t b_stride, float beta, float *c,
                  int64_t c_stride, struct kernel_error *error)
{
    try_native(bf16);
    struct cpu_matmul_sizes sizes = {.bfloat16 = bf16->way == NATIVE, .transpose_a = transpose_a,
                                     .transpose_b = transpose_b, .m = m, .n = n, .k = k, .c_stride = c_stride};
    for (enum way way = beta == 0.0f ? bf16->way : EMULATED;; way = EMULATED) {
        const bool halves = way == NATIVE;
        if (round_operand(bf16, halves, threads, transpose_a ? k : m, transpose_a ? m : k, a, a_stride, &bf16->a,
                          &sizes.a_stride, error) < 0 ||
            round_operand(bf16, halves, threads, transpose_b ? n : k, transpose_b ? k : n, b, b_stride, &bf16->b,
                          &sizes.b_stride, error) < 0) {
            return -1;
        }
        if (way != EMULATED) {
            if (cpu_matmul_run(bf16->matmul, &sizes, threads, bf16->a.data, bf16->b.data, c) == 0) {
                return 0;
            }
            continue; /* none for these sizes */
        }
        bf16->gemm->set_threads(threads);
        int status = bf16->gemm->sgemm(transpose_a, transpose_b, m, n, k, bf16->a.data, sizes.a_stride, bf16->b.data,
                                       sizes.b_stride, beta, c, c_stride);
        return status == 0 ? 0
               : kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "device cpu: %s failed on a product (%lld, %lld, %lld) "
                                  "with status %d", bf16->gemm->name, (long long)m, (long long)n, (long long)k, status);
    }
}
