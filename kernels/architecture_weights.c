/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/architecture_weights.h"
#include "kernels/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSOR_NAME_BYTES = ARCHITECTURE_NAME_BYTES + 32 };

/* The values of a row that the first layer with weights takes: the columns of a matrix that is (out, in) in the file. */
static struct shape guess_input(const struct architecture *architecture, const struct safetensors *weights)
{
    struct shape shape = {.rank = 1, .dims = {1}};
    for (int i = 0; i < architecture->layer_count; i++) {
        char name[TENSOR_NAME_BYTES];
        snprintf(name, sizeof name, "%s.weight", architecture->layers[i].name);
        const struct safetensors_tensor *tensor = safetensors_find(weights, name);
        if (tensor != NULL) {
            shape.dims[0] = tensor->rank == 2 && tensor->shape[1] > 0 ? tensor->shape[1] : 1;
            break;
        }
    }
    return shape;
}

static int check_tensor(const struct architecture_layer *layer, const struct layer_parameter *parameter,
                        const struct safetensors *weights, struct kernel_error *error)
{
    char name[TENSOR_NAME_BYTES], has[96], wanted[96];
    struct shape own = {.rank = parameter->file_rank}, given = {0};
    snprintf(name, sizeof name, "%s.%s", layer->name, parameter->name);
    const struct safetensors_tensor *tensor = safetensors_find(weights, name);
    if (tensor == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "the weights have no tensor %s", name);
    }
    if (tensor->dtype != SAFETENSORS_F32) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "tensor %s of the weights is %s, not F32", name,
                                safetensors_dtype_name(tensor->dtype));
    }
    memcpy(own.dims, parameter->file_shape, sizeof own.dims);
    given.rank = tensor->rank < SHAPE_RANK ? tensor->rank : SHAPE_RANK;
    memcpy(given.dims, tensor->shape, (size_t)given.rank * sizeof given.dims[0]);
    if (tensor->rank != own.rank || memcmp(own.dims, given.dims, (size_t)own.rank * sizeof own.dims[0]) != 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "tensor %s of the weights has shape %s, the net's is %s",
                                name, shape_format(&given, has, sizeof has), shape_format(&own, wanted, sizeof wanted));
    }
    return 0;
}

int architecture_check_weights(const struct architecture *architecture, const struct shape *input,
                               const struct safetensors *weights, struct kernel_error *error)
{
    struct shape inputs[ARCHITECTURE_INPUTS] = {0};
    struct architecture_size total;
    int result = -1;
    size_t layers = (size_t)architecture->layer_count;
    struct shape *shapes = calloc((size_t)architecture->input_count + layers, sizeof *shapes);
    struct layer_size *measured = calloc(layers > 0 ? layers : 1, sizeof *measured);
    if (shapes == NULL || measured == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "architecture: out of memory");
        goto out;
    }
    if (architecture->input_count == 1 && architecture->inputs[0].shape.rank == 0) {
        inputs[0] = input != NULL && input->rank > 0 ? *input : guess_input(architecture, weights);
    }
    if (architecture_measure(architecture, inputs, shapes, measured, &total, error) < 0) {
        goto out;
    }
    for (size_t i = 0; i < layers; i++) {
        for (int j = 0; j < measured[i].parameter_count; j++) {
            if (check_tensor(&architecture->layers[i], &measured[i].parameters[j], weights, error) < 0) {
                goto out;
            }
        }
    }
    result = 0;
out:
    free(measured);
    free(shapes);
    return result;
}
