/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_IDX_FILE_H
#define TL_DISTRIBUTOR_IDX_FILE_H

/* One IDX file, plain or .gz, read in order. The format (yann.lecun.com/exdb/mnist): two zero bytes, the type of the
 * elements (0x08 unsigned byte, 0x09 signed byte, 0x0B short, 0x0C int, 0x0D float, 0x0E double), the number of
 * dimensions, each dimension as a big-endian uint32, then the elements. Only unsigned bytes are taken. */

#include "hub/error.h"

#include <stddef.h>

#define IDX_FILE_RANK 7 /* rows and at most six dimensions of one */

struct idx_file;

/* Reads the header. HUB_ERROR_NOT_FOUND, HUB_ERROR_IO, or HUB_ERROR_INVALID with file, offset and reason. */
struct idx_file *idx_file_open(const char *path, bson_error_t *error);
void idx_file_close(struct idx_file *file);

const char *idx_file_path(const struct idx_file *file);
int idx_file_rank(const struct idx_file *file);     /* 1 … IDX_FILE_RANK */
int64_t idx_file_rows(const struct idx_file *file); /* the first dimension; at least 1 */
int64_t idx_file_dimension(const struct idx_file *file, int i);
int64_t idx_file_row_bytes(const struct idx_file *file); /* the product of the others; at most 2^24 */

/* The next rows; HUB_ERROR_INVALID where the file ends before. */
int idx_file_read(struct idx_file *file, void *rows, int64_t count, bson_error_t *error);
/* After the last row: nothing may follow (and a .gz file's check sum must be right). */
int idx_file_end(struct idx_file *file, bson_error_t *error);

#endif
