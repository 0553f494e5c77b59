/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_DATA_H
#define TL_RUNNER_DATA_H

/* A dataset's splits as tensors in memory: U8 features stay bytes and are turned into floats batch by batch (so that
 * Fashion-MNIST needs 47 MB, not 188), cached by digest between the tasks of one worker. */

#include "hub/dataset.h"

struct data {
    int64_t rows;           /* of this split */
    int64_t features;       /* per row */
    int32_t classes;        /* 0: y is values */
    int32_t outputs;        /* of y when values */
    const uint8_t *x_u8;    /* [rows, features], or NULL */
    const float *x_f32;     /* [rows, features], or NULL */
    const int32_t *y_class; /* [rows], or NULL */
    const float *y_value;   /* [rows, outputs], or NULL */
    float scale, offset;    /* of x_u8: value × scale + offset */
};

struct data_cache;
struct data_cache *data_cache_new(int64_t limit_bytes);
void data_cache_free(struct data_cache *cache);
/* Loads (or finds) a split of a manifest; every part's SHA-256, shapes and label range are checked. 1, 0 (no such split), -1. *data is borrowed
 * until the cache is freed or another dataset is loaded. */
int data_load(struct data_cache *cache, struct hub *hub, const bson_t *dataset, const char *split,
              struct data *data, bson_error_t *error);
/* x is (count, features) floats for the given rows; y as data has it: either pointer may be NULL. */
void data_gather(const struct data *data, const uint32_t *indices, int64_t count, float *x, int32_t *y_class, float *y_value);

#endif
