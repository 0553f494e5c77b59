/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_FSCK_IMPL_H
#define TL_HUB_FSCK_IMPL_H

/* Between the fsck*.c. A check looks at one document as it is now and appends what it finds; it is called again, with the
 * document read anew, before anything is reported. So it must say the same words for the same state. */

#include "hub/archive_impl.h"
#include "hub/fsck.h"
#include "hub/gc_scan.h"

#define FSCK_SUSPECTS 4096

struct fsck;

struct fsck_item {
    enum fsck_severity severity;
    const char *check, *advice;
    char *what;
};

struct fsck_list {
    struct fsck_item *items;
    size_t count, capacity;
};

/* 1, or -1. */
typedef int fsck_check(struct fsck *fsck, const bson_t *document, struct fsck_list *found, bson_error_t *error);

/* A document that looked wrong. */
struct fsck_suspect {
    const char *collection;
    fsck_check *check;
    bson_t *key; /* {_id} */
    struct fsck_list found;
};

/* An upload or an import without a claim, and its beat when it was first seen. */
struct fsck_watched {
    const char *collection;
    bson_t *key;
    int64_t beat;
};

struct fsck {
    struct hub *hub;
    const struct fsck_options *options;
    struct fsck_report *report;
    struct fsck_suspect *suspects;
    size_t suspect_count;
    int64_t suspected_at; /* the youngest suspect, CLOCK_BOOTTIME */
    struct fsck_watched *watched;
    size_t watched_count;
    int64_t watched_at;
    struct gc gc; /* for its questions about pointers */
    struct gc_report gc_report;
    /* What the last document asked for: documents of one task, claim or architecture follow each other. */
    char last_task[128], last_log_claim[128], last_project[80], last_architecture[160], last_rows[280];
    bool last_task_there, last_project_there, last_architecture_there, last_log_named, last_rows_there;
    bool again; /* the second look: nothing remembered is trusted */
};

void fsck_add(struct fsck_list *found, enum fsck_severity severity, const char *check, const char *advice,
              const char *format, ...) BSON_GNUC_PRINTF(5, 6);
/* Runs the check on a document; what it finds makes it a suspect. */
int fsck_look(struct fsck *fsck, const char *collection, fsck_check *check, const bson_t *document, bson_error_t *error);
/* The suspects that are as they were are reported; all are forgotten. */
int fsck_look_again(struct fsck *fsck, bson_error_t *error);
/* Reports at once: what cannot change by itself. */
void fsck_report(struct fsck *fsck, enum fsck_severity severity, const char *check, const char *collection,
                 const bson_t *document, const char *advice, const char *format, ...) BSON_GNUC_PRINTF(7, 8);
void fsck_tell(struct fsck *fsck, const char *collection, int64_t done, int64_t total);

/* One document by _id: 1, 0, -1. *out is initialised always. */
int fsck_find_text(struct fsck *fsck, const char *collection, const char *id, bson_t *out, bson_error_t *error);
/* The blob that a document points to: there, of this length (below 0: any) and digest (NULL: any)? */
int fsck_check_blob(struct fsck *fsck, const bson_oid_t *id, int64_t length, const char *sha256, const char *where,
                    struct fsck_list *found, bson_error_t *error);

fsck_check fsck_check_task, fsck_check_model, fsck_check_dataset, fsck_check_architecture, fsck_check_log,
    fsck_check_sweep, fsck_check_project, fsck_check_row, fsck_check_runner;

/* fsck_task.c */
int fsck_unnameable_tasks(struct fsck *fsck, bson_error_t *error);
/* fsck_blob.c, fsck_hub.c */
int fsck_blobs(struct fsck *fsck, bson_error_t *error);
int fsck_chunks(struct fsck *fsck, bson_error_t *error);
int fsck_watch(struct fsck *fsck, bson_error_t *error);
int fsck_watch_end(struct fsck *fsck, bson_error_t *error);
int fsck_uploads(struct fsck *fsck, bson_error_t *error);
int fsck_numbers(struct fsck *fsck, bson_error_t *error);
int fsck_indexes(struct fsck *fsck, bson_error_t *error);
int fsck_engine(struct fsck *fsck, bson_error_t *error);
int fsck_meta(struct fsck *fsck, bson_error_t *error);

#endif
