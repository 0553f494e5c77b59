/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_HUB_H
#define TL_HUB_HUB_H

/* A hub: one connection to a store, and the project that its documents belong to.
 *
 * Collections: meta, counters, projects, tasks, models, architectures, datasets, rows, logs, runners, sweeps, results,
 * uploads, blobs.files, blobs.chunks. Every document but those of meta, counters, rows and blobs has `project`, `created_at`
 * (date) and `schema_version` (int32). _id of tasks, claims, models, datasets, sweeps and runners are strings of 32
 * hex digits (ids of things named twice are digests, so that doing it twice is harmless); blobs have ObjectIds.
 *
 * One thread at a time; open one per thread. */

#include "hub/store.h"

#define HUB_SCHEMA_VERSION 1
#define HUB_ID_SIZE 33 /* 32 lower-case hex digits and NUL */
#define HUB_DEFAULT_PROJECT "default"

struct hub;

enum hub_open_flags {
    HUB_OPEN_EXISTING = 0,
    HUB_OPEN_CREATE = 1, /* make a missing SQLite hub: file, meta document, indexes, the default project. An empty
                            MongoDB database is made into a hub by hub_init only */
};

/* Connects and checks the meta document: HUB_ERROR_NOT_FOUND (no hub there: says how to make one),
 * HUB_ERROR_VERSION (newer than this program: says which version reads it). project NULL is "default"; an unknown
 * project is HUB_ERROR_NOT_FOUND, naming those that exist. */
struct hub *hub_open(const char *uri, const char *project, unsigned flags, bson_error_t *error);
/* Makes the hub where there is none (meta document, indexes, projects "default" and `project`); harmless when it is
 * there. 1 made something, 0 all was there, -1. */
int hub_init(const char *uri, const char *project, bson_error_t *error);
void hub_close(struct hub *hub);

#define HUB_LANES_MOST 64
/* How many lanes its tasks are spread over, as the meta document said when it was opened: 1 unless hub_set_lanes was called. */
int32_t hub_lanes(const struct hub *hub);
/* For a sharded cluster, before the first task: a task that is submitted again must come to the same lane, so HUB_ERROR_INVALID
 * when there is one. 1, 0 it has so many already, -1. */
int hub_set_lanes(struct hub *hub, int32_t lanes, bson_error_t *error);

struct store *hub_store(struct hub *hub);       /* borrowed */
const char *hub_project(const struct hub *hub); /* borrowed */
const char *hub_id(const struct hub *hub);      /* of the meta document */
const char *hub_uri(const struct hub *hub);     /* as given, with credentials: for opening again, never for printing */
/* 1, or -1 with HUB_ERROR_NOT_FOUND naming the projects that exist. */
int hub_check_project(struct hub *hub, const char *project, bson_error_t *error);
/* From here on this project, which must be known to exist (it was opened before): for runners that serve several. */
void hub_set_project(struct hub *hub, const char *project);
/* Another hub object on the same URI and project, for another thread. */
struct hub *hub_reopen(const struct hub *hub, bson_error_t *error);
/* hub_open of a hub that exists, with store_open_with_timeout's limit on every wait. */
struct hub *hub_open_with_timeout(const char *uri, const char *project, int64_t limit_ms, bson_error_t *error);

/* Fills out with 32 hex digits from the system's random source. */
void hub_random_id(char out[HUB_ID_SIZE]);
/* The first 32 hex digits of the SHA-256 of the parts, each preceded by its length. */
void hub_digest_id(const char *const *parts, size_t count, char out[HUB_ID_SIZE]);
/* SHA-256 of memory as 64 hex digits. */
void hub_sha256(const void *data, size_t length, char out[65]);

/* Lower-case words of name, description and tags for keyword search, into an array field `words` of document
 * (which must not have one yet). At most 64 words of at most 64 bytes. */
int hub_append_words(bson_t *document, const char *name, const char *description, const bson_t *tags);
/* The words of a text, split in the same way, as a BSON array (initialised here): {words: {$all: array}} searches for
 * them. The number of words. */
int hub_split_words(const char *text, bson_t *array);

#endif
