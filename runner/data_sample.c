/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/data.h"

#include "kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ID_LIMIT (1 << 24)      /* floats hold integers up to here */
#define ITEM_STREAM (UINT64_C(3) << 61) /* of the seed's random numbers: the items that were not chosen */
#define TRIES 32                /* for an item that was not chosen; then the next that was not */

struct chosen {
    int64_t items;   /* ids are below */
    size_t count;
    uint64_t *pairs; /* hash of the user, and the item: sorted */
};

/* ---- rows ---- */

static void read_row(const struct data *data, int64_t row, float *out)
{
    const int64_t features = data->stored_features;
    if (data->x_u8) {
        const uint8_t *from = data->x_u8 + row * features;
        for (int64_t j = 0; j < features; j++)
            out[j] = (float)from[j] * data->scale + data->offset;
    } else {
        memcpy(out, data->x_f32 + row * features, (size_t)features * sizeof *out);
    }
}

static float item_of(const struct data *data, int64_t row)
{
    const int64_t last = row * data->stored_features + data->stored_features - 1;
    return data->x_u8 ? (float)data->x_u8[last] * data->scale + data->offset : data->x_f32[last];
}

/* ---- what users have chosen ---- */

/* FNV-1a over the row but its last value (40 bits), above the item's 24. Two users with one hash would only share what is
 * not drawn for them. */
static uint64_t pair_of(const float *row, int64_t features, int64_t item)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (int64_t j = 0; j < features - 1; j++) {
        uint32_t bits;
        memcpy(&bits, &row[j], sizeof bits);
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 0xff)) * UINT64_C(1099511628211);
    }
    return hash << 24 | (uint64_t)item;
}

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

int chosen_add(struct chosen **chosen, const struct data *split, const char *name, bson_error_t *error)
{
    const int64_t features = split->stored_features;
    struct chosen *all = *chosen ? *chosen : calloc(1, sizeof *all);
    float *row = malloc((size_t)features * sizeof *row);
    uint64_t *pairs = all ? realloc(all->pairs, (all->count + (size_t)split->stored_rows + 1) * sizeof *pairs) : NULL;
    int result = 0;
    *chosen = all;
    if (pairs)
        all->pairs = pairs;
    if (!row || !pairs)
        result = hub_error(error, HUB_ERROR_MEMORY, "no memory for what users have chosen");
    for (int64_t i = 0; i < split->stored_rows && result == 0; i++) {
        float item = item_of(split, i);
        if (!(item >= 0 && item < ID_LIMIT) || item != floorf(item)) {
            result = hub_error(error, HUB_ERROR_INVALID, "split %s: row %lld: item %g: ids are integers in [0, %d)", name,
                               (long long)i, (double)item, ID_LIMIT);
            break;
        }
        read_row(split, i, row);
        all->pairs[all->count++] = pair_of(row, features, (int64_t)item);
        all->items = (int64_t)item >= all->items ? (int64_t)item + 1 : all->items;
    }
    if (result == 0)
        qsort(all->pairs, all->count, sizeof *all->pairs, compare);
    free(row);
    return result;
}

void chosen_free(struct chosen *chosen)
{
    if (chosen)
        free(chosen->pairs);
    free(chosen);
}

static bool has_chosen(const struct data *data, const float *row, int64_t item)
{
    uint64_t pair = pair_of(row, data->stored_features, item);
    return bsearch(&pair, data->chosen->pairs, data->chosen->count, sizeof pair, compare) != NULL;
}

/* Another item for the row: one that the user has not chosen, where there is one. */
static float draw_item(const struct data *data, const float *row, uint64_t sample)
{
    const int64_t items = data->chosen->items;
    uint32_t words[4];
    int64_t item = 0;
    for (int i = 0; i < TRIES; i++) {
        if (i % 4 == 0)
            random_block(data->seed, ITEM_STREAM | data->draw, sample * (TRIES / 4) + (uint64_t)i / 4, words);
        item = (int64_t)((uint64_t)words[i % 4] * (uint64_t)items >> 32);
        if (!has_chosen(data, row, item))
            return (float)item;
    }
    for (int64_t i = 0; i < items && has_chosen(data, row, item); i++)
        item = (item + 1) % items;
    return (float)item;
}

/* ---- samples ---- */

int data_sample(struct data *data, const struct sampling *sampling, const struct chosen *chosen, bson_error_t *error)
{
    data->sampling = *sampling;
    data->chosen = chosen;
    switch (sampling->kind) {
    case SAMPLING_SUPERVISED:
    case SAMPLING_RECOMMENDER:
    case SAMPLING_GAN: break;
    case SAMPLING_AUTOENCODER:
        data->classes = 0;
        data->outputs = (int32_t)data->features;
        break;
    case SAMPLING_FORECAST:
        if (data->stored_rows < sampling->window + sampling->horizon)
            return hub_error(error, HUB_ERROR_INVALID, "window: %lld rows and %lld to the target, but a split has %lld rows",
                             (long long)sampling->window, (long long)sampling->horizon, (long long)data->stored_rows);
        data->rows = data->stored_rows - sampling->window - sampling->horizon + 1;
        data->features = sampling->window * data->stored_features;
        if (!data->y_class && !data->y_value)
            data->outputs = (int32_t)data->stored_features;
        break;
    }
    if (chosen) {
        data->classes = 0;
        data->outputs = 0;
    }
    return 0;
}

int64_t data_batch_rows(const struct data *data, int64_t count)
{
    return data->chosen ? 2 * count : count;
}

static void gather_forecast(const struct data *data, int64_t first, float *x, int32_t *y_class, float *y_value)
{
    const int64_t width = data->stored_features, target = first + data->sampling.window + data->sampling.horizon - 1;
    for (int64_t i = 0; i < data->sampling.window; i++)
        read_row(data, first + i, x + i * width);
    if (y_class && data->y_class)
        *y_class = data->y_class[target];
    if (y_value && data->y_value)
        memcpy(y_value, data->y_value + target * data->outputs, (size_t)data->outputs * sizeof *y_value);
    else if (y_value)
        read_row(data, target, y_value);
}

static void gather_row(const struct data *data, int64_t row, float *x, int32_t *y_class, float *y_value)
{
    read_row(data, row, x);
    if (y_value && data->sampling.kind == SAMPLING_AUTOENCODER)
        memcpy(y_value, x, (size_t)data->features * sizeof *x);
    else if (y_value && data->y_value)
        memcpy(y_value, data->y_value + row * data->outputs, (size_t)data->outputs * sizeof *y_value);
    if (y_class && data->y_class)
        *y_class = data->y_class[row];
}

void data_gather(const struct data *data, const uint32_t *indices, int64_t count, float *x, int32_t *y_class, float *y_value)
{
    const int64_t features = data->features;
    for (int64_t i = 0; i < count; i++) {
        int32_t *label = y_class ? y_class + i : NULL;
        float *target = y_value ? y_value + i * data->outputs : NULL;
        if (data->sampling.kind == SAMPLING_FORECAST)
            gather_forecast(data, indices[i], x + i * features, label, target);
        else
            gather_row(data, indices[i], x + i * features, label, target);
        if (data->chosen) {
            float *other = x + (count + i) * features;
            memcpy(other, x + i * features, (size_t)features * sizeof *x);
            other[features - 1] = draw_item(data, other, indices[i]);
        }
    }
}
