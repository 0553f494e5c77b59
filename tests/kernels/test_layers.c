/* SPDX-License-Identifier: Apache-2.0 */
/* Every layer type, by a table: on ref its gradients, of parameters and of inputs, against finite differences; every
 * variant of cpu against ref; weights through a file. A new layer type needs an entry here, no code. */
#include "kernels/layer.h"
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 4

struct entry {
    const char *text;                           /* an architecture, of the layer alone where that is possible */
    struct shape inputs[ARCHITECTURE_INPUTS];
    int64_t ids[ARCHITECTURE_INPUTS];           /* above 0: that input holds whole numbers from 0 to below this */
    bool spread;                                /* inputs at least 0.1 apart and 0.05 from 0: for layers with kinks */
    bool predicts_otherwise;                    /* its outputs in prediction are not those in training */
    double tolerance;                           /* of finite differences, relative; 0: 1e-3 */
    double limit;                               /* of cpu against ref, relative to all of a tensor; 0: 2e-6 */
};

/* A graph of one layer of that type with the inputs a, b (and c); more is ",\"attribute\":value" or "". */
#define OF_TWO(type, more) "{\"inputs\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"layers\":[{\"type\":\"" type \
                           "\",\"inputs\":[\"a\",\"b\"]" more "}]}"
#define OF_THREE(type, more) "{\"inputs\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}],\"layers\":[{\"type\":\"" \
                             type "\",\"inputs\":[\"a\",\"b\",\"c\"]" more "}]}"

