/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ARCHIVE_IMPL_H
#define TL_HUB_ARCHIVE_IMPL_H

/* What the modules of archives and fsck share; not installed. */

#include "hub/archive.h"
#include "hub/blob_impl.h"

/* ---- walking a collection (archive_scan.c) ---- */

struct archive_scan;

/* Every document in the order of _id, in pages, so that no cursor stays open for long. Documents of another project are
 * left out (project NULL: none are). */
struct archive_scan *archive_scan_open(struct store *store, const char *collection, const char *project);
/* The document is borrowed until the next call: 1, 0 at the end, -1. */
int archive_scan_next(struct archive_scan *scan, const bson_t **document, bson_error_t *error);
void archive_scan_close(struct archive_scan *scan);

/* ---- documents (archive_document.c) ---- */

/* The index in archive_collections, or -1. */
int archive_collection_index(const char *collection);
/* The document as an archive holds it, into *out (initialised always): running tasks as ready, without claim, request,
 * progress and stamps; files documents without gc's mark. 1; 0: archives leave it out (a runner that lives). */
int archive_normalize(const char *collection, const bson_t *document, bson_t *out);
/* Appends the task to *out, as it is once its checkpoint is taken off, or its model (and with it the weights) was deleted. */
void archive_reduce_task(const bson_t *task, bool without_checkpoint, bool without_weights, bson_t *out);
/* The blobs that the document points to, in order (bson_free *list). */
size_t archive_pointers(const char *collection, const bson_t *document, bson_oid_t **list);
/* Whether the bytes are BSON throughout, of at most 200 levels. */
bool archive_is_sound(const bson_t *document);
/* The _id for messages: a string as it is, other types as JSON; cut to size. */
void archive_id_text(const bson_t *document, char *out, size_t size);

/* ---- a set of ids (archive_set.c) ---- */

struct archive_set {
    uint8_t (*slots)[16]; /* all zeros: free */
    size_t count, capacity;
};
/* Whether it is new. Any bytes: up to 16 as they are, more by their digest. */
bool archive_set_add(struct archive_set *set, const void *id, size_t length);
bool archive_set_has(const struct archive_set *set, const void *id, size_t length);
void archive_set_destroy(struct archive_set *set);

/* ---- the digest over all documents (archive_digest.c) ---- */

struct archive_digest {
    struct blob_sha256 parts[ARCHIVE_COLLECTIONS];
    struct archive_summary summary;
};
int archive_digest_init(struct archive_digest *digest, bson_error_t *error);
/* document is normalized. The files documents of its blobs are read from the store. */
int archive_digest_add(struct archive_digest *digest, struct store *store, int collection, const bson_t *document,
                       bson_error_t *error);
/* Fills counts, documents and digest of *summary. */
int archive_digest_final(struct archive_digest *digest, struct archive_summary *summary, bson_error_t *error);
void archive_digest_destroy(struct archive_digest *digest);

/* ---- the file (archive_write.c, archive_read.c) ---- */

#define ARCHIVE_MAGIC "tl_hub\x1a\n" /* 8 bytes */
#define ARCHIVE_SEAL_BYTES (4 << 20)
#define ARCHIVE_FRAME_BYTES (17 << 20)

enum archive_kind {
    ARCHIVE_HEADER = 'H',     /* {format, archive_id, hub_id, schema_version, program_version, engine, project?, live, created_at} */
    ARCHIVE_NUMBERS = 'N',    /* {project, last: the highest task number, datasets: [{name, last: the highest version}]} */
    ARCHIVE_COLLECTION = 'C', /* {collection}: documents of this one follow */
    ARCHIVE_BLOB = 'B',       /* {project, file: the files document}: its chunks follow */
    ARCHIVE_CHUNK = 'K',      /* the chunk's document */
    ARCHIVE_BLOB_END = 'b',   /* {_id, chunks} */
    ARCHIVE_BLOB_DROPPED = 'x', /* {_id}: it vanished or is damaged: forget it */
    ARCHIVE_DOCUMENT = 'D',
    ARCHIVE_COLLECTION_END = 'c', /* {collection, count} */
    ARCHIVE_SEAL = 'S',       /* {sha256}: of every byte before this frame */
    ARCHIVE_TRAILER = 'T'     /* {counts: {collection: count}, documents, blobs, bytes, digest}; a seal and the end follow */
};

struct archive_writer {
    FILE *file;
    struct blob_sha256 sha;
    int64_t bytes, sealed;
};
int archive_writer_open(struct archive_writer *writer, FILE *file, bson_error_t *error);
int archive_writer_frame(struct archive_writer *writer, enum archive_kind kind, const bson_t *document,
                         bson_error_t *error);
int archive_writer_seal(struct archive_writer *writer, bson_error_t *error);
void archive_writer_close(struct archive_writer *writer);

struct archive_reader {
    FILE *file;
    const char *name;
    struct blob_sha256 sha;
    int64_t bytes;
    uint8_t *buffer;
    size_t capacity;
    bool ended; /* the trailer was read */
    bson_t header; /* copy */
    struct archive_summary summary; /* of the trailer */
};
/* Reads magic and header. Close it whatever the result. */
int archive_reader_open(struct archive_reader *reader, FILE *file, const char *name, bson_error_t *error);
/* The next frame, structurally sound, borrowed until the next call; seals are compared here. 1, 0 after a good end, -1. */
int archive_reader_next(struct archive_reader *reader, enum archive_kind *kind, bson_t *document, bson_error_t *error);
void archive_reader_close(struct archive_reader *reader);

#endif
