/* SPDX-License-Identifier: Apache-2.0 */
/* The losses' part of device_cpu_vector.h, which includes it. */

/* The next vector of a row with left columns to go; rest beyond the columns. padded: the row's stride is a multiple of
 * LANES, so that whole vectors may be read and written. */
INLINE vector load_row(const float *p, int64_t left, float rest, const bool padded)
{
    if (left >= LANES) {
        return load(p);
    }
    if (!padded) {
        return load_part(p, left, rest);
    }
    integers lane = {0};
    for (int i = 0; i < LANES; i++) {
        lane[i] = i;
    }
    return select_vector(lane < (int32_t)left, load(p), splat(rest));
}

INLINE void store_row(float *p, int64_t left, vector v, const bool padded)
{
    if (left >= LANES || padded) {
        store(p, v);
    } else {
        store_part(p, left, v);
    }
}

INLINE float row_largest(const float *z, int64_t columns, const bool padded)
{
    vector largest = splat(-INFINITY);
    for (int64_t c = 0; c < columns; c += LANES) {
        vector v = load_row(z + c, columns - c, -INFINITY, padded);
        largest = select_vector(v > largest, v, largest);
    }
    return largest_of(largest);
}

/* out (NULL: not wanted) = exp(z - largest), 0 in the padding; their sum. NaN in z gives NaN. */
INLINE float row_exponentials(const float *z, int64_t columns, float largest, float *out, const bool padded)
{
    vector sum = {0};
    for (int64_t c = 0; c < columns; c += LANES) {
        vector v = load_row(z + c, columns - c, -INFINITY, padded);
        vector e = exp_vector(v - largest);
        e = select_vector(v == splat(-INFINITY), (vector){0}, e);
        sum += e;
        if (out != NULL) {
            store_row(out + c, columns - c, e, padded);
        }
    }
    return sum_of(sum);
}

INLINE void row_scale(float *p, int64_t columns, float scale, const bool padded)
{
    for (int64_t c = 0; c < columns; c += LANES) {
        store_row(p + c, columns - c, load_row(p + c, columns - c, 0.0f, padded) * scale, padded);
    }
}

static void softmax(const struct tensor *z, struct tensor *p)
{
    for (int64_t r = 0; r < z->rows; r++) {
        float *out = p->data + r * p->stride;
        const float *in = z->data + r * z->stride;
        float sum = row_exponentials(in, z->columns, row_largest(in, z->columns, false), out, false);
        row_scale(out, z->columns, 1.0f / sum, false);
    }
}

INLINE void cross_entropy_rows(const struct tensor *z, const int32_t *labels, struct tensor *dz, double *loss_sum,
                               int64_t *correct, const bool padded)
{
    /* log a + log b = log ab: one logarithm for many rows, as every sum of exponentials is from 1 to columns. */
    double loss = 0.0, product = 1.0;
    const float share = 1.0f / (float)z->rows;
    int64_t right = 0;
    for (int64_t r = 0; r < z->rows; r++) {
        const float *in = z->data + r * z->stride;
        float *out = dz != NULL ? dz->data + r * dz->stride : NULL;
        const int64_t label = labels[r];
        const float largest = row_largest(in, z->columns, padded);
        const float sum = row_exponentials(in, z->columns, largest, out, padded);
        if (out != NULL) {
            row_scale(out, z->columns, share / sum, padded);
            out[label] -= share;
        }
        loss -= (double)in[label] - (double)largest;
        product *= (double)sum;
        if (!(product < 1e250)) {
            loss += log(product);
            product = 1.0;
        }
        if (in[label] == largest) {
            /* Equal ones before it? A sum over all of them, for a search would end unpredictably. */
            int before = 0;
            for (int64_t c = 0; c < label; c++) {
                before += in[c] == largest;
            }
            right += before == 0;
        }
    }
    *loss_sum = loss + log(product);
    *correct = right;
}

/* For few classes: LANES rows at a time, a row a lane, so that nothing is summed across lanes. */
enum { FEW_CLASSES = 64 };

/* Rows r … r + count - 1 of z as columns of block. squares: there are LANES of them, with padding to a multiple of LANES. */
INLINE void rows_to_lanes(const struct tensor *z, int64_t r, int count, const bool squares, float block[][LANES])
{
    if (squares && count == LANES) {
        for (int64_t c = 0; c < z->columns; c += LANES) {
            transpose_square(z->data + r * z->stride + c, z->stride, block[c], LANES);
        }
        return;
    }
    for (int lane = 0; lane < count; lane++) {
        for (int64_t c = 0; c < z->columns; c++) {
            block[c][lane] = z->data[(r + lane) * z->stride + c];
        }
    }
}

/* And back. The rows of block from columns to the next multiple of LANES are zero, and so is z's padding. */
INLINE void lanes_to_rows(float block[][LANES], int64_t r, int count, const bool squares, struct tensor *z)
{
    if (squares && count == LANES) {
        for (int64_t c = 0; c < z->columns; c += LANES) {
            transpose_square(block[c], LANES, z->data + r * z->stride + c, z->stride);
        }
        return;
    }
    for (int lane = 0; lane < count; lane++) {
        for (int64_t c = 0; c < z->columns; c++) {
            z->data[(r + lane) * z->stride + c] = block[c][lane];
        }
    }
}

