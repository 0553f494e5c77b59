/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SNAPSHOT_H
#define TL_CLI_SNAPSHOT_H

/* How a project is doing, as one document, for `status` and `watch`:
 * {at, tasks: {state: count, …}, done_last_hour, tasks_per_hour, models_per_hour, seconds_left, runners: [{…, silent,
 *  silent_seconds}], unserved: [{queue, resource_class, ready, memory_needed, memory_offered}], running: [{…}], failures: [{…}]}.
 * The counts are of one statement. Rates are of the last 10 minutes by the server's clock, or of the last hour where
 * nothing ended in these. */

#include "hub/hub.h"

enum snapshot_parts {
    SNAPSHOT_RUNNING = 1, /* running tasks with their progress */
    SNAPSHOT_FAILURES = 2 /* the last tasks that failed or are dead */
};

/* Appends runners alone, and says whether one of them, in such a document, takes tasks of a queue and class and is not silent.
 * Where there are no runners nobody is expected to: true. */
int snapshot_take_runners(struct hub *hub, bson_t *out, bson_error_t *error);
bool snapshot_is_served(const bson_t *snapshot, const char *queue, const char *resource_class);
/* The most memory that a living runner gives a task; 0: not known. */
int64_t snapshot_memory_offered(const bson_t *snapshot);

/* Appends to *out. -1 with *error where the hub could not be asked. */
int snapshot_take(struct hub *hub, unsigned parts, bson_t *out, bson_error_t *error);

#endif
