/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu device: a library's GEMM for large products, own kernels (device_cpu_vector.h) for small ones and for all that
 * is done element by element.
 *
 * Which GEMM: a rule on CPU features and core names, never a measurement, so that the same machine always gives the
 * same bits. On x86 with AVX2 oneDNN: it picks its code by CPU feature, while Debian 12's OpenBLAS 0.3.21 takes newer
 * Intel CPUs for "Prescott" and runs six times slower there. Elsewhere (no AVX2, other architectures) oneDNN's sgemm is
 * reference code, so OpenBLAS. TL_HUB_GEMM=dnnl|openblas overrides. doctor shows the rates of both as evidence. */
#include "kernels/device_cpu.h"
#include "kernels/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weights of a dense layer (floats) up to which the own kernels are used: they stay in the second cache. */
#define OWN_KERNEL_FLOATS 65536
/* Floats from which a pass is worth waking up other threads for. */
#define PARALLEL_FLOATS 32768

struct state {
    const struct cpu_kernels *kernels;
    const struct cpu_gemm *gemm;
    const char *reason;
    struct cpu_bf16 *bf16;
    float *scratch; /* (OWN_KERNEL_FLOATS + rows of padding), for transposed weights */
    size_t scratch_floats;
};

static bool has_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#if defined(__x86_64__)
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

static int choose_kernels(struct state *state, struct kernel_error *error)
{
    const char *wish = getenv("TL_HUB_KERNELS"); /* for tests: plain, avx2, avx512, wide */
    state->kernels = &cpu_kernels_plain;
#if defined(__x86_64__)
    if (has_avx2()) {
        state->kernels = has_avx512() ? &cpu_kernels_avx512 : &cpu_kernels_avx2;
    }
    if (wish != NULL && strcmp(wish, "avx2") == 0 && has_avx2()) {
        state->kernels = &cpu_kernels_avx2;
        return 0;
    }
#endif
    if (wish != NULL && strcmp(wish, "plain") == 0) {
        state->kernels = &cpu_kernels_plain;
    }
#if defined(TL_HUB_WIDE_KERNELS)
    if (wish != NULL && strcmp(wish, "wide") == 0) {
        state->kernels = &cpu_kernels_wide;
    }
#endif
    if (wish != NULL && strcmp(wish, state->kernels->name) != 0) {
        return kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "TL_HUB_KERNELS: this CPU cannot run \"%.20s\": use "
                                "plain or %s", wish, state->kernels->name);
    }
    return 0;
}

static int choose_gemm(struct state *state, struct kernel_error *error)
{
    const char *wish = getenv("TL_HUB_GEMM");
    if (wish != NULL && wish[0] != '\0') {
        state->reason = "TL_HUB_GEMM asks for it";
        if (strcmp(wish, cpu_gemm_dnnl.name) == 0) {
            state->gemm = &cpu_gemm_dnnl;
            return 0;
        }
        if (strcmp(wish, cpu_gemm_openblas.name) == 0) {
            state->gemm = &cpu_gemm_openblas;
            return 0;
        }
        return kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "TL_HUB_GEMM: \"%.20s\" is not known: use dnnl or "
                                "openblas", wish);
    }
    if (has_avx2()) {
        state->gemm = &cpu_gemm_dnnl;
        state->reason = "the CPU has AVX2, and oneDNN picks its code by CPU feature (OpenBLAS knows only the cores of "
                        "its day)";
    } else {
        state->gemm = &cpu_gemm_openblas;
        state->reason = "without AVX2 oneDNN's GEMM is reference code";
    }
    return 0;
}

static int open_device(struct device *device, struct kernel_error *error)
{
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "device cpu: out of memory");
    }
    if (choose_kernels(state, error) < 0 || choose_gemm(state, error) < 0) {
        free(state);
        return -1;
    }
    state->scratch_floats = OWN_KERNEL_FLOATS * 2;
    state->scratch = aligned_alloc(64, state->scratch_floats * sizeof *state->scratch);
    state->bf16 = cpu_bf16_new(state->gemm, state->kernels, error);
    if (state->scratch == NULL || state->bf16 == NULL) {
        bool settings = state->scratch != NULL;
        cpu_bf16_free(state->bf16);
        free(state->scratch);
        free(state);
        return settings ? -1 : kernel_error_set(error, KERNEL_ERROR_MEMORY, "device cpu: out of memory");
    }
    cpu_gemm_openblas.set_threads(state->gemm == &cpu_gemm_openblas ? device->threads : 1);
    device->state = state;
    return 0;
}

static void close_device(struct device *device)
{
    struct state *state = device->state;
    cpu_bf16_free(state->bf16);
    free(state->scratch);
    free(state);
}

static bool supports(const struct device *device, enum device_operation operation)
{
    (void)device;
    (void)operation;
    return true;
}

