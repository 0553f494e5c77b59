/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "kernels/safetensors.h"

#include <zlib.h>

TestSuite(idx, .init = fixture_open, .fini = fixture_close);

static int save(const char *directory, int64_t validation, uint64_t seed, bson_t *dataset)
{
    struct idx_options options = {.directory = directory, .name = "small", .validation = validation, .seed = seed};
    memset(&fixture_error, 0, sizeof fixture_error);
    return idx_save_dataset(fixture_hub, &options, dataset, &fixture_error);
}

static int64_t number(const bson_t *document, const char *path)
{
    bson_iter_t root, at;
    cr_assert(bson_iter_init(&root, document) && bson_iter_find_descendant(&root, path, &at), "no %s", path);
    return bson_iter_as_int64(&at);
}

/* The rows of a split as the dataset has them: x (count, 6), y (count). */
static int64_t read_split(const bson_t *dataset, const char *split, uint8_t *x, int64_t *y)
{
    bson_iter_t root, parts, at;
    int64_t count = 0;
    cr_assert(bson_iter_init_find(&root, dataset, "parts") && bson_iter_recurse(&root, &parts));
    while (bson_iter_next(&parts)) {
        cr_assert(bson_iter_recurse(&parts, &at) && bson_iter_find(&at, "split"));
        if (strcmp(bson_iter_utf8(&at, NULL), split))
            continue;
        uint8_t *data;
        size_t length;
        cr_assert(bson_iter_recurse(&parts, &at) && bson_iter_find(&at, "blob_id"));
        cr_assert_geq(blob_load(hub_store(fixture_hub), bson_iter_oid(&at), 1 << 20, &data, &length, &fixture_error),
                      0);
        struct kernel_error why;
        struct safetensors *file = safetensors_parse(data, length, &why);
        cr_assert_not_null(file, "%s", why.message);
        const struct safetensors_tensor *tx = safetensors_find(file, "x"), *ty = safetensors_find(file, "y");
        cr_assert(tx && ty && tx->dtype == SAFETENSORS_U8 && ty->dtype == SAFETENSORS_I64);
        cr_assert(tx->rank == 3 && tx->shape[1] == 3 && tx->shape[2] == 2 && ty->rank == 1);
        memcpy(x + 6 * count, data + file->data_begin + tx->begin, (size_t)tx->shape[0] * 6);
        memcpy(y + count, data + file->data_begin + ty->begin, (size_t)tx->shape[0] * 8);
        count += tx->shape[0];
        safetensors_free(file);
        bson_free(data);
    }
    return count;
}

Test(idx, the_manifest_says_what_the_files_hold)
{
    bson_t dataset;
    cr_assert_eq(save(TL_TEST_DATA "/idx_plain", 4, 1, &dataset), 1, "%s", fixture_error.message);
    cr_expect_eq(number(&dataset, "version"), 1);
    cr_expect_eq(number(&dataset, "classes"), 3);
    cr_expect_eq(number(&dataset, "rows"), 17);
    cr_expect_eq(number(&dataset, "splits.train"), 8);
    cr_expect_eq(number(&dataset, "splits.validation"), 4);
    cr_expect_eq(number(&dataset, "splits.test"), 5);
    cr_expect_eq(number(&dataset, "input_shape.0"), 3);
    cr_expect_eq(number(&dataset, "input_shape.1"), 2);
    bson_destroy(&dataset);
}

Test(idx, every_row_is_in_one_split_with_its_label)
{
    uint8_t x[17 * 6];
    int64_t y[17];
    int seen[12] = {0};
    bson_t dataset;
    cr_assert_eq(save(TL_TEST_DATA "/idx_gz", 4, 1, &dataset), 1, "%s", fixture_error.message);
    cr_assert_eq(read_split(&dataset, "train", x, y), 8);
    cr_assert_eq(read_split(&dataset, "validation", x + 48, y + 8), 4);
    for (int i = 0; i < 12; i++) {
        int row = x[6 * i] / 10;
        cr_assert_lt(row, 12);
        seen[row]++;
        cr_expect_eq(y[i], row % 3);
        for (int j = 0; j < 6; j++)
            cr_expect_eq(x[6 * i + j], 10 * row + j);
        if (i % 8) /* the files' order */
            cr_expect_gt(x[6 * i], x[6 * i - 6]);
    }
    for (int row = 0; row < 12; row++)
        cr_expect_eq(seen[row], 1, "row %d stands %d times", row, seen[row]);
    cr_assert_eq(read_split(&dataset, "test", x, y), 5);
    for (int i = 0; i < 5; i++)
        cr_expect(x[6 * i] == 10 * i && y[i] == i % 3);
    bson_destroy(&dataset);
}

