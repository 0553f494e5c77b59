/* SPDX-License-Identifier: Apache-2.0 */
/* Running a net: forward, loss, backward, step. */
#include "kernels/net_impl.h"

#include <float.h>
#include <math.h>
#include <string.h>

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
        net->inputs[i].tensor.data = (float *)(uintptr_t)batch->inputs[i];
        net->inputs[i].tensor.rows = batch->rows;
        net->inputs[i].gradient.rows = batch->rows;
    }
    if (net->linked_for_training != training) {
        net_link_layers(net, training);
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
        if (!training && layer->description->type->identity_in_predict) {
            continue;
        }
        if (layer->code->forward(layer, &pass, error) < 0) {
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
        for (int64_t k = 0; k < net->rows * net->inputs[i].tensor.columns; k++) {
            if (!isfinite(net->inputs[i].tensor.data[k])) {
                return kernel_error_set(error, KERNEL_ERROR_NONFINITE, "loss is not finite at step %llu: input %s has "
                                        "NaN or infinity in row %lld of the batch", (unsigned long long)net->steps + 1,
                                        net->architecture.inputs[i].name, (long long)(k / net->inputs[i].tensor.columns));
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
        of.dz = training ? &net_producer(net, net->architecture.outputs[i])->layer.output_gradient : NULL;
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
    for (int i = 0; net->has_input_gradients && i < net->architecture.input_count; i++) {
        struct tensor *gradient = &net->inputs[i].gradient;
        if (net->inputs[i].consumers != 1) {
            memset(gradient->data, 0, (size_t)(net->rows * gradient->stride) * sizeof(float));
        }
    }
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
        if (layer->layer.code->backward(&layer->layer, &pass, error) < 0) {
            return -1;
        }
        for (int j = 0; j < layer->layer.description->input_count; j++) {
            int node = layer->layer.description->inputs[j];
            struct net_layer *before = net_producer(net, node);
            if (layer->scratch[j].data != NULL) {
                add(before != NULL ? &before->layer.output_gradient : &net->inputs[node].gradient, &layer->scratch[j]);
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
    return net_gradient(net, batch, metrics, error) < 0 ? -1 : net_step(net, optimizer, error);
}

int net_step(struct net *net, struct optimizer *optimizer, struct kernel_error *error)
{
    if (optimizer_step(optimizer, net->device, net->parameters, net->gradients, error) < 0) {
        return -1;
    }
    net->steps++;
    return 0;
}

int net_forward(struct net *net, const struct net_batch *batch, bool training, struct kernel_error *error)
{
    return set_batch(net, batch, training, error) < 0 ? -1 : forward(net, training, error);
}

int net_backward(struct net *net, const struct tensor *output_gradients, struct kernel_error *error)
{
    if (!net->has_gradients || net->rows == 0 || !net->linked_for_training) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "net: a backward pass needs a forward pass in training");
    }
    for (int i = 0; i < net->architecture.output_count; i++) {
        struct tensor *dz = &net_producer(net, net->architecture.outputs[i])->layer.output_gradient;
        const struct tensor *given = &output_gradients[i];
        if (given->rows != dz->rows || given->columns != dz->columns) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "net: the gradient of output %d is not (%lld, %lld)",
                                    i + 1, (long long)dz->rows, (long long)dz->columns);
        }
        for (int64_t r = 0; r < dz->rows; r++) {
            memcpy(dz->data + r * dz->stride, given->data + r * given->stride, (size_t)dz->columns * sizeof(float));
        }
    }
    return backward(net, error);
}

const struct tensor *net_output(const struct net *net, int index)
{
    return net->outputs[index];
}

const struct tensor *net_input_gradient(const struct net *net, int index)
{
    return net->has_input_gradients ? &net->inputs[index].gradient : NULL;
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

int net_check_finite(const struct net *net, struct kernel_error *error)
{
    for (size_t i = 0; i < net->parameter_count; i++) {
        const struct layer_parameter *parameter = net_parameter(net, i);
        const float *values = net->parameters + net->parameters_of[i].offset;
        size_t count = (size_t)(parameter->rows * tensor_stride(parameter->columns)), bad = 0;
        for (size_t k = 0; k < count; k++) {
            bad += !(fabsf(values[k]) <= FLT_MAX);
        }
        if (bad > 0) {
            return kernel_error_set(error, KERNEL_ERROR_NONFINITE, "%s of layer %s is not finite after step %llu: try a "
                                    "smaller learning_rate", parameter->name,
                                    net->architecture.layers[net->parameters_of[i].layer].name,
                                    (unsigned long long)net->steps);
        }
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

size_t net_trained_floats(const struct net *net)
{
    return net->trained_floats;
}

float *net_parameters(struct net *net)
{
    return net->parameters;
}

float *net_gradients(struct net *net)
{
    return net->gradients;
}

size_t net_layer_offset(const struct net *net, int layer)
{
    for (size_t i = 0; i < net->parameter_count; i++) {
        if (net->parameters_of[i].layer >= layer && !net_parameter(net, i)->buffer) {
            return net->parameters_of[i].offset;
        }
    }
    return net->trained_floats;
}

uint64_t net_steps(const struct net *net)
{
    return net->steps;
}

void net_set_steps(struct net *net, uint64_t steps)
{
    net->steps = steps;
}
