/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ERROR_H
#define TL_HUB_ERROR_H

/* Error codes of everything in hub/, distributor/ and runner/. They travel in bson_error_t with
 * domain HUB_ERROR_DOMAIN; the message is one line: what, where, what to do. Messages never hold a
 * credential: URIs are shown redacted. Libraries set errors and return; they never print or exit. */

#include <bson/bson.h>

#define HUB_ERROR_DOMAIN 0x746cu

enum hub_error_code {
    HUB_ERROR_INVALID = 1,     /* the caller's document, filter, update, file or argument is not acceptable */
    HUB_ERROR_NOT_FOUND,       /* a named thing does not exist */
    HUB_ERROR_DUPLICATE,       /* a document with this _id exists already */
    HUB_ERROR_UNREACHABLE,     /* the hub cannot be reached; nothing is known to have been written */
    HUB_ERROR_UNKNOWN_OUTCOME, /* a write was sent and its reply was lost: it may have been applied; re-read */
    HUB_ERROR_UNAUTHORIZED,    /* the server refused the credentials or the action */
    HUB_ERROR_CONFLICT,        /* the lease was lost, or a guard matched nothing */
    HUB_ERROR_BUSY,            /* SQLite: the file stayed locked for the whole time limit */
    HUB_ERROR_NO_SPACE,        /* disk full; nothing was written */
    HUB_ERROR_CORRUPT,         /* stored data is damaged: bad digest, truncated file, malformed document */
    HUB_ERROR_VERSION,         /* the hub is newer than this program, or not a hub at all */
    HUB_ERROR_IO,              /* a file could not be read or written */
    HUB_ERROR_MEMORY,
    HUB_ERROR_INTERNAL         /* a defect of this program */
};

/* Fills *error (may be NULL) printf-like; newlines in the message become spaces, and what is not
 * UTF-8 question marks. Returns -1, so that
 * `return hub_error(error, HUB_ERROR_INVALID, "…")` reads well. */
int hub_error(bson_error_t *error, enum hub_error_code code, const char *format, ...) BSON_GNUC_PRINTF(3, 4);

/* The code of an error of ours, or HUB_ERROR_INTERNAL for any other domain. */
enum hub_error_code hub_error_code(const bson_error_t *error);

#endif
