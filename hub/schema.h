/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_SCHEMA_H
#define TL_HUB_SCHEMA_H

/* Checks documents against schemas/NAME.json, compiled into the library. The schemas keep to what MongoDB's
 * $jsonSchema knows (bsonType, required, properties, additionalProperties, enum, minimum, maximum, minLength,
 * maxLength, pattern, items, minItems, maxItems, uniqueItems, anyOf, description), so that one file serves our check and the
 * server's. */

#include "hub/error.h"

/* name: "meta", "project", "task", "model", "architecture", "dataset", "log", "runner", "sweep". 1 valid, or -1 with
 * HUB_ERROR_INVALID: "task.hyper_parameters.epochs: 0 is below the minimum 1". */
int schema_check(const char *name, const bson_t *document, bson_error_t *error);
/* The same for some of a document's top-level fields: nothing is required. */
int schema_check_fields(const char *name, const bson_t *fields, bson_error_t *error);
/* The schema's JSON text, or NULL: for `tl_hub` and for installing validators. */
const char *schema_text(const char *name);
/* Whether the schema has a property of this name at its top level. */
bool schema_knows(const char *name, const char *key);

#endif
