/* SPDX-License-Identifier: Apache-2.0 */
/* One task, and what it leads to. */
#include "hub/fsck_impl.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"
#include "hub/task_impl.h"
#include "hub/tombstone.h"

#include <string.h>

#define FOLLOWED 10000 /* tasks along `after`, from one */

static bool is_state(const bson_t *task, const char *const *states)
{
    const char *state = hub_text(task, "state");
    for (; state != NULL && *states != NULL; states++) {
        if (strcmp(state, *states) == 0) {
            return true;
        }
    }
    return false;
}

static const char *const waits[] = {"waiting", "paused", NULL};
static const char *const begins[] = {"waiting", "delayed", "ready", "paused", "parked", NULL};
static const char *const results[] = {"done", "stopped", NULL};
static const char *const running[] = {"running", NULL};

static void check_fields(const bson_t *task, struct fsck_list *found)
{
    bson_iter_t iter;
    bool more = bson_iter_init(&iter, task);
    while (more && bson_iter_next(&iter)) {
        if (!schema_knows("task", bson_iter_key(&iter))) {
            fsck_add(found, FSCK_WARNING, "field-unknown", "unset it, if nobody needs it", "there is no field \"%.100s\" in a task",
                     bson_iter_key(&iter));
        }
    }
}

/* ---- result, model, weights ---- */

static void compare_model(const bson_t *task, const bson_t *model, const char *claim, struct fsck_list *found)
{
    bson_iter_t iter, mine, theirs;
    const char *sha256 = hub_text(task, "result.sha256"), *other = hub_text(model, "sha256");
    const char *owner = hub_text(model, "task");
    char id[128];
    if (sha256 != NULL && (other == NULL || strcmp(sha256, other) != 0)) {
        fsck_add(found, FSCK_ERROR, "result-digest", "export keeps both; trust the one that the blob hashes to",
                 "result.sha256 is %.64s, model %.64s says %.64s", sha256, claim, other != NULL ? other : "none");
    }
    if (bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, "result.blob_id", &mine) &&
        BSON_ITER_HOLDS_OID(&mine) &&
        (!bson_iter_init_find(&theirs, model, "blob_id") || !BSON_ITER_HOLDS_OID(&theirs) ||
         !bson_oid_equal(bson_iter_oid(&mine), bson_iter_oid(&theirs)))) {
        fsck_add(found, FSCK_ERROR, "result-blob", "export keeps both; trust the one whose digest is right",
                 "result.blob_id and model %.64s's blob_id are not the same", claim);
    }
    if (task_document_id(task, id) && (owner == NULL || strcmp(owner, id) != 0)) {
        fsck_add(found, FSCK_ERROR, "model-task", "set the model's task", "model %.64s names task %.127s, not this one", claim,
                 owner != NULL ? owner : "(none)");
    }
}

static int check_model(struct fsck *fsck, const bson_t *task, const char *claim, struct fsck_list *found,
                       bson_error_t *error)
{
    bson_t model;
    int there = fsck_find_text(fsck, "models", claim, &model, error);
    if (there == 0) {
        fsck_add(found, FSCK_ERROR, "model-missing",
                 "restore it from a backup, or restart the task",
                 "result names model %.64s, which is not there and has left no tombstone", claim);
    } else if (there > 0 && !tombstone_is(&model)) {
        compare_model(task, &model, claim, found);
    }
    bson_destroy(&model);
    return there < 0 ? -1 : 1;
}

/* Of a task that made a dataset (kind infer): its parts are checked with the dataset. */
static int check_dataset(struct fsck *fsck, const bson_t *task, const char *id, struct fsck_list *found, bson_error_t *error)
{
    bson_t dataset;
    bson_iter_t iter, deleted;
    char own[128];
    if (bson_iter_init(&iter, task) && bson_iter_find_descendant(&iter, "result.deleted", &deleted) &&
        bson_iter_as_bool(&deleted)) {
        return 1;
    }
    int there = fsck_find_text(fsck, "datasets", id, &dataset, error);
    const char *owner = hub_text(&dataset, "task");
    if (there == 0) {
        fsck_add(found, FSCK_ERROR, "dataset-missing", "restore it from a backup, or restart the task",
                 "result names dataset %.64s, which is not there and has left no tombstone", id);
    } else if (there > 0 && task_document_id(task, own) && (owner == NULL || strcmp(owner, own) != 0)) {
        fsck_add(found, FSCK_ERROR, "dataset-task", "set the dataset's task", "dataset %.64s names task %.127s, not this one", id,
                 owner != NULL ? owner : "(none)");
    }
    bson_destroy(&dataset);
    return there < 0 ? -1 : 1;
}

/* One of kind outside is claimed by nobody: its result has an id of its own. */
static bool is_of_last_claim(const bson_t *task, const char *claim)
{
    const char *held = hub_text(task, "claim.id"), *kind = hub_text(task, "kind");
    return held != NULL ? strcmp(held, claim) == 0 : kind != NULL && strcmp(kind, "outside") == 0;
}

