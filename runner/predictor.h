/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_PREDICTOR_H
#define TL_RUNNER_PREDICTOR_H

/* A model's net, ready to predict: architecture and weights as the hub has them, rows of data in, probabilities or
 * values out. */

#include "kernels/net.h"
#include "runner/data.h"

/* One row's shape, and what the labels beside it are, as far as it is known. */
struct predictor_data {
    struct shape shape;
    bool labelled;    /* the two below are of the data's labels */
    int32_t classes;  /* 0: labels are values */
    int32_t outputs;  /* of values */
};

struct predictor;

/* training: the manifest that the model was trained on, NULL where it is gone: it tells what a forecast is of.
 * model: its document, borrowed until the close; device: borrowed likewise. data says what it will be asked about:
 * HUB_ERROR_INVALID, with both shapes, where the model takes other rows. NULL on error. */
struct predictor *predictor_open(struct hub *hub, const bson_t *model, const bson_t *training,
                                 const struct predictor_data *data, int64_t batch_size, const struct device *device, bson_error_t *error);
void predictor_close(struct predictor *predictor);

int64_t predictor_batch_size(const struct predictor *predictor);
bool predictor_classifies(const struct predictor *predictor); /* outputs are probabilities of classes */
int64_t predictor_outputs(const struct predictor *predictor); /* classes, or values a row */
/* Whether the data's labels can be held against the predictions. */
bool predictor_compares(const struct predictor *predictor);

/* What the model's samples are made of, and whether a forecast is of the rows themselves (and not of their labels). */
const struct sampling *predictor_sampling(const struct predictor *predictor);
bool predictor_forecasts_rows(const struct predictor *predictor);

/* Rows (of a forecast: samples) first … first + count - 1 of data (count at most the batch size) → out (count, outputs), without padding. A value that is
 * not finite is HUB_ERROR_INVALID naming the row. */
int predictor_run(struct predictor *predictor, const struct data *data, int64_t first, int64_t count, float *out,
                  bson_error_t *error);
/* Shape, and what labels are, of a manifest. 0 or -1. */
int predictor_describe(const bson_t *dataset, struct predictor_data *data, bson_error_t *error);

#endif
