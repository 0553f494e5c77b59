/* SPDX-License-Identifier: Apache-2.0 */
/* Names and task numbers on their way into a hub. Where a project has had tasks already, the numbers of an archive move up
 * as a whole; a record in meta keeps by how much, so that importing again, also a later archive of the same hub, gives every
 * task the number that it has. */
#include "hub/archive_import_impl.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <string.h>

#define META "meta"
#define RECORD_TRIES 20

void importer_projects_free(struct importer *importer)
{
    for (size_t i = 0; i < importer->project_count; i++) {
        bson_free(importer->projects[i].name);
        bson_free(importer->projects[i].target);
        bson_destroy(importer->projects[i].datasets);
        bson_free(importer->projects[i].segments);
    }
    bson_free(importer->projects);
    importer->projects = NULL;
    importer->project_count = 0;
}

const struct import_project *importer_project(const struct importer *importer, const char *name)
{
    for (size_t i = 0; name != NULL && i < importer->project_count; i++) {
        if (strcmp(importer->projects[i].name, name) == 0) {
            return &importer->projects[i];
        }
    }
    return NULL;
}

/* ---- the record in meta ---- */

static void record_filter(const struct importer *importer, const struct import_project *project, bson_t *filter)
{
    const char *source = hub_text(&importer->reader.header, "hub_id");
    char *id = bson_strdup_printf("import:%.64s:%s:%s", source != NULL ? source : "", project->name, project->target);
    bson_init(filter);
    BSON_APPEND_UTF8(filter, "_id", id);
    bson_free(id);
}

static void add_segment(struct import_project *project, int64_t from, int64_t offset)
{
    if (project->count > 0 && project->segments[project->count - 1].offset == offset) {
        return;
    }
    project->segments = bson_realloc(project->segments, (project->count + 1) * sizeof *project->segments);
    project->segments[project->count++] = (struct import_segment){from, offset};
}

static void read_segments(struct import_project *project, const bson_t *record)
{
    bson_t list, segment;
    bson_iter_t iter;
    bool more = hub_view(record, "segments", &list) && bson_iter_init(&iter, &list);
    while (more && bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&iter) && hub_item(&iter, &segment)) {
            add_segment(project, hub_number(&segment, "from", 1), hub_number(&segment, "offset", 0));
        }
    }
}

static void append_segments(bson_t *set, const struct import_project *project)
{
    bson_t list, segment;
    BSON_APPEND_ARRAY_BEGIN(set, "segments", &list);
    for (size_t i = 0; i < project->count; i++) {
        char buffer[16];
        const char *key;
        size_t digits = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        bson_append_document_begin(&list, key, (int)digits, &segment);
        BSON_APPEND_INT64(&segment, "from", project->segments[i].from);
        BSON_APPEND_INT64(&segment, "offset", project->segments[i].offset);
        bson_append_document_end(&list, &segment);
    }
    bson_append_array_end(set, &list);
}

/* One that is not there yet: whoever comes first makes it, so that every write after this is a compare-and-set. */
static int make_record(struct importer *importer, const struct import_project *project, bson_error_t *error)
{
    bson_t record;
    record_filter(importer, project, &record);
    BSON_APPEND_UTF8(&record, "run", "");
    struct store_operation insert = {
        .kind = STORE_INSERT, .collection = META, .document = &record, .ignore_duplicate = true};
    int result = store_batch(hub_store(importer->hub), &insert, 1, NULL, error);
    bson_destroy(&record);
    return result;
}