static int check_result(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    const char *claim = hub_text(task, "result.claim_id"), *held = hub_text(task, "claim.id");
    bson_iter_t iter, blob;
    bool published = bson_iter_init_find(&iter, task, "published") && bson_iter_as_bool(&iter);
    if (claim == NULL) {
        fsck_add(found, FSCK_ERROR, "result-missing", "restart the task", "state \"%s\" without result.claim_id",
                 hub_text(task, "state"));
        return 1;
    }
    if (!is_of_last_claim(task, claim)) {
        fsck_add(found, FSCK_ERROR, "result-claim", "restart the task, if its result is not to be trusted",
                 "result is of claim %.64s, the last claim is %.64s", claim, held != NULL ? held : "(none)");
    }
    if (!published) {
        fsck_add(found, FSCK_WARNING, "unpublished", "a runner's sweeper publishes it: start a runner",
                 "its result is committed, but not published");
        return 1;
    }
    if (hub_text(task, "result.dataset_id") != NULL &&
        check_dataset(fsck, task, hub_text(task, "result.dataset_id"), found, error) < 0) {
        return -1;
    }
    if (!bson_iter_init(&iter, task) || !bson_iter_find_descendant(&iter, "result.blob_id", &blob) ||
        !BSON_ITER_HOLDS_OID(&blob)) {
        return 1; /* made no model, or it was deleted */
    }
    if (fsck_check_blob(fsck, bson_iter_oid(&blob), -1, hub_text(task, "result.sha256"), "result.blob_id", found, error) < 0) {
        return -1;
    }
    return check_model(fsck, task, claim, found, error);
}

static int check_checkpoint(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    bson_iter_t iter, blob;
    if (!bson_iter_init(&iter, task) || !bson_iter_find_descendant(&iter, "checkpoint.blob_id", &blob) ||
        !BSON_ITER_HOLDS_OID(&blob)) {
        return 1;
    }
    return fsck_check_blob(fsck, bson_iter_oid(&blob), hub_number(task, "checkpoint.bytes", -1),
                           hub_text(task, "checkpoint.sha256"), "checkpoint.blob_id", found, error);
}

/* ---- after ---- */

struct follow {
    struct fsck *fsck;
    char (*ids)[128]; /* to be followed */
    size_t count, next;
    struct archive_set seen;
    const char *goal;
    bool reached;
};

/* Appends the tasks that this one waits for and that have not ended. missing gets the ids of none. */
static int follow_from(struct follow *follow, const bson_t *task, struct fsck_list *missing, int64_t *highest,
                       bson_error_t *error)
{
    bson_t after, other;
    bson_iter_t iter, met_at;
    int result = 1;
    bool more = hub_view(task, "after", &after) && bson_iter_init(&iter, &after);
    bool met = bson_iter_init_find(&met_at, task, "after_met") && BSON_ITER_HOLDS_BOOL(&met_at) && bson_iter_bool(&met_at);
    while (more && result >= 0 && !follow->reached && bson_iter_next(&iter)) {
        char id[128];
        if (!task_id_text(&iter, id)) {
            continue;
        }
        follow->reached = strcmp(id, follow->goal) == 0;
        result = fsck_find_text(follow->fsck, TASKS, id, &other, error);
        if (result == 0 && missing != NULL && !met) {
            fsck_add(missing, FSCK_WARNING, "after-missing", "the next idle runner cancels it", "it waits for task %s, which is not there",
                     id);
        }
        if (result > 0 && is_state(&other, waits)) {
            int64_t seq = hub_number(&other, "seq", 0);
            *highest = seq > *highest ? seq : *highest;
            if (follow->count < FOLLOWED && archive_set_add(&follow->seen, id, strlen(id))) {
                memcpy(follow->ids[follow->count++], id, sizeof id);
            }
        }
        bson_destroy(&other);
    }
    return result < 0 ? -1 : 1;
}

/* In every circle some task waits for one with a number that is not lower: only there it is looked for. */
static int check_after(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    struct follow follow = {.fsck = fsck};
    char goal[128];
    int64_t highest = INT64_MIN, ignored = INT64_MIN;
    if (!is_state(task, waits) || !bson_has_field(task, "after") || !task_document_id(task, goal)) {
        return 1;
    }
    follow.goal = goal;
    follow.ids = bson_malloc(FOLLOWED * sizeof *follow.ids);
    int result = follow_from(&follow, task, found, &highest, error);
    if (highest < hub_number(task, "seq", 0)) {
        follow.count = 0;
    }
    while (result > 0 && !follow.reached && follow.next < follow.count) {
        bson_t other;
        result = fsck_find_text(fsck, TASKS, follow.ids[follow.next++], &other, error);
        if (result > 0) {
            result = follow_from(&follow, &other, NULL, &ignored, error);
        }
        bson_destroy(&other);
        result = result < 0 ? -1 : 1;
    }
    if (result > 0 && follow.reached) {
        fsck_add(found, FSCK_ERROR, "after-cycle", "cancel one of them (tl_hub cancel-task)",
                 "it waits for itself, through `after` of the tasks that it waits for");
    }
    archive_set_destroy(&follow.seen);
    bson_free(follow.ids);
    return result;
}