static char *describe(struct device *device)
{
    const struct state *state = device->state;
    static const struct cpu_gemm *const candidates[] = {&cpu_gemm_dnnl, &cpu_gemm_openblas};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL) {
        return NULL;
    }
    fprintf(out, "device: cpu, %d thread%s\n", device->threads, device->threads == 1 ? "" : "s");
    fprintf(out, "cpu features: avx2 %s, avx512 %s\n", has_avx2() ? "yes" : "no", has_avx512() ? "yes" : "no");
    fprintf(out, "own kernels: %s, for dense layers of up to %d weights\n", state->kernels->name, OWN_KERNEL_FLOATS);
    double rates[2];
    for (size_t i = 0; i < 2; i++) {
        char about[160];
        candidates[i]->set_threads(1);
        rates[i] = cpu_gemm_measure(candidates[i], 384);
        candidates[i]->describe(about, sizeof about);
        fprintf(out, "gemm %s: %.0f GFLOP/s on one thread (%s)\n", candidates[i]->name, rates[i], about);
    }
    fprintf(out, "gemm chosen: %s, because %s\n", state->gemm->name, state->reason);
    fprintf(out, "bfloat16: %s\n", cpu_bf16_describe(state->bf16));
    double mine = state->gemm == candidates[0] ? rates[0] : rates[1];
    double other = state->gemm == candidates[0] ? rates[1] : rates[0];
    if (other > 1.25 * mine) {
        fprintf(out, "gemm advice: the other one is %.1f times faster here: set TL_HUB_GEMM=%s on every worker\n",
                other / mine, state->gemm == candidates[0] ? candidates[1]->name : candidates[0]->name);
    }
    state->gemm->set_threads(device->threads);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

const struct cpu_kernels *cpu_kernels_of(const struct device *device)
{
    return ((const struct state *)device->state)->kernels;
}

const struct cpu_pair_kernels *cpu_pairs_of(const struct device *device)
{
    return device->precision == PRECISION_BFLOAT16 ? cpu_bf16_pairs(((const struct state *)device->state)->bf16) : NULL;
}

static const struct layer_code *layer_code(const struct device *device, const struct layer *layer)
{
    (void)device;
    const struct layer_code *code = cpu_conv_code(layer);
    code = code != NULL ? code : cpu_pool_code(layer);
    return code != NULL ? code : cpu_recurrent_code(layer);
}

static int gemm(const struct device *device, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                const float *a, int64_t a_stride, const float *b, int64_t b_stride, float beta, float *c,
                int64_t c_stride, struct kernel_error *error)
{
    const struct state *state = device->state;
    if (device->precision == PRECISION_BFLOAT16) {
        return cpu_bf16_gemm(state->bf16, device->threads, transpose_a, transpose_b, m, n, k, a, a_stride, b, b_stride,
                             beta, c, c_stride, error);
    }
    if (state->gemm == &cpu_gemm_dnnl) {
        state->gemm->set_threads(device->threads); /* a setting of the calling thread */
    }
    int status = state->gemm->sgemm(transpose_a, transpose_b, m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
    if (status != 0) {
        return kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "device cpu: %s failed on a product (%lld, %lld, "
                                "%lld) with status %d", state->gemm->name, (long long)m, (long long)n, (long long)k,
                                status);
    }
    return 0;
}

/* --- passes over matrices, row by row or column by column, by all threads ------------------------------------------- */

struct pass {
    const struct cpu_kernels *kernels;
    enum activation activation;
    const struct device_dropout *mask;
    const float *bias;
    float *dbias;
    const struct tensor *x, *y;
    struct tensor *out;
};

static struct tensor rows_of(const struct tensor *tensor, int64_t first, int64_t count)
{
    struct tensor rows = *tensor;
    rows.data += first * tensor->stride;
    rows.rows = count;
    return rows;
}

static struct tensor columns_of(const struct tensor *tensor, int64_t first, int64_t count)
{
    struct tensor columns = *tensor;
    columns.data += first;
    columns.columns = count;
    return columns;
}

static int threads_for(const struct device *device, int64_t floats)
{
    return floats >= PARALLEL_FLOATS ? device->threads : 1;
}

static const struct cpu_kernels *kernels_of(const struct device *device)
{
    return ((const struct state *)device->state)->kernels;
}

static void bias_activation_part(void *context, int64_t first, int64_t count)
{
    const struct pass *pass = context;
    struct tensor y = rows_of(pass->out, first, count);
    pass->kernels->bias_activation(pass->activation, pass->bias, &y);
}

/* Of columns, so that the sums over the rows are always in the same order. */
static void bias_gradient_part(void *context, int64_t first, int64_t count)
{
    const struct pass *pass = context;
    struct tensor y = columns_of(pass->y, first, count), dy = columns_of(pass->out, first, count);
    pass->kernels->activation_bias_gradient(pass->activation, &y, &dy, pass->dbias + first);
}

