/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_UPDATE_H
#define TL_HUB_UPDATE_H

/* THE subset of MongoDB's update language: $set $unset $inc $min $max $push (one value, or $each with $slice)
 * $setOnInsert $currentDate (true or {$type: "date"}). Dotted paths; two operators may not touch the same path or
 * one inside the other; _id cannot be changed. No replacement documents, no pipelines. */

#include "hub/error.h"

struct update;

struct update *update_parse(const bson_t *update, bson_error_t *error);
void update_free(struct update *update);

/* Applies to document (an empty one for an upsert's insert, with inserting true) and writes *out (initialised
 * always; bson_destroy it). now_ms stands for $currentDate. Errors: HUB_ERROR_INVALID, as the server would give
 * (for example $inc of a string), naming the path. Existing fields keep their place; new ones come last. */
int update_apply(const struct update *update, const bson_t *document, bool inserting, int64_t now_ms, bson_t *out,
                 bson_error_t *error);

/* -1 (HUB_ERROR_INVALID) if the update can put an array at path or at a prefix of it. */
int update_check_no_array(const struct update *update, const char *path, bson_error_t *error);

#endif
