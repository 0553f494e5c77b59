/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_H
#define TL_KERNELS_LAYER_H

/* Layer types: one file each (layer_NAME.c), one entry in layer.c's table. A type declares its attributes, says what
 * shape and how many parameters a layer of it has, and has code that runs it forward and backward: its formula in plain
 * loops with sums in double, or a device's operations. A device may have faster code of its own for a layer
 * (device_operations.layer_code); tests/kernels holds it to the type's. docs/kernels.md shows how to add one. */

#include "kernels/architecture.h"
#include "kernels/device.h"
#include "kernels/random.h"

/* A shape is an array in JSON, [1,28,28] (or the only number), and 1x28x28 in the short form. */
enum layer_attribute_kind { LAYER_INTEGER, LAYER_NUMBER, LAYER_BOOLEAN, LAYER_CHOICE, LAYER_SHAPE };

struct layer_attribute {
    const char *name;
    enum layer_attribute_kind kind;
    bool required;
    double minimum, maximum;    /* inclusive; numbers and integers */
    bool maximum_excluded;
    double standard;            /* the default (a CHOICE's index); a SHAPE that is not given has rank 0 */
    const char *const *choices; /* NULL-terminated */
    const char *about;          /* what it is, in a few words, for help */
    bool added_later;           /* than its type: in canonical texts only where it is not the default, so that the digests
                                 * of older architectures stay */
};

/* A named matrix of parameters in the net's blocks. In files it is (rows, columns) transposed where told so. */
struct layer_parameter {
    const char *name;           /* "weight": the file's tensor is LAYER.weight */
    int64_t rows, columns;
    bool transposed;            /* the file has (columns, rows), as PyTorch's Linear has */
    int file_rank;              /* 1: (columns); 2; else file_shape */
    int64_t file_shape[SHAPE_RANK];
    enum initialiser initialiser;
    double scale;               /* the initial values are multiplied by this; 0: 1 */
    int64_t fan_in, fan_out;
    int gates;                  /* the initialiser fills so many equal groups of columns each by itself; 0: 1 */
    bool buffer;                /* kept with the weights but not trained (running statistics): without a gradient. Only
                                 * backward changes it: a step that is refused has not been taken */
};

#define LAYER_PARAMETERS 32

struct layer_size {
    struct shape output;
    int64_t flops;              /* per sample, forward */
    int64_t workspace;          /* floats per sample beside the output */
    int parameter_count;
    struct layer_parameter parameters[LAYER_PARAMETERS];
};

struct layer;
struct layer_pass;

struct layer_build {
    const struct device *device;
    int64_t batch_size;         /* the most rows of a pass */
    bool training;              /* backward will be called, too */
};

/* What runs a layer. */
struct layer_code {
    /* Makes layer->state once the net's memory is there, and sets state_bytes; may be NULL. After -1 destroy is called, too. */
    int (*build)(struct layer *layer, const struct layer_build *build, struct kernel_error *error);
    void (*destroy)(struct layer *layer);
    int (*forward)(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error);
    /* Sets (does not add to) the gradients of its parameters, and input_gradients where they are wanted. */
    int (*backward)(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error);
};

/* One layer of a built net. Tensors are (rows, size) with padded strides; rows changes from batch to batch. */
struct layer {
    const struct architecture_layer *description;
    struct layer_size size;
    struct tensor *inputs[ARCHITECTURE_INPUTS];          /* borrowed: outputs of others, or the net's inputs */
    struct tensor *input_gradients[ARCHITECTURE_INPUTS]; /* to set (not to add to); NULL: not wanted */
    struct shape input_shapes[ARCHITECTURE_INPUTS];
    struct tensor output;
    struct tensor output_gradient;                       /* may be used up by backward */
    struct tensor parameters[LAYER_PARAMETERS];          /* views into the net's blocks */
    struct tensor gradients[LAYER_PARAMETERS];
    float *workspace;                                    /* (batch_size, stride of size.workspace), from forward to backward */
    uint64_t stream;                                     /* of its random numbers */
    const struct layer_code *code;                       /* the type's, or the device's own */
    void *state;                                         /* the code's, from build to destroy; NULL at first */
    size_t state_bytes;                                  /* its memory, for net_memory */
};

struct layer_pass {
    const struct device *device;
    bool training;
    uint64_t seed, step;
    int64_t rows;
};

struct layer_type {
    const char *name;
    const char *about;                        /* what it does, in one line, for help */
    const struct layer_attribute *attributes; /* up to a NULL name; the short form gives them in this order */
    int minimum_inputs, maximum_inputs;
    bool identity_in_predict; /* dropout: outside training, the output is the input */
    /* Fills *size; -1 with a message that says what does not fit (the caller puts "layer NAME: " before it). */
    int (*measure)(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error);
    struct layer_code code;
};

/* Infers everything: shapes is (inputs + layers), measured (layers) or NULL. As architecture_check, which calls it. */
int architecture_measure(const struct architecture *architecture, const struct shape *input_shapes,
                         struct shape *shapes, struct layer_size *measured, struct architecture_size *total,
                         struct kernel_error *error);

/* NULL: none of this name. */
const struct layer_type *layer_type_find(const char *name);
/* All types, NULL-terminated. */
const struct layer_type *const *layer_types(void);

extern const char *const layer_activation_names[]; /* in the order of enum activation up to ACTIVATION_COUNT, NULL-terminated */

#endif
