/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over a whole collection in pages: each begins after the last _id seen. Ranges keep to one type in the query
 * language, so the types that an _id may have are walked one after the other. */
#include "hub/archive_impl.h"
#include "hub/hub_impl.h"

#include <math.h>
#include <string.h>

#define PAGE 512
#define CLASSES 9

struct archive_scan {
    struct store *store;
    char *collection, *project;
    int class;       /* the type that is walked */
    bool after;      /* last is set within this type */
    bson_t *last;    /* {_id} */
    struct store_cursor *cursor;
    int given;       /* of this page */
    bool reopened;   /* since a document was had: one more failure is one */
};

struct archive_scan *archive_scan_open(struct store *store, const char *collection, const char *project)
{
    struct archive_scan *scan = bson_malloc0(sizeof *scan);
    scan->store = store;
    scan->collection = bson_strdup(collection);
    scan->project = project != NULL ? bson_strdup(project) : NULL;
    scan->last = bson_new();
    return scan;
}

void archive_scan_close(struct archive_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    store_cursor_close(scan->cursor);
    bson_destroy(scan->last);
    bson_free(scan->project);
    bson_free(scan->collection);
    bson_free(scan);
}

/* {$gte: the lowest value of the type} */
static void append_lowest(bson_t *range, int class)
{
    bson_t none = BSON_INITIALIZER;
    bson_oid_t zero;
    memset(&zero, 0, sizeof zero);
    switch (class) {
    case 1: BSON_APPEND_DOUBLE(range, "$gte", -INFINITY); break;
    case 2: BSON_APPEND_UTF8(range, "$gte", ""); break;
    case 3: BSON_APPEND_DOCUMENT(range, "$gte", &none); break;
    case 4: BSON_APPEND_BINARY(range, "$gte", BSON_SUBTYPE_BINARY, (const uint8_t *)"", 0); break;
    case 5: BSON_APPEND_OID(range, "$gte", &zero); break;
    case 6: BSON_APPEND_BOOL(range, "$gte", false); break;
    default: BSON_APPEND_DATE_TIME(range, "$gte", INT64_MIN); break;
    }
    bson_destroy(&none);
}

static void append_class(struct archive_scan *scan, bson_t *filter)
{
    bson_t range, list;
    bson_iter_t iter;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
    if (scan->after && bson_iter_init_find(&iter, scan->last, "_id")) {
        bson_append_iter(&range, "$gt", 3, &iter);
    } else if (scan->class == 0) {
        BSON_APPEND_ARRAY_BEGIN(&range, "$in", &list);
        BSON_APPEND_NULL(&list, "0");
        BSON_APPEND_DOUBLE(&list, "1", NAN); /* no range holds it */
        bson_append_array_end(&range, &list);
    } else {
        append_lowest(&range, scan->class);
    }
    bson_append_document_end(filter, &range);
}

static int open_page(struct archive_scan *scan, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    append_class(scan, &filter);
    BSON_APPEND_INT32(&sort, "_id", 1);
    struct store_find_options options = {.sort = &sort, .limit = PAGE};
    scan->cursor = store_find(scan->store, scan->collection, &filter, &options, error);
    scan->given = 0;
    bson_destroy(&sort);
    bson_destroy(&filter);
    return scan->cursor != NULL ? 1 : -1;
}

static void close_page(struct archive_scan *scan)
{
    store_cursor_close(scan->cursor);
    scan->cursor = NULL;
}

static bool is_wanted(const struct archive_scan *scan, const bson_t *document)
{
    const char *project = scan->project != NULL ? hub_text(document, "project") : NULL;
    return scan->project == NULL || (project != NULL && strcmp(project, scan->project) == 0);
}

static void remember(struct archive_scan *scan, const bson_t *document)
{
    bson_iter_t iter;
    if (bson_iter_init_find(&iter, document, "_id")) {
        bson_reinit(scan->last);
        bson_append_iter(scan->last, "_id", 3, &iter);
        scan->after = scan->class != 0;
    }
    scan->given++;
    scan->reopened = false;
}

int archive_scan_next(struct archive_scan *scan, const bson_t **document, bson_error_t *error)
{
    while (scan->class < CLASSES - 1) {
        if (scan->cursor == NULL && open_page(scan, error) < 0) {
            return -1;
        }
        int next = store_cursor_next(scan->cursor, document, error);
        if (next > 0) {
            remember(scan, *document);
            if (is_wanted(scan, *document)) {
                return 1;
            }
        } else if (next < 0) {
            /* A server forgets a cursor that nobody asked for ten minutes. */
            close_page(scan);
            if (scan->reopened || scan->given == 0) {
                return -1;
            }
            scan->reopened = true;
        } else {
            bool more = scan->given == PAGE;
            close_page(scan);
            if (!more) {
                scan->class++;
                scan->after = false;
            }
        }
    }
    return 0;
}
