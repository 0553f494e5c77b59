/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_IDX_H
#define TL_DISTRIBUTOR_IDX_H

/* IDX files (the format of MNIST and its kin; magic 0x00000T0R, big-endian sizes), plain or .gz, into a dataset. */

#include "hub/dataset.h"

struct idx_options {
    const char *directory;    /* holds {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz] (or test-… for t10k-…) */
    const char *name;         /* of the dataset */
    int64_t validation;       /* rows of the training files kept apart as "validation": the seed picks them */
    uint64_t seed;
    const bson_t *fields;     /* description, tags, any further keys; NULL */
    void (*progress)(const char *what, int64_t done, int64_t total, void *data); /* rows; NULL allowed */
    void *data;
    double validation_share;  /* where validation is 0: this part of the training rows, rounded, in [0, 1) */
};

/* Bad files are refused before anything is saved: HUB_ERROR_INVALID with file, offset and reason (a truncated body,
 * counts of images and labels that differ, a label file where images should be). As dataset_writer_finish: 1 saved, 0 or
 * DATASET_LABELLED the newest version has the same data (*dataset is it), -1. Memory: one part. */
int idx_save_dataset(struct hub *hub, const struct idx_options *options, bson_t *dataset, bson_error_t *error);

#endif
