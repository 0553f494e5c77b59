/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_PIPELINE_H
#define TL_HUB_PIPELINE_H

/* THE subset of MongoDB's aggregation pipelines, parsed once in front of both engines; anything else is refused by name.
 *
 *   {$match: filter}                    query.h's language
 *   {$sort: {path: 1 | -1, …}}          ties by _id, then in the order of arrival
 *   {$skip: n} {$limit: n}
 *   {$sample: {size: n, seed: s}}       the n documents whose _id has the lowest hash with the seed (ours; 0 when missing), in
 *                                       the hash's order: the same documents whenever, and on whichever engine, it is asked
 *   {$project: {path: 1 | 0, name: expression, …}}   computed fields have names of one part
 *   {$addFields: {name: expression, …}}
 *   {$group: {_id: expression, name: {accumulator: expression}, …}}   $sum $avg $min $max, {$count: {}}; groups come out in
 *                                       the order of their _id
 *   {$count: "name"}
 * Expressions: "$path", constants, {name: expression, …}, [expression, …], $literal;
 *   $add $subtract $multiply $divide $mod $abs $ceil $floor $trunc $sqrt $exp $ln $log10 $pow
 *   $eq $ne $gt $gte $lt $lte $cmp $and $or $not $in, $cond $ifNull $switch
 *   $toInt $toLong $toDouble $toString $toBool, $convert {input, to, onError, onNull}
 *   $concat $size $arrayElemAt $concatArrays
 * Values are as MongoDB computes them: int32 with int32 is int32 while that holds it, else int64, else double; $divide is
 * double; null or missing makes null; missing sorts before null; a wrong type, a division by zero and a cast that cannot be are
 * errors that end the pipeline, naming the stage.
 *
 * Who computes: an engine is asked for what a find can say (the leading $match, $sort, $skip and $limit, and the fields that
 * the rest reads); this file's code does the rest, in front of both. Servers from 3.6 on know different parts of the language
 * ($toInt and $convert came with 4.0, and what $group and casts give has changed since), and a selection's digest must not
 * depend on who computed it.
 *
 * Memory: one document, and what $sort, $sample and $group hold, which is refused above PIPELINE_BYTES. */

#include "hub/error.h"

#define PIPELINE_BYTES (100 << 20)

struct pipeline;

/* stages: a BSON array of documents, copied. NULL on error: HUB_ERROR_INVALID naming the stage and the operator. */
struct pipeline *pipeline_parse(const bson_t *stages, bson_error_t *error);
void pipeline_free(struct pipeline *pipeline);

/* As text: JSON that begins with '['. A document cannot hold '$' keys, so that is how pipelines are kept. *stages is initialised
 * always. -1 names what is wrong. */
int pipeline_text_read(const char *text, bson_t *stages, bson_error_t *error);

/* What a find can do of it; borrowed. NULL where there is nothing to say. */
struct pipeline_head {
    const bson_t *filter;
    const bson_t *sort;
    const bson_t *projection;
    int64_t skip, limit; /* limit 0: none */
};
const struct pipeline_head *pipeline_head(const struct pipeline *pipeline);

/* The rest, on documents that a find with the head gives: next as store_cursor_next has it. */
typedef int pipeline_source(void *data, const bson_t **document, bson_error_t *error);
struct pipeline_run;
struct pipeline_run *pipeline_run_new(const struct pipeline *pipeline, pipeline_source *next, void *data);
/* Every stage, on documents that no find has seen. */
struct pipeline_run *pipeline_run_all_new(const struct pipeline *pipeline, pipeline_source *next, void *data);
/* 1 with *document borrowed until the next call, 0 at the end, -1. */
int pipeline_run_next(struct pipeline_run *run, const bson_t **document, bson_error_t *error);
void pipeline_run_free(struct pipeline_run *run);

#endif
