/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_GC_IMPL_H
#define TL_HUB_GC_IMPL_H

/* Between gc.c and the modules that upload. An upload of several blobs (a dataset's parts) is one session: its entries
 * beat together. */

#include "hub/gc.h"

#define GC_UPLOADS "uploads"
#define GC_BEAT_MS 5000 /* how often an upload without a claim beats, at least */

/* claim_id, task_id and session may be NULL. *document is initialised here. */
void gc_upload_document(const struct hub *hub, const bson_oid_t *blob_id, const char *task_id, int32_t lane,
                        const char *claim_id, const char *session, int64_t now, bson_t *document);
int gc_announce_session(struct hub *hub, const bson_oid_t *blob_id, const char *task_id, int32_t lane,
                        const char *claim_id, const char *session, bson_error_t *error);
int gc_session_beat(struct hub *hub, const char *session, bson_error_t *error);
/* Beats, and says whether all of the session's entries are still there, as many as were announced: 1, 0 gc has taken some
 * since they stood still for too long, -1. 1 after the document that points to the blobs was written: they are safe. 0: undo.
 */
int gc_session_hold(struct hub *hub, const char *session, int64_t entries, bson_error_t *error);
/* HUB_ERROR_CONFLICT in words for that: -1. */
int gc_session_lost(bson_error_t *error);
int gc_session_done(struct hub *hub, const char *session, bson_error_t *error);

#endif
