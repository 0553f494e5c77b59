/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/fit.h"
#include "hub/task_class.h"
#include "kernels/footprint.h"

#include <string.h>

enum { PASS_BYTES = 3 * 32 << 20 }; /* a part that is read and one that is written, and what is in between */

static int fit(const struct worker *worker, const struct recipe *recipe, const struct footprint_options *options,
               bson_error_t *error)
{
    struct kernel_error why = {0};
    struct shape shapes[ARCHITECTURE_INPUTS] = {0};
    struct architecture_size size;
    struct footprint footprint;
    bson_error_t ignored;
    /* What needs no label is claimed by everyone. */
    int64_t limit = worker->memory > TASK_CLASS_MEMORY_FREE ? worker->memory : TASK_CLASS_MEMORY_FREE;
    if (worker->memory <= 0 || recipe_input_shapes(recipe, shapes, &ignored) ||
        architecture_check(recipe->architecture, shapes, 0, &size, &why))
        return 0; /* what is wrong with the architecture is said by who builds it */
    footprint_of(&size, options, &footprint);
    if (footprint.memory <= limit)
        return 0;
    return hub_error(error, HUB_ERROR_INVALID,
                     "the task does not fit: it needs about %.1f GiB (%.1f GiB of them data), this runner gives a task %.1f GiB: "
                     "a smaller batch_size, or a runner with more (run-task --memory)",
                     (double)footprint.memory / (1 << 30), (double)options->data_bytes / (1 << 30), (double)limit / (1 << 30));
}

int fit_training(const struct worker *worker, const struct recipe *recipe, bson_error_t *error)
{
    static const char *const splits[] = {"train", "validation", "test"};
    struct footprint_options options = {.batch_size = recipe->batch_size *
                                                      (recipe->pairs || recipe->sampling.kind == SAMPLING_GAN ? 2 : 1),
                                        .trains = true,
                                        .states = (int)optimizer_options_states(&recipe->optimizer),
                                        .keeps_best = recipe->keep_best};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        int64_t rows, bytes;
        dataset_measure(&recipe->dataset, splits[i], &rows, &bytes);
        /* Pages of a file: what is used together must be there at once, the rest comes and goes. */
        options.data_bytes += recipe->shuffle_window > 0 && rows > 2 * recipe->shuffle_window
                                  ? bytes / rows * 2 * recipe->shuffle_window
                                  : bytes;
    }
    return fit(worker, recipe, &options, error);
}

int fit_pass(const struct worker *worker, const struct recipe *recipe, int64_t batch_size, const char *split, bool held,
             bson_error_t *error)
{
    int64_t rows, bytes;
    dataset_measure(&recipe->dataset, split, &rows, &bytes);
    struct footprint_options options = {.batch_size = batch_size,
                                        .data_bytes = held || bytes < PASS_BYTES ? bytes : PASS_BYTES};
    return fit(worker, recipe, &options, error);
}
