/* SPDX-License-Identifier: Apache-2.0 */
/* conv2d, conv1d and conv_transpose on the cpu: blocks of samples, a lane each, one after the other. Threads share the
 * blocks; each sums the gradients of its own blocks, and the sums are added in the order of the threads. */
#include "kernels/device_cpu.h"
#include "kernels/device_cpu_conv_plan.h"

#include <stdlib.h>
#include <string.h>

/* Floats of a sample with the zeros around, as a multiple of those without, and in any case. */
#define PADDING_FACTOR 16.0
#define PADDING_FLOATS 1048576.0
#define GRADIENT_TILES 64 /* of a group, where gradients are summed over tiles: several hundred bytes a sum */

/* What one thread works with. */
struct scratch {
    float *large, *small;     /* with zeros around */
    float *plain;             /* what is computed, without */
    float *in, *out;          /* values of Winograd's tiles */
    struct conv_point *points;  /* of a group of tiles */
    int64_t *steps;             /* from one channel's tiles to the next one's */
    float *gradient, *bias;   /* of this thread's blocks */
    float *words;             /* in pairs: what a way reads */
    float *large_halves, *small_halves; /* and both sides of two blocks */
    bool half;                /* of which the first is there, and its products are not made yet */
};

struct state {
    struct conv_plan plan;
    const struct cpu_conv_kernels *kernels;
    float *packed;            /* weights of the way forward, then of the way back */
    const struct cpu_pair_kernels *pairs; /* NULL: operands in bfloat16 are rounded floats */
    void (*sweep)(const struct conv_sweep *sweep);
    float *rounded;           /* in bfloat16, else NULL: the weights as the products take them */
    void (*round)(size_t count, const float *in, float *out); /* of operands in bfloat16, else NULL */
    size_t gradient_floats;
    int threads;
    struct scratch *scratches;
};

static void *allocate_bytes(struct layer *layer, size_t bytes)
{
    bytes = (bytes + 64) / 64 * 64;
    void *block = aligned_alloc(64, bytes);
    if (block != NULL) {
        memset(block, 0, bytes);
        layer->state_bytes += bytes;
    }
    return block;
}

