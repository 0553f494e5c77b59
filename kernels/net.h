/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_NET_H
#define TL_KERNELS_NET_H

/* A net: an architecture with its shapes inferred, parameters, gradients and activations allocated, on a device.
 * All parameters live in one block and all gradients in another; a step allocates nothing.
 *
 *   struct net *net = net_new(&(struct net_options){.architecture = a, .input_shapes = {{1, {784}}}, .outputs = 10,
 *                             .loss = "cross_entropy", .batch_size = 256, .device = device, .seed = 7}, &error);
 *   net_train_step(net, optimizer, &(struct net_batch){.rows = n, .inputs = {x}, .labels = {y}}, &metrics, &error);
 *
 * A net is used by one thread at a time. Dense weights start as U(-b, b), b = 1 / sqrt(fan_in), and biases likewise, as
 * PyTorch's Linear does (kaiming_uniform with a = sqrt 5): the same nets then reach the same accuracy. */

#include "kernels/architecture.h"
#include "kernels/device.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "kernels/safetensors.h"

struct net;

struct net_options {
    const struct architecture *architecture;            /* borrowed during net_new only */
    struct shape input_shapes[ARCHITECTURE_INPUTS];     /* rank 0: the architecture's own */
    int64_t outputs;                                    /* classes or targets per sample; 0: any */
    const char *loss;                                   /* one of loss.h's; NULL: only net_predict */
    double huber_delta;                                 /* of the loss huber; 0: its default */
    int64_t batch_size;                                 /* the most rows of a batch: 1 … 2^20 */
    const struct device *device;                        /* borrowed for the net's life */
    uint64_t seed;                                      /* of the initial weights and the dropout masks */
    enum device_precision precision;                    /* of the products; float32 is the default */
    bool trains;                                        /* without a loss: net_backward will be called */
    bool input_gradients;                               /* net_input_gradient is wanted */
};

/* Rows of each input and target, one after the other, without padding. */
struct net_batch {
    int64_t rows;                                       /* 1 … batch_size: the last batch may be smaller */
    const float *inputs[ARCHITECTURE_INPUTS];           /* (rows, input size) */
    const int32_t *labels[ARCHITECTURE_OUTPUTS];        /* (rows) class numbers, for cross_entropy */
    const float *targets[ARCHITECTURE_OUTPUTS];         /* (rows, output size), for losses of values */
};

/* Sums, so that batches add up; zero it before the first. Accuracy is correct / rows (where the loss has one,
 * loss_has_accuracy), loss is loss_sum / rows. */
struct net_metrics {
    int64_t rows, correct;
    double loss_sum;
};

/* NULL on error: KERNEL_ERROR_INVALID (naming the layer or field, before anything of the net's size is allocated),
 * KERNEL_ERROR_MEMORY. */
struct net *net_new(const struct net_options *options, struct kernel_error *error);
void net_free(struct net *net);

const struct architecture_size *net_size(const struct net *net);
int64_t net_batch_size(const struct net *net);
/* Bytes this net holds: parameters, gradients, activations (the optimiser's state comes on top). */
size_t net_memory(const struct net *net);

/* Forward, loss, backward, one step of the optimiser. Adds to *metrics (loss before the step). A loss that is not
 * finite: -1, KERNEL_ERROR_NONFINITE with the step and the first layer whose output is not finite; the parameters then
 * stay as they were before the step. */
int net_train_step(struct net *net, struct optimizer *optimizer, const struct net_batch *batch,
                   struct net_metrics *metrics, struct kernel_error *error);
/* The same without the optimiser: gradients are left in net_gradients (of tests, and recipes with steps of their own). */
int net_gradient(struct net *net, const struct net_batch *batch, struct net_metrics *metrics,
                 struct kernel_error *error);
/* The optimiser's step alone, with the gradients that are there; counts as a step of training. */
int net_step(struct net *net, struct optimizer *optimizer, struct kernel_error *error);

/* The passes one by one, for recipes with losses of their own. The outputs stay until the next forward pass; rows are those
 * of the batch, of which only inputs are read. */
int net_forward(struct net *net, const struct net_batch *batch, bool training, struct kernel_error *error);
const struct tensor *net_output(const struct net *net, int index);
/* After net_forward in training: from the gradient of each output (rows, columns of net_output) to those of the parameters
 * (set, not added to) and of the inputs. */
