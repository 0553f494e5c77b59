/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/safetensors.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_F64] = {"F64", 8},   [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2}, [SAFETENSORS_I64] = {"I64", 8}, [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_I16] = {"I16", 2}, [SAFETENSORS_I8] = {"I8", 1},     [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_BOOL] = {"BOOL", 1},
};
#define DTYPE_COUNT (sizeof dtypes / sizeof dtypes[0])

size_t safetensors_dtype_bytes(enum safetensors_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
    return dtypes[dtype].name;
}

int64_t safetensors_header_length(const uint8_t first[8], struct kernel_error *error)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) {
        length = length << 8 | first[i];
    }
    if (length < 2 || length > SAFETENSORS_HEADER_BYTES) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: a header of %llu bytes is not possible: "
                                "not a safetensors file?", (unsigned long long)length);
    }
    return (int64_t)length + 8;
}

void safetensors_free(struct safetensors *safetensors)
{
    if (safetensors == NULL) {
        return;
    }
    for (size_t i = 0; i < safetensors->count; i++) {
        free(safetensors->tensors[i].name);
    }
    for (size_t i = 0; i < safetensors->metadata_count; i++) {
        free((char *)(uintptr_t)safetensors->metadata[i].key); /* ours: the const is for readers */
        free((char *)(uintptr_t)safetensors->metadata[i].value);
    }
    free(safetensors->tensors);
    free(safetensors->metadata);
    free(safetensors);
}

/* A whole number from 0 to 2^53, which doubles hold exactly. */
static int whole_number(const cJSON *json, uint64_t *number)
{
    if (!cJSON_IsNumber(json) || !(json->valuedouble >= 0.0) || json->valuedouble > 0x1p53 ||
        json->valuedouble != floor(json->valuedouble)) {
        return -1;
    }
    *number = (uint64_t)json->valuedouble;
    return 0;
}

static int parse_tensor(const cJSON *json, struct safetensors_tensor *tensor, struct kernel_error *error)
{
    const char *name = json->string;
    const cJSON *dtype = NULL, *shape = NULL, *offsets = NULL, *item;
    int fields = 0;
    if (!cJSON_IsObject(json)) { /* an array's items have no names */
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: must be an object with dtype, "
                                "shape and data_offsets", name);
    }
    cJSON_ArrayForEach(item, json) {
        const cJSON **field = strcmp(item->string, "dtype") == 0          ? &dtype
                              : strcmp(item->string, "shape") == 0        ? &shape
                              : strcmp(item->string, "data_offsets") == 0 ? &offsets
                                                                          : NULL;
        if (field == NULL || *field != NULL) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: field %.40s is unknown or "
                                    "stands twice", name, item->string);
        }
        *field = item;
        fields++;
    }
    if (fields != 3 || !cJSON_IsString(dtype) || !cJSON_IsArray(shape) ||
        !cJSON_IsArray(offsets)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: needs dtype, shape and "
                                "data_offsets", name);
    }
    size_t kind = 0;
    while (kind < DTYPE_COUNT && strcmp(dtypes[kind].name, dtype->valuestring) != 0) {
        kind++;
    }
    if (kind == DTYPE_COUNT) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: dtype %.20s is not known",
                                name, dtype->valuestring);
    }
    tensor->dtype = (enum safetensors_dtype)kind;
    uint64_t bytes = dtypes[kind].bytes;
    cJSON_ArrayForEach(item, shape) {
        uint64_t dimension;
        if (tensor->rank == SAFETENSORS_RANK || whole_number(item, &dimension) < 0 ||
            __builtin_mul_overflow(bytes, dimension, &bytes)) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: shape is not up to %d "
                                    "dimensions of a possible size", name, SAFETENSORS_RANK);
        }
        tensor->shape[tensor->rank++] = (int64_t)dimension;
    }
    if (cJSON_GetArraySize(offsets) != 2 || whole_number(offsets->child, &tensor->begin) < 0 ||
        whole_number(offsets->child->next, &tensor->end) < 0 || tensor->end < tensor->begin ||
        tensor->end - tensor->begin != bytes) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: data_offsets do not fit its "
                                "shape and dtype", name);
    }
    tensor->name = strdup(name);
    return tensor->name != NULL ? 0
                                : kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
}

