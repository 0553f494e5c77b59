/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_ROWS_DATA_H
#define TL_RUNNER_ROWS_DATA_H

/* Rows (hub/rows.h) as tensors: what a pipeline makes of them, up to one row, becomes a file a split in the cache folder
 * (split_store.h), once. The digest is over what came out, so that a new selection is a new digest. */

#include "runner/data.h"

/* Replaces a manifest of rows by what it is up to a row: {…, pipeline, rows_upto, digest, rows, splits, parts: [{split, rows,
 * bytes, sha256}]}; other manifests stay as they are. pipeline NULL: the manifest's own; upto below 0: all rows that there are
 * now. -1: a document that is no such row names its number among those that the pipeline gave. */
int rows_data_resolve(struct data_cache *cache, struct hub *hub, const char *pipeline, int64_t upto, bson_t *dataset,
                      bson_error_t *error);
/* As a task says it: with its pipeline; up to the row of its checkpoint. */
int rows_data_resolve_task(struct data_cache *cache, struct hub *hub, const bson_t *task, bson_t *dataset, bson_error_t *error);

#endif
