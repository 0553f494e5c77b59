/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the documents that wait for a batch go into it: not those that are in the hub, and none that points to a blob
 * that is nowhere. */
#include "hub/archive_import_impl.h"
#include "hub/hub_impl.h"
#include "hub/query.h"

#include <string.h>

#define TOGETHER 500 /* documents asked for at once */

void importer_refuse(struct importer *importer, struct import_document *pending, const char *why)
{
    char id[160];
    archive_id_text(pending->document, id, sizeof id);
    importer_note(importer, "%s %s: %s", archive_collections[pending->collection], id, why);
    bson_destroy(pending->document);
    pending->document = NULL;
    importer->report->refused++;
}

/* The default project is everybody's; it was made when the older of the two was. */
static int merge_project(struct importer *importer, const bson_t *document, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    bson_iter_t iter;
    int result = 1;
    BSON_APPEND_UTF8(&filter, "_id", hub_text(document, "_id"));
    if (bson_iter_init_find(&iter, document, "created_at") && BSON_ITER_HOLDS_DATE_TIME(&iter)) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$min", &part);
        bson_append_iter(&part, "created_at", -1, &iter);
        bson_append_document_end(&update, &part);
        result = store_modify(hub_store(importer->hub), "projects", &filter, &update, NULL, NULL, error);
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result < 0 ? -1 : 1;
}

static int compare_with(struct importer *importer, struct import_document *pending, const bson_t *there,
                        bson_error_t *error)
{
    const char *collection = archive_collections[pending->collection];
    bson_t normal;
    int result = 1;
    archive_normalize(collection, there, &normal);
    if (strcmp(collection, "projects") == 0) {
        result = merge_project(importer, pending->document, error);
    }
    if (strcmp(collection, "projects") == 0 || bson_equal(&normal, pending->document)) {
        bson_destroy(pending->document);
        pending->document = NULL;
        importer->report->same++;
    } else {
        importer_refuse(importer, pending, "is in the hub already and differs: left as it is there");
    }
    bson_destroy(&normal);
    return result;
}

static bool same_id(const bson_t *a, const bson_t *b)
{
    bson_iter_t x, y;
    return bson_iter_init_find(&x, a, "_id") && bson_iter_init_find(&y, b, "_id") &&
           bson_iter_type(&x) == bson_iter_type(&y) && query_compare_values(&x, &y) == 0;
}

/* Passes over the documents of one collection that the hub has: one query for all of them. */
static int pass_over(struct importer *importer, size_t first, size_t end, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, in, list;
    bson_iter_t iter;
    const bson_t *there;
    int next = -1;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = first; i < end; i++) {
        char buffer[16];
        const char *key;
        size_t digits = bson_uint32_to_string((uint32_t)(i - first), &key, buffer, sizeof buffer);
        if (bson_iter_init_find(&iter, importer->documents[i].document, "_id")) {
            bson_append_iter(&list, key, (int)digits, &iter);
        }
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    struct store_cursor *cursor = store_find(hub_store(importer->hub),
                                             archive_collections[importer->documents[first].collection], &filter, NULL, error);
    while (cursor != NULL && (next = store_cursor_next(cursor, &there, error)) > 0) {
        for (size_t i = first; i < end && next > 0; i++) {
            struct import_document *pending = &importer->documents[i];
            if (pending->document != NULL && same_id(pending->document, there)) {
                next = compare_with(importer, pending, there, error);
                break;
            }
        }
        if (next < 0) {
            break;
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    return next;
}

/* Every blob that the document points to is in the hub, or comes with this batch: 1, 0, -1. */
static int has_blobs(struct importer *importer, const struct import_document *pending, bson_error_t *error)
{
    bson_oid_t *list;
    int result = 1;
    size_t count = archive_pointers(archive_collections[pending->collection], pending->document, &list);
    for (size_t i = 0; i < count && result > 0; i++) {
        bool coming = archive_set_has(&importer->written, &list[i], sizeof list[i]);
        for (size_t j = 0; j < importer->blob_count && !coming; j++) {
            coming = bson_oid_equal(&importer->blobs[j].info.id, &list[i]);
        }
        if (!coming) {
            bson_t filter = BSON_INITIALIZER;
            BSON_APPEND_OID(&filter, "_id", &list[i]);
            int64_t there = store_count(hub_store(importer->hub), BLOB_FILES, &filter, error);
            bson_destroy(&filter);
            result = there < 0 ? -1 : there > 0;
        }
    }
    bson_free(list);
    return result;
}

int importer_choose(struct importer *importer, bson_error_t *error)
{
    size_t kept = 0;
    for (size_t first = 0, end; first < importer->document_count; first = end) {
        end = first + 1;
        while (end < importer->document_count && end - first < TOGETHER &&
               importer->documents[end].collection == importer->documents[first].collection) {
            end++;
        }
        if (pass_over(importer, first, end, error) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < importer->document_count; i++) {
        struct import_document *pending = &importer->documents[i];
        int whole = pending->document != NULL ? has_blobs(importer, pending, error) : 0;
        if (whole < 0) {
            return -1;
        }
        if (pending->document != NULL && whole == 0) {
            importer_refuse(importer, pending, "points to a blob that is neither in the archive nor in the hub: left out");
        }
        if (pending->document != NULL) {
            struct import_document moved = *pending;
            pending->document = NULL;
            importer->documents[kept++] = moved;
        }
    }
    importer->document_count = kept;
    return 1;
}
