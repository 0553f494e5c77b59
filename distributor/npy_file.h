/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_NPY_FILE_H
#define TL_DISTRIBUTOR_NPY_FILE_H

/* Arrays of NumPy: .npy files and the members of .npz files (zip archives, stored or deflated), read in order and in bounded
 * memory. The format (numpy.lib.format): "\x93NUMPY", version, the header's length, the header as a Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}, then the elements. Numbers and booleans of 1 to 8 bytes of either
 * byte order are taken; objects (pickles), structures and Fortran order are refused. */

#include "hub/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPY_FILE_RANK    7
#define NPY_FILE_MEMBERS 256

struct npy_file;

/* Names of the arrays of a .npz, without ".npy"; of a .npy file one, "". */
struct npy_members {
    int count;
    char names[NPY_FILE_MEMBERS][68];
};

/* HUB_ERROR_NOT_FOUND, HUB_ERROR_IO, HUB_ERROR_INVALID with file, byte or member, and reason. */
int npy_file_list(const char *path, struct npy_members *members, bson_error_t *error);
/* member: "" for a .npy file. */
struct npy_file *npy_file_open(const char *path, const char *member, bson_error_t *error);
void npy_file_close(struct npy_file *file);

const char *npy_file_name(const struct npy_file *file);     /* FILE, or FILE: MEMBER, for messages */
int npy_file_rank(const struct npy_file *file);             /* 0 … NPY_FILE_RANK */
int64_t npy_file_dimension(const struct npy_file *file, int i);
int64_t npy_file_rows(const struct npy_file *file);         /* the first dimension; 1 of rank 0 */
int64_t npy_file_row_values(const struct npy_file *file);   /* the product of the others; at most 2^24 */
bool npy_file_is_integer(const struct npy_file *file);      /* integers and booleans */
bool npy_file_is_bytes(const struct npy_file *file);        /* unsigned integers of one byte */

/* The next rows as doubles, or, where npy_file_is_bytes, as they are. HUB_ERROR_INVALID where the file ends before. */
int npy_file_read(struct npy_file *file, double *values, int64_t rows, bson_error_t *error);
int npy_file_read_bytes(struct npy_file *file, uint8_t *values, int64_t rows, bson_error_t *error);
/* After the last row: nothing may follow. */
int npy_file_end(struct npy_file *file, bson_error_t *error);

#endif
