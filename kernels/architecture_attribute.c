/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/architecture_attribute.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void architecture_attribute_defaults(struct architecture_layer *layer)
{
    for (size_t i = 0; layer->type->attributes[i].name != NULL; i++) {
        const struct layer_attribute *attribute = &layer->type->attributes[i];
        if (attribute->kind == LAYER_CHOICE) {
            layer->values[i].choice = (int)attribute->standard;
        } else {
            layer->values[i].number = attribute->standard;
        }
    }
}

static int refuse_choice(const char *layer, const struct layer_attribute *attribute, const char *given,
                         struct kernel_error *error)
{
    char known[300] = "";
    size_t used = 0;
    for (size_t i = 0; attribute->choices[i] != NULL && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", attribute->choices[i]);
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: %s: \"%.40s\" is not known: use one of %s", layer,
                            attribute->name, given, known);
}

static int refuse_shape(const char *what, const char *field, struct kernel_error *error)
{
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: %s: must be 1 to %d whole numbers whose product is at "
                            "most %d", what, field, SHAPE_RANK, ARCHITECTURE_DIMENSION);
}

static int refuse(const struct architecture_layer *layer, size_t index, const char *given, struct kernel_error *error)
{
    const struct layer_attribute *attribute = &layer->type->attributes[index];
    char what[ARCHITECTURE_NAME_BYTES + 8];
    switch (attribute->kind) {
    case LAYER_CHOICE: return refuse_choice(layer->name, attribute, given, error);
    case LAYER_BOOLEAN:
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: %s: %.40s is not true or false", layer->name,
                                attribute->name, given);
    case LAYER_SHAPE:
        snprintf(what, sizeof what, "layer %s", layer->name);
        return refuse_shape(what, attribute->name, error);
    case LAYER_INTEGER:
    case LAYER_NUMBER: break;
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: %s: %.40s is out of range: it must be %s from "
                            "%.9g %s %.9g", layer->name, attribute->name, given,
                            attribute->kind == LAYER_INTEGER ? "a whole number" : "a number", attribute->minimum,
                            attribute->maximum_excluded ? "to below" : "to", attribute->maximum);
}

static int set_number(struct architecture_layer *layer, size_t index, double number, const char *given,
                      struct kernel_error *error)
{
    const struct layer_attribute *attribute = &layer->type->attributes[index];
    bool high = attribute->maximum_excluded ? number < attribute->maximum : number <= attribute->maximum;
    bool whole = attribute->kind != LAYER_INTEGER || number == floor(number);
    if (!(number >= attribute->minimum) || !high || !whole) { /* NaN fails too */
        return refuse(layer, index, given, error);
    }
    layer->values[index].number = number == 0.0 ? 0.0 : number; /* never -0: one value has one text */
    return 0;
}

static int set_choice(struct architecture_layer *layer, size_t index, const char *given, struct kernel_error *error)
{
    const struct layer_attribute *attribute = &layer->type->attributes[index];
    for (int i = 0; attribute->choices[i] != NULL; i++) {
        if (strcmp(attribute->choices[i], given) == 0) {
            layer->values[index].choice = i;
            return 0;
        }
    }
    return refuse(layer, index, given, error);
}

static int add_dimension(struct shape *shape, double number)
{
    if (shape->rank == SHAPE_RANK || !(number >= 1.0) || number != floor(number) ||
        !((double)shape_size(shape) * number <= ARCHITECTURE_DIMENSION)) {
        return -1;
    }
    shape->dims[shape->rank++] = (int64_t)number;
    return 0;
}

/* 1x28x28: digits and x only, since strtod would take 0x28 for a number. */
static int set_shape(struct architecture_layer *layer, size_t index, const char *text, struct kernel_error *error)
{
    struct shape shape = {0};
    for (const char *p = text; ; p++) {
        double number = 0.0;
        const char *start = p;
        for (; isdigit((unsigned char)*p); p++) {
            number = number * 10.0 + (*p - '0');
        }
        if (p == start || (*p != 'x' && *p != '\0') || add_dimension(&shape, number) < 0) {
            return refuse(layer, index, text, error);
        }
        if (*p == '\0') {
            break;
        }
    }
    layer->values[index].shape = shape;
    return 0;
}

