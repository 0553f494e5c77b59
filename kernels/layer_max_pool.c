/* SPDX-License-Identifier: Apache-2.0 */
/* max_pool: the largest value of each window of each channel; the first of equal ones gets the gradient. What padding adds
 * is never the largest. */
#include "kernels/layer_types.h"
#include "kernels/layer_window.h"

#include <math.h>
#include <string.h>

static const struct layer_attribute attributes[] = {LAYER_WINDOW_ATTRIBUTES, {0}};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    struct layer_window window;
    if (layer_window_measure(layer, &inputs[0], &window, size, error) < 0) {
        return -1;
    }
    size->workspace = shape_size(&size->output); /* where in its plane each largest value was: exact below 2^24 */
    return 0;
}

/* The next cell of count windows of a line, x stride apart: into best where it is larger (a NaN stays), and then its
 * place in the plane into at. Bodies of their own for the usual strides are vector code. */
static inline __attribute__((always_inline)) void take(const float *restrict x, int32_t place, const int64_t stride,
                                                       int64_t count, float *restrict best, float *restrict at)
{
    for (int64_t i = 0; i < count; i++) {
        float value = x[i * stride], here = (float)(place + (int32_t)(i * stride));
        bool larger = (value > best[i]) | (value != value);
        best[i] = larger ? value : best[i];
        at[i] = larger ? here : at[i];
    }
}

static void take_cell(const float *x, int32_t place, int64_t stride, int64_t count, float *best, float *at)
{
    switch (stride) {
    case 1: take(x, place, 1, count, best, at); break;
    case 2: take(x, place, 2, count, best, at); break;
    default: take(x, place, stride, count, best, at); break;
    }
}

/* One channel of one sample. The windows' cells one after the other, so that the inner loop runs along a line of the
 * output. */
static void pool_plane(const struct layer_window *w, const float *x, float *y, float *where)
{
    for (int64_t oy = 0; oy < w->out_height; oy++) {
        float *best = y + oy * w->out_width, *at = where + oy * w->out_width;
        for (int64_t ox = 0; ox < w->out_width; ox++) {
            best[ox] = -INFINITY;
            at[ox] = 0.0f;
        }
        for (int64_t ky = layer_window_first(w, oy); ky < layer_window_end(w, oy); ky++) {
            int64_t line = (oy * w->stride - w->padding + ky) * w->width;
            for (int64_t kx = 0; kx < w->kernel; kx++) {
                int64_t first, end;
                layer_window_span(w, kx, &first, &end);
                if (first < end) {
                    int64_t start = line + kx - w->padding + first * w->stride;
                    take_cell(x + start, (int32_t)start, w->stride, end - first, best + first, at + first);
                }
            }
        }
    }
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layer_window w = layer_window_of(layer);
    const int64_t plane = w.height * w.width, out = w.out_height * w.out_width;
    for (int64_t r = 0; r < pass->rows; r++) {
        for (int64_t c = 0; c < w.channels; c++) {
            pool_plane(&w, layer->inputs[0]->data + r * layer->inputs[0]->stride + c * plane,
                       layer->output.data + r * layer->output.stride + c * out,
                       layer->workspace + r * tensor_stride(w.channels * out) + c * out);
        }
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layer_window w = layer_window_of(layer);
    const int64_t plane = w.height * w.width, out = w.out_height * w.out_width;
    struct tensor *gradient = layer->input_gradients[0];
    for (int64_t r = 0; gradient != NULL && r < pass->rows; r++) {
        const float *dy = layer->output_gradient.data + r * layer->output_gradient.stride;
        const float *at = layer->workspace + r * tensor_stride(w.channels * out);
        float *dx = gradient->data + r * gradient->stride;
        memset(dx, 0, (size_t)(w.channels * plane) * sizeof *dx);
        for (int64_t c = 0; c < w.channels; c++) {
            for (int64_t i = c * out; i < (c + 1) * out; i++) {
                dx[c * plane + (int64_t)at[i]] += dy[i];
            }
        }
    }
    return 0;
}

const struct layer_type layer_max_pool = {
    .name = "max_pool", .about = "the largest value of each window of an image", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
