/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_ARCHIVE_EXPORT_IMPL_H
#define TL_HUB_ARCHIVE_EXPORT_IMPL_H

/* Between archive_export.c and archive_export_blob.c. */

#include "hub/archive_impl.h"

struct exporter {
    struct hub *hub;
    const struct archive_export_options *options;
    struct archive_writer writer;
    struct archive_digest digest;
    struct archive_progress progress;
    int64_t blobs, bytes;
    struct archive_set blobs_written;
    struct archive_set tasks;  /* that are exported */
    struct archive_set claims; /* that are dropped */
    struct archive_set left_out; /* documents: their blobs could not be had */
    FILE *spool;               /* the tasks, as they were read first */
};

/* Writes the blob unless it is in the archive already: 1; 0 it is not in the hub (any more), or damaged, as *why (a
 * buffer of 200 bytes) says; -1. */
int exporter_write_blob(struct exporter *exporter, const char *project, const bson_oid_t *id, char why[200],
                        bson_error_t *error);
void exporter_note(struct exporter *exporter, const char *format, ...) BSON_GNUC_PRINTF(2, 3);
void exporter_tell(struct exporter *exporter);

#endif
