/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv.h"

#include "distributor/csv_pass.h"
#include "distributor/part_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the manifest ---- */

static bool append_names(const struct preprocess_column *label, const char *key, bson_t *fields)
{
    bson_t names;
    char index[24];
    bool done = bson_append_array_begin(fields, key, -1, &names);
    for (size_t i = 0; done && i < category_set_count(label->categories); i++) {
        snprintf(index, sizeof index, "%zu", i);
        done = BSON_APPEND_UTF8(&names, index, category_set_name(label->categories, i));
    }
    return done && bson_append_array_end(fields, &names);
}

/* Samples of a class in a split; of folds split 0 is all but the fold, and 2 the fold itself. */
static int64_t class_count(const struct csv_pass *pass, int64_t fold, int64_t met, int split)
{
    const int64_t width = csv_pass_width(pass);
    int64_t sum = 0;
    if (!pass->options->folds)
        return pass->class_counts[met * width + split];
    for (int64_t i = 0; i < width; i++)
        if (split == SPLIT_TEST ? i == fold : split == SPLIT_TRAIN && i != fold)
            sum += pass->class_counts[met * width + i];
    return sum;
}

static int append_class_counts(const struct csv_pass *pass, int64_t fold, const struct part_writer_options *parts,
                               bson_t *fields, bson_error_t *error)
{
    const struct csv_plan_column *own = &pass->plan.columns[pass->label];
    const int64_t met = (int64_t)category_set_count(own->set);
    int64_t *sums = calloc((size_t)parts->classes, sizeof *sums);
    bson_t counts, list;
    char index[24];
    bool done = sums && BSON_APPEND_DOCUMENT_BEGIN(fields, "class_counts", &counts);
    for (int split = 0; done && split < SPLIT_COUNT; split++) {
        if (parts->totals[split] == 0)
            continue;
        memset(sums, 0, (size_t)parts->classes * sizeof *sums);
        for (int64_t i = 0; i < met && i < pass->class_capacity; i++)
            sums[own->order[i]] += class_count(pass, fold, i, split);
        done = bson_append_array_begin(&counts, split_names[split], -1, &list);
        for (int64_t i = 0; done && i < parts->classes; i++) {
            snprintf(index, sizeof index, "%lld", (long long)i);
            done = BSON_APPEND_INT64(&list, index, sums[i]);
        }
        done = done && bson_append_array_end(&counts, &list);
    }
    done = done && bson_append_document_end(fields, &counts);
    free(sums);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
}

static int make_fields(const struct csv_pass *pass, int64_t fold, const struct part_writer_options *parts, const char *name,
                       bson_t *fields, bson_error_t *error)
{
    const struct csv_options *options = pass->options;
    if (part_writer_append_fields(parts, name, fields, error) || part_writer_append_own(parts, options->fields, fields, error))
        return -1;
    if (parts->classes) {
        const struct preprocess_column *label = &pass->plan.preprocess->columns[pass->label];
        if (!bson_has_field(fields, "class_names") && !append_names(label, "class_names", fields))
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's fields");
        if (append_class_counts(pass, fold, parts, fields, error))
            return -1;
    }
    if (options->folds) {
        BSON_APPEND_INT64(fields, "fold", fold + 1);
        BSON_APPEND_INT64(fields, "folds", options->folds);
    }
    return preprocess_append(pass->plan.preprocess, fields, error);
}

/* ---- the second pass ---- */

/* Rows as they were encoded, as far back as a window and its horizon reach. */
struct history {
    float *rows;     /* (length, width) */
    int64_t length, width, count;
};

static float *history_next(struct history *history)
{
    return history->rows + history->count++ % history->length * history->width;
}

/* The window whose label stands in the row that came last, into x. */
static void copy_window(const struct history *history, int64_t window, int64_t horizon, float *x)
{
    const int64_t first = history->count - horizon - window;
    for (int64_t i = 0; i < window; i++)
        memcpy(x + i * history->width, history->rows + (first + i) % history->length * history->width,
               (size_t)history->width * sizeof *x);
}

static void put_labels(const struct csv_pass *pass, const struct part_writer_options *parts, void *y)
{
    const struct preprocess *preprocess = pass->plan.preprocess;
    uint8_t *out = y;
    if (parts->classes) {
        const int64_t class = pass->plan.columns[pass->label].order[pass->class];
        memcpy(out, &class, sizeof class); /* little-endian, as safetensors are */
        return;
    }
    for (int64_t i = 0; parts->outputs && i < preprocess->count; i++)
        if (preprocess->columns[i].role == PREPROCESS_LABEL) {
            const float value = (float)pass->values.values[i];
            memcpy(out, &value, sizeof value);
            out += sizeof value;
        }
}

/* Floats cannot hold everything that doubles can. */
static int check_row(const struct csv_pass *pass, const float *x, int64_t count, bson_error_t *error)
{
    const struct preprocess *preprocess = pass->plan.preprocess;
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] * 0; /* NaN as soon as one is not finite, without a test for each */
    if (sum == 0)
        return 0;
    for (int64_t i = 0; i < preprocess->count; i++)
        if (preprocess->columns[i].width > 0 && !isfinite(x[preprocess->columns[i].at]))
            return csv_scan_refuse(pass->scan, &pass->record, i, error, "column %s: the value is too large for a float",
                                   preprocess->columns[i].name);
    return 0;
}

