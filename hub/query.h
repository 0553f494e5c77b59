/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_QUERY_H
#define TL_HUB_QUERY_H

/* THE subset of MongoDB's query language, parsed once in front of both engines.
 *
 * {path: value}, $eq $ne $gt $gte $lt $lte $in $nin $all $exists $and $or $nor $not, $regex (a literal, optionally
 * anchored by a leading ^; metacharacters escaped by a backslash; no options), dotted paths (through documents and,
 * as MongoDB does, through arrays by element and by index). Comparison follows MongoDB: type brackets for ranges,
 * numbers compared across int32, int64 and double exactly, equality to null also matches a missing field, an
 * array matches if it or any element does. Anything else is refused by name. */

#include "hub/error.h"

struct query;

/* NULL on error: HUB_ERROR_INVALID naming the operator or path. filter may be NULL (everything). Copies. */
struct query *query_parse(const bson_t *filter, bson_error_t *error);
void query_free(struct query *query);
bool query_matches(const struct query *query, const bson_t *document);

/* A sort {path: 1 | -1, …} and projections are checked here too. */
int query_check_sort(const bson_t *sort, bson_error_t *error);
int query_check_projection(const bson_t *projection, bson_error_t *error);
/* The projected document into *out (initialised always). */
int query_project(const bson_t *projection, const bson_t *document, bson_t *out, bson_error_t *error);

/* MongoDB's order between any two values of the allowed types: <0, 0, >0. A NULL iterator is a missing value and
 * equals null. */
int query_compare_values(const bson_iter_t *a, const bson_iter_t *b);

/* Whether a document may be stored (types, keys, depth, size; see store.h). where names it in errors. */
int query_check_document(const bson_t *document, const char *where, bson_error_t *error);

/* The document that a filter of plain equalities makes (what an upsert starts from), _id first and the others in their
 * names' order, dotted paths as documents. HUB_ERROR_INVALID if it is not plain equalities with _id among them. *out is
 * initialised always. */
int query_upsert_base(const struct query *query, bson_t *out, bson_error_t *error);

#endif
