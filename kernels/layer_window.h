/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_LAYER_WINDOW_H
#define TL_KERNELS_LAYER_WINDOW_H

/* Square windows over the lines and columns of an image, for pooling: output = floor((in + 2 padding - kernel) / stride) + 1,
 * as PyTorch without ceil_mode. */

#include "kernels/layer.h"

#define LAYER_WINDOW_LIMIT 4096

/* The first attributes of such a layer. */
#define LAYER_WINDOW_ATTRIBUTES \
    {.name = "kernel", .kind = LAYER_INTEGER, .required = true, .minimum = 1, .maximum = LAYER_WINDOW_LIMIT, \
     .about = "height and width of the window"}, \
    {.name = "stride", .kind = LAYER_INTEGER, .minimum = 0, .maximum = LAYER_WINDOW_LIMIT, \
     .about = "from one window to the next; 0: as the kernel"}, \
    {.name = "padding", .kind = LAYER_INTEGER, .minimum = 0, .maximum = LAYER_WINDOW_LIMIT / 2, \
     .about = "added at every edge; at most half of the kernel"}

struct layer_window {
    int64_t channels, height, width;     /* of the input */
    int64_t kernel, stride, padding;
    int64_t out_height, out_width;
};

static inline struct layer_window layer_window_make(const struct architecture_layer *layer, const struct shape *input)
{
    struct layer_window window = {.channels = input->dims[0], .height = input->dims[1], .width = input->dims[2],
                                  .kernel = (int64_t)layer->values[0].number,
                                  .stride = (int64_t)layer->values[1].number,
                                  .padding = (int64_t)layer->values[2].number};
    window.stride = window.stride == 0 ? window.kernel : window.stride;
    window.out_height = (window.height + 2 * window.padding - window.kernel) / window.stride + 1;
    window.out_width = (window.width + 2 * window.padding - window.kernel) / window.stride + 1;
    return window;
}

static inline struct layer_window layer_window_of(const struct layer *layer)
{
    return layer_window_make(layer->description, &layer->input_shapes[0]);
}

/* Fills *window, and *size's output and flops. */
static inline int layer_window_measure(const struct architecture_layer *layer, const struct shape *input,
                                       struct layer_window *window, struct layer_size *size,
                                       struct kernel_error *error)
{
    char text[80];
    if (input->rank != 3) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "the input %s is not (channels, height, width): put "
                                "reshape before it", shape_format(input, text, sizeof text));
    }
    *window = layer_window_make(layer, input);
    if (2 * window->padding > window->kernel) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "padding: %lld is more than half of the kernel %lld",
                                (long long)window->padding, (long long)window->kernel);
    }
    if (window->kernel > window->height + 2 * window->padding || window->kernel > window->width + 2 * window->padding) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "kernel: %lld does not fit into the input %s",
                                (long long)window->kernel, shape_format(input, text, sizeof text));
    }
    size->output = (struct shape){.rank = 3, .dims = {window->channels, window->out_height, window->out_width}};
    size->flops = shape_size(&size->output) * window->kernel * window->kernel;
    return 0;
}

/* Of the window number o of a column: the first of its lines that is inside the image, and the end of those. */
static inline int64_t layer_window_first(const struct layer_window *window, int64_t o)
{
    int64_t before = window->padding - o * window->stride;
    return before > 0 ? before : 0;
}

static inline int64_t layer_window_end(const struct layer_window *window, int64_t o)
{
    int64_t left = window->height + window->padding - o * window->stride;
    return left < window->kernel ? left : window->kernel;
}

/* The windows of a line, *first to below *end, whose column number kx is inside the image. */
static inline void layer_window_span(const struct layer_window *window, int64_t kx, int64_t *first, int64_t *end)
{
    int64_t before = window->padding - kx, last = window->width - 1 + window->padding - kx;
    *first = before > 0 ? (before + window->stride - 1) / window->stride : 0;
    *end = last < 0 ? 0 : last / window->stride + 1;
    *end = *end < window->out_width ? *end : window->out_width;
}

#endif
