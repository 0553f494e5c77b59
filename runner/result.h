/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RESULT_H
#define TL_RUNNER_RESULT_H

/* What is put back into the hub: metrics by name, the model's fields, the weights as a file in memory. */

#include "runner/batch.h"
#include "runner/recipe.h"
#include "runner/rollback.h"

enum result_split { RESULT_TRAIN, RESULT_VALIDATION, RESULT_TEST, RESULT_SPLITS };
extern const char *const result_split_names[RESULT_SPLITS];

struct result_scores {
    struct batch_scores splits[RESULT_SPLITS];
    int64_t best_epoch; /* 0: not kept */
    bool rolls_back;    /* the task asks for it: then there are */
    int64_t rollbacks;
    int64_t classes;    /* of the confusion matrices of validation and test; 0: none */
    const int64_t *confusion[RESULT_SPLITS]; /* (classes, classes), borrowed; NULL: empty */
};

/* Appends a matrix as an array of rows. */
bool result_append_confusion(bson_t *document, const char *key, const int64_t *matrix, int64_t classes);

/* The task's result_keys (NULL or none: all) against the names that this run will have; refused before the training, for
 * afterwards it would be a waste. scores: which splits are known, with or without accuracy. 0 or -1. */
int result_check_keys(const bson_t *task, const struct result_scores *scores, bson_error_t *error);
/* {accuracy, loss, train_loss, …}: accuracy and loss are the headline, from test data if there is any, else
 * validation, else training. Only the task's result_keys where it has some. metrics is appended to. */
int result_metrics(const bson_t *task, const struct result_scores *scores, bson_t *metrics, bson_error_t *error);

struct result_training {
    int64_t epochs;
    double seconds;
    const struct rollback_record *rollback_records; /* (scores.rollbacks) */
};

/* The model's own fields (hub/model.h); appended to model. */
int result_model(const struct work *work, const struct recipe *recipe, const struct net *net,
                 const struct result_scores *scores, const struct result_training *training, const bson_t *metrics,
                 bson_t *model, bson_error_t *error);
/* The weights as safetensors; *weights is free'd by the caller. Nothing in them names the task or the time, so that
 * the same bits have the same digest. */
int result_weights(const struct net *net, const struct recipe *recipe, uint8_t **weights, size_t *length,
                   bson_error_t *error);

#endif
