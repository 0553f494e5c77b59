/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_FORECAST_H
#define TL_RUNNER_FORECAST_H

/* A forecast model over a series: a value for each row that has a window `horizon` rows before it, as in training, and then
 * for rows after the last. These come from the rows that there are as far as the horizon reaches, and beyond it from what was
 * forecast before. The whole series is in memory, in its stored type.
 *
 * What is forecast are the rows themselves, or their labels. Rows that are stored as bytes are given back in the units of
 * these bytes: (value - offset) / scale. */

#include "runner/data.h"
#include "runner/predictor.h"

#define FORECAST_STEPS 1000000 /* after the last row: at most */

struct forecast;

/* rows: rows are forecast, else labels. total: rows of the series; steps: after the last row (0: as many as the horizon).
 * NULL: too few rows for a window, or steps of labels beyond the horizon, whose rows nobody knows. */
struct forecast *forecast_new(const struct sampling *sampling, bool rows, int64_t total, int64_t steps, bson_error_t *error);
void forecast_free(struct forecast *forecast);

/* The number of the first row that has a forecast, and how many there are. */
int64_t forecast_first(const struct forecast *forecast);
int64_t forecast_count(const struct forecast *forecast);

/* The next rows of the series, copied. 0 or -1. */
int forecast_add(struct forecast *forecast, const struct data *block, bson_error_t *error);

/* One batch of forecasts: of the rows first … first + count - 1 of the series, (count, outputs), with what they are in truth
 * (labels, or targets in the units of the forecasts) and the series itself; all NULL after its last row. */
struct forecast_batch {
    int64_t first, count;
    const float *out;
    const int32_t *labels;
    const float *targets;
    const struct data *series;
};

/* After all rows: out is room for a batch of the predictor. batch: 0, else it ends there with what batch returned. */
int forecast_run(struct forecast *forecast, struct predictor *predictor, float *out,
                 int (*batch)(void *context, const struct forecast_batch *batch, bson_error_t *error), void *context,
                 bson_error_t *error);

#endif