INLINE void cross_entropy_lanes(const struct tensor *z, const int32_t *labels, struct tensor *dz, double *loss_sum,
                                int64_t *correct, const bool squares)
{
    double loss = 0.0, product = 1.0;
    const float share = 1.0f / (float)z->rows;
    const int64_t columns = z->columns, padded = (columns + LANES - 1) / LANES * LANES;
    int64_t right = 0;
    float block[FEW_CLASSES + LANES][LANES] __attribute__((aligned(64)));
    memset(block, 0, (size_t)columns * sizeof block[0]);
    for (int64_t r = 0; r < z->rows; r += LANES) {
        const int count = z->rows - r < LANES ? (int)(z->rows - r) : LANES;
        integers label = {0}, best = {0};
        if (count == LANES) {
            memcpy(&label, labels + r, sizeof label);
        } else {
            memcpy(&label, labels + r, (size_t)count * sizeof *labels);
        }
        rows_to_lanes(z, r, count, squares, block);
        vector largest = load(block[0]), sum = {0}, of_label = {0};
        for (int64_t c = 1; c < columns; c++) {
            vector v = load(block[c]);
            integers larger = v > largest;
            largest = select_vector(larger, v, largest);
            best = (larger & (int32_t)c) | (~larger & best);
        }
        for (int64_t c = 0; c < columns; c++) {
            vector z_less = load(block[c]) - largest, e = exp_vector(z_less);
            of_label = select_vector(label == (int32_t)c, z_less, of_label);
            store(block[c], e);
            sum += e;
        }
        const integers hit = best == label;
        for (int lane = 0; lane < count; lane++) {
            loss -= (double)of_label[lane];
            product *= (double)sum[lane];
            right -= hit[lane];
        }
        if (!(product < 1e250)) { /* at most 64^16 from one block: below 1e29 */
            loss += log(product);
            product = 1.0;
        }
        if (dz == NULL) {
            continue;
        }
        const vector scale = share / sum;
        for (int64_t c = 0; c < columns; c++) {
            vector one_hot = select_vector(label == (int32_t)c, splat(share), (vector){0});
            store(block[c], load(block[c]) * scale - one_hot);
        }
        for (int64_t c = columns; c < padded; c++) {
            store(block[c], (vector){0});
        }
        lanes_to_rows(block, r, count, squares, dz);
    }
    *loss_sum = loss + log(product);
    *correct = right;
}

static void cross_entropy(const struct tensor *z, const int32_t *labels, struct tensor *dz, double *loss_sum,
                          int64_t *correct)
{
    const bool padded = z->stride % LANES == 0 && (dz == NULL || dz->stride % LANES == 0);
    if (z->columns <= FEW_CLASSES && padded) {
        cross_entropy_lanes(z, labels, dz, loss_sum, correct, true);
    } else if (z->columns <= FEW_CLASSES) {
        cross_entropy_lanes(z, labels, dz, loss_sum, correct, false);
    } else if (padded) {
        cross_entropy_rows(z, labels, dz, loss_sum, correct, true);
    } else {
        cross_entropy_rows(z, labels, dz, loss_sum, correct, false);
    }
}

static void squared_error(const struct tensor *z, const struct tensor *t, struct tensor *dz, double *loss_sum)
{
    const float scale = 2.0f / ((float)z->rows * (float)z->columns);
    double total = 0.0;
    for (int64_t r = 0; r < z->rows; r++) {
        const float *in = z->data + r * z->stride, *target = t->data + r * t->stride;
        vector sum = {0};
        for (int64_t c = 0; c < z->columns; c += LANES) {
            int64_t left = z->columns - c;
            vector difference = left >= LANES ? load(in + c) - load(target + c)
                                              : load_part(in + c, left, 0.0f) - load_part(target + c, left, 0.0f);
            sum += difference * difference;
            if (dz != NULL && left >= LANES) {
                store(dz->data + r * dz->stride + c, difference * scale);
            } else if (dz != NULL) {
                store_part(dz->data + r * dz->stride + c, left, difference * scale);
            }
        }
        total += (double)sum_of(sum);
    }
    *loss_sum = total / (double)z->columns;
}

/* The product of many 1 + exp(-|z|), each from 1 to 2: one logarithm for so many of them. */
enum { FACTORS = 64 };

static void binary_cross_entropy(const struct tensor *z, const struct tensor *t, struct tensor *dz, double *loss_sum)
{
    const float scale = 1.0f / ((float)z->rows * (float)z->columns);
    double total = 0.0;
    vector product = splat(1.0f);
    int factors = 0;
    for (int64_t r = 0; r < z->rows; r++) {
        const float *in = z->data + r * z->stride, *target = t->data + r * t->stride;
        vector sum = {0};
        for (int64_t c = 0; c < z->columns; c += LANES) {
            int64_t left = z->columns - c;
            vector x = left >= LANES ? load(in + c) : load_part(in + c, left, -200.0f); /* exp(-200) is nothing */
            vector y = left >= LANES ? load(target + c) : load_part(target + c, left, 0.0f);
            integers negative = x < splat(0.0f);
            vector e = exp_vector(select_vector(negative, x, -x));
            product *= 1.0f + e;
            sum += select_vector(negative, (vector){0}, x) - x * y;
            if (dz != NULL) {
                vector slope = (select_vector(negative, e, splat(1.0f)) / (1.0f + e) - y) * scale;
                if (left >= LANES) {
                    store(dz->data + r * dz->stride + c, slope);
                } else {
                    store_part(dz->data + r * dz->stride + c, left, slope);
                }
            }
            if (++factors == FACTORS) {
                for (int lane = 0; lane < LANES; lane++) {
                    total += log((double)product[lane]);
                }
                product = splat(1.0f);
                factors = 0;
            }
        }
        total += (double)sum_of(sum);
    }
    for (int lane = 0; lane < LANES; lane++) {
        total += log((double)product[lane]);
    }
    *loss_sum = total / (double)z->columns;
}
