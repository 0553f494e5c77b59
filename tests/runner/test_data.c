/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/data.h"

#include "kernels/safetensors.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static struct hub *hub;
static bson_error_t error;

static void open_hub(void)
{
    char uri[96];
    snprintf(folder, sizeof folder, "/tmp/tl_data.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(uri, sizeof uri, "sqlite:%s/hub.db", folder);
    hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
    cr_assert_not_null(hub, "%s", error.message);
}

static void close_hub(void)
{
    char command[96];
    hub_close(hub);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(data, .init = open_hub, .fini = close_hub);

/* One part as a safetensors file: x (rows, 2, 2) and y; kinds as told. */
static uint8_t *make_part(enum safetensors_dtype x_type, const void *x, enum safetensors_dtype y_type, const void *y,
                          int64_t rows, int64_t outputs, bool x_first, size_t *length)
{
    struct safetensors_tensor tx = {.name = (char[]){"x"}, .dtype = x_type, .rank = 3, .shape = {rows, 2, 2}},
                              ty = {.name = (char[]){"y"}, .dtype = y_type, .rank = 1, .shape = {rows}};
    size_t x_bytes = (size_t)rows * 4 * safetensors_dtype_bytes(x_type), y_bytes, header;
    if (outputs > 1) {
        ty.rank = 2;
        ty.shape[1] = outputs;
    }
    y_bytes = (size_t)(rows * outputs) * safetensors_dtype_bytes(y_type);
    struct safetensors_tensor tensors[2] = {x_first ? tx : ty, x_first ? ty : tx};
    struct kernel_error why;
    uint8_t *head = safetensors_header_new(tensors, 2, NULL, 0, &header, &why);
    cr_assert_not_null(head, "%s", why.message);
    *length = header + x_bytes + y_bytes;
    uint8_t *file = malloc(*length);
    cr_assert_not_null(file);
    memcpy(file, head, header);
    memcpy(file + header, x_first ? x : y, x_first ? x_bytes : y_bytes);
    memcpy(file + header + (x_first ? x_bytes : y_bytes), x_first ? y : x, x_first ? y_bytes : x_bytes);
    free(head);
    return file;
}

static bson_t *class_fields(const char *name)
{
    return BCON_NEW("name", BCON_UTF8(name), "input_shape", "[", BCON_INT32(2), BCON_INT32(2), "]", "label", "class",
                    "classes", BCON_INT32(3), "features", "{", "dtype", "U8", "scale", BCON_DOUBLE(0.5), "offset",
                    BCON_DOUBLE(-1.0), "}");
}

/* train: parts of 3 and 2 rows; test: 1 row. x counts up from `first`, y is row % 3, or `label` everywhere. */
static void save_classes(const char *name, uint8_t first, int64_t label, bson_t *dataset)
{
    static const int64_t part_rows[] = {3, 2, 1};
    static const char *const splits[] = {"train", "train", "test"};
    uint8_t x[12];
    int64_t y[3], row = 0;
    bson_t *fields = class_fields(name);
    struct dataset_writer *writer = dataset_writer_open(hub, fields, &error);
    cr_assert_not_null(writer, "%s", error.message);
    for (int part = 0; part < 3; part++) {
        for (int64_t i = 0; i < part_rows[part]; i++, row++) {
            y[i] = label >= 0 ? label : row % 3;
            for (int j = 0; j < 4; j++)
                x[4 * i + j] = (uint8_t)(first + 4 * row + j);
        }
        size_t length;
        uint8_t *file = make_part(SAFETENSORS_U8, x, SAFETENSORS_I64, y, part_rows[part], 1, part % 2, &length);
        cr_assert_geq(dataset_writer_part(writer, splits[part], part_rows[part], file, length, &error), 0, "%s",
                      error.message);
        free(file);
    }
    cr_assert_eq(dataset_writer_finish(writer, dataset, &error), 1, "%s", error.message);
    dataset_writer_close(writer);
    bson_destroy(fields);
}

Test(data, parts_become_one_split_of_bytes)
{
    struct data_cache *cache = data_cache_new(0);
    struct data data, again;
    bson_t dataset;
    save_classes("a", 0, -1, &dataset);
    cr_assert_eq(data_load(cache, hub, &dataset, "train", &data, &error), 1, "%s", error.message);
    cr_expect(data.rows == 5 && data.features == 4 && data.classes == 3 && !data.x_f32 && !data.y_value);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(data.x_u8[i], i);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(data.y_class[i], i % 3);
    cr_assert_eq(data_load(cache, hub, &dataset, "test", &again, &error), 1, "%s", error.message);
    cr_expect(again.rows == 1 && again.x_u8[0] == 20 && again.y_class[0] == 2);
    cr_expect_eq(data.x_u8[19], 19, "the other split must stay");
    cr_assert_eq(data_load(cache, hub, &dataset, "train", &again, &error), 1);
    cr_expect_eq(again.x_u8, data.x_u8, "found, not loaded again");
    cr_expect_eq(data_load(cache, hub, &dataset, "validation", &again, &error), 0);
    cr_expect(again.rows == 0 && !again.x_u8);
    bson_destroy(&dataset);
    data_cache_free(cache);
}

Test(data, a_mapped_split_is_the_same_as_one_in_memory)
{
    struct data_cache *cache = data_cache_new(0);
    struct data held, mapped, again;
    bson_t dataset;
    setenv("TL_HUB_CACHE_DIR", folder, 1);
    save_classes("a", 0, -1, &dataset);
    cr_assert_eq(data_load(cache, hub, &dataset, "train", &held, &error), 1, "%s", error.message);
    cr_assert_eq(data_load_as(cache, hub, &dataset, "train", true, &mapped, &error), 1, "%s", error.message);
    cr_expect(mapped.rows == 5 && mapped.features == 4 && mapped.classes == 3 && mapped.x_u8 != held.x_u8);
    cr_expect_eq(memcmp(mapped.x_u8, held.x_u8, 20), 0);
    cr_expect_eq(memcmp(mapped.y_class, held.y_class, 5 * sizeof *held.y_class), 0);
    cr_assert_eq(data_load_as(cache, hub, &dataset, "train", true, &again, &error), 1);
    cr_expect_eq(again.x_u8, mapped.x_u8, "mapped once");
    cr_expect_eq(data_load_as(cache, hub, &dataset, "validation", true, &again, &error), 0);
    bson_destroy(&dataset);
    data_cache_free(cache);
}

Test(data, a_batch_is_scaled_and_in_the_order_asked_for)
{
    struct data_cache *cache = data_cache_new(0);
    const uint32_t order[] = {4, 0, 4};
    struct data data;
    float x[12];
    int32_t y[3];
    bson_t dataset;
    save_classes("a", 0, -1, &dataset);
    cr_assert_eq(data_load(cache, hub, &dataset, "train", &data, &error), 1, "%s", error.message);
    data_gather(&data, order, 3, x, y, NULL);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(y[i], (int)order[i] % 3);
        for (int j = 0; j < 4; j++)
            cr_expect_eq(x[4 * i + j], (float)(4 * order[i] + (uint32_t)j) * 0.5f - 1.0f);
    }
    data_gather(&data, order, 1, x, NULL, NULL);
    bson_destroy(&dataset);
    data_cache_free(cache);
}

Test(data, values_and_floats_are_read_as_they_are)
{
    const float x[] = {1, 2, 3, 4, 5, 6, 7, 8}, y[] = {0.5f, 1.5f, -2, -3};
    const uint32_t order[] = {1, 0};
    struct data_cache *cache = data_cache_new(0);
    struct data data;
    bson_t dataset, *fields = BCON_NEW("name", "v", "input_shape", "[", BCON_INT32(2), BCON_INT32(2), "]", "label",
                                       "value", "outputs", BCON_INT32(2), "features", "{", "dtype", "F32", "}");
    struct dataset_writer *writer = dataset_writer_open(hub, fields, &error);
    size_t length;
    uint8_t *file = make_part(SAFETENSORS_F32, x, SAFETENSORS_F32, y, 2, 2, true, &length);
    float gx[8], gy[4];
    cr_assert_not_null(writer, "%s", error.message);
    cr_assert_geq(dataset_writer_part(writer, "train", 2, file, length, &error), 0, "%s", error.message);
    cr_assert_eq(dataset_writer_finish(writer, &dataset, &error), 1, "%s", error.message);
    cr_assert_eq(data_load(cache, hub, &dataset, "train", &data, &error), 1, "%s", error.message);
    cr_expect(data.rows == 2 && data.classes == 0 && data.outputs == 2 && !data.x_u8 && !data.y_class);
    data_gather(&data, order, 2, gx, NULL, gy);
    cr_expect(gx[0] == 5 && gx[7] == 4 && gy[0] == -2 && gy[3] == 1.5f);
    free(file);
    dataset_writer_close(writer);
    bson_destroy(fields);
    bson_destroy(&dataset);
    data_cache_free(cache);
}

Test(data, a_second_dataset_takes_the_room_of_the_first)
{
    struct data_cache *cache = data_cache_new(60); /* train 20 + 20 bytes, test 4 + 4 */
    struct data data;
    bson_t a, b;
    save_classes("a", 0, -1, &a);
    save_classes("b", 100, -1, &b);
    cr_assert_eq(data_load(cache, hub, &a, "train", &data, &error), 1, "%s", error.message);
    cr_assert_eq(data_load(cache, hub, &a, "test", &data, &error), 1, "%s", error.message);
    cr_assert_eq(data_load(cache, hub, &b, "train", &data, &error), 1, "%s", error.message);
    cr_expect_eq(data.x_u8[0], 100);
    cr_assert_eq(data_load(cache, hub, &a, "train", &data, &error), 1, "%s", error.message);
    cr_expect_eq(data.x_u8[0], 0);
    data_cache_free(cache);
    cache = data_cache_new(30);
    cr_expect_eq(data_load(cache, hub, &a, "train", &data, &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_MEMORY);
    cr_expect(strstr(error.message, "dataset a, split train"), "%s", error.message);
    cr_expect_eq(data_load(cache, hub, &a, "test", &data, &error), 1, "%s", error.message);
    data_cache_free(cache);
    bson_destroy(&a);
    bson_destroy(&b);
}

Test(data, a_class_outside_the_manifest_is_refused_with_its_row)
{
    struct data_cache *cache = data_cache_new(0);
    struct data data;
    bson_t dataset;
    save_classes("a", 0, 3, &dataset);
    cr_expect_eq(data_load(cache, hub, &dataset, "train", &data, &error), -1);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_CORRUPT);
    cr_expect_str_eq(error.message, "dataset a, split train: row 0 has class 3, the classes are 0 to 2");
    cr_expect(!data.x_u8 && !data.rows);
    bson_destroy(&dataset);
    data_cache_free(cache);
}

/* A copy of the manifest's JSON with one text replaced by another. */
static bson_t *changed(const bson_t *dataset, const char *from, const char *to)
{
    char *json = bson_as_relaxed_extended_json(dataset, NULL), *at = strstr(json, from), out[8192];
    cr_assert_not_null(at, "no %s in %s", from, json);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - json), json, to, at + strlen(from));
    bson_t *copy = bson_new_from_json((const uint8_t *)out, -1, &error);
    cr_assert_not_null(copy, "%s in %s", error.message, out);
    bson_free(json);
    return copy;
}

