/* SPDX-License-Identifier: Apache-2.0 */
/* The walk, and the second look. */
#include "hub/fsck_impl.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"
#include "hub/task_impl.h"

#include <stdarg.h>
#include <string.h>

#define SETTLE_MS 2000

/* ---- findings ---- */

void fsck_add(struct fsck_list *found, enum fsck_severity severity, const char *check, const char *advice,
              const char *format, ...)
{
    va_list arguments;
    if (found->count == found->capacity) {
        found->capacity = found->capacity > 0 ? 2 * found->capacity : 2;
        found->items = bson_realloc(found->items, found->capacity * sizeof *found->items);
    }
    va_start(arguments, format);
    char *what = bson_strdupv_printf(format, arguments);
    va_end(arguments);
    found->items[found->count++] =
        (struct fsck_item){.severity = severity, .check = check, .advice = advice, .what = what};
}

static void destroy_list(struct fsck_list *found)
{
    for (size_t i = 0; i < found->count; i++) {
        bson_free(found->items[i].what);
    }
    bson_free(found->items);
    *found = (struct fsck_list){0};
}

static void say(struct fsck *fsck, const struct fsck_item *item, const char *collection, const bson_t *document)
{
    char id[320] = "";
    const char *project = document != NULL ? hub_text(document, "project") : NULL;
    if (document != NULL) {
        archive_id_text(document, id, sizeof id);
    }
    const struct fsck_finding finding = {.severity = item->severity,
                                         .check = item->check,
                                         .collection = collection,
                                         .id = id,
                                         .project = project != NULL ? project : "",
                                         .what = item->what,
                                         .advice = item->advice};
    fsck->report->errors += item->severity == FSCK_ERROR;
    fsck->report->warnings += item->severity == FSCK_WARNING;
    fsck->report->notes += item->severity == FSCK_NOTE;
    fsck->options->found(fsck->options->data, &finding);
}

void fsck_report(struct fsck *fsck, enum fsck_severity severity, const char *check, const char *collection,
                 const bson_t *document, const char *advice, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *what = bson_strdupv_printf(format, arguments);
    va_end(arguments);
    const struct fsck_item item = {.severity = severity, .check = check, .advice = advice, .what = what};
    say(fsck, &item, collection, document);
    bson_free(what);
}

void fsck_tell(struct fsck *fsck, const char *collection, int64_t done, int64_t total)
{
    const struct fsck_progress progress = {.collection = collection, .done = done, .total = total};
    if (fsck->options->progress != NULL) {
        fsck->options->progress(fsck->options->data, &progress);
    }
}

/* ---- two looks ---- */

int fsck_look(struct fsck *fsck, const char *collection, fsck_check *check, const bson_t *document, bson_error_t *error)
{
    struct fsck_list found = {0};
    bson_iter_t iter;
    int result = check(fsck, document, &found, error);
    if (result < 0 || found.count == 0) {
        destroy_list(&found);
        return result;
    }
    if (fsck->suspect_count == FSCK_SUSPECTS && fsck_look_again(fsck, error) < 0) {
        destroy_list(&found);
        return -1;
    }
    struct fsck_suspect *suspect = &fsck->suspects[fsck->suspect_count++];
    *suspect = (struct fsck_suspect){.collection = collection, .check = check, .key = bson_new(), .found = found};
    if (bson_iter_init_find(&iter, document, "_id")) {
        bson_append_iter(suspect->key, "_id", 3, &iter);
    }
    fsck->suspected_at = hub_boottime();
    return 1;
}

static bool is_among(const struct fsck_item *item, const struct fsck_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(item->check, list->items[i].check) == 0 && strcmp(item->what, list->items[i].what) == 0) {
            return true;
        }
    }
    return false;
}

static int look_at_suspect(struct fsck *fsck, const struct fsck_suspect *suspect, bson_error_t *error)
{
    struct fsck_list found = {0};
    bson_t document;
    int result = store_find_one(hub_store(fsck->hub), suspect->collection, suspect->key, NULL, &document, error);
    if (result > 0) {
        result = suspect->check(fsck, &document, &found, error);
    }
    for (size_t i = 0; result > 0 && i < found.count; i++) {
        if (is_among(&found.items[i], &suspect->found)) {
            say(fsck, &found.items[i], suspect->collection, &document);
        }
    }
    destroy_list(&found);
    bson_destroy(&document);
    return result;
}

