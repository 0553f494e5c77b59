/* SPDX-License-Identifier: Apache-2.0 */
/* lstm and gru on the cpu: the order of the steps, and memory. Rows are independent of each other but for the gradients
 * of the weights, whose blocks are; so threads share rows, then blocks, and every sum is the same however many they
 * are. */
#include "kernels/device_cpu.h"
#include "kernels/layer_recurrent_sequence.h"

#include <omp.h>
#include <stdlib.h>

struct state {
    enum cpu_cell cell;
    int64_t blocks;
    float *packed;        /* the weights of one layer: first as forward reads them, then as backward does */
    float *bias;          /* (blocks, 4, LANES) */
    float *dh, *dx;       /* (batch size, width) of hidden states and of the inputs */
    float *carried;       /* (blocks, batch size, LANES) */
    /* In bfloat16, else NULL: a step's operands, rounded, as far apart as what they are made from, and the weights. */
    float *x_operand, *h_operand, *weights[2];
    /* In pairs, else NULL: words of two columns of x_operand and h_operand; of two rows; and of the gradients of sums. */
    float *x_rows, *h_rows, *gate_rows, *gate_pairs;
};

enum { KEPT_LSTM = 6, KEPT_GRU = 4 }; /* as the layer types' own code: gates and memory */

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static float *allocate(struct layer *layer, int64_t floats)
{
    size_t bytes = ((size_t)floats * sizeof(float) + 63) / 64 * 64;
    layer->state_bytes += bytes;
    return aligned_alloc(64, bytes);
}

static void destroy(struct layer *layer)
{
    struct state *state = layer->state;
    if (state != NULL) {
        free(state->packed);
        free(state->bias);
        free(state->dh);
        free(state->dx);
        free(state->carried);
        free(state->x_operand);
        free(state->h_operand);
        free(state->weights[0]);
        free(state->weights[1]);
        free(state->x_rows);
        free(state->h_rows);
        free(state->gate_rows);
        free(state->gate_pairs);
        free(state);
        layer->state = NULL;
    }
}

/* Rows of x are those of the layer's input, or of hidden states, whichever are longer. */
static bool build_operands(struct layer *layer, int64_t batch_size)
{
    struct state *state = layer->state;
    const int64_t units = recurrent_units(layer->description), columns = tensor_stride(units);
    const int64_t features = layer->input_shapes[0].dims[1];
    state->x_operand = allocate(layer, batch_size * most(features, columns));
    state->h_operand = allocate(layer, batch_size * columns);
    for (int i = 0; i < 2; i++) {
        const struct tensor *first = &layer->parameters[i];
        const int64_t rows = recurrent_layers(layer->description) > 1 ? most(first->rows, units) : first->rows;
        state->weights[i] = allocate(layer, rows * first->stride);
    }
    return state->x_operand != NULL && state->h_operand != NULL && state->weights[0] != NULL &&
           state->weights[1] != NULL;
}

/* Words take as much room as floats, or half of it. */
static bool build_pairs(struct layer *layer, const struct layer_build *build)
{
    struct state *state = layer->state;
    const int64_t columns = tensor_stride(recurrent_units(layer->description)), rows = build->batch_size;
    const int64_t features = layer->input_shapes[0].dims[1], lanes = cpu_kernels_of(build->device)->lanes;
    const int64_t gates = build->training ? state->blocks * CPU_CELL_SUMS * lanes : 0;
    state->x_operand = allocate(layer, rows * (most(features, columns) + 1) / 2);
    state->h_operand = allocate(layer, rows * columns);
    state->x_rows = allocate(layer, build->training ? (rows + 1) / 2 * most(features, columns) : 0);
    state->h_rows = allocate(layer, build->training ? (rows + 1) / 2 * columns : 0);
    state->gate_rows = allocate(layer, rows * gates / 2);
    state->gate_pairs = allocate(layer, (rows + 1) / 2 * gates);
    return state->x_operand != NULL && state->h_operand != NULL && state->x_rows != NULL && state->h_rows != NULL &&
           state->gate_rows != NULL && state->gate_pairs != NULL;
}

/* Rounded operands, of whichever kind. */
static bool build_bf16(struct layer *layer, const struct layer_build *build)
{
    return cpu_pairs_of(build->device) != NULL ? build_pairs(layer, build) : build_operands(layer, build->batch_size);
}

