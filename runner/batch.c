/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int batch_init(struct batch *batch, const struct data *data, enum loss_kind loss, int64_t size, bson_error_t *error)
{
    memset(batch, 0, sizeof *batch);
    size_t rows = (size_t)size;
    batch->size = size;
    batch->x = calloc((size_t)data_batch_rows(data, size) * (size_t)data->features, sizeof *batch->x);
    batch->indices = calloc(rows, sizeof *batch->indices);
    if (data->classes)
        batch->labels = calloc(rows, sizeof *batch->labels);
    if (!loss_takes_classes(loss) && !data->chosen)
        batch->targets = calloc(rows * (data->classes ? 1 : (size_t)data->outputs), sizeof *batch->targets);
    if (batch->x && batch->indices && (batch->labels || !data->classes) && (batch->targets || data->chosen || loss_takes_classes(loss)))
        return 0;
    batch_destroy(batch);
    return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)size);
}

int batch_divide(struct batch *batch, const struct data *data, int input_count, const struct shape *shapes,
                 bson_error_t *error)
{
    const size_t rows = (size_t)data_batch_rows(data, batch->size);
    for (int i = 0; i < input_count && input_count > 1; i++) {
        batch->input_sizes[i] = shape_size(&shapes[i]);
        batch->inputs[i] = calloc(rows * (size_t)batch->input_sizes[i], sizeof(float));
        batch->input_count = i + 1;
        if (!batch->inputs[i])
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)batch->size);
    }
    return 0;
}

void batch_destroy(struct batch *batch)
{
    if (!batch)
        return;
    free(batch->x);
    free(batch->labels);
    free(batch->targets);
    free(batch->indices);
    for (int i = 0; i < batch->input_count; i++)
        free(batch->inputs[i]);
    memset(batch, 0, sizeof *batch);
}

/* The columns of x among the inputs. */
static void divide(const struct batch *batch, const struct data *data, struct net_batch *rows)
{
    int64_t column = 0;
    for (int i = 0; i < batch->input_count; i++) {
        const int64_t size = batch->input_sizes[i];
        for (int64_t r = 0; r < rows->rows; r++)
            memcpy(batch->inputs[i] + r * size, batch->x + r * data->features + column, (size_t)size * sizeof(float));
        rows->inputs[i] = batch->inputs[i];
        column += size;
    }
}

struct net_batch batch_gather(struct batch *batch, const struct data *data, const int64_t *order, int64_t first,
                              int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        batch->indices[i] = (uint32_t)(order ? order[i] : first + i);
    data_gather(data, batch->indices, count, batch->x, batch->labels, batch->labels ? NULL : batch->targets);
    for (int64_t i = 0; batch->labels && batch->targets && i < count; i++)
        batch->targets[i] = (float)batch->labels[i];
    struct net_batch rows = {.rows = data_batch_rows(data, count), .inputs = {batch->x}, .labels = {batch->labels},
                             .targets = {batch->targets}};
    divide(batch, data, &rows);
    return rows;
}

void batch_score(const struct net_metrics *sums, bool has_accuracy, struct batch_scores *scores)
{
    memset(scores, 0, sizeof *scores);
    scores->known = sums->rows > 0;
    scores->has_accuracy = has_accuracy;
    scores->loss = sums->rows > 0 ? sums->loss_sum / (double)sums->rows : 0;
    scores->accuracy = sums->rows > 0 ? (double)sums->correct / (double)sums->rows : 0;
}

static void take_values(struct metrics *metrics, struct batch_scores *scores)
{
    for (int i = 0; i < METRIC_COUNT; i++)
        if (metrics_value(metrics, (enum metric)i, &scores->values[i]))
            scores->has |= METRIC_BIT(i);
}

int batch_evaluate(struct work *work, struct net *net, const struct data *data, struct batch *batch,
                   struct metrics *metrics, const char *split, struct batch_scores *scores, int64_t *measured,
                   enum work_stop *stop, bson_error_t *error)
{
    struct net_metrics sums = {0};
    struct kernel_error why = {0};
    const struct metrics_options *options = metrics_options(metrics);
    int64_t first;

    memset(scores, 0, sizeof *scores);
    metrics_clear(metrics);
    for (first = 0; first < data->rows; first += batch->size) {
        *stop = work_stopping(work);
        if (*stop != WORK_GO_ON && *stop != WORK_STOP)
            return 0;
        if (*stop == WORK_STOP && measured && first > 0)
            break;
        int64_t count = data->rows - first < batch->size ? data->rows - first : batch->size;
        struct net_batch rows = batch_gather(batch, data, NULL, first, count);
        if (net_evaluate(net, &rows, &sums, &why) ||
            metrics_add(metrics, net_output(net, 0), rows.labels[0], rows.targets[0], &why)) {
            scores->not_finite = why.code == KERNEL_ERROR_NONFINITE;
            return work_kernel_error(error, &why, split);
        }
    }
    if (measured)
        *measured = first < data->rows ? first : data->rows;
    batch_score(&sums, loss_has_accuracy(options->loss, options->columns), scores);
    take_values(metrics, scores);
    scores->not_finite = !isfinite(scores->loss);
    if (scores->not_finite)
        return hub_error(error, HUB_ERROR_INVALID, "the loss on the %s data is not finite", split);
    return 1;
}

bool batch_metric(const struct batch_scores *scores, enum metric metric, double *value)
{
    bool own = metric == METRIC_LOSS || (metric == METRIC_ACCURACY && scores->has_accuracy);
    if (own)
        *value = metric == METRIC_LOSS ? scores->loss : scores->accuracy;
    else
        *value = scores->values[metric];
    return scores->known && (own || (scores->has & METRIC_BIT(metric)));
}

bool batch_append_scores(bson_t *document, const char *prefix, const struct batch_scores *scores)
{
    char name[128];
    double value;
    for (int i = 0; i < METRIC_COUNT; i++) {
        if (!batch_metric(scores, (enum metric)i, &value))
            continue;
        snprintf(name, sizeof name, "%s%s%s", prefix, scores->critic && i == METRIC_ACCURACY ? "critic_" : "",
                 metric_name((enum metric)i));
        if (!BSON_APPEND_DOUBLE(document, name, value))
            return false;
    }
    return true;
}
