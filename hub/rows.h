/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ROWS_H
#define TL_HUB_ROWS_H

/* Datasets as one document an example, in the collection `rows`:
 *   {_id, project, dataset: "name", seq: int64, split: "train", label, x: [numbers] | any named fields}
 * written in batches by any client: it takes numbers from the counter `rows:PROJECT:NAME` ($inc value by how many) and inserts
 * rows with them. A dataset of rows is a manifest without parts:
 *   {…, storage: "rows", columns: ["x"], label_field: "label", pipeline: "[…]", input_shape, label, classes | outputs, class_names}
 * pipeline (JSON, pipeline.h) selects and transforms; columns name the fields of its documents that make up x, in order: numbers,
 * or arrays of numbers; label_field is the class (a number, or one of class_names) or the value(s).
 *
 * What a task sees of it is a snapshot: the rows whose seq is at most the highest at its claim, in the order of seq. Rows that come
 * later are the next task's. */

#include "hub/hub.h"

#define ROWS_COLLECTION "rows"

bool rows_is_source(const bson_t *dataset);

/* One batch, at most ROWS_BATCH: in order, with consecutive numbers, and the project and dataset set here. A lost reply is resolved: every row is in
 * the hub once. The highest number, or -1. */
#define ROWS_BATCH 10000 /* on SQLite one commit, which costs more than a thousand rows do */
int64_t rows_append(struct hub *hub, const char *name, const bson_t *const *rows, size_t count, bson_error_t *error);
/* Before the first batch: numbers go on above every row that there is (an import brings rows and no counter). 1, -1. */
int rows_begin(struct hub *hub, const char *name, bson_error_t *error);

/* The highest number, 0 where there is no row; -1. */
int64_t rows_highest(struct hub *hub, const char *name, bson_error_t *error);
/* How many rows there are with after < seq <= upper. */
int64_t rows_count(struct hub *hub, const char *name, int64_t after, int64_t upper, bson_error_t *error);
/* What the pipeline (NULL or empty: every row) makes of the rows up to a number, in the order of seq. */
struct store_cursor *rows_select(struct hub *hub, const char *name, int64_t upper, const char *pipeline, bson_error_t *error);
int64_t rows_delete(struct hub *hub, const char *name, bson_error_t *error);

/* Makes the manifest as the next version of its name: 1; 0 where the newest is the same; -1. fields: name, input_shape, label, …; storage
 * and what follows from it are set here. *dataset is initialised always. */
int rows_save_dataset(struct hub *hub, const bson_t *fields, bson_t *dataset, bson_error_t *error);

#endif
