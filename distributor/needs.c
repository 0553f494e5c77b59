/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/needs.h"

#include "hub/dataset.h"
#include "kernels/footprint.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"

#include <string.h>

#define PASS_ROWS  256           /* of a batch, where a task that trains nothing names no batch_size */
#define PASS_BYTES (96ll << 20)  /* of a split that is read part by part, and written again */

static bool find(const bson_t *document, const char *path, bson_iter_t *value)
{
    bson_iter_t at;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, value);
}

static double number(const bson_t *document, const char *path, double standard)
{
    bson_iter_t value;
    return find(document, path, &value) && BSON_ITER_HOLDS_NUMBER(&value) ? bson_iter_as_double(&value) : standard;
}

static const char *text(const bson_t *document, const char *path, const char *standard)
{
    bson_iter_t value;
    return find(document, path, &value) && BSON_ITER_HOLDS_UTF8(&value) ? bson_iter_utf8(&value, NULL) : standard;
}

/* Rows that pass through the net for one of the data: pairs are two, of a gan's twice as many half are generated. */
static int64_t rows_of_one(const bson_t *source)
{
    return !strcmp(text(source, "hyper_parameters.recipe", ""), sampling_name(SAMPLING_GAN)) ||
                   !strcmp(text(source, "hyper_parameters.loss", ""), loss_name(LOSS_BPR))
               ? 2
               : 1;
}

static void training(const bson_t *dataset, const bson_t *task, struct footprint_options *options)
{
    const bool gan = !strcmp(text(task, "hyper_parameters.recipe", ""), sampling_name(SAMPLING_GAN));
    const int64_t each = rows_of_one(task);
    static const char *const splits[] = {"train", "validation", "test"};
    struct optimizer_options optimizer;
    struct kernel_error ignored = {0};
    int64_t epochs = (int64_t)number(task, "hyper_parameters.epochs", 10);
    const double given = number(task, "hyper_parameters.shuffle_window", 0);
    const int64_t window = given > 0 && given <= UINT32_MAX ? (int64_t)given : 0;
    options->trains = true;
    options->batch_size = each * (int64_t)number(task, "hyper_parameters.batch_size", 32);
    options->keeps_best = !strcmp(text(task, "keep", "last"), "best");
    options->states = 2;
    if (!optimizer_options_init(&optimizer, text(task, "hyper_parameters.optimizer", "adam"), &ignored)) {
        optimizer.momentum = number(task, "hyper_parameters.momentum", 0);
        options->states = (int)optimizer_options_states(&optimizer);
    }
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        int64_t rows, bytes;
        dataset_measure(dataset, splits[i], &rows, &bytes);
        if (window > 0 && rows > 2 * window)
            bytes = bytes / rows * 2 * window; /* as the runner counts it: pages of a file */
        rows = rows < INT64_C(1) << 32 ? rows : INT64_C(1) << 32;
        options->data_bytes += bytes;
        rows *= gan && i == 0 ? 2 * each : gan ? 0 : each; /* a gan's step passes twice, and nothing is measured */
        options->rows += i == 0 ? rows * epochs : 0;
        options->forward_rows += i == 1 ? rows * epochs : i == 2 ? rows : 0;
    }
}

/* A part at a time for infer, but for a forecast's series; the others hold their split. */
static void pass(const char *kind, const bson_t *dataset, const bson_t *task, const bson_t *model,
                 struct footprint_options *options)
{
    const bool series = !strcmp(text(model, "hyper_parameters.recipe", ""), sampling_name(SAMPLING_FORECAST));
    const int64_t each = strcmp(kind, "infer") ? rows_of_one(model) : 1; /* infer scores what there is, and draws nothing */
    int64_t rows, bytes;
    dataset_measure(dataset, text(task, "split", !strcmp(kind, "validate") ? "validation" : "test"), &rows, &bytes);
    options->batch_size = each * (int64_t)number(task, "hyper_parameters.batch_size", PASS_ROWS);
    options->data_bytes = strcmp(kind, "infer") || series || bytes < PASS_BYTES ? bytes : PASS_BYTES;
    options->forward_rows = each * rows;
}

int needs_append(const char *kind, const bson_t *dataset, const bson_t *model, const struct architecture_size *size,
                 bson_t *task, bson_error_t *error)
{
    struct footprint_options options = {.batch_size = 1};
    struct footprint footprint;
    bson_t needs;
    if (bson_has_field(task, "needs"))
        return 0;
    if (!strcmp(kind, "train"))
        training(dataset, task, &options);
    else
        pass(kind, dataset, task, model, &options);
    footprint_of(size, &options, &footprint);
    bool done = BSON_APPEND_DOCUMENT_BEGIN(task, "needs", &needs) && BSON_APPEND_INT64(&needs, "memory", footprint.memory) &&
                BSON_APPEND_DOUBLE(&needs, "flops", footprint.flops) && bson_append_document_end(task, &needs);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
}

bool needs_measure_model(const bson_t *model, const struct sampling *sampling, const struct shape *sample,
                         struct architecture_size *size)
{
    struct shape shapes[ARCHITECTURE_INPUTS];
    struct kernel_error ignored = {0};
    bson_iter_t at;
    char *json = NULL;
    if (!bson_iter_init_find(&at, model, "architecture"))
        return false;
    if (BSON_ITER_HOLDS_DOCUMENT(&at)) {
        uint32_t length;
        const uint8_t *data;
        bson_t graph;
        bson_iter_document(&at, &length, &data);
        json = bson_init_static(&graph, data, length) ? bson_as_relaxed_extended_json(&graph, NULL) : NULL;
    } else if (BSON_ITER_HOLDS_UTF8(&at)) {
        json = bson_strdup(bson_iter_utf8(&at, NULL));
    }
    struct architecture *architecture = json ? architecture_parse(json, &ignored) : NULL;
    bool known = architecture && sample->rank > 0 && !sampling_inputs(sampling, architecture, sample, shapes, &ignored) &&
                 !architecture_check(architecture, shapes, 0, size, &ignored);
    architecture_free(architecture);
    bson_free(json);
    return known;
}
