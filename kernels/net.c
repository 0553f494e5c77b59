/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/net_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_LIMIT (1 << 20)
#define PARAMETER_STREAM (1ull << 63) /* random numbers of the initial weights; dropout's are (layer + 1) << 40 */

const struct layer_parameter *net_parameter(const struct net *net, size_t index)
{
    const struct net_parameter *parameter = &net->parameters_of[index];
    return &net->layers[parameter->layer].layer.size.parameters[parameter->index];
}

/* Floats on 64 bytes, zeroed; NULL without memory. Counts into net->memory. */
static float *allocate(struct net *net, size_t floats)
{
    size_t bytes;
    if (__builtin_mul_overflow(floats, sizeof(float), &bytes) || bytes > SIZE_MAX / 4) {
        return NULL;
    }
    bytes = (bytes + 64) / 64 * 64;
    float *block = aligned_alloc(64, bytes);
    if (block != NULL) {
        memset(block, 0, bytes);
        net->memory += bytes;
    }
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

static struct net_layer *producer(struct net *net, int node)
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
        net->inputs[i] = (struct tensor){.columns = size, .stride = size};
    }
    for (int i = 0; i < layers; i++) {
        struct net_layer *net_layer = &net->layers[i];
        struct layer *layer = &net_layer->layer;
        layer->description = &net->architecture.layers[i];
        layer->size = sizes[i];
        layer->stream = (uint64_t)i + 1;
        net_layer->needs_gradient = sizes[i].parameter_count > 0;
        for (int j = 0; j < layer->description->input_count; j++) {
            struct net_layer *before = producer(net, layer->description->inputs[j]);
            layer->input_shapes[j] = shapes[layer->description->inputs[j]];
            if (before != NULL) {
                before->consumers++;
                net_layer->needs_gradient = net_layer->needs_gradient || before->needs_gradient;
            }
        }
    }
    for (int i = 0; i < net->architecture.output_count; i++) {
        struct net_layer *layer = producer(net, net->architecture.outputs[i]);
        layer->consumers++;
        layer->is_output = true;
    }
    result = 0;
out:
    free(shapes);
    free(sizes);
    return result;
}

static int allocate_parameters(struct net *net, struct kernel_error *error)
{
    for (int i = 0; i < net->architecture.layer_count; i++) {
        net->parameter_count += (size_t)net->layers[i].layer.size.parameter_count;
    }
    net->parameters_of = calloc(net->parameter_count + 1, sizeof *net->parameters_of);
    if (net->parameters_of == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "net: out of memory");
    }
    size_t next = 0;
    for (int i = 0; i < net->architecture.layer_count; i++) {
        const struct layer_size *size = &net->layers[i].layer.size;
        for (int j = 0; j < size->parameter_count; j++) {
            net->parameters_of[next++] = (struct net_parameter){.layer = i, .index = j, .offset = net->floats};
            net->floats += (size_t)(size->parameters[j].rows * tensor_stride(size->parameters[j].columns));
        }
    }
    net->parameters = allocate(net, net->floats);
    net->gradients = net->has_loss ? allocate(net, net->floats) : NULL;
    if (net->parameters == NULL || (net->has_loss && net->gradients == NULL)) {
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
        if (net->gradients != NULL) {
            view.data = net->gradients + at->offset;
            layer->gradients[at->index] = view;
        }
        struct random_state random;
        random_init(&random, net->seed, PARAMETER_STREAM | i);
        for (int64_t r = 0; r < parameter->rows; r++) {
            random_initialise(&random, parameter->initialiser, parameter->fan_in, parameter->fan_out,
                              layer->parameters[at->index].data + r * view.stride, (size_t)parameter->columns);
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

static void place_activations(struct net *net, size_t *used)
{
    for (int i = 0; i < net->architecture.layer_count; i++) {
        struct net_layer *net_layer = &net->layers[i];
        struct layer *layer = &net_layer->layer;
        int64_t columns = shape_size(&layer->size.output);
        layer->output = take(net, used, columns);
        if (layer->size.workspace > 0) {
            layer->workspace = take(net, used, layer->size.workspace).data;
        }
        if (!net->has_loss) {
            continue;
        }
        if (net_layer->needs_gradient || net_layer->is_output) {
            layer->output_gradient = take(net, used, columns);
        }
        for (int j = 0; j < layer->description->input_count; j++) {
            struct net_layer *before = producer(net, layer->description->inputs[j]);
            layer->input_gradients[j] = NULL;
            if (before == NULL || !before->needs_gradient) {
                continue;
            }
            if (before->consumers > 1) {
                net_layer->scratch[j] = take(net, used, shape_size(&before->layer.size.output));
                layer->input_gradients[j] = &net_layer->scratch[j];
            } else {
                layer->input_gradients[j] = &before->layer.output_gradient;
            }
        }
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

/* Points every layer at its inputs; outside training, past the layers that are the identity then. */
static void link_layers(struct net *net, bool training)
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
            struct tensor *tensor = node < first ? &net->inputs[node] : &net->layers[node - first].layer.output;
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
    net->device = options->device;
    net->batch_size = options->batch_size;
    net->seed = options->seed;
    net->has_loss = options->loss != NULL;
    net->huber_delta = options->huber_delta;
    if ((net->has_loss && loss_find(options->loss, &net->loss, error) < 0) ||
        (options->huber_delta != 0.0 && loss_check_huber_delta(net->loss, options->huber_delta, error) < 0) ||
        copy_architecture(net, options->architecture, error) < 0 || measure(net, options, error) < 0 ||
        allocate_parameters(net, error) < 0 || allocate_activations(net, error) < 0) {
        net_free(net);
        return NULL;
    }
    link_layers(net, true);
    return net;
}

void net_free(struct net *net)
{
    if (net != NULL) {
        free(net->architecture.layers);
        free(net->layers);
        free(net->parameters_of);
        free(net->parameters);
        free(net->gradients);
        free(net->activations);
        free(net);
    }
}

static int set_batch(struct net *net, const struct net_batch *batch, bool training, struct kernel_error *error)
{
    if (batch->rows < 1 || batch->rows > net->batch_size) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: %lld rows, but the net was made for 1 to %lld",
                                (long long)batch->rows, (long long)net->batch_size);
    }
    for (int i = 0; i < net->architecture.input_count; i++) {
        if (batch->inputs[i] == NULL) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: input %s is missing",
                                    net->architecture.inputs[i].name);
        }
        /* Layers only read their inputs. */
        net->inputs[i].data = (float *)(uintptr_t)batch->inputs[i];
        net->inputs[i].rows = batch->rows;
    }
    if (net->linked_for_training != training) {
        link_layers(net, training);
    }
    if (net->rows != batch->rows) {
        net->rows = batch->rows;
        for (int i = 0; i < net->architecture.layer_count; i++) {
            struct net_layer *layer = &net->layers[i];
            layer->layer.output.rows = batch->rows;
            layer->layer.output_gradient.rows = batch->rows;
            for (int j = 0; j < ARCHITECTURE_INPUTS; j++) {
                layer->scratch[j].rows = batch->rows;
            }
        }
    }
    return 0;
}

