/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: each belongs to a dataset that there is. */
#include "hub/fsck_impl.h"
#include "hub/hub_impl.h"
#include "hub/rows.h"

#include <stdio.h>
#include <string.h>

int fsck_check_row(struct fsck *fsck, const bson_t *row, struct fsck_list *found, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    char both[sizeof fsck->last_rows];
    const char *project = hub_text(row, "project"), *name = hub_text(row, "dataset");
    int result = 1;
    if (name == NULL || hub_number(row, "seq", 0) < 1) {
        fsck_add(found, FSCK_ERROR, "schema", "correct the document, or delete it", "row: it has no dataset, or no seq from 1 up");
        goto out;
    }
    BSON_APPEND_UTF8(&filter, "project", project != NULL ? project : "");
    BSON_APPEND_UTF8(&filter, "name", name);
    snprintf(both, sizeof both, "%s/%s", project != NULL ? project : "", name);
    if (!fsck->again && fsck->last_rows_there && strcmp(fsck->last_rows, both) == 0) {
        goto out;
    }
    int64_t there = store_count(hub_store(fsck->hub), "datasets", &filter, error);
    result = there < 0 ? -1 : 1;
    fsck->last_rows_there = there > 0;
    memcpy(fsck->last_rows, both, sizeof both);
    if (there == 0) {
        fsck_add(found, FSCK_WARNING, "row-alone", "tl_hub push-rows makes the dataset again; delete-dataset then takes its rows",
                 "dataset: there is no dataset \"%.80s\"", name);
    }
out:
    bson_destroy(&filter);
    return result;
}
