/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_ARCHIVE_FILES_H
#define TL_TEST_ARCHIVE_FILES_H

/* Hubs into files and back, and whether two of them are the same. */

#include "whole_hub.h"

#include "hub/archive_impl.h"

static inline FILE *exported(struct hub *hub, const char *project, bool live, struct archive_summary *summary)
{
    struct archive_summary unused;
    struct archive_export_options options = {.project = project, .live = live};
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    cr_assert_eq(GOOD(archive_export(hub, file, &options, summary != NULL ? summary : &unused, error)), 1);
    rewind(file);
    return file;
}

static inline struct archive_import_report imported(struct hub *hub, FILE *file, const char *project, const char *rename)
{
    struct archive_import_options options = {.project = project, .rename = rename, .name = "file"};
    struct archive_import_report report;
    rewind(file);
    cr_assert_eq(GOOD(archive_import(hub, file, &options, &report, error)), 1);
    return report;
}

/* An empty hub on SQLite, or on the server. */
static inline struct hub *new_hub(bool server, char **uri)
{
    if (server) {
        *uri = test_server_database(NULL);
    } else {
        char *path = test_path(".db");
        *uri = bson_strdup_printf("sqlite:%s", path);
        free(path);
    }
    return made_hub(*uri);
}

/* Byte for byte, but for claims and the time at which the default project was made. */
static inline void expect_equal(struct hub *a, struct hub *b, const char *collection)
{
    struct archive_scan *x = archive_scan_open(hub_store(a), collection, NULL);
    struct archive_scan *y = archive_scan_open(hub_store(b), collection, NULL);
    const bson_t *mine, *theirs;
    int more = 1, count = 0;
    while (more > 0) {
        more = (int)GOOD(archive_scan_next(x, &mine, error));
        cr_assert_eq(GOOD(archive_scan_next(y, &theirs, error)), more, "%s: not the same number of documents", collection);
        if (more > 0) {
            bson_t p, q;
            archive_normalize(collection, mine, &p);
            archive_normalize(collection, theirs, &q);
            if (strcmp(collection, "projects") == 0) {
                bson_t without = BSON_INITIALIZER;
                bson_copy_to_excluding_noinit(&p, &without, "created_at", NULL);
                bson_destroy(&p);
                bson_steal(&p, &without);
                bson_init(&without);
                bson_copy_to_excluding_noinit(&q, &without, "created_at", NULL);
                bson_destroy(&q);
                bson_steal(&q, &without);
            }
            char *left = bson_as_canonical_extended_json(&p, NULL), *right = bson_as_canonical_extended_json(&q, NULL);
            cr_expect(bson_equal(&p, &q), "%s:\n%.600s\n%.600s", collection, left, right);
            bson_free(left);
            bson_free(right);
            bson_destroy(&p);
            bson_destroy(&q);
            count++;
        }
    }
    cr_expect_gt(count, 0, "%s is empty: nothing is compared", collection);
    archive_scan_close(x);
    archive_scan_close(y);
}

static inline void expect_same_hub(struct hub *a, struct hub *b)
{
    static const char *const all[] = {"projects", "architectures", "sweeps",      "datasets",    "models",
                                      "logs",     "tasks",         "blobs.files", "blobs.chunks", "counters"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        expect_equal(a, b, all[i]);
    }
}

#endif
