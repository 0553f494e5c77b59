/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_JSON_H
#define TL_CLI_JSON_H

/* JSON as users write and read it. libbson's own reader turns {"$regex": …} into a regular expression value, takes an
 * array for a document and ignores what it cannot place, so filters are read here. */

#include "hub/error.h"

/* One JSON object into *document (initialised always). Integers become int32 or int64, other numbers double;
 * {"$date": "2026-11-21T05:00:00Z" or ms}, {"$oid": "…"}, {"$numberLong": "…"}, {"$numberInt": "…"} and
 * {"$numberDouble": "…"} are values, every other $key stays a key. A key twice, nesting deeper than 100, anything after
 * the object: HUB_ERROR_INVALID with the position. */
int json_read_document(const char *text, size_t length, bson_t *document, bson_error_t *error);
/* Any one JSON value, appended to document under key. */
int json_read_value(const char *text, size_t length, const char *key, bson_t *document, bson_error_t *error);

/* One line of JSON: dates as "2026-11-21T05:00:00.000Z", ids as strings of hex digits, binary as
 * {"$binary": base64}, numbers as numbers (NaN and the infinities as strings, for JSON has none). */
void json_append_document(bson_string_t *out, const bson_t *document);
/* The value the iterator stands at. */
void json_append_value(bson_string_t *out, const bson_iter_t *iter);
void json_append_string(bson_string_t *out, const char *text, size_t length);

#endif
