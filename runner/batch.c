/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int batch_init(struct batch *batch, const struct data *data, int64_t size, bson_error_t *error)
{
    memset(batch, 0, sizeof *batch);
    size_t rows = (size_t)size;
    batch->size = size;
    batch->x = calloc(rows * (size_t)data->features, sizeof *batch->x);
    batch->indices = calloc(rows, sizeof *batch->indices);
    if (data->classes)
        batch->labels = calloc(rows, sizeof *batch->labels);
    else
        batch->targets = calloc(rows * (size_t)data->outputs, sizeof *batch->targets);
    if (batch->x && batch->indices && (batch->labels || batch->targets))
        return 0;
    batch_destroy(batch);
    return hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %lld rows", (long long)size);
}

void batch_destroy(struct batch *batch)
{
    if (!batch)
        return;
    free(batch->x);
    free(batch->labels);
    free(batch->targets);
    free(batch->indices);
    memset(batch, 0, sizeof *batch);
}

struct net_batch batch_gather(struct batch *batch, const struct data *data, const int64_t *order, int64_t first,
                              int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        batch->indices[i] = (uint32_t)(order ? order[i] : first + i);
    data_gather(data, batch->indices, count, batch->x, batch->labels, batch->targets);
    return (struct net_batch){
        .rows = count, .inputs = {batch->x}, .labels = {batch->labels}, .targets = {batch->targets}};
}

void batch_score(const struct net_metrics *sums, bool classes, struct batch_scores *scores)
{
    scores->known = sums->rows > 0;
    scores->has_accuracy = classes;
    scores->loss = sums->rows > 0 ? sums->loss_sum / (double)sums->rows : 0;
    scores->accuracy = sums->rows > 0 ? (double)sums->correct / (double)sums->rows : 0;
}

int batch_evaluate(struct work *work, struct net *net, const struct data *data, struct batch *batch,
                   const char *split, struct batch_scores *scores, enum work_stop *stop, bson_error_t *error)
{
    struct net_metrics sums = {0};
    struct kernel_error why = {0};

    memset(scores, 0, sizeof *scores);
    for (int64_t first = 0; first < data->rows; first += batch->size) {
        *stop = work_stopping(work);
        if (*stop != WORK_GO_ON && *stop != WORK_STOP)
            return 0;
        int64_t count = data->rows - first < batch->size ? data->rows - first : batch->size;
        struct net_batch rows = batch_gather(batch, data, NULL, first, count);
        if (net_evaluate(net, &rows, &sums, &why))
            return work_kernel_error(error, &why, split);
    }
    batch_score(&sums, data->classes > 0, scores);
    if (!isfinite(scores->loss))
        return hub_error(error, HUB_ERROR_INVALID, "the loss on the %s data is not finite", split);
    return 1;
}

bool batch_append_scores(bson_t *document, const char *prefix, const struct batch_scores *scores)
{
    char name[64];
    if (!scores->known)
        return true;
    snprintf(name, sizeof name, "%sloss", prefix);
    if (!BSON_APPEND_DOUBLE(document, name, scores->loss))
        return false;
    snprintf(name, sizeof name, "%saccuracy", prefix);
    return !scores->has_accuracy || BSON_APPEND_DOUBLE(document, name, scores->accuracy);
}
