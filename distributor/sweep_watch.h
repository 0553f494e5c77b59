/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_WATCH_H
#define TL_DISTRIBUTOR_SWEEP_WATCH_H

/* The curves of a sweep's points, from the logs of their tasks, and what stop_early says of them. */

#include "distributor/stop_early.h"
#include "hub/hub.h"

struct sweep_watch;

/* metric: "validation_loss", "train_accuracy", or without a split: of validation data where it was logged, else of training. sign
 * -1: it is to be maximised. NULL without memory. */
struct sweep_watch *sweep_watch_new(const struct stop_early_options *options, const char *metric, double sign);
void sweep_watch_free(struct sweep_watch *watch);
/* Reads the curve of a point's task as far as it has come. 0 or -1. */
int sweep_watch_read(struct sweep_watch *watch, struct hub *hub, int64_t number, const char *task_id, bool ended,
                     bson_error_t *error);
/* A point that has no curve, and will have none. 0 or -1. */
int sweep_watch_skip(struct sweep_watch *watch, int64_t number, bson_error_t *error);
void sweep_watch_judge(struct sweep_watch *watch);
/* The epoch after which the point is stopped, 0: not, or not known to be. */
int64_t sweep_watch_stop(const struct sweep_watch *watch, int64_t number);
/* Whether it has ended and all has been said of it. */
bool sweep_watch_is_final(const struct sweep_watch *watch, int64_t number);
/* The metric at the epoch after which it was stopped, whether it went further or not: less is better. NaN: none. */
double sweep_watch_value(const struct sweep_watch *watch, int64_t number);

#endif
