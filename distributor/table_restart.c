/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks again, with what somebody changed in their table. */
#include "distributor/hyper_parameters.h"
#include "distributor/restart.h"
#include "distributor/table.h"
#include "distributor/table_rows.h"
#include "hub/query.h"
#include "hub/task.h"

#include <string.h>

struct change {
    bson_t filter, set;
};

struct changes {
    struct change *list;
    size_t count, capacity;
};

static void add_change(struct changes *changes, const bson_t *task, const bson_t *set)
{
    bson_iter_t id;

    if (changes->count == changes->capacity) {
        size_t capacity = changes->capacity == 0 ? 32 : changes->capacity * 2;
        struct change *list = bson_aligned_alloc0(_Alignof(struct change), capacity * sizeof *list);
        for (size_t i = 0; i < changes->count; i++) { /* a bson_t may point into itself: it is copied, not moved */
            bson_copy_to(&changes->list[i].filter, &list[i].filter);
            bson_copy_to(&changes->list[i].set, &list[i].set);
            bson_destroy(&changes->list[i].filter);
            bson_destroy(&changes->list[i].set);
        }
        bson_free(changes->list);
        changes->list = list;
        changes->capacity = capacity;
    }
    struct change *change = &changes->list[changes->count++];
    bson_init(&change->filter);
    if (bson_iter_init_find(&id, task, "_id")) {
        bson_append_iter(&change->filter, "_id", -1, &id);
    }
    bson_copy_to(set, &change->set);
}

static void free_changes(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        bson_destroy(&changes->list[i].filter);
        bson_destroy(&changes->list[i].set);
    }
    bson_free(changes->list);
}

static bool has_ended(const bson_t *task)
{
    static const char *const ends[] = {"done", "failed", "dead", "cancelled", "stopped"};
    bson_iter_t state;
    bool ended = false;

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        ended = ended || (bson_iter_init_find(&state, task, "state") && BSON_ITER_HOLDS_UTF8(&state) &&
                          strcmp(bson_iter_utf8(&state, NULL), ends[i]) == 0);
    }
    return ended;
}

static bool value_at(const bson_t *task, const char *document, const char *name, bson_iter_t *value)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, task, document) && BSON_ITER_HOLDS_DOCUMENT(&iter) &&
           bson_iter_recurse(&iter, value) && bson_iter_find(value, name);
}

/* Cells that are hyper-parameters and differ go into set; other parameters of the point must be as they were. */
static int compare_row(const struct table_rows *rows, const bson_t *row, const bson_t *task, bson_t *set, bson_error_t *error)
{
    bson_iter_t cell, value;

    if (!bson_iter_init(&cell, row)) {
        return 0;
    }
    while (bson_iter_next(&cell)) {
        const char *name = bson_iter_key(&cell);
        if (hyper_parameters_known(name)) {
            if (!value_at(task, "hyper_parameters", name, &value) || query_compare_values(&cell, &value) != 0) {
                bson_append_iter(set, name, -1, &cell);
            }
        } else if (value_at(task, "point", name, &value) && query_compare_values(&cell, &value) != 0) {
            return table_rows_refuse(rows, name, error, "was something else when the task was made, and only "
                                     "hyper-parameters can change: make a new task (create-task --table)");
        }
    }
    return 0;
}

static int take_row(struct hub *hub, const struct table_rows *rows, const bson_t *row, struct changes *list,
                    struct table_changes *changes, bson_error_t *error)
{
    bson_t task = BSON_INITIALIZER, set = BSON_INITIALIZER, complete = BSON_INITIALIZER;
    bson_iter_t cell;
    bson_error_t why;
    const char *field = NULL;
    char text[128] = "";
    int result = -1;

    if (bson_iter_init_find(&cell, row, "task") && BSON_ITER_HOLDS_INT(&cell)) {
        snprintf(text, sizeof text, "%lld", (long long)bson_iter_as_int64(&cell));
    } else if (bson_iter_init_find(&cell, row, "task") && BSON_ITER_HOLDS_UTF8(&cell)) {
        bson_strncpy(text, bson_iter_utf8(&cell, NULL), sizeof text);
    } else {
        table_rows_refuse(rows, "task", error, "there must be a column task with the tasks' numbers");
        goto out;
    }
    bson_destroy(&task);
    int found = task_resolve(hub, text, &task, error);
    if (found <= 0) {
        result = found < 0 ? -1 : table_rows_refuse(rows, "task", error, "there is no task '%s'", text);
        goto out;
    }
    if (compare_row(rows, row, &task, &set, error) < 0) {
        goto out;
    }
    changes->rows++;
    if (bson_empty(&set)) {
        changes->same++;
    } else if (!has_ended(&task)) {
        table_rows_refuse(rows, "task", error, "task %s has not ended: cancel it first, or wait", text);
        goto out;
    } else {
        bson_destroy(&complete);
        if (hyper_parameters_check(&set, NULL, 0, false, &complete, &field, &why) < 0) {
            table_rows_refuse(rows, field, error, "%s", why.message);
            goto out;
        }
        add_change(list, &task, &complete);
    }
    result = 0;
out:
    bson_destroy(&task);
    bson_destroy(&set);
    bson_destroy(&complete);
    return result;
}

int table_restart(struct hub *hub, const char *path, bool dry_run, struct table_changes *changes, bson_error_t *error)
{
    struct changes list = {0};
    bson_t row = BSON_INITIALIZER;
    int result = -1, more = -1;

    memset(changes, 0, sizeof *changes);
    struct table_rows *rows = table_rows_open(path, error);
    while (rows != NULL) {
        bson_destroy(&row);
        if ((more = table_rows_next(rows, &row, error)) <= 0) {
            break;
        }
        if (take_row(hub, rows, &row, &list, changes, error) < 0) {
            more = -1;
            break;
        }
    }
    result = more;
    for (size_t i = 0; i < list.count && result == 0; i++) {
        int64_t changed = dry_run ? 1 : restart_tasks(hub, &list.list[i].filter, &list.list[i].set, error);
        result = changed < 0 ? -1 : 0;
        changes->restarted += changed > 0 ? changed : 0;
    }
    table_rows_close(rows);
    bson_destroy(&row);
    free_changes(&list);
    return result;
}
