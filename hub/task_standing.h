/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_STANDING_H
#define TL_HUB_TASK_STANDING_H

/* Standing tasks: {standing: {every_ms} | {rows}, …} stays `waiting` and starts a task again and again: every so many milliseconds by
 * the server's time, or when its dataset of rows has so many more. Each is the same task with the last one's model as its
 * initial_model, `standing_of` and `standing_number` (from 1), and an _id that follows from these: whoever tries twice makes one. The
 * next is not started before the last has ended. Cancelling the standing task ends it; tasks that it started go on.
 *
 * The standing document: {every_ms, rows, count: started so far, last: _id, model: the last good one's, next_at, rows_upto}. */

#include "hub/hub.h"

/* Whether what the user gives can stand; called when a task is made. 1, -1. */
int task_standing_check(const bson_t *fields, bson_error_t *error);
/* Starts the next task of a standing one where it is due: 1, 0, -1. task: as it is stored; of any project. */
int task_standing_start(struct hub *hub, const bson_t *task, bson_error_t *error);

#endif
