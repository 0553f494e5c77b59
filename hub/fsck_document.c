/* SPDX-License-Identifier: Apache-2.0 */
/* One model, dataset, architecture, log, sweep or project, and what it leads to. */
#include "hub/dataset.h"
#include "hub/fsck_impl.h"
#include "hub/hub_impl.h"
#include "hub/task_impl.h"
#include "hub/tombstone.h"

#include <string.h>

#define LOST "restore it from a backup, or delete what points to it"

int fsck_check_blob(struct fsck *fsck, const bson_oid_t *id, int64_t length, const char *sha256, const char *where,
                    struct fsck_list *found, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, files;
    char text[25];
    BSON_APPEND_OID(&filter, "_id", id);
    bson_oid_to_string(id, text);
    int there = store_find_one(hub_store(fsck->hub), BLOB_FILES, &filter, NULL, &files, error);
    const char *other = hub_text(&files, "metadata.sha256");
    if (there == 0) {
        fsck_add(found, FSCK_ERROR, "blob-missing", LOST, "%s: blob %s is not there", where, text);
    } else if (there > 0 && length >= 0 && hub_number(&files, "length", -1) != length) {
        fsck_add(found, FSCK_ERROR, "blob-length", LOST, "%s: blob %s has %" PRId64 " bytes, not %" PRId64, where, text,
                 hub_number(&files, "length", -1), length);
    } else if (there > 0 && sha256 != NULL && other != NULL && strcmp(sha256, other) != 0) {
        fsck_add(found, FSCK_ERROR, "blob-digest", LOST, "%s: blob %s has SHA-256 %.64s, not %.64s", where, text, other,
                 sha256);
    }
    bson_destroy(&files);
    bson_destroy(&filter);
    return there < 0 ? -1 : 1;
}

int fsck_check_model(struct fsck *fsck, const bson_t *model, struct fsck_list *found, bson_error_t *error)
{
    bson_iter_t iter;
    if (tombstone_is(model)) {
        return 1;
    }
    if (hub_text(model, "name") == NULL) {
        fsck_add(found, FSCK_ERROR, "schema", "correct the document, or delete it", "model.name: it is missing");
    }
    if (!bson_has_field(model, "blob_id") && hub_text(model, "weights_dropped") != NULL) {
        return 1;
    }
    if (!bson_iter_init_find(&iter, model, "blob_id") || !BSON_ITER_HOLDS_OID(&iter)) {
        fsck_add(found, FSCK_ERROR, "blob-missing", LOST, "blob_id: the model has no weights");
        return 1;
    }
    return fsck_check_blob(fsck, bson_iter_oid(&iter), hub_number(model, "bytes", -1), hub_text(model, "sha256"), "blob_id",
                           found, error);
}

/* ---- datasets ---- */

static int check_part(struct fsck *fsck, const bson_t *part, size_t number, struct fsck_list *found, bson_error_t *error)
{
    bson_iter_t iter;
    char where[64];
    snprintf(where, sizeof where, "parts.%zu", number);
    if (!bson_iter_init_find(&iter, part, "blob_id") || !BSON_ITER_HOLDS_OID(&iter)) {
        return 1; /* the schema says so */
    }
    return fsck_check_blob(fsck, bson_iter_oid(&iter), hub_number(part, "bytes", -1), hub_text(part, "sha256"), where,
                           found, error);
}

static int check_parts(struct fsck *fsck, const bson_t *parts, int64_t *rows, struct fsck_list *found, bson_error_t *error)
{
    bson_iter_t iter;
    bson_t part;
    size_t number = 0;
    bool more = bson_iter_init(&iter, parts);
    while (more && bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&iter) && hub_item(&iter, &part)) {
            *rows += hub_number(&part, "rows", 0);
            if (check_part(fsck, &part, number, found, error) < 0) {
                return -1;
            }
        }
        number++;
    }
    return 1;
}

