/* SPDX-License-Identifier: Apache-2.0 */
/* Every filter here is served by the claim's index {project, queue, resource_class, lane, state, …}. */
#include "hub/task_source.h"
#include "hub/task_impl.h"

#include <stdio.h>
#include <string.h>

#define MEMORY_SOURCES_MOST 100

/* ---- which there are ---- */

struct list {
    int32_t lanes; /* of the hub */
    struct task_source *items;
    size_t count, capacity;
};

static int add_lane(struct list *list, const char *project, const char *queue, const char *class, int32_t lane, bson_error_t *error)
{
    if (strlen(project) >= sizeof list->items->project || strlen(queue) >= sizeof list->items->queue ||
        strlen(class) >= sizeof list->items->resource_class) {
        return hub_error(error, HUB_ERROR_INVALID, "project, queue or resource class: \"%.70s\", \"%.70s\", \"%.70s\": "
                         "too long", project, queue, class);
    }
    if (list->count == TASK_SOURCES_MOST) {
        return hub_error(error, HUB_ERROR_INVALID, "a runner serves at most %d combinations of project, queue, class and lane",
                         TASK_SOURCES_MOST);
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        list->items = bson_realloc(list->items, list->capacity * sizeof *list->items);
    }
    struct task_source *source = &list->items[list->count++];
    memset(source, 0, sizeof *source);
    memcpy(source->project, project, strlen(project));
    memcpy(source->queue, queue, strlen(queue));
    memcpy(source->resource_class, class, strlen(class));
    source->lane = lane;
    return 0;
}

static int add_source(struct list *list, const char *project, const char *queue, const char *class, bson_error_t *error)
{
    int result = 0;
    for (int32_t lane = 0; lane < list->lanes && result == 0; lane++) {
        result = add_lane(list, project, queue, class, lane, error);
    }
    return result;
}

/* Which classes of memory there are is known beforehand, so that nothing need be looked for: they are sources like the bases, but
 * where that would be too many. */
static bool lists_memory(const struct task_serves *serves, int32_t lanes)
{
    size_t projects = 0, queues = 0, bases = 0, steps = 0;
    while (serves->projects[projects] != NULL)
        projects++;
    while (serves->queues[queues] != NULL)
        queues++;
    while (serves->bases[bases] != NULL)
        bases++;
    while (task_class_memory_step(steps) > 0 && task_class_memory_step(steps) <= serves->memory)
        steps++;
    return steps > 0 && projects * queues * bases * (steps + 1) * (size_t)lanes <= MEMORY_SOURCES_MOST;
}

static int add_memory(const struct task_serves *serves, const char *project, const char *queue, const char *base,
                      struct list *list, bson_error_t *error)
{
    for (size_t i = 0; task_class_memory_step(i) > 0 && task_class_memory_step(i) <= serves->memory; i++) {
        char class[TASK_CLASS_SIZE], label[TASK_CLASS_MEMORY_SIZE];
        task_class_memory(task_class_memory_step(i), label);
        if (snprintf(class, sizeof class, "%s+%s", base, label) < (int)sizeof class &&
            add_source(list, project, queue, class, error) < 0) {
            return -1;
        }
    }
    return 0;
}

/* "cpu+mem2g" is there already. */
static bool is_listed(const struct task_serves *serves, int32_t lanes, const char *class)
{
    const char *label = strchr(class, '+');
    int64_t bytes = label != NULL ? task_class_memory_of(label + 1, strlen(label + 1)) : -1;
    char canonical[TASK_CLASS_MEMORY_SIZE] = "";
    if (bytes > 0) {
        task_class_memory(bytes, canonical);
    }
    return bytes > 0 && bytes <= serves->memory && strcmp(canonical, label + 1) == 0 && lists_memory(serves, lanes);
}

/* The next class after *last ({} at the start) that any task of the queue has, into *last as it stands there: foreign ones
 * may be of any length, and hold NUL. 1, 0 none, -1. */
static int next_class(struct hub *hub, const char *project, const char *queue, bson_t *last, bson_error_t *error)
{
    bson_iter_t iter;
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER, after, task;
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    BSON_APPEND_UTF8(&filter, "project", project);
    BSON_APPEND_UTF8(&filter, "queue", queue);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "resource_class", &after);
    if (bson_iter_init_find(&iter, last, "resource_class")) {
        bson_append_iter(&after, "$gt", -1, &iter);
    } else {
        BSON_APPEND_UTF8(&after, "$gt", "");
    }
    bson_append_document_end(&filter, &after);
    BSON_APPEND_INT32(&sort, "resource_class", 1);
    BSON_APPEND_INT32(&projection, "resource_class", 1);
    int result = store_find_one(hub_store(hub), TASKS, &filter, &options, &task, error);
    if (result > 0) {
        bson_reinit(last);
        result = bson_iter_init_find(&iter, &task, "resource_class") && bson_append_iter(last, NULL, 0, &iter);
    }
    bson_destroy(&task);
    bson_destroy(&projection);
    bson_destroy(&sort);
    bson_destroy(&filter);
    return result;
}

