/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TOMBSTONE_H
#define TL_HUB_TOMBSTONE_H

/* What is left of a model or dataset that a task made and a person deleted: {_id, project, task, deleted: true, …}. It keeps
 * a late roll-forward (task_publish) from bringing it back, and goes when gc sees that none can come any more. */

#include "hub/hub.h"

/* {project, …filter}, but for tombstones. *out is initialised here. */
void tombstone_live_filter(const struct hub *hub, const bson_t *filter, bson_t *out);
/* Makes a tombstone of a document of the collection and tells its task; bare: what stands in it besides goes (of a
 * dataset it stays, for the schema asks for it). 1, 0 it is gone, -1. */
int tombstone_bury(struct hub *hub, const char *collection, const bson_t *document, bool bare, bson_error_t *error);
bool tombstone_is(const bson_t *document);

#endif
