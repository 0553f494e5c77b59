/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions (device_cpu_conv.h), included by device_cpu_vector.h. CONV_FILTERS x CONV_PIXELS accumulators, with
 * CONV_PIXELS operands and a weight, fit the registers. */
#include "kernels/device_cpu_conv.h"

/* Of the LANES floats of a and the LANES of b that follow them, those that index names. */
INLINE vector shuffle_two(vector a, vector b, integers index)
{
#if defined(__clang__)
    vector out = {0};
    for (int i = 0; i < LANES; i++) {
        out[i] = index[i] < LANES ? a[index[i]] : b[index[i] - LANES];
    }
    return out;
#else
    return __builtin_shuffle(a, b, index);
#endif
}

/* --- samples to lanes and back ------------------------------------------------------------------------------------- */

/* The square of LANES vectors transposed: 4 x 4 within quarters of registers, then whole quarters. */
INLINE void transpose_lanes(vector v[LANES])
{
    integers even, odd, low, high;
    for (int i = 0; i < LANES; i++) {
        int quarter = i / 4 * 4, j = i % 4;
        even[i] = quarter + j / 2 + j % 2 * LANES;
        odd[i] = quarter + 2 + j / 2 + j % 2 * LANES;
        low[i] = quarter + j % 2 + j / 2 * LANES;
        high[i] = quarter + 2 + j % 2 + j / 2 * LANES;
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 4) {
        vector a = shuffle_two(v[i], v[i + 1], even), b = shuffle_two(v[i], v[i + 1], odd);
        vector c = shuffle_two(v[i + 2], v[i + 3], even), d = shuffle_two(v[i + 2], v[i + 3], odd);
        v[i] = shuffle_two(a, c, low);
        v[i + 1] = shuffle_two(a, c, high);
        v[i + 2] = shuffle_two(b, d, low);
        v[i + 3] = shuffle_two(b, d, high);
    }
#pragma GCC unroll 4
    for (int distance = 4; distance < LANES; distance *= 2) {
        for (int i = 0; i < LANES; i++) {
            low[i] = (i & distance) == 0 ? i : i - distance + LANES;
            high[i] = (i & distance) == 0 ? i + distance : i + LANES;
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES / 2; i++) {
            const int row = i / distance * 2 * distance + i % distance;
            vector a = v[row], b = v[row + distance];
            v[row] = shuffle_two(a, b, low);
            v[row + distance] = shuffle_two(a, b, high);
        }
    }
}

/* Where the floats of a sample are in the image, one after the other. */
struct conv_cursor {
    const struct conv_image *image;
    int64_t x, y, at;
};

INLINE struct conv_cursor conv_cursor_at(const struct conv_image *image)
{
    return (struct conv_cursor){.image = image, .at = image->top * image->row + image->left * LANES};
}

INLINE void conv_cursor_next(struct conv_cursor *cursor)
{
    const struct conv_image *image = cursor->image;
    cursor->at += LANES;
    if (++cursor->x == image->width) {
        cursor->x = 0;
        cursor->at += image->row - image->width * LANES;
        if (++cursor->y == image->height) {
            cursor->y = 0;
            cursor->at += image->plane - image->height * image->row;
        }
    }
}

INLINE void conv_load_lanes(const struct tensor *x, const struct tensor *y, enum activation activation, int64_t first,
                            int64_t rows, int64_t column, int64_t count, vector v[LANES])
{
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        v[i] = (vector){0};
        if (i < rows) {
            const float *at = x->data + (first + i) * x->stride + column;
            v[i] = count == LANES ? load(at) : load_part(at, count, 0.0f);
            if (activation != ACTIVATION_NONE) {
                at = y->data + (first + i) * y->stride + column;
                v[i] = derive(activation, count == LANES ? load(at) : load_part(at, count, 0.0f), v[i]);
            }
        }
    }
    transpose_lanes(v);
}

