/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_SWEEP_RECORD_H
#define TL_HUB_SWEEP_RECORD_H

/* Sweeps: {_id (digest of project, name and specification), project, name, description, tags, words, specification: {…},
 * text (the file as it was), metric: {name, goal}, points, submitted, created_at, schema_version} */

#include "hub/hub.h"

/* 1 new, 0 was there. */
int sweep_record_save(struct hub *hub, const bson_t *fields, bson_t *record, bson_error_t *error);
struct store_cursor *sweep_record_find(struct hub *hub, const bson_t *filter, bson_error_t *error);
int sweep_record_resolve(struct hub *hub, const char *text, bson_t *record, bson_error_t *error);

#endif
