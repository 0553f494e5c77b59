/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_HUB_IMPL_H
#define TL_HUB_HUB_IMPL_H

/* What the document modules of hub/ share; not installed. */

#include "hub/hub.h"

#include <stdarg.h>

/* *out (initialised here) is {project, …extra, …filter}: filter and extra may be NULL. A filter that names a field of
 * its own that is also in extra, or `project`, goes below $and, so that nothing it says widens the rest. */
void hub_filter(const struct hub *hub, const bson_t *filter, const bson_t *extra, bson_t *out);
/* The server's time for created_at; one command on MongoDB. */
int hub_now(struct hub *hub, int64_t *milliseconds, bson_error_t *error);
/* Milliseconds of CLOCK_BOOTTIME: the clock that leases are watched by. */
int64_t hub_boottime(void);
/* Copies the fields of source whose top-level names are not among the NULL-ended list. */
void hub_copy_without(const bson_t *source, bson_t *destination, ...) BSON_GNUC_NULL_TERMINATED;
/* The text of a string field, or NULL. Borrowed from the document. */
const char *hub_text(const bson_t *document, const char *path);
/* A number field (any numeric type, rounded towards zero), or fallback. */
int64_t hub_number(const bson_t *document, const char *path, int64_t fallback);
/* A number field as a double into *value; false when it is no number. */
bool hub_double(const bson_t *document, const char *path, double *value);
/* A document or array field as a read-only view into the parent; false when it is neither. */
bool hub_view(const bson_t *document, const char *path, bson_t *view);
/* The same of the value that an iterator is at. */
bool hub_item(const bson_iter_t *iter, bson_t *view);
/* Whether the error says that a write may or may not have been applied. */
bool hub_unknown(const bson_error_t *error);
/* Appends a filter {$gte: prefix, $lt: …} for strings that begin with prefix. */
void hub_append_prefix(bson_t *filter, const char *key, const char *prefix);
bool hub_is_hex(const char *text);
/* Where the claims of this connection keep what they read ahead (task_shortlist.h). */
struct task_shortlist;
struct task_shortlist **hub_shortlist(struct hub *hub);
/* Makes every index of the hub. */
int hub_ensure_indexes(struct store *store, bson_error_t *error);
/* Calls visit for each of them that is not there: how many. */
int64_t hub_missing_indexes(struct store *store, void (*visit)(void *data, const char *collection, const char *name),
                            void *data, bson_error_t *error);
/* Waits, through signals. */
void hub_sleep(int64_t milliseconds);
/* Fills {_id, project, created_at, schema_version} around fields (without those names) into *out, with words of name,
 * description and tags: what every named document has. id NULL takes fields._id, or a fresh random id. */
int hub_compose(struct hub *hub, const bson_t *fields, const char *id, bson_t *out, bson_error_t *error);

#endif
