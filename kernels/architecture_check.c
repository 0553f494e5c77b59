/* SPDX-License-Identifier: Apache-2.0 */
/* What an architecture amounts to: its canonical text, and its shapes and size. */
#include "kernels/architecture.h"

#include "kernels/architecture_attribute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *node_name(const struct architecture *architecture, int node)
{
    return node < architecture->input_count ? architecture->inputs[node].name
                                            : architecture->layers[node - architecture->input_count].name;
}

static void print_layer(FILE *out, const struct architecture *architecture, const struct architecture_layer *layer)
{
    fprintf(out, "{\"name\":\"%s\",\"type\":\"%s\",\"inputs\":[", layer->name, layer->type->name);
    for (int i = 0; i < layer->input_count; i++) {
        fprintf(out, "%s\"%s\"", i > 0 ? "," : "", node_name(architecture, layer->inputs[i]));
    }
    fputc(']', out);
    for (size_t i = 0; layer->type->attributes[i].name != NULL; i++) {
        architecture_attribute_print(out, layer, i);
    }
    fputc('}', out);
}

char *architecture_to_json(const struct architecture *architecture)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL) {
        return NULL;
    }
    fputs("{\"inputs\":[", out);
    for (int i = 0; i < architecture->input_count; i++) {
        const struct architecture_input *input = &architecture->inputs[i];
        fprintf(out, "%s{\"name\":\"%s\"", i > 0 ? "," : "", input->name);
        for (int j = 0; j < input->shape.rank; j++) {
            fprintf(out, "%s%lld", j == 0 ? ",\"shape\":[" : ",", (long long)input->shape.dims[j]);
        }
        fputs(input->shape.rank > 0 ? "]}" : "}", out);
    }
    fputs("],\"layers\":[", out);
    for (int i = 0; i < architecture->layer_count; i++) {
        fputs(i > 0 ? "," : "", out);
        print_layer(out, architecture, &architecture->layers[i]);
    }
    fputs("],\"outputs\":[", out);
    for (int i = 0; i < architecture->output_count; i++) {
        fprintf(out, "%s\"%s\"", i > 0 ? "," : "", node_name(architecture, architecture->outputs[i]));
    }
    fputs("]}", out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

static int input_shape(const struct architecture_input *input, const struct shape *given, struct shape *shape,
                       struct kernel_error *error)
{
    char own[80], theirs[80];
    *shape = input->shape;
    if (given != NULL && given->rank != 0) {
        int64_t size = 1;
        for (int i = 0; i < given->rank; i++) {
            if (given->rank > SHAPE_RANK || given->rank < 0 || given->dims[i] < 1 ||
                __builtin_mul_overflow(size, given->dims[i], &size) || size > ARCHITECTURE_DIMENSION) {
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "input %s: the shape given has no size from 1 to "
                                        "%d", input->name, ARCHITECTURE_DIMENSION);
            }
        }
        if (shape->rank != 0 && !same_shape(shape, given)) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "input %s: the architecture says shape %s, the data "
                                    "has %s", input->name, shape_format(shape, own, sizeof own),
                                    shape_format(given, theirs, sizeof theirs));
        }
        *shape = *given;
    }
    if (shape->rank == 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "input %s: its shape is not known", input->name);
    }
    return 0;
}

/* Adds one layer to the totals, refusing what is beyond the limits (the sums cannot overflow then). */
static int add_layer(const struct architecture_layer *layer, const struct layer_size *measured,
                     struct architecture_size *total, struct kernel_error *error)
{
    int64_t output = 1;
    for (int i = 0; i < measured->output.rank; i++) {
        if (measured->output.dims[i] < 1 || __builtin_mul_overflow(output, measured->output.dims[i], &output) ||
            output > ARCHITECTURE_DIMENSION) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: its output has no size from 1 to %d",
                                    layer->name, ARCHITECTURE_DIMENSION);
        }
    }
    for (int i = 0; i < measured->parameter_count; i++) {
        int64_t count;
        if (__builtin_mul_overflow(measured->parameters[i].rows, measured->parameters[i].columns, &count) ||
            count > ARCHITECTURE_PARAMETERS - total->parameters) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: %s (%lld x %lld) takes the net above %lld "
                                    "parameters", layer->name, measured->parameters[i].name,
                                    (long long)measured->parameters[i].rows,
                                    (long long)measured->parameters[i].columns, (long long)ARCHITECTURE_PARAMETERS);
        }
        total->parameters += measured->parameters[i].buffer ? 0 : count;
    }
    total->activations += output + measured->workspace;
    if (__builtin_add_overflow(total->flops, measured->flops, &total->flops)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: too much work to count", layer->name);
    }
    return 0;
}