/* While the record is that of `run` (NULL: it names none): 1, 0 another import has written it since, -1. */
static int write_record(struct importer *importer, const struct import_project *project, const char *run, int64_t until,
                        const char *state, bson_error_t *error)
{
    bson_t filter, update = BSON_INITIALIZER, set;
    record_filter(importer, project, &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    if (run != NULL) {
        BSON_APPEND_UTF8(&filter, "run", run);
    } else {
        BSON_APPEND_NULL(&filter, "run");
    }
    BSON_APPEND_UTF8(&set, "archive", importer->archive);
    BSON_APPEND_UTF8(&set, "run", importer->run);
    BSON_APPEND_UTF8(&set, "state", state);
    if (until >= 0) {
        BSON_APPEND_INT64(&set, "until", until);
        append_segments(&set, project);
    }
    bson_append_document_end(&update, &set);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &set);
    BSON_APPEND_BOOL(&set, "changed_at", true);
    bson_append_document_end(&update, &set);
    int result = store_modify(hub_store(importer->hub), META, &filter, &update, NULL, NULL, error);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

int importer_beat_records(struct importer *importer, bson_error_t *error)
{
    bson_t update = BSON_INITIALIZER, part;
    int result = 1;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT64(&part, "beat", 1);
    bson_append_document_end(&update, &part);
    for (size_t i = 0; i < importer->project_count && result >= 0; i++) {
        bson_t filter;
        record_filter(importer, &importer->projects[i], &filter);
        result = store_modify(hub_store(importer->hub), META, &filter, &update, NULL, NULL, error);
        bson_destroy(&filter);
    }
    bson_destroy(&update);
    return result < 0 ? -1 : 1;
}

int importer_complete(struct importer *importer, bson_error_t *error)
{
    for (size_t i = 0; i < importer->project_count; i++) {
        /* Another one that has begun since says so itself when it ends. */
        if (write_record(importer, &importer->projects[i], importer->run, -1, "complete", error) < 0) {
            return -1;
        }
    }
    return 1;
}

/* ---- numbers ---- */

/* The project's counter is at least at last: no number of the archive is given to another task. */
static int raise_counter(struct importer *importer, const char *counter, int64_t last, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part, made = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", counter);
    BSON_APPEND_UTF8(&made, "_id", counter);
    BSON_APPEND_INT64(&made, "value", 0);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &part);
    BSON_APPEND_INT64(&part, "value", last);
    bson_append_document_end(&update, &part);
    const struct store_operation operations[] = {
        {.kind = STORE_INSERT, .collection = "counters", .document = &made, .ignore_duplicate = true},
        {.kind = STORE_UPDATE, .collection = "counters", .filter = &filter, .update = &update},
    };
    int result = store_batch(hub_store(importer->hub), operations, 2, NULL, error);
    bson_destroy(&made);
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

/* Where the numbers after `known` up to `last` go. Restored into the hub that they came from they stay as they are. */
static int place_numbers(struct importer *importer, struct import_project *project, int64_t known, int64_t last,
                         bson_error_t *error)
{
    const char *source = hub_text(&importer->reader.header, "hub_id");
    char counter[128];
    int64_t first;
    snprintf(counter, sizeof counter, "tasks:%.100s", project->target);
    bool own = source != NULL && strcmp(source, hub_id(importer->hub)) == 0 && strcmp(project->name, project->target) == 0;
    if (own) {
        add_segment(project, 1, 0);
        return raise_counter(importer, counter, last, error);
    }
    if (last <= known) {
        return 1;
    }
    if (store_counter_add(hub_store(importer->hub), counter, last - known, &first, error) < 0) {
        return -1;
    }
    add_segment(project, known + 1, first - 1 - known);
    return 1;
}

/* One try: 1, 0 another import has written the record since it was read, -1. */
static int try_map_numbers(struct importer *importer, struct import_project *project, bson_error_t *error)
{
    int64_t last = project->last;
    bson_t filter, record;
    record_filter(importer, project, &filter);
    int result = store_find_one(hub_store(importer->hub), META, &filter, NULL, &record, error);
    int64_t known = hub_number(&record, "until", 0);
    known = known < 0 || known > INT64_MAX / 4 ? 0 : known;
    project->count = 0;
    read_segments(project, &record);
    if (result >= 0) {
        result = place_numbers(importer, project, known, last, error);
    }
    if (result >= 0) {
        result = write_record(importer, project, hub_text(&record, "run"), last > known ? last : known, "importing", error);
    }
    bson_destroy(&record);
    bson_destroy(&filter);
    return result;
}

static int map_numbers(struct importer *importer, struct import_project *project, bson_error_t *error)
{
    int result = make_record(importer, project, error) < 0 ? -1 : 0;
    for (int i = 0; i < RECORD_TRIES && result == 0; i++) {
        result = try_map_numbers(importer, project, error);
    }
    return result != 0 ? result
                       : hub_error(error, HUB_ERROR_CONFLICT, "project \"%.64s\": other imports keep beginning; try again",
                                   project->target);
}

/* The project's name in the hub becomes part of documents and of the counter's name. */
static int check_name(const char *name, bson_error_t *error)
{
    bson_t document = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&document, "_id", name);
    BSON_APPEND_UTF8(&document, "project", name);
    BSON_APPEND_DATE_TIME(&document, "created_at", 0);
    BSON_APPEND_INT32(&document, "schema_version", HUB_SCHEMA_VERSION);
    int result = schema_check("project", &document, NULL);
    bson_destroy(&document);
    return result >= 0 ? 1
                       : hub_error(error, HUB_ERROR_INVALID,
                                   "project \"%.64s\": a name is 1 to 64 letters, digits, '_', '-' and '.', a letter or "
                                   "digit first",
                                   name);
}

static int64_t map_number(const struct import_project *project, int64_t number)
{
    int64_t offset = 0, moved;
    for (size_t i = 0; i < project->count; i++) {
        if (project->segments[i].from <= number) {
            offset = project->segments[i].offset;
        }
    }
    return __builtin_add_overflow(number, offset, &moved) ? number : moved;
}

