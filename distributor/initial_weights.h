/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_INITIAL_WEIGHTS_H
#define TL_DISTRIBUTOR_INITIAL_WEIGHTS_H

#include "hub/hub.h"
#include "kernels/architecture.h"

/* Refuses a model whose weights a net of this architecture (text or graph) on rows of this shape could not start from;
 * reads the header of its weights only. Errors begin with "initial_model: ". 0 or -1. */
int initial_weights_check(struct hub *hub, const bson_t *model, const char *architecture, const struct shape *input,
                          bson_error_t *error);

#endif
