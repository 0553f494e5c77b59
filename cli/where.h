/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_WHERE_H
#define TL_CLI_WHERE_H

/* The short forms of --where, --sort and --set, turned into the documents that the store takes.
 *
 *   expression := any {"or" any};  any := one {"and" one};  one := "not" one | "(" expression ")" | comparison
 *   comparison := path ("=" | "!=" | "<" | "<=" | ">" | ">=" | "~") value | path ["not"] "in" "(" value {"," value} ")"
 *
 * A path is letters, digits, _ - and dots. A value is a number, true, false, null, a date (2026-11-21 or with
 * T05:00[:00][Z]), a text in single or double quotes (\ before a quote or a \), or a bare word. path~text is
 * "contains", path~^text "begins with". As in MongoDB, path=value also holds for an array with that element (tags=cnn),
 * path!=value and not also for documents without the path, and path=null for those alone. */

#include "hub/error.h"

/* The filter of an expression into *filter (initialised always). HUB_ERROR_INVALID with the position. */
int where_parse(const char *text, bson_t *filter, bson_error_t *error);
/* "accuracy:desc,loss:asc" ("asc" may be left out, "-accuracy" is accuracy:desc) into *sort (initialised always). */
int where_parse_sort(const char *text, bson_t *sort, bson_error_t *error);
/* "key=value" appended to document: numbers, true, false, null and JSON arrays and objects are what they look like, the
 * rest is text; quotes make text of anything. Refuses a key twice, empty, with a dot or with a leading $. */
int where_parse_setting(const char *text, bson_t *document, bson_error_t *error);

#endif
