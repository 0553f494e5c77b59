/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_GC_SCAN_H
#define TL_HUB_GC_SCAN_H

/* The reading half of gc: pages of candidates, and who points to them. Not installed. */

#include "hub/gc.h"

#define GC_PAGE 256

/* An upload without a claim, and how long its beat was seen to stand still. */
struct gc_watched {
    bson_oid_t id;
    int64_t beat;
    int64_t since;
    bool there, stale;
};

struct gc {
    struct hub *hub;
    int64_t lease_ms;
    bool dry_run;
    struct gc_report *report;
    char token[HUB_ID_SIZE];
    struct gc_watched *watched;
    size_t watched_count;
};

struct gc_candidate {
    bson_oid_t id;
    int64_t length;
    bool pointed;
    bool announced; /* by an upload without a claim that stands still */
};

struct gc_batch {
    struct gc_candidate list[GC_PAGE];
    size_t count;
};

/* Watches the uploads without a claim for one lease, if there are any. */
int gc_watch_uploads(struct gc *gc, bson_error_t *error);
/* Whether an upload's entry protects nothing any more: its task no longer runs under its claim, or its beat stood
 * still. 1, 0, -1. */
int gc_is_stale(struct gc *gc, const bson_t *upload, bson_error_t *error);

/* The next page of blobs, by files documents or by chunks: 1, 0 at the end, -1. */
int gc_next_files(struct gc *gc, bson_oid_t *last, struct gc_batch *batch, bson_error_t *error);
int gc_next_chunks(struct gc *gc, bson_oid_t *last, struct gc_batch *batch, bson_error_t *error);
/* The next page of tasks that logs name: those that are gone, as an array (initialised always). 1, 0 at the end, -1. *last
 * is {} at the start, then {task: the last one seen}. */
int gc_next_log_tasks(struct gc *gc, bson_t *last, bson_t *gone, bson_error_t *error);

/* Set `pointed` where a live upload, or a files document, or any pointer is found; the last clears it first. */
int gc_find_uploads(struct gc *gc, struct gc_batch *batch, bson_error_t *error);
int gc_find_files(struct gc *gc, struct gc_batch *batch, bson_error_t *error);
int gc_find_pointers(struct gc *gc, struct gc_batch *batch, bson_error_t *error);
/* Takes the pointed ones out: how many. */
int64_t gc_drop_pointed(struct gc_batch *batch);

#endif
