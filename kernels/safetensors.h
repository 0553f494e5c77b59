/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_SAFETENSORS_H
#define TL_KERNELS_SAFETENSORS_H

/* The safetensors format (huggingface.co/docs/safetensors): 8 bytes little-endian length N, N bytes of JSON
 * {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, …}, then the
 * data; offsets count from the end of the header. Weights, checkpoints and the parts of datasets are such files.
 *
 * Files come from anywhere: everything is checked (lengths, dtypes, shapes against offsets, order, overlaps, holes,
 * duplicate names) before it is believed, and memory stays in proportion to the header. */

#include "kernels/error.h"

#include <stddef.h>
#include <stdint.h>

#define SAFETENSORS_RANK 8
#define SAFETENSORS_HEADER_BYTES (4u << 20) /* longer headers are refused */
#define SAFETENSORS_TENSORS 65536

enum safetensors_dtype {
    SAFETENSORS_F32, SAFETENSORS_F64, SAFETENSORS_F16, SAFETENSORS_BF16,
    SAFETENSORS_I64, SAFETENSORS_I32, SAFETENSORS_I16, SAFETENSORS_I8, SAFETENSORS_U8, SAFETENSORS_BOOL
};

struct safetensors_tensor {
    char *name;
    enum safetensors_dtype dtype;
    int rank;
    int64_t shape[SAFETENSORS_RANK];
    uint64_t begin, end; /* bytes, from the start of the data */
};

struct safetensors_pair {
    const char *key, *value;
};

struct safetensors {
    size_t count;
    struct safetensors_tensor *tensors; /* by begin */
    size_t metadata_count;
    struct safetensors_pair *metadata;
    uint64_t data_begin;  /* where the data starts in the file: 8 + N */
    uint64_t data_length; /* the end of the last tensor: the file has data_begin + data_length bytes */
};

size_t safetensors_dtype_bytes(enum safetensors_dtype dtype);
const char *safetensors_dtype_name(enum safetensors_dtype dtype); /* "F32" … */

/* The length of the whole header (8 + N) from the first 8 bytes; -1 where it cannot be one. */
int64_t safetensors_header_length(const uint8_t first[8], struct kernel_error *error);
/* Parses the header at data; length is that of the whole file where it is at hand, and then it must fit exactly.
 * NULL on error (KERNEL_ERROR_INVALID names the tensor). The result does not refer to data. */
struct safetensors *safetensors_parse(const uint8_t *data, size_t length, struct kernel_error *error);
/* The same with only the header (8 + N bytes) at hand; file_length 0: not known. */
struct safetensors *safetensors_parse_header(const uint8_t *header, size_t header_length, uint64_t file_length,
                                             struct kernel_error *error);
void safetensors_free(struct safetensors *safetensors);

/* NULL where there is none of this name / key. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *safetensors, const char *name);
const char *safetensors_metadata(const struct safetensors *safetensors, const char *key);

/* The header (length and JSON, padded with spaces to a multiple of 8) for tensors written one after the other in the
 * order given: sets their begin and end. metadata: metadata_count pairs. A new block (free), *length its bytes. */
uint8_t *safetensors_header_new(struct safetensors_tensor *tensors, size_t count,
                                const struct safetensors_pair *metadata, size_t metadata_count, size_t *length,
                                struct kernel_error *error);

#endif
