/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RECIPE_H
#define TL_RUNNER_RECIPE_H

/* What a task (or a model, for evaluation) says is to be computed, read and checked: queries resolved to documents, the
 * architecture parsed, hyper-parameters within their ranges. Everything is refused here, naming the field, before
 * anything of its size is allocated. */

#include "hub/hub.h"
#include "kernels/architecture.h"
#include "kernels/device.h"
#include "kernels/metrics.h"
#include "kernels/optimizer.h"
#include "kernels/schedule.h"
#include "runner/data.h"

#define RECIPE_DIGEST_SIZE 65

struct recipe {
    bson_t dataset;           /* the manifest that the query found */
    bson_t dataset_query;     /* {query: as the task has it}: it can be stored */
    struct sampling sampling; /* hyper_parameters.recipe: supervised, with window and horizon of a forecast */
    bool pairs;               /* the loss ranks pairs of samples */
    struct shape input;       /* of one sample */
    int64_t outputs;          /* classes, or values a row; 0: not known before the data are loaded */
    bool classes;             /* labels are class numbers */
    struct architecture *architecture;
    char *architecture_json;  /* canonical */
    char architecture_digest[RECIPE_DIGEST_SIZE];
    /* hyper_parameters, with the defaults of training */
    int64_t epochs;           /* 10 */
    int64_t batch_size;       /* 32 */
    int64_t shuffle_window;   /* rows that are shuffled together, from a file that may be larger than memory; 0: all, in memory */
    int64_t seed;             /* 0: initial weights, dropout masks and the order of rows */
    const char *loss;         /* cross_entropy for classes, mse for values */
    enum loss_kind loss_kind;
    double huber_delta;       /* 0: the loss's default */
    enum device_precision precision; /* of the products: float32 */
    struct optimizer_options optimizer; /* adam */
    struct schedule schedule; /* of the learning rate: constant */
    /* of the task */
    int64_t threads;          /* 0: the worker's */
    int64_t log_every;        /* batches; 0: by epoch */
    int64_t checkpoint_every;  /* epochs; 0: not by epochs */
    double checkpoint_seconds; /* since the last checkpoint; 0: not by time. 5 minutes without either option */
    bool keep_best;           /* keep: "best" by the validation rows; "last" is the default */
    int64_t keep_every;       /* keep: "every N epochs": a model of each; 0: none */
    enum metric best;         /* what says so: the task's metric, else accuracy, where there is one, else loss */
    bool rolls_back;          /* on_nonfinite: "rollback"; "fail" is the default */
    double rollback_factor;   /* 0.5: of the learning rate, each time */
    int64_t max_rollbacks;    /* 5 */
    bool chooses_metrics;     /* the task has a list of metrics: */
    unsigned metrics;         /* METRIC_BIT of each */
    unsigned named_metrics;   /* of those that its metric and result_keys name */
    int64_t top_k;            /* 5 */
};

/* What the net's output must have: a value for each class, for yes or no, or for each target. 0: not known yet. */
int64_t recipe_outputs(const struct recipe *recipe);

void recipe_init(struct recipe *recipe);
void recipe_destroy(struct recipe *recipe);

/* The parts. source is the task or model that the fields stand in; 0 or -1. */
int recipe_read_hyper_parameters(struct recipe *recipe, const bson_t *source, bson_error_t *error);
/* The precision alone, of whatever will run the net. */
int recipe_read_precision(struct recipe *recipe, const bson_t *source, bson_error_t *error);
/* The newest version that source's dataset query finds; with a checkpoint, the one that it was written with. */
int recipe_read_dataset(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error);
/* After the dataset: the recipe, what it makes of a row, and so input, classes and outputs. */
int recipe_read_sampling(struct recipe *recipe, const bson_t *source, bson_error_t *error);
/* After both: the shapes of the architecture's inputs (ARCHITECTURE_INPUTS); refuses graphs that the recipe has no use for. */
int recipe_input_shapes(const struct recipe *recipe, struct shape *shapes, bson_error_t *error);
/* source's architecture: short form, graph, or the name of a saved one. */
int recipe_read_architecture(struct recipe *recipe, struct hub *hub, const bson_t *source, bson_error_t *error);
/* After the dataset: the default loss; and labels against the loss. */
int recipe_read_loss(struct recipe *recipe, const bson_t *source, bson_error_t *error);
/* The task's metrics, top_k and what metric.name and result_keys name. After the loss. */
int recipe_read_metrics(struct recipe *recipe, const bson_t *task, bson_error_t *error);
/* To measure on a net's output of so many columns; NULL on error. */
struct metrics *recipe_new_metrics(const struct recipe *recipe, int64_t columns, bson_error_t *error);
/* Everything of a task of kind train. */
int recipe_read(struct recipe *recipe, struct hub *hub, const bson_t *task, bson_error_t *error);

#endif
