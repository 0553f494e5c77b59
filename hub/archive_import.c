/* SPDX-License-Identifier: Apache-2.0 */
/* Import: the frames in their order. Documents wait for the seal that confirms them; chunks do not, for nothing shows
 * them before their files document. */
#include "hub/archive_import_impl.h"
#include "hub/hub_impl.h"
#include "hub/schema.h"

#include <stdarg.h>
#include <string.h>

void importer_note(struct importer *importer, const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (importer->options->note == NULL) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    importer->options->note(importer->options->data, text);
}

static int out_of_order(const struct importer *importer, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_CORRUPT, "%s: a frame at byte %" PRId64 " is out of its order", importer->reader.name,
                     importer->reader.bytes);
}

/* Tasks keep their lanes: there must be as many here. */
static int take_lanes(struct importer *importer, bson_error_t *error)
{
    bson_error_t inner;
    int64_t lanes = hub_number(&importer->reader.header, "lanes", 1);
    if (lanes <= hub_lanes(importer->hub)) {
        return 1;
    }
    if (lanes <= HUB_LANES_MOST && hub_set_lanes(importer->hub, (int32_t)lanes, &inner) >= 0) {
        return 1;
    }
    return hub_error(error, HUB_ERROR_INVALID,
                     "%s: it is of a hub with %" PRId64 " lanes, and this one has %d and tasks: import it into a new hub",
                     importer->reader.name, lanes, (int)hub_lanes(importer->hub));
}

/* ---- frames ---- */

static int take_collection(struct importer *importer, const bson_t *frame, bson_error_t *error)
{
    const char *name = hub_text(frame, "collection");
    importer->collection = name != NULL ? archive_collection_index(name) : -1;
    return importer->collection >= 0 && importer->placed ? 1 : out_of_order(importer, error);
}

/* The files document under the project's name in this hub. */
static void rename_file(const bson_t *files, const struct import_project *project, bson_t *out)
{
    bson_iter_t iter, inner;
    bson_init(out);
    bson_iter_init(&iter, files);
    while (bson_iter_next(&iter)) {
        if (strcmp(bson_iter_key(&iter), "metadata") != 0 || !BSON_ITER_HOLDS_DOCUMENT(&iter) ||
            !bson_iter_recurse(&iter, &inner)) {
            bson_append_iter(out, NULL, 0, &iter);
            continue;
        }
        bson_t metadata;
        BSON_APPEND_DOCUMENT_BEGIN(out, "metadata", &metadata);
        while (bson_iter_next(&inner)) {
            if (strcmp(bson_iter_key(&inner), "project") == 0) {
                BSON_APPEND_UTF8(&metadata, "project", project->target);
            } else {
                bson_append_iter(&metadata, NULL, 0, &inner);
            }
        }
        bson_append_document_end(out, &metadata);
    }
}

static int take_blob(struct importer *importer, const bson_t *frame, bson_error_t *error)
{
    bson_t files;
    const struct import_project *project = importer_project(importer, hub_text(frame, "project"));
    if (importer->in_blob || !importer->placed || !hub_view(frame, "file", &files)) {
        return out_of_order(importer, error);
    }
    importer->in_blob = true;
    importer->skip_blob = project == NULL;
    if (importer->skip_blob || strcmp(project->name, project->target) == 0) {
        return importer->skip_blob ? 1 : importer_begin_blob(importer, &files, error);
    }
    bson_t renamed;
    rename_file(&files, project, &renamed);
    int result = importer_begin_blob(importer, &renamed, error);
    bson_destroy(&renamed);
    return result;
}

static int end_blob(struct importer *importer, bool dropped, bson_error_t *error)
{
    if (!importer->in_blob) {
        return out_of_order(importer, error);
    }
    importer->in_blob = false;
    if (importer->skip_blob) {
        return 1;
    }
    return dropped ? importer_drop_blob(importer, error) : importer_end_blob(importer, error);
}

static int take_document(struct importer *importer, const bson_t *document, bson_error_t *error)
{
    const char *name = hub_text(document, "project");
    const struct import_project *project = importer_project(importer, name);
    bson_t normal;
    char id[160];
    if (importer->collection < 0 || importer->in_blob || !bson_has_field(document, "_id")) {
        return out_of_order(importer, error);
    }
    importer->progress.documents++;
    if (project == NULL) {
        if (importer->options->project == NULL) {
            archive_id_text(document, id, sizeof id);
            importer_note(importer, "%s %s: names no project of the archive: left out",
                          archive_collections[importer->collection], id);
            importer->report->refused++;
        }
        return 1;
    }
    if (archive_normalize(archive_collections[importer->collection], document, &normal) > 0) {
        bson_t *mapped = importer_map(importer->collection, &normal, project);
        if (importer->collection == 0 && schema_check("project", mapped, error) < 0) {
            bson_destroy(mapped);
            bson_destroy(&normal);
            return -1;
        }
        importer_add_document(importer, mapped);
    }
    bson_destroy(&normal);
    return 1;
}