/* Every layer's output is used by another layer or is an output. */
static int check_used(const struct architecture *architecture, struct kernel_error *error)
{
    bool used[ARCHITECTURE_INPUTS + ARCHITECTURE_LAYERS] = {false};
    for (int i = 0; i < architecture->layer_count; i++) {
        for (int j = 0; j < architecture->layers[i].input_count; j++) {
            used[architecture->layers[i].inputs[j]] = true;
        }
    }
    for (int i = 0; i < architecture->output_count; i++) {
        used[architecture->outputs[i]] = true;
    }
    for (int i = 0; i < architecture->input_count + architecture->layer_count; i++) {
        if (!used[i]) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s %s: nothing uses it: take it out or add it to "
                                    "the outputs", i < architecture->input_count ? "input" : "layer",
                                    node_name(architecture, i));
        }
    }
    return 0;
}

int architecture_measure(const struct architecture *architecture, const struct shape *input_shapes,
                         struct shape *shapes, struct layer_size *measured, struct architecture_size *total,
                         struct kernel_error *error)
{
    struct kernel_error inner = {0};
    *total = (struct architecture_size){0};
    if (check_used(architecture, error) < 0) {
        return -1;
    }
    for (int i = 0; i < architecture->input_count; i++) {
        if (input_shape(&architecture->inputs[i], input_shapes != NULL ? &input_shapes[i] : NULL, &shapes[i], error) <
            0) {
            return -1;
        }
    }
    for (int i = 0; i < architecture->layer_count; i++) {
        const struct architecture_layer *layer = &architecture->layers[i];
        struct shape inputs[ARCHITECTURE_INPUTS];
        for (int j = 0; j < layer->input_count; j++) {
            inputs[j] = shapes[layer->inputs[j]];
        }
        struct layer_size size = {0};
        if (layer->type->measure(layer, inputs, &size, &inner) < 0) {
            return kernel_error_set(error, (enum kernel_error_code)inner.code, "layer %s: %s", layer->name,
                                    inner.message);
        }
        if (add_layer(layer, &size, total, error) < 0) {
            return -1;
        }
        shapes[architecture->input_count + i] = size.output;
        if (measured != NULL) {
            measured[i] = size;
        }
    }
    total->input = shapes[0];
    total->output = shapes[architecture->outputs[0]];
    return 0;
}

int architecture_check(const struct architecture *architecture, const struct shape *input_shapes, int64_t outputs,
                       struct architecture_size *size, struct kernel_error *error)
{
    struct architecture_size total = {0};
    if (size != NULL) {
        *size = total;
    }
    size_t nodes = (size_t)architecture->input_count + (size_t)architecture->layer_count;
    struct shape *shapes = calloc(nodes, sizeof *shapes);
    if (shapes == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "architecture: out of memory");
    }
    int result = architecture_measure(architecture, input_shapes, shapes, NULL, &total, error);
    free(shapes);
    if (result < 0) {
        return -1;
    }
    if (outputs != 0 && shape_size(&total.output) != outputs) {
        char text[80];
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: gives %s per sample, the data needs %lld",
                                node_name(architecture, architecture->outputs[0]),
                                shape_format(&total.output, text, sizeof text), (long long)outputs);
    }
    if (size != NULL) {
        *size = total;
    }
    return 0;
}