static int send_row(struct csv_pass *pass, const struct part_writer_options *parts, struct history *history, int split,
                    struct part_writer *writer, bson_error_t *error)
{
    const struct preprocess *preprocess = pass->plan.preprocess;
    void *x, *y;
    if (history->length > 0) {
        float *row = history_next(history);
        preprocess_encode(preprocess, pass->values.values, row);
        if (check_row(pass, row, preprocess->width, error))
            return -1;
        if (history->count < history->length)
            return 0;
    }
    if (part_writer_row(writer, split, &x, &y, error))
        return -1;
    if (history->length > 0) {
        copy_window(history, preprocess->window, preprocess->horizon, x);
    } else {
        preprocess_encode(preprocess, pass->values.values, x);
        if (check_row(pass, x, preprocess->width, error))
            return -1;
    }
    put_labels(pass, parts, y);
    return part_writer_end_row(writer, split, error);
}

static int send_all(struct csv_pass *pass, int64_t fold, const struct part_writer_options *parts, struct part_writer *writer,
                    bson_error_t *error)
{
    const struct preprocess *preprocess = pass->plan.preprocess;
    struct history history = {.length = preprocess->window > 0 ? preprocess->window + preprocess->horizon : 0,
                              .width = preprocess->width};
    int next = -1;
    if (history.length > 0) {
        history.rows = calloc((size_t)history.length, (size_t)history.width * sizeof *history.rows);
        if (!history.rows)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a window", pass->options->path);
    }
    csv_plan_apply(&pass->plan, &pass->values);
    if (csv_pass_begin(pass, "saving", error))
        goto out;
    while ((next = csv_pass_next(pass, error)) > 0) {
        const int split = !pass->options->folds ? pass->split : pass->split == fold ? SPLIT_TEST : SPLIT_TRAIN;
        if (send_row(pass, parts, &history, split, writer, error)) {
            next = -1;
            break;
        }
    }
    if (next == 0)
        next = part_writer_end(writer, error);
out:
    free(history.rows);
    return next;
}

static void describe_parts(const struct csv_pass *pass, int64_t fold, struct part_writer_options *parts)
{
    const struct preprocess *preprocess = pass->plan.preprocess;
    const bool window = preprocess->window > 0;
    *parts = (struct part_writer_options){.where = pass->options->path, .rank = window ? 2 : 1,
                                          .dims = {window ? preprocess->window : preprocess->width, preprocess->width},
                                          .classes = preprocess->classes,
                                          .outputs = preprocess->classes ? 0 : preprocess->labels};
    for (int i = 0; i < SPLIT_COUNT; i++) {
        parts->names[i] = split_names[i];
        parts->totals[i] = pass->options->folds ? 0 : pass->samples[i];
    }
    for (int64_t i = 0; i < pass->options->folds; i++)
        parts->totals[i == fold ? SPLIT_TEST : SPLIT_TRAIN] += pass->samples[i];
}

static int save_one(struct csv_pass *pass, struct hub *hub, int64_t fold, bson_t *dataset, bson_error_t *error)
{
    const struct csv_options *options = pass->options;
    struct part_writer_options parts;
    struct dataset_writer *writer = NULL;
    struct part_writer *rows = NULL;
    bson_t fields = BSON_INITIALIZER;
    char *name = NULL;
    int result = -1;
    if ((options->folds ? asprintf(&name, "%s-fold-%lld", options->name, (long long)fold + 1)
                        : asprintf(&name, "%s", options->name)) < 0) {
        name = NULL;
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for a name", options->path);
        goto out;
    }
    if (csv_pass_summarise(pass, fold, error))
        goto out;
    describe_parts(pass, fold, &parts);
    if (make_fields(pass, fold, &parts, name, &fields, error))
        goto out;
    writer = dataset_writer_open(hub, &fields, error);
    rows = writer ? part_writer_open(writer, &parts, error) : NULL;
    if (!rows || send_all(pass, fold, &parts, rows, error))
        goto out;
    bson_destroy(dataset);
    result = dataset_writer_finish(writer, dataset, error);
    if (result >= 0 && options->saved)
        options->saved(dataset, result, options->data);
out:
    part_writer_close(rows);
    dataset_writer_close(writer);
    bson_destroy(&fields);
    free(name);
    return result;
}

static int check_options(const struct csv_options *options, bson_error_t *error)
{
    if (!(options->test_share >= 0 && options->test_share < 1) ||
        !(options->validation_share >= 0 && options->validation_share < 1) || options->validation < 0)
        return hub_error(error, HUB_ERROR_INVALID, "split, validation: shares are in [0, 1)");
    if (options->folds < 0 || options->folds == 1 || options->folds > SPLIT_FOLDS)
        return hub_error(error, HUB_ERROR_INVALID, "folds: %lld; 2 to %d are taken", (long long)options->folds, SPLIT_FOLDS);
    if (options->folds && (options->time || options->validation || options->validation_share > 0))
        return hub_error(error, HUB_ERROR_INVALID, "folds: they go neither with a series nor with validation rows");
    if (options->stratify && options->time)
        return hub_error(error, HUB_ERROR_INVALID, "stratify: a series is split by time");
    if (options->window && (!options->time || options->label_count < 1))
        return hub_error(error, HUB_ERROR_INVALID, "window: it takes the column of the time, and a label");
    if (options->window < 0 || options->window > 100000 || (options->window && options->horizon < 1) ||
        options->horizon > 100000)
        return hub_error(error, HUB_ERROR_INVALID, "window, horizon: 1 to 100,000 rows");
    return 0;
}

int csv_save_dataset(struct hub *hub, const struct csv_options *options, bson_t *dataset, bson_error_t *error)
{
    struct csv_pass pass = {.options = options};
    int result = -1;
    bson_init(dataset);
    if (check_options(options, error))
        return -1;
    if (csv_pass_open(&pass, options, error) == 0 && csv_pass_learn(&pass, error) == 0)
        for (int64_t fold = 0; fold < pass.sets; fold++) {
            result = save_one(&pass, hub, fold, dataset, error);
            if (result < 0)
                break;
        }
    csv_pass_close(&pass);
    return result;
}
