/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SUBMIT_H
#define TL_DISTRIBUTOR_SUBMIT_H

/* One task, checked as far as it can be before a runner sees it: kind, hyper-parameters (names and ranges, by kernels),
 * dataset and model queries (they must find something now), architecture (text, graph, or the name of a saved one)
 * against the dataset's shapes, the layer named in errors. The architecture is saved to `architectures`. */

#include "hub/task.h"

/* dataset may be NULL (looked up from fields). *checked (initialised always) is fields with architecture_digest and
 * defaults filled in, ready for task_create. */
int submit_check(struct hub *hub, const bson_t *fields, const bson_t *dataset, bson_t *checked, bson_error_t *error);
/* submit_check and task_create. */
int submit_task(struct hub *hub, const bson_t *fields, bson_t *task, bson_error_t *error);
/* An architecture from text or JSON, checked on its own (no input shape): canonical graph JSON (bson_free). */
int submit_architecture(const char *text, char **graph_json, bson_error_t *error);
/* Whether a safetensors file with this header (its length's 8 bytes and the JSON) holds the weights of such a net. 0 or -1. */
int submit_check_weights(const char *graph_json, const uint8_t *header, size_t length, bson_error_t *error);

#endif
