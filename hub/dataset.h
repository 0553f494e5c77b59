/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_DATASET_H
#define TL_HUB_DATASET_H

/* Datasets are manifests: {_id, project, name, version (int32, from 1), description, tags, words, digest, rows, input_shape:
 * [ints, one row's], label: "class" | "value", classes (count) and class_names, features: {dtype, scale, offset},
 * splits: {train: rows, validation: rows, test: rows}, parts: [{blob_id, split, rows, bytes, sha256}], created_at, … any
 * further keys}. Each part is a safetensors file with tensors "x" [rows, …input_shape] (U8 or F32) and "y" [rows] (I64
 * classes) or [rows, outputs] (F32), of at most 32 MB. A U8 feature means value × scale + offset.
 * What came from a table also has preprocess (distributor/preprocess.h) and class_counts {SPLIT: [rows of each class]}.
 * digest: SHA-256 over the parts' (split, rows, sha256), the shape fields and preprocess, so equal data has an equal digest.
 *
 * One with storage: "rows" has no parts: its data are documents (rows.h).
 *
 * What a task made (kind infer) has `task`, and the claim's id as its _id: task_finish publishes it. When it is deleted
 * a tombstone stays for a while, the manifest with deleted: true, which no reader here is shown. */

#include "hub/blob.h"
#include "hub/hub.h"

struct dataset_writer;

/* fields: name, input_shape, label, classes, features, description, tags, any further keys. */
struct dataset_writer *dataset_writer_open(struct hub *hub, const bson_t *fields, bson_error_t *error);
/* The same for the output of a task: parts are announced under the claim, so that they are kept while it is held, and are
 * never those of another version. Ends with dataset_writer_manifest instead of a finish. */
struct task_fence;
struct dataset_writer *dataset_writer_open_claimed(struct hub *hub, const struct task_fence *fence, const bson_t *fields,
                                                   bson_error_t *error);
/* The manifest that task_finish is to publish; takes the next version of the name. *manifest is initialised always. */
int dataset_writer_manifest(struct dataset_writer *writer, bson_t *manifest, bson_error_t *error);
/* One part, streamed: begin, write …, end. rows of this part; split "train", "validation", "test" or any name. */
int dataset_writer_part(struct dataset_writer *writer, const char *split, int64_t rows, const void *safetensors,
                        size_t length, bson_error_t *error);
/* Writes the manifest as the next version of the name: 1. When the newest version has the same digest *dataset is that one:
 * DATASET_LABELLED where it was given tags that it did not have, or another description; else nothing is written: 0. */
#define DATASET_LABELLED 2
int dataset_writer_finish(struct dataset_writer *writer, bson_t *dataset, bson_error_t *error);
/* Frees; without a finish, what was uploaded goes at the next gc. */
void dataset_writer_close(struct dataset_writer *writer);

struct store_cursor *dataset_find(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                  bson_error_t *error);
/* The newest version that matches: 1, 0, -1. filter {name: …} or any other. */
int dataset_find_one(struct hub *hub, const bson_t *filter, bson_t *dataset, bson_error_t *error);
/* The manifests; parts that nothing else points to go at the next gc. The number deleted, or -1. */
int64_t dataset_delete(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* Rows and bytes of a split, by the manifest's parts; of all splits where split is NULL. */
void dataset_measure(const bson_t *dataset, const char *split, int64_t *rows, int64_t *bytes);
/* The digest that a manifest should have, from its parts and shape fields. */
void dataset_digest(const bson_t *dataset, char out[65]);

#endif