int net_backward(struct net *net, const struct tensor *output_gradients, struct kernel_error *error);
/* (rows, input size), padded, after a backward pass; NULL without net_options.input_gradients. */
const struct tensor *net_input_gradient(const struct net *net, int index);

/* Without dropout; adds to *metrics. */
int net_evaluate(struct net *net, const struct net_batch *batch, struct net_metrics *metrics,
                 struct kernel_error *error);
/* Class probabilities (cross_entropy), probabilities (binary_cross_entropy) or values of the first output into out (rows, outputs), without padding.
 * Only batch->inputs are read. */
int net_predict(struct net *net, const struct net_batch *batch, float *out, struct kernel_error *error);

/* The blocks: every matrix's rows are padded with zeros to multiples of TENSOR_ALIGN; dense weights are (in, out).
 * net_parameter_floats is the length with padding. The first net_trained_floats of them are trained (optimizer_new takes
 * it, and it is the length of the gradients); buffers (running statistics) stand behind them. */
size_t net_parameter_floats(const struct net *net);
size_t net_trained_floats(const struct net *net);
float *net_parameters(struct net *net);
float *net_gradients(struct net *net);

/* Where the parameters of layer `layer` begin in the blocks: those of the layers before it are the floats before. */
size_t net_layer_offset(const struct net *net, int layer);

/* Whether every parameter (and buffer) is finite: 0, or -1 and KERNEL_ERROR_NONFINITE naming the first that is not. A loss
 * tells so only at the next step. */
int net_check_finite(const struct net *net, struct kernel_error *error);

/* Steps trained so far: with the seed, the whole state of the dropout masks. Checkpoints keep it. */
uint64_t net_steps(const struct net *net);
void net_set_steps(struct net *net, uint64_t steps);

/* Named parameters as files have them. index < net_tensor_count. name is "dense_1.weight"; shape as PyTorch's. */
size_t net_tensor_count(const struct net *net);
int net_tensor(const struct net *net, size_t index, char *name, size_t name_size, struct shape *shape);
/* Copies one out or in, in the file's layout (shape_size floats). */
void net_tensor_get(const struct net *net, size_t index, float *values);
void net_tensor_set(struct net *net, size_t index, const float *values);

/* Returns 0, else the writing fails with KERNEL_ERROR_IO. */
typedef int net_write_function(void *context, const void *data, size_t length);
/* Reads up to size bytes: the number, 0 at the end, -1 on error. */
typedef int64_t net_read_function(void *context, void *buffer, size_t size);

/* The weights as safetensors, tensors named as PyTorch names them ("dense_1.weight" (out, in), "dense_1.bias" (out)),
 * with the metadata given (may be none) and "format": "pt". Memory: one row at a time. */
int net_weights_write(const struct net *net, const struct safetensors_pair *metadata, size_t metadata_count,
                      net_write_function *write, void *context, struct kernel_error *error);
/* Reads weights written by anyone: every parameter of the net must be there as F32 with the right shape; other tensors
 * are skipped (a checkpoint's weights load too). On error the parameters may be half read. */
int net_weights_read(struct net *net, net_read_function *read, void *context, struct kernel_error *error);
int net_weights_read_memory(struct net *net, const uint8_t *data, size_t length, struct kernel_error *error);

/* One more block of the net's size (net_parameter_floats) in a checkpoint, such as the best parameters so far: its tensors
 * are named PREFIX + name. */
struct net_block {
    const char *prefix; /* "best.": at most 31 bytes */
    float *data;
    bool trained;       /* it has net_trained_floats only, without the buffers, as an optimiser's state */
    const struct net_block *next; /* at most 4 in all; NULL: no more */
};
/* A checkpoint is the weights plus the optimiser's state (tensors "optimizer.m" …, metadata "optimizer", "steps",
 * "net_steps", "seed") plus `more` (NULL: none) plus the caller's metadata (epoch, position in the data, shuffle state …):
 * with it, a run goes on with the same bits. Reading needs the blocks that writing had. */
int net_checkpoint_write(const struct net *net, struct optimizer *optimizer, const struct net_block *more,
                         const struct safetensors_pair *metadata, size_t metadata_count, net_write_function *write,
                         void *context, struct kernel_error *error);
/* *header (NULL allowed) is the parsed header, for the caller's metadata (safetensors_free); NULL on error. */
int net_checkpoint_read(struct net *net, struct optimizer *optimizer, const struct net_block *more,
                        net_read_function *read, void *context, struct safetensors **header, struct kernel_error *error);

#endif
