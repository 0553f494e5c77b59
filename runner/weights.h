/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_WEIGHTS_H
#define TL_RUNNER_WEIGHTS_H

#include "hub/hub.h"
#include "kernels/net.h"

/* The newest model that the query in task.FIELD finds, into *model (initialised always). 0, -1. */
int weights_find_model(struct hub *hub, const bson_t *task, const char *field, bson_t *model, bson_error_t *error);
/* Streams a model's weights into a net; names and shapes must fit, and the digest is verified. 0, -1. */
int weights_load(struct hub *hub, const bson_t *model, struct net *net, bson_error_t *error);
/* Both. */
int weights_load_query(struct hub *hub, const bson_t *task, const char *field, struct net *net, bson_error_t *error);

#endif
