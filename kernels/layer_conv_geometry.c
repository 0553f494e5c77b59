/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes of a convolution; the modules of devices have a copy of this file. */
#include "kernels/layer_conv.h"

#include <string.h>

/* One direction of the image: height ("kernel height 5 …") or width. */
struct direction {
    const char *name;
    int64_t input, kernel, stride, padding, output_padding;
};

static int small_extent(const struct direction *of, int64_t *extent, struct kernel_error *error)
{
    int64_t padded = of->input + 2 * of->padding;
    if (of->kernel > padded) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "kernel: %s %lld is larger than the input's %lld with "
                                "padding %lld on both sides", of->name, (long long)of->kernel, (long long)of->input,
                                (long long)of->padding);
    }
    *extent = (padded - of->kernel) / of->stride + 1;
    return 0;
}

static int large_extent(const struct direction *of, int64_t *extent, struct kernel_error *error)
{
    *extent = (of->input - 1) * of->stride - 2 * of->padding + of->kernel + of->output_padding;
    if (*extent < 1) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "padding: %lld on both sides leaves nothing of the %s of "
                                "%lld", (long long)of->padding, of->name, (long long)(*extent + 2 * of->padding));
    }
    return 0;
}

static int find_extents(const struct architecture_layer *layer, int64_t height, int64_t width,
                        struct conv_geometry *geometry, struct kernel_error *error)
{
    int64_t *out_height = geometry->transposed ? &geometry->height : &geometry->out_height;
    int64_t *out_width = geometry->transposed ? &geometry->width : &geometry->out_width;
    *(geometry->transposed ? &geometry->out_height : &geometry->height) = height;
    *(geometry->transposed ? &geometry->out_width : &geometry->width) = width;
    int64_t output_padding = geometry->transposed ? (int64_t)layer->values[CONV_OUTPUT_PADDING].number : 0;
    if (output_padding >= geometry->stride_width && output_padding > 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "output_padding: %lld is not below the stride %lld",
                                (long long)output_padding, (long long)geometry->stride_width);
    }
    const struct direction down = {"height", height, geometry->kernel_height, geometry->stride_height,
                                   geometry->padding_height, geometry->flat ? 0 : output_padding};
    const struct direction across = {geometry->flat ? "length" : "width", width, geometry->kernel_width, geometry->stride_width,
                                     geometry->padding_width, output_padding};
    int (*find)(const struct direction *, int64_t *, struct kernel_error *) = geometry->transposed ? large_extent
                                                                                                   : small_extent;
    return find(&down, out_height, error) < 0 ? -1 : find(&across, out_width, error);
}

int conv_geometry_of(const struct architecture_layer *layer, const struct shape *input, struct conv_geometry *geometry,
                     struct kernel_error *error)
{
    const struct architecture_value *values = layer->values;
    bool flat = strcmp(layer->type->name, "conv1d") == 0;
    int rank = flat ? 2 : 3, kernel_rank = values[CONV_KERNEL].shape.rank;
    int64_t stride = (int64_t)values[CONV_STRIDE].number, padding = (int64_t)values[CONV_PADDING].number;
    const int64_t *kernel = values[CONV_KERNEL].shape.dims;
    *geometry = (struct conv_geometry){
        .kernel_height = flat ? 1 : kernel[0], .kernel_width = kernel[kernel_rank > 1 && !flat ? 1 : 0],
        .stride_height = flat ? 1 : stride, .stride_width = stride, .padding_height = flat ? 0 : padding,
        .padding_width = padding, .groups = (int64_t)values[CONV_GROUPS].number, .flat = flat,
        .transposed = strcmp(layer->type->name, "conv_transpose") == 0,
        .activation = (enum activation)values[CONV_ACTIVATION].choice};
    if (kernel_rank < 1 || kernel_rank > (flat ? 1 : 2)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "kernel: has %d numbers, it needs %s", kernel_rank,
                                flat ? "1" : "1 or 2 (height and width)");
    }
    int64_t channels = input->rank == rank ? input->dims[0] : 1, filters = (int64_t)values[CONV_FILTERS].number;
    geometry->channels = geometry->transposed ? filters : channels;
    geometry->filters = geometry->transposed ? channels : filters;
    if (channels % geometry->groups != 0 || filters % geometry->groups != 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "groups: %lld does not divide the %lld channels and the "
                                "%lld filters", (long long)geometry->groups, (long long)channels, (long long)filters);
    }
    return find_extents(layer, flat ? 1 : input->dims[input->rank - 2], input->dims[input->rank - 1], geometry,
                        error);
}