static const struct entry entries[] = {
    {.text = "dense:5", .inputs = {{1, {7}}}},
    {.text = "dense:5:tanh:orthogonal", .inputs = {{2, {2, 3}}}},
    {.text = "dense:17:sigmoid:glorot_uniform", .inputs = {{1, {19}}}},
    {.text = "dense:6:gelu:he_normal", .inputs = {{1, {9}}}},
    {.text = "dense:7:leaky_relu", .inputs = {{1, {3}}}, .spread = true},
    {.text = "tanh", .inputs = {{1, {5}}}},
    {.text = "sigmoid", .inputs = {{3, {2, 3, 3}}}},
    {.text = "gelu", .inputs = {{1, {21}}}},
    {.text = "relu", .inputs = {{1, {19}}}, .spread = true},
    {.text = "leaky_relu", .inputs = {{1, {19}}}, .spread = true},
    {.text = "leaky_relu:0.3", .inputs = {{2, {2, 5}}}, .spread = true},
    {.text = "softmax", .inputs = {{1, {7}}}},
    {.text = "lstm:5", .inputs = {{2, {4, 3}}}},
    {.text = "lstm:4:1:all", .inputs = {{2, {3, 2}}}},
    {.text = "lstm:17", .inputs = {{2, {1, 1}}}, .limit = 1e-5}, /* one number, a sum with cancellation */
    {.text = "lstm:3:3:all", .inputs = {{2, {3, 2}}}},
    {.text = "lstm:5:2:last:0.5", .inputs = {{2, {3, 4}}}, .predicts_otherwise = true},
    {.text = "gru:5", .inputs = {{2, {4, 3}}}},
    {.text = "gru:4:1:all", .inputs = {{2, {3, 2}}}},
    {.text = "gru:17", .inputs = {{2, {1, 1}}}, .limit = 1e-5}, /* one number, a sum with cancellation */
    {.text = "gru:3:3:all", .inputs = {{2, {3, 2}}}},
    {.text = "gru:5:2:last:0.5", .inputs = {{2, {3, 4}}}, .predicts_otherwise = true},
    {.text = "softmax:0", .inputs = {{2, {3, 4}}}},
    {.text = "softmax:-2", .inputs = {{3, {2, 3, 4}}}},
    {.text = "flatten", .inputs = {{3, {2, 3, 3}}}},
    {.text = "reshape:3x1x6", .inputs = {{2, {2, 9}}}},
    {.text = "dropout:0.5", .inputs = {{1, {21}}}, .predicts_otherwise = true},
    {.text = "batch_norm", .inputs = {{1, {18}}}, .predicts_otherwise = true},
    {.text = "batch_norm:0.1:0.5", .inputs = {{3, {3, 2, 5}}}, .predicts_otherwise = true},
    {.text = "batch_norm", .inputs = {{2, {3, 5}}}, .predicts_otherwise = true},
    {.text = "layer_norm", .inputs = {{1, {18}}}},
    {.text = "layer_norm:1:0.01", .inputs = {{2, {3, 5}}}},
    {.text = "layer_norm:3", .inputs = {{3, {2, 3, 4}}}},
    {.text = "embedding:6:5", .inputs = {{1, {3}}}, .ids = {6}},
    {.text = "embedding:2:17:0.1 flatten dense:2", .inputs = {{2, {2, 2}}}, .ids = {2}},
    {.text = "max_pool:2", .inputs = {{3, {2, 4, 5}}}, .spread = true},
    {.text = "max_pool:2", .inputs = {{3, {3, 4, 6}}}, .spread = true, .tolerance = 1e-2},
    {.text = "max_pool:2", .inputs = {{3, {2, 6, 34}}}, .spread = true, .tolerance = 1e-2},
    {.text = "max_pool:2", .inputs = {{3, {2, 5, 18}}}, .spread = true, .tolerance = 1e-2},
    {.text = "max_pool:3:2:1", .inputs = {{3, {2, 5, 7}}}, .spread = true},
    {.text = "max_pool:4:1:2", .inputs = {{3, {1, 3, 4}}}, .spread = true},
    {.text = "avg_pool:2", .inputs = {{3, {3, 4, 5}}}},
    {.text = "avg_pool:3:2:1", .inputs = {{3, {2, 5, 6}}}},
    {.text = "avg_pool:3:2:1:false", .inputs = {{3, {2, 5, 6}}}},
    {.text = "global_pool", .inputs = {{3, {3, 2, 5}}}},
    {.text = "global_pool", .inputs = {{2, {4, 3}}}},
    {.text = "global_pool:max", .inputs = {{3, {3, 2, 5}}}, .spread = true},
    {.text = "global_pool:max", .inputs = {{2, {4, 3}}}, .spread = true},
    {.text = "upsample", .inputs = {{3, {2, 2, 3}}}},
    {.text = "upsample:3", .inputs = {{3, {1, 3, 2}}}},
    {.text = OF_TWO("concat", ""), .inputs = {{1, {5}}, {1, {16}}}},
    {.text = OF_THREE("concat", ",\"axis\":1"), .inputs = {{3, {2, 2, 3}}, {3, {2, 1, 3}}, {3, {2, 3, 3}}}},
    {.text = OF_TWO("concat", ",\"axis\":-1"), .inputs = {{2, {3, 2}}, {2, {3, 5}}}},
    {.text = OF_THREE("add", ""), .inputs = {{1, {5}}, {1, {5}}, {1, {5}}}},
    {.text = OF_TWO("multiply", ""), .inputs = {{2, {2, 5}}, {2, {2, 5}}}},
    {.text = OF_THREE("multiply", ""), .inputs = {{1, {17}}, {1, {17}}, {1, {17}}}},
    {.text = OF_TWO("dot", ""), .inputs = {{1, {6}}, {2, {2, 3}}}},
    {.text = OF_TWO("dot", ",\"normalise\":true"), .inputs = {{1, {9}}, {1, {9}}}},
    {.text = OF_TWO("mix", ""), .inputs = {{2, {3, 5}}, {2, {3, 5}}}, .predicts_otherwise = true},
    /* one input twice: the gradients add up */
    {.text = "{\"layers\":[{\"type\":\"multiply\",\"inputs\":[\"input\",\"input\"]}]}", .inputs = {{1, {5}}}},
    {.text = "conv2d:3:3", .inputs = {{3, {2, 5, 4}}}},
    {.text = "conv2d:4:3:1:1:tanh", .inputs = {{2, {5, 6}}}}, /* one channel */
    {.text = "conv2d:5:2x3:2:1:sigmoid", .inputs = {{3, {3, 6, 7}}}},
    {.text = "conv2d:6:3x2:1:2:none:3", .inputs = {{3, {3, 4, 3}}}},
    {.text = "conv2d:4:1", .inputs = {{3, {3, 4, 4}}}},
    {.text = "conv2d:2:1:3", .inputs = {{3, {2, 5, 4}}}}, /* pixels that no output uses */
    {.text = "conv2d:9:3:1:1:relu", .inputs = {{3, {8, 7, 5}}}, .spread = true, .tolerance = 0.3},
    {.text = "conv2d:2:4x3:1:1:none:1:he_normal", .inputs = {{3, {1, 3, 3}}}},
    {.text = "conv1d:3:3:2:1:tanh", .inputs = {{2, {2, 9}}}},
    {.text = "conv1d:4:5:1:2:none:2", .inputs = {{2, {4, 6}}}},
    {.text = "conv1d:3:2", .inputs = {{1, {7}}}},
    {.text = "conv_transpose:3:3:2:1:tanh:1:lecun_uniform:1", .inputs = {{3, {2, 3, 4}}}},
    {.text = "conv_transpose:4:2x3:1:0:none:2", .inputs = {{3, {4, 3, 2}}}},
    {.text = "conv_transpose:2:2:3:0", .inputs = {{2, {3, 2}}}},
};
#define ENTRIES (sizeof entries / sizeof entries[0])