static void activation_forward_part(void *context, int64_t first, int64_t count)
{
    const struct pass *pass = context;
    struct tensor x = rows_of(pass->x, first, count), out = rows_of(pass->out, first, count);
    pass->kernels->activation_forward(pass->activation, &x, &out);
}

static void activation_backward_part(void *context, int64_t first, int64_t count)
{
    const struct pass *pass = context;
    struct tensor y = rows_of(pass->y, first, count), dy = rows_of(pass->x, first, count);
    struct tensor out = rows_of(pass->out, first, count);
    pass->kernels->activation_backward(pass->activation, &y, &dy, &out);
}

static void dropout_part(void *context, int64_t first, int64_t count)
{
    const struct pass *pass = context;
    struct tensor x = rows_of(pass->x, first, count), out = rows_of(pass->out, first, count);
    pass->kernels->dropout(pass->mask, first, &x, &out);
}

/* Whether a dense layer is small enough for the own kernels. */
/* In bfloat16 all products are device_cpu_bf16.c's. */
static bool is_small(const struct device *device, const struct tensor *w)
{
    return device->precision == PRECISION_FLOAT32 && w->rows * w->stride <= OWN_KERNEL_FLOATS;
}

static int dense_forward(const struct device *device, const struct tensor *x, const struct tensor *w,
                         const float *bias, enum activation activation, struct tensor *y, struct kernel_error *error)
{
    const struct state *state = device->state;
    if (is_small(device, w)) {
        state->kernels->dense_forward(x, w, bias, activation, y);
        return 0;
    }
    if (gemm(device, false, false, x->rows, w->columns, w->rows, x->data, x->stride, w->data, w->stride, 0.0f, y->data,
             y->stride, error) < 0) {
        return -1;
    }
    struct pass pass = {.kernels = state->kernels, .activation = activation, .bias = bias, .out = y};
    cpu_in_parallel(threads_for(device, y->rows * y->stride), y->rows, 1, bias_activation_part, &pass);
    return 0;
}

static int dense_backward(const struct device *device, const struct tensor *x, const struct tensor *w,
                          const struct tensor *y, enum activation activation, struct tensor *dy, struct tensor *dx,
                          struct tensor *dw, float *dbias, struct kernel_error *error)
{
    const struct state *state = device->state;
    struct pass pass = {.kernels = state->kernels, .activation = activation, .dbias = dbias, .y = y, .out = dy};
    cpu_in_parallel(threads_for(device, dy->rows * dy->stride), tensor_stride(dy->columns), TENSOR_ALIGN,
                    bias_gradient_part, &pass);
    if (is_small(device, w)) {
        state->kernels->dense_weights(x, dy, dw);
    } else if (gemm(device, true, false, w->rows, w->columns, dy->rows, x->data, x->stride, dy->data, dy->stride, 0.0f,
                    dw->data, dw->stride, error) < 0) {
        return -1;
    }
    if (dx == NULL) {
        return 0;
    }
    if (is_small(device, w) && (size_t)(w->columns * tensor_stride(w->rows)) <= state->scratch_floats) {
        state->kernels->dense_inputs(dy, w, state->scratch, dx);
        return 0;
    }
    return gemm(device, false, true, dy->rows, w->rows, w->columns, dy->data, dy->stride, w->data, w->stride, 0.0f,
                dx->data, dx->stride, error);
}

static int activation_forward(const struct device *device, enum activation activation, const struct tensor *x,
                              struct tensor *y, struct kernel_error *error)
{
    (void)error;
    struct pass pass = {.kernels = kernels_of(device), .activation = activation, .x = x, .out = y};
    cpu_in_parallel(threads_for(device, x->rows * x->stride), x->rows, 1, activation_forward_part, &pass);
    return 0;
}

static int activation_backward(const struct device *device, enum activation activation, const struct tensor *y,
                               const struct tensor *dy, struct tensor *dx, struct kernel_error *error)
{
    (void)error;
    struct pass pass = {.kernels = kernels_of(device), .activation = activation, .x = dy, .y = y, .out = dx};
    cpu_in_parallel(threads_for(device, y->rows * y->stride), y->rows, 1, activation_backward_part, &pass);
    return 0;
}

static int dropout(const struct device *device, const struct device_dropout *mask, const struct tensor *x,
                   struct tensor *y, struct kernel_error *error)
{
    (void)error;
    struct pass pass = {.kernels = kernels_of(device), .mask = mask, .x = x, .out = y};
    cpu_in_parallel(threads_for(device, x->rows * x->stride), x->rows, 1, dropout_part, &pass);
    return 0;
}