/* ---- sweep and architecture ---- */

static int check_sweep(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    const char *sweep = hub_text(task, "sweep");
    bson_t record;
    if (sweep == NULL) {
        return 1;
    }
    int there = fsck_find_text(fsck, "sweeps", sweep, &record, error);
    bson_destroy(&record);
    if (there == 0) {
        fsck_add(found, FSCK_WARNING, "sweep-missing", "submit the sweep's file again: its tasks are found there",
                 "sweep %.127s is not there", sweep);
    }
    return there < 0 ? -1 : 1;
}

static int has_architecture(struct fsck *fsck, const bson_t *task, const char *path, const char *value, bson_error_t *error)
{
    const char *project = hub_text(task, "project");
    char key[160];
    snprintf(key, sizeof key, "%.64s %s %.80s", project != NULL ? project : "", path, value);
    if (fsck->again || strcmp(key, fsck->last_architecture) != 0) {
        bson_t filter = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&filter, "project", project != NULL ? project : "");
        BSON_APPEND_UTF8(&filter, path, value);
        int64_t there = store_count(hub_store(fsck->hub), "architectures", &filter, error);
        bson_destroy(&filter);
        if (there < 0) {
            return -1;
        }
        memcpy(fsck->last_architecture, key, sizeof key);
        fsck->last_architecture_there = there > 0;
    }
    return fsck->last_architecture_there;
}

/* A text without blanks, colons and braces may be the name of a saved one, as runners read it. */
static int check_architecture(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    const char *text = hub_text(task, "architecture"), *digest = hub_text(task, "architecture_digest");
    int there = 1;
    if (text != NULL && is_state(task, begins) && *text != '\0' && strpbrk(text, " :\t\n{") == NULL &&
        fsck->options->architecture_json != NULL) {
        there = has_architecture(fsck, task, "name", text, error);
        char *json = there == 0 ? fsck->options->architecture_json(text) : NULL;
        if (there == 0 && json == NULL && !(strlen(text) >= 6 && hub_is_hex(text))) {
            fsck_add(found, FSCK_ERROR, "architecture-missing", "save it (tl_hub save-architecture), or cancel the task",
                     "no saved architecture is called \"%.100s\", and it is no short form", text);
        }
        bson_free(json);
    } else if (digest != NULL) {
        there = has_architecture(fsck, task, "digest", digest, error);
        if (there == 0) {
            fsck_add(found, FSCK_NOTE, "architecture-unsaved", "nothing: the task holds its own",
                     "no saved architecture has the digest %.64s", digest);
        }
    }
    return there < 0 ? -1 : 1;
}

int fsck_check_task(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    check_fields(task, found);
    if (is_state(task, running) && hub_text(task, "claim.id") == NULL) {
        fsck_add(found, FSCK_ERROR, "claim-missing", "a runner's sweeper takes it back: start a runner",
                 "it is running without a claim");
    }
    if (is_state(task, begins) && hub_number(task, "lane", 0) >= hub_lanes(fsck->hub)) {
        fsck_add(found, FSCK_WARNING, "lane-unserved", "set its lane to 0",
                 "its lane is %" PRId64 ", and the hub has %d: no runner claims it", hub_number(task, "lane", 0),
                 (int)hub_lanes(fsck->hub));
    }
    if (is_state(task, results) && check_result(fsck, task, found, error) < 0) {
        return -1;
    }
    if (check_checkpoint(fsck, task, found, error) < 0 || check_after(fsck, task, found, error) < 0 ||
        check_sweep(fsck, task, found, error) < 0) {
        return -1;
    }
    return check_architecture(fsck, task, found, error);
}

/* The walk, which goes by _id, does not come by them. */
int fsck_unnameable_tasks(struct fsck *fsck, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *task;
    int next = -1;
    if (fsck->options->project != NULL) {
        BSON_APPEND_UTF8(&filter, "project", fsck->options->project);
    }
    BSON_APPEND_UTF8(&filter, "state", "running");
    struct store_cursor *cursor = store_find(hub_store(fsck->hub), TASKS, &filter, NULL, error);
    bson_destroy(&filter);
    while (cursor != NULL && (next = store_cursor_next(cursor, &task, error)) > 0) {
        if (!task_is_nameable(task)) {
            fsck_report(fsck, FSCK_ERROR, "id-unusable", TASKS, task, "delete it with the program that wrote it",
                        "no filter can name its _id: it is running, and is never taken back");
        }
    }
    store_cursor_close(cursor);
    return next < 0 ? -1 : 1;
}
