/* SPDX-License-Identifier: Apache-2.0 */
/* lstm and gru for one width of vector; a part of device_cpu_vector.h. device_cpu_recurrent.h says what is where. */

/* Rows of a tile: with its four vectors of sums, the operands fit the registers. */
#define CELL_ROWS (VECTOR_LANES == 16 ? 6 : 3)
#define CELL_DEPTH 512 /* inputs and hidden states of one round of tiles: their weights stay in the second cache */
#define CELL_STEPS 128 /* gradients of sums that one round takes, likewise in the first */

/* Runs statement with a compile-time constant height from 1 to CELL_ROWS. */
#define FOR_HEIGHT(value, statement) \
    switch (value) { \
    case 1: { enum { height = 1 }; statement; } break; \
    case 2: { enum { height = 2 }; statement; } break; \
    case 3: { enum { height = 3 }; statement; } break; \
    case 4: { enum { height = CELL_ROWS > 3 ? 4 : 1 }; statement; } break; \
    case 5: { enum { height = CELL_ROWS > 3 ? 5 : 1 }; statement; } break; \
    case 6: { enum { height = CELL_ROWS > 3 ? 6 : 1 }; statement; } break; \
    default: break; \
    }

/* The sum that gate number `gate` of x or of h goes into. */
INLINE int sum_of_gate(enum cpu_cell cell, bool of_h, int gate)
{
    return cell == CPU_GRU && of_h && gate == 2 ? 3 : gate;
}

/* sum(i, gate's) += a[i * a_row + l * a_step] * b[l * b_row + gate's place], over l. */
struct cell_product {
    const float *a;
    int64_t a_row, a_step;
    const float *b;
    int64_t b_row;
    int64_t depth;
};

INLINE void cell_multiply(vector sum[][CPU_CELL_SUMS], const bool pairs, const int rows, const enum cpu_cell cell,
                          const bool of_h, const bool b_has_sums, const struct cell_product *product)
{
    const int gate_count = CPU_CELL_GATES(cell);
    const float *a = product->a, *b = product->b;
    const int64_t a_row = product->a_row, a_step = product->a_step, b_row = product->b_row;
    for (int64_t l = 0; l < product->depth; l++) {
        vector left[CELL_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            left[i] = splat_operand(pairs, a + i * a_row);
        }
#pragma GCC unroll 4
        for (int gate = 0; gate < gate_count; gate++) {
            const int to = sum_of_gate(cell, of_h, gate);
            vector right = load(b + (b_has_sums ? to : gate) * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                sum[i][to] = multiply_add(pairs, sum[i][to], left[i], right);
            }
        }
        a += a_step;
        b += b_row;
    }
}

/* NULL: zeros. */
INLINE vector load_if(const float *base, int64_t offset)
{
    vector none = {0};
    return base != NULL ? load(base + offset) : none;
}

/* --- forward ------------------------------------------------------------------------------------------------------- */

INLINE vector sigmoid_vector(vector x)
{
    return 1.0f / (1.0f + exp_vector(-x));
}

/* The sums (4, LANES) of one block of one row into its new state. */
static __attribute__((noinline)) void lstm_forward(const struct cpu_recurrent_step *step, int64_t block, int64_t row,
                                                   const float *sums)
{
    const int64_t at = block * step->rows + row;
    float *gates = step->gates + at * CPU_CELL_SUMS * LANES, *memory = step->memory + at * 2 * LANES;
    vector i = sigmoid_vector(load(sums)), f = sigmoid_vector(load(sums + LANES));
    vector g = tanh_vector(load(sums + 2 * LANES)), o = sigmoid_vector(load(sums + 3 * LANES));
    vector c = i * g + f * load_if(step->memory_before, at * 2 * LANES), tanh_c = tanh_vector(c);
    store(gates, i);
    store(gates + LANES, f);
    store(gates + 2 * LANES, g);
    store(gates + 3 * LANES, o);
    store(memory, c);
    store(memory + LANES, tanh_c);
    store(step->h + row * step->h_row + block * LANES, o * tanh_c);
}

static __attribute__((noinline)) void gru_forward(const struct cpu_recurrent_step *step, int64_t block, int64_t row,
                                                  const float *sums)
{
    float *gates = step->gates + (block * step->rows + row) * CPU_CELL_SUMS * LANES;
    vector before = load_if(step->h_before, row * step->h_row + block * LANES), h_n = load(sums + 3 * LANES);
    vector r = sigmoid_vector(load(sums)), z = sigmoid_vector(load(sums + LANES));
    vector n = tanh_vector(load(sums + 2 * LANES) + r * h_n);
    store(gates, r);
    store(gates + LANES, z);
    store(gates + 2 * LANES, n);
    store(gates + 3 * LANES, h_n);
    store(step->h + row * step->h_row + block * LANES, n + z * (before - n));
}