static void forget_suspects(struct fsck *fsck)
{
    for (size_t i = 0; i < fsck->suspect_count; i++) {
        bson_destroy(fsck->suspects[i].key);
        destroy_list(&fsck->suspects[i].found);
    }
    fsck->suspect_count = 0;
}

int fsck_look_again(struct fsck *fsck, bson_error_t *error)
{
    int64_t settle = fsck->options->settle_ms > 0 ? fsck->options->settle_ms : SETTLE_MS;
    int result = 1;
    if (fsck->suspect_count == 0) {
        return 1;
    }
    int64_t left = fsck->suspected_at + settle - hub_boottime();
    if (left > 0) {
        hub_sleep(left);
    }
    fsck->again = true;
    for (size_t i = 0; i < fsck->suspect_count && result >= 0; i++) {
        result = look_at_suspect(fsck, &fsck->suspects[i], error);
    }
    fsck->again = false;
    forget_suspects(fsck);
    return result < 0 ? -1 : 1;
}

/* ---- looking up ---- */

int fsck_find_text(struct fsck *fsck, const char *collection, const char *id, bson_t *out, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    if (strcmp(collection, TASKS) == 0) {
        task_append_id(&filter, "_id", id); /* clients of other languages have ObjectIds */
    } else {
        BSON_APPEND_UTF8(&filter, "_id", id);
    }
    int result = store_find_one(hub_store(fsck->hub), collection, &filter, NULL, out, error);
    bson_destroy(&filter);
    return result;
}

/* ---- the walk ---- */

/* What every document has: a shape, and a project that exists. */
static int check_common(struct fsck *fsck, const char *schema, const bson_t *document, struct fsck_list *found,
                        bson_error_t *error)
{
    bson_error_t why = {0};
    bson_t project_document;
    const char *project = hub_text(document, "project");
    if (schema_check(schema, document, &why) < 0) {
        fsck_add(found, FSCK_ERROR, "schema", "correct the document, or delete it", "%s", why.message);
    }
    if (project == NULL || strlen(project) >= sizeof fsck->last_project) {
        return 1; /* the schema has said so */
    }
    if (fsck->again || strcmp(project, fsck->last_project) != 0) {
        int there = fsck_find_text(fsck, "projects", project, &project_document, error);
        bson_destroy(&project_document);
        if (there < 0) {
            return -1;
        }
        bson_strncpy(fsck->last_project, project, sizeof fsck->last_project);
        fsck->last_project_there = there > 0;
    }
    if (!fsck->last_project_there) {
        fsck_add(found, FSCK_ERROR, "project-missing", "tl_hub init --project NAME makes it", "project \"%s\" is not in the hub",
                 project);
    }
    return 1;
}

struct walked {
    const char *collection, *schema;
    fsck_check *check;
};

static const struct walked *walked_of(const char *collection);

static int check_document(struct fsck *fsck, const struct walked *walked, const bson_t *document,
                          struct fsck_list *found, bson_error_t *error)
{
    if (check_common(fsck, walked->schema, document, found, error) < 0) {
        return -1;
    }
    return walked->check != NULL ? walked->check(fsck, document, found, error) : 1;
}

