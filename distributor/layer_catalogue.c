/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/layer_catalogue.h"

#include "kernels/layer.h"

#include <string.h>

static void append_number(bson_t *document, const char *key, const struct layer_attribute *attribute, double number)
{
    if (attribute->kind == LAYER_INTEGER) {
        BSON_APPEND_INT64(document, key, (int64_t)number);
    } else {
        BSON_APPEND_DOUBLE(document, key, number);
    }
}

static void append_choices(bson_t *document, const struct layer_attribute *attribute)
{
    bson_t choices;
    char text[16];
    const char *key;

    BSON_APPEND_ARRAY_BEGIN(document, "choices", &choices);
    for (uint32_t i = 0; attribute->choices[i] != NULL; i++) {
        bson_uint32_to_string(i, &key, text, sizeof text);
        BSON_APPEND_UTF8(&choices, key, attribute->choices[i]);
    }
    bson_append_array_end(document, &choices);
}

static void append_attribute(bson_t *document, const struct layer_attribute *attribute)
{
    static const char *const kinds[] = {[LAYER_INTEGER] = "integer", [LAYER_NUMBER] = "number",
                                        [LAYER_BOOLEAN] = "boolean", [LAYER_CHOICE] = "choice",
                                        [LAYER_SHAPE] = "shape"};

    BSON_APPEND_UTF8(document, "name", attribute->name);
    BSON_APPEND_UTF8(document, "kind", kinds[attribute->kind]);
    BSON_APPEND_BOOL(document, "required", attribute->required);
    if (attribute->kind == LAYER_INTEGER || attribute->kind == LAYER_NUMBER) {
        append_number(document, "minimum", attribute, attribute->minimum);
        append_number(document, "maximum", attribute, attribute->maximum);
    }
    if (attribute->maximum_excluded) {
        BSON_APPEND_BOOL(document, "maximum_excluded", true);
    }
    if (attribute->kind == LAYER_CHOICE) {
        append_choices(document, attribute);
    }
    if (!attribute->required && attribute->kind == LAYER_CHOICE) {
        BSON_APPEND_UTF8(document, "default", attribute->choices[(size_t)attribute->standard]);
    } else if (!attribute->required && attribute->kind == LAYER_BOOLEAN) {
        BSON_APPEND_BOOL(document, "default", attribute->standard != 0.0);
    } else if (!attribute->required && attribute->kind != LAYER_SHAPE) {
        append_number(document, "default", attribute, attribute->standard);
    }
    if (attribute->about != NULL) {
        BSON_APPEND_UTF8(document, "about", attribute->about);
    }
}

bool layer_catalogue_get(size_t index, bson_t *document)
{
    const struct layer_type *const *types = layer_types();
    bson_t inputs, attributes, attribute;
    char text[16];
    const char *key;

    bson_init(document);
    for (size_t i = 0; i <= index; i++) {
        if (types[i] == NULL) {
            return false;
        }
    }
    const struct layer_type *type = types[index];
    BSON_APPEND_UTF8(document, "type", type->name);
    if (type->about != NULL) {
        BSON_APPEND_UTF8(document, "about", type->about);
    }
    BSON_APPEND_DOCUMENT_BEGIN(document, "inputs", &inputs);
    BSON_APPEND_INT32(&inputs, "minimum", type->minimum_inputs);
    BSON_APPEND_INT32(&inputs, "maximum", type->maximum_inputs);
    bson_append_document_end(document, &inputs);
    BSON_APPEND_ARRAY_BEGIN(document, "attributes", &attributes);
    for (uint32_t i = 0; type->attributes[i].name != NULL; i++) {
        bson_uint32_to_string(i, &key, text, sizeof text);
        BSON_APPEND_DOCUMENT_BEGIN(&attributes, key, &attribute);
        append_attribute(&attribute, &type->attributes[i]);
        bson_append_document_end(&attributes, &attribute);
    }
    bson_append_array_end(document, &attributes);
    return true;
}