/* Inputs and hidden states from … to - 1 (of inputs, then units) of the sums of a few rows of a block; the last of them
 * goes on to the new state. */
INLINE void cell_tile(const struct cpu_recurrent_step *step, const struct cpu_recurrent_weights *weights,
                      const bool pairs, const int rows, const enum cpu_cell cell, int64_t block, int64_t row,
                      int64_t from, int64_t to)
{
    const int64_t depth = step->inputs + step->hidden, width = CPU_CELL_GATES(cell) * LANES;
    const int64_t all = step->inputs + (step->h_before != NULL ? step->hidden : 0);
    float *kept = step->gates + (block * step->rows + row) * CPU_CELL_SUMS * LANES;
    vector sum[CELL_ROWS][CPU_CELL_SUMS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < CPU_CELL_SUMS; j++) {
            sum[i][j] = from > 0 ? load(kept + (i * CPU_CELL_SUMS + j) * LANES)
                                 : load(weights->bias + (block * CPU_CELL_SUMS + j) * LANES);
        }
    }
    struct cell_product product = {.a_step = 1, .b_row = width, .b = weights->weights + (block * depth + from) * width};
    if (from < step->inputs) {
        product.a = step->x + row * step->x_row + from;
        product.a_row = step->x_row;
        product.depth = (to < step->inputs ? to : step->inputs) - from;
        cell_multiply(sum, pairs, rows, cell, false, false, &product);
        product.b += product.depth * width;
        from = step->inputs;
    }
    if (to > from) {
        product.a = step->h_operand + row * step->operand_row + from - step->inputs;
        product.a_row = step->operand_row;
        product.depth = to - from;
        cell_multiply(sum, pairs, rows, cell, true, false, &product);
    }
    float sums[CELL_ROWS * CPU_CELL_SUMS * LANES], *place = to < all ? kept : sums;
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < CPU_CELL_SUMS; j++) {
            store(place + (i * CPU_CELL_SUMS + j) * LANES, sum[i][j]);
        }
    }
    for (int i = 0; to == all && i < rows; i++) {
        if (cell == CPU_LSTM) {
            lstm_forward(step, block, row + i, sums + i * CPU_CELL_SUMS * LANES);
        } else {
            gru_forward(step, block, row + i, sums + i * CPU_CELL_SUMS * LANES);
        }
    }
}

INLINE void cell_forward_rows(const struct cpu_recurrent_step *step, const struct cpu_recurrent_weights *weights,
                              const bool pairs, const enum cpu_cell cell, int64_t from, int64_t to)
{
    const int64_t all = step->inputs + (step->h_before != NULL ? step->hidden : 0);
    for (int64_t block = 0; block < step->blocks; block++) {
        for (int64_t depth = 0; depth < all; depth += CELL_DEPTH) {
            const int64_t end = depth + CELL_DEPTH < all ? depth + CELL_DEPTH : all;
            for (int64_t row = from; row < to; row += CELL_ROWS) {
                const int64_t rows = to - row < CELL_ROWS ? to - row : CELL_ROWS;
                FOR_HEIGHT(rows, cell_tile(step, weights, pairs, height, cell, block, row, depth, end))
            }
        }
    }
}

static void recurrent_forward(const struct cpu_recurrent_step *step, const struct cpu_recurrent_weights *weights,
                              int64_t from, int64_t to)
{
    if (step->cell == CPU_LSTM) {
        cell_forward_rows(step, weights, false, CPU_LSTM, from, to);
    } else {
        cell_forward_rows(step, weights, false, CPU_GRU, from, to);
    }
}

#if defined(VECTOR_PAIRS)
static void recurrent_forward_pairs(const struct cpu_recurrent_step *step, const struct cpu_recurrent_weights *weights,
                                    int64_t from, int64_t to)
{
    if (step->cell == CPU_LSTM) {
        cell_forward_rows(step, weights, true, CPU_LSTM, from, to);
    } else {
        cell_forward_rows(step, weights, true, CPU_GRU, from, to);
    }
}
#endif

/* --- backward ------------------------------------------------------------------------------------------------------ */