static int take_frame(struct importer *importer, enum archive_kind kind, const bson_t *frame, bson_error_t *error)
{
    switch (kind) {
    case ARCHIVE_NUMBERS:
        return importer->placed ? out_of_order(importer, error) : importer_take_numbers(importer, frame, error);
    case ARCHIVE_COLLECTION: return take_collection(importer, frame, error);
    case ARCHIVE_BLOB: return take_blob(importer, frame, error);
    case ARCHIVE_CHUNK:
        if (!importer->in_blob) {
            return out_of_order(importer, error);
        }
        return importer->skip_blob ? 1 : importer_add_chunk(importer, frame, error);
    case ARCHIVE_BLOB_END: return end_blob(importer, false, error);
    case ARCHIVE_BLOB_DROPPED: return end_blob(importer, true, error);
    case ARCHIVE_DOCUMENT: return take_document(importer, frame, error);
    case ARCHIVE_COLLECTION_END: return 1;
    case ARCHIVE_SEAL:
        if (importer->in_blob) {
            return out_of_order(importer, error);
        }
        return importer->placed ? importer_flush(importer, error) : importer_place(importer, error);
    case ARCHIVE_TRAILER: return 1;
    default: return out_of_order(importer, error);
    }
}

static void tell(struct importer *importer)
{
    importer->progress.done = importer->progress.bytes = importer->reader.bytes;
    if (importer->options->progress != NULL) {
        importer->options->progress(importer->options->data, &importer->progress);
    }
}

static int import_frames(struct importer *importer, bson_error_t *error)
{
    enum archive_kind kind;
    bson_t frame;
    int result;
    while ((result = archive_reader_next(&importer->reader, &kind, &frame, error)) > 0) {
        if (take_frame(importer, kind, &frame, error) < 0) {
            return -1;
        }
        tell(importer);
    }
    return result < 0 ? -1 : importer_flush(importer, error);
}

/* Whether the hub's digest is the archive's. It is not where the hub holds more, or has gone on. */
static int compare_digest(struct importer *importer, bson_error_t *error)
{
    struct archive_summary now;
    const char *project = hub_text(&importer->reader.header, "project");
    if (importer->options->project != NULL || importer->options->rename != NULL) {
        return 1;
    }
    if (archive_digest(importer->hub, project, &now, error) < 0) {
        return -1;
    }
    importer->report->digest_checked = strcmp(now.digest, importer->report->archive.digest) == 0;
    return 1;
}

static int import_all(struct importer *importer, bson_error_t *error)
{
    const char *id = hub_text(&importer->reader.header, "archive_id");
    if (id == NULL || strlen(id) >= HUB_ID_SIZE || !hub_is_hex(id)) {
        return hub_error(error, HUB_ERROR_CORRUPT, "%s: its header names no archive", importer->reader.name);
    }
    memcpy(importer->archive, id, strlen(id) + 1);
    hub_random_id(importer->run);
    snprintf(importer->session, sizeof importer->session, "%s.%s", importer->archive, importer->run);
    if (take_lanes(importer, error) < 0 || importer_start(importer, error) < 0 || import_frames(importer, error) < 0 || importer_end(importer, error) < 0 ||
        importer_complete(importer, error) < 0) {
        return -1;
    }
    importer->report->archive = importer->reader.summary;
    return compare_digest(importer, error);
}

int archive_import(struct hub *hub, FILE *file, const struct archive_import_options *options,
                   struct archive_import_report *report, bson_error_t *error)
{
    struct importer importer = {.hub = hub, .options = options, .report = report, .collection = -1};
    int result = -1;
    memset(report, 0, sizeof *report);
    importer.progress.total = options->size;
    if (archive_reader_open(&importer.reader, file, options->name, error) > 0) {
        result = import_all(&importer, error);
    }
    importer_pending_free(&importer);
    importer_projects_free(&importer);
    archive_reader_close(&importer.reader);
    return result;
}

int archive_check(FILE *file, const char *name, struct archive_summary *summary, bson_error_t *error)
{
    struct archive_reader reader;
    enum archive_kind kind;
    bson_t frame;
    memset(summary, 0, sizeof *summary);
    int result = archive_reader_open(&reader, file, name, error);
    while (result > 0) {
        result = archive_reader_next(&reader, &kind, &frame, error);
    }
    *summary = reader.summary;
    archive_reader_close(&reader);
    return result < 0 ? -1 : 1;
}