static int build(struct layer *layer, const struct layer_build *build, struct kernel_error *error)
{
    const int64_t lanes = cpu_kernels_of(build->device)->lanes;
    const int64_t units = recurrent_units(layer->description), features = layer->input_shapes[0].dims[1];
    const int64_t inputs = recurrent_layers(layer->description) > 1 ? most(units, features) : features;
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
    }
    layer->state = state;
    layer->state_bytes = sizeof *state;
    state->cell = strcmp(layer->description->type->name, "gru") == 0 ? CPU_GRU : CPU_LSTM;
    state->blocks = (units + lanes - 1) / lanes;
    const int64_t gates = CPU_CELL_GATES(state->cell), sums = state->blocks * lanes * gates;
    const int64_t rows = build->training ? build->batch_size : 0;
    state->packed = allocate(layer, sums * (build->training ? tensor_stride(inputs) + tensor_stride(units)
                                                            : inputs + units));
    state->bias = allocate(layer, state->blocks * CPU_CELL_SUMS * lanes);
    state->dh = allocate(layer, rows * tensor_stride(units));
    state->dx = allocate(layer, rows * tensor_stride(inputs));
    state->carried = allocate(layer, rows * state->blocks * lanes);
    if (state->packed == NULL || state->bias == NULL || state->dh == NULL || state->dx == NULL ||
        state->carried == NULL ||
        (build->device->precision == PRECISION_BFLOAT16 && !build_bf16(layer, build))) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
    }
    return 0;
}

/* One layer of the stack in one pass. */
struct stack {
    const struct cpu_recurrent_kernels *kernels;
    const struct cpu_pair_kernels *pairs; /* products in bfloat16; NULL: of floats */
    struct state *state;
    struct tensor *parameters, *gradients;
    int64_t time, lanes;
    int threads;
    int64_t x_time;        /* from a step's x to the next one's */
    void (*round)(size_t count, const float *in, float *out); /* of operands in bfloat16; NULL: they are as they are */
    struct cpu_recurrent_step first; /* of step 0: others are further in the same blocks */
};

static struct stack open_layer(const struct layer *layer, const struct layer_pass *pass,
                               const struct recurrent_workspace *parts, int l)
{
    struct state *state = layer->state;
    const struct cpu_kernels *kernels = cpu_kernels_of(pass->device);
    const struct cpu_pair_kernels *pairs = cpu_pairs_of(pass->device);
    const int64_t units = recurrent_units(layer->description), features = layer->input_shapes[0].dims[1];
    const int64_t time = layer->input_shapes[0].dims[0], columns = tensor_stride(units);
    const struct tensor *x = layer->inputs[0];
    return (struct stack){
        .kernels = &kernels->recurrent, .pairs = pairs, .state = state, .time = time, .lanes = kernels->lanes,
        .threads = pass->device->threads,
        .round = pass->device->precision == PRECISION_BFLOAT16 ? kernels->round_bf16 : NULL,
        .parameters = (struct tensor *)layer->parameters + l * RECURRENT_PARAMETERS,
        .gradients = (struct tensor *)layer->gradients + l * RECURRENT_PARAMETERS,
        .x_time = l > 0 ? pass->rows * columns : features,
        .first = {.cell = state->cell, .rows = pass->rows, .units = units, .blocks = state->blocks,
                  .inputs = l > 0 ? units : features, .hidden = units, .x = l > 0 ? recurrent_seen(parts, pass, l) : x->data,
                  .x_row = l > 0 ? columns : x->stride, .h = parts->h[l], .h_row = columns,
                  .operand_row = columns, .gates = parts->kept[l],
                  .memory = parts->kept[l] + time * pass->rows * state->blocks * kernels->lanes * CPU_CELL_SUMS}};
}

static struct cpu_recurrent_step step_at(const struct stack *stack, int64_t t)
{
    struct cpu_recurrent_step step = stack->first;
    const int64_t values = step.rows * step.blocks * stack->lanes;
    step.x += t * stack->x_time;
    step.h += t * step.rows * step.h_row;
    step.gates += t * values * CPU_CELL_SUMS;
    step.memory += t * values * 2;
    step.h_before = t > 0 ? step.h - step.rows * step.h_row : NULL;
    step.memory_before = t > 0 ? step.memory - values * 2 : NULL;
    step.h_operand = step.h_before;
    return step;
}