static int cross_entropy(const struct device *device, const struct tensor *z, const int32_t *labels, struct tensor *dz,
                         double *loss_sum, int64_t *correct, struct kernel_error *error)
{
    (void)error;
    ((const struct state *)device->state)->kernels->cross_entropy(z, labels, dz, loss_sum, correct);
    return 0;
}

static int softmax(const struct device *device, const struct tensor *z, struct tensor *p, struct kernel_error *error)
{
    (void)error;
    ((const struct state *)device->state)->kernels->softmax(z, p);
    return 0;
}

static int squared_error(const struct device *device, const struct tensor *z, const struct tensor *t,
                         struct tensor *dz, double *loss_sum, struct kernel_error *error)
{
    (void)error;
    ((const struct state *)device->state)->kernels->squared_error(z, t, dz, loss_sum);
    return 0;
}

static int binary_cross_entropy(const struct device *device, const struct tensor *z, const struct tensor *t,
                                struct tensor *dz, double *loss_sum, struct kernel_error *error)
{
    (void)error;
    ((const struct state *)device->state)->kernels->binary_cross_entropy(z, t, dz, loss_sum);
    return 0;
}

/* --- optimisers: element by element, so any partition gives the same bits ------------------------------------------- */

struct update {
    const struct cpu_kernels *kernels;
    const void *step;
    float *parameters;
    const float *gradients;
    float *first, *second; /* states; NULL: none */
};

static void sgd_part(void *context, int64_t first, int64_t count)
{
    const struct update *update = context;
    update->kernels->sgd(update->step, (size_t)count, update->parameters + first, update->gradients + first,
                         update->first != NULL ? update->first + first : NULL);
}

static void adam_part(void *context, int64_t first, int64_t count)
{
    const struct update *update = context;
    update->kernels->adam(update->step, (size_t)count, update->parameters + first, update->gradients + first,
                          update->first + first, update->second + first);
}

static void rmsprop_part(void *context, int64_t first, int64_t count)
{
    const struct update *update = context;
    update->kernels->rmsprop(update->step, (size_t)count, update->parameters + first, update->gradients + first,
                             update->first + first, update->second != NULL ? update->second + first : NULL);
}

static int sgd(const struct device *device, const struct device_sgd *step, size_t count, float *parameters,
               const float *gradients, float *momentum, struct kernel_error *error)
{
    (void)error;
    struct update update = {kernels_of(device), step, parameters, gradients, momentum, NULL};
    cpu_in_parallel(threads_for(device, (int64_t)count), (int64_t)count, TENSOR_ALIGN, sgd_part, &update);
    return 0;
}

static int adam(const struct device *device, const struct device_adam *step, size_t count, float *parameters,
                const float *gradients, float *m, float *v, struct kernel_error *error)
{
    (void)error;
    struct update update = {kernels_of(device), step, parameters, gradients, m, v};
    cpu_in_parallel(threads_for(device, (int64_t)count), (int64_t)count, TENSOR_ALIGN, adam_part, &update);
    return 0;
}

static int rmsprop(const struct device *device, const struct device_rmsprop *step, size_t count, float *parameters,
                   const float *gradients, float *square, float *momentum, struct kernel_error *error)
{
    (void)error;
    struct update update = {kernels_of(device), step, parameters, gradients, square, momentum};
    cpu_in_parallel(threads_for(device, (int64_t)count), (int64_t)count, TENSOR_ALIGN, rmsprop_part, &update);
    return 0;
}

static int squared_norm(const struct device *device, size_t count, const float *values, double *sum,
                        struct kernel_error *error)
{
    (void)error;
    *sum = ((const struct state *)device->state)->kernels->squared_norm(count, values);
    return 0;
}

static int clip(const struct device *device, float scale, float limit, size_t count, float *values,
                struct kernel_error *error)
{
    (void)error;
    ((const struct state *)device->state)->kernels->clip(scale, limit, count, values);
    return 0;
}

static const char *bfloat16(const struct device *device)
{
    return cpu_bf16_describe(((const struct state *)device->state)->bf16);
}

static const struct device_operations operations = {
    .name = "cpu",
    .open = open_device,
    .close = close_device,
    .supports = supports,
    .describe = describe,
    .gemm = gemm,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .dropout = dropout,
    .cross_entropy = cross_entropy,
    .softmax = softmax,
    .squared_error = squared_error,
    .layer_code = layer_code,
    .sgd = sgd,
    .adam = adam,
    .rmsprop = rmsprop,
    .squared_norm = squared_norm,
    .clip = clip,
    .binary_cross_entropy = binary_cross_entropy,
    .bfloat16 = bfloat16,
};

__attribute__((visibility("default"))) const struct device_operations *tl_device_cpu(int version);

const struct device_operations *tl_device_cpu(int version)
{
    return version == DEVICE_MODULE_VERSION ? &operations : NULL;
}
