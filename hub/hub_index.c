/* SPDX-License-Identifier: Apache-2.0 */
/* Every index of a hub. The claim's holds exactly what task_claim filters and sorts by, in that order. Paths are
 * scalars, but for the arrays tags and words; schemas/ caps what goes into keys, so that none passes the 1,024 bytes
 * that servers before 4.2 allow. */
#include "hub/hub_impl.h"

#include <string.h>

struct index {
    const char *collection;
    const char *name;
    const char *keys; /* "path path -path": a minus sign means descending */
};

static const struct index indexes[] = {
    {"tasks", "claim", "project queue resource_class lane state -priority seq"},
    {"tasks", "newest", "project name state -seq"},
    {"tasks", "state", "state not_before"},
    {"tasks", "published", "published finished_at"},
    {"tasks", "number", "project seq"},
    {"tasks", "sweep", "project sweep"},
    {"tasks", "result_blob", "result.blob_id"},
    {"tasks", "checkpoint_blob", "checkpoint.blob_id"},
    {"tasks", "tags", "tags"},
    {"tasks", "words", "words"},
    {"models", "accuracy", "project -accuracy"},
    {"models", "loss", "project loss"},
    {"models", "created", "project created_at"},
    {"models", "name", "project name created_at"},
    {"models", "task", "task"},
    {"models", "blob", "blob_id"},
    {"models", "deleted", "deleted"},
    {"models", "tags", "tags"},
    {"models", "words", "words"},
    {"architectures", "digest", "project digest"},
    {"architectures", "name", "project name created_at"},
    {"architectures", "tags", "tags"},
    {"architectures", "words", "words"},
    {"datasets", "version", "project name -version"},
    {"datasets", "created", "project created_at"},
    {"datasets", "tags", "tags"},
    {"datasets", "words", "words"},
    {"logs", "task", "task split number"},
    {"logs", "name", "project name created_at"},
    {"runners", "state", "project state started_at"},
    {"sweeps", "name", "project name created_at"},
    {"sweeps", "tags", "tags"},
    {"sweeps", "words", "words"},
    {"uploads", "claim", "claim"},
    {"uploads", "session", "session"},
    /* GridFS's own two, by the names that its clients give them. */
    {"blobs.files", "filename_1_uploadDate_1", "filename uploadDate"},
    {"blobs.chunks", "files_id_1_n_1", "files_id n"},
};

int hub_ensure_indexes(struct store *store, bson_error_t *error)
{
    for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
        bson_t keys = BSON_INITIALIZER;
        for (const char *path = indexes[i].keys; *path != '\0';) {
            size_t length = strcspn(path, " ");
            bool descending = *path == '-';
            bson_append_int32(&keys, path + descending, (int)(length - descending), descending ? -1 : 1);
            path += length + (path[length] == ' ');
        }
        int result = store_ensure_index(store, indexes[i].collection, indexes[i].name, &keys, error);
        bson_destroy(&keys);
        if (result < 0) {
            return -1;
        }
    }
    return 1;
}
