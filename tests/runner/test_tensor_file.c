/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/tensor_file.h"
#include "../distributor/fixture.h"

#include "kernels/safetensors.h"
#include "runner/data.h"

#include <math.h>

TestSuite(tensor_file, .init = fixture_open, .fini = fixture_close);

struct tensor {
    const char *name;
    enum safetensors_dtype dtype;
    int64_t rows, width; /* width 0: rank 1 */
    const void *data;
};

static char *write_file(const char *name, const struct tensor *tensors, size_t count)
{
    struct safetensors_tensor all[8] = {{0}};
    struct kernel_error why = {0};
    size_t length;
    char *path = bson_strdup_printf("%s/%s", fixture_folder, name);
    for (size_t i = 0; i < count; i++)
        all[i] = (struct safetensors_tensor){.name = (char *)(uintptr_t)tensors[i].name, .dtype = tensors[i].dtype,
                                             .rank = tensors[i].width ? 2 : 1,
                                             .shape = {tensors[i].rows, tensors[i].width}};
    uint8_t *header = safetensors_header_new(all, count, NULL, 0, &length, &why);
    FILE *file = fopen(path, "wb");
    cr_assert(header && file && fwrite(header, 1, length, file) == length);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = (size_t)(all[i].end - all[i].begin);
        cr_assert_eq(fwrite(tensors[i].data, 1, bytes, file), bytes);
    }
    cr_assert_eq(fclose(file), 0);
    free(header);
    return path;
}

static int save(const char *path, int64_t validation, bson_t *dataset)
{
    struct tensor_file_options options = {.path = path, .name = "made", .validation = validation, .seed = 1};
    memset(&fixture_error, 0, sizeof fixture_error);
    return tensor_file_save_dataset(fixture_hub, &options, dataset, &fixture_error);
}

static float x_values[40], y_values[20];
static int64_t y_classes[10];
static int32_t y_small[10];

static void fill(void)
{
    for (int i = 0; i < 40; i++)
        x_values[i] = (float)i / 4;
    for (int i = 0; i < 20; i++)
        y_values[i] = (float)-i;
    for (int i = 0; i < 10; i++)
        y_small[i] = (int32_t)(y_classes[i] = i % 3);
}

static struct data load(const bson_t *dataset, struct data_cache *cache, const char *split, int64_t rows)
{
    struct data data;
    int found = data_load(cache, fixture_hub, dataset, split, &data, &fixture_error);
    cr_assert_eq(found, rows > 0, "%s: %s", split, fixture_error.message);
    cr_assert_eq(data.rows, rows, "%s has %lld rows", split, (long long)data.rows);
    return data;
}

Test(tensor_file, rows_kept_apart_for_validation_are_all_there_with_their_labels)
{
    fill();
    const struct tensor tensors[] = {{"x", SAFETENSORS_F32, 10, 4, x_values}, {"y", SAFETENSORS_I32, 10, 0, y_small}};
    char *path = write_file("classes.safetensors", tensors, 2);
    bson_t dataset, again;
    bool seen[10] = {false};
    cr_assert_eq(save(path, 3, &dataset), 1, "%s", fixture_error.message);
    cr_expect_eq(save(path, 3, &again), 0, "the same data again");
    struct data_cache *cache = data_cache_new(0);
    for (int split = 0; split < 2; split++) {
        struct data data = load(&dataset, cache, split ? "validation" : "train", split ? 3 : 7);
        cr_assert(data.classes == 3 && data.features == 4 && data.x_f32 && data.y_class);
        for (int64_t i = 0; i < data.rows; i++) {
            int row = (int)data.x_f32[4 * i];
            cr_assert(row >= 0 && row < 10 && !seen[row], "row %d", row);
            seen[row] = true;
            cr_expect_eq(memcmp(data.x_f32 + 4 * i, x_values + 4 * row, 4 * sizeof(float)), 0);
            cr_expect_eq(data.y_class[i], row % 3);
        }
    }
    data_cache_free(cache);
    bson_destroy(&dataset);
    bson_destroy(&again);
    bson_free(path);
}

