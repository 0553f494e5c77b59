/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SWEEP_HISTORY_H
#define TL_DISTRIBUTOR_SWEEP_HISTORY_H

/* The results of a search as hub/sweep_results.h keeps them: SWEEP_HISTORY_POINTS to a document, from number 0 on. Who opens a
 * search of many points reads these documents, and of the tasks only those behind them. */

#include "distributor/search_space.h"
#include "hub/hub.h"

#define SWEEP_HISTORY_POINTS 512

/* One document: of the points number * SWEEP_HISTORY_POINTS and on. */
struct sweep_history {
    int64_t number;
    int64_t next_seq;      /* no task of a point behind them has a lesser one, as far as was known */
    int64_t tasks;         /* that its points had, and what they took */
    double seconds, flops;
    struct search_result *results; /* (SWEEP_HISTORY_POINTS), borrowed; all have ended */
};

/* dimensions: of the places. What is there already stays. 0 or -1. */
int sweep_history_save(struct hub *hub, const char *sweep, size_t dimensions, const struct sweep_history *history,
                       bson_error_t *error);
/* Calls take for each from number 0 on, with results whose units are only borrowed; ends where one is missing or is not what
 * it should be: it is read from the tasks then. 0, or -1 on error or where take says so. */
int sweep_history_read(struct hub *hub, const char *sweep, size_t dimensions,
                       int (*take)(void *data, const struct sweep_history *history, bson_error_t *error), void *data,
                       bson_error_t *error);

#endif
