/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_ARCHITECTURE_H
#define TL_KERNELS_ARCHITECTURE_H

/* An architecture is a directed graph of named layers, as text:
 *
 *   {"inputs":  [{"name": "input", "shape": [784]}],               shape (per sample) may be left out
 *    "layers":  [{"name": "dense_1", "type": "dense", "inputs": ["input"], "units": 800, "activation": "relu"}, …],
 *    "outputs": ["dense_2"]}
 *
 * or the short form, a chain: "dropout:0.2 dense:800:relu dropout:0.5 dense:10" (type:argument:argument …, the
 * arguments in the order in which layer.h declares the type's attributes).
 * Left out, a layer's "inputs" is the layer before it (the first input for the first), its "name" is type_N counted
 * by type, and "outputs" is the last layer. A layer uses only inputs and layers that stand before it, so the list
 * is in an order in which it can be run, and there are no cycles.
 *
 * Everything is checked against the declared attributes (layer.h) and the limits below before anything of its size
 * is allocated; errors name the layer and the field. */

#include "kernels/error.h"

#include <stddef.h>
#include <stdint.h>

#define ARCHITECTURE_NAME_BYTES 64        /* names: letters, digits and _, not starting with a digit */
#define ARCHITECTURE_TEXT_BYTES (1 << 20) /* longer texts are refused */
#define ARCHITECTURE_LAYERS 4096
#define ARCHITECTURE_INPUTS 8             /* of the graph, and of one layer */
#define ARCHITECTURE_OUTPUTS 8
#define ARCHITECTURE_DIMENSION (1 << 24)  /* one dimension, and the floats of one sample of one layer */
#define ARCHITECTURE_PARAMETERS (1ll << 33)
#define ARCHITECTURE_ATTRIBUTES 12        /* of one layer */
#define SHAPE_RANK 6

/* A shape without the batch dimension: {784}, {1, 28, 28}. */
struct shape {
    int rank;
    int64_t dims[SHAPE_RANK];
};

int64_t shape_size(const struct shape *shape); /* product of dims; 1 for rank 0 */
/* "(1, 28, 28)" into buffer (always terminated); returns buffer. */
const char *shape_format(const struct shape *shape, char *buffer, size_t size);

struct layer_type;

/* The value of one declared attribute: number for numbers, integers and booleans; choice for names (an index
 * into the attribute's choices); shape for shapes. */
struct architecture_value {
    double number;
    int choice;
    struct shape shape;
};

struct architecture_input {
    char name[ARCHITECTURE_NAME_BYTES];
    struct shape shape; /* rank 0: not given */
};

struct architecture_layer {
    char name[ARCHITECTURE_NAME_BYTES];
    const struct layer_type *type;
    int input_count;
    int inputs[ARCHITECTURE_INPUTS]; /* below the number of inputs: that input; above: layer [n - input_count] */
    struct architecture_value values[ARCHITECTURE_ATTRIBUTES]; /* in the order of type->attributes */
};

struct architecture {
    int input_count;
    struct architecture_input inputs[ARCHITECTURE_INPUTS];
    int layer_count;
    struct architecture_layer *layers;
    int output_count;
    int outputs[ARCHITECTURE_OUTPUTS]; /* counted like inputs of a layer */
};

/* What a net of this architecture needs. */
struct architecture_size {
    int64_t parameters;          /* floats that are trained */
    int64_t activations;         /* floats per sample, forward */
    int64_t flops;               /* per sample, one forward pass (a training step is about three) */
    struct shape input;          /* of the first input */
    struct shape output;         /* of the first output */
};

/* Parses either form (the JSON graph starts with '{'). NULL on error: KERNEL_ERROR_INVALID naming layer and field. */
struct architecture *architecture_parse(const char *text, struct kernel_error *error);
void architecture_free(struct architecture *architecture);

/* The canonical JSON graph: fixed key order, every default written out, no spaces. The same graph gives the same text,
 * so its digest is stable. A new string (free), NULL without memory. */
char *architecture_to_json(const struct architecture *architecture);

/* Infers every shape from the inputs' (input_shapes, one for each input; NULL or rank 0: the architecture's own), and
 * refuses what does not fit: "layer dense_2: …". outputs: how many values the first output must have per sample
 * (the number of classes, or of targets); 0: any. Allocates nothing of the net's size. *size may be NULL. 0 or -1. */
int architecture_check(const struct architecture *architecture, const struct shape *input_shapes, int64_t outputs,
                       struct architecture_size *size, struct kernel_error *error);

#endif
