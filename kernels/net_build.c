/* SPDX-License-Identifier: Apache-2.0 */
/* Making a net: shapes, memory, what is linked to what. */
#include "kernels/block.h"
#include "kernels/net_impl.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_LIMIT (1 << 20)
#define PARAMETER_STREAM (1ull << 63) /* random numbers of the initial weights; dropout's are (layer + 1) << 40 */

const struct layer_parameter *net_parameter(const struct net *net, size_t index)
{
    const struct net_parameter *parameter = &net->parameters_of[index];
    return &net->layers[parameter->layer].layer.size.parameters[parameter->index];
}

/* NULL without memory. Counts into net->memory. */
static float *allocate(struct net *net, size_t floats)
{
    size_t bytes;
    float *block = block_new(floats, &bytes);
    net->memory += bytes;
    return block;
}

static int copy_architecture(struct net *net, const struct architecture *architecture, struct kernel_error *error)
{
    size_t count = (size_t)architecture->layer_count;
    net->architecture = *architecture;
    net->architecture.layers = calloc(count, sizeof *architecture->layers);
    net->layers = calloc(count, sizeof *net->layers);
    if (net->architecture.layers == NULL || net->layers == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory for %zu layers", count);
    }
    memcpy(net->architecture.layers, architecture->layers, count * sizeof *architecture->layers);
    return 0;
}

struct net_layer *net_producer(struct net *net, int node)
{
    return node < net->architecture.input_count ? NULL : &net->layers[node - net->architecture.input_count];
}

/* Shapes into the layers and the net's inputs; the total into net->size. */
static int measure(struct net *net, const struct net_options *options, struct kernel_error *error)
{
    int inputs = net->architecture.input_count, layers = net->architecture.layer_count, result = -1;
    struct shape *shapes = calloc((size_t)(inputs + layers), sizeof *shapes);
    struct layer_size *sizes = calloc((size_t)layers, sizeof *sizes);
    if (shapes == NULL || sizes == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory for %d layers", layers);
        goto out;
    }
    if (architecture_check(&net->architecture, options->input_shapes, options->outputs, NULL, error) < 0 ||
        architecture_measure(&net->architecture, options->input_shapes, shapes, sizes, &net->size, error) < 0) {
        goto out;
    }
    for (int i = 0; i < inputs; i++) {
        int64_t size = shape_size(&shapes[i]);
        net->inputs[i].tensor = (struct tensor){.columns = size, .stride = size};
    }
    for (int i = 0; i < layers; i++) {
        struct net_layer *net_layer = &net->layers[i];
        struct layer *layer = &net_layer->layer;
        layer->description = &net->architecture.layers[i];
        layer->size = sizes[i];
        layer->stream = (uint64_t)i + 1;
        net_layer->needs_gradient = sizes[i].parameter_count > 0;
        for (int j = 0; j < layer->description->input_count; j++) {
            int node = layer->description->inputs[j];
            struct net_layer *before = net_producer(net, node);
            layer->input_shapes[j] = shapes[node];
            *(before != NULL ? &before->consumers : &net->inputs[node].consumers) += 1;
            net_layer->needs_gradient = net_layer->needs_gradient ||
                                        (before != NULL ? before->needs_gradient : net->has_input_gradients);
        }
        layer->code = &layer->description->type->code;
        if (net->device->operations->layer_code != NULL) {
            const struct layer_code *own = net->device->operations->layer_code(net->device, layer);
            layer->code = own != NULL ? own : layer->code;
        }
    }
    for (int i = 0; i < net->architecture.output_count; i++) {
        struct net_layer *layer = net_producer(net, net->architecture.outputs[i]);
        layer->consumers++;
        layer->is_output = true;
    }
    result = 0;
out:
    free(shapes);
    free(sizes);
    return result;
}

/* The initial values of parameter number `index`, from a stream of random numbers of its own. */
static int initialise(struct net *net, size_t index, const struct tensor *values)
{
    const struct layer_parameter *parameter = net_parameter(net, index);
    int64_t gates = parameter->gates > 0 ? parameter->gates : 1;
    struct random_state random;
    random_init(&random, net->seed, PARAMETER_STREAM | index);
    for (int64_t gate = 0; gate < gates; gate++) {
        int64_t columns = values->columns / gates;
        if (random_initialise_matrix(&random, parameter->initialiser, parameter->fan_in, parameter->fan_out,
                                     values->rows, columns, values->data + gate * columns, values->stride) < 0) {
            return -1;
        }
    }
    for (int64_t i = 0; parameter->scale != 0.0 && i < values->rows * values->columns; i++) {
        float *value = &values->data[i / values->columns * values->stride + i % values->columns];
        *value = (float)((double)*value * parameter->scale);
    }
    return 0;
}

