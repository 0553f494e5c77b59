/* SPDX-License-Identifier: Apache-2.0 */
/* What is not one document's own: numbers, uploads, imports, indexes, the engine. */
#include "hub/fsck_impl.h"
#include "hub/gc_impl.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"
#include "hub/task_impl.h"

#include <string.h>

#define STAND_MS (3 * GC_BEAT_MS)
#define WATCHED 10000

/* ---- task numbers given twice ---- */

static int check_number(struct fsck *fsck, const bson_t *task, struct fsck_list *found, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    bson_iter_t seq;
    const char *project = hub_text(task, "project");
    int64_t count = 0;
    BSON_APPEND_UTF8(&filter, "project", project != NULL ? project : "");
    if (bson_iter_init_find(&seq, task, "seq")) {
        bson_append_iter(&filter, "seq", 3, &seq);
        count = store_count(hub_store(fsck->hub), TASKS, &filter, error);
        if (count > 1) {
            fsck_add(found, FSCK_WARNING, "number-twice", "name such tasks by their _id", "%" PRId64 " tasks have the number %" PRId64,
                     count, bson_iter_as_int64(&seq));
        }
    }
    bson_destroy(&filter);
    return count < 0 ? -1 : 1;
}

/* Neighbours in the order of their numbers. */
static int walk_numbers(struct fsck *fsck, const char *project, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    const bson_t *task;
    int64_t last = INT64_MIN;
    int next = -1;
    BSON_APPEND_UTF8(&filter, "project", project);
    BSON_APPEND_INT32(&sort, "seq", 1);
    BSON_APPEND_INT32(&projection, "project", 1);
    BSON_APPEND_INT32(&projection, "seq", 1);
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(fsck->hub), TASKS, &filter, &options, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &task, error)) > 0) {
        int64_t seq = hub_number(task, "seq", INT64_MIN);
        if (seq == last && seq != INT64_MIN && fsck_look(fsck, TASKS, check_number, task, error) < 0) {
            next = -1;
            break;
        }
        last = seq;
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return next;
}

int fsck_numbers(struct fsck *fsck, bson_error_t *error)
{
    struct archive_scan *scan = archive_scan_open(hub_store(fsck->hub), "projects", fsck->options->project);
    const bson_t *document;
    int result;
    while ((result = archive_scan_next(scan, &document, error)) > 0) {
        const char *name = hub_text(document, "project");
        if (name != NULL && walk_numbers(fsck, name, error) < 0) {
            result = -1;
            break;
        }
    }
    archive_scan_close(scan);
    return result < 0 ? -1 : fsck_look_again(fsck, error);
}

/* ---- uploads and imports: whether they go on ---- */

static void watch(struct fsck *fsck, const char *collection, const bson_t *document)
{
    bson_iter_t iter;
    if (fsck->watched_count == WATCHED || !bson_iter_init_find(&iter, document, "_id")) {
        return;
    }
    fsck->watched = bson_realloc(fsck->watched, (fsck->watched_count + 1) * sizeof *fsck->watched);
    struct fsck_watched *watched = &fsck->watched[fsck->watched_count++];
    *watched = (struct fsck_watched){
        .collection = collection, .key = bson_new(), .beat = hub_number(document, "beat", -1)};
    bson_append_iter(watched->key, "_id", 3, &iter);
}

static bool is_importing(const bson_t *record)
{
    const char *id = hub_text(record, "_id"), *state = hub_text(record, "state");
    return id != NULL && strncmp(id, "import:", 7) == 0 && state != NULL && strcmp(state, "importing") == 0;
}

static int watch_all(struct fsck *fsck, const char *collection, bson_error_t *error)
{
    bool meta = strcmp(collection, "meta") == 0;
    struct archive_scan *scan = archive_scan_open(hub_store(fsck->hub), collection, meta ? NULL : fsck->options->project);
    const bson_t *document;
    int result;
    while ((result = archive_scan_next(scan, &document, error)) > 0) {
        if (meta ? is_importing(document) : hub_text(document, "claim") == NULL) {
            watch(fsck, collection, document);
        }
    }
    archive_scan_close(scan);
    return result;
}

int fsck_watch(struct fsck *fsck, bson_error_t *error)
{
    if (watch_all(fsck, GC_UPLOADS, error) < 0 ||
        (fsck->options->project == NULL && watch_all(fsck, "meta", error) < 0)) {
        return -1;
    }
    fsck->watched_at = hub_boottime();
    return 1;
}

static int read_watched(struct fsck *fsck, const struct fsck_watched *watched, bson_t *now, bson_error_t *error)
{
    int there = store_find_one(hub_store(fsck->hub), watched->collection, watched->key, NULL, now, error);
    if (there > 0 && (hub_number(now, "beat", -1) != watched->beat ||
                      (strcmp(watched->collection, "meta") == 0 && !is_importing(now)))) {
        there = 0;
    }
    return there;
}

