/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/pipeline.h"

#include <string.h>

int pipeline_text_read(const char *text, bson_t *stages, bson_error_t *error)
{
    bson_error_t why;
    bson_iter_t at;
    bson_init(stages);
    if (text[strspn(text, " \t\r\n")] != '[')
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: must be a JSON array of stages");
    char *wrapped = bson_strdup_printf("{\"p\": %s}", text);
    bson_t *parsed = bson_new_from_json((const uint8_t *)wrapped, -1, &why);
    bson_free(wrapped);
    if (!parsed)
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: %s", why.message);
    int result = -1;
    if (bson_iter_init_find(&at, parsed, "p") && BSON_ITER_HOLDS_ARRAY(&at) && bson_count_keys(parsed) == 1) {
        uint32_t length;
        const uint8_t *data;
        bson_t array;
        bson_iter_array(&at, &length, &data);
        if (bson_init_static(&array, data, length)) {
            bson_concat(stages, &array);
            struct pipeline *pipeline = pipeline_parse(stages, error);
            result = pipeline ? 0 : -1;
            pipeline_free(pipeline);
        }
    } else {
        hub_error(error, HUB_ERROR_INVALID, "pipeline: must be a JSON array of stages");
    }
    bson_destroy(parsed);
    return result;
}