/* One function a collection, so that a suspect's check knows where it is. */
#define CHECK_IN(name)                                                                                              \
    static int check_in_##name(struct fsck *fsck, const bson_t *document, struct fsck_list *found, bson_error_t *error) \
    {                                                                                                               \
        return check_document(fsck, walked_of(#name), document, found, error);                                      \
    }
CHECK_IN(projects)
CHECK_IN(architectures)
CHECK_IN(sweeps)
CHECK_IN(datasets)
CHECK_IN(rows)
CHECK_IN(models)
CHECK_IN(runners)
CHECK_IN(logs)
CHECK_IN(tasks)
#undef CHECK_IN

static const struct walked walks[] = {
    {"projects", "project", fsck_check_project},
    {"architectures", "architecture", fsck_check_architecture},
    {"sweeps", "sweep", fsck_check_sweep},
    {"datasets", "dataset", fsck_check_dataset},
    {"rows", "row", fsck_check_row},
    {"models", "model", fsck_check_model},
    {"runners", "runner", NULL},
    {"logs", "log", fsck_check_log},
    {"tasks", "task", fsck_check_task},
};

static fsck_check *const checks[] = {
    check_in_projects, check_in_architectures, check_in_sweeps, check_in_datasets, check_in_rows,
    check_in_models,   check_in_runners,       check_in_logs,   check_in_tasks,
};

static const struct walked *walked_of(const char *collection)
{
    size_t i = 0;
    while (strcmp(walks[i].collection, collection) != 0) {
        i++;
    }
    return &walks[i];
}

static int64_t count(struct fsck *fsck, const char *collection, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    if (fsck->options->project != NULL) {
        BSON_APPEND_UTF8(&filter, "project", fsck->options->project);
    }
    int64_t result = store_count(hub_store(fsck->hub), collection, &filter, error);
    bson_destroy(&filter);
    return result;
}

static int walk(struct fsck *fsck, size_t index, bson_error_t *error)
{
    const char *collection = walks[index].collection;
    const bson_t *document;
    int64_t done = 0, total = count(fsck, collection, error);
    int result = -1;
    if (total < 0) {
        return -1;
    }
    struct archive_scan *scan = archive_scan_open(hub_store(fsck->hub), collection, fsck->options->project);
    while ((result = archive_scan_next(scan, &document, error)) > 0) {
        fsck->report->documents++;
        fsck_tell(fsck, collection, ++done, total);
        if (fsck_look(fsck, collection, checks[index], document, error) < 0) {
            result = -1;
            break;
        }
    }
    archive_scan_close(scan);
    return result < 0 ? -1 : fsck_look_again(fsck, error);
}

/* Damage ends the part that met it, not the whole. */
static int survive(struct fsck *fsck, const char *part, int result, const bson_error_t *why, bson_error_t *error)
{
    if (result >= 0) {
        return 1;
    }
    forget_suspects(fsck);
    if (hub_error_code(why) == HUB_ERROR_CORRUPT) {
        fsck_report(fsck, FSCK_ERROR, "unreadable", part, NULL,
                    "restore it from a backup; tl_hub export --skip-damaged saves what can be read", "%s", why->message);
        return 1;
    }
    if (error != NULL) {
        *error = *why;
    }
    return -1;
}

static int run_all(struct fsck *fsck, bson_error_t *error)
{
    static const struct {
        const char *name;
        int (*run)(struct fsck *fsck, bson_error_t *error);
        bool whole; /* of the whole hub: not with a project */
        bool slow;
    } before[] = {{"", fsck_engine, true, true}, {"", fsck_indexes, true, false}, {"meta", fsck_meta, true, false},
                  {"uploads", fsck_watch, false, false}},
      after[] = {{"tasks", fsck_numbers, false, false},
                 {"tasks", fsck_unnameable_tasks, false, false},
                 {BLOB_FILES, fsck_blobs, false, false},
                 {BLOB_CHUNKS, fsck_chunks, true, false},
                 {"uploads", fsck_uploads, false, false},
                 {"uploads", fsck_watch_end, false, false}};
    bson_error_t why = {0};
    bool whole = fsck->options->project == NULL;
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        if ((whole || !before[i].whole) && !(before[i].slow && fsck->options->quick) &&
            survive(fsck, before[i].name, before[i].run(fsck, &why), &why, error) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < sizeof walks / sizeof walks[0]; i++) {
        if (survive(fsck, walks[i].collection, walk(fsck, i, &why), &why, error) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        if ((whole || !after[i].whole) && survive(fsck, after[i].name, after[i].run(fsck, &why), &why, error) < 0) {
            return -1;
        }
    }
    return 1;
}

int fsck_run(struct hub *hub, const struct fsck_options *options, struct fsck_report *report, bson_error_t *error)
{
    struct fsck *fsck = bson_malloc0(sizeof *fsck);
    memset(report, 0, sizeof *report);
    fsck->hub = hub;
    fsck->options = options;
    fsck->report = report;
    fsck->suspects = bson_malloc0(FSCK_SUSPECTS * sizeof *fsck->suspects);
    fsck->gc = (struct gc){.hub = hub, .dry_run = true, .report = &fsck->gc_report};
    int result = run_all(fsck, error);
    forget_suspects(fsck);
    bson_free(fsck->suspects);
    for (size_t i = 0; i < fsck->watched_count; i++) {
        bson_destroy(fsck->watched[i].key);
    }
    bson_free(fsck->watched);
    bson_free(fsck);
    return result;
}
