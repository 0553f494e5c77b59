/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_GZIP_FILE_H
#define TL_DISTRIBUTOR_GZIP_FILE_H

/* A file read from front to back, unpacked where it is gzip (RFC 1952; any number of members). Unlike zlib's gzread, which passes
 * over it, data that follow a member and are no member are an error: a flipped bit there would cost every row after it. Zero
 * bytes to the end of the file are taken as padding, as gzip does. */

#include "hub/hub.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gzip_file;

/* NULL with an error that begins with the path. gzip_file_close takes NULL. */
struct gzip_file *gzip_file_open(const char *path, bson_error_t *error);
void gzip_file_close(struct gzip_file *file);

/* Bytes of the file as it lies there; -1: it is no regular file. */
int64_t gzip_file_size(const struct gzip_file *file);
bool gzip_file_is_packed(const struct gzip_file *file);
/* How much of the packed bytes was read, 0 to 1. */
double gzip_file_progress(const struct gzip_file *file);

/* The next bytes, fewer than length only before the end or before what is wrong; 0 at the end; -1: see gzip_file_wrong. */
int64_t gzip_file_read(struct gzip_file *file, void *bytes, size_t length);
/* To the start again: 0 or -1. */
int gzip_file_rewind(struct gzip_file *file);

/* After -1: HUB_ERROR_IO, _MEMORY or _INVALID (damaged), and why in words (the file's, or static). */
enum hub_error_code gzip_file_wrong(const struct gzip_file *file, const char **reason);

#endif
