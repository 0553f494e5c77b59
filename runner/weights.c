/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/weights.h"
#include "hub/blob.h"
#include "hub/model.h"
#include "runner/document.h"
#include "runner/work.h"

int weights_find_model(struct hub *hub, const bson_t *task, const char *field, bson_t *model, bson_error_t *error)
{
    bson_t query;
    bson_init(model);
    int result = document_query(task, field, &query, error);
    if (result == 0)
        result = hub_error(error, HUB_ERROR_INVALID, "%s: missing; name a model or give a query", field);
    if (result == 1) {
        bson_destroy(model);
        result = model_find_one(hub, &query, NULL, model, error);
        if (result == 0) {
            char *json = document_json(&query);
            result = hub_error(error, HUB_ERROR_NOT_FOUND, "%s: no model in project %s matches %s", field,
                               hub_project(hub), json ? json : "the query");
            bson_free(json);
        }
    }
    bson_destroy(&query);
    return result < 0 ? -1 : 0;
}

struct source {
    struct blob_reader *reader;
    bson_error_t error;
    bool failed;
};

static int64_t read_blob(void *context, void *buffer, size_t size)
{
    struct source *source = context;
    int64_t count = blob_reader_read(source->reader, buffer, size, &source->error);
    source->failed = source->failed || count < 0;
    return count;
}

int weights_load(struct hub *hub, const bson_t *model, struct net *net, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct source source = {0};
    bson_iter_t at;
    char rest[4096];
    const char *id = document_string(model, "_id");

    if (!bson_iter_init_find(&at, model, "blob_id") || !BSON_ITER_HOLDS_OID(&at))
        return hub_error(error, HUB_ERROR_INVALID, "model %s: has no weights", id ? id : "");
    source.reader = blob_reader_open(hub_store(hub), bson_iter_oid(&at), error);
    if (!source.reader)
        return -1;
    int result = net_weights_read(net, read_blob, &source, &why);
    /* To the end, for only there the digest is known to be right. */
    for (int64_t count = 1; result == 0 && !source.failed && count > 0;)
        count = read_blob(&source, rest, sizeof rest);
    blob_reader_close(source.reader);
    if (source.failed) {
        if (error)
            *error = source.error;
        return -1;
    }
    if (result)
        return hub_error(error, HUB_ERROR_INVALID, "model %s: %s", id ? id : "", why.message);
    return 0;
}

int weights_load_query(struct hub *hub, const bson_t *task, const char *field, struct net *net, bson_error_t *error)
{
    bson_t model;
    int result = weights_find_model(hub, task, field, &model, error);
    if (result == 0)
        result = weights_load(hub, &model, net, error);
    bson_destroy(&model);
    return result;
}