/* Where each parameter is in the blocks: the trained ones first, in the order of the layers, then the others. */
static int place_parameters(struct net *net, struct kernel_error *error)
{
    for (int i = 0; i < net->architecture.layer_count; i++) {
        net->parameter_count += (size_t)net->layers[i].layer.size.parameter_count;
    }
    net->parameters_of = calloc(net->parameter_count + 1, sizeof *net->parameters_of);
    if (net->parameters_of == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory");
    }
    for (int buffers = 0; buffers < 2; buffers++) {
        size_t next = 0;
        for (int i = 0; i < net->architecture.layer_count; i++) {
            const struct layer_size *size = &net->layers[i].layer.size;
            for (int j = 0; j < size->parameter_count; j++, next++) {
                if (size->parameters[j].buffer == (buffers == 1)) {
                    net->parameters_of[next] = (struct net_parameter){.layer = i, .index = j, .offset = net->floats};
                    net->floats += (size_t)(size->parameters[j].rows * tensor_stride(size->parameters[j].columns));
                }
            }
        }
        if (buffers == 0) {
            net->trained_floats = net->floats;
        }
    }
    return 0;
}

static int allocate_parameters(struct net *net, struct kernel_error *error)
{
    if (place_parameters(net, error) < 0) {
        return -1;
    }
    net->parameters = allocate(net, net->floats);
    net->gradients = net->has_gradients ? allocate(net, net->trained_floats) : NULL;
    if (net->parameters == NULL || (net->has_gradients && net->gradients == NULL)) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory for %lld parameters",
                                (long long)net->size.parameters);
    }
    for (size_t i = 0; i < net->parameter_count; i++) {
        const struct net_parameter *at = &net->parameters_of[i];
        const struct layer_parameter *parameter = net_parameter(net, i);
        struct layer *layer = &net->layers[at->layer].layer;
        struct tensor view = {.data = net->parameters + at->offset, .rows = parameter->rows,
                              .columns = parameter->columns, .stride = tensor_stride(parameter->columns)};
        layer->parameters[at->index] = view;
        if (net->gradients != NULL && !parameter->buffer) {
            view.data = net->gradients + at->offset;
            layer->gradients[at->index] = view;
        }
        if (initialise(net, i, &layer->parameters[at->index]) < 0) {
            return kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory for the initial weights");
        }
    }
    return 0;
}

/* Gives out the next rows x columns of the activations; only counts while there is no block yet. */
static struct tensor take(const struct net *net, size_t *used, int64_t columns)
{
    struct tensor tensor = {.columns = columns, .stride = tensor_stride(columns)};
    tensor.data = net->activations != NULL ? net->activations + *used : NULL;
    *used += (size_t)(net->batch_size * tensor.stride);
    return tensor;
}

/* Where the gradients of a layer's inputs go: straight to who made the input where nobody else uses it. */
static void place_input_gradients(struct net *net, struct net_layer *net_layer, size_t *used)
{
    struct layer *layer = &net_layer->layer;
    for (int j = 0; j < layer->description->input_count; j++) {
        int node = layer->description->inputs[j];
        struct net_layer *before = net_producer(net, node);
        struct tensor *gradient = before != NULL ? &before->layer.output_gradient : &net->inputs[node].gradient;
        bool wanted = before != NULL ? before->needs_gradient : net->has_input_gradients;
        layer->input_gradients[j] = NULL;
        if (wanted && (before != NULL ? before->consumers : net->inputs[node].consumers) > 1) {
            net_layer->scratch[j] = take(net, used, gradient->columns);
            layer->input_gradients[j] = &net_layer->scratch[j];
        } else if (wanted) {
            layer->input_gradients[j] = gradient;
        }
    }
}

static void place_activations(struct net *net, size_t *used)
{
    for (int i = 0; net->has_input_gradients && i < net->architecture.input_count; i++) {
        net->inputs[i].gradient = take(net, used, net->inputs[i].tensor.columns);
    }
    for (int i = 0; i < net->architecture.layer_count; i++) {
        struct net_layer *net_layer = &net->layers[i];
        struct layer *layer = &net_layer->layer;
        int64_t columns = shape_size(&layer->size.output);
        layer->output = take(net, used, columns);
        if (layer->size.workspace > 0) {
            layer->workspace = take(net, used, layer->size.workspace).data;
        }
        if (!net->has_gradients) {
            continue;
        }
        if (net_layer->needs_gradient || net_layer->is_output) {
            layer->output_gradient = take(net, used, columns);
        }
        place_input_gradients(net, net_layer, used);
    }
}

