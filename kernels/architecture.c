/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/architecture.h"

#include "kernels/architecture_attribute.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t shape_size(const struct shape *shape)
{
    int64_t size = 1;
    for (int i = 0; i < shape->rank; i++) {
        size *= shape->dims[i];
    }
    return size;
}

const char *shape_format(const struct shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "(");
    for (int i = 0; i < shape->rank && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%lld", i > 0 ? ", " : "", (long long)shape->dims[i]);
    }
    if (used < size) {
        snprintf(buffer + used, size - used, ")");
    }
    return buffer;
}

void architecture_free(struct architecture *architecture)
{
    if (architecture != NULL) {
        free(architecture->layers);
        free(architecture);
    }
}

static int check_name(const char *what, const char *name, struct kernel_error *error)
{
    size_t length = strlen(name);
    bool good = length > 0 && length < ARCHITECTURE_NAME_BYTES && !isdigit((unsigned char)name[0]);
    for (size_t i = 0; good && i < length; i++) {
        good = name[i] == '_' || (isascii((unsigned char)name[i]) && isalnum((unsigned char)name[i]));
    }
    if (!good) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: name \"%.70s\" is not acceptable: use up to %d "
                                "letters, digits and _, not starting with a digit", what, name,
                                ARCHITECTURE_NAME_BYTES - 1);
    }
    return 0;
}

/* The index of an input or of one of the first layer_count layers; -1: none. */
static int find_node(const struct architecture *architecture, int layer_count, const char *name)
{
    for (int i = 0; i < architecture->input_count; i++) {
        if (strcmp(architecture->inputs[i].name, name) == 0) {
            return i;
        }
    }
    for (int i = 0; i < layer_count; i++) {
        if (strcmp(architecture->layers[i].name, name) == 0) {
            return architecture->input_count + i;
        }
    }
    return -1;
}

/* type_N, N counting the layers of that type so far; further on where somebody has that name. */
static void generate_name(const struct architecture *architecture, int index)
{
    struct architecture_layer *layer = &architecture->layers[index];
    int number = 1;
    for (int i = 0; i < index; i++) {
        number += architecture->layers[i].type == layer->type;
    }
    do {
        snprintf(layer->name, sizeof layer->name, "%.40s_%d", layer->type->name, number++);
    } while (find_node(architecture, index, layer->name) >= 0);
}

static int allocate_layers(struct architecture *architecture, int64_t count, struct kernel_error *error)
{
    if (count < 1 || count > ARCHITECTURE_LAYERS) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "layers: %lld of them: there must be 1 to %d",
                                (long long)count, ARCHITECTURE_LAYERS);
    }
    architecture->layers = calloc((size_t)count, sizeof *architecture->layers);
    if (architecture->layers == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "layers: out of memory");
    }
    return 0;
}

static int find_type(struct architecture_layer *layer, const char *type, int index, struct kernel_error *error)
{
    layer->type = layer_type_find(type);
    if (layer->type != NULL) {
        return 0;
    }
    char known[400] = "";
    size_t used = 0;
    for (const struct layer_type *const *t = layer_types(); *t != NULL && used < sizeof known; t++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", (*t)->name);
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %d: type: \"%.40s\" is not known: use one of %s",
                            index + 1, type, known);
}

static int check_input_count(const struct architecture_layer *layer, struct kernel_error *error)
{
    if (layer->input_count < layer->type->minimum_inputs || layer->input_count > layer->type->maximum_inputs) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: inputs: %d of them: %s takes %d to %d",
                                layer->name, layer->input_count, layer->type->name, layer->type->minimum_inputs,
                                layer->type->maximum_inputs);
    }
    return 0;
}

/* One word of the short form, cut at its colons; word is changed. */
static int parse_word(struct architecture *architecture, int index, char *word, struct kernel_error *error)
{
    struct architecture_layer *layer = &architecture->layers[index];
    char *rest = strchr(word, ':');
    if (rest != NULL) {
        *rest++ = '\0';
    }
    if (find_type(layer, word, index, error) < 0) {
        return -1;
    }
    generate_name(architecture, index);
    architecture_attribute_defaults(layer);
    layer->input_count = 1;
    layer->inputs[0] = index == 0 ? 0 : architecture->input_count + index - 1;
    if (check_input_count(layer, error) < 0) {
        return -1;
    }
    size_t position = 0;
    const struct layer_attribute *attributes = layer->type->attributes;
    for (; rest != NULL; position++) {
        char *argument = rest;
        rest = strchr(argument, ':');
        if (rest != NULL) {
            *rest++ = '\0';
        }
        if (attributes[position].name == NULL) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: \"%.40s\" is one argument too many",
                                    layer->name, argument);
        }
        if (architecture_attribute_from_text(layer, position, argument, error) < 0) {
            return -1;
        }
    }
    for (; attributes[position].name != NULL; position++) {
        if (attributes[position].required) {
            return architecture_attribute_missing(layer, position, error);
        }
    }
    return 0;
}

