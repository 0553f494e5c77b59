/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/serving.h"
#include "hub/runner_record.h"
#include "runner/document.h"
#include "runner/machine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME_LENGTH = 64 };

static const char *const *list_of(const char *const *list, const char *only, const char *standard, const char *holder[2])
{
    if (list && list[0])
        return list;
    holder[0] = only ? only : standard;
    return holder;
}

static int check_words(const char *const *list, const char *what, bson_error_t *error)
{
    for (size_t i = 0; list && list[i]; i++) {
        if (!task_class_is_word(list[i]) || strlen(list[i]) > NAME_LENGTH)
            return hub_error(error, HUB_ERROR_INVALID,
                             "%s: \"%.100s\" is none: 1 to %d letters, digits, '_', '.' and '-', a letter or digit first",
                             what, list[i], NAME_LENGTH);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(list[i], list[j]))
                return hub_error(error, HUB_ERROR_INVALID, "%s: \"%s\" is given twice", what, list[i]);
    }
    return 0;
}

/* A worker's share: each does a task at a time. */
static int64_t task_memory(const struct runner_options *options)
{
    int workers = options->workers > 0 ? options->workers : machine_cores();
    return options->memory > 0 ? options->memory : machine_free_memory() / workers;
}

int serving_init(struct serving *serving, const struct runner_options *options, struct hub *hub, bson_error_t *error)
{
    static const char *const none[] = {NULL};
    memset(serving, 0, sizeof *serving);
    serving->serves = (struct task_serves){
        .projects = list_of(options->projects, options->project, HUB_DEFAULT_PROJECT, serving->project),
        .queues = list_of(options->queues, options->queue, "default", serving->queue),
        .bases = list_of(options->resource_classes, options->resource_class, "cpu", serving->base),
        .labels = options->labels ? options->labels : none,
        .name = options->task_name,
        .memory = task_memory(options)};
    if (check_words(serving->serves.projects, "project", error) || check_words(serving->serves.queues, "queue", error) ||
        check_words(serving->serves.bases, "resource class", error) ||
        check_words(serving->serves.labels, "label", error))
        return -1;
    for (size_t i = 0; serving->serves.projects[i]; i++)
        if (hub_check_project(hub, serving->serves.projects[i], error) < 0)
            return -1;
    int count = task_sources_find(hub, &serving->serves, &serving->sources, error);
    serving->source_count = count < 0 ? 0 : (size_t)count;
    return count < 0 ? -1 : 0;
}

void serving_destroy(struct serving *serving)
{
    bson_free(serving->sources);
    serving->sources = NULL;
}

static bool append_list(bson_t *fields, const char *key, const char *const *list)
{
    bson_t array;
    bool done = BSON_APPEND_ARRAY_BEGIN(fields, key, &array);
    for (uint32_t i = 0; done && list[i]; i++) {
        char buffer[16];
        const char *index;
        bson_uint32_to_string(i, &index, buffer, sizeof buffer);
        done = BSON_APPEND_UTF8(&array, index, list[i]);
    }
    return done && bson_append_array_end(fields, &array);
}

/* "SQLite 3.40.1" or "libmongoc 1.23.1", as the engine describes itself. */
static bool append_libraries(struct hub *hub, bson_t *fields)
{
    bson_t about;
    char text[100] = "";
    if (store_describe(hub_store(hub), &about, NULL) > 0) {
        const char *library = document_string(&about, "library"), *version = document_string(&about, "library_version");
        snprintf(text, sizeof text, "%s%s", library ? library : version ? "SQLite " : "", !library && version ? version : "");
    }
    bson_destroy(&about);
    return !*text || BSON_APPEND_UTF8(fields, "libraries", text);
}

int serving_save_record(const struct serving *serving, const struct runner_options *options, int workers,
                        struct hub *hub, bson_t *record, bson_error_t *error)
{
    const struct task_serves *serves = &serving->serves;
    char host[256], cpu[256], id[HUB_ID_SIZE];
    bson_init(record);
    machine_host(host, sizeof host);
    machine_cpu(cpu, sizeof cpu);
    hub_random_id(id);
    int64_t disk = machine_free_bytes(hub_uri(hub));
    bool done = BSON_APPEND_UTF8(record, "_id", id) && BSON_APPEND_UTF8(record, "host", host) &&
                BSON_APPEND_INT32(record, "pid", (int32_t)getpid()) && BSON_APPEND_UTF8(record, "cpu", cpu) &&
                BSON_APPEND_INT32(record, "cores", machine_cores()) &&
                BSON_APPEND_INT64(record, "memory_bytes", machine_memory_bytes()) &&
                BSON_APPEND_INT64(record, "task_memory_bytes", serves->memory) &&
                (disk < 0 || BSON_APPEND_INT64(record, "disk_free_bytes", disk)) &&
                BSON_APPEND_UTF8(record, "device", options->device ? options->device : "cpu") &&
                BSON_APPEND_UTF8(record, "program_version", TL_HUB_VERSION) && append_libraries(hub, record) &&
                BSON_APPEND_INT32(record, "workers", workers) && append_list(record, "projects", serves->projects) &&
                append_list(record, "queues", serves->queues) &&
                append_list(record, "resource_classes", serves->bases) && append_list(record, "labels", serves->labels);
    int result = done ? runner_record_save(hub, record, id, error)
                      : hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner's record");
    return result < 0 ? -1 : 0;
}