/* Puts rounded copies of rows from … to - 1 in the place of the operands x and h, where products are in bfloat16. */
static void round_operands(const struct stack *stack, struct cpu_recurrent_step *step, int64_t from, int64_t to)
{
    struct state *state = stack->state;
    for (int64_t row = from; stack->round != NULL && row < to; row++) {
        stack->round((size_t)step->inputs, step->x + row * step->x_row, state->x_operand + row * step->inputs);
        if (step->h_before != NULL) {
            stack->round((size_t)step->units, step->h_before + row * step->h_row,
                         state->h_operand + row * step->h_row);
        }
    }
    if (stack->round != NULL) {
        step->x = state->x_operand;
        step->x_row = step->inputs;
        step->h_operand = step->h_before != NULL ? state->h_operand : NULL;
    }
}

/* Likewise in pairs, as forward reads them. */
static void pair_operands(const struct stack *stack, struct cpu_recurrent_step *step, int64_t from, int64_t to)
{
    struct state *state = stack->state;
    const int64_t inputs = (step->inputs + 1) / 2, hidden = (step->hidden + 1) / 2;
    for (int64_t row = from; row < to; row++) {
        stack->pairs->row((size_t)step->inputs, step->x + row * step->x_row, state->x_operand + row * inputs);
        if (step->h_before != NULL) {
            stack->pairs->row((size_t)step->units, step->h_before + row * step->h_row,
                              state->h_operand + row * hidden);
        }
    }
    step->x = state->x_operand;
    step->x_row = step->inputs = inputs;
    step->h_operand = step->h_before != NULL ? state->h_operand : NULL;
    step->operand_row = step->hidden = hidden;
}

/* Rows two at a time, the last of an odd number alone: words of columns 0 … count - 1, rows `to_row` apart. */
static void pair_two_rows(const struct stack *stack, int64_t count, const float *in, int64_t in_row, int64_t from,
                          int64_t to, int64_t to_row, float *words)
{
    for (int64_t row = from; row < to; row += 2) {
        stack->pairs->pair((size_t)count, in + row * in_row, row + 1 < to ? in + (row + 1) * in_row : NULL,
                           words + row / 2 * to_row);
    }
}

/* And as backward does; from is even. The gates are rounded already, for the gradient of the bias is of what is rounded. */
static void pair_backward(const struct stack *stack, struct cpu_recurrent_step *step, int64_t from, int64_t to)
{
    struct state *state = stack->state;
    const int64_t sums = CPU_CELL_SUMS * stack->lanes, pairs = (step->rows + 1) / 2;
    pair_two_rows(stack, step->inputs, step->x, step->x_row, from, to, step->inputs, state->x_rows);
    if (step->h_before != NULL) {
        pair_two_rows(stack, step->units, step->h_before, step->h_row, from, to, step->units, state->h_rows);
    }
    for (int64_t block = 0; block < step->blocks && from < to; block++) {
        const float *gates = step->gates + block * step->rows * sums;
        stack->pairs->row((size_t)((to - from) * sums), gates + from * sums,
                          state->gate_rows + (block * step->rows + from) * sums / 2);
        pair_two_rows(stack, sums, gates, sums, from, to, sums, state->gate_pairs + block * pairs * sums);
    }
    step->x = state->x_rows;
    step->x_row = step->inputs;
    step->h_operand = step->h_before != NULL ? state->h_rows : NULL;
    step->operand_row = step->units;
    step->gate_rows = state->gate_rows;
    step->gate_pairs = state->gate_pairs;
}

/* The gradients of the sums, likewise, in their place. */
static void round_gates(const struct stack *stack, const struct cpu_recurrent_step *step, int64_t from, int64_t to)
{
    const int64_t sums = CPU_CELL_SUMS * stack->lanes;
    for (int64_t block = 0; stack->round != NULL && block < step->blocks; block++) {
        float *gates = step->gates + (block * step->rows + from) * sums;
        stack->round((size_t)((to - from) * sums), gates, gates);
    }
}

/* weight_ih, weight_hh as the products take them. */
static void operand_weights(const struct stack *stack, struct tensor weights[2])
{
    for (int i = 0; i < 2; i++) {
        weights[i] = stack->parameters[i];
        if (stack->round != NULL && stack->pairs == NULL) {
            stack->round((size_t)(weights[i].rows * weights[i].stride), weights[i].data, stack->state->weights[i]);
            weights[i].data = stack->state->weights[i];
        }
    }
}

