/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/forecast.h"

#include <stdlib.h>
#include <string.h>

struct forecast {
    struct sampling sampling;
    bool rows;
    int64_t total, steps;
    struct data series;  /* with buffers of its own, below */
    uint8_t *x_u8;       /* (total, features): one of these two */
    float *x_f32;
    int32_t *y_class;    /* (total), or NULL */
    float *y_value;      /* (total, outputs), or NULL */
    float *ahead;        /* (window + horizon - 1 + steps, features): the last rows, then those that are forecast */
    float *targets;      /* (batch, outputs) */
};

struct forecast *forecast_new(const struct sampling *sampling, bool rows, int64_t total, int64_t steps, bson_error_t *error)
{
    struct forecast *forecast = NULL;
    const long long window = sampling->window, horizon = sampling->horizon;
    if (total < window + horizon - 1) {
        hub_error(error, HUB_ERROR_INVALID, "the series has %lld rows; a forecast takes a window of %lld, %lld before its row",
                  (long long)total, window, horizon);
        return NULL;
    }
    if (steps < 0 || steps > FORECAST_STEPS) {
        hub_error(error, HUB_ERROR_INVALID, "steps: %lld: 1 to %d", (long long)steps, FORECAST_STEPS);
        return NULL;
    }
    if (!rows && steps > horizon) {
        hub_error(error, HUB_ERROR_INVALID, "steps: %lld: the model forecasts labels, not rows to go on from: it reaches its "
                  "horizon, %lld", (long long)steps, horizon);
        return NULL;
    }
    forecast = calloc(1, sizeof *forecast);
    if (!forecast) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a forecast");
        return NULL;
    }
    forecast->sampling = *sampling;
    forecast->rows = rows;
    forecast->total = total;
    forecast->steps = steps > 0 ? steps : sampling->horizon;
    return forecast;
}

void forecast_free(struct forecast *forecast)
{
    if (!forecast)
        return;
    free(forecast->x_u8);
    free(forecast->x_f32);
    free(forecast->y_class);
    free(forecast->y_value);
    free(forecast->ahead);
    free(forecast->targets);
    free(forecast);
}

int64_t forecast_first(const struct forecast *forecast)
{
    return forecast->sampling.window + forecast->sampling.horizon - 1;
}

int64_t forecast_count(const struct forecast *forecast)
{
    return forecast->total - forecast_first(forecast) + forecast->steps;
}

/* ---- the series ---- */

/* Room for all rows, of the kinds that the first block has. */
static int make_room(struct forecast *forecast, const struct data *block, bson_error_t *error)
{
    struct data *series = &forecast->series;
    const size_t total = (size_t)forecast->total, features = (size_t)block->stored_features;
    *series = *block;
    series->stored_rows = 0;
    series->sampling = forecast->sampling;
    series->features = forecast->sampling.window * block->stored_features;
    forecast->x_u8 = block->x_u8 ? malloc(total * features) : NULL;
    forecast->x_f32 = block->x_u8 ? NULL : malloc(total * features * sizeof(float));
    forecast->y_class = block->y_class && !forecast->rows ? malloc(total * sizeof(int32_t)) : NULL;
    forecast->y_value = block->y_value && !forecast->rows ? malloc(total * (size_t)block->outputs * sizeof(float)) : NULL;
    series->x_u8 = forecast->x_u8;
    series->x_f32 = forecast->x_f32;
    series->y_class = forecast->y_class;
    series->y_value = forecast->y_value;
    if (forecast->rows) {
        series->classes = 0;
        series->outputs = (int32_t)block->stored_features;
    }
    if ((!series->x_u8 && !series->x_f32) || (block->y_class && !forecast->rows && !series->y_class) ||
        (block->y_value && !forecast->rows && !series->y_value))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for a series of %lld rows", (long long)forecast->total);
    return 0;
}

int forecast_add(struct forecast *forecast, const struct data *block, bson_error_t *error)
{
    struct data *series = &forecast->series;
    if (!series->stored_features && make_room(forecast, block, error))
        return -1;
    if (block->stored_rows > forecast->total - series->stored_rows || block->stored_features != series->stored_features ||
        !block->x_u8 != !series->x_u8 || (series->y_class && !block->y_class) || (series->y_value && !block->y_value))
        return hub_error(error, HUB_ERROR_CORRUPT, "the series' parts do not go together");
    const size_t at = (size_t)series->stored_rows, count = (size_t)block->stored_rows;
    const size_t features = (size_t)series->stored_features, outputs = (size_t)series->outputs;
    if (series->x_u8)
        memcpy(forecast->x_u8 + at * features, block->x_u8, count * features);
    else
        memcpy(forecast->x_f32 + at * features, block->x_f32, count * features * sizeof(float));
    if (series->y_class)
        memcpy(forecast->y_class + at, block->y_class, count * sizeof(int32_t));
    if (series->y_value)
        memcpy(forecast->y_value + at * outputs, block->y_value, count * outputs * sizeof(float));
    series->stored_rows += block->stored_rows;
    return 0;
}

