/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_DEVICE_H
#define TL_KERNELS_DEVICE_H

/* A device is a table of operations. `ref` is plain loops with sums in double: the oracle of the others. `cpu` (oneDNN,
 * OpenBLAS and own code for nets too small for a library call) is a module, tl_device_cpu.so, loaded when it is first
 * asked for: from $TL_HUB_DEVICE_PATH, else ../lib/tl_hub, ../LIBDIR/tl_hub beside the running program, else where it
 * was installed. tests/kernels holds every device to `ref`, operation by operation.
 *
 * A device handle is used by one thread at a time. The same device, thread count and machine give the same bits. */

#include "kernels/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A matrix of floats with padded rows: element (r, c) is data[r * stride + c]. The floats between columns and stride
 * are zero where an operation is told so, and may then be read and written (as zeros). */
struct tensor {
    float *data;
    int64_t rows, columns, stride;
};

/* Rows of the net's own matrices start on 64 bytes: strides are multiples of this many floats. */
#define TENSOR_ALIGN 16
static inline int64_t tensor_stride(int64_t columns)
{
    return (columns + TENSOR_ALIGN - 1) / TENSOR_ALIGN * TENSOR_ALIGN;
}

/* gelu's slope cannot be had from its value: it is none of the dense operations' activations. */
enum activation {
    ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_TANH, ACTIVATION_SIGMOID, ACTIVATION_LEAKY_RELU, ACTIVATION_GELU
};
#define ACTIVATION_COUNT 5 /* without gelu */
#define LEAKY_RELU_SLOPE 0.01f

enum device_operation {
    DEVICE_GEMM, DEVICE_DENSE, DEVICE_ACTIVATION, DEVICE_DROPOUT, DEVICE_LOSS, DEVICE_OPTIMIZER
};

/* What the products of dense, convolutional and recurrent layers are made of. bfloat16: their operands (inputs, weights,
 * hidden states, gradients of sums) are rounded to it (bf16.h) and the sums are float32's; all else, the weights that are
 * trained among it, is float32 as ever. */
enum device_precision { PRECISION_FLOAT32, PRECISION_BFLOAT16 };

struct device;
struct layer;
struct layer_code;

struct device_dropout {
    uint64_t seed, stream; /* stream: of the layer */
    uint64_t step;         /* of the training; the mask is a pure function of (seed, stream, step, row, column) */
    uint32_t threshold;    /* of 65536: an element is dropped where its 16 random bits are below */
    float scale;           /* 65536 / (65536 - threshold) */
};

struct device_sgd {
    float learning_rate, momentum, weight_decay;
    bool nesterov;
    bool first; /* step 1: momentum starts as the gradient */
};

struct device_adam {
    float beta1, beta2, epsilon, weight_decay;
    float keep;       /* of the parameters, before the step: 1 - learning_rate * decoupled decay; 1 without */
    float step_size;  /* learning_rate / (1 - beta1^t) */
    float root_scale; /* 1 / sqrt(1 - beta2^t) */
};

struct device_rmsprop {
    float learning_rate, alpha, epsilon, momentum, weight_decay;
};

/* Every operation returns 0, or -1 with *error. Strides are those of the tensors. x, y, z … are (rows, columns). */
struct device_operations {
    const char *name;
    int (*open)(struct device *device, struct kernel_error *error); /* sets device->state; may be NULL */
    void (*close)(struct device *device);
    bool (*supports)(const struct device *device, enum device_operation operation);
    /* One line a fact, "key: value\n…", for doctor. A new string (free) or NULL. */
    char *(*describe)(struct device *device);

    /* In device->precision, as the dense operations. c = op(a) op(b) + beta c; op(a) is (m, k), op(b) (k, n), c (m, n); op is the transpose where told so. */
    int (*gemm)(const struct device *device, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                const float *a, int64_t a_stride, const float *b, int64_t b_stride, float beta, float *c,
                int64_t c_stride, struct kernel_error *error);

    /* y = activation(x w + bias): x (rows, in), w (in, out), bias (out), y (rows, out). w, bias and y are padded with
     * zeros to their stride (bias to w's), and padding of y stays finite. */
    int (*dense_forward)(const struct device *device, const struct tensor *x, const struct tensor *w,
                         const float *bias, enum activation activation, struct tensor *y, struct kernel_error *error);
    /* dy (rows, out) is the gradient of y and is overwritten with that of x w + bias; dx = dy w^T (NULL: not wanted);
     * dw = x^T dy (in, out); dbias (out) = column sums of dy. dy is padded with zeros and stays so; so are dw, dbias. */
    int (*dense_backward)(const struct device *device, const struct tensor *x, const struct tensor *w,
                          const struct tensor *y, enum activation activation, struct tensor *dy, struct tensor *dx,
                          struct tensor *dw, float *dbias, struct kernel_error *error);

