/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_SWEEP_RECORD_H
#define TL_HUB_SWEEP_RECORD_H

/* Sweeps: {_id (digest of project, name and specification), project, name, description, tags, words, specification: {…},
 * text (the file as it was), metric: {name, goal}, points, submitted, created_at, schema_version}; of a search that goes on
 * from results also file, given (what was said beside the file, as JSON), open, proposed, ended, best: {point, value}, reason
 * (why it is closed). */

#include "hub/hub.h"

/* 1 new, 0 was there. */
int sweep_record_save(struct hub *hub, const bson_t *fields, bson_t *record, bson_error_t *error);
struct store_cursor *sweep_record_find(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* Sets fields of a sweep that is there: what a search has come to. proposed and submitted only grow. 1, 0 it is gone, -1. */
int sweep_record_note(struct hub *hub, const char *id, const bson_t *fields, bson_error_t *error);
int sweep_record_resolve(struct hub *hub, const char *text, bson_t *record, bson_error_t *error);

#endif
