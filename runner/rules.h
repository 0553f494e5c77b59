/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_RULES_H
#define TL_RUNNER_RULES_H

/* The rules of a task (hub/rule.h), asked after each epoch. Names: time (seconds of training), epoch, epochs, step,
 * learning_rate; train_loss, train_accuracy, validation_METRIC; METRIC: of validation data where there is any, else of training;
 * error_rate: 1 - accuracy. */

#include "hub/rule.h"
#include "runner/result.h"

struct rules;

struct rules_state {
    const struct result_scores *scores;
    double seconds, learning_rate;
    int64_t epoch, epochs, step;
};

/* Of the task's `rules`; *rules is NULL where it has none. 0 or -1. */
int rules_new(const bson_t *task, struct rules **rules, bson_error_t *error);
void rules_free(struct rules *rules);
/* The first rule that stops or fails, or NULL. Each that warns is passed to warn, once a task. */
const struct rule *rules_ask(struct rules *rules, const struct rules_state *state,
                             void (*warn)(void *data, const char *text), void *data);

#endif