static int parse_metadata(const cJSON *json, struct safetensors *safetensors, struct kernel_error *error)
{
    size_t count = cJSON_IsObject(json) ? (size_t)cJSON_GetArraySize(json) : 0;
    if (!cJSON_IsObject(json) || safetensors->metadata != NULL || count > 4096) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: __metadata__ is not one object of up to "
                                "4096 texts");
    }
    safetensors->metadata = calloc(count + 1, sizeof *safetensors->metadata);
    if (safetensors->metadata == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (!cJSON_IsString(item)) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: __metadata__: %.80s is not a text",
                                    item->string);
        }
        if (safetensors_metadata(safetensors, item->string) != NULL) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: __metadata__: %.80s stands twice",
                                    item->string);
        }
        struct safetensors_pair *pair = &safetensors->metadata[safetensors->metadata_count++];
        pair->key = strdup(item->string);
        pair->value = strdup(item->valuestring);
        if (pair->key == NULL || pair->value == NULL) {
            return kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
        }
    }
    return 0;
}

static int by_begin(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) { /* empty tensors before the one that starts there */
        return x->end < y->end ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const struct safetensors_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Every byte of the data belongs to exactly one tensor, and every name is there once. */
static int check_layout(struct safetensors *safetensors, struct kernel_error *error)
{
    qsort(safetensors->tensors, safetensors->count, sizeof *safetensors->tensors, by_begin);
    uint64_t end = 0;
    for (size_t i = 0; i < safetensors->count; i++) {
        if (safetensors->tensors[i].begin != end) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: %s before it",
                                    safetensors->tensors[i].name,
                                    safetensors->tensors[i].begin < end ? "overlaps the one" : "leaves a hole");
        }
        end = safetensors->tensors[i].end;
    }
    safetensors->data_length = end;
    const struct safetensors_tensor **names = calloc(safetensors->count + 1, sizeof *names);
    if (names == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
    }
    for (size_t i = 0; i < safetensors->count; i++) {
        names[i] = &safetensors->tensors[i];
    }
    qsort(names, safetensors->count, sizeof *names, by_name);
    int result = 0;
    for (size_t i = 1; i < safetensors->count && result == 0; i++) {
        if (strcmp(names[i - 1]->name, names[i]->name) == 0) {
            result = kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s stands twice",
                                      names[i]->name);
        }
    }
    free(names);
    return result;
}

static int parse_json(const cJSON *json, struct safetensors *safetensors, struct kernel_error *error)
{
    size_t count = cJSON_IsObject(json) ? (size_t)cJSON_GetArraySize(json) : 0;
    if (!cJSON_IsObject(json) || count > SAFETENSORS_TENSORS + 1) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: the header is not an object of up to %d "
                                "tensors", SAFETENSORS_TENSORS);
    }
    safetensors->tensors = calloc(count + 1, sizeof *safetensors->tensors);
    if (safetensors->tensors == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (strcmp(item->string, "__metadata__") == 0) {
            if (parse_metadata(item, safetensors, error) < 0) {
                return -1;
            }
        } else if (parse_tensor(item, &safetensors->tensors[safetensors->count], error) < 0) {
            return -1;
        } else {
            safetensors->count++;
        }
    }
    return check_layout(safetensors, error);
}

struct safetensors *safetensors_parse_header(const uint8_t *header, size_t header_length, uint64_t file_length,
                                             struct kernel_error *error)
{
    if (header_length < 8) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: shorter than 8 bytes");
        return NULL;
    }
    int64_t expected = safetensors_header_length(header, error);
    if (expected < 0) {
        return NULL;
    }
    if ((uint64_t)expected > header_length) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: the header is cut off");
        return NULL;
    }
    struct safetensors *safetensors = calloc(1, sizeof *safetensors);
    if (safetensors == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
        return NULL;
    }
    int result = -1;
    const char *text = (const char *)header + 8, *end = NULL;
    size_t length = (size_t)expected - 8;
    cJSON *json = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    if (json == NULL) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: the header is not JSON");
        goto out;
    }
    for (; end < text + length; end++) {
        if (*end != ' ') {
            kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: text after the header's object");
            goto out;
        }
    }
    safetensors->data_begin = (uint64_t)expected;
    if (parse_json(json, safetensors, error) < 0) {
        goto out;
    }
    if (file_length != 0 && file_length != safetensors->data_begin + safetensors->data_length) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: the file has %llu bytes, its header says %llu",
                         (unsigned long long)file_length,
                         (unsigned long long)(safetensors->data_begin + safetensors->data_length));
        goto out;
    }
    result = 0;
