/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_SPLIT_STORE_H
#define TL_RUNNER_SPLIT_STORE_H

/* Splits of datasets as files in a folder, mapped into memory: a split may be larger than memory, the workers of a machine
 * share the pages, and what was made of rows once is not made again.
 *
 * A file is written under a name of its own and renamed when it is whole; it holds its SHA-256, which is compared each time that it
 * is mapped. One that is damaged is removed and counts as missing. The folder's size is bounded: the longest unused files go, which
 * harms nobody who has them mapped. The folder: TL_HUB_CACHE_DIR, else tl_hub in XDG_CACHE_HOME or ~/.cache; its size:
 * TL_HUB_CACHE_BYTES, else half of what is free on its disk. */

#include "hub/error.h"

struct split_store;
struct split_store *split_store_open(bson_error_t *error);
void split_store_close(struct split_store *store);

/* What a row is: features values (bytes, or floats) and one class (int32), or outputs floats, or no label. */
struct split_shape {
    int64_t features;
    bool bytes;
    int64_t classes; /* 0: none */
    int64_t outputs; /* with classes 0; 0: no label */
};

struct split_writer;
struct split_writer *split_writer_new(struct split_store *store, const struct split_shape *shape, bson_error_t *error);
void split_writer_free(struct split_writer *writer); /* without a finish nothing is left */
/* x: rows × features; y: rows × one int32 or outputs floats, or NULL. HUB_ERROR_NO_SPACE where the folder's bound is below. */
int split_writer_add(struct split_writer *writer, const void *x, const void *y, int64_t rows, bson_error_t *error);
int64_t split_writer_rows(const struct split_writer *writer);
int64_t split_writer_bytes(const struct split_writer *writer);
/* Ends the data: their SHA-256 (x, then y) is known from here on. 0, -1. */
int split_writer_end(struct split_writer *writer, char sha256[65], bson_error_t *error);
/* After the end: the file gets its name. key: of A-Z, a-z, 0-9, '-'. 0, -1. */
int split_writer_publish(struct split_writer *writer, const char *key, bson_error_t *error);

/* A file as memory, private to this process: nothing that is written into it gets to the file. */
struct split_map {
    void *memory, *x, *y;
    size_t length;
    int64_t rows;
};
/* 1, 0 not there (or damaged, or of another shape: then it is gone now), -1. */
int split_store_map(struct split_store *store, const char *key, const struct split_shape *shape, struct split_map *map,
                    bson_error_t *error);
void split_map_end(struct split_map *map);
/* Whether there is a file of this name. */
bool split_store_has(struct split_store *store, const char *key);

/* Small texts beside the files (what a selection came to): NULL where there is none; bson_free. */
char *split_store_text(struct split_store *store, const char *key);
int split_store_keep_text(struct split_store *store, const char *key, const char *text, bson_error_t *error);

#endif
