/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/layer_recurrent.h"
#include "kernels/bf16.h"

#include "kernels/layer_types.h"

#include <stdlib.h>
#include <string.h>

static const char *const outputs[] = {"last", "all", NULL};
/* lecun_uniform: all U(-b, b), b = 1 / sqrt(units), as PyTorch's LSTM and GRU. orthogonal: gate by gate, recurrent
 * weights orthogonal and input weights glorot_uniform; biases 0. */
static const char *const initialisers[] = {"lecun_uniform", "orthogonal", NULL};

const struct layer_attribute recurrent_attributes[] = {
    [RECURRENT_UNITS] = {.name = "units", .kind = LAYER_INTEGER, .required = true, .minimum = 1, .maximum = 65536,
                         .about = "values of a hidden state"},
    [RECURRENT_LAYERS] = {.name = "layers", .kind = LAYER_INTEGER, .minimum = 1, .maximum = RECURRENT_MOST_LAYERS,
                          .standard = 1, .about = "one above the other"},
    [RECURRENT_OUTPUTS] = {.name = "outputs", .kind = LAYER_CHOICE, .choices = outputs,
                           .about = "the hidden state of the last step, or those of all"},
    [RECURRENT_DROPOUT] = {.name = "dropout", .kind = LAYER_NUMBER, .minimum = 0.0, .maximum = 1.0,
                           .maximum_excluded = true, .about = "rate, after each layer but the last"},
    [RECURRENT_INITIALISER] = {.name = "initialiser", .kind = LAYER_CHOICE, .choices = initialisers,
                               .about = "how the weights start"},
    {0},
};

static const char *const parameter_names[RECURRENT_MOST_LAYERS][RECURRENT_PARAMETERS] = {
    {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"},
    {"weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"},
    {"weight_ih_l2", "weight_hh_l2", "bias_ih_l2", "bias_hh_l2"},
    {"weight_ih_l3", "weight_hh_l3", "bias_ih_l3", "bias_hh_l3"},
    {"weight_ih_l4", "weight_hh_l4", "bias_ih_l4", "bias_hh_l4"},
    {"weight_ih_l5", "weight_hh_l5", "bias_ih_l5", "bias_hh_l5"},
    {"weight_ih_l6", "weight_hh_l6", "bias_ih_l6", "bias_hh_l6"},
    {"weight_ih_l7", "weight_hh_l7", "bias_ih_l7", "bias_hh_l7"},
};
_Static_assert(RECURRENT_MOST_LAYERS * RECURRENT_PARAMETERS <= LAYER_PARAMETERS, "a layer's parameters have room");
_Static_assert(ARCHITECTURE_LAYERS < RECURRENT_DROPOUT_STREAMS, "a layer's own streams are above the net's");

static const struct recurrent_cell *cell_of(const struct architecture_layer *layer)
{
    return layer->type == &layer_gru ? &recurrent_gru : &recurrent_lstm;
}

/* --- sizes --------------------------------------------------------------------------------------------------------- */

static void declare(const struct architecture_layer *layer, int l, int64_t inputs, struct layer_size *size)
{
    const int gates = cell_of(layer)->gates;
    const int64_t units = recurrent_units(layer), sums = gates * units;
    const bool orthogonal = layer->values[RECURRENT_INITIALISER].choice == 1;
    struct layer_parameter *parameters = size->parameters + l * RECURRENT_PARAMETERS;
    for (int i = 0; i < RECURRENT_PARAMETERS; i++) {
        const bool is_bias = i >= RECURRENT_BIAS_IH;
        const int64_t rows = is_bias ? 1 : i == RECURRENT_WEIGHT_IH ? inputs : units;
        parameters[i] = (struct layer_parameter){
            .name = parameter_names[l][i], .rows = rows, .columns = sums, .transposed = !is_bias,
            .file_rank = is_bias ? 1 : 2, .file_shape = {sums, is_bias ? 0 : rows},
            .initialiser = INITIALISER_LECUN_UNIFORM, .fan_in = units, .fan_out = units, .gates = gates};
        if (orthogonal) {
            parameters[i].initialiser = is_bias ? INITIALISER_ZERO
                                        : i == RECURRENT_WEIGHT_HH ? INITIALISER_ORTHOGONAL
                                                                   : INITIALISER_GLOROT_UNIFORM;
            parameters[i].fan_in = rows;
        }
    }
}

int recurrent_measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                      struct kernel_error *error)
{
    char text[80];
    const struct recurrent_cell *cell = cell_of(layer);
    const int64_t units = recurrent_units(layer);
    if (inputs[0].rank != 2) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "takes (time, features), not %s: reshape it before",
                                shape_format(&inputs[0], text, sizeof text));
    }
    const int64_t time = inputs[0].dims[0], features = inputs[0].dims[1];
    if (time > ARCHITECTURE_DIMENSION / tensor_stride(units)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "units: %lld in each of %lld steps are more than %d "
                                "values a sample", (long long)units, (long long)time, ARCHITECTURE_DIMENSION);
    }
    if (lround(layer->values[RECURRENT_DROPOUT].number * 65536.0) >= 65536) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "dropout: %.9g drops everything",
                                layer->values[RECURRENT_DROPOUT].number);
    }
    const bool all = layer->values[RECURRENT_OUTPUTS].choice == RECURRENT_ALL;
    size->output = all ? (struct shape){.rank = 2, .dims = {time, units}} : (struct shape){.rank = 1, .dims = {units}};
    size->parameter_count = recurrent_layers(layer) * RECURRENT_PARAMETERS;
    for (int l = 0; l < recurrent_layers(layer); l++) {
        const int64_t below = l == 0 ? features : units;
        declare(layer, l, below, size);
        size->flops += time * 2 * cell->gates * units * (below + units);
    }
    size->workspace = recurrent_divide(layer, cell->kept, time, 0, NULL, NULL);
    return 0;
}

