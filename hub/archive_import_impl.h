/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ARCHIVE_IMPORT_IMPL_H
#define TL_HUB_ARCHIVE_IMPORT_IMPL_H

/* Between archive_import.c (frames), archive_import_map.c (projects and numbers) and archive_import_write.c (batches). */

#include "hub/archive_impl.h"

/* Numbers from `from` on move up by `offset`; until the next segment. */
struct import_segment {
    int64_t from, offset;
};

struct import_project {
    char *name, *target;
    int64_t last;     /* the highest task number */
    bson_t *datasets; /* [{name, last}]: the highest version of each; NULL: none */
    struct import_segment *segments;
    size_t count;
};

/* A blob whose owner has not been written yet. The last one may still be growing. */
struct import_blob {
    struct blob_info info;
    bson_t *files;
    bool there;     /* it was in the hub, whole: its chunks are passed over */
    bool announced; /* an entry of ours stands in uploads */
    bool streamed;  /* chunks of it were written before their seal came */
    bool verified;
};

struct import_document {
    int collection;
    bson_t *document;
};

struct importer {
    struct hub *hub;
    const struct archive_import_options *options;
    struct archive_reader reader;
    struct archive_import_report *report;
    struct archive_progress progress;
    char session[HUB_ID_SIZE]; /* the archive's id: who imports it again takes up the same entries */
    bool atomic;
    bool others; /* there are announcements that are not this run's: nothing is left unannounced, none removed before the end */
    int64_t beaten;

    struct import_project *projects;
    size_t project_count;
    bool placed; /* the seal after the projects has come, and their numbers have their place */
    int collection; /* of the documents that come; -1 */

    bool in_blob, skip_blob; /* skip_blob: of a project that is not wanted */
    int32_t next_chunk;
    struct import_blob *blobs;
    size_t blob_count, blob_capacity;
    bson_t **chunks;
    size_t chunk_count, chunk_capacity, chunk_bytes;
    struct import_document *documents;
    size_t document_count, document_capacity;
    size_t pending_bytes; /* documents and files documents */
    struct archive_set written; /* blobs that are in the hub */
    bson_oid_t *resumed; /* announced by a run that did not come to its end */
    size_t resumed_count;
};

void importer_note(struct importer *importer, const char *format, ...) BSON_GNUC_PRINTF(2, 3);

/* ---- archive_import_map.c ---- */

/* Takes a NUMBERS frame: a project's name, and its highest task number. */
int importer_take_numbers(struct importer *importer, const bson_t *frame, bson_error_t *error);
/* At the first seal: where the projects' task numbers go. */
int importer_place(struct importer *importer, bson_error_t *error);
/* NULL: not one of those that are imported. */
const struct import_project *importer_project(const struct importer *importer, const char *name);
/* The document as it is to stand in the hub (new). */
bson_t *importer_map(int collection, const bson_t *document, const struct import_project *project);
/* Shows in those records that the import goes on. */
int importer_beat_records(struct importer *importer, bson_error_t *error);
/* Says in meta that every project's import has come to its end. */
int importer_complete(struct importer *importer, bson_error_t *error);
void importer_projects_free(struct importer *importer);

/* ---- archive_import_write.c ---- */

int importer_start(struct importer *importer, bson_error_t *error);
int importer_begin_blob(struct importer *importer, const bson_t *files, bson_error_t *error);
int importer_add_chunk(struct importer *importer, const bson_t *chunk, bson_error_t *error);
int importer_end_blob(struct importer *importer, bson_error_t *error);
int importer_drop_blob(struct importer *importer, bson_error_t *error);
/* Takes the document over. */
void importer_add_document(struct importer *importer, bson_t *document);
/* A seal has come: what is pending is written. */
int importer_flush(struct importer *importer, bson_error_t *error);
/* After the last flush: announcements go, what a run before had begun is looked at once more. */
int importer_end(struct importer *importer, bson_error_t *error);
int importer_beat(struct importer *importer, bson_error_t *error);
void importer_pending_free(struct importer *importer);

#endif
