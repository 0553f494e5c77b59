/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SNAPSHOT_H
#define TL_CLI_SNAPSHOT_H

/* How a project is doing, as one document, for `status` and `watch`:
 * {at, tasks: {state: count, …}, done_last_hour, tasks_per_hour, models_per_hour, seconds_left, runners: [{…, silent,
 *  silent_seconds}], unserved: [{queue, resource_class, ready}], running: [{…}], failures: [{…}]}.
 * The counts are of one statement. Rates are of the last 10 minutes by the server's clock, or of the last hour where
 * nothing ended in these. */

#include "hub/hub.h"

enum snapshot_parts {
    SNAPSHOT_RUNNING = 1, /* running tasks with their progress */
    SNAPSHOT_FAILURES = 2 /* the last tasks that failed or are dead */
};

/* Appends to *out. -1 with *error where the hub could not be asked. */
int snapshot_take(struct hub *hub, unsigned parts, bson_t *out, bson_error_t *error);

#endif
