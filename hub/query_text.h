/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_QUERY_TEXT_H
#define TL_HUB_QUERY_TEXT_H

/* Queries inside documents. A task says by a query what it works on, but no document may hold keys such as "$gt" or
 * "point.hidden": such a query is kept as its text in (extended) JSON, a string that begins with '{'. */

#include "hub/query.h"

/* Whether a text is a query and not a name: blanks, then '{'. */
bool query_text_is(const char *text);
/* The query of a text into *filter (initialised always), checked as query_parse does. 0 or -1 (HUB_ERROR_INVALID). */
int query_text_read(const char *text, bson_t *filter, bson_error_t *error);
/* Appends a query under key: as it is where a document can hold it, else as text. 0 or -1. */
int query_text_append(bson_t *document, const char *key, const bson_t *query, bson_error_t *error);

#endif