/* Where the share of this thread of the team begins; that of the next one is its end. */
static int64_t share(int64_t count, int next)
{
    return count * (omp_get_thread_num() + next) / omp_get_num_threads();
}

/* Of the rows, two of which make a pair. */
static int64_t share_rows(const struct stack *stack, int next)
{
    const int64_t rows = stack->first.rows, row = stack->pairs != NULL ? 2 * share((rows + 1) / 2, next) : share(rows, next);
    return row < rows ? row : rows;
}

static void forward_layer(const struct stack *stack)
{
    const struct cpu_recurrent_step *first = &stack->first;
    const struct tensor *w = stack->parameters;
    const struct cpu_recurrent_weights weights = {.weights = stack->state->packed, .bias = stack->state->bias};
    struct tensor operands[2];
    operand_weights(stack, operands);
    (stack->pairs != NULL ? stack->pairs->pack : stack->kernels->pack)(
        first->cell, first->units, &operands[RECURRENT_WEIGHT_IH], &operands[RECURRENT_WEIGHT_HH],
        w[RECURRENT_BIAS_IH].data, w[RECURRENT_BIAS_HH].data, stack->state->packed, stack->state->bias);
#pragma omp parallel num_threads(stack->threads) if (stack->threads > 1)
    for (int64_t t = 0; t < stack->time; t++) {
        struct cpu_recurrent_step step = step_at(stack, t);
        const int64_t from = share_rows(stack, 0), to = share_rows(stack, 1);
        if (stack->pairs != NULL) {
            pair_operands(stack, &step, from, to);
            stack->pairs->forward(&step, &weights, from, to);
        } else {
            round_operands(stack, &step, from, to);
            stack->kernels->forward(&step, &weights, from, to);
        }
    }
}

