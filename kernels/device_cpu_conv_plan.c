/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device_cpu_conv_plan.h"
#include "kernels/bf16.h"

#include <stdlib.h>
#include <string.h>

#define WINOGRAD_CHANNELS 8          /* fewer on either side: bringing tiles over costs more than it saves */
#define WINOGRAD_BYTES (192 << 10)   /* of a group of tiles: it stays in the second cache */

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t conv_image_floats(const struct conv_image *image)
{
    return image->channels * image->plane;
}

/* full_height x full_width pixels in all. Planes are odd numbers of cache lines apart, lest they share cache sets. */
static struct conv_image image_of(int64_t channels, int64_t height, int64_t width, int64_t full_height,
                                  int64_t full_width, int lanes)
{
    struct conv_image image = {.channels = channels, .height = height, .width = width, .row = full_width * lanes};
    image.plane = full_height * image.row;
    if (full_height * full_width > 1) {
        image.plane = tensor_stride(image.plane);
        image.plane += image.plane / TENSOR_ALIGN % 2 == 0 ? TENSOR_ALIGN : 0;
    }
    return image;
}

/* The zeros that windows reach: around the large side those of the padding, around the small one those that the kernel
 * needs to slide over the large side's border. */
static void find_images(struct conv_plan *plan, bool winograd)
{
    const struct conv_geometry *of = &plan->of;
    const int64_t tail = winograd ? 2 : 0; /* half a tile more, and its window */
    int64_t height = most((of->out_height - 1) * of->stride_height + of->kernel_height,
                          of->padding_height + of->height) + tail;
    int64_t width = most((of->out_width - 1) * of->stride_width + of->kernel_width, of->padding_width + of->width) +
                    tail;
    plan->large = image_of(of->channels, of->height, of->width, height, width, plan->lanes);
    plan->large.top = of->padding_height;
    plan->large.left = of->padding_width;
    const int64_t top = (of->kernel_height - 1) / of->stride_height, left = (of->kernel_width - 1) / of->stride_width;
    height = top + most(of->out_height, (of->height - 1 + of->padding_height) / of->stride_height + 1) + tail;
    width = left + most(of->out_width, (of->width - 1 + of->padding_width) / of->stride_width + 1) + tail;
    plan->small = image_of(of->filters, of->out_height, of->out_width, height, width, plan->lanes);
    plan->small.top = top;
    plan->small.left = left;
}

static int class_allocate(struct conv_class *class, bool pairs, int64_t points, int64_t steps)
{
    class->points = malloc((size_t)(points + 1) * sizeof *class->points);
    class->steps = malloc((size_t)(steps + 1) * sizeof *class->steps);
    class->sources = malloc((size_t)(steps + 1) * sizeof *class->sources);
    class->others = pairs ? malloc((size_t)(steps + 1) * sizeof *class->others) : NULL;
    return class->points == NULL || class->steps == NULL || class->sources == NULL ||
           (pairs && class->others == NULL) ? -1 : 0;
}

static void class_destroy(struct conv_class *class)
{
    free(class->points);
    free(class->steps);
    free(class->sources);
    free(class->others);
}

/* Of a plane that holds input number `input`, and in pairs the next one; where those are that many floats apart. */
static void add_step(struct conv_class *class, int64_t at, int64_t source, int64_t input, int64_t inputs, int64_t apart)
{
    class->sources[class->step_count] = source;
    if (class->others != NULL) {
        class->others[class->step_count] = input + 1 < inputs ? source + apart : -1;
    }
    class->steps[class->step_count++] = at;
}