static float *allocate(struct layer *layer, size_t floats)
{
    return allocate_bytes(layer, floats * sizeof(float));
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int64_t gradient_tiles(const struct conv_plan *plan)
{
    int64_t tiles = (plan->of.out_height + 1) / 2 * ((plan->of.out_width + 1) / 2);
    return tiles < GRADIENT_TILES ? tiles : GRADIENT_TILES;
}

static int build_scratch(struct layer *layer, struct state *state, bool training, struct scratch *scratch)
{
    const struct conv_plan *plan = &state->plan;
    const struct conv_way *ways[] = {&plan->forward, &plan->backward};
    size_t plain = 0, in = 0, out = 0, tiles = 0;
    for (int i = 0; i < 2; i++) {
        size_t tile = (size_t)(ways[i]->tiles.count * CONV_FREQUENCIES * plan->lanes);
        tiles = most(tiles, (size_t)ways[i]->tiles.count);
        plain = most(plain, (size_t)conv_image_floats(&ways[i]->to));
        in = most(in, tile * (size_t)ways[i]->inputs);
        out = most(out, tile * (size_t)ways[i]->outputs);
    }
    if (training && plan->forward.winograd) {
        size_t tile = (size_t)(gradient_tiles(plan) * CONV_FREQUENCIES * plan->lanes);
        in = most(in, tile * (size_t)(plan->of.channels / plan->of.groups));
        out = most(out, tile * (size_t)(plan->of.filters / plan->of.groups));
    }
    bool large = training || !plan->of.transposed, small = training || plan->of.transposed;
    scratch->large = allocate(layer, large ? (size_t)conv_image_floats(&plan->large) : 0);
    scratch->small = allocate(layer, small ? (size_t)conv_image_floats(&plan->small) : 0);
    scratch->plain = allocate(layer, plain);
    scratch->in = allocate(layer, in);
    scratch->out = allocate(layer, out);
    scratch->gradient = allocate(layer, training ? state->gradient_floats : 0);
    scratch->bias = allocate(layer, (size_t)layer->parameters[1].stride);
    if (state->pairs != NULL) {
        const size_t large_floats = (size_t)conv_image_floats(&plan->large);
        const size_t small_floats = (size_t)conv_image_floats(&plan->small);
        scratch->words = allocate(layer, most((size_t)conv_image_floats(&plan->forward.from),
                                              (size_t)conv_image_floats(&plan->backward.from)));
        scratch->large_halves = allocate(layer, training ? large_floats : 0);
        scratch->small_halves = allocate(layer, training ? small_floats : 0);
        if (scratch->words == NULL || scratch->large_halves == NULL || scratch->small_halves == NULL) {
            return -1;
        }
    }
    if (plan->forward.winograd) {
        scratch->points = allocate_bytes(layer, most(tiles, GRADIENT_TILES) * sizeof *scratch->points);
        scratch->steps = allocate_bytes(layer, (size_t)(plan->of.channels + plan->of.filters) *
                                               sizeof *scratch->steps);
        if (scratch->points == NULL || scratch->steps == NULL) {
            return -1;
        }
    }
    return scratch->large == NULL || scratch->small == NULL || scratch->plain == NULL || scratch->in == NULL ||
           scratch->out == NULL || scratch->gradient == NULL || scratch->bias == NULL ? -1 : 0;
}

static void destroy(struct layer *layer)
{
    struct state *state = layer->state;
    if (state == NULL) {
        return;
    }
    conv_plan_destroy(&state->plan);
    for (int i = 0; state->scratches != NULL && i < state->threads; i++) {
        struct scratch *scratch = &state->scratches[i];
        float *const blocks[] = {scratch->large, scratch->small, scratch->plain, scratch->in, scratch->out,
                                 scratch->gradient, scratch->bias, scratch->words, scratch->large_halves,
                                 scratch->small_halves};
        free(scratch->points);
        free(scratch->steps);
        for (size_t j = 0; j < sizeof blocks / sizeof blocks[0]; j++) {
            free(blocks[j]);
        }
    }
    free(state->scratches);
    free(state->packed);
    free(state->rounded);
    free(state);
    layer->state = NULL;
}

static int64_t block_count(const struct state *state, int64_t rows)
{
    return (rows + state->plan.lanes - 1) / state->plan.lanes;
}

/* Winograd's tiles save more than half of the products, and what they multiply is not what is rounded. */
static const struct cpu_pair_kernels *pairs_for(const struct device *device, const struct conv_geometry *of)
{
    return conv_plan_has_tiles(of) ? NULL : cpu_pairs_of(device);
}

static int build(struct layer *layer, const struct layer_build *build, struct kernel_error *error)
{
    struct conv_geometry of;
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
    }
    layer->state = state;
    layer->state_bytes = sizeof *state;
    state->kernels = cpu_kernels_of(build->device)->conv;
    if (conv_geometry_of(layer->description, &layer->input_shapes[0], &of, error) < 0) {
        return -1;
    }
    state->pairs = pairs_for(build->device, &of);
    state->sweep = state->pairs != NULL ? state->pairs->sweep : state->kernels->sweep;
    if (conv_plan_init(&state->plan, &of, state->kernels, layer->parameters[0].stride, state->pairs != NULL,
                       build->training && layer->input_gradients[0] != NULL) < 0) {
        goto memory;
    }
    const struct conv_plan *plan = &state->plan;
    int64_t blocks = block_count(state, build->batch_size);
    state->threads = build->device->threads < blocks ? build->device->threads : (int)blocks;
    state->gradient_floats = plan->forward.winograd
                             ? (size_t)(of.filters * (of.channels / of.groups) * CONV_FREQUENCIES)
                             : (size_t)(layer->parameters[0].rows * layer->parameters[0].stride);
    state->packed = allocate(layer, plan->forward.packed_floats + plan->backward.packed_floats);
    state->scratches = calloc((size_t)state->threads, sizeof *state->scratches);
    if (state->packed == NULL || state->scratches == NULL) {
        goto memory;
    }
    if (build->device->precision == PRECISION_BFLOAT16 && state->pairs == NULL) {
        state->round = cpu_kernels_of(build->device)->round_bf16;
        state->rounded = allocate(layer, (size_t)(layer->parameters[0].rows * layer->parameters[0].stride));
        if (state->rounded == NULL) {
            goto memory;
        }
    }
    for (int i = 0; i < state->threads; i++) {
        if (build_scratch(layer, state, build->training, &state->scratches[i]) < 0) {
            goto memory;
        }
    }
    return 0;
memory:
    return kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory for a block of %d samples on %d threads",
                            state->kernels->lanes, build->device->threads);
}