static void conv_to_lanes(const struct tensor *x, const struct tensor *y, enum activation activation, int64_t first,
                          int64_t rows, const struct conv_image *image, float *data)
{
    struct conv_cursor cursor = conv_cursor_at(image);
    for (int64_t column = 0; column < x->columns; column += LANES) {
        vector v[LANES];
        int64_t left = x->columns - column, count = left < LANES ? left : LANES;
        if (rows == LANES && count == LANES) {
            FOR_ACTIVATION(activation, conv_load_lanes(x, y, fixed, first, LANES, column, LANES, v))
        } else {
            conv_load_lanes(x, y, activation, first, rows, column, count, v);
        }
        for (int64_t i = 0; i < count; i++) {
            store(data + cursor.at, v[i]);
            conv_cursor_next(&cursor);
        }
    }
}

static void conv_from_lanes(const struct conv_image *image, const float *data, enum activation activation,
                            int64_t first, int64_t rows, struct tensor *y)
{
    struct conv_cursor cursor = conv_cursor_at(image);
    for (int64_t column = 0; column < y->columns; column += LANES) {
        vector v[LANES];
        int64_t left = y->columns - column, count = left < LANES ? left : LANES;
        for (int64_t i = 0; i < LANES; i++) {
            v[i] = i < count ? load(data + cursor.at) : (vector){0};
            if (i < count) {
                conv_cursor_next(&cursor);
            }
        }
        if (activation != ACTIVATION_NONE) {
            FOR_ACTIVATION(activation, for (int i = 0; i < LANES; i++) { v[i] = activate(fixed, v[i]); })
        }
        transpose_lanes(v);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i < rows && count == LANES) {
                store(y->data + (first + i) * y->stride + column, v[i]);
            } else if (i < rows) {
                store_part(y->data + (first + i) * y->stride + column, count, v[i]);
            }
        }
    }
}

static void conv_plane_sums(const struct conv_image *image, const float *data, float *sums)
{
    for (int64_t c = 0; c < image->channels; c++) {
        vector sum = {0};
        for (int64_t y = 0; y < image->height; y++) {
            const float *at = data + c * image->plane + (image->top + y) * image->row + image->left * LANES;
            for (int64_t x = 0; x < image->width; x++) {
                sum += load(at + x * LANES);
            }
        }
        sums[c] += sum_of(sum);
    }
}

/* --- sums over windows --------------------------------------------------------------------------------------------- */

/* Runs statement with name a compile-time constant, the value, from 1 to `most`, which is at most 6. */
#define FOR_COUNT(name, value, most, statement) \
    switch (value) { \
    case 1: { enum { name = 1 }; statement; } break; \
    case 2: { enum { name = 2 }; statement; } break; \
    case 3: { enum { name = 3 < most ? 3 : most }; statement; } break; \
    case 4: { enum { name = 4 < most ? 4 : most }; statement; } break; \
    case 5: { enum { name = 5 < most ? 5 : most }; statement; } break; \
    default: { enum { name = 6 < most ? 6 : most }; statement; } break; \
    }

