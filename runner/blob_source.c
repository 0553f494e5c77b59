/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/blob_source.h"

#include <string.h>

int blob_source_open(struct blob_source *source, struct store *store, const bson_oid_t *id, bson_error_t *error)
{
    memset(source, 0, sizeof *source);
    source->reader = blob_reader_open(store, id, error);
    return source->reader ? 0 : -1;
}

int64_t blob_source_read(void *context, void *buffer, size_t size)
{
    struct blob_source *source = context;
    int64_t count = blob_reader_read(source->reader, buffer, size, &source->error);
    source->failed = source->failed || count < 0;
    return count;
}

int blob_source_close(struct blob_source *source, bool to_the_end, bson_error_t *error)
{
    char rest[4096];
    for (int64_t count = 1; to_the_end && !source->failed && count > 0;)
        count = blob_source_read(source, rest, sizeof rest);
    blob_reader_close(source->reader);
    source->reader = NULL;
    if (source->failed && error)
        *error = source->error;
    return source->failed ? -1 : 0;
}