/* ---- forecasts ---- */

/* From what the net reads to what is stored. */
static void to_stored(const struct forecast *forecast, float *values, int64_t count)
{
    const struct data *series = &forecast->series;
    for (int64_t i = 0; forecast->rows && series->x_u8 && series->scale != 0 && i < count; i++)
        values[i] = (values[i] - series->offset) / series->scale;
}

/* What the rows are in truth, in stored units. */
static void take_targets(struct forecast *forecast, struct forecast_batch *batch)
{
    const struct data *series = &forecast->series;
    const int64_t width = series->stored_features;
    batch->series = series;
    batch->labels = series->y_class ? series->y_class + batch->first : NULL;
    if (!forecast->rows) {
        batch->targets = series->y_value ? series->y_value + batch->first * series->outputs : NULL;
    } else if (series->x_u8) {
        for (int64_t i = 0; i < batch->count * width; i++)
            forecast->targets[i] = (float)series->x_u8[batch->first * width + i];
        batch->targets = forecast->targets;
    } else {
        batch->targets = series->x_f32 + batch->first * width;
    }
}

static int run_known(struct forecast *forecast, struct predictor *predictor, float *out,
                     int (*take)(void *context, const struct forecast_batch *batch, bson_error_t *error), void *context,
                     bson_error_t *error)
{
    const int64_t size = predictor_batch_size(predictor), count = forecast->total - forecast_first(forecast);
    int result = 0;
    for (int64_t i = 0; i < count && result == 0; i += size) {
        struct forecast_batch batch = {.first = forecast_first(forecast) + i, .count = count - i < size ? count - i : size,
                                       .out = out};
        if (predictor_run(predictor, &forecast->series, i, batch.count, out, error))
            return -1;
        to_stored(forecast, out, batch.count * predictor_outputs(predictor));
        take_targets(forecast, &batch);
        result = take(context, &batch, error);
    }
    return result;
}

/* One row after the other: what is forecast is part of the windows of later ones. */
static int run_ahead(struct forecast *forecast, struct predictor *predictor, float *out,
                     int (*take)(void *context, const struct forecast_batch *batch, bson_error_t *error), void *context,
                     bson_error_t *error)
{
    const int64_t width = forecast->series.stored_features, known = forecast_first(forecast);
    struct data ahead = forecast->series;
    struct data last = forecast->series; /* rows as they are, in the net's units */
    uint32_t index;
    int result = 0;
    forecast->ahead = calloc((size_t)(known + forecast->steps), (size_t)width * sizeof *forecast->ahead);
    if (!forecast->ahead)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for %lld steps", (long long)forecast->steps);
    last.sampling = (struct sampling){.kind = SAMPLING_SUPERVISED};
    last.features = width;
    for (int64_t i = 0; i < known; i++) {
        index = (uint32_t)(forecast->total - known + i);
        data_gather(&last, &index, 1, forecast->ahead + i * width, NULL, NULL);
    }
    ahead.x_u8 = NULL;
    ahead.x_f32 = forecast->ahead;
    ahead.stored_rows = known + forecast->steps;
    for (int64_t i = 0; i < forecast->steps && result == 0; i++) {
        struct forecast_batch batch = {.first = forecast->total + i, .count = 1, .out = out};
        if (predictor_run(predictor, &ahead, i, 1, out, error))
            return -1;
        if (forecast->rows)
            memcpy(forecast->ahead + (known + i) * width, out, (size_t)width * sizeof *out);
        to_stored(forecast, out, predictor_outputs(predictor));
        result = take(context, &batch, error);
    }
    return result;
}

int forecast_run(struct forecast *forecast, struct predictor *predictor, float *out,
                 int (*batch)(void *context, const struct forecast_batch *batch, bson_error_t *error), void *context,
                 bson_error_t *error)
{
    const int64_t size = predictor_batch_size(predictor), outputs = predictor_outputs(predictor);
    if (forecast->series.stored_rows != forecast->total || forecast->total > UINT32_MAX)
        return hub_error(error, HUB_ERROR_CORRUPT, "the series has %lld rows, not %lld", (long long)forecast->series.stored_rows,
                         (long long)forecast->total);
    free(forecast->targets);
    forecast->targets = calloc((size_t)size, (size_t)outputs * sizeof *forecast->targets);
    if (!forecast->targets)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)size);
    int result = run_known(forecast, predictor, out, batch, context, error);
    return result ? result : run_ahead(forecast, predictor, out, batch, context, error);
}