static const char *const variants[] = {"plain", "avx2", "avx512", "wide"};
#define VARIANTS (sizeof variants / sizeof variants[0])

/* A net of an entry with what goes into it: inputs (ROWS, size), and a gradient for each output. */
struct subject {
    const struct entry *entry;
    const struct device *device;
    struct net *net;
    int inputs, outputs;
    struct net_batch batch;
    float *values[ARCHITECTURE_INPUTS];
    int64_t sizes[ARCHITECTURE_INPUTS];
    struct tensor gradients[ARCHITECTURE_OUTPUTS];
};

static float *allocate(int64_t count)
{
    float *block = calloc((size_t)count + 1, sizeof *block);
    cr_assert_not_null(block);
    return block;
}

static struct architecture *parse(const char *text)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s: %s", text, error.message);
    return architecture;
}

/* The same with a layer that changes nothing before each input and a dense layer behind the first output: the layer
 * under test then reads rows that are padded, and its gradients come from and go to others. */
static struct architecture *wrap(struct architecture *inner)
{
    int inputs = inner->input_count, count = inner->layer_count;
    struct architecture_layer *layers = calloc((size_t)(inputs + count + 1), sizeof *layers);
    cr_assert_not_null(layers);
    for (int i = 0; i < inputs; i++) {
        layers[i] = (struct architecture_layer){.type = layer_type_find("dropout"), .input_count = 1, .inputs = {i}};
        snprintf(layers[i].name, sizeof layers[i].name, "before_%d", i);
    }
    for (int i = 0; i < count; i++) {
        layers[inputs + i] = inner->layers[i];
        for (int j = 0; j < inner->layers[i].input_count; j++) {
            layers[inputs + i].inputs[j] += inputs;
        }
    }
    struct architecture_layer *last = &layers[inputs + count];
    *last = (struct architecture_layer){.name = "after", .type = layer_type_find("dense"), .input_count = 1,
                                        .inputs = {inner->outputs[0] + inputs}, .values = {{.number = 3.0}}};
    for (int i = 0; i < inner->output_count; i++) {
        inner->outputs[i] += inputs;
    }
    inner->outputs[0] = inputs + inputs + count;
    inner->layer_count = inputs + count + 1;
    free(inner->layers);
    inner->layers = layers;
    return inner;
}

