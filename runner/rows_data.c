/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/rows_data.h"

#include "hub/rows.h"
#include "hub/rows_sample.h"
#include "runner/document.h"
#include "runner/split_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPLITS = 16 };

struct split {
    char name[65];
    struct split_writer *writer;
    char sha256[65];
};

struct selecting {
    const bson_t *dataset;
    struct rows_sample *sample;
    struct split_shape shape;
    struct split splits[SPLITS];
    size_t count;
    float *x, *y;
};

static struct split *split_of(struct selecting *selecting, struct split_store *store, const char *name, bson_error_t *error)
{
    for (size_t i = 0; i < selecting->count; i++)
        if (!strcmp(selecting->splits[i].name, name))
            return &selecting->splits[i];
    if (selecting->count == SPLITS) {
        hub_error(error, HUB_ERROR_INVALID, "dataset %s: more than %d splits", document_string(selecting->dataset, "name"), SPLITS);
        return NULL;
    }
    struct split *split = &selecting->splits[selecting->count];
    snprintf(split->name, sizeof split->name, "%s", name);
    split->writer = split_writer_new(store, &selecting->shape, error);
    if (!split->writer)
        return NULL;
    selecting->count++;
    return split;
}

/* ---- all of them ---- */

static int write_rows(struct selecting *selecting, struct split_store *store, struct store_cursor *cursor,
                      bson_error_t *error)
{
    const bson_t *row;
    int more;
    const bool labelled = selecting->shape.classes || selecting->shape.outputs;
    while ((more = store_cursor_next(cursor, &row, error)) == 1) {
        struct split *split = NULL;
        const char *name;
        if (rows_sample_take(selecting->sample, row, selecting->x, selecting->y, &name, error) ||
            !(split = split_of(selecting, store, name, error)) ||
            split_writer_add(split->writer, selecting->x, labelled ? selecting->y : NULL, 1, error))
            return -1;
    }
    for (size_t i = 0; i < selecting->count && more == 0; i++)
        if (split_writer_end(selecting->splits[i].writer, selecting->splits[i].sha256, error))
            return -1;
    return more;
}

static void describe(const struct selecting *selecting, const char *pipeline, int64_t upto, bson_t *out)
{
    bson_t splits, parts, part;
    char digest[65], key[24];
    int64_t rows = 0;
    bson_copy_to_excluding_noinit(selecting->dataset, out, "pipeline", "digest", "rows", "splits", "parts", (char *)NULL);
    if (pipeline && *pipeline)
        BSON_APPEND_UTF8(out, "pipeline", pipeline);
    BSON_APPEND_INT64(out, "rows_upto", upto);
    BSON_APPEND_DOCUMENT_BEGIN(out, "splits", &splits);
    for (size_t i = 0; i < selecting->count; i++) {
        BSON_APPEND_INT64(&splits, selecting->splits[i].name, split_writer_rows(selecting->splits[i].writer));
        rows += split_writer_rows(selecting->splits[i].writer);
    }
    bson_append_document_end(out, &splits);
    BSON_APPEND_INT64(out, "rows", rows);
    BSON_APPEND_ARRAY_BEGIN(out, "parts", &parts);
    for (size_t i = 0; i < selecting->count; i++) {
        snprintf(key, sizeof key, "%zu", i);
        BSON_APPEND_DOCUMENT_BEGIN(&parts, key, &part);
        BSON_APPEND_UTF8(&part, "split", selecting->splits[i].name);
        BSON_APPEND_INT64(&part, "rows", split_writer_rows(selecting->splits[i].writer));
        BSON_APPEND_INT64(&part, "bytes", split_writer_bytes(selecting->splits[i].writer));
        BSON_APPEND_UTF8(&part, "sha256", selecting->splits[i].sha256);
        bson_append_document_end(&parts, &part);
    }
    bson_append_array_end(out, &parts);
    dataset_digest(out, digest);
    BSON_APPEND_UTF8(out, "digest", digest);
}

static int publish(struct selecting *selecting, struct split_store *store, const char *key, const bson_t *resolved,
                   bson_error_t *error)
{
    char name[65];
    for (size_t i = 0; i < selecting->count; i++) {
        data_split_key(document_string(resolved, "digest"), selecting->splits[i].name, name);
        if (split_writer_publish(selecting->splits[i].writer, name, error))
            return -1;
    }
    char *json = bson_as_canonical_extended_json(resolved, NULL);
    int result = json ? split_store_keep_text(store, key, json, error)
                      : hub_error(error, HUB_ERROR_MEMORY, "no memory for the selection");
    bson_free(json);
    return result;
}