/* Of one block of one row; dh is the whole gradient of h but for what is carried. */
INLINE void cell_gates(const struct cpu_recurrent_step *step, const enum cpu_cell cell, int64_t block, int64_t row,
                       vector dh, float *carried)
{
    const int64_t at = block * step->rows + row;
    float *gates = step->gates + at * CPU_CELL_SUMS * LANES;
    if (cell == CPU_LSTM) {
        vector i = load(gates), f = load(gates + LANES), g = load(gates + 2 * LANES), o = load(gates + 3 * LANES);
        vector tanh_c = load(step->memory + at * 2 * LANES + LANES);
        vector before = load_if(step->memory_before, at * 2 * LANES);
        vector dc = load(carried) + dh * o * (1.0f - tanh_c * tanh_c);
        store(gates, dc * g * (i * (1.0f - i)));
        store(gates + LANES, dc * before * (f * (1.0f - f)));
        store(gates + 2 * LANES, dc * i * (1.0f - g * g));
        store(gates + 3 * LANES, dh * tanh_c * (o * (1.0f - o)));
        store(carried, dc * f);
    } else {
        vector before = load_if(step->h_before, row * step->h_row + block * LANES);
        vector r = load(gates), z = load(gates + LANES), n = load(gates + 2 * LANES), h_n = load(gates + 3 * LANES);
        dh += load(carried);
        vector dn = dh * (1.0f - z) * (1.0f - n * n);
        store(gates, dn * h_n * (r * (1.0f - r)));
        store(gates + LANES, dh * (before - n) * (z * (1.0f - z)));
        store(gates + 2 * LANES, dn);
        store(gates + 3 * LANES, dn * r);
        store(carried, dh * z);
    }
}

INLINE void cell_gates_rows(const struct cpu_recurrent_step *step, const struct cpu_recurrent_gradient *gradient,
                            const enum cpu_cell cell, int64_t from, int64_t to)
{
    for (int64_t block = 0; block < step->blocks; block++) {
        const int64_t lanes = step->units - block * LANES < LANES ? step->units - block * LANES : LANES;
        for (int64_t row = from; row < to; row++) {
            vector dh = load(gradient->dh + row * gradient->dh_row + block * LANES);
            if (gradient->dy != NULL) {
                const float *dy = gradient->dy + row * gradient->dy_row + block * LANES;
                dh += lanes == LANES ? load(dy) : load_part(dy, lanes, 0.0f);
            }
            cell_gates(step, cell, block, row, dh, gradient->carried + (block * step->rows + row) * LANES);
        }
    }
}

static void recurrent_gates(const struct cpu_recurrent_step *step, const struct cpu_recurrent_gradient *gradient,
                            int64_t from, int64_t to)
{
    if (step->cell == CPU_LSTM) {
        cell_gates_rows(step, gradient, CPU_LSTM, from, to);
    } else {
        cell_gates_rows(step, gradient, CPU_GRU, from, to);
    }
}

static __attribute__((noinline)) void put_part(float *to, int64_t lanes, bool adds, const float *values)
{
    for (int64_t i = 0; i < lanes; i++) {
        to[i] = adds ? to[i] + values[i] : values[i];
    }
}

/* Sets or adds a block's units of one gate, anywhere in memory. */
INLINE void put_lanes(float *to, int64_t lanes, bool adds, vector value)
{
    if (lanes == LANES) {
        store(to, value + load_if(adds ? to : NULL, 0));
    } else {
        float values[LANES];
        store(values, value);
        put_part(to, lanes, adds, values);
    }
}

/* Where the gradients of one block's sums and of its weights are. */
struct cell_block {
    const float *gates; /* for the bias */
    float *dw;
    int64_t dw_row, units, lanes;
    bool adds;
};

INLINE void weights_tile(const struct cell_block *to, const struct cell_product *of, const bool pairs, const int rows,
                         const enum cpu_cell cell, const bool of_h, int64_t first)
{
    const int gate_count = CPU_CELL_GATES(cell);
    vector sum[CELL_ROWS][CPU_CELL_SUMS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int gate = 0; gate < gate_count; gate++) {
            __builtin_prefetch(to->dw + (first + i) * to->dw_row + gate * to->units, 1);
            sum[i][sum_of_gate(cell, of_h, gate)] = (vector){0};
        }
    }
    struct cell_product product = *of;
    product.a += first;
    cell_multiply(sum, pairs, rows, cell, of_h, true, &product);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int gate = 0; gate < gate_count; gate++) {
            put_lanes(to->dw + (first + i) * to->dw_row + gate * to->units, to->lanes, to->adds,
                      sum[i][sum_of_gate(cell, of_h, gate)]);
        }
    }
}

