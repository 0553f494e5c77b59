/* SPDX-License-Identifier: Apache-2.0 */
/* CSV files, plain and packed, as their dialect is found: every record has fields within it, a pass over all rows ends, and
 * what is refused has a place. The first byte chooses options, the rest is the file. */

#include "distributor/csv_pass.h"
#include "tests/fuzz/fuzz_file.h"

/* What is wrong with a line names it; these are about the whole file, and the options beside it. */
static void check_message(const char *message, const char *path)
{
    static const char *const whole[] = {"no row is left",   "no column is left",  "a row would have", "validation: ", "folds: ",
                                        "decimal: ", "no row has a label", "has more than"};
    bool known = fuzz_names_place(message, path);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        known = known || strstr(message, whole[i]) != NULL;
    FUZZ_REQUIRE(known);
}

static void read_records(const char *path, char delimiter)
{
    bson_error_t error = {0};
    struct csv_record record;
    int next = 0;
    struct csv_scan *scan = csv_scan_open(path, delimiter, 0, &error);
    FUZZ_REQUIRE(scan != NULL || fuzz_names_place(error.message, path));
    while (scan && (next = csv_scan_next(scan, &record, &error)) > 0) {
        FUZZ_REQUIRE(record.fields >= 1 && record.fields <= CSV_FIELDS);
        for (int64_t i = 0; i < record.fields; i++) {
            struct csv_field field = csv_scan_field(scan, &record, i);
            FUZZ_REQUIRE(field.length <= record.ends[i] - (i ? record.ends[i - 1] + 1 : 0));
        }
    }
    FUZZ_REQUIRE(next == 0 || fuzz_names_place(error.message, path));
    csv_scan_close(scan);
}

static void encode(struct csv_pass *pass)
{
    struct preprocess *back;
    bson_error_t error = {0};
    bson_t fields = BSON_INITIALIZER;
    const struct preprocess *preprocess = pass->plan.preprocess;
    float *x = calloc((size_t)preprocess->width, sizeof *x);
    FUZZ_REQUIRE(x != NULL);
    csv_plan_apply(&pass->plan, &pass->values);
    FUZZ_REQUIRE(csv_pass_begin(pass, "saving", &error) == 0);
    int64_t rows = 0;
    int next;
    while ((next = csv_pass_next(pass, &error)) > 0) {
        preprocess_encode(preprocess, pass->values.values, x);
        rows++;
    }
    FUZZ_REQUIRE(next == 0 && rows > 0);
    /* What is written into a manifest reads back. */
    if (preprocess_append(preprocess, &fields, &error) == 0) {
        FUZZ_REQUIRE(preprocess_read(&fields, &back, &error) == 1);
        FUZZ_REQUIRE(back->width == preprocess->width && back->count == preprocess->count);
        preprocess_free(back);
    }
    bson_destroy(&fields);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const last[] = {"-1"};
    static const struct csv_choice median[] = {{NULL, "median"}}, drop[] = {{NULL, "drop"}};
    const uint8_t choice = size > 0 ? data[0] : 0;
    const char *path = fuzz_file(data + (size > 0), size > 0 ? size - 1 : 0);
    bson_error_t error = {0};
    struct csv_options options = {.path = path, .name = "fuzz", .header = -1, .labels = last, .label_count = choice & 1,
                                  .horizon = 1, .test_share = 0.2, .validation = choice & 2 ? 1 : 0, .ids = choice & 4,
                                  .folds = choice & 8 && !(choice & 2) ? 3 : 0, .missing = choice & 32 ? median : drop,
                                  .missing_count = choice & 16 ? 1 : 0, .decimal = choice & 64 ? ',' : '.',
                                  .scale = choice & 128 ? PREPROCESS_STANDARD : PREPROCESS_MIN_MAX};
    struct csv_pass pass = {.options = NULL};
    read_records(path, choice & 64 ? ';' : ',');
    if (csv_pass_open(&pass, &options, &error) == 0 && csv_pass_learn(&pass, &error) == 0 &&
        csv_pass_summarise(&pass, 0, &error) == 0)
        encode(&pass);
    else
        check_message(error.message, path);
    csv_pass_close(&pass);
    return 0;
}
