/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RECIPE_H
#define TL_RUNNER_RECIPE_H

/* What a task (or a model, for evaluation) says is to be computed, read and checked: queries resolved to documents, the
 * architecture parsed, hyper-parameters within their ranges. Everything is refused here, naming the field, before
 * anything of its size is allocated. */

#include "hub/hub.h"
#include "kernels/architecture.h"
#include "kernels/optimizer.h"
#include "runner/data.h"

#define RECIPE_DIGEST_SIZE 65

struct recipe {
    bson_t dataset;           /* the manifest that the query found */
    bson_t dataset_query;     /* {query: as the task has it}: it can be stored */
    struct shape input;       /* of one row */
    int64_t outputs;          /* classes, or values a row; 0: not known before the data are loaded */
    bool classes;             /* labels are class numbers */
    struct architecture *architecture;
    char *architecture_json;  /* canonical */
    char architecture_digest[RECIPE_DIGEST_SIZE];
    /* hyper_parameters, with the defaults of training */
    int64_t epochs;           /* 10 */
    int64_t batch_size;       /* 32 */
    int64_t seed;             /* 0: initial weights, dropout masks and the order of rows */
    const char *loss;         /* cross_entropy for classes, mse for values */
    struct optimizer_options optimizer; /* adam */
    /* of the task */
    int64_t threads;          /* 0: the worker's */
    int64_t log_every;        /* batches; 0: by epoch */
    int64_t checkpoint_every;  /* epochs; 0: not by epochs */
    double checkpoint_seconds; /* since the last checkpoint; 0: not by time. 5 minutes without either option */
    bool keep_best;           /* keep: "best" by the validation rows; "last" is the default */
    bool best_by_loss;        /* the task's metric is a loss; otherwise accuracy says what is best, where there is one */
};

void recipe_init(struct recipe *recipe);
void recipe_destroy(struct recipe *recipe);

/* The parts. source is the task or model that the fields stand in; 0 or -1. */
int recipe_read_hyper_parameters(struct recipe *recipe, const bson_t *source, bson_error_t *error);
/* The newest version that source's dataset query finds; with a checkpoint, the one that it was written with. */
int recipe_read_dataset(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error);
/* source's architecture: short form, graph, or the name of a saved one. */
int recipe_read_architecture(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error);
/* After the dataset: the default loss; and labels against the loss. */
int recipe_read_loss(struct recipe *recipe, const bson_t *source, bson_error_t *error);
/* Everything of a task of kind train. */
int recipe_read(struct recipe *recipe, struct hub *hub, const bson_t *task, bson_error_t *error);

#endif