int importer_take_numbers(struct importer *importer, const bson_t *frame, bson_error_t *error)
{
    const struct archive_import_options *options = importer->options;
    const char *name = hub_text(frame, "project");
    int64_t last = hub_number(frame, "last", 0);
    if (name == NULL || strlen(name) > 64 || last < 0 || last > INT64_MAX / 4) {
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: a project without name and number", importer->reader.name);
    }
    if ((options->project != NULL && strcmp(options->project, name) != 0) || importer_project(importer, name) != NULL) {
        return 1;
    }
    if (options->rename != NULL && importer->project_count > 0) {
        return hub_error(error, HUB_ERROR_INVALID,
                         "%s holds several projects: say with --project which one is to be called \"%.64s\"",
                         importer->reader.name, options->rename);
    }
    if (check_name(options->rename != NULL ? options->rename : name, error) < 0) {
        return -1;
    }
    importer->projects =
        bson_realloc(importer->projects, (importer->project_count + 1) * sizeof *importer->projects);
    struct import_project *project = &importer->projects[importer->project_count++];
    *project = (struct import_project){.name = bson_strdup(name),
                                       .target = bson_strdup(options->rename != NULL ? options->rename : name),
                                       .last = last};
    bson_t datasets;
    if (hub_view(frame, "datasets", &datasets)) {
        project->datasets = bson_copy(&datasets);
    }
    return 1;
}

static int raise_versions(struct importer *importer, const struct import_project *project, bson_error_t *error)
{
    bson_iter_t iter;
    int result = 1;
    if (project->datasets == NULL || !bson_iter_init(&iter, project->datasets)) {
        return 1;
    }
    while (result > 0 && bson_iter_next(&iter)) {
        bson_t one;
        const char *name = BSON_ITER_HOLDS_DOCUMENT(&iter) && hub_item(&iter, &one) ? hub_text(&one, "name") : NULL;
        int64_t last = name != NULL ? hub_number(&one, "last", 0) : 0;
        if (name == NULL || last < 0 || last > INT32_MAX) {
            return hub_error(error, HUB_ERROR_CORRUPT, "%s: a dataset without name and version", importer->reader.name);
        }
        char *counter = bson_strdup_printf("dataset:%s:%s", project->target, name);
        result = raise_counter(importer, counter, last, error);
        bson_free(counter);
    }
    return result;
}

int importer_place(struct importer *importer, bson_error_t *error)
{
    importer->placed = true;
    if (importer->project_count == 0 && importer->options->project != NULL) {
        return hub_error(error, HUB_ERROR_NOT_FOUND, "%s holds no project \"%.64s\"", importer->reader.name,
                         importer->options->project);
    }
    for (size_t i = 0; i < importer->project_count; i++) {
        if (map_numbers(importer, &importer->projects[i], error) < 0 ||
            raise_versions(importer, &importer->projects[i], error) < 0) {
            return -1;
        }
    }
    return 1;
}

/* ---- documents ---- */

static void append_number(bson_t *out, const bson_iter_t *iter, const struct import_project *project)
{
    const char *key = bson_iter_key(iter);
    int64_t number = BSON_ITER_HOLDS_INT(iter) ? map_number(project, bson_iter_as_int64(iter)) : 0;
    if (!BSON_ITER_HOLDS_INT(iter)) {
        bson_append_iter(out, key, -1, iter);
    } else if (BSON_ITER_HOLDS_INT32(iter) && number <= INT32_MAX && number >= INT32_MIN) {
        BSON_APPEND_INT32(out, key, (int32_t)number);
    } else {
        BSON_APPEND_INT64(out, key, number);
    }
}

/* collection NULL: a part of a document. */
static void map_into(const char *collection, bson_iter_t *iter, const struct import_project *project, bson_t *out)
{
    bool tasks = collection != NULL && strcmp(collection, "tasks") == 0;
    bool models = collection != NULL && strcmp(collection, "models") == 0;
    bool projects = collection != NULL && strcmp(collection, "projects") == 0;
    while (bson_iter_next(iter)) {
        const char *key = bson_iter_key(iter);
        bson_iter_t inner;
        bson_t part;
        bool below = (tasks && (strcmp(key, "result") == 0 || strcmp(key, "kept") == 0)) || (collection == NULL && (strcmp(key, "model") == 0 || strcmp(key, "dataset") == 0));
        if (BSON_ITER_HOLDS_UTF8(iter) && collection != NULL &&
            (strcmp(key, "project") == 0 || (projects && strcmp(key, "_id") == 0))) {
            BSON_APPEND_UTF8(out, key, project->target);
        } else if ((tasks && strcmp(key, "seq") == 0) || (models && strcmp(key, "task_seq") == 0)) {
            append_number(out, iter, project);
        } else if (below && BSON_ITER_HOLDS_DOCUMENT(iter) && bson_iter_recurse(iter, &inner)) {
            BSON_APPEND_DOCUMENT_BEGIN(out, key, &part);
            map_into(tasks ? NULL : strcmp(key, "model") == 0 ? "models" : "datasets", &inner, project, &part);
            bson_append_document_end(out, &part);
        } else {
            bson_append_iter(out, key, -1, iter);
        }
    }
}

bson_t *importer_map(int collection, const bson_t *document, const struct import_project *project)
{
    bson_t *out = bson_new();
    bson_iter_t iter;
    if (bson_iter_init(&iter, document)) {
        map_into(archive_collections[collection], &iter, project, out);
    }
    return out;
}
