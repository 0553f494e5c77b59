/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/architecture_weights.h"
#include "kernels/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSOR_NAME_BYTES = ARCHITECTURE_NAME_BYTES + 32 };

/* What a row of data must be, where the layers alone say it: as many values as the first dense layer's weights (out, in)
 * take, or as a reshape gives, with only layers before it that change no size. False: any other net, such as a convolution,
 * fits rows of many shapes. */
static bool guess_input(const struct architecture *architecture, const struct safetensors *weights, struct shape *shape)
{
    static const char *const sizes_stay[] = {"dropout", "flatten", "relu", "leaky_relu", "gelu", "tanh", "sigmoid"};
    *shape = (struct shape){.rank = 1, .dims = {1}};
    for (int i = 0; i < architecture->layer_count; i++) {
        const struct architecture_layer *layer = &architecture->layers[i];
        if (strcmp(layer->type->name, "reshape") == 0) {
            shape->dims[0] = shape_size(&layer->values[0].shape);
            return true;
        }
        if (strcmp(layer->type->name, "dense") == 0) {
            char name[TENSOR_NAME_BYTES];
            snprintf(name, sizeof name, "%s.weight", layer->name);
            const struct safetensors_tensor *tensor = safetensors_find(weights, name);
            shape->dims[0] = tensor != NULL && tensor->rank == 2 && tensor->shape[1] > 0 ? tensor->shape[1] : 1;
            return true; /* where there is no such tensor, that is found out by its name */
        }
        bool stays = false;
        for (size_t j = 0; j < sizeof sizes_stay / sizeof sizes_stay[0]; j++) {
            stays = stays || strcmp(layer->type->name, sizes_stay[j]) == 0;
        }
        if (!stays) {
            return false;
        }
    }
    return true;
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
    bool known = true;
    for (int i = 0; i < architecture->input_count; i++) {
        known = known && architecture->inputs[i].shape.rank > 0;
    }
    if (!known && architecture->input_count == 1) {
        known = input != NULL && input->rank > 0;
        if (known) {
            inputs[0] = *input;
        } else {
            known = guess_input(architecture, weights, &inputs[0]);
        }
    }
    if (!known) {
        return 0;
    }
    size_t layers = (size_t)architecture->layer_count;
    struct shape *shapes = calloc((size_t)architecture->input_count + layers, sizeof *shapes);
    struct layer_size *measured = calloc(layers > 0 ? layers : 1, sizeof *measured);
    if (shapes == NULL || measured == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "architecture: out of memory");
        goto out;
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