INLINE void conv_sweep_tile(const struct conv_sweep *sweep, const bool pairs, const int filters, const int pixels,
                            int64_t output, int64_t point)
{
    vector sum[CONV_FILTERS][CONV_PIXELS];
    const float *in[CONV_PIXELS], *weights = sweep->weights + output * sweep->step_count;
    const int64_t *steps = sweep->steps, count = sweep->step_count;
#pragma GCC unroll 8
    for (int j = 0; j < pixels; j++) {
        in[j] = sweep->in + sweep->points[point + j].in;
    }
#pragma GCC unroll 8
    for (int i = 0; i < filters; i++) {
        vector start = sweep->bias != NULL ? splat(sweep->bias[output + i]) : (vector){0};
#pragma GCC unroll 8
        for (int j = 0; j < pixels; j++) {
            sum[i][j] = start;
        }
    }
    for (int64_t s = 0; s < count; s++) {
        vector right[CONV_PIXELS];
#pragma GCC unroll 8
        for (int j = 0; j < pixels; j++) {
            right[j] = load(in[j] + steps[s]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < filters; i++) {
            vector left = splat_operand(pairs, weights + i);
#pragma GCC unroll 8
            for (int j = 0; j < pixels; j++) {
                sum[i][j] = multiply_add(pairs, sum[i][j], left, right[j]);
            }
        }
        weights += CONV_FILTERS;
    }
#pragma GCC unroll 8
    for (int j = 0; j < pixels; j++) {
        float *out = sweep->out + output * sweep->out_plane + sweep->points[point + j].out;
#pragma GCC unroll 8
        for (int i = 0; i < filters; i++) {
            store(out + i * sweep->out_plane, sum[i][j]);
        }
    }
}

INLINE void conv_sweep_some(const struct conv_sweep *sweep, const bool pairs, int64_t filters, int64_t pixels,
                            int64_t output, int64_t point)
{
    FOR_COUNT(rows, filters, CONV_FILTERS,
              FOR_COUNT(columns, pixels, CONV_PIXELS, conv_sweep_tile(sweep, pairs, rows, columns, output, point)))
}

/* A tile of any size, out of line. */
typedef void conv_sweep_rest(const struct conv_sweep *sweep, int64_t filters, int64_t pixels, int64_t output,
                             int64_t point);

INLINE void conv_sweep_all(const struct conv_sweep *sweep, const bool pairs, conv_sweep_rest *some)
{
    int64_t blocks = (sweep->point_count + CONV_PIXELS - 1) / CONV_PIXELS, point = 0;
    for (int64_t block = 0; block < blocks; block++) {
        int64_t pixels = (sweep->point_count - point + blocks - block - 1) / (blocks - block), output = 0;
        for (; pixels == CONV_PIXELS && output + CONV_FILTERS <= sweep->outputs; output += CONV_FILTERS) {
            conv_sweep_tile(sweep, pairs, CONV_FILTERS, CONV_PIXELS, output, point);
        }
        for (; output < sweep->outputs; output += CONV_FILTERS) {
            int64_t left = sweep->outputs - output;
            some(sweep, left < CONV_FILTERS ? left : CONV_FILTERS, pixels, output, point);
        }
        point += pixels;
    }
}

static __attribute__((noinline)) void conv_sweep_floats(const struct conv_sweep *sweep, int64_t filters,
                                                        int64_t pixels, int64_t output, int64_t point)
{
    conv_sweep_some(sweep, false, filters, pixels, output, point);
}

static void conv_sweep(const struct conv_sweep *sweep)
{
    conv_sweep_all(sweep, false, conv_sweep_floats);
}

#if defined(VECTOR_PAIRS)
static __attribute__((noinline)) void conv_sweep_words(const struct conv_sweep *sweep, int64_t filters, int64_t pixels,
                                                       int64_t output, int64_t point)
{
    conv_sweep_some(sweep, true, filters, pixels, output, point);
}

static void conv_sweep_pairs(const struct conv_sweep *sweep)
{
    conv_sweep_all(sweep, true, conv_sweep_words);
}
#endif

/* --- gradients of weights ------------------------------------------------------------------------------------------ */

INLINE void conv_products_tile(const struct conv_products *products, const bool pairs, const int filters,
                               const int steps, int64_t output, int64_t step, int64_t first, int64_t last)
{
    vector sum[CONV_FILTERS][CONV_PIXELS];
    const float *in[CONV_PIXELS], *out = products->out + output * products->out_plane;
    const int64_t plane = products->out_plane;
#pragma GCC unroll 8
    for (int j = 0; j < steps; j++) {
        in[j] = products->in + products->steps[step + j];
#pragma GCC unroll 8
        for (int i = 0; i < filters; i++) {
            sum[i][j] = (vector){0};
        }
    }
    for (int64_t p = first; p < last; p++) {
        const struct conv_point point = products->points[p];
        vector right[CONV_PIXELS];
#pragma GCC unroll 8
        for (int j = 0; j < steps; j++) {
            right[j] = load(in[j] + point.in);
        }
#pragma GCC unroll 8
        for (int i = 0; i < filters; i++) {
            vector left = load(out + i * plane + point.out);
#pragma GCC unroll 8
            for (int j = 0; j < steps; j++) {
                sum[i][j] = multiply_add(pairs, sum[i][j], left, right[j]);
            }
        }
    }
    float *gradient = products->gradient + output * products->gradient_row + step;
#pragma GCC unroll 8
    for (int i = 0; i < filters; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < steps; j++) {
            gradient[i * products->gradient_row + j] += sum_of(sum[i][j]);
        }
    }
}

