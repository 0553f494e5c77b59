/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_CPU_H
#define TL_KERNELS_DEVICE_CPU_H

/* The inside of the module tl_device_cpu.so; only device_cpu*.c include it. */

#include "kernels/device.h"
#include "kernels/device_cpu_conv.h"
#include "kernels/device_cpu_pairs.h"
#include "kernels/device_cpu_recurrent.h"
#include "kernels/device_cpu_pool.h"

/* Own code for one instruction set: device_cpu_vector.h, compiled once for each. */
struct cpu_kernels {
    const char *name;
    int lanes; /* floats of a vector */
    /* y = activation(x w + bias); as device.h, for any size, fast while w stays in the second cache. */
    void (*dense_forward)(const struct tensor *x, const struct tensor *w, const float *bias,
                          enum activation activation, struct tensor *y);
    /* dw = x^T dy. */
    void (*dense_weights)(const struct tensor *x, const struct tensor *dy, struct tensor *dw);
    /* dx = dy w^T; transposed is scratch of w->columns * tensor_stride(w->rows) floats. */
    void (*dense_inputs)(const struct tensor *dy, const struct tensor *w, float *transposed, struct tensor *dx);
    /* y = activation(y + bias), whole rows with their padding. */
    void (*bias_activation)(enum activation activation, const float *bias, struct tensor *y);
    /* dy *= activation'(y); dbias = column sums of dy; whole rows with their padding. */
    void (*activation_bias_gradient)(enum activation activation, const struct tensor *y, struct tensor *dy,
                                     float *dbias);
    void (*activation_forward)(enum activation activation, const struct tensor *x, struct tensor *y);
    void (*activation_backward)(enum activation activation, const struct tensor *y, const struct tensor *dy,
                                struct tensor *dx);
    /* x and y are rows of larger ones, from first_row. */
    void (*dropout)(const struct device_dropout *dropout, int64_t first_row, const struct tensor *x, struct tensor *y);
    void (*cross_entropy)(const struct tensor *z, const int32_t *labels, struct tensor *dz, double *loss_sum,
                          int64_t *correct);
    void (*softmax)(const struct tensor *z, struct tensor *p);
    void (*squared_error)(const struct tensor *z, const struct tensor *t, struct tensor *dz, double *loss_sum);
    void (*binary_cross_entropy)(const struct tensor *z, const struct tensor *t, struct tensor *dz, double *loss_sum);
    void (*sgd)(const struct device_sgd *sgd, size_t count, float *parameters, const float *gradients,
                float *momentum);
    void (*adam)(const struct device_adam *adam, size_t count, float *parameters, const float *gradients, float *m,
                 float *v);
    void (*rmsprop)(const struct device_rmsprop *rmsprop, size_t count, float *parameters, const float *gradients,
                    float *square, float *momentum);
    double (*squared_norm)(size_t count, const float *values);
    void (*clip)(float scale, float limit, size_t count, float *values);
    /* out = in rounded to bfloat16 (bf16.h); in place is allowed. */
    void (*round_bf16)(size_t count, const float *in, float *out);
    const struct cpu_pair_kernels *pairs; /* NULL: none; avx512: only for CPUs with AVX512-BF16 */
    const struct cpu_conv_kernels *conv;
    struct cpu_recurrent_kernels recurrent;
    struct cpu_pool_kernels pool;
};

extern const struct cpu_kernels cpu_kernels_plain;
#if defined(TL_HUB_WIDE_KERNELS)
extern const struct cpu_kernels cpu_kernels_wide; /* 16 lanes on any CPU, for tests */
#endif
#if defined(__x86_64__)
extern const struct cpu_kernels cpu_kernels_avx2;
extern const struct cpu_kernels cpu_kernels_avx512;
#endif

/* Those that the device has chosen. */
const struct cpu_kernels *cpu_kernels_of(const struct device *device);

/* One library's sgemm, row-major: arguments as device_operations.gemm. 0, or the library's status. */
struct cpu_gemm {
    const char *name;
    int (*sgemm)(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
                 const float *b, int64_t b_stride, float beta, float *c, int64_t c_stride);
    void (*set_threads)(int threads);
    /* "2.6.3, avx2": version and what the library says it runs on, into buffer. */
    void (*describe)(char *buffer, size_t size);
};

extern const struct cpu_gemm cpu_gemm_dnnl;     /* device_cpu_dnnl.c: the only file with dnnl.h */
/* Products by a oneDNN primitive, of operands in bfloat16 (uint16_t, sums in float) or, to test how it is called, in float.
 * Kept from call to call by sizes and strides. */
struct cpu_matmul;
struct cpu_matmul_sizes {
    bool bfloat16, transpose_a, transpose_b;
    int64_t m, n, k, a_stride, b_stride, c_stride;
};
struct cpu_matmul *cpu_matmul_new(void); /* NULL: cannot be had */
void cpu_matmul_free(struct cpu_matmul *matmul);
/* c = op(a) op(b) as device_operations.gemm. 0, or the library's status where it has no such primitive here. */
int cpu_matmul_run(struct cpu_matmul *matmul, const struct cpu_matmul_sizes *sizes, int threads, const void *a,
                   const void *b, float *c);

/* Products in bfloat16 (device_cpu_bf16.c). */
struct cpu_bf16;
/* What TL_HUB_BF16 (emulated, dnnl, dnnl_float32) asks for, else by the CPU; NULL on error. gemm: the one for emulation. */
struct cpu_bf16 *cpu_bf16_new(const struct cpu_gemm *gemm, const struct cpu_kernels *kernels,
                              struct kernel_error *error);
void cpu_bf16_free(struct cpu_bf16 *bf16);
/* What multiplies bfloat16 in layers that are no dense ones; NULL: none here. */
const struct cpu_pair_kernels *cpu_bf16_pairs(const struct cpu_bf16 *bf16);
/* In words, for doctor and records: "native: …" or "emulated: …". Tries the native way on a small product the first time. */
const char *cpu_bf16_describe(struct cpu_bf16 *bf16);
/* As device_operations.gemm. */
int cpu_bf16_gemm(struct cpu_bf16 *bf16, int threads, bool transpose_a, bool transpose_b, int64_t m, int64_t n,
                  int64_t k, const float *a, int64_t a_stride, const float *b, int64_t b_stride, float beta, float *c,
                  int64_t c_stride, struct kernel_error *error);

extern const struct cpu_gemm cpu_gemm_openblas; /* device_cpu_openblas.c: the only file with cblas.h */

/* Calls part for up to `threads` ranges that make up 0 … total - 1, each beginning at a multiple of unit, at the same
 * time. The ranges depend on the arguments alone, so what each of them computes does, too. Not from within a part. */
typedef void cpu_part_function(void *context, int64_t first, int64_t count);
void cpu_in_parallel(int threads, int64_t total, int64_t unit, cpu_part_function *part, void *context);

/* GFLOP/s on an n x n x n product with one thread (best of a few), for doctor. -1 on error. */
double cpu_gemm_measure(const struct cpu_gemm *gemm, int64_t n);

#endif