static int parse_short(struct architecture *architecture, const char *text, struct kernel_error *error)
{
    static const char spaces[] = " \t\r\n";
    int64_t count = 0;
    for (const char *p = text + strspn(text, spaces); *p != '\0'; p += strspn(p, spaces)) {
        count++;
        p += strcspn(p, spaces);
    }
    char *copy = NULL;
    int result = -1;
    architecture->input_count = 1;
    snprintf(architecture->inputs[0].name, sizeof architecture->inputs[0].name, "input");
    if (allocate_layers(architecture, count, error) < 0) {
        goto out;
    }
    copy = strdup(text);
    if (copy == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "architecture: out of memory");
        goto out;
    }
    char *state = NULL;
    for (char *word = strtok_r(copy, spaces, &state); word != NULL; word = strtok_r(NULL, spaces, &state)) {
        if (parse_word(architecture, architecture->layer_count, word, error) < 0) {
            goto out;
        }
        architecture->layer_count++;
    }
    architecture->output_count = 1;
    architecture->outputs[0] = architecture->input_count + architecture->layer_count - 1;
    result = 0;
out:
    free(copy);
    return result;
}

/* Members of an object must be among allowed (NULL-terminated) or the attributes, each once. */
static int check_members(const char *what, const cJSON *object, const char *const *allowed,
                         const struct layer_attribute *attributes, struct kernel_error *error)
{
    const cJSON *member;
    int position = 0;
    cJSON_ArrayForEach(member, object) {
        bool known = false;
        for (size_t i = 0; allowed[i] != NULL; i++) {
            known = known || strcmp(allowed[i], member->string) == 0;
        }
        for (size_t i = 0; attributes != NULL && attributes[i].name != NULL; i++) {
            known = known || strcmp(attributes[i].name, member->string) == 0;
        }
        if (!known) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: \"%.40s\" is not a field of it: take it out",
                                    what, member->string);
        }
        if (cJSON_GetObjectItemCaseSensitive(object, member->string) != member) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: \"%.40s\" stands twice", what, member->string);
        }
        if (++position > 64) { /* cJSON looks members up one by one */
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: too many fields", what);
        }
    }
    return 0;
}

static int parse_inputs(struct architecture *architecture, const cJSON *json, struct kernel_error *error)
{
    if (json == NULL) {
        architecture->input_count = 1;
        snprintf(architecture->inputs[0].name, sizeof architecture->inputs[0].name, "input");
        return 0;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        int index = architecture->input_count;
        char what[ARCHITECTURE_NAME_BYTES + 32];
        snprintf(what, sizeof what, "input %d", index + 1);
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");
        const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
        if (!cJSON_IsArray(json) || !cJSON_IsObject(item) || !cJSON_IsString(name)) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: must be an object with a name", what);
        }
        if (index == ARCHITECTURE_INPUTS) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "inputs: at most %d are possible",
                                    ARCHITECTURE_INPUTS);
        }
        if (check_name(what, name->valuestring, error) < 0 ||
            check_members(what, item, (const char *const[]){"name", "shape", NULL}, NULL, error) < 0) {
            return -1;
        }
        if (find_node(architecture, 0, name->valuestring) >= 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: the name \"%s\" is taken", what,
                                    name->valuestring);
        }
        struct architecture_input *input = &architecture->inputs[index];
        snprintf(input->name, sizeof input->name, "%s", name->valuestring);
        if (shape != NULL && architecture_shape_from_json(what, "shape", shape, &input->shape, error) < 0) {
            return -1;
        }
        architecture->input_count++;
    }
    if (architecture->input_count == 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "inputs: must be an array of at least one input");
    }
    return 0;
}

static int parse_layer_attributes(struct architecture_layer *layer, const cJSON *json, struct kernel_error *error)
{
    const struct layer_attribute *attributes = layer->type->attributes;
    for (size_t i = 0; attributes[i].name != NULL; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, attributes[i].name);
        if (item == NULL) {
            if (attributes[i].required) {
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: %s: is missing", layer->name,
                                        attributes[i].name);
            }
            continue;
        }
        if (architecture_attribute_from_json(layer, i, item, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static int parse_layer_inputs(struct architecture *architecture, int index, const cJSON *json,
                              struct kernel_error *error)
{
    struct architecture_layer *layer = &architecture->layers[index];
    if (json == NULL) {
        layer->input_count = 1;
        layer->inputs[0] = index == 0 ? 0 : architecture->input_count + index - 1;
        return 0;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (!cJSON_IsArray(json) || !cJSON_IsString(item)) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: inputs: must be an array of names",
                                    layer->name);
        }
        if (layer->input_count == ARCHITECTURE_INPUTS) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: inputs: at most %d are possible",
                                    layer->name, ARCHITECTURE_INPUTS);
        }
        int node = find_node(architecture, index, item->valuestring);
        if (node < 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "layer %s: inputs: \"%.64s\" is no input and no "
                                    "layer before it", layer->name, item->valuestring);
        }
        layer->inputs[layer->input_count++] = node;
    }
    return 0;
}

