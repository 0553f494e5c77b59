/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "distributor/csv.h"
#include "distributor/csv_rows.h"
#include "kernels/safetensors.h"

#include <math.h>
#include <stdarg.h>

#define VALUES 4096

static char path[96];

/* What a split holds: x (rows, width), y of classes or values. */
struct split {
    int64_t rows, width;
    float x[VALUES];
    int64_t classes[VALUES];
    float targets[VALUES];
};

static struct split train, validation, test;

static void open_all(void)
{
    fixture_open();
    snprintf(path, sizeof path, "%s/table.csv", fixture_folder);
}

TestSuite(csv, .init = open_all, .fini = fixture_close);

static void write_table(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void write_table(const char *format, ...)
{
    va_list arguments;
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    cr_assert_eq(fclose(file), 0);
}

static const char *const label_y[] = {"y"};

static struct csv_options defaults(void)
{
    return (struct csv_options){.path = path, .name = "table", .header = -1, .labels = label_y, .label_count = 1, .horizon = 1};
}

static void read_split(const bson_t *dataset, const char *name, struct split *split)
{
    bson_iter_t root, parts, at;
    memset(split, 0, sizeof *split);
    cr_assert(bson_iter_init_find(&root, dataset, "parts") && bson_iter_recurse(&root, &parts));
    while (bson_iter_next(&parts)) {
        uint8_t *data;
        size_t length;
        struct kernel_error why;
        cr_assert(bson_iter_recurse(&parts, &at) && bson_iter_find(&at, "split"));
        if (strcmp(bson_iter_utf8(&at, NULL), name))
            continue;
        cr_assert(bson_iter_recurse(&parts, &at) && bson_iter_find(&at, "blob_id"));
        cr_assert_geq(blob_load(hub_store(fixture_hub), bson_iter_oid(&at), 1 << 25, &data, &length, &fixture_error), 0);
        struct safetensors *file = safetensors_parse(data, length, &why);
        cr_assert_not_null(file, "%s", why.message);
        const struct safetensors_tensor *x = safetensors_find(file, "x"), *y = safetensors_find(file, "y");
        const uint8_t *from = data + file->data_begin;
        const size_t values = (x->end - x->begin) / sizeof(float);
        split->width = (int64_t)values / x->shape[0];
        cr_assert(x->dtype == SAFETENSORS_F32 && split->rows * split->width + (int64_t)values <= VALUES);
        memcpy(split->x + split->rows * split->width, from + x->begin, x->end - x->begin);
        if (y && y->dtype == SAFETENSORS_I64)
            memcpy(split->classes + split->rows, from + y->begin, y->end - y->begin);
        else if (y)
            memcpy(split->targets + split->rows * (y->rank == 2 ? y->shape[1] : 1), from + y->begin, y->end - y->begin);
        split->rows += x->shape[0];
        safetensors_free(file);
        bson_free(data);
    }
}

static void save(const struct csv_options *options, bson_t *dataset)
{
    memset(&fixture_error, 0, sizeof fixture_error);
    cr_assert_eq(csv_save_dataset(fixture_hub, options, dataset, &fixture_error), 1, "%s", fixture_error.message);
    read_split(dataset, "train", &train);
    read_split(dataset, "validation", &validation);
    read_split(dataset, "test", &test);
}

static void expect_refused(const struct csv_options *options, const char *where)
{
    bson_t dataset;
    memset(&fixture_error, 0, sizeof fixture_error);
    cr_assert_eq(csv_save_dataset(fixture_hub, options, &dataset, &fixture_error), -1, "it is taken; wanted: %s", where);
    cr_expect(strstr(fixture_error.message, where) != NULL, "\"%s\" has nothing of \"%s\"", fixture_error.message, where);
    cr_expect_eq(fixture_count("datasets"), 0);
    cr_expect_eq(fixture_count("blobs.files"), 0);
    bson_destroy(&dataset);
}

static double number(const bson_t *document, const char *key)
{
    bson_iter_t root, at;
    cr_assert(bson_iter_init(&root, document) && bson_iter_find_descendant(&root, key, &at), "no %s", key);
    return bson_iter_as_double(&at);
}

static const char *text(const bson_t *document, const char *key)
{
    bson_iter_t root, at;
    cr_assert(bson_iter_init(&root, document) && bson_iter_find_descendant(&root, key, &at), "no %s", key);
    return bson_iter_utf8(&at, NULL);
}

Test(csv, numbers_go_to_0_to_1_and_texts_to_one_value_a_category)
{
    bson_t dataset;
    write_table("a,colour,y\n10,red,no\n20,blue,yes\n15,red,no\n30,green,yes\n");
    struct csv_options options = defaults();
    save(&options, &dataset);
    cr_expect_eq(train.rows, 4);
    cr_assert_eq(train.width, 4);
    const float wanted[] = {0, 0, 0, 1, 0.5, 1, 0, 0, 0.25, 0, 0, 1, 1, 0, 1, 0}; /* a, then blue, green, red */
    for (int i = 0; i < 16; i++)
        cr_expect_float_eq(train.x[i], wanted[i], 1e-6, "value %d is %g", i, train.x[i]);
    cr_expect(train.classes[0] == 0 && train.classes[1] == 1 && train.classes[2] == 0 && train.classes[3] == 1);
    cr_expect_str_eq(text(&dataset, "class_names.0"), "no");
    cr_expect_str_eq(text(&dataset, "class_names.1"), "yes");
    cr_expect_eq(number(&dataset, "class_counts.train.1"), 2);
    cr_expect_eq(number(&dataset, "preprocess.columns.0.min"), 10);
    cr_expect_eq(number(&dataset, "preprocess.columns.0.max"), 30);
    cr_expect_str_eq(text(&dataset, "preprocess.columns.1.kind"), "one-hot");
    bson_destroy(&dataset);
}

/* Of six seeds some draw the smallest or the largest number for another split: the scale must not know it. */
Test(csv, the_scale_is_that_of_the_training_rows_alone)
{
    bson_t dataset;
    struct csv_options options = defaults();
    int beyond = 0;
    FILE *file = fopen(path, "w");
    fputs("a,y\n", file);
    for (int i = 0; i < 100; i++)
        fprintf(file, "%d,%d\n", i, i % 2);
    fclose(file);
    options.test_share = 0.2;
    options.validation_share = 0.25;
    for (options.seed = 0; options.seed < 6; options.seed++) {
        save(&options, &dataset);
        cr_expect_eq(train.rows, 60);
        cr_expect_eq(validation.rows, 20);
        cr_expect_eq(test.rows, 20);
        const double min = number(&dataset, "preprocess.columns.0.min"), max = number(&dataset, "preprocess.columns.0.max");
        float low = 9, high = -9;
        bool seen[100] = {false};
        for (int64_t i = 0; i < 60; i++) {
            low = train.x[i] < low ? train.x[i] : low;
            high = train.x[i] > high ? train.x[i] : high;
            seen[lround(train.x[i] * (max - min) + min)] = true;
        }
        cr_expect(low == 0 && high == 1, "training values are %g to %g", low, high);
        beyond += min > 0 || max < 99;
        for (int64_t i = 0; i < 20; i++) {
            const long value = lround(test.x[i] * (max - min) + min), other = lround(validation.x[i] * (max - min) + min);
            cr_expect(!seen[value] && !seen[other] && value != other, "%ld or %ld is in two splits", value, other);
            seen[value] = seen[other] = true;
            cr_expect_eq(test.classes[i], value % 2);
        }
        bson_destroy(&dataset);
    }
    cr_expect_gt(beyond, 0);
}

Test(csv, each_class_has_its_share_of_each_split_when_stratified)
{
    bson_t dataset;
    struct csv_options options = defaults();
    FILE *file = fopen(path, "w");
    fputs("a,y\n", file);
    for (int i = 0; i < 110; i++)
        fprintf(file, "%d,%s\n", i, i % 11 ? "often" : "rare");
    fclose(file);
    options.test_share = 0.2;
    options.stratify = true;
    save(&options, &dataset);
    cr_expect_eq(number(&dataset, "class_counts.test.0"), 20);
    cr_expect_eq(number(&dataset, "class_counts.test.1"), 2);
    cr_expect_eq(test.rows, 22);
    bson_destroy(&dataset);
}

static int fold_rows[8], folds_seen;

static void count_fold(const bson_t *dataset, int saved, void *data)
{
    int *tested = data;
    struct split fold;
    cr_expect_eq(saved, 1);
    read_split(dataset, "test", &fold);
    fold_rows[folds_seen++] = (int)fold.rows;
    for (int64_t i = 0; i < fold.rows; i++)
        tested[lroundf(fold.targets[i])]++;
}

Test(csv, every_row_is_tested_in_one_fold)
{
    bson_t dataset;
    int tested[52] = {0};
    struct csv_options options = defaults();
    FILE *file = fopen(path, "w");
    fputs("a,y\n", file);
    for (int i = 0; i < 52; i++)
        fprintf(file, "%d,%d\n", 1000 - i, i);
    fclose(file);
    options.folds = 5;
    options.saved = count_fold;
    options.data = tested;
    save(&options, &dataset);
    cr_expect_eq(folds_seen, 5);
    for (int i = 0; i < 5; i++)
        cr_expect(fold_rows[i] == 10 || fold_rows[i] == 11, "fold %d has %d rows", i, fold_rows[i]);
    for (int i = 0; i < 52; i++)
        cr_expect_eq(tested[i], 1, "row %d is tested %d times", i, tested[i]);
    cr_expect_str_eq(text(&dataset, "name"), "table-fold-5");
    bson_destroy(&dataset);
}

Test(csv, missing_values_become_what_is_asked_for)
{
    static const struct csv_choice mean[] = {{NULL, "mean"}}, median[] = {{"a", "median"}}, drop[] = {{NULL, "drop"}};
    bson_t dataset;
    struct csv_options options = defaults();
    write_table("a,y\n0,1.5\n,2.5\n1,3.5\nNA,4.5\n5,5.5\n");
    save(&options, &dataset);
    cr_expect_eq(train.rows, 5);
    cr_expect_eq(train.x[1], 0);
    cr_expect_eq(number(&dataset, "preprocess.columns.0.missing"), 2);
    bson_destroy(&dataset);
    options.missing_count = 1;
    options.missing = mean;
    save(&options, &dataset);
    cr_expect_float_eq(train.x[1], 0.4, 1e-6);
    bson_destroy(&dataset);
    options.missing = median;
    save(&options, &dataset);
    cr_expect_float_eq(train.x[3], 0.2, 1e-6);
    bson_destroy(&dataset);
    options.missing = drop;
    save(&options, &dataset);
    cr_expect_eq(train.rows, 3);
    bson_destroy(&dataset);
}

Test(csv, a_label_is_a_class_or_values_as_it_looks_or_as_is_said)
{
    static const char *const both[] = {"y", "z"};
    static const struct csv_choice as_number[] = {{"y", "number"}}, as_class[] = {{"z", "category"}};
    bson_t dataset;
    struct csv_options options = defaults();
    write_table("a,y,z\n1,0,1.5\n2,1,-2\n3,10,0.25\n");
    save(&options, &dataset);
    cr_expect_str_eq(text(&dataset, "label"), "class");
    cr_expect(train.classes[0] == 0 && train.classes[1] == 1 && train.classes[2] == 2, "classes are in the order of numbers");
    bson_destroy(&dataset);
    options.types = as_number;
    options.type_count = 1;
    save(&options, &dataset);
    cr_expect_str_eq(text(&dataset, "label"), "value");
    bson_destroy(&dataset);
    options.type_count = 0;
    options.labels = both;
    options.label_count = 2;
    save(&options, &dataset);
    cr_expect_eq(number(&dataset, "outputs"), 2);
    const float wanted[] = {0, 1.5, 1, -2, 10, 0.25};
    cr_expect_arr_eq(train.targets, wanted, sizeof wanted);
    bson_destroy(&dataset);
    options.labels = both + 1;
    options.label_count = 1;
    options.types = as_class;
    options.type_count = 1;
    save(&options, &dataset);
    cr_expect_str_eq(text(&dataset, "class_names.0"), "-2");
    cr_expect_eq(train.classes[0], 2);
    bson_destroy(&dataset);
}

Test(csv, ids_count_from_1_and_a_column_may_be_left_out)
{
    static const struct csv_choice types[] = {{"c", "ids"}, {"1", "drop"}};
    bson_t dataset;
    struct csv_options options = defaults();
    options.types = types;
    options.type_count = 2;
    write_table("a,c,y\n1,x,0\n2,,1\n3,b,0\n4,x,1\n");
    save(&options, &dataset);
    const float wanted[] = {2, 0, 1, 2};
    cr_assert_eq(train.width, 1);
    cr_expect_arr_eq(train.x, wanted, sizeof wanted);
    bson_destroy(&dataset);
}

/* Numbers for longer than is looked at first, then a text: the whole file counts. */
Test(csv, a_text_far_down_makes_a_column_one_of_categories)
{
    bson_t dataset;
    struct csv_options options = defaults();
    FILE *file = fopen(path, "w");
    fputs("a,c,y\n", file);
    for (int i = 0; i < 1500; i++)
        fprintf(file, "%d,%s,%d\n", i, i == 1400 ? "x" : i % 2 ? "7" : "8", i % 3);
    fclose(file);
    options.test_share = 0.5;
    save(&options, &dataset);
    cr_expect_str_eq(text(&dataset, "preprocess.columns.1.kind"), "one-hot");
    cr_expect_str_eq(text(&dataset, "preprocess.columns.1.categories.2"), "x");
    cr_expect_eq(train.width, 4);
    bson_destroy(&dataset);
}

Test(csv, delimiter_header_and_position_are_found)
{
    static const char *const last[] = {"-1"};
    bson_t dataset;
    struct csv_options options = defaults();
    options.labels = last;
    write_table("1;2;0\n3;4;1\n5;6;1\n");
    save(&options, &dataset);
    cr_expect_eq(train.rows, 3);
    cr_expect_str_eq(text(&dataset, "preprocess.columns.2.role"), "label");
    bson_destroy(&dataset);
    write_table("\xef\xbb\xbf" "first\tsecond\tthird\r\n1\t2\t0\r\n3\t4\t1\r\n");
    save(&options, &dataset);
    cr_expect_eq(train.rows, 2);
    cr_expect_str_eq(text(&dataset, "preprocess.columns.0.name"), "first");
    bson_destroy(&dataset);
}

Test(csv, a_window_is_the_rows_before_its_label)
{
    bson_t dataset;
    struct csv_options options = defaults();
    FILE *file = fopen(path, "w");
    fputs("t,a,y\n", file);
    for (int i = 0; i < 20; i++)
        fprintf(file, "%d,%d,%d.5\n", i, 100 + i, i);
    fclose(file);
    options.time = "t";
    options.window = 3;
    options.horizon = 2;
    options.scale = PREPROCESS_NO_SCALE;
    options.test_share = 0.25;
    save(&options, &dataset);
    cr_expect_eq(train.rows, 11); /* rows 4 … 14 are foretold */
    cr_expect_eq(test.rows, 5);
    cr_expect_eq(number(&dataset, "input_shape.0"), 3);
    cr_expect_eq(number(&dataset, "input_shape.1"), 2);
    for (int64_t i = 0; i < 11; i++) {
        cr_expect_eq(train.targets[i], (float)i + 4.5f);
        for (int64_t j = 0; j < 3; j++)
            cr_expect(train.x[i * 6 + j * 2] == (float)(100 + i + j) && train.x[i * 6 + j * 2 + 1] == (float)(i + j) + 0.5f);
    }
    cr_expect_eq(test.targets[0], 15.5f);
    cr_expect_eq(test.x[0], 111);
    bson_destroy(&dataset);
}

Test(csv, what_is_wrong_is_said_with_line_and_column_and_nothing_is_saved)
{
    static const struct csv_choice strict[] = {{"a", "number"}}, error[] = {{NULL, "error"}};
    struct csv_options options = defaults();
    write_table("a,b,y\n1,2,0\n3,4\n");
    expect_refused(&options, "table.csv:3:3: 2 fields; the first record has 3");
    write_table("a,b,y\n1,2,0\n3,4,1,5\n");
    expect_refused(&options, "table.csv:3:7: 4 fields");
    write_table("a,b,y\n1,2,0\n3,inf,1\n");
    expect_refused(&options, "table.csv:3:3: column b: \"inf\" is not a finite number");
    write_table("a,b,y\n1,\"2\n3,4,1\n");
    expect_refused(&options, "table.csv:2:3: this quote is never closed");
    write_table("a,a,y\n1,2,0\n");
    expect_refused(&options, "table.csv:1:3: column 2 has the same name as column 1");
    write_table("a,b,y\n1,caf\xe9,0\n");
    expect_refused(&options, "table.csv:2:3: column b: the text is not UTF-8");
    write_table("a,b,z\n1,2,0\n");
    expect_refused(&options, "there is no column \"y\" among its 3 (a, b, z)");
    write_table("%s", "");
    expect_refused(&options, "table.csv:1:1: there is nothing in it");
    write_table("a,y\n");
    expect_refused(&options, "no row is left");
    options.types = strict;
    options.type_count = 1;
    write_table("a,y\n1,0\n2,1\nthree,0\n");
    expect_refused(&options, "table.csv:4:1: column a: \"three\" is not a number");
    options.missing = error;
    options.missing_count = 1;
    write_table("a,y\n1,0\n,1\n");
    expect_refused(&options, "table.csv:3:1: column a: missing");
    options.missing_count = 0;
    options.time = "a";
    options.type_count = 0;
    write_table("a,b,y\n1,1,0\n3,1,1\n2,1,0\n");
    expect_refused(&options, "table.csv:4:1: column a: 2 comes after 3");
    options.time = NULL;
    options.stratify = true;
    write_table("a,y\n1,0.5\n3,1.5\n");
    expect_refused(&options, "stratify: the label is no class");
}

Test(csv, equal_files_make_no_new_version_and_another_seed_does)
{
    bson_t dataset;
    struct csv_options options = defaults();
    options.test_share = 0.5;
    write_table("a,y\n1,0\n2,1\n3,0\n4,1\n5,0\n6,1\n7,0\n8,1\n");
    save(&options, &dataset);
    bson_destroy(&dataset);
    cr_expect_eq(csv_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 0);
    bson_destroy(&dataset);
    options.seed = 5;
    cr_expect_eq(csv_save_dataset(fixture_hub, &options, &dataset, &fixture_error), 1, "%s", fixture_error.message);
    bson_destroy(&dataset);
}

/* ---- raw rows ---- */

Test(csv, raw_rows_become_the_values_that_training_rows_became)
{
    bson_t dataset;
    float x[4 * 4], targets[4];
    int32_t labels[4];
    struct csv_options options = defaults();
    write_table("a,colour,y\n10,red,no\n20,blue,yes\n15,red,no\n30,green,yes\n");
    save(&options, &dataset);
    write_table("extra;colour;a\n1;blue;20\n2;violet;50\n3;;10\n");
    struct csv_rows *rows = csv_rows_open(path, &dataset, 0, &fixture_error);
    cr_assert_not_null(rows, "%s", fixture_error.message);
    cr_expect(csv_rows_count(rows) == 3 && csv_rows_dimension(rows, 0) == 4 && csv_rows_classes(rows) == 0);
    cr_assert_eq(csv_rows_read(rows, x, labels, targets, 3, &fixture_error), 0, "%s", fixture_error.message);
    const float wanted[] = {0.5, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < 12; i++)
        cr_expect_float_eq(x[i], wanted[i], 1e-6, "value %d is %g", i, x[i]);
    cr_expect_eq(csv_rows_unknown(rows), 1);
    csv_rows_close(rows);
    write_table("y,a,colour\nyes,1,red\nno,2,red\n");
    rows = csv_rows_open(path, &dataset, 0, &fixture_error);
    cr_assert_not_null(rows, "%s", fixture_error.message);
    cr_expect_eq(csv_rows_classes(rows), 2);
    cr_assert_eq(csv_rows_read(rows, x, labels, targets, 2, &fixture_error), 0);
    cr_expect(labels[0] == 1 && labels[1] == 0);
    csv_rows_close(rows);
    write_table("a,y\n1,yes\n");
    cr_expect_null(csv_rows_open(path, &dataset, 0, &fixture_error));
    cr_expect(strstr(fixture_error.message, "there is no column colour"), "%s", fixture_error.message);
    write_table("a,colour,y\n1,red,yes\n2,red,maybe\n");
    cr_expect_null(csv_rows_open(path, &dataset, 0, &fixture_error));
    cr_expect(strstr(fixture_error.message, "table.csv:3:7: column y: the model's dataset has no such class"), "%s",
              fixture_error.message);
    bson_destroy(&dataset);
}
