/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/restart.h"

#include "distributor/acceptance.h"
#include "distributor/hyper_parameters.h"
#include "hub/task.h"
#include "hub/task_class.h"

#include <stdlib.h>
#include <string.h>

/* One that is to be restarted, and what becomes of its needs: {needs, resource_class}, or less. */
struct restart {
    struct restart *next;
    char *id;
    bson_t also;
};

static const char *text_of(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

static int64_t memory_of(const bson_t *task)
{
    bson_iter_t at, value;
    return bson_iter_init(&at, task) && bson_iter_find_descendant(&at, "needs.memory", &value) && BSON_ITER_HOLDS_NUMBER(&value)
               ? bson_iter_as_int64(&value)
               : 0;
}

/* Estimates have flops beside the memory; who says what a task needs says memory alone. */
static bool is_estimated(const bson_t *task)
{
    bson_iter_t at, value;
    return !bson_has_field(task, "needs") || (bson_iter_init(&at, task) && bson_iter_find_descendant(&at, "needs.flops", &value));
}

/* Appends class without its labels of memory, and with the one for so many bytes. */
static int append_class(const char *class, int64_t bytes, bson_t *also, bson_error_t *error)
{
    char base[TASK_CLASS_SIZE], label[TASK_CLASS_MEMORY_SIZE], composed[TASK_CLASS_SIZE];
    bson_t labels = BSON_INITIALIZER;
    size_t length = strcspn(class, "+"), used = length;
    if (strlen(class) >= sizeof base)
        return hub_error(error, HUB_ERROR_INVALID, "resource_class: %.60s… is longer than a class can be", class);
    memcpy(base, class, length);
    for (const char *at = class + length; *at == '+'; at += 1 + length) {
        length = strcspn(at + 1, "+");
        if (task_class_memory_of(at + 1, length) > 0)
            continue;
        memcpy(base + used, at, 1 + length);
        used += 1 + length;
    }
    base[used] = '\0';
    task_class_memory(bytes, label);
    if (*label)
        BSON_APPEND_UTF8(&labels, "0", label);
    int result = task_class_compose(base, &labels, composed, error) > 0 && BSON_APPEND_UTF8(also, "resource_class", composed) ? 0 : -1;
    bson_destroy(&labels);
    return result;
}

/* Where the class says what the estimate said, it goes with it; one that somebody chose stays. */
static int append_needs(const bson_t *task, const bson_t *checked, bson_t *also, bson_error_t *error)
{
    char before[TASK_CLASS_MEMORY_SIZE];
    const char *class = text_of(task, "resource_class");
    bson_iter_t at;
    if (!is_estimated(task) || !bson_iter_init_find(&at, checked, "needs"))
        return 0;
    if (!bson_append_iter(also, "needs", -1, &at))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the task's needs");
    task_class_memory(memory_of(task), before);
    if (!class || task_class_memory_needed(class) != (*before ? task_class_memory_of(before, strlen(before)) : 0))
        return 0;
    return append_class(class, memory_of(checked), also, error);
}

/* The task as a new one with the changes: what is queued and claimed is not part of it. */
static bool change(const bson_t *task, const bson_t *set, bson_t *fields)
{
    bson_t old, changed;
    bson_iter_t at;
    uint32_t length;
    const uint8_t *data;
    bson_copy_to_excluding_noinit(task, fields, "hyper_parameters", is_estimated(task) ? "needs" : "hyper_parameters",
                                  "resource_class", "requires", (char *)NULL);
    bool done = BSON_APPEND_DOCUMENT_BEGIN(fields, "hyper_parameters", &changed);
    if (bson_iter_init_find(&at, task, "hyper_parameters") && BSON_ITER_HOLDS_DOCUMENT(&at)) {
        bson_iter_document(&at, &length, &data);
        for (bool more = bson_init_static(&old, data, length) && bson_iter_init(&at, &old); more && bson_iter_next(&at);)
            done = done && (bson_has_field(set, bson_iter_key(&at)) || bson_append_iter(&changed, NULL, 0, &at));
    }
    return done && bson_concat(&changed, set) && bson_append_document_end(fields, &changed);
}

/* Checks one task and puts what becomes of it before list. */
static int prepare(struct acceptance *acceptance, const bson_t *task, const bson_t *set, struct restart **list,
                   bson_error_t *error)
{
    bson_t fields = BSON_INITIALIZER, checked;
    bson_error_t why = {0};
    const char *id = text_of(task, "_id"), *name = text_of(task, "name");
    struct restart *restart = aligned_alloc(_Alignof(struct restart), sizeof *restart);
    int result = -1;
    bson_init(&checked);
    if (restart) {
        *restart = (struct restart){.next = *list};
        bson_init(&restart->also);
        *list = restart;
    }
    if (!restart || !id || !change(task, set, &fields)) {
        hub_error(&why, id ? HUB_ERROR_MEMORY : HUB_ERROR_INVALID, id ? "no memory to restart it" : "its _id is no text");
        goto out;
    }
    restart->id = bson_strdup(id);
    bson_destroy(&checked);
    result = acceptance_check(acceptance, &fields, &checked, NULL, &why) || append_needs(task, &checked, &restart->also, &why) ? -1 : 0;
out:
    if (result < 0)
        hub_error(error, hub_error_code(&why), "task %s: %s", name ? name : id ? id : "", why.message);
    bson_destroy(&checked);
    bson_destroy(&fields);
    return result;
}

static int prepare_all(struct hub *hub, const bson_t *filter, const bson_t *set, struct restart **list, bson_error_t *error)
{
    static const char ended[] = "{\"state\": {\"$in\": [\"done\", \"failed\", \"dead\", \"cancelled\", \"stopped\"]}}";
    struct acceptance *acceptance = acceptance_new(hub, NULL, error);
    bson_t both = BSON_INITIALIZER, states, conditions;
    const bson_t *task;
    int next = -1;
    if (!acceptance)
        return -1;
    if (bson_init_from_json(&states, ended, -1, NULL)) {
        BSON_APPEND_ARRAY_BEGIN(&both, "$and", &conditions);
        BSON_APPEND_DOCUMENT(&conditions, "0", &states);
        BSON_APPEND_DOCUMENT(&conditions, "1", filter);
        bson_append_array_end(&both, &conditions);
        bson_destroy(&states);
        struct store_cursor *cursor = task_find(hub, &both, NULL, error);
        while (cursor && (next = store_cursor_next(cursor, &task, error)) == 1)
            if (prepare(acceptance, task, set, list, error)) {
                next = -1;
                break;
            }
        store_cursor_close(cursor);
    } else {
        hub_error(error, HUB_ERROR_MEMORY, "no memory to find the tasks");
    }
    bson_destroy(&both);
    acceptance_free(acceptance);
    return next < 0 ? -1 : 0;
}

/* Where there is nothing to restart, a wrong value is still said to be one. */
static int check_alone(const bson_t *set, bson_error_t *error)
{
    bson_t complete;
    int result = hyper_parameters_check(set, NULL, 0, false, &complete, NULL, error);
    bson_destroy(&complete);
    return result;
}

int64_t restart_tasks(struct hub *hub, const bson_t *filter, const bson_t *set, bson_error_t *error)
{
    struct restart *list = NULL;
    int64_t restarted = 0;
    if (!set)
        return task_restart(hub, filter, NULL, error);
    if (prepare_all(hub, filter, set, &list, error) || (!list && check_alone(set, error)))
        restarted = -1;
    while (list) {
        struct restart *restart = list;
        list = restart->next;
        if (restarted >= 0) {
            bson_t one = BSON_INITIALIZER;
            BSON_APPEND_UTF8(&one, "_id", restart->id);
            int64_t done = task_restart_with(hub, &one, set, &restart->also, error);
            restarted = done < 0 ? -1 : restarted + done;
            bson_destroy(&one);
        }
        bson_free(restart->id);
        bson_destroy(&restart->also);
        free(restart);
    }
    return restarted;
}
