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
    {"tasks", "published", "published project finished_at"},
    {"tasks", "number", "project seq"},
    {"tasks", "sweep", "project sweep"},
    {"tasks", "sweep_number", "project sweep seq"},
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
    {"models", "sweep", "project sweep blob_id"},
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
    {"rows", "number", "project dataset seq"},
    {"logs", "task", "task split number"},
    {"logs", "name", "project name created_at"},
    {"runners", "state", "project state started_at"},
    {"sweeps", "open", "project open"},
    {"sweeps", "name", "project name created_at"},
    {"sweeps", "tags", "tags"},
    {"sweeps", "words", "words"},
    {"uploads", "claim", "claim"},
    {"uploads", "session", "session"},
    /* GridFS's own two, by the names that its clients give them. */
    {"blobs.files", "filename_1_uploadDate_1", "filename uploadDate"},
    {"blobs.chunks", "files_id_1_n_1", "files_id n"},
};

static void make_keys(const struct index *index, bson_t *keys)
{
    bson_init(keys);
    for (const char *path = index->keys; *path != '\0';) {
        size_t length = strcspn(path, " ");
        bool descending = *path == '-';
        bson_append_int32(keys, path + descending, (int)(length - descending), descending ? -1 : 1);
        path += length + (path[length] == ' ');
    }
}

int hub_ensure_indexes(struct store *store, bson_error_t *error)
{
    for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
        bson_t keys;
        make_keys(&indexes[i], &keys);
        int result = store_ensure_index(store, indexes[i].collection, indexes[i].name, &keys, error);
        bson_destroy(&keys);
        if (result < 0) {
            return -1;
        }
    }
    return 1;
}

/* ---- are they there? ---- */

struct wanted {
    const struct index *index;
    bool there;
};

/* The same paths in the same directions; a server may keep the numbers as another type. */
static bool same_keys(const bson_t *a, const bson_t *b)
{
    bson_iter_t x, y;
    if (bson_count_keys(a) != bson_count_keys(b) || !bson_iter_init(&x, a) || !bson_iter_init(&y, b)) {
        return false;
    }
    while (bson_iter_next(&x) && bson_iter_next(&y)) {
        if (strcmp(bson_iter_key(&x), bson_iter_key(&y)) != 0 || (bson_iter_as_double(&x) < 0) != (bson_iter_as_double(&y) < 0)) {
            return false;
        }
    }
    return true;
}

static int look_at(void *data, const char *name, const bson_t *keys, bson_error_t *error)
{
    struct wanted *wanted = data;
    bson_t expected;
    (void)error;
    make_keys(wanted->index, &expected);
    /* On a server somebody may have made the same index under another name. */
    wanted->there = wanted->there || (same_keys(&expected, keys) && name != NULL);
    bson_destroy(&expected);
    return 0;
}

int64_t hub_missing_indexes(struct store *store, void (*visit)(void *data, const char *collection, const char *name),
                            void *data, bson_error_t *error)
{
    int64_t missing = 0;
    for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
        struct wanted wanted = {.index = &indexes[i]};
        if (store_list_indexes(store, indexes[i].collection, look_at, &wanted, error) < 0) {
            return -1;
        }
        if (!wanted.there) {
            missing++;
            visit(data, indexes[i].collection, indexes[i].name);
        }
    }
    return missing;
}