/* --- the portable code --------------------------------------------------------------------------------------------- */

/* Sums of one step, gradients of one layer's parameters, and zeros to start from. */
struct state {
    double *x_sums, *h_sums;                 /* (gates * units) */
    double *dh, *cell;                       /* (units) */
    double *gradients[RECURRENT_PARAMETERS]; /* (rows * columns) of the widest layer */
    float *zeros;                            /* (kept * units) */
};

/* A sequence of vectors: value i of (t, row) is data[t * time + row * row + i]. */
struct sequence {
    float *data;
    int64_t time, row;
};

/* One layer of the stack in one pass. */
struct stack {
    const struct recurrent_cell *cell;
    const struct state *state;
    const struct tensor *parameters; /* of this layer */
    int64_t time, rows, units, columns, inputs;
    struct sequence x;
    struct sequence dx;              /* backward: where the gradient of x goes; data NULL: not wanted */
    float *h, *kept;
    enum device_precision precision;
};

static void free_state(struct state *state)
{
    if (state != NULL) {
        free(state->x_sums);
        free(state->zeros);
        free(state);
    }
}

int recurrent_build(struct layer *layer, const struct layer_build *build, struct kernel_error *error)
{
    (void)build;
    const struct recurrent_cell *cell = cell_of(layer->description);
    const size_t units = (size_t)recurrent_units(layer->description), sums = (size_t)cell->gates * units;
    const size_t features = (size_t)layer->input_shapes[0].dims[1];
    const size_t inputs = recurrent_layers(layer->description) > 1 && units > features ? units : features;
    const size_t rows[RECURRENT_PARAMETERS] = {inputs, units, 1, 1};
    const size_t doubles = 2 * sums + 2 * units + (inputs + units + 2) * sums;
    struct state *state = calloc(1, sizeof *state);
    if (state != NULL) {
        state->x_sums = calloc(doubles, sizeof *state->x_sums);
        state->zeros = calloc((size_t)cell->kept * units, sizeof *state->zeros);
    }
    if (state == NULL || state->x_sums == NULL || state->zeros == NULL) {
        free_state(state);
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
    }
    state->h_sums = state->x_sums + sums;
    state->dh = state->h_sums + sums;
    state->cell = state->dh + units;
    double *next = state->cell + units;
    for (int i = 0; i < RECURRENT_PARAMETERS; i++) {
        state->gradients[i] = next;
        next += rows[i] * sums;
    }
    layer->state = state;
    layer->state_bytes = sizeof *state + doubles * sizeof(double) + (size_t)cell->kept * units * sizeof(float);
    return 0;
}