/* --- one block ----------------------------------------------------------------------------------------------------- */

static struct conv_image group_of(const struct conv_image *image, int64_t channels)
{
    struct conv_image group = *image;
    group.channels = channels;
    return group;
}

/* The values of tiles as the sums over windows see them: one frequency is (channel, tile, lane). */
static void set_tile_steps(const struct scratch *scratch, const struct conv_tiles *tiles, int64_t lanes,
                           int64_t channels)
{
    for (int64_t i = 0; i < tiles->count; i++) {
        scratch->points[i] = (struct conv_point){i * lanes, i * lanes};
    }
    for (int64_t i = 0; i < channels; i++) {
        scratch->steps[i] = i * tiles->count * lanes;
    }
}

/* One group of channels by Winograd's tiles, a few at a time. */
static void run_winograd(const struct cpu_conv_kernels *kernels, const struct conv_way *way,
                         const struct scratch *scratch, const float *packed, const float *in, const float *bias,
                         float *out)
{
    const int64_t lanes = kernels->lanes, all = way->tiles.across * way->tiles.down;
    const struct conv_image from = group_of(&way->from, way->inputs), to = group_of(&way->to, way->outputs);
    struct conv_tiles tiles = way->tiles;
    for (tiles.first = 0; tiles.first < all; tiles.first += way->tiles.count) {
        tiles.count = way->tiles.count < all - tiles.first ? way->tiles.count : all - tiles.first;
        set_tile_steps(scratch, &tiles, lanes, way->inputs);
        kernels->winograd_in(&tiles, &from, in + way->start, scratch->in);
        struct conv_sweep sweep = {.steps = scratch->steps, .step_count = way->inputs, .points = scratch->points,
                                   .point_count = tiles.count, .outputs = way->outputs,
                                   .out_plane = tiles.count * lanes};
        for (int64_t f = 0; f < CONV_FREQUENCIES; f++) {
            sweep.in = scratch->in + f * way->inputs * tiles.count * lanes;
            sweep.weights = packed + f * ((int64_t)way->packed_group / CONV_FREQUENCIES);
            sweep.out = scratch->out + f * way->outputs * tiles.count * lanes;
            kernels->sweep(&sweep);
        }
        kernels->winograd_out(&tiles, &to, scratch->out, bias, out);
    }
}

/* The planes of the inputs, two to a plane. */
static void pair_planes(const struct cpu_pair_kernels *pairs, const struct conv_way *way, const float *in, float *words)
{
    const int64_t plane = way->from.plane;
    for (int64_t group = 0; group < way->groups; group++) {
        for (int64_t i = 0; i < way->inputs; i += 2) {
            const float *low = in + (group * way->inputs + i) * plane;
            pairs->pair((size_t)plane, low, i + 1 < way->inputs ? low + plane : NULL,
                        words + (group * way->planes + i / 2) * plane);
        }
    }
}

