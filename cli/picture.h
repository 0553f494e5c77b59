/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_PICTURE_H
#define TL_CLI_PICTURE_H

/* Rows of values as one picture: a tile each, side by side in a grid, as a PNG of grey or, of three channels, of colour. */

#include "hub/error.h"

#include <stdint.h>
#include <stdio.h>

#define PICTURE_PIXELS (1 << 24) /* of a whole picture, at most */

struct picture;

/* dims of a row: (height, width), (1 or 3, height, width), or values that make a square, else one line. columns: tiles
 * side by side; scale: each value is scale × scale pixels. NULL: shapes that are no picture, or too many pixels. */
struct picture *picture_new(int rank, const int64_t *dims, int64_t count, int64_t columns, int64_t scale,
                            bson_error_t *error);
void picture_free(struct picture *picture);

/* Rows first … first + rows - 1, (rows, product of dims); all finite. */
void picture_put(struct picture *picture, int64_t first, int64_t rows, const float *values);
/* low becomes black and high white; where low is not below high, the least and the greatest value that there are. 0, -1. */
int picture_write(const struct picture *picture, double low, double high, FILE *file, bson_error_t *error);

#endif