void recurrent_destroy(struct layer *layer)
{
    free_state(layer->state);
    layer->state = NULL;
}

/* Layer l of the stack: its parameters, and where what it sees and makes is. */
static struct stack open_layer(const struct layer *layer, const struct layer_pass *pass,
                               const struct recurrent_workspace *parts, int l)
{
    const int64_t units = recurrent_units(layer->description), columns = tensor_stride(units);
    const int64_t features = layer->input_shapes[0].dims[1];
    const struct sequence inside = {.time = pass->rows * columns, .row = columns};
    struct stack stack = {
        .cell = cell_of(layer->description), .state = layer->state,
        .parameters = layer->parameters + l * RECURRENT_PARAMETERS, .time = layer->input_shapes[0].dims[0],
        .rows = pass->rows, .units = units, .columns = columns, .inputs = l == 0 ? features : units,
        .h = parts->h[l], .kept = parts->kept[l], .x = inside, .dx = inside, .precision = pass->device->precision};
    if (l > 0) {
        stack.x.data = recurrent_seen(parts, pass, l);
        stack.dx.data = parts->gradient;
    } else {
        const struct tensor *dx = layer->input_gradients[0];
        stack.x = (struct sequence){layer->inputs[0]->data, features, layer->inputs[0]->stride};
        stack.dx = (struct sequence){dx != NULL ? dx->data : NULL, features, dx != NULL ? dx->stride : 0};
    }
    return stack;
}

/* An operand of a product. */
static double operand(enum device_precision precision, double x)
{
    return precision == PRECISION_BFLOAT16 ? (double)bf16_round((float)x) : x;
}

/* sums = b + w^T x: w (inputs, count). */
static void project(enum device_precision precision, const struct tensor *w, const float *bias, const float *x, double *sums)
{
    for (int64_t j = 0; j < w->columns; j++) {
        sums[j] = (double)bias[j];
    }
    for (int64_t i = 0; i < w->rows; i++) {
        double value = operand(precision, (double)x[i]);
        for (int64_t j = 0; j < w->columns; j++) {
            sums[j] += value * operand(precision, (double)w->data[i * w->stride + j]);
        }
    }
}

/* Adds x sums^T to the gradient of w, and sums to that of its bias. */
static void add_gradient(enum device_precision precision, int64_t inputs, int64_t count, const float *x, const double *sums, double *dw, double *dbias)
{
    for (int64_t i = 0; i < inputs; i++) {
        double value = operand(precision, (double)x[i]);
        for (int64_t j = 0; j < count; j++) {
            dw[i * count + j] += value * operand(precision, sums[j]);
        }
    }
    for (int64_t j = 0; j < count; j++) {
        dbias[j] += operand(precision, sums[j]);
    }
}

/* (w sums)_i */
static double back_project(enum device_precision precision, const struct tensor *w, const double *sums, int64_t i)
{
    double sum = 0.0;
    for (int64_t j = 0; j < w->columns; j++) {
        sum += operand(precision, (double)w->data[i * w->stride + j]) * operand(precision, sums[j]);
    }
    return sum;
}

/* What a step of one row reads and writes. */
static struct recurrent_step step_at(const struct stack *stack, int64_t t, int64_t row)
{
    const struct state *state = stack->state;
    const int64_t at = (t * stack->rows + row) * stack->columns, before = at - stack->rows * stack->columns;
    const int64_t kept = stack->cell->kept;
    return (struct recurrent_step){
        .units = stack->units, .h_before = t > 0 ? stack->h + before : state->zeros,
        .kept_before = t > 0 ? stack->kept + before * kept : state->zeros, .kept = stack->kept + at * kept,
        .x_sums = state->x_sums, .h_sums = state->h_sums, .h = stack->h + at, .dh = state->dh, .cell = state->cell};
}

