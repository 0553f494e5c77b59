/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_SWEEP_RESULTS_H
#define TL_HUB_SWEEP_RESULTS_H

/* What the points of a sweep came to, some hundreds in one document, so that who goes on with a search need not read every
 * task of it. They repeat what the tasks say and may be lost: `results` {_id: "SWEEP:NUMBER", project, sweep, number, and the
 * caller's fields, created_at, schema_version}. Restarting and deleting tasks makes them untrue: then all of the project go. */

#include "hub/hub.h"

/* fields: without those named above. What is there under this number stays as it is. 0 or -1. */
int sweep_results_save(struct hub *hub, const char *sweep, int64_t number, const bson_t *fields, bson_error_t *error);
/* Those of the sweep, by their numbers. NULL on error. */
struct store_cursor *sweep_results_find(struct hub *hub, const char *sweep, bson_error_t *error);
/* Deletes those of all sweeps of the project; how many, -1. */
int64_t sweep_results_forget(struct hub *hub, bson_error_t *error);

#endif