static int parse_layer(struct architecture *architecture, int index, const cJSON *json, struct kernel_error *error)
{
    struct architecture_layer *layer = &architecture->layers[index];
    char what[ARCHITECTURE_NAME_BYTES + 32];
    snprintf(what, sizeof what, "layer %d", index + 1);
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(json, "type");
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(json, "name");
    if (!cJSON_IsObject(json) || !cJSON_IsString(type)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: must be an object with a type", what);
    }
    if (find_type(layer, type->valuestring, index, error) < 0) {
        return -1;
    }
    if (name == NULL) {
        generate_name(architecture, index);
    } else if (!cJSON_IsString(name)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: name: must be a string", what);
    } else if (check_name(what, name->valuestring, error) < 0) {
        return -1;
    } else if (find_node(architecture, index, name->valuestring) >= 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: the name \"%s\" is taken", what, name->valuestring);
    } else {
        snprintf(layer->name, sizeof layer->name, "%s", name->valuestring);
    }
    snprintf(what, sizeof what, "layer %s", layer->name);
    architecture_attribute_defaults(layer);
    if (check_members(what, json, (const char *const[]){"name", "type", "inputs", NULL}, layer->type->attributes,
                      error) < 0 ||
        parse_layer_inputs(architecture, index, cJSON_GetObjectItemCaseSensitive(json, "inputs"), error) < 0) {
        return -1;
    }
    if (check_input_count(layer, error) < 0) {
        return -1;
    }
    return parse_layer_attributes(layer, json, error);
}

static int parse_outputs(struct architecture *architecture, const cJSON *json, struct kernel_error *error)
{
    if (json == NULL) {
        architecture->output_count = 1;
        architecture->outputs[0] = architecture->input_count + architecture->layer_count - 1;
        return 0;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (!cJSON_IsArray(json) || !cJSON_IsString(item) || architecture->output_count == ARCHITECTURE_OUTPUTS) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "outputs: must be an array of 1 to %d layer names",
                                    ARCHITECTURE_OUTPUTS);
        }
        int node = find_node(architecture, architecture->layer_count, item->valuestring);
        if (node < architecture->input_count) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "outputs: there is no layer \"%.64s\"",
                                    item->valuestring);
        }
        for (int i = 0; i < architecture->output_count; i++) {
            if (architecture->outputs[i] == node) {
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "outputs: \"%.64s\" stands twice",
                                        item->valuestring);
            }
        }
        architecture->outputs[architecture->output_count++] = node;
    }
    if (architecture->output_count == 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "outputs: must be an array of layer names");
    }
    return 0;
}

static int parse_graph(struct architecture *architecture, const char *text, struct kernel_error *error)
{
    int result = -1;
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text, strlen(text) + 1, &end, 1);
    if (json == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "architecture: not JSON at byte %ld",
                                end != NULL ? (long)(end - text) : 0L);
    }
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(json, "layers");
    if (!cJSON_IsObject(json) || !cJSON_IsArray(layers)) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "architecture: must be an object with an array \"layers\"");
        goto out;
    }
    if (check_members("architecture", json, (const char *const[]){"inputs", "layers", "outputs", NULL}, NULL, error) <
            0 ||
        parse_inputs(architecture, cJSON_GetObjectItemCaseSensitive(json, "inputs"), error) < 0 ||
        allocate_layers(architecture, cJSON_GetArraySize(layers), error) < 0) {
        goto out;
    }
    const cJSON *layer;
    cJSON_ArrayForEach(layer, layers) {
        if (parse_layer(architecture, architecture->layer_count, layer, error) < 0) {
            goto out;
        }
        architecture->layer_count++;
    }
    result = parse_outputs(architecture, cJSON_GetObjectItemCaseSensitive(json, "outputs"), error);
out:
    cJSON_Delete(json);
    return result;
}

struct architecture *architecture_parse(const char *text, struct kernel_error *error)
{
    if (text == NULL || strnlen(text, ARCHITECTURE_TEXT_BYTES + 1) > ARCHITECTURE_TEXT_BYTES) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "architecture: %s",
                         text == NULL ? "is missing" : "longer than 1 MiB: make it smaller");
        return NULL;
    }
    struct architecture *architecture = calloc(1, sizeof *architecture);
    if (architecture == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "architecture: out of memory");
        return NULL;
    }
    const char *start = text + strspn(text, " \t\r\n");
    int parsed = *start == '{' ? parse_graph(architecture, start, error) : parse_short(architecture, start, error);
    if (parsed < 0) {
        architecture_free(architecture);
        return NULL;
    }
    return architecture;
}
