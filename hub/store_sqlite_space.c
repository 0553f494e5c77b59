/* SPDX-License-Identifier: Apache-2.0 */
/* Unused pages of the file, given back to the file system. */
#include "hub/store_sqlite_impl.h"

#define STEP_PAGES 2048
#define THRESHOLD_PAGES 4096 /* unused pages from which on the file is made smaller: 16 MiB */

/* On a full disk. A step's journal holds the pages that it cuts off and those that point to what it moves: the first is small
 * enough for the room that the journal has already, and each makes room for a larger one. */
#define ROOM_PAGES 1024
#define ROOM_FIRST_PAGES 8
#define ROOM_STEP_PAGES 128

static int64_t unused_pages(struct sqlite_store *store, bson_error_t *error)
{
    int64_t unused = -1;
    if (sqlite_begin_read(store, error))
        return -1;
    if (sqlite_query_int(store, "PRAGMA freelist_count", &unused, error) < 0)
        unused = -1;
    sqlite_end_read(store);
    return unused;
}

/* In a transaction of its own. */
static int cut_off(struct sqlite_store *store, int64_t pages, bson_error_t *error)
{
    char sql[64];
    if (sqlite_begin_write(store, error))
        return -1;
    bson_snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%lld)", (long long)pages);
    if (sqlite_execute(store, sql, error)) {
        sqlite_rollback(store);
        return -1;
    }
    return sqlite_commit(store, error);
}

int sqlite_shrink(struct sqlite_store *store, bson_error_t *error)
{
    int64_t unused = unused_pages(store, error);
    if (unused < THRESHOLD_PAGES)
        return unused < 0 ? -1 : 0;
    for (int64_t steps = unused / STEP_PAGES + 1; steps > 0 && unused > 0; steps--) {
        if (cut_off(store, STEP_PAGES, error) || (unused = unused_pages(store, error)) < 0)
            return -1;
    }
    return 0;
}

void sqlite_make_room(struct sqlite_store *store)
{
    bson_error_t unused;
    int64_t left = unused_pages(store, &unused), step = ROOM_FIRST_PAGES;
    if (left > ROOM_PAGES)
        left = ROOM_PAGES;
    while (left > 0 && step > 0) {
        int64_t pages = step < left ? step : left;
        if (cut_off(store, pages, &unused) == 0) {
            left -= pages;
            step = step < ROOM_STEP_PAGES ? 2 * step : step;
        } else {
            step = hub_error_code(&unused) == HUB_ERROR_NO_SPACE ? pages / 2 : 0;
        }
    }
}
