/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TENSOR_FILE_H
#define TL_DISTRIBUTOR_TENSOR_FILE_H

/* A safetensors file into a dataset, for whatever a few lines of Python can make (safetensors.numpy.save_file): tensors
 * "x" [rows, …] and "y", or "SPLIT.x" and "SPLIT.y" for each of several splits (train, validation, test, any name).
 *
 * x     U8 (read as value / 255) or F32
 * y     I64, I32 or U8 [rows]: class numbers from 0; F32 [rows] or [rows, outputs]: values; none at all, in no split: the
 *       data have no labels (series, what an autoencoder learns) */

#include "hub/dataset.h"

struct tensor_file_options {
    const char *path;
    const char *name;         /* of the dataset */
    int64_t validation;       /* rows of train kept apart as "validation", where the file has no such split; the seed picks */
    double validation_share;  /* where validation is 0: this part of the rows, rounded, in [0, 1) */
    uint64_t seed;
    const bson_t *fields;     /* description, tags, class_names, any further keys; NULL */
    void (*progress)(const char *what, int64_t done, int64_t total, void *data); /* rows; NULL allowed */
    void *data;
};

/* A bad file is refused before anything is saved: HUB_ERROR_INVALID naming the tensor. 1 saved, 0 the newest version is the
 * same already (*dataset is it), -1. Memory: one part. */
int tensor_file_save_dataset(struct hub *hub, const struct tensor_file_options *options, bson_t *dataset,
                             bson_error_t *error);

#endif
