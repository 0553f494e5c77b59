/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_DOCUMENT_H
#define TL_RUNNER_DOCUMENT_H

/* Reading fields of documents that anyone may have written: a field of another type counts as missing, unless said
 * otherwise. Paths are dotted. Nothing is copied: what comes back lives as long as the document. */

#include "hub/error.h"

/* NULL where there is no string of valid length at path. */
const char *document_string(const bson_t *document, const char *path);
/* Whether there is a number (int32, int64, double) at path; *value is untouched otherwise. */
bool document_number(const bson_t *document, const char *path, double *value);
/* Integers, and doubles that hold one exactly (some clients write 10.0). */
bool document_integer(const bson_t *document, const char *path, int64_t *value);
bool document_bool(const bson_t *document, const char *path, bool standard);
/* Whether there is a document (or an array) at path; *child is then a view that needs no bson_destroy. */
bool document_child(const bson_t *document, const char *path, bson_t *child);
bool document_array(const bson_t *document, const char *path, bson_t *child);
bool document_has(const bson_t *document, const char *path);

/* An integer within [minimum, maximum]; standard where the field is missing or null. Anything else is
 * HUB_ERROR_INVALID naming the path. 0 or -1. */
int document_integer_in(const bson_t *document, const char *path, int64_t minimum, int64_t maximum, int64_t standard,
                        int64_t *value, bson_error_t *error);

/* A query field of a task: a string is short for {name: it}, unless it starts with a brace: then it is the query as
 * JSON, for a stored document can hold no operators ($gt). *filter is initialised always. 1, 0 where there is
 * no such field, -1 where it is something else. */
int document_query(const bson_t *document, const char *path, bson_t *filter, bson_error_t *error);

/* The document as JSON of one line (bson_free), for messages and graphs. NULL without memory. */
char *document_json(const bson_t *document);

#endif
