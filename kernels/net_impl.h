/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_NET_IMPL_H
#define TL_KERNELS_NET_IMPL_H

/* The inside of a net; only net*.c include it. */

#include "kernels/layer.h"
#include "kernels/loss.h"
#include "kernels/net.h"

struct net_layer {
    struct layer layer;
    int consumers;        /* layers and losses that use the output */
    bool needs_gradient;  /* there are parameters here or before */
    bool is_output;
    struct tensor scratch[ARCHITECTURE_INPUTS]; /* gradients of inputs that others use too; data NULL: direct */
};

/* What the net is given. */
struct net_input {
    struct tensor tensor;
    struct tensor gradient; /* where has_input_gradients */
    int consumers;
};

/* One parameter of one layer, where it is in the blocks. */
struct net_parameter {
    int layer, index;     /* of layers, of its parameters */
    size_t offset;        /* floats from the start of the block */
};

struct net {
    struct architecture architecture;          /* a copy; layers are owned */
    struct architecture_size size;
    struct device own_device;                  /* a copy of the handle, with the net's precision */
    const struct device *device;               /* that copy */
    bool has_loss, has_gradients, has_input_gradients;
    enum loss_kind loss;
    double huber_delta;                        /* 0: the default */
    int64_t batch_size;
    uint64_t seed, steps;
    int64_t rows;                              /* that tensors are set to */
    bool linked_for_training;
    struct net_input inputs[ARCHITECTURE_INPUTS];
    struct tensor *outputs[ARCHITECTURE_OUTPUTS];
    struct net_layer *layers;
    size_t parameter_count;
    struct net_parameter *parameters_of;
    size_t floats, trained_floats;             /* of the parameters, and of the trained ones among them, which come first */
    float *parameters;                         /* (floats) */
    float *gradients;                          /* (trained_floats) */
    float *activations;
    size_t memory;
};

/* Points every layer at its inputs; outside training, past the layers that are the identity then. */
void net_link_layers(struct net *net, bool training);
/* The layer that makes node `node` (counted like inputs of a layer); NULL for an input of the net. */
struct net_layer *net_producer(struct net *net, int node);
const struct layer_parameter *net_parameter(const struct net *net, size_t index);

#endif