static int add_labelled(struct hub *hub, const struct task_serves *serves, const char *project, const char *queue,
                        struct list *list, bson_error_t *error)
{
    bson_t last = BSON_INITIALIZER;
    int result;
    while ((result = next_class(hub, project, queue, &last, error)) > 0) {
        const char *class = hub_text(&last, "resource_class");
        bool serve = false, known = class != NULL && strlen(class) < TASK_CLASS_SIZE && strchr(class, '+') != NULL &&
                                     !is_listed(serves, list->lanes, class);
        for (size_t i = 0; known && serves->bases[i] != NULL; i++) {
            serve = serve || task_class_fits(class, serves->bases[i], serves->labels, serves->memory);
        }
        if (serve && add_source(list, project, queue, class, error) < 0) {
            result = -1;
            break;
        }
    }
    bson_destroy(&last);
    return result;
}

bool task_serves_labels(const struct hub *hub, const struct task_serves *serves)
{
    return (serves->labels != NULL && serves->labels[0] != NULL) ||
           (serves->memory >= task_class_memory_step(0) && !lists_memory(serves, hub_lanes(hub)));
}

int task_sources_find(struct hub *hub, const struct task_serves *serves, struct task_source **out, bson_error_t *error)
{
    struct list list = {.lanes = hub_lanes(hub)};
    bool labelled = task_serves_labels(hub, serves), listed = lists_memory(serves, list.lanes);
    *out = NULL;
    for (size_t p = 0; serves->projects[p] != NULL; p++) {
        for (size_t q = 0; serves->queues[q] != NULL; q++) {
            for (size_t b = 0; serves->bases[b] != NULL; b++) {
                if (add_source(&list, serves->projects[p], serves->queues[q], serves->bases[b], error) < 0 ||
                    (listed && add_memory(serves, serves->projects[p], serves->queues[q], serves->bases[b], &list, error) < 0)) {
                    goto failed;
                }
            }
            if (labelled && add_labelled(hub, serves, serves->projects[p], serves->queues[q], &list, error) < 0) {
                goto failed;
            }
        }
    }
    *out = list.items;
    return (int)list.count;
failed:
    bson_free(list.items);
    return -1;
}

/* ---- what they have ---- */

static void append_source(bson_t *filter, const struct task_serves *serves, const struct task_source *source)
{
    BSON_APPEND_UTF8(filter, "project", source->project);
    BSON_APPEND_UTF8(filter, "queue", source->queue);
    BSON_APPEND_UTF8(filter, "resource_class", source->resource_class);
    BSON_APPEND_INT32(filter, "lane", source->lane);
    if (serves->name != NULL) {
        BSON_APPEND_UTF8(filter, "name", serves->name);
    }
}