INLINE void bias_block(const struct cell_block *block, int64_t rows, const enum cpu_cell cell, const bool of_h,
                       float *dbias)
{
    const int gate_count = CPU_CELL_GATES(cell);
    vector sum[CPU_CELL_SUMS] = {{0}};
    for (int64_t row = 0; row < rows; row++) {
#pragma GCC unroll 4
        for (int j = 0; j < CPU_CELL_SUMS; j++) {
            sum[j] += load(block->gates + (row * CPU_CELL_SUMS + j) * LANES);
        }
    }
#pragma GCC unroll 4
    for (int gate = 0; gate < gate_count; gate++) {
        put_lanes(dbias + gate * block->units, block->lanes, block->adds, sum[sum_of_gate(cell, of_h, gate)]);
    }
}

INLINE void weights_blocks(const struct cpu_recurrent_step *step, const struct cell_product *of, const bool pairs,
                           int64_t count, const enum cpu_cell cell, const bool of_h, bool adds, struct tensor *dw,
                           float *dbias, int64_t from, int64_t to)
{
    for (int64_t block = from; block < to; block++) {
        const int64_t left = step->units - block * LANES;
        const struct cell_block at = {
            .gates = step->gates + block * step->rows * CPU_CELL_SUMS * LANES, .dw = dw->data + block * LANES,
            .dw_row = dw->stride, .units = step->units, .lanes = left < LANES ? left : LANES, .adds = adds};
        struct cell_product product = *of;
        product.b = of->b + block * of->depth * CPU_CELL_SUMS * LANES;
        for (int64_t first = 0; product.a != NULL && first < count; first += CELL_ROWS) {
            const int64_t height_of = count - first < CELL_ROWS ? count - first : CELL_ROWS;
            FOR_HEIGHT(height_of, weights_tile(&at, &product, pairs, height, cell, of_h, first))
        }
        bias_block(&at, step->rows, cell, of_h, dbias + block * LANES);
    }
}

static void recurrent_weights(const struct cpu_recurrent_step *step, bool of_h, const float *x, int64_t x_row,
                              int64_t count, bool adds, struct tensor *dw, float *dbias, int64_t from, int64_t to)
{
    const struct cell_product product = {.a = x, .a_row = 1, .a_step = x_row, .b = step->gates,
                                         .b_row = CPU_CELL_SUMS * LANES, .depth = step->rows};
    if (step->cell == CPU_LSTM) {
        weights_blocks(step, &product, false, count, CPU_LSTM, false, adds, dw, dbias, from, to);
    } else if (of_h) {
        weights_blocks(step, &product, false, count, CPU_GRU, true, adds, dw, dbias, from, to);
    } else {
        weights_blocks(step, &product, false, count, CPU_GRU, false, adds, dw, dbias, from, to);
    }
}

#if defined(VECTOR_PAIRS)
static void recurrent_weights_pairs(const struct cpu_recurrent_step *step, bool of_h, const float *x, int64_t x_row,
                                    int64_t count, bool adds, struct tensor *dw, float *dbias, int64_t from, int64_t to)
{
    const struct cell_product product = {.a = x, .a_row = 1, .a_step = x_row, .b = step->gate_pairs,
                                         .b_row = CPU_CELL_SUMS * LANES, .depth = (step->rows + 1) / 2};
    if (step->cell == CPU_LSTM) {
        weights_blocks(step, &product, true, count, CPU_LSTM, false, adds, dw, dbias, from, to);
    } else if (of_h) {
        weights_blocks(step, &product, true, count, CPU_GRU, true, adds, dw, dbias, from, to);
    } else {
        weights_blocks(step, &product, true, count, CPU_GRU, false, adds, dw, dbias, from, to);
    }
}
#endif

