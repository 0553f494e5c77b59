/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/picture.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2 /* pixels of white between tiles */

struct picture {
    int64_t channels, tile_height, tile_width; /* of values */
    int64_t columns, scale, count;
    int64_t height, width; /* in pixels */
    float *values;         /* (count, channels, tile_height, tile_width) */
};

static int take_shape(struct picture *picture, int rank, const int64_t *dims, bson_error_t *error)
{
    picture->channels = rank == 3 ? dims[0] : 1;
    if (rank == 1) {
        int64_t side = (int64_t)llround(sqrt((double)dims[0]));
        picture->tile_height = side * side == dims[0] ? side : 1;
        picture->tile_width = dims[0] / picture->tile_height;
    } else if (rank == 2 || rank == 3) {
        picture->tile_height = dims[rank - 2];
        picture->tile_width = dims[rank - 1];
    }
    if (picture->tile_width < 1 || (picture->channels != 1 && picture->channels != 3)) {
        return hub_error(error, HUB_ERROR_INVALID,
                         "rows of %d dimensions are no picture: it takes (height, width), or 1 or 3 of these", rank);
    }
    return 0;
}

static int64_t tile_size(const struct picture *picture)
{
    return picture->channels * picture->tile_height * picture->tile_width;
}

/* Pixels of n tiles with the gaps between them; more than a picture may have where that cannot be counted. */
static int64_t extent(int64_t tiles, int64_t values, int64_t scale)
{
    int64_t pixels;
    if (__builtin_mul_overflow(values, scale, &pixels) || __builtin_add_overflow(pixels, GAP, &pixels) ||
        __builtin_mul_overflow(pixels, tiles, &pixels) || pixels - GAP > PICTURE_PIXELS) {
        return (int64_t)PICTURE_PIXELS + 1;
    }
    return pixels - GAP;
}

struct picture *picture_new(int rank, const int64_t *dims, int64_t count, int64_t columns, int64_t scale,
                            bson_error_t *error)
{
    struct picture *picture = calloc(1, sizeof *picture);
    if (picture == NULL) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a picture");
        return NULL;
    }
    picture->columns = columns < count ? columns : count;
    picture->scale = scale;
    picture->count = count;
    if (take_shape(picture, rank, dims, error) < 0) {
        goto failed;
    }
    picture->width = extent(picture->columns, picture->tile_width, scale);
    picture->height = extent((count + picture->columns - 1) / picture->columns, picture->tile_height, scale);
    if (picture->width * picture->height > PICTURE_PIXELS) {
        hub_error(error, HUB_ERROR_INVALID, "the picture would have more than %d pixels: use a smaller --count or --scale",
                  PICTURE_PIXELS);
        goto failed;
    }
    picture->values = calloc((size_t)count, (size_t)tile_size(picture) * sizeof *picture->values);
    if (picture->values != NULL) {
        return picture;
    }
    hub_error(error, HUB_ERROR_MEMORY, "no memory for a picture of %lld rows", (long long)count);
failed:
    picture_free(picture);
    return NULL;
}

void picture_free(struct picture *picture)
{
    if (picture != NULL) {
        free(picture->values);
    }
    free(picture);
}

void picture_put(struct picture *picture, int64_t first, int64_t rows, const float *values)
{
    const int64_t size = tile_size(picture);
    memcpy(picture->values + first * size, values, (size_t)(rows * size) * sizeof *values);
}

static void find_range(const struct picture *picture, double *low, double *high)
{
    const int64_t size = picture->count * tile_size(picture);
    *low = *high = (double)picture->values[0];
    for (int64_t i = 1; i < size; i++) {
        *low = fmin(*low, (double)picture->values[i]);
        *high = fmax(*high, (double)picture->values[i]);
    }
}

static uint8_t shade(double value, double low, double high)
{
    double share = high > low ? (value - low) / (high - low) : 0.5;
    return (uint8_t)lround(255 * fmin(1, fmax(0, share)));
}

static void draw_tile(const struct picture *picture, int64_t index, double low, double high, uint8_t *pixels)
{
    const int64_t scale = picture->scale, channels = picture->channels;
    const int64_t left = index % picture->columns * (picture->tile_width * scale + GAP);
    const int64_t top = index / picture->columns * (picture->tile_height * scale + GAP);
    const float *values = picture->values + index * tile_size(picture);
    for (int64_t y = 0; y < picture->tile_height * scale; y++) {
        for (int64_t x = 0; x < picture->tile_width * scale; x++) {
            for (int64_t c = 0; c < channels; c++) {
                const int64_t at = (c * picture->tile_height + y / scale) * picture->tile_width + x / scale;
                pixels[((top + y) * picture->width + left + x) * channels + c] = shade((double)values[at], low, high);
            }
        }
    }
}

int picture_write(const struct picture *picture, double low, double high, FILE *file, bson_error_t *error)
{
    const size_t bytes = (size_t)(picture->width * picture->height * picture->channels);
    uint8_t *pixels = malloc(bytes);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = picture->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    if (pixels == NULL) {
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the picture's %zu pixels", bytes);
    }
    if (!(low < high)) {
        find_range(picture, &low, &high);
    }
    memset(pixels, 255, bytes);
    for (int64_t i = 0; i < picture->count; i++) {
        draw_tile(picture, i, low, high, pixels);
    }
    int result = 0;
    if (png_image_write_to_stdio(&image, file, 0, pixels, 0, NULL) == 0) {
        result = hub_error(error, HUB_ERROR_IO, "the picture could not be written: %s", image.message);
    }
    png_image_free(&image);
    free(pixels);
    return result;
}
