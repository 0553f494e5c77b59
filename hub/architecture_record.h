/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ARCHITECTURE_RECORD_H
#define TL_HUB_ARCHITECTURE_RECORD_H

/* Architectures: {_id (digest of project, graph and name), project, name, description, tags, words, graph: {…}, text (the short
 * form, where there is one), digest, created_at, schema_version}. The graph is checked by kernels/architecture.h before it comes here. */

#include "hub/hub.h"

/* graph_json is canonical JSON. A graph may be kept under several names: saving it under one that it has changes only
 * description and tags, where given; without a name it is there already if it is under any. 1 new, 0 was there, -1.
 * *record (initialised always, NULL allowed). */
int architecture_record_save(struct hub *hub, const char *graph_json, const bson_t *fields, bson_t *record,
                             bson_error_t *error);
/* Many without names, with few commits: text is the short form, or NULL. The number of new ones, or -1. */
struct architecture_entry {
    const char *graph_json;
    const char *text;
};
int64_t architecture_record_save_many(struct hub *hub, const struct architecture_entry *entries, size_t count,
                                      bson_error_t *error);
struct store_cursor *architecture_record_find(struct hub *hub, const bson_t *filter,
                                              const struct store_find_options *options, bson_error_t *error);
/* By name (the newest of it) or digest's first digits. */
int architecture_record_resolve(struct hub *hub, const char *text, bson_t *record, bson_error_t *error);
int64_t architecture_record_delete(struct hub *hub, const bson_t *filter, bson_error_t *error);

#endif