/* A few rows by up to four vectors of out: adds blocks first … last - 1. */
INLINE void inputs_tile(const struct cpu_recurrent_step *step, const bool pairs, const int rows, const int vectors,
                        const enum cpu_cell cell, bool of_h, const float *transposed, int64_t out_row, float *out,
                        int64_t row, int64_t first, int64_t last)
{
    const int gate_count = CPU_CELL_GATES(cell), depth = pairs ? LANES / 2 : LANES;
    vector sum[CELL_ROWS][CPU_CELL_SUMS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            sum[i][j] = load_if(first > 0 ? out : NULL, i * out_row + j * LANES);
        }
    }
    for (int64_t block = first; block < last; block++) {
        for (int gate = 0; gate < gate_count; gate++) {
            const int64_t place = (block * step->rows + row) * CPU_CELL_SUMS + sum_of_gate(cell, of_h, gate);
            const float *a = (pairs ? step->gate_rows : step->gates) + place * depth;
            for (int l = 0; l < depth; l++) {
                vector left[CELL_ROWS];
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++) {
                    left[i] = splat_operand(pairs, a + i * CPU_CELL_SUMS * depth + l);
                }
#pragma GCC unroll 4
                for (int j = 0; j < vectors; j++) {
                    vector right = load(transposed + j * LANES);
#pragma GCC unroll 8
                    for (int i = 0; i < rows; i++) {
                        sum[i][j] = multiply_add(pairs, sum[i][j], left[i], right);
                    }
                }
                transposed += vectors * LANES;
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            store(out + i * out_row + j * LANES, sum[i][j]);
        }
    }
}

/* Vectors of a panel of transposed weights that starts at a column: four, or the one at a time that are left. */
INLINE int64_t panel_vectors(int64_t width, int64_t column)
{
    return width - column >= CPU_CELL_SUMS * LANES ? CPU_CELL_SUMS : 1;
}

INLINE void inputs_rows(const struct cpu_recurrent_step *step, const bool pairs, const enum cpu_cell cell, bool of_h,
                        const float *transposed, int64_t width, float *out, int64_t from, int64_t to)
{
    const int64_t steps = CPU_CELL_GATES(cell) * (pairs ? LANES / 2 : LANES), round = CELL_STEPS / steps > 0 ? CELL_STEPS / steps : 1;
    for (int64_t column = 0; column < width; column += panel_vectors(width, column) * LANES) {
        const int64_t vectors = panel_vectors(width, column);
        for (int64_t first = 0; first < step->blocks; first += round) {
            const int64_t last = first + round < step->blocks ? first + round : step->blocks;
            const float *panel = transposed + (column * step->blocks + first * vectors * LANES) * steps;
            for (int64_t row = from; row < to; row += CELL_ROWS) {
                const int64_t rows = to - row < CELL_ROWS ? to - row : CELL_ROWS;
                float *at = out + row * width + column;
                if (vectors == CPU_CELL_SUMS) {
                    FOR_HEIGHT(rows, inputs_tile(step, pairs, height, CPU_CELL_SUMS, cell, of_h, panel, width, at, row,
                                                 first, last))
                } else {
                    FOR_HEIGHT(rows, inputs_tile(step, pairs, height, 1, cell, of_h, panel, width, at, row, first,
                                                 last))
                }
            }
        }
    }
}

static void recurrent_inputs(const struct cpu_recurrent_step *step, bool of_h, const float *transposed, int64_t width,
                             float *out, int64_t from, int64_t to)
{
    if (step->cell == CPU_LSTM) {
        inputs_rows(step, false, CPU_LSTM, of_h, transposed, width, out, from, to);
    } else {
        inputs_rows(step, false, CPU_GRU, of_h, transposed, width, out, from, to);
    }
}

#if defined(VECTOR_PAIRS)
static void recurrent_inputs_pairs(const struct cpu_recurrent_step *step, bool of_h, const float *transposed,
                                   int64_t width, float *out, int64_t from, int64_t to)
{
    if (step->cell == CPU_LSTM) {
        inputs_rows(step, true, CPU_LSTM, of_h, transposed, width, out, from, to);
    } else {
        inputs_rows(step, true, CPU_GRU, of_h, transposed, width, out, from, to);
    }
}
#endif

/* --- weights as the products read them ----------------------------------------------------------------------------- */

INLINE vector take_lanes(const float *from, int64_t lanes)
{
    return lanes >= LANES ? load(from) : load_part(from, lanes, 0.0f);
}

#if defined(VECTOR_PAIRS)
/* The gate's weights of row k, zeros beyond the last. */
INLINE vector take_row(const struct tensor *w, int64_t k, int64_t from, int64_t lanes)
{
    vector none = {0};
    if (k >= w->rows) {
        return none;
    }
    return take_lanes(w->data + k * w->stride + from, lanes);
}
#endif

