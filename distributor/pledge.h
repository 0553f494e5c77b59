/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_PLEDGE_H
#define TL_DISTRIBUTOR_PLEDGE_H

/* What is not there yet, but will be: a task may name a dataset or model that one of the tasks makes which it waits for,
 * directly or through others. */

#include "hub/hub.h"

/* field is dataset, model or initial_model, query the task's filter for it: only {name: …} can be pledged. *made
 * (initialised always) is what is known of it: of a dataset the manifest's fields that say what a row is, of a model its
 * name, architecture and hyper-parameters. 1, 0 where no task that is waited for makes it, -1. */
int pledge_find(struct hub *hub, const bson_t *fields, const char *field, const bson_t *query, bson_t *made,
                bson_error_t *error);

#endif
