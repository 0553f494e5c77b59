/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_FSCK_H
#define TL_HUB_FSCK_H

/* Looks through a whole hub for what does not fit together: broken links, what nothing points to, wrong digests, documents
 * that are not as the schemas say, and damage in the engine's own files. It never writes.
 *
 * Right beside runners, saves and gc: what looks wrong is read again after a moment, and only what is still the same is
 * reported. What an upload or an import is about is watched until its beat has stood still. Memory is bounded: documents
 * come one at a time, and what they name is looked up; time grows with their number.
 *
 * Every kind of finding has a name that does not change (`check`); docs/backup.md lists them. */

#include "hub/hub.h"

enum fsck_severity {
    FSCK_ERROR,   /* something is lost, or would be done wrongly */
    FSCK_WARNING, /* something is left over, or waits for a runner or gc to be put right */
    FSCK_NOTE     /* worth knowing; does not count */
};

struct fsck_finding {
    enum fsck_severity severity;
    const char *check;      /* "blob-missing" */
    const char *collection; /* "" for the engine */
    const char *id;         /* the document's _id as text; "" for none */
    const char *project;    /* "" where there is none */
    const char *what;       /* one line */
    const char *advice;     /* what to do, one line */
};

struct fsck_progress {
    const char *collection;
    int64_t done, total; /* documents of this collection; total 0: not known */
};

struct fsck_options {
    const char *project;  /* NULL: all, and what belongs to none */
    bool quick;           /* no hashing of blobs, and nothing about the engine's files */
    int64_t settle_ms;    /* before what looked wrong is read again; 0: 2 s */
    int64_t stand_ms;     /* how long a beat must stand still; 0: 15 s */
    /* The canonical JSON of an architecture, from its JSON or short form (bson_free), or NULL: kernels know, hub does
     * not. NULL: architectures' digests are not computed. */
    char *(*architecture_json)(const char *text);
    void (*found)(void *data, const struct fsck_finding *finding);
    void (*progress)(void *data, const struct fsck_progress *progress); /* NULL allowed */
    void *data;
};

struct fsck_report {
    int64_t documents, blobs, bytes; /* looked at; bytes hashed */
    int64_t errors, warnings, notes;
};

/* 1 done (see the report for what was found), or -1: the hub could not be read. */
int fsck_run(struct hub *hub, const struct fsck_options *options, struct fsck_report *report, bson_error_t *error);

#endif