static void forward_layer(const struct stack *stack)
{
    const struct tensor *w = stack->parameters;
    for (int64_t t = 0; t < stack->time; t++) {
        for (int64_t row = 0; row < stack->rows; row++) {
            struct recurrent_step step = step_at(stack, t, row);
            const float *x = stack->x.data + t * stack->x.time + row * stack->x.row;
            project(stack->precision, &w[RECURRENT_WEIGHT_IH], w[RECURRENT_BIAS_IH].data, x, step.x_sums);
            project(stack->precision, &w[RECURRENT_WEIGHT_HH], w[RECURRENT_BIAS_HH].data, step.h_before, step.h_sums);
            stack->cell->forward(&step);
        }
    }
}

int recurrent_forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    struct recurrent_workspace parts;
    recurrent_divide(layer->description, cell_of(layer->description)->kept, layer->input_shapes[0].dims[0], pass->rows,
                     layer->workspace, &parts);
    for (int l = 0; l < recurrent_layers(layer->description); l++) {
        struct stack stack = open_layer(layer, pass, &parts, l);
        forward_layer(&stack);
        if (recurrent_drop(layer, pass, l, parts.h[l], parts.dropped[l], error) < 0) {
            return -1;
        }
    }
    recurrent_put_output(layer, pass, &parts);
    return 0;
}

/* One row through all steps, from the last. gradient is of the layer's hidden states, (time, rows, columns). */
static void backward_row(const struct stack *stack, int64_t row, const float *gradient)
{
    const struct state *state = stack->state;
    const struct tensor *w = stack->parameters;
    const int64_t units = stack->units, sums = stack->cell->gates * units;
    memset(state->dh, 0, (size_t)units * sizeof *state->dh);
    memset(state->cell, 0, (size_t)units * sizeof *state->cell);
    for (int64_t t = stack->time - 1; t >= 0; t--) {
        struct recurrent_step step = step_at(stack, t, row);
        const float *own = gradient + (t * stack->rows + row) * stack->columns;
        for (int64_t u = 0; u < units; u++) {
            step.dh[u] += (double)own[u];
        }
        stack->cell->backward(&step);
        add_gradient(stack->precision, stack->inputs, sums, stack->x.data + t * stack->x.time + row * stack->x.row, step.x_sums,
                     state->gradients[RECURRENT_WEIGHT_IH], state->gradients[RECURRENT_BIAS_IH]);
        add_gradient(stack->precision, units, sums, step.h_before, step.h_sums, state->gradients[RECURRENT_WEIGHT_HH],
                     state->gradients[RECURRENT_BIAS_HH]);
        for (int64_t u = 0; u < units; u++) {
            step.dh[u] += back_project(stack->precision, &w[RECURRENT_WEIGHT_HH], step.h_sums, u);
        }
        for (int64_t i = 0; stack->dx.data != NULL && i < stack->inputs; i++) {
            stack->dx.data[t * stack->dx.time + row * stack->dx.row + i] =
                (float)back_project(stack->precision, &w[RECURRENT_WEIGHT_IH], step.x_sums, i);
        }
    }
}

int recurrent_backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    const struct state *state = layer->state;
    struct recurrent_workspace parts;
    recurrent_divide(layer->description, cell_of(layer->description)->kept, layer->input_shapes[0].dims[0], pass->rows,
                     layer->workspace, &parts);
    recurrent_get_gradient(layer, pass, &parts);
    for (int l = recurrent_layers(layer->description) - 1; l >= 0; l--) {
        struct stack stack = open_layer(layer, pass, &parts, l);
        const struct tensor *gradients = layer->gradients + l * RECURRENT_PARAMETERS;
        for (int i = 0; i < RECURRENT_PARAMETERS; i++) {
            memset(state->gradients[i], 0, (size_t)(gradients[i].rows * gradients[i].columns) * sizeof(double));
        }
        for (int64_t row = 0; row < pass->rows; row++) {
            backward_row(&stack, row, parts.gradient);
        }
        for (int i = 0; i < RECURRENT_PARAMETERS; i++) {
            const struct tensor *to = &gradients[i];
            for (int64_t k = 0; k < to->rows * to->columns; k++) {
                to->data[k / to->columns * to->stride + k % to->columns] = (float)state->gradients[i][k];
            }
        }
        if (l > 0 && recurrent_drop(layer, pass, l - 1, parts.gradient, parts.gradient, error) < 0) {
            return -1;
        }
    }
    return 0;
}