    /* y = activation(x); dx = dy * activation'(.) from y, which of gelu is the x. In place (x = y, dx = dy) is allowed. */
    int (*activation_forward)(const struct device *device, enum activation activation, const struct tensor *x,
                              struct tensor *y, struct kernel_error *error);
    int (*activation_backward)(const struct device *device, enum activation activation, const struct tensor *y,
                               const struct tensor *dy, struct tensor *dx, struct kernel_error *error);

    /* y = x * mask * scale (Srivastava et al. 2014, inverted). The backward pass is the same with dy for x. In place is
     * allowed. Element (r, c) is number e = r * columns + c; its 16 bits are half (e % 64) / 8 of the 8 halves (low
     * half first) of random_block(seed, stream << 40 | step, e / 64 * 8 + e % 8). */
    int (*dropout)(const struct device *device, const struct device_dropout *dropout, const struct tensor *x,
                   struct tensor *y, struct kernel_error *error);

    /* Fused softmax and cross-entropy (loss.h). z (rows, classes), labels (rows) in range; dz NULL: no gradient wanted,
     * else scaled by 1 / rows. *loss_sum and *correct are of this batch. */
    int (*cross_entropy)(const struct device *device, const struct tensor *z, const int32_t *labels, struct tensor *dz,
                         double *loss_sum, int64_t *correct, struct kernel_error *error);
    int (*softmax)(const struct device *device, const struct tensor *z, struct tensor *p, struct kernel_error *error);
    /* *loss_sum is the sum over rows of the mean over columns of (z - t)^2; dz = 2 (z - t) / (rows columns). */
    int (*squared_error)(const struct device *device, const struct tensor *z, const struct tensor *t,
                         struct tensor *dz, double *loss_sum, struct kernel_error *error);

    /* Its own code for a layer (layer.h; description, size and input_shapes are set) where that is faster than the layer
     * type's, or NULL. Decided by the layer's sizes and the device alone, so that it is the same on every run. May be NULL. */
    const struct layer_code *(*layer_code)(const struct device *device, const struct layer *layer);

    /* One pass over blocks of count floats (optimizer.h has the formulas). */
    int (*sgd)(const struct device *device, const struct device_sgd *sgd, size_t count, float *parameters,
               const float *gradients, float *momentum, struct kernel_error *error);
    int (*adam)(const struct device *device, const struct device_adam *adam, size_t count, float *parameters,
                const float *gradients, float *m, float *v, struct kernel_error *error);
    /* momentum: NULL without. */
    int (*rmsprop)(const struct device *device, const struct device_rmsprop *rmsprop, size_t count, float *parameters,
                   const float *gradients, float *square, float *momentum, struct kernel_error *error);
    /* The sum of squares of a block, always in the same order; values beyond 1e18 may make it infinite. */
    int (*squared_norm)(const struct device *device, size_t count, const float *values, double *sum,
                        struct kernel_error *error);
    /* values *= scale, and then to [-limit, limit]. */
    int (*clip)(const struct device *device, float scale, float limit, size_t count, float *values,
                struct kernel_error *error);

    /* Optional, NULL where the loops in loss.c are good enough. As squared_error, of the loss of that name; t is from 0 to
     * 1. */
    int (*binary_cross_entropy)(const struct device *device, const struct tensor *z, const struct tensor *t,
                                struct tensor *dz, double *loss_sum, struct kernel_error *error);
    /* Optional: in a few words, how products in bfloat16 are made here, for records. */
    const char *(*bfloat16)(const struct device *device);
};

/* The module's one symbol, "tl_device_cpu": NULL where version is not the one that it was built for. */
#define DEVICE_MODULE_VERSION 4
typedef const struct device_operations *device_module_function(int version);

extern const struct device_operations device_ref_operations;

struct device {
    const struct device_operations *operations;
    int threads;
    void *state;
    enum device_precision precision; /* float32 after device_open; a net has a copy of the handle with its own */
};

/* "ref" or "cpu" with 1 … 1024 threads (0: 1). NULL on error: KERNEL_ERROR_UNSUPPORTED where there is no such device
 * here, saying where it was looked for. */
struct device *device_open(const char *name, int threads, struct kernel_error *error);
void device_close(struct device *device);
const char *device_name(const struct device *device);
/* "float32" or "bfloat16": -1 with KERNEL_ERROR_INVALID naming both where it is neither. */
int device_precision_find(const char *name, enum device_precision *precision, struct kernel_error *error);
const char *device_precision_name(enum device_precision precision);
/* How the device makes products in bfloat16: "emulated: operands rounded, products in float32", say. */
const char *device_bfloat16(const struct device *device);
/* The names that device_open knows, NULL-terminated. */
const char *const *device_names(void);
/* What doctor shows: lines "key: value" on CPU features, GEMM candidates with their measured GFLOP/s, the choice and
 * why. A new string (free); NULL on error. Takes some ten milliseconds (it measures). */
char *device_describe(struct device *device, struct kernel_error *error);

#endif