Test(idx, the_same_data_again_is_there_already_packed_or_not)
{
    bson_t first, again;
    cr_assert_eq(save(TL_TEST_DATA "/idx_plain", 4, 1, &first), 1, "%s", fixture_error.message);
    cr_assert_eq(save(TL_TEST_DATA "/idx_plain", 4, 1, &again), 0, "%s", fixture_error.message);
    cr_expect(bson_equal(&first, &again));
    bson_destroy(&again);
    cr_assert_eq(save(TL_TEST_DATA "/idx_gz", 4, 1, &again), 0, "%s", fixture_error.message);
    cr_expect(bson_equal(&first, &again));
    bson_destroy(&again);
    cr_expect_eq(fixture_count("datasets"), 1);
    bson_destroy(&first);
}

Test(idx, another_seed_picks_other_rows_for_validation)
{
    bson_t dataset;
    int kinds = 0;
    uint8_t first[6 * 12], x[6 * 12];
    int64_t y[12];
    for (uint64_t seed = 0; seed < 8; seed++) {
        cr_assert_geq(save(TL_TEST_DATA "/idx_plain", 4, seed, &dataset), 0, "%s", fixture_error.message);
        cr_assert_eq(read_split(&dataset, "validation", seed ? x : first, y), 4);
        kinds += seed && memcmp(first, x, 24);
        bson_destroy(&dataset);
    }
    cr_expect_geq(kinds, 5, "only %d of 7 other seeds picked other rows", kinds);
}

Test(idx, tags_and_further_keys_are_kept_and_what_the_files_say_cannot_be_given)
{
    bson_t *fields = BCON_NEW("tags", "[", "tiny", "]", "source", "made here", "class_names", "[", "a", "b", "c", "]");
    struct idx_options options = {.directory = TL_TEST_DATA "/idx_plain", .name = "small", .fields = fields};
    bson_t dataset;
    cr_assert_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect(bson_has_field(&dataset, "source") && bson_has_field(&dataset, "tags.0"));
    cr_expect(!bson_has_field(&dataset, "splits.validation"));
    bson_destroy(&dataset);
    bson_destroy(fields);
    options.fields = fields = BCON_NEW("classes", BCON_INT32(7));
    cr_expect_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), -1);
    cr_expect_str_eq(fixture_error.message, "field classes: comes from the files, it cannot be given");
    bson_destroy(&dataset);
    bson_destroy(fields);
    options.fields = fields = BCON_NEW("class_names", "[", "a", "b", "]");
    cr_expect_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), -1);
    cr_expect_str_eq(fixture_error.message, "field class_names: 2 names for 3 classes");
    bson_destroy(&dataset);
    bson_destroy(fields);
}

/* ---- files that are refused ---- */

static void write_file(const char *name, const void *bytes, size_t length, bool gz)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    if (gz) {
        gzFile file = gzopen(path, "wb");
        cr_assert(file && gzwrite(file, bytes, (unsigned)length) == (int)length && gzclose(file) == Z_OK);
        return;
    }
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, length, file) == length && !fclose(file));
}

/* 4 images of 2 × 2 and their labels. */
static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 4, 0, 0,  0,  2,  0,  0,  0,  2,
                                 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 1};
#define IMAGES "train-images-idx3-ubyte"
#define LABELS "train-labels-idx1-ubyte"

/* The whole message after the folder; nothing may have been saved. */
static void refused(enum hub_error_code code, const char *message)
{
    bson_t dataset;
    size_t folder = strlen(fixture_folder);
    cr_expect_eq(save(fixture_folder, 0, 0, &dataset), -1);
    cr_expect_eq(hub_error_code(&fixture_error), code);
    cr_expect(!strncmp(fixture_error.message, fixture_folder, folder), "%s", fixture_error.message);
    cr_expect_str_eq(fixture_error.message + folder, message);
    bson_destroy(&dataset);
    cr_expect_eq(fixture_count("datasets"), 0);
    cr_expect_eq(fixture_count("blobs.chunks"), 0);
    cr_expect_eq(fixture_count("uploads"), 0);
}

static void refused_images(const uint8_t *bytes, size_t length, const char *message)
{
    write_file(LABELS, labels, sizeof labels, false);
    write_file(IMAGES, bytes, length, false);
    refused(HUB_ERROR_INVALID, message);
}

Test(idx, missing_files_are_named)
{
    refused(HUB_ERROR_NOT_FOUND, ": has no train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]");
    write_file(IMAGES, images, sizeof images, false);
    refused(HUB_ERROR_NOT_FOUND, ": has train-images-idx3-ubyte but not train-labels-idx1-ubyte[.gz]");
}

