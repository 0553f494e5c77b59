/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ARCHIVE_IMPORT_IMPL_H
#define TL_HUB_ARCHIVE_IMPORT_IMPL_H

/* Between archive_import.c (frames), archive_import_map.c (projects and numbers), archive_import_session.c
 * (announcements and their beat), archive_import_blob.c (blobs as they come), archive_import_choose.c (what is there
 * already) and archive_import_write.c (batches). */

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
    bool files_there; /* its files document was, though maybe not all of its chunks */
    bool announced; /* an entry of ours stands in uploads */
    bool streamed;  /* chunks of it were written before their seal came */
    bool verified;
};

struct import_document {
    int collection;
    bson_t *document;
};

/* An entry in uploads that was there at the start, of a run of the same archive that was killed or goes on. */
struct import_resumed {
    bson_oid_t id;
    int64_t beat;
};

#define IMPORT_SESSION_SIZE (2 * HUB_ID_SIZE)

struct importer {
    struct hub *hub;
    const struct archive_import_options *options;
    struct archive_reader reader;
    struct archive_import_report *report;
    struct archive_progress progress;
    char archive[HUB_ID_SIZE];
    char run[HUB_ID_SIZE];
    char session[IMPORT_SESSION_SIZE]; /* ARCHIVE.RUN: who imports it again finds the entries, and tells them from its own */
    int64_t announced;                 /* entries of this session */
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
    struct import_resumed *resumed;
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

/* ---- archive_import_session.c ---- */

int importer_start(struct importer *importer, bson_error_t *error);
/* Whether what this run has announced is still announced, and by it: 1, or -1 with HUB_ERROR_CONFLICT. */
int importer_hold(struct importer *importer, bson_error_t *error);
/* Whether the session has not stood still for too long; and beats when it is time. */
int importer_check_gap(const struct importer *importer, bson_error_t *error);
int importer_beat(struct importer *importer, bson_error_t *error);
/* All that is announced is pointed to: the entries go. */
int importer_end_session(struct importer *importer, bson_error_t *error);
/* A blob's chunks, unless another upload may need them. */
int importer_delete_chunks(struct importer *importer, const bson_oid_t *id, bson_error_t *error);
/* After the last flush: announcements go, what a run before had begun is looked at once more. */
int importer_end(struct importer *importer, bson_error_t *error);

/* ---- archive_import_blob.c ---- */

int importer_begin_blob(struct importer *importer, const bson_t *files, bson_error_t *error);
int importer_add_chunk(struct importer *importer, const bson_t *chunk, bson_error_t *error);
int importer_end_blob(struct importer *importer, bson_error_t *error);
int importer_drop_blob(struct importer *importer, bson_error_t *error);

/* ---- archive_import_choose.c ---- */

/* Leaves those of the pending documents that are to be written. 1, -1. */
int importer_choose(struct importer *importer, bson_error_t *error);
/* Says why this one is left out, and frees it. */
void importer_refuse(struct importer *importer, struct import_document *pending, const char *why);

/* ---- archive_import_write.c ---- */

/* The list, with room for one more entry of this size. */
void *importer_more_room(void *list, size_t count, size_t *capacity, size_t size);
/* Writes the chunks that are kept back before their seal: nothing shows them. */
int importer_write_chunks(struct importer *importer, bson_error_t *error);
/* Takes the document over. */
void importer_add_document(struct importer *importer, bson_t *document);
/* A seal has come: what is pending is written. */
int importer_flush(struct importer *importer, bson_error_t *error);
void importer_pending_free(struct importer *importer);

#endif
