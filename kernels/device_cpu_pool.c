/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device_cpu.h"
#include "kernels/layer_window.h"

#include <string.h>

static struct cpu_pool pool_of(const struct layer *layer)
{
    const struct layer_window w = layer_window_of(layer);
    return (struct cpu_pool){.planes = w.channels, .height = w.height, .width = w.width, .lines = w.out_height,
                             .columns = w.out_width};
}

static int forward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct cpu_pool pool = pool_of(layer);
    const struct cpu_pool_kernels *kernels = &cpu_kernels_of(pass->device)->pool;
    const int64_t stride = tensor_stride(layer->size.workspace);
    const struct tensor *x = layer->inputs[0], *y = &layer->output;
#pragma omp parallel for num_threads(pass->device->threads) schedule(static) if (pass->device->threads > 1)
    for (int64_t r = 0; r < pass->rows; r++) {
        kernels->forward(&pool, x->data + r * x->stride, y->data + r * y->stride,
                         pass->training ? layer->workspace + r * stride : NULL);
    }
    return 0;
}

static int backward(struct layer *layer, const struct layer_pass *pass, struct kernel_error *error)
{
    (void)error;
    const struct cpu_pool pool = pool_of(layer);
    const struct cpu_pool_kernels *kernels = &cpu_kernels_of(pass->device)->pool;
    const int64_t stride = tensor_stride(layer->size.workspace);
    const struct tensor *dy = &layer->output_gradient, *dx = layer->input_gradients[0];
    const int64_t rows = dx != NULL ? pass->rows : 0;
#pragma omp parallel for num_threads(pass->device->threads) schedule(static) if (pass->device->threads > 1)
    for (int64_t r = 0; r < rows; r++) {
        kernels->backward(&pool, layer->workspace + r * stride, dy->data + r * dy->stride, dx->data + r * dx->stride);
    }
    return 0;
}

static const struct layer_code code = {.forward = forward, .backward = backward};

const struct layer_code *cpu_pool_code(const struct layer *layer)
{
    if (strcmp(layer->description->type->name, "max_pool") != 0) {
        return NULL;
    }
    const struct layer_window w = layer_window_of(layer);
    return w.kernel == 2 && w.stride == 2 && w.padding == 0 ? &code : NULL;
}
