/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of 2 x 2 two apart (device_cpu_pool.c), included by device_cpu_vector.h after shuffle_two.
 *
 * A line is done a vector at a time. Where the image has no line or column beyond the windows, the last vector of a line
 * may reach into the next one: what it writes there is written again, rightly, by the next. Only what is left of the
 * sample's end then goes one by one. */

/* The larger of best and x by position: NaN stays, the first of equal ones wins. */
INLINE vector pool_larger(vector x, vector *best, float position, vector where)
{
    integers larger = (x > *best) | (x != x);
    *best = select_vector(larger, x, *best);
    return select_vector(larger, splat(position), where);
}

INLINE void pool_one(const float *x, int64_t width, float *y, float *where)
{
    const float cells[4] = {x[0], x[1], x[width], x[width + 1]};
    int best = 0;
    for (int i = 1; i < 4; i++) {
        best = cells[i] > cells[best] || cells[i] != cells[i] ? i : best;
    }
    *y = cells[best];
    if (where != NULL) {
        *where = (float)best;
    }
}

static void max_pool_forward(const struct cpu_pool *pool, const float *x, float *y, float *where)
{
    integers even, odd;
    for (int i = 0; i < LANES; i++) {
        even[i] = 2 * i;
        odd[i] = 2 * i + 1;
    }
    const int64_t end = pool->planes * pool->height * pool->width, out_end = pool->planes * pool->lines * pool->columns;
    const bool whole = pool->width == 2 * pool->columns;
    for (int64_t line = 0; line < pool->planes * pool->lines; line++) {
        const int64_t at = line / pool->lines * pool->height * pool->width + line % pool->lines * 2 * pool->width;
        const int64_t out = line * pool->columns;
        int64_t i = 0;
        for (; i < pool->columns && (i + LANES <= pool->columns || whole) && out + i + LANES <= out_end &&
               at + pool->width + 2 * (i + LANES) <= end; i += LANES) {
            const float *from = x + at + 2 * i;
            vector a = load(from), b = load(from + LANES);
            vector c = load(from + pool->width), d = load(from + pool->width + LANES);
            vector best = shuffle_two(a, b, even), position = {0};
            position = pool_larger(shuffle_two(a, b, odd), &best, 1.0f, position);
            position = pool_larger(shuffle_two(c, d, even), &best, 2.0f, position);
            position = pool_larger(shuffle_two(c, d, odd), &best, 3.0f, position);
            store(y + out + i, best);
            if (where != NULL) {
                store(where + out + i, position);
            }
        }
        for (; i < pool->columns; i++) {
            pool_one(x + at + 2 * i, pool->width, y + out + i, where != NULL ? where + out + i : NULL);
        }
    }
}

static void max_pool_backward(const struct cpu_pool *pool, const float *where, const float *dy, float *dx)
{
    integers low, high;
    for (int i = 0; i < LANES; i++) {
        low[i] = i / 2 + i % 2 * LANES;
        high[i] = LANES / 2 + i / 2 + i % 2 * LANES;
    }
    const int64_t end = pool->planes * pool->height * pool->width, out_end = pool->planes * pool->lines * pool->columns;
    const bool whole = pool->width == 2 * pool->columns && pool->height == 2 * pool->lines;
    if (!whole) {
        memset(dx, 0, (size_t)end * sizeof *dx);
    }
    for (int64_t line = 0; line < pool->planes * pool->lines; line++) {
        const int64_t at = line / pool->lines * pool->height * pool->width + line % pool->lines * 2 * pool->width;
        const int64_t out = line * pool->columns;
        for (int below = 0; below < 2; below++) { /* the upper line first: the lower one is behind it */
            float *to = dx + at + below * pool->width;
            const float left = below != 0 ? 2.0f : 0.0f;
            int64_t i = 0;
            for (; i < pool->columns && (i + LANES <= pool->columns || whole) && out + i + LANES <= out_end &&
                   at + below * pool->width + 2 * (i + LANES) <= end; i += LANES) {
                vector gradient = load(dy + out + i), position = load(where + out + i);
                vector a = select_vector(position == splat(left), gradient, (vector){0});
                vector b = select_vector(position == splat(left + 1.0f), gradient, (vector){0});
                store(to + 2 * i, shuffle_two(a, b, low));
                store(to + 2 * i + LANES, shuffle_two(a, b, high));
            }
            for (; i < pool->columns; i++) {
                to[2 * i] = where[out + i] == left ? dy[out + i] : 0.0f;
                to[2 * i + 1] = where[out + i] == left + 1.0f ? dy[out + i] : 0.0f;
            }
        }
    }
}
