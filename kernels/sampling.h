/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_SAMPLING_H
#define TL_KERNELS_SAMPLING_H

/* What one sample of a net is, made from the rows of a dataset: the recipe of a task.
 *
 * supervised    a row, and its label
 * autoencoder   a row, and the same row as the target
 * forecast      `window` rows that follow each other, as (window, one row's values), and what comes `horizon` rows after
 *               the last of them: its label, or, of data without labels, its values. Each split is one series
 * recommender   a row of ids, the item's last; with the loss bpr beside it the same row with an item drawn at random that
 *               the user has not chosen (not in the training rows, nor in the split's own): Rendle et al. 2009
 * gan           a row that is real, beside one that the net makes of noise (kernels/layer_mix.c): Goodfellow et al. 2014 */

#include "kernels/architecture.h"

#include <stdbool.h>

enum sampling_kind { SAMPLING_SUPERVISED, SAMPLING_AUTOENCODER, SAMPLING_FORECAST, SAMPLING_RECOMMENDER, SAMPLING_GAN };
#define SAMPLING_COUNT 5

#define SAMPLING_WINDOW 100000  /* rows of a window, and of a horizon: at most */

struct sampling {
    enum sampling_kind kind;
    int64_t window;  /* 1 … SAMPLING_WINDOW; of a forecast */
    int64_t horizon; /* 1 … SAMPLING_WINDOW; 1: the next row */
};

/* What a dataset says of a row. */
struct sampling_row {
    struct shape shape;
    bool labelled;
    bool classes;    /* labels are class numbers */
    int64_t outputs; /* classes, or values a row; 0: not known */
};

/* One of the names above; -1 and KERNEL_ERROR_INVALID otherwise. */
int sampling_find(const char *name, enum sampling_kind *kind, struct kernel_error *error);
const char *sampling_name(enum sampling_kind kind);

/* What a net is given and asked for: *row becomes the sample's. loss_of_pairs: the loss takes no labels (bpr). -1: the data
 * do not suit the recipe (KERNEL_ERROR_INVALID). */
int sampling_shape(const struct sampling *sampling, bool loss_of_pairs, struct sampling_row *row,
                   struct kernel_error *error);

/* The shapes of an architecture's inputs for samples of this shape, into shapes (ARCHITECTURE_INPUTS). One input takes all
 * values of a sample; of several each says its own shape, and they take the values in their order.
 *
 * A gan is one graph:
 *   inputs   "noise" (any shape), "real" (a row of the data)
 *   layers   the generator's, then one of type mix with the generator's output and "real", then the critic's
 *   outputs  the generator's output, and the critic's: one value, above 0 where it takes a row for real
 *
 * -1: the graph does not suit the recipe, saying what is amiss (KERNEL_ERROR_INVALID). */
int sampling_inputs(const struct sampling *sampling, const struct architecture *architecture, const struct shape *sample,
                    struct shape *shapes, struct kernel_error *error);
/* The index of the only layer of type mix, or -1. */
int sampling_mix(const struct architecture *architecture);

#endif