INLINE void conv_products_some(const struct conv_products *products, const bool pairs, int64_t filters, int64_t steps,
                               int64_t output, int64_t step, int64_t first, int64_t last)
{
    FOR_COUNT(rows, filters, CONV_FILTERS,
              FOR_COUNT(columns, steps, CONV_PIXELS,
                        conv_products_tile(products, pairs, rows, columns, output, step, first, last)))
}

#define CONV_CHUNK 128 /* pixels whose operands stay in the first cache */

typedef void conv_products_rest(const struct conv_products *products, int64_t filters, int64_t steps, int64_t output,
                                int64_t step, int64_t first, int64_t last);

INLINE void conv_products_all(const struct conv_products *products, const bool pairs, conv_products_rest *some)
{
    for (int64_t first = 0; first < products->point_count; first += CONV_CHUNK) {
        int64_t last = products->point_count - first < CONV_CHUNK ? products->point_count : first + CONV_CHUNK;
        for (int64_t output = 0; output < products->outputs; output += CONV_FILTERS) {
            int64_t filters = products->outputs - output;
            filters = filters < CONV_FILTERS ? filters : CONV_FILTERS;
            for (int64_t step = 0; step < products->step_count; step += CONV_PIXELS) {
                int64_t steps = products->step_count - step;
                if (filters == CONV_FILTERS && steps >= CONV_PIXELS) {
                    conv_products_tile(products, pairs, CONV_FILTERS, CONV_PIXELS, output, step, first, last);
                } else {
                    some(products, filters, steps < CONV_PIXELS ? steps : CONV_PIXELS, output, step, first, last);
                }
            }
        }
    }
}

static __attribute__((noinline)) void conv_products_floats(const struct conv_products *products, int64_t filters,
                                                           int64_t steps, int64_t output, int64_t step, int64_t first,
                                                           int64_t last)
{
    conv_products_some(products, false, filters, steps, output, step, first, last);
}

static void conv_products(const struct conv_products *products)
{
    conv_products_all(products, false, conv_products_floats);
}

#if defined(VECTOR_PAIRS)
static __attribute__((noinline)) void conv_products_words(const struct conv_products *products, int64_t filters,
                                                          int64_t steps, int64_t output, int64_t step, int64_t first,
                                                          int64_t last)
{
    conv_products_some(products, true, filters, steps, output, step, first, last);
}

static void conv_products_pairs(const struct conv_products *products)
{
    conv_products_all(products, true, conv_products_words);
}
#endif

/* --- Winograd's tiles ---------------------------------------------------------------------------------------------- */

static void conv_winograd_in(const struct conv_tiles *tiles, const struct conv_image *image, const float *in,
                             float *values)
{
    const int64_t frequency = image->channels * tiles->count * LANES;
    for (int64_t c = 0; c < image->channels; c++) {
        for (int64_t t = 0; t < tiles->count; t++) {
            const int64_t tile = tiles->first + t;
            const float *at = in + c * image->plane + tile / tiles->across * 2 * image->row +
                              tile % tiles->across * 2 * LANES;
            float *out = values + (c * tiles->count + t) * LANES;
            vector m[4][4];
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++) { /* B^T d */
                vector d0 = load(at + x * LANES), d1 = load(at + image->row + x * LANES);
                vector d2 = load(at + 2 * image->row + x * LANES), d3 = load(at + 3 * image->row + x * LANES);
                m[0][x] = d0 - d2;
                m[1][x] = d1 + d2;
                m[2][x] = d2 - d1;
                m[3][x] = d1 - d3;
            }
#pragma GCC unroll 4
            for (int y = 0; y < 4; y++) { /* (B^T d) B */
                store(out + (4 * y + 0) * frequency, m[y][0] - m[y][2]);
                store(out + (4 * y + 1) * frequency, m[y][1] + m[y][2]);
                store(out + (4 * y + 2) * frequency, m[y][2] - m[y][1]);
                store(out + (4 * y + 3) * frequency, m[y][1] - m[y][3]);
            }
        }
    }
}