/* All windows from the large side to the small one; `to` is where the small pixels are. */
static int gather_class(const struct conv_plan *plan, const struct conv_image *to, bool pairs, struct conv_class *class)
{
    const struct conv_geometry *of = &plan->of;
    const struct conv_image *from = &plan->large;
    const int64_t channels = of->channels / of->groups, lanes = plan->lanes, area = of->kernel_height * of->kernel_width;
    const int64_t each = pairs ? 2 : 1;
    if (class_allocate(class, pairs, of->out_height * of->out_width, channels * of->kernel_height * of->kernel_width) < 0) {
        return -1;
    }
    for (int64_t y = 0; y < of->out_height; y++) {
        for (int64_t x = 0; x < of->out_width; x++) {
            class->points[class->point_count++] = (struct conv_point){
                .in = y * of->stride_height * from->row + x * of->stride_width * lanes,
                .out = (to->top + y) * to->row + (to->left + x) * lanes};
        }
    }
    for (int64_t c = 0; c < channels; c += each) {
        for (int64_t y = 0; y < of->kernel_height; y++) {
            for (int64_t x = 0; x < of->kernel_width; x++) {
                add_step(class, c / each * from->plane + y * from->row + x * lanes,
                         c * area + y * of->kernel_width + x, c, channels, area);
            }
        }
    }
    return 0;
}

/* The large pixels whose row and column, from the padding's start, leave these remainders of the strides. */
static int scatter_class(const struct conv_plan *plan, const struct conv_image *to, int64_t weight_row, int64_t down,
                         int64_t across, struct conv_class *class)
{
    const struct conv_geometry *of = &plan->of;
    const struct conv_image *from = &plan->small;
    const int64_t filters = of->filters / of->groups, lanes = plan->lanes;
    const int64_t rows = of->height / of->stride_height + 1, columns = of->width / of->stride_width + 1;
    const int64_t steps = ((of->kernel_height - 1) / of->stride_height + 1) *
                          ((of->kernel_width - 1) / of->stride_width + 1);
    const int64_t each = plan->pairs ? 2 : 1;
    if (class_allocate(class, plan->pairs, rows * columns, filters * steps) < 0) {
        return -1;
    }
    const int64_t first_y = (down - of->padding_height % of->stride_height + of->stride_height) % of->stride_height;
    const int64_t first_x = (across - of->padding_width % of->stride_width + of->stride_width) % of->stride_width;
    for (int64_t y = first_y; y < of->height; y += of->stride_height) {
        for (int64_t x = first_x; x < of->width; x += of->stride_width) {
            class->points[class->point_count++] = (struct conv_point){
                .in = (from->top + (y + of->padding_height) / of->stride_height) * from->row +
                      (from->left + (x + of->padding_width) / of->stride_width) * lanes,
                .out = y * to->row + x * lanes};
        }
    }
    for (int64_t k = 0; k < filters; k += each) {
        for (int64_t y = down; y < of->kernel_height; y += of->stride_height) {
            for (int64_t x = across; x < of->kernel_width; x += of->stride_width) {
                add_step(class, k / each * from->plane - y / of->stride_height * from->row - x / of->stride_width * lanes,
                         k * weight_row + y * of->kernel_width + x, k, filters, weight_row);
            }
        }
    }
    return 0;
}