int fsck_check_dataset(struct fsck *fsck, const bson_t *dataset, struct fsck_list *found, bson_error_t *error)
{
    bson_t parts, splits;
    bson_iter_t iter;
    int64_t rows = 0, sum = 0;
    char digest[65];
    const char *own = hub_text(dataset, "digest");
    if (tombstone_is(dataset) || !hub_view(dataset, "parts", &parts)) {
        return 1;
    }
    if (check_parts(fsck, &parts, &rows, found, error) < 0) {
        return -1;
    }
    if (rows != hub_number(dataset, "rows", rows)) {
        fsck_add(found, FSCK_ERROR, "dataset-rows", "save the dataset again", "rows is %" PRId64 ", its parts have %" PRId64,
                 hub_number(dataset, "rows", 0), rows);
    }
    bool has_splits = hub_view(dataset, "splits", &splits) && bson_iter_init(&iter, &splits);
    while (has_splits && bson_iter_next(&iter)) {
        sum += BSON_ITER_HOLDS_NUMBER(&iter) ? bson_iter_as_int64(&iter) : 0;
    }
    if (has_splits && sum != rows) {
        fsck_add(found, FSCK_ERROR, "dataset-rows", "save the dataset again",
                 "splits come to %" PRId64 " rows, its parts have %" PRId64, sum, rows);
    }
    dataset_digest(dataset, digest);
    if (own == NULL || strcmp(own, digest) != 0) {
        fsck_add(found, FSCK_ERROR, "dataset-digest", "save the dataset again", "digest is %.64s, of its parts it is %.64s",
                 own != NULL ? own : "missing", digest);
    }
    return 1;
}

/* ---- architectures ---- */

int fsck_check_architecture(struct fsck *fsck, const bson_t *record, struct fsck_list *found, bson_error_t *error)
{
    bson_t graph;
    const char *own = hub_text(record, "digest");
    char digest[65];
    (void)error;
    if (fsck->options->architecture_json == NULL || !hub_view(record, "graph", &graph)) {
        return 1;
    }
    char *text = bson_as_relaxed_extended_json(&graph, NULL);
    char *json = text != NULL ? fsck->options->architecture_json(text) : NULL;
    if (json == NULL) {
        fsck_add(found, FSCK_ERROR, "architecture-graph", "delete it, and save it again", "graph: no net can be built from it");
    } else {
        hub_sha256(json, strlen(json), digest);
        if (own == NULL || strcmp(own, digest) != 0) {
            fsck_add(found, FSCK_ERROR, "architecture-digest", "delete it, and save it again",
                     "digest is %.64s, of its graph it is %.64s", own != NULL ? own : "missing", digest);
        }
    }
    bson_free(json);
    bson_free(text);
    return 1;
}

/* ---- logs ---- */

static bool list_has(const bson_t *task, const char *path, const char *claim)
{
    bson_t list;
    bson_iter_t iter, inner;
    bool found = false, more = hub_view(task, path, &list) && bson_iter_init(&iter, &list);
    while (more && !found && bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_UTF8(&iter)) {
            found = strcmp(bson_iter_utf8(&iter, NULL), claim) == 0;
        } else if (BSON_ITER_HOLDS_DOCUMENT(&iter) && bson_iter_recurse(&iter, &inner) && bson_iter_find(&inner, "claim") &&
                   BSON_ITER_HOLDS_UTF8(&inner)) {
            found = strcmp(bson_iter_utf8(&inner, NULL), claim) == 0;
        }
    }
    return found;
}

/* Whether readers are shown what this claim logged, or the task remembers how it failed. */
static bool names_claim(const bson_t *task, const char *claim)
{
    static const char *const paths[] = {"claim.id", "result.claim_id", "checkpoint.claim_id"};
    static const char *const lists[] = {"checkpoint.log_claims", "result.log_claims", "errors"};
    for (size_t i = 0; i < 3; i++) {
        const char *text = hub_text(task, paths[i]);
        if ((text != NULL && strcmp(text, claim) == 0) || list_has(task, lists[i], claim)) {
            return true;
        }
    }
    return false;
}

static int ask_task(struct fsck *fsck, const char *id, const char *claim, bson_error_t *error)
{
    bson_t task;
    char key[sizeof fsck->last_log_claim];
    snprintf(key, sizeof key, "%.126s", claim != NULL ? claim : "");
    if (!fsck->again && strcmp(fsck->last_task, id) == 0 && strcmp(fsck->last_log_claim, key) == 0) {
        return 1;
    }
    int there = fsck_find_text(fsck, TASKS, id, &task, error);
    bson_strncpy(fsck->last_task, id, sizeof fsck->last_task);
    bson_strncpy(fsck->last_log_claim, key, sizeof fsck->last_log_claim);
    fsck->last_task_there = there > 0;
    fsck->last_log_named = claim == NULL || there <= 0 || names_claim(&task, claim);
    bson_destroy(&task);
    return there < 0 ? -1 : 2; /* 2: the first of its claim */
}