Test(idx, training_files_alone_are_enough_and_test_is_another_name_for_t10k)
{
    bson_t dataset;
    write_file(IMAGES, images, sizeof images, false);
    write_file("train-labels.idx1-ubyte.gz", labels, sizeof labels, true);
    cr_assert_eq(save(fixture_folder, 1, 0, &dataset), 1, "%s", fixture_error.message);
    cr_expect_eq(number(&dataset, "rows"), 4);
    cr_expect(!bson_has_field(&dataset, "splits.test"));
    bson_destroy(&dataset);
    write_file("test-images-idx3-ubyte", images, sizeof images, false);
    write_file("test-labels-idx1-ubyte", labels, sizeof labels, false);
    cr_assert_eq(save(fixture_folder, 1, 0, &dataset), 1, "%s", fixture_error.message);
    cr_expect_eq(number(&dataset, "splits.test"), 4);
    bson_destroy(&dataset);
}

Test(idx, a_truncated_body_is_refused_with_its_offset)
{
    refused_images(images, sizeof images - 1, "/" IMAGES ": byte 31: truncated; 4 rows of 4 bytes end at byte 32");
    refused_images(images, 3, "/" IMAGES ": byte 3: ends within the magic number");
    refused_images(images, 0, "/" IMAGES ": byte 0: ends within the magic number");
    refused_images(images, 10, "/" IMAGES ": byte 10: ends within the sizes of its 3 dimensions");
}

Test(idx, trailing_bytes_are_refused)
{
    uint8_t longer[sizeof images + 1] = {0};
    memcpy(longer, images, sizeof images);
    refused_images(longer, sizeof longer, "/" IMAGES ": byte 32: more data than its 4 rows");
}

Test(idx, a_damaged_gz_is_refused)
{
    uint8_t packed[200];
    char path[160];
    write_file(LABELS, labels, sizeof labels, false);
    write_file(IMAGES ".gz", images, sizeof images, true);
    snprintf(path, sizeof path, "%s/%s", fixture_folder, IMAGES ".gz");
    FILE *file = fopen(path, "rb");
    size_t length = fread(packed, 1, sizeof packed, file);
    fclose(file);
    for (size_t cut = 1; cut < length; cut++) {
        bson_t dataset;
        write_file(IMAGES ".gz", packed, cut, false);
        cr_expect_eq(save(fixture_folder, 0, 0, &dataset), -1, "cut to %zu bytes of %zu", cut, length);
        cr_expect_eq(hub_error_code(&fixture_error), HUB_ERROR_INVALID, "%s", fixture_error.message);
        bson_destroy(&dataset);
    }
    packed[length - 6] ^= 1; /* the check sum */
    write_file(IMAGES ".gz", packed, length, false);
    refused(HUB_ERROR_INVALID, "/" IMAGES ".gz: unpacked byte 16: damaged gzip data (incorrect data check)");
    packed[length - 6] ^= 1;
    packed[length] = 'x'; /* behind the end */
    write_file(IMAGES ".gz", packed, length + 1, false);
    refused(HUB_ERROR_INVALID, "/" IMAGES ".gz: unpacked byte 32: damaged gzip data (what follows its end is no gzip data)");
}

Test(idx, what_is_not_an_idx_file_of_bytes_is_refused)
{
    uint8_t bytes[sizeof images];
    static const struct {
        int at;
        uint8_t value;
        const char *message;
    } cases[] = {
        {0, 0x89, "/" IMAGES ": byte 0: not an IDX file (magic number 89000803)"},
        {2, 0x09, "/" IMAGES ": byte 2: elements are signed bytes (0x09); only unsigned bytes (0x08) are taken"},
        {2, 0x0b, "/" IMAGES ": byte 2: elements are shorts (0x0b); only unsigned bytes (0x08) are taken"},
        {2, 0x0c, "/" IMAGES ": byte 2: elements are ints (0x0c); only unsigned bytes (0x08) are taken"},
        {2, 0x0d, "/" IMAGES ": byte 2: elements are floats (0x0d); only unsigned bytes (0x08) are taken"},
        {2, 0x0e, "/" IMAGES ": byte 2: elements are doubles (0x0e); only unsigned bytes (0x08) are taken"},
        {2, 0x0a, "/" IMAGES ": byte 2: 0x0a is no element type of IDX"},
        {3, 0, "/" IMAGES ": byte 3: 0 dimensions; 1 to 7 are taken"},
        {3, 8, "/" IMAGES ": byte 3: 8 dimensions; 1 to 7 are taken"},
        {7, 0, "/" IMAGES ": byte 4: dimension 1 is 0"},
        {15, 0, "/" IMAGES ": byte 12: dimension 3 is 0"},
        {8, 0xff, "/" IMAGES ": byte 8: a row is larger than 16777216 bytes"},
        {4, 0xff, "/" IMAGES ": byte 32: truncated; 4278190084 rows of 4 bytes end at byte 17112760352"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bytes, images, sizeof images);
        bytes[cases[i].at] = cases[i].value;
        refused_images(bytes, sizeof bytes, cases[i].message);
    }
}