/* From one side to the other, of one block. bias NULL: none. */
static void run_way(const struct state *state, const struct conv_way *way, const struct scratch *scratch,
                    const float *packed, const float *in, const float *bias)
{
    if (state->pairs != NULL) {
        pair_planes(state->pairs, way, in, scratch->words);
        in = scratch->words;
    }
    for (int64_t group = 0; group < way->groups; group++) {
        const float *from = in + group * way->planes * way->from.plane, *weights = packed + (size_t)group *
                                                                                   way->packed_group;
        const float *start = bias != NULL ? bias + group * way->outputs : NULL;
        float *to = scratch->plain + group * way->outputs * way->to.plane;
        if (way->winograd) {
            run_winograd(state->kernels, way, scratch, weights, from, start, to);
        }
        for (int64_t i = 0; i < way->class_count; i++) {
            const struct conv_class *class = &way->classes[i];
            const struct conv_sweep sweep = {
                .in = from, .weights = weights + class->packed, .bias = start, .out = to, .steps = class->steps,
                .step_count = class->step_count, .points = class->points, .point_count = class->point_count,
                .outputs = way->outputs, .out_plane = way->to.plane};
            state->sweep(&sweep);
        }
    }
}

/* The sums over tiles of one group, of all frequencies. */
static void add_winograd_gradient(const struct state *state, const struct scratch *scratch, const float *large,
                                  const float *small, float *gradient)
{
    const struct cpu_conv_kernels *kernels = state->kernels;
    const struct conv_plan *plan = &state->plan;
    const int64_t lanes = kernels->lanes, channels = plan->of.channels / plan->of.groups;
    const int64_t filters = plan->of.filters / plan->of.groups, group = gradient_tiles(plan);
    const struct conv_image from = group_of(&plan->large, channels), to = group_of(&plan->small, filters);
    struct conv_tiles tiles = {.across = (plan->of.out_width + 1) / 2, .down = (plan->of.out_height + 1) / 2,
                               .height = plan->of.out_height, .width = plan->of.out_width};
    const int64_t all = tiles.across * tiles.down;
    for (tiles.first = 0; tiles.first < all; tiles.first += group) {
        tiles.count = group < all - tiles.first ? group : all - tiles.first;
        set_tile_steps(scratch, &tiles, lanes, channels);
        kernels->winograd_in(&tiles, &from, large, scratch->in);
        kernels->winograd_gradient(&tiles, &to, small, scratch->out);
        struct conv_products products = {.steps = scratch->steps, .step_count = channels, .points = scratch->points,
                                         .point_count = tiles.count, .outputs = filters,
                                         .out_plane = tiles.count * lanes, .gradient_row = channels};
        for (int64_t f = 0; f < CONV_FREQUENCIES; f++) {
            products.in = scratch->in + f * channels * tiles.count * lanes;
            products.out = scratch->out + f * filters * tiles.count * lanes;
            products.gradient = gradient + f * plan->of.filters * channels;
            kernels->products(&products);
        }
    }
}

static void add_gradient(const struct state *state, const struct scratch *scratch, int64_t weight_row)
{
    const struct conv_plan *plan = &state->plan;
    const int64_t channels = plan->of.channels / plan->of.groups, filters = plan->of.filters / plan->of.groups;
    for (int64_t group = 0; group < plan->of.groups; group++) {
        const float *large = (state->pairs != NULL ? scratch->large_halves : scratch->large) +
                             group * channels * plan->large.plane;
        const float *small = (state->pairs != NULL ? scratch->small_halves : scratch->small) +
                             group * filters * plan->small.plane;
        if (plan->forward.winograd) {
            add_winograd_gradient(state, scratch, large, small, scratch->gradient + group * filters * channels);
            continue;
        }
        const struct conv_products products = {
            .in = large, .out = small, .steps = plan->gradient.steps, .step_count = plan->gradient.step_count,
            .points = plan->gradient.points, .point_count = plan->gradient.point_count, .outputs = filters,
            .out_plane = plan->small.plane, .gradient = scratch->gradient + group * filters * weight_row,
            .gradient_row = weight_row};
        if (state->pairs != NULL) {
            state->pairs->products(&products);
        } else {
            state->kernels->products(&products);
        }
    }
}