int fsck_check_log(struct fsck *fsck, const bson_t *log, struct fsck_list *found, bson_error_t *error)
{
    const char *task = hub_text(log, "task"), *claim = hub_text(log, "claim"), *id = hub_text(log, "_id");
    const char *split = hub_text(log, "split");
    if (claim != NULL && id != NULL && split != NULL) {
        char *expected = bson_strdup_printf("%s/%s/%" PRId64, claim, split, hub_number(log, "number", -1));
        if (strcmp(id, expected) != 0) {
            fsck_add(found, FSCK_ERROR, "log-id", "delete the bucket", "its _id should be %.300s", expected);
        }
        bson_free(expected);
    }
    if (claim != NULL && task == NULL) {
        fsck_add(found, FSCK_WARNING, "log-orphan", "delete the bucket", "claim %.64s wrote it, and it names no task", claim);
    }
    if (task == NULL || strlen(task) >= sizeof fsck->last_task) {
        return 1;
    }
    int asked = ask_task(fsck, task, claim, error);
    if (asked < 0) {
        return -1;
    }
    if (!fsck->last_task_there) {
        fsck_add(found, FSCK_WARNING, "log-orphan", "tl_hub gc", "task %.127s is not there", task);
    } else if (!fsck->last_log_named && asked == 2) {
        fsck_add(found, FSCK_NOTE, "log-claim", "nothing: readers do not see it, and it goes with its task",
                 "task %.64s does not name claim %.64s, which wrote this and maybe more", task, claim);
    }
    return 1;
}

/* ---- sweeps ---- */

int fsck_check_sweep(struct fsck *fsck, const bson_t *sweep, struct fsck_list *found, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_iter_t iter;
    const char *project = hub_text(sweep, "project");
    int64_t points = hub_number(sweep, "points", -1), seeds = hub_number(sweep, "seeds", 1), wanted, submitted = hub_number(sweep, "submitted", -1);
    BSON_APPEND_UTF8(&filter, "project", project != NULL ? project : "");
    if (bson_iter_init_find(&iter, sweep, "_id")) {
        bson_append_iter(&filter, "sweep", 5, &iter);
    }
    int64_t tasks = store_count(hub_store(fsck->hub), TASKS, &filter, error);
    bson_destroy(&filter);
    if (tasks < 0) {
        return -1;
    }
    if (points >= 0 && (seeds < 1 || __builtin_mul_overflow(points, seeds, &wanted))) {
        fsck_add(found, FSCK_ERROR, "sweep-points", "submit its file again", "%" PRId64 " points of %" PRId64 " seeds", points,
                 seeds);
    } else if (points >= 0 && (submitted > wanted || tasks > wanted)) {
        fsck_add(found, FSCK_ERROR, "sweep-points", "look at its tasks (tl_hub find-task), and delete what is not of it",
                 "%" PRId64 " tasks of its points, but %" PRId64 " submitted and %" PRId64 " tasks", wanted, submitted, tasks);
    } else if (points >= 0 && tasks < wanted) {
        fsck_add(found, FSCK_NOTE, "sweep-incomplete",
                 "nothing, if tasks were deleted or it is a search that still goes on; else submit its file again",
                 "%" PRId64 " tasks of its points, and %" PRId64 " are there", wanted, tasks);
    }
    return 1;
}

/* ---- projects ---- */

int fsck_check_project(struct fsck *fsck, const bson_t *document, struct fsck_list *found, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, counter, task;
    const char *name = hub_text(document, "_id"), *project = hub_text(document, "project");
    char id[128];
    if (name == NULL || project == NULL || strcmp(name, project) != 0) {
        bson_destroy(&sort);
        bson_destroy(&filter);
        fsck_add(found, FSCK_ERROR, "schema", "delete the document, and make the project anew", "project: it is not its _id");
        return 1;
    }
    /* The counter is read after the tasks: it only goes up. */
    BSON_APPEND_UTF8(&filter, "project", name);
    BSON_APPEND_INT32(&sort, "seq", -1);
    struct store_find_options options = {.sort = &sort};
    int result = store_find_one(hub_store(fsck->hub), TASKS, &filter, &options, &task, error);
    int64_t highest = hub_number(&task, "seq", 0);
    bson_destroy(&task);
    if (result >= 0) {
        snprintf(id, sizeof id, "tasks:%.100s", name);
        result = fsck_find_text(fsck, "counters", id, &counter, error);
        int64_t value = hub_number(&counter, "value", 0);
        if (result >= 0 && value < highest) {
            fsck_add(found, FSCK_ERROR, "counter", "raise the value of this counter, or new tasks repeat numbers",
                     "counter %s is at %" PRId64 ", and there is a task #%" PRId64, id, value, highest);
        }
        bson_destroy(&counter);
    }
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}
