/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/safetensors.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file of this header and data_length zeros. */
static uint8_t *make_file(const char *json, size_t data_length, size_t *length)
{
    size_t header = strlen(json);
    *length = 8 + header + data_length;
    uint8_t *file = calloc(1, *length + 1);
    cr_assert_not_null(file);
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)(header >> (8 * i));
    }
    memcpy(file + 8, json, header);
    return file;
}

static void expect_refused(const char *json, size_t data_length, const char *part)
{
    size_t length;
    struct kernel_error error = {0};
    uint8_t *file = make_file(json, data_length, &length);
    struct safetensors *safetensors = safetensors_parse(file, length, &error);
    cr_expect_null(safetensors, "accepted %s", json);
    cr_expect_not_null(strstr(error.message, part), "\"%s\" does not say \"%s\"", error.message, part);
    safetensors_free(safetensors);
    free(file);
}

Test(safetensors, a_written_header_reads_back)
{
    struct kernel_error error = {0};
    char a[] = "dense_1.weight", b[] = "odd \"name\"\\\n", c[] = "empty";
    struct safetensors_tensor tensors[] = {
        {.name = a, .dtype = SAFETENSORS_F32, .rank = 2, .shape = {3, 5}},
        {.name = c, .dtype = SAFETENSORS_I64, .rank = 1, .shape = {0}},
        {.name = b, .dtype = SAFETENSORS_U8, .rank = 0},
    };
    struct safetensors_pair metadata[] = {{"format", "pt"}, {"note", "a \"b\"\t\xc3\xa9"}};
    size_t length;
    uint8_t *header = safetensors_header_new(tensors, 3, metadata, 2, &length, &error);
    cr_assert_not_null(header, "%s", error.message);
    cr_expect_eq(length % 8, 0);
    cr_expect_eq(tensors[2].begin, 60);
    cr_expect_eq(tensors[2].end, 61);
    uint8_t *file = calloc(1, length + 61);
    cr_assert_not_null(file);
    memcpy(file, header, length);
    struct safetensors *read = safetensors_parse(file, length + 61, &error);
    cr_assert_not_null(read, "%s", error.message);
    cr_expect_eq(read->count, 3);
    cr_expect_eq(read->data_begin, length);
    cr_expect_eq(read->data_length, 61);
    const struct safetensors_tensor *found = safetensors_find(read, a);
    cr_assert_not_null(found);
    cr_expect(found->rank == 2 && found->shape[0] == 3 && found->shape[1] == 5 && found->begin == 0 && found->end == 60);
    cr_expect_not_null(safetensors_find(read, b));
    cr_expect_null(safetensors_find(read, "other"));
    cr_expect_str_eq(safetensors_metadata(read, "note"), metadata[1].value);
    cr_expect_null(safetensors_metadata(read, "nothing"));
    cr_expect_null(safetensors_parse(file, length + 60, &error));
    cr_expect_null(safetensors_parse(file, length + 60, NULL));
    struct safetensors *only_header = safetensors_parse_header(header, length, 0, &error);
    cr_expect_not_null(only_header);
    safetensors_free(only_header);
    safetensors_free(read);
    free(file);
    free(header);
}

Test(safetensors, hostile_headers_are_refused)
{
    expect_refused("[]", 0, "not an object");
    expect_refused("{\"a\":1}", 0, "tensor a");
    expect_refused("{\"a\":{}}", 0, "tensor a: needs");
    expect_refused("{\"a\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype F31");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "do not fit");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,6]}}", 6, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,4]}}", 4, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "do not fit");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "hole");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "overlaps");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "twice");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "field x");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "the file has");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} x", 4, "text after");
    expect_refused("{\"__metadata__\":{\"a\":1}}", 0, "not a text");
    expect_refused("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "twice");
    expect_refused("{\"__metadata__\":[]}", 0, "__metadata__");
    expect_refused("{", 0, "a header of 1 bytes");
    expect_refused("{ ", 0, "not JSON");
}

Test(safetensors, short_and_lying_files_are_refused)
{
    struct kernel_error error = {0};
    uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    cr_expect_null(safetensors_parse(huge, sizeof huge, &error));
    uint8_t empty[8] = {0};
    cr_expect_null(safetensors_parse(empty, sizeof empty, &error));
    for (size_t length = 0; length < 8; length++) {
        cr_expect_null(safetensors_parse(huge, length, &error));
    }
    uint8_t longer[16] = {200};
    cr_expect_null(safetensors_parse(longer, sizeof longer, &error));
    cr_expect_not_null(strstr(error.message, "cut off"));
}

Test(safetensors, every_truncation_and_many_bit_flips_are_survived)
{
    size_t length;
    struct kernel_error error = {0};
    uint8_t *file = make_file("{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":"
                              "[0,8]},\"b\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12, &length);
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = malloc(cut + 1); /* its own block, so that a sanitizer sees reads beyond it */
        cr_assert_not_null(part);
        memcpy(part, file, cut);
        cr_expect_null(safetensors_parse(part, cut, &error));
        free(part);
    }
    for (size_t bit = 0; bit < (length - 12) * 8; bit++) {
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        safetensors_free(safetensors_parse(file, length, &error));
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    struct safetensors *whole = safetensors_parse(file, length, &error);
    cr_expect_not_null(whole);
    safetensors_free(whole);
    free(file);
}
