/* SPDX-License-Identifier: Apache-2.0 */
/* avg_pool: the mean of each window of each channel. With count_include_pad, as PyTorch's default, what padding adds counts
 * as zeros; without, the sum is divided by the number of values inside the image. */
#include "kernels/layer_types.h"
#include "kernels/layer_window.h"

#include <string.h>

static const struct layer_attribute attributes[] = {
    LAYER_WINDOW_ATTRIBUTES,
    {.name = "count_include_pad", .kind = LAYER_BOOLEAN, .standard = 1.0,
     .about = "whether the mean counts the zeros of the padding"},
    {0},
};

static int measure(const struct architecture_layer *layer, const struct shape *inputs, struct layer_size *size,
                   struct kernel_error *error)
{
    struct layer_window window;
    return layer_window_measure(layer, &inputs[0], &window, size, error);
}

/* How many values the windows of line oy sum up, from column ox's window. */
static float divisor(const struct layer_window *w, bool with_padding, int64_t lines, int64_t ox)
{
    if (with_padding) {
        return (float)(w->kernel * w->kernel);
    }
    int64_t before = w->padding - ox * w->stride, left = w->width + before;
    int64_t columns = (left < w->kernel ? left : w->kernel) - (before > 0 ? before : 0);
    return (float)(lines * columns);
}

static void pool_plane(const struct layer_window *w, bool with_padding, const float *x, float *y)
{
    for (int64_t oy = 0; oy < w->out_height; oy++) {
        float *sum = y + oy * w->out_width;
        const int64_t first_line = layer_window_first(w, oy), end_line = layer_window_end(w, oy);
        memset(sum, 0, (size_t)w->out_width * sizeof *sum);
        for (int64_t ky = first_line; ky < end_line; ky++) {
            const float *line = x + (oy * w->stride - w->padding + ky) * w->width;
            for (int64_t kx = 0; kx < w->kernel; kx++) {
                int64_t first, end;
                layer_window_span(w, kx, &first, &end);
                for (int64_t ox = first; ox < end; ox++) {
                    sum[ox] += line[ox * w->stride + kx - w->padding];
                }
            }
        }
        for (int64_t ox = 0; ox < w->out_width; ox++) {
            sum[ox] /= divisor(w, with_padding, end_line - first_line, ox);
        }
    }
}

static void spread_plane(const struct layer_window *w, bool with_padding, const float *dy, float *dx)
{
    memset(dx, 0, (size_t)(w->height * w->width) * sizeof *dx);
    for (int64_t oy = 0; oy < w->out_height; oy++) {
        const int64_t first_line = layer_window_first(w, oy), end_line = layer_window_end(w, oy);
        for (int64_t ky = first_line; ky < end_line; ky++) {
            float *line = dx + (oy * w->stride - w->padding + ky) * w->width;
            for (int64_t kx = 0; kx < w->kernel; kx++) {
                int64_t first, end;
                layer_window_span(w, kx, &first, &end);
                for (int64_t ox = first; ox < end; ox++) {
                    line[ox * w->stride + kx - w->padding] +=
                        dy[oy * w->out_width + ox] / divisor(w, with_padding, end_line - first_line, ox);
                }
            }
        }
    }
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layer_window w = layer_window_of(layer);
    const struct tensor *x = layer->inputs[0];
    for (int64_t r = 0; r < pass->rows; r++) {
        for (int64_t c = 0; c < w.channels; c++) {
            pool_plane(&w, layer->description->values[3].number != 0.0,
                       x->data + r * x->stride + c * w.height * w.width,
                       layer->output.data + r * layer->output.stride + c * w.out_height * w.out_width);
        }
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct layer_window w = layer_window_of(layer);
    const struct tensor *dy = &layer->output_gradient;
    struct tensor *dx = layer->input_gradients[0];
    for (int64_t r = 0; dx != NULL && r < pass->rows; r++) {
        for (int64_t c = 0; c < w.channels; c++) {
            spread_plane(&w, layer->description->values[3].number != 0.0,
                         dy->data + r * dy->stride + c * w.out_height * w.out_width,
                         dx->data + r * dx->stride + c * w.height * w.width);
        }
    }
    return 0;
}

const struct layer_type layer_avg_pool = {
    .name = "avg_pool", .about = "the mean of each window of an image", .attributes = attributes,
    .minimum_inputs = 1, .maximum_inputs = 1, .measure = measure, .code = {.forward = forward, .backward = backward},
};