static void fill_input(const struct entry *entry, int index, struct random_state *random, float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = entry->ids[index] > 0 ? (float)random_below(random, (uint64_t)entry->ids[index])
                    : entry->spread ? 0.1f * ((float)i - (float)(count / 2) + 0.5f)
                                    : (float)random_normal(random);
    }
    for (int64_t i = count - 1; i > 0 && entry->spread; i--) {
        int64_t j = (int64_t)random_below(random, (uint64_t)i + 1);
        float kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

/* Every parameter away from its initial value; variances stay positive. */
static void randomise(struct net *net, struct random_state *random)
{
    for (size_t i = 0; i < net_tensor_count(net); i++) {
        char name[ARCHITECTURE_NAME_BYTES + 32];
        struct shape shape;
        cr_assert_eq(net_tensor(net, i, name, sizeof name, &shape), 0);
        int64_t count = shape_size(&shape);
        float *values = allocate(count);
        for (int64_t j = 0; j < count; j++) {
            values[j] = 0.5f * (float)random_normal(random);
            if (strstr(name, "_var") != NULL) {
                values[j] = 0.5f + fabsf(values[j]);
            }
        }
        net_tensor_set(net, i, values);
        free(values);
    }
}

enum purpose { PREDICTION, TRAINING, INPUT_GRADIENTS };

static struct net *make_net(const struct entry *entry, const struct architecture *architecture,
                            const struct device *device, enum purpose purpose)
{
    struct kernel_error error = {0};
    struct net_options options = {.architecture = architecture, .batch_size = ROWS, .device = device, .seed = 5,
                                  .trains = purpose != PREDICTION, .input_gradients = purpose == INPUT_GRADIENTS};
    memcpy(options.input_shapes, entry->inputs, sizeof options.input_shapes);
    struct net *net = net_new(&options, &error);
    cr_assert_not_null(net, "%s: %s", entry->text, error.message);
    return net;
}

static void setup(struct subject *subject, const struct entry *entry, const struct architecture *architecture,
                  const struct device *device)
{
    struct kernel_error error = {0};
    struct random_state random;
    random_init(&random, 3, 1);
    *subject = (struct subject){.entry = entry, .device = device, .inputs = architecture->input_count,
                                .outputs = architecture->output_count};
    subject->net = make_net(entry, architecture, device, INPUT_GRADIENTS);
    randomise(subject->net, &random);
    for (int i = 0; i < subject->inputs; i++) {
        const struct shape *shape = &entry->inputs[i];
        subject->sizes[i] = shape_size(shape->rank > 0 ? shape : &architecture->inputs[i].shape);
        subject->values[i] = allocate(ROWS * subject->sizes[i]);
        fill_input(entry, i, &random, subject->values[i], ROWS * subject->sizes[i]);
        subject->batch.inputs[i] = subject->values[i];
    }
    subject->batch.rows = ROWS;
    cr_assert_eq(net_forward(subject->net, &subject->batch, true, &error), 0, "%s: %s", entry->text, error.message);
    for (int i = 0; i < subject->outputs; i++) {
        int64_t columns = net_output(subject->net, i)->columns;
        subject->gradients[i] = (struct tensor){.data = allocate(ROWS * columns), .columns = columns, .stride = columns};
        for (int64_t j = 0; j < ROWS * columns; j++) {
            subject->gradients[i].data[j] = (float)random_normal(&random);
        }
    }
}

static void teardown(struct subject *subject)
{
    for (int i = 0; i < subject->inputs; i++) {
        free(subject->values[i]);
    }
    for (int i = 0; i < subject->outputs; i++) {
        free(subject->gradients[i].data);
    }
    net_free(subject->net);
}

/* sum(output * gradient) over everything, whose derivatives the backward pass gives. */
static double scalar(struct subject *subject)
{
    struct kernel_error error = {0};
    double sum = 0.0;
    cr_assert_eq(net_forward(subject->net, &subject->batch, true, &error), 0, "%s", error.message);
    for (int i = 0; i < subject->outputs; i++) {
        const struct tensor *y = net_output(subject->net, i);
        for (int64_t r = 0; r < y->rows; r++) {
            for (int64_t c = 0; c < y->columns; c++) {
                sum += (double)y->data[r * y->stride + c] *
                       (double)subject->gradients[i].data[r * subject->gradients[i].stride + c];
            }
        }
    }
    return sum;
}

/* Forward and backward, after spoiling what backward must set. */
static void pass(struct subject *subject)
{
    struct kernel_error error = {0};
    const float *parameters = net_parameters(subject->net);
    float *gradients = net_gradients(subject->net);
    for (size_t i = 0; i < net_trained_floats(subject->net); i++) {
        gradients[i] = parameters[i] != 0.0f ? 7.0f : 0.0f; /* 0: padding */
    }
    scalar(subject);
    for (int i = 0; i < subject->inputs; i++) {
        const struct tensor *gradient = net_input_gradient(subject->net, i);
        for (int64_t j = 0; gradient != NULL && j < gradient->rows * gradient->columns; j++) {
            gradient->data[j / gradient->columns * gradient->stride + j % gradient->columns] = 7.0f;
        }
    }
    for (int i = 0; i < subject->outputs; i++) {
        subject->gradients[i].rows = subject->batch.rows;
    }
    cr_assert_eq(net_backward(subject->net, subject->gradients, &error), 0, "%s: %s", subject->entry->text,
                 error.message);
}

/* By five points: the error is of the fourth order in the step, so that the step can be far above the rounding. */
static double difference(struct subject *subject, float *value)
{
    const float step = 0.01f, kept = *value;
    double sum = 0.0;
    static const struct { float steps; double weight; } points[] = {{-2, 1}, {-1, -8}, {1, 8}, {2, -1}};
    for (size_t i = 0; i < 4; i++) {
        *value = kept + points[i].steps * step;
        sum += points[i].weight * scalar(subject);
    }
    *value = kept;
    return sum / (12.0 * (double)step);
}

static void expect_derivatives(const struct subject *subject, const char *what, const double *numeric,
                               const float *analytic, size_t count)
{
    double square = 1e-20, tolerance = subject->entry->tolerance > 0 ? subject->entry->tolerance : 1e-3;
    for (size_t i = 0; i < count; i++) {
        square += numeric[i] * numeric[i];
    }
    double scale = sqrt(square / (double)(count > 0 ? count : 1));
    for (size_t i = 0; i < count; i++) {
        double off = fabs(numeric[i] - (double)analytic[i]);
        cr_assert(off <= tolerance * (scale + fabs(numeric[i])) + 3e-5, "%s, %lld rows, %s %zu: %g, by differences %g",
                  subject->entry->text, (long long)subject->batch.rows, what, i, (double)analytic[i], numeric[i]);
    }
}

static void check_parameters(struct subject *subject)
{
    size_t count = net_trained_floats(subject->net), used = 0;
    float *parameters = net_parameters(subject->net), *analytic = allocate((int64_t)count);
    double *numeric = calloc(count + 1, sizeof *numeric);
    cr_assert_not_null(numeric);
    pass(subject);
    for (size_t i = 0; i < count; i++) {
        if (parameters[i] == 0.0f) {
            cr_expect_eq(net_gradients(subject->net)[i], 0.0f, "%s: padding", subject->entry->text);
        } else {
            analytic[used] = net_gradients(subject->net)[i];
            numeric[used++] = difference(subject, &parameters[i]);
        }
    }
    expect_derivatives(subject, "parameter", numeric, analytic, used);
    free(analytic);
    free(numeric);
}

static void check_input(struct subject *subject, int index)
{
    size_t count = (size_t)(subject->batch.rows * subject->sizes[index]);
    float *analytic = allocate((int64_t)count);
    double *numeric = calloc(count, sizeof *numeric);
    cr_assert_not_null(numeric);
    pass(subject);
    const struct tensor *gradient = net_input_gradient(subject->net, index);
    for (size_t i = 0; i < count; i++) {
        int64_t r = (int64_t)i / gradient->columns, c = (int64_t)i % gradient->columns;
        analytic[i] = gradient->data[r * gradient->stride + c];
        numeric[i] = difference(subject, &subject->values[index][i]);
    }
    expect_derivatives(subject, "input", numeric, analytic, count);
    free(analytic);
    free(numeric);
}

static void check_derivatives(struct subject *subject)
{
    check_parameters(subject);
    for (int i = 0; i < subject->inputs; i++) {
        if (subject->entry->ids[i] == 0) {
            check_input(subject, i);
        }
    }
}

static void expect_close(const struct subject *subject, const char *what, const struct tensor *a,
                         const struct tensor *b, const char *variant)
{
    double off = 0.0, size = 1e-12, limit = subject->entry->limit > 0 ? subject->entry->limit : 2e-6;
    cr_assert(a->rows == b->rows && a->columns == b->columns);
    for (int64_t r = 0; r < a->rows; r++) {
        for (int64_t c = 0; c < a->columns; c++) {
            double x = (double)a->data[r * a->stride + c], y = (double)b->data[r * b->stride + c];
            cr_assert(isfinite(x), "%s: %s is not finite", subject->entry->text, what);
            off += (x - y) * (x - y);
            size += y * y;
        }
    }
    cr_expect(sqrt(off / size) < limit, "%s, %lld rows: %s on cpu (%s) is off ref's by %g", subject->entry->text,
              (long long)subject->batch.rows, what, variant, sqrt(off / size));
}

static void check_against(struct subject *subject, struct subject *oracle, const char *variant)
{
    struct kernel_error error = {0};
    struct tensor a = {.rows = 1, .columns = (int64_t)net_trained_floats(oracle->net)}, b = a;
    cr_assert_eq(net_parameter_floats(subject->net), net_parameter_floats(oracle->net));
    memcpy(net_parameters(subject->net), net_parameters(oracle->net),
           net_parameter_floats(oracle->net) * sizeof(float));
    pass(oracle);
    pass(subject);
    for (int i = 0; i < subject->outputs; i++) {
        expect_close(subject, "the output", net_output(subject->net, i), net_output(oracle->net, i), variant);
    }
    a.data = net_gradients(subject->net);
    b.data = net_gradients(oracle->net);
    expect_close(subject, "the gradient of the parameters", &a, &b, variant);
    a.data = net_parameters(subject->net);
    b.data = net_parameters(oracle->net);
    a.columns = b.columns = (int64_t)net_parameter_floats(oracle->net);
    expect_close(subject, "what the backward pass leaves in the buffers", &a, &b, variant);
    for (int i = 0; i < subject->inputs; i++) {
        if (subject->entry->ids[i] == 0) {
            expect_close(subject, "the gradient of an input", net_input_gradient(subject->net, i),
                         net_input_gradient(oracle->net, i), variant);
        }
    }
    cr_assert_eq(net_forward(subject->net, &subject->batch, false, &error), 0, "%s", error.message);
    cr_assert_eq(net_forward(oracle->net, &oracle->batch, false, &error), 0, "%s", error.message);
    for (int i = 0; i < subject->outputs; i++) {
        expect_close(subject, "the prediction", net_output(subject->net, i), net_output(oracle->net, i), variant);
    }
}

static float *copy_output(const struct net *net)
{
    const struct tensor *y = net_output(net, 0);
    float *copy = allocate(y->rows * y->columns);
    for (int64_t r = 0; r < y->rows; r++) {
        memcpy(copy + r * y->columns, y->data + r * y->stride, (size_t)y->columns * sizeof(float));
    }
    return copy;
}

struct file {
    uint8_t *bytes;
    size_t length;
};

static int write_file(void *context, const void *bytes, size_t length)
{
    struct file *file = context;
    uint8_t *grown = realloc(file->bytes, file->length + length);
    cr_assert_not_null(grown);
    memcpy(grown + file->length, bytes, length);
    file->bytes = grown;
    file->length += length;
    return 0;
}

/* The weights through a file into a net made for prediction only: the same bits come out. */
static void check_file(struct subject *subject, const struct architecture *architecture)
{
    struct kernel_error error = {0};
    struct file file = {0};
    struct net *reader = make_net(subject->entry, architecture, subject->device, PREDICTION);
    cr_assert_eq(net_weights_write(subject->net, NULL, 0, write_file, &file, &error), 0, "%s", error.message);
    cr_assert_eq(net_weights_read_memory(reader, file.bytes, file.length, &error), 0, "%s", error.message);
    cr_expect_eq(memcmp(net_parameters(reader), net_parameters(subject->net),
                        net_parameter_floats(reader) * sizeof(float)), 0, "%s", subject->entry->text);
    cr_assert_eq(net_forward(subject->net, &subject->batch, false, &error), 0, "%s", error.message);
    cr_assert_eq(net_forward(reader, &subject->batch, false, &error), 0, "%s", error.message);
    float *one = copy_output(subject->net), *other = copy_output(reader);
    size_t bytes = (size_t)(subject->batch.rows * net_output(reader, 0)->columns) * sizeof *one;
    cr_expect_eq(memcmp(one, other, bytes), 0, "%s", subject->entry->text);
    free(one);
    free(other);
    free(file.bytes);
    net_free(reader);
}

/* Prediction is as training or not, and the gradients are the same bits without those of the inputs, and twice. */
static void check_modes(struct subject *subject, const struct architecture *architecture)
{
    struct kernel_error error = {0};
    struct net *all = subject->net, *some = make_net(subject->entry, architecture, subject->device, TRAINING);
    memcpy(net_parameters(some), net_parameters(all), net_parameter_floats(all) * sizeof(float));
    pass(subject);
    float *training = copy_output(all);
    cr_assert_eq(net_forward(all, &subject->batch, false, &error), 0, "%s", error.message);
    float *prediction = copy_output(all);
    size_t bytes = (size_t)(subject->batch.rows * net_output(all, 0)->columns) * sizeof *training;
    cr_expect_eq(memcmp(training, prediction, bytes) != 0, subject->entry->predicts_otherwise, "%s",
                 subject->entry->text);
    pass(subject);
    subject->net = some;
    pass(subject);
    cr_expect_eq(memcmp(net_gradients(all), net_gradients(some), net_trained_floats(all) * sizeof(float)), 0, "%s",
                 subject->entry->text);
    subject->net = all;
    free(training);
    free(prediction);
    net_free(some);
}

static struct device *open_device(const char *name)
{
    struct kernel_error error = {0};
    struct device *device = device_open(name, 1, &error);
    cr_assert(device != NULL || strcmp(name, "ref") != 0, "%s", error.message);
    return device;
}

static void check(const struct entry *entry, bool wrapped)
{
    static const int64_t rows[] = {ROWS, 3, 1};
    struct architecture *architecture = parse(entry->text);
    architecture = wrapped ? wrap(architecture) : architecture;
    struct device *ref = open_device("ref");
    struct subject oracle, subject;
    setup(&oracle, entry, architecture, ref);
    for (size_t i = 0; i < 3; i++) {
        oracle.batch.rows = rows[i];
        check_derivatives(&oracle);
    }
    for (size_t v = 0; v < VARIANTS; v++) {
        setenv("TL_HUB_KERNELS", variants[v], 1);
        struct device *cpu = open_device("cpu");
        cr_assert(cpu != NULL || v > 0);
        if (cpu == NULL) {
            continue; /* this CPU has no such instructions */
        }
        setup(&subject, entry, architecture, cpu);
        for (size_t i = 0; i < 3; i++) {
            oracle.batch.rows = subject.batch.rows = rows[i];
            check_against(&subject, &oracle, variants[v]);
        }
        subject.batch.rows = ROWS;
        check_file(&subject, architecture);
        check_modes(&subject, architecture);
        teardown(&subject);
        device_close(cpu);
    }
    teardown(&oracle);
    device_close(ref);
    architecture_free(architecture);
}

Test(layers, alone)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        check(&entries[i], false);
    }
}

Test(layers, between_others)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        check(&entries[i], true);
    }
}

Test(layers, every_type_has_an_entry_and_explains_itself)
{
    for (const struct layer_type *const *type = layer_types(); *type != NULL; type++) {
        bool found = false;
        for (size_t i = 0; i < ENTRIES && !found; i++) {
            struct architecture *architecture = parse(entries[i].text);
            for (int j = 0; j < architecture->layer_count; j++) {
                found = found || architecture->layers[j].type == *type;
            }
            architecture_free(architecture);
        }
        cr_expect(found, "no entry has a layer %s", (*type)->name);
        cr_expect_not_null((*type)->about, "%s: help has nothing about it", (*type)->name);
        for (size_t i = 0; (*type)->attributes[i].name != NULL; i++) {
            cr_expect_not_null((*type)->attributes[i].about, "%s: help has nothing about %s", (*type)->name,
                               (*type)->attributes[i].name);
            cr_expect_lt(i, ARCHITECTURE_ATTRIBUTES);
        }
    }
}
