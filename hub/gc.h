/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_GC_H
#define TL_HUB_GC_H

/* Blobs and who points to them. Every blob has, from before its first chunk, a pointer; a pointer is written at its
 * next place before it is removed from the last: uploads → task.result / task.checkpoint → models; uploads → datasets.
 * uploads {_id: blob id, project, claim, task, lane, beat, created_at, schema_version}. Only gc deletes blobs. */

#include "hub/blob.h"
#include "hub/hub.h"

/* Announces a blob before its first chunk; fence-less uploads (datasets, import) have claim NULL and must call
 * gc_upload_beat at least every 10 s while they go on. */
int gc_announce(struct hub *hub, const bson_oid_t *blob_id, const char *task_id, const char *claim_id,
                bson_error_t *error);
int gc_upload_beat(struct hub *hub, const bson_oid_t *blob_id, bson_error_t *error);
/* Removes the upload entry, after a pointer stands at the next place. */
int gc_upload_done(struct hub *hub, const bson_oid_t *blob_id, bson_error_t *error);
/* After pointing to a blob that existed already: unsets condemned. 1 it is there, 0 it is gone: undo. */
int gc_keep(struct hub *hub, const bson_oid_t *blob_id, bson_error_t *error);

struct gc_report {
    int64_t blobs_deleted, chunks_deleted, bytes_freed, uploads_removed, tombstones_removed, logs_deleted, blobs_kept;
};
/* A whole collection over every project. lease_ms: how long a claim-less upload's beat is watched before it is called stale. dry_run
 * changes nothing and reports what would go (chunks without a files document included). */
int gc_run(struct hub *hub, int64_t lease_ms, bool dry_run, struct gc_report *report, bson_error_t *error);

#endif