Test(tensor_file, splits_of_values_and_data_without_labels)
{
    fill();
    const struct tensor values[] = {{"train.x", SAFETENSORS_F32, 6, 4, x_values},
                                    {"train.y", SAFETENSORS_F32, 6, 2, y_values},
                                    {"night.x", SAFETENSORS_F32, 4, 4, x_values + 24},
                                    {"night.y", SAFETENSORS_F32, 4, 2, y_values + 12}};
    char *path = write_file("values.safetensors", values, 4);
    bson_t dataset;
    cr_assert_eq(save(path, 0, &dataset), 1, "%s", fixture_error.message);
    struct data_cache *cache = data_cache_new(0);
    struct data data = load(&dataset, cache, "night", 4);
    cr_expect(data.outputs == 2 && data.classes == 0 && data.y_value[7] == -19.0f && data.x_f32[0] == 6.0f);
    load(&dataset, cache, "train", 6);
    load(&dataset, cache, "test", 0);
    bson_destroy(&dataset);
    bson_free(path);
    static const uint8_t bytes[6] = {0, 51, 102, 153, 204, 255};
    const struct tensor bare[] = {{"x", SAFETENSORS_U8, 6, 0, bytes}};
    path = write_file("bare.safetensors", bare, 1);
    cr_assert_eq(save(path, 0, &dataset), 1, "%s", fixture_error.message);
    data = load(&dataset, cache, "train", 6);
    cr_expect(data.outputs == 0 && data.classes == 0 && data.features == 1 && !data.y_class && !data.y_value);
    float x[6];
    uint32_t order[] = {5, 1};
    data_gather(&data, order, 2, x, NULL, NULL);
    cr_expect(fabsf(x[0] - 1) < 1e-6f && fabsf(x[1] - 0.2f) < 1e-6f);
    data_cache_free(cache);
    bson_destroy(&dataset);
    bson_free(path);
}

Test(tensor_file, what_is_wrong_is_named_and_nothing_is_saved)
{
    fill();
    static const float nan_values[10] = {1, 2, NAN};
    static const int64_t negative[10] = {0, 1, -1};
    const struct {
        struct tensor tensors[3];
        size_t count;
        const char *says;
    } cases[] = {
        {{{"x", SAFETENSORS_F32, 10, 4, x_values}, {"z", SAFETENSORS_I64, 10, 0, y_classes}}, 2, "tensor z: must be called"},
        {{{"test.x", SAFETENSORS_F32, 10, 4, x_values}, {"test.y", SAFETENSORS_I64, 10, 0, y_classes}}, 2, "train.x"},
        {{{"x", SAFETENSORS_F32, 10, 4, x_values}, {"y", SAFETENSORS_I64, 9, 0, y_classes}}, 2, "as many rows"},
        {{{"y", SAFETENSORS_I64, 9, 0, y_classes}}, 1, "no x"},
        {{{"x", SAFETENSORS_I64, 10, 0, y_classes}}, 1, "U8 or F32"},
        {{{"x", SAFETENSORS_F32, 10, 4, x_values}, {"y", SAFETENSORS_I64, 10, 0, negative}}, 2, "row 2 has class -1"},
        {{{"x", SAFETENSORS_F32, 10, 4, x_values}, {"y", SAFETENSORS_F32, 10, 0, nan_values}}, 2, "row 2 is NaN"},
        {{{"x", SAFETENSORS_F32, 4, 4, x_values}, {"test.x", SAFETENSORS_F32, 8, 2, x_values}}, 2, "other rows"},
        {{{"x", SAFETENSORS_F32, 4, 4, x_values}, {"test.x", SAFETENSORS_F32, 4, 4, x_values},
          {"test.y", SAFETENSORS_F32, 4, 0, y_values}}, 3, "either every split"},
        {{{"x", SAFETENSORS_F32, 0, 4, x_values}}, 1, "no rows"},
    };
    bson_t dataset;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = write_file("bad.safetensors", cases[i].tensors, cases[i].count);
        cr_expect_eq(save(path, 0, &dataset), -1, "case %zu", i);
        cr_expect(strstr(fixture_error.message, cases[i].says) && strstr(fixture_error.message, "bad.safetensors"), "%zu: %s",
                  i, fixture_error.message);
        bson_destroy(&dataset);
        bson_free(path);
    }
    char *path = bson_strdup_printf("%s/none", fixture_folder);
    cr_expect_eq(save(path, 0, &dataset), -1);
    cr_expect_eq(hub_error_code(&fixture_error), HUB_ERROR_NOT_FOUND);
    bson_destroy(&dataset);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite("\x20\0\0\0\0\0\0\0{}", 1, 10, file) == 10 && fclose(file) == 0);
    cr_expect_eq(save(path, 0, &dataset), -1);
    cr_expect(strstr(fixture_error.message, "cut off"), "%s", fixture_error.message);
    bson_destroy(&dataset);
    bson_free(path);
    cr_expect_eq(fixture_count("datasets"), 0);
    cr_expect_eq(fixture_count("blobs.files"), 0);
}
