/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_SAMPLE_H
#define TL_RUNNER_SAMPLE_H

/* Rows that a GAN's generator makes of noise, batch by batch, and, if wanted, a dataset of them without labels. The noise is
 * drawn from the seed and a row's number alone: the same model, seed and number give the same row, whatever the count and
 * the batches. Memory: the net, a batch, and one part of the dataset. For `tl_hub sample`. */

#include "hub/dataset.h"
#include "hub/hub.h"
#include "kernels/architecture.h"

#define SAMPLE_ROWS 256 /* of a batch, unless told otherwise */

/* What is known before the first row. */
struct sample_about {
    struct shape shape;  /* of a row: the model's input_shape */
    double low, high;    /* the training data were bytes, which became values between these; both 0: they were not */
};

struct sample_options {
    struct hub *hub;
    const bson_t *model;     /* its document: of recipe gan */
    int64_t count;           /* rows */
    uint64_t seed;           /* of the noise */
    const char *device_name; /* "cpu" or "ref"; NULL: cpu */
    int threads;             /* 0: 1 */
    int64_t batch_size;      /* 0: SAMPLE_ROWS */
    /* Called once and then for each batch; NULL allowed. 0, -1 with *error, 1: stop here, which sample_run returns as 0. */
    int (*begin)(void *context, const struct sample_about *about, bson_error_t *error);
    int (*batch)(void *context, int64_t first, int64_t rows, const float *values, bson_error_t *error); /* (rows, size) */
    void *context;
    /* A dataset of the rows, where save_name is not NULL. */
    const char *save_name, *save_split; /* split NULL: "train" */
    const bson_t *save_fields;          /* description and tags; NULL */
};

/* 1, 0 told to stop, -1: HUB_ERROR_INVALID where the model generates nothing. *writer has every part: the caller finishes and
 * closes it. NULL: none wanted, or not 1. */
int sample_run(const struct sample_options *options, struct dataset_writer **writer, bson_error_t *error);

#endif
