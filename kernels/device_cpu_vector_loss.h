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

static void cross_entropy_few(const struct tensor *z, const int32_t *labels, struct tensor *dz, double *loss_sum,
                              int64_t *correct)
{
    double loss = 0.0, product = 1.0;
    const float share = 1.0f / (float)z->rows;
    const int64_t columns = z->columns;
    int64_t right = 0;
    float block[FEW_CLASSES][LANES] __attribute__((aligned(64)));
    memset(block, 0, (size_t)columns * sizeof block[0]);
    for (int64_t r = 0; r < z->rows; r += LANES) {
        const int count = z->rows - r < LANES ? (int)(z->rows - r) : LANES;
        for (int lane = 0; lane < count; lane++) {
            const float *in = z->data + (r + lane) * z->stride;
            for (int64_t c = 0; c < columns; c++) {
                block[c][lane] = in[c];
            }
        }
        vector largest = load(block[0]), sum = {0};
        integers best = {0};
        for (int64_t c = 1; c < columns; c++) {
            vector v = load(block[c]);
            integers larger = v > largest;
            largest = select_vector(larger, v, largest);
            best = (larger & (int32_t)c) | (~larger & best);
        }
        for (int64_t c = 0; c < columns; c++) {
            vector e = exp_vector(load(block[c]) - largest);
            store(block[c], e);
            sum += e;
        }
        for (int lane = 0; lane < count; lane++) {
            const int32_t label = labels[r + lane];
            loss -= (double)z->data[(r + lane) * z->stride + label] - (double)largest[lane];
            product *= (double)sum[lane];
            right += best[lane] == label;
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
            store(block[c], load(block[c]) * scale);
        }
        for (int lane = 0; lane < count; lane++) {
            float *out = dz->data + (r + lane) * dz->stride;
            for (int64_t c = 0; c < columns; c++) {
                out[c] = block[c][lane];
            }
            out[labels[r + lane]] -= share;
        }
    }
    *loss_sum = loss + log(product);
    *correct = right;
}

static void cross_entropy(const struct tensor *z, const int32_t *labels, struct tensor *dz, double *loss_sum,
                          int64_t *correct)
{
    if (z->columns <= FEW_CLASSES) {
        cross_entropy_few(z, labels, dz, loss_sum, correct);
    } else if (z->stride % LANES == 0 && (dz == NULL || dz->stride % LANES == 0)) {
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