/* Bytes of a class are about those of its points: a stride beyond the image makes no more classes than pixels. */
static int scatter_classes(const struct conv_plan *plan, int64_t weight_row, struct conv_way *way)
{
    const struct conv_geometry *of = &plan->of;
    int64_t down = least(of->stride_height, of->height), across = least(of->stride_width, of->width);
    way->classes = calloc((size_t)(down * across), sizeof *way->classes);
    if (way->classes == NULL) {
        return -1;
    }
    for (int64_t y = 0; y < down; y++) {
        for (int64_t x = 0; x < across; x++) {
            if (scatter_class(plan, &way->to, weight_row, (y + of->padding_height) % of->stride_height,
                              (x + of->padding_width) % of->stride_width, &way->classes[way->class_count++]) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int way_init(const struct conv_plan *plan, const struct cpu_conv_kernels *kernels, bool gather, bool winograd,
                    int64_t weight_row, struct conv_way *way)
{
    const struct conv_geometry *of = &plan->of;
    const int64_t area = of->kernel_height * of->kernel_width;
    const int64_t channels = of->channels / of->groups, filters = of->filters / of->groups;
    *way = (struct conv_way){.from = gather ? plan->large : plan->small, .groups = of->groups,
                             .inputs = gather ? channels : filters, .outputs = gather ? filters : channels,
                             .planes = gather ? channels : filters,
                             .group_source = filters * weight_row, .output_source = gather ? weight_row : area,
                             .input_source = gather ? area : weight_row, .turned = !gather, .winograd = winograd};
    way->to = gather ? image_of(of->filters, of->out_height, of->out_width, of->out_height, of->out_width, plan->lanes)
                     : image_of(of->channels, of->height, of->width, of->height, of->width, plan->lanes);
    if (plan->pairs) {
        way->planes = (way->planes + 1) / 2;
        way->from.channels = of->groups * way->planes;
    }
    const int64_t tiles = (way->outputs + kernels->filters - 1) / kernels->filters * kernels->filters;
    if (winograd) {
        way->start = gather ? 0 : of->padding_height * way->from.row + of->padding_width * plan->lanes;
        int64_t bytes = CONV_FREQUENCIES * (way->inputs + way->outputs) * plan->lanes * (int64_t)sizeof(float);
        int64_t group = most(WINOGRAD_BYTES / bytes / kernels->pixels, 1) * kernels->pixels;
        way->tiles = (struct conv_tiles){.across = (way->to.width + 1) / 2, .down = (way->to.height + 1) / 2,
                                         .height = way->to.height, .width = way->to.width};
        way->tiles.count = least(group, way->tiles.across * way->tiles.down);
        way->packed_group = (size_t)(CONV_FREQUENCIES * tiles * way->inputs);
        way->packed_floats = way->packed_group * (size_t)of->groups;
        return 0;
    }
    if (!gather) {
        if (scatter_classes(plan, weight_row, way) < 0) {
            return -1;
        }
    } else {
        way->classes = calloc(1, sizeof *way->classes);
        way->class_count = way->classes != NULL ? 1 : 0;
        if (way->classes == NULL || gather_class(plan, &way->to, plan->pairs, way->classes) < 0) {
            return -1;
        }
    }
    for (int64_t i = 0; i < way->class_count; i++) {
        way->classes[i].packed = way->packed_group;
        way->packed_group += (size_t)(tiles * way->classes[i].step_count);
    }
    way->packed_floats = way->packed_group * (size_t)of->groups;
    return 0;
}

static void way_destroy(struct conv_way *way)
{
    for (int64_t i = 0; i < way->class_count; i++) {
        class_destroy(&way->classes[i]);
    }
    free(way->classes);
}

bool conv_plan_has_tiles(const struct conv_geometry *of)
{
    return of->kernel_height == 3 && of->kernel_width == 3 && of->stride_height == 1 && of->stride_width == 1 &&
           of->channels / of->groups >= WINOGRAD_CHANNELS && of->filters / of->groups >= WINOGRAD_CHANNELS &&
           of->out_height * of->out_width >= 4;
}

int conv_plan_init(struct conv_plan *plan, const struct conv_geometry *of, const struct cpu_conv_kernels *kernels,
                   int64_t weight_row, bool pairs, bool input_gradient)
{
    *plan = (struct conv_plan){.of = *of, .lanes = kernels->lanes, .pairs = pairs};
    const bool winograd = !pairs && conv_plan_has_tiles(of);
    find_images(plan, winograd);
    if (way_init(plan, kernels, !of->transposed, winograd, weight_row, &plan->forward) < 0 ||
        (!winograd && gather_class(plan, &plan->small, false, &plan->gradient) < 0)) {
        return -1;
    }
    return input_gradient ? way_init(plan, kernels, of->transposed, winograd, weight_row, &plan->backward) : 0;
}

void conv_plan_destroy(struct conv_plan *plan)
{
    way_destroy(&plan->forward);
    way_destroy(&plan->backward);
    class_destroy(&plan->gradient);
}

/* --- weights ------------------------------------------------------------------------------------------------------- */

static float pair_of(float low, float high)
{
    const uint32_t bits = (uint32_t)bf16_of(high) << 16 | bf16_of(low);
    float word;
    memcpy(&word, &bits, sizeof word);
    return word;
}

/* One step of count outputs. */
static void pack_pairs(const struct conv_way *way, const struct conv_class *class, int64_t s, const float *weights,
                       int64_t count, float *packed)
{
    for (int64_t i = 0; i < count; i++, weights += way->output_source) {
        const float word = pair_of(weights[class->sources[s]], class->others[s] < 0 ? 0.0f : weights[class->others[s]]);
        memcpy(packed + i, &word, sizeof word);
    }
}

static void pack_class(const struct conv_way *way, const struct conv_class *class, int filters, const float *weights,
                       float *packed)
{
    for (int64_t output = 0; output < way->outputs; output += filters) {
        const int64_t count = least(filters, way->outputs - output);
        for (int64_t s = 0; s < class->step_count; s++, packed += filters) {
            const float *from = weights + output * way->output_source;
            if (class->others != NULL) {
                pack_pairs(way, class, s, from, count, packed);
                continue;
            }
            from += class->sources[s];
            for (int64_t i = 0; i < count; i++) {
                packed[i] = from[i * way->output_source];
            }
        }
    }
}

/* G g G^T. */
static void winograd_weights(const float g[9], bool turned, float out[CONV_FREQUENCIES])
{
    float rows[4][3];
    for (int x = 0; x < 3; x++) {
        float g0 = turned ? g[8 - x] : g[x], g1 = turned ? g[5 - x] : g[3 + x], g2 = turned ? g[2 - x] : g[6 + x];
        rows[0][x] = g0;
        rows[1][x] = 0.5f * (g0 + g1 + g2);
        rows[2][x] = 0.5f * (g0 - g1 + g2);
        rows[3][x] = g2;
    }
    for (int y = 0; y < 4; y++) {
        out[4 * y] = rows[y][0];
        out[4 * y + 1] = 0.5f * (rows[y][0] + rows[y][1] + rows[y][2]);
        out[4 * y + 2] = 0.5f * (rows[y][0] - rows[y][1] + rows[y][2]);
        out[4 * y + 3] = rows[y][2];
    }
}

static void pack_winograd(const struct conv_way *way, int filters, const float *weights, float *packed)
{
    const int64_t frequency = (int64_t)way->packed_group / CONV_FREQUENCIES;
    for (int64_t output = 0; output < way->outputs; output++) {
        float *to = packed + output / filters * filters * way->inputs + output % filters;
        for (int64_t input = 0; input < way->inputs; input++) {
            float values[CONV_FREQUENCIES];
            winograd_weights(weights + output * way->output_source + input * way->input_source, way->turned, values);
            for (int64_t f = 0; f < CONV_FREQUENCIES; f++) {
                to[f * frequency + input * filters] = values[f];
            }
        }
    }
}

void conv_pack(const struct conv_way *way, int filters, const float *weights, float *packed)
{
    for (int64_t group = 0; group < way->groups; group++) {
        const float *from = weights + group * way->group_source;
        float *to = packed + (size_t)group * way->packed_group;
        if (way->winograd) {
            pack_winograd(way, filters, from, to);
        }
        for (int64_t i = 0; i < way->class_count; i++) {
            pack_class(way, &way->classes[i], filters, from, to + way->classes[i].packed);
        }
    }
}

void conv_winograd_unpack(const float *values, int64_t filters, int64_t channels, float *gradient, int64_t row)
{
    const int64_t frequency = filters * channels;
    for (int64_t i = 0; i < frequency; i++) {
        float rows[3][4], *out = gradient + i / channels * row + i % channels * 9;
        for (int x = 0; x < 4; x++) {
            float u0 = values[x * frequency + i], u1 = values[(4 + x) * frequency + i];
            float u2 = values[(8 + x) * frequency + i], u3 = values[(12 + x) * frequency + i];
            rows[0][x] = u0 + 0.5f * (u1 + u2);
            rows[1][x] = 0.5f * (u1 - u2);
            rows[2][x] = 0.5f * (u1 + u2) + u3;
        }
        for (int y = 0; y < 3; y++) {
            out[3 * y] = rows[y][0] + 0.5f * (rows[y][1] + rows[y][2]);
            out[3 * y + 1] = 0.5f * (rows[y][1] - rows[y][2]);
            out[3 * y + 2] = 0.5f * (rows[y][1] + rows[y][2]) + rows[y][3];
        }
    }
}