static int select_rows(struct hub *hub, struct split_store *store, const bson_t *dataset, const char *pipeline, int64_t upto,
                       const char *key, bson_t *resolved, bson_error_t *error)
{
    struct selecting *selecting = bson_aligned_alloc0(_Alignof(struct selecting), sizeof *selecting);
    struct store_cursor *cursor = NULL;
    int result = -1;
    selecting->dataset = dataset;
    selecting->sample = rows_sample_new(dataset, error);
    if (!selecting->sample)
        goto out;
    selecting->shape = (struct split_shape){.features = rows_sample_features(selecting->sample),
                                            .classes = rows_sample_classes(selecting->sample),
                                            .outputs = rows_sample_outputs(selecting->sample)};
    int64_t labels = selecting->shape.outputs > 1 ? selecting->shape.outputs : 1;
    selecting->x = malloc((size_t)selecting->shape.features * sizeof *selecting->x);
    selecting->y = malloc((size_t)labels * sizeof *selecting->y);
    if (!selecting->x || !selecting->y) {
        hub_error(error, HUB_ERROR_MEMORY, "dataset %s: no memory for a row", document_string(dataset, "name"));
        goto out;
    }
    cursor = rows_select(hub, document_string(dataset, "name"), upto, pipeline, error);
    if (!cursor || write_rows(selecting, store, cursor, error))
        goto out;
    describe(selecting, pipeline, upto, resolved);
    result = publish(selecting, store, key, resolved, error);
out:
    store_cursor_close(cursor);
    for (size_t i = 0; i < SPLITS; i++)
        split_writer_free(selecting->splits[i].writer);
    rows_sample_free(selecting->sample);
    free(selecting->x);
    free(selecting->y);
    bson_free(selecting);
    return result;
}

/* ---- what was selected before ---- */

/* The name of what a selection came to: of what is asked, and how many rows there are to ask. A row that came late, or went,
 * makes it another. */
static void selection_key(struct hub *hub, const bson_t *dataset, const char *pipeline, int64_t upto, int64_t count,
                          char key[65])
{
    char *text = bson_strdup_printf("%s\n%s\n%s\n%s\n%s\n%" PRId64 "\n%" PRId64, hub_id(hub), hub_project(hub),
                                    document_string(dataset, "name"), document_string(dataset, "digest"),
                                    pipeline ? pipeline : "", upto, count);
    hub_sha256(text, strlen(text), key);
    bson_free(text);
}

/* Every file of it is there. */
static bool is_complete(struct split_store *store, const bson_t *resolved)
{
    bson_t splits;
    bson_iter_t at;
    char key[65];
    const char *digest = document_string(resolved, "digest");
    bool more = digest && document_child(resolved, "splits", &splits) && bson_iter_init(&at, &splits);
    bool complete = more;
    while (more && complete && bson_iter_next(&at)) {
        data_split_key(digest, bson_iter_key(&at), key);
        complete = split_store_has(store, key);
    }
    return complete;
}

static bool find_selection(struct split_store *store, const char *key, bson_t *resolved)
{
    char *json = split_store_text(store, key);
    bson_t read;
    bool found = json && bson_init_from_json(&read, json, -1, NULL);
    if (found) {
        found = is_complete(store, &read);
        if (found)
            bson_concat(resolved, &read);
        bson_destroy(&read);
    }
    bson_free(json);
    return found;
}

int rows_data_resolve(struct data_cache *cache, struct hub *hub, const char *pipeline, int64_t upto, bson_t *dataset,
                      bson_error_t *error)
{
    char key[65];
    bson_t resolved = BSON_INITIALIZER;
    int result = -1;
    if (!rows_is_source(dataset))
        return 0;
    const char *name = document_string(dataset, "name");
    struct split_store *store = data_cache_disk(cache, error);
    if (!name || !document_string(dataset, "digest"))
        return hub_error(error, HUB_ERROR_CORRUPT, "dataset: a manifest of rows without name or digest");
    if (!pipeline)
        pipeline = document_string(dataset, "pipeline");
    if (store && upto < 0)
        upto = rows_highest(hub, name, error);
    int64_t count = store && upto >= 0 ? rows_count(hub, name, 0, upto, error) : -1;
    if (count < 0)
        goto out;
    selection_key(hub, dataset, pipeline, upto, count, key);
    result = find_selection(store, key, &resolved) ? 0
                                                   : select_rows(hub, store, dataset, pipeline, upto, key, &resolved, error);
    if (result == 0) {
        bson_destroy(dataset);
        bson_copy_to(&resolved, dataset);
    }
out:
    bson_destroy(&resolved);
    return result;
}

int rows_data_resolve_task(struct data_cache *cache, struct hub *hub, const bson_t *task, bson_t *dataset, bson_error_t *error)
{
    int64_t upto = -1;
    document_integer(task, "checkpoint.rows_upto", &upto);
    if (!document_string(task, "pipeline") && document_has(task, "pipeline"))
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: must be a string, the stages as JSON");
    if (document_has(task, "pipeline") && !rows_is_source(dataset))
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: the dataset has no rows to select, it is made of parts");
    return rows_data_resolve(cache, hub, document_string(task, "pipeline"), upto, dataset, error);
}