static int allocate_activations(struct net *net, struct kernel_error *error)
{
    /* Cannot overflow: 2^20 rows of at most 2^24 floats, some ten times for each of 4096 layers. */
    size_t floats = 0, used = 0;
    place_activations(net, &floats);
    net->activations = allocate(net, floats);
    if (net->activations == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory for the activations of a batch of "
                                "%lld rows (%zu bytes): use a smaller batch_size", (long long)net->batch_size,
                                floats * sizeof(float));
    }
    place_activations(net, &used);
    return 0;
}

void net_link_layers(struct net *net, bool training)
{
    int first = net->architecture.input_count;
    for (int i = 0; i < net->architecture.layer_count + net->architecture.output_count; i++) {
        bool is_layer = i < net->architecture.layer_count;
        int output = i - net->architecture.layer_count;
        int count = is_layer ? net->architecture.layers[i].input_count : 1;
        for (int j = 0; j < count; j++) {
            int node = is_layer ? net->architecture.layers[i].inputs[j] : net->architecture.outputs[output];
            while (!training && node >= first &&
                   net->architecture.layers[node - first].type->identity_in_predict) {
                node = net->architecture.layers[node - first].inputs[0];
            }
            struct tensor *tensor = node < first ? &net->inputs[node].tensor : &net->layers[node - first].layer.output;
            if (is_layer) {
                net->layers[i].layer.inputs[j] = tensor;
            } else {
                net->outputs[output] = tensor;
            }
        }
    }
    net->linked_for_training = training;
}

static int check_options(const struct net_options *options, struct kernel_error *error)
{
    if (options->architecture == NULL || options->device == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "net: needs an architecture and a device");
    }
    if (options->batch_size < 1 || options->batch_size > BATCH_LIMIT) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch_size: %lld is out of range: use 1 to %d",
                                (long long)options->batch_size, BATCH_LIMIT);
    }
    return 0;
}

static int build_layers(struct net *net, struct kernel_error *error)
{
    const struct layer_build build = {.device = net->device, .batch_size = net->batch_size,
                                      .training = net->has_gradients};
    for (int i = 0; i < net->architecture.layer_count; i++) {
        struct layer *layer = &net->layers[i].layer;
        if (layer->code->build != NULL) {
            struct kernel_error inner = {0};
            if (layer->code->build(layer, &build, &inner) < 0) {
                return kernel_error_set(error, (enum kernel_error_code)inner.code, "layer %s: %s",
                                        layer->description->name, inner.message);
            }
            net->memory += layer->state_bytes;
        }
    }
    return 0;
}

struct net *net_new(const struct net_options *options, struct kernel_error *error)
{
    if (check_options(options, error) < 0) {
        return NULL;
    }
    struct net *net = calloc(1, sizeof *net);
    if (net == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory");
        return NULL;
    }
    net->own_device = *options->device;
    net->own_device.precision = options->precision;
    net->device = &net->own_device;
    net->batch_size = options->batch_size;
    net->seed = options->seed;
    net->has_loss = options->loss != NULL;
    net->has_gradients = net->has_loss || options->trains;
    net->has_input_gradients = net->has_gradients && options->input_gradients;
    net->huber_delta = options->huber_delta;
    if ((net->has_loss && loss_find(options->loss, &net->loss, error) < 0) ||
        (options->huber_delta != 0.0 && loss_check_huber_delta(net->loss, options->huber_delta, error) < 0) ||
        copy_architecture(net, options->architecture, error) < 0 || measure(net, options, error) < 0 ||
        allocate_parameters(net, error) < 0 || allocate_activations(net, error) < 0 || build_layers(net, error) < 0) {
        net_free(net);
        return NULL;
    }
    net_link_layers(net, true);
    return net;
}

void net_free(struct net *net)
{
    if (net != NULL) {
        for (int i = 0; net->layers != NULL && i < net->architecture.layer_count; i++) {
            struct layer *layer = &net->layers[i].layer;
            if (layer->code != NULL && layer->code->destroy != NULL) {
                layer->code->destroy(layer);
            }
        }
        free(net->architecture.layers);
        free(net->layers);
        free(net->parameters_of);
        free(net->parameters);
        free(net->gradients);
        free(net->activations);
        free(net);
    }
}
