/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines: what a find can say of one goes to the engine, the rest is computed here, in front of both (pipeline.h says
 * why). */
#include "hub/pipeline.h"
#include "hub/store_front.h"

struct aggregation {
    struct pipeline *pipeline;
    struct pipeline_run *run;
    struct store_cursor *source;
};

static void close_aggregation(void *self)
{
    struct aggregation *aggregation = self;
    pipeline_run_free(aggregation->run);
    store_cursor_close(aggregation->source);
    pipeline_free(aggregation->pipeline);
    bson_free(aggregation);
}

static int next_source(void *data, const bson_t **document, bson_error_t *error)
{
    return store_cursor_next(data, document, error);
}

static int next_document(void *self, const bson_t **document, bson_error_t *error)
{
    struct aggregation *aggregation = self;
    return pipeline_run_next(aggregation->run, document, error);
}

struct store_cursor *store_aggregate(struct store *store, const char *collection, const bson_t *filter,
                                     const bson_t *sort, const bson_t *pipeline, bson_error_t *error)
{
    bson_t both = BSON_INITIALIZER, all;
    struct store_cursor *cursor = NULL;
    struct aggregation *aggregation = bson_malloc0(sizeof *aggregation);
    aggregation->pipeline = pipeline_parse(pipeline, error);
    if (!aggregation->pipeline)
        goto out;
    const struct pipeline_head *head = pipeline_head(aggregation->pipeline);
    if (filter && head->filter) {
        BSON_APPEND_ARRAY_BEGIN(&both, "$and", &all);
        BSON_APPEND_DOCUMENT(&all, "0", filter);
        BSON_APPEND_DOCUMENT(&all, "1", head->filter);
        bson_append_array_end(&both, &all);
    } else if (filter || head->filter) {
        bson_concat(&both, filter ? filter : head->filter);
    }
    const struct store_find_options options = {.sort = head->sort ? head->sort : sort,
                                               .projection = head->projection,
                                               .skip = head->skip,
                                               .limit = head->limit};
    aggregation->source = store_find(store, collection, &both, &options, error);
    if (!aggregation->source)
        goto out;
    aggregation->run = pipeline_run_new(aggregation->pipeline, next_source, aggregation->source);
    cursor = bson_malloc0(sizeof *cursor);
    *cursor = (struct store_cursor){.self = aggregation, .next = next_document, .close = close_aggregation};
out:
    if (!cursor)
        close_aggregation(aggregation);
    bson_destroy(&both);
    return cursor;
}
