/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_MODEL_H
#define TL_HUB_MODEL_H

/* Models: {_id (the claim's id), project, name, description, tags, words, task, task_seq, run, sweep, point, accuracy, loss,
 * objective, metrics: {train_loss, validation_accuracy, test_accuracy, …}, dataset: {name, version, digest, query},
 * architecture, architecture_digest, hyper_parameters, seed, input_shape, classes, parameters (count), bytes, blob_id,
 * sha256, training_seconds, epochs, device, program_version, log_claims, log_points, created_at,
 * epoch?, final?, weights_dropped? (model_retain.h: then there is no blob_id), deleted?}. Those of epochs that a run kept have final: false, and the epoch, as the one it ended with has. accuracy and loss are the headline:
 * from test data if there is any, else validation, else training. Weights are safetensors in blob_id. */

#include "hub/blob.h"
#include "hub/hub.h"

/* Saves weights that did not come from a task: announces the blob, streams it from read(data, buffer, size) (0 at the
 * end, -1 error), then writes the model. *model (initialised always) is the stored document. */
int model_save(struct hub *hub, const bson_t *fields, int64_t (*read)(void *data, void *buffer, size_t size),
               void *data, bson_t *model, bson_error_t *error);
/* The project's models without tombstones, and without those of kept epochs but where the filter names _id, epoch or final. options->sort {accuracy: -1} and any other key. */
struct store_cursor *model_find(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                bson_error_t *error);
/* The best match in sort order (NULL: newest first): 1, 0, -1. As model_find. */
int model_find_one(struct hub *hub, const bson_t *filter, const bson_t *sort, bson_t *model, bson_error_t *error);
/* By id, an id's first digits, or a name (the newest of that name). */
int model_resolve(struct hub *hub, const char *text, bson_t *model, bson_error_t *error);
/* Leaves tombstones {_id, project, deleted: true}; weights go at the next gc. The number deleted. */
int64_t model_delete(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* Adds and removes tags (and so words); the number of models changed. */
int64_t model_tag(struct hub *hub, const bson_t *filter, const char *const *add, size_t add_count,
                  const char *const *remove, size_t remove_count, bson_error_t *error);

#endif