Test(data, a_manifest_that_does_not_tell_the_truth_is_refused)
{
    static const struct {
        const char *from, *to;
    } lies[] = {
        {"\"rows\" : 3", "\"rows\" : 4"},
        {"\"rows\" : 3", "\"rows\" : 4000000000"},
        {"\"rows\" : 3", "\"rows\" : 9000000000000000000"},
        {"\"rows\" : 3", "\"rows\" : -3"},
        {"\"bytes\" : ", "\"bytes\" : 1"},
        {"\"sha256\" : \"", "\"sha256\" : \"x"},
        {"\"blob_id\" : { \"$oid\" : ", "\"blob_ids\" : { \"$oid\" : "},
        {"\"input_shape\" : [ 2, 2 ]", "\"input_shape\" : [ 2, 3 ]"},
        {"\"input_shape\" : [ 2, 2 ]", "\"input_shape\" : [ 2147483647, 2147483647, 2147483647 ]"},
        {"\"input_shape\" : [ 2, 2 ]", "\"input_shape\" : \"wide\""},
        {"\"dtype\" : \"U8\"", "\"dtype\" : \"F32\""},
        {"\"dtype\" : \"U8\"", "\"dtype\" : \"I8\""},
        {"\"label\" : \"class\"", "\"label\" : \"value\""},
        {"\"label\" : \"class\"", "\"label\" : \"word\""},
        {"\"classes\" : 3", "\"classes\" : 2"},
        {"\"classes\" : 3", "\"classes\" : 0"},
        {"\"parts\" : [", "\"pieces\" : ["},
        {"\"digest\" : ", "\"digests\" : "},
    };
    struct data_cache *cache = data_cache_new(1 << 30);
    struct data data;
    bson_t dataset;
    save_classes("a", 0, -1, &dataset);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        bson_t *lie = changed(&dataset, lies[i].from, lies[i].to);
        cr_expect_eq(data_load(cache, hub, lie, "train", &data, &error), -1, "accepted: %s", lies[i].to);
        cr_expect(!strncmp(error.message, "dataset a, split train: ", 24) || strstr(error.message, "digest"), "%s: %s",
                  lies[i].to, error.message);
        bson_destroy(lie);
    }
    cr_expect_eq(data_load(cache, hub, &dataset, "train", &data, &error), 1, "%s", error.message);
    bson_destroy(&dataset);
    data_cache_free(cache);
}

