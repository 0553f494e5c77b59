/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_ZIP_MEMBER_H
#define TL_DISTRIBUTOR_ZIP_MEMBER_H

/* A file, or one member of a zip archive (APPNOTE.TXT 6.3: stored or deflated, with zip64's sizes), as bytes in order. What
 * the central directory says is checked against what is there; the CRC-32 of a member is checked at its end. */

#include "hub/error.h"

#include <stddef.h>
#include <stdint.h>

struct zip_member;

/* Whether the file begins as a zip archive does: 1, 0, -1. */
int zip_member_is_archive(const char *path, bson_error_t *error);
/* Names of the members that end with `end`, without it; others are refused, as are more than `most`. */
int zip_member_list(const char *path, const char *end, char names[][68], int most, int *count, bson_error_t *error);

/* name NULL: the file itself. */
struct zip_member *zip_member_open(const char *path, const char *name, bson_error_t *error);
void zip_member_close(struct zip_member *member);
/* Exactly length bytes, or HUB_ERROR_INVALID. */
int zip_member_read(struct zip_member *member, void *bytes, size_t length, bson_error_t *error);
/* Nothing is left, and the check sum is right. */
int zip_member_end(struct zip_member *member, bson_error_t *error);

#endif