static struct layer_pass make_pass(const struct net *net, bool training)
{
    return (struct layer_pass){.device = net->device, .training = training, .seed = net->seed, .step = net->steps,
                               .rows = net->rows};
}

static int forward(struct net *net, bool training, struct kernel_error *error)
{
    struct layer_pass pass = make_pass(net, training);
    for (int i = 0; i < net->architecture.layer_count; i++) {
        struct layer *layer = &net->layers[i].layer;
        const struct layer_type *type = layer->description->type;
        if (!training && type->identity_in_predict) {
            continue;
        }
        if (type->forward(layer, &pass, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static int check_labels(const struct net *net, const struct net_batch *batch, int output, struct kernel_error *error)
{
    if (loss_target(net->loss) == LOSS_OF_PAIRS) {
        return 0;
    }
    if (!loss_takes_classes(net->loss)) {
        return batch->targets[output] != NULL ? 0
               : kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: targets of output %d are missing", output + 1);
    }
    if (batch->labels[output] == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: labels of output %d are missing", output + 1);
    }
    uint32_t classes = (uint32_t)net->outputs[output]->columns, largest = 0;
    for (int64_t r = 0; r < batch->rows; r++) {
        uint32_t label = (uint32_t)batch->labels[output][r]; /* negative ones become large */
        largest = label > largest ? label : largest;
    }
    if (largest < classes) {
        return 0;
    }
    int64_t row = 0;
    while ((uint32_t)batch->labels[output][row] < classes) {
        row++;
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: row %lld: label %d is not one of the %u classes",
                            (long long)row, batch->labels[output][row], classes);
}

static int not_finite(const struct net *net, struct kernel_error *error)
{
    for (int i = 0; i < net->architecture.input_count; i++) {
        for (int64_t k = 0; k < net->rows * net->inputs[i].columns; k++) {
            if (!isfinite(net->inputs[i].data[k])) {
                return kernel_error_set(error, KERNEL_ERROR_NONFINITE, "loss is not finite at step %llu: input %s has "
                                        "NaN or infinity in row %lld of the batch", (unsigned long long)net->steps + 1,
                                        net->architecture.inputs[i].name, (long long)(k / net->inputs[i].columns));
            }
        }
    }
    const char *where = "the loss";
    for (int i = net->architecture.layer_count - 1; i >= 0; i--) {
        const struct tensor *output = &net->layers[i].layer.output;
        if (!net->linked_for_training && net->architecture.layers[i].type->identity_in_predict) {
            continue; /* its output was not computed */
        }
        for (int64_t k = 0; k < output->rows * output->columns; k++) {
            if (!isfinite(output->data[k / output->columns * output->stride + k % output->columns])) {
                where = net->architecture.layers[i].name;
                break;
            }
        }
    }
    return kernel_error_set(error, KERNEL_ERROR_NONFINITE, "loss is not finite at step %llu: first in layer %s: try a "
                            "smaller learning_rate", (unsigned long long)net->steps + 1, where);
}

/* Forward and loss over all outputs; with gradient, into the output gradients of the output layers. */
static int forward_and_loss(struct net *net, const struct net_batch *batch, bool training,
                            struct net_metrics *metrics, struct kernel_error *error)
{
    if (!net->has_loss) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "net: was made without a loss");
    }
    if (set_batch(net, batch, training, error) < 0) {
        return -1;
    }
    for (int i = 0; i < net->architecture.output_count; i++) {
        if (check_labels(net, batch, i, error) < 0) {
            return -1;
        }
    }
    if (forward(net, training, error) < 0) {
        return -1;
    }
    double loss_sum = 0.0;
    int64_t correct = 0;
    for (int i = 0; i < net->architecture.output_count; i++) {
        struct loss_batch of = {.z = net->outputs[i], .labels = batch->labels[i], .targets = batch->targets[i],
                                .huber_delta = net->huber_delta};
        of.dz = training ? &producer(net, net->architecture.outputs[i])->layer.output_gradient : NULL;
        double sum;
        int64_t right;
        if (loss_run(net->loss, net->device, &of, &sum, &right, error) < 0) {
            return -1;
        }
        loss_sum += sum;
        correct += i == 0 ? right : 0;
    }
    if (!isfinite(loss_sum)) {
        return not_finite(net, error);
    }
    metrics->rows += batch->rows;
    metrics->loss_sum += loss_sum;
    metrics->correct += correct;
    return 0;
}

static void add(struct tensor *sum, const struct tensor *x)
{
    for (int64_t r = 0; r < sum->rows; r++) {
        for (int64_t c = 0; c < sum->columns; c++) {
            sum->data[r * sum->stride + c] += x->data[r * x->stride + c];
        }
    }
}

static int backward(struct net *net, struct kernel_error *error)
{
    struct layer_pass pass = make_pass(net, true);
    for (int i = 0; i < net->architecture.layer_count; i++) {
        struct net_layer *layer = &net->layers[i];
        struct tensor *gradient = &layer->layer.output_gradient;
        if (layer->needs_gradient && !layer->is_output && layer->consumers != 1) {
            memset(gradient->data, 0, (size_t)(net->rows * gradient->stride) * sizeof(float));
        }
    }
    for (int i = net->architecture.layer_count - 1; i >= 0; i--) {
        struct net_layer *layer = &net->layers[i];
        if (!layer->needs_gradient) {
            continue;
        }
        if (layer->layer.description->type->backward(&layer->layer, &pass, error) < 0) {
            return -1;
        }
        for (int j = 0; j < layer->layer.description->input_count; j++) {
            if (layer->scratch[j].data != NULL) {
                add(&producer(net, layer->layer.description->inputs[j])->layer.output_gradient, &layer->scratch[j]);
            }
        }
    }
    return 0;
}

int net_gradient(struct net *net, const struct net_batch *batch, struct net_metrics *metrics,
                 struct kernel_error *error)
{
    if (forward_and_loss(net, batch, true, metrics, error) < 0) {
        return -1;
    }
    return backward(net, error);
}

int net_train_step(struct net *net, struct optimizer *optimizer, const struct net_batch *batch,
                   struct net_metrics *metrics, struct kernel_error *error)
{
    if (net_gradient(net, batch, metrics, error) < 0 ||
        optimizer_step(optimizer, net->device, net->parameters, net->gradients, error) < 0) {
        return -1;
    }
    net->steps++;
    return 0;
}

int net_evaluate(struct net *net, const struct net_batch *batch, struct net_metrics *metrics,
                 struct kernel_error *error)
{
    return forward_and_loss(net, batch, false, metrics, error);
}

int net_predict(struct net *net, const struct net_batch *batch, float *out, struct kernel_error *error)
{
    if (set_batch(net, batch, false, error) < 0 || forward(net, false, error) < 0) {
        return -1;
    }
    const struct tensor *z = net->outputs[0];
    if (net->has_loss) {
        struct tensor p = {.data = out, .rows = z->rows, .columns = z->columns, .stride = z->columns};
        return loss_predict(net->loss, net->device, z, &p, error);
    }
    for (int64_t r = 0; r < z->rows; r++) {
        memcpy(out + r * z->columns, z->data + r * z->stride, (size_t)z->columns * sizeof(float));
    }
    return 0;
}

const struct architecture_size *net_size(const struct net *net)
{
    return &net->size;
}

int64_t net_batch_size(const struct net *net)
{
    return net->batch_size;
}

size_t net_memory(const struct net *net)
{
    return net->memory;
}

size_t net_parameter_floats(const struct net *net)
{
    return net->floats;
}

float *net_parameters(struct net *net)
{
    return net->parameters;
}

float *net_gradients(struct net *net)
{
    return net->gradients;
}

uint64_t net_steps(const struct net *net)
{
    return net->steps;
}

void net_set_steps(struct net *net, uint64_t steps)
{
    net->steps = steps;
}