/* In pairs: takes this block along to the next one, whose products are then made with its own. */
static void add_pair_gradient(const struct state *state, struct scratch *scratch, int64_t weight_row, bool last)
{
    const struct conv_plan *plan = &state->plan;
    const size_t large = (size_t)conv_image_floats(&plan->large), small = (size_t)conv_image_floats(&plan->small);
    const int64_t second = scratch->half ? plan->lanes : 0;
    state->pairs->spread(large, scratch->large, (uint16_t *)scratch->large_halves + second);
    state->pairs->spread(small, scratch->small, (uint16_t *)scratch->small_halves + second);
    if (!scratch->half && last) { /* nobody's */
        state->pairs->spread(large, NULL, (uint16_t *)scratch->large_halves + plan->lanes);
        state->pairs->spread(small, NULL, (uint16_t *)scratch->small_halves + plan->lanes);
    }
    if (scratch->half || last) {
        add_gradient(state, scratch, weight_row);
    }
    scratch->half = !scratch->half && !last;
}

/* --- operands in bfloat16 ------------------------------------------------------------------------------------------ */

static void round_image(const struct state *state, const struct conv_image *image, float *data)
{
    if (state->round != NULL) {
        state->round((size_t)conv_image_floats(image), data, data);
    }
}

static const float *operand_weights(const struct layer *layer)
{
    const struct state *state = layer->state;
    const struct tensor *weights = &layer->parameters[0];
    if (state->round == NULL) {
        return weights->data;
    }
    state->round((size_t)(weights->rows * weights->stride), weights->data, state->rounded);
    return state->rounded;
}

/* --- passes -------------------------------------------------------------------------------------------------------- */

/* Calls run for every block; threads have blocks that follow each other. last: of this thread. */
typedef void block_function(struct layer *layer, struct scratch *scratch, int64_t first, int64_t rows, bool last);

static void run_blocks(struct layer *layer, int64_t rows, block_function *run)
{
    const struct state *state = layer->state;
    const int64_t blocks = block_count(state, rows), lanes = state->plan.lanes, threads = state->threads;
#pragma omp parallel for num_threads((int)threads) schedule(static, 1) if (threads > 1)
    for (int64_t thread = 0; thread < threads; thread++) {
        const int64_t end = (thread + 1) * blocks / threads;
        for (int64_t block = thread * blocks / threads; block < end; block++) {
            int64_t left = rows - block * lanes;
            run(layer, &state->scratches[thread], block * lanes, left < lanes ? left : lanes, block + 1 == end);
        }
    }
}

static void forward_block(struct layer *layer, struct scratch *scratch, int64_t first, int64_t rows, bool last)
{
    (void)last;
    const struct state *state = layer->state;
    const struct conv_plan *plan = &state->plan;
    float *in = plan->of.transposed ? scratch->small : scratch->large;
    state->kernels->to_lanes(layer->inputs[0], NULL, ACTIVATION_NONE, first, rows, &plan->forward.from, in);
    round_image(state, &plan->forward.from, in);
    run_way(state, &plan->forward, scratch, state->packed, in, layer->parameters[1].data);
    state->kernels->from_lanes(&plan->forward.to, scratch->plain, plan->of.activation, first, rows, &layer->output);
}