static void append_states(bson_t *filter, const char *const *states)
{
    bson_t in, list;
    if (states[1] == NULL) {
        BSON_APPEND_UTF8(filter, "state", states[0]);
        return;
    }
    BSON_APPEND_DOCUMENT_BEGIN(filter, "state", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (uint32_t i = 0; states[i] != NULL; i++) {
        const char *key;
        char buffer[16];
        bson_uint32_to_string(i, &key, buffer, sizeof buffer);
        BSON_APPEND_UTF8(&list, key, states[i]);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(filter, &in);
}

/* Any task in one of the states, of those sources that are asked: 1 with *at, the place of its source, 0, -1. On
 * MongoDB one command whose branches each have the claim's index; on SQLite, where a command costs nothing, one seek
 * after the other. */
static int find_any(struct hub *hub, const struct task_serves *serves, const struct task_source *list, size_t count,
                    const bool *asked, const char *const *states, size_t *at, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, branches, branch, projection = BSON_INITIALIZER, task;
    bool one_by_one = strcmp(store_engine(hub_store(hub)), "mongodb") != 0;
    struct store_find_options options = {.projection = &projection, .limit = 1};
    uint32_t index = 0;
    int result = 0;
    BSON_APPEND_INT32(&projection, "project", 1);
    BSON_APPEND_INT32(&projection, "queue", 1);
    BSON_APPEND_INT32(&projection, "resource_class", 1);
    BSON_APPEND_INT32(&projection, "lane", 1);
    for (size_t i = 0; i < count && one_by_one && result == 0; i++) {
        if (asked == NULL || asked[i]) {
            bson_reinit(&filter);
            append_source(&filter, serves, &list[i]);
            append_states(&filter, states);
            result = store_find_one(hub_store(hub), TASKS, &filter, &options, &task, error);
            bson_destroy(&task);
            *at = i;
        }
    }
    if (one_by_one) {
        goto out;
    }
    BSON_APPEND_ARRAY_BEGIN(&filter, "$or", &branches);
    for (size_t i = 0; i < count; i++) {
        const char *key;
        char buffer[16];
        if (asked != NULL && !asked[i]) {
            continue;
        }
        bson_uint32_to_string(index++, &key, buffer, sizeof buffer);
        BSON_APPEND_DOCUMENT_BEGIN(&branches, key, &branch);
        append_source(&branch, serves, &list[i]);
        append_states(&branch, states);
        bson_append_document_end(&branches, &branch);
    }
    bson_append_array_end(&filter, &branches);
    if (index == 0) {
        goto out;
    }
    result = store_find_one(hub_store(hub), TASKS, &filter, &options, &task, error);
    const char *project = hub_text(&task, "project"), *queue = hub_text(&task, "queue"),
               *class = hub_text(&task, "resource_class");
    bool known = false;
    for (size_t i = 0; i < count && result > 0 && !known; i++) {
        known = strcmp(list[i].project, project) == 0 && strcmp(list[i].queue, queue) == 0 &&
                strcmp(list[i].resource_class, class) == 0 && hub_number(&task, "lane", -1) == list[i].lane;
        *at = i;
    }
    bson_destroy(&task);
out:
    bson_destroy(&projection);
    bson_destroy(&filter);
    return result;
}

int task_sources_ready(struct hub *hub, const struct task_serves *serves, const struct task_source *list, size_t count,
                       const bool *asked, bool *ready, bson_error_t *error)
{
    static const char *const states[] = {"ready", NULL};
    bool *left = bson_malloc0(count > 0 ? count : 1);
    size_t at = 0;
    int found = 0, result;
    memcpy(left, asked, count * sizeof *left);
    memset(ready, 0, count * sizeof *ready);
    while ((result = find_any(hub, serves, list, count, left, states, &at, error)) > 0 && left[at]) {
        left[at] = false;
        ready[at] = true;
        found++;
    }
    bson_free(left);
    return result < 0 ? -1 : found;
}

/* ---- what is left ---- */

/* Whether a waiting task may still start: all that it waits for has ended well or may yet. 1, 0, -1. */
static int may_start(struct hub *hub, const bson_t *task, bson_error_t *error)
{
    static const char *const good[] = {"done", "stopped", "ready", "delayed", "running", "paused", "parked", NULL};
    bson_t after, filter, found;
    bson_iter_t at;
    int result = 1;
    if (!hub_view(task, "after", &after) || !bson_iter_init(&at, &after)) {
        return 1;
    }
    while (result == 1 && bson_iter_next(&at)) {
        bson_init(&filter);
        bson_append_iter(&filter, "_id", -1, &at);
        append_states(&filter, good);
        result = store_find_one(hub_store(hub), TASKS, &filter, NULL, &found, error);
        bson_destroy(&found);
        bson_destroy(&filter);
    }
    return result;
}

/* Looks through one source's waiting tasks until one may start: 1, 0 none may, -1. */
static int any_may_start(struct hub *hub, const struct task_serves *serves, const struct task_source *source,
                         int64_t *waiting, int64_t *first_seq, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    const bson_t *task;
    int result = 0, next = -1;
    append_source(&filter, serves, source);
    BSON_APPEND_UTF8(&filter, "state", "waiting");
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, &filter, NULL, error);
    while (cursor != NULL && result == 0 && (next = store_cursor_next(cursor, &task, error)) > 0) {
        if (bson_has_field(task, "standing")) {
            continue; /* it never ends by itself: who waits for all to end does not wait for it */
        }
        if (++*waiting == 1) {
            *first_seq = hub_number(task, "seq", 0);
        }
        result = may_start(hub, task, error);
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    return cursor == NULL || next < 0 ? -1 : result;
}

int task_sources_left(struct hub *hub, const struct task_serves *serves, const struct task_source *list, size_t count,
                      int64_t *waiting, int64_t *first_seq, bson_error_t *error)
{
    /* Running ones first and once more at the end: a task may come back from a runner, or be claimed, between two
     * reads. */
    static const char *const running[] = {"running", NULL}, *const open[] = {"delayed", "ready", NULL};
    const char *const *const looks[] = {running, open, running};
    size_t at;
    *waiting = *first_seq = 0;
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        int found = find_any(hub, serves, list, count, NULL, looks[i], &at, error);
        if (found != 0) {
            return found < 0 ? -1 : TASK_LEFT_SOME;
        }
    }
    for (size_t i = 0; i < count; i++) {
        int may = any_may_start(hub, serves, &list[i], waiting, first_seq, error);
        if (may != 0) {
            return may < 0 ? -1 : TASK_LEFT_SOME;
        }
    }
    return *waiting > 0 ? TASK_LEFT_WAITING : TASK_LEFT_NOTHING;
}
