/* SPDX-License-Identifier: Apache-2.0 */
/* The first place of a blob's pointer: uploads. gc.h says who may stand there and for how long. */
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/task_impl.h"

#include <string.h>

void gc_upload_document(const struct hub *hub, const bson_oid_t *blob_id, const char *task_id, int32_t lane,
                        const char *claim_id, const char *session, int64_t now, bson_t *document)
{
    bson_init(document);
    BSON_APPEND_OID(document, "_id", blob_id);
    BSON_APPEND_UTF8(document, "project", hub_project(hub));
    if (claim_id != NULL) {
        BSON_APPEND_UTF8(document, "claim", claim_id);
        BSON_APPEND_UTF8(document, "task", task_id != NULL ? task_id : "");
        BSON_APPEND_INT32(document, "lane", lane);
    }
    if (session != NULL) {
        BSON_APPEND_UTF8(document, "session", session);
    }
    BSON_APPEND_INT64(document, "beat", 0);
    BSON_APPEND_DATE_TIME(document, "created_at", now);
    BSON_APPEND_INT32(document, "schema_version", HUB_SCHEMA_VERSION);
}

int gc_announce_session(struct hub *hub, const bson_oid_t *blob_id, const char *task_id, int32_t lane,
                        const char *claim_id, const char *session, bson_error_t *error)
{
    bson_t document;
    bson_error_t inner;
    int64_t now;
    int result = -1;
    if (hub_now(hub, &now, error) < 0) {
        return -1;
    }
    gc_upload_document(hub, blob_id, task_id, lane, claim_id, session, now, &document);
    struct store_operation insert = {
        .kind = STORE_INSERT, .collection = GC_UPLOADS, .document = &document, .ignore_duplicate = true};
    for (int i = 0; i < TASK_WRITE_TRIES && result < 0; i++) {
        result = store_batch(hub_store(hub), &insert, 1, NULL, &inner);
        if (result < 0 && !hub_unknown(&inner)) {
            break;
        }
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&document);
    return result;
}

int gc_announce(struct hub *hub, const bson_oid_t *blob_id, const char *task_id, const char *claim_id,
                bson_error_t *error)
{
    return gc_announce_session(hub, blob_id, task_id, 0, claim_id, NULL, error);
}

/* How many were there to beat. */
static int64_t beat_all(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t update = BSON_INITIALIZER, part;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT64(&part, "beat", 1);
    bson_append_document_end(&update, &part);
    int64_t result = store_update(hub_store(hub), GC_UPLOADS, filter, &update, error);
    bson_destroy(&update);
    return result;
}

static int beat(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    int64_t result = beat_all(hub, filter, error);
    return result < 0 ? -1 : result > 0;
}

int gc_upload_beat(struct hub *hub, const bson_oid_t *blob_id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_OID(&filter, "_id", blob_id);
    int result = beat(hub, &filter, error);
    bson_destroy(&filter);
    return result;
}

int gc_session_beat(struct hub *hub, const char *session, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "session", session);
    int result = beat(hub, &filter, error);
    bson_destroy(&filter);
    return result;
}

int gc_session_hold(struct hub *hub, const char *session, int64_t entries, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_error_t inner;
    int64_t result = entries > 0 ? -1 : 0;
    BSON_APPEND_UTF8(&filter, "session", session);
    for (int i = 0; i < TASK_WRITE_TRIES && result < 0; i++) {
        result = beat_all(hub, &filter, &inner);
        if (result < 0 && !hub_unknown(&inner)) {
            break;
        }
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&filter);
    return result < 0 ? -1 : result >= entries;
}

int gc_session_lost(bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_CONFLICT,
                     "the upload stood still for so long that gc collected it: nothing was saved; save it again");
}

int gc_upload_done(struct hub *hub, const bson_oid_t *blob_id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_OID(&filter, "_id", blob_id);
    int64_t result = store_delete(hub_store(hub), GC_UPLOADS, &filter, error);
    bson_destroy(&filter);
    return result < 0 ? -1 : result > 0;
}

int gc_session_done(struct hub *hub, const char *session, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "session", session);
    TL_FAULT("session_done.before");
    int64_t result = store_delete(hub_store(hub), GC_UPLOADS, &filter, error);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

int gc_keep(struct hub *hub, const bson_oid_t *blob_id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    bson_error_t inner;
    int result = -1;
    BSON_APPEND_OID(&filter, "_id", blob_id);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_UTF8(&part, "metadata.condemned", "");
    bson_append_document_end(&update, &part);
    for (int i = 0; i < TASK_WRITE_TRIES && result < 0; i++) {
        TL_FAULT("keep.before");
        result = store_modify(hub_store(hub), "blobs.files", &filter, &update, NULL, NULL, &inner);
        TL_FAULT("keep.after");
        if (result < 0 && !hub_unknown(&inner)) {
            break;
        }
    }
    if (result < 0 && error != NULL) {
        *error = inner;
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}
