/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TASK_QUERY_H
#define TL_DISTRIBUTOR_TASK_QUERY_H

/* What a task works on: its dataset, model and initial_model, each a name, a query, or a query's text (hub/query_text.h). */

#include "hub/hub.h"

/* Whether a task's field of this name is such a query. */
bool task_query_is(const char *field);
/* The field as a filter into *query (initialised always), {name: it} for a name; errors name the field. 1, 0 where it is
 * missing, -1. */
int task_query_read(const bson_t *fields, const char *field, bson_t *query, bson_error_t *error);
/* Appends such a field as a task's document can hold it. 0 or -1. */
int task_query_append(bson_t *document, const char *field, const bson_iter_t *value, bson_error_t *error);
/* The error that nothing matches, with what there is instead of a dataset. Returns -1. */
int task_query_not_found(struct hub *hub, const char *field, const bson_t *query, bson_error_t *error);

#endif