INLINE void pack_cells(const bool pairs, enum cpu_cell cell, int64_t units, const struct tensor *w_ih,
                       const struct tensor *w_hh, float *weights)
{
    const struct tensor *const sides[] = {w_ih, w_hh};
    const int gate_count = CPU_CELL_GATES(cell);
    for (int64_t unit = 0; unit < units; unit += LANES) {
        for (int side = 0; side < 2; side++) {
            for (int64_t k = 0; k < sides[side]->rows; k += pairs ? 2 : 1) {
                for (int gate = 0; gate < gate_count; gate++, weights += LANES) {
                    const int64_t from = gate * units + unit;
                    vector value = take_lanes(sides[side]->data + k * sides[side]->stride + from, units - unit);
#if defined(VECTOR_PAIRS)
                    if (pairs) {
                        value = pair_vectors(value, take_row(sides[side], k + 1, from, units - unit));
                    }
#endif
                    store(weights, value);
                }
            }
        }
    }
}

static void pack_biases(enum cpu_cell cell, int64_t units, const float *bias_ih, const float *bias_hh, float *bias)
{
    for (int64_t unit = 0; unit < units; unit += LANES) {
        for (int sum = 0; sum < CPU_CELL_SUMS; sum++, bias += LANES) {
            const bool of_x = cell == CPU_LSTM || sum < 3, of_h = cell == CPU_LSTM || sum != 2;
            const int64_t from = (cell == CPU_GRU && sum == 3 ? 2 : sum) * units + unit;
            vector value = {0};
            if (of_x) {
                value += take_lanes(bias_ih + from, units - unit);
            }
            if (of_h) {
                value += take_lanes(bias_hh + from, units - unit);
            }
            store(bias, value);
        }
    }
}

static void recurrent_pack(enum cpu_cell cell, int64_t units, const struct tensor *w_ih, const struct tensor *w_hh,
                           const float *bias_ih, const float *bias_hh, float *weights, float *bias)
{
    pack_cells(false, cell, units, w_ih, w_hh, weights);
    pack_biases(cell, units, bias_ih, bias_hh, bias);
}

static void recurrent_transpose(enum cpu_cell cell, int64_t units, const struct tensor *w, int64_t width,
                                float *transposed)
{
    const int gate_count = CPU_CELL_GATES(cell);
    for (int64_t column = 0, next; column < width; column = next) {
        const int64_t columns = panel_vectors(width, column) * LANES, there = w->rows - column;
        next = column + columns;
        for (int64_t unit = 0; unit < units; unit += LANES) {
            for (int gate = 0; gate < gate_count; gate++) {
                for (int64_t l = 0; l < LANES; l++, transposed += columns) {
                    const float *from = w->data + column * w->stride + gate * units + unit + l;
                    for (int64_t k = 0; k < columns; k++) {
                        transposed[k] = k < there && unit + l < units ? from[k * w->stride] : 0.0f;
                    }
                }
            }
        }
    }
}

#if defined(VECTOR_PAIRS)
static void recurrent_pack_pairs(enum cpu_cell cell, int64_t units, const struct tensor *w_ih,
                                 const struct tensor *w_hh, const float *bias_ih, const float *bias_hh, float *weights,
                                 float *bias)
{
    pack_cells(true, cell, units, w_ih, w_hh, weights);
    pack_biases(cell, units, bias_ih, bias_hh, bias);
}

/* As recurrent_transpose, of two lanes at once. */
static void recurrent_transpose_pairs(enum cpu_cell cell, int64_t units, const struct tensor *w, int64_t width,
                                      float *transposed)
{
    const int gate_count = CPU_CELL_GATES(cell);
    for (int64_t column = 0, next; column < width; column = next) {
        const int64_t columns = panel_vectors(width, column) * LANES, there = w->rows - column;
        next = column + columns;
        for (int64_t unit = 0; unit < units; unit += LANES) {
            for (int gate = 0; gate < gate_count; gate++) {
                for (int64_t l = 0; l < LANES; l += 2, transposed += columns) {
                    const float *from = w->data + column * w->stride + gate * units + unit + l;
                    for (int64_t k = 0; k < columns; k++) {
                        const bool low = k < there && unit + l < units, high = k < there && unit + l + 1 < units;
                        const float word = pair_floats(low ? from[k * w->stride] : 0.0f,
                                                       high ? from[k * w->stride + 1] : 0.0f);
                        memcpy(transposed + k, &word, sizeof word);
                    }
                }
            }
        }
    }
}
#endif