int architecture_attribute_from_text(struct architecture_layer *layer, size_t index, const char *text,
                                     struct kernel_error *error)
{
    switch (layer->type->attributes[index].kind) {
    case LAYER_CHOICE: return set_choice(layer, index, text, error);
    case LAYER_SHAPE: return set_shape(layer, index, text, error);
    case LAYER_BOOLEAN:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return refuse(layer, index, text, error);
        }
        layer->values[index].number = strcmp(text, "true") == 0 ? 1.0 : 0.0;
        return 0;
    case LAYER_INTEGER:
    case LAYER_NUMBER: break;
    }
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || isspace((unsigned char)text[0])) {
        return refuse(layer, index, text, error);
    }
    return set_number(layer, index, number, text, error);
}

int architecture_shape_from_json(const char *what, const char *field, const cJSON *json, struct shape *shape,
                                 struct kernel_error *error)
{
    *shape = (struct shape){0};
    if (!cJSON_IsArray(json) || json->child == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: %s: must be an array of numbers", what, field);
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (add_dimension(shape, cJSON_IsNumber(item) ? item->valuedouble : -1.0) < 0) {
            return refuse_shape(what, field, error);
        }
    }
    return 0;
}

int architecture_attribute_from_json(struct architecture_layer *layer, size_t index, const cJSON *json,
                                     struct kernel_error *error)
{
    const struct layer_attribute *attribute = &layer->type->attributes[index];
    if (attribute->kind == LAYER_SHAPE && cJSON_IsNumber(json)) { /* 3 for [3] */
        layer->values[index].shape = (struct shape){0};
        return add_dimension(&layer->values[index].shape, json->valuedouble) == 0 ? 0
               : refuse(layer, index, "a number", error);
    }
    if (attribute->kind == LAYER_SHAPE) {
        char what[ARCHITECTURE_NAME_BYTES + 8];
        snprintf(what, sizeof what, "layer %s", layer->name);
        return architecture_shape_from_json(what, attribute->name, json, &layer->values[index].shape, error);
    }
    if (attribute->kind == LAYER_CHOICE && cJSON_IsString(json)) {
        return set_choice(layer, index, json->valuestring, error);
    }
    if (attribute->kind == LAYER_BOOLEAN && cJSON_IsBool(json)) {
        layer->values[index].number = cJSON_IsTrue(json) ? 1.0 : 0.0;
        return 0;
    }
    if ((attribute->kind == LAYER_INTEGER || attribute->kind == LAYER_NUMBER) && cJSON_IsNumber(json)) {
        char given[32];
        snprintf(given, sizeof given, "%.17g", json->valuedouble);
        return set_number(layer, index, json->valuedouble, given, error);
    }
    return refuse(layer, index, cJSON_IsString(json) ? json->valuestring : "a value of another type", error);
}

int architecture_attribute_missing(const struct architecture_layer *layer, size_t index, struct kernel_error *error)
{
    static const char *const examples[] = {[LAYER_INTEGER] = "100", [LAYER_NUMBER] = "0.5", [LAYER_BOOLEAN] = "true",
                                           [LAYER_SHAPE] = "1x28x28"};
    const struct layer_attribute *attribute = &layer->type->attributes[index];
    const char *example = attribute->kind == LAYER_CHOICE ? attribute->choices[0] : examples[attribute->kind];
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: %s: is missing: write %s:%s", layer->name,
                            attribute->name, layer->type->name, example);
}

/* The shortest decimal that reads back as the same double. */
static void print_number(FILE *out, double number)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    fputs(text, out);
}

static bool is_default(const struct layer_attribute *attribute, const struct architecture_value *value)
{
    return (attribute->kind == LAYER_CHOICE ? (double)value->choice : value->number) == attribute->standard;
}

void architecture_attribute_print(FILE *out, const struct architecture_layer *layer, size_t index)
{
    const struct layer_attribute *attribute = &layer->type->attributes[index];
    const struct architecture_value *value = &layer->values[index];
    if ((attribute->added_later && is_default(attribute, value)) ||
        (attribute->kind == LAYER_SHAPE && value->shape.rank == 0)) {
        return;
    }
    fprintf(out, ",\"%s\":", attribute->name);
    switch (attribute->kind) {
    case LAYER_INTEGER: fprintf(out, "%lld", (long long)value->number); break;
    case LAYER_NUMBER: print_number(out, value->number); break;
    case LAYER_BOOLEAN: fputs(value->number != 0.0 ? "true" : "false", out); break;
    case LAYER_CHOICE: fprintf(out, "\"%s\"", attribute->choices[value->choice]); break;
    case LAYER_SHAPE:
        for (int i = 0; i < value->shape.rank; i++) {
            fprintf(out, "%s%lld", i > 0 ? "," : "[", (long long)value->shape.dims[i]);
        }
        fputc(']', out);
        break;
    }
}