Test(idx, images_and_labels_that_do_not_belong_together_are_refused)
{
    uint8_t more[sizeof labels + 1] = {0};
    refused_images(labels, sizeof labels,
                   "/" IMAGES ": byte 3: one dimension; images have more: this looks like a label file");
    write_file(IMAGES, images, sizeof images, false);
    write_file(LABELS, images, sizeof images, false);
    refused(HUB_ERROR_INVALID, "/" LABELS ": byte 3: 3 dimensions; labels have one: this looks like an image file");
    memcpy(more, labels, sizeof labels);
    more[7] = 5;
    write_file(LABELS, more, sizeof more, false);
    char message[300];
    snprintf(message, sizeof message, "/" LABELS ": byte 4: 5 labels for the 4 images of %s/" IMAGES, fixture_folder);
    refused(HUB_ERROR_INVALID, message);
    write_file(LABELS, labels, sizeof labels, false);
    uint8_t other[sizeof images];
    memcpy(other, images, sizeof images);
    other[11] = 1;
    other[15] = 4;
    write_file("t10k-images-idx3-ubyte", other, sizeof other, false);
    write_file("t10k-labels-idx1-ubyte", labels, sizeof labels, false);
    snprintf(message, sizeof message, "/t10k-images-idx3-ubyte: byte 8: images of another size than in %s/" IMAGES,
             fixture_folder);
    refused(HUB_ERROR_INVALID, message);
}

Test(idx, some_rows_must_be_left_to_train_on)
{
    bson_t dataset;
    static const int64_t wrong[] = {-1, 12, 13};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(save(TL_TEST_DATA "/idx_plain", wrong[i], 0, &dataset), -1);
        bson_destroy(&dataset);
    }
    cr_expect_str_eq(fixture_error.message, "validation: 13 rows of 12 training rows; some must be left");
}

Test(idx, a_share_of_the_training_rows_can_be_asked_for)
{
    struct idx_options options = {.directory = TL_TEST_DATA "/idx_plain", .name = "small", .validation_share = 0.2};
    bson_t dataset;
    cr_assert_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect_eq(number(&dataset, "splits.validation"), 2);
    bson_destroy(&dataset);
    options.validation_share = 1;
    cr_expect_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), -1);
    cr_expect_str_eq(fixture_error.message, "validation: a share of 1; it must be in [0, 1)");
    bson_destroy(&dataset);
}

static int64_t told;
static void tell(const char *what, int64_t done, int64_t total, void *data)
{
    cr_expect(what && done > 0 && done <= total && data == &told);
    told++;
}

Test(idx, large_files_become_several_parts_and_progress_is_told)
{
    enum { ROWS = 300 };
    const int64_t side = 400; /* 160,000 bytes a row: 48 MB in all */
    uint8_t header[16] = {0, 0, 8, 3, 0, 0, ROWS >> 8, ROWS & 255, 0, 0, 1, 144, 0, 0, 1, 144},
            y[8 + ROWS] = {0, 0, 8, 1};
    uint8_t *bytes = malloc((size_t)(16 + ROWS * side * side));
    cr_assert_not_null(bytes);
    memcpy(bytes, header, 16);
    for (int64_t i = 0; i < ROWS * side * side; i++)
        bytes[16 + i] = (uint8_t)(i >> 12);
    memcpy(y + 4, header + 4, 4);
    write_file(IMAGES, bytes, (size_t)(16 + ROWS * side * side), false);
    write_file(LABELS, y, sizeof y, false);
    struct idx_options options = {.directory = fixture_folder, .name = "large", .progress = tell, .data = &told};
    bson_t dataset;
    told = 0;
    cr_assert_eq(idx_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect_eq(number(&dataset, "parts.0.rows"), ROWS / 2);
    cr_expect_eq(number(&dataset, "parts.1.rows"), ROWS / 2);
    cr_expect(!bson_has_field(&dataset, "parts.2"));
    cr_expect_lt(number(&dataset, "parts.0.bytes"), 32000000);
    cr_expect_gt(told, 2);
    bson_destroy(&dataset);
    free(bytes);
}

Test(idx, fashion_mnist_is_read_whole)
{
    static const char folder[] = "/usr/share/datasets/fashion-mnist";
    bson_t dataset;
    if (access(folder, F_OK))
        cr_skip("the package dataset-fashion-mnist is not installed");
    cr_assert_eq(save(folder, 5000, 1, &dataset), 1, "%s", fixture_error.message);
    cr_expect_eq(number(&dataset, "classes"), 10);
    cr_expect_eq(number(&dataset, "splits.train"), 55000);
    cr_expect_eq(number(&dataset, "splits.validation"), 5000);
    cr_expect_eq(number(&dataset, "splits.test"), 10000);
    bson_destroy(&dataset);
}