Test(data, a_damaged_blob_is_refused)
{
    struct data_cache *cache = data_cache_new(0);
    struct data data;
    bson_t dataset, chunk;
    bson_t *all = bson_new();
    bson_iter_t at;
    save_classes("a", 0, -1, &dataset);
    cr_assert_eq(store_find_one(hub_store(hub), "blobs.chunks", all, NULL, &chunk, &error), 1, "%s", error.message);
    cr_assert(bson_iter_init_find(&at, &chunk, "data") && BSON_ITER_HOLDS_BINARY(&at));
    uint32_t length;
    const uint8_t *bytes;
    bson_subtype_t subtype;
    bson_iter_binary(&at, &subtype, &length, &bytes);
    uint8_t *copy = malloc(length);
    cr_assert_not_null(copy);
    memcpy(copy, bytes, length);
    copy[length - 1] ^= 1;
    cr_assert(bson_iter_init_find(&at, &chunk, "_id"));
    bson_t *filter = bson_new(), *update = bson_new(), set;
    bson_append_iter(filter, "_id", -1, &at);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_BINARY(&set, "data", subtype, copy, length);
    bson_append_document_end(update, &set);
    cr_assert_eq(store_update(hub_store(hub), "blobs.chunks", filter, update, &error), 1, "%s", error.message);
    int train = data_load(cache, hub, &dataset, "train", &data, &error),
        test = train < 0 ? -1 : data_load(cache, hub, &dataset, "test", &data, &error);
    cr_expect(train < 0 || test < 0, "a flipped bit went unseen");
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_CORRUPT, "%s", error.message);
    free(copy);
    bson_destroy(filter);
    bson_destroy(update);
    bson_destroy(all);
    bson_destroy(&chunk);
    bson_destroy(&dataset);
    data_cache_free(cache);
}
