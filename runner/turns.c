/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/turns.h"
#include "runner/document.h"

#include <stdio.h>
#include <string.h>

void turns_set(struct turns *turns, struct task_source *list, size_t count, size_t first, uint32_t number)
{
    turns_destroy(turns);
    turns->list = list;
    turns->count = count;
    turns->empty = bson_malloc0(count > 0 ? count : 1);
    turns->at = count > 0 ? first % count : 0;
    turns->number = number;
}

void turns_destroy(struct turns *turns)
{
    bson_free(turns->list);
    bson_free(turns->empty);
    memset(turns, 0, sizeof *turns);
}

int turns_next(struct turns *turns)
{
    for (size_t i = 0; i < turns->count; i++) {
        size_t source = (turns->at + i) % turns->count;
        if (!turns->empty[source]) {
            turns->at = source;
            return (int)source;
        }
    }
    return -1;
}

static void pass(struct turns *turns, size_t source)
{
    if (source == turns->at)
        turns->at = (source + 1) % turns->count;
}

void turns_missed(struct turns *turns, size_t source)
{
    if (source >= turns->count)
        return;
    turns->empty[source] = true;
    pass(turns, source);
}

void turns_taken(struct turns *turns, size_t source)
{
    if (source < turns->count)
        pass(turns, source);
}

void turns_wake(struct turns *turns, size_t source)
{
    if (source < turns->count)
        turns->empty[source] = false;
}

bool turns_append(bson_t *message, const struct task_source *list, size_t count, uint32_t number)
{
    bson_t array, source;
    bool done = BSON_APPEND_INT64(message, "list", number) && BSON_APPEND_ARRAY_BEGIN(message, "sources", &array);
    for (size_t i = 0; done && i < count; i++) {
        char buffer[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        done = BSON_APPEND_DOCUMENT_BEGIN(&array, key, &source) &&
               BSON_APPEND_UTF8(&source, "project", list[i].project) &&
               BSON_APPEND_UTF8(&source, "queue", list[i].queue) &&
               BSON_APPEND_UTF8(&source, "resource_class", list[i].resource_class) &&
               BSON_APPEND_INT32(&source, "lane", list[i].lane) &&
               bson_append_document_end(&array, &source);
    }
    return done && bson_append_array_end(message, &array);
}

static bool read_source(const bson_t *array, size_t index, struct task_source *source)
{
    char key[16];
    bson_t document;
    int64_t lane = 0;
    snprintf(key, sizeof key, "%zu", index);
    if (!document_child(array, key, &document))
        return false;
    const char *project = document_string(&document, "project"), *queue = document_string(&document, "queue"),
               *class = document_string(&document, "resource_class");
    memset(source, 0, sizeof *source);
    document_integer(&document, "lane", &lane);
    if (!project || !queue || !class || strlen(project) >= sizeof source->project ||
        strlen(queue) >= sizeof source->queue || strlen(class) >= sizeof source->resource_class)
        return false;
    strcpy(source->project, project);
    strcpy(source->queue, queue);
    strcpy(source->resource_class, class);
    source->lane = (int32_t)lane;
    return true;
}

bool turns_read(struct turns *turns, const bson_t *message, size_t first)
{
    int64_t number = 0;
    bson_t array;
    if (!document_array(message, "sources", &array) || !document_integer(message, "list", &number))
        return false;
    size_t count = bson_count_keys(&array);
    struct task_source *list = bson_malloc0((count > 0 ? count : 1) * sizeof *list);
    for (size_t i = 0; i < count; i++)
        if (!read_source(&array, i, &list[i])) {
            bson_free(list);
            return false;
        }
    turns_set(turns, list, count, first, (uint32_t)number);
    return true;
}