static void backward_block(struct layer *layer, struct scratch *scratch, int64_t first, int64_t rows, bool last)
{
    const struct state *state = layer->state;
    const struct conv_plan *plan = &state->plan;
    const bool transposed = plan->of.transposed;
    float *x = transposed ? scratch->small : scratch->large, *dz = transposed ? scratch->large : scratch->small;
    const struct conv_image *output = transposed ? &plan->large : &plan->small;
    const struct conv_image *input = transposed ? &plan->small : &plan->large;
    state->kernels->to_lanes(layer->inputs[0], NULL, ACTIVATION_NONE, first, rows, input, x);
    round_image(state, input, x);
    state->kernels->to_lanes(&layer->output_gradient, &layer->output, plan->of.activation, first, rows, output, dz);
    state->kernels->plane_sums(output, dz, scratch->bias);
    round_image(state, output, dz);
    if (state->pairs != NULL) {
        add_pair_gradient(state, scratch, layer->parameters[0].stride, last);
    } else {
        add_gradient(state, scratch, layer->parameters[0].stride);
    }
    if (layer->input_gradients[0] != NULL) {
        run_way(state, &plan->backward, scratch, state->packed + plan->forward.packed_floats, dz, NULL);
        state->kernels->from_lanes(&plan->backward.to, scratch->plain, ACTIVATION_NONE, first, rows,
                                   layer->input_gradients[0]);
    }
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct state *state = layer->state;
    conv_pack(&state->plan.forward, state->kernels->filters, operand_weights(layer), state->packed);
    run_blocks(layer, pass->rows, forward_block);
    return 0;
}

static void add_to(float *sums, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sums[i] += values[i];
    }
}

static void set_gradients(struct layer *layer)
{
    const struct state *state = layer->state;
    const struct conv_geometry *of = &state->plan.of;
    struct tensor *gradient = &layer->gradients[0];
    float *sums = state->scratches[0].gradient, *bias = state->scratches[0].bias;
    for (int i = 1; i < state->threads; i++) {
        add_to(sums, state->scratches[i].gradient, state->gradient_floats);
        add_to(bias, state->scratches[i].bias, (size_t)layer->gradients[1].columns);
    }
    memcpy(layer->gradients[1].data, bias, (size_t)layer->gradients[1].columns * sizeof *bias);
    if (state->plan.forward.winograd) {
        conv_winograd_unpack(sums, of->filters, of->channels / of->groups, gradient->data, gradient->stride);
    } else {
        memcpy(gradient->data, sums, state->gradient_floats * sizeof *sums);
    }
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct state *state = layer->state;
    conv_pack(&state->plan.backward, state->kernels->filters, operand_weights(layer),
              state->packed + state->plan.forward.packed_floats);
    for (int i = 0; i < state->threads; i++) {
        memset(state->scratches[i].gradient, 0, state->gradient_floats * sizeof(float));
        memset(state->scratches[i].bias, 0, (size_t)layer->gradients[1].columns * sizeof(float));
    }
    run_blocks(layer, pass->rows, backward_block);
    set_gradients(layer);
    return 0;
}

static const struct layer_code code = {.build = build, .destroy = destroy, .forward = forward, .backward = backward};

/* Whether the zeros around are much more than the data: a wide padding around little. */
static bool is_mostly_zeros(const struct conv_geometry *of)
{
    int64_t down = of->out_height * of->stride_height + of->kernel_height, large = of->padding_height + of->height;
    int64_t across = of->out_width * of->stride_width + of->kernel_width, wide = of->padding_width + of->width;
    double pixels = (double)(down > large ? down : large) * (double)(across > wide ? across : wide);
    double small = ((double)of->kernel_height + (double)of->out_height + (double)of->padding_height) *
                   ((double)of->kernel_width + (double)of->out_width + (double)of->padding_width);
    double data = (double)of->channels * (double)of->height * (double)of->width +
                  (double)of->filters * (double)of->out_height * (double)of->out_width;
    return (double)of->channels * pixels + (double)of->filters * small > PADDING_FACTOR * data + PADDING_FLOATS;
}

const struct layer_code *cpu_conv_code(const struct layer *layer)
{
    static const char *const types[] = {"conv2d", "conv1d", "conv_transpose"};
    struct conv_geometry of;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(layer->description->type->name, types[i]) == 0) {
            return conv_geometry_of(layer->description, &layer->input_shapes[0], &of, NULL) == 0 &&
                           !is_mostly_zeros(&of) ? &code : NULL;
        }
    }
    return NULL;
}
