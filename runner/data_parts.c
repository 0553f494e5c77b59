/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/data_parts.h"
#include "runner/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct data_parts {
    struct hub *hub;
    const bson_t *dataset;
    const char *split;
    int64_t rows;
    bson_iter_t at;          /* over the manifest's parts */
    struct data_cache *part; /* the one that is read */
};

static int no_rows(const bson_t *dataset, const char *split, bson_error_t *error)
{
    const char *name = document_string(dataset, "name");
    bson_t splits;
    bson_iter_t at;
    char all[200] = "none";
    size_t used = 0;
    if (document_child(dataset, "splits", &splits) && bson_iter_init(&at, &splits))
        while (bson_iter_next(&at) && used < sizeof all)
            if (BSON_ITER_HOLDS_NUMBER(&at) && bson_iter_as_int64(&at) > 0)
                used += (size_t)snprintf(all + used, sizeof all - used, "%s%.40s", used ? ", " : "", bson_iter_key(&at));
    return hub_error(error, HUB_ERROR_NOT_FOUND, "dataset %s: no rows in the split \"%.64s\"; it has %s", name ? name : "",
                     split, all);
}

/* A view of the part that the iterator stands at; false where it is of another split. */
static bool is_of_split(const struct data_parts *parts, bson_t *part)
{
    uint32_t length;
    const uint8_t *bytes;
    if (!BSON_ITER_HOLDS_DOCUMENT(&parts->at))
        return false;
    bson_iter_document(&parts->at, &length, &bytes);
    const char *split = bson_init_static(part, bytes, length) ? document_string(part, "split") : NULL;
    return split && !strcmp(split, parts->split);
}

static bool begin(struct data_parts *parts)
{
    bson_iter_t list;
    return bson_iter_init_find(&list, parts->dataset, "parts") && BSON_ITER_HOLDS_ARRAY(&list) &&
           bson_iter_recurse(&list, &parts->at);
}

struct data_parts *data_parts_open(struct hub *hub, const bson_t *dataset, const char *split, bson_error_t *error)
{
    struct data_parts *parts = bson_aligned_alloc0(_Alignof(struct data_parts), sizeof *parts);
    bson_t part;
    int64_t rows;
    parts->hub = hub;
    parts->dataset = dataset;
    parts->split = split;
    for (bool more = begin(parts); more && bson_iter_next(&parts->at);)
        if (is_of_split(parts, &part) && document_integer(&part, "rows", &rows) && rows > 0 &&
            parts->rows <= INT64_MAX - rows)
            parts->rows += rows;
    if (parts->rows > 0 && begin(parts))
        return parts;
    no_rows(dataset, split, error);
    data_parts_close(parts);
    return NULL;
}

void data_parts_close(struct data_parts *parts)
{
    if (!parts)
        return;
    data_cache_free(parts->part);
    bson_free(parts);
}

int64_t data_parts_rows(const struct data_parts *parts)
{
    return parts->rows;
}

/* The manifest of a dataset that has this part alone. */
static bool only_part(const struct data_parts *parts, const bson_t *part, bson_t *manifest)
{
    bson_t list;
    bson_init(manifest);
    bson_copy_to_excluding_noinit(parts->dataset, manifest, "parts", (char *)NULL);
    return BSON_APPEND_ARRAY_BEGIN(manifest, "parts", &list) && BSON_APPEND_DOCUMENT(&list, "0", part) &&
           bson_append_array_end(manifest, &list);
}

int data_parts_next(struct data_parts *parts, struct data *data, bson_error_t *error)
{
    bson_t part, manifest;
    memset(data, 0, sizeof *data);
    while (bson_iter_next(&parts->at)) {
        if (!is_of_split(parts, &part))
            continue;
        data_cache_free(parts->part);
        parts->part = data_cache_new(0);
        if (!parts->part)
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for a part of the dataset");
        int loaded = only_part(parts, &part, &manifest)
                         ? data_load(parts->part, parts->hub, &manifest, parts->split, data, error)
                         : hub_error(error, HUB_ERROR_MEMORY, "no memory for a part of the dataset");
        bson_destroy(&manifest);
        if (loaded != 0)
            return loaded;
    }
    return 0;
}