out:
    cJSON_Delete(json);
    if (result < 0) {
        safetensors_free(safetensors);
        return NULL;
    }
    return safetensors;
}

struct safetensors *safetensors_parse(const uint8_t *data, size_t length, struct kernel_error *error)
{
    return safetensors_parse_header(data, length, length, error);
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *safetensors, const char *name)
{
    for (size_t i = 0; i < safetensors->count; i++) {
        if (strcmp(safetensors->tensors[i].name, name) == 0) {
            return &safetensors->tensors[i];
        }
    }
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *safetensors, const char *key)
{
    for (size_t i = 0; i < safetensors->metadata_count; i++) {
        if (strcmp(safetensors->metadata[i].key, key) == 0) {
            return safetensors->metadata[i].value;
        }
    }
    return NULL;
}

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            fprintf(out, "\\%c", *p);
        } else if (*p < 0x20) {
            fprintf(out, "\\u%04x", *p);
        } else {
            fputc(*p, out);
        }
    }
    fputc('"', out);
}

static void print_header(FILE *out, const struct safetensors_tensor *tensors, size_t count,
                         const struct safetensors_pair *metadata, size_t metadata_count)
{
    fputc('{', out);
    for (size_t i = 0; i < metadata_count; i++) {
        fputs(i == 0 ? "\"__metadata__\":{" : ",", out);
        print_string(out, metadata[i].key);
        fputc(':', out);
        print_string(out, metadata[i].value);
    }
    fputs(metadata_count > 0 ? "}" : "", out);
    for (size_t i = 0; i < count; i++) {
        fputs(i > 0 || metadata_count > 0 ? "," : "", out);
        print_string(out, tensors[i].name);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_dtype_name(tensors[i].dtype));
        for (int j = 0; j < tensors[i].rank; j++) {
            fprintf(out, "%s%lld", j > 0 ? "," : "", (long long)tensors[i].shape[j]);
        }
        fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)tensors[i].begin,
                (unsigned long long)tensors[i].end);
    }
    fputc('}', out);
}

static int place_tensors(struct safetensors_tensor *tensors, size_t count, struct kernel_error *error)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = safetensors_dtype_bytes(tensors[i].dtype);
        for (int j = 0; j < tensors[i].rank; j++) {
            if (tensors[i].shape[j] < 0 || __builtin_mul_overflow(bytes, (uint64_t)tensors[i].shape[j], &bytes)) {
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: shape is too large",
                                        tensors[i].name);
            }
        }
        tensors[i].begin = end;
        if (__builtin_add_overflow(end, bytes, &end) || end > 1ull << 53) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: tensor %.80s: the file gets too large",
                                    tensors[i].name);
        }
        tensors[i].end = end;
    }
    return 0;
}

uint8_t *safetensors_header_new(struct safetensors_tensor *tensors, size_t count,
                                const struct safetensors_pair *metadata, size_t metadata_count, size_t *length,
                                struct kernel_error *error)
{
    *length = 0;
    if (place_tensors(tensors, count, error) < 0) {
        return NULL;
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
        return NULL;
    }
    fwrite("\0\0\0\0\0\0\0", 1, 8, out); /* the length, filled in below */
    print_header(out, tensors, count, metadata, metadata_count);
    fflush(out);
    while (size % 8 != 0) {
        fputc(' ', out);
        fflush(out);
    }
    int failed = ferror(out);
    if (fclose(out) != 0 || failed != 0) {
        free(text);
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "safetensors: out of memory");
        return NULL;
    }
    if (size - 8 > SAFETENSORS_HEADER_BYTES) {
        free(text);
        kernel_error_set(error, KERNEL_ERROR_INVALID, "safetensors: a header of %zu bytes is too long", size);
        return NULL;
    }
    for (int i = 0; i < 8; i++) {
        text[i] = (char)(uint8_t)((uint64_t)(size - 8) >> (8 * i));
    }
    *length = size;
    return (uint8_t *)text;
}
