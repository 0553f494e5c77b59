/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/weights.h"
#include "hub/model.h"
#include "hub/model_retain.h"
#include "runner/blob_source.h"
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

int weights_load(struct hub *hub, const bson_t *model, struct net *net, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct blob_source source;
    bson_iter_t at;
    const char *id = document_string(model, "_id");
    char text[400];

    if (!bson_iter_init_find(&at, model, "blob_id") || !BSON_ITER_HOLDS_OID(&at)) {
        model_say_no_weights(model, text, sizeof text);
        return hub_error(error, HUB_ERROR_INVALID, "%s", text);
    }
    if (blob_source_open(&source, hub_store(hub), bson_iter_oid(&at), error))
        return -1;
    int result = net_weights_read(net, blob_source_read, &source, &why);
    if (blob_source_close(&source, result == 0, error))
        return -1;
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
