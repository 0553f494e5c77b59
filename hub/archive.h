/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ARCHIVE_H
#define TL_HUB_ARCHIVE_H

/* A hub, or one of its projects, as one file: docs/backup.md has the format. What an archive holds is the same whichever
 * engine it came from: every document's types and keys in their order, ids, blobs, digests. It does not hold claims (a
 * running task goes in as ready), uploads, and the records of runners that live.
 *
 * Both ways stream: memory holds a few MB and 48 bytes a task and a blob, whatever the size of the hub. */

#include "hub/hub.h"

#include <stdio.h>

#define ARCHIVE_FORMAT 1
#define ARCHIVE_COLLECTIONS 9 /* projects, architectures, sweeps, datasets, rows, models, runners, tasks, logs */

/* Names of the collections of an archive, in the order in which it holds them. */
extern const char *const archive_collections[ARCHIVE_COLLECTIONS];

struct archive_summary {
    int64_t counts[ARCHIVE_COLLECTIONS]; /* documents */
    int64_t documents;                   /* their sum */
    int64_t blobs, bytes;                /* blobs in the archive, and their bytes */
    char digest[65];                     /* SHA-256 over all documents, see archive_digest */
};

/* What goes on. documents and bytes are done so far; total is what fraction is of: documents at an export, bytes of the
 * file at an import, 0 where it is not known. */
struct archive_progress {
    int64_t documents, blobs, bytes, done, total;
};
typedef void archive_progress_function(void *data, const struct archive_progress *progress);
/* One line that is no error: a document that was left out, or one that was there already and differs. */
typedef void archive_note_function(void *data, const char *text);

/* SHA-256 over what an export would hold now: per collection the documents in the order of their _id, each followed by
 * the files documents of the blobs that it points to; then over the collections' names, counts and digests. Equal for a
 * hub and for its import into an empty one. project NULL: all. summary->blobs and bytes are 0. */
int archive_digest(struct hub *hub, const char *project, struct archive_summary *summary, bson_error_t *error);

struct archive_export_options {
    const char *project; /* NULL: all */
    bool live;           /* running tasks go in as ready; else they are a HUB_ERROR_CONFLICT */
    bool skip_damaged;   /* leave out what points to a damaged blob, saying so; else it is HUB_ERROR_CORRUPT */
    archive_progress_function *progress; /* NULL allowed, as is note */
    archive_note_function *note;
    void *data; /* for both */
};

/* Writes the archive to file (from where it stands; flushed, not synced). Consistent beside runners, saves and gc: tasks
 * are read first, then what they lead to, and every document comes after its blobs. What is deleted meanwhile is left out;
 * a task whose model was, goes in as a task without one. */
int archive_export(struct hub *hub, FILE *file, const struct archive_export_options *options,
                   struct archive_summary *summary, bson_error_t *error);

struct archive_import_options {
    const char *project; /* only this one of the archive's; NULL: all */
    const char *rename;  /* what the archive's only project, or `project`, is called in the hub; NULL: the same */
    const char *name;    /* of the file, for messages */
    int64_t size;        /* bytes of the file, for the progress; 0: not known */
    archive_progress_function *progress;
    archive_note_function *note;
    void *data;
};

struct archive_import_report {
    struct archive_summary archive; /* as the archive's end says */
    int64_t inserted, same, refused; /* documents: written, there already, there already and different (left as it is) */
    int64_t blobs_written, blobs_same;
    bool digest_checked; /* the hub held nothing else, and its digest is the archive's */
};

/* Brings the archive into the hub. Documents that are there already and equal are passed over, so an import that was
 * killed is finished by running it again; different ones are left and counted as refused. Blobs are announced and written
 * and verified before what points to them. Task numbers keep their order: where the project has had tasks already they
 * move up as a whole. Nothing that a checksum has not confirmed becomes visible.
 * Errors: HUB_ERROR_CORRUPT (truncated, damaged), HUB_ERROR_VERSION (no archive, or of a newer program). */
int archive_import(struct hub *hub, FILE *file, const struct archive_import_options *options,
                   struct archive_import_report *report, bson_error_t *error);

/* Reads the whole archive and checks it, without a hub. */
int archive_check(FILE *file, const char *name, struct archive_summary *summary, bson_error_t *error);

#endif
