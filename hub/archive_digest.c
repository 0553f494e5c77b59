/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/archive_impl.h"
#include "hub/hub_impl.h"

#include <string.h>

int archive_digest_init(struct archive_digest *digest, bson_error_t *error)
{
    memset(digest, 0, sizeof *digest);
    for (size_t i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        if (blob_sha256_init(&digest->parts[i], error) < 0) {
            return -1;
        }
    }
    return 1;
}

void archive_digest_destroy(struct archive_digest *digest)
{
    for (size_t i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        blob_sha256_destroy(&digest->parts[i]);
    }
}

static int add_blob(struct blob_sha256 *sha, struct store *store, const bson_oid_t *id, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, files, normal;
    BSON_APPEND_OID(&filter, "_id", id);
    int result = store_find_one(store, BLOB_FILES, &filter, NULL, &files, error);
    archive_normalize(BLOB_FILES, &files, &normal); /* one that is missing counts as an empty document */
    if (result >= 0) {
        result = blob_sha256_update(sha, bson_get_data(&normal), normal.len, error);
    }
    bson_destroy(&normal);
    bson_destroy(&files);
    bson_destroy(&filter);
    return result;
}

int archive_digest_add(struct archive_digest *digest, struct store *store, int collection, const bson_t *document,
                       bson_error_t *error)
{
    struct blob_sha256 *sha = &digest->parts[collection];
    bson_oid_t *blobs;
    bson_t own = BSON_INITIALIZER;
    const bson_t *counted = document;
    int result;
    if (collection == 0) {
        /* Every hub has made its own default project: when is not content. */
        hub_copy_without(document, &own, "created_at", NULL);
        counted = &own;
    }
    size_t count = archive_pointers(archive_collections[collection], document, &blobs);
    result = blob_sha256_update(sha, bson_get_data(counted), counted->len, error);
    for (size_t i = 0; i < count && result > 0; i++) {
        result = add_blob(sha, store, &blobs[i], error);
    }
    bson_free(blobs);
    bson_destroy(&own);
    digest->summary.counts[collection]++;
    digest->summary.documents++;
    return result;
}

int archive_digest_final(struct archive_digest *digest, struct archive_summary *summary, bson_error_t *error)
{
    bson_string_t *text = bson_string_new(NULL);
    char hex[BLOB_SHA256_HEX];
    int result = 1;
    memcpy(summary->counts, digest->summary.counts, sizeof summary->counts);
    summary->documents = digest->summary.documents;
    for (size_t i = 0; i < ARCHIVE_COLLECTIONS && result > 0; i++) {
        result = blob_sha256_final(&digest->parts[i], hex, error);
        if (summary->counts[i] == 0 && strcmp(archive_collections[i], "rows") == 0) {
            continue; /* a hub without rows has the digest that it had before there were any */
        }
        bson_string_append_printf(text, "%s %" PRId64 " %s\n", archive_collections[i], summary->counts[i], hex);
    }
    hub_sha256(text->str, text->len, summary->digest);
    bson_string_free(text, true);
    return result;
}

int archive_digest(struct hub *hub, const char *project, struct archive_summary *summary, bson_error_t *error)
{
    struct archive_digest digest;
    int result = archive_digest_init(&digest, error);
    memset(summary, 0, sizeof *summary);
    for (int i = 0; i < ARCHIVE_COLLECTIONS && result >= 0; i++) {
        struct archive_scan *scan = archive_scan_open(hub_store(hub), archive_collections[i], project);
        const bson_t *document;
        while (result >= 0 && (result = archive_scan_next(scan, &document, error)) > 0) {
            bson_t normal;
            if (archive_normalize(archive_collections[i], document, &normal) > 0) {
                result = archive_digest_add(&digest, hub_store(hub), i, &normal, error);
            }
            bson_destroy(&normal);
        }
        archive_scan_close(scan);
    }
    if (result >= 0) {
        result = archive_digest_final(&digest, summary, error);
    }
    archive_digest_destroy(&digest);
    return result;
}
