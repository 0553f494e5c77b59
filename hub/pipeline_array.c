/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of expressions that compare, gather and look into arrays. */
#include "hub/pipeline_impl.h"

#include <string.h>

int pipeline_compares(const char *name, const struct pipeline_value *arguments, size_t count,
                      struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    int order = pipeline_compare(&arguments[0], &arguments[1]);
    (void)count;
    (void)error;
    if (strcmp(name, "$cmp") == 0) {
        pipeline_make_int(scratch, (order > 0) - (order < 0), out);
        return 0;
    }
    bool equal = strcmp(name, "$eq") == 0 || name[strlen(name) - 1] == 'e';
    bool result = strcmp(name, "$ne") == 0 ? order != 0
                  : strcmp(name, "$eq") == 0 ? order == 0
                                             : (order == 0 ? equal : name[1] == 'g' ? order > 0 : order < 0);
    pipeline_make_bool(scratch, result, out);
    return 0;
}

int pipeline_negate(const char *name, const struct pipeline_value *arguments, size_t count,
                    struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    (void)name;
    (void)count;
    (void)error;
    pipeline_make_bool(scratch, !pipeline_is_true(&arguments[0]), out);
    return 0;
}

static int need_array(const char *name, const struct pipeline_value *value, bson_iter_t *elements, bson_error_t *error)
{
    if (!value->there || !BSON_ITER_HOLDS_ARRAY(&value->at) || !bson_iter_recurse(&value->at, elements))
        return hub_error(error, HUB_ERROR_INVALID, "%s: needs an array, not %s", name, pipeline_type_name(value));
    return 0;
}

int pipeline_is_in(const char *name, const struct pipeline_value *arguments, size_t count,
                   struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    struct pipeline_value element = {.there = true};
    bool found = false;
    (void)count;
    if (need_array(name, &arguments[1], &element.at, error))
        return -1;
    while (!found && bson_iter_next(&element.at))
        found = pipeline_compare(&arguments[0], &element) == 0;
    pipeline_make_bool(scratch, found, out);
    return 0;
}

int pipeline_size(const char *name, const struct pipeline_value *arguments, size_t count,
                  struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    bson_iter_t element;
    int32_t elements = 0;
    (void)count;
    if (need_array(name, &arguments[0], &element, error))
        return -1;
    while (bson_iter_next(&element))
        elements++;
    pipeline_make_int(scratch, elements, out);
    return 0;
}

int pipeline_element_at(const char *name, const struct pipeline_value *arguments, size_t count,
                        struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    bson_iter_t element;
    int64_t elements = 0;
    (void)count;
    out->there = false;
    if (pipeline_is_null(&arguments[0]) || pipeline_is_null(&arguments[1])) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    double wanted = pipeline_is_number(&arguments[1]) ? bson_iter_as_double(&arguments[1].at) : 0.5;
    if (need_array(name, &arguments[0], &element, error))
        return -1;
    if (!(wanted >= INT32_MIN && wanted <= INT32_MAX) || wanted != (double)(int64_t)wanted)
        return hub_error(error, HUB_ERROR_INVALID, "%s: needs a whole number after the array", name);
    int64_t index = (int64_t)wanted;
    if (index < 0) {
        while (bson_iter_next(&element))
            elements++;
        index += elements;
        bson_iter_recurse(&arguments[0].at, &element);
    }
    for (int64_t i = 0; index >= 0 && bson_iter_next(&element); i++)
        if (i == index) {
            out->at = element;
            out->there = true;
            break;
        }
    return 0;
}

void pipeline_append_element(bson_t *array, uint32_t index, const struct pipeline_value *value)
{
    char buffer[16];
    const char *key;
    size_t digits = bson_uint32_to_string(index, &key, buffer, sizeof buffer);
    if (value->there)
        bson_append_iter(array, key, (int)digits, &value->at);
    else
        bson_append_null(array, key, (int)digits);
}

int pipeline_concat_arrays(const char *name, const struct pipeline_value *arguments, size_t count,
                           struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    bson_t *made = pipeline_scratch_new(scratch), array;
    struct pipeline_value element = {.there = true};
    uint32_t index = 0;
    bool null = false;
    int result = 0;
    for (size_t i = 0; i < count; i++)
        null = null || pipeline_is_null(&arguments[i]);
    BSON_APPEND_ARRAY_BEGIN(made, "", &array);
    for (size_t i = 0; i < count && !null && result == 0; i++) {
        result = need_array(name, &arguments[i], &element.at, error);
        while (result == 0 && bson_iter_next(&element.at))
            pipeline_append_element(&array, index++, &element);
    }
    bson_append_array_end(made, &array);
    if (null)
        pipeline_make_null(scratch, out);
    else
        pipeline_take(made, out);
    return result;
}

int pipeline_concat(const char *name, const struct pipeline_value *arguments, size_t count,
                    struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    for (size_t i = 0; i < count; i++)
        if (pipeline_is_null(&arguments[i])) {
            pipeline_make_null(scratch, out);
            return 0;
        }
    bson_string_t *text = bson_string_new(NULL);
    for (size_t i = 0; i < count; i++) {
        if (!BSON_ITER_HOLDS_UTF8(&arguments[i].at)) {
            bson_string_free(text, true);
            return hub_error(error, HUB_ERROR_INVALID, "%s: takes strings, not %s", name,
                             pipeline_type_name(&arguments[i]));
        }
        bson_string_append(text, bson_iter_utf8(&arguments[i].at, NULL));
    }
    bson_t *made = pipeline_scratch_new(scratch);
    bson_append_utf8(made, "", 0, text->str, (int)text->len);
    bson_string_free(text, true);
    pipeline_take(made, out);
    return 0;
}