/* How many still stand where they stood; with say they are reported. */
static int64_t count_standing(struct fsck *fsck, bool say, bson_error_t *error)
{
    int64_t standing = 0;
    for (size_t i = 0; i < fsck->watched_count; i++) {
        const struct fsck_watched *watched = &fsck->watched[i];
        bson_t now;
        int there = read_watched(fsck, watched, &now, error);
        standing += there > 0;
        if (there > 0 && say && strcmp(watched->collection, "meta") == 0) {
            fsck_report(fsck, FSCK_WARNING, "import-incomplete", "meta", &now, "run the same import again",
                        "an import was begun and does not go on");
        } else if (there > 0 && say) {
            fsck_report(fsck, FSCK_WARNING, "upload-stale", GC_UPLOADS, &now, "tl_hub gc",
                        "a save or an import was left, its beat stands still");
        }
        bson_destroy(&now);
        if (there < 0) {
            return -1;
        }
    }
    return standing;
}

int fsck_watch_end(struct fsck *fsck, bson_error_t *error)
{
    int64_t stand = fsck->options->stand_ms > 0 ? fsck->options->stand_ms : STAND_MS;
    int64_t standing = count_standing(fsck, false, error);
    int64_t left = fsck->watched_at + stand - hub_boottime();
    if (standing <= 0) {
        return standing < 0 ? -1 : 1;
    }
    if (left > 0) {
        hub_sleep(left);
    }
    return count_standing(fsck, true, error) < 0 ? -1 : 1;
}

/* Those under a claim: their task says whether they go on. */
static int check_upload(struct fsck *fsck, const bson_t *upload, struct fsck_list *found, bson_error_t *error)
{
    int stale = hub_text(upload, "claim") != NULL ? gc_is_stale(&fsck->gc, upload, error) : 0;
    if (stale > 0) {
        fsck_add(found, FSCK_WARNING, "upload-stale", "tl_hub gc", "task %.127s does not run under claim %.64s",
                 hub_text(upload, "task") != NULL ? hub_text(upload, "task") : "(none)", hub_text(upload, "claim"));
    }
    return stale < 0 ? -1 : 1;
}

int fsck_uploads(struct fsck *fsck, bson_error_t *error)
{
    struct archive_scan *scan = archive_scan_open(hub_store(fsck->hub), GC_UPLOADS, fsck->options->project);
    const bson_t *upload;
    int result;
    while ((result = archive_scan_next(scan, &upload, error)) > 0) {
        if (fsck_look(fsck, GC_UPLOADS, check_upload, upload, error) < 0) {
            result = -1;
            break;
        }
    }
    archive_scan_close(scan);
    return result < 0 ? -1 : fsck_look_again(fsck, error);
}

/* ---- meta, indexes, engine ---- */

static int check_meta(struct fsck *fsck, const bson_t *meta, struct fsck_list *found, bson_error_t *error)
{
    bson_error_t why = {0};
    const char *id = hub_text(meta, "_id");
    (void)fsck;
    (void)error;
    if (id != NULL && strcmp(id, "hub") == 0 && schema_check("meta", meta, &why) < 0) {
        fsck_add(found, FSCK_ERROR, "schema", "correct the document", "%s", why.message);
    }
    return 1;
}

int fsck_meta(struct fsck *fsck, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, meta;
    BSON_APPEND_UTF8(&filter, "_id", "hub");
    int result = store_find_one(hub_store(fsck->hub), "meta", &filter, NULL, &meta, error);
    if (result > 0) {
        result = fsck_look(fsck, "meta", check_meta, &meta, error);
    }
    bson_destroy(&meta);
    bson_destroy(&filter);
    return result < 0 ? -1 : fsck_look_again(fsck, error);
}

static void missing_index(void *data, const char *collection, const char *name)
{
    fsck_report(data, FSCK_WARNING, "index-missing", collection, NULL, "tl_hub init makes it", "index \"%s\" is missing: what it serves is slow", name);
}

int fsck_indexes(struct fsck *fsck, bson_error_t *error)
{
    return hub_missing_indexes(hub_store(fsck->hub), missing_index, fsck, error) < 0 ? -1 : 1;
}

static void engine_finding(void *data, const char *what)
{
    fsck_report(data, FSCK_ERROR, "engine", "", NULL, "stop runners, copy the file, and import a backup into a new hub", "%s", what);
}

int fsck_engine(struct fsck *fsck, bson_error_t *error)
{
    return store_check(hub_store(fsck->hub), engine_finding, fsck, error) < 0 ? -1 : 1;
}
