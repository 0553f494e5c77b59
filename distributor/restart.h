/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_RESTART_H
#define TL_DISTRIBUTOR_RESTART_H

/* New runs of tasks that have ended. With other hyper-parameters a task is another one: it is checked as a new one would be,
 * and what it needs, and so its class of memory, is estimated anew. */

#include "hub/hub.h"

/* As task_restart. set: the changed hyper-parameters (NULL: none). Every task is checked before the first is restarted; -1
 * names the one that would be refused. What somebody chose (create-task --memory, set-task --resource-class) stays. */
int64_t restart_tasks(struct hub *hub, const bson_t *filter, const bson_t *set, bson_error_t *error);

#endif
