/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_PREDICT_H
#define TL_RUNNER_PREDICT_H

/* One pass over rows with a model: predictions batch by batch, and, if wanted, a dataset of the rows with the predictions
 * as labels. Memory: the net, one part of the data and one of the dataset that is made, however many rows there are.
 * For `tl_hub predict` and for tasks of kind infer. */

#include "hub/dataset.h"
#include "hub/hub.h"

#define PREDICT_ROWS 256 /* of a batch, unless told otherwise */
#define PREDICT_RANK 6
#define PREDICT_ENOUGH 2

/* Rows that come from somewhere else than the hub: of bytes, or, with read_values, of floats. */
struct predict_bytes {
    const char *name;            /* for tags and messages */
    int rank;
    int64_t dims[PREDICT_RANK];  /* of one row */
    int64_t rows;
    int32_t classes;             /* of the labels; 0: there are none */
    double scale, offset;        /* a byte means value × scale + offset */
    /* The next `count` rows, and, where there are labels, theirs. 0 or -1. */
    int (*read)(void *context, uint8_t *x, int32_t *labels, int64_t count, bson_error_t *error);
    void *context;
    int32_t outputs;             /* values a label has, of read_values; 0: none */
    /* The next `count` rows as floats (count, features), with their labels or targets (count, outputs). 0 or -1. */
    int (*read_values)(void *context, float *x, int32_t *labels, float *targets, int64_t count, bson_error_t *error);
};

/* What is known before the first row. */
struct predict_about {
    int64_t rows;
    int64_t outputs;        /* classes, or values a row */
    bool classes;           /* predictions are probabilities of classes */
    bool compared;          /* the rows have labels that predictions can be held against */
    const bson_t *names;    /* of classes, an array; NULL: not known */
};

struct predict_batch {
    int64_t first, rows;    /* first counts from 0 over all rows; of a forecast it is the row that it is for */
    const float *out;       /* (rows, outputs) */
    const int32_t *labels;  /* (rows), or NULL, as targets: after a series' last row they are not known */
    const float *targets;   /* (rows, outputs), or NULL */
};

struct device;

struct predict_options {
    struct hub *hub;
    const bson_t *model;            /* its document */
    const bson_t *dataset;          /* rows of this manifest's split, or … */
    const char *split;
    const struct predict_bytes *bytes; /* … these */
    const struct device *device;    /* NULL: one is opened, by name ("cpu" or "ref"; NULL: cpu) */
    const char *device_name;
    int threads;                    /* 0: 1 */
    int64_t batch_size;             /* 0: PREDICT_ROWS */
    int64_t steps;                  /* of a forecast (runner/forecast.h): after the last row; 0: as far as its horizon */
    /* Called once and then for each batch; NULL allowed. 0, -1 with *error, 1: stop here, which predict_run returns as 0; from
     * batch also PREDICT_ENOUGH: this batch is the last, and what was made of the rows so far is whole. */
    int (*begin)(void *context, const struct predict_about *about, bson_error_t *error);
    int (*batch)(void *context, const struct predict_batch *batch, bson_error_t *error);
    void *context;
    /* A dataset of the predictions, where save_name is not NULL. */
    const char *save_name, *save_split; /* split NULL: as of the rows, "train" for bytes */
    const bson_t *save_fields;          /* description, tags, any further keys; NULL */
    struct dataset_writer *(*save_open)(void *context, const bson_t *fields, bson_error_t *error); /* with context */
    bool (*save_part)(void *context); /* before a part is uploaded: false stops here; NULL: always true */
};

struct predict_summary {
    struct predict_about about;     /* names: not after predict_run */
    int64_t rows, compared, correct;
    double squared;                 /* sum over the compared rows of the mean over values of (prediction - target)² */
    struct dataset_writer *writer;  /* with every part: the caller finishes and closes it. NULL: none, or an error */
};

/* 1, 0 told to stop, -1. HUB_ERROR_INVALID with both shapes where the model takes other rows. */
int predict_run(const struct predict_options *options, struct predict_summary *summary, bson_error_t *error);
/* The class that a row's probabilities name: the most probable, the first of equals. */
int64_t predict_class(const float *probabilities, int64_t classes);
/* {accuracy} of classes or {mse} of values, where labels were compared, and {rows}; appended. */
bool predict_append_scores(const struct predict_summary *summary, bson_t *document);
/* The manifest that the model was trained on, by its id, else by name and version: 1, 0 it is not there, -1. *dataset is
 * initialised always. */
int predict_find_training(struct hub *hub, const bson_t *model, bson_t *dataset, bson_error_t *error);

#endif
