/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_DATA_H
#define TL_RUNNER_DATA_H

/* A dataset's splits as tensors in memory: U8 features stay bytes and are turned into floats batch by batch (so that
 * Fashion-MNIST needs 47 MB, not 188), cached by digest between the tasks of one worker. */

#include "hub/dataset.h"
#include "kernels/sampling.h"

struct chosen;

/* A split as it is stored, and what of it is a sample (data_sample): at first a sample is a row. */
struct data {
    int64_t rows;            /* samples of this split */
    int64_t features;        /* values a sample */
    int32_t classes;         /* 0: targets are values */
    int32_t outputs;         /* targets a sample, when values; 0 without labels */
    int64_t stored_rows, stored_features; /* of the split, and of one of its rows */
    const uint8_t *x_u8;     /* [stored rows, stored features], or NULL */
    const float *x_f32;      /* [stored rows, stored features], or NULL */
    const int32_t *y_class;  /* [stored rows], or NULL */
    const float *y_value;    /* [stored rows, outputs], or NULL */
    float scale, offset;     /* of x_u8: value × scale + offset */
    struct sampling sampling;
    const struct chosen *chosen; /* what users have chosen, where samples are pairs; NULL: they are not */
    uint64_t seed, draw;     /* of the items that stand beside them: draw changes from batch to batch of training */
};

struct data_cache;
struct data_cache *data_cache_new(int64_t limit_bytes);
void data_cache_free(struct data_cache *cache);
/* Loads (or finds) a split of a manifest; every part's SHA-256, shapes and label range are checked. 1, 0 (no such split), -1. *data is borrowed
 * until the cache is freed or another dataset is loaded. */
int data_load(struct data_cache *cache, struct hub *hub, const bson_t *dataset, const char *split,
              struct data *data, bson_error_t *error);
/* The same; mapped: from a file in the cache folder (split_store.h), which is made where it is not there, so that the split may be
 * larger than memory. Rows (hub/rows.h) always are; their manifest must have been resolved (rows_data.h). */
int data_load_as(struct data_cache *cache, struct hub *hub, const bson_t *dataset, const char *split, bool mapped,
                 struct data *data, bson_error_t *error);
/* The folder, opened by the first who asks; NULL on error. */
struct split_store;
struct split_store *data_cache_disk(struct data_cache *cache, bson_error_t *error);
/* The name of a split's file. */
void data_split_key(const char *digest, const char *split, char key[65]);

/* ---- samples of a split, as the recipe makes them of rows (data_sample.c) ---- */

/* What users have chosen: the pairs (user, item) of the training rows, and of further splits. The user is all of a row but
 * its last value, the item. */
/* -1: ids that are no integers in [0, 2^24), or no memory. *chosen is new, or has the split's added. Free it. */
int chosen_add(struct chosen **chosen, const struct data *split, const char *name, bson_error_t *error);
void chosen_free(struct chosen *chosen);

/* Makes samples of data's rows: rows, features, classes and outputs become theirs. chosen: samples are pairs (NULL: they are
 * not), borrowed as long as data is used. -1: too few rows for a window; data is as it was. */
int data_sample(struct data *data, const struct sampling *sampling, const struct chosen *chosen, bson_error_t *error);
/* Samples of a batch of count: twice as many where they are pairs. */
int64_t data_batch_rows(const struct data *data, int64_t count);

/* x is (data_batch_rows, features) for the given samples, y as data has it: either pointer may be NULL. Of pairs the second
 * half are those with other items, a pure function of data's seed and draw, and of the sample. */
void data_gather(const struct data *data, const uint32_t *indices, int64_t count, float *x, int32_t *y_class, float *y_value);

#endif
