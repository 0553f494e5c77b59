/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/submit.h"

#include "distributor/acceptance.h"
#include "distributor/refusal.h"
#include "kernels/architecture_weights.h"

#include <stdlib.h>

int submit_check(struct hub *hub, const bson_t *fields, const bson_t *dataset, bson_t *checked, bson_error_t *error)
{
    struct acceptance *acceptance = acceptance_new(hub, dataset, error);
    if (!acceptance) {
        bson_init(checked);
        return -1;
    }
    int result = acceptance_check(acceptance, fields, checked, NULL, error);
    acceptance_free(acceptance);
    return result;
}

int submit_task(struct hub *hub, const bson_t *fields, bson_t *task, bson_error_t *error)
{
    bson_t checked;
    int result = -1;
    bool made = false;
    struct acceptance *acceptance = acceptance_new(hub, NULL, error);
    bson_init(&checked);
    if (!acceptance)
        goto out;
    bson_destroy(&checked);
    if (acceptance_check(acceptance, fields, &checked, NULL, error) || acceptance_save_architectures(acceptance, error))
        goto out;
    result = task_create(hub, &checked, task, error);
    made = true;
out:
    if (!made && task)
        bson_init(task);
    bson_destroy(&checked);
    acceptance_free(acceptance);
    return result;
}

int submit_architecture(const char *text, char **graph_json, bson_error_t *error)
{
    struct kernel_error why = {0};
    int result = -1;
    *graph_json = NULL;
    struct architecture *architecture = architecture_parse(text, &why);
    if (!architecture)
        return refusal(error, "architecture", &why);
    char *json = NULL;
    bool known = true; /* with every input's shape given, the layers can be checked too */
    for (int i = 0; i < architecture->input_count; i++)
        known = known && architecture->inputs[i].shape.rank;
    if (known && architecture_check(architecture, NULL, 0, NULL, &why)) {
        refusal(error, "architecture", &why);
        goto out;
    }
    json = architecture_to_json(architecture);
    *graph_json = json ? bson_strdup(json) : NULL;
    if (json)
        result = 0;
    else
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the architecture");
out:
    free(json);
    architecture_free(architecture);
    return result;
}

int submit_check_weights(const char *graph_json, const uint8_t *header, size_t length, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct safetensors *weights = NULL;
    int result = -1;
    struct architecture *architecture = architecture_parse(graph_json, &why);
    if (architecture)
        weights = safetensors_parse_header(header, length, 0, &why);
    if (weights)
        result = architecture_check_weights(architecture, NULL, weights, &why);
    if (result)
        hub_error(error, why.code == KERNEL_ERROR_MEMORY ? HUB_ERROR_MEMORY : HUB_ERROR_INVALID, "%s", why.message);
    safetensors_free(weights);
    architecture_free(architecture);
    return result;
}