static int kept_of(const struct layer *layer)
{
    return ((const struct state *)layer->state)->cell == CPU_LSTM ? KEPT_LSTM : KEPT_GRU;
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    struct recurrent_workspace parts;
    recurrent_divide(layer->description, kept_of(layer), layer->input_shapes[0].dims[0], pass->rows, layer->workspace,
                     &parts);
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

/* Where the gradient of a layer's hidden states comes from, and where that of its inputs goes. */
struct route {
    const float *dy;      /* of step 0 */
    int64_t dy_time, dy_row;
    bool last_only;       /* dy is of the last step */
    float *dx;            /* of step 0; NULL: not wanted */
    int64_t dx_time, dx_row;
};

static struct route open_route(const struct layer *layer, const struct layer_pass *pass,
                               const struct recurrent_workspace *parts, int l)
{
    const int64_t units = recurrent_units(layer->description), columns = tensor_stride(units);
    const struct tensor *dx = layer->input_gradients[0];
    struct route route = {.dy = parts->gradient, .dy_time = pass->rows * columns, .dy_row = columns,
                          .dx = parts->gradient, .dx_time = pass->rows * columns, .dx_row = columns};
    if (l == recurrent_layers(layer->description) - 1) {
        route.dy = layer->output_gradient.data;
        route.dy_row = layer->output_gradient.stride;
        route.dy_time = units;
        route.last_only = !recurrent_gives_all(layer->description);
    }
    if (l == 0) {
        route.dx = dx != NULL ? dx->data : NULL;
        route.dx_row = dx != NULL ? dx->stride : 0;
        route.dx_time = layer->input_shapes[0].dims[1];
    }
    return route;
}

/* This thread's share of the blocks. */
static void backward_weights(const struct stack *stack, const struct cpu_recurrent_step *step, bool adds)
{
    struct tensor *dw = stack->gradients;
    const int64_t from = share(step->blocks, 0), to = share(step->blocks, 1);
    void (*weights)(const struct cpu_recurrent_step *, bool, const float *, int64_t, int64_t, bool, struct tensor *,
                    float *, int64_t, int64_t) = stack->pairs != NULL ? stack->pairs->weights : stack->kernels->weights;
    weights(step, false, step->x, step->x_row, step->inputs, adds, &dw[RECURRENT_WEIGHT_IH],
            dw[RECURRENT_BIAS_IH].data, from, to);
    weights(step, true, step->h_operand, step->operand_row, step->units, adds, &dw[RECURRENT_WEIGHT_HH],
            dw[RECURRENT_BIAS_HH].data, from, to);
}

/* All steps, from the last, of this thread's share of the rows, and of the blocks where all rows of a step are
 * needed. */
static void backward_steps(const struct stack *stack, const struct route *route, const float *w_hh, const float *w_ih)
{
    struct state *state = stack->state;
    const int64_t width = tensor_stride(stack->first.units), x_width = tensor_stride(stack->first.inputs);
    const int64_t from = share_rows(stack, 0), to = share_rows(stack, 1);
    void (*inputs)(const struct cpu_recurrent_step *, bool, const float *, int64_t, float *, int64_t, int64_t) =
        stack->pairs != NULL ? stack->pairs->inputs : stack->kernels->inputs;
    struct cpu_recurrent_gradient gradient = {.dh = state->dh, .dh_row = width, .carried = state->carried,
                                              .dy_row = route->dy_row};
    for (int64_t t = stack->time - 1; t >= 0; t--) {
        struct cpu_recurrent_step step = step_at(stack, t);
        gradient.dy = !route->last_only ? route->dy + t * route->dy_time
                      : t == stack->time - 1 ? route->dy
                                             : NULL;
        stack->kernels->gates(&step, &gradient, from, to);
        round_gates(stack, &step, from, to);
        if (stack->pairs != NULL) {
            pair_backward(stack, &step, from, to);
        } else {
            round_operands(stack, &step, from, to);
        }
#pragma omp barrier
        backward_weights(stack, &step, t < stack->time - 1);
        if (t > 0) {
            inputs(&step, true, w_hh, width, state->dh, from, to);
        }
        if (route->dx != NULL) {
            inputs(&step, false, w_ih, x_width, state->dx, from, to);
            for (int64_t row = from; row < to; row++) {
                memcpy(route->dx + t * route->dx_time + row * route->dx_row, state->dx + row * x_width,
                       (size_t)step.inputs * sizeof(float));
            }
        }
        if (stack->round != NULL) { /* the next step's rounded operands go where this one's are */
#pragma omp barrier
        }
    }
}

static void backward_layer(const struct stack *stack, const struct route *route)
{
    struct state *state = stack->state;
    const struct cpu_recurrent_step *first = &stack->first;
    const struct tensor *hh = &stack->gradients[RECURRENT_WEIGHT_HH];
    struct tensor w[2];
    operand_weights(stack, w);
    const int64_t width = tensor_stride(first->units), x_width = tensor_stride(first->inputs);
    float *w_hh = state->packed, *w_ih = w_hh + width * first->blocks * stack->lanes * CPU_CELL_GATES(first->cell);
    void (*transpose)(enum cpu_cell, int64_t, const struct tensor *, int64_t, float *) =
        stack->pairs != NULL ? stack->pairs->transpose : stack->kernels->transpose;
    transpose(first->cell, first->units, &w[RECURRENT_WEIGHT_HH], width, w_hh);
    if (route->dx != NULL) {
        transpose(first->cell, first->units, &w[RECURRENT_WEIGHT_IH], x_width, w_ih);
    }
    memset(state->dh, 0, (size_t)(first->rows * width) * sizeof(float));
    memset(state->carried, 0, (size_t)(first->rows * first->blocks * stack->lanes) * sizeof(float));
    if (stack->time == 1) { /* nothing goes through the recurrent weights */
        memset(hh->data, 0, (size_t)(hh->rows * hh->stride) * sizeof(float));
    }
#pragma omp parallel num_threads(stack->threads) if (stack->threads > 1)
    backward_steps(stack, route, w_hh, w_ih);
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    struct recurrent_workspace parts;
    recurrent_divide(layer->description, kept_of(layer), layer->input_shapes[0].dims[0], pass->rows, layer->workspace,
                     &parts);
    for (int l = recurrent_layers(layer->description) - 1; l >= 0; l--) {
        struct stack stack = open_layer(layer, pass, &parts, l);
        struct route route = open_route(layer, pass, &parts, l);
        backward_layer(&stack, &route);
        if (l > 0 && recurrent_drop(layer, pass, l - 1, parts.gradient, parts.gradient, error) < 0) {
            return -1;
        }
    }
    return 0;
}

const struct layer_code *cpu_recurrent_code(const struct layer *layer)
{
    static const struct layer_code code = {.build = build, .destroy = destroy, .forward = forward,
                                           .backward = backward};
    const char *type = layer->description->type->name;
    return strcmp(type, "lstm") == 0 || strcmp(type, "gru") == 0 ? &code : NULL;
}