static void conv_winograd_out(const struct conv_tiles *tiles, const struct conv_image *image, const float *values,
                              const float *bias, float *out)
{
    const int64_t frequency = image->channels * tiles->count * LANES;
    for (int64_t c = 0; c < image->channels; c++) {
        const vector start = bias != NULL ? splat(bias[c]) : (vector){0};
        for (int64_t t = 0; t < tiles->count; t++) {
            const int64_t tile = tiles->first + t, y = tile / tiles->across * 2, x = tile % tiles->across * 2;
            const float *at = values + (c * tiles->count + t) * LANES;
            float *to = out + c * image->plane + (image->top + y) * image->row + (image->left + x) * LANES;
            vector m[2][4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) { /* A^T m */
                vector m0 = load(at + i * frequency), m1 = load(at + (4 + i) * frequency);
                vector m2 = load(at + (8 + i) * frequency), m3 = load(at + (12 + i) * frequency);
                m[0][i] = m0 + m1 + m2;
                m[1][i] = m1 - m2 - m3;
            }
            for (int i = 0; i < 2 && y + i < image->height; i++) { /* (A^T m) A */
                store(to + i * image->row, m[i][0] + m[i][1] + m[i][2] + start);
                if (x + 1 < image->width) {
                    store(to + i * image->row + LANES, m[i][1] - m[i][2] - m[i][3] + start);
                }
            }
        }
    }
}

static void conv_winograd_gradient(const struct conv_tiles *tiles, const struct conv_image *image, const float *in,
                                   float *values)
{
    const int64_t frequency = image->channels * tiles->count * LANES;
    for (int64_t c = 0; c < image->channels; c++) {
        for (int64_t t = 0; t < tiles->count; t++) {
            const int64_t tile = tiles->first + t, y = tile / tiles->across * 2, x = tile % tiles->across * 2;
            const float *at = in + c * image->plane + (image->top + y) * image->row + (image->left + x) * LANES;
            float *out = values + (c * tiles->count + t) * LANES;
            vector d[2][2];
            for (int i = 0; i < 2; i++) {
                for (int j = 0; j < 2; j++) {
                    d[i][j] = y + i < image->height && x + j < image->width ? load(at + i * image->row + j * LANES)
                                                                            : (vector){0};
                }
            }
            const vector rows[4][2] = {{d[0][0], d[0][1]}, {d[0][0] + d[1][0], d[0][1] + d[1][1]},
                                       {d[0][0] - d[1][0], d[0][1] - d[1][1]}, {-d[1][0], -d[1][1]}};
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                store(out + (4 * i + 0) * frequency, rows[i][0]);
                store(out + (4 * i + 1) * frequency, rows[i][0] + rows[i][1]);
                store(out + (4 * i + 2) * frequency, rows[i][0] - rows[i][1]);
                store(out + (4 * i + 3) * frequency, -rows[i][1]);
            }
        }
    }
}

static const struct cpu_conv_kernels conv_kernels = {
    .lanes = LANES,
    .filters = CONV_FILTERS,
    .pixels = CONV_PIXELS,
    .to_lanes = conv_to_lanes,
    .from_lanes = conv_from_lanes,
    .sweep = conv_sweep,
    .products = conv_products,
    .plane_sums = conv_plane_sums,
    .winograd_in = conv_winograd_in,
    .winograd_out = conv_winograd_out,
    .winograd_gradient = conv_winograd_gradient,
};
