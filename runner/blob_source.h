/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_BLOB_SOURCE_H
#define TL_RUNNER_BLOB_SOURCE_H

/* A blob as a net reads it. kernels/ knows no hub: the hub's own error is kept here while the net's reading ends. */

#include "hub/blob.h"

#include <stdbool.h>

struct blob_source {
    struct blob_reader *reader;
    bson_error_t error; /* the hub's, where it failed */
    bool failed;
};

/* 0, -1. */
int blob_source_open(struct blob_source *source, struct store *store, const bson_oid_t *id, bson_error_t *error);
/* A net_read_function whose context is the source. */
int64_t blob_source_read(void *context, void *buffer, size_t size);
/* Reads what is left where to_the_end (only there the digest is known to be right), and closes. 0, or -1 with the hub's
 * error when this or an earlier read failed. */
int blob_source_close(struct blob_source *source, bool to_the_end, bson_error_t *error);

#endif
